"""wav2vec 2.0 and its relatives: a convolutional stack on the waveform, then a Transformer.

Wav2Vec2, HuBERT, WavLM, data2vec-audio, UniSpeech and UniSpeech-SAT share this shape and differ inside their
modules. The layers are run one by one, as the models' own ``forward`` does, because there the padding has to be kept
out at four places: the statistics of the first layer's group norm, the positional convolutions, the attention, and
the mean and variance of the waveform.
"""

import logging
import warnings
from collections.abc import Generator, Iterator, Sequence
from typing import Any, cast

import transformers
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from speechstrata.encoders.base import Layer, SpeechEncoder
from speechstrata.encoders.geometry import Clock, Convolution, clocks, frames_after
from speechstrata.encoders.huggingface import fingerprint_of, load_model, read_preprocessing, supervision_of
from speechstrata.encoders.masking import frame_mask, group_norm_, normalize_waveforms, zero_tails_
from speechstrata.encoders.module_encoder import ModuleEncoder, Step
from speechstrata.encoders.registry import LoadRequest
from speechstrata.mrhubert.convolution import convolve, group_normed

_LOG = logging.getLogger(__name__)

# WavLM's attention hands torch masks of two kinds; neither torch's warning nor the remedy is for our users.
warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask and attn_mask")

_MODELS = {
    "data2vec-audio": transformers.Data2VecAudioModel,
    "hubert": transformers.HubertModel,
    "unispeech": transformers.UniSpeechModel,
    "unispeech-sat": transformers.UniSpeechSatModel,
    "wav2vec2": transformers.Wav2Vec2Model,
    "wavlm": transformers.WavLMModel,
}


def load(request: LoadRequest) -> SpeechEncoder:
    """Load a folder or hub name of one of these families."""
    return load_as(request, _MODELS[request.config["model_type"]], Wav2Vec2Encoder)


def load_as(request: LoadRequest, model_class: Any, encoder_class: "type[Wav2Vec2Encoder]") -> SpeechEncoder:
    """Load the weights as ``model_class`` and run them as ``encoder_class`` does."""
    # The vector that replaces masked frames is for pre-training, and checkpoints often lack it.
    model = load_model(model_class, request, optional=["masked_spec_embed"])
    preprocessing = read_preprocessing(request.source)
    normalize = request.normalize
    if normalize is None:
        normalize = preprocessing.normalize
    if normalize is None:
        # The released models with layer norm in every convolutional layer were trained on normalised waveforms.
        normalize = getattr(model.config, "feat_extract_norm", "layer") == "layer"
        _LOG.warning("%s does not say whether its waveforms are normalised: taken as %s", request.source, normalize)
    return encoder_class(
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
        self.pre_norm = self._is_pre_norm(config)
        self._convolutions = tuple(
            Convolution(kernel, stride) for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True)
        )
        layers = self._describe(config, unnormed and self.pre_norm)
        super().__init__(module=model, layers=layers, **settings)

    def _is_pre_norm(self, config: Any) -> bool:
        """Whether one more layer norm follows the last layer."""
        return bool(getattr(config, "do_stable_layer_norm", False))

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
        encoder = model.encoder
        hidden, frames = yield from self._project(audio, lengths)
        hidden, arguments = self._enter(encoder, hidden, frames)
        yield Step("T0", hidden, frames)
        for number, layer in enumerate(encoder.layers, start=1):
            hidden = layer(hidden, **arguments)
            if isinstance(hidden, tuple):  # WavLM hands its position bias from layer to layer
                hidden, arguments["position_bias"] = hidden
            if self.pre_norm and number == len(encoder.layers):
                yield Step(f"T{number}-unnormed", hidden, frames)
                hidden = encoder.layer_norm(hidden)
            yield Step(f"T{number}", hidden, frames)

    def _project(self, audio: Tensor, lengths: Sequence[int]) -> Generator[Step, None, tuple[Tensor, Sequence[int]]]:
        """The layers up to the projection, whose output (batch, frames, dim) and frame counts it returns."""
        model: Any = self.module
        frames = lengths
        waveforms = normalize_waveforms(audio, lengths) if self.normalize else audio
        hidden, apply = waveforms[..., None], _convolve_frames if _by_products(audio) else _convolve_channels
        stack = zip(self._convolutions, model.feature_extractor.conv_layers, strict=True)
        for number, (geometry, layer) in enumerate(stack, start=1):
            frames = [geometry.frames(count) for count in frames]
            hidden = apply(layer, hidden, frames)
            yield Step(f"conv{number}", hidden, frames)
        projected = model.feature_projection(hidden)
        if isinstance(projected, tuple):  # some return the normalised features too
            projected = projected[0]
        zero_tails_(projected, frames)
        yield Step("projection", projected, frames)
        return projected, frames

    def _enter(self, encoder: Any, projected: Tensor, frames: Sequence[int]) -> tuple[Tensor, dict[str, Tensor | None]]:
        """The input of the first Transformer layer, and what every layer takes beside the states."""
        mask = frame_mask(frames, projected.shape[1], projected.device)
        if encoder.config.model_type != "wavlm":  # which takes the plain mask of frames
            mask = create_bidirectional_mask(encoder.config, projected, mask)
        hidden = projected + _positions(encoder.pos_conv_embed, projected, frames)
        return hidden if self.pre_norm else encoder.layer_norm(hidden), {"attention_mask": mask}


def _by_products(audio: Tensor) -> bool:
    """Whether convolutions are computed as matrix products: on a CPU that takes a fifth less time."""
    return audio.device.type == "cpu"


def _convolve_channels(layer: Any, hidden: Tensor, frames: Sequence[int]) -> Tensor:
    """One layer of the convolutional stack by the model's own modules: (batch, frames, channels) in and out."""
    hidden = hidden.transpose(1, 2)
    norm = getattr(layer, "layer_norm", None)
    if isinstance(norm, nn.GroupNorm):
        states = layer.activation(group_norm_(norm, layer.conv(hidden), frames))
    else:
        states = layer(hidden)
    return cast(Tensor, states.transpose(1, 2))


def _convolve_frames(layer: Any, hidden: Tensor, frames: Sequence[int]) -> Tensor:
    """The same by matrix products on (batch, frames, channels), where LayerNorm and pooling want the channels."""
    conv, norm = layer.conv, getattr(layer, "layer_norm", None)
    (stride,) = conv.stride
    if isinstance(norm, nn.GroupNorm):
        if hidden.shape[2] != 1 or norm.num_groups != norm.num_channels:
            return _convolve_channels(layer, hidden, frames)
        samples = [(count - 1) * stride + conv.weight.shape[2] for count in frames]
        rows = [
            group_normed(hidden[row : row + 1, :size, 0], conv.weight[:, 0], stride, norm.weight, norm.bias, norm.eps)
            for row, size in enumerate(samples)
        ]
        states = nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True)
        return cast(Tensor, layer.activation(states))
    states = convolve(hidden, conv.weight.transpose(1, 2).contiguous(), stride)
    if conv.bias is not None:
        states = states + conv.bias
    return cast(Tensor, layer.activation(states if norm is None else norm(states)))


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
