"""Canonical directions from the moments of training rows, and their projection-weighted score on others.

The steps and their order are those of the published procedure (see ``docs/protocol.md``), on second-order
statistics instead of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from speechstrata.analysis.moments import Moments
from speechstrata.errors import TooFewSamplesError

Array = NDArray[np.float64]
#: Applies a matrix from the left.
Root = Callable[[Array], Array]
NullDirection = Literal["drop", "keep"]
Weighting = Literal["smaller", "both"]

#: Ridge terms that change no whitened variance by more than this share of it count as one. Scores move by
#: 0.0003 to 0.022 of that share (measured over spectra from flat to 1 : 1e10): by 4e-8 at most.
SAME_RIDGE = 2e-6

#: The singular value that stands in for the noise of a null direction; see ``_stand_in``.
_STAND_IN = 1e-10

#: Up to so many singular values LAPACK's gesdd finds by QR iteration, whose number of sweeps, and with it the signs
#: of the vectors, hangs on the last bits of the matrix: those beyond these decimals are taken off. Scores move by
#: less than 1e-10, and no longer depend on the order of the rows.
_ITERATED = 25
_DECIMALS = 10

#: A row of variates whose part outside the span of the rows before it is smaller than this share of its
#: length is computed with care; smaller than the second, it adds no direction.
_NEARLY_DEPENDENT = 1e-4
_DEPENDENT = 1e-10


@dataclass(frozen=True)
class Directions:
    """Canonical directions fitted on training moments.

    Attributes:
        kept_x, kept_y: which dimensions are used, (kept dimensions,) indices.
        weights_x, weights_y: (kept dimensions, directions); variates are (rows - mean) @ weights.
        singular_values: (directions,) the ridged training correlations, descending.
        n_null: null directions of the two views that were dropped.
    """

    kept_x: NDArray[np.intp]
    kept_y: NDArray[np.intp]
    weights_x: Array
    weights_y: Array
    singular_values: Array
    n_null: int


class WhitenedView:
    """One view's training covariance, divided by its largest absolute entry, and its inverse square roots.

    One eigendecomposition serves every ridge term, since a ridge only shifts eigenvalues; a second one is
    made only where a larger ridge drops a dimension.

    Args:
        scatter: (dim, dim) sums of products of deviations.
        n: rows.
        name: for messages.
        counts: (dim,) rows per class, where the view is one-hot.

    Raises:
        TooFewSamplesError: the view is constant.
    """

    def __init__(self, scatter: Array, n: int, name: str, counts: NDArray[np.int64] | None = None) -> None:
        largest = float(np.abs(scatter).max())
        if not largest > 0:
            raise TooFewSamplesError(f"{name} is constant over the {n} training rows", "a score needs rows that differ")
        self.scale = largest / n
        self._counts = None if counts is None else (counts, largest)
        self._covariance = scatter / largest
        self._variances = np.diag(self._covariance).copy()
        self._eigen: dict[bytes, tuple[Array, Array]] = {}

    def kept(self, ridge: float) -> NDArray[np.intp]:
        """The dimensions whose variance is not below the ridge."""
        return np.flatnonzero(self._variances >= ridge)

    def eigen(self, ridge: float) -> tuple[Array, Array]:
        """Eigenvalues (ascending) and eigenvectors of the kept dimensions' covariance, without the ridge."""
        kept = self.kept(ridge)
        key = kept.tobytes()
        if key not in self._eigen:
            if self._counts is not None:
                counts, largest = self._counts
                values, vectors = _one_hot_eigh(counts[kept], int(counts.sum()))
                self._eigen[key] = values / largest, vectors
            elif len(kept) == len(self._variances):
                self._eigen[key] = np.linalg.eigh(self._covariance)
            else:
                self._eigen[key] = np.linalg.eigh(self._covariance[np.ix_(kept, kept)])
        return self._eigen[key]

    def factorises(self, ridge: float) -> bool:
        """Whether the ridged covariance is positive definite, with dimensions left."""
        return len(self.kept(ridge)) > 0 and bool(self.eigen(ridge)[0][0] + ridge > 0)

    def root(self, ridge: float, null_direction: NullDirection, columns: int) -> Root:
        """The symmetric inverse square root of the ridged covariance of the kept dimensions.

        With "drop" it maps null directions, which the ridge alone would whiten, to zero.

        Args:
            ridge: the regularisation.
            null_direction: "drop" or "keep".
            columns: how many columns it will be applied to, twice.
        """
        values, vectors = self.eigen(ridge)
        if null_direction == "drop":
            rank = self.rank(ridge)
            values, vectors = values[-rank:], vectors[:, -rank:]
        if 4 * columns < len(vectors):  # the matrix would cost more than what is saved by having it
            scales = ((values + ridge) ** -0.5)[:, None]
            return lambda matrix: np.asarray(vectors @ (scales * (vectors.T @ matrix)))
        half = vectors * (values + ridge) ** -0.25
        root: Array = half @ half.T
        return lambda matrix: np.asarray(root @ matrix)

    def rank(self, ridge: float) -> int:
        """Eigenvalues that are not zero to working precision (the rule of ``numpy.linalg.matrix_rank``)."""
        values, _ = self.eigen(ridge)
        return int((values > len(values) * np.finfo(np.float64).eps * values[-1]).sum())

    def null(self, ridge: float) -> Array:
        """The null directions of the kept dimensions, as columns; each with a sign that rounding does not decide."""
        values, vectors = self.eigen(ridge)
        null: Array = vectors[:, : len(values) - self.rank(ridge)]
        return null * np.where(null.sum(axis=0) < 0, -1.0, 1.0)

    def same(self, ridge: float, other: float) -> bool:
        """Whether the two ridge terms whiten alike: the same dimensions, variances within ``SAME_RIDGE``.

        Null directions do not count: they have no variance.
        """
        if len(self.kept(ridge)) != len(self.kept(other)):
            return False
        values, _ = self.eigen(ridge)
        smallest = values[len(values) - self.rank(ridge)]
        return bool(abs(ridge - other) <= SAME_RIDGE * (smallest + min(ridge, other)))


