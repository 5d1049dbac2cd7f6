"""Layer weights of the probes, and the paper's own of Figure 2b as maps of their own beside them."""

from collections.abc import Sequence

import polars as pl

from speechstrata.report.paper_data import PaperCell, PaperData

_COLUMNS = ("cell", "model", "source", "task", "seed", "index", "layer", "stride_ms", "weight", "weight_times_norm")
#: What the maps of the paper's numbers are called.
PUBLISHED = "published"


def weights_of(
    data: PaperData, cells: Sequence[str], tasks: Sequence[str], *, published: bool
) -> tuple[pl.DataFrame, list[str]]:
    """Layer weights of some cells and tasks, one row per layer and probe, and what a reader has to know of them.

    Args:
        data: the reproduction.
        cells: names.
        tasks: names.
        published: append the paper's own weights, under labels that say so.

    Returns:
        a table with ``cell``, ``model`` (label), ``source`` (``here`` or the paper's figure), ``task``, ``seed``,
        ``index``, ``layer``, ``stride_ms``, ``weight``, ``weight_times_norm`` (null for the paper's), in the order of
        ``cells``; empty where nothing was measured here. And remarks.
    """
    known = [cell for name in cells if (cell := data.cell(name)) is not None]
    measured = data.weights
    if measured.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String)), []
    measured = measured.filter(pl.col("task").is_in(list(tasks)) & (pl.col("control") == ""))
    parts = [
        measured.filter(pl.col("cell") == cell.name).select(
            "cell",
            pl.lit(cell.label).alias("model"),
            pl.lit("here").alias("source"),
            "task",
            pl.format("{}.{}", "training_seed", "probe_seed").alias("seed"),
            "index",
            "layer",
            "stride_ms",
            "weight",
            "weight_times_norm",
        )
        for cell in known
    ]
    own = pl.concat(parts) if parts else pl.DataFrame(schema=dict.fromkeys(_COLUMNS, pl.String))
    if own.is_empty():
        return own, []
    remarks = _remarks(measured.filter(pl.col("cell").is_in(list(cells))), data.scale)
    if lacking := [task.upper() for task in tasks if task not in set(own["task"])]:
        remarks.append(f"Not measured here: {', '.join(lacking)}.")
    if published:
        own = pl.concat([own, *[_published(cell, tasks) for cell in known]])
        remarks.append("“published”: the paper’s own numbers (Figure 2b), of its base models and the full benchmark.")
    return own, remarks


def _published(cell: PaperCell, tasks: Sequence[str]) -> pl.DataFrame:
    from speechstrata.experiments.published import published_table

    table = published_table("figure2b").filter((pl.col("cell") == cell.name) & pl.col("task").is_in(list(tasks)))
    low = 40.0 if cell.downsampling else 20.0
    return table.select(
        "cell",
        pl.lit(f"{cell.label}\n({PUBLISHED})").alias("model"),
        pl.col("source"),
        "task",
        pl.lit("").alias("seed"),
        pl.col("index").cast(pl.Int64),
        "layer",
        pl.when(pl.col("block") == "middle").then(low).otherwise(20.0).alias("stride_ms"),
        pl.col("weight").cast(pl.Float64),
        pl.lit(None).cast(pl.Float64).alias("weight_times_norm"),
    )


def _remarks(measured: pl.DataFrame, scale: str) -> list[str]:
    probes = measured.select("training_seed", "probe_seed").n_unique()
    trained = measured["training_seed"].n_unique()
    text = f"Here ({scale} scale): mean of {probes} probe{'s' if probes > 1 else ''} a task"
    text += f" on {trained} training seed{'s' if trained > 1 else ''}."
    found = [text]
    if measured["mini"].any():
        found.append("Mini corpora and heads: not comparable with the benchmark’s.")
    budgets = sorted({float(value) for value in measured["budget"]} - {1.0})
    if budgets:
        found.append(f"Some probes took {', '.join(f'{budget:g}' for budget in budgets)} of their recipe’s steps.")
    return found


def weights_numbers(table: pl.DataFrame) -> pl.DataFrame:
    """Means over probes, with the lowest and the highest: the numbers of a figure."""
    weight = pl.col("weight")
    return table.group_by("cell", "source", "task", "index", "layer", "stride_ms", maintain_order=True).agg(
        weight.mean().alias("mean"), weight.min().alias("low"), weight.max().alias("high"), pl.len().alias("probes")
    )
