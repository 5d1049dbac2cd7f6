"""This run's measurements laid over the committed ones: the four tables of a reproduction's folder."""

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


def gather(config: ReproduceConfig, family: Sequence[FamilyModel], analyses: Mapping[Path, str], output: Path) -> None:
    """Write ``scores.csv``, ``probes.csv``, ``probe_weights.csv`` and ``residual.csv``, with a column ``source``.

    Args:
        config: of the reproduction.
        family: its models.
        analyses: its run folders; each with the corpus that its own is a part of, "" for a whole one.
        output: its folder.
    """
    folders = [output / "probes", *([Path(config.probe_runs)] if config.probe_runs else [])]
    probes = [path for path in folders if any(path.rglob("result.json"))]
    named = {model.source: (model.cell.name, model.seed) for model in family}
    whole = [folder for folder, corpus in analyses.items() if not corpus]
    parts = {folder: corpus_fingerprint(corpus) for folder, corpus in analyses.items() if corpus}
    ours = collect(config.scale, whole, probes, training_folders(config, output), named, parts)
    own_family = any(getattr(config, name) for name in _OWN_FAMILY)
    base = None if own_family else committed(config.scale)
    for name in TABLES:
        above = getattr(ours, name)
        below = above.clear() if base is None else getattr(base, name)
        write_csv(laid_over(name, below, above), output / f"{name}.csv")


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
