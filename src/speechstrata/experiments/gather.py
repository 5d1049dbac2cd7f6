"""This run's measurements laid over the committed ones: the four tables of a reproduction's folder."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from speechstrata.errors import InputError
from speechstrata.experiments.analysis_stages import corpus_fingerprint
from speechstrata.experiments.collect import collect
from speechstrata.experiments.config import ReproduceConfig
from speechstrata.experiments.family import FamilyModel
from speechstrata.experiments.score_tables import TABLES, Measurements, checked, committed, laid_over, write_csv
from speechstrata.experiments.training_stages import training_folders

#: Models of the user's own, and models trained anew, are another family than the one whose tables are committed.
_OWN_FAMILY = ("from_scratch", "models", "checkpoints")
#: What the metrics of a task must share to be averaged.
_TRAINED_ON = ("task", "corpus", "budget")


def gather(config: ReproduceConfig, family: Sequence[FamilyModel], analyses: Mapping[Path, str], output: Path) -> None:
    """Write ``scores.csv``, ``probes.csv``, ``probe_weights.csv`` and ``residual.csv``, with a column ``source``.

    Args:
        config: of the reproduction.
        family: its models.
        analyses: its run folders; each with the corpus that its own is a part of, "" for a whole one.
        output: its folder.

    Raises:
        InputError: a folder cannot be read, or --probe-runs holds no finished probe run.
    """
    probes = [output / "probes"] if any((output / "probes").rglob("result.json")) else []
    if config.probe_runs:
        probes.append(Path(config.probe_runs))
    named = {model.source: (model.cell.name, model.seed) for model in family}
    whole = [folder for folder, corpus in analyses.items() if not corpus]
    parts = {folder: corpus_fingerprint(corpus) for folder, corpus in analyses.items() if corpus}
    ours = collect(config.scale, whole, probes, training_folders(config, output), named, parts)
    own_family = any(getattr(config, name) for name in _OWN_FAMILY)
    base = None if own_family else committed(config.scale)
    tables = {}
    for name in TABLES:
        above = getattr(ours, name)
        tables[name] = laid_over(name, above.clear() if base is None else getattr(base, name), above)
    counted = _one_corpus_a_task(tables["probes"])
    for name, table in tables.items():
        own = table.join(counted, on=_TRAINED_ON, how="semi") if name in ("probes", "probe_weights") else table
        write_csv(own, output / f"{name}.csv")


def _one_corpus_a_task(probes: pl.DataFrame) -> pl.DataFrame:
    """The corpus and the budget of each task that count: this run's before committed ones, then the most rows.

    Metrics of different corpora are never averaged; what does not count is said.
    """
    groups = (
        probes.group_by(_TRAINED_ON)
        .agg((pl.col("source") == "this run").any().alias("own"), pl.len().alias("rows"))
        .sort("task", "own", "rows", "corpus", "budget", descending=[False, True, True, False, True])
    )
    counted = groups.unique("task", keep="first", maintain_order=True).select(_TRAINED_ON)
    for task, corpus, budget in groups.join(counted, on=_TRAINED_ON, how="anti").select(_TRAINED_ON).rows():
        print(f"left out: {task} on {corpus} with the budget {budget:g}; one corpus and budget count", file=sys.stderr)
    return counted


def read_gathered(output: Path) -> Measurements:
    """The tables that :func:`gather` wrote.

    Raises:
        InputError: one is missing or broken.
    """
    tables = {}
    for name, (_, columns, _) in TABLES.items():
        path = output / f"{name}.csv"
        if not path.is_file():
            raise InputError(f"there is no {path}", "run the stage gather")
        tables[name] = checked(name, pl.read_csv(path, schema_overrides=columns), str(path))
    return Measurements(**tables)
