"""Spectrograms of enhancement: one frame per frame of the encoder, a magnitude mask, and the waveform again."""

import torch
import torch.nn.functional as F
from torch import Tensor

from speechstrata.errors import EncoderError
from speechstrata.superb.task import FrameGrid

#: Samples of the published window and transform.
_WINDOW = 512


def hop_of(grid: FrameGrid) -> int:
    """Samples from one spectrum to the next: the encoder's stride, 320 for most.

    Raises:
        EncoderError: the stride is not a whole number of samples.
    """
    if grid.stride.denominator != 1:
        raise EncoderError(
            f"enhancement needs a stride of whole samples, not {float(grid.stride):.3f}",
            "choose a layer of another resolution with --layers",
        )
    return int(grid.stride)


def window_of(hop: int) -> int:
    """Samples of the window: 512 as published, or the next power of two that hops of that size leave no gaps in."""
    window = _WINDOW
    while window <= hop:
        window *= 2
    return window


def spectrum(waveform: Tensor, hop: int) -> Tensor:
    """(samples,) -> complex (frames, bins): Hann window, centred.

    The waveform is padded with zeros to whole hops first, or its last samples might lie beyond the last window and be
    lost to :func:`waveform_of`: there are ``ceil(samples / hop) + 1`` frames. The edges are mirrored, or zero where the
    waveform is too short for that.
    """
    window = window_of(hop)
    waveform = F.pad(waveform, (0, -len(waveform) % hop))
    mode = "reflect" if len(waveform) > window // 2 else "constant"
    hann = torch.hann_window(window, device=waveform.device, dtype=waveform.dtype)
    found = torch.stft(waveform, window, hop, window=hann, center=True, pad_mode=mode, return_complex=True)
    return found.transpose(0, 1)


def waveform_of(found: Tensor, hop: int, samples: int) -> Tensor:
    """The inverse of :func:`spectrum`: complex (frames, bins) -> (samples,)."""
    window = window_of(hop)
    hann = torch.hann_window(window, device=found.device, dtype=found.real.dtype)
    return torch.istft(found.transpose(0, 1), window, hop, window=hann, center=True)[:samples]


def fit_frames(mask: Tensor, frames: int) -> Tensor:
    """(any, bins) -> (frames, bins): surplus frames are cut off, the last frame goes on where there are too few.

    A centred spectrum has a few frames more than an encoder. (The benchmark pads the encoder's features with
    zeros instead, before the head.)
    """
    missing = frames - len(mask)
    if missing <= 0:
        return mask[:frames]
    return F.pad(mask.T[None], (0, missing), mode="replicate")[0].T


def phase_sensitive_loss(mask: Tensor, noisy: Tensor, clean: Tensor) -> Tensor:
    """``sum (mask |X| - |S| relu(cos(angle S - angle X)))^2 / frames`` of one utterance (Erdogan et al. 2015).

    Args:
        mask: (frames, bins).
        noisy: X, complex (frames, bins).
        clean: S, likewise.
    """
    aligned = clean.abs() * torch.cos(clean.angle() - noisy.angle()).relu()
    return (mask * noisy.abs() - aligned).square().sum() / len(mask)
