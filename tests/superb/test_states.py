"""Which layers are weighed, and how coarse ones come onto the frames of the finest."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from speechstrata.encoders.base import HiddenStates, Layer
from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import EncoderError
from speechstrata.superb.featurizer import Featurizer
from speechstrata.superb.states import LayerChoice, choose_layers, on_finest

FINE = Layer("fine", 320, 0.0, 2, "transformer")


def states(layer: Layer, *counts: int) -> HiddenStates:
    """Frame t of utterance u holds 10 u + t + 1."""
    lengths = torch.tensor(counts)
    time = torch.arange(1.0, max(counts) + 1)[None] + 10 * torch.arange(len(counts))[:, None]
    valid = torch.arange(max(counts))[None] < lengths[:, None]
    return HiddenStates((time * valid)[..., None].expand(-1, -1, layer.dim), lengths)


def test_a_half_rate_layer_repeats_every_frame_and_its_last_one_to_the_end():
    half = Layer("half", 640, 0.0, 2, "transformer")
    choice = LayerChoice((FINE, half), FINE, 16_000)
    lengths = torch.tensor([5, 3])
    fine, coarse = (
        on_finest(states(layer, *n), layer, choice, lengths) for layer, n in ((FINE, (5, 3)), (half, (2, 2)))
    )
    assert fine.shape == coarse.shape == (2, 5, 2)
    assert fine[0, :, 0].tolist() == [1, 2, 3, 4, 5]
    assert coarse[0, :, 0].tolist() == [1, 1, 2, 2, 2]
    assert coarse[1, :, 0].tolist() == [11, 11, 12, 0, 0]


def test_any_ratio_takes_the_frame_that_is_on():
    other = Layer("other", Fraction(480), 0.0, 2, "transformer")
    choice = LayerChoice((FINE, other), FINE, 16_000)
    found = on_finest(states(other, 4), other, choice, torch.tensor([6]))
    assert found[0, :, 0].tolist() == [1, 1, 2, 3, 3, 4]


def test_the_benchmark_states_are_taken_unless_others_are_named(model: Path):
    encoder = load_encoder(model)
    assert choose_layers(encoder).names == encoder.benchmark_states
    assert choose_layers(encoder).finest.stride == 320
    assert choose_layers(encoder, ["T2", "T1"]).names == ("T1", "T2")
    with pytest.raises(EncoderError, match="no layer 'T99'"):
        choose_layers(encoder, ["T99"])


def test_layers_of_different_dimensions_are_refused():
    class Two:
        name, sample_rate = "two", 16_000
        layers = (FINE, Layer("wide", 320, 0.0, 3, "transformer"))

    with pytest.raises(EncoderError, match="2 dimensions"):
        choose_layers(Two())


def test_the_mixture_starts_as_the_mean_and_has_positive_weights():
    stacked = torch.randn(2, 5, 3, 4)
    featurizer = Featurizer(3)
    torch.testing.assert_close(featurizer(stacked), stacked.mean(2))
    featurizer.logits.data = torch.tensor([0.0, 5.0, -5.0])
    weights = torch.softmax(featurizer.logits, 0)
    direct = sum(float(weights[layer]) * stacked[:, :, layer] for layer in range(3))
    torch.testing.assert_close(featurizer(stacked), direct)
