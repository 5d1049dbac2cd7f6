"""Second-order statistics of two views that add up: over chunks of rows, parts, workers and machines.

Everything that CCA needs of its data is the number of rows, the means and the (co)variances. ``Moments``
holds them in the centred form of Chan, Golub & LeVeque (1983), so nothing is lost to cancellation when a
mean is large beside its standard deviation, and any order or size of chunks gives the same numbers
(to about 1e-12 relative). ``PartedMoments`` keeps one set per part of a split for frame-level scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from speechstrata.errors import InputError

Array = NDArray[np.float64]

#: Rows that are converted to float64 at a time.
_CHUNK_ROWS = 8192


def as_rows(view: ArrayLike, name: str) -> NDArray[Any]:
    """``view`` as a (n, dim) floating-point array.

    Raises:
        InputError: it is not two-dimensional, has no dimension, or holds NaN or infinity.
    """
    rows = np.asarray(view)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise InputError(f"{name} has the shape {rows.shape}", "give a (rows, dimensions) array")
    if rows.dtype.kind != "f":
        rows = rows.astype(np.float64)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise InputError(
            f"{name} has NaN or infinite values in {int(bad.sum())} of {len(rows)} rows "
            f"(the first is row {int(bad.argmax())})",
            "leave those rows out, or look for what made them (an overflow, an empty span)",
        )
    return rows


def as_labels(labels: ArrayLike, n_classes: int | None = None) -> tuple[NDArray[np.intp], int]:
    """``labels`` as an (n,) integer array, and the number of classes.

    Raises:
        InputError: not one-dimensional integers, a negative label, or one at or beyond ``n_classes``.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or given.dtype.kind not in "iub":
        raise InputError(f"labels have the shape {given.shape} and the type {given.dtype}", "give one integer per row")
    values = given.astype(np.intp)
    largest = int(values.max(initial=-1))
    if n_classes is None:
        n_classes = largest + 1
    if values.min(initial=0) < 0 or largest >= n_classes:
        wrong = int(values.min(initial=0)) if values.min(initial=0) < 0 else largest
        raise InputError(f"label {wrong} is outside 0..{n_classes - 1}", "number the classes from 0")
    return values, n_classes


