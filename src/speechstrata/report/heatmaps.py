"""A score with many references (every layer of another model) as heat maps: references down, layers across.

matplotlib is imported here: import this module only where figures are made.
"""

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechstrata.report.drawing import SOFT, Region, text_width
from speechstrata.report.glossary import entry
from speechstrata.report.merge import Merged
from speechstrata.report.style import natural_key, shorten

_CELL = (0.2, 0.17)  # inches
_POINTS = 6.0


def heatmap_figure(merged: Merged, rows: pl.DataFrame, score: str, caption: list[str]) -> Figure:
    """One map for each setting and model that has the score, controls included, on one scale of colours.

    Args:
        merged: the runs, for the order of the models.
        rows: of a summary: one score, its main variant.
        score: its name.
        caption: lines to write beneath.
    """
    panels = [
        (f"{subject.label}" + (f" — {setting.title}" if len(merged.settings) > 1 else ""), own)
        for setting in merged.settings
        for subject in merged.subjects
        if len(own := rows.filter((pl.col("model") == subject.label) & (pl.col("setting") == setting.key)))
    ]
    names = [shorten(reference, 40) for reference in rows["reference"].unique()]
    left = 0.3 + max(text_width(name, _POINTS) for name in names)
    sizes = [(own["layer"].n_unique() * _CELL[0], own["reference"].n_unique() * _CELL[1]) for _, own in panels]
    below = 0.25 + max(text_width(layer, _POINTS) for layer in rows["layer"].unique())
    heights = [0.3 + height + below for _, height in sizes]
    width = max(left + max(across for across, _ in sizes) + 0.9, 5.0)
    figure = Figure(figsize=(width, 0.5 + sum(heights) + 0.145 * len(caption) + 0.15))
    region = Region(figure)
    region.text(0.12, 0.1, entry(score).title, fontsize=11, fontweight="bold")
    scale = mpl.colors.Normalize(min(rows["mean"].to_list()), max(rows["mean"].to_list()))
    top = 0.5
    for number, ((title, own), (across, height)) in enumerate(zip(panels, sizes, strict=True)):
        axes = region.axes(left, top + 0.2, across, height)
        _draw_map(axes, own, scale)
        axes.set_title(shorten(title, 60))
        if number == 0:
            bar = region.axes(left + across + 0.15, top + 0.2, 0.12, max(height, 0.8))
            figure.colorbar(mpl.cm.ScalarMappable(scale, "viridis"), cax=bar, label=entry(score).axis)
        top += heights[number]
    region.text(0.12, top + 0.05, "\n".join(caption), fontsize=7, color=SOFT, linespacing=1.35)
    return figure


def _draw_map(axes: Axes, own: pl.DataFrame, scale: mpl.colors.Normalize) -> None:
    layers = own.sort("index")["layer"].unique(maintain_order=True).to_list()
    references = sorted(own["reference"].unique(), key=natural_key)
    values = np.full((len(references), len(layers)), np.nan)
    for layer, reference, mean in own.select("layer", "reference", "mean").rows():
        values[references.index(reference), layers.index(layer)] = mean
    axes.pcolormesh(values, norm=scale, cmap="viridis", rasterized=False)
    axes.set_xticks(np.arange(len(layers)) + 0.5, layers, rotation=90, fontsize=_POINTS)
    labels = [shorten(reference, 40) for reference in references]
    axes.set_yticks(np.arange(len(references)) + 0.5, labels, fontsize=_POINTS)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
