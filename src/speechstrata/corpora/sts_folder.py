"""A spoken STS set on disk: the two tables that ``analyze --sts`` reads, and what kind of scores and speech it has."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from speechstrata.files import write_json, write_text

PAIRS_FILE, RECORDINGS_FILE, STS_FILE = "pairs.tsv", "recordings.tsv", "sts.json"


@dataclass(frozen=True)
class StsKind:
    """What a set is; every report names it.

    Attributes:
        scores: who judged: "human", or "silver" for a text encoder.
        speech: "natural" or "synthetic".
        method: how the scores were made, in a sentence.
    """

    scores: Literal["human", "silver"]
    speech: Literal["natural", "synthetic"]
    method: str


@dataclass(frozen=True)
class SentenceRecording:
    """Somebody says a sentence; ``audio`` is relative to the folder."""

    sentence: str
    speaker: str
    audio: str


@dataclass(frozen=True)
class ScoredPair:
    """Two sentences and how alike they are in meaning."""

    sentence_a: str
    sentence_b: str
    score: float


def write_sts(
    folder: Path, kind: StsKind, recordings: Sequence[SentenceRecording], pairs: Sequence[ScoredPair]
) -> None:
    """Write ``recordings.tsv``, ``pairs.tsv`` and ``sts.json``."""
    _write_table(folder / RECORDINGS_FILE, [asdict(recording) for recording in recordings])
    _write_table(folder / PAIRS_FILE, [asdict(pair) for pair in pairs])
    write_json(folder / STS_FILE, asdict(kind))


def _write_table(path: Path, rows: Sequence[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
