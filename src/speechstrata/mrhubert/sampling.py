"""The modules between the blocks, which multiply the frame rate by up / down.

An adapter is a transposed convolution (stride up), then a convolution (stride down), each followed by GroupNorm
over channels and time together, GELU, and a skip connection; a highway joins its input to its output. A plain
module has only the one that changes the rate. (Golden behaviour 4 of the published code.)
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from speechstrata.mrhubert.config import NetworkConfig, Sampling, sampling_convs
from speechstrata.mrhubert.convolution import FrameConv, FrameTransposedConv
from speechstrata.mrhubert.packing import Frames

#: The scale of every sum in a sampling module.
RESIDUAL_SCALE = 0.4**0.5


class UtteranceNorm(nn.Module):
    """GroupNorm with a single group: one mean and variance for all channels and frames of an utterance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def reset_parameters(self) -> None:
        """Scale 1, shift 0."""
        init.ones_(self.weight)
        init.zeros_(self.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """(utterances, frames, channels), all frames valid."""
        normed = F.layer_norm(frames, tuple(frames.shape[1:]))
        return normed * self.weight + self.bias


class SamplingModule(nn.Module):
    """One step of the chain: frames of one resolution to frames of the next.

    A frame count T becomes ceil(T x up / down): none is lost. (An even kernel is padded by one more on the
    right; the published code, which pads both sides alike, would drop the last frame.)
    """

    def __init__(self, config: NetworkConfig, sampling: Sampling) -> None:
        super().__init__()
        self.up, self.down = sampling.up, sampling.down
        dim, kernel = config.dim, config.sampling_kernel
        has_up, has_down = sampling_convs(config, sampling)
        self.up_conv = FrameTransposedConv(dim, dim, kernel, sampling.up) if has_up else None
        self.up_norm = UtteranceNorm(dim) if has_up else None
        self.down_conv = FrameConv(dim, dim, kernel, sampling.down, uniform=True) if has_down else None
        self.down_norm = UtteranceNorm(dim) if has_down else None
        self.highway = config.sampling == "adapter"
        self.padding = ((kernel - 1) // 2, kernel // 2)

    def forward(self, frames: Frames) -> Frames:
        """Resample every utterance by itself."""
        output = frames.map_runs(self._resample)
        if frames.padding is None:
            return output
        count = len(frames.lengths)
        padding = frames.padding.unflatten(0, (count, -1)).repeat_interleave(self.up, 1)[:, :: self.down]
        return Frames(output.data, output.lengths, padding.flatten())

    def _resample(self, source: Tensor) -> Tensor:
        state = source
        if self.up_conv is not None and self.up_norm is not None:
            # a wider kernel makes more than up x frames: they count in the statistics, then the last are cut off
            state = F.gelu(self.up_norm(self.up_conv(state)))[:, : self.up * source.shape[1]]
            state = (state + _repeat(source, self.up)) * RESIDUAL_SCALE
        if self.down_conv is not None and self.down_norm is not None:
            skip = state[:, :: self.down]
            state = F.gelu(self.down_norm(self.down_conv(F.pad(state, (0, 0, *self.padding)))))
            state = (state + skip) * RESIDUAL_SCALE
        if self.highway:
            state = (state + _repeat(source, self.up)[:, :: self.down]) * RESIDUAL_SCALE
        return state


def _repeat(frames: Tensor, times: int) -> Tensor:
    return frames if times == 1 else frames.repeat_interleave(times, dim=1)
