"""Projection-weighted CCA by cross-validation, from second-order statistics alone.

The protocol is that of the published layer-wise analyses (Pasad et al., 2021 and 2023, after Morcos et
al., 2018); ``docs/protocol.md`` gives its equations. What differs from the public code: the null
directions of a rank-deficient view (a one-hot view has one, since its dimensions add up to a constant)
are dropped, because there that code weights rounding noise. ``null_direction="keep"`` keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from speechstrata.analysis.canonical import (
    Directions,
    NullDirection,
    TrainingSet,
    Weighting,
    WhitenedView,
    score_part,
)
from speechstrata.analysis.moments import Moments, PartedRows
from speechstrata.analysis.parts import TrialPlan, plan_trials
from speechstrata.errors import InputError, TooFewSamplesError
from speechstrata.seeds import generator

#: Ridge pairs that factorise and are compared on the development part, per trial.
N_RIDGES = 6
#: Below this many training rows per dimension a score says more about the sample than about the views.
WARN_BELOW = 3.0

Ridge = tuple[float, float]


@dataclass(frozen=True)
class Trial:
    """One trial's outcome.

    Attributes:
        dev, test: the parts held out.
        ridge: the (eps_x, eps_y) that was best on the development part; the first of equals.
        dev_scores: the pairs tried, in order, with their development scores. Pairs that whiten alike (see
            ``canonical.SAME_RIDGE``) are scored once.
        score: on the test part.
        n_directions: pairs of canonical variates that were scored.
        n_null: null directions of the two views, in the training parts, that were dropped.
    """

    dev: int
    test: int
    ridge: Ridge
    dev_scores: tuple[tuple[Ridge, float], ...]
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
        baseline: the first trial's test score with the rows of y permuted within their parts; None if not
            asked for.
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


def cross_validated_pwcca(
    x: ArrayLike | PartedRows,
    y: ArrayLike,
    parts: ArrayLike | None = None,
    *,
    n_parts: int = 10,
    n_classes: int | None = None,
    seed: int = 0,
    n_trials: int = 3,
    null_direction: NullDirection = "drop",
    weighting: Weighting = "smaller",
    baseline: bool = False,
    trials: Sequence[TrialPlan] | None = None,
) -> CcaResult:
    """Cross-validated PWCCA of two views.

    Args:
        x: (n, dx), e.g. pooled states of a layer; or a ``PartedRows``, which serves several views y (with
            one seed) for little more than the price of one.
        y: (n, dy), or (n,) integer labels for a one-hot view.
        parts: (n,) the part of each row, see ``parts.stratified_parts``; not with a ``PartedRows``.
        n_parts: number of parts; of a ``PartedRows``, its own.
        n_classes: classes of a one-hot y; by default the largest label + 1.
        seed, n_trials, null_direction, weighting, trials: see ``cross_validated_pwcca_from_moments``.
        baseline: also score the first trial with the rows of y permuted within their parts.

    Raises:
        TooFewSamplesError, InputError: see ``cross_validated_pwcca_from_moments`` and ``PartedRows``.
    """
    if not isinstance(x, PartedRows):
        if parts is None:
            raise InputError("rows without parts", "say in which part each row is")
        x = PartedRows(x, parts, n_parts=n_parts)
    moments = x.moments(y, n_classes=n_classes)
    if trials is None:
        trials = plan_trials(generator(seed, "cca"), n_parts=x.n_parts, n_trials=n_trials)
    outcome = _cross_validate(moments, trials, null_direction, weighting, x.derived)
    result = outcome.result
    if baseline:
        shuffled = x.moments(y, n_classes=n_classes, shuffle=generator(seed, "cca baseline"))
        plan, first = trials[0], outcome.training_sets[0]
        training = Moments.merge(shuffled).without(shuffled[plan.dev], shuffled[plan.test])
        directions = first.with_cross(training).directions(*result.trials[0].ridge)
        assert directions is not None  # the covariances are those that have factorised
        value = score_part(shuffled[plan.test], directions, weighting=weighting)
        result = replace(result, baseline=value)
    return result


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
    return _cross_validate(parts, trials, null_direction, weighting, {}).result


@dataclass(frozen=True)
class _Outcome:
    result: CcaResult
    training_sets: list[TrainingSet]


def _cross_validate(
    parts: Sequence[Moments],
    plans: Sequence[TrialPlan],
    null_direction: NullDirection,
    weighting: Weighting,
    derived: dict[object, WhitenedView],
) -> _Outcome:
    total = Moments.merge(parts)
    outcomes, training_sets = [], []
    for plan in plans:
        training = total.without(parts[plan.dev], parts[plan.test])
        _check_sizes(training, parts, plan)
        key = (plan.dev, plan.test)
        fitted = TrainingSet(training, null_direction=null_direction, x=derived.get(key))
        derived[key] = fitted.x
        training_sets.append(fitted)
        outcomes.append(_run_trial(fitted, parts, plan, weighting))
    fewest = total.n - max(parts[plan.dev].n + parts[plan.test].n for plan in plans)
    warning = None
    if fewest < WARN_BELOW * max(total.dim_x, total.dim_y):
        warning = (
            f"{fewest} training rows for views of {total.dim_x} and {total.dim_y} dimensions: fewer than "
            f"{WARN_BELOW:g} a dimension"
        )
    result = CcaResult(
        score=float(np.mean([outcome.score for outcome in outcomes])),
        trials=tuple(outcomes),
        n=total.n,
        dim_x=total.dim_x,
        dim_y=total.dim_y,
        null_direction=null_direction,
        warning=warning,
    )
    return _Outcome(result, training_sets)


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


def _run_trial(fitted: TrainingSet, parts: Sequence[Moments], plan: TrialPlan, weighting: Weighting) -> Trial:
    dev_scores: list[tuple[Ridge, float]] = []
    best: tuple[float, Ridge, Directions] | None = None
    for ridge in plan.ridges:
        if len(dev_scores) == N_RIDGES:
            break
        alike = next((score for tried, score in dev_scores if fitted.same(ridge, tried)), None)
        if alike is not None:
            dev_scores.append((ridge, alike))
            continue
        directions = fitted.directions(*ridge)
        if directions is None:
            continue
        score = score_part(parts[plan.dev], directions, weighting=weighting)
        dev_scores.append((ridge, score))
        if best is None or score > best[0]:
            best = score, ridge, directions
    if best is None:
        raise InputError("no ridge term makes the covariances positive definite", "look at the views' scales")
    _, chosen, directions = best
    return Trial(
        dev=plan.dev,
        test=plan.test,
        ridge=chosen,
        dev_scores=tuple(dev_scores),
        score=score_part(parts[plan.test], directions, weighting=weighting),
        n_directions=len(directions.singular_values),
        n_null=directions.n_null,
    )
