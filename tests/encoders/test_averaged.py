"""The time-resolution control: means of another encoder's states, on a clock of their own."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import speechlike
from test_batch_invariance import PADDINGS, TOLERANCE, largest_difference

from speechstrata.encoders.averaged import AveragedEncoder, average_windows, parse_averaged
from speechstrata.encoders.base import HiddenStates
from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import EncoderError


@pytest.fixture(scope="session")
def hubert(make_case: Any) -> Any:
    return make_case("hubert-base")


@given(frames=st.integers(1, 30), factor=st.integers(1, 7), missing=st.integers(0, 8), seed=st.integers(0, 99))
def test_a_window_is_the_mean_of_the_frames_it_has(frames: int, factor: int, missing: int, seed: int) -> None:
    torch.manual_seed(seed)
    lengths = torch.tensor([frames, max(1, frames - missing)])
    states = torch.randn(2, frames, 3)
    states[1, lengths[1] :] = 0
    averaged = average_windows(HiddenStates(states, lengths), factor)
    for row, length in enumerate(lengths.tolist()):
        pieces = [piece.mean(0) for piece in states[row, :length].split(factor)]
        assert averaged.lengths[row] == len(pieces)
        assert torch.allclose(averaged.states[row, : len(pieces)], torch.stack(pieces), atol=1e-6)
        assert not averaged.states[row, len(pieces) :].any()


@pytest.mark.parametrize("milliseconds", [20, 40, 80])
def test_layers_are_the_models_own_at_the_stride_asked_for(hubert: Any, milliseconds: int) -> None:
    averaged = load_encoder(f"averaged:{milliseconds}ms:{hubert.folder}")
    inner = load_encoder(hubert.folder)
    assert [layer.name for layer in averaged.layers] == [layer.name for layer in inner.layers]
    assert {layer.stride for layer in averaged.layers} == {16 * milliseconds}
    audio, lengths = torch.from_numpy(speechlike(24_000))[None], torch.tensor([24_000])
    expected = inner.hidden_states(audio, lengths)
    for name, (states, counts) in averaged.hidden_states(audio, lengths).items():
        factor = 16 * milliseconds // inner.layer(name).stride
        pieces = expected[name].states[0].split(factor)
        assert counts.tolist() == [len(pieces)] == [averaged.frame_count(averaged.layer(name), 24_000)]
        assert torch.allclose(states[0], torch.stack([piece.mean(0) for piece in pieces]), atol=1e-5)


def test_the_first_frame_is_centred_on_what_it_sees(hubert: Any) -> None:
    """The mean of the centres of the frames that it is the mean of: 199.5 and 519.5 for the first two of 20 ms."""
    averaged = load_encoder(f"averaged:40ms:{hubert.folder}")
    assert averaged.layer("T2").offset == 359.5
    inner = load_encoder(hubert.folder)
    for layer in averaged.layers:
        own = inner.layer(layer.name)
        centres = [own.offset + i * float(own.stride) for i in range(int(layer.stride / own.stride))]
        assert layer.offset == pytest.approx(sum(centres) / len(centres))


def test_an_impulse_is_in_the_frame_whose_centre_is_nearest() -> None:
    averaged = load_encoder("averaged:40ms:fbank")
    audio = torch.full((1, 16_000), 1e-6)
    audio[0, 8000:8020] = 1.0
    states = averaged.hidden_states(audio, torch.tensor([16_000]))["fbank"].states[0].mean(1)
    layer = averaged.layers[0]
    centres = layer.offset + torch.arange(len(states)) * layer.stride
    assert states.argmax() == (centres - 8010).abs().argmin()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("milliseconds", [40, 80])
def test_alone_and_in_a_batch_it_is_the_same(hubert: Any, padding: str, milliseconds: int) -> None:
    averaged = load_encoder(f"averaged:{milliseconds}ms:{hubert.folder}")
    assert largest_difference(averaged, [3000, 24_000, 2600, 3001], padding) < TOLERANCE


def test_wanted_layers_alone_and_in_order(hubert: Any) -> None:
    averaged = load_encoder(f"averaged:40ms:{hubert.folder}")
    audio, lengths = torch.from_numpy(speechlike(9000))[None], torch.tensor([9000])
    some = averaged.hidden_states(audio, lengths, ["T2", "T0"])
    assert list(some) == ["T0", "T2"]
    assert torch.equal(some["T2"].states, averaged.hidden_states(audio, lengths)["T2"].states)
    with pytest.raises(EncoderError, match="no layer 'T99'"):
        averaged.hidden_states(audio, lengths, ["T99"])


def test_it_is_another_model_with_a_name_and_a_control_of_its_own(hubert: Any) -> None:
    inner = load_encoder(hubert.folder)
    name = f"averaged:40ms:{hubert.folder}"
    averaged, slower = load_encoder(name), load_encoder(f"averaged:80ms:{hubert.folder}")
    random = load_encoder(name, control="random", seed=3)
    assert (averaged.name, random.name) == (name, f"{name}+random")
    assert random.supervision == "random weights"
    assert averaged.supervision == inner.supervision
    assert averaged.parameters == inner.parameters
    assert len({encoder.fingerprint for encoder in (inner, averaged, slower, random)}) == 4
    assert load_encoder(f"averaged:40.0ms:{hubert.folder}").fingerprint == averaged.fingerprint
    assert averaged.to("cpu") is averaged


def test_layers_that_are_coarser_are_left_out() -> None:
    """Moonshine has frames every 4, 12 and 24 ms."""
    inner = load_encoder("moonshine-tiny", control="random")
    averaged = AveragedEncoder(inner, Fraction(12), "averaged:12ms:moonshine-tiny")
    assert [layer.name for layer in averaged.layers] == ["conv1", "conv2"]
    same = averaged.layer("conv2")
    assert same == inner.layer("conv2")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("averaged:40ms:moonshine-tiny", r"every 12 ms cannot be averaged to 40 ms.*multiple of 24 ms"),
        ("averaged:5ms:fbank", r"no layer of fbank is as fine as 5 ms.*multiple of 10 ms"),
        ("averaged:40:fbank", "averaged:40ms:MODEL"),
        ("averaged:0ms:fbank", "averaged:40ms:MODEL"),
        ("averaged:40ms:averaged:20ms:fbank", "averaged:40ms:MODEL"),
        ("averaged:40ms:nowhere/nothing", "nowhere/nothing"),
    ],
)
def test_what_cannot_be_averaged_is_refused_with_a_remedy(name: str, message: str) -> None:
    control = "random" if "moonshine" in name else None
    with pytest.raises(EncoderError, match=message):
        load_encoder(name, control=control)


def test_other_names_are_left_alone() -> None:
    assert parse_averaged("fbank") is None
    spec = parse_averaged("averaged:22.5ms:a:b")
    assert spec is not None
    assert (spec.milliseconds, spec.source) == (Fraction(45, 2), "a:b")
