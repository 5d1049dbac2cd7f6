"""Connectionist temporal classification: the loss of a batch, and the most probable path."""

from collections.abc import Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

#: The blank is the first output in both inventories, as in the benchmark.
BLANK = 0


def ctc_loss(outputs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """Minus the log probability of each target over its length, mean over the batch.

    A target that does not fit into its frames has no path and counts as zero (``zero_infinity``), as published.

    Args:
        outputs: logits (batch, frames, units).
        lengths: (batch,) in frames.
        targets: units of each utterance, without blanks.
    """
    log_probabilities = outputs.log_softmax(-1).transpose(0, 1)
    flat = torch.tensor([unit for target in targets for unit in target], dtype=torch.long, device=outputs.device)
    counts = torch.tensor([len(target) for target in targets], dtype=torch.long)
    return F.ctc_loss(log_probabilities, flat, lengths.cpu(), counts, blank=BLANK, zero_infinity=True)


def best_path(outputs: Tensor, lengths: Tensor) -> list[list[int]]:
    """The best unit of every frame, repetitions taken once, blanks taken out.

    Args:
        outputs: (batch, frames, units).
        lengths: (batch,) in frames.
    """
    paths = [row[:length] for row, length in zip(outputs.argmax(-1).tolist(), lengths.tolist(), strict=True)]
    return [[unit for unit, _ in groupby(path) if unit != BLANK] for path in paths]
