"""The parts of a figure: panels of curves, labels at their ends, layer ticks, resolution strips, legends.

matplotlib is imported here: import this module only where figures are made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from speechstrata.report.axes import LayerAxis
from speechstrata.report.merge import Merged, Subject
from speechstrata.report.style import CONTROL_COLOUR, Look, look, mark_size, shorten

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#5E6670",
    "axes.axisbelow": True,
    "grid.color": "#E3E6EA",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": "#3A414A",
    "ytick.color": "#3A414A",
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a "$" in a model's name is a dollar sign
    "savefig.dpi": 200,
}

#: The grey of captions and remarks.
SOFT = "#59626D"
#: Height in inches of one resolution strip.
STRIP = 0.14
#: The controls of more encoders than this share one name in labels and legends.
MOST_RANDOM = 2
RANDOM_WEIGHTS = "random weights (same colours)"
RANDOM_LOOK = Look(*CONTROL_COLOUR, "o", "circle", dashed=True)
_LONG_DASH = (0, (5, 2.5))
_DASH = (0, (3.5, 2))
_DOTS = (0, (1, 1.6))
#: Mean width of a character in inches, per point of font size (DejaVu Sans).
_CHARACTER = 0.0078


@dataclass(frozen=True)
class EndLabel:
    """What is written at the right end of a curve that ends at ``y``."""

    y: float
    text: str
    look: Look


@dataclass(frozen=True)
class Region:
    """A horizontal slice of a figure, addressed in inches from the slice's top left corner.

    Attributes:
        figure: that it is part of.
        top: where it begins, in inches from the figure's top.
    """

    figure: Figure
    top: float = 0.0

    def axes(self, left: float, top: float, width: float, height: float, sharey: Axes | None = None) -> Axes:
        """New axes of that size."""
        across, down = self.figure.get_size_inches()
        place = (left / across, 1 - (self.top + top + height) / down, width / across, height / down)
        return self.figure.add_axes(place, sharey=sharey)

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        """Text whose upper left corner is there."""
        across, down = self.figure.get_size_inches()
        self.figure.text(left / across, 1 - (self.top + top) / down, text, va="top", **style)


def size_of(axes: Axes) -> tuple[float, float]:
    """Width and height of the axes in inches."""
    figure = cast(Figure, axes.figure)
    across, down = figure.get_size_inches()
    box = axes.get_position()
    return float(box.width * across), float(box.height * down)


def text_width(text: str, points: float) -> float:
    """About how wide a text is, in inches."""
    return len(text) * points * _CHARACTER


def draw_panel(axes: Axes, merged: Merged, rows: pl.DataFrame, axis: LayerAxis) -> list[EndLabel]:
    """Draw the curves of one score and variant: encoders, their controls, the controls of all.

    Args:
        axes: to draw on.
        merged: the runs, for the order and the looks of the models.
        rows: of a summary, one per model and layer.
        axis: where the layers stand.

    Returns:
        a label for the end of each curve.
    """
    axes.grid(axis="y")
    labels: list[EndLabel] = []
    untrained: list[EndLabel] = []
    for subject in merged.subjects:
        own = rows.filter(pl.col("model") == subject.label).sort("index")
        if own.is_empty():
            continue
        if len(subject.info.layers) == 1:
            labels.append(_draw_level(axes, own, look(subject), subject.label))
        else:
            where = untrained if is_random(subject) else labels
            where.append(_draw_curve(axes, own, look(subject), subject, axis))
    labels += untrained if len(untrained) <= MOST_RANDOM else [_together(untrained)]
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    low, high = axes.get_ylim()
    if 0 < low < 0.12:  # nearly at zero already: show it
        axes.set_ylim(0, high)
    return labels


def is_random(subject: Subject) -> bool:
    """Whether this is an encoder's architecture with random weights, drawn in the encoder's colour."""
    return subject.control_of is not None and subject.info.supervision == "random weights"


def _together(labels: Sequence[EndLabel]) -> EndLabel:
    """One label for the random weights of many encoders."""
    return EndLabel(sum(label.y for label in labels) / len(labels), RANDOM_WEIGHTS, RANDOM_LOOK)


def _draw_level(axes: Axes, own: pl.DataFrame, style: Look, label: str) -> EndLabel:
    """A control of one layer: a horizontal line."""
    value = float(own["mean"][0])
    if own["sets"][0] > 1:
        axes.axhspan(own["low"][0], own["high"][0], color=style.colour, alpha=0.15, lw=0)
    axes.axhline(value, color=style.colour, lw=1.1, ls=_LONG_DASH, zorder=1.5)
    return EndLabel(value, label, style)


def _draw_curve(axes: Axes, own: pl.DataFrame, style: Look, subject: Subject, axis: LayerAxis) -> EndLabel:
    x = np.array([axis.positions[subject.label, layer] for layer in own["layer"]])
    mean, low, high = (own[name].to_numpy() for name in ("mean", "low", "high"))
    tap = own["tap"].to_numpy()
    main = ~tap if not tap.all() else tap
    colour = style.colour
    if style.dashed:
        axes.plot(x[main], mean[main], color=colour, lw=1.0, ls=_DASH, zorder=2)
    else:
        axes.plot(x[main], mean[main], color=colour, lw=1.5, zorder=3)
        _draw_marks(axes, x, mean, own["stride_ms"].to_numpy(), tap, style)
        axes.vlines(x[tap], low[tap], high[tap], color=colour, lw=0.9, zorder=3.9)
        based = own.filter(pl.Series(main) & own["baseline"].is_not_null())
        if len(based):
            at = [axis.positions[subject.label, layer] for layer in based["layer"]]
            axes.plot(at, based["baseline"], color=colour, lw=1.0, ls=_DOTS, zorder=1.8)
    alpha = 0.10 if style.dashed else 0.2
    axes.fill_between(x[main], low[main], high[main], color=colour, alpha=alpha, lw=0)
    return EndLabel(float(mean[main][-1]), subject.label, style)


def _draw_marks(axes: Axes, x: np.ndarray, y: np.ndarray, strides: np.ndarray, tap: np.ndarray, style: Look) -> None:
    """A mark for each layer: larger for a lower resolution, hollow for a sampling tap."""
    sizes = np.array([mark_size(stride) for stride in strides])
    for size in np.unique(sizes):
        for hollow in (False, True):
            here = (sizes == size) & (tap == hollow)
            if here.any():
                axes.plot(
                    x[here],
                    y[here],
                    style.marker,
                    ms=size,
                    mfc="white" if hollow else style.colour,
                    mec=style.colour if hollow else "white",
                    mew=1.1 if hollow else 0.5,
                    zorder=4.2 if hollow else 4.0,
                )


def draw_end_labels(axes: Axes, labels: Sequence[EndLabel], points: float = 7.5) -> None:
    """Name the curves at their right ends, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    width, height = size_of(axes)
    wanted = np.array([(label.y - low) / (high - low) for label in labels])
    gap = points * 1.45 / 72 / height
    margin = 0.4 * gap  # the lowest label must not reach into the strips beneath
    placed = margin + (1 - margin) * spread_apart((wanted - margin) / (1 - margin), gap / (1 - margin))
    for label, y in zip(labels, placed, strict=True):
        _draw_sample(axes, 1 + 0.06 / width, 1 + 0.32 / width, float(y), label.look)
        axes.text(
            1 + 0.38 / width,
            y,
            shorten(label.text),
            transform=axes.transAxes,
            va="center_baseline",
            fontsize=points,
            color=label.look.colour,
        )


