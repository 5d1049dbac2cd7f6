"""A reproduction's folder in memory: the design's cells as models, their scores over training seeds, the findings.

The contract of the folder is in ``docs/reproduce.md``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata.errors import InputError
from speechstrata.experiments.gather import read_gathered
from speechstrata.files import read_json
from speechstrata.report.merge import Merged, Setting, Subject
from speechstrata.report.runs import COLUMNS, CorpusInfo, LayerInfo, ModelInfo, ProtocolInfo, Run, read_run
from speechstrata.report.tables import summarize

#: A cell keeps its colour and its mark in every figure and at every scale.
_SLOTS = (
    "hubert", "mrhubert-base", "b2-a", "b4-a", "b5-a", "neither", "b2-b", "large-hubert", "large-mrhubert",
)  # fmt: skip
#: In the paper's order. A replication's figures have the corpus's name behind these.
FIGURE_TITLES = {
    "figure-1": "Figure 1. The network",
    "figure-2a": "Figure 2a. CCA word-level similarity by layer",
    "figure-2b": "Figure 2b. Layer weights of ASR and SF, ours and as published",
    "figure-3": "Figure 3. Layer-wise analyses of the base models",
    "figure-4": "Figure 4. CCA similarity between frames and fbanks",
    "figure-5": "Figure 5. Layer-wise analyses of the large models",
    "figure-6a": "Figure 6a. Layer weights, MR-HuBERT-base",
    "figure-6b": "Figure 6b. Layer weights, MR-HuBERT B4-a",
    "figure-6c": "Figure 6c. Layer weights, MR-HuBERT B5-a",
    "figure-6-others": "Figure 6, the other models. Layer weights",
}
_REMEDY = "run `speechstrata reproduce` again into this folder; it continues from what is there"
_RANDOM = "random weights"


@dataclass(frozen=True)
class PaperCell:
    """A model of the design: ``name`` as in the tables, ``label`` as in the paper."""

    name: str
    label: str
    auxiliary: bool
    downsampling: bool
    resolutions_ms: tuple[float, ...]
    layers: tuple[int, ...]

    @property
    def large(self) -> bool:
        """Whether it is of the pair that Figure 5 compares."""
        return self.name.startswith("large-")

    @property
    def slot(self) -> int:
        """Which colour and mark."""
        return _SLOTS.index(self.name) if self.name in _SLOTS else len(_SLOTS)


@dataclass(frozen=True)
class PaperData:
    """What a reproduction left behind.

    Attributes:
        folder: that it was read from.
        scale: ``tiny``, ``small`` or ``paper``.
        cells: of the design, in its order.
        findings: what ``findings.json`` holds.
        merged: the cells as models, each with its training seeds as further sample sets; settings in the order of
            the design's corpora.
        summary: of ``merged.scores``.
        probes, weights, cost, residual: the tables of the folder; any but ``cost`` may be empty.
        roles: setting key -> ``primary`` or ``replication``.
    """

    folder: Path
    scale: str
    cells: tuple[PaperCell, ...]
    findings: Mapping[str, Any]
    merged: Merged
    summary: pl.DataFrame
    probes: pl.DataFrame
    weights: pl.DataFrame
    cost: pl.DataFrame
    residual: pl.DataFrame
    roles: Mapping[str, str]

    def cell(self, name: str) -> PaperCell | None:
        """The cell of that name, if the design has it."""
        return next((cell for cell in self.cells if cell.name == name), None)

    def of_cells(self, cells: Sequence[PaperCell]) -> pl.DataFrame:
        """The summary of some cells and of their controls: their own random weights, and the filterbank."""
        labels = {cell.label for cell in cells}
        wanted = [
            subject.label
            for subject in self.merged.subjects
            if subject.label in labels
            or (subject.is_control and subject.control_of is None)
            or (subject.control_of in labels and subject.info.supervision == _RANDOM)
        ]
        return self.summary.filter(pl.col("model").is_in(wanted))


def read_paper(folder: Path | str) -> PaperData:
    """Read a reproduction's folder.

    Raises:
        InputError: a file is missing or broken; the message names file and field.
    """
    folder = Path(folder)
    file = folder / "findings.json"
    if not file.is_file():
        raise InputError(f"{folder} holds no reproduction: there is no findings.json", _REMEDY)
    findings = read_json(file)
    try:
        cells = tuple(
            PaperCell(
                name=str(cell["cell"]),
                label=str(cell["label"]),
                auxiliary=bool(cell["auxiliary"]),
                downsampling=bool(cell["downsampling"]),
                resolutions_ms=tuple(float(value) for value in cell["resolutions_ms"]),
                layers=tuple(int(value) for value in cell["layers"]),
            )
            for cell in findings["design"]["cells"]
        )
        corpora = [
            (str(corpus["name"]), str(corpus["fingerprint"]), str(corpus["protocol"]), str(corpus["role"]))
            for corpus in findings["design"]["corpora"]
        ]
        scale = str(findings["scale"])
        findings["findings"], findings["claims"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} lacks or garbles {error}", _REMEDY) from error
    tables = read_gathered(folder)
    cost = _cost(folder / "cost.csv")
    runs = [read_run(path.parent) for path in sorted(folder.glob("analysis/*/scores.parquet"))]
    settings = tuple(
        _setting(f"s{number}", name, fingerprint, protocol, runs)
        for number, (name, fingerprint, protocol, _) in enumerate(corpora, 1)
    )
    scores, subjects = _models(tables.scores, cells, settings, cost, folder / "scores.csv")
    merged = Merged(
        runs=tuple(runs),
        settings=settings,
        subjects=subjects,
        scores=scores,
        problems=tuple((run.path.name, problem) for run in runs for problem in run.problems),
    )
    return PaperData(
        folder=folder,
        scale=scale,
        cells=cells,
        findings=findings,
        merged=merged,
        summary=summarize(scores),
        probes=tables.probes,
        weights=tables.probe_weights,
        cost=cost,
        residual=tables.residual,
        roles={setting.key: role for setting, (*_, role) in zip(settings, corpora, strict=True)},
    )


def _cost(file: Path) -> pl.DataFrame:
    """What the cells cost."""
    columns = {"cell": pl.String, "parameters": pl.Int64, "macs_per_second": pl.Float64}
    try:
        return pl.read_csv(file, schema_overrides=columns).select(*columns)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot read {file}: {error}", _REMEDY) from error


def _setting(key: str, name: str, fingerprint: str, protocol: str, runs: Sequence[Run]) -> Setting:
    """Corpus and protocol, as a run folder of the reproduction describes them if there is one."""
    title = f"{name}, {protocol} protocol"
    for run in runs:
        if (run.corpus.fingerprint, run.protocol.name) == (fingerprint, protocol):
            return Setting(key, title, replace(run.corpus, name=name), run.protocol)
    corpus = CorpusInfo(name, "", "", fingerprint, None, None, None, None)
    return Setting(key, title, corpus, ProtocolInfo(protocol, "The committed tables of scores.", {}))


def _models(
    table: pl.DataFrame, cells: Sequence[PaperCell], settings: Sequence[Setting], cost: pl.DataFrame, file: Path
) -> tuple[pl.DataFrame, tuple[Subject, ...]]:
    """The scores under their cells' labels, and the models that they are of."""
    if table.is_empty():
        raise InputError(f"{file} has no rows", "give models whose scores are committed, or a corpus to analyse")
    labels = {cell.name: cell.label for cell in cells}
    keys = {(setting.corpus.fingerprint, setting.protocol.name): setting.key for setting in settings}
    names = [_label(labels, cell, control) for cell, control in table.select("cell", "control").rows()]
    where = [keys.get(pair) for pair in table.select("corpus_fingerprint", "protocol").rows()]
    table = table.with_columns(
        pl.Series("model", names, dtype=pl.String), pl.Series("setting", where, dtype=pl.String)
    ).filter(pl.col("model").is_not_null() & pl.col("setting").is_not_null())
    absent = {name: kind for name, (kind, _) in COLUMNS.items() if name not in table.columns}
    table = table.with_columns(
        pl.lit("" if kind == pl.String else None).cast(kind).alias(name) for name, kind in absent.items()
    )
    scores = table.select("setting", "training_seed", *COLUMNS)
    sizes = dict(cost.select("cell", "parameters").rows())
    controls = list(dict.fromkeys(control for control in table["control"] if control))
    subjects = tuple(_subjects(scores, cells, controls, sizes))
    order = pl.DataFrame({"model": [subject.label for subject in subjects]}, schema={"model": pl.String})
    return order.join(scores, on="model", how="left", maintain_order="left_right"), subjects


