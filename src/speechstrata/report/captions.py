"""What is written beneath a figure: the sample, the corpus, the protocol, and the key to the marks."""

import polars as pl

from speechstrata.report.merge import Setting

_UNITS = {"sentence": "sentence pairs"}


def sample_text(rows: pl.DataFrame) -> str:
    """N, types and clusters of the rows of one score; ranges where curves differ, since that moves the score."""
    unit = rows["unit"][0]
    text = f"n = {_span(rows, 'n')} {_UNITS.get(unit, f'{unit}s')}"
    classes, clusters = _span(rows, "classes"), _span(rows, "k")
    if classes:
        text += f" of {classes} types"
    if clusters:
        text += f", k = {clusters}"
    if "–" in classes + clusters:
        text += " (differs between curves, which moves the scores)"
    return text


def _span(rows: pl.DataFrame, column: str) -> str:
    values = [int(value) for value in rows[column].drop_nulls()]
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def context_text(rows: pl.DataFrame, setting: Setting) -> str:
    """Corpus, protocol, sample sets and the key to the marks in ``rows``, all of one setting."""
    corpus = setting.corpus
    speakers = f", {corpus.speakers} speakers" if corpus.speakers else ""
    parts = [f"{corpus.name} ({corpus.hours:.1f} h{speakers})", f"{setting.protocol.name} protocol"]
    sets = _span(rows, "sets")
    parts.append("one sample set" if sets == "1" else f"mean of {sets} sample sets, band: lowest to highest")
    if (rows["kind"] == "sampling").any():
        parts.append("hollow: sampling modules and skips")
    if rows.filter(pl.col("kind").is_in(["transformer", "sampling"]))["stride_ms"].n_unique() > 1:
        parts.append("larger mark: lower resolution")
    parts.append("dashed: controls")
    if rows["baseline"].is_not_null().any():
        parts.append("dotted: permutation baseline")
    return " · ".join(parts)
