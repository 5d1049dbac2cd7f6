"""The run folder: a journal of finished scores that a killed run continues from, and the tables made of it."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from speechstrata.errors import InputError, SpeechstrataError
from speechstrata.files import atomic_path, read_json, sha256_of_file, write_json, write_text

T = TypeVar("T")


@dataclass(frozen=True)
class ScoreRow:
    """One value of one score: a row of ``scores.parquet``.

    Attributes:
        model: name of the encoder.
        layer: name of the layer.
        index: position of the layer in its encoder.
        depth: Transformer layers passed, as a share of all; negative before the first one.
        kind: of the layer.
        stride_ms: milliseconds from one frame to the next.
        score: e.g. "cca-word".
        unit: "frame", "phone", "word" or "sentence".
        variant: "" for the score itself, else which control or subset.
        reference: what the layer is compared with, where that needs a name (a vector file, another layer).
        sample_set: number of the sample.
        seed: of the run.
        value: the score: a mean of correlations, MI / H(label), Spearman's rho, CKA, an accuracy, or 1 - ABX error.
        nats: the mutual information in nats.
        baseline: the same score with the labels (or the rows of view 2) permuted; of a probe the majority class.
        n: spans, frames or pairs that the score was computed from.
        classes: number of types.
        k: number of clusters.
        step: training step of the checkpoint, where there are several.
        warning: why the value should be read with care; "" if nothing is known against it.
    """

    model: str
    layer: str
    index: int
    depth: float
    kind: str
    stride_ms: float
    score: str
    unit: str
    variant: str
    reference: str
    sample_set: int
    seed: int
    value: float
    nats: float | None
    baseline: float | None
    n: int
    classes: int | None
    k: int | None
    step: int | None
    warning: str


@dataclass(frozen=True)
class Problem:
    """Something that was left out of a run: what, where, why, and what to do about it."""

    what: str
    where: str
    reason: str
    remedy: str = ""


class RunFolder:
    """The folder of one analysis.

    Finished work is appended to ``journal.jsonl`` as it is made, each entry under a key that fingerprints
    everything it depends on; an entry whose key comes up again is not computed again. A line that was
    being written when the run was killed is ignored. Every run rewrites ``problems.jsonl``.

    Args:
        path: the folder; made if it is not there.
        strict: errors that ``attempt`` would note are raised.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, path: Path, *, strict: bool = False) -> None:
        self.path = path
        self.strict = strict
        self.problems: list[Problem] = []
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._journal_path = path / "journal.jsonl"
            self._finished: dict[str, list[ScoreRow]] = {}
            torn = self._read_journal()
            self._journal = self._journal_path.open("a", encoding="utf-8")
            if torn:
                self._journal.write("\n")
        except OSError as error:
            raise InputError(
                f"cannot write to the run folder {path}: {error.strerror}", "give another --output"
            ) from error

    def _read_journal(self) -> bool:
        """Take in what earlier runs finished; says whether the last line was cut short."""
        if not self._journal_path.exists():
            return False
        text = self._journal_path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self._finished[entry["key"]] = [ScoreRow(**row) for row in entry["rows"]]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # cut short by a kill: that entry is computed again
        return bool(text) and not text.endswith("\n")

    def finished(self, key: str) -> list[ScoreRow] | None:
        """The rows of an entry that is already there."""
        return self._finished.get(key)

    def finish(self, key: str, rows: Sequence[ScoreRow]) -> None:
        """Append an entry, on the disk before this returns."""
        entry = {"key": key, "rows": [asdict(row) for row in rows]}
        try:
            self._journal.write(json.dumps(entry) + "\n")
            self._journal.flush()
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise InputError(
                f"cannot write {self._journal_path}: {error.strerror}",
                "free some space and run the same command again; it continues from here",
            ) from error
        self._finished[key] = list(rows)

    def add_problem(self, problem: Problem) -> None:
        """Note something that was left out; each problem is kept once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def attempt(self, what: str, where: str, function: Callable[[], T]) -> T | None:
        """The function's value; an error of it that a user can mend is noted, printed, and gives ``None``.

        Raises:
            SpeechstrataError: in a strict run, that error.
        """
        try:
            return function()
        except SpeechstrataError as error:
            self.failed(what, where, error)
            print(f"left out: {what} ({where}): {error}", file=sys.stderr, flush=True)
            return None

    def failed(self, what: str, where: str, error: SpeechstrataError) -> None:
        """Note an error as a problem; raise it in a strict run."""
        if self.strict:
            raise error
        self.add_problem(Problem(what, where, error.message, error.remedy or ""))

    def write_results(self, keys: Iterable[str], config: Mapping[str, Any], provenance: Mapping[str, Any]) -> Path:
        """Write ``scores.parquet`` from the entries of this run, with ``config.json`` and ``provenance.json``."""
        import polars

        rows = [asdict(row) for key in keys for row in self._finished[key]]
        if not rows:
            raise InputError(
                "no score could be computed: " + "; ".join(f"{p.what}: {p.reason}" for p in self.problems[:3]),
                f"all reasons are in {self.path / 'problems.jsonl'}",
            )
        table = polars.DataFrame(rows, schema=_schema(), orient="row")
        # Scores are finished in any order; the table has one.
        table = table.sort("score", "unit", "variant", "reference", "model", "index", "sample_set", maintain_order=True)
        with atomic_path(self.path / "scores.parquet") as partial:
            table.write_parquet(partial)
            digest = sha256_of_file(partial)
        write_json(self.path / "config.json", config)
        write_json(self.path / "provenance.json", {**provenance, "scores_sha256": digest})
        self.write_problems()
        return self.path / "scores.parquet"

    def write_problems(self) -> None:
        """Write ``problems.jsonl``."""
        rows = "".join(json.dumps(asdict(problem)) + "\n" for problem in self.problems)
        write_text(self.path / "problems.jsonl", rows)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def _schema() -> dict[str, Any]:
    import polars

    types: dict[Any, Any] = {int: polars.Int64, float: polars.Float64, str: polars.String}
    optional: dict[str, Any] = {"nats": polars.Float64, "baseline": polars.Float64}
    optional |= dict.fromkeys(("classes", "k", "step"), polars.Int64)
    return {name: optional.get(name) or types[field.type] for name, field in ScoreRow.__dataclass_fields__.items()}


def read_config(path: Path) -> dict[str, Any] | None:
    """The configuration of an earlier run in this folder, if there was one."""
    file = path / "config.json"
    return dict(read_json(file)) if file.exists() else None
