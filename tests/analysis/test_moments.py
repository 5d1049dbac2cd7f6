from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from speechstrata.analysis.moments import Moments, PartedRows
from speechstrata.analysis.parted_moments import PartedMoments
from speechstrata.errors import InputError, TooFewSamplesError

FIELDS = ("mean_x", "mean_y", "scatter_xx", "scatter_yy", "scatter_xy")


def views(n=400, dim_x=7, dim_y=3, seed=0, mean=0.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim_x)) @ rng.standard_normal((dim_x, dim_x)) + mean
    return x, x[:, :dim_y] * 0.5 + rng.standard_normal((n, dim_y))


def direct(x, y):
    """The definition, in extended precision."""
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x, y = x - mean_x, y - mean_y
    return Moments(len(x), mean_x, mean_y, x.T @ x, y.T @ y, x.T @ y)


def assert_same(ours, theirs, tolerance=1e-9, rounding=0.0):
    """``rounding``: what the last digits of the rows themselves, multiplied and summed, may come to."""
    assert ours.n == theirs.n
    for field in FIELDS:
        a, b = getattr(ours, field), np.asarray(getattr(theirs, field), dtype=np.float64)
        np.testing.assert_allclose(
            a, b, rtol=tolerance, atol=tolerance * np.abs(b).max(initial=1.0) + rounding, err_msg=field
        )


@given(
    cuts=st.lists(st.integers(0, 60), max_size=6),
    rows=arrays(np.float64, (60, 3), elements=st.floats(-1e3, 1e3, width=32)),
    order=st.randoms(use_true_random=False),
)
def test_any_chunks_in_any_order_add_up_to_the_whole(cuts, rows, order):
    x, y = rows, rows[:, ::-1][:, :2] ** 2
    edges = sorted({0, *cuts, 60})
    chunks = [Moments.from_rows(x[a:b], y[a:b]) for a, b in pairwise(edges)]
    order.shuffle(chunks)
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    rounding = 2**-52 * 60 * max(np.abs(x).max(), np.abs(y).max()) ** 2
    assert_same(total, direct(x, y), rounding=rounding)
    assert_same(Moments.merge(chunks), direct(x, y), rounding=rounding)


def test_a_mean_far_above_the_deviation_costs_no_digits():
    x, y = views(n=20_000, mean=1e6)
    assert_same(Moments.from_rows(x, y), direct(x, y))


def test_float32_rows_are_summed_in_float64():
    x, y = (view.astype(np.float32) for view in views(n=20_000, mean=100.0))
    assert_same(Moments.from_rows(x, y), direct(x, y))


def test_empty_moments_are_neutral():
    x, y = views()
    moments = Moments.from_rows(x, y)
    assert_same(Moments.empty(7, 3) + moments, moments, tolerance=1e-15)
    assert Moments.from_rows(x[:0], y[:0]).n == 0


def test_rows_can_be_added_and_taken_away():
    x, y = views()
    moments = Moments.from_rows(x[:300], y[:300]) + Moments.from_rows(x[300:], y[300:])
    assert_same(moments, direct(x, y))
    assert_same(
        moments.without(Moments.from_rows(x[:50], y[:50]), Moments.from_rows(x[50:99], y[50:99])),
        direct(x[99:], y[99:]),
    )


def test_restricted_moments_are_those_of_the_columns():
    x, y = views()
    moments = Moments.from_rows(x, y)
    assert_same(moments.restricted(np.array([0, 5]), np.array([2])), direct(x[:, [0, 5]], y[:, [2]]))


def test_labels_count_as_one_hot_rows():
    x, _ = views()
    labels = np.random.default_rng(1).integers(5, size=len(x))
    one_hot = np.eye(6)[labels]  # a class that does not occur
    ours = Moments.from_labels(x, labels, 6)
    assert_same(ours, direct(x, one_hot))
    assert ours.counts.tolist() == np.bincount(labels, minlength=6).tolist()
    half = Moments.from_labels(x[:200], labels[:200], 6) + Moments.from_labels(x[200:], labels[200:], 6)
    assert half.counts.tolist() == ours.counts.tolist()
    assert (half + Moments.from_rows(x, one_hot)).counts is None