def _label(labels: Mapping[str, str], cell: str, control: str) -> str | None:
    """What a row's model is called; None if it is in no figure."""
    if not cell:
        return control or None
    if cell not in labels:
        return None
    return labels[cell] if not control else f"{labels[cell]}, {_control_title(control)}"


def _control_title(control: str) -> str:
    """``random`` and ``averaged-40ms`` in words."""
    if control == "random":
        return _RANDOM
    if control.startswith("averaged-"):
        length, _, more = control.removeprefix("averaged-").partition("-")
        return f"averaged to {length.removesuffix('ms')} ms" + (f", {_control_title(more)}" if more else "")
    return control


def _subjects(
    scores: pl.DataFrame, cells: Sequence[PaperCell], controls: Sequence[str], sizes: Mapping[str, int]
) -> Iterator[Subject]:
    """Cells first, each followed by its own controls; then the controls of all."""
    layers_of: dict[str, list[LayerInfo]] = {}
    columns = ("model", "layer", "kind", "stride_ms", "index", "depth")
    rows = scores.select(columns).unique(["model", "layer"], keep="first", maintain_order=True).sort("index")
    for model, layer, kind, stride, index, depth in rows.rows():
        layers_of.setdefault(model, []).append(LayerInfo(layer, kind, stride, 0.0, 0, index, depth))
    for cell in cells:
        own = [("", cell.label), *((control, f"{cell.label}, {_control_title(control)}") for control in controls)]
        for control, label in own:
            if label not in layers_of:
                continue
            owner = cell.label if control else None
            supervision = _control_title(control) if control else "self-supervised"
            info = ModelInfo(
                label, "control" if control else "encoder", owner, supervision, "", sizes.get(cell.name), 16_000, None,
                tuple(layers_of[label]),
            )  # fmt: skip
            yield Subject(label, info, owner, cell.slot, ())
    for control in controls:
        if control in layers_of:
            layers = tuple(layers_of[control])
            yield Subject(
                control, ModelInfo(control, "control", None, "none", "", None, 16_000, None, layers), None, None, ()
            )
