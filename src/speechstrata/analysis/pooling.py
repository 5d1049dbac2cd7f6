"""Pool the states of every layer as they appear: means over spans, into memory-mapped rows."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechstrata.analysis.config import SpanRule
from speechstrata.analysis.forward import Batch
from speechstrata.analysis.spans import Spans, Unit, frame_ranges
from speechstrata.encoders.base import HiddenStates, Layer
from speechstrata.errors import InputError
from speechstrata.files import map_array

_ROWS_AT_ONCE = 1024


def mean_over_ranges(states: Tensor, item: Tensor, first: Tensor, stop: Tensor) -> Tensor:
    """The mean of ``states[item[i], first[i]:stop[i]]`` for every i.

    Args:
        states: (batch, frames, dim).
        item: (n,) which item of the batch.
        first: (n,) first frame.
        stop: (n,) one past the last frame; larger than ``first``.

    Returns:
        (n, dim), float32.
    """
    if states.device.type == "cpu" and not states.is_contiguous():
        # channel-first convolution states: a copy of the whole table would take longer than all of the spans
        ranges = zip(item.tolist(), first.tolist(), stop.tolist(), strict=True)
        means = [states[i, begin:end].float().mean(0) for i, begin, end in ranges]
        return torch.stack(means) if means else states.new_zeros((0, states.shape[2]), dtype=torch.float32)
    frames = states.shape[1]
    counts = stop - first
    offsets = torch.cumsum(counts, 0) - counts
    position = torch.arange(int(counts.sum()), device=counts.device) - torch.repeat_interleave(offsets, counts)
    index = torch.repeat_interleave(item * frames + first, counts) + position
    table = states.reshape(-1, states.shape[2]).float()
    return torch.nn.functional.embedding_bag(index.to(table.device), table, offsets.to(table.device), mode="mean")


@dataclass(frozen=True)
class RowPlan:
    """Which spans of a unit get a row, and which row: row ``i`` holds span ``spans_of_rows[i]``.

    Attributes:
        spans: all the spans of the unit.
        spans_of_rows: (n_rows,) indices into ``spans``, sorted and unique.
    """

    spans: Spans
    spans_of_rows: NDArray[np.int64]

    def rows_of(self, spans: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of these spans, which must all have one."""
        rows = np.searchsorted(self.spans_of_rows, spans)
        assert np.array_equal(self.spans_of_rows[rows], spans), "a span without a row"
        return rows

    def utterances(self) -> NDArray[np.int64]:
        """The utterances that have a row; sorted and unique."""
        return np.unique(self.spans.utterance[self.spans_of_rows])

    def of_utterances(self, utterances: NDArray[np.int64]) -> "RowPlan":
        """The rows of these utterances alone, numbered anew in the same order."""
        kept = np.isin(self.spans.utterance[self.spans_of_rows], utterances)
        return RowPlan(self.spans, self.spans_of_rows[kept])


