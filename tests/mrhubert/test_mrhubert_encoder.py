"""The networks as speech encoders: their layers, clocks and names."""

from fractions import Fraction

import pytest
import torch
from mrhubert_golden import checkpoint
from small_networks import KINDS, noise, small_model

from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import EncoderError
from speechstrata.mrhubert.encoder import MRHubertEncoder
from speechstrata.mrhubert.named import NAMED
from speechstrata.mrhubert.taps import tap_lengths, tap_plan


def encoder(kind: str, **options: object) -> MRHubertEncoder:
    return MRHubertEncoder(small_model(kind, **options).model, name=kind, fingerprint="", supervision="self-supervised")


def test_the_layers_of_a_released_mr_hubert() -> None:
    layers = load_encoder(checkpoint("mr_mono_base")).layers
    assert [(layer.name, layer.stride) for layer in layers] == [
        ("conv1", 5), ("conv2", 10), ("conv3", 20), ("conv4", 40), ("conv5", 80), ("conv6", 160), ("conv7", 320),
        ("projection", 320), ("T0", 320), ("T1", 320), ("T2", 320),
        ("down0", 640), ("D0", 640), ("T3", 640), ("T4", 640), ("middle.post_skip", 640),
        ("up0", 320), ("U0", 320), ("T5", 320), ("T6", 320), ("decoder0.post_skip", 320),
    ]  # fmt: skip
    assert {layer.kind for layer in layers} == {"conv", "projection", "transformer", "sampling"}
    # the seven convolutions see 10, 20, 40, 80, 160, 240 and 400 samples
    assert [layer.offset for layer in layers[:7]] == [4.5, 9.5, 19.5, 39.5, 79.5, 119.5, 199.5]
    assert {layer.offset for layer in layers[6:]} == {199.5}


def test_strides_need_not_be_whole() -> None:
    layer = encoder("b2-a", ratios=((3, 4), (3, 5))).layer("D1")
    assert layer.stride == 320 * Fraction(20, 9)


def test_a_receptive_field_is_centred_on_its_offset() -> None:
    """Moving one sample moves the frames whose field it is in, and those fields are as stated."""
    listening = encoder("mrhubert-large", normalize=False)
    audio = noise(1, 3000)
    base = listening.hidden_states(audio, torch.tensor([3000]), ["conv3", "conv7"])
    for name, field in (("conv3", 40), ("conv7", 400)):
        layer = listening.layer(name)
        changed = audio.clone()
        changed[0, 1500] += 1.0
        states = listening.hidden_states(changed, torch.tensor([3000]), [name])[name].states
        moved = (states != base[name].states).any(-1)[0].nonzero().flatten().tolist()
        centres = [layer.offset + index * layer.stride for index in range(states.shape[1])]
        expected = [index for index, centre in enumerate(centres) if abs(centre - 1500) <= (field - 1) / 2]
        assert moved == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_has_the_frames_that_it_says(kind: str) -> None:
    listening = encoder(kind, sampling_kernel=3)
    lengths = [5000, 3210, 400, 721]
    for name, (states, frames) in listening.hidden_states(noise(4, 5000), torch.tensor(lengths)).items():
        layer = listening.layer(name)
        assert frames.tolist() == [listening.frame_count(layer, length) for length in lengths]
        assert states.shape == (4, max(frames), layer.dim)
        for row, count in enumerate(frames.tolist()):
            assert not states[row, count:].any()


def test_only_what_is_asked_for_is_delivered_in_order() -> None:
    listening = encoder("mrhubert-base")
    seen: list[str] = []
    listening.visit(
        noise(2, 4000), torch.tensor([4000, 3000]), lambda layer, _: seen.append(layer.name), ["T5", "conv2", "D0"]
    )
    assert seen == ["conv2", "D0", "T5"]


