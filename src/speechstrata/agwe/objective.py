"""The multi-view contrastive loss of He, Wang and Livescu (2017), with the hardest negatives (Settle et al., 2019)."""

import torch
from torch import Tensor


def multi_view_loss(spoken: Tensor, written: Tensor, word: Tensor, margin: float, negatives: int) -> Tensor:
    """The mean over the batch of two hinge losses, with d the cosine distance.

    For a segment x of word c: ``max(0, margin + d(x, c) - d(x, c'))`` over the other words c' (their objective 0),
    and ``max(0, margin + d(x, c) - d(x', c))`` over the segments x' of other words (objective 2), each averaged over
    the ``negatives`` hardest, which are the nearest; all of them where there are fewer.

    Args:
        spoken: (batch, dim) segments, of unit length.
        written: (types, dim) the words of the batch, each once, of unit length.
        word: (batch,) the row of ``written`` that a segment says.
        margin: in cosine distance, 0 to 2.
        negatives: how many of the hardest.
    """
    distance = 1 - spoken @ written.T
    own = torch.nn.functional.one_hot(word, len(written)).bool()
    positive = distance[own]
    other = distance.masked_fill(own, torch.inf)
    loss = _hinge(positive, other, margin, negatives)  # other words for the segment
    return loss + _hinge(positive, other.T[word], margin, negatives)  # other segments for the word


def _hinge(positive: Tensor, negative: Tensor, margin: float, negatives: int) -> Tensor:
    """(batch,) and (batch, candidates), infinite where none -> the mean over the batch."""
    nearest = negative.topk(min(negatives, negative.shape[1]), dim=1, largest=False).values
    there = nearest.isfinite()
    terms = (margin + positive[:, None] - nearest.masked_fill(~there, 0)).relu() * there
    return (terms.sum(dim=1) / there.sum(dim=1).clamp(min=1)).mean()
