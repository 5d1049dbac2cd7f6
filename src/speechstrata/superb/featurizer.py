"""The learned mixture of layers that every probe looks at."""

import torch
from torch import Tensor, nn


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

    def forward(self, states: Tensor) -> Tensor:
        """(batch, frames, layers, dim) -> (batch, frames, dim)."""
        return torch.einsum("btld,l->btd", states, self.weights)
