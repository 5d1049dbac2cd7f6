"""From waveforms to frames: the convolutional extractors of HuBERT, and a log-mel front-end.

Everything is computed per utterance, or per run of utterances of the same length, so no statistic over time
ever sees another utterance or padding.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import MEL_HOP, MEL_STACK, MEL_WINDOW, NetworkConfig
from speechstrata.mrhubert.convolution import FrameConv, group_normed
from speechstrata.mrhubert.packing import Frames, join, runs

_MEL_FFT = 512
#: Log-mel energies of read speech at unit variance: measured mean -5.1, standard deviation 4.0; 2% lie at the floor.
_MEL_FLOOR, _MEL_MEAN, _MEL_SCALE = 1e-5, -5.0, 4.0


class ConvNorm(nn.Module):
    """The scale and shift of the normalisation after a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        init.ones_(self.weight)
        init.zeros_(self.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """LayerNorm over the channels of (utterances, frames, channels)."""
        return F.layer_norm(frames, (frames.shape[-1],), self.weight, self.bias)


def group_normed_conv(waveforms: Tensor, conv: FrameConv, norm: ConvNorm) -> Tensor:
    """The first convolution and its GroupNorm: see ``convolution.group_normed``.

    Args:
        waveforms: (utterances, samples, 1), all samples valid.
        conv: the convolution.
        norm: the norm's scale and shift.

    Returns:
        (utterances, frames, channels).
    """
    shift: Tensor = norm.bias
    if conv.bias is not None:
        shift = shift + 0 * conv.bias  # without effect, but a parameter that is used, as DDP expects
    return group_normed(waveforms[..., 0], conv.weight[..., 0], conv.stride, norm.weight, shift)


class ConvExtractor(nn.Module):
    """The convolutional feature extractor: convolution, normalisation (where there is one), GELU; seven times."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = [1, *(layer.channels for layer in config.conv_layers)]
        self.convolutions = nn.ModuleList(
            FrameConv(inputs, outputs, layer.kernel, layer.stride, bias=config.conv_bias)
            for (inputs, outputs), layer in zip(pairwise(channels), config.conv_layers, strict=True)
        )
        layer_norm = config.extractor == "layer_norm"
        self.norms = nn.ModuleList(
            ConvNorm(outputs) if layer_norm or index == 0 else nn.Identity()
            for index, outputs in enumerate(channels[1:])
        )
        self.config = config

    def forward(self, waveforms: Sequence[Tensor], every_layer: bool) -> Iterator[Frames]:
        """Yield every layer's output, or only the last one's.

        Args:
            waveforms: one (utterances, samples) tensor for each run of equal lengths.
            every_layer: give each layer for the whole batch before the next one; otherwise each run goes
                through all layers before the next run, which needs the memory of one run.
        """
        states = [waveform.unsqueeze(-1) for waveform in waveforms]
        if not every_layer:
            yield _frames([self._all_layers(state) for state in states])
            return
        for index in range(len(self.convolutions)):
            states = [self._layer(index, state) for state in states]
            yield _frames(states)

    def _all_layers(self, state: Tensor) -> Tensor:
        for index in range(len(self.convolutions)):
            state = self._layer(index, state)
        return state

    def _layer(self, index: int, state: Tensor) -> Tensor:
        conv, norm = cast(FrameConv, self.convolutions[index]), self.norms[index]
        if index == 0 and self.config.extractor == "default":
            return F.gelu(group_normed_conv(state, conv, cast(ConvNorm, norm)))
        return F.gelu(norm(conv(state)))


class LogMel(nn.Module):
    """Two stacked 10 ms log-mel frames for every 20 ms; nothing to learn, and a hundredth of the cost."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, inputs: Sequence[Tensor], every_layer: bool) -> Iterator[Frames]:
        """Yield the stacked frames; ``inputs`` as for :class:`ConvExtractor`, or 10 ms log-mel frames.

        Args:
            inputs: for each run (utterances, samples), or (utterances, 10 ms frames, bins) from
                :func:`log_mel`.
            every_layer: there is only one.
        """
        mels = [
            state if state.dim() == 3 else log_mel(state, self.config.mel_bins, self.config.sample_rate)
            for state in inputs
        ]
        yield _frames([stack_frames(mel) for mel in mels])


def stack_frames(mel: Tensor) -> Tensor:
    """Join neighbouring 10 ms frames: (batch, n, bins) -> (batch, ceil(n / 2), 2 bins); an odd last one twice."""
    if mel.shape[1] % MEL_STACK:
        mel = torch.cat([mel, mel[:, -1:]], dim=1)
    stacked: Tensor = mel.unflatten(1, (-1, MEL_STACK)).flatten(2)
    return stacked


def log_mel(waveforms: Tensor, bins: int, sample_rate: int) -> Tensor:
    """Scaled log-mel energies of 25 ms windows every 10 ms, uncentred: (batch, samples) -> (batch, n, bins).

    n = floor((samples - 400) / 160) + 1. Meant for waveforms of unit variance (``normalize=True``).
    """
    windows = waveforms.float().unfold(1, MEL_WINDOW, MEL_HOP)
    window = torch.hann_window(MEL_WINDOW, periodic=True, device=waveforms.device)
    with torch.autocast(waveforms.device.type, enabled=False):
        spectrum = torch.fft.rfft(windows * window, n=_MEL_FFT)
        power = spectrum.real.square() + spectrum.imag.square()
        mel = power @ _mel_filters(bins, sample_rate).to(waveforms.device)
        return (torch.log(mel / MEL_WINDOW + _MEL_FLOOR) - _MEL_MEAN) / _MEL_SCALE


@lru_cache(maxsize=8)
def _mel_filters(bins: int, sample_rate: int) -> Tensor:
    """Triangular filters, evenly spaced in mel (2595 log10(1 + f / 700)) from 20 Hz: (257, bins)."""

    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(20), mel(sample_rate / 2), bins + 2) / 2595) - 1)
    bands = np.linspace(0, sample_rate / 2, _MEL_FFT // 2 + 1)[:, None]
    rising = (bands - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bands) / (edges[2:] - edges[1:-1])
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)).astype(np.float32))


def split_runs(inputs: Tensor, lengths: Sequence[int], normalize: bool) -> list[Tensor]:
    """Cut a padded batch into runs of equal lengths, without padding.

    Args:
        inputs: (batch, samples), or (batch, 10 ms frames, bins) for precomputed log-mel frames.
        lengths: of each, in samples or frames.
        normalize: bring each waveform to zero mean and unit variance (eps 1e-5, biased), as published.

    Raises:
        InputError: a length that the batch does not have.
    """
    if len(lengths) != len(inputs) or max(lengths) > inputs.shape[1]:
        raise InputError(
            f"{len(lengths)} lengths up to {max(lengths)} do not fit a batch of shape {tuple(inputs.shape)}",
            "give one length for each row, at most the row's size",
        )
    parts, start = [], 0
    for count, length in runs(lengths):
        part = inputs[start : start + count, :length]
        if normalize and part.dim() == 2:
            part = F.layer_norm(part.float(), (length,))
        parts.append(part)
        start += count
    return parts


def _frames(states: Sequence[Tensor]) -> Frames:
    lengths = [state.shape[1] for state in states for _ in range(state.shape[0])]
    return Frames(join([state.flatten(0, 1) for state in states]), tuple(lengths))
