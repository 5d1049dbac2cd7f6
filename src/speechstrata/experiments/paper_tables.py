"""The paper's three tables: rows of ours, and beneath them the published ones, labelled so."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from speechstrata.experiments.cells import Cell, cells_of
from speechstrata.experiments.config import TASKS
from speechstrata.experiments.published import published_table
from speechstrata.files import write_text
from speechstrata.superb.results import SHOWN

OURS, PUBLISHED = "ours", "published"
_MISSING = "–"


@dataclass(frozen=True)
class PaperTable:
    """A table as it is printed.

    Attributes:
        name: of its files.
        caption: one paragraph.
        heads: of the columns; the first column names the row.
        rows: groups of rows, each with the heading that stands above it ("" for none).
        numbers: the same unrounded, for the CSV; ``source`` says ``ours`` or ``published``.
    """

    name: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    numbers: pl.DataFrame


def table_1(scale: str, cost: pl.DataFrame) -> PaperTable:
    """The models: resolutions, layers, downsampling, auxiliary loss; and what they cost."""
    costs = {row["cell"]: row for row in cost.rows(named=True)}
    rows, numbers = [], []
    for cell in cells_of(scale):
        known = costs.get(cell.name, {"parameters": None, "macs_per_second": None})
        numbers.append(
            {
                "cell": cell.name,
                "model": cell.label,
                "resolutions_ms": ", ".join(map(str, cell.resolutions_ms)),
                "layers": ", ".join(map(str, cell.layers)),
                "downsampling": cell.downsampling,
                "auxiliary_loss": cell.auxiliary,
                "parameters": known["parameters"],
                "macs_per_second": known["macs_per_second"],
                "source": OURS,
            }
        )
        rows.append(
            (
                cell.label,
                ", ".join(map(str, cell.resolutions_ms)),
                ", ".join(map(str, cell.layers)),
                "yes" if cell.downsampling else "no",
                "yes" if cell.auxiliary else "no",
                _MISSING if known["parameters"] is None else f"{known['parameters'] / 1e6:.2f}",
                _MISSING if known["macs_per_second"] is None else f"{known['macs_per_second'] / 1e9:.2f}",
            )
        )
    return PaperTable(
        "table1",
        f"The models at the scale '{scale}', named after those of the paper whose design they share. Parameters in "
        "millions; billions of multiply-accumulates per second of audio, for ten seconds.",
        ("Model", "Resolutions (ms)", "Layers", "Downsampling", "Auxiliary loss", "Parameters (M)", "GMACs / s"),
        (("", tuple(rows)),),
        pl.DataFrame(numbers),
    )


def table_2(scale: str, probes: pl.DataFrame) -> PaperTable:
    """SUPERB: means over training and probe seeds, with the standard deviation of the training seeds' means."""
    shown = [(task, *column) for task in TASKS for column in SHOWN[task]]
    published = published_table("table2")
    known = set(published.select("task", "metric").rows())
    present = set(probes.filter(pl.col("split") == "test").select("task", "metric").rows())
    columns = [column for column in shown if (column[0], column[1]) in known | present]
    ours: list[tuple[str, ...]] = []
    theirs: list[tuple[str, ...]] = []
    numbers: list[dict[str, object]] = []
    for cell in cells_of(scale):
        own = probes.filter((pl.col("cell") == cell.name) & (pl.col("split") == "test") & (pl.col("control") == ""))
        if not own.is_empty():
            ours.append(_metric_row(cell, own, columns, numbers))
        paper = published.filter(pl.col("cell") == cell.name)
        if not paper.is_empty():
            values = {(task, metric): value for task, metric, value in paper.select("task", "metric", "value").rows()}
            cells = [_as_published(values.get((task, metric)), percent) for task, metric, _, _, percent in columns]
            theirs.append((cell.label, *cells))
            numbers += [
                {"cell": cell.name, "task": task, "metric": metric, "mean": value, "sd": None, "training_seeds": None,
                 "probe_seeds": None, "corpus": "as published", "mini": False, "budget": 1.0, "source": PUBLISHED}
                for (task, metric), value in values.items()
            ]  # fmt: skip
    return PaperTable(
        "table2",
        "SUPERB probes. Error rates, F1 and accuracies in per cent. Ours: mean over training and probe seeds ± "
        f"standard deviation over training seeds (see table2.csv for their numbers). {_remark(probes)}".strip(),
        ("Model", *(heading for _, _, heading, _, _ in columns)),
        tuple(part for part in ((f"Ours ({scale})", tuple(ours)), ("As published", tuple(theirs))) if part[1]),
        pl.DataFrame(
            numbers,
            schema={
                "cell": pl.String,
                "task": pl.String,
                "metric": pl.String,
                "mean": pl.Float64,
                "sd": pl.Float64,
                "training_seeds": pl.Int64,
                "probe_seeds": pl.Int64,
                "corpus": pl.String,
                "mini": pl.Boolean,
                "budget": pl.Float64,
                "source": pl.String,
            },
        ),
    )


