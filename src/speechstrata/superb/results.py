"""Finished probe runs, read from their folders: the table of metrics and the table of layer weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata.errors import InputError
from speechstrata.files import read_json
from speechstrata.superb.names import model_name

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
#: Columns of the table of weights.
_WEIGHTS = (
    "model", "task", "corpus", "mini", "seed", "budget", "index", "layer", "stride_ms", "weight", "mean_norm",
    "weight_times_norm",
)  # fmt: skip


@dataclass(frozen=True)
class ProbeRun:
    """A finished run: its folder and what its ``result.json`` holds."""

    folder: Path
    result: dict[str, Any]

    @property
    def model(self) -> str:
        """The encoder's short name."""
        return model_name(str(self.result["model"]))


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
    """One row per run, split (dev and the test splits) and metric.

    Columns: model, task, corpus, mini, split, metric, value, seed, budget, steps, learning_rate, best_step,
    seconds_fit (training with its evaluations), seconds (with the states, where they were not cached).
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
            "seconds_fit": float(run.result["seconds"]["fit"]),
            "seconds": float(run.result["seconds"]["all"]),
        }
        for run in runs
        for split, metrics in {"dev": run.result["dev"], **run.result["test"]}.items()
        for metric, value in metrics.items()
    ]
    return pl.DataFrame(rows).sort("task", "model", "seed", "split", "metric")


def weights_table(runs: Sequence[ProbeRun]) -> pl.DataFrame:
    """One row per run and layer.

    Columns: model, task, corpus, mini, seed, budget, index, layer, stride_ms, weight, mean_norm, weight_times_norm.
    """
    rows = [
        {
            "model": run.model,
            "task": run.result["task"],
            "corpus": run.result["corpus"],
            "mini": run.result["mini"],
            "seed": run.result["seed"],
            "budget": float(run.result["budget"]),
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

    Raises:
        InputError: runs of a model on a task that have no mean: on different corpora, or with different steps.
    """
    seen: dict[tuple[str, str], tuple[Any, ...]] = {}
    for run in runs:
        settings = (run.result["corpus"], run.result["budget"], run.result["recipe"]["steps"])
        if (other := seen.setdefault((run.model, run.result["task"]), settings)) != settings:
            raise InputError(
                f"{run.model} has {run.result['task']} runs with (corpus, budget, steps) = {other} and {settings}",
                "make a table of each",
            )
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
    swept = sorted({str(run.result["task"]) for run in runs if "sweep" in run.result})
    chosen = [f"Learning rates were chosen on dev for {', '.join(swept)}."] if swept else []
    return table_remarks(weights_table(runs)) + chosen


def table_remarks(table: pl.DataFrame) -> list[str]:
    """What a reader has to know, from :func:`weights_table` or :func:`metrics_table` alone."""
    found = []
    if corpora := sorted(set(table.filter(pl.col("mini"))["corpus"])):
        found.append(f"Mini corpora ({', '.join(corpora)}) and heads: not comparable with published SUPERB numbers.")
    if budgets := sorted(set(table["budget"]) - {1.0}):
        found.append(f"Some runs took {', '.join(f'{budget:g}' for budget in budgets)} of their recipe's steps.")
    seeds = table["seed"].n_unique()
    found.append(f"{seeds} probe seed{'s' if seeds > 1 else ''}.")
    return found


def read_weights(paths: Sequence[Path | str]) -> tuple[pl.DataFrame, list[str]]:
    """Layer weights of finished runs, or of a table that :func:`weights_table` wrote, and what to know of them.

    Args:
        paths: one ``.csv`` file, or folders of :func:`find_runs`.

    Raises:
        InputError: neither.
    """
    files = [Path(path) for path in paths if str(path).endswith(".csv")]
    if not files:
        runs = find_runs(paths)
        return weights_table(runs), remarks(runs)
    if len(files) > 1 or len(paths) > 1:
        raise InputError("a table of weights stands alone", "give one .csv file, or folders of runs")
    remedy = "give weights.csv of `speechstrata superb run`"
    try:
        table = pl.read_csv(files[0])
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{files[0]} cannot be read: {error}", "give weights.csv of `speechstrata superb run`"
        ) from error
    if missing := [name for name in _WEIGHTS if name not in table.columns]:
        raise InputError(f"{files[0]} has no column {missing[0]}", remedy)
    return table, table_remarks(table)
