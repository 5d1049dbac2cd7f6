"""Scores as tables: means over sample sets, the best layers, CSV."""

from pathlib import Path

import polars as pl

from speechstrata.files import atomic_path
from speechstrata.report.axes import taps_between
from speechstrata.report.glossary import entry, score_order
from speechstrata.report.merge import Merged

_POINT = ("setting", "model", "step", "score", "variant", "reference", "layer")
_CURVE = _POINT[:-1]

#: What the spread of a mean is, in every table and figure.
SPREAD = "lowest to highest of the sample sets"


def summarize(scores: pl.DataFrame) -> pl.DataFrame:
    """One row per point of a curve: the mean over its sample sets and how far they spread.

    Args:
        scores: as in ``Merged``, one row per sample set (and per ``training_seed``, where there is that column).

    Returns:
        the columns of a point (setting, model, step, score, variant, reference, layer), of its layer (index,
        depth, kind, stride_ms; ``tap``: it stands between two Transformer layers) and unit; ``mean``, ``low``,
        ``high`` (lowest and highest sample set), ``sd`` (null for a single sample set), ``sets``, the training
        ``seeds`` that they come from; means of ``nats`` and ``baseline``; ``n``, ``classes`` and
        ``k`` of the smallest sample set, and of the largest (``n_high`` ...); the distinct ``warning`` texts.
        Ordered by curve, then by layer index.
    """
    value = pl.col("value")
    table = scores.group_by(_POINT, maintain_order=True).agg(
        pl.col("index", "depth", "kind", "stride_ms", "unit").first(),
        value.mean().alias("mean"),
        value.min().alias("low"),
        value.max().alias("high"),
        value.std(ddof=1).alias("sd"),
        pl.len().alias("sets"),
        (pl.col("training_seed").n_unique() if "training_seed" in scores.columns else pl.lit(1)).alias("seeds"),
        pl.col("nats", "baseline").mean(),
        pl.col("n", "classes", "k").min(),
        pl.col("n", "classes", "k").max().name.suffix("_high"),
        pl.col("warning").filter(pl.col("warning") != "").unique(maintain_order=True).str.join("; "),
    )
    table = table.with_columns(_taps(table))
    order = {name: score_order(name) for name in table["score"].unique()}
    ranks = {name: rank for rank, name in enumerate(sorted(order, key=lambda name: order[name]))}
    models = {name: rank for rank, name in enumerate(table["model"].unique(maintain_order=True))}
    return table.sort(
        "setting",
        pl.col("score").replace_strict(ranks, return_dtype=pl.Int64),
        "variant",
        "reference",
        pl.col("model").replace_strict(models, return_dtype=pl.Int64),
        "step",
        "index",
    )


def _taps(table: pl.DataFrame) -> pl.Series:
    """Whether each row's layer stands between two Transformer layers of its model."""
    known: dict[tuple[str, str], frozenset[str]] = {}
    layers = table.select("setting", "model", "layer", "kind", "index", "depth").unique(maintain_order=True)
    for key, own in layers.group_by("setting", "model", maintain_order=True):
        names = taps_between(own.select("layer", "kind", "index", "depth").rows())
        known[str(key[0]), str(key[1])] = frozenset(names)
    rows = table.select("setting", "model", "layer").rows()
    return pl.Series("tap", [layer in known[setting, model] for setting, model, layer in rows], dtype=pl.Boolean)


def last_steps(summary: pl.DataFrame) -> pl.DataFrame:
    """Only the last training step of every curve that has steps."""
    key = [name for name in _CURVE if name != "step"]
    return summary.filter(pl.col("step").is_null() | (pl.col("step") == pl.col("step").max().over(key)))


def best_layers(summary: pl.DataFrame) -> pl.DataFrame:
    """The layer with the highest mean of every curve whose height means something.

    Returns:
        the point columns and ``mean``, ``low``, ``high``, ``stride_ms``, ``depth``; and ``ties``, the other
        layers whose mean is not below the best layer's lowest sample set: the sample cannot tell them apart.
    """
    ranked = [name for name in summary["score"].unique(maintain_order=True) if entry(name).ranked]
    curves = summary.filter(pl.col("score").is_in(ranked))
    best = curves.filter(
        pl.col("mean").rank("ordinal", descending=True).over(_CURVE, mapping_strategy="group_to_rows") == 1
    )
    keys = list(_CURVE)
    ties = (
        curves.join(
            best.select(*keys, pl.col("layer").alias("top"), pl.col("low").alias("floor")), on=keys, nulls_equal=True
        )
        .filter((pl.col("layer") != pl.col("top")) & (pl.col("mean") >= pl.col("floor")))
        .group_by(keys, maintain_order=True)
        .agg(pl.col("layer").alias("ties"))
    )
    return best.join(ties, on=keys, how="left", nulls_equal=True, maintain_order="left").select(
        *_POINT, "mean", "low", "high", "stride_ms", "depth", pl.col("ties").fill_null([])
    )


def write_csv(summary: pl.DataFrame, merged: Merged, file: Path) -> None:
    """The summary as CSV, the setting spelled out as corpus, its fingerprint, and protocol."""
    settings = pl.DataFrame(
        [
            {
                "setting": setting.key,
                "corpus": setting.corpus.name,
                "corpus_fingerprint": setting.corpus.fingerprint,
                "protocol": setting.protocol.name,
            }
            for setting in merged.settings
        ]
    )
    table = summary.join(settings, on="setting", maintain_order="left")
    first = ["corpus", "corpus_fingerprint", "protocol", "model", "step", "layer", "index", "depth", "kind"]
    rest = [name for name in summary.columns if name not in (*first, "setting")]
    with atomic_path(file) as partial:
        table.select(*first, *rest).write_csv(partial, float_precision=6)