def _metric_row(
    cell: Cell,
    own: pl.DataFrame,
    columns: Sequence[tuple[str, str, str, bool, bool]],
    numbers: list[dict[str, object]],
) -> tuple[str, ...]:
    """A cell's row; what it is rounded from is added to ``numbers``."""
    row = [cell.label]
    for task, metric, _, _, percent in columns:
        rows = own.filter((pl.col("task") == task) & (pl.col("metric") == metric))
        if rows.is_empty():
            row.append(_MISSING)
            continue
        by_seed = rows.group_by("training_seed").agg(pl.col("value").mean())["value"]
        mean = float(by_seed.to_numpy().mean())
        spread = float(by_seed.to_numpy().std(ddof=1)) if len(by_seed) > 1 else None
        numbers.append(
            {"cell": cell.name, "task": task, "metric": metric, "mean": mean, "sd": spread,
             "training_seeds": len(by_seed), "probe_seeds": rows["probe_seed"].n_unique(),
             "corpus": rows["corpus"][0], "mini": rows["mini"][0], "budget": rows["budget"][0], "source": OURS}
        )  # fmt: skip
        row.append(_shown(mean, percent) + (f" ± {_shown(spread, percent)}" if spread is not None else ""))
    return tuple(row)


def _shown(value: float | None, percent: bool) -> str:
    return _MISSING if value is None else f"{100 * value:.2f}" if percent else f"{value:.2f}"


def _as_published(value: float | None, percent: bool) -> str:
    """With the digits that were published."""
    return _MISSING if value is None else f"{round(100 * value, 2) if percent else value:g}"


def _remark(probes: pl.DataFrame) -> str:
    if probes.is_empty():
        return "No probes of ours yet."
    parts = []
    if probes["mini"].any():
        parts.append("Ours are on mini corpora: not comparable with the published numbers, only with each other.")
    if budgets := sorted(set(probes["budget"]) - {1.0}):
        parts.append(f"Trained for {', '.join(f'{budget:g}' for budget in budgets)} of the recipes' steps.")
    return " ".join(parts)


def table_3(scale: str, residual: pl.DataFrame) -> PaperTable:
    """Appendix C: pre-training losses with the residual after and before the decoder."""
    names = {"post": "post-residual (baseline)", "pre": "pre-residual"}
    ours: list[tuple[str, ...]] = []
    numbers: list[dict[str, object]] = []
    for variant, title in names.items():
        own = residual.filter(pl.col("variant") == variant)
        if own.is_empty():
            continue
        cells = []
        for column in ("train_loss_bits", "loss_bits"):
            values = own[column].drop_nulls().to_numpy()
            spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.3f}{spread}" if len(values) else _MISSING)
        ours.append((title, *cells, str(own["seed"].n_unique())))
        numbers += [{**row, "source": OURS} for row in own.rows(named=True)]
    published = published_table("table3")
    theirs = []
    for row in published.rows(named=True):
        theirs.append((names[row["variant"]], f"{row['train_loss_bits']:.3f}", f"{row['loss_bits']:.3f}", _MISSING))
        numbers.append(
            {"variant": row["variant"], "seed": None, "step": None, "loss_bits": row["loss_bits"],
             "train_loss_bits": row["train_loss_bits"], "source": PUBLISHED}
        )  # fmt: skip
    return PaperTable(
        "table3",
        "Where the residual is added: final losses in bits per high-resolution masked frame, all heads together. "
        "Ours ± standard deviation over training seeds. Units and corpora differ: compare rows within a part.",
        ("Model", "Train loss", "Validation loss", "Seeds"),
        tuple(part for part in ((f"Ours ({scale})", tuple(ours)), ("As published", tuple(theirs))) if part[1]),
        pl.DataFrame(
            numbers,
            schema={
                "variant": pl.String,
                "seed": pl.Int64,
                "step": pl.Int64,
                "loss_bits": pl.Float64,
                "train_loss_bits": pl.Float64,
                "source": pl.String,
            },
        ),
    )


def write_tables(tables: Sequence[PaperTable], folder: Path) -> list[Path]:
    """Write each table as CSV, LaTeX (booktabs), PDF and PNG."""
    from speechstrata.experiments.score_tables import write_csv
    from speechstrata.experiments.table_drawing import draw_table

    written = []
    for table in tables:
        write_csv(table.numbers, folder / f"{table.name}.csv")
        write_text(folder / f"{table.name}.tex", latex(table))
        draw_table(table, folder / table.name)
        written += [folder / f"{table.name}.{suffix}" for suffix in ("csv", "tex", "pdf", "png")]
    return written


def latex(table: PaperTable) -> str:
    """The table in LaTeX, for booktabs."""
    from speechstrata.report.latex import latex_escape

    def line(cells: Sequence[str]) -> str:
        return " & ".join(_latex_signs(latex_escape(cell)) for cell in cells) + " \\\\"

    lines = [
        "% \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_latex_signs(latex_escape(table.caption))}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}",
        "\\toprule",
        line(table.heads),
    ]
    for heading, rows in table.rows:
        lines.append("\\midrule")
        if heading:
            lines.append(f"\\multicolumn{{{len(table.heads)}}}{{l}}{{\\emph{{{latex_escape(heading)}}}}} \\\\")
        lines += [line(row) for row in rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}"]) + "\n"


def _latex_signs(text: str) -> str:
    for sign, command in (("↑", "$\\uparrow$"), ("↓", "$\\downarrow$"), ("±", "$\\pm$"), (_MISSING, "--")):
        text = text.replace(sign, command)
    return text
