"""The scores as LaTeX tables (booktabs)."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from speechstrata.files import write_text
from speechstrata.report.glossary import entry
from speechstrata.report.merge import Merged
from speechstrata.report.tables import SPREAD, best_layers, last_steps


def write_latex(merged: Merged, summary: pl.DataFrame, file: Path, further: Sequence[str] = ()) -> None:
    """The same tables in LaTeX (booktabs), one per encoder and setting; the best layer is bold.

    Args:
        merged: the runs.
        summary: their points.
        file: to write.
        further: tables to put behind these.
    """
    final = last_steps(summary).filter(pl.col("variant") == "")
    parts = ["% \\usepackage{booktabs}", f"% Means over sample sets; in brackets: {SPREAD}."]
    for setting in merged.settings:
        here = final.filter(pl.col("setting") == setting.key)
        for model in here["model"].unique(maintain_order=True):
            own = here.filter(pl.col("model") == model)
            parts.append(_latex_table(own, f"{model}: {setting.title}."))
    write_text(file, "\n\n".join([*parts, *further]) + "\n")


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
            text = f"{cell['mean']:z.3f}"
            text = f"\\textbf{{{text}}}" if best.get(column) == row["layer"] else text
            values.append(f"{text} {{\\scriptsize[{cell['low']:z.3f}, {cell['high']:z.3f}]}}")
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
