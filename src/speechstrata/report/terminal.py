"""The scores in the terminal: a table for each encoder, layers down and scores across, the controls beneath."""

from collections.abc import Sequence

import polars as pl
from rich import box
from rich.markup import escape
from rich.table import Table

from speechstrata.report.glossary import PERMUTED, VARIANTS, entry
from speechstrata.report.merge import Merged, Subject
from speechstrata.report.style import shorten
from speechstrata.report.tables import best_layers, last_steps

_CELL = 8  # characters that a score takes, with the two before it
_MS = 8
_MOST_REFERENCES = 4
_BEST = "[bold green]"
#: Controls that are variants of a score, and what their row is called.
_VARIANT_ROWS = {"vectors-permuted": "vectors permuted", "types-disjoint": "types disjoint"}


def terminal_tables(merged: Merged, summary: pl.DataFrame, width: int = 100) -> list[Table]:
    """The scores of every encoder: layers down, scores across, the best layer bold, the controls beneath.

    Args:
        merged: the runs.
        summary: their points, see ``tables.summarize``.
        width: in characters; scores that do not fit continue in another table.

    Returns:
        rich tables, to be printed one after the other. Several encoders are preceded by one table of the
        best layers.
    """
    final = _few_references(last_steps(summary))
    tables: list[Table] = []
    for setting in merged.settings:
        here = final.filter(pl.col("setting") == setting.key)
        drawn = [subject for subject in merged.subjects if subject.label in here["model"]]
        encoders = [subject for subject in drawn if not subject.is_control]
        if len(encoders) > 1:
            tables += best_tables(drawn, here, setting.title, width)
        for subject in encoders:
            own = [other for other in drawn if other.is_control and other.control_of in (None, subject.label)]
            tables += _encoder_tables(subject, own, here, setting.title, width)
        if not encoders:
            for subject in drawn:
                tables += _encoder_tables(subject, [], here, setting.title, width)
    return [*tables, _key()]


def _few_references(summary: pl.DataFrame) -> pl.DataFrame:
    """Scores with more references than columns can hold: the highest value over them, at each layer."""
    counts = summary.group_by("score").agg(pl.col("reference").n_unique().alias("count"))
    many = dict(counts.filter(pl.col("count") > _MOST_REFERENCES).rows())
    if not many:
        return summary
    crowded = pl.col("score").is_in(list(many))
    point = ["setting", "model", "step", "score", "variant", "layer"]
    best = summary.filter(crowded).filter(
        pl.col("mean").rank("ordinal", descending=True).over(point, mapping_strategy="group_to_rows") == 1
    )
    name = pl.concat_str(pl.lit("of "), pl.col("score").replace_strict(many, return_dtype=pl.String))
    return pl.concat([summary.filter(~crowded), best.with_columns(name.alias("reference"))])


def best_tables(subjects: Sequence[Subject], here: pl.DataFrame, title: str, width: int = 100) -> list[Table]:
    """Models down, scores across: the best layer and its score; the highest of each column is bold."""
    best = best_layers(here.filter(pl.col("variant") == ""))
    values = {(row["model"], row["score"], row["reference"]): row for row in best.iter_rows(named=True)}
    columns = _columns(here, best["score"].unique().to_list())
    head = max(len(shorten(subject.label)) for subject in subjects) + 1
    tables = []
    names = {(row["score"], row["reference"]): len(row["layer"]) for row in best.iter_rows(named=True)}
    widths = [
        _CELL + max((size for key, size in names.items() if key[0] == column[0]), default=0) for column in columns
    ]
    for number, chunk in enumerate(_pack(columns, widths, width - head)):
        table = _new_table([""], chunk)
        for subject in subjects:
            cells = []
            for column in chunk:
                row = _of(values, subject, column)
                rivals = [
                    other["mean"]
                    for model in subjects
                    if not model.is_control and (other := _of(values, model, column)) is not None
                ]
                leads = row is not None and not subject.is_control and row["mean"] == max(rivals)
                layer = "" if row is None or len(subject.info.layers) == 1 else f" [dim]{escape(row['layer'])}[/]"
                cells.append("" if row is None else _bold(f"{row['mean']:z.3f}", leads) + layer)
            table.add_row(escape(shorten(subject.label)), *cells, style="cyan" if subject.is_control else None)
        tables += [_heading(_title("best layers", title, number)), table]
    return tables


def _of(values: dict, subject: Subject, column: tuple[str, str]) -> dict | None:
    """A model's row for a column; a control may have been measured against another reference."""
    exact = values.get((subject.label, *column))
    if exact is not None or not subject.is_control:
        return exact
    return next((row for key, row in values.items() if key[:2] == (subject.label, column[0])), None)


