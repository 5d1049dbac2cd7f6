"""The Transformer encoder that every block of the chain is: attention, feed-forward, post-LN or pre-LN."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init

from speechstrata.mrhubert.attention import attend
from speechstrata.mrhubert.config import Block, NetworkConfig
from speechstrata.mrhubert.packing import Frames, join, runs


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each with a skip connection and a LayerNorm (after or before it)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        dim = config.dim
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn_in = nn.Linear(dim, config.ffn_dim)
        self.ffn_out = nn.Linear(config.ffn_dim, dim)
        self.heads = config.heads
        self.pre_norm = config.layer_norm_first
        self.dropout = config.dropout
        self.attention_dropout = config.attention_dropout
        self.activation_dropout = config.activation_dropout

    def forward(self, x: Tensor, lengths: tuple[int, ...], padding: Tensor | None = None) -> Tensor:
        """(frames of all utterances, dim) -> the same shape."""
        if self.pre_norm:
            x = x + self._attend(self.attention_norm(x), lengths, padding)
            return x + self._feed_forward(self.ffn_norm(x))
        x = self.attention_norm(x + self._attend(x, lengths, padding))
        normed: Tensor = self.ffn_norm(x + self._feed_forward(x))
        return normed

    def _attend(self, x: Tensor, lengths: tuple[int, ...], padding: Tensor | None) -> Tensor:
        attended = []
        counts = runs(lengths)
        parts = self.qkv(x).split([count * length for count, length in counts])
        for part, (count, length) in zip(parts, counts, strict=True):
            # (count, length, 3 x heads x size) -> three of (count, heads, length, size)
            query, key, value = part.view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind()
            mask = None if padding is None else ~padding.view(count, 1, 1, length)
            states = attend(query, key, value, mask, self.attention_dropout if self.training else 0.0)
            attended.append(states.transpose(1, 2).reshape(count * length, -1))
        return F.dropout(self.out(join(attended)), self.dropout, self.training)

    def _feed_forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.gelu(self.ffn_in(x)), self.activation_dropout, self.training)
        return F.dropout(self.ffn_out(x), self.dropout, self.training)


class PositionalConv(nn.Module):
    """The convolutional positional embedding: a wide, grouped, weight-normalised convolution, and GELU.

    The weight is ``gain`` (kernel,) times ``direction`` (dim, dim / groups, kernel) over the norm of each tap.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.groups = config.positional_groups
        self.direction = nn.Parameter(torch.empty(config.dim, config.dim // self.groups, config.positional_kernel))
        self.gain = nn.Parameter(torch.empty(config.positional_kernel))
        self.bias = nn.Parameter(torch.empty(config.dim))
        self._keep = 1 - config.dropout

    def reset_parameters(self) -> None:
        """Normal weights of variance 4 (1 - dropout) / (kernel x dim), as published."""
        dim, _, kernel = self.direction.shape
        init.normal_(self.direction, std=(4 * self._keep / (kernel * dim)) ** 0.5)
        init.copy_(self.gain, torch.linalg.vector_norm(self.direction.detach(), dim=(0, 1)))
        init.zeros_(self.bias)

    def forward(self, frames: Frames) -> Tensor:
        """One vector for each frame (frames of all utterances, dim)."""
        weight = self.direction * (self.gain / torch.linalg.vector_norm(self.direction, dim=(0, 1)))
        kernel = weight.shape[-1]

        def embed(run: Tensor) -> Tensor:
            # an even kernel gives one frame more than there are: the published code drops the last
            states = F.conv1d(run.transpose(1, 2), weight, self.bias, padding=kernel // 2, groups=self.groups)
            return F.gelu(states[..., : run.shape[1]]).transpose(1, 2)

        return frames.map_runs(embed).data


class TransformerBlock(nn.Module):
    """One block of the chain: positional embedding (the first one only), Transformer layers, one LayerNorm."""

    def __init__(self, config: NetworkConfig, block: Block) -> None:
        super().__init__()
        self.positional = PositionalConv(config) if block.positional else None
        self.norm = nn.LayerNorm(config.dim)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(block.layers))
        self.pre_norm = config.layer_norm_first
        self.dropout = config.dropout
        self.layerdrop = config.layerdrop

    def states(self, frames: Frames) -> Iterator[Tensor]:
        """Yield the first layer's input, each layer's output and, of a pre-LN block, its normalised output."""
        x = frames.data
        if self.positional is not None:
            x = x + self.positional(frames)
        if not self.pre_norm:
            x = self.norm(x)
        x = F.dropout(x, self.dropout, self.training)
        yield x
        for layer in self.layers:
            # drawn from torch's CPU generator, so that saving its state is enough to resume exactly
            if not self.training or self.layerdrop == 0 or float(torch.rand(())) >= self.layerdrop:
                x = layer(x, frames.lengths, frames.padding)
            yield x
        if self.pre_norm:
            yield self.norm(x)
