"""The layer weights of probes as heat maps, layer by task: the paper's Figures 2b and 6.

matplotlib is imported here: import this module only where figures are made.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speechstrata.files import atomic_path
from speechstrata.report.drawing import RC, SOFT, text_width

_TASKS = ("asr", "sf", "ic", "ks", "sd", "se")
_CELL = (0.42, 0.24)  # inches
_LEFT, _BAR, _TITLE, _LINE, _TICKS = 0.8, 0.95, 0.42, 0.15, 0.3
#: Maps side by side; more models are spread evenly over several rows.
_ACROSS = 4


def weights_figure(table: pl.DataFrame, column: str, remarks: Sequence[str], title: str = "") -> Figure:
    """One map per model: its tasks across, layers up; each row says its layer and its frame period.

    White lines are where the resolution changes: at D0, U0 and the like, the inputs of the later blocks.

    Args:
        table: of :func:`speechstrata.superb.results.weights_table`; seeds are averaged.
        column: "weight" or "weight_times_norm".
        remarks: to be written beneath.
        title: of the whole.
    """
    means = table.group_by("model", "task", "index", "layer", "stride_ms", maintain_order=True).agg(
        pl.col(column).mean().alias("mean")
    )
    models = means["model"].unique(maintain_order=True).to_list()
    maps = {model: means.filter(pl.col("model") == model) for model in models}
    tasks = {model: [task for task in _TASKS if task in set(own["task"])] for model, own in maps.items()}
    layers = {model: own["layer"].n_unique() for model, own in maps.items()}
    step = _LEFT + _CELL[0] * max(map(len, tasks.values()))
    names = {model: _wrapped(model, step - 0.15) for model in models}
    rows = -(-len(models) // _ACROSS)
    size = -(-len(models) // rows)
    across = [models[start : start + size] for start in range(0, len(models), size)]
    heads = [0.12 + _LINE * max(names[model].count("\n") + 1 for model in row) for row in across]
    talls = [max(layers[model] for model in row) * _CELL[1] for row in across]
    top = _TITLE if title else 0.1
    foot = 0.2 + 0.13 * len(remarks)
    wide = max(*(text_width(text, 6.5) for text in (*remarks, "")), 1.25 * text_width(title, 11))
    width = max(0.1 + step * size + _BAR, wide + 0.25)
    height = top + sum(heads) + sum(talls) + _TICKS * rows + foot
    scale = mpl.colors.Normalize(0.0, float(means["mean"].to_numpy().max()))
    with mpl.rc_context(RC):
        figure = Figure(figsize=(width, height))
        bottom = height - top
        for row, head, tall in zip(across, heads, talls, strict=True):
            bottom -= head + tall
            for place, model in enumerate(row):
                extent = (_CELL[0] * len(tasks[model]) / width, layers[model] * _CELL[1] / height)
                corner = ((0.1 + _LEFT + place * step) / width, bottom / height)
                axes = figure.add_axes((*corner, *extent))
                _draw(axes, maps[model], tasks[model], scale)
                axes.set_title(names[model])
            bottom -= _TICKS
        left, low = 0.1 + step * size + 0.2, height - top - heads[0] - talls[0]
        bar = figure.add_axes((left / width, low / height, 0.1 / width, talls[0] / height))
        label = "softmax weight" if column == "weight" else "weight x mean norm of the states, as a share"
        figure.colorbar(mpl.cm.ScalarMappable(scale, "viridis"), cax=bar, label=label)
        figure.text(0.1 / width, 0.1 / height, "\n".join(remarks), fontsize=6.5, color=SOFT, va="bottom")
        if title:
            figure.text(0.1 / width, 1 - 0.1 / height, title, fontsize=11, fontweight="bold", va="top")
    return figure


def _wrapped(name: str, width: float) -> str:
    """A heading in lines of at most that many inches (bold letters are wider)."""
    letters = max(int(width / (1.1 * text_width("x", 8))), 8)
    return "\n".join(line for part in name.splitlines() for line in textwrap.wrap(part, letters))


def _draw(axes: Axes, own: pl.DataFrame, tasks: Sequence[str], scale: mpl.colors.Normalize) -> None:
    order = own.sort("index").unique("layer", keep="first", maintain_order=True)
    layers = order["layer"].to_list()
    values = np.full((len(layers), len(tasks)), np.nan)
    for layer, task, mean in own.select("layer", "task", "mean").rows():
        values[layers.index(layer), tasks.index(task)] = mean
    axes.pcolormesh(values, norm=scale, cmap="viridis")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            light = value < 0.6 * float(scale.vmax or 1.0)
            axes.text(
                column + 0.5, row + 0.5, f"{value:.2f}".removeprefix("0"), ha="center", va="center", fontsize=5.5,
                color="white" if light else "black",
            )  # fmt: skip
    axes.set_xticks(np.arange(len(tasks)) + 0.5, [task.upper() for task in tasks])
    names = [f"{layer}  {period:g} ms" for layer, period in order.select("layer", "stride_ms").rows()]
    axes.set_yticks(np.arange(len(layers)) + 0.5, names)
    axes.tick_params(length=0)
    for place, (before, after) in enumerate(zip(order["stride_ms"], order["stride_ms"][1:], strict=False), start=1):
        if before != after:  # where the resolution changes
            axes.axhline(place, color="white", linewidth=1.6)
    axes.spines[["left", "bottom"]].set_visible(False)


def write_figure(figure: Figure, path: Path) -> list[Path]:
    """Write ``path``.pdf and ``path``.png."""
    written = []
    for suffix in (".pdf", ".png"):
        target = path.with_name(path.name + suffix)
        with atomic_path(target) as partial:
            metadata = {"CreationDate": None} if suffix == ".pdf" else None
            figure.savefig(partial, metadata=metadata)
        written.append(target)
    return written
