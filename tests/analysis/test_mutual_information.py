import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import mutual_info_score

from speechstrata.analysis.mutual_information import (
    contingency_information,
    entropy,
    mutual_information,
    score_clusters,
)
from speechstrata.errors import InputError, TooFewSamplesError

labellings = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5)), min_size=1, max_size=80)


@given(labellings)
def test_information_is_scikit_learns(pairs):
    clusters, labels = np.array(pairs).T
    assert contingency_information(clusters, labels) == pytest.approx(mutual_info_score(labels, clusters), abs=1e-12)


@given(labellings)
def test_information_is_symmetric_and_bounded_by_the_entropies(pairs):
    clusters, labels = np.array(pairs).T
    information = contingency_information(clusters, labels)
    assert information == pytest.approx(contingency_information(labels, clusters), abs=1e-12)
    assert 0 <= information <= min(entropy(labels), entropy(clusters)) + 1e-12
    assert contingency_information(labels, labels) == pytest.approx(entropy(labels), abs=1e-12)


@given(labellings, st.permutations(range(9)))
def test_the_names_of_clusters_do_not_matter(pairs, names):
    clusters, labels = np.array(pairs).T
    renamed = np.array(names)[clusters]
    assert contingency_information(renamed, labels) == pytest.approx(
        contingency_information(clusters, labels), abs=1e-12
    )


def test_thousands_of_clusters_and_labels_need_no_table():
    rng = np.random.default_rng(0)
    clusters, labels = rng.integers(10**6, size=5000), rng.integers(10**5, size=5000)
    assert contingency_information(clusters, labels) == pytest.approx(mutual_info_score(labels, clusters), abs=1e-9)


def phones(n=4000, dim=30, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(20, size=n)
    return np.random.default_rng(9).standard_normal((20, dim))[labels] + rng.standard_normal((n, dim)), labels


def test_clusters_fitted_elsewhere_tell_as_much_as_scikit_learns():
    (train, _), (x, labels) = phones(), phones(seed=1)
    ours = [mutual_information(train, x, labels, k=60, seed=seed).normalised for seed in range(4)]
    theirs = [
        mutual_info_score(labels, KMeans(60, n_init=1, random_state=seed).fit(train).predict(x)) / entropy(labels)
        for seed in range(4)
    ]
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.02)


def test_the_result_says_what_it_is_of():
    (train, _), (x, labels) = phones(n=1000), phones(n=500, seed=1)
    result = mutual_information(train, x, labels, k=50, seed=2)
    assert result == mutual_information(train, x, labels, k=50, seed=2)
    assert (result.n_train, result.n, result.k, result.classes) == (1000, 500, 50, 20)
    assert result.normalised == pytest.approx(result.nats / result.entropy)
    assert 0 < result.clusters_used <= 50


def test_the_baseline_is_what_unrelated_labels_get():
    (train, _), (x, labels) = phones(), phones(n=600, seed=1)
    result = mutual_information(train, x, labels, k=200, seed=0)
    shuffled = mutual_information(train, x, np.random.default_rng(5).permutation(labels), k=200, seed=0)
    # 600 spans in 200 clusters: the estimate is far above zero without any relation, and the baseline says so.
    assert shuffled.nats > 0.5
    assert result.baseline_nats == pytest.approx(shuffled.nats, rel=0.05)
    assert result.baseline == pytest.approx(result.baseline_nats / result.entropy)
    assert mutual_information(train, x, labels, k=200, n_permutations=0).baseline is None


def test_scoring_on_the_fitted_rows_would_flatter():
    train, labels = phones(n=400)
    noise = np.random.default_rng(3).standard_normal(train.shape)
    same = mutual_information(noise, noise, labels, k=200)
    other = mutual_information(noise, np.random.default_rng(4).standard_normal((8000, 30)), np.arange(8000) % 20, k=200)
    assert same.normalised > 0.5 > 5 * other.normalised


def test_more_clusters_than_the_spans_carry_are_refused():
    train, labels = phones(n=99)
    with pytest.raises(TooFewSamplesError, match=r"k = 50 clusters cannot be fitted to 99 training rows"):
        mutual_information(train, train, labels, k=50)
    assert mutual_information(train, train, labels, k=49).k == 49
    with pytest.raises(TooFewSamplesError, match="k = 1"):
        mutual_information(train, train, labels, k=1)


def test_one_label_has_nothing_to_tell():
    with pytest.raises(TooFewSamplesError, match="one label"):
        score_clusters(np.arange(10) % 3, np.zeros(10, dtype=int), k=3, n_train=10)


def test_what_does_not_fit_is_named():
    train, labels = phones(n=100)
    with pytest.raises(InputError, match="99 labels"):
        mutual_information(train, train, labels[:99], k=5)
    with pytest.raises(InputError, match="equal dimensions"):
        mutual_information(train, train[:, :7], labels, k=5)
    with pytest.raises(InputError, match="3 clusters, but 2 labels"):
        contingency_information([0, 1, 2], [0, 1])
    with pytest.raises(TooFewSamplesError):
        contingency_information(np.zeros(0, dtype=int), np.zeros(0, dtype=int))


def test_the_entropy_of_one_label_is_zero_to_the_last_bit():
    assert all(entropy(np.full(n, 3)) == 0 for n in range(1, 300))
