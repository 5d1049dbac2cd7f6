"""What is written beneath a figure: the sample, the corpus, the protocol, and the key to the marks."""

from collections.abc import Collection

import polars as pl

from speechstrata.report.glossary import entry
from speechstrata.report.merge import Setting

_UNITS = {"sentence": "sentence pairs"}


def sample_text(rows: pl.DataFrame) -> str:
    """N, types and clusters of the rows of one score, from the smallest to the largest of their sample sets.

    Where curves differ in types or clusters the text says so, since that moves their scores.
    """
    parts = []
    differs = False
    for unit in rows["unit"].unique(maintain_order=True):
        here = rows.filter(pl.col("unit") == unit)
        text = f"{_span(here, 'n')} {_UNITS.get(unit, f'{unit}s')}"
        if classes := _span(here, "classes"):
            text += f" of {classes} types"
        if clusters := _span(here, "k"):
            text += f", k = {clusters}"
        parts.append(text)
        sizes = here.group_by("model").agg(pl.col("classes", "k").min(), pl.col("classes_high", "k_high").max())
        differs = differs or sizes.drop("model").n_unique() > 1
    return f"n = {' or '.join(parts)}" + (" (differs between curves, which moves the scores)" if differs else "")


def _span(rows: pl.DataFrame, column: str) -> str:
    """The range of a count, over curves and sample sets."""
    return _range([*rows[column].drop_nulls(), *rows[f"{column}_high"].drop_nulls()])


def _range(values: list[int]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def context_text(rows: pl.DataFrame, setting: Setting, controls: Collection[str], marks: bool = True) -> str:
    """Corpus, protocol, sample sets and the key to the marks in ``rows``, all of one setting.

    Args:
        rows: of a summary.
        setting: theirs.
        controls: the labels of the models that are controls.
        marks: whether there are curves and marks to be explained.
    """
    corpus = setting.corpus
    details = [] if corpus.hours is None else [f"{corpus.hours:.1f} h"]
    if corpus.speakers:
        details.append(f"{corpus.speakers} speaker{'s' if corpus.speakers > 1 else ''}")
    size = f" ({', '.join(details)})" if details else ""
    parts = [f"{corpus.name}{size}", f"{setting.protocol.name} protocol", _means(rows)]
    if not marks:
        return " · ".join(parts)
    if max(rows["sets"].to_list()) > 1:
        parts[-1] += ", band: lowest to highest"
    if rows["tap"].any():
        parts.append("hollow: states between layers (sampling, block inputs, skips)")
    if rows.filter(pl.col("kind").is_in(["transformer", "sampling"]))["stride_ms"].n_unique() > 1:
        parts.append("larger mark: lower resolution")
    parts.append("dashed: controls" if rows["model"].is_in(list(controls)).any() else "no control was measured")
    if rows["baseline"].is_not_null().any():
        names = [entry(score).baseline for score in rows.filter(pl.col("baseline").is_not_null())["score"].unique()]
        parts.append(f"dotted: {', '.join(sorted(set(names)))}")
    return " · ".join(parts)


def _means(rows: pl.DataFrame) -> str:
    """Over what a point is a mean."""
    sets = _range([total // seeds for total, seeds in rows.select("sets", "seeds").rows()])
    seeds = _range(rows["seeds"].to_list())
    each = "one sample set" if sets == "1" else f"{sets} sample sets"
    if seeds == "1":
        return each if sets == "1" else f"mean of {each}"
    return f"mean of {seeds} training seeds, {each} each"
