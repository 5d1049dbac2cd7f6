"""Parameters and multiply-accumulates of a network, part by part, from its configuration alone.

Counted are matrix products and convolutions, one MAC for each multiplication (two FLOPs): what
``torch.utils.flop_counter`` counts. Norms, activations, softmax, sums and the log-mel front-end's FFT are not.
The counts are those of this package's network on one utterance without padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import (
    MEL_HOP,
    MEL_WINDOW,
    Block,
    NetworkConfig,
    Sampling,
    block_lengths,
    block_plan,
    frontend_length,
    sampled_length,
    sampling_convs,
)
from speechstrata.mrhubert.taps import front_end_names

Operation = Literal["convolution", "linear", "attention", "sampling"]

#: Bands of the log-mel front-end's spectrum (an FFT of 512).
_SPECTRUM = 257


@dataclass(frozen=True)
class PartCost:
    """What one part of a network costs for one utterance.

    Attributes:
        part: ``conv1`` .., ``mel``, ``projection``, a sampling module or a block; ``head0`` .. for training.
        stride: samples from one of its frames to the next; None for the front-end and the projection. A sampling
            module counts with the block that it feeds.
        operation: ``attention`` is the part that grows with the square of the length (scores and weighted sums);
            the projections around it are ``linear``.
        macs: multiply-accumulates.
        parameters: weights.
    """

    part: str
    stride: Fraction | None
    operation: Operation
    macs: int
    parameters: int


def part_costs(config: NetworkConfig, samples: int) -> tuple[PartCost, ...]:
    """The cost of every part, in the order of computation, for an utterance of ``samples`` samples.

    Raises:
        InputError: too few samples for a frame.
    """
    frames = frontend_length(config, samples)
    if frames == 0:
        raise InputError(
            f"{samples} samples are too short for a frame", f"give at least {config.receptive_field} samples"
        )
    parts = list(_front_end(config, samples))
    front, dim = config.frontend_dim, config.dim
    norm = 0 if config.extractor == "log_mel" else 2 * front
    linear = front * dim if config.has_projection else 0
    bias = dim if config.has_projection else 0
    # with the embedding that masked frames are replaced by
    parts.append(PartCost("projection", None, "linear", frames * linear, norm + linear + bias + dim))
    kept = frames
    for block, length in zip(block_plan(config), block_lengths(config, frames), strict=True):
        if block.sampling is not None:
            parts.append(_sampling(config, block, block.sampling, kept))
        parts += _block(config, block, length.run)
        kept = length.kept
    return tuple(parts)


def head_costs(config: NetworkConfig, masked: dict[int, int]) -> tuple[PartCost, ...]:
    """The masked-prediction heads, by the number of masked frames that each one scores; the finest first."""
    costs = []
    for block in sorted((block for block in block_plan(config) if block.head is not None), key=_head):
        head = _head(block)
        classes = config.classes[head if len(config.classes) > 1 else 0]
        products = config.final_dim * (config.dim + classes)
        parameters = products + config.final_dim
        costs.append(PartCost(f"head{head}", block.stride, "linear", masked.get(head, 0) * products, parameters))
    return tuple(costs)


def parameter_count(config: NetworkConfig, *, heads: bool = False) -> int:
    """Weights of the network; with its masked-prediction heads if ``heads``."""
    parts = part_costs(config, config.receptive_field) + (head_costs(config, {}) if heads else ())
    return sum(part.parameters for part in parts)


def _head(block: Block) -> int:
    assert block.head is not None
    return block.head


def _front_end(config: NetworkConfig, samples: int) -> Iterator[PartCost]:
    names = front_end_names(config)
    if config.extractor == "log_mel":
        windows = (samples - MEL_WINDOW) // MEL_HOP + 1
        yield PartCost(names[0], None, "linear", windows * _SPECTRUM * config.mel_bins, 0)
        return
    inputs = 1
    for index, (name, layer) in enumerate(zip(names, config.conv_layers, strict=True)):
        samples = (samples - layer.kernel) // layer.stride + 1
        weights = layer.kernel * inputs * layer.channels
        macs = samples * weights
        normed = config.extractor == "layer_norm" or index == 0
        if index == 0 and config.extractor == "default":
            # GroupNorm by the covariance of the windows
            macs += (samples + layer.channels) * layer.kernel**2
        parameters = weights + (2 * layer.channels if normed else 0) + (layer.channels if config.conv_bias else 0)
        yield PartCost(name, None, "convolution", macs, parameters)
        inputs = layer.channels


def _sampling(config: NetworkConfig, block: Block, sampling: Sampling, frames: int) -> PartCost:
    up, down = sampling_convs(config, sampling)
    weights = config.sampling_kernel * config.dim**2
    macs = weights * ((frames if up else 0) + (sampled_length(frames, sampling) if down else 0))
    return PartCost(sampling.name, block.stride, "sampling", macs, (up + down) * (weights + 2 * config.dim))


def _block(config: NetworkConfig, block: Block, frames: int) -> Iterator[PartCost]:
    dim, hidden = config.dim, config.ffn_dim
    if block.positional:
        kernel = config.positional_kernel
        weights = kernel * dim * (dim // config.positional_groups)
        # an even kernel computes one frame more than is kept
        computed = frames + (kernel + 1) % 2
        yield PartCost(block.name, block.stride, "convolution", computed * weights, weights + kernel + dim)
    weights = 4 * dim**2 + 2 * dim * hidden
    parameters = block.layers * (weights + 4 * dim + hidden + dim + 4 * dim) + 2 * dim
    yield PartCost(block.name, block.stride, "linear", block.layers * frames * weights, parameters)
    yield PartCost(block.name, block.stride, "attention", block.layers * 2 * frames**2 * dim, 0)
