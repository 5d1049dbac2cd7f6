"""A spoken STS set: sentence pairs with human scores, and recordings of the sentences by several speakers."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.model_pass import Utterances
from speechstrata.errors import InputError, TooFewSamplesError
from speechstrata.files import fingerprint, read_json, sha256_of_file


@dataclass(frozen=True)
class SentencePairs:
    """A spoken STS set.

    Attributes:
        name: of its folder.
        label: whose scores and what speech, such as "human scores, synthetic speech"; "" where the folder does not say.
        utterances: the recordings.
        pairs: for each sentence pair, every recording of the one with every recording of the other: (n, 2) indices.
        human_scores: (n_pairs,).
        fingerprint: of the tables and the audio.
    """

    name: str
    label: str
    utterances: Utterances
    pairs: tuple[NDArray[np.int64], ...]
    human_scores: NDArray[np.float64]
    fingerprint: str


def _read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(
                    f"{path} lacks the column {missing[0]!r}", f"its first line must name {', '.join(columns)} (tabs)"
                )
            rows = list(reader)
            for number, row in enumerate(rows, start=2):
                if any(row[name] is None for name in columns):
                    raise InputError(f"{path}, line {number}, has too few columns", "mend the table")
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}", "give a folder with pairs.tsv and recordings.tsv") from error


def _read_label(path: Path) -> tuple[str, str]:
    """What ``sts.json`` says of the scores and the speech, as a label, and how the scores were made."""
    if not path.is_file():
        return "", ""
    described = read_json(path)
    known = {"scores": ("human", "silver"), "speech": ("natural", "synthetic")}
    for name, values in known.items():
        if not isinstance(described, dict) or described.get(name) not in values:
            raise InputError(f"{path} does not say the kind of {name}", f"write one of: {', '.join(values)}")
    return f"{described['scores']} scores, {described['speech']} speech", str(described.get("method", ""))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def load_sentence_pairs(folder: Path) -> SentencePairs:
    """Read a folder with two tab-separated tables.

    ``pairs.tsv`` has the columns ``sentence_a``, ``sentence_b``, ``score``; ``recordings.tsv`` has ``sentence``,
    ``speaker``, ``audio`` (a path, relative to the folder). Every recording of the one sentence is compared with every
    recording of the other: 16 comparisons for four speakers each, as in the natural-speech STS set (Merkx
    et al., 2021). A pair without recordings of both sentences is an error: it would change the score silently.

    ``sts.json``, where there is one, says ``scores`` ("human" or "silver": by a text encoder) and ``speech`` ("natural"
    or "synthetic"); both are named with every score.

    Raises:
        InputError: a table is missing or broken, a score is not a number, a sentence has no recording, an audio
            file is not there, or ``sts.json`` says something else.
    """
    from speechstrata.audio import audio_info, read_audio

    folder = Path(folder)
    recordings = _read_table(folder / "recordings.tsv", ("sentence", "speaker", "audio"))
    rows = _read_table(folder / "pairs.tsv", ("sentence_a", "sentence_b", "score"))
    paths = [folder / row["audio"] for row in recordings]
    for path in paths:
        if not _is_file(path):
            raise InputError(
                f"{folder / 'recordings.tsv'} names {str(path)[:200]}, which is not there", "mend the table"
            )
    of_sentence: dict[str, list[int]] = {}
    for index, row in enumerate(recordings):
        of_sentence.setdefault(row["sentence"], []).append(index)
    pairs, scores = [], []
    for number, row in enumerate(rows, start=2):
        where = f"{folder / 'pairs.tsv'}, line {number}"
        for side in ("sentence_a", "sentence_b"):
            if row[side] not in of_sentence:
                raise InputError(f"{where}: no recording of sentence {row[side]!r}", "add it to recordings.tsv")
        try:
            score = float(row["score"])
        except (TypeError, ValueError):
            score = math.nan
        if not math.isfinite(score):
            raise InputError(f"{where}: the score {row['score']!r} is not a number", "mend the table")
        first, second = of_sentence[row["sentence_a"]], of_sentence[row["sentence_b"]]
        pairs.append(np.array([(a, b) for a in first for b in second], dtype=np.int64))
        scores.append(score)
    utterances = Utterances(
        ids=tuple(row["audio"] for row in recordings),
        speakers=tuple(row["speaker"] for row in recordings),
        splits=("",) * len(recordings),
        seconds=np.array([audio_info(path).duration for path in paths]),
        load=lambda index, sample_rate: read_audio(paths[index], sample_rate),
    )
    label, method = _read_label(folder / "sts.json")
    content = [recordings, rows, [sha256_of_file(path) for path in paths]]
    digest = fingerprint([*content, label, method] if label else content)
    return SentencePairs(folder.name, label, utterances, tuple(pairs), np.array(scores), digest)


def readable_pairs(
    sts: SentencePairs, vectors: NDArray[np.float32]
) -> tuple[Sequence[NDArray[np.int64]], NDArray[np.float64]]:
    """The sentence pairs whose recordings have finite vectors, with their human scores.

    Raises:
        TooFewSamplesError: none is left.
    """
    finite = np.asarray(np.isfinite(vectors).all(axis=1))
    kept = [(pair[finite[pair].all(axis=1)], score) for pair, score in zip(sts.pairs, sts.human_scores, strict=True)]
    kept = [(pair, score) for pair, score in kept if len(pair)]
    if not kept:
        raise TooFewSamplesError(f"no sentence pair of {sts.name} has readable recordings", "check the audio files")
    return [pair for pair, _ in kept], np.array([score for _, score in kept])
