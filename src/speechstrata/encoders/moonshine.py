"""Moonshine's encoder: three convolutions on the waveform (a 24 ms stride), then a pre-LN Transformer with RoPE."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional
from transformers.masking_utils import create_bidirectional_mask

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.geometry import Convolution, clocks, frames_after
from speechstrata.encoders.huggingface import fingerprint_of, load_model, read_preprocessing, supervision_of
from speechstrata.encoders.masking import frame_mask, group_norm_, normalize_waveforms
from speechstrata.encoders.module_encoder import ModuleEncoder, Step
from speechstrata.encoders.registry import LoadRequest


def load(request: LoadRequest) -> SpeechEncoder:
    """Load the encoder of a Moonshine folder or hub name; the decoder is left out."""
    model = load_model(transformers.MoonshineModel, request)
    preprocessing = read_preprocessing(request.source)
    normalize = bool(preprocessing.normalize if request.normalize is None else request.normalize)
    return MoonshineEncoder(
        model.encoder,
        normalize=normalize,
        unnormed=request.unnormed,
        name=request.name,
        sample_rate=preprocessing.sample_rate,
        fingerprint=fingerprint_of(model.encoder, model.config, normalize=normalize),
        supervision=supervision_of(request, "supervised"),
        precision=request.precision,
    )


class MoonshineEncoder(ModuleEncoder):
    """The encoder as layers: ``conv1`` (after its group norm), ``conv2``, ``T0`` (the third convolution), ``T1``...

    Args:
        model: ``transformers.models.moonshine.modeling_moonshine.MoonshineEncoder``.
        normalize: bring each waveform to zero mean and unit variance first.
        unnormed: also tap the last layer before the final layer norm.
        settings: see :class:`ModuleEncoder`.
    """

    def __init__(self, model: Any, *, normalize: bool = False, unnormed: bool = False, **settings: Any) -> None:
        self.normalize = normalize
        stack = (model.conv1, model.conv2, model.conv3)
        self._convolutions = tuple(Convolution(conv.kernel_size[0], conv.stride[0]) for conv in stack)
        times = clocks(self._convolutions)
        layers = [
            Layer(f"conv{number}", clock.stride, clock.offset, conv.out_channels, "conv")
            for number, (clock, conv) in enumerate(zip(times[:2], stack[:2], strict=True), start=1)
        ]
        depth = len(model.layers)
        names = [f"T{number}" for number in range(depth + 1)]
        if unnormed:
            names.insert(-1, f"T{depth}-unnormed")
        dim = model.conv3.out_channels
        layers += [Layer(name, times[2].stride, times[2].offset, dim, "transformer") for name in names]
        super().__init__(module=model, layers=tuple(layers), **settings)

    def frame_count(self, layer: Layer, samples: int) -> int:
        """See :meth:`SpeechEncoder.frame_count`."""
        depth = int(layer.name.removeprefix("conv")) if layer.kind == "conv" else 3
        return frames_after(self._convolutions[:depth], samples)

    def _steps(self, audio: Tensor, lengths: Sequence[int]) -> Iterator[Step]:
        model: Any = self.module
        first, second, third = self._convolutions
        if self.normalize:
            audio = normalize_waveforms(audio, lengths)
        frames = [first.frames(count) for count in lengths]
        hidden = group_norm_(model.groupnorm, torch.tanh(model.conv1(audio[:, None])), frames)
        yield Step("conv1", hidden.transpose(1, 2), frames)
        frames = [second.frames(count) for count in frames]
        hidden = functional.gelu(model.conv2(hidden))
        yield Step("conv2", hidden.transpose(1, 2), frames)
        frames = [third.frames(count) for count in frames]
        hidden = functional.gelu(model.conv3(hidden)).transpose(1, 2)
        yield Step("T0", hidden, frames)
        positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        arguments = {
            "attention_mask": create_bidirectional_mask(
                model.config, hidden, frame_mask(frames, hidden.shape[1], hidden.device)
            ),
            "position_ids": positions,
            "position_embeddings": model.rotary_emb(hidden, position_ids=positions),
        }
        for number, layer in enumerate(model.layers, start=1):
            hidden = layer(hidden, **arguments)
            if number == len(model.layers):
                yield Step(f"T{number}-unnormed", hidden, frames)
                hidden = model.layer_norm(hidden)
            yield Step(f"T{number}", hidden, frames)
