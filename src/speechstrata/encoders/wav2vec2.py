"""wav2vec 2.0 and its relatives: a convolutional stack on the waveform, then a Transformer.

Wav2Vec2, HuBERT, WavLM, data2vec-audio, UniSpeech and UniSpeech-SAT share this shape and differ inside their
modules. The layers are run one by one, as the models' own ``forward`` does, because there the padding has to be kept
out at four places: the statistics of the first layer's group norm, the positional convolutions, the attention, and
the mean and variance of the waveform.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.geometry import Clock, Convolution, clocks, frames_after
from speechstrata.encoders.huggingface import fingerprint_of, load_model, read_preprocessing, supervision_of
from speechstrata.encoders.masking import frame_mask, group_norm_, zero_tails_
from speechstrata.encoders.module_encoder import ModuleEncoder, Step
from speechstrata.encoders.registry import LoadRequest

_LOG = logging.getLogger(__name__)

_MODELS = {
    "data2vec-audio": transformers.Data2VecAudioModel,
    "hubert": transformers.HubertModel,
    "unispeech": transformers.UniSpeechModel,
    "unispeech-sat": transformers.UniSpeechSatModel,
    "wav2vec2": transformers.Wav2Vec2Model,
    "wavlm": transformers.WavLMModel,
}

#: Added to the variance by transformers' Wav2Vec2FeatureExtractor.
_VARIANCE_FLOOR = 1e-7


def load(request: LoadRequest) -> SpeechEncoder:
    """Load a folder or hub name of one of these families."""
    # The vector that replaces masked frames is for pre-training, and checkpoints often lack it.
    model = load_model(_MODELS[request.config["model_type"]], request, optional=["masked_spec_embed"])
    preprocessing = read_preprocessing(request.source)
    normalize = request.normalize
    if normalize is None:
        normalize = preprocessing.normalize
    if normalize is None:
        # The released models with layer norm in every convolutional layer were trained on normalised waveforms.
        normalize = getattr(model.config, "feat_extract_norm", "layer") == "layer"
        _LOG.warning("%s does not say whether its waveforms are normalised: taken as %s", request.source, normalize)
    return Wav2Vec2Encoder(
        model,
        normalize=normalize,
        unnormed=request.unnormed,
        name=request.name,
        sample_rate=preprocessing.sample_rate,
        fingerprint=fingerprint_of(model, model.config, normalize=normalize),
        supervision=supervision_of(request, "self-supervised"),
        precision=request.precision,
    )


class Wav2Vec2Encoder(ModuleEncoder):
    """A model of the wav2vec 2.0 family as layers: ``conv1``.., ``projection``, ``T0``, ``T1``...

    Args:
        model: e.g. ``transformers.HubertModel``.
        normalize: bring each waveform to zero mean and unit variance first.
        unnormed: in pre-LN models, also tap the last layer before the final layer norm.
        settings: see :class:`ModuleEncoder`.
    """

    def __init__(self, model: Any, *, normalize: bool, unnormed: bool = False, **settings: Any) -> None:
        config = model.config
        self.normalize = normalize
        self.pre_norm = bool(getattr(config, "do_stable_layer_norm", False))
        self._convolutions = tuple(
            Convolution(kernel, stride) for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True)
        )
        layers = self._describe(config, unnormed and self.pre_norm)
        super().__init__(module=model, layers=layers, **settings)

    def _describe(self, config: Any, unnormed: bool) -> tuple[Layer, ...]:
        times = clocks(self._convolutions)
        layers = [
            Layer(f"conv{number}", clock.stride, clock.offset, dim, "conv")
            for number, (clock, dim) in enumerate(zip(times, config.conv_dim, strict=True), start=1)
        ]
        last: Clock = times[-1]

        def tap(name: str) -> Layer:
            kind = "projection" if name == "projection" else "transformer"
            return Layer(name, last.stride, last.offset, config.hidden_size, kind)  # type: ignore[arg-type]

        depth = config.num_hidden_layers
        names = ["projection", *(f"T{number}" for number in range(depth + 1))]
        if unnormed:
            names.insert(-1, f"T{depth}-unnormed")
        return (*layers, *map(tap, names))

    def frame_count(self, layer: Layer, samples: int) -> int:
        """See :meth:`SpeechEncoder.frame_count`."""
        if layer.kind == "conv":
            return frames_after(self._convolutions[: int(layer.name.removeprefix("conv"))], samples)
        return frames_after(self._convolutions, samples)

    def _steps(self, audio: Tensor, lengths: Sequence[int]) -> Iterator[Step]:
        model: Any = self.module
        frames = lengths
        hidden = (normalize_waveforms(audio, lengths) if self.normalize else audio)[:, None]
        stack = zip(self._convolutions, model.feature_extractor.conv_layers, strict=True)
        for number, (geometry, conv) in enumerate(stack, start=1):
            frames = [geometry.frames(count) for count in frames]
            hidden = _convolve(conv, hidden, frames)
            yield Step(f"conv{number}", hidden.transpose(1, 2), frames)
        projected = model.feature_projection(hidden.transpose(1, 2))
        hidden = projected[0] if isinstance(projected, tuple) else projected
        del projected
        zero_tails_(hidden, frames)
        yield Step("projection", hidden, frames)
        yield from self._transform(model.encoder, hidden, frames)

    def _transform(self, encoder: Any, projected: Tensor, frames: Sequence[int]) -> Iterator[Step]:
        mask = frame_mask(frames, projected.shape[1], projected.device)
        if encoder.config.model_type != "wavlm":  # which takes the plain mask of frames
            mask = create_bidirectional_mask(encoder.config, projected, mask)
        arguments = {"attention_mask": mask}
        hidden = projected + _positions(encoder.pos_conv_embed, projected, frames)
        if not self.pre_norm:
            hidden = encoder.layer_norm(hidden)
        yield Step("T0", hidden, frames)
        for number, layer in enumerate(encoder.layers, start=1):
            hidden = layer(hidden, **arguments)
            if isinstance(hidden, tuple):  # WavLM hands its position bias from layer to layer
                hidden, arguments["position_bias"] = hidden
            if self.pre_norm and number == len(encoder.layers):
                yield Step(f"T{number}-unnormed", hidden, frames)
                hidden = encoder.layer_norm(hidden)
            yield Step(f"T{number}", hidden, frames)


def normalize_waveforms(audio: Tensor, lengths: Sequence[int]) -> Tensor:
    """Zero mean and unit variance over each utterance's own samples, as transformers' feature extractor has it.

    Args:
        audio: (batch, samples), zero past each length.
        lengths: in samples.
    """
    count = torch.tensor(lengths, device=audio.device, dtype=torch.float64)[:, None]
    mean = audio.sum(1, keepdim=True, dtype=torch.float64) / count
    centred = zero_tails_(audio - mean.float(), lengths)
    variance = centred.square().sum(1, keepdim=True, dtype=torch.float64) / count
    return centred / (variance + _VARIANCE_FLOOR).sqrt().float()


def _convolve(conv: Any, hidden: Tensor, frames: Sequence[int]) -> Tensor:
    """One layer of the convolutional stack: (batch, channels, frames) in and out."""
    norm = getattr(conv, "layer_norm", None)
    if isinstance(norm, nn.GroupNorm):
        return cast(Tensor, conv.activation(group_norm_(norm, conv.conv(hidden), frames)))
    return cast(Tensor, conv(hidden))


def _positions(embedding: Any, hidden: Tensor, frames: Sequence[int]) -> Tensor:
    """The convolutional position embedding of (batch, frames, dim), with zeros past each length at every stage."""
    states = hidden.transpose(1, 2)
    if getattr(embedding, "layers", None) is not None:  # data2vec: several convolutions, one after the other
        for layer in embedding.layers:
            states = zero_tails_(layer(states), frames, dim=2)
        return states.transpose(1, 2)
    if getattr(embedding, "batch_norm", None) is not None:  # it makes zeros non-zero
        states = zero_tails_(embedding.batch_norm(states), frames, dim=2)
        states = cast(Tensor, embedding.activation(embedding.padding(embedding.conv(states))))
        return states.transpose(1, 2)
    return cast(Tensor, embedding(hidden))
