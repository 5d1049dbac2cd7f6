"""What a layer has beyond its controls: its score less that of random weights, and less that of the filterbank.

A trained model's score of phones is not all learned: the same architecture with random weights passes much of the
signal on, and the signal itself tells many phones apart. Differences are taken sample set by sample set, on the same
spans, and summarised like scores are.
"""

from pathlib import Path

import polars as pl

from speechstrata.files import atomic_path
from speechstrata.report.glossary import entry, score_order
from speechstrata.report.latex import latex_escape
from speechstrata.report.merge import Merged
from speechstrata.report.tables import SPREAD

_MEASURED = ("setting", "score", "variant", "reference", "sample_set", "seed")
_POINT = ("setting", "score", "variant", "reference", "model", "step", "index", "layer", "stride_ms")
#: The controls, as columns are named after them, and in words.
CONTROLS = {"random": "random weights", "fbank": "fbank"}


def excess_over_controls(merged: Merged) -> pl.DataFrame:
    """Every encoder's span scores less those of its controls.

    Random weights are compared layer by layer, the filterbank's one layer with every layer; both on the same sample
    set. Scores of frames are left out (the filterbank is what they compare with), as are scores whose height means
    nothing.

    Returns:
        one row per setting, score, variant, reference, model, step and layer that has a control: ``sets``, ``mean``
        (the score's own), and for each of ``random`` and ``fbank`` the control's ``mean_*`` and the difference
        ``above_*`` with its ``above_*_low`` and ``above_*_high`` over sample sets; null where that control was not
        measured.
    """
    scores = merged.scores.filter(pl.col("unit") != "frame")
    scores = scores.filter(pl.col("score").is_in([name for name in scores["score"].unique() if entry(name).ranked]))
    own = scores.filter(~pl.col("model").is_in(list(merged.controls)))
    frames = own
    for name in CONTROLS:
        control = _control_values(merged, scores, name)
        keys = [*_MEASURED, "model", *(["layer"] if name == "random" else [])]
        frames = frames.join(control, on=keys, how="left", maintain_order="left")
    summary = frames.group_by(_POINT, maintain_order=True).agg(
        pl.len().alias("sets"),
        pl.col("value").mean().alias("mean"),
        *[expression for name in CONTROLS for expression in _differences(name)],
    )
    summary = summary.filter(pl.any_horizontal(pl.col(f"above_{name}").is_not_null() for name in CONTROLS))
    order = {name: rank for rank, name in enumerate(sorted(summary["score"].unique(), key=score_order))}
    models = {subject.label: rank for rank, subject in enumerate(merged.subjects)}
    return summary.sort(
        "setting",
        pl.col("score").replace_strict(order, return_dtype=pl.Int64),
        "variant",
        "reference",
        pl.col("model").replace_strict(models, return_dtype=pl.Int64),
        "step",
        "index",
    )


def _differences(name: str) -> list[pl.Expr]:
    difference = pl.col("value") - pl.col(f"value_{name}")
    return [
        pl.col(f"value_{name}").mean().alias(f"mean_{name}"),
        difference.mean().alias(f"above_{name}"),
        difference.min().alias(f"above_{name}_low"),
        difference.max().alias(f"above_{name}_high"),
    ]


def _control_values(merged: Merged, scores: pl.DataFrame, name: str) -> pl.DataFrame:
    """The values of one kind of control, for each encoder that it is a control of (``model``)."""
    encoders = [subject.label for subject in merged.subjects if not subject.is_control]
    pairs: list[tuple[str, str]] = []
    for subject in merged.subjects:
        if not subject.is_control:
            continue
        if name == "random" and subject.info.supervision == "random weights" and subject.control_of is not None:
            pairs.append((subject.label, subject.control_of))
        elif name == "fbank" and [layer.kind for layer in subject.info.layers] == ["fbank"]:
            pairs += [(subject.label, label) for label in encoders]
    owners = pl.DataFrame(pairs, schema={"control": pl.String, "model": pl.String}, orient="row")
    values = scores.rename({"model": "control", "value": f"value_{name}"}).join(owners, on="control")
    keys = [*_MEASURED, "model", *(["layer"] if name == "random" else [])]
    # A control of two runs may be there twice; it is the same measurement.
    return values.select(*keys, f"value_{name}").unique(keys, keep="last", maintain_order=True)


def write_excess_csv(excess: pl.DataFrame, merged: Merged, file: Path) -> None:
    """``excess_over_controls`` as CSV, the setting spelled out as corpus and protocol."""
    settings = pl.DataFrame(
        [{"setting": each.key, "corpus": each.corpus.name, "protocol": each.protocol.name} for each in merged.settings]
    )
    table = excess.join(settings, on="setting", maintain_order="left")
    with atomic_path(file) as partial:
        table.select("corpus", "protocol", pl.exclude("corpus", "protocol", "setting")).write_csv(
            partial, float_precision=6
        )


def latex_excess(excess: pl.DataFrame, merged: Merged) -> list[str]:
    """One LaTeX table (booktabs) for each encoder and setting: its phone scores, and what of them its controls lack."""
    tables = []
    phones = excess.filter((pl.col("variant") == "") & pl.col("score").str.ends_with("-phone"))
    for setting in merged.settings:
        here = phones.filter(pl.col("setting") == setting.key)
        for model in here["model"].unique(maintain_order=True):
            own = here.filter(pl.col("model") == model)
            last = own["step"].max()
            own = own if last is None else own.filter(pl.col("step") == last)
            tables.append(_latex_table(own, f"{model}: phone scores above their controls. {setting.title}."))
    return tables


def _latex_table(own: pl.DataFrame, caption: str) -> str:
    scores = own.select("score", "reference").unique(maintain_order=True).rows()
    cells = {(row["layer"], row["score"], row["reference"]): row for row in own.iter_rows(named=True)}
    heads = [latex_escape(" ".join(entry(score).short)) for score, _ in scores]
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{latex_escape(caption)} In brackets: {SPREAD}.}}",
        f"\\begin{{tabular}}{{lr{'rrr' * len(scores)}}}",
        "\\toprule",
        " & ".join(["layer", "ms", *(f"{head} & $-$ random & $-$ fbank" for head in heads)]) + " \\\\",
        "\\midrule",
    ]
    layers = own.sort("index").unique("layer", keep="first", maintain_order=True)
    for layer, stride in layers.select("layer", "stride_ms").rows():
        values = [latex_escape(layer), f"{stride:g}"]
        for column in scores:
            row = cells.get((layer, *column))
            values += ["", "", ""] if row is None else [f"{row['mean']:z.3f}", *(_cell(row, name) for name in CONTROLS)]
        lines.append(" & ".join(values) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}"])


def _cell(row: dict[str, float | None], name: str) -> str:
    value, low, high = (row[f"above_{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "--"
    return f"{value:+z.3f} {{\\scriptsize[{low:+z.3f}, {high:+z.3f}]}}"
