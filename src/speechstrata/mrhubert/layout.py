"""Where everything of an architecture's drawing goes, in inches from the lower left corner.

One lane for each resolution, the finest on top; computation runs from left to right. A sampling module that
changes the resolution stands between two lanes, one that keeps it (ratio 1/1) in its lane.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from speechstrata.mrhubert.config import Block, NetworkConfig, Sampling, block_plan
from speechstrata.mrhubert.taps import BlockTaps, all_block_taps, front_end_names

CellKind = Literal["operation", "state", "layer"]

#: The height of the cells, and of a block around them with its title.
CELL_HEIGHT, BLOCK_HEIGHT = 0.78, 1.12
#: The width that the pitch of the layers is fitted to, and its bounds.
_WIDTH, _PITCH, _LEAST_PITCH = 10.2, 0.265, 0.145
_MARGIN, _LABEL, _WAVE, _SPACE = 0.1, 0.84, 0.46, 0.1
_OPERATION, _STATE, _PAD = 0.165, 0.185, 0.055
_CONV, _MEL = 0.15, 0.5
_TURN, _SUM, _BRANCH = 0.17, 0.3, 0.1
_LOSS, _LOSS_HEIGHT = 1.34, 0.62
_HEADER, _FOOTER = 0.62, 0.36
_LANE_GAP, _LANE_PAD, _LEVEL = 0.62, 0.14, 0.17


@dataclass(frozen=True)
class Cell:
    """A column of a block or of the front-end: its left edge, its width, what is written in it."""

    left: float
    width: float
    text: str
    kind: CellKind


@dataclass(frozen=True)
class Lane:
    """A resolution: its stride in samples, its band, and the height of the wire through its blocks."""

    stride: Fraction
    bottom: float
    top: float
    wire: float


@dataclass(frozen=True)
class PlacedBlock:
    """A block of the plan with its cells."""

    block: Block
    lane: int
    left: float
    right: float
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class PlacedSampling:
    """A sampling module: in its lane (``source == target``), or between two."""

    sampling: Sampling
    centre: float
    source: int
    target: int


@dataclass(frozen=True)
class Skip:
    """A skip connection: leaves the wire at ``start``, runs above the blocks, joins at the sum ``end``.

    ``state`` is the cell of the sum, behind it.
    """

    lane: int
    start: float
    end: float
    level: int
    state: Cell


@dataclass(frozen=True)
class Loss:
    """A masked-unit-prediction loss: left edge and centre of its box, and where its wire leaves the block's."""

    head: int
    lane: int
    left: float
    middle: float
    source: float
    below: bool


@dataclass(frozen=True)
class Layout:
    """The whole drawing."""

    width: float
    height: float
    lanes: tuple[Lane, ...]
    first_lane: int
    wave: tuple[float, float]
    front: tuple[Cell, ...]
    projection: tuple[Cell, ...]
    blocks: tuple[PlacedBlock, ...]
    samplings: tuple[PlacedSampling, ...]
    skips: tuple[Skip, ...]
    losses: tuple[Loss, ...]
    band: tuple[float, float]
    loss_size: tuple[float, float] = (_LOSS, _LOSS_HEIGHT)
    level: float = _LEVEL


def arrange(config: NetworkConfig) -> Layout:
    """Place everything; networks with many layers get narrower ones, down to what can still be read."""
    layout = _arrange(config, _PITCH)
    if layout.width <= _WIDTH:
        return layout
    pitch = _PITCH - (layout.width - _WIDTH) / sum(config.layers)
    return _arrange(config, max(_LEAST_PITCH, pitch))


def _arrange(config: NetworkConfig, pitch: float) -> Layout:
    strides = sorted({block.stride for block in block_plan(config)})
    first_lane = strides.index(Fraction(config.frame_stride))
    x = _MARGIN + _LABEL
    wave = (x, x + _WAVE)
    front, x = _front_cells(config, x + _WAVE + _SPACE)
    projection, x = _cells([("projection", "operation"), ("mask", "operation")], x + _SPACE, pitch)
    x += _SPACE
    blocks: list[PlacedBlock] = []
    samplings: list[PlacedSampling] = []
    spans: list[Skip] = []
    exits: dict[str, float] = {}
    for block, taps in all_block_taps(config):
        lane = strides.index(block.stride)
        if block.sampling is not None:
            source = blocks[-1].lane
            x += _TURN
            samplings.append(PlacedSampling(block.sampling, x, source, lane))
            x += _TURN
        start = x
        if block.role == "decoder" and config.residual == "pre" and block.skip is not None:
            name = f"{samplings[-1].sampling.name}.post_skip"
            x = _join(spans, lane, exits[block.skip], x, name) + _BRANCH
        elif block.role == "middle":
            start += _BRANCH / 3
            x += 1.8 * _BRANCH
        left = x
        cells, x = _cells(_block_columns(config, block, taps), x + _PAD, pitch)
        x += _PAD
        blocks.append(PlacedBlock(block, lane, left, x, cells))
        if taps.joined != taps.output:
            if block.role == "decoder" and block.skip is not None:
                start = exits[block.skip]
            x = _join(spans, lane, start, x + 0.04, taps.joined)
        x += _BRANCH / 2
        exits[block.name] = x
        x += _BRANCH / 2
    skips = _levels(spans)
    losses = _losses(blocks, exits, x)
    lanes = _lanes(strides, skips, losses)
    width = x + _SPACE + _LOSS + 2 * _MARGIN
    return Layout(
        width=width,
        height=lanes[0].top + _HEADER,
        lanes=lanes,
        first_lane=first_lane,
        wave=wave,
        front=front,
        projection=projection,
        blocks=tuple(blocks),
        samplings=tuple(samplings),
        skips=skips,
        losses=losses,
        band=(_MARGIN, width - _MARGIN),
    )


