"""The tables that statistics are made of, their columns, and the committed ones: all training seeds, measured once.

``docs/reproduce.md`` describes the columns. The committed tables are made by :mod:`speechstrata.experiments.collect`
from run folders; nothing in them is written by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata.errors import InputError
from speechstrata.files import atomic_path, fingerprint

_TEXT, _INT, _REAL = pl.String(), pl.Int64(), pl.Float64()

SCORE_COLUMNS: dict[str, pl.DataType] = {
    "corpus": _TEXT,
    "corpus_fingerprint": _TEXT,
    "part_of": _TEXT,
    "protocol": _TEXT,
    "cell": _TEXT,
    "control": _TEXT,
    "training_seed": _INT,
    "model": _TEXT,
    "layer": _TEXT,
    "index": _INT,
    "depth": _REAL,
    "kind": _TEXT,
    "stride_ms": _REAL,
    "block": _TEXT,
    "score": _TEXT,
    "unit": _TEXT,
    "variant": _TEXT,
    "reference": _TEXT,
    "sample_set": _INT,
    "seed": _INT,
    "value": _REAL,
    "baseline": _REAL,
    "n": _INT,
}
_PROBE_RUN: dict[str, pl.DataType] = {
    "task": _TEXT,
    "cell": _TEXT,
    "control": _TEXT,
    "model": _TEXT,
    "training_seed": _INT,
    "probe_seed": _INT,
    "corpus": _TEXT,
    "mini": pl.Boolean(),
    "budget": _REAL,
}
PROBE_COLUMNS: dict[str, pl.DataType] = _PROBE_RUN | {"split": _TEXT, "metric": _TEXT, "value": _REAL}
WEIGHT_COLUMNS: dict[str, pl.DataType] = _PROBE_RUN | {
    "index": _INT,
    "layer": _TEXT,
    "stride_ms": _REAL,
    "block": _TEXT,
    "weight": _REAL,
    "mean_norm": _REAL,
    "weight_times_norm": _REAL,
}
RESIDUAL_COLUMNS: dict[str, pl.DataType] = {
    "variant": _TEXT,
    "seed": _INT,
    "step": _INT,
    "loss_bits": _REAL,
    "train_loss_bits": _REAL,
}

#: table -> (file, columns, what identifies a row)
TABLES: dict[str, tuple[str, dict[str, pl.DataType], tuple[str, ...]]] = {
    "scores": (
        "seeds.csv.gz",
        SCORE_COLUMNS,
        (
            "corpus_fingerprint",
            "protocol",
            "cell",
            "control",
            "training_seed",
            "layer",
            "score",
            "variant",
            "reference",
            "sample_set",
            "seed",
        ),
    ),
    "probes": (
        "probes.csv",
        PROBE_COLUMNS,
        ("task", "cell", "control", "training_seed", "probe_seed", "corpus", "split", "metric"),
    ),
    "probe_weights": (
        "probe_weights.csv",
        WEIGHT_COLUMNS,
        ("task", "cell", "control", "training_seed", "probe_seed", "corpus", "layer"),
    ),
    "residual": ("residual.csv", RESIDUAL_COLUMNS, ("variant", "seed", "step")),
}

#: Columns that a table may lack values in.
_NULLABLE = {"baseline", "train_loss_bits"}


@dataclass(frozen=True)
class Measurements:
    """The four tables; any may be empty."""

    scores: pl.DataFrame
    probes: pl.DataFrame
    probe_weights: pl.DataFrame
    residual: pl.DataFrame

    def fingerprint(self) -> str:
        """Of all their rows."""
        return fingerprint({name: getattr(self, name).write_csv() for name in TABLES})


def empty(name: str) -> pl.DataFrame:
    """A table without rows."""
    return pl.DataFrame(schema=TABLES[name][1])


def committed(scale: str) -> Measurements:
    """The packaged measurements of a scale's models; empty tables where there are none."""
    folder = resources.files(__package__) / "data" / scale
    return Measurements(
        **{
            name: checked(name, pl.read_csv(path.read_bytes(), schema_overrides=columns), str(path))
            if (path := folder / file).is_file()
            else empty(name)
            for name, (file, columns, _) in TABLES.items()
        }
    )


def read_folder(folder: Path) -> Measurements:
    """The tables in a folder, under the names that :func:`write_folder` gives them."""
    return Measurements(
        **{
            name: checked(name, pl.read_csv(folder / file, schema_overrides=columns), str(folder / file))
            if (folder / file).is_file()
            else empty(name)
            for name, (file, columns, _) in TABLES.items()
        }
    )


def write_folder(tables: Measurements, folder: Path) -> list[Path]:
    """Write the tables that have rows; gives their files. The same rows give the same bytes."""
    written = []
    for name, (file, columns, key) in TABLES.items():
        table = getattr(tables, name)
        if table.is_empty():
            continue
        write_csv(table.select(*columns).sort(key), folder / file)
        written.append(folder / file)
    return written


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write a CSV, compressed where the name ends so, seven digits after the point."""
    import gzip

    text = table.write_csv(float_precision=7).encode()
    with atomic_path(path) as partial:
        partial.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def checked(name: str, table: pl.DataFrame, where: str) -> pl.DataFrame:
    """The table with its columns in order and of their types.

    Raises:
        InputError: a column or a value is missing, or rows repeat each other.
    """
    _, columns, key = TABLES[name]
    if lacking := [column for column in columns if column not in table.columns]:
        raise InputError(f"{where} lacks the column {', '.join(lacking)}", "make the table again")
    # an empty text and a missing one are written alike
    text = [column for column, kind in columns.items() if kind == _TEXT]
    table = table.with_columns(pl.col(text).fill_null("")).select(
        pl.col(column).cast(kind) for column, kind in columns.items()
    )
    for column in columns:
        if column not in _NULLABLE and table[column].null_count():
            raise InputError(f"{where}: {table[column].null_count()} rows have no {column}", "make the table again")
    doubled = table.filter(table.select(key).is_duplicated())
    if len(doubled):
        example = ", ".join(f"{column}={doubled[column][0]!r}" for column in key)
        raise InputError(f"{where} has {len(doubled)} rows that repeat each other, e.g. {example}", "remove one")
    return table


def laid_over(name: str, below: pl.DataFrame, above: pl.DataFrame) -> pl.DataFrame:
    """Both tables' rows; where both measured the same, ``above``'s. A column ``source`` says whose a row is."""
    _, _, key = TABLES[name]
    first = above.with_columns(pl.lit("this run").alias("source"))
    second = below.join(above.select(key), on=list(key), how="anti", nulls_equal=True).with_columns(
        pl.lit("committed").alias("source")
    )
    return pl.concat([first, second]).sort(key)


def rows_table(name: str, rows: list[Mapping[str, Any]], where: str) -> pl.DataFrame:
    """A table of some rows, checked."""
    return checked(name, pl.DataFrame(rows, schema=TABLES[name][1]), where)
