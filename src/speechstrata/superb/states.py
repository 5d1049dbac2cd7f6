"""The states that a probe weighs: which layers, on which frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder
from speechstrata.errors import EncoderError
from speechstrata.superb.task import FrameGrid


@dataclass(frozen=True)
class LayerChoice:
    """Layers of one encoder that are weighed against each other.

    Attributes:
        layers: in the order of computation; all of one dimension.
        finest: the one whose frames the others are repeated to.
        sample_rate: of the encoder, in hertz.
    """

    layers: tuple[Layer, ...]
    finest: Layer
    sample_rate: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the layers."""
        return tuple(layer.name for layer in self.layers)

    @property
    def dim(self) -> int:
        """Of every layer."""
        return self.finest.dim

    def grid(self, frames: int = 0) -> FrameGrid:
        """The frames of a feature of these layers."""
        return FrameGrid(frames, Fraction(self.finest.stride), self.sample_rate)


def choose_layers(encoder: SpeechEncoder, names: Sequence[str] = ()) -> LayerChoice:
    """The layers of those names; without any, the states that the benchmark takes.

    These are the input of the first Transformer layer and the output of each (13 of HuBERT base); of MR-HuBERT also the
    inputs of the later blocks (15); of an encoder without Transformer layers, everything.

    Raises:
        EncoderError: unknown names, or layers of different dimensions.
    """
    if names:
        layers = tuple(dict.fromkeys(encoder.layer(name) for name in names))
    elif hasattr(encoder, "benchmark_states"):
        layers = tuple(encoder.layer(name) for name in encoder.benchmark_states)
    else:
        layers = tuple(layer for layer in encoder.layers if layer.kind == "transformer") or encoder.layers
    order = {layer.name: number for number, layer in enumerate(encoder.layers)}
    layers = tuple(sorted(layers, key=lambda layer: order[layer.name]))
    if len(dims := {layer.dim for layer in layers}) > 1:
        listed = ", ".join(f"{layer.name} ({layer.dim})" for layer in layers)
        raise EncoderError(f"layers of {len(dims)} dimensions cannot be weighed: {listed}", "choose some with --layers")
    finest = min(layers, key=lambda layer: layer.stride)
    return LayerChoice(layers, finest, encoder.sample_rate)


def has_frames(encoder: SpeechEncoder, choice: LayerChoice, samples: int) -> bool:
    """Whether a waveform of so many samples has a frame in every layer."""
    return samples > 0 and all(encoder.frame_count(layer, samples) > 0 for layer in choice.layers)


def on_finest(own: HiddenStates, layer: Layer, choice: LayerChoice, lengths: Tensor) -> Tensor:
    """A layer's states on the frames of the finest: (batch, frames, dim), zero past the lengths.

    Frame ``t`` takes frame ``floor(t x finest stride / stride)`` of a coarser layer, which repeats every frame where
    the ratio is whole, as the benchmark's wrapper does; past a layer's end its last frame goes on.

    Args:
        own: the layer's states.
        layer: which.
        choice: that it belongs to.
        lengths: (batch,) of the finest layer, in frames.
    """
    frames = int(lengths.max())
    lengths = lengths.to(own.states.device)[:, None]
    time = torch.arange(frames, device=own.states.device)
    states = own.states
    if layer.stride != choice.finest.stride or states.shape[1] != frames:
        ratio = Fraction(choice.finest.stride) / Fraction(layer.stride)
        index = (time * ratio.numerator) // ratio.denominator
        rows = torch.minimum(index[None], (own.lengths - 1).clamp(min=0)[:, None])
        states = states.gather(1, rows[..., None].expand(-1, -1, layer.dim))
    return states * (time[None] < lengths)[..., None]


def normalized(states: Tensor) -> Tensor:
    """Each state (..., dim) brought to zero mean and unit variance, without affine weights."""
    return F.layer_norm(states, states.shape[-1:])
