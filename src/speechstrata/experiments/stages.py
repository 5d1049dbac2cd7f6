"""A graph of stages that can be stopped, continued, and run one by one.

A stage is done for a key: a fingerprint of what it is given and of the keys of the stages that it needs. Done for the
same key, and with its outputs there, it is not run again. What a stage does while it runs is its own to resume.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from speechstrata.errors import InputError, SpeechstrataError
from speechstrata.files import fingerprint, read_json, write_json

State = Literal["done", "served", "failed", "skipped"]

#: Part of every key: raise it when a change of the code changes what stages write.
STAGES_VERSION = 1


@dataclass(frozen=True)
class Stage:
    """One step of an experiment.

    Attributes:
        name: unique; ``group-detail`` where several are alike, so that ``--stages group`` means all of them.
        about: one line for people.
        needs: names of stages that come before it.
        run: does it.
        outputs: files or folders that it leaves, relative to the experiment's folder.
        depends_on: gives what the result depends on besides the stages before it, ready for JSON.
    """

    name: str
    about: str
    needs: tuple[str, ...]
    run: Callable[[], None]
    outputs: tuple[str, ...]
    depends_on: Callable[[], Any] = tuple


@dataclass(frozen=True)
class Outcome:
    """How a stage came out: its state, the reason of a failure, and how long it took."""

    stage: str
    state: State
    reason: str
    seconds: float


def run_stages(stages: Sequence[Stage], output: Path, wanted: Sequence[str] = ()) -> list[Outcome]:
    """Run stages in their order, each after those that it needs.

    A stage that fails harms only those that need it: these are skipped, the others run.

    Args:
        stages: all of the experiment's, in an order in which each comes after those that it needs.
        output: the experiment's folder.
        wanted: names, or groups, of the stages to run; all by default. Where stages are named, nothing else is run:
            what they need has to be done.

    Raises:
        InputError: an unknown name, or a stage that is named alone and needs one that is not done.
    """
    known = {stage.name: stage for stage in stages}
    chosen = _chosen(known, wanted)
    outcomes: list[Outcome] = []
    failed: set[str] = set()
    for stage in stages:
        if stage.name not in chosen:
            continue
        broken = [need for need in stage.needs if need in failed]
        if broken:
            failed.add(stage.name)
            outcomes.append(_note(output, stage, "", Outcome(stage.name, "skipped", f"{broken[0]} failed", 0.0)))
            continue
        if undone := [need for need in stage.needs if _record(output, need).get("state") != "done"]:
            raise InputError(f"the stage {stage.name} needs {', '.join(undone)}, not done yet", "run these first")
        began = time.perf_counter()
        try:
            key = stage_key(stage, output)
            if _is_done(output, stage, key):
                outcomes.append(Outcome(stage.name, "served", "", 0.0))
                continue
            print(f"{stage.name}: {stage.about}", file=sys.stderr, flush=True)
            stage.run()
            if missing := [name for name in stage.outputs if not (output / name).exists()]:
                raise InputError(f"the stage {stage.name} left no {', '.join(missing)}", "see the messages above")
        except SpeechstrataError as error:
            failed.add(stage.name)
            outcome = Outcome(stage.name, "failed", str(error), time.perf_counter() - began)
            print(f"{stage.name} failed: {error}", file=sys.stderr, flush=True)
            outcomes.append(_note(output, stage, "", outcome))
            continue
        outcomes.append(_note(output, stage, key, Outcome(stage.name, "done", "", time.perf_counter() - began)))
    return outcomes


def stage_key(stage: Stage, output: Path) -> str:
    """What a stage's result depends on, as a fingerprint: itself, and the keys under which its needs were done."""
    needs = {need: _record(output, need).get("key") for need in stage.needs}
    return fingerprint([STAGES_VERSION, stage.name, needs, stage.depends_on()])


def _chosen(known: Mapping[str, Stage], wanted: Sequence[str]) -> set[str]:
    if not wanted:
        return set(known)
    chosen: set[str] = set()
    for name in wanted:
        matching = {stage for stage in known if stage == name or stage.startswith(f"{name}-")}
        if not matching:
            raise InputError(f"there is no stage {name!r}", f"the stages are: {', '.join(known)}")
        chosen |= matching
    return chosen


def _file(output: Path, name: str) -> Path:
    return output / "stages" / f"{name}.json"


def _record(output: Path, name: str) -> dict[str, Any]:
    file = _file(output, name)
    return dict(read_json(file)) if file.exists() else {}


def _is_done(output: Path, stage: Stage, key: str) -> bool:
    record = _record(output, stage.name)
    return (
        record.get("state") == "done"
        and record.get("key") == key
        and all((output / name).exists() for name in stage.outputs)
    )


def _note(output: Path, stage: Stage, key: str, outcome: Outcome) -> Outcome:
    write_json(
        _file(output, stage.name),
        {
            "stage": stage.name,
            "about": stage.about,
            "state": outcome.state,
            "key": key,
            "seconds": round(outcome.seconds, 2),
            "reason": outcome.reason,
            "needs": list(stage.needs),
            "outputs": list(stage.outputs),
        },
    )
    return outcome
