"""Training runs: they learn, resume to the bit, share work among processes, and survive faults."""

import copy
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lhotse import CutSet
from safetensors.torch import load_file

from speechstrata.errors import InputError, SpeechstrataError
from speechstrata.files import read_json
from speechstrata.pretraining import checkpoints
from speechstrata.pretraining.checkpoints import read_checkpoint
from speechstrata.pretraining.config import PretrainConfig
from speechstrata.pretraining.curves import read_curve
from speechstrata.pretraining.recipes import config_from
from speechstrata.pretraining.trainer import pretrain_cuts

SCRIPT = Path(__file__).with_name("run_training.py")
CURVES = ("train.csv", "validation.csv")


def configured(settings: dict[str, Any], **changes: dict[str, Any]) -> PretrainConfig:
    values = copy.deepcopy(settings)
    for section, items in changes.items():
        values[section] = values[section] | items
    return config_from(values, "test")


@pytest.fixture(scope="module")
def whole_run(cuts: list[Any], settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty steps without a break."""
    torch.set_num_threads(1)
    return pretrain_cuts(configured(settings), cuts, tmp_path_factory.mktemp("runs") / "whole")


def started(cuts: list[Any], config: PretrainConfig, folder: Path, *launcher: str) -> subprocess.Popen[bytes]:
    from speechstrata.pretraining.recipes import recipe_text

    folder.mkdir()
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl")
    (folder / "config.yaml").write_text(recipe_text(config))
    command = [sys.executable, *launcher, str(SCRIPT), *(str(folder / n) for n in ("cuts.jsonl", "config.yaml", "run"))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_run_leaves_all_that_is_promised(whole_run: Path, settings: dict[str, Any]) -> None:
    train, validation = (read_curve(whole_run / name) for name in CURVES)
    assert [row["step"] for row in train] == list(range(1, 21))
    assert [row["step"] for row in validation] == [10, 20]
    assert {"masked_accuracy_0", "unmasked_accuracy_0", "masked_accuracy_1", "masked_loss_1"} <= set(validation[0])
    assert train[-1]["loss"] < 0.9 * train[0]["loss"]
    assert train[0]["loss"] > math.log2(12)  # two heads, in bits
    assert read_json(whole_run / "run.json")["fingerprints"]["corpus"]
    assert list((whole_run / "tensorboard").iterdir())
    summary = read_json(whole_run / "summary.json")
    assert summary["real_time_factor"] > 0
    assert 0 <= summary["data_wait_share"] < 1
    config = config_from(yaml.safe_load((whole_run / "config.yaml").read_text()), "saved")
    assert config == configured(settings)


def test_the_model_folder_goes_straight_into_load_encoder(whole_run: Path) -> None:
    from speechstrata.encoders.loading import load_encoder

    encoder = load_encoder(whole_run / "model")
    states = encoder.hidden_states(torch.randn(1, 16_000), torch.tensor([16_000]))
    assert {layer.dim for layer in encoder.layers if layer.kind == "transformer"} == {48}
    assert all(torch.isfinite(output.states).all() for output in states.values())
    trained = read_checkpoint(whole_run / "checkpoints/last.ckpt")["state_dict"]["model.model.projection.weight"]
    from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining

    exported = MRHubertForPreTraining.from_pretrained(whole_run / "model")
    assert torch.equal(exported.model.projection.weight, trained)


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_bits(
    whole_run: Path, cuts: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    process = started(cuts, configured(settings), folder)
    curve = folder / "run/train.csv"
    deadline = time.monotonic() + 120
    while not (curve.exists() and len(curve.read_text().splitlines()) > 12):  # past step 10's checkpoint
        assert process.poll() is None, process.stdout.read().decode() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (folder / "run/model").exists()
    pretrain_cuts(configured(settings), cuts, folder / "run")
    for name in CURVES:
        assert (folder / "run" / name).read_bytes() == (whole_run / name).read_bytes()
    ours, theirs = (read_checkpoint(run / "checkpoints/last.ckpt") for run in (folder / "run", whole_run))
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value)


def test_a_run_without_validation_continues_with_the_next_step(
    cuts: list[Any], settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(settings, data={"validation_share": 0.0}, optimizer={"steps": 20})
    whole = pretrain_cuts(config, cuts, tmp_path / "whole")
    real, saved = torch.save, []

    def stops(content: Any, path: Path) -> None:
        if len(saved) == 1:
            raise OSError(28, "No space left on device")
        saved.append(path)
        real(content, path)

    monkeypatch.setattr(checkpoints.torch, "save", stops)
    with pytest.raises(SpeechstrataError, match="No space left"):
        pretrain_cuts(config, cuts, tmp_path / "stopped")
    monkeypatch.undo()
    torch.set_num_threads(1)
    pretrain_cuts(config, cuts, tmp_path / "stopped")
    assert (tmp_path / "stopped/train.csv").read_bytes() == (whole / "train.csv").read_bytes()


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(
    whole_run: Path, cuts: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    same_curve(whole_run, run_by_two(cuts, configured(settings), tmp_path / "two"))


@pytest.mark.slow
def test_two_sharded_processes_give_the_curve_of_one(cuts: list[Any], settings: dict[str, Any], tmp_path: Path) -> None:
    changes: dict[str, dict[str, Any]] = {"model": {"layerdrop": 0.0}, "optimizer": {"steps": 10, "warmup_steps": 4}}
    torch.set_num_threads(1)
    one = pretrain_cuts(configured(settings, **changes), cuts, tmp_path / "one")
    two = run_by_two(cuts, configured(settings, run={"strategy": "fsdp"}, **changes), tmp_path / "two")
    same_curve(one, two)
    weights = [load_file(run / "model/model.safetensors") for run in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4)


def run_by_two(cuts: list[Any], config: PretrainConfig, folder: Path) -> Path:
    """Train by two processes; gives the run's folder."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = started(cuts, config, folder, *launcher)
    log = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0, log
    return folder / "run"


def same_curve(one: Path, two: Path) -> None:
    for name in CURVES:
        left, right = read_curve(one / name), read_curve(two / name)
        assert len(left) == len(right)
        for ours, theirs in zip(left, right, strict=True):
            assert theirs == pytest.approx(ours, rel=1e-5)


def test_a_finished_run_is_served_and_another_one_is_not_overwritten(
    whole_run: Path, cuts: list[Any], settings: dict[str, Any]
) -> None:
    before = (whole_run / "checkpoints/last.ckpt").stat().st_mtime_ns
    pretrain_cuts(configured(settings, data={"workers": 1}), cuts, whole_run)
    assert (whole_run / "checkpoints/last.ckpt").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"optimizer\.learning_rate"):
        pretrain_cuts(configured(settings, optimizer={"learning_rate": 1e-3}), cuts, whole_run)
    with pytest.raises(InputError, match=r"other settings: data\.cache"):  # log-mel is of whole utterances
        pretrain_cuts(configured(settings, data={"cache": "none"}), cuts, whole_run)
    with pytest.raises(InputError, match="the corpus of the run"):
        pretrain_cuts(configured(settings), cuts[:-1], whole_run)


