import numpy as np
import pytest
from scipy.stats import entropy

from speechstrata.experiments.curves import (
    block_mean,
    distance,
    early_peak,
    evenness,
    prominence,
    share,
    transformer_outputs,
)

BLOCKS = {"T0": "encoder0", "T1": "encoder0", "T2": "encoder0", "D0": "middle", "T3": "middle", "T4": "middle",
          "middle.post_skip": "middle", "U0": "decoder0", "T5": "decoder0", "T6": "decoder0"}  # fmt: skip


def _curve(*values: float) -> dict[str, float]:
    """T1 .. T6; every other tap has a value that must not count."""
    curve = dict.fromkeys(BLOCKS, 99.0)
    return curve | {f"T{number}": value for number, value in enumerate(values, 1)}


TWO_PEAKS = _curve(0.1, 0.2, 0.5, 0.8, 0.6, 0.7)
RISING = _curve(0.1, 0.2, 0.3, 0.4, 0.6, 0.7)


def test_only_transformer_outputs_count_in_the_order_of_their_numbers():
    names = ["projection", "T10", "T0", "T2", "D0", "T9-unnormed", "U0", "T1", "middle.post_skip"]
    assert transformer_outputs(names) == ["T1", "T2", "T10"]


def test_block_mean():
    assert block_mean(TWO_PEAKS, BLOCKS) == pytest.approx(0.65)
    assert np.isnan(block_mean({"T1": 1.0}, {"T1": "encoder0"}))


def test_early_peak_is_relative_to_the_last_block():
    assert early_peak(TWO_PEAKS, BLOCKS) == pytest.approx(0.1)
    assert early_peak(RISING, BLOCKS) == pytest.approx(-0.3)
    raised = {name: value + 5 for name, value in TWO_PEAKS.items()}
    assert early_peak(raised, BLOCKS) == pytest.approx(0.1)


def test_prominence_is_the_fall_between_two_peaks():
    assert prominence(TWO_PEAKS) == pytest.approx(0.2)
    assert prominence(RISING) == 0.0


def test_distance_is_a_metric_on_shared_outputs():
    assert distance(TWO_PEAKS, TWO_PEAKS) == 0.0
    assert distance(TWO_PEAKS, RISING) == pytest.approx(np.sqrt((0.2**2 + 0.4**2) / 6))
    assert distance(TWO_PEAKS, RISING) == distance(RISING, TWO_PEAKS)


def test_share():
    assert share({"T0": 1.0, "T1": 3.0}, ["T1"]) == 0.75
    assert np.isnan(share({"T0": 1.0}, ["T5"]))


def test_evenness_is_normalised_entropy():
    weights = np.random.default_rng(0).dirichlet(np.ones(15))
    assert evenness(weights) == pytest.approx(entropy(weights) / np.log(15))
    assert evenness([0.25] * 4) == pytest.approx(1.0)
    assert evenness([1.0, 0.0, 0.0]) == 0.0
