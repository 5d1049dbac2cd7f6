"""Read a run folder: what ``analyze`` leaves behind, checked before anything is drawn from it.

The contract of the folder is in ``docs/report.md``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl

from speechstrata.errors import InputError
from speechstrata.files import read_json, read_text, sha256_of_file

#: Columns of ``scores.parquet``; the second value says whether a null is allowed.
COLUMNS: dict[str, tuple[pl.DataType, bool]] = {
    "model": (pl.String(), False),
    "layer": (pl.String(), False),
    "index": (pl.Int64(), False),
    "depth": (pl.Float64(), False),
    "kind": (pl.String(), False),
    "stride_ms": (pl.Float64(), False),
    "score": (pl.String(), False),
    "unit": (pl.String(), False),
    "variant": (pl.String(), False),
    "reference": (pl.String(), False),
    "sample_set": (pl.Int64(), False),
    "seed": (pl.Int64(), False),
    "value": (pl.Float64(), True),
    "nats": (pl.Float64(), True),
    "baseline": (pl.Float64(), True),
    "n": (pl.Int64(), False),
    "classes": (pl.Int64(), True),
    "k": (pl.Int64(), True),
    "step": (pl.Int64(), True),
    "warning": (pl.String(), False),
}

#: What one value of the score is for; one row each.
ROW_KEY = ("model", "step", "layer", "score", "variant", "reference", "sample_set")

_REMEDY = "run the analysis again into this folder; it continues from what is there"


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a model: times in milliseconds, depth in Transformer layers passed / all of them."""

    name: str
    kind: str
    stride_ms: float
    offset_ms: float
    dim: int
    index: int
    depth: float


@dataclass(frozen=True)
class ModelInfo:
    """A model of a run: an encoder, or the control of one (``control_of`` names it) or of all (None)."""

    name: str
    role: Literal["encoder", "control"]
    control_of: str | None
    supervision: str
    fingerprint: str
    parameters: int | None
    sample_rate: int
    step: int | None
    layers: tuple[LayerInfo, ...]


@dataclass(frozen=True)
class CorpusInfo:
    """The speech that a run measured on; ``utterances`` and ``hours`` are None where only its scores are at hand."""

    name: str
    description: str
    licence: str
    fingerprint: str
    utterances: int | None
    hours: float | None
    speakers: int | None
    largest_speaker_share: float | None


@dataclass(frozen=True)
class ProtocolInfo:
    """How samples were drawn: ``name`` decides what may share an axis, ``details`` holds the numbers."""

    name: str
    text: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """Something that a run skipped, and why."""

    what: str
    where: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Run:
    """A run folder in memory; ``scores`` has the columns of ``COLUMNS`` and only rows with a value."""

    path: Path
    config: Any
    provenance: Mapping[str, Any]
    created: str
    corpus: CorpusInfo
    protocol: ProtocolInfo
    models: tuple[ModelInfo, ...]
    scores: pl.DataFrame
    problems: tuple[Problem, ...]