def _draw_sample(axes: Axes, left: float, right: float, y: float, style: Look) -> None:
    """A short piece of a model's line, beside the axes."""
    for artist in sample_of(style, (left, right), y):
        artist.set_transform(axes.transAxes)
        artist.set_clip_on(False)
        axes.add_line(artist)


def sample_of(style: Look, ends: tuple[float, float], y: float) -> list[Line2D]:
    """The line and the mark of a model, for a legend."""
    lines = [
        Line2D(ends, (y, y), color=style.colour, lw=1.1 if style.dashed else 1.5, ls=_DASH if style.dashed else "-")
    ]
    if not style.dashed:
        middle = sum(ends) / 2
        lines.append(Line2D([middle], [y], marker=style.marker, ms=4.5, color=style.colour, mec="white", mew=0.4))
    return lines


def spread_apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Positions in [0, 1] at least ``gap`` apart, in the order of ``wanted`` and as near to it as can be.

    Least squares under the order constraint (isotonic regression by pooling neighbours). More labels than
    fit are spaced evenly.
    """
    count = len(wanted)
    if gap * (count - 1) >= 1:
        gap = 1 / (count - 1)
    order = np.argsort(wanted, kind="stable")
    pools: list[tuple[float, int]] = []  # (mean, size) of neighbours that touch
    for target in wanted[order] - gap * np.arange(count):
        mean, size = float(target), 1
        while pools and pools[-1][0] >= mean:
            other, others = pools.pop()
            mean, size = (mean * size + other * others) / (size + others), size + others
        pools.append((mean, size))
    level = np.repeat([mean for mean, _ in pools], [size for _, size in pools])
    placed = np.empty(count)
    placed[order] = np.clip(level, 0.0, max(1 - gap * (count - 1), 0.0)) + gap * np.arange(count)
    return placed


@dataclass(frozen=True)
class Ticks:
    """The layer names beneath an axis of a given width; ``height`` in inches."""

    positions: tuple[float, ...]
    names: tuple[str, ...]
    turned: bool
    height: float
    points: float


def fit_ticks(axis: LayerAxis, width: float, points: float = 7.0) -> Ticks:
    """Which names fit ``width`` inches, turned if they are long.

    The names of one architecture all stay. Numbered Transformer layers are thinned before they are turned.
    """
    ticks = sorted(axis.ticks)
    longest = max((text_width(name, points) for _, name in ticks), default=0.0)
    ends = list(axis.positions.values()) or [0.0]
    inches = width / (max(ends) - min(ends) + 1.2 * axis.step)  # per unit of the axis, as draw_ticks sets its limits
    if axis.scale == "number" and all(position >= 0 for position, _ in ticks):
        every = next((n for n in (1, 2) if not _collide(ticks[::n], inches, points)), 3)
        ticks = ticks[::every]
    turned = _collide(ticks, inches, points)
    positions, names = tuple(position for position, _ in ticks), tuple(name for _, name in ticks)
    return Ticks(positions, names, turned, (longest if turned else points / 72) + 0.07, points)


def _collide(ticks: Sequence[tuple[float, str]], inches: float, points: float) -> bool:
    """Whether two neighbouring names have less than half a letter between them."""
    widths = [text_width(name, points) for _, name in ticks]
    return any(
        (right[0] - left[0]) * inches < sum(widths[place : place + 2]) / 2 + 0.5 * points / 72
        for place, (left, right) in enumerate(pairwise(ticks))
    )


def draw_ticks(axes: Axes, axis: LayerAxis, ticks: Ticks, below: float = 0.0) -> None:
    """Write the layer names ``below`` inches under the axis."""
    axes.set_xticks(ticks.positions, ticks.names, rotation=90 if ticks.turned else 0, fontsize=ticks.points)
    ends = list(axis.positions.values()) or [0.0]
    axes.set_xlim(min(ends) - 0.6 * axis.step, max(ends) + 0.6 * axis.step)
    axes.tick_params(axis="x", pad=2.5 + below * 72, length=2.5)


def draw_strips(axes: Axes, subjects: Sequence[Subject], axis: LayerAxis, rows: pl.DataFrame, named: bool) -> None:
    """Beneath the axis, one strip per encoder: the milliseconds per frame of its layers."""
    _, height = size_of(axes)
    for number, subject in enumerate(subjects):
        own = rows.filter((pl.col("model") == subject.label) & (pl.col("kind") != "conv"))
        top = -(0.06 + STRIP * number) / height
        bottom = top - (STRIP - 0.025) / height
        for stride, left, right in _resolutions(own, subject, axis):
            _draw_strip(axes, (left, right), (bottom, top), stride, look(subject).colour, axis.step)
        if named:
            axes.text(
                1.0,
                (top + bottom) / 2,
                f" {shorten(subject.label)}",
                transform=axes.transAxes,
                fontsize=5.5,
                va="center_baseline",
                color=look(subject).colour,
            )


def _draw_strip(
    axes: Axes, x: tuple[float, float], y: tuple[float, float], stride: float, colour: str, step: float
) -> None:
    transform = blended_transform_factory(axes.transData, axes.transAxes)
    alpha = 0.12 if stride < 30 else 0.28 if stride < 60 else 0.48
    axes.fill_between(x, *y, transform=transform, clip_on=False, color=colour, alpha=alpha, lw=0)
    axes.text(
        sum(x) / 2,
        sum(y) / 2,
        f"{stride:.3g}" + (" ms" if x[1] - x[0] > 2.4 * step else ""),
        transform=transform,
        ha="center",
        va="center_baseline",
        fontsize=5.5,
        color="#22262B",
    )


def _resolutions(own: pl.DataFrame, subject: Subject, axis: LayerAxis) -> list[tuple[float, float, float]]:
    """(stride in ms, left, right) of each stretch of layers with one resolution; stretches touch."""
    layers = own.unique("layer", keep="first", maintain_order=True).sort("index")
    runs: list[tuple[float, list[float]]] = []
    for layer, stride in layers.select("layer", "stride_ms").rows():
        position = axis.positions[subject.label, layer]
        if runs and runs[-1][0] == stride:
            runs[-1][1].append(position)
        else:
            runs.append((stride, [position]))
    edges = [runs[0][1][0] - 0.4 * axis.step] if runs else []
    edges += [(before[1][-1] + after[1][0]) / 2 for before, after in pairwise(runs)]
    edges += [runs[-1][1][-1] + 0.4 * axis.step] if runs else []
    return [(stride, edges[place], edges[place + 1]) for place, (stride, _) in enumerate(runs)]


def legend_entries(subjects: Sequence[Subject]) -> list[tuple[str, Look]]:
    """Names and looks for a legend; the random weights of many encoders share one."""
    untrained = [subject for subject in subjects if is_random(subject)]
    if len(untrained) <= MOST_RANDOM:
        return [(subject.label, look(subject)) for subject in subjects]
    named = [(subject.label, look(subject)) for subject in subjects if not is_random(subject)]
    return [*named, (RANDOM_WEIGHTS, RANDOM_LOOK)]


def legend_rows(names: Sequence[str], width: float) -> tuple[int, int]:
    """(rows, entries per row) of a legend of that width in inches."""
    entry = 0.55 + max(text_width(shorten(name), 7.5) for name in names)
    per_row = max(1, int((width - 0.24) / entry))
    return -(-len(names) // per_row), per_row


def draw_legend(region: Region, entries: Sequence[tuple[str, Look]], top: float, width: float) -> None:
    """Lines and names, in rows."""
    figure = region.figure
    across, down = figure.get_size_inches()
    _, per_row = legend_rows([name for name, _ in entries], width)
    step = (width - 0.24) / per_row
    for number, (name, style) in enumerate(entries):
        line, column = divmod(number, per_row)
        x, y = 0.12 + column * step, 1 - (region.top + top + 0.1 + 0.2 * line) / down
        for artist in sample_of(style, (x / across, (x + 0.3) / across), y):
            figure.add_artist(artist)
        figure.text((x + 0.37) / across, y, shorten(name), fontsize=7.5, va="center_baseline", color=style.colour)