def test_a_full_disk_leaves_the_last_good_checkpoint(
    cuts: list[Any], settings: dict[str, Any], tmp_path: Path, whole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = torch.save, []

    def full(content: Any, path: Path) -> None:
        if len(saved) == 2:
            Path(path).write_bytes(b"half a checkpoint")
            raise OSError(28, "No space left on device")
        save(content, path)
        saved.append(path)

    monkeypatch.setattr(checkpoints.torch, "save", full)
    run = tmp_path / "full"
    with pytest.raises(SpeechstrataError, match="No space left") as error:
        pretrain_cuts(configured(settings), cuts, run)
    assert "the one before is untouched" in str(error.value)
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 10
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    monkeypatch.undo()
    torch.set_num_threads(1)
    pretrain_cuts(configured(settings), cuts, run)
    assert (run / "train.csv").read_bytes() == (whole_run / "train.csv").read_bytes()


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_utterances(
    cuts: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "nan"
    with pytest.raises(SpeechstrataError, match="not-finite-step-"):
        pretrain_cuts(configured(settings, optimizer={"learning_rate": 1e30, "clip_norm": 0.0}), cuts, run)
    report = read_json(next(run.glob("not-finite-step-*.json")))
    assert {row["utterance"] for row in report["utterances"]} <= {cut.id for cut in cuts}
    assert not (run / "model").exists()


def test_averaged_weights_are_exported_and_resumed(cuts: list[Any], settings: dict[str, Any], tmp_path: Path) -> None:
    config = configured(settings, optimizer={"ema_decay": 0.9, "steps": 10, "warmup_steps": 1})
    run = pretrain_cuts(config, cuts, tmp_path / "ema")
    content = read_checkpoint(run / "checkpoints/last.ckpt")
    average = content["state_dict"]["model.model.projection.weight"]
    current = content["current_model_state"]["model.model.projection.weight"]
    assert not torch.equal(average, current)
    assert torch.equal(load_file(run / "model/model.safetensors")["model.projection.weight"], average)


@pytest.mark.parametrize("data", [{"cache": "waveform", "padding": True}, {"cache": "none", "workers": 2}])
def test_other_ways_to_the_audio_give_almost_the_same_curve(
    data: dict[str, Any], whole_run: Path, cuts: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    config = configured(settings, data=data, optimizer={"steps": 5, "warmup_steps": 1})
    run = pretrain_cuts(config, cuts, tmp_path / "other")
    assert len(read_curve(run / "train.csv")) == 5
    start, reference = read_curve(run / "train.csv")[0], read_curve(whole_run / "train.csv")[0]
    # crops are normalised by themselves without the cache, and padding takes other crops: the same only roughly
    assert start["loss"] == pytest.approx(reference["loss"], rel=0.1)


def test_reduced_precision_follows_the_full_one(
    whole_run: Path, cuts: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    config = configured(settings, run={"precision": "bf16"}, optimizer={"steps": 5, "warmup_steps": 4})
    run = pretrain_cuts(config, cuts, tmp_path / "bf16")
    for half, full in zip(read_curve(run / "train.csv"), read_curve(whole_run / "train.csv"), strict=False):
        assert half["loss"] == pytest.approx(full["loss"], rel=0.02)


def test_without_held_out_speakers_there_is_no_validation_curve(
    cuts: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    config = configured(settings, data={"validation_share": 0.0}, optimizer={"steps": 5, "warmup_steps": 1})
    run = pretrain_cuts(config, cuts, tmp_path / "all")
    assert not (run / "validation.csv").exists()
    assert (run / "model/model.safetensors").exists()
