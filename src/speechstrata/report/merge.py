"""One or several runs as one table: what may share an axis, and what each model is called and drawn as."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from speechstrata.errors import InputError
from speechstrata.report.runs import CorpusInfo, ModelInfo, Problem, ProtocolInfo, Run

#: Identifies one measurement; equal in two runs, it is the same one, and is counted once.
_MEASUREMENT = ("setting", "model", "step", "layer", "score", "variant", "reference", "sample_set", "seed")


@dataclass(frozen=True)
class Setting:
    """A corpus and a protocol: only scores of one setting are drawn on the same axes.

    Attributes:
        key: short and unique within a report; the ``setting`` column.
        title: corpus and protocol in words.
    """

    key: str
    title: str
    corpus: CorpusInfo
    protocol: ProtocolInfo


@dataclass(frozen=True)
class Subject:
    """A model as a report draws it; the checkpoints of one training run are one subject with steps.

    Attributes:
        label: unique within a report; the ``model`` column.
        info: as in the provenance (of the last checkpoint).
        control_of: the label of the encoder that this is the control of; None for one of all models.
        slot: which colour and mark; a control has its encoder's, a control of all models None.
        steps: the training steps measured, ascending; empty for a model without.
    """

    label: str
    info: ModelInfo
    control_of: str | None
    slot: int | None
    steps: tuple[int, ...]

    @property
    def is_control(self) -> bool:
        """Whether this is a control rather than an encoder under study."""
        return self.info.role == "control"


@dataclass(frozen=True)
class Merged:
    """Runs merged: ``scores`` has the columns of a run's and ``setting``; ``model`` holds labels."""

    runs: tuple[Run, ...]
    settings: tuple[Setting, ...]
    subjects: tuple[Subject, ...]
    scores: pl.DataFrame
    problems: tuple[tuple[str, Problem], ...]

    def subject(self, label: str) -> Subject:
        """The subject of that label."""
        return next(subject for subject in self.subjects if subject.label == label)

    @property
    def controls(self) -> tuple[str, ...]:
        """The labels of the controls."""
        return tuple(subject.label for subject in self.subjects if subject.is_control)


def merge_runs(runs: Sequence[Run]) -> Merged:
    """Put runs side by side.

    Scores of the same setting (corpus fingerprint, protocol name) meet; others stay apart. Two different
    models of one name are told apart by their run folder; a measurement that two runs share counts once,
    as the later run has it, and sample sets of different runs are pooled.

    Raises:
        InputError: no runs, or runs without a single score.
    """
    if not runs:
        raise InputError("there is no run to report on", "give at least one run folder")
    settings = _settings(runs)
    labels = _labels(runs)
    parts = []
    for number, run in enumerate(runs):
        step = pl.col("step")
        names = {(info.name, info.step): labels[number, position] for position, info in enumerate(run.models)}
        by_name = {info.name: labels[number, position] for position, info in enumerate(run.models)}
        keys = run.scores.select("model", "step").rows()
        label = [names.get((name, at), by_name[name]) for name, at in keys]
        parts.append(
            run.scores.with_columns(
                pl.lit(settings[number].key).alias("setting"),
                pl.Series("model", label, dtype=pl.String),
                step,
                pl.lit(number).alias("run"),
            )
        )
    scores = pl.concat(parts)
    if scores.is_empty():
        raise InputError(
            f"{', '.join(str(run.path) for run in runs)}: no score was computed",
            "problems.jsonl in the run folder lists the reasons",
        )
    scores = scores.unique(_MEASUREMENT, keep="last", maintain_order=True)
    shown = {setting.key: setting for setting in settings}
    return Merged(
        runs=tuple(runs),
        settings=tuple(shown.values()),
        subjects=_subjects(runs, labels),
        scores=scores,
        problems=tuple((run.path.name, problem) for run in runs for problem in run.problems),
    )


def _settings(runs: Sequence[Run]) -> list[Setting]:
    """The setting of each run; the key is readable, and unique by construction."""
    known: dict[tuple[str, str], Setting] = {}
    used: set[str] = set()
    result = []
    for run in runs:
        identity = (run.corpus.fingerprint, run.protocol.name)
        if identity not in known:
            title = f"{run.corpus.name}, {run.protocol.name} protocol"
            if title in used:  # two corpora of one name
                title = f"{run.corpus.name} ({run.corpus.fingerprint[:8]}), {run.protocol.name} protocol"
            used.add(title)
            known[identity] = Setting(f"s{len(known) + 1}", title, run.corpus, run.protocol)
        result.append(known[identity])
    return result


def _trajectory(info: ModelInfo, others: Sequence[ModelInfo]) -> str:
    """The name that the checkpoints of one training run share.

    Either they have one name and differ in ``step``, or their names differ in the step alone
    (``run/checkpoint-1000``, ``run/checkpoint-2000``): then it stands as ``*``.
    """
    if info.step is None or str(info.step) not in info.name:
        return info.name
    common = info.name.replace(str(info.step), "*")
    siblings = {other.name for other in others if other.step and other.name.replace(str(other.step), "*") == common}
    return common if len(siblings) > 1 else info.name


def _labels(runs: Sequence[Run]) -> dict[tuple[int, int], str]:
    """(run, position in its models) -> label: the name, with the run folder's where two models share it."""
    everyone = [info for run in runs for info in run.models]
    bearers: dict[tuple[str, int | None], list[str]] = defaultdict(list)
    for info in everyone:
        holders = bearers[_trajectory(info, everyone), info.step]
        if info.fingerprint not in holders:
            holders.append(info.fingerprint)
    contested = {name for (name, _), holders in bearers.items() if len(holders) > 1}
    labels = {}
    for number, run in enumerate(runs):
        folders = [other.path.name for other in runs]
        where = run.path.name if folders.count(run.path.name) == 1 else f"{run.path.name} #{number + 1}"
        for position, info in enumerate(run.models):
            name = _trajectory(info, everyone)
            labels[number, position] = f"{name} ({where})" if name in contested else name
    return labels


def _subjects(runs: Sequence[Run], labels: dict[tuple[int, int], str]) -> tuple[Subject, ...]:
    """Encoders first, in the order of the runs, each followed by its own controls; then those of all."""
    infos: dict[str, ModelInfo] = {}
    owners: dict[str, str | None] = {}
    steps: dict[str, set[int]] = defaultdict(set)
    for number, run in enumerate(runs):
        of_name = {info.name: labels[number, position] for position, info in enumerate(run.models)}
        for position, info in enumerate(run.models):
            label = labels[number, position]
            previous = infos.get(label)
            if previous is None or (info.step or 0) >= (previous.step or 0):
                infos[label] = info
            owners[label] = of_name.get(info.control_of) if info.control_of is not None else None
            if info.step is not None:
                steps[label].add(info.step)
    slots = {label: slot for slot, label in enumerate(name for name, info in infos.items() if info.role == "encoder")}

    def place(label: str) -> tuple[int, int]:
        owner = owners[label]
        slot = slots.get(label, slots.get(owner, len(slots)) if owner is not None else len(slots))
        return slot, int(label not in slots)

    return tuple(
        Subject(
            label,
            infos[label],
            owners[label] if owners[label] in slots else None,
            slots.get(label, slots.get(owners[label] or "")),
            tuple(sorted(steps[label])),
        )
        for label in sorted(infos, key=place)
    )
