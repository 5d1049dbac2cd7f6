"""The places where the network can be read, by name and in the order of computation.

For MR-HuBERT base: ``conv1`` .. ``conv7``, ``projection``, then for each block what feeds it and its layers::

    T0 T1 T2 T3 T4 | down0 D0 T5 T6 T7 T8 middle.post_skip | up0 U0 T9 T10 T11 T12 decoder0.post_skip

``T0``, ``D0``, ``U0`` are the inputs of a block's first Transformer layer (``T0`` after the positional embedding,
all after a post-LN block's LayerNorm); ``down0`` and ``up0`` the sampling modules' own outputs. A block's last
``T`` is its output before a skip connection (``middle.pre_skip`` is another name for ``T8``); in pre-LN models
it is normalised, and ``T4-unnormed`` is the last layer's own output. With ``residual="pre"`` a decoder's skip
connection comes first: ``up0.post_skip``.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from speechstrata.encoders.base import LayerKind
from speechstrata.mrhubert.config import (
    MEL_HOP,
    MEL_WINDOW,
    Block,
    NetworkConfig,
    block_lengths,
    block_plan,
    frontend_length,
    sampled_length,
)


@dataclass(frozen=True)
class Tap:
    """One place to read.

    Attributes:
        name: unique within the network.
        stride: samples from one frame to the next.
        offset: centre of the first frame: the mean index of the samples that the front-end's first frame sees.
            A sampling module keeps its input's first frame first (exactly so for kernel 1).
        dim: size of a frame's vector.
        kind: what computed it.
        block: the block that it belongs to (its sampling module included); None for the front-end.
        aliases: other names for the same states.
    """

    name: str
    stride: Fraction
    offset: float
    dim: int
    kind: LayerKind
    block: str | None
    aliases: tuple[str, ...] = ()


def tap_plan(config: NetworkConfig) -> tuple[Tap, ...]:
    """Every tap of a network, in the order of computation."""
    taps = _front_end(config)
    offset = taps[-1].offset
    done = 0
    for block in block_plan(config):
        named = block_taps(config, block, done)

        def add(name: str, kind: LayerKind, aliases: tuple[str, ...] = (), block: Block = block) -> None:
            taps.append(Tap(name, block.stride, offset, config.dim, kind, block.name, aliases))

        joined_before = block.role == "decoder" and config.residual == "pre"
        if block.sampling is not None:
            name = block.sampling.name
            add(name, "sampling", (f"{name}.pre_skip",) if joined_before else ())
            if joined_before:
                add(f"{name}.post_skip", "sampling")
        add(named.first, "transformer")
        for name in named.layers:
            add(name, "transformer")
        joined_after = block.role == "middle" or (block.role == "decoder" and not joined_before)
        add(named.output, "transformer", (f"{block.name}.pre_skip",) if joined_after else ())
        if joined_after:
            add(f"{block.name}.post_skip", "transformer")
        done += block.layers
    return tuple(taps)


@dataclass(frozen=True)
class BlockTaps:
    """The names of one block's Transformer states.

    Attributes:
        first: the input of its first layer.
        layers: outputs of its layers that are not also its output.
        output: its output, before any skip connection.
        joined: the output that goes on to the next block and to the block's head.
    """

    first: str
    layers: tuple[str, ...]
    output: str
    joined: str


def block_taps(config: NetworkConfig, block: Block, done: int) -> BlockTaps:
    """The names of ``block``'s states, where ``done`` Transformer layers come before it."""
    if block.sampling is None:
        first = "T0"
    else:  # down0 -> D0, up1 -> U1
        way = block.sampling.name
        first = ("D" if way.startswith("down") else "U") + way.lstrip("downup")
    last = f"T{done + block.layers}"
    layers = [f"T{done + index}" for index in range(1, block.layers)]
    if config.layer_norm_first:
        layers.append(f"{last}-unnormed")
    joined_after = block.role == "middle" or (block.role == "decoder" and config.residual == "post")
    return BlockTaps(first, tuple(layers), last, f"{block.name}.post_skip" if joined_after else last)


def all_block_taps(config: NetworkConfig) -> tuple[tuple[Block, BlockTaps], ...]:
    """Each block of the plan with the names of its states."""
    done, pairs = 0, []
    for block in block_plan(config):
        pairs.append((block, block_taps(config, block, done)))
        done += block.layers
    return tuple(pairs)


def benchmark_states(config: NetworkConfig) -> tuple[str, ...]:
    """The states that the SUPERB benchmark's wrapper lists: 13 for HuBERT base, 15 for MR-HuBERT base.

    For each block the input of each layer, and the block's output before its skip connection.
    """
    names: list[str] = []
    for _, taps in all_block_taps(config):
        names += [taps.first, *(name for name in taps.layers if not name.endswith("-unnormed")), taps.output]
    return tuple(names)


@lru_cache(maxsize=4096)
def tap_lengths(config: NetworkConfig, samples: int) -> dict[str, int]:
    """Frames of every tap for a waveform of that many samples; 0 where it is too short for one.

    A decoder can run on a frame or two more than are left after its skip connection.
    """
    lengths: dict[str, int] = {}
    frames = samples
    if config.extractor != "log_mel":
        for name, layer in zip(front_end_names(config), config.conv_layers, strict=True):
            frames = max(0, (frames - layer.kernel) // layer.stride + 1)
            lengths[name] = frames
    frames = frontend_length(config, samples)
    for name in (front_end_names(config)[-1], "projection"):
        lengths[name] = frames
    before = 0
    for (block, names), (run, kept) in zip(all_block_taps(config), block_lengths(config, frames), strict=True):
        if block.sampling is not None:
            lengths[block.sampling.name] = sampled_length(before, block.sampling)
            lengths[f"{block.sampling.name}.post_skip"] = kept
        lengths |= dict.fromkeys((names.first, *names.layers, names.output), run) | {names.joined: kept}
        before = kept
    return {tap.name: lengths[tap.name] for tap in tap_plan(config)}


def front_end_names(config: NetworkConfig) -> tuple[str, ...]:
    """The front-end's taps before the projection."""
    if config.extractor == "log_mel":
        return ("mel",)
    return tuple(f"conv{index}" for index in range(1, len(config.conv_layers) + 1))


def _front_end(config: NetworkConfig) -> list[Tap]:
    names = front_end_names(config)
    if config.extractor == "log_mel":
        stride, field = config.frame_stride, MEL_WINDOW + MEL_HOP  # the two windows of a stacked frame
        taps = [Tap(names[0], Fraction(stride), (field - 1) / 2, config.frontend_dim, "fbank", None)]
    else:
        stride, field, taps = 1, 1, []
        for name, layer in zip(names, config.conv_layers, strict=True):
            field += (layer.kernel - 1) * stride
            stride *= layer.stride
            taps.append(Tap(name, Fraction(stride), (field - 1) / 2, layer.channels, "conv", None))
    projection = Tap("projection", Fraction(stride), (field - 1) / 2, config.dim, "projection", None)
    return [*taps, projection]