class TrainingSet:
    """The moments of a trial's training rows, ready to be factorised for any ridge terms.

    Args:
        moments: of the training rows.
        null_direction: whether directions without variance in the training rows are dropped or kept.
        x, y: the views, where they have been whitened for the same rows before.

    Raises:
        TooFewSamplesError: a view is constant.
    """

    def __init__(
        self,
        moments: Moments,
        *,
        null_direction: NullDirection = "drop",
        x: WhitenedView | None = None,
        y: WhitenedView | None = None,
    ) -> None:
        self.x = x or WhitenedView(moments.scatter_xx, moments.n, "view x")
        self.y = y or WhitenedView(moments.scatter_yy, moments.n, "view y", moments.counts)
        self.cross = moments.scatter_xy / (moments.n * np.sqrt(self.x.scale * self.y.scale))
        self.null_direction = null_direction

    def with_cross(self, moments: Moments) -> TrainingSet:
        """The same views, paired otherwise: the moments of a permutation of the rows of y."""
        return TrainingSet(moments, null_direction=self.null_direction, x=self.x, y=self.y)

    def same(self, ridge: tuple[float, float], other: tuple[float, float]) -> bool:
        """Whether two pairs of ridge terms give the same directions, as far as a score can tell."""
        if self.null_direction == "keep":
            return ridge == other  # a ridge scales the noise that is kept
        return self.x.same(ridge[0], other[0]) and self.y.same(ridge[1], other[1])

    def directions(self, ridge_x: float, ridge_y: float) -> Directions | None:
        """The canonical directions for these ridge terms; None where they do not factorise."""
        if not (self.x.factorises(ridge_x) and self.y.factorises(ridge_y)):
            return None
        kept_x, kept_y = self.x.kept(ridge_x), self.y.kept(ridge_y)
        fewest = min(len(kept_x), len(kept_y))
        root_x = self.x.root(ridge_x, self.null_direction, fewest)
        root_y = self.y.root(ridge_y, self.null_direction, fewest)
        cross = self.cross if self.cross.shape == (len(kept_x), len(kept_y)) else self.cross[np.ix_(kept_x, kept_y)]
        # Roots are symmetric: (root_y cross')' is cross root_y. The larger view's root meets the smaller matrix.
        whitened = root_y(root_x(cross).T).T if len(kept_x) <= len(kept_y) else root_x(root_y(cross.T).T)
        if self.null_direction == "drop":
            _stand_in(whitened, self.y.null(ridge_y))
            _stand_in(whitened.T, self.x.null(ridge_x))
        if min(whitened.shape) <= _ITERATED:
            whitened = np.round(whitened, _DECIMALS)
        # Symmetric roots, and LAPACK's own signs of the singular vectors, as published: the mean that is added
        # to each variate in scoring makes the weights depend on the signs.
        try:
            left, singular_values, right = np.linalg.svd(whitened, full_matrices=False)
        except np.linalg.LinAlgError:
            return None
        n_directions, n_null = len(singular_values), 0
        if self.null_direction == "drop":
            # The null directions' singular values are next to nothing: they come last.
            rank_x, rank_y = self.x.rank(ridge_x), self.y.rank(ridge_y)
            n_null = len(kept_x) - rank_x + len(kept_y) - rank_y
            n_directions = min(rank_x, rank_y)
        return Directions(
            kept_x,
            kept_y,
            root_x(left[:, :n_directions]),
            root_y(right[:n_directions].T),
            singular_values[:n_directions],
            n_null,
        )


