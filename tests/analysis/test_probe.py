"""The linear probe, against scikit-learn's linear discriminants fold by fold."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from speechstrata.analysis.moments import Moments
from speechstrata.analysis.parts import grouped_parts
from speechstrata.analysis.probe import RIDGES, LinearProbe, probe_accuracy
from speechstrata.errors import InputError, TooFewSamplesError


def sample(seed=0, n=900, classes=7, dim=20, noise=1.5):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=rng.dirichlet(np.full(classes, 3)))
    x = rng.standard_normal((classes, dim))[labels] + noise * rng.standard_normal((n, dim))
    return (x * rng.uniform(0.01, 30, dim) + rng.uniform(-20, 20, dim)).astype(np.float32), labels


class Ridged(BaseEstimator):
    """A class's covariance, with a ridge."""

    def __init__(self, ridge):
        self.ridge = ridge

    def fit(self, x):
        self.covariance_ = np.cov(x.T, bias=True) + self.ridge * np.eye(x.shape[1])
        return self


def sklearn_probe(x, labels, ridge):
    discriminants = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Ridged(ridge))
    return make_pipeline(StandardScaler(), discriminants).fit(x.astype(np.float64), labels)


@pytest.mark.parametrize("ridge", RIDGES)
def test_every_prediction_is_that_of_sklearns_discriminants(ridge):
    x, labels = sample()
    probe = LinearProbe.fit(Moments.from_labels(x[:600], labels[:600], 7))
    expected = sklearn_probe(x[:600], labels[:600], ridge).predict(x[600:].astype(np.float64))
    np.testing.assert_array_equal(probe.predict(probe.standardised(x[600:]), ridge), expected)


def test_the_accuracy_is_that_of_sklearn_with_the_ridge_chosen_on_the_next_part():
    x, labels = sample(1)
    parts = np.arange(len(x)) % 5
    correct = majority = 0
    for test in range(5):
        dev = (test + 1) % 5
        train = (parts != test) & (parts != dev)
        models = [sklearn_probe(x[train], labels[train], ridge) for ridge in RIDGES]
        best = max(models, key=lambda model: model.score(x[parts == dev], labels[parts == dev]))
        correct += (best.predict(x[parts == test]) == labels[parts == test]).sum()
        majority += (labels[parts == test] == np.bincount(labels[train]).argmax()).sum()
    result = probe_accuracy(x, labels, parts)
    assert (result.accuracy, result.majority) == (correct / len(x), majority / len(x))
    assert result.n == len(x)
    assert result.accuracy > result.majority + 0.2


def test_it_is_the_same_whatever_the_order_of_rows_and_the_scale_of_dimensions():
    x, labels = sample(2)
    parts = np.arange(len(x)) % 10
    order = np.random.default_rng(0).permutation(len(x))
    result = probe_accuracy(x, labels, parts)
    assert probe_accuracy(x[order], labels[order], parts[order]) == result
    assert probe_accuracy(x * 8, labels, parts) == result


def test_states_that_say_nothing_give_about_the_majority():
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.3).astype(int)
    result = probe_accuracy(rng.standard_normal((2000, 10)), labels, np.arange(2000) % 10)
    assert result.accuracy == pytest.approx(result.majority, abs=0.02)


def test_what_tells_a_speaker_alone_does_not_help_across_speakers():
    """Every speaker has a phone of their own: within speakers the probe is right, across them it is not."""
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(20), 50)
    labels = speaker % 4
    x = rng.standard_normal((20, 40))[speaker] + 0.1 * rng.standard_normal((1000, 40))
    within = probe_accuracy(x, labels, np.arange(1000) % 10)
    across = probe_accuracy(x, labels, grouped_parts(speaker, rng))
    assert within.accuracy > 0.99
    assert across.accuracy < 0.6


def test_constant_and_repeated_dimensions_do_no_harm():
    x, labels = sample(3)
    padded = np.concatenate([x, np.full((len(x), 2), 3.7, np.float32), x[:, :3]], axis=1)
    result = probe_accuracy(padded, labels, np.arange(len(x)) % 10)
    assert result.accuracy == pytest.approx(probe_accuracy(x, labels, np.arange(len(x)) % 10).accuracy, abs=0.03)


def test_a_label_that_training_has_not_is_never_told():
    x, labels = sample(4)
    probe = LinearProbe.fit(Moments.from_labels(x, labels, 9))
    assert set(probe.predict(probe.standardised(x), 1.0)) <= set(labels)


@pytest.mark.parametrize(
    ("x", "labels", "parts", "error", "message"),
    [
        (np.ones((9, 2)), np.arange(9) % 2, np.arange(9) % 3, TooFewSamplesError, "constant"),
        (np.arange(18.0).reshape(9, 2), np.zeros(9, int), np.arange(9) % 3, TooFewSamplesError, "one class"),
        (np.arange(18.0).reshape(9, 2), np.arange(9) % 2, np.arange(9) % 2, TooFewSamplesError, "2 parts"),
        (np.arange(18.0).reshape(9, 2), np.arange(8) % 2, np.arange(9) % 3, InputError, "8 labels"),
    ],
)
def test_what_cannot_be_probed_is_refused(x, labels, parts, error, message):
    with pytest.raises(error, match=message):
        probe_accuracy(x, labels, parts)
