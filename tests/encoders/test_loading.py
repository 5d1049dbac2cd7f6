"""From a name to an encoder: what is found, what is refused and how, controls, precision, fingerprints."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from small_models import FAMILIES, WAVEFORMS, speechlike

from speechstrata.encoders.loading import load_encoder
from speechstrata.encoders.registry import BUILT_IN, FILE_TYPES, loader
from speechstrata.encoders.registry import FAMILIES as MODEL_TYPES
from speechstrata.errors import EncoderError

AUDIO = torch.from_numpy(speechlike(9000))[None]
LENGTH = torch.tensor([9000])


def states(encoder: Any, layer: str = "T3") -> torch.Tensor:
    return encoder.hidden_states(AUDIO, LENGTH, [layer])[layer].states


@pytest.fixture
def hubert(make_case: Any) -> Any:
    return make_case("hubert-base")


@pytest.fixture
def copy(hubert: Any, tmp_path: Path) -> Path:
    """A copy of the small HuBERT to spoil."""
    return Path(shutil.copytree(hubert.folder, tmp_path / "copy"))


def test_every_entry_of_the_registry_can_be_imported() -> None:
    for entry in {*MODEL_TYPES.values(), *BUILT_IN.values(), *FILE_TYPES.values()}:
        assert callable(loader(entry))


def test_every_family_reports_itself(case: Any) -> None:
    supervised = {"whisper", "moonshine", "moonshine-streaming"}
    assert case.encoder.name == str(case.folder)
    assert case.encoder.sample_rate == 16000
    assert case.encoder.supervision == ("supervised" if case.name in supervised else "self-supervised")
    assert not case.encoder.module.training


# What is refused, and what is said then


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no folder .*nowhere"):
        load_encoder(tmp_path / "nowhere")


def test_a_folder_that_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no config.json"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("content", ["{", "5", "null"])
def test_a_broken_configuration(copy: Path, content: str) -> None:
    (copy / "config.json").write_text(content)
    with pytest.raises(EncoderError, match=r"config.json cannot be read"):
        load_encoder(copy)


def test_a_configuration_with_impossible_values(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"num_attention_heads": 5}))
    with pytest.raises(EncoderError, match=r"cannot be loaded as HubertModel.*divisible"):
        load_encoder(copy)


def test_a_model_of_text(tmp_path: Path) -> None:
    hf.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=r"'bert', not a speech encoder.*hubert.*whisper"):
        load_encoder(tmp_path)


def test_a_configuration_without_a_type(copy: Path) -> None:
    (copy / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match="without a model_type"):
        load_encoder(copy)


@pytest.mark.parametrize("content", ["{", "[1]", '"x"', '{"sampling_rate": null}', '{"sampling_rate": [16000]}'])
def test_a_broken_preprocessor(copy: Path, content: str) -> None:
    (copy / "preprocessor_config.json").write_text(content)
    with pytest.raises(EncoderError, match=r"preprocessor_config.json of .* cannot be read"):
        load_encoder(copy)


def test_truncated_weights(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(EncoderError, match="cannot be loaded as HubertModel"):
        load_encoder(copy)


def test_no_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="cannot be loaded as HubertModel"):
        load_encoder(copy)


def test_weights_of_another_model_are_not_filled_up_with_random_ones(copy: Path, make_case: Any) -> None:
    shutil.copy(make_case("whisper").folder / "model.safetensors", copy / "model.safetensors")
    with pytest.raises(EncoderError, match=r"do not fit its config.json: .* missing, the first"):
        load_encoder(copy)


def test_weights_of_another_size(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"intermediate_size": 50}))
    with pytest.raises(EncoderError, match=r"(do not fit|cannot be loaded)"):
        load_encoder(copy)


def test_a_file_of_an_unknown_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"")
    with pytest.raises(EncoderError, match="file of an unknown kind"):
        load_encoder(path)


def test_a_hub_name_without_a_network_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(EncoderError, match=r"'someone/some-model' is neither a folder here nor a model.*network"):
        load_encoder("someone/some-model")


@pytest.mark.parametrize(("option", "value"), [("dtype", "float16"), ("control", "shuffled")])
def test_unknown_options(option: str, value: str) -> None:
    with pytest.raises(EncoderError, match=value):
        load_encoder("fbank", **{option: value})  # type: ignore[arg-type]


def test_an_unknown_device(hubert: Any) -> None:
    with pytest.raises(EncoderError, match="cannot use device 'nonsense'"):
        load_encoder(hubert.folder, device="nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(EncoderError, match="cannot use device 'cuda'"):
            load_encoder(hubert.folder, device="cuda")


# Waveform normalisation


def test_normalisation_is_the_preprocessors_unless_told_otherwise(copy: Path) -> None:
    raw = load_encoder(copy, normalize=False)
    assert torch.equal(states(load_encoder(copy), "conv1"), states(raw, "conv1"))
    hf.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(copy)
    normalized = load_encoder(copy)
    assert normalized.fingerprint != raw.fingerprint
    assert torch.equal(states(normalized), states(load_encoder(copy, normalize=True)))
    assert torch.equal(states(load_encoder(copy, normalize=False)), states(raw))


def test_a_preprocessor_inside_a_processor_is_found(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    inside = {
        "feature_extractor": {"do_normalize": True, "sampling_rate": 8000},
        "processor_class": "Wav2Vec2Processor",
    }
    (copy / "processor_config.json").write_text(json.dumps(inside))
    encoder = load_encoder(copy)
    assert encoder.sample_rate == 8000
    assert torch.equal(states(encoder), states(load_encoder(copy, normalize=True)))


def test_without_a_preprocessor_it_follows_the_architecture_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for kind, expected in [("group", False), ("layer", True)]:
        config = hf.HubertConfig(**WAVEFORMS, feat_extract_norm=kind)
        hf.HubertModel(config).save_pretrained(tmp_path / kind)
        assert load_encoder(tmp_path / kind).normalize is expected  # type: ignore[attr-defined]
        assert "16 kHz" in caplog.text
        assert f"taken as {expected}" in caplog.text


@pytest.mark.parametrize("name", ["whisper", "wav2vec2-bert"])
def test_log_mel_models_cannot_be_normalised(make_case: Any, name: str) -> None:
    with pytest.raises(EncoderError, match="cannot take normalize=True"):
        load_encoder(make_case(name).folder, normalize=True)


# Fine-tuned checkpoints


def test_a_fine_tuned_checkpoint_gives_its_encoder_and_is_called_supervised(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = hf.HubertForCTC(hf.HubertConfig(**WAVEFORMS, vocab_size=32)).eval()
    model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path, normalize=False)
    assert encoder.supervision == "supervised"
    with torch.no_grad():
        expected = model.hubert(AUDIO).last_hidden_state
    assert torch.allclose(states(encoder), expected, atol=1e-5)


# Controls, precision, fingerprints


def test_random_controls_are_seeded_and_leave_the_random_state_alone(case: Any) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (load_encoder(case.folder, control="random", seed=seed) for seed in (8, 8, 9))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.name == f"{case.folder}+random"
    assert first.supervision == "random weights"
    assert first.layers == load_encoder(case.folder).layers
    assert first.fingerprint == again.fingerprint
    assert len({first.fingerprint, other.fingerprint, case.encoder.fingerprint}) == 3
    assert torch.equal(states(first), states(again))
    assert not torch.allclose(states(first), states(other), atol=1e-2)


def test_random_controls_need_no_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert load_encoder(copy, control="random").supervision == "random weights"


def test_bfloat16_is_near_and_delivered_in_float32(case: Any) -> None:
    exact = states(case.encoder, "T1")
    mixed = states(load_encoder(case.folder, dtype="bfloat16"), "T1")
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, exact)
    assert torch.nn.functional.cosine_similarity(mixed, exact, dim=2).mean() > 0.98


def test_the_fingerprint_is_of_the_numbers_not_of_the_place(hubert: Any, copy: Path) -> None:
    assert load_encoder(copy).fingerprint == hubert.encoder.fingerprint
    model = hf.HubertModel.from_pretrained(copy)
    with torch.no_grad():
        model.encoder.layers[1].layer_norm.bias[0] += 1e-3
    model.save_pretrained(copy)
    assert load_encoder(copy).fingerprint != hubert.encoder.fingerprint


def test_the_fingerprint_sees_the_configuration(copy: Path, hubert: Any) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert load_encoder(copy).fingerprint != hubert.encoder.fingerprint
    (copy / "config.json").write_text(json.dumps(config | {"transformers_version": "0", "id2label": {"0": "a"}}))
    assert load_encoder(copy).fingerprint == hubert.encoder.fingerprint


def test_the_small_models_cover_every_family_of_this_room() -> None:
    ours = {kind for kind, entry in MODEL_TYPES.items() if entry.startswith("speechstrata.encoders.")}
    assert ours == {family.config_class.model_type for family in FAMILIES.values()}
