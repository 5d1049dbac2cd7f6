"""The figures on paper: layer curves per score, an overview of all scores, scores over training steps.

Every figure is written as PDF and PNG, carries its sample, corpus and protocol in the caption, and draws the
controls. matplotlib is imported here: import this module only where figures are made.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from speechstrata.files import atomic_path
from speechstrata.report.axes import LayerAxis, layer_axis
from speechstrata.report.glossary import entry, variant_title
from speechstrata.report.merge import Merged, Setting, Subject
from speechstrata.report.style import Look, look, mark_size, shorten
from speechstrata.report.tables import last_steps

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 8,
    "axes.titlesize": 9,
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
    "svg.fonttype": "none",
    "text.parse_math": False,  # a "$" in a model's name is a dollar sign
    "savefig.dpi": 200,
}

_PANEL = (4.3, 2.75)
_SMALL = (2.55, 1.75)
_CAPTION_COLOUR = "#5E6670"
_LINE_HEIGHT = 0.145  # inches, of the caption's 7 pt


@dataclass(frozen=True)
class _Label:
    """What is written at the right end of a curve."""

    y: float
    text: str
    look: Look
    hollow: bool = False


def write_figures(merged: Merged, summary: pl.DataFrame, folder: Path) -> list[Path]:
    """Draw everything that the scores allow into ``folder``; returns the PNG files, the overview first."""
    written = []
    final = last_steps(summary)
    with mpl.rc_context(RC):
        for number, setting in enumerate(merged.settings, 1):
            here = final.filter(pl.col("setting") == setting.key)
            name = "overview" if len(merged.settings) == 1 else f"overview-{number}"
            if here["score"].n_unique() > 1:
                written.append(_save(overview(merged, here, setting), folder / name))
        for score in final["score"].unique(maintain_order=True):
            rows = final.filter(pl.col("score") == score)
            written.append(_save(score_figure(merged, rows, score), folder / score))
        for score in summary["score"].unique(maintain_order=True):
            rows = summary.filter((pl.col("score") == score) & (pl.col("variant") == ""))
            figure = steps_figure(merged, rows, score)
            if figure is not None:
                written.append(_save(figure, folder / f"steps-{score}"))
    return written


def _save(figure: Figure, stem: Path) -> Path:
    """Write PDF and PNG, without dates: the same scores give the same files."""
    for suffix, metadata in ((".pdf", {"CreationDate": None, "Producer": None}), (".png", {"Software": None})):
        with atomic_path(stem.with_name(stem.name + suffix)) as partial:
            figure.savefig(partial, metadata=metadata)
    return stem.with_name(stem.name + ".png")


def score_figure(merged: Merged, rows: pl.DataFrame, score: str) -> Figure:
    """One score: a row of panels for each corpus and protocol, a column for the score and each variant."""
    settings = [setting for setting in merged.settings if setting.key in rows["setting"]]
    rows = _shown_layers(rows)
    facets = _facets(rows)
    labels = [shorten(label) for label in rows["model"].unique()]
    captions = [_caption(merged, rows, setting) for setting in settings]
    width = len(facets) * (_PANEL[0] * (1.0 if len(facets) == 1 else 0.8))
    side = 0.55 + 0.062 * max(len(label) for label in labels)
    total = 0.65 + width + side * 1
    wrapped = [textwrap.wrap(text, int((total - 0.3) * 18.5)) for text in captions]
    tracks = {setting.key: _track_subjects(merged, rows, setting) for setting in settings}
    heights = [
        0.62 + _PANEL[1] + 0.42 + 0.14 * len(tracks[setting.key]) + 0.2 + _LINE_HEIGHT * len(lines) + 0.1
        for setting, lines in zip(settings, wrapped, strict=True)
    ]
    figure = Figure(figsize=(total, sum(heights)))
    top = 1.0
    for setting, lines, height in zip(settings, wrapped, heights, strict=True):
        share = height / sum(heights)
        sub = _Region(figure, top - share, share)
        top -= share
        _score_row(
            merged,
            rows.filter(pl.col("setting") == setting.key),
            facets,
            sub,
            tracks[setting.key],
            side,
            lines,
            setting if len(settings) > 1 else None,
            score,
        )
    return figure


@dataclass(frozen=True)
class _Region:
    """A horizontal slice of a figure, addressed in inches from its top left corner."""

    figure: Figure
    bottom: float
    share: float

    def axes(self, left: float, top: float, width: float, height: float, **kwargs: Any) -> Axes:
        total_width, total_height = self.figure.get_size_inches()
        place = (
            left / total_width,
            self.bottom + self.share - (top + height) / total_height,
            width / total_width,
            height / total_height,
        )
        axes: Axes = self.figure.add_axes(place, **kwargs)
        return axes

    def text(self, left: float, top: float, text: str, **kwargs: Any) -> None:
        total_width, total_height = self.figure.get_size_inches()
        self.figure.text(left / total_width, self.bottom + self.share - top / total_height, text, va="top", **kwargs)


def _score_row(
    merged: Merged,
    rows: pl.DataFrame,
    facets: list[tuple[str, str]],
    region: _Region,
    tracks: list[Subject],
    side: float,
    caption: list[str],
    setting: Setting | None,
    score: str,
) -> None:
    width = _PANEL[0] * (1.0 if len(facets) == 1 else 0.8)
    known = entry(score)
    region.text(0.12, 0.1, known.title, fontsize=11, fontweight="bold")
    region.text(
        0.12,
        0.3,
        f"{known.name}, by {rows['unit'][0]}" + (f" — {setting.title}" if setting else ""),
        fontsize=7.5,
        color=_CAPTION_COLOUR,
    )
    axis = layer_axis(merged, rows)
    first: Axes | None = None
    for column, (variant, reference) in enumerate(facets):
        part = rows.filter((pl.col("variant") == variant) & _reference(reference))
        axes = region.axes(0.6 + column * width, 0.62, width - 0.18, _PANEL[1], sharey=first)
        labels = draw_panel(axes, merged, part, axis)
        if first is None:
            first = axes
            axes.set_ylabel(known.axis)
        else:
            axes.tick_params(labelleft=False)
        if len(facets) > 1:
            name = variant_title(variant) + (f" ({reference})" if reference else "")
            axes.set_title(shorten(name, 44), fontsize=8)
        _draw_tracks(axes, tracks, axis, rows, named=len(tracks) > 1 and column == len(facets) - 1)
        if column == len(facets) - 1:
            _finish_limits(axes)
            _end_labels(axes, labels, 7.5)
        _layer_ticks(axes, axis, below=0.14 * len(tracks))
    line = "\n".join(caption)
    region.text(
        0.12, 0.62 + _PANEL[1] + 0.45 + 0.14 * len(tracks), line, fontsize=7, color=_CAPTION_COLOUR, linespacing=1.35
    )


def _reference(reference: str) -> pl.Expr:
    return pl.col("reference") == reference if reference else pl.lit(True)


def _facets(rows: pl.DataFrame) -> list[tuple[str, str]]:
    """(variant, reference) of each panel; references make panels only where a model has several."""
    several = rows.group_by("setting", "model", "variant").agg(pl.col("reference").n_unique())["reference"].max()
    variants = rows["variant"].unique().sort().to_list()
    if several == 1:
        return [(variant, "") for variant in variants]
    return [(variant, reference) for variant in variants for reference in rows["reference"].unique().sort()]


def _shown_layers(rows: pl.DataFrame) -> pl.DataFrame:
    """The layers worth a figure: all for scores of frames, else without the convolutional front-end."""
    deep = (pl.col("kind") == "transformer").any().over("setting", "model")
    front = pl.col("kind").is_in(["conv", "projection"])
    return rows.filter((pl.col("unit") == "frame") | front.not_() | deep.not_())


def draw_panel(axes: Axes, merged: Merged, rows: pl.DataFrame, axis: LayerAxis) -> list[_Label]:
    """Draw the curves of one score and variant: encoders, their controls, the controls of all."""
    labels = []
    axes.grid(axis="y")
    for subject in merged.subjects:
        own = rows.filter(pl.col("model") == subject.label).sort("index")
        if own.is_empty():
            continue
        style = look(subject)
        if len(subject.info.layers) == 1:
            labels.append(_draw_level(axes, own, style, subject.label))
        else:
            labels.append(_draw_curve(axes, own, style, subject, axis))
    return labels


def _draw_level(axes: Axes, own: pl.DataFrame, style: Look, label: str) -> _Label:
    """A control of one layer: a horizontal line."""
    value = float(own["mean"][0])
    if own["sets"][0] > 1:
        axes.axhspan(own["low"][0], own["high"][0], color=style.colour, alpha=0.15, lw=0)
    axes.axhline(value, color=style.colour, lw=1.1, ls=(0, (5, 2.5)), zorder=1.5)
    return _Label(value, label, style)


def _draw_curve(axes: Axes, own: pl.DataFrame, style: Look, subject: Subject, axis: LayerAxis) -> _Label:
    x = np.array([axis.positions[subject.label, layer] for layer in own["layer"]])
    mean, low, high = (own[name].to_numpy() for name in ("mean", "low", "high"))
    tap = (own["kind"] == "sampling").to_numpy()
    main = ~tap
    line = {"color": style.colour, "zorder": 2.0 if style.dashed else 3.0}
    if style.dashed:
        axes.plot(x[main], mean[main], lw=1.0, ls=(0, (3.5, 2)), **line)
    else:
        axes.plot(x[main], mean[main], lw=1.5, **line)
    axes.fill_between(x[main], low[main], high[main], color=style.colour, alpha=0.10 if style.dashed else 0.2, lw=0)
    if not style.dashed:
        for position, value, stride, hollow in zip(x, mean, own["stride_ms"], tap, strict=True):
            axes.plot(
                [position],
                [value],
                style.marker,
                ms=mark_size(stride),
                mfc="white" if hollow else style.colour,
                mec=style.colour if hollow else "white",
                mew=1.1 if hollow else 0.5,
                zorder=4.2 if hollow else 4.0,
            )
        axes.vlines(x[tap], low[tap], high[tap], color=style.colour, lw=0.9, zorder=3.9)
    base = own.filter(pl.col("baseline").is_not_null())
    if len(base) and not style.dashed:
        at = [axis.positions[subject.label, layer] for layer in base["layer"]]
        axes.plot(at, base["baseline"], color=style.colour, lw=1.0, ls=(0, (1, 1.6)), zorder=1.8)
    end = int(np.flatnonzero(main)[-1]) if main.any() else len(mean) - 1
    return _Label(float(mean[end]), subject.label, style)


def _finish_limits(axes: Axes) -> None:
    low, high = axes.get_ylim()
    if 0 < low < 0.12:
        axes.set_ylim(0, high)


def _end_labels(axes: Axes, labels: Sequence[_Label], size: float) -> None:
    """Name the curves at their right ends, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    inches = axes.get_position().height * axes.figure.get_size_inches()[1]
    gap = size * 1.45 / 72 / inches
    wanted = np.array([(label.y - low) / (high - low) for label in labels])
    placed = spread_apart(wanted, gap)
    transform = blended_transform_factory(axes.transAxes, axes.transAxes)
    panel = axes.get_position().width * axes.figure.get_size_inches()[0]
    for label, y in zip(labels, placed, strict=True):
        style = label.look
        line = Line2D(
            [1 + 0.06 / panel, 1 + 0.32 / panel],
            [y, y],
            color=style.colour,
            transform=transform,
            clip_on=False,
            lw=1.1 if style.dashed else 1.5,
            ls=(0, (3, 1.6)) if style.dashed else "-",
        )
        axes.add_line(line)
        if not style.dashed:
            axes.add_line(
                Line2D(
                    [1 + 0.19 / panel],
                    [y],
                    marker=style.marker,
                    ms=4,
                    color=style.colour,
                    mec="white",
                    mew=0.4,
                    transform=transform,
                    clip_on=False,
                )
            )
        axes.text(
            1 + 0.38 / panel,
            y,
            shorten(label.text),
            transform=transform,
            va="center_baseline",
            fontsize=size,
            color=style.colour,
        )