def test_states_before_a_skip_connection_have_another_name() -> None:
    listening = encoder("mrhubert-base")
    assert listening.layer("middle.pre_skip").name == "T6"
    assert listening.layer("decoder0.pre_skip").name == "T9"
    audio, length = noise(1, 4000), torch.tensor([4000])
    states = listening.hidden_states(audio, length, ["middle.pre_skip", "down0", "middle.post_skip"])
    assert list(states) == ["down0", "T6", "middle.post_skip"]
    torch.testing.assert_close(states["middle.post_skip"].states, states["down0"].states + states["T6"].states)


def test_the_residual_before_the_decoder_is_a_layer() -> None:
    listening = encoder("small-pre")
    assert [layer.name for layer in listening.layers][-5:] == ["up0", "up0.post_skip", "U0", "T5", "T6"]
    states = listening.hidden_states(noise(1, 4000), torch.tensor([4000]), ["T2", "up0", "up0.post_skip"])
    frames = states["T2"].states.shape[1]
    torch.testing.assert_close(states["up0.post_skip"].states, states["up0"].states[:, :frames] + states["T2"].states)
    assert listening.layer("up0.pre_skip").name == "up0"


def test_unnormed_states_are_for_pre_norm_models_that_ask() -> None:
    plain = [layer.name for layer in encoder("mrhubert-large").layers]
    asked = MRHubertEncoder(
        small_model("mrhubert-large").model, unnormed=True, name="", fingerprint="", supervision="unknown"
    )
    more = [layer.name for layer in asked.layers if layer.name not in plain]
    assert more == ["T3-unnormed", "T6-unnormed", "T9-unnormed"]
    states = asked.hidden_states(noise(1, 4000), torch.tensor([4000]), ["T3-unnormed", "T3"])
    normed = asked.module.blocks[0].norm(states["T3-unnormed"].states)
    torch.testing.assert_close(normed, states["T3"].states)
    assert not any("unnormed" in layer.name for layer in encoder("mrhubert-base").layers)


def test_padding_is_never_the_published_one() -> None:
    listening = encoder("mrhubert-base", padding="reference")
    audio = noise(2, 5000)
    together = listening.hidden_states(audio, torch.tensor([5000, 3000]), ["T9"])["T9"].states[1]
    alone = listening.hidden_states(audio[1:, :3000], torch.tensor([3000]), ["T9"])["T9"].states[0]
    torch.testing.assert_close(together[: len(alone)], alone, atol=1e-5, rtol=1e-4)


def test_waveforms_and_layers_that_cannot_be() -> None:
    listening = encoder("mrhubert-base")
    with pytest.raises(EncoderError, match="T99"):
        listening.hidden_states(noise(1, 4000), torch.tensor([4000]), ["T99"])
    with pytest.raises(EncoderError, match="399 samples"):
        listening.hidden_states(noise(2, 4000), torch.tensor([4000, 399]))
    with pytest.raises(EncoderError, match="NaN"):
        listening.hidden_states(torch.full((1, 4000), float("nan")), torch.tensor([4000]))


def test_normalize_can_be_overruled() -> None:
    loud = load_encoder(checkpoint("mr_large"), normalize=False)
    usual = load_encoder(checkpoint("mr_large"))
    assert loud.fingerprint != usual.fingerprint
    audio, length = noise(1, 4000) + 0.5, torch.tensor([4000])
    normal = torch.nn.functional.layer_norm(audio, (4000,))
    ours = usual.hidden_states(audio, length, ["T2"])["T2"].states
    torch.testing.assert_close(ours, loud.hidden_states(normal, length, ["T2"])["T2"].states)
    assert not torch.allclose(ours, loud.hidden_states(audio, length, ["T2"])["T2"].states, atol=1e-2)


@pytest.mark.parametrize("name", NAMED)
def test_every_named_model_has_taps_with_lengths(name: str) -> None:
    plan = tap_plan(NAMED[name])
    assert len({tap.name for tap in plan}) == len(plan)
    lengths = tap_lengths(NAMED[name], 16000)
    assert list(lengths) == [tap.name for tap in plan]
    for tap in plan:
        assert abs(lengths[tap.name] - 16000 / tap.stride) < 2.5
