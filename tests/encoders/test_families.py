"""Every family, layer by layer, against transformers' own forward pass and feature extractor."""

from typing import Any

import numpy as np
import torch
from small_models import speechlike
from torch import Tensor

SAMPLES = 11_280  # an odd number of 10 ms frames, and whole 5 ms frames, which streaming Moonshine insists on


def ours(case: Any, audio: np.ndarray) -> dict[str, Any]:
    return case.encoder.hidden_states(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Equal to rounding. transformers' extractors work in NumPy, log-mels in float32: that is the 3e-5 there is."""
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() < 1e-4 * expected.square().mean().sqrt()


def reference_frames(case: Any, states: Tensor, count: int) -> Tensor:
    """transformers' states of the audio; Whisper's window, and a lone last log-mel frame, go on after it."""
    return states[:, :count]


def test_transformer_layers_are_those_of_transformers(case: Any) -> None:
    audio = speechlike(SAMPLES)
    expected = case.family.reference(case.model, audio)
    states = ours(case, audio)
    depth = len(expected.hidden_states) - 1
    for number in range(depth):
        actual = states[f"T{number}"].states
        assert_close(actual, reference_frames(case, expected.hidden_states[number], actual.shape[1]))
    actual = states[f"T{depth}"].states
    assert_close(actual, reference_frames(case, expected.last_hidden_state, actual.shape[1]))


def test_the_unnormed_tap_is_what_the_final_layer_norm_reads(case: Any) -> None:
    audio = speechlike(SAMPLES)
    seen = []
    encoder = case.model.encoder
    norm = getattr(encoder, "layer_norm", None) or getattr(encoder, "final_norm", None)
    unnormed = [layer.name for layer in case.encoder.layers if layer.name.endswith("-unnormed")]
    assert bool(unnormed) == case.family.final_norm
    if not unnormed:
        return
    handle = norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        case.family.reference(case.model, audio)
    finally:
        handle.remove()
    actual = ours(case, audio)[unnormed[0]].states
    assert_close(actual, reference_frames(case, seen[-1], actual.shape[1]))


def test_convolutional_layers_are_those_of_transformers(case: Any) -> None:
    """Captured by hooks on transformers' modules while its own ``forward`` runs."""
    captured: dict[str, Tensor] = {}
    handles = []
    extractor = getattr(case.model, "feature_extractor", None)
    if extractor is not None:
        for number, layer in enumerate(extractor.conv_layers, start=1):
            keep = lambda m, i, out, name=f"conv{number}": captured.update({name: out.transpose(1, 2)})  # noqa: E731
            handles.append(layer.register_forward_hook(keep))
    elif case.name == "whisper":
        gelu = torch.nn.functional.gelu
        for name in ("conv1", "conv2"):
            keep = lambda m, i, out, name=name: captured.update({name: gelu(out).transpose(1, 2)})  # noqa: E731
            handles.append(getattr(case.model.encoder, name).register_forward_hook(keep))
    elif case.name == "moonshine":
        encoder = case.model.encoder
        norm = lambda m, i, out: captured.update(conv1=out.transpose(1, 2))  # noqa: E731
        second = lambda m, i: captured.update(conv2=i[0].transpose(1, 2))  # noqa: E731
        handles = [encoder.groupnorm.register_forward_hook(norm), encoder.conv3.register_forward_pre_hook(second)]
    elif case.name == "moonshine-streaming":
        embedder = case.model.encoder.embedder
        first = lambda m, i: captured.update(projection=i[0].transpose(1, 2))  # noqa: E731
        second = lambda m, i: captured.update(conv1=i[0].transpose(1, 2))  # noqa: E731
        handles = [
            embedder.conv1.register_forward_pre_hook(first),
            embedder.conv2.register_forward_pre_hook(second),
        ]
    audio = speechlike(SAMPLES)
    try:
        case.family.reference(case.model, audio)
    finally:
        for handle in handles:
            handle.remove()
    states = ours(case, audio)
    named = {layer.name for layer in case.encoder.layers if layer.kind == "conv"}
    assert named <= set(captured)
    for name, expected in captured.items():
        actual = states[name].states
        assert_close(actual, reference_frames(case, expected, actual.shape[1]))


def test_frames_and_dimensions_are_as_announced(case: Any) -> None:
    for samples in (4000, 4001, 9999, 16_000):
        states = ours(case, speechlike(samples))
        assert list(states) == [layer.name for layer in case.encoder.layers]
        for layer in case.encoder.layers:
            count = case.encoder.frame_count(layer, samples)
            assert states[layer.name].states.shape == (1, count, layer.dim)
            assert states[layer.name].lengths.tolist() == [count]
            assert states[layer.name].states.dtype == torch.float32


def test_clocks_are_the_published_ones(make_case: Any) -> None:
    """wav2vec 2.0: receptive field of 400 samples, 20 ms; Whisper: centred frames; Moonshine: 895 samples, 24 ms."""
    for name, stride, offset in [
        ("hubert-base", 320, 199.5),
        ("wav2vec2-bert", 320, 279.5),
        ("whisper", 320, 0.0),
        ("moonshine", 384, 447.0),
        ("moonshine-streaming", 320, 39.5 - 2 * 80 - 2 * 160),
    ]:
        layer = make_case(name).encoder.layer("T1")
        assert (layer.stride, layer.offset) == (stride, offset)


def test_whisper_cuts_longer_audio_into_windows(make_case: Any) -> None:
    case = make_case("whisper")
    window = case.encoder.window
    audio = speechlike(2 * window + 5000)
    states = ours(case, audio)["T2"].states[0]
    pieces = [ours(case, audio[start : start + window])["T2"].states[0] for start in range(0, len(audio), window)]
    assert [len(piece) for piece in pieces] == [50, 50, 16]
    assert torch.allclose(states, torch.cat(pieces), atol=1e-5)
