"""Exact lengths in padded batches: nothing that lies past an utterance's end may reach one of its frames."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

#: Added to the variance by transformers' Wav2Vec2FeatureExtractor.
_VARIANCE_FLOOR = 1e-7


def frame_mask(lengths: Sequence[int], frames: int, device: torch.device) -> Tensor | None:
    """(batch, frames) bool, true on an utterance's own frames; ``None`` where no utterance is padded."""
    if all(length == frames for length in lengths):
        return None
    ends = torch.tensor(lengths, device=device)
    return torch.arange(frames, device=device)[None] < ends[:, None]


def zero_tails_(states: Tensor, lengths: Sequence[int], dim: int = 1) -> Tensor:
    """Zero what lies at or beyond each utterance's length along ``dim`` of (batch, ...), in place."""
    frames = states.shape[dim]
    for row, length in enumerate(lengths):
        if length < frames:
            states[row].narrow(dim - 1, length, frames - length).zero_()
    return states


def group_norm_(norm: nn.GroupNorm, states: Tensor, lengths: Sequence[int]) -> Tensor:
    """Group normalisation with each utterance's statistics over its own frames only; tails become zero.

    torch's group norm takes the mean and variance over all frames of a row, padding included. Here each row is
    cut to its length first, so that it gets exactly what it would get alone.

    Args:
        norm: its parameters and epsilon.
        states: (batch, channels, frames); may be overwritten.
        lengths: in frames.
    """
    frames = states.shape[2]
    if all(length == frames for length in lengths):
        return cast(Tensor, norm(states))
    for row, length in enumerate(lengths):
        states[row : row + 1, :, :length] = norm(states[row : row + 1, :, :length])
    return zero_tails_(states, lengths, dim=2)


def normalize_waveforms(audio: Tensor, lengths: Sequence[int]) -> Tensor:
    """Zero mean and unit variance over each utterance's own samples, as transformers' feature extractor has it.

    Args:
        audio: (batch, samples), zero past each length.
        lengths: in samples.
    """
    count = torch.tensor(lengths, device=audio.device, dtype=torch.float64)[:, None]
    mean = audio.sum(1, keepdim=True, dtype=torch.float64) / count
    centred = zero_tails_(audio - mean.float(), lengths)
    variance = centred.square().sum(1, keepdim=True, dtype=torch.float64) / count
    return centred / (variance + _VARIANCE_FLOOR).sqrt().float()
