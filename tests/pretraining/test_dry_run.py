"""The dry run tells what the run will do."""

from typing import Any

import pytest

from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.pretraining.dry_run import dry_run_cuts
from speechstrata.pretraining.module import build_model
from speechstrata.pretraining.recipes import config_from


def test_the_report_counts_what_the_plan_plans(cuts: list[Any], settings: dict[str, Any]) -> None:
    config = config_from(settings, "test")
    report = dry_run_cuts(config, cuts)
    assert (report.steps, report.batches_per_step, report.processes) == (20, 2, 1)
    assert report.utterances < len(cuts)
    assert report.epochs == pytest.approx(40 / report.batches_per_epoch)
    assert report.hours + report.validation_hours == pytest.approx(sum(cut.duration for cut in cuts) / 3600, rel=0.02)
    assert report.audio_hours == pytest.approx(report.epochs * report.hours, rel=0.1)
    assert report.real_time_factor > 1
    assert report.run_hours * 3600 == pytest.approx(report.audio_hours * 3600 / report.real_time_factor)
    assert report.peak_bytes > report.state_bytes
    assert any("steps         20" in line for line in report.lines())


def test_an_epoch_of_one_batch_is_measured_too(cuts: list[Any], settings: dict[str, Any]) -> None:
    data = settings["data"] | {"buckets": 1, "batch_seconds": 200.0}
    report = dry_run_cuts(config_from(settings | {"data": data}, "test"), cuts)
    assert report.batches_per_epoch == 1
    assert report.real_time_factor > 0


def test_parameters_are_the_models(cuts: list[Any], settings: dict[str, Any]) -> None:
    from speechstrata.pretraining.prepare import network_config
    from speechstrata.pretraining.units import UnitStore

    config = config_from(settings, "test")
    network = network_config(config, [UnitStore.open(config.data.targets[0])])
    assert isinstance(network, NetworkConfig)
    weights = build_model(network, 1).parameters()
    assert dry_run_cuts(config, cuts).parameters == sum(weight.numel() for weight in weights)