@dataclass(frozen=True)
class Moments:
    """The second-order statistics of n rows of two views, x (n, dx) and y (n, dy); all float64.

    Attributes:
        n: number of rows.
        mean_x, mean_y: (dx,) and (dy,).
        scatter_xx, scatter_yy, scatter_xy: sums of products of deviations from the mean, (dx, dx), (dy, dy)
            and (dx, dy); divided by n they are the biased covariances.
        counts: (dy,) rows per class where y is one-hot (or some classes of one), else None; it makes exact
            what the float statistics only imply.
    """

    n: int
    mean_x: Array
    mean_y: Array
    scatter_xx: Array
    scatter_yy: Array
    scatter_xy: Array
    counts: NDArray[np.int64] | None = None

    @classmethod
    def empty(cls, dim_x: int, dim_y: int, *, one_hot: bool = False) -> Moments:
        """The statistics of no rows: the neutral element of ``+``."""
        return cls(
            n=0,
            mean_x=np.zeros(dim_x),
            mean_y=np.zeros(dim_y),
            scatter_xx=np.zeros((dim_x, dim_x)),
            scatter_yy=np.zeros((dim_y, dim_y)),
            scatter_xy=np.zeros((dim_x, dim_y)),
            counts=np.zeros(dim_y, dtype=np.int64) if one_hot else None,
        )

    @classmethod
    def from_rows(cls, x: ArrayLike, y: ArrayLike) -> Moments:
        """The statistics of the rows of x (n, dx) and y (n, dy).

        Raises:
            InputError: the numbers of rows differ, a view is not (rows, dimensions), or holds NaN.
        """
        x, y = as_rows(x, "view x"), as_rows(y, "view y")
        if len(x) != len(y):
            raise InputError(f"view x has {len(x)} rows, view y {len(y)}", "pair the rows")
        if len(x) == 0:
            return cls.empty(x.shape[1], y.shape[1])
        return cls.merge(
            [
                _of_chunk(x[start : start + _CHUNK_ROWS], y[start : start + _CHUNK_ROWS])
                for start in range(0, len(x), _CHUNK_ROWS)
            ]
        )

    @classmethod
    def from_labels(cls, x: ArrayLike, labels: ArrayLike, n_classes: int) -> Moments:
        """The statistics of x (n, dx) and the one-hot rows of ``labels`` (n,), which are never made.

        Raises:
            InputError: as for ``from_rows``, or a label outside 0..n_classes-1.
        """
        x = as_rows(x, "view x")
        labels, n_classes = as_labels(labels, n_classes)
        if len(x) != len(labels):
            raise InputError(f"view x has {len(x)} rows, but there are {len(labels)} labels", "pair the rows")
        if len(x) == 0:
            return cls.empty(x.shape[1], n_classes, one_hot=True)
        return cls.merge(
            [
                _of_labelled_chunk(x[start : start + _CHUNK_ROWS], labels[start : start + _CHUNK_ROWS], n_classes)
                for start in range(0, len(x), _CHUNK_ROWS)
            ]
        )

    @classmethod
    def merge(cls, moments: Sequence[Moments]) -> Moments:
        """The statistics of all the rows together; the order does not matter.

        Raises:
            InputError: there is nothing to merge, or the dimensions differ.
        """
        if not moments:
            raise InputError("no moments to merge", "give at least one")
        shapes = {each.scatter_xy.shape for each in moments}
        if len(shapes) > 1:
            raise InputError(f"moments of different dimensions: {sorted(shapes)}", "merge equal views")
        if len(moments) == 1:
            return moments[0]
        n = sum(each.n for each in moments)
        share = np.array([each.n for each in moments], dtype=np.float64)
        means_x = np.stack([each.mean_x for each in moments])
        means_y = np.stack([each.mean_y for each in moments])
        total = max(n, 1)
        mean_x, mean_y = share @ means_x / total, share @ means_y / total
        # Each group's own scatter, and that of the groups' means around the common mean.
        off_x = (means_x - mean_x) * np.sqrt(share)[:, None]
        off_y = (means_y - mean_y) * np.sqrt(share)[:, None]
        scatter_xx, scatter_yy, scatter_xy = off_x.T @ off_x, off_y.T @ off_y, off_x.T @ off_y
        for each in moments:
            scatter_xx += each.scatter_xx
            scatter_yy += each.scatter_yy
            scatter_xy += each.scatter_xy
        known = [each.counts for each in moments if each.counts is not None]
        counts = np.stack(known).sum(axis=0) if len(known) == len(moments) else None
        return cls(n, mean_x, mean_y, scatter_xx, scatter_yy, scatter_xy, counts)

    def __add__(self, other: Moments) -> Moments:
        return Moments.merge([self, other])

    def without(self, *others: Moments) -> Moments:
        """The statistics of these rows without those of ``others``, which must be among them."""
        n = self.n - sum(each.n for each in others)
        total = max(n, 1)
        mean_x = (self.n * self.mean_x - sum(each.n * each.mean_x for each in others)) / total
        mean_y = (self.n * self.mean_y - sum(each.n * each.mean_y for each in others)) / total
        groups = [(-self.n, self)] + [(each.n, each) for each in others]
        off_x = np.stack([each.mean_x - mean_x for _, each in groups])
        off_y = np.stack([each.mean_y - mean_y for _, each in groups])
        signs = np.array([[float(weight)] for weight, _ in groups])
        scatter_xx = self.scatter_xx - (signs * off_x).T @ off_x
        scatter_yy = self.scatter_yy - (signs * off_y).T @ off_y
        scatter_xy = self.scatter_xy - (signs * off_x).T @ off_y
        for each in others:
            scatter_xx -= each.scatter_xx
            scatter_yy -= each.scatter_yy
            scatter_xy -= each.scatter_xy
        counts = self.counts
        for each in others:
            counts = None if counts is None or each.counts is None else counts - each.counts
        return Moments(n, mean_x, mean_y, scatter_xx, scatter_yy, scatter_xy, counts)

    def restricted(self, kept_x: NDArray[np.intp], kept_y: NDArray[np.intp]) -> Moments:
        """The statistics of some dimensions of each view, given by their indices."""
        return Moments(
            self.n,
            self.mean_x[kept_x],
            self.mean_y[kept_y],
            self.scatter_xx[np.ix_(kept_x, kept_x)],
            self.scatter_yy[np.ix_(kept_y, kept_y)],
            self.scatter_xy[np.ix_(kept_x, kept_y)],
            None if self.counts is None else self.counts[kept_y],
        )

    @property
    def dim_x(self) -> int:
        """Dimensions of view x."""
        return len(self.mean_x)

    @property
    def dim_y(self) -> int:
        """Dimensions of view y."""
        return len(self.mean_y)


def _of_chunk(x: NDArray[Any], y: NDArray[Any]) -> Moments:
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x -= mean_x
    y -= mean_y
    return Moments(len(x), mean_x, mean_y, x.T @ x, y.T @ y, x.T @ y)


