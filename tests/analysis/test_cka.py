"""CKA from covariances, against Gram matrices and the statistics' own definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.analysis.cka import debiased_cka, linear_cka, one_hot_norms, permuted_cka
from speechstrata.analysis.moments import Moments
from speechstrata.errors import TooFewSamplesError


def gram_cka(x, y):
    """CKA as it is defined: the cosine of two centred Gram matrices."""
    n = len(x)
    centring = np.eye(n) - 1 / n
    k, m = centring @ (x @ x.T) @ centring, centring @ (y @ y.T) @ centring
    return np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m))


def unbiased_hsic(k, m):
    """The U-statistic of Song et al. (2012), equation 5, on Gram matrices with zero diagonals."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    ones = np.ones(n)
    terms = np.trace(k @ m) + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
    return (terms - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))


def views(seed, n, dx, dy, shared=1.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dx)) * rng.uniform(0.1, 5, dx) + rng.uniform(-10, 10, dx)
    y = shared * x @ rng.standard_normal((dx, dy)) + rng.standard_normal((n, dy))
    return x, y


def debiased(x, y):
    centred = [np.square(view - view.mean(axis=0)).sum(axis=1) for view in (x, y)]
    return debiased_cka(Moments.from_rows(x, y), *centred)


@given(seed=st.integers(0, 1000), n=st.integers(5, 60), dx=st.integers(1, 20), dy=st.integers(1, 20))
def test_it_is_the_cosine_of_centred_gram_matrices(seed, n, dx, dy):
    x, y = views(seed, n, dx, dy, shared=0.2)
    assert linear_cka(Moments.from_rows(x, y)) == pytest.approx(gram_cka(x, y), abs=1e-10)


@given(seed=st.integers(0, 1000), n=st.integers(40, 80), dx=st.integers(1, 12), dy=st.integers(1, 12))
def test_debiased_it_is_the_ratio_of_unbiased_estimates(seed, n, dx, dy):
    x, y = views(seed, n, dx, dy, shared=0.2)
    k, m = x @ x.T, y @ y.T
    expected = unbiased_hsic(k, m) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(m, m))
    assert debiased(x, y) == pytest.approx(expected, abs=1e-8)


def test_labels_are_their_one_hot_rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 200)
    x = rng.standard_normal((200, 5)) + labels[:, None]
    one_hot = np.eye(7)[labels]
    moments = Moments.from_labels(x, labels, 7)
    assert linear_cka(moments) == pytest.approx(gram_cka(x, one_hot), abs=1e-12)
    norms = one_hot_norms(moments.counts, labels)
    np.testing.assert_allclose(norms, np.square(one_hot - one_hot.mean(axis=0)).sum(axis=1), atol=1e-12)
    norms_x = np.square(x - x.mean(axis=0)).sum(axis=1)
    assert debiased_cka(moments, norms_x, norms) == pytest.approx(debiased(x, one_hot), abs=1e-12)


def test_parts_add_up():
    x, y = views(1, 300, 6, 4)
    parts = [Moments.from_rows(x[i::10], y[i::10]) for i in range(10)]
    assert linear_cka(Moments.merge(parts)) == pytest.approx(gram_cka(x, y), abs=1e-12)


def test_rotations_and_a_common_scale_do_not_move_it_but_single_scales_do():
    x, y = views(2, 100, 5, 3, shared=0.3)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    score = linear_cka(Moments.from_rows(x, y))
    assert linear_cka(Moments.from_rows(7 * x @ rotation + 3, y)) == pytest.approx(score, abs=1e-12)
    assert linear_cka(Moments.from_rows(x * [100, 1, 1, 1, 1], y)) != pytest.approx(score, abs=1e-3)
    assert linear_cka(Moments.from_rows(x, x)) == pytest.approx(1, abs=1e-12)


def test_the_permuted_level_is_the_mean_over_permutations():
    x, y = views(3, 40, 8, 6)
    rng = np.random.default_rng(0)
    draws = [linear_cka(Moments.from_rows(x, y[rng.permutation(40)])) for _ in range(4000)]
    exact = permuted_cka(Moments.from_rows(x, y))
    assert exact == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(len(draws)))


def test_unrelated_views_give_the_level_plainly_and_zero_without_bias():
    rng = np.random.default_rng(0)
    plain, without = [], []
    for _ in range(200):
        x, y = rng.standard_normal((100, 30)), rng.standard_normal((100, 20))
        plain.append(linear_cka(Moments.from_rows(x, y)))
        without.append(debiased(x, y))
    assert np.mean(plain) > 0.15
    assert np.mean(without) == pytest.approx(0, abs=4 * np.std(without) / np.sqrt(200))


def test_too_few_rows_and_constant_views_are_refused():
    x, y = views(4, 3, 2, 2)
    with pytest.raises(TooFewSamplesError, match="constant view"):
        linear_cka(Moments.from_rows(np.ones((10, 2)), np.arange(20.0).reshape(10, 2)))
    with pytest.raises(TooFewSamplesError, match="1 rows"):
        permuted_cka(Moments.from_rows(x[:1], y[:1]))
    with pytest.raises(TooFewSamplesError, match="3 rows"):
        debiased(x, y)
