"""Losses and accuracies that do not ask which output is which speaker (permutation-invariant training)."""

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor


def best_permutations(logits: Tensor, wanted: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The order of the reference's speakers with the lowest binary cross-entropy, for each recording.

    All orders are compared; with the two speakers of the benchmark there are two.

    Args:
        logits: (batch, frames, speakers).
        wanted: (batch, frames, speakers), 0 or 1.
        lengths: (batch,) in frames.

    Returns:
        (batch,) the loss, mean over speakers and sum over valid frames; and (batch, speakers) the order, such that
        ``wanted[..., order]`` fits ``logits``.
    """
    valid = torch.arange(logits.shape[1], device=logits.device)[None] < lengths.to(logits.device)[:, None]
    speakers = logits.shape[2]
    orders = list(permutations(range(speakers)))
    # Cross-entropy of every output against every speaker, once: an order's loss is a sum over its pairs.
    pairs = F.binary_cross_entropy_with_logits(
        logits[..., :, None].expand(*logits.shape, speakers),
        wanted[..., None, :].expand(*logits.shape, speakers),
        reduction="none",
    )
    costs = (pairs * valid[..., None, None]).sum(1)
    outputs = range(speakers)
    losses = torch.stack([costs[:, outputs, list(order)].sum(-1) for order in orders], dim=1) / speakers
    lowest, which = losses.min(1)
    return lowest, torch.tensor(orders, device=logits.device)[which]


def permutation_loss(logits: Tensor, wanted: Tensor, lengths: Tensor) -> Tensor:
    """The losses of :func:`best_permutations`, summed, over the number of valid frames in the batch."""
    lowest, _ = best_permutations(logits, wanted, lengths)
    return lowest.sum() / lengths.sum().to(logits.device)
