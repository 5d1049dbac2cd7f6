"""The costs of several models side by side: in the terminal, as CSV and JSON."""

import csv
import io
import platform
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from speechstrata.files import write_json, write_text
from speechstrata.mrhubert.cost import CostRow, Mode
from speechstrata.mrhubert.cost_figure import share_names, shares, write_figure


def write_cost(rows: Sequence[CostRow], output: Path) -> None:
    """Write ``cost.csv``, ``parts.csv``, ``cost.json`` and the figure (PDF and PNG) into the folder ``output``."""
    table = [_flat(row) for row in rows]
    write_text(output / "cost.csv", _csv(table))
    parts = [record for row in rows for record in _part_records(row)]
    if parts:
        write_text(output / "parts.csv", _csv(parts))
    write_json(output / "cost.json", {"machine": machine(), "rows": table, "parts": parts})
    write_figure(rows, output)


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
    names = share_names(rows)
    table = _table(f"GMAC per second of audio, {rows[0].seconds:g} s utterance", "model", "params", *names, "all")
    for row in rows:
        known = {share.name: f"{share.macs_per_second / 1e9:.2f}" for share in shares(row)}
        cells = [known.get(name, "") for name in names]
        table.add_row(row.model, f"{row.parameters / 1e6:.1f} M", *cells, f"{row.macs_per_second / 1e9:.2f}")
    console.print(table)


def _print_blocks(rows: Sequence[CostRow], console: Console) -> None:
    if not rows:
        return
    table = _table("the same by block", "part", *(row.model for row in rows))
    columns = [_blocks(row) for row in rows]
    for name in _merged_order([list(column) for column in columns]):
        table.add_row(name, *(f"{column[name]:.2f}" if name in column else "" for column in columns))
    quadratic = [sum(part.macs for part in row.parts if part.operation == "attention") for row in rows]
    table.add_section()
    table.add_row(
        "of it length²", *(f"{macs / row.seconds / 1e9:.2f}" for row, macs in zip(rows, quadratic, strict=True))
    )
    console.print(table)


def _blocks(row: CostRow) -> dict[str, float]:
    """GMAC per second of audio of each block and sampling module; the extractor's convolutions together."""
    total: dict[str, float] = {}
    for part in row.parts:
        name = "convolutions" if part.part.startswith("conv") else part.part
        total[name] = total.get(name, 0.0) + part.macs / row.seconds / 1e9
    return total


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
    title = f"{mode} on {where}; {rows[0].repeats} runs, batch 1; × the first model"
    table = _table(title, "model", "audio", "GMAC", "median s", *(("least CPU s",) if cpu else ()), "peak MB")
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
    table.add_column(first, overflow="fold", min_width=13)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _compared(value: float, base: float, digits: int) -> str:
    return f"{value:.{digits}f}" + (f" ×{value / base:.2f}" if base > 0 else "")


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
