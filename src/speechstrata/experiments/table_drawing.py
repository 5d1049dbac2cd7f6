"""A table as a picture: three rules, text columns left, numbers right; PDF and PNG."""

import textwrap
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from speechstrata.experiments.paper_tables import PaperTable
from speechstrata.report.drawing import RC, text_width
from speechstrata.report.figures import save_figure

_POINTS, _ROW, _GAP, _MARGIN = 8.0, 0.19, 0.22, 0.12
_INK, _RULE, _QUIET = "#22262B", "#22262B", "#5E6670"


def draw_table(table: PaperTable, stem: Path) -> Path:
    """Draw a table into ``stem.pdf`` and ``stem.png``; gives the latter's path."""
    with mpl.rc_context(RC):
        return save_figure(table_figure(table), stem)


def table_figure(table: PaperTable) -> Figure:
    """The table as a figure of its natural size."""
    body = [row for _, rows in table.rows for row in rows]
    widths = [
        max(text_width(row[column], _POINTS) for row in [table.heads, *body]) + _GAP
        for column in range(len(table.heads))
    ]
    width = max(sum(widths), 3.5) + 2 * _MARGIN
    caption = textwrap.wrap(table.caption, max(30, int(width * 72 / (_POINTS * 0.52))))
    headings = sum(1 for heading, _ in table.rows if heading)
    height = (len(body) + headings + 1.3 + 0.3 * len(table.rows) + 0.9 * len(caption)) * _ROW + 2 * _MARGIN
    figure = Figure(figsize=(width, height))
    rights = [_MARGIN + sum(widths[: column + 1]) - _GAP / 2 for column in range(len(widths))]
    y = height - _MARGIN

    def text(x: float, words: str, *, align: str = "left", style: str = "normal", colour: str = _INK) -> None:
        figure.text(x / width, y / height, words, ha=align, va="center", fontsize=_POINTS, style=style, color=colour)

    def rule(weight: float) -> None:
        ends = [_MARGIN / width, (_MARGIN + sum(widths)) / width]
        figure.add_artist(mpl.lines.Line2D(ends, [y / height] * 2, color=_RULE, lw=weight))

    def row_of(cells: tuple[str, ...]) -> None:
        text(_MARGIN + _GAP / 4, cells[0])
        for right, cell in zip(rights[1:], cells[1:], strict=True):
            text(right, cell, align="right")

    rule(0.9)
    y -= 0.65 * _ROW
    row_of(table.heads)
    y -= 0.65 * _ROW
    for heading, rows in table.rows:
        rule(0.5)
        y -= 0.65 * _ROW
        if heading:
            text(_MARGIN + _GAP / 4, heading, style="italic", colour=_QUIET)
            y -= _ROW
        for row in rows:
            row_of(row)
            y -= _ROW
        y += 0.35 * _ROW
    rule(0.9)
    for words in caption:
        y -= 0.85 * _ROW
        text(_MARGIN + _GAP / 4, words, colour=_QUIET)
    return figure
