"""The states of a batch of audio, made layer by layer, for whatever needs no more than one layer at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder
from speechstrata.superb.states import LayerChoice, normalized, on_finest


class LayeredStates:
    """The layers of a batch on the frames of the finest; every call of a method runs the encoder once.

    Args:
        encoder: what makes the states.
        choice: of its layers.
        waveforms: (batch, samples), padded.
        samples: (batch,) the lengths of the waveforms.
        normalize: layer-normalise each state before anything else is done with it.

    Attributes:
        lengths: (batch,) in frames.
    """

    def __init__(
        self, encoder: SpeechEncoder, choice: LayerChoice, waveforms: Tensor, samples: Tensor, *, normalize: bool
    ) -> None:
        self._encoder, self._choice = encoder, choice
        self._waveforms, self._samples, self._normalize = waveforms, samples, normalize
        self.lengths = torch.tensor([encoder.frame_count(choice.finest, count) for count in samples.tolist()])

    @property
    def gigabytes(self) -> float:
        """What all layers together would take in memory."""
        return 4e-9 * len(self.lengths) * int(self.lengths.max()) * len(self._choice.layers) * self._choice.dim

    def collect(self, pooled: bool) -> tuple[Tensor, list[float]]:
        """All layers: (batch, frames, layers, dim), zero past the lengths; and each layer's sum of norms.

        Args:
            pooled: give the mean over frames, (batch, 1, layers, dim), for which all layers are never held.
        """
        norms = [0.0] * len(self._choice.layers)
        frames = 1 if pooled else int(self.lengths.max())
        shape = (len(self.lengths), frames, len(norms), self._choice.dim)
        stacked: list[Tensor] = []  # one, once the first layer says where

        def keep(number: int, raw: Tensor, states: Tensor) -> None:
            if not stacked:
                stacked.append(_outside(shape, states.device))
            norms[number] = float(raw.norm(dim=-1).sum())
            if pooled:
                states = states.sum(1, keepdim=True) / self.lengths.to(states.device)[:, None, None]
            stacked[0][:, :, number] = states

        self._visit(keep)
        return stacked[0], norms

    def norms(self) -> list[float]:
        """Of each layer, the Euclidean norms of its states, summed; before they are normalised."""
        norms = [0.0] * len(self._choice.layers)

        def measure(number: int, raw: Tensor, _: Tensor) -> None:
            norms[number] = float(raw.norm(dim=-1).sum())

        self._visit(measure)
        return norms

    def weighted(self, weights: Tensor) -> Tensor:
        """``sum_l weights_l h_l``: (batch, frames, dim), on the device of ``weights`` (layers,).

        Each layer is added as it appears and forgotten. For the gradient, which is the inner product of each layer with
        that of the sum, the encoder runs again.
        """
        total: Tensor = _WeightedSum.apply(weights, self)
        return total

    def to(self, *_: Any, **__: Any) -> "LayeredStates":
        """For Lightning, which moves batches: the sum appears where its weights are."""
        return self

    def add_up(self, weights: Sequence[float]) -> Tensor:
        """:meth:`weighted` without a gradient, on the encoder's device."""
        total: list[Tensor] = []

        def add(number: int, _: Tensor, states: Tensor) -> None:
            if not total:
                total.append(_outside(states.shape, states.device))
            total[0].add_(states, alpha=weights[number])

        self._visit(add)
        return total[0]

    def inner_products(self, other: Tensor) -> Tensor:
        """(layers,): of each layer with ``other`` (batch, frames, dim)."""
        products = torch.zeros(len(self._choice.layers), device=other.device)

        def multiply(number: int, _: Tensor, states: Tensor) -> None:
            products[number] = torch.dot(states.flatten(), flat.to(states.device))

        flat = other.contiguous().flatten()
        self._visit(multiply)
        return products

    def _visit(self, see: Callable[[int, Tensor, Tensor], None]) -> None:
        """Hand over each layer: its number, its states, and those states normalised if that is wanted."""
        numbers = {name: number for number, name in enumerate(self._choice.names)}

        def visitor(layer: Layer, output: HiddenStates) -> None:
            raw = on_finest(output, layer, self._choice, self.lengths)
            see(numbers[layer.name], raw, normalized(raw) if self._normalize else raw)  # zeros stay zeros

        self._encoder.visit(self._waveforms, self._samples, visitor, self._choice.names)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, states: LayeredStates) -> Tensor:
        ctx.states, ctx.device = states, weights.device
        return states.add_up(weights.tolist()).to(weights.device)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.states.inner_products(gradient).to(ctx.device), None


def _outside(shape: Sequence[int], device: torch.device) -> Tensor:
    """Zeros that outlive the inference mode in which visitors are called."""
    with torch.inference_mode(False):
        return torch.zeros(tuple(shape), device=device)
