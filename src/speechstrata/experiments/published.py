"""The paper's own numbers, each with its source; drawn beside ours, never mixed with them."""

from importlib import resources
from typing import Literal

import polars as pl

PublishedTable = Literal["table2", "table3", "figure2b"]


def published_table(name: PublishedTable) -> pl.DataFrame:
    """One of the paper's tables; every row has a ``source``.

    ``table2``: ``cell``, ``task``, ``metric``, ``value`` (SUPERB; error rates and accuracies as shares of 1).
    ``table3``: ``variant`` (where the residual is added), ``train_loss_bits``, ``loss_bits``.
    ``figure2b``: ``cell``, ``task``, ``index``, ``layer``, ``block``, ``weight`` (of the benchmark's 15 states).
    """
    file = resources.files(__package__) / "data" / "published" / f"{name}.csv"
    return pl.read_csv(file.read_bytes())


def published_metric(cell: str, task: str, metric: str) -> float | None:
    """A number of Table 2; None where it has none."""
    table = published_table("table2")
    rows = table.filter((pl.col("cell") == cell) & (pl.col("task") == task) & (pl.col("metric") == metric))
    return None if rows.is_empty() else float(rows["value"][0])
