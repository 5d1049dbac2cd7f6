"""The paper's figures from a reproduction's folder alone: PDF, PNG, and the numbers that are drawn as CSV.

``write_paper_figures(Path("runs/paper"))`` writes ``runs/paper/figures/figure-1.*``, ``figure-2a.*`` and so on;
``write_figure_2a([Path("runs/demo")], Path("figure-2a"))`` draws any runs in the layout of Figure 2a. matplotlib is
imported here: import this module only where figures are made.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import polars as pl
from matplotlib.figure import Figure

from speechstrata.errors import InputError
from speechstrata.experiments.config import TASKS
from speechstrata.files import atomic_path, read_json
from speechstrata.report import drawing
from speechstrata.report.figures import save_figure, score_figure, shown_layers
from speechstrata.report.merge import Merged, Setting, merge_runs
from speechstrata.report.panels import Panel, panels_figure
from speechstrata.report.paper_data import FIGURE_TITLES, PaperCell, PaperData, read_paper
from speechstrata.report.paper_weights import weights_numbers, weights_of
from speechstrata.report.runs import read_run
from speechstrata.report.tables import last_steps, summarize, write_csv

_NO_AGWE = "not measured:\nneeds acoustic word embeddings"
_NO_STS = "not measured:\nneeds spoken sentence pairs"
_WORD = "cca-word"

#: Panels of Figure 3, as the paper letters them.
FIGURE_3 = (
    Panel("A  MI, word", "mi-word"),
    Panel("B  MI, phone", "mi-phone"),
    Panel("C  CCA, phone", "cca-phone"),
    Panel("D  CCA, AGWE", "cca-agwe", _NO_AGWE),
    Panel("E  CCA, GloVe", "cca-glove", "not measured:\nneeds word vectors"),
    Panel("F  Spoken STS", "spoken-sts", _NO_STS),
)
#: Panels of Figure 5; where the paper draws two scores into one panel, they stand side by side.
FIGURE_5 = (
    Panel("A  MI, word", "mi-word"),
    Panel("B  MI, phone", "mi-phone"),
    Panel("C  CCA, AGWE", "cca-agwe", _NO_AGWE),
    Panel("C  CCA, GloVe", "cca-glove", "not measured:\nneeds word vectors"),
    Panel("D  CCA, fbank", "cca-mel"),
    Panel("D  CCA, phone", "cca-phone"),
    Panel("E  CCA, word", "cca-word"),
    Panel("E  Spoken STS", "spoken-sts", _NO_STS),
)
#: The cells of Figure 6, as the paper letters them.
FIGURE_6 = {"a": "mrhubert-base", "b": "b4-a", "c": "b5-a"}


def write_paper_figures(output: Path) -> list[Path]:
    """Draw Figures 1 to 6 into ``output/figures``, each as PDF, PNG and CSV.

    A figure whose numbers are not in the folder is left out; so is, within Figures 3 and 5, nothing: a panel without
    numbers says so. Of a replication's corpus the curves are drawn too, with its name behind the figure's. Figures of
    an earlier run that are not among them are removed.

    Args:
        output: a reproduction's folder (``docs/reproduce.md``).

    Returns:
        the PNG files.

    Raises:
        InputError: a file of the folder is missing or broken.
    """
    data = read_paper(output)
    folder = Path(output) / "figures"
    written = _architecture(data, folder)
    base = [cell for cell in data.cells if not cell.large]
    large = [cell for cell in data.cells if cell.large]
    with mpl.rc_context(drawing.RC):
        for setting in data.merged.settings:
            suffix = "" if data.roles[setting.key] == "primary" else f"-{_file_name(data.merged, setting)}"
            own = comparable(data, setting, base)
            for name, draw in _CURVES.items():
                written += _curves(data.merged, own, setting, folder / f"figure-{name}{suffix}", draw)
            pair = comparable(data, setting, large)
            written += _curves(data.merged, pair, setting, folder / f"figure-5{suffix}", _figure_5)
        written += _weights(data, folder)
    _remove_others(folder, written)
    return written


def _file_name(merged: Merged, setting: Setting) -> str:
    """The corpus's name as a part of a file name; with the protocol where the corpus is there with two."""
    name = setting.corpus.name
    if sum(other.corpus.name == name for other in merged.settings) > 1:
        name = f"{name}-{setting.protocol.name}-{setting.key}"
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or setting.key


