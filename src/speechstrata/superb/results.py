"""Finished probe runs, read from their folders: the table of metrics and the table of layer weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata.errors import InputError
from speechstrata.files import read_json

#: What tables show of each task: (metric of the test split, heading, whether more is better, shown in per cent).
SHOWN: dict[str, tuple[tuple[str, str, bool, bool], ...]] = {
    "asr": (("wer", "ASR WER ↓", False, True), ("cer", "ASR CER ↓", False, True)),
    "sf": (("slot_type_f1", "SF F1 ↑", True, True), ("slot_value_cer", "SF CER ↓", False, True)),
    "se": (
        ("stoi", "SE STOI ↑", True, True),
        ("pesq", "SE PESQ ↑", True, False),
        ("si_sdri", "SE SI-SDRi ↑", True, False),
    ),
    "ic": (("accuracy", "IC Acc ↑", True, True),),
    "ks": (("accuracy", "KS Acc ↑", True, True),),
    "sd": (("accuracy", "SD Acc ↑", True, True), ("der", "SD DER ↓", False, True)),
}


@dataclass(frozen=True)
class ProbeRun:
    """A finished run: its folder and what its ``result.json`` holds."""

    folder: Path
    result: dict[str, Any]

    @property
    def model(self) -> str:
        """The encoder's name, without the folders before it; a packaged ``.../model`` folder goes by its parent's."""
        name = str(self.result["model"])
        parts = [part for part in name.split("/") if part not in ("", "model")]
        return parts[-1] if parts else name


def find_runs(folders: Sequence[Path | str]) -> list[ProbeRun]:
    """The finished runs in these folders, and in the folders within them.

    A learning-rate sweep counts once, as its best run.

    Raises:
        InputError: a folder without a finished run.
    """
    runs: dict[Path, ProbeRun] = {}
    for folder in map(Path, folders):
        paths = sorted(folder.rglob("result.json"))
        sweeps = {path.parent for path in paths if (path.parent / "config.json").exists() is False}
        chosen = [path for path in paths if not any(sweep in path.parent.parents for sweep in sweeps)]
        for path in chosen:
            result = read_json(path)
            if isinstance(result, dict) and {"task", "layers", "test"} <= set(result):
                runs[path.parent] = ProbeRun(path.parent, result)
        if not any(folder == parent or folder in parent.parents for parent in runs):
            raise InputError(f"{folder} holds no finished probe run", "give folders of `speechstrata superb train`")
    return list(runs.values())


def metrics_table(runs: Sequence[ProbeRun]) -> pl.DataFrame:
    """One row per run, test split and metric.

    Columns: model, task, corpus, mini, split, metric, value, seed, budget, steps, learning_rate, best_step, seconds.
    """
    rows = [
        {
            "model": run.model,
            "task": run.result["task"],
            "corpus": run.result["corpus"],
            "mini": run.result["mini"],
            "split": split,
            "metric": metric,
            "value": float(value),
            "seed": run.result["seed"],
            "budget": float(run.result["budget"]),
            "steps": run.result["recipe"]["steps"],
            "learning_rate": float(run.result["recipe"]["learning_rate"]),
            "best_step": run.result["best_step"],
            "seconds": float(run.result["seconds"]["all"]),
        }
        for run in runs
        for split, metrics in run.result["test"].items()
        for metric, value in metrics.items()
    ]
    return pl.DataFrame(rows).sort("task", "model", "seed", "split", "metric")


def weights_table(runs: Sequence[ProbeRun]) -> pl.DataFrame:
    """One row per run and layer.

    Columns: model, task, mini, seed, index, layer, stride_ms, weight, mean_norm, weight_times_norm.
    """
    rows = [
        {
            "model": run.model,
            "task": run.result["task"],
            "mini": run.result["mini"],
            "seed": run.result["seed"],
            "index": index,
            "layer": layer["name"],
            "stride_ms": float(layer["stride_ms"]),
            "weight": float(layer["weight"]),
            "mean_norm": float(layer["mean_norm"]),
            "weight_times_norm": float(layer["weight_times_norm"]),
        }
        for run in runs
        for index, layer in enumerate(run.result["layers"])
    ]
    return pl.DataFrame(rows)


def summary_table(runs: Sequence[ProbeRun]) -> str:
    """The paper's Table 2 from these runs, as Markdown: means over seeds ± standard deviations, ``test`` split.

    What is mini, or had fewer steps than its recipe, is said beneath.
    """
    table = metrics_table(runs).filter(pl.col("split") == "test")
    tasks = [task for task in SHOWN if task in set(table["task"])]
    columns = [(task, *shown) for task in tasks for shown in SHOWN[task]]
    lines = ["| model | " + " | ".join(heading for _, _, heading, _, _ in columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    for model in dict.fromkeys(run.model for run in runs):
        cells = []
        for task, metric, _, _, percent in columns:
            own = table.filter((pl.col("model") == model) & (pl.col("task") == task) & (pl.col("metric") == metric))[
                "value"
            ].to_numpy() * (100 if percent else 1)
            spread = f" ± {own.std(ddof=1):.2f}" if len(own) > 1 else ""
            cells.append(f"{own.mean():.2f}{spread}" if len(own) else "–")
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n" + " ".join(remarks(runs)) + "\n"


def remarks(runs: Sequence[ProbeRun]) -> list[str]:
    """What a reader of the numbers has to know."""
    found = []
    if any(run.result["mini"] for run in runs):
        corpora = ", ".join(sorted({str(run.result["corpus"]) for run in runs if run.result["mini"]}))
        found.append(f"Mini corpora ({corpora}) and heads: not comparable with published SUPERB numbers.")
    if budgets := sorted({run.result["budget"] for run in runs} - {1.0}):
        found.append(f"Some runs took {', '.join(f'{budget:g}' for budget in budgets)} of their recipe's steps.")
    if swept := sorted({str(run.result["task"]) for run in runs if "sweep" in run.result}):
        found.append(f"Learning rates were chosen on dev for {', '.join(swept)}.")
    seeds = {run.result["seed"] for run in runs}
    found.append(f"{len(seeds)} probe seed{'s' if len(seeds) > 1 else ''}.")
    return found
