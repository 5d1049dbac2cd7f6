"""The log-mel control against librosa's numbers, and the MFCC control against the function it wraps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_models import speechlike

from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import EncoderError
from speechstrata.pretraining.mfcc import mfcc

#: What the public code (librosa 0.11 and 0.9.1 agree to 2e-15) computes for two utterances of 16-bit samples.
LIBROSA = Path(__file__).parents[1] / "data" / "encoders" / "librosa_log_mel.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.generic]]:
    with np.load(LIBROSA) as file:
        return dict(file)


@pytest.mark.parametrize("utterance", ["a", "b"])
def test_log_mel_is_librosas(golden: dict[str, NDArray[np.generic]], utterance: str) -> None:
    audio = torch.from_numpy((golden[f"{utterance}/pcm16"] / 32768).astype(np.float32))
    states = load_encoder("fbank").hidden_states(audio[None], torch.tensor([len(audio)]))["fbank"].states[0]
    expected = golden[f"{utterance}/logmel"].T
    assert states.shape == expected.shape == (1 + len(audio) // 160, 80)
    assert np.abs(states.numpy() - expected).max() < 1e-6


def test_silence_is_finite() -> None:
    states = load_encoder("fbank").hidden_states(torch.zeros(1, 1600), torch.tensor([1600]))["fbank"].states
    assert torch.isfinite(states).all()
    assert states.unique().numel() == 1


def test_loudness_does_not_matter() -> None:
    encoder, audio = load_encoder("fbank"), torch.from_numpy(speechlike(8000))[None]
    quiet, loud = (encoder.hidden_states(gain * audio, torch.tensor([8000]))["fbank"].states for gain in (1e-3, 1))
    assert torch.allclose(quiet, loud, atol=1e-5)


def test_mfcc_is_the_targets_own() -> None:
    audio, length = torch.from_numpy(speechlike(8000))[None], torch.tensor([8000])
    states = load_encoder("mfcc").hidden_states(audio, length)["mfcc"].states
    assert torch.equal(states, mfcc(audio, length).features)
    assert states.shape == (1, 48, 39)


@pytest.mark.parametrize("name", ["fbank", "mfcc"])
def test_front_ends_have_no_random_control_and_no_normalisation(name: str) -> None:
    with pytest.raises(EncoderError, match="no weights"):
        load_encoder(name, control="random")
    with pytest.raises(EncoderError, match="normalize=True"):
        load_encoder(name, normalize=True)
