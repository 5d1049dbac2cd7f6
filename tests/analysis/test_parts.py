import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.analysis.parts import (
    LARGER_RIDGES,
    RIDGES,
    grouped_parts,
    plan_trials,
    random_parts,
    stratified_parts,
)
from speechstrata.errors import InputError, TooFewSamplesError


@given(labels=st.lists(st.integers(0, 6), min_size=1, max_size=200), n_parts=st.integers(2, 10))
def test_every_label_is_spread_evenly(labels, n_parts):
    labels = np.array(labels)
    parts = stratified_parts(labels, np.random.default_rng(0), n_parts=n_parts)
    assert np.ptp(np.bincount(parts, minlength=n_parts)) <= 1
    for label in np.unique(labels):
        assert np.ptp(np.bincount(parts[labels == label], minlength=n_parts)) <= 1


def test_rows_of_a_label_are_dealt_at_random_but_reproducibly():
    labels = np.zeros(1000, dtype=int)
    draw = [stratified_parts(labels, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert (draw[0] == draw[1]).all()
    assert (draw[0] != draw[2]).mean() > 0.8
    neighbours = (draw[0][1:] - draw[0][:-1]) % 10
    assert np.ptp(np.bincount(neighbours, minlength=10)) < 80  # not in rotation


def test_a_group_is_in_one_part_and_parts_are_about_equal():
    groups = np.repeat(np.arange(60), np.random.default_rng(0).integers(1, 20, size=60))
    parts = grouped_parts(groups, np.random.default_rng(1))
    assert all(len(np.unique(parts[groups == group])) == 1 for group in range(60))
    sizes = np.bincount(parts, minlength=10)
    assert np.ptp(sizes) <= 4
    with pytest.raises(TooFewSamplesError, match="9 groups"):
        grouped_parts(np.arange(9), np.random.default_rng(0))


def test_random_parts_are_equal_to_a_row():
    parts = random_parts(123, np.random.default_rng(0))
    assert np.ptp(np.bincount(parts)) == 1


def test_trials_hold_out_different_parts_and_try_the_published_ridge_terms():
    plans = plan_trials(np.random.default_rng(0))
    held_out = [part for plan in plans for part in (plan.dev, plan.test)]
    assert len(set(held_out)) == 6
    for plan in plans:
        assert set(plan.ridges[:9]) == {(a, b) for a in RIDGES for b in RIDGES}
        assert set(plan.ridges[9:]) == {(a, b) for a in LARGER_RIDGES for b in LARGER_RIDGES}
    assert plans[0].ridges != plans[1].ridges
    with pytest.raises(InputError, match="4 trials"):
        plan_trials(np.random.default_rng(0), n_parts=8, n_trials=4)
