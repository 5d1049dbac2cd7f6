"""The costs of several models side by side: in the terminal, as CSV and JSON, and as a figure."""

import csv
import io
import platform
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table

from speechstrata.files import atomic_path, write_json, write_text
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


def write_cost(rows: Sequence[CostRow], output: Path) -> None:
    """Write ``cost.csv``, ``parts.csv``, ``cost.json`` and the figure (PDF and PNG) into the folder ``output``."""
    table = [_flat(row) for row in rows]
    write_text(output / "cost.csv", _csv(table))
    parts = [record for row in rows for record in _part_records(row)]
    if parts:
        write_text(output / "parts.csv", _csv(parts))
    write_json(output / "cost.json", {"machine": machine(), "rows": table, "parts": parts})
    undated: dict[str, dict[str, None]] = {
        ".pdf": {"CreationDate": None, "Producer": None},
        ".png": {"Software": None},
    }
    with mpl.rc_context(_RC):
        figure = cost_figure(rows)
        for suffix, metadata in undated.items():
            with atomic_path(output / f"cost{suffix}") as partial:
                figure.savefig(partial, metadata=metadata)


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    facts = {"processor": processor, "python": platform.python_version(), "torch": torch.__version__}
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def print_cost(rows: Sequence[CostRow], console: Console | None = None) -> None:
    """Print the models side by side: MACs by resolution and by block, then what was measured in each mode.

    Numbers with a ratio are compared with the first model's at the same length.
    """
    console = console or Console()
    inference = [row for row in rows if row.mode == "inference"]
    if inference:
        longest = max(row.seconds for row in inference)
        _print_shares([row for row in inference if row.seconds == longest], console)
        _print_blocks([row for row in inference if row.seconds == longest and row.parts], console)
    modes: tuple[Mode, ...] = ("inference", "training")
    for mode in modes:
        _print_mode([row for row in rows if row.mode == mode], mode, console)


def _print_shares(rows: Sequence[CostRow], console: Console) -> None:
    names = _share_names(rows)
    table = _table(f"GMAC per second of audio, {rows[0].seconds:g} s utterance", "model", "params", *names, "all")
    for row in rows:
        known = {share.name: f"{share.macs_per_second / 1e9:.2f}" for share in shares(row)}
        cells = [known.get(name, "") for name in names]
        table.add_row(row.model, f"{row.parameters / 1e6:.1f} M", *cells, f"{row.macs_per_second / 1e9:.2f}")
    console.print(table)


def _print_blocks(rows: Sequence[CostRow], console: Console) -> None:
    """Each block with its attention's quadratic part in brackets."""
    if not rows:
        return
    table = _table("by block (of it attention's quadratic part)", "part", *(row.model for row in rows))
    columns = [_blocks(row) for row in rows]
    for name in _merged_order([list(column) for column in columns]):
        table.add_row(name, *(column.get(name, "") for column in columns))
    console.print(table)


def _blocks(row: CostRow) -> dict[str, str]:
    total: dict[str, int] = {}
    quadratic: dict[str, int] = {}
    for part in row.parts:
        name = "convolutions" if part.part.startswith("conv") else part.part
        total[name] = total.get(name, 0) + part.macs
        if part.operation == "attention":
            quadratic[name] = part.macs
    unit = 1e9 * row.seconds
    return {
        name: f"{macs / unit:.2f}" + (f" ({quadratic[name] / unit:.2f})" if name in quadratic else "")
        for name, macs in total.items()
    }


def _merged_order(orders: Sequence[list[str]]) -> list[str]:
    """All names, each where it comes in the longest list that has it."""
    merged: list[str] = []
    for order in sorted(orders, key=len, reverse=True):
        merged += [name for name in order if name not in merged]
    return merged


def _print_mode(rows: Sequence[CostRow], mode: str, console: Console) -> None:
    if not rows:
        return
    first = {row.seconds: row for row in rows if row.model == rows[0].model}
    cpu = rows[0].cpu_seconds is not None
    threads = f"{rows[0].threads} thread{'s' if rows[0].threads > 1 else ''}"
    where = f"{rows[0].device}, {threads}" if cpu else rows[0].device
    title = f"{mode} on {where}; medians of {rows[0].repeats} runs, batch 1; × the first model"
    table = _table(title, "model", "audio", "GMAC", "seconds", *(("CPU seconds",) if cpu else ()), "peak MB")
    for length in sorted({row.seconds for row in rows}):
        for row in (row for row in rows if row.seconds == length):
            base = first.get(length, row)
            clock = f"{row.latency:.3f}"
            work = _compared(row.work_seconds, base.work_seconds, 3)
            table.add_row(
                row.model,
                f"{length:g} s",
                _compared(row.macs / 1e9, base.macs / 1e9, 1),
                *((clock, work) if cpu else (work,)),
                _compared(row.peak_bytes / 1e6, base.peak_bytes / 1e6, 0),
            )
        table.add_section()
    console.print(table)


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    return table


def _compared(value: float, base: float, digits: int) -> str:
    return f"{value:.{digits}f}" + (f" ×{value / base:.2f}" if base > 0 else "")


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
    names = _share_names(rows)
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


def _draw_lines(axes: Axes, rows: Sequence[CostRow], models: Sequence[str], value: Any) -> None:
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


def _share_names(rows: Sequence[CostRow]) -> list[str]:
    """Every share of any of the models: front-end, resolutions from the finest, sampling."""
    names = {share.name for row in rows for share in shares(row)}
    resolutions = sorted(names - {_FRONT, _SAMPLING}, key=lambda name: float(name.removesuffix(" ms")))
    return [name for name in (_FRONT, *resolutions, _SAMPLING) if name in names]


def _flat(row: CostRow) -> dict[str, Any]:
    record = {field.name: getattr(row, field.name) for field in fields(row) if field.name != "parts"}
    fastest, slowest = record.pop("latency_range")
    return {**record, "latency_fastest": fastest, "latency_slowest": slowest,
            "macs_per_second": round(row.macs_per_second)}  # fmt: skip


def _part_records(row: CostRow) -> list[dict[str, Any]]:
    return [
        {
            "model": row.model,
            "seconds": row.seconds,
            "part": part.part,
            "resolution_ms": None if part.stride is None else 1000 * float(part.stride) / row.sample_rate,
            "operation": part.operation,
            "macs": part.macs,
            "parameters": part.parameters,
        }
        for part in row.parts
    ]


def _csv(records: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
