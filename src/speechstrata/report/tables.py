"""Scores as tables: means over sample sets, the best layers, the terminal, CSV and LaTeX."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from speechstrata.files import atomic_path, write_text
from speechstrata.report.glossary import entry, score_order
from speechstrata.report.merge import Merged, Subject

if TYPE_CHECKING:
    from rich.table import Table

_POINT = ("setting", "model", "step", "score", "variant", "reference", "layer")
_CURVE = _POINT[:-1]

#: What the spread of a mean is, in every table and figure.
SPREAD = "lowest to highest of the sample sets"


def summarize(scores: pl.DataFrame) -> pl.DataFrame:
    """One row per point of a curve: the mean over its sample sets and how far they spread.

    Args:
        scores: as in ``Merged``, one row per sample set.

    Returns:
        the columns of a point (setting, model, step, score, variant, reference, layer), of its layer (index,
        depth, kind, stride_ms) and unit; ``mean``, ``low``, ``high`` (lowest and highest sample set), ``sd``
        (null for a single sample set), ``sets``; means of ``nats`` and ``baseline``; ``n`` (the smallest
        sample), ``classes``, ``k``; the distinct ``warning`` texts. Ordered by curve, then by layer index.
    """
    value = pl.col("value")
    table = scores.group_by(_POINT, maintain_order=True).agg(
        pl.col("index", "depth", "kind", "stride_ms", "unit").first(),
        value.mean().alias("mean"),
        value.min().alias("low"),
        value.max().alias("high"),
        value.std(ddof=1).alias("sd"),
        pl.len().alias("sets"),
        pl.col("nats", "baseline").mean(),
        pl.col("n", "classes", "k").min(),
        pl.col("warning").filter(pl.col("warning") != "").unique(maintain_order=True).str.join("; "),
    )
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


def terminal_tables(merged: Merged, summary: pl.DataFrame, width: int = 100) -> list["Table"]:
    """The scores of every encoder as rich tables: layers down, scores across, the controls beneath.

    The best layer of a score is bold. A table wider than ``width`` columns continues in another.
    """
    final = last_steps(summary)
    tables = []
    for setting in merged.settings:
        here = final.filter(pl.col("setting") == setting.key)
        encoders = [subject for subject in merged.subjects if not subject.is_control and subject.label in here["model"]]
        for subject in encoders or [None]:
            tables += _encoder_tables(merged, here, subject, setting.title, width)
    return tables


def _encoder_tables(
    merged: Merged, here: pl.DataFrame, subject: Subject | None, title: str, width: int
) -> list["Table"]:
    """The tables of one encoder (or of the controls alone, where there is none)."""
    controls = [
        control
        for control in merged.subjects
        if control.is_control and (control.control_of is None or subject is None or control.control_of == subject.label)
    ]
    label = subject.label if subject else "controls"
    own = here.filter((pl.col("model") == label) & (pl.col("variant") == ""))
    shown = here.filter(pl.col("model").is_in([label, *(control.label for control in controls)]))
    columns = shown.filter(pl.col("variant") == "").select("score", "reference").unique(maintain_order=True).rows()
    names = own.sort("index")["layer"].unique(maintain_order=True).to_list()
    head = max([9, *(len(name) for name in names), *(len(_short(c.label)) + 2 for c in controls)])
    room = max(1, (width - head - 9) // 8)
    return [
        _layer_table(shown, label, controls, columns[start : start + room], f"{label} — {title}")
        for start in range(0, len(columns), room)
    ]


def _short(label: str, limit: int = 26) -> str:
    return label if len(label) <= limit else "\u2026" + label[1 - limit :]


def _layer_table(
    shown: pl.DataFrame, label: str, controls: Sequence[Subject], columns: list[tuple[str, str]], title: str
) -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=escape(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("layer", no_wrap=True)
    table.add_column("ms", justify="right")
    for score, _ in columns:
        table.add_column("\n".join(entry(score).short), justify="right", min_width=6)
    own = shown.filter(pl.col("model") == label)
    cells = {
        (row["layer"], row["score"], row["reference"]): row
        for row in own.filter(pl.col("variant") == "").iter_rows(named=True)
    }
    best = {
        (row["score"], row["reference"]): row["layer"]
        for row in best_layers(own.filter(pl.col("variant") == "")).iter_rows(named=True)
    }
    layers = own.sort("index").unique("layer", keep="first", maintain_order=True)
    for row in layers.iter_rows(named=True):
        values = []
        for column in columns:
            cell = cells.get((row["layer"], *column))
            text = "" if cell is None else f"{cell['mean']:.3f}"
            values.append(f"[bold green]{text}[/]" if best.get(column) == row["layer"] else text)
        table.add_row(escape(row["layer"]), f"{row['stride_ms']:g}", *values)
    if len(layers):
        table.add_row("± spread", "", *(_spread(own, column) for column in columns), style="dim", end_section=True)
    for name, values in _control_rows(shown, label, controls, columns):
        table.add_row(escape(name), "", *values, style="cyan")
    table.caption = (
        f"[bold green]Bold[/]: the best layer. ± spread: half the largest distance from the {SPREAD}.\n"
        "Controls: the highest value of any of their layers; permuted: the encoder's own, at its best layer."
    )
    table.caption_justify = "left"
    return table


def _spread(own: pl.DataFrame, column: tuple[str, str]) -> str:
    points = own.filter(
        (pl.col("score") == column[0])
        & (pl.col("reference") == column[1])
        & (pl.col("variant") == "")
        & (pl.col("sets") > 1)
    )
    return "" if points.is_empty() else f"{(points['high'] - points['low']).max() / 2:.3f}"  # type: ignore[operator]


def _control_rows(
    shown: pl.DataFrame, label: str, controls: Sequence[Subject], columns: list[tuple[str, str]]
) -> list[tuple[str, list[str]]]:
    """What to read the encoder's values against: (name, one value per column), only rows that hold something."""

    def top(rows: pl.DataFrame, value: str = "mean") -> str:
        highest: Any = rows[value].max()
        return "" if highest is None else f"{highest:.3f}"

    def at(model: str, variant: str, column: tuple[str, str]) -> pl.DataFrame:
        return shown.filter(
            (pl.col("model") == model)
            & (pl.col("variant") == variant)
            & (pl.col("score") == column[0])
            & ((pl.col("reference") == column[1]) | (model != label))
        )

    rows = [
        (_short(control.label), [top(at(control.label, "", column)) for column in columns])
        for control in controls
        if control.label != label
    ]
    variants = [name for name in ("vectors-permuted", "types-disjoint") if name in shown["variant"]]
    rows += [(name, [top(at(label, name, column)) for column in columns]) for name in variants]
    permuted = []
    for column in columns:
        best = best_layers(at(label, "", column))
        chosen = at(label, "", column).filter(pl.col("layer").is_in(best["layer"].implode()))
        permuted.append(top(chosen, "baseline"))
    rows.append(("labels permuted", permuted))
    return [(name, values) for name, values in rows if any(values)]


