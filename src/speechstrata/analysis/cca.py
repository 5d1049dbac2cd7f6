"""Projection-weighted CCA by cross-validation, from second-order statistics alone.

The protocol is that of the published layer-wise analyses (Pasad et al., 2021 and 2023, after Morcos et
al., 2018); ``docs/protocol.md`` gives its equations. What differs from the public code: the whitened null
directions of a rank-deficient view (a one-hot view has one, since its dimensions add up to a constant)
are dropped, because there that code weights rounding noise. ``null_direction="keep"`` keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechstrata.analysis.moments import Moments, part_moments
from speechstrata.analysis.parts import TrialPlan, plan_trials
from speechstrata.errors import InputError, TooFewSamplesError
from speechstrata.seeds import generator

Array = NDArray[np.float64]
NullDirection = Literal["drop", "keep"]
Weighting = Literal["smaller", "both"]

#: Ridge pairs that factorise and are compared on the development part, per trial.
N_RIDGES = 6
#: Below this many training rows per dimension a score says more about the sample than about the views.
WARN_BELOW = 3.0


@dataclass(frozen=True)
class Trial:
    """One trial's outcome.

    Attributes:
        dev, test: the parts held out.
        ridge: the (eps_x, eps_y) that was best on the development part.
        dev_scores: the development score of each pair tried, in the order tried.
        score: on the test part.
        n_directions: pairs of canonical variates that were scored.
        n_null: null directions of the two views, in the training parts, that were dropped.
    """

    dev: int
    test: int
    ridge: tuple[float, float]
    dev_scores: tuple[tuple[tuple[float, float], float], ...]
    score: float
    n_directions: int
    n_null: int


@dataclass(frozen=True)
class CcaResult:
    """A cross-validated PWCCA score.

    Attributes:
        score: mean test score over the trials.
        trials: each trial's outcome.
        n: rows in all parts.
        dim_x, dim_y: dimensions of the views.
        null_direction: "drop" or "keep"; scores of the two kinds are not comparable for one-hot views.
        baseline: the score with the rows of y permuted within their part; None if not asked for.
        warning: what limits the meaning of the score, if anything does.
    """

    score: float
    trials: tuple[Trial, ...]
    n: int
    dim_x: int
    dim_y: int
    null_direction: NullDirection
    baseline: float | None = None
    warning: str | None = None


@dataclass(frozen=True)
class Directions:
    """Canonical directions fitted on training moments.

    Attributes:
        kept_x, kept_y: indices of the dimensions used, (kept dimensions,).
        weights_x, weights_y: (kept dimensions, directions); variates are (rows - mean) @ weights.
        singular_values: (directions,) the ridged training correlations, descending.
        n_null: null directions dropped.
    """

    kept_x: NDArray[np.intp]
    kept_y: NDArray[np.intp]
    weights_x: Array
    weights_y: Array
    singular_values: Array
    n_null: int


class _View:
    """One view's scaled training covariance; an eigendecomposition per set of kept dimensions."""

    def __init__(self, scatter: Array, n: int, name: str) -> None:
        covariance = scatter / n
        self.scale = float(np.abs(covariance).max())
        if not self.scale > 0:
            raise TooFewSamplesError(f"{name} is constant over the {n} training rows", "a score needs rows that differ")
        self.covariance = covariance / self.scale
        self.variances = np.diag(self.covariance)
        self._eigen: dict[bytes, tuple[NDArray[np.intp], Array, Array]] = {}

    def eigen(self, ridge: float) -> tuple[NDArray[np.intp], Array, Array]:
        """(kept dimensions, eigenvalues ascending, eigenvectors as columns), before the ridge is added.

        The ridge only shifts the eigenvalues; it changes the vectors only where it drops a dimension.
        """
        keep = self.variances >= ridge
        key = keep.tobytes()
        if key not in self._eigen:
            kept = np.flatnonzero(keep)
            values, vectors = np.linalg.eigh(self.covariance[np.ix_(kept, kept)])
            self._eigen[key] = kept, values, vectors
        return self._eigen[key]


