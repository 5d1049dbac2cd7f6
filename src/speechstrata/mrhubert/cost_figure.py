"""The figure of the costs: MACs by resolution and by length, time and peak memory in inference and in training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speechstrata.files import atomic_path
from speechstrata.mrhubert.cost import CostRow, Mode
from speechstrata.mrhubert.pen import GREY, INK, hue
from speechstrata.report.style import MARKERS, PALETTE, shorten

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "grid.color": "#E3E6EA",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "savefig.dpi": 200,
}
_FRONT, _SAMPLING = "front-end", "sampling"


@dataclass(frozen=True)
class Share:
    """MACs per second of audio of one share of a network: the front-end, the sampling modules, or a resolution."""

    name: str
    macs_per_second: float
    parameters: int


def shares(row: CostRow) -> tuple[Share, ...]:
    """A network's MACs by resolution (finest first), with the front-end before and the sampling modules after."""
    strides = sorted({part.stride for part in row.parts if part.stride is not None})
    groups: dict[str, list[Any]] = {_FRONT: []}
    groups |= {f"{1000 * float(stride) / row.sample_rate:.3g} ms": [] for stride in strides}
    groups[_SAMPLING] = []
    for part in row.parts:
        if part.stride is None:
            name = _FRONT
        elif part.operation == "sampling":
            name = _SAMPLING
        else:
            name = f"{1000 * float(part.stride) / row.sample_rate:.3g} ms"
        groups[name].append(part)
    return tuple(
        Share(name, sum(part.macs for part in parts) / row.seconds, sum(part.parameters for part in parts))
        for name, parts in groups.items()
        if parts
    )


def write_figure(rows: Sequence[CostRow], output: Path) -> None:
    """Write ``cost.pdf`` and ``cost.png`` into the folder ``output``, without dates."""
    undated: dict[str, dict[str, None]] = {
        ".pdf": {"CreationDate": None, "Producer": None},
        ".png": {"Software": None},
    }
    with mpl.rc_context(_RC):
        figure = cost_figure(rows)
        for suffix, metadata in undated.items():
            with atomic_path(output / f"cost{suffix}") as partial:
                figure.savefig(partial, metadata=metadata)


def cost_figure(rows: Sequence[CostRow]) -> Figure:
    """MACs by resolution, MACs by length, and time and peak memory of inference and training."""
    models = list(dict.fromkeys(row.model for row in rows))
    modes: list[Mode] = ["inference"]
    if any(row.mode == "training" for row in rows):
        modes.append("training")
    figure = Figure(figsize=(9.6, 2.75 * (1 + len(modes))), layout="constrained")
    axes = figure.subplots(1 + len(modes), 2)
    _draw_shares(axes[0, 0], [row for row in rows if row.mode == "inference"])
    for row, mode in enumerate(modes, 1):
        here = [cost for cost in rows if cost.mode == mode]
        clock = "CPU seconds" if all(cost.cpu_seconds is not None for cost in here) else "seconds"
        _draw_lines(axes[row, 0], here, models, lambda cost: cost.work_seconds / cost.seconds)
        axes[row, 0].set(title=f"{mode}: time", ylabel=f"{clock} per second of audio")
        _draw_lines(axes[row, 1], here, models, lambda cost: cost.peak_bytes / 1e6)
        above = "states" if mode == "inference" else "states and gradients"
        axes[row, 1].set(title=f"{mode}: peak memory above the weights", ylabel=f"MB ({above})")
    inference = [row for row in rows if row.mode == "inference"]
    _draw_lines(axes[0, 1], inference, models, lambda cost: cost.macs_per_second / 1e9)
    axes[0, 1].set(title="inference: multiply-accumulates", ylabel="GMAC per second of audio")
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=min(len(labels), 6), loc="outside lower center")
    return figure


def _draw_shares(axes: Axes, rows: Sequence[CostRow]) -> None:
    rows = [row for row in rows if row.parts]
    if not rows:
        axes.set_axis_off()
        return
    longest = max(row.seconds for row in rows)
    rows = [row for row in rows if row.seconds == longest]
    names = share_names(rows)
    resolutions = [name for name in names if name not in (_FRONT, _SAMPLING)]
    colours = {_FRONT: "#C3C9D1", _SAMPLING: INK}
    colours |= {name: hue(index).ink for index, name in enumerate(resolutions)}
    left = [0.0] * len(rows)
    for name in names:
        values = [sum(share.macs_per_second for share in shares(row) if share.name == name) / 1e9 for row in rows]
        axes.barh(range(len(rows)), values, left=left, color=colours[name], label=name, height=0.62, edgecolor="white")
        left = [before + value for before, value in zip(left, values, strict=True)]
    for index, total in enumerate(left):
        axes.text(total, index, f" {total:.2f}", va="center", fontsize=7.5)
    axes.set_yticks(range(len(rows)), [shorten(row.model) for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(left))
    axes.set(title=f"multiply-accumulates by resolution, {longest:g} s utterance", xlabel="GMAC per second of audio")
    axes.legend(frameon=False, fontsize=7, ncols=len(names), loc="upper center", bbox_to_anchor=(0.45, -0.2),
                handlelength=1, columnspacing=1)  # fmt: skip


def _draw_lines(axes: Axes, rows: Sequence[CostRow], models: Sequence[str], value: Callable[[CostRow], float]) -> None:
    for index, model in enumerate(models):
        here = sorted((row for row in rows if row.model == model), key=lambda row: row.seconds)
        colour, marker = PALETTE[index % len(PALETTE)][0], MARKERS[index % len(MARKERS)][0]
        axes.plot([row.seconds for row in here], [value(row) for row in here], color=colour, marker=marker,
                  markersize=4, linewidth=1.3, label=shorten(model))  # fmt: skip
    axes.set_xticks(sorted({row.seconds for row in rows}))
    axes.set_xlabel("length of the utterance (s)")
    axes.set_ylim(0, 1.1 * max(value(row) for row in rows))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")


def share_names(rows: Sequence[CostRow]) -> list[str]:
    """Every share of any of the models: front-end, resolutions from the finest, sampling."""
    names = {share.name for row in rows for share in shares(row)}
    resolutions = sorted(names - {_FRONT, _SAMPLING}, key=lambda name: float(name.removesuffix(" ms")))
    return [name for name in (_FRONT, *resolutions, _SAMPLING) if name in names]
