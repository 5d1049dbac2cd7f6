"""Masked prediction at every resolution: which frames are scored, against which labels, and the loss.

A frame is compared with the class embeddings of its head by cosine similarity over a temperature; the loss is the
cross-entropy of the right class. One normalised matrix product gives the numbers that the published
code gets by expanding every negative (golden behaviour 9).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import Block, NetworkConfig, Sampling, label_ratio
from speechstrata.mrhubert.packing import Frames

#: A label that is never scored: padding of the label tensors.
IGNORE = -100

Averaging = Literal["high_resolution", "per_resolution"]


@dataclass(frozen=True)
class HeadScore:
    """What one head did on a batch; 0-d tensors, sums over the scored frames.

    Attributes:
        cross_entropy: summed over the masked frames, in nats.
        correct: masked frames whose class is ranked first.
        count: masked frames.
        unmasked_cross_entropy, unmasked_correct, unmasked_count: the same for the other labelled frames; None where
            they were not asked for.
    """

    cross_entropy: Tensor
    correct: Tensor
    count: Tensor
    unmasked_cross_entropy: Tensor | None = None
    unmasked_correct: Tensor | None = None
    unmasked_count: Tensor | None = None


@dataclass(frozen=True)
class PreTrainingOutput:
    """The objective of one batch, as sums, so that batches and processes can be added up.

    Attributes:
        loss: 0-d, in nats, with gradient: the summed cross-entropies of all heads plus the feature
            penalty times ``sample_size``. Divide its gradient by the sample size of all processes together.
        sample_size: 0-d int: masked frames of the finest head (plus its unmasked ones where they are weighted).
        heads: finest resolution first.
        feature_penalty: 0-d: mean square of the front-end's output, not weighted.
        penalty_weight, unmasked_weight: the weights in ``loss``.
    """

    loss: Tensor
    sample_size: Tensor
    heads: tuple[HeadScore, ...]
    feature_penalty: Tensor
    penalty_weight: float
    unmasked_weight: float

    @property
    def counts(self) -> Tensor:
        """Masked frames of each head, (heads,): sum these over processes for :meth:`mean_loss`."""
        return torch.stack([head.count for head in self.heads])

    def mean_loss(self, counts: Tensor | None = None, averaging: Averaging = "high_resolution") -> Tensor:
        """This batch's share of the loss per masked frame, with gradient; shares of several processes add up.

        Args:
            counts: (heads,) masked frames of each head over all processes; this batch's by default.
            averaging: ``high_resolution`` divides everything by the finest head's count, as published, so
                a head at half the rate weighs about half; ``per_resolution`` divides each head by its own.
        """
        counts = self.counts if counts is None else counts
        counts = counts.clamp(min=1)
        if averaging == "high_resolution":
            counts = counts[:1].expand(len(self.heads))
        penalty = self.penalty_weight * self.feature_penalty * self.heads[0].count / counts[0]
        terms = [head.cross_entropy / count for head, count in zip(self.heads, counts, strict=True)]
        return torch.stack(terms).sum() + penalty

    @property
    def bits_per_frame(self) -> float:
        """The published unit: the whole loss in bits per masked frame of the finest resolution."""
        return float(self.loss.detach()) / math.log(2) / max(1, int(self.sample_size))


class PredictionHead(nn.Module):
    """The projection of one resolution, and the embeddings of its classes."""

    def __init__(self, config: NetworkConfig, index: int) -> None:
        super().__init__()
        stream = index if len(config.classes) > 1 else 0
        self.projection = nn.Linear(config.dim, config.final_dim)
        self.classes = nn.Parameter(torch.empty(config.classes[stream], config.final_dim))
        self.temperature = config.logit_temperature

    def reset_parameters(self) -> None:
        """Uniform embeddings in [0, 1), as published; the projection as a fresh ``Linear``."""
        init.uniform_(self.classes)
        bound = self.projection.in_features**-0.5
        init.uniform_(self.projection.weight, -bound, bound)
        init.uniform_(self.projection.bias, -bound, bound)

    def forward(self, frames: Tensor) -> Tensor:
        """(frames, dim) -> logits (frames, classes): cosine similarities over the temperature, in float32."""
        projected = F.normalize(self.projection(frames).float(), dim=-1)
        classes = F.normalize(self.classes.float(), dim=-1)
        with torch.autocast(frames.device.type, enabled=False):
            return projected @ classes.t() / self.temperature


def score_head(
    head: PredictionHead, frames: Tensor, labels: Tensor, masked: Tensor, unmasked_weight: float | None
) -> HeadScore:
    """Cross-entropies and hits of one head.

    Args:
        head: the head.
        frames: (frames, dim), packed.
        labels: (frames,) rows of the class table, ``IGNORE`` where a frame is not scored.
        masked: (frames,) bool.
        unmasked_weight: None leaves the unmasked frames alone; 0 scores them without gradient.
    """
    labelled = labels != IGNORE
    chosen = labelled & masked
    cross_entropy, correct = _cross_entropy(head(frames[chosen]), labels[chosen])
    if unmasked_weight is None:
        return HeadScore(cross_entropy, correct, chosen.sum())
    others = labelled & ~masked
    with torch.set_grad_enabled(torch.is_grad_enabled() and unmasked_weight > 0):
        other_entropy, other_correct = _cross_entropy(head(frames[others]), labels[others])
    return HeadScore(cross_entropy, correct, chosen.sum(), other_entropy, other_correct, others.sum())


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    entropy = F.cross_entropy(logits, labels, reduction="sum")
    return entropy, (logits.detach().argmax(-1) == labels).sum()


def combine(
    scores: Sequence[HeadScore], penalty: Tensor, config: NetworkConfig, unmasked_weight: float
) -> PreTrainingOutput:
    """Sum the heads (finest first) and the feature penalty to the published objective."""
    loss = torch.stack([score.cross_entropy for score in scores]).sum()
    size = scores[0].count
    if unmasked_weight > 0:
        others = [score.unmasked_cross_entropy for score in scores if score.unmasked_cross_entropy is not None]
        loss = loss + unmasked_weight * torch.stack(others).sum()
        assert scores[0].unmasked_count is not None
        size = size + scores[0].unmasked_count
    loss = loss + config.feature_penalty * penalty * size
    return PreTrainingOutput(loss, size, tuple(scores), penalty, config.feature_penalty, unmasked_weight)


def head_labels(config: NetworkConfig, head: int, targets: Tensor, frames: Frames) -> Tensor:
    """The class of each frame that a head scores.

    Frame t takes label floor(t x ratio) of its stream, with the exact ratio of label rate to frame rate;
    frames without a label are not scored.

    Args:
        config: of the network.
        head: 0 is the finest resolution.
        targets: (batch, labels), units from 0, padded with ``IGNORE``.
        frames: the block's output, for its lengths.

    Returns:
        (frames of all utterances,) rows of the class table, or ``IGNORE``.

    Raises:
        InputError: a unit that the class table does not have.
    """
    ratio = label_ratio(config, head)
    longest = max(frames.lengths)
    if config.padding == "reference" and longest * ratio > targets.shape[1]:
        longest = int(targets.shape[1] / ratio)  # the published code drops these frames
    times = torch.arange(longest, device=targets.device)
    index = times * ratio.numerator // ratio.denominator
    labels = targets.new_full((len(targets), max(frames.lengths)), IGNORE)
    known = index < targets.shape[1]
    labels[:, times[known]] = targets[:, index[known]]
    rows = Frames.pack(labels, frames.lengths).data
    rows = torch.where(rows == IGNORE, IGNORE, rows + config.label_offset)
    classes = config.classes[head if len(config.classes) > 1 else 0]
    wrong = (rows != IGNORE) & ((rows < 0) | (rows >= classes))
    if bool(wrong.any()):
        unit = int(rows[wrong][0]) - config.label_offset
        raise InputError(
            f"label {unit} of head {head} is not one of its {classes - config.label_offset} units",
            "use the label files that the model was configured for, or set classes",
        )
    if frames.padding is not None:
        rows = rows.masked_fill(frames.padding, IGNORE)
    return rows


def carry_masks(mask: Tensor, plan: Sequence[Block], config: NetworkConfig) -> dict[str, Tensor]:
    """The mask at the resolution of each block: (batch, frames) bool, by block name.

    A sampling module repeats it ``up`` times and takes every ``down``-th value. With ``mask_carry="input"`` a decoder
    scores the mask that its encoder saw; with ``"reference"`` the one that came through the lowest resolution.
    """
    masks: dict[str, Tensor] = {}
    for block in plan:
        if block.role == "decoder" and config.mask_carry == "input" and block.skip is not None:
            masks[block.name] = masks[block.skip]
            continue
        if block.sampling is not None:
            mask = resample_mask(mask, block.sampling)
        if block.role == "decoder" and block.skip is not None:
            mask = mask[:, : masks[block.skip].shape[1]]
        masks[block.name] = mask
    return masks


def resample_mask(mask: Tensor, sampling: Sampling) -> Tensor:
    """Repeat each frame ``up`` times, then keep every ``down``-th: (batch, T) -> (batch, ceil(T up / down))."""
    return mask.repeat_interleave(sampling.up, dim=1)[:, :: sampling.down]


def labels_cover(config: NetworkConfig, labels: int, frames: int) -> int:
    """Frames of the finest resolution that so many labels reach."""
    ratio: Fraction = label_ratio(config, 0)
    return min(frames, int(labels / ratio))
