"""What each cell costs beside how good it is: scores of its best layer, and metrics of the probes."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from speechstrata.report.glossary import entry
from speechstrata.report.merge import Setting
from speechstrata.report.paper_data import PaperData
from speechstrata.report.style import look
from speechstrata.superb.results import SHOWN


def cost_points(data: PaperData) -> list[dict[str, Any]]:
    """Label, looks, MACs per second of audio and parameters of each cell that has a cost."""
    points = []
    looks = {subject.label: look(subject) for subject in data.merged.subjects}
    costs = {row["cell"]: row for row in data.cost.iter_rows(named=True)}
    for cell in data.cells:
        if cell.name not in costs or cell.label not in looks:
            continue
        style, cost = looks[cell.label], costs[cell.name]
        points.append(
            {
                "label": cell.label,
                "colour": style.colour,
                "dark": style.dark,
                "symbol": style.symbol,
                "control": False,
                "macs_per_second": cost["macs_per_second"],
                "parameters": cost["parameters"],
            }
        )
    return points


def qualities(data: PaperData) -> list[dict[str, Any]]:
    """Everything that the cells can be compared by, with each cell's value, its random weights' and the filterbank's.

    Tasks first, then the best layer of each score in each setting.
    """
    found = [quality for task in SHOWN for quality in _task(data, task)]
    for setting in data.merged.settings:
        here = data.summary.filter((pl.col("setting") == setting.key) & (pl.col("variant") == ""))
        for score in here["score"].unique(maintain_order=True):
            if entry(score).ranked:
                found.append(_score(data, here.filter(pl.col("score") == score), setting, score))
    return found


def _task(data: PaperData, task: str) -> list[dict[str, Any]]:
    """The metrics of a task's probes on its test split."""
    rows = data.probes.filter((pl.col("task") == task) & (pl.col("split") == "test"))
    labels = {cell.name: cell.label for cell in data.cells}
    made = []
    for metric, heading, _, _ in SHOWN[task]:
        own = rows.filter(pl.col("metric") == metric)
        values: dict[str, dict[str, Any]] = {"": {}, "random": {}}
        for (cell, control), part in own.group_by("cell", "control", maintain_order=True):
            if str(cell) not in labels or str(control) not in values:
                continue
            column = part["value"].to_list()
            trained = part["training_seed"].n_unique()
            values[str(control)][labels[str(cell)]] = {
                "mean": sum(column) / len(column),
                "low": min(column),
                "high": max(column),
                "n": len(column),
                "over": f"{len(column)} probe{'s' if len(column) > 1 else ''}, "
                f"{trained} training seed{'s' if trained > 1 else ''}",
            }
        if not values[""]:
            continue
        mini = " Mini corpora and heads: comparable with each other, not with published numbers." * own["mini"].any()
        made.append(
            {
                "key": f"task:{task}:{metric}",
                "group": "Probes (test split)",
                "title": heading,
                "axis": heading,
                "note": f"{heading}, corpus {', '.join(own['corpus'].unique().sort())}.{mini}",
                "values": values[""],
                "random": values["random"],
                "level": None,
            }
        )
    return made


def _score(data: PaperData, rows: pl.DataFrame, setting: Setting, score: str) -> dict[str, Any]:
    """The best layer of each cell by one score."""
    deep = rows.filter(pl.col("kind").is_in(["transformer", "sampling"]))
    best = deep.sort("mean", descending=True).unique("model", keep="first", maintain_order=True)
    by_model = {row["model"]: _best(row) for row in best.iter_rows(named=True)}
    level = rows.filter(pl.col("model") == "fbank")["mean"]
    known = entry(score)
    return {
        "key": f"score:{setting.key}:{score}",
        "group": f"Best layer, {setting.title}",
        "title": known.title,
        "axis": f"{known.axis}, best layer",
        "note": f"{score}, the layer with the highest mean. {known.not_means}",
        "values": {cell.label: by_model[cell.label] for cell in data.cells if cell.label in by_model},
        "random": {
            cell.label: by_model[control]
            for cell in data.cells
            if (control := f"{cell.label}, random weights") in by_model
        },
        "level": float(level[0]) if len(level) else None,
    }


def _best(row: Mapping[str, Any]) -> dict[str, Any]:
    seeds, sets = row["seeds"], row["sets"] // row["seeds"]
    over = f"{sets} sample set{'s' if sets > 1 else ''}"
    return {
        "mean": row["mean"],
        "low": row["low"],
        "high": row["high"],
        "n": row["sets"],
        "over": over if seeds == 1 else f"{seeds} training seeds, {over} each",
        "layer": row["layer"],
        "stride_ms": row["stride_ms"],
    }