@pytest.mark.parametrize("one_hot", [False, True])
def test_part_moments_are_those_of_each_parts_rows(one_hot):
    x, y = views(mean=50.0)
    rng = np.random.default_rng(2)
    parts = rng.integers(4, size=len(x))  # of five: the last is empty
    labels = rng.integers(3, size=len(x))
    given_y, dense = (labels, np.eye(3)[labels]) if one_hot else (y, y)
    for part, moments in enumerate(PartedRows(x, parts, n_parts=5).moments(given_y)):
        rows = parts == part
        assert_same(moments, direct(x[rows], dense[rows]) if rows.any() else Moments.empty(7, 3))


def test_shuffling_pairs_the_rows_anew_within_each_part():
    x, y = views()
    parts = np.arange(len(x)) % 2
    rows = PartedRows(x, parts, n_parts=2)
    true, shuffled = rows.moments(y), rows.moments(y, shuffle=np.random.default_rng(3))
    for a, b in zip(true, shuffled, strict=True):
        np.testing.assert_allclose(a.scatter_yy, b.scatter_yy, rtol=1e-9)
        assert np.abs(b.scatter_xy).max() < 0.6 * np.abs(a.scatter_xy).max()


@pytest.mark.parametrize("buffer_rows", [1, 700, 10_000])
def test_frames_in_batches_give_the_moments_of_their_rows(buffer_rows):
    x, y = views(n=3000, mean=1e3)
    x, y = x.astype(np.float32), y.astype(np.float32)
    z = np.hstack([x[:, :2], y])
    parts = np.random.default_rng(4).integers(4, size=len(x))
    layer = PartedMoments(7, {"y": 3, "z": 5}, n_parts=4, buffer_rows=buffer_rows)
    alone = {"y": PartedMoments(3, n_parts=4), "z": PartedMoments(5, n_parts=4, buffer_rows=7)}
    for start in range(0, len(x), 170):
        rows = slice(start, start + 170)
        layer.update(x[rows], parts[rows], {"y": y[rows], "z": z[rows]})
        alone["y"].update(y[rows], parts[rows])
        alone["z"].update(z[rows], parts[rows])
    for name, view in (("y", y), ("z", z)):
        for part, moments in enumerate(layer.moments(name, alone[name])):
            assert_same(moments, direct(x[parts == part], view[parts == part]), tolerance=1e-7)


def test_statistics_of_other_rows_are_not_paired():
    x, y = views()
    layer, other = PartedMoments(7, {"y": 3}, n_parts=1), PartedMoments(3, n_parts=1)
    layer.update(x, 0, {"y": y})
    other.update(y + 5, 0)
    with pytest.raises(InputError, match="other rows"):
        layer.moments("y", other)
    with pytest.raises(TooFewSamplesError):
        PartedMoments(7, {"y": 3}).moments("y", PartedMoments(3))


def test_what_is_wrong_is_named():
    x, y = views(n=20)
    with pytest.raises(InputError, match="20 rows, view y 19"):
        Moments.from_rows(x, y[:19])
    x[3, 2] = np.nan
    with pytest.raises(InputError, match=r"1 of 20 rows \(the first is row 3\)"):
        Moments.from_rows(x, y)
    with pytest.raises(InputError, match=r"shape \(20,\)"):
        Moments.from_rows(x[:, 0], y)
    with pytest.raises(InputError, match=r"label 7 is outside 0\.\.2"):
        Moments.from_labels(y, np.full(20, 7), 3)
    with pytest.raises(InputError, match="one integer per row"):
        Moments.from_labels(y, np.zeros(20), 3)
    with pytest.raises(InputError, match="different dimensions"):
        Moments.empty(2, 2) + Moments.empty(3, 2)
    with pytest.raises(InputError, match="shape"):
        PartedMoments(7).update(y, 0)