def _remove_others(folder: Path, written: Sequence[Path]) -> None:
    """Remove figures that an earlier run has left, of a corpus or of probes that are no longer there."""
    names = {path.stem for path in written}
    for path in sorted(folder.glob("figure-*")):
        if path.stem not in names and path.suffix in (".pdf", ".png", ".csv"):
            path.unlink()


def write_figure_2a(
    runs: Sequence[Path],
    stem: Path,
    *,
    models: Sequence[str] = (),
    title: str = "Word identity (CCA), layer by layer",
) -> Path:
    """Draw any runs in the layout of Figure 2a: many models on one axis, with their controls.

    Args:
        runs: run folders with the score ``cca-word``; only the corpus and protocol of the first is drawn.
        stem: where to write ``<stem>.pdf``, ``.png`` and ``.csv``.
        models: draw only these encoders, with their controls; all by default.
        title: the heading.

    Returns:
        the PNG file.

    Raises:
        InputError: a run is broken, none has the score, or there is no such encoder.
    """
    merged = merge_runs([read_run(Path(run)) for run in runs])
    rows = last_steps(summarize(merged.scores)).filter(pl.col("variant") == "")
    first = merged.settings[0]
    own = rows.filter((pl.col("setting") == first.key) & (pl.col("score") == _WORD))
    if own.is_empty():
        raise InputError(f"{', '.join(map(str, runs))}: no score {_WORD}", f"analyse with --scores {_WORD}")
    if models:
        labels = [subject.label for subject in merged.subjects if not subject.is_control]
        if unknown := [name for name in models if name not in labels]:
            raise InputError(f"no encoder {unknown[0]!r} in these runs", f"one of {', '.join(labels)}")
        of_all = [subject.label for subject in merged.subjects if subject.is_control and subject.control_of is None]
        theirs = [subject.label for subject in merged.subjects if subject.control_of in models]
        own = own.filter(pl.col("model").is_in([*models, *theirs, *of_all]))

    def draw(merged: Merged, rows: pl.DataFrame, setting: Setting) -> tuple[Figure, pl.DataFrame]:
        drawn = transformer_layers(rows)
        return score_figure(merged, drawn, _WORD, title=title, subtitle=setting.title), drawn

    with mpl.rc_context(drawing.RC):
        return _curves(merged, own, first, Path(stem), draw)[0]


def transformer_layers(rows: pl.DataFrame) -> pl.DataFrame:
    """The layers of the paper's curves: outputs of Transformer layers, inputs of blocks, sums behind skips.

    Not the input of the first layer (T0), nor what a sampling module gives before the block behind it (``down0``).
    """
    return shown_layers(rows).filter((pl.col("layer") != "T0") & (pl.col("kind") != "sampling"))


def comparable(data: PaperData, setting: Setting, cells: Sequence[PaperCell]) -> pl.DataFrame:
    """The scores of some cells and their controls in one setting, less those that only controls have.

    Of several references (files of word vectors) the first by name counts, as it does for the statistics.
    """
    rows = data.of_cells(cells).filter((pl.col("setting") == setting.key) & (pl.col("variant") == ""))
    of_cells = rows.filter(pl.col("model").is_in([cell.label for cell in cells]))
    rows = rows.filter(pl.col("score").is_in(of_cells["score"].unique().to_list()))
    return rows.filter(pl.col("reference") == pl.col("reference").min().over("score"))


#: Draws rows of one setting and gives the figure and the rows that are in it; None where there is nothing to draw.
_Draw = Callable[[Merged, pl.DataFrame, Setting], tuple[Figure, pl.DataFrame] | None]


def _curves(merged: Merged, rows: pl.DataFrame, setting: Setting, stem: Path, draw: _Draw) -> list[Path]:
    made = draw(merged, rows, setting) if len(rows) else None
    if made is None:
        return []
    figure, drawn = made
    write_csv(drawn, merged, stem.with_name(f"{stem.name}.csv"))
    return [save_figure(figure, stem)]


def _figure_2a(merged: Merged, rows: pl.DataFrame, setting: Setting) -> tuple[Figure, pl.DataFrame] | None:
    drawn = transformer_layers(rows.filter(pl.col("score") == _WORD))
    if drawn.is_empty():
        return None
    return score_figure(merged, drawn, _WORD, title=FIGURE_TITLES["figure-2a"], subtitle=setting.title), drawn