def write_latex(merged: Merged, summary: pl.DataFrame, file: Path) -> None:
    """The same tables in LaTeX (booktabs), one per encoder and setting; the best layer is bold."""
    final = last_steps(summary).filter(pl.col("variant") == "")
    parts = ["% \\usepackage{booktabs}", f"% Means over sample sets; in brackets: {SPREAD}."]
    for setting in merged.settings:
        here = final.filter(pl.col("setting") == setting.key)
        for model in here["model"].unique(maintain_order=True):
            own = here.filter(pl.col("model") == model)
            parts.append(_latex_table(own, f"{model}: {setting.title}."))
    write_text(file, "\n\n".join(parts) + "\n")


def _latex_table(own: pl.DataFrame, caption: str) -> str:
    columns = own.select("score", "reference").unique(maintain_order=True).rows()
    best = {(row["score"], row["reference"]): row["layer"] for row in best_layers(own).iter_rows(named=True)}
    cells = {(row["layer"], row["score"], row["reference"]): row for row in own.iter_rows(named=True)}
    head = " & ".join(["layer", "ms", *(latex_escape(" ".join(entry(score).short)) for score, _ in columns)])
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{latex_escape(caption)}}}",
        f"\\begin{{tabular}}{{lr{'r' * len(columns)}}}",
        "\\toprule",
        f"{head} \\\\",
        "\\midrule",
    ]
    for row in own.sort("index").unique("layer", keep="first", maintain_order=True).iter_rows(named=True):
        values = [latex_escape(row["layer"]), f"{row['stride_ms']:g}"]
        for column in columns:
            cell = cells.get((row["layer"], *column))
            if cell is None:
                values.append("")
                continue
            text = f"{cell['mean']:.3f}"
            text = f"\\textbf{{{text}}}" if best.get(column) == row["layer"] else text
            values.append(f"{text} {{\\scriptsize[{cell['low']:.3f}, {cell['high']:.3f}]}}")
        lines.append(" & ".join(values) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}"])


_LATEX = {
    "\\": "\\textbackslash{}",
    "&": "\\&",
    "%": "\\%",
    "$": "\\$",
    "#": "\\#",
    "_": "\\_",
    "{": "\\{",
    "}": "\\}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "\u03c1": "$\\rho$",
}


def latex_escape(text: str) -> str:
    """``text`` with every character that LaTeX would act on made harmless."""
    return "".join(_LATEX.get(character, character) for character in text)