def _join(spans: list[Skip], lane: int, start: float, x: float, tap: str) -> float:
    """Add a skip connection that joins behind ``x``; gives the right edge of the sum's state."""
    end = x + _SUM / 2
    cell = Cell(end + _SUM / 2, _STATE, tap, "state")
    spans.append(Skip(lane, start, end, 0, cell))
    return cell.left + cell.width


def _front_cells(config: NetworkConfig, x: float) -> tuple[tuple[Cell, ...], float]:
    names = front_end_names(config)
    if config.extractor == "log_mel":
        return (Cell(x, _MEL, names[0], "operation"),), x + _MEL
    cells = tuple(Cell(x + index * _CONV, _CONV, name, "operation") for index, name in enumerate(names))
    return cells, x + _CONV * len(names)


def _block_columns(config: NetworkConfig, block: Block, taps: BlockTaps) -> list[tuple[str, CellKind]]:
    columns: list[tuple[str, CellKind]] = []
    if block.positional:
        columns.append(("position conv", "operation"))
    if not config.layer_norm_first:
        columns.append(("LayerNorm", "operation"))
    columns.append((taps.first, "state"))
    columns += [(name, "layer") for name in taps.layers]
    if config.layer_norm_first:
        return [*columns, ("LayerNorm", "operation"), (taps.output, "state")]
    return [*columns, (taps.output, "layer")]


def _cells(columns: Sequence[tuple[str, CellKind]], x: float, pitch: float) -> tuple[tuple[Cell, ...], float]:
    cells = []
    for text, kind in columns:
        width = {"operation": _OPERATION, "state": _STATE, "layer": pitch}[kind]
        cells.append(Cell(x, width, text, kind))
        x += width
    return tuple(cells), x


def _levels(spans: Sequence[Skip]) -> tuple[Skip, ...]:
    """Give nested skip connections of a lane different heights, the shortest the lowest."""
    placed: list[Skip] = []
    for span in sorted(spans, key=lambda span: span.end - span.start):
        crossed = [
            other.level
            for other in placed
            if other.lane == span.lane and other.start < span.end and span.start < other.end
        ]
        placed.append(replace(span, level=max(crossed, default=0) + 1))
    return tuple(sorted(placed, key=lambda span: span.end))


def _losses(blocks: Sequence[PlacedBlock], exits: dict[str, float], right: float) -> tuple[Loss, ...]:
    """To the right of a lane's last block; below a block that others of its lane follow."""
    losses = []
    for index, placed in enumerate(blocks):
        if placed.block.head is None:
            continue
        below = any(other.lane == placed.lane for other in blocks[index + 1 :])
        source = exits[placed.block.name] - (0 if below else _BRANCH / 2)
        left = source - _LOSS / 2 if below else right + _SPACE
        losses.append(Loss(placed.block.head, placed.lane, left, left + _LOSS / 2, source, below))
    return tuple(losses)


def _lanes(strides: Sequence[Fraction], skips: Sequence[Skip], losses: Sequence[Loss]) -> tuple[Lane, ...]:
    lanes: list[Lane] = []
    bottom = _FOOTER
    for index in reversed(range(len(strides))):
        levels = max((skip.level for skip in skips if skip.lane == index), default=0)
        below = any(loss.below and loss.lane == index for loss in losses)
        block_bottom = bottom + _LANE_PAD + (_LOSS_HEIGHT + 0.3 if below else 0.0)
        top = block_bottom + BLOCK_HEIGHT + _LANE_PAD + levels * _LEVEL
        lanes.append(Lane(strides[index], bottom, top, block_bottom + 0.1 + CELL_HEIGHT / 2))
        bottom = top + _LANE_GAP
    return tuple(reversed(lanes))
