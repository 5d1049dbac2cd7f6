"""Curves as CSV: every digit, and nothing after the step that a run resumes from."""

from pathlib import Path

import pytest

from speechstrata.errors import InputError
from speechstrata.pretraining.curves import CurveLogger, read_curve


def test_numbers_come_back_to_the_last_digit(tmp_path: Path) -> None:
    logger = CurveLogger(tmp_path, 0)
    values = [0.1 + 0.2, 1e-300, 12345678.123456789]
    for step, value in enumerate(values):
        logger.log_metrics({"train/loss": value, "train/accuracy": value / 3}, step)
    logger.log_metrics({"validation/loss": 5.0}, 2)
    assert [row["loss"] for row in read_curve(tmp_path / "train.csv")] == values
    assert [row["accuracy"] for row in read_curve(tmp_path / "train.csv")] == [value / 3 for value in values]
    assert read_curve(tmp_path / "validation.csv") == [{"step": 2.0, "loss": 5.0}]


def test_a_resumed_run_forgets_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    logger = CurveLogger(tmp_path, 0)
    for step in (5, 10, 15, 20):
        logger.log_metrics({"train/loss": float(step)}, step)
    with (tmp_path / "train.csv").open("a") as file:
        file.write("25,24.9")  # a kill in the middle of a line
    assert [row["step"] for row in read_curve(tmp_path / "train.csv")] == [5, 10, 15, 20]
    resumed = CurveLogger(tmp_path, 10)
    resumed.log_metrics({"train/loss": 15.5}, 15)
    assert [row["loss"] for row in read_curve(tmp_path / "train.csv")] == [5, 10, 15.5]
    assert (tmp_path / "train.csv").read_text().count("step") == 1


def test_a_missing_curve_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.csv"):
        read_curve(tmp_path / "train.csv")