def _stand_in(whitened: Array, null: Array) -> None:
    """Give each null direction of the columns' view (columns of ``null``) a fixed, tiny singular value, in place.

    Rounding noise gives it one of about 1e-12 in the published procedure, and LAPACK's signs of the *other*
    singular vectors follow from that noise where there are few directions: a score would depend on the order
    of the rows. A fixed value of ``_STAND_IN`` settles them; it turns the others by its square at most, and
    its own direction is dropped.
    """
    for row, direction in enumerate(null.T[: len(whitened)]):
        whitened[row] += _STAND_IN * direction


def score_part(part: Moments, directions: Directions, *, weighting: Weighting = "smaller") -> float:
    """The projection-weighted correlation of the variates on a part, centred by the part's own means.

    Args:
        part: the moments of the part's rows.
        directions: fitted on the training rows.
        weighting: "smaller": weights from the view with strictly fewer kept dimensions, else from y (as
            published). "both": the mean of the scores weighted from either view (the public code's
            ``mean_score``; there the larger view's sum over dimensions stops at the smaller view's number).

    Returns:
        A number in [-1, 1]; correlations are signed. A variate that is constant on the part counts as
        uncorrelated.
    """
    kept_x, kept_y = directions.kept_x, directions.kept_y
    if len(kept_x) < part.dim_x or len(kept_y) < part.dim_y:
        part = part.restricted(kept_x, kept_y)
    weights_x, weights_y = directions.weights_x, directions.weights_y
    spread_x = part.scatter_xx @ weights_x
    spread_y = _scatter_yy_times(part, weights_y)
    covariance = np.einsum("id,id->d", weights_x, part.scatter_xy @ weights_y)
    variance = np.einsum("id,id->d", weights_x, spread_x) * np.einsum("id,id->d", weights_y, spread_y)
    norm = np.sqrt(np.maximum(variance, 0))
    correlations = np.divide(covariance, norm, out=np.zeros_like(covariance), where=norm > 0)
    n_summed = min(len(kept_x), len(kept_y))
    scores = []
    if weighting == "both" or len(kept_x) < len(kept_y):
        projections = _projections(weights_x, spread_x, part.mean_x, part.n, lambda: _factor(part.scatter_xx, part.n))
        scores.append(_weighted_mean(correlations, projections[:, :n_summed]))
    if weighting == "both" or len(kept_x) >= len(kept_y):
        projections = _projections(weights_y, spread_y, part.mean_y, part.n, lambda: _factor_yy(part))
        scores.append(_weighted_mean(correlations, projections[:, :n_summed]))
    return float(np.mean(scores))


def _weighted_mean(correlations: Array, projections: Array) -> float:
    weights = np.abs(projections).sum(axis=1)
    total = weights.sum()
    return float(weights @ correlations / total) if total > 0 else 0.0


def _scatter_yy_times(part: Moments, weights: Array) -> Array:
    if part.counts is None:
        product: Array = part.scatter_yy @ weights
        return product
    # One-hot rows: diag(counts) - counts counts' / n.
    return part.counts[:, None] * (weights - (part.counts / max(part.n, 1)) @ weights)


