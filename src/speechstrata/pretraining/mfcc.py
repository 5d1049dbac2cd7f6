"""39-dimensional MFCC, the features of the first iteration's targets: batched, and the same alone as in any batch.

Conventions, all Kaldi's defaults (the public HuBERT recipe calls torchaudio's port of Kaldi): 16 kHz waveforms in
[-1, 1], not scaled to 16-bit integers; 25 ms windows every 10 ms, only where a whole window fits; mean removed and
pre-emphasis of 0.97 within each window; "povey" window; 512-point power spectrum; 23 triangular mel filters from 20 Hz
to 8 kHz; log with a floor of float32's epsilon; 13 cepstra (C0 kept, no energy, no dither) with liftering of 22; then
their first and second differences over 5 frames, the edges repeated.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from speechstrata.pretraining.config import SAMPLE_RATE

WINDOW, HOP = 400, 160
DIM = 39
_FFT, _BANDS, _CEPSTRA, _LIFTER, _PREEMPHASIS = 512, 23, 13, 22.0, 0.97
_LOW_HZ, _HIGH_HZ = 20.0, SAMPLE_RATE / 2


class Mfcc(NamedTuple):
    """``features`` (batch, frames, 39), zero beyond each row's ``lengths`` (batch,), in frames of 10 ms."""

    features: Tensor
    lengths: Tensor


def mfcc_length(samples: int) -> int:
    """Frames of a waveform of that many samples; 0 if it is shorter than a window."""
    return max(0, (samples - WINDOW) // HOP + 1)


def mfcc(waveforms: Tensor, lengths: Tensor) -> Mfcc:
    """MFCC with first and second differences.

    Args:
        waveforms: (batch, samples), float32 at 16 kHz, padded with anything after each length.
        lengths: (batch,), in samples.
    """
    frames = torch.div(lengths - WINDOW, HOP, rounding_mode="floor").add(1).clamp(min=0)
    longest = int(frames.max())
    if longest == 0:
        return Mfcc(waveforms.new_zeros(len(waveforms), 0, DIM), frames)
    windows = waveforms[:, : WINDOW + (longest - 1) * HOP].unfold(1, WINDOW, HOP)
    windows = windows - windows.mean(dim=2, keepdim=True)
    before = torch.cat([windows[..., :1], windows[..., :-1]], dim=2)
    windows = (windows - _PREEMPHASIS * before) * _window().to(windows)
    power = torch.fft.rfft(windows, n=_FFT).abs().square()
    mel = power @ _mel_filters().to(power)
    cepstra = mel.clamp(min=torch.finfo(torch.float32).eps).log() @ _cosines().to(power)
    first = _differences(cepstra, frames)
    features = torch.cat([cepstra, first, _differences(first, frames)], dim=2)
    inside = torch.arange(longest, device=frames.device) < frames[:, None]
    return Mfcc(features * inside[..., None], frames)


def _differences(values: Tensor, lengths: Tensor) -> Tensor:
    """Regression over five frames, sum of n (x[t+n] - x[t-n]) / 10; frames beyond the row's ends repeat the end."""
    place = torch.arange(values.shape[1], device=values.device)
    last = (lengths - 1).clamp(min=0)[:, None]

    def shifted(by: int) -> Tensor:
        index = (place + by).clamp(min=0).minimum(last)
        return values.gather(1, index[..., None].expand_as(values))

    return (shifted(1) - shifted(-1) + 2 * (shifted(2) - shifted(-2))) / 10.0


@lru_cache(maxsize=1)
def _window() -> Tensor:
    """Kaldi's "povey" window: a Hann window (symmetric) to the power of 0.85."""
    return torch.hann_window(WINDOW, periodic=False, dtype=torch.float64).pow(0.85).float()


@lru_cache(maxsize=1)
def _mel_filters() -> Tensor:
    """(257, 23): triangles that are equally wide in mel = 1127 ln(1 + f / 700); the Nyquist bin is unused."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log(1.0 + hertz / 700.0)

    low, high = mel(torch.tensor([_LOW_HZ, _HIGH_HZ], dtype=torch.float64))
    width = (high - low) / (_BANDS + 1)
    centres = low + width * torch.arange(1, _BANDS + 1, dtype=torch.float64)
    bins = mel(torch.arange(_FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / _FFT)
    filters = (1.0 - (bins[:, None] - centres).abs() / width).clamp(min=0.0)
    return functional.pad(filters[:-1], (0, 0, 0, 1)).float()


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """(23, 13): the orthonormal DCT-II, each cepstrum weighted by 1 + 11 sin(pi i / 22) ("liftering")."""
    order = torch.arange(_CEPSTRA, dtype=torch.float64)
    band = torch.arange(_BANDS, dtype=torch.float64) + 0.5
    basis = torch.cos(math.pi / _BANDS * band[:, None] * order) * math.sqrt(2.0 / _BANDS)
    basis[:, 0] = math.sqrt(1.0 / _BANDS)
    return (basis * (1.0 + _LIFTER / 2.0 * torch.sin(math.pi * order / _LIFTER))).float()
