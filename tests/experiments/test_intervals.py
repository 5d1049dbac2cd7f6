import numpy as np
import pytest
from scipy import stats

from speechstrata.experiments.intervals import SEEDS, SETS, SPEAKERS, crossed_interval

_random = np.random.default_rng(5)


def test_one_axis_has_the_t_interval():
    values = _random.normal(2.0, 1.0, 7)
    interval = crossed_interval(values, [SEEDS], resamples=200_000)
    low, high = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert interval.degrees == pytest.approx(6)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_one_long_axis_has_scipys_bootstrap_error():
    values = _random.exponential(1.0, 200)
    ours = crossed_interval(values, [SETS], resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.03)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def test_crossed_axes_add_up_to_the_closed_form():
    """Without interaction the variance is the sum of the two axes' s^2 / n."""
    rows, columns = _random.normal(0, 1, 5), _random.normal(0, 2, 8)
    interval = crossed_interval(rows[:, None] + columns[None], [SEEDS, SETS], resamples=200_000)
    parts = rows.var(ddof=1) / 5, columns.var(ddof=1) / 8
    assert interval.standard_error**2 == pytest.approx(sum(parts), rel=0.02)
    satterthwaite = sum(parts) ** 2 / (parts[0] ** 2 / 4 + parts[1] ** 2 / 7)
    assert interval.degrees == pytest.approx(satterthwaite)


def test_pigeonhole_counts_interaction_at_most_three_times():
    """Values without any structure: Owen's bootstrap gives three times their share, never less than it."""
    values = _random.normal(0, 1, (30, 30))
    interval = crossed_interval(values, [SEEDS, SETS], resamples=50_000)
    assert interval.standard_error**2 == pytest.approx(3 * values.var() / 900, rel=0.15)


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 3, 6)])
def test_coverage(shape: tuple[int, ...]):
    """Skewed effects of seeds, normal ones of sets and speakers: at least 92 of 100 intervals of 95% hold the truth."""
    random = np.random.default_rng(11)
    axes = [SEEDS, SETS, SPEAKERS][: len(shape)]
    hits, trials = 0, 400
    for _ in range(trials):
        values = 0.3 * random.normal(size=shape)
        values += random.gamma(4.0, 0.5, shape[0]).reshape(-1, *[1] * (len(shape) - 1)) - 2.0
        for axis in range(1, len(shape)):
            across = [1] * len(shape)
            across[axis] = shape[axis]
            values = values + 0.5 * random.normal(size=across)
        interval = crossed_interval(values, axes, resamples=400)
        hits += interval.low <= 0.0 <= interval.high
    assert hits / trials > 0.92


def test_percentiles_of_three_seeds_would_not_do():
    """Why the interval is not a percentile one: it covers what it says only with many seeds."""
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        values = random.normal(size=3)
        drawn = values[random.integers(0, 3, (500, 3))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        hits += low <= 0 <= high
    assert hits / 300 < 0.85


def test_a_single_seed_is_said_to_lack_its_variance():
    interval = crossed_interval(_random.normal(size=(1, 3)), [SEEDS, SETS])
    assert interval.lacks == (SEEDS,)
    assert interval.high > interval.low
    assert interval.counts == {SEEDS: 1, SETS: 3}


def test_what_does_not_vary_has_no_width():
    interval = crossed_interval(np.full((4, 3), 0.1), [SEEDS, SETS])
    assert interval.low == interval.estimate == interval.high == pytest.approx(0.1)


def test_levels_nest_and_draws_repeat():
    values = _random.normal(size=(4, 3))
    interval = crossed_interval(values, [SEEDS, SETS])
    wider = interval.at(0.995)
    assert wider.low < interval.low < interval.high < wider.high
    assert interval == crossed_interval(values, [SEEDS, SETS])


def test_order_of_seeds_and_scale_do_not_matter():
    values = _random.normal(size=(6, 3))
    one = crossed_interval(values, [SEEDS, SETS], resamples=50_000)
    other = crossed_interval(10 * values[::-1], [SEEDS, SETS], resamples=50_000)
    assert other.standard_error == pytest.approx(10 * one.standard_error, rel=0.03)


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.array([[1.0, np.nan]]), np.zeros(3)])
def test_grids_that_are_none(values):
    with pytest.raises(ValueError, match="grid"):
        crossed_interval(values, [SEEDS, SETS])
