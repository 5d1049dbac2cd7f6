"""SpecAugment on features (Park et al. 2019), with the benchmark's settings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Frames by which the warped point may move.
_WARP_WINDOW = 5
_DIM_MASKS, _DIM_WIDTH = 4, 50
_TIME_MASKS, _TIME_WIDTH = 2, 40


class SpecAugment(nn.Module):
    """In training: warp time, then mask stretches of dimensions, then stretches of time, with zeros.

    Every utterance has its own; widths are drawn from [0, 50) dimensions and [0, 40) frames whatever the size of the
    features, as published. Random numbers come from PyTorch's global generator.
    """

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, dim) and (batch,) -> (batch, frames, dim), zero past the lengths."""
        if not self.training:
            return features
        rows = []
        for row, length in zip(features, lengths.tolist(), strict=True):
            warped = warp_time(row[:length])
            masked = mask(mask(warped, 1, _DIM_MASKS, _DIM_WIDTH), 0, _TIME_MASKS, _TIME_WIDTH)
            rows.append(F.pad(masked, (0, 0, 0, len(row) - length)))
        return torch.stack(rows)


def warp_time(features: Tensor, window: int = _WARP_WINDOW) -> Tensor:
    """Move a random frame of (frames, dim) by less than ``window`` frames; both sides are stretched (bicubic).

    Too short an utterance (no more than two windows) stays as it is.
    """
    frames = len(features)
    if frames - window <= window:
        return features
    centre = _draw(window, frames - window)
    moved = _draw(centre - window, centre + window) + 1
    return torch.cat([_stretch(features[:centre], moved), _stretch(features[centre:], frames - moved)])


def mask(features: Tensor, axis: int, count: int, width: int) -> Tensor:
    """Set ``count`` stretches of an axis of (frames, dim) to zero, each narrower than ``width``; they may overlap."""
    size = features.shape[axis]
    places = torch.arange(size)
    kept = torch.ones(size, dtype=torch.bool)
    for _ in range(count):
        wide = _draw(0, width)
        first = _draw(0, max(1, size - wide))
        kept &= (places < first) | (places >= first + wide)
    shape = (-1, 1) if axis == 0 else (1, -1)
    return features * kept.to(features.device).view(shape)


def _draw(low: int, high: int) -> int:
    """A random integer in [low, high)."""
    return int(torch.randint(low, high, ()))


def _stretch(features: Tensor, frames: int) -> Tensor:
    """(any, dim) -> (frames, dim)."""
    size = (frames, features.shape[1])
    return F.interpolate(features[None, None], size, mode="bicubic", align_corners=False)[0, 0]