class RowStore:
    """The pooled rows of one model: one memory-mapped ``.npy`` per layer and unit, NaN until it is filled.

    Args:
        folder: where the files are; existing ones of the right shape are continued.
        layers: of the encoder.
        rows: unit -> number of rows.
        existing: the files must all be there, and are only read.

    Attributes:
        fresh: whether some file is new: what a log says of its rows is not true of it.

    Raises:
        InputError: the folder cannot be written; or ``existing`` files are missing or of another shape.
    """

    def __init__(
        self, folder: Path, layers: tuple[Layer, ...], rows: Mapping[str, int], *, existing: bool = False
    ) -> None:
        self.folder = folder
        self.fresh = False
        self._continued: list[NDArray[np.float32]] = []
        self._arrays: dict[tuple[str, str], NDArray[np.float32]] = {}
        if existing:
            for layer in layers:
                for unit, count in rows.items():
                    if count:
                        self._arrays[layer.name, unit] = self._read(layer, unit, count)
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for layer in layers:
                for unit, count in rows.items():
                    if count:
                        self._arrays[layer.name, unit] = self._open(layer, unit, count)
        except OSError as error:
            raise InputError(f"cannot write pooled rows to {folder}: {error.strerror}", "free some space") from error

    def _read(self, layer: Layer, unit: str, count: int) -> NDArray[np.float32]:
        path = self.folder / f"{layer.name}.{unit}.npy"
        array: NDArray[np.float32] = map_array(path)
        if array.shape != (count, layer.dim) or array.dtype != np.float32:
            raise InputError(f"{path} holds {array.dtype} {array.shape}, not {count} rows", "make them again")
        return array

    def _open(self, layer: Layer, unit: str, count: int) -> NDArray[np.float32]:
        path = self.folder / f"{layer.name}.{unit}.npy"
        shape = (count, layer.dim)
        with suppress(InputError):  # not there yet, or cut short: made anew
            array: NDArray[np.float32] = map_array(path, "r+")
            if array.shape == shape and array.dtype == np.float32:
                self._continued.append(array)
                return array
        self.fresh = True
        # Written and not mapped at first: a full disk is an error here, and a killed process later.
        with path.open("wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
            row = np.full(layer.dim, np.nan, dtype=np.float32).tobytes()
            for start in range(0, count, _ROWS_AT_ONCE):
                file.write(row * min(_ROWS_AT_ONCE, count - start))
            file.flush()
            os.fsync(file.fileno())
        created: NDArray[np.float32] = map_array(path, "r+")
        return created

    def rows(self, layer: str, unit: str) -> NDArray[np.float32]:
        """The rows of a layer, (n_rows, dim); a row whose utterance could not be read is NaN."""
        return self._arrays[layer, unit]

    def __contains__(self, layer: str) -> bool:
        return any(name == layer for name, _ in self._arrays)

    def clear(self) -> None:
        """Forget the rows that were in the files: a pass does not write those of an utterance that it cannot read."""
        for array in self._continued:
            array[:] = np.nan

    def absorb(self, other: "RowStore", rows: Mapping[str, NDArray[np.int64]]) -> None:
        """Take over the rows of a store of the same layers; ``rows``: unit -> where its rows belong in this one."""
        for (layer, unit), array in other._arrays.items():
            self._arrays[layer, unit][rows[unit]] = array

    def flush(self) -> None:
        """Write what is in memory to the disk."""
        for array in self._arrays.values():
            if isinstance(array, np.memmap):
                array.flush()


def stored_bytes(layers: tuple[Layer, ...], rows: Mapping[str, int]) -> int:
    """What a ``RowStore`` takes on the disk."""
    return sum(4 * layer.dim * count for layer in layers for count in rows.values())


class SpanPooler:
    """Pools one batch after another into a ``RowStore``.

    Args:
        plans: unit -> which spans have rows.
        store: where the rows go.
        sample_rate: of the encoder, in hertz.
        rule: which frames of a phone are averaged.
    """

    def __init__(self, plans: Mapping[Unit, RowPlan], store: RowStore, sample_rate: int, rule: SpanRule) -> None:
        self._plans = plans
        self._store = store
        self._sample_rate = sample_rate
        self._rule = rule
        self._row_bounds = {
            unit: _bounds(plan.spans.utterance[plan.spans_of_rows], len(plan.spans.utterance_ids))
            for unit, plan in plans.items()
        }
        self._batch: dict[Unit, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def begin(self, batch: Batch) -> None:
        """Name the batch that comes next."""
        self._batch = {}
        for unit, (order, bounds) in self._row_bounds.items():
            rows = [order[bounds[u] : bounds[u + 1]] for u in batch.utterances.tolist()]
            items = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
            self._batch[unit] = (items, np.concatenate(rows) if rows else np.zeros(0, np.int64))

    def visit(self, layer: Layer, output: HiddenStates) -> None:
        """Pool one layer's states of the batch; a layer that the store has no rows for is passed over."""
        if layer.name not in self._store:
            return
        frames = output.lengths.cpu().numpy()
        for unit, (items, rows) in self._batch.items():
            if not len(rows):
                continue
            plan = self._plans[unit]
            spans = plan.spans_of_rows[rows]
            first, stop = frame_ranges(
                plan.spans.start[spans],
                plan.spans.end[spans],
                layer,
                self._sample_rate,
                frames[items],
                plan.spans.unit,
                self._rule,
            )
            device = output.states.device
            means = mean_over_ranges(
                output.states,
                torch.from_numpy(items).to(device),
                torch.from_numpy(first).to(device),
                torch.from_numpy(stop).to(device),
            )
            self._store.rows(layer.name, unit)[rows] = means.cpu().numpy()

    def end(self) -> None:
        """Nothing is left to do: every layer's rows are written as they come."""


def _bounds(utterance: NDArray[np.int64], n_utterances: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows in the order of their utterances, and where each utterance's begin in that order."""
    order = np.argsort(utterance, kind="stable")
    bounds = np.searchsorted(utterance[order], np.arange(n_utterances + 1))
    return order, bounds
