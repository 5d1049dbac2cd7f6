"""The figures on paper: layer curves per score, an overview of all scores, scores over training steps.

Every figure is written as PDF and PNG, carries its sample, corpus and protocol in the caption, and draws the
controls. matplotlib is imported here: import this module only where figures are made.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from speechstrata.files import atomic_path
from speechstrata.report import drawing
from speechstrata.report.axes import LayerAxis, layer_axis
from speechstrata.report.captions import context_text, sample_text
from speechstrata.report.drawing import SOFT, STRIP, EndLabel, Region, text_width
from speechstrata.report.glossary import entry, score_order, variant_order, variant_title
from speechstrata.report.heatmaps import heatmap_figure
from speechstrata.report.merge import Merged, Setting, Subject
from speechstrata.report.panels import CAPTION_LINE, Panel, characters, panels_figure, strip_subjects
from speechstrata.report.style import Look, look, natural_key, shorten
from speechstrata.report.tables import last_steps

_PANEL = (4.3, 2.75)  # inches: one panel of a score's figure
_TALL, _FEW = 3.7, 4  # the height of the panels of more encoders than that
_MOST_REFERENCES = 4  # panels for that many at most


def write_figures(merged: Merged, summary: pl.DataFrame, folder: Path) -> list[Path]:
    """Draw everything that the scores allow into ``folder``; returns the PNG files, the overview first."""
    written = []
    final = last_steps(summary)
    with mpl.rc_context(drawing.RC):
        for number, setting in enumerate(merged.settings, 1):
            here = final.filter(pl.col("setting") == setting.key)
            name = "overview" if len(merged.settings) == 1 else f"overview-{number}"
            if here["score"].n_unique() > 1:
                written.append(save_figure(overview(merged, here, setting), folder / name))
        scores = sorted(final["score"].unique(), key=score_order)
        for score in scores:
            rows = final.filter(pl.col("score") == score)
            written.append(save_figure(score_figure(merged, rows, score), folder / score))
        for score in scores:
            rows = summary.filter((pl.col("score") == score) & (pl.col("variant") == ""))
            figure = steps_figure(merged, rows, score)
            if figure is not None:
                written.append(save_figure(figure, folder / f"steps-{score}"))
    return written


def save_figure(figure: Figure, stem: Path) -> Path:
    """Write PDF and PNG, without dates: the same scores give the same files."""
    for suffix, metadata in ((".pdf", {"CreationDate": None, "Producer": None}), (".png", {"Software": None})):
        with atomic_path(stem.with_name(stem.name + suffix)) as partial:
            figure.savefig(partial, metadata=metadata)
    return stem.with_name(stem.name + ".png")


@dataclass(frozen=True)
class _Row:
    """The panels of one corpus and protocol, side by side.

    Inches: ``above`` the panels, ``tall`` for them, ``below`` them to the caption, ``height`` of all.
    """

    setting: Setting
    rows: pl.DataFrame
    axis: LayerAxis
    ticks: drawing.Ticks
    strips: list[Subject]
    caption: list[str]
    above: float
    tall: float

    @property
    def below(self) -> float:
        """From the axis to the caption."""
        depth = 0.18 if self.axis.scale == "depth" else 0.0
        return STRIP * len(self.strips) + self.ticks.height + depth + 0.18

    @property
    def height(self) -> float:
        return self.above + self.tall + self.below + CAPTION_LINE * len(self.caption) + 0.12


def score_figure(
    merged: Merged, rows: pl.DataFrame, score: str, *, title: str | None = None, subtitle: str | None = None
) -> Figure:
    """One score: a row of panels for each corpus and protocol, a column for the score and each variant.

    More than ``_MOST_REFERENCES`` of them (every layer of another model) are drawn as heat maps instead.

    Args:
        merged: the runs.
        rows: of a summary, of the score.
        score: its name.
        title: the heading; by default the score's.
        subtitle: beneath it; by default the score's name and unit.
    """
    rows = shown_layers(rows)
    facets = _facets(rows)
    if len({reference for _, reference in facets}) > _MOST_REFERENCES:
        texts = [
            f"{sample_text(here)} · {context_text(here, setting, merged.controls, marks=False)}"
            for setting in merged.settings
            if len(here := rows.filter(pl.col("setting") == setting.key))
        ]
        caption = [line for text in texts for line in textwrap.wrap(text, characters(5.0))]
        return heatmap_figure(merged, rows.filter(pl.col("variant") == ""), score, caption)
    panel = _PANEL[0] * (1.0 if len(facets) == 1 else 0.8)
    side = 0.45 + max(text_width(shorten(label), 7.5) for label in rows["model"].unique())
    width = 0.6 + len(facets) * panel - 0.18 + side + 0.1
    parts = []
    for setting in merged.settings:
        here = rows.filter(pl.col("setting") == setting.key)
        if here.is_empty():
            continue
        axis = layer_axis(merged, here)
        caption = textwrap.wrap(
            f"{sample_text(here)} · {context_text(here, setting, merged.controls)}", characters(width)
        )
        ticks = drawing.fit_ticks(axis, panel - 0.18)
        strips, above = strip_subjects(merged, here), 0.56 if len(facets) == 1 else 0.68
        encoders = sum(not merged.subject(label).is_control for label in here["model"].unique())
        tall = _PANEL[1] if encoders <= _FEW else _TALL
        parts.append(_Row(setting, here, axis, ticks, strips, caption, above, tall))
    figure = Figure(figsize=(width, sum(part.height for part in parts)))
    top = 0.0
    for part in parts:
        region = Region(figure, top)
        _draw_row(merged, part, facets, region, panel)
        beneath = subtitle or f"{score}, per {rows['unit'][0]}"
        if len(parts) > 1:
            beneath += f" — {part.setting.title}"
        region.text(0.12, 0.1, title or entry(score).title, fontsize=11, fontweight="bold")
        region.text(0.12, 0.3, beneath, fontsize=7.5, color=SOFT)
        top += part.height
    return figure


def _draw_row(merged: Merged, part: _Row, facets: list[tuple[str, str]], region: Region, panel: float) -> None:
    first: Axes | None = None
    for column, (variant, reference) in enumerate(facets):
        chosen = part.rows.filter((pl.col("variant") == variant) & _refers_to(reference))
        axes = region.axes(0.6 + column * panel, part.above, panel - 0.18, part.tall, sharey=first)
        labels = drawing.draw_panel(axes, merged, chosen, part.axis)
        if first is None:
            first = axes
            axes.set_ylabel(entry(part.rows["score"][0]).axis)
        else:
            axes.tick_params(labelleft=False)
        if len(facets) > 1:
            axes.set_title(shorten(variant_title(variant) + (f" ({reference})" if reference else ""), 44))
        last = column == len(facets) - 1
        drawing.draw_ticks(axes, part.axis, part.ticks, below=STRIP * len(part.strips))
        drawing.draw_strips(axes, part.strips, part.axis, part.rows, named=last and len(part.strips) > 1)
        if part.axis.scale == "depth":
            axes.set_xlabel(part.axis.label, fontsize=7)
        if last:
            drawing.draw_end_labels(axes, labels)
    _draw_caption(region, part.above + part.tall + part.below, part.caption)


def _draw_caption(region: Region, top: float, lines: list[str]) -> None:
    region.text(0.12, top, "\n".join(lines), fontsize=7, color=SOFT, linespacing=1.35)


def _refers_to(reference: str) -> pl.Expr:
    return pl.col("reference") == reference if reference else pl.lit(True)


def _facets(rows: pl.DataFrame) -> list[tuple[str, str]]:
    """(variant, reference) of each panel; references make panels only where a model has several."""
    counts = rows.group_by("setting", "model", "variant").agg(pl.col("reference").n_unique().alias("count"))
    variants = sorted(rows["variant"].unique(), key=variant_order)
    if counts["count"].max() == 1:
        return [(variant, "") for variant in variants]
    references = sorted(rows["reference"].unique(), key=natural_key)
    return [(variant, reference) for variant in variants for reference in references]


def shown_layers(rows: pl.DataFrame) -> pl.DataFrame:
    """The layers worth a figure: all for scores of frames, else without the convolutional front-end."""
    deep = (pl.col("kind") == "transformer").any().over("setting", "model")
    front = pl.col("kind").is_in(["conv", "projection", "fbank"])
    return rows.filter((pl.col("unit") == "frame") | front.not_() | deep.not_())


def overview(merged: Merged, rows: pl.DataFrame, setting: Setting) -> Figure:
    """All scores of a setting as small panels with one legend (the layout of the paper's Figure 3)."""
    rows = shown_layers(rows.filter(pl.col("variant") == ""))
    first_reference = pl.col("reference").first().over("model", "score")
    rows = rows.filter(pl.col("reference") == first_reference)
    panels = [
        Panel(f"{chr(65 + number % 26)}  {entry(score).title}", score)
        for number, score in enumerate(rows["score"].unique(maintain_order=True))
    ]
    return panels_figure(merged, rows, setting, panels, title=setting.title)


def steps_figure(merged: Merged, rows: pl.DataFrame, score: str) -> Figure | None:
    """A score over training steps, a panel for each training run, a line for each layer; None without steps."""
    rows = shown_layers(rows)
    panels = [
        (setting, subject, own)
        for setting in merged.settings
        for subject in merged.subjects
        if not subject.is_control
        and (own := rows.filter((pl.col("model") == subject.label) & (pl.col("setting") == setting.key)))["step"]
        .drop_nulls()
        .n_unique()
        > 1
    ]
    if not panels:
        return None
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    cell = (_PANEL[0] + 0.2, _PANEL[1] + 0.75)
    width = 0.1 + columns * cell[0]
    texts = dict.fromkeys(
        f"{sample_text(own)} · {context_text(_of_setting(rows, setting), setting, merged.controls)}"
        " · controls: their best layer"
        for setting, _, own in panels
    )
    caption = [line for text in texts for line in textwrap.wrap(text, characters(width))]
    figure = Figure(figsize=(width, 0.45 + lines * cell[1] + CAPTION_LINE * len(caption) + 0.15))
    region = Region(figure)
    region.text(0.12, 0.1, f"{entry(score).title}, over training", fontsize=11, fontweight="bold")
    for number, (setting, subject, own) in enumerate(panels):
        line, column = divmod(number, columns)
        axes = region.axes(0.6 + column * cell[0], 0.62 + line * cell[1], _PANEL[0] - 1.45, _PANEL[1])
        controls = [
            (control, level)
            for control in merged.subjects
            if control.is_control and control.control_of in (None, subject.label)
            and len(level := rows.filter((pl.col("model") == control.label) & (pl.col("setting") == setting.key)))
        ]  # fmt: skip
        _draw_steps(axes, own, controls)
        title = subject.label if len(merged.settings) == 1 else f"{subject.label} — {setting.title}"
        axes.set_title(shorten(title, 52))
        axes.set_ylabel(entry(score).axis)
    _draw_caption(region, 0.45 + lines * cell[1], caption)
    return figure


def _of_setting(rows: pl.DataFrame, setting: Setting) -> pl.DataFrame:
    return rows.filter(pl.col("setting") == setting.key)


def _draw_steps(axes: Axes, own: pl.DataFrame, controls: list[tuple[Subject, pl.DataFrame]]) -> None:
    """Lines over steps, coloured from the first layer to the last; the controls as levels."""
    axes.grid(axis="y")
    own = own.filter(pl.col("step").is_not_null())
    names = own.sort("index")["layer"].unique(maintain_order=True).to_list()
    labels = []
    for name, shade in zip(names, mpl.colormaps["viridis"](np.linspace(0.0, 0.88, len(names))), strict=True):
        curve = own.filter(pl.col("layer") == name).sort("step")
        hollow = curve["tap"][0]
        colour = mpl.colors.to_hex(shade)
        axes.fill_between(curve["step"], curve["low"], curve["high"], color=colour, alpha=0.15, lw=0)
        width, fill = (0.9, "white") if hollow else (1.3, colour)
        axes.plot(curve["step"], curve["mean"], "o-", color=colour, lw=width, ms=3.5, mfc=fill, mew=0.9)
        labels.append(EndLabel(float(curve["mean"][-1]), name, Look(colour, colour, "o", "circle", dashed=False)))
    for control, level in controls:
        value = max(level["mean"].to_list())
        colour = look(control).colour if control.slot is None else "#22262B"
        axes.axhline(value, color=colour, lw=1.0, ls=(0, (5, 2.5)), zorder=1.5)
        title = "random weights" if control.info.supervision == "random weights" else control.label
        labels.append(EndLabel(value, title, Look(colour, colour, "o", "circle", dashed=True)))
    steps = own["step"].unique().sort().to_list()
    if steps[0] > 0 and steps[-1] / steps[0] >= 20:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    shown = steps if len(steps) <= 6 else steps[:: -(-len(steps) // 6)]
    axes.set_xticks(shown, [f"{step / 1000:g}k" if step >= 1000 else str(step) for step in shown])
    axes.set_xlabel("training step", fontsize=7)
    drawing.draw_end_labels(axes, labels, 6.5)
