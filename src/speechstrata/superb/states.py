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


def stack_states(states: dict[str, HiddenStates], choice: LayerChoice) -> tuple[Tensor, Tensor]:
    """All layers on the frames of the finest: (batch, frames, layers, dim), float32, and lengths (batch,) in frames.

    Frame ``t`` takes frame ``floor(t x finest stride / stride)`` of a coarser layer, which repeats every frame where
    the ratio is whole, as the benchmark's wrapper does; past a layer's end its last frame goes on.
    """
    finest = states[choice.finest.name]
    frames, lengths = finest.states.shape[1], finest.lengths
    columns = []
    for layer in choice.layers:
        own = states[layer.name]
        if layer.stride == choice.finest.stride and own.states.shape[1] == frames:
            columns.append(own.states)
            continue
        ratio = Fraction(choice.finest.stride) / Fraction(layer.stride)
        time = torch.arange(frames, device=own.states.device)
        index = (time * ratio.numerator) // ratio.denominator
        rows = torch.minimum(index[None], (own.lengths - 1).clamp(min=0)[:, None])
        columns.append(own.states.gather(1, rows[..., None].expand(-1, -1, layer.dim)))
    valid = torch.arange(frames, device=lengths.device)[None] < lengths[:, None]
    return torch.stack(columns, dim=2) * valid[:, :, None, None], lengths


def normalized(states: Tensor) -> Tensor:
    """Each state (..., dim) brought to zero mean and unit variance, without affine weights."""
    return F.layer_norm(states, states.shape[-1:])


def mean_over_frames(states: Tensor, lengths: Tensor) -> Tensor:
    """(batch, frames, layers, dim), zero past the lengths -> (batch, 1, layers, dim)."""
    return states.sum(1, keepdim=True) / lengths.clamp(min=1)[:, None, None, None]
