"""What the utterance-level tasks (IC, KS) share: the pooled linear head and class inventories."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechstrata.errors import CorpusError


class PooledHead(nn.Module):
    """Linear, mean over the valid frames, linear; nothing in between that is not linear.

    That is the benchmark's head. As a mean commutes with a linear layer, the mean of the features as a sequence of one
    frame gives the same outputs.

    Args:
        dim: of the features.
        width: between the layers.
        classes: outputs.
    """

    def __init__(self, dim: int, width: int, classes: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dim, width)
        self.output = nn.Linear(width, classes)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, dim) and (batch,) -> logits (batch, classes)."""
        valid = torch.arange(features.shape[1], device=features.device)[None] < lengths.to(features.device)[:, None]
        hidden = self.projection(features) * valid[..., None]
        logits: Tensor = self.output(hidden.sum(1) / valid.sum(1, keepdim=True).clamp(min=1))
        return logits


def inventory(values: Sequence[str], what: str) -> list[str]:
    """The sorted classes among ``values``.

    Raises:
        CorpusError: fewer than two, so that there is nothing to tell apart.
    """
    classes = sorted(set(values))
    if len(classes) < 2:
        raise CorpusError(
            f"the training split has {len(classes)} {what} ({', '.join(classes) or 'none'})", "give at least two"
        )
    return classes