def _of_labelled_chunk(x: NDArray[Any], labels: NDArray[np.intp], n_classes: int) -> Moments:
    n = len(x)
    x = x.astype(np.float64)
    mean_x = x.mean(axis=0)
    x -= mean_x
    counts = np.bincount(labels, minlength=n_classes)
    membership = sparse.csr_matrix((np.ones(n), (labels, np.arange(n))), shape=(n_classes, n))
    return Moments(
        n=n,
        mean_x=mean_x,
        mean_y=counts / n,
        scatter_xx=x.T @ x,
        scatter_yy=_one_hot_scatter(counts),
        scatter_xy=(membership @ x).T,  # x is centred: class sums are all there is
        counts=counts,
    )


class PartedRows:
    """The rows of a view in the parts of a split, to be paired with one view y after another.

    What depends on x alone is computed once: the moments of its parts, and (kept in ``derived`` by whoever
    computes it) what follows from them.

    Args:
        x: (n, dx).
        parts: (n,) the part of each row, 0..n_parts-1.
        n_parts: number of parts; a part may be empty.

    Raises:
        InputError: shapes do not fit, or x holds NaN.
    """

    def __init__(self, x: ArrayLike, parts: ArrayLike, *, n_parts: int = 10) -> None:
        x = as_rows(x, "view x")
        where, self.n_parts = as_labels(parts, n_parts)
        if len(where) != len(x):
            raise InputError(f"view x has {len(x)} rows, but there are {len(where)} part numbers", "pair them")
        self._order = np.argsort(where, kind="stable")
        self._sizes = np.bincount(where, minlength=n_parts)
        ends = np.cumsum(self._sizes)
        self._slices = [slice(int(end - size), int(end)) for end, size in zip(ends, self._sizes, strict=True)]
        self._rows = x[self._order].astype(np.float64)
        self._means = _centre(self._rows, self._slices)
        self._scatters = [self._rows[each].T @ self._rows[each] for each in self._slices]
        self.derived: dict[object, Any] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def moments(
        self, y: ArrayLike, *, n_classes: int | None = None, shuffle: np.random.Generator | None = None
    ) -> list[Moments]:
        """The moments of x and y in every part.

        Args:
            y: (n, dy), or (n,) integer labels: a one-hot view, whose rows are never made.
            n_classes: classes of a one-hot y; by default the largest label + 1.
            shuffle: permute the rows of y within each part by this generator.

        Raises:
            InputError: the numbers of rows differ, y holds NaN, or a label is outside 0..n_classes-1.
        """
        y = np.asarray(y)
        if y.ndim == 1:
            y, n_classes = as_labels(y, n_classes)
        else:
            y = as_rows(y, "view y")
        if len(y) != len(self):
            raise InputError(f"view x has {len(self)} rows, view y {len(y)}", "pair the rows")
        order = self._order
        if shuffle is not None:
            order = np.concatenate([shuffle.permutation(order[each]) for each in self._slices])
        y = y[order]
        if n_classes is not None and y.ndim == 1:
            return self._with_labels(y, n_classes)
        y = y.astype(np.float64)
        means = _centre(y, self._slices)
        return [
            Moments(
                n=int(self._sizes[part]),
                mean_x=self._means[part],
                mean_y=means[part],
                scatter_xx=self._scatters[part],
                scatter_yy=y[rows].T @ y[rows],
                scatter_xy=self._rows[rows].T @ y[rows],
            )
            for part, rows in enumerate(self._slices)
        ]

    def _with_labels(self, labels: NDArray[Any], n_classes: int) -> list[Moments]:
        n = len(labels)
        part_of = np.repeat(np.arange(self.n_parts), self._sizes)
        group = part_of * n_classes + labels
        counts = np.bincount(group, minlength=self.n_parts * n_classes).reshape(self.n_parts, n_classes)
        membership = sparse.csr_matrix((np.ones(n), (group, np.arange(n))), shape=(self.n_parts * n_classes, n))
        # x is centred, so the sum of x (y - mean_y)' over rows is the sum of x y': the class sums.
        sums = (membership @ self._rows).reshape(self.n_parts, n_classes, -1)
        return [
            Moments(
                n=int(self._sizes[part]),
                mean_x=self._means[part],
                mean_y=counts[part] / max(int(self._sizes[part]), 1),
                scatter_xx=self._scatters[part],
                scatter_yy=_one_hot_scatter(counts[part]),
                scatter_xy=sums[part].T,
                counts=counts[part],
            )
            for part in range(self.n_parts)
        ]


def _centre(rows: Array, slices: Sequence[slice]) -> Array:
    """Take each part's mean off its rows, in place; gives the means (parts, dim)."""
    means = np.zeros((len(slices), rows.shape[1]))
    for part, each in enumerate(slices):
        if each.stop > each.start:
            means[part] = rows[each].mean(axis=0)
            rows[each] -= means[part]
    return means


def _one_hot_scatter(counts: NDArray[np.int64]) -> Array:
    return np.diag(counts.astype(np.float64)) - np.outer(counts, counts / max(int(counts.sum()), 1))