def _encoder_tables(
    subject: Subject, controls: Sequence[Subject], here: pl.DataFrame, title: str, width: int
) -> list[Table]:
    shown = here.filter(pl.col("model").is_in([subject.label, *(control.label for control in controls)]))
    own = shown.filter((pl.col("model") == subject.label) & (pl.col("variant") == ""))
    rows = _control_rows(shown, subject, controls)
    names = [*own["layer"], *(name for name, _ in rows), "± spread"]
    head = max(len(name) for name in names) + 1
    columns = _columns(own if len(own) else shown, None)
    tables = []
    for number, chunk in enumerate(_even(columns, (width - head - _MS) // _CELL)):
        table = _new_table(["layer", "ms"], chunk)
        _add_layers(table, own, chunk)
        spreads = [_spread(own, column) for column in chunk]
        if any(spreads):
            table.add_row("± spread", "", *spreads, style="dim", end_section=True)
        for name, values in rows:
            cells = [values.get(column, "") for column in chunk]
            if any(cells):
                table.add_row(escape(name), "", *cells, style="cyan")
        tables += [_heading(_title(subject.label, title, number)), table]
    return tables


def _heading(text: str) -> Table:
    """A line of its own: the title of a narrow table would be broken to the table's width."""
    line = Table.grid(padding=(1, 0, 0, 0))
    line.add_row(f"[bold]{escape(text)}[/]")
    return line


def _key() -> Table:
    lines = Table.grid()
    lines.add_row(f"{_BEST}Bold[/]: the best layer. ± spread: half the range over the sample sets, at its widest.")
    lines.add_row("Beneath: the highest value that each control reaches in any layer.")
    return lines


def _new_table(head: Sequence[str], columns: Sequence[tuple[str, str]]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
    )
    for name in head:
        table.add_column(name, justify="right" if name == "ms" else "left", no_wrap=True)
    scores = [score for score, _ in columns]
    for score, reference in columns:
        lines = [*entry(score).short]
        if scores.count(score) > 1 or reference.startswith("of "):
            lines.append(escape(reference[2 - _CELL :]))
        table.add_column("\n".join(lines), justify="right", no_wrap=True, min_width=_CELL - 2)
    return table


def _columns(rows: pl.DataFrame, scores: Sequence[str] | None) -> list[tuple[str, str]]:
    """(score, reference) of the main variant, in the summary's order; the encoders' references, if there are any."""
    main = rows.filter(pl.col("variant") == "")
    if scores is not None:
        main = main.filter(pl.col("score").is_in(scores))
    pairs = main.select("score", "reference").unique(maintain_order=True).rows()
    named = {score for score, reference in pairs if reference}
    return [(score, reference) for score, reference in pairs if reference or score not in named]


def _title(name: str, setting: str, number: int) -> str:
    return f"{name}: {setting}" if number == 0 else f"{name}, continued"


def _even(columns: list[tuple[str, str]], size: int) -> list[list[tuple[str, str]]]:
    """Pieces of at most ``size`` columns, as even as can be."""
    count = -(-len(columns) // max(size, 1)) or 1
    size = -(-len(columns) // count) or 1
    return [columns[start : start + size] for start in range(0, len(columns), size)]


def _pack(columns: list[tuple[str, str]], widths: list[int], room: int) -> list[list[tuple[str, str]]]:
    """Pieces whose widths add up to at most ``room`` (or of one column that is wider)."""
    pieces: list[list[tuple[str, str]]] = []
    left = 0
    for column, width in zip(columns, widths, strict=True):
        if not pieces or width > left:
            pieces.append([])
            left = room
        pieces[-1].append(column)
        left -= width
    return pieces


def _bold(text: str, bold: bool) -> str:
    return f"{_BEST}{text}[/]" if bold else text


def _add_layers(table: Table, own: pl.DataFrame, columns: Sequence[tuple[str, str]]) -> None:
    """A row for each layer that has a value in one of the columns."""
    cells = {(row["layer"], row["score"], row["reference"]): row["mean"] for row in own.iter_rows(named=True)}
    best = {(row["score"], row["reference"]): row["layer"] for row in best_layers(own).iter_rows(named=True)}
    layers = own.sort("index").unique("layer", keep="first", maintain_order=True)
    for layer, stride in layers.select("layer", "stride_ms").rows():
        values = [cells.get((layer, *column)) for column in columns]
        if all(value is None for value in values):
            continue
        texts = [
            "" if value is None else _bold(f"{value:z.3f}", best.get(column) == layer)
            for column, value in zip(columns, values, strict=True)
        ]
        table.add_row(escape(layer), f"{stride:.3g}", *texts)


def _spread(own: pl.DataFrame, column: tuple[str, str]) -> str:
    points = own.filter((pl.col("score") == column[0]) & (pl.col("reference") == column[1]) & (pl.col("sets") > 1))
    widths = (points["high"] - points["low"]).to_list()
    return f"{max(widths) / 2:z.3f}" if widths else ""


def _control_rows(
    shown: pl.DataFrame, subject: Subject, controls: Sequence[Subject]
) -> list[tuple[str, dict[tuple[str, str], str]]]:
    """What to read an encoder's values against: (name, (score, reference) -> the highest value)."""
    main = pl.col("variant") == ""
    mine = pl.col("model") == subject.label
    columns = _columns(shown, None)

    def highest(rows: pl.DataFrame, value: str) -> dict[tuple[str, str], str]:
        found = {}
        for score, reference in columns:
            here = rows.filter(pl.col("score") == score)
            exact = here.filter(pl.col("reference") == reference)
            values = (exact if len(exact) else here)[value].drop_nulls().to_list()
            if values:
                found[score, reference] = f"{max(values):z.3f}"
        return found

    rows = [
        (shorten(control.label), highest(shown.filter(main & (pl.col("model") == control.label)), "mean"))
        for control in controls
    ]
    for variant, name in _VARIANT_ROWS.items():
        if variant in VARIANTS and variant in shown["variant"]:
            rows.append((name, highest(shown.filter(mine & (pl.col("variant") == variant)), "mean")))
    baselines = shown.filter(mine & main & pl.col("baseline").is_not_null())
    for name in sorted({entry(score).baseline for score in baselines["score"]}, key=lambda name: name != PERMUTED):
        scores = [score for score in baselines["score"].unique() if entry(score).baseline == name]
        title = "labels permuted" if name == PERMUTED else name
        rows.append((title, highest(baselines.filter(pl.col("score").is_in(scores)), "baseline")))
    return rows
