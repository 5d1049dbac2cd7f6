"""From a batch's number to its tensors, with and without a cache."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechstrata.errors import CorpusError, InputError, SpeechstrataError
from speechstrata.mrhubert.config import NetworkConfig, frontend_length
from speechstrata.mrhubert.frontend import log_mel
from speechstrata.mrhubert.named import named_config
from speechstrata.mrhubert.objective import IGNORE
from speechstrata.pretraining.batches import Crop
from speechstrata.pretraining.cache import AudioCache, mel_frames, open_cache
from speechstrata.pretraining.config import MaskingConfig
from speechstrata.pretraining.dataset import Material, StepSampler, TrainingBatches, ValidationBatches
from speechstrata.pretraining.prepare import prepare
from speechstrata.pretraining.recipes import config_from
from speechstrata.pretraining.speech import Speech
from speechstrata.pretraining.units import UnitStore

NETWORK = replace(named_config("tiny"), classes=(12,), label_rates=(100.0,))
CROPS = (Crop("u01", 3_200, 16_000), Crop("u00", 640, 24_000))


@pytest.fixture(scope="module")
def speech(cuts: list[Any]) -> Speech:
    return Speech.of_cuts(cuts)


def material(speech: Speech, cache: AudioCache | None, units: Path, network: NetworkConfig = NETWORK) -> Material:
    return Material(speech, cache, [UnitStore.open(units)], network, MaskingConfig(), seed=3)


def test_a_waveform_cache_gives_the_audio(speech: Speech, tmp_path: Path, units: Path) -> None:
    cache = open_cache(speech, "waveform", NETWORK, tmp_path)
    plain, cached = (material(speech, c, units).batch(CROPS, number=0, step=4) for c in (None, cache))
    assert plain.lengths == cached.lengths == (24_000, 16_000)
    assert (plain.inputs - cached.inputs).abs().max() <= 1 / 32_767
    assert torch.equal(plain.mask, cached.mask)
    assert not cached.inputs[1, 16_000:].any()


def test_a_log_mel_cache_gives_the_frames_of_the_normalised_utterance(
    speech: Speech, tmp_path: Path, units: Path
) -> None:
    cache = open_cache(speech, "logmel", NETWORK, tmp_path)
    batch = material(speech, cache, units).batch(CROPS, number=0, step=4)
    assert batch.lengths == tuple(mel_frames(crop.samples) for crop in batch.crops)
    wave = torch.from_numpy(speech.load(0))[None]
    whole = log_mel(torch.nn.functional.layer_norm(wave, wave.shape[1:]), 80, 16_000)[0]
    expected = whole[640 // 160 : 640 // 160 + mel_frames(24_000)]
    assert (batch.inputs[0] - expected).abs().max() < 2e-3  # half precision
    with pytest.raises(InputError, match="front-end is default"):
        open_cache(speech, "logmel", named_config("small-post"), tmp_path)


def test_masks_and_targets_fit_the_frames(speech: Speech, units: Path) -> None:
    store = UnitStore.open(units)
    batch = material(speech, None, units).batch(CROPS, number=9, step=4)
    assert [crop.utterance for crop in batch.crops] == ["u00", "u01"]
    assert batch.mask.shape == (2, frontend_length(NETWORK, 24_000))
    assert batch.targets[0].shape == (2, 150)
    assert batch.targets[0][0].tolist() == store.units("u00")[4:154].tolist()
    assert batch.targets[0][1, :100].tolist() == store.units("u01")[20:120].tolist()
    assert (batch.targets[0][1, 100:] == IGNORE).all()
    assert batch.number == 9
    assert batch.seconds == pytest.approx(2.5)
    again = material(speech, None, units).batch(CROPS, number=9, step=5)
    assert not torch.equal(again.mask, batch.mask)


def test_a_cache_is_made_once_and_its_failures_are_remembered(
    speech: Speech, tmp_path: Path, cuts: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = cuts[5].with_id("bad")
    source = replace(cuts[5].recording.sources[0], source=str(tmp_path / "missing.wav"))
    bad.recording = replace(cuts[5].recording, sources=[source])
    with_bad = Speech.of_cuts([*cuts[:4], bad])
    first = open_cache(with_bad, "waveform", NETWORK, tmp_path)
    assert set(first.failed) == {"bad"}
    assert "missing.wav" in first.failed["bad"]
    monkeypatch.setattr(Speech, "load", None)
    second = open_cache(with_bad, "waveform", NETWORK, tmp_path)
    assert second.utterances == first.utterances
    assert [u.samples for u in second.utterances] == [cut.num_samples for cut in cuts[:4]]
    sent = pickle.dumps(second)
    assert len(sent) < 1_000
    assert torch.equal(pickle.loads(sent).crop("u02", 0, 800), second.crop("u02", 0, 800))


def test_nothing_to_read_is_an_error(cuts: list[Any], tmp_path: Path) -> None:
    bad = cuts[5].with_id("bad")
    source = replace(cuts[5].recording.sources[0], source=str(tmp_path / "missing.wav"))
    bad.recording = replace(cuts[5].recording, sources=[source])
    with pytest.raises(CorpusError, match="no utterance can be read"):
        open_cache(Speech.of_cuts([bad]), "waveform", NETWORK, tmp_path)


def test_processes_share_the_batches_of_a_step_and_begin_where_the_run_is() -> None:
    def sampler(step: int, rank: int, processes: int) -> list[int]:
        chosen = StepSampler(lambda: step, lambda first: min(first + 3, 8), 4, rank, processes)
        assert len(chosen) == len(list(chosen))
        return list(chosen)

    assert sampler(0, 0, 1) == list(range(12))
    assert sampler(6, 0, 1) == list(range(24, 32))
    assert sorted(sampler(3, 0, 2) + sampler(3, 1, 2)) == list(range(12, 24))
    with pytest.raises(SpeechstrataError, match="shared by 3 processes"):
        sampler(0, 0, 3)


def test_validation_is_the_same_each_time_and_shared_evenly(
    cuts: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    prepared = prepare(config_from(settings, "test"), cuts, tmp_path)
    assert len(prepared.validation) >= 2
    whole = ValidationBatches(prepared.material, prepared.validation, 0, 1)
    assert torch.equal(whole[0].mask, whole[0].mask)  # type: ignore[union-attr]
    shares = [ValidationBatches(prepared.material, prepared.validation, rank, 2) for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    rows = [batch.crops for share in shares for batch in share if batch is not None]
    assert sorted(rows) == sorted(batch.crops for batch in whole if batch is not None)


def test_training_utterances_are_those_of_training_speakers(
    cuts: list[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    prepared = prepare(config_from(settings, "test"), cuts, tmp_path)
    speaker = {cut.id: cut.supervisions[0].speaker for cut in cuts}
    batches = TrainingBatches(prepared.material, prepared.plan, 2)
    heard = {speaker[c.utterance] for n in range(prepared.plan.batches_per_epoch) for c in batches[n].crops}
    assert heard == prepared.split.train
    held_out = {speaker[crop.utterance] for batch in prepared.validation for crop in batch}
    assert held_out == prepared.split.validation
    assert not heard & held_out


def test_utterances_without_units_are_left_out_by_name(
    cuts: list[Any], settings: dict[str, Any], units: Path, tmp_path: Path
) -> None:
    extra = cuts[0].with_id("extra")
    prepared = prepare(config_from(settings, "test"), [*cuts, extra], tmp_path)
    assert prepared.left_out == {"extra": "it has no units"}
    assert prepared.network.classes == (12,)
    assert np.isclose(prepared.network.label_rates, UnitStore.open(units).rate)
    renamed = [cut.with_id(f"x{cut.id}") for cut in cuts]
    with pytest.raises(CorpusError, match="it has no units"):
        prepare(config_from(settings, "test"), renamed, tmp_path)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("data", {"targets": []}, r"data\.targets is empty"),
        ("data", {"targets": ["nowhere"]}, "nowhere holds no units"),
        ("data", {"minimum_seconds": 0.2}, "masking needs 13"),
        ("model", {"name": "tinier"}, "no named model 'tinier'"),
        ("model", {"name": "tiny", "depth": 3}, "'depth'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    cuts: list[Any], settings: dict[str, Any], tmp_path: Path, section: str, values: dict[str, Any], message: str
) -> None:
    changed = settings | {section: settings[section] | values if section == "data" else values}
    with pytest.raises(InputError, match=message):
        prepare(config_from(changed, "test"), cuts, tmp_path)
