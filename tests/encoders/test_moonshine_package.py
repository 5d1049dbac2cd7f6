"""Moonshine-tiny out of its package: against ONNX Runtime on the same file, and what is said without it."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import MoonshineConfig
from transformers.models.moonshine.modeling_moonshine import MoonshineEncoder

from speechstrata.encoders.loading import load_encoder
from speechstrata.encoders.moonshine_package import dequantized_weights, encoder_file
from speechstrata.errors import EncoderError, MissingExtraError

installed = pytest.mark.skipif(
    importlib.util.find_spec("moonshine_voice") is None or importlib.util.find_spec("onnxruntime") is None,
    reason='needs the packages moonshine-voice and onnxruntime (the extra "demo")',
)


@installed
def test_states_are_those_of_onnxruntime_on_real_speech() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = encoder_file()
    audio, rate = soundfile.read(path.parents[1] / "beckett.wav", dtype="float32")
    assert rate == 16000
    session = onnxruntime.InferenceSession(str(path))
    inputs = {"input_values": audio[None], "attention_mask": np.ones((1, len(audio)), dtype=np.int64)}
    expected = torch.from_numpy(session.run(None, inputs)[0])
    encoder = load_encoder("moonshine-tiny")
    actual = encoder.hidden_states(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))["T6"].states
    assert actual.shape == expected.shape
    cosine = torch.nn.functional.cosine_similarity(actual, expected, dim=2)
    assert cosine.mean() > 0.999  # the file computes in 8 bits, we with its weights in float32
    assert cosine.min() > 0.97


@installed
def test_every_weight_is_found_and_no_other() -> None:
    weights = dequantized_weights(encoder_file())
    module = MoonshineEncoder(MoonshineConfig())
    assert set(weights) == set(module.state_dict())
    assert sum(tensor.numel() for tensor in weights.values()) == 7_681_248


@installed
def test_the_packages_own_code_is_never_run() -> None:
    load_encoder("moonshine-tiny")
    assert "moonshine_voice" not in sys.modules


def test_its_layers_are_six_at_24_ms() -> None:
    encoder = load_encoder("moonshine-tiny", control="random")
    assert [layer.name for layer in encoder.layers] == ["conv1", "conv2", *(f"T{number}" for number in range(7))]
    assert {(layer.stride, layer.dim) for layer in encoder.layers[2:]} == {(384, 288)}
    assert encoder.supervision == "random weights"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"speechstrata\[demo\]"):
        load_encoder("moonshine-tiny")


def test_a_later_version_without_the_encoder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = ModuleSpec("moonshine_voice", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1.0")
    with pytest.raises(EncoderError, match=r"moonshine-voice 0.1.0 does not hold.*moonshine-voice==0.0.49"):
        load_encoder("moonshine-tiny")