class TrainingSet:
    """The training moments of a trial, ready to be factorised for any ridge terms.

    Args:
        moments: of the training rows.
        null_direction: whether directions without variance in the training rows are dropped or kept.

    Raises:
        TooFewSamplesError: a view is constant.
    """

    def __init__(self, moments: Moments, *, null_direction: NullDirection = "drop") -> None:
        self.x = _View(moments.scatter_xx, moments.n, "view x")
        self.y = _View(moments.scatter_yy, moments.n, "view y")
        self.cross = moments.scatter_xy / (moments.n * np.sqrt(self.x.scale * self.y.scale))
        self.null_direction = null_direction

    def directions(self, ridge_x: float, ridge_y: float) -> Directions | None:
        """The canonical directions for these ridge terms; None where they do not factorise."""
        kept_x, values_x, vectors_x = self.x.eigen(ridge_x)
        kept_y, values_y, vectors_y = self.y.eigen(ridge_y)
        if len(kept_x) == 0 or len(kept_y) == 0:
            return None
        if values_x[0] + ridge_x <= 0 or values_y[0] + ridge_y <= 0:
            return None
        # The symmetric root, whose singular vectors are the published ones, their signs (LAPACK's) included:
        # the mean that is added to each variate makes the projection weights depend on them.
        root_x = (vectors_x / np.sqrt(values_x + ridge_x)) @ vectors_x.T
        root_y = (vectors_y / np.sqrt(values_y + ridge_y)) @ vectors_y.T
        try:
            left, singular_values, right = np.linalg.svd(
                root_x @ self.cross[np.ix_(kept_x, kept_y)] @ root_y, full_matrices=False
            )
        except np.linalg.LinAlgError:
            return None
        n_directions, n_null = len(singular_values), 0
        if self.null_direction == "drop":
            # Null directions have rounding noise for singular values: they come last.
            rank_x, rank_y = int(_not_null(values_x).sum()), int(_not_null(values_y).sum())
            n_null = len(values_x) - rank_x + len(values_y) - rank_y
            n_directions = min(rank_x, rank_y)
        return Directions(
            kept_x,
            kept_y,
            root_x @ left[:, :n_directions],
            root_y @ right[:n_directions].T,
            singular_values[:n_directions],
            n_null,
        )


def _not_null(values: Array) -> NDArray[np.bool_]:
    """Which eigenvalues of a covariance are not zero to working precision (``matrix_rank``'s rule)."""
    return np.asarray(values > len(values) * np.finfo(np.float64).eps * values[-1])


def score_part(part: Moments, directions: Directions, *, weighting: Weighting = "smaller") -> float:
    """The projection-weighted correlation of the variates on a part, centred by the part's own means.

    Args:
        part: the moments of the part's rows.
        directions: fitted on the training rows.
        weighting: "smaller": weights from the view with strictly fewer kept dimensions, else from y (as
            published). "both": the mean of the scores weighted from either view (the public code's
            ``mean_score``, in which the larger view's sum over dimensions stops at the smaller view's number).

    Returns:
        A number in [-1, 1]; correlations are signed. A variate that is constant on the part counts as
        uncorrelated.
    """
    kept_x, kept_y = directions.kept_x, directions.kept_y
    weights_x, weights_y = directions.weights_x, directions.weights_y
    covariance = np.einsum("id,id->d", weights_x, part.scatter_xy[np.ix_(kept_x, kept_y)] @ weights_y)
    scatter_x = part.scatter_xx[np.ix_(kept_x, kept_x)]
    scatter_y = part.scatter_yy[np.ix_(kept_y, kept_y)]
    variance_x = np.einsum("id,id->d", weights_x, scatter_x @ weights_x)
    variance_y = np.einsum("id,id->d", weights_y, scatter_y @ weights_y)
    norm = np.sqrt(np.maximum(variance_x, 0) * np.maximum(variance_y, 0))
    correlations = np.divide(covariance, norm, out=np.zeros_like(covariance), where=norm > 0)

    n_summed = min(len(kept_x), len(kept_y))

    def from_x() -> float:
        return _weighted(correlations, weights_x, scatter_x, part.mean_x[kept_x], part.n, n_summed)

    def from_y() -> float:
        return _weighted(correlations, weights_y, scatter_y, part.mean_y[kept_y], part.n, n_summed)

    if weighting == "both":
        return (from_x() + from_y()) / 2
    return from_x() if len(kept_x) < len(kept_y) else from_y()


def _weighted(correlations: Array, weights: Array, scatter: Array, mean: Array, n: int, n_summed: int) -> float:
    """Correlations averaged with the projection weights of one view.

    The rows of Z are the variates, with the part's mean of dimension i added to row i; with Z = P' R, the
    weight of direction i is sum_j |<p_i, y_j>| over the view's uncentred dimensions y_j. Z is a linear map
    of the augmented rows (1, y), so P needs only a factor F of their second moments, F'F.
    """
    n_directions = weights.shape[1]
    values, vectors = np.linalg.eigh(scatter)
    real = _not_null(values)
    # (1, y) = (1, y - mean) @ [[1, mean], [0, I]], and 1 is orthogonal to the centred dimensions.
    root = np.sqrt(values[real])[:, None] * vectors[:, real].T
    uncentred = np.vstack([np.sqrt(n) * mean, root])
    variates = np.vstack([np.sqrt(n) * mean[:n_directions], root @ weights])
    basis, upper = np.linalg.qr(variates)
    pivots = np.abs(np.diag(upper))
    lengths = np.linalg.norm(variates, axis=0)[: len(pivots)]
    projections = np.abs(basis.T @ uncentred[:, :n_summed]).sum(axis=1)
    projections[pivots <= 1e-10 * lengths] = 0  # dependent on the rows before it: it spans nothing new
    total = projections.sum()
    if not total > 0:
        return 0.0
    return float(projections @ correlations[: len(projections)] / total)


