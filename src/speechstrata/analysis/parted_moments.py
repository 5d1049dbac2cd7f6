"""Second-order statistics of frames, part by part, as the frames come: for audio of any length in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechstrata.analysis.moments import Array, Moments, as_labels, as_rows
from speechstrata.errors import InputError, TooFewSamplesError


class _Accumulator:
    """The moments of one part: centred at a fixed reference, so that adding rows is only adding."""

    def __init__(self, dim: int, others: Mapping[str, int]) -> None:
        self.n = 0
        self.sum = np.zeros(dim)
        self.products = np.zeros((dim, dim))
        self.other_sums = {name: np.zeros(size) for name, size in others.items()}
        self.cross = {name: np.zeros((dim, size)) for name, size in others.items()}


class PartedMoments:
    """Statistics of one view, and of it against others, for every part of a split; rows come in batches.

    One per layer for frame-level scores, and one (``against`` empty) for each view y, so that the
    statistics of y alone are computed once for all the layers that share its frames::

        fbank = PartedMoments(80, n_parts=10)
        layer = PartedMoments(768, against={"fbank": 80}, n_parts=10)
        for states, mel, parts in batches:          # equal rows, in the same order
            fbank.update(mel, parts)
            layer.update(states, parts, {"fbank": mel})
        ten = layer.moments("fbank", fbank)

    Rows wait in a buffer and are added ``buffer_rows`` at a time, by one matrix product a part, in float64,
    after a reference (the mean of the first buffer) is taken off, which keeps sums of products well
    conditioned. Memory: ``n_parts`` x (dim^2 + dim x others) x 8 bytes, and the buffer.

    Args:
        dim: dimensions of the view.
        against: name -> dimensions of the other views.
        n_parts: number of parts.
        buffer_rows: rows that wait before they are added.
    """

    def __init__(
        self,
        dim: int,
        against: Mapping[str, int] | None = None,
        *,
        n_parts: int = 10,
        buffer_rows: int = 16384,
    ) -> None:
        self.dim = dim
        self.against = dict(against or {})
        self.n_parts = n_parts
        self.buffer_rows = buffer_rows
        self._reference: Array | None = None
        self._other_references: dict[str, Array] = {}
        self._accumulators = [_Accumulator(dim, self.against) for _ in range(n_parts)]
        self._waiting: list[tuple[NDArray[Any], NDArray[np.intp], dict[str, NDArray[Any]]]] = []
        self._n_waiting = 0

    def update(self, rows: ArrayLike, parts: ArrayLike, others: Mapping[str, ArrayLike] | None = None) -> None:
        """Add rows.

        Args:
            rows: (n, dim).
            parts: (n,) the part of each row, or one number for all.
            others: name -> (n, dimensions), the same rows of every view named in ``against``.

        Raises:
            InputError: a view is missing or has other dimensions, or values are not finite.
        """
        rows = as_rows(rows, "a view")
        given = np.asarray(parts)
        where, _ = as_labels(np.broadcast_to(given, len(rows)), self.n_parts)
        arrays = {name: as_rows(view, f"view {name!r}") for name, view in (others or {}).items()}
        shapes = {name: view.shape for name, view in arrays.items()}
        if rows.shape[1] != self.dim or shapes != {name: (len(rows), size) for name, size in self.against.items()}:
            raise InputError(
                f"rows of shape {rows.shape} with {shapes or 'no other view'}",
                f"give (n, {self.dim}) with {self.against or 'no other view'}",
            )
        self._waiting.append((rows, where, arrays))
        self._n_waiting += len(rows)
        if self._n_waiting >= self.buffer_rows:
            self.flush()

    @property
    def waiting(self) -> int:
        """Rows that were given and are not in the statistics yet."""
        return self._n_waiting

    def flush(self) -> None:
        """Add the rows that wait; until then they are not in the statistics. Not to be called from two threads."""
        if self._n_waiting == 0:
            return
        where = np.concatenate([each[1] for each in self._waiting])
        rows = np.concatenate([each[0] for each in self._waiting])
        others = {name: np.concatenate([each[2][name] for each in self._waiting]) for name in self.against}
        self._waiting, self._n_waiting = [], 0
        if self._reference is None:
            self._reference = rows.mean(axis=0, dtype=np.float64)
            self._other_references = {name: view.mean(axis=0, dtype=np.float64) for name, view in others.items()}
        for part, accumulator in enumerate(self._accumulators):
            # One part at a time in float64: a copy of all rows would take longer to get memory for than to fill.
            chosen = np.flatnonzero(where == part)
            some = rows[chosen] - self._reference
            accumulator.n += len(some)
            accumulator.sum += some.sum(axis=0)
            accumulator.products += some.T @ some
            for name, view in others.items():
                other = view[chosen] - self._other_references[name]
                accumulator.other_sums[name] += other.sum(axis=0)
                accumulator.cross[name] += some.T @ other

    def moments(self, name: str, y: PartedMoments) -> list[Moments]:
        """The moments of this view (as x) and the view ``name`` (as y), one per part.

        Args:
            name: one of ``against``.
            y: the statistics of that view alone, of the same rows.

        Raises:
            InputError: ``y`` saw other rows.
            TooFewSamplesError: no rows at all.
        """
        self.flush()
        y.flush()
        if name not in self.against or y.dim != self.against[name] or y.n_parts != self.n_parts:
            raise InputError(
                f"no statistics against {name!r} with {y.dim} dimensions in {y.n_parts} parts",
                f"there are: {self.against} in {self.n_parts} parts",
            )
        if self._reference is None or y._reference is None:
            raise TooFewSamplesError("no frames were seen", "give a corpus with frames")
        result = []
        for mine, theirs in zip(self._accumulators, y._accumulators, strict=True):
            total = max(mine.n, 1)
            mean_x, mean_y = mine.sum / total, theirs.sum / total
            other_mean = mine.other_sums[name] / total + self._other_references[name]
            scatter_yy = theirs.products - np.outer(theirs.sum, mean_y)
            spread = np.sqrt(np.trace(scatter_yy) / total) + np.abs(y._reference).max()
            if mine.n != theirs.n or not np.allclose(other_mean, mean_y + y._reference, rtol=0, atol=1e-6 * spread):
                raise InputError(f"the statistics of {name!r} are of other rows", "update both together")
            result.append(
                Moments(
                    n=mine.n,
                    mean_x=mean_x + self._reference if mine.n else np.zeros(self.dim),
                    mean_y=mean_y + y._reference if mine.n else np.zeros(y.dim),
                    scatter_xx=mine.products - np.outer(mine.sum, mean_x),
                    scatter_yy=scatter_yy,
                    scatter_xy=mine.cross[name] - np.outer(mean_x, mine.other_sums[name]),
                )
            )
        return result

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """What was added so far, as named arrays; empty where that is nothing."""
        self.flush()
        if self._reference is None:
            return {}
        parts = self._accumulators
        state: dict[str, NDArray[Any]] = {
            "reference": self._reference,
            "n": np.array([part.n for part in parts], dtype=np.int64),
            "sum": np.stack([part.sum for part in parts]),
            "products": np.stack([part.products for part in parts]),
        }
        for name in self.against:
            state[f"reference of {name}"] = self._other_references[name]
            state[f"sum of {name}"] = np.stack([part.other_sums[name] for part in parts])
            state[f"cross with {name}"] = np.stack([part.cross[name] for part in parts])
        return state

    def absorb(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Add the rows whose ``state_dict`` this is: the same as if they had been given to ``update``.

        Raises:
            InputError: it is of another number of dimensions, parts or views.
        """
        self.flush()
        if not state:
            return
        expected = {"reference", "n", "sum", "products"}
        expected |= {f"{what} {name}" for what in ("reference of", "sum of", "cross with") for name in self.against}
        if set(state) != expected or state["products"].shape != (self.n_parts, self.dim, self.dim):
            raise InputError("the saved statistics are of other views, dimensions or parts", "make them again")
        if self._reference is None:
            self._reference = state["reference"]
            self._other_references = {name: state[f"reference of {name}"] for name in self.against}
        # From their reference to mine: every row moves by the same step.
        step = state["reference"] - self._reference
        for part, accumulator in enumerate(self._accumulators):
            n, total = int(state["n"][part]), state["sum"][part]
            accumulator.n += n
            accumulator.sum += total + n * step
            accumulator.products += (
                state["products"][part] + np.outer(total, step) + np.outer(step, total) + n * np.outer(step, step)
            )
            for name in self.against:
                other_step = state[f"reference of {name}"] - self._other_references[name]
                other_total = state[f"sum of {name}"][part]
                accumulator.other_sums[name] += other_total + n * other_step
                accumulator.cross[name] += (
                    state[f"cross with {name}"][part]
                    + np.outer(total, other_step)
                    + np.outer(step, other_total)
                    + n * np.outer(step, other_step)
                )
