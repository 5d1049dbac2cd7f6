"""Several scores of one corpus as small panels with one legend: the overview, and the paper's Figures 3 and 5.

matplotlib is imported here: import this module only where figures are made.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from speechstrata.report import drawing
from speechstrata.report.axes import LayerAxis, layer_axis
from speechstrata.report.captions import context_text, sample_text
from speechstrata.report.drawing import SOFT, STRIP, Region, text_width
from speechstrata.report.glossary import entry
from speechstrata.report.merge import Merged, Setting, Subject
from speechstrata.report.style import shorten

_SIZE = (2.5, 1.75)  # inches: one panel
_GAP = 0.55  # between two, for the labels of the vertical axis
#: One line of a caption at 7 points, in inches.
CAPTION_LINE = 0.145
_MOST_STRIPS = 6  # of more encoders, only those that change their resolution get a strip


@dataclass(frozen=True)
class Panel:
    """One small set of axes: a heading, the score that it shows, and what is said where that was not measured."""

    title: str
    score: str
    absent: str = "not measured"


def panels_figure(
    merged: Merged,
    rows: pl.DataFrame,
    setting: Setting,
    panels: Sequence[Panel],
    *,
    title: str,
    subtitle: str = "",
    columns: int = 3,
    strips: bool = False,
) -> Figure:
    """Scores of one setting, a panel each.

    Args:
        merged: the runs.
        rows: of a summary: the layers and models to draw, of the setting.
        setting: corpus and protocol.
        panels: in reading order.
        title: of the figure.
        subtitle: beneath it.
        columns: panels in a row.
        strips: draw the milliseconds per frame of each encoder beneath the lowest panels.
    """
    columns = min(columns, len(panels))
    lines = -(-len(panels) // columns)
    parts = [rows.filter(pl.col("score") == panel.score) for panel in panels]
    axis_of = [layer_axis(merged, part if len(part) else rows) for part in parts]
    ticks_of = [drawing.fit_ticks(axis, _SIZE[0], 6) for axis in axis_of]
    banded = strip_subjects(merged, rows) if strips else []
    room = [max(ticks.height for ticks in ticks_of[line * columns :][:columns]) for line in range(lines)]
    width = 0.15 + columns * (_SIZE[0] + _GAP) + (0.0 if columns > 1 else 1.5)
    if banded:
        width += max(text_width(shorten(subject.label), 5.5) for subject in banded) - 0.1
        room[-1] += STRIP * len(banded)
    drawn = [subject for subject in merged.subjects if subject.label in rows["model"]]
    entries = drawing.legend_entries(drawn)
    legend = 0.2 * drawing.legend_rows([name for name, _ in entries], width)[0]
    text = context_text(rows, setting, merged.controls)
    if any(axis.scale == "depth" for axis in axis_of):
        text += " · horizontal: share of the Transformer layers passed"
    caption = textwrap.wrap(text, characters(width))
    first = 0.42 + (0.2 if subtitle else 0.0)
    tops = list(np.cumsum([first, *(0.36 + _SIZE[1] + inches + 0.12 for inches in room)]))
    figure = Figure(figsize=(width, tops[-1] + legend + 0.15 + CAPTION_LINE * len(caption) + 0.12))
    region = Region(figure)
    region.text(0.12, 0.1, title, fontsize=11, fontweight="bold")
    if subtitle:
        region.text(0.12, 0.32, subtitle, fontsize=7.5, color=SOFT)
    last = max((number for number, part in enumerate(parts) if len(part)), default=0)
    for number, panel in enumerate(panels):
        line, column = divmod(number, columns)
        left, top = 0.55 + column * (_SIZE[0] + _GAP), tops[line] + 0.36
        shown = (banded, number == last) if number >= (lines - 1) * columns else ([], False)
        _draw_panel(region, merged, (left, top), panel, parts[number], axis_of[number], ticks_of[number], *shown)
    drawing.draw_legend(region, entries, tops[-1], width)
    region.text(0.12, tops[-1] + legend + 0.13, "\n".join(caption), fontsize=7, color=SOFT, linespacing=1.35)
    return figure


def _draw_panel(
    region: Region,
    merged: Merged,
    corner: tuple[float, float],
    panel: Panel,
    part: pl.DataFrame,
    axis: LayerAxis,
    ticks: drawing.Ticks,
    banded: Sequence[Subject],
    named: bool,
) -> None:
    axes = region.axes(*corner, *_SIZE)
    axes.set_title(panel.title, pad=13)
    if part.is_empty():
        axes.set_yticks([])
        axes.set_xticks([])
        axes.text(0.5, 0.5, panel.absent, transform=axes.transAxes, ha="center", va="center", fontsize=7, color=SOFT)
        return
    drawing.draw_panel(axes, merged, part, axis)
    drawing.draw_ticks(axes, axis, ticks, below=STRIP * len(banded))
    drawing.draw_strips(axes, banded, axis, part, named=named)
    axes.set_ylabel(entry(panel.score).axis, fontsize=6.5, labelpad=2)
    sample = sample_text(part).split(" (")[0]
    axes.text(0, 1.03, sample, transform=axes.transAxes, fontsize=5.8, color=SOFT)


def characters(width: float) -> int:
    """How many characters of a caption fit a figure of that width in inches."""
    return int((width - 0.24) / text_width("x", 7))


def strip_subjects(merged: Merged, rows: pl.DataFrame) -> list[Subject]:
    """Encoders whose resolution is worth a strip: all, if their resolutions differ."""
    drawn = [s for s in merged.subjects if not s.is_control and s.label in rows["model"]]
    deep = rows.filter(pl.col("kind").is_in(["transformer", "sampling"]))
    strides = dict(deep.group_by("model").agg(pl.col("stride_ms").n_unique()).rows())
    changing = [subject for subject in drawn if strides.get(subject.label, 0) > 1]
    all_strides = deep.filter(pl.col("model").is_in([subject.label for subject in drawn]))["stride_ms"]
    if len(drawn) > _MOST_STRIPS:
        return changing
    return drawn if all_strides.n_unique() > 1 else []