def cross_validated_pwcca_from_moments(
    parts: Sequence[Moments],
    *,
    seed: int = 0,
    n_trials: int = 3,
    null_direction: NullDirection = "drop",
    weighting: Weighting = "smaller",
    trials: Sequence[TrialPlan] | None = None,
) -> CcaResult:
    """Cross-validated PWCCA from the moments of the parts; any number of rows, memory O(dim^2).

    Args:
        parts: moments of every part.
        seed: chooses the trials' parts and the order of the ridge terms.
        n_trials: trials with development and test parts of their own.
        null_direction: "drop" (default) or "keep" the directions without variance in training; "keep"
            resembles numbers of the public code, which are not reproducible for one-hot views.
        weighting: see ``score_part``.
        trials: the plan, instead of one made from ``seed``.

    Raises:
        TooFewSamplesError: the training parts have no more rows than the views have dimensions together
            (then two random views correlate perfectly), a held-out part has fewer than two rows, or a
            view is constant.
        InputError: the parts' dimensions differ, or no ridge term factorises.
    """
    if trials is None:
        trials = plan_trials(generator(seed, "cca"), n_parts=len(parts), n_trials=n_trials)
    outcomes = []
    smallest_training = None
    for plan in trials:
        training = Moments.merge([part for i, part in enumerate(parts) if i not in (plan.dev, plan.test)])
        _check_sizes(training, parts, plan)
        smallest_training = training.n if smallest_training is None else min(smallest_training, training.n)
        outcomes.append(_run_trial(training, parts, plan, null_direction, weighting))
    dim_x, dim_y = parts[0].dim_x, parts[0].dim_y
    assert smallest_training is not None
    warning = None
    if smallest_training < WARN_BELOW * max(dim_x, dim_y):
        warning = (
            f"{smallest_training} training rows for views of {dim_x} and {dim_y} dimensions: fewer than "
            f"{WARN_BELOW:g} a dimension"
        )
    return CcaResult(
        score=float(np.mean([outcome.score for outcome in outcomes])),
        trials=tuple(outcomes),
        n=sum(part.n for part in parts),
        dim_x=dim_x,
        dim_y=dim_y,
        null_direction=null_direction,
        warning=warning,
    )


def _check_sizes(training: Moments, parts: Sequence[Moments], plan: TrialPlan) -> None:
    needed = training.dim_x + training.dim_y
    if training.n <= needed:
        raise TooFewSamplesError(
            f"{training.n} training rows cannot carry a CCA of {training.dim_x} and {training.dim_y} "
            f"dimensions: with {needed} rows or fewer even noise correlates perfectly",
            "use more data, fewer classes, or fewer dimensions",
        )
    for held_out in (plan.dev, plan.test):
        if parts[held_out].n < 2:
            raise TooFewSamplesError(f"part {held_out} has {parts[held_out].n} rows", "use more rows, or fewer parts")


def _run_trial(
    training: Moments,
    parts: Sequence[Moments],
    plan: TrialPlan,
    null_direction: NullDirection,
    weighting: Weighting,
) -> Trial:
    fitted = TrainingSet(training, null_direction=null_direction)
    dev_scores: list[tuple[tuple[float, float], float]] = []
    best: Directions | None = None
    for ridge in plan.ridges:
        if len(dev_scores) == N_RIDGES:
            break
        directions = fitted.directions(*ridge)
        if directions is None:
            continue
        score = score_part(parts[plan.dev], directions, weighting=weighting)
        if best is None or score > max(each for _, each in dev_scores):
            best = directions
            chosen = ridge
        dev_scores.append((ridge, score))
    if best is None:
        raise InputError("no ridge term makes the covariances positive definite", "look at the views' scales")
    return Trial(
        dev=plan.dev,
        test=plan.test,
        ridge=chosen,
        dev_scores=tuple(dev_scores),
        score=score_part(parts[plan.test], best, weighting=weighting),
        n_directions=len(best.singular_values),
        n_null=best.n_null,
    )


def cross_validated_pwcca(
    x: ArrayLike,
    y: ArrayLike,
    parts: ArrayLike,
    *,
    n_parts: int = 10,
    n_classes: int | None = None,
    seed: int = 0,
    n_trials: int = 3,
    null_direction: NullDirection = "drop",
    weighting: Weighting = "smaller",
    trials: Sequence[TrialPlan] | None = None,
) -> CcaResult:
    """Cross-validated PWCCA of two views.

    Args:
        x: (n, dx), e.g. pooled states of a layer.
        y: (n, dy), or (n,) integer labels for a one-hot view.
        parts: (n,) the part of each row; see ``stratified_parts``.
        n_parts: number of parts.
        n_classes: classes of a one-hot y; by default the largest label + 1.
        seed, n_trials, null_direction, weighting, trials: see ``cross_validated_pwcca_from_moments``.

    Raises:
        TooFewSamplesError, InputError: see ``cross_validated_pwcca_from_moments`` and ``part_moments``.
    """
    return cross_validated_pwcca_from_moments(
        part_moments(x, y, parts, n_parts=n_parts, n_classes=n_classes),
        seed=seed,
        n_trials=n_trials,
        null_direction=null_direction,
        weighting=weighting,
        trials=trials,
    )
