"""The published natural-speech STS set (Merkx, Frank and Ernestus, 2021): sentence pairs read by four people each.

Read from the Parquet files of the hub's data set ``juice500/spoken_sts``, which the public layer-wise code uses: a row
for a pair and a speaker, with ``task``, ``subtask``, ``pair_id``, ``speaker_id``, ``similarity`` and the two recordings
``audio_a`` and ``audio_b`` (records of ``bytes`` and ``path``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechstrata.audio import audio_info
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import make_cut
from speechstrata.corpora.problems import ProblemLog
from speechstrata.corpora.sts_folder import ScoredPair, SentenceRecording, StsKind, write_sts
from speechstrata.corpora.text import normalise_transcript
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import atomic_path

_COLUMNS = ("task", "subtask", "pair_id", "speaker_id", "similarity", "audio_a", "audio_b")
KIND = StsKind("human", "natural", "judgements of the SemEval STS tasks, 0 to 5 (Merkx et al., 2021)")


def prepare_published_sts(source: Path, output: Path, strict: bool = False) -> Corpus:
    """Unpack the recordings, and write the tables for ``analyze --sts``.

    Args:
        source: the folder with the Parquet files, at any depth.
        output: the folder; ``save_corpus`` must write the corpus's description.
        strict: a broken recording is an error.

    Raises:
        CorpusError: no such files, a column is missing, or a pair has two scores.
    """
    files = sorted(source.rglob("*.parquet"))
    if not files:
        raise CorpusError(
            f"there are no Parquet files in {source}", "download the data set juice500/spoken_sts and give its folder"
        )
    log = ProblemLog(strict)
    scores: dict[str, float] = {}
    cuts: list[Any] = []
    recordings: list[SentenceRecording] = []
    (output / "audio").mkdir(parents=True, exist_ok=True)
    for row in _rows(files):
        pair, speaker = f"{row['task']}-{row['subtask']}-{row['pair_id']}", str(row["speaker_id"])
        if scores.setdefault(pair, float(row["similarity"])) != float(row["similarity"]):
            raise CorpusError(f"{source}: the pair {pair} has two scores", "download the files again")
        for side in ("a", "b"):
            name = f"{pair}-{side}-{speaker}"
            path = output / "audio" / f"{name}{Path(row[f'audio_{side}'].get('path') or '').suffix or '.wav'}"
            text = normalise_transcript(str(row.get(f"sentence_{side}") or ""))
            try:
                with atomic_path(path) as partial:
                    partial.write_bytes(row[f"audio_{side}"]["bytes"] or b"")
                cuts.append(make_cut(name, path.resolve(), audio_info(path), text=text, speaker=speaker))
            except InputError as error:
                log.report(name, error.message)
                continue
            recordings.append(SentenceRecording(f"{pair}-{side}", speaker, f"audio/{path.name}"))
    there = {recording.sentence for recording in recordings}
    pairs = [
        ScoredPair(f"{pair}-a", f"{pair}-b", score)
        for pair, score in scores.items()
        if {f"{pair}-a", f"{pair}-b"} <= there
    ]
    if not pairs:
        raise CorpusError(f"{source} has no pair with recordings of both sentences", "download the files again")
    write_sts(output, KIND, recordings, pairs)
    return make_corpus(
        "spoken-sts",
        cuts,
        description="sentence pairs of the SemEval STS tasks, read aloud, with human scores of their similarity",
        licence="CC-BY-4.0, as the hub's card says",
        source="hub data set juice500/spoken_sts (Merkx et al., 2021)",
        problems=log.problems,
        details={"pairs": len(pairs)},
    )


def _rows(files: list[Path]) -> Iterator[dict[str, Any]]:
    import polars as pl

    for file in files:
        try:
            table = pl.read_parquet(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise CorpusError(f"cannot read {file}: {str(error).splitlines()[0]}", "download it again") from error
        missing = [name for name in _COLUMNS if name not in table.columns]
        if missing:
            raise CorpusError(
                f"{file} lacks the column {missing[0]!r}", f"it should have {', '.join(_COLUMNS)}; is it this data set?"
            )
        yield from table.iter_rows(named=True)
