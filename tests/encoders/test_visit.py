"""What ``visit`` promises whatever the model: order, early stop, nothing held, and clear refusals."""

import weakref
from typing import Any

import pytest
import torch
from small_models import speechlike

from speechstrata.encoders.base import HiddenStates, Layer
from speechstrata.encoders.loading import load_encoder
from speechstrata.encoders.module_encoder import shortest
from speechstrata.errors import EncoderError

LENGTHS = torch.tensor([9000, 5000])
AUDIO = torch.stack([torch.from_numpy(speechlike(9000, seed)) for seed in range(2)])


def test_layers_come_in_order_and_once(case: Any) -> None:
    visited: list[str] = []
    case.encoder.visit(AUDIO, LENGTHS, lambda layer, output: visited.append(layer.name))
    assert visited == [layer.name for layer in case.encoder.layers]
    assert len(set(visited)) == len(visited)


def test_wanted_layers_alone_are_delivered_and_later_ones_not_run(case: Any) -> None:
    model = case.encoder.module
    last = [module for name, module in model.named_modules() if name.endswith("layers.2")][-1]
    runs: list[int] = []
    handle = last.register_forward_hook(lambda *_: runs.append(1))
    try:
        states = case.encoder.hidden_states(AUDIO, LENGTHS, layers=["T2", "T0"])
        assert list(states) == ["T0", "T2"]
        assert not runs
        case.encoder.hidden_states(AUDIO, LENGTHS, layers=["T3"])
        assert runs
    finally:
        handle.remove()


def test_nothing_is_held_after_the_visitor_returns(case: Any) -> None:
    """Two layers on, a layer's states are gone: memory is that of a layer and its input, not of the model."""
    alive: list[weakref.ref[Any]] = []

    def watch(layer: Layer, output: HiddenStates) -> None:
        assert all(reference() is None for reference in alive[:-2])
        alive.append(weakref.ref(output.states))

    case.encoder.visit(AUDIO, LENGTHS, watch)
    assert len(alive) == len(case.encoder.layers)


def test_the_callers_waveforms_are_left_alone(case: Any) -> None:
    batch = AUDIO.clone()
    batch[1, 5000:] = 7.0
    before = batch.clone()
    case.encoder.hidden_states(batch, LENGTHS)
    assert torch.equal(batch, before)


def test_an_unknown_layer_is_refused_with_the_known_ones(case: Any) -> None:
    with pytest.raises(EncoderError, match=r"no layer 'T99'.*T0, T1"):
        case.encoder.hidden_states(AUDIO, LENGTHS, layers=["T99"])


def test_too_short_a_waveform_is_refused_with_the_shortest_length(case: Any) -> None:
    encoder = case.encoder
    least = max(shortest(encoder, layer) for layer in encoder.layers)
    lengths = torch.tensor([9000, least])
    counts = [output.lengths[1].item() for output in encoder.hidden_states(AUDIO, lengths).values()]
    assert min(counts) == 1
    lengths[1] -= 1
    with pytest.raises(EncoderError, match=rf"waveform 1 .* shorter than {least} samples"):
        encoder.hidden_states(AUDIO, lengths)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_waveforms_that_are_not_numbers_are_refused(value: float) -> None:
    batch = AUDIO.clone()
    batch[1, 100] = value
    with pytest.raises(EncoderError, match=r"waveform 1 .* NaN or infinity"):
        load_encoder("fbank").hidden_states(batch, LENGTHS)


@pytest.mark.parametrize(
    ("waveforms", "lengths"),
    [(AUDIO[0], LENGTHS[:1]), (AUDIO, LENGTHS[:1]), (AUDIO, LENGTHS + 1), (AUDIO[:0], LENGTHS[:0])],
)
def test_shapes_that_do_not_match_are_a_programming_error(waveforms: torch.Tensor, lengths: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="lengths"):
        load_encoder("fbank").hidden_states(waveforms, lengths)


def test_float64_and_strided_waveforms_are_taken() -> None:
    encoder = load_encoder("fbank")
    expected = encoder.hidden_states(AUDIO, LENGTHS)["fbank"].states
    strided = AUDIO.double().repeat_interleave(2, dim=1)[:, ::2]
    assert torch.equal(encoder.hidden_states(strided, LENGTHS)["fbank"].states, expected)