def _projections(
    weights: Array, spread: Array, mean: Array, n: int, factor: Callable[[], tuple[Array, Array]]
) -> Array:
    """<p_i, y_j>, (directions, dimensions): the orthonormalised variates times the uncentred dimensions.

    Z has a row for each direction: the variates, plus the part's mean of dimension i in row i. With
    Z Z' = L L', P = L^-1 Z, and P Y' = L^-1 Z Y', where Z Y' = weights' scatter + n m mean'.

    Where rows of Z depend on those before them, to about 1e-10, Z' = (F - o mean') weights + o m' is decomposed
    instead, with F the coordinates of the dimensions, and o those of ones, in some orthonormal basis: the QR
    decomposition of that small matrix does not square its condition as Z Z' does. Rows that add nothing to
    the span of those before them get no weight.

    Args:
        weights: (dimensions, directions).
        spread: scatter @ weights, the scatter of the part.
        mean: (dimensions,) of the part.
        n: rows of the part.
        factor: gives F without the mean, F - o mean' (coordinates, dimensions), and o (coordinates,).
    """
    shift = mean[: weights.shape[1]]
    gram = weights.T @ spread + n * np.outer(shift, shift)
    try:
        lower = np.linalg.cholesky(gram)
        careful = bool((np.diag(lower) <= _NEARLY_DEPENDENT * np.sqrt(np.diag(gram))).any())
    except np.linalg.LinAlgError:
        careful = True
    if not careful:
        products = spread.T + n * np.outer(shift, mean)
        return np.asarray(solve_triangular(lower, products, lower=True, check_finite=False, overwrite_b=True))
    centred, ones = factor()
    variates = centred @ weights + np.outer(ones, shift)
    basis, upper = np.linalg.qr(variates)
    pivots = np.abs(np.diag(upper))
    projections = np.zeros((weights.shape[1], len(mean)))
    projections[: len(pivots)] = basis.T @ (centred + np.outer(ones, mean))
    lengths = np.linalg.norm(variates, axis=0)[: len(pivots)]
    projections[: len(pivots)][pivots <= _DEPENDENT * lengths] = 0
    return projections


def _factor(scatter: Array, n: int) -> tuple[Array, Array]:
    """See ``factor`` of ``_projections``: the first coordinate is that of ones, the others the principal axes."""
    values, vectors = np.linalg.eigh(scatter)
    values = np.maximum(values, 0)
    real = values > len(values) * np.finfo(np.float64).eps * values[-1]
    centred = np.vstack([np.zeros(len(values)), np.sqrt(values[real])[:, None] * vectors[:, real].T])
    ones = np.zeros(len(centred))
    ones[0] = np.sqrt(n)
    return centred, ones


def _factor_yy(part: Moments) -> tuple[Array, Array]:
    """``_factor`` of view y; a one-hot one has a coordinate for each class (and one for the rows of none of them):
    its indicator, over the square root of its count.
    """
    if part.counts is None:
        return _factor(part.scatter_yy, part.n)
    ones = np.sqrt([*part.counts, part.n - part.counts.sum()])
    centred = np.eye(len(ones), part.dim_y) * ones[:, None] - np.outer(ones, part.counts / part.n)
    return centred, ones


def _one_hot_eigh(counts: NDArray[np.int64], n: int) -> tuple[Array, Array]:
    """Eigenvalues (ascending) and eigenvectors of diag(counts) - counts counts' / n, the scatter of one-hot rows.

    Differences between classes of one size are eigenvectors; what is left has a dimension for each different
    size, of which a balanced sample has few.
    """
    sizes, group, members = np.unique(counts, return_inverse=True, return_counts=True)
    values = np.empty(len(counts))
    vectors = np.zeros((len(counts), len(counts)))
    together = sizes * np.sqrt(members)
    common, mixing = np.linalg.eigh(np.diag(sizes.astype(np.float64)) - np.outer(together, together) / n)
    values[: len(sizes)] = common
    vectors[:, : len(sizes)] = (mixing / np.sqrt(members)[:, None])[group]
    column = len(sizes)
    for number, many in enumerate(members):
        if many > 1:
            # The Householder reflection that takes the first axis to (1, ..., 1) / sqrt(many), without that axis.
            normal = np.full(many, -1 / np.sqrt(many))
            normal[0] += 1
            differences = np.eye(many) - np.outer(normal, normal) / normal[0]
            vectors[group == number, column : column + many - 1] = differences[:, 1:]
            values[column : column + many - 1] = sizes[number]
            column += many - 1
    order = np.argsort(values, kind="stable")
    return values[order], vectors[:, order]
