"""Moonshine's streaming encoder: 5 ms frames, two causal convolutions (20 ms), then sliding-window attention."""

from collections.abc import Iterator, Sequence
from typing import Any

import transformers
from torch import Tensor
from torch.nn import functional
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.moonshine_streaming.modeling_moonshine_streaming import sliding_window_mask_function

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.geometry import Convolution, clocks, frames_after
from speechstrata.encoders.huggingface import fingerprint_of, load_model, read_preprocessing, supervision_of
from speechstrata.encoders.masking import frame_mask, normalize_waveforms, zero_tails_
from speechstrata.encoders.module_encoder import ModuleEncoder, Step
from speechstrata.encoders.registry import LoadRequest


def load(request: LoadRequest) -> SpeechEncoder:
    """Load the encoder of a streaming Moonshine folder or hub name; the decoder is left out."""
    model = load_model(transformers.MoonshineStreamingModel, request)
    preprocessing = read_preprocessing(request.source)
    normalize = bool(preprocessing.normalize if request.normalize is None else request.normalize)
    return MoonshineStreamingEncoder(
        model.encoder,
        normalize=normalize,
        unnormed=request.unnormed,
        name=request.name,
        sample_rate=model.encoder.config.sample_rate,
        fingerprint=fingerprint_of(model.encoder, model.encoder.config, normalize=normalize),
        supervision=supervision_of(request, "supervised"),
        precision=request.precision,
    )


class MoonshineStreamingEncoder(ModuleEncoder):
    """The encoder as layers: ``projection`` (of 5 ms frames), ``conv1``, ``T0`` (the second convolution), ``T1``...

    The convolutions are causal, so their receptive fields, and the centres that ``offset`` gives, reach back to
    before the frame's own time: the first ones lie before the waveform.

    Args:
        model: the encoder module of ``transformers.MoonshineStreamingModel``.
        normalize: bring each waveform to zero mean and unit variance first.
        unnormed: also tap the last layer before the final layer norm.
        settings: see :class:`ModuleEncoder`.
    """

    def __init__(self, model: Any, *, normalize: bool = False, unnormed: bool = False, **settings: Any) -> None:
        self.normalize = normalize
        embedder = model.embedder
        self._convolutions = (
            Convolution(embedder.frame_len, embedder.frame_len),
            *(
                Convolution(conv.kernel_size[0], conv.stride[0], padding=conv.left_pad, trailing=0)
                for conv in (embedder.conv1, embedder.conv2)
            ),
        )
        frame, first, second = clocks(self._convolutions)
        dim, depth = embedder.linear.out_features, len(model.layers)
        names = [f"T{number}" for number in range(depth + 1)]
        if unnormed:
            names.insert(-1, f"T{depth}-unnormed")
        layers = (
            Layer("projection", frame.stride, frame.offset, dim, "projection"),
            Layer("conv1", first.stride, first.offset, embedder.conv1.out_channels, "conv"),
            *(Layer(name, second.stride, second.offset, dim, "transformer") for name in names),
        )
        super().__init__(module=model, layers=layers, **settings)

    def frame_count(self, layer: Layer, samples: int) -> int:
        """See :meth:`SpeechEncoder.frame_count`."""
        depth = {"projection": 1, "conv": 2}.get(layer.kind, 3)
        return frames_after(self._convolutions[:depth], samples)

    def _steps(self, audio: Tensor, lengths: Sequence[int]) -> Iterator[Step]:
        model: Any = self.module
        config, embedder = model.config, model.embedder
        frame, first, second = self._convolutions
        if self.normalize:
            audio = normalize_waveforms(audio, lengths)
        frames = [frame.frames(length) for length in lengths]
        pieces = audio[:, : max(frames) * frame.kernel].unflatten(1, (max(frames), frame.kernel))
        hidden = functional.silu(embedder.linear(embedder.comp(embedder.cmvn(pieces))))
        del pieces
        yield Step("projection", hidden, frames)
        frames = [first.frames(count) for count in frames]
        hidden = functional.silu(embedder.conv1(hidden.transpose(1, 2))[0])
        yield Step("conv1", hidden.transpose(1, 2), frames)
        frames = [second.frames(count) for count in frames]
        hidden = embedder.conv2(hidden)[0].transpose(1, 2)
        yield Step("T0", hidden, frames)
        mask = frame_mask(frames, hidden.shape[1], hidden.device)
        for number, (layer, window) in enumerate(zip(model.layers, config.sliding_windows, strict=True), start=1):
            # transformers applies the windows only where it is given a mask; the models were trained with them.
            near = create_bidirectional_mask(
                config, hidden, mask, and_mask_function=sliding_window_mask_function(tuple(window))
            )
            # A frame of the padding may have nothing to attend to: some kernels make that not a number.
            hidden = zero_tails_(layer(hidden, attention_mask=near), frames)
            if number == len(model.layers):
                yield Step(f"T{number}-unnormed", hidden, frames)
                hidden = model.final_norm(hidden)
            yield Step(f"T{number}", hidden, frames)
