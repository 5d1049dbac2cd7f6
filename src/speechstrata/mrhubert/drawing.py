"""The architecture of any network of the family as a picture: blocks by resolution, skips, losses, taps by name.

``draw(named_config("mrhubert-base"), Path("docs/figures/mrhubert-base.svg"), title="mrhubert-base")`` draws the
figure of the README; ``speechstrata draw mrhubert-base --output mrhubert-base.svg`` does the same.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from speechstrata.errors import InputError
from speechstrata.files import atomic_path
from speechstrata.mrhubert.config import NetworkConfig, label_ratio
from speechstrata.mrhubert.layout import CELL_HEIGHT, Layout, Loss, PlacedBlock, PlacedSampling, Skip, arrange
from speechstrata.mrhubert.macs import parameter_count
from speechstrata.mrhubert.named import NAMED
from speechstrata.mrhubert.pen import GREY, INK, Pen, hue

#: Formats, and what keeps the date and the version of matplotlib out of the file.
_UNDATED: dict[str, dict[str, None]] = {
    ".svg": {"Date": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None},
}
_RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "svg.fonttype": "path",  # looks the same in every viewer, whatever fonts it has
    "svg.hashsalt": "speechstrata",  # the same drawing gives the same file
    "pdf.fonttype": 42,
    "text.parse_math": False,
}


def draw(config: NetworkConfig, path: Path | str, *, title: str | None = None) -> Path:
    """Draw a network: SVG, PNG (200 dots per inch) or PDF, by the suffix of ``path``; the same input, the same file.

    Args:
        config: the network.
        path: the file to write.
        title: written above; by default the name of the configuration, where it has one.

    Raises:
        InputError: another suffix, or a folder that cannot be written.
    """
    path = Path(path)
    if path.suffix not in _UNDATED:
        raise InputError(f"cannot draw to {path}", f"give a file name that ends in {', '.join(_UNDATED)}")
    name = title or name_of(config)
    metadata: dict[str, str | None] = {"Title": f"The architecture of {name}", **_UNDATED[path.suffix]}
    with mpl.rc_context(_RC), atomic_path(path) as partial:
        architecture_figure(config, name).savefig(partial, dpi=200, metadata=metadata)
    return path


def architecture_figure(config: NetworkConfig, title: str | None = None) -> Figure:
    """The drawing as a matplotlib figure; ``title`` as in :func:`draw`."""
    layout = arrange(config)
    figure = Figure(figsize=(layout.width, layout.height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, layout.width), ylim=(0, layout.height))
    axes.set_axis_off()
    pen = Pen(axes)
    _header(pen, layout, config, title or name_of(config))
    for index in range(len(layout.lanes)):
        _lane(pen, layout, config, index)
    _front_end(pen, layout, config)
    _wires(pen, layout)
    for skip in layout.skips:
        _skip(pen, layout, skip)
    for loss in layout.losses:
        _loss(pen, layout, config, loss)
    for sampling in layout.samplings:
        _sampling(pen, layout, sampling)
    for placed in layout.blocks:
        _block(pen, layout, placed)
    for skip in layout.skips:
        pen.sum(skip.end, layout.lanes[skip.lane].wire)
        pen.state(skip.state, layout.lanes[skip.lane].wire, hue(skip.lane))
    _legend(pen, layout)
    return figure


def name_of(config: NetworkConfig) -> str:
    """The name of a named configuration; otherwise what it is."""
    return next((name for name, known in NAMED.items() if known == config), "a network of the MR-HuBERT family")


def _header(pen: Pen, layout: Layout, config: NetworkConfig, title: str) -> None:
    left, _ = layout.band
    norm = "pre-LN" if config.layer_norm_first else "post-LN"
    millions = parameter_count(config) / 1e6
    size = f"{config.heads} heads, feed-forward {config.ffn_dim}, {norm}"
    parts = [
        f"{millions:.{1 if millions < 99.95 else 0}f} M parameters",
        f"{sum(config.layers)} layers of {config.dim} ({size})",
    ]
    if config.ratios:
        where = "after" if config.residual == "post" else "before"
        parts += [f"{config.sampling} sampling, kernel {config.sampling_kernel}", f"residual {where} the decoder"]
    if config.ratios and not config.auxiliary_heads:
        parts.append("no auxiliary loss")
    pen.text(left, layout.height - 0.2, title, size=13, weight="bold", align="left")
    pen.text(left, layout.height - 0.44, "  ·  ".join(parts), size=8, colour=GREY, align="left")


def _lane(pen: Pen, layout: Layout, config: NetworkConfig, index: int) -> None:
    """The band of a resolution, its name, and 160 ms of its frames as cells to scale."""
    lane, colour = layout.lanes[index], hue(index)
    left, right = layout.band
    pen.box(left, lane.bottom, right - left, lane.top - lane.bottom, face=colour.band, edge="none", radius=0.09)
    seconds = float(lane.stride) / config.sample_rate
    pen.text(left + 0.1, lane.wire + 0.19, f"{1000 * seconds:.3g} ms", size=10.5, weight="bold", colour=colour.ink,
             align="left")  # fmt: skip
    pen.text(left + 0.1, lane.wire + 0.01, f"{1 / seconds:.3g} frames/s", size=6.5, colour=colour.ink, align="left")
    start, width = left + 0.1, 0.6
    count = max(1, round(0.16 / seconds))
    for frame in range(count):
        pen.cell(start + frame * width / count, lane.wire - 0.25, width / count, 0.12, face="white", edge=colour.ink)


def _front_end(pen: Pen, layout: Layout, config: NetworkConfig) -> None:
    wire, colour = layout.lanes[layout.first_lane].wire, hue(layout.first_lane)
    start, stop = layout.wave
    pen.waveform(start, stop, wire)
    pen.text((start + stop) / 2, wire - 0.54, "waveform", size=6.8)
    first, last = layout.front[0], layout.front[-1]
    end = last.left + last.width
    pen.wire([(stop, wire), (first.left, wire)], arrow=True)
    if config.extractor == "log_mel":
        pen.spectrogram(first.left, first.width, wire, CELL_HEIGHT)
        pen.text((first.left + end) / 2, wire + 0.5, first.text, size=7.5, weight="bold")
        pen.text((first.left + end) / 2, wire - 0.54, f"2 × {config.mel_bins} bins", size=6.8)
    else:
        # heights fall with the logarithm of the frame rate
        for index, cell in enumerate(layout.front):
            height = CELL_HEIGHT * (1.16 - 0.42 * index / max(1, len(layout.front) - 1))
            pen.cell(cell.left, wire - height / 2, cell.width, height, face="white", edge=GREY)
            pen.text(cell.left + cell.width / 2, wire, cell.text, size=6.8, rotation=90)
        centre = (first.left + end) / 2
        pen.text(centre, wire + 0.57, "convolutional extractor", size=7.5, weight="bold")
        pen.text(centre, wire - 0.54, f"{config.frame_stride} samples a frame", size=6.8)
    pen.wire([(end, wire), (layout.projection[0].left, wire)], arrow=True)
    for cell in layout.projection:
        masks = cell.text == "mask"
        pen.operation(cell, wire, colour if masks else None, dashed=masks)
    tail = layout.projection[-1]
    pen.wire([(tail.left + tail.width, wire), (layout.blocks[0].left, wire)], arrow=True)


def _wires(pen: Pen, layout: Layout) -> None:
    """What joins the blocks: along a lane, or through a sampling module from one lane to another."""
    for before, after, sampling in zip(layout.blocks, layout.blocks[1:], layout.samplings, strict=False):
        start, end = layout.lanes[before.lane].wire, layout.lanes[after.lane].wire
        x = sampling.centre
        corners = [] if before.lane == after.lane else [(x, start), (x, end)]
        pen.wire([(before.right, start), *corners, (after.left, end)], arrow=True)
    last = layout.blocks[-1]
    joined = [skip.state.left for skip in layout.skips if skip.end > last.right]
    if joined:
        wire = layout.lanes[last.lane].wire
        pen.wire([(last.right, wire), (joined[0], wire)], arrow=False)


def _sampling(pen: Pen, layout: Layout, placed: PlacedSampling) -> None:
    sampling, x = placed.sampling, placed.centre
    if placed.source == placed.target:
        pen.strip(x, layout.lanes[placed.source].wire, f"{sampling.name}  {sampling.up}:{sampling.down}")
        return
    below = max(placed.source, placed.target)
    middle = (layout.lanes[below].top + layout.lanes[below - 1].bottom) / 2
    pen.trapezoid(x, middle, sampling.name)
    frames = "frame" if sampling.down == 1 else "frames"
    pen.text(x + 0.45, middle, f"{sampling.down} {frames} → {sampling.up}", size=7, colour=GREY, align="left")


def _block(pen: Pen, layout: Layout, placed: PlacedBlock) -> None:
    wire, colour = layout.lanes[placed.lane].wire, hue(placed.lane)
    pen.block(placed.left, placed.right, wire, colour, placed.block.name)
    for cell in placed.cells:
        if cell.kind == "layer":
            pen.layer(cell, wire, colour)
        elif cell.kind == "state":
            pen.state(cell, wire, colour)
        else:
            pen.operation(cell, wire, None)


def _skip(pen: Pen, layout: Layout, skip: Skip) -> None:
    lane = layout.lanes[skip.lane]
    height = lane.wire + CELL_HEIGHT / 2 + 0.26 + skip.level * layout.level
    pen.wire(
        [(skip.start, lane.wire), (skip.start, height), (skip.end, height), (skip.end, lane.wire + 0.09)],
        arrow=True,
        colour=hue(skip.lane).ink,
        round_=0.08,
    )
    pen.dot(skip.start, lane.wire, hue(skip.lane).ink)


def _loss(pen: Pen, layout: Layout, config: NetworkConfig, loss: Loss) -> None:
    lane, colour = layout.lanes[loss.lane], hue(loss.lane)
    width, height = layout.loss_size
    middle = lane.wire
    if loss.below:
        middle = lane.wire - CELL_HEIGHT / 2 - 0.1 - 0.28 - height / 2
        pen.wire([(loss.source, lane.wire), (loss.source, middle + height / 2)], arrow=True, dashed=True)
        pen.dot(loss.source, lane.wire, INK)
    else:
        pen.wire([(loss.source, lane.wire), (loss.left, lane.wire)], arrow=True, dashed=True)
    pen.box(loss.left, middle - height / 2, width, height, face="white", edge=colour.ink, dashed=True, radius=0.07)
    title = "loss" if loss.head == 0 else "auxiliary loss"
    pen.text(loss.middle, middle + 0.17, title, size=8.5, weight="bold", colour=colour.ink)
    pen.text(loss.middle, middle, "masked unit prediction", size=7)
    stream = loss.head if len(config.classes) > 1 else 0
    units = config.classes[stream] - config.label_offset
    pen.text(loss.middle, middle - 0.16, f"{units} units, {_labels_used(config, loss.head)}", size=7)


def _labels_used(config: NetworkConfig, head: int) -> str:
    ratio = label_ratio(config, head)
    if ratio.denominator > 1:
        return f"label ⌊{ratio} t⌋"
    return "every label" if ratio == 1 else f"every {ratio}{ {2: 'nd', 3: 'rd'}.get(int(ratio), 'th') } label"


def _legend(pen: Pen, layout: Layout) -> None:
    left, y = layout.band[0], 0.18
    colour = hue(0)
    x = left + 0.02
    pen.cell(x, y - 0.07, 0.2, 0.14, face=colour.ink, edge="white")
    pen.text(x + 0.26, y, "Transformer layer, by the name of its output", size=7, colour=GREY, align="left")
    x += 2.75
    pen.cell(x, y - 0.07, 0.2, 0.14, face="white", edge=colour.ink)
    pen.text(x + 0.26, y, "state", size=7, colour=GREY, align="left")
    x += 0.72
    if layout.skips:
        pen.sum(x + 0.07, y)
        pen.text(x + 0.22, y, "sum with a skip connection", size=7, colour=GREY, align="left")
        x += 1.75
    pen.wire([(x, y), (x + 0.28, y)], arrow=False, dashed=True)
    pen.text(x + 0.34, y, "in pre-training only", size=7, colour=GREY, align="left")
