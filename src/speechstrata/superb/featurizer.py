"""The learned mixture of layers that every probe looks at."""

import torch
from torch import Tensor, nn

from speechstrata.superb.layered import LayeredStates


class Featurizer(nn.Module):
    """``sum_l softmax(w)_l h_l`` with ``w`` at 0 in the beginning; nothing else is learned of the encoder.

    Args:
        layers: how many.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """(layers,), positive, of sum 1."""
        return torch.softmax(self.logits, dim=0)

    def forward(self, states: Tensor | LayeredStates) -> Tensor:
        """(batch, frames, layers, dim), or states that are made as they are added up -> (batch, frames, dim)."""
        if isinstance(states, LayeredStates):
            return states.weighted(self.weights)
        return torch.einsum("btld,l->btd", states, self.weights)
