"""Intervals for a mean over training seeds, sample sets and speakers, by a crossed bootstrap.

Every statistic of the reproduction is a mean over a complete grid: a value for each training seed, each sample set and,
where scores are by speaker, each speaker. All of these are random and crossed: one seed's models are scored on every
sample set. So each axis is resampled on its own and all together (Owen's pigeonhole bootstrap, 2007).

A training seed costs a training, so there are few. Two things follow. Of n seeds, n - 1 are drawn: the bootstrap
variance of a mean is then s^2 / n, not (n - 1) / n of it (McCarthy and Snowden, 1985). And the interval is the estimate
-+ t times the bootstrap's standard error, with the degrees of freedom of Satterthwaite's rule, not the bootstrap's
percentiles: those of three seeds never leave the range of the three, which holds the median three times in four.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from speechstrata.seeds import generator

#: Axes, in words; the singular is what one of them is.
SEEDS, SETS, SPEAKERS, PROBES = "training seeds", "sample sets", "groups of speakers", "probe seeds"


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        estimate: the mean over the grid.
        low: the interval's lower end; equal to ``estimate`` where nothing varies.
        high: its upper end.
        level: its nominal coverage.
        standard_error: of the bootstrap.
        degrees: of freedom of the t distribution; infinite where nothing varies.
        counts: axis -> its length.
        lacks: axes of length 1: their variance is not in the interval.
    """

    estimate: float
    low: float
    high: float
    level: float
    standard_error: float
    degrees: float
    counts: dict[str, int]
    lacks: tuple[str, ...]

    def at(self, level: float) -> "Interval":
        """The same estimate's interval at another level."""
        half = _half_width(self.standard_error, self.degrees, level)
        return replace(self, low=self.estimate - half, high=self.estimate + half, level=level)


def crossed_interval(
    values: NDArray[np.float64],
    axes: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = 5_000,
    seed: int = 0,
) -> Interval:
    """The mean of a complete grid, and where the mean over all seeds, sample sets and speakers may be.

    The variance that the axes share (their interaction) is counted once for each and once together, as the pigeonhole
    bootstrap does: the interval is rather too wide than too narrow.

    Args:
        values: finite, one dimension per axis.
        axes: what each dimension is.
        level: of the interval.
        resamples: draws of the bootstrap.
        seed: of the draws.

    Raises:
        ValueError: an empty grid, values that are not finite, or axes that do not fit.
    """
    if values.ndim != len(axes) or values.size == 0:
        raise ValueError(f"a grid of shape {values.shape} does not have the axes {', '.join(axes)}")
    if not np.isfinite(values).all():
        raise ValueError("the grid has values that are not finite")
    draws = _bootstrap_means(values, resamples, generator(seed, "bootstrap", *axes, *values.shape))
    estimate = float(values.mean())
    standard_error = float(draws.std())
    if standard_error <= np.finfo(float).eps * max(1.0, abs(estimate)) * values.size:
        standard_error = 0.0  # rounding
    counts = dict(zip(axes, values.shape, strict=True))
    lacks = tuple(axis for axis, count in counts.items() if count == 1)
    return Interval(estimate, estimate, estimate, level, standard_error, _degrees(values), counts, lacks).at(level)


def _half_width(standard_error: float, degrees: float, level: float) -> float:
    from scipy.stats import t as t_distribution

    return float(t_distribution.ppf((1 + level) / 2, degrees)) * standard_error if standard_error > 0 else 0.0


def _bootstrap_means(values: NDArray[np.float64], resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Means of grids whose every axis of n > 1 has been resampled, n - 1 of n with replacement."""
    means = np.broadcast_to(values, (resamples, *values.shape))
    for count in reversed(values.shape):  # the last axis first: each step averages one away
        drawn = max(count - 1, 1)
        weights = random.multinomial(drawn, np.full(count, 1 / count), size=resamples) / drawn
        means = np.einsum("b...i,bi->b...", means, weights)
    return means


def _degrees(values: NDArray[np.float64]) -> float:
    """Satterthwaite's degrees of freedom of the sum of the variances that the axes bring to the mean."""
    variances, squares = 0.0, 0.0
    for axis, count in enumerate(values.shape):
        if count == 1:
            continue
        others = tuple(other for other in range(values.ndim) if other != axis)
        variance = float(values.mean(axis=others).var(ddof=1)) / count
        variances += variance
        squares += variance**2 / (count - 1)
    return variances**2 / squares if squares > 0 else float("inf")
