"""From run folders to a report: tables, figures and the page, of one run or of several side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechstrata.errors import InputError
from speechstrata.report.excess import excess_over_controls, latex_excess, write_excess_csv
from speechstrata.report.latex import write_latex
from speechstrata.report.merge import merge_runs
from speechstrata.report.runs import read_run
from speechstrata.report.tables import summarize, write_csv

if TYPE_CHECKING:
    from rich.table import Table


def build_report(run_dirs: Sequence[Path], output: Path | None = None) -> Path:
    """Write the page, ``scores.csv``, ``above-controls.csv``, ``tables.tex`` and ``figures/`` of one or several runs.

    Args:
        run_dirs: run folders, as ``analyze`` leaves them; several are compared.
        output: where to write; by default into the run folder, if there is only one.

    Returns:
        the path of ``index.html``.

    Raises:
        InputError: a run is missing or broken, or the output cannot be written.
    """
    folders = [Path(folder) for folder in run_dirs]
    if output is None and len(folders) > 1:
        raise InputError(f"a report on {len(folders)} runs needs a folder of its own", "give --output FOLDER")
    merged = merge_runs([read_run(folder) for folder in folders])
    target = Path(output) if output is not None else folders[0]
    if len(folders) > 1 and any(target.resolve() == folder.resolve() for folder in folders):
        raise InputError(f"the comparison would replace the report of the run {target}", "give another --output")
    # matplotlib takes a second to import: only once the runs are known to be readable
    from speechstrata.report.figures import write_figures
    from speechstrata.report.page import write_page

    summary = summarize(merged.scores)
    write_csv(summary, merged, target / "scores.csv")
    excess = excess_over_controls(merged)
    write_excess_csv(excess, merged, target / "above-controls.csv")
    write_latex(merged, summary, target / "tables.tex", latex_excess(excess, merged))
    figures = write_figures(merged, summary, target / "figures")
    return write_page(merged, summary, figures, target / "index.html")


def report_tables(run_dirs: Sequence[Path], width: int = 100) -> "list[Table]":
    """The tables of one or several runs for the terminal; see ``terminal.terminal_tables``.

    Raises:
        InputError: a run is missing or broken.
    """
    from speechstrata.report.terminal import terminal_tables

    merged = merge_runs([read_run(Path(folder)) for folder in run_dirs])
    return terminal_tables(merged, summarize(merged.scores), width)
