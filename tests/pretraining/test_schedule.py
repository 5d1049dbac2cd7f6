"""The learning rate against the public code's values."""

import json
from pathlib import Path

import pytest

from speechstrata.pretraining.config import OptimizerConfig
from speechstrata.pretraining.schedule import learning_rate

PUBLISHED = json.loads((Path(__file__).parents[1] / "data/pretraining/published.json").read_text())["learning_rate"]


def test_learning_rates_equal_the_published_ones() -> None:
    config = OptimizerConfig(
        steps=PUBLISHED["total"],
        warmup_steps=PUBLISHED["warmup_updates"],
        learning_rate=PUBLISHED["lr"],
        end_learning_rate=PUBLISHED["end"],
        decay_power=PUBLISHED["power"],
    )
    for updates, expected in PUBLISHED["rows"]:
        assert learning_rate(updates, config) == pytest.approx(expected, rel=1e-12, abs=1e-20)


def test_without_a_warmup_the_peak_comes_first_and_the_end_last() -> None:
    config = OptimizerConfig(steps=10, warmup_steps=0, learning_rate=1.0, end_learning_rate=0.1, decay_power=2.0)
    assert learning_rate(0, config) == 1.0
    assert learning_rate(5, config) == pytest.approx(0.1 + 0.9 * 0.25)
    assert learning_rate(10, config) == learning_rate(99, config) == 0.1


def test_a_run_of_warmup_alone_ends_at_the_peak() -> None:
    config = OptimizerConfig(steps=4, warmup_steps=4, learning_rate=1.0)
    assert [learning_rate(step, config) for step in range(5)] == [0.25, 0.25, 0.5, 0.75, 1.0]