def spread_apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Positions in [0, 1] at least ``gap`` apart, in the order of ``wanted`` and as near to it as can be.

    Least squares under the order constraint (isotonic regression by pooling neighbours). More labels than
    fit are spaced evenly.
    """
    count = len(wanted)
    if count == 0:
        return wanted
    if gap * (count - 1) >= 1:
        gap = 1 / max(count - 1, 1)
    order = np.argsort(wanted, kind="stable")
    blocks: list[list[float]] = []
    for rank, target in enumerate(wanted[order] - gap * np.arange(count)):
        blocks.append([float(target), 1.0, float(rank)])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, size, _ = blocks.pop()
            previous = blocks[-1]
            previous[0] = (previous[0] * previous[1] + mean * size) / (previous[1] + size)
            previous[1] += size
    level = np.concatenate([np.full(int(size), mean) for mean, size, _ in blocks])
    level = np.clip(level, 0.0, max(1 - gap * (count - 1), 0.0))
    placed = np.empty(count)
    placed[order] = level + gap * np.arange(count)
    return placed


def _layer_ticks(axes: Axes, axis: LayerAxis, below: float, label: bool = True) -> None:
    """Layer names beneath the axis; turned when there are many."""
    positions = [position for position, _ in axis.ticks]
    names = [name for _, name in axis.ticks]
    axes.set_xticks(positions)
    inches = axes.get_position().width * axes.figure.get_size_inches()[0]
    crowded = sum(len(name) + 1.5 for name in names) * 0.062 > inches
    axes.set_xticklabels(names, rotation=90 if crowded else 0)
    spread = list(axis.positions.values())
    if spread:
        axes.set_xlim(min(spread) - 0.6 * axis.step, max(spread) + 0.6 * axis.step)
    axes.tick_params(axis="x", pad=3 + below * 72, length=2.5)
    if label and axis.scale == "depth":
        axes.set_xlabel(axis.label)


def _track_subjects(merged: Merged, rows: pl.DataFrame, setting: Setting) -> list[Subject]:
    """Encoders whose resolution is worth a track: all, if any of them changes its resolution."""
    here = rows.filter((pl.col("setting") == setting.key) & pl.col("kind").is_in(["transformer", "sampling"]))
    drawn = [s for s in merged.subjects if not s.is_control and s.label in here["model"]]
    strides = here.filter(pl.col("model").is_in([subject.label for subject in drawn]))["stride_ms"].n_unique()
    return drawn if strides > 1 else []


def _draw_tracks(axes: Axes, tracks: Sequence[Subject], axis: LayerAxis, rows: pl.DataFrame, named: bool) -> None:
    """Beneath the axis, one strip per encoder: the milliseconds per frame of its layers."""
    height = axes.get_position().height * axes.figure.get_size_inches()[1]
    transform = blended_transform_factory(axes.transData, axes.transAxes)
    for number, subject in enumerate(tracks):
        own = (
            rows.filter(pl.col("model") == subject.label)
            .unique("layer", keep="first", maintain_order=True)
            .filter(pl.col("kind") != "conv")
            .sort("index")
        )
        colour = look(subject).colour
        top = -(0.07 + 0.14 * number) / height
        runs: list[tuple[float, list[float]]] = []
        for layer, stride in own.select("layer", "stride_ms").rows():
            position = axis.positions[subject.label, layer]
            if runs and runs[-1][0] == stride:
                runs[-1][1].append(position)
            else:
                runs.append((stride, [position]))
        edges = [(stride, min(at), max(at)) for stride, at in runs]
        for place, (stride, start, end) in enumerate(edges):
            left = start - 0.4 * axis.step if place == 0 else (edges[place - 1][2] + start) / 2
            right = end + 0.4 * axis.step if place == len(edges) - 1 else (end + edges[place + 1][1]) / 2
            alpha = {20.0: 0.12, 40.0: 0.28, 80.0: 0.48}.get(stride, 0.12 if stride < 30 else 0.36)
            axes.fill_between(
                [left, right],
                top - 0.115 / height,
                top,
                transform=transform,
                clip_on=False,
                color=colour,
                alpha=alpha,
                lw=0,
            )
            text = f"{stride:g}" + (" ms" if right - left > 2.4 * axis.step else "")
            axes.text(
                (left + right) / 2,
                top - 0.0575 / height,
                text,
                transform=transform,
                ha="center",
                fontsize=5.5,
                va="center_baseline",
                color="#22262B",
            )
        if named:
            axes.text(
                1.0,
                top - 0.0575 / height,
                f" {shorten(subject.label)}",
                transform=axes.transAxes,
                fontsize=5.5,
                va="center_baseline",
                color=colour,
            )


def _caption(merged: Merged, rows: pl.DataFrame, setting: Setting) -> str:
    """The sample, the corpus, the protocol and the key to the marks."""
    here = rows.filter(pl.col("setting") == setting.key)
    unit = here["unit"][0]
    parts = [_sample(here, unit)]
    corpus = setting.corpus
    speakers = f", {corpus.speakers} speakers" if corpus.speakers else ""
    parts.append(f"{corpus.name} ({corpus.hours:.1f} h{speakers})")
    parts.append(f"{setting.protocol.name} protocol")
    sets = here["sets"].max()
    parts.append(f"mean of {sets} sample sets, band: {SPREAD_SHORT}" if sets != 1 else "one sample set: no spread")
    if (here["kind"] == "sampling").any():
        parts.append("hollow: sampling modules and skips")
    parts.append("dashed: controls")
    if here["baseline"].is_not_null().any():
        parts.append("dotted: permutation baseline")
    if here["step"].is_not_null().any():
        parts.append("checkpoints: the last step")
    return " · ".join(parts)


SPREAD_SHORT = "lowest to highest"


def _sample(rows: pl.DataFrame, unit: str) -> str:
    """N, classes and clusters; a range where the curves do not agree, since that moves scores."""

    def span(name: str) -> str | None:
        values = rows[name].drop_nulls()
        if values.is_empty():
            return None
        low, high = int(values.min()), int(values.max())  # type: ignore[call-overload]
        return f"{low:,}" if low == high else f"{low:,}–{high:,}"

    plural = {"sentence": "sentence pairs"}.get(unit, f"{unit}s")
    text = f"n = {span('n')} {plural}"
    if (classes := span("classes")) is not None:
        text += f" of {classes} types" + (" (differs between curves)" if "–" in classes else "")
    if (clusters := span("k")) is not None:
        text += f", k = {clusters}" + (" (differs between curves)" if "–" in clusters else "")
    return text


def overview(merged: Merged, rows: pl.DataFrame, setting: Setting) -> Figure:
    """All scores of a setting as small panels with one legend (the layout of the paper's Figure 3)."""
    rows = _shown_layers(rows.filter(pl.col("variant") == ""))
    scores = rows["score"].unique(maintain_order=True).to_list()
    columns = min(3, len(scores))
    lines = -(-len(scores) // columns)
    labels = [s for s in merged.subjects if s.label in rows["model"]]
    caption = _caption(merged, rows.with_columns(pl.lit("span").alias("unit")), setting)
    corpus = caption.split(" · ", 1)[1]
    cell = (_SMALL[0] + 0.5, _SMALL[1] + 0.72)
    width = 0.2 + columns * cell[0]
    legend_rows, per_row = _legend_rows([shorten(s.label) for s in labels], width)
    text = textwrap.wrap(corpus, int((width - 0.3) * 18.5))
    height = 0.55 + lines * cell[1] + 0.2 * legend_rows + 0.15 + _LINE_HEIGHT * len(text) + 0.15
    figure = Figure(figsize=(width, height))
    region = _Region(figure, 0.0, 1.0)
    region.text(0.12, 0.1, setting.title, fontsize=11, fontweight="bold")
    for number, score in enumerate(scores):
        line, column = divmod(number, columns)
        part = rows.filter(pl.col("score") == score)
        part = part.filter(pl.col("reference") == pl.col("reference").first().over("model"))
        axes = region.axes(0.55 + column * cell[0], 0.62 + line * cell[1], _SMALL[0], _SMALL[1])
        axis = layer_axis(merged, part)
        draw_panel(axes, merged, part, axis)
        _finish_limits(axes)
        _layer_ticks(axes, axis, below=0.0, label=False)
        axes.set_title(f"{chr(65 + number)}  {entry(score).title}", fontsize=8)
        axes.set_ylabel(entry(score).axis, fontsize=7)
        axes.text(
            1.0,
            1.01,
            _sample(part, part["unit"][0]).split(" (")[0],
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=5.2,
            color=_CAPTION_COLOUR,
        )
    _legend(figure, region, labels, 0.55 + lines * cell[1], per_row, width)
    region.text(
        0.12,
        0.55 + lines * cell[1] + 0.2 * legend_rows + 0.12,
        "\n".join(text),
        fontsize=7,
        color=_CAPTION_COLOUR,
        linespacing=1.35,
    )
    return figure


def _legend_rows(names: Sequence[str], width: float) -> tuple[int, int]:
    """(rows, entries per row) of a legend of that width in inches."""
    entry_width = 0.5 + 0.062 * max(len(name) for name in names)
    per_row = max(1, int((width - 0.24) / entry_width))
    return -(-len(names) // per_row), per_row


def _legend(
    figure: Figure, region: _Region, subjects: Sequence[Subject], top: float, per_row: int, width: float
) -> None:
    step = (width - 0.24) / per_row
    total_width, total_height = figure.get_size_inches()
    for number, subject in enumerate(subjects):
        line, column = divmod(number, per_row)
        x, y = 0.12 + column * step, total_height - (top + 0.1 + 0.2 * line)
        style = look(subject)
        figure.add_artist(
            Line2D(
                [x / total_width, (x + 0.3) / total_width],
                [y / total_height] * 2,
                color=style.colour,
                lw=1.1 if style.dashed else 1.5,
                ls=(0, (3, 1.6)) if style.dashed else "-",
            )
        )
        if not style.dashed:
            figure.add_artist(
                Line2D(
                    [(x + 0.15) / total_width],
                    [y / total_height],
                    marker=style.marker,
                    ms=4.5,
                    color=style.colour,
                    mec="white",
                    mew=0.4,
                )
            )
        figure.text(
            (x + 0.37) / total_width,
            y / total_height,
            shorten(subject.label),
            fontsize=7.5,
            va="center_baseline",
            color=style.colour,
        )


def steps_figure(merged: Merged, rows: pl.DataFrame, score: str) -> Figure | None:
    """A score over training steps, one panel per training run, one line per layer; None without steps."""
    runs = [
        (setting, subject)
        for setting in merged.settings
        for subject in merged.subjects
        if not subject.is_control
        and rows.filter((pl.col("model") == subject.label) & (pl.col("setting") == setting.key))["step"].n_unique() > 1
    ]
    if not runs:
        return None
    columns = min(2, len(runs))
    lines = -(-len(runs) // columns)
    cell = (4.3, 3.35)
    width = 0.2 + columns * cell[0]
    setting = runs[0][0]
    text = textwrap.wrap(
        _caption(merged, rows, setting).replace("checkpoints: the last step", "one line per layer"),
        int((width - 0.3) * 18.5),
    )
    height = 0.55 + lines * cell[1] + _LINE_HEIGHT * len(text) + 0.1
    figure = Figure(figsize=(width, height))
    region = _Region(figure, 0.0, 1.0)
    region.text(0.12, 0.1, f"{entry(score).title} over training", fontsize=11, fontweight="bold")
    first: Axes | None = None
    for number, (where, subject) in enumerate(runs):
        line, column = divmod(number, columns)
        axes = region.axes(0.6 + column * cell[0], 0.72 + line * cell[1], cell[0] - 1.45, cell[1] - 0.85, sharey=first)
        first = first or axes
        own = rows.filter((pl.col("model") == subject.label) & (pl.col("setting") == where.key))
        controls = [
            (control, rows.filter((pl.col("model") == control.label) & (pl.col("setting") == where.key)))
            for control in merged.subjects
            if control.is_control and control.control_of in (None, subject.label)
        ]
        _draw_steps(axes, own, controls)
        axes.set_title(shorten(subject.label, 40) + ("" if len(merged.settings) == 1 else f" — {where.title}"))
        axes.set_ylabel(entry(score).axis)
    region.text(0.12, 0.6 + lines * cell[1], "\n".join(text), fontsize=7, color=_CAPTION_COLOUR, linespacing=1.35)
    return figure


def _draw_steps(axes: Axes, own: pl.DataFrame, controls: Sequence[tuple[Subject, pl.DataFrame]]) -> None:
    """Lines over steps, coloured from the first layer to the last; the controls as levels."""
    axes.grid(axis="y")
    names = own.sort("index")["layer"].unique(maintain_order=True).to_list()
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.9, len(names)))
    labels = []
    for name, shade in zip(names, shades, strict=True):
        curve = own.filter((pl.col("layer") == name) & pl.col("step").is_not_null()).sort("step")
        hollow = curve["kind"][0] == "sampling"
        axes.fill_between(curve["step"], curve["low"], curve["high"], color=shade, alpha=0.15, lw=0)
        axes.plot(
            curve["step"],
            curve["mean"],
            color=shade,
            lw=0.9 if hollow else 1.3,
            marker="o",
            ms=3.5,
            mfc="white" if hollow else shade,
            mec=shade,
            mew=0.9,
        )
        colour = mpl.colors.to_hex(shade)
        labels.append(_Label(float(curve["mean"][-1]), name, Look(colour, colour, "o", "circle", dashed=False)))
    for control, level in controls:
        if level.is_empty():
            continue
        style = look(control)
        value = float(level["mean"].max())  # type: ignore[arg-type]
        colour = style.colour if control.slot is None else "#22262B"
        axes.axhline(value, color=colour, lw=1.0, ls=(0, (5, 2.5)), zorder=1.5)
        title = control.label if len(level["layer"].unique()) == 1 else f"{shorten(control.label, 14)}, best"
        labels.append(_Label(value, title, Look(colour, colour, "o", "circle", dashed=True)))
    steps = own["step"].drop_nulls().unique().sort().to_list()
    if steps[0] > 0 and steps[-1] / steps[0] >= 20:
        axes.set_xscale("log")
    axes.set_xlabel("training step")
    _finish_limits(axes)
    _end_labels(axes, labels, 6.5)