def read_run(folder: Path | str) -> Run:
    """Read and check a run folder.

    Raises:
        InputError: the folder or a file of it is missing or broken; the message names file and field.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no run folder {folder}", "give the folder that `analyze` wrote")
    if not (folder / "scores.parquet").is_file():
        raise InputError(f"{folder} is not a finished run: it has no scores.parquet", _REMEDY)
    config = read_json(folder / "config.json")
    file = folder / "provenance.json"
    provenance = _mapping(read_json(file), file, "the file")
    models = tuple(
        _model(_mapping(model, file, f"models[{number}]"), file, number)
        for number, model in enumerate(_field(provenance, "models", list, file))
    )
    # Runs of earlier versions have no digest.
    digest = _field({"scores_sha256": None, **provenance}, "scores_sha256", (str, type(None)), file)
    scores, missing = _read_scores(folder / "scores.parquet", models, digest)
    protocol = _mapping(_field(provenance, "protocol", dict, file), file, "protocol")
    return Run(
        path=folder,
        config=config,
        provenance=provenance,
        created=_field(provenance, "created", str, file),
        corpus=_corpus(_mapping(_field(provenance, "corpus", dict, file), file, "corpus"), file),
        protocol=ProtocolInfo(
            name=_field(protocol, "name", str, file, "protocol."),
            text=_field(protocol, "text", str, file, "protocol."),
            details={key: value for key, value in protocol.items() if key not in ("name", "text")},
        ),
        models=models,
        scores=scores,
        problems=(*_read_problems(folder / "problems.jsonl"), *missing),
    )


def _corpus(corpus: Mapping[str, Any], file: Path) -> CorpusInfo:
    def field(name: str, kind: type | tuple[type, ...]) -> Any:
        return _field(corpus, name, kind, file, "corpus.")

    return CorpusInfo(
        name=field("name", str),
        description=field("description", str),
        licence=field("licence", str),
        fingerprint=field("fingerprint", str),
        utterances=field("utterances", int),
        hours=float(field("hours", (int, float))),
        speakers=field("speakers", (int, type(None))),
        largest_speaker_share=field("largest_speaker_share", (int, float, type(None))),
    )


def _model(model: Mapping[str, Any], file: Path, number: int) -> ModelInfo:
    def field(name: str, kind: type | tuple[type, ...]) -> Any:
        return _field(model, name, kind, file, f"models[{number}].")

    role = field("role", str)
    if role not in ("encoder", "control"):
        raise InputError(f"{file}: models[{number}].role is {role!r}", "it is either 'encoder' or 'control'")
    return ModelInfo(
        name=field("name", str),
        role=cast(Literal["encoder", "control"], role),
        control_of=field("control_of", (str, type(None))),
        supervision=field("supervision", str),
        fingerprint=field("fingerprint", str),
        parameters=field("parameters", (int, type(None))),
        sample_rate=field("sample_rate", int),
        step=field("step", (int, type(None))),
        layers=tuple(
            _layer(_mapping(layer, file, f"models[{number}].layers"), file, f"models[{number}].layers.")
            for layer in field("layers", list)
        ),
    )


def _layer(layer: Mapping[str, Any], file: Path, prefix: str) -> LayerInfo:
    number = (int, float)
    return LayerInfo(
        name=_field(layer, "name", str, file, prefix),
        kind=_field(layer, "kind", str, file, prefix),
        stride_ms=float(_field(layer, "stride_ms", number, file, prefix)),
        offset_ms=float(_field(layer, "offset_ms", number, file, prefix)),
        dim=_field(layer, "dim", int, file, prefix),
        index=_field(layer, "index", int, file, prefix),
        depth=float(_field(layer, "depth", number, file, prefix)),
    )


def _mapping(value: Any, file: Path, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{file}: {where} is not a JSON object but {type(value).__name__}", _REMEDY)
    return value


def _field(mapping: Mapping[str, Any], name: str, kind: type | tuple[type, ...], file: Path, prefix: str = "") -> Any:
    if name not in mapping:
        raise InputError(f"{file} lacks {prefix}{name}", _REMEDY)
    value = mapping[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{file}: {prefix}{name} is {value!r}, of the wrong type", _REMEDY)
    return value


def _read_scores(file: Path, models: tuple[ModelInfo, ...], digest: str | None) -> tuple[pl.DataFrame, list[Problem]]:
    """The rows with a value, and one problem for each (model, score, variant) that has rows without."""
    # polars ends the process on some damaged files.
    if digest is not None and sha256_of_file(file) != digest:
        raise InputError(f"{file} is not the table that `analyze` wrote: it was damaged or changed", _REMEDY)
    try:
        table = pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:  # the last is no Exception
        raise InputError(f"cannot read {file}: {str(error)[:200]}", _REMEDY) from error
    lacking = [name for name in COLUMNS if name not in table.columns]
    if lacking:
        raise InputError(f"{file} lacks the column {', '.join(lacking)}", _REMEDY)
    try:
        table = table.select(pl.col(name).cast(kind) for name, (kind, _) in COLUMNS.items())
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{file} has a column of the wrong type: {error}", _REMEDY) from error
    for name, (_, nullable) in COLUMNS.items():
        if not nullable and table[name].null_count():
            raise InputError(f"{file}: {table[name].null_count()} rows have no {name}", _REMEDY)
    unknown = sorted(set(table["model"].unique()) - {model.name for model in models})
    if unknown:
        raise InputError(f"{file} has scores of {unknown[0]!r}, which provenance.json does not list", _REMEDY)
    doubled = table.filter(table.select(ROW_KEY).is_duplicated())
    if len(doubled):
        where = ", ".join(f"{name}={doubled[name][0]!r}" for name in ROW_KEY)
        raise InputError(f"{file} has {len(doubled)} rows that repeat each other, e.g. {where}", _REMEDY)
    valid = pl.col("value").is_not_null() & pl.col("value").is_finite()
    empty = (
        table.filter(valid.not_())
        .group_by("model", "score", "variant", maintain_order=True)
        .agg(pl.len().alias("rows"), pl.col("warning").first())
    )
    problems = [
        Problem(
            what=f"{row['score']} {row['variant']}".strip(),
            where=row["model"],
            reason=row["warning"] or f"{row['rows']} rows of scores.parquet have no finite value",
            remedy="",
        )
        for row in empty.iter_rows(named=True)
    ]
    return table.filter(valid), problems


def _read_problems(file: Path) -> list[Problem]:
    """The problems of a run; a run without any need not have the file."""
    if not file.is_file():
        return []
    problems = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            problem = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}, line {number}, is not valid JSON: {error}", _REMEDY) from error
        if not isinstance(problem, dict):
            raise InputError(f"{file}, line {number}, is not a JSON object", _REMEDY)
        problems.append(Problem(*(str(problem.get(name) or "") for name in ("what", "where", "reason", "remedy"))))
    return problems
