"""What was wrong with a corpus' material: every item by name, with the reason, counted at the end."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from speechstrata.errors import CorpusError
from speechstrata.files import read_text, write_text

#: Recordings shorter than this hold nothing that can be analysed.
MIN_SECONDS = 0.1


@dataclass(frozen=True)
class Problem:
    """One item that is not right.

    Attributes:
        item: the file or the utterance.
        reason: what is wrong with it.
        skipped: whether it was left out of the corpus; if not, it is there without what the reason says is missing.
    """

    item: str
    reason: str
    skipped: bool = True


@dataclass
class ProblemLog:
    """Collects problems; with ``strict`` the first one ends the run.

    Attributes:
        strict: raise instead of collecting.
        problems: in the order reported.
    """

    strict: bool = False
    problems: list[Problem] = field(default_factory=list)

    def report(self, item: str | Path, reason: str, skipped: bool = True) -> None:
        """Note a problem.

        Raises:
            CorpusError: with ``strict``.
        """
        if self.strict:
            raise CorpusError(f"{item}: {reason}", "mend it, or run without --strict to go on without it")
        self.problems.append(Problem(_printable(item), _printable(reason), skipped))


def _printable(text: str | Path) -> str:
    """A text that UTF-8 can hold: names of files need not be UTF-8."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write ``problems.jsonl``: one JSON object a line."""
    write_text(path, "".join(json.dumps(asdict(problem), ensure_ascii=False) + "\n" for problem in problems))


def read_problems(path: Path) -> tuple[Problem, ...]:
    """Read what :func:`write_problems` wrote; no file means no problems."""
    if not path.exists():
        return ()
    rows: list[dict[str, Any]] = [json.loads(line) for line in read_text(path).split("\n") if line]
    return tuple(Problem(**row) for row in rows)
