"""An utterance has the same states alone and in any batch, whatever the padding holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import FAMILIES, speechlike

from speechstrata.encoders import wav2vec2
from speechstrata.encoders.loading import load_encoder

TOLERANCE = 1e-4  # of a layer's root mean square

PADDINGS = {
    "zeros": lambda shape: torch.zeros(shape),
    "noise": lambda shape: torch.randn(shape, generator=torch.Generator().manual_seed(5)),
    "loud": lambda shape: torch.full(shape, 1e4),
    "nan": lambda shape: torch.full(shape, torch.nan),
}


def largest_difference(encoder: Any, lengths: Sequence[int], padding: str, extra: int = 0) -> float:
    """Over layers, utterances and frames, relative to the layer's RMS; tails must be exactly zero."""
    audio = [torch.from_numpy(speechlike(length, seed)) for seed, length in enumerate(lengths)]
    batch = PADDINGS[padding]((len(lengths), max(lengths) + extra))
    for row, waveform in zip(batch, audio, strict=True):
        row[: len(waveform)] = waveform
    together = encoder.hidden_states(batch, torch.tensor(lengths))
    worst = 0.0
    for row, waveform in enumerate(audio):
        alone = encoder.hidden_states(waveform[None], torch.tensor([len(waveform)]))
        for name, (states, counts) in together.items():
            expected = alone[name].states[0]
            assert counts[row] == len(expected)
            assert not states[row, len(expected) :].any()
            difference = (states[row, : len(expected)] - expected).abs().max()
            worst = max(worst, float(difference / expected.square().mean().sqrt()))
    return worst


@settings(max_examples=6)
@given(
    lengths=st.lists(st.integers(3000, 20_000), min_size=2, max_size=4),
    padding=st.sampled_from(sorted(PADDINGS)),
    extra=st.integers(0, 3000),
)
@pytest.mark.parametrize("name", FAMILIES)
def test_small_models(make_case: Any, name: str, lengths: list[int], padding: str, extra: int) -> None:
    assert largest_difference(make_case(name).encoder, lengths, padding, extra) < TOLERANCE


@pytest.mark.parametrize("padding", PADDINGS)
def test_all_utterances_far_shorter_than_one(case: Any, padding: str) -> None:
    assert largest_difference(case.encoder, [3000, 24_000, 2600, 3001], padding) < TOLERANCE


def test_a_layer_does_not_depend_on_which_others_are_wanted(case: Any) -> None:
    """Delivered layers are zeroed past their lengths; those passed over must not leak for want of it."""
    lengths = torch.tensor([3000, 24_000, 2600, 3001])
    batch = torch.from_numpy(np.stack([speechlike(24_000, seed) for seed in range(4)]))
    everything = case.encoder.hidden_states(batch, lengths)
    for name in ("T0", "T1", "T3"):
        alone = case.encoder.hidden_states(batch, lengths, [name])[name].states
        assert torch.equal(alone, everything[name].states)


def test_a_click_at_the_end_does_not_dim_the_log_mel() -> None:
    """The window after the last frame still sees the click; alone there is no such frame."""
    audio = speechlike(16_100) * 1e-4
    audio[-1] = 1.0
    encoder = load_encoder("fbank")
    batch = np.zeros((2, 20_000), dtype=np.float32)
    batch[0, :16_100], batch[1] = audio, speechlike(20_000)
    alone = encoder.hidden_states(torch.from_numpy(audio)[None], torch.tensor([16_100]))["fbank"].states[0]
    together = encoder.hidden_states(torch.from_numpy(batch), torch.tensor([16_100, 20_000]))["fbank"].states[0]
    assert torch.allclose(together[: len(alone)], alone, atol=1e-6)


@pytest.mark.parametrize("name", ["fbank", "mfcc", "moonshine-tiny+random"])
def test_built_in_encoders(name: str) -> None:
    base, _, control = name.partition("+")
    encoder = load_encoder(base, control=control or None)
    assert largest_difference(encoder, [3000, 24_000, 16_001], "nan") < TOLERANCE


def test_the_comparison_sees_a_leak(make_case: Any) -> None:
    """A group norm over all frames, as transformers runs it in a padded batch, is far outside the tolerance."""
    case = make_case("hubert-base")
    short, long = speechlike(5000), speechlike(15_000, 1)
    batch = np.zeros((2, 15_000), dtype=np.float32)
    batch[0, :5000], batch[1] = short, long
    mask = torch.arange(15_000)[None] < torch.tensor([[5000], [15_000]])
    with torch.no_grad():
        alone = case.model(torch.from_numpy(short)[None]).last_hidden_state
        padded = case.model(torch.from_numpy(batch), attention_mask=mask.long()).last_hidden_state
    difference = (padded[:1, : alone.shape[1]] - alone).abs().max() / alone.square().mean().sqrt()
    assert difference > 100 * TOLERANCE


@pytest.mark.parametrize(
    "name", [name for name in FAMILIES if not name.startswith(("whisper", "moonshine", "wav2vec2-bert"))]
)
def test_torchs_convolutions_and_matrix_products_give_the_same_states(
    make_case: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU the latter are used, on a GPU the former."""
    encoder = make_case(name).encoder
    assert isinstance(encoder, wav2vec2.Wav2Vec2Encoder)
    lengths = [9000, 12_345, 4001]
    batch = torch.zeros(3, max(lengths))
    for row, length in enumerate(lengths):
        batch[row, :length] = torch.from_numpy(speechlike(length, row))
    products = encoder.hidden_states(batch, torch.tensor(lengths))
    monkeypatch.setattr(wav2vec2, "_by_products", lambda audio: False)
    convolutions = encoder.hidden_states(batch, torch.tensor(lengths))
    for layer, (states, counts) in products.items():
        expected = convolutions[layer].states
        assert torch.equal(counts, convolutions[layer].lengths)
        assert (states - expected).abs().max() < TOLERANCE / 2 * expected.square().mean().sqrt()
    assert not all(torch.equal(states, convolutions[layer].states) for layer, (states, _) in products.items())