def _figure_3(merged: Merged, rows: pl.DataFrame, setting: Setting) -> tuple[Figure, pl.DataFrame] | None:
    drawn = transformer_layers(rows.filter(pl.col("score").is_in([panel.score for panel in FIGURE_3])))
    if drawn.is_empty():
        return None
    title = FIGURE_TITLES["figure-3"]
    return panels_figure(merged, drawn, setting, FIGURE_3, title=title, subtitle=setting.title, strips=True), drawn


def _figure_4(merged: Merged, rows: pl.DataFrame, setting: Setting) -> tuple[Figure, pl.DataFrame] | None:
    drawn = rows.filter((pl.col("score") == "cca-mel") & (pl.col("kind") != "sampling"))
    if drawn.is_empty():
        return None
    return score_figure(merged, drawn, "cca-mel", title=FIGURE_TITLES["figure-4"], subtitle=setting.title), drawn


def _figure_5(merged: Merged, rows: pl.DataFrame, setting: Setting) -> tuple[Figure, pl.DataFrame] | None:
    drawn = transformer_layers(rows.filter(pl.col("score").is_in([panel.score for panel in FIGURE_5])))
    front = pl.col("kind").is_in(["conv", "projection", "fbank"]) & (pl.col("depth") < 0)
    drawn = drawn.filter(front.not_())
    if drawn.is_empty():
        return None
    title = FIGURE_TITLES["figure-5"]
    subtitle = f"{setting.title}. Where the paper draws two scores into one panel (C, D, E), they stand side by side."
    figure = panels_figure(merged, drawn, setting, FIGURE_5, title=title, subtitle=subtitle, columns=4, strips=True)
    return figure, drawn


_CURVES: dict[str, _Draw] = {"2a": _figure_2a, "3": _figure_3, "4": _figure_4}


def _weights(data: PaperData, folder: Path) -> list[Path]:
    """Figures 2b and 6: layer weights of the probes; in 2b the paper's own beside them, 6 with the other cells too."""
    from speechstrata.superb.figure import weights_figure

    if data.weights.is_empty():
        return []
    written = []
    wanted: list[tuple[str, list[str], tuple[str, ...], bool]] = [("2b", list(FIGURE_6.values()), ("asr", "sf"), True)]
    wanted += [(f"6{letter}", [cell], TASKS, False) for letter, cell in FIGURE_6.items()]
    wanted.append(("6-others", [cell.name for cell in data.cells if cell.name not in FIGURE_6.values()], TASKS, False))
    for name, cells, tasks, published in wanted:
        table, remarks = weights_of(data, cells, tasks, published=published)
        if table.is_empty():
            continue
        stem = folder / f"figure-{name}"
        with atomic_path(stem.with_name(f"{stem.name}.csv")) as partial:
            weights_numbers(table).write_csv(partial, float_precision=6)
        written.append(save_figure(weights_figure(table, "weight", remarks, FIGURE_TITLES[stem.name]), stem))
    return written


def _architecture(data: PaperData, folder: Path) -> list[Path]:
    """Figure 1: the network of the cell ``mrhubert-base`` at this scale, block by block."""
    from speechstrata.experiments.cells import cells_of, network_of
    from speechstrata.mrhubert.config import block_plan
    from speechstrata.mrhubert.drawing import draw

    cell = next((cell for cell in cells_of(data.scale) if cell.name == "mrhubert-base"), None)
    if cell is None or data.cell("mrhubert-base") is None:
        return []
    network = network_of(cell)
    if classes := _classes(data.folder / "models.json", cell.name):
        network = replace(network, classes=classes)
    stem = folder / "figure-1"
    for suffix in (".pdf", ".png"):
        draw(network, stem.with_suffix(suffix), title=f"Figure 1. {cell.label}, {data.scale} scale")
    blocks = [
        {
            "block": block.name,
            "role": block.role,
            "transformer_layers": block.layers,
            "stride_ms": 1000 * float(block.stride) / network.sample_rate,
            "sampling_module": "" if block.sampling is None else block.sampling.name,
        }
        for block in block_plan(network)
    ]
    with atomic_path(stem.with_suffix(".csv")) as partial:
        pl.DataFrame(blocks).write_csv(partial)
    return [stem.with_suffix(".png")]


def _classes(file: Path, cell: str) -> tuple[int, ...]:
    """How many units the prediction heads of the cell's model tell apart; nothing where no model was opened."""
    entries = read_json(file) if file.is_file() else []
    found = [entry.get("classes") for entry in entries if entry["cell"] == cell]
    return tuple(found[0] or ()) if found else ()
