"""Forced alignment of a whole corpus, in parallel processes; what is done is kept when the run is killed."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse.supervision import AlignmentItem
from lhotse.utils import fastcopy

from speechstrata.audio import load_cut
from speechstrata.corpora.aligner import METHOD, SAMPLE_RATE, Aligner, UnalignedError
from speechstrata.corpora.corpus import Corpus, make_corpus, save_corpus
from speechstrata.corpora.cuts import audio_identity, transcript_of
from speechstrata.corpora.problems import ProblemLog
from speechstrata.corpora.text import normalise_transcript
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import fingerprint
from speechstrata.progress import ProgressBar

#: One JSON object a line for each utterance done: its key, and its words and phones or why it has none.
JOURNAL = "alignment.jsonl"
_CHUNK = 8  # utterances handed to a process at a time


@dataclass(frozen=True)
class _Task:
    key: str
    cut: Any
    text: str


def align_corpus(
    corpus: Corpus,
    output: Path | str,
    *,
    workers: int | None = None,
    strict: bool = False,
    align: Callable[[Any, str], dict[str, Any]] | None = None,
) -> Corpus:
    """Align every utterance, and write a corpus folder with the alignments.

    Transcripts are normalised first (numbers, abbreviations and punctuation, see
    :func:`speechstrata.corpora.text.normalise_transcript`); the written form stays in ``custom["written"]`` where it
    was another one. Utterances that cannot be aligned stay in the corpus without alignment and are listed with the
    reason; those whose audio cannot be read are left out. Results go to ``alignment.jsonl`` as they are made: a
    run that is killed goes on from there, and one that is complete is not computed again. The result does
    not depend on the number of processes.

    Args:
        corpus: with transcripts, in English (the acoustic model's language).
        output: the corpus folder to write; may be the corpus' own.
        workers: processes; one for each processor by default.
        strict: the first utterance that cannot be aligned is an error.
        align: what aligns one cut to a text, for tests; at module level, since it goes to other processes.

    Raises:
        CorpusError: the corpus is not in English, or has no transcripts.
        MissingExtraError: ``pocketsphinx`` is not installed.
    """
    if not corpus.language.lower().startswith("en"):
        raise CorpusError(
            f"the corpus {corpus.name} is in {corpus.language!r}; the acoustic model is English",
            "align it with another tool, and prepare it with its TextGrid or CTM files",
        )
    output = Path(output)
    tasks = [_task(cut) for cut in corpus.cuts]
    if not any(task.text for task in tasks):
        raise CorpusError(f"the corpus {corpus.name} has no transcripts to align", "give a corpus with texts")
    align = align or align_cut
    output.mkdir(parents=True, exist_ok=True)
    journal = output / JOURNAL
    done = _read_journal(journal)
    pending = [task for task in tasks if task.key not in done]
    log = ProblemLog(strict, list(corpus.problems))
    total = sum(task.cut.duration for task in tasks)
    with journal.open("a", encoding="utf-8") as file, ProgressBar("aligning", total=total, unit="s") as bar:
        bar.advance(total - sum(task.cut.duration for task in pending))
        for task, result in _run(pending, workers or os.cpu_count() or 1, align):
            done[task.key] = result
            file.write(json.dumps({"key": task.key, "id": task.cut.id, **result}, ensure_ascii=False) + "\n")
            file.flush()
            bar.advance(task.cut.duration)
            if strict and "reason" in result:
                log.report(task.cut.id, result["reason"])
    cuts = [cut for task in tasks if (cut := _aligned_cut(task, done[task.key], log)) is not None]
    aligned = make_corpus(
        corpus.name,
        cuts,
        description=corpus.description,
        licence=corpus.licence,
        source=corpus.source,
        language=corpus.language,
        problems=log.problems,
        details={**corpus.details, "alignment": METHOD},
    )
    return save_corpus(aligned, output)


def align_cut(cut: Any, text: str) -> dict[str, Any]:
    """Align one utterance: ``{"words": [...], "phones": [...]}``, or ``{"reason": ..., "unreadable": bool}``.

    Each word is ``[symbol, start, end, score]``, each phone ``[symbol, start, end]``; seconds from the cut's start.
    """
    global _aligner
    if _aligner is None:
        _aligner = Aligner()
    try:
        aligned = _aligner(load_cut(cut, SAMPLE_RATE), text)
    except UnalignedError as error:
        return {"reason": f"not aligned: {error.message}", "unreadable": False}
    except InputError as error:
        return {"reason": error.message, "unreadable": True}
    return {"words": [list(word) for word in aligned.words], "phones": [list(phone[:3]) for phone in aligned.phones]}


_aligner: Aligner | None = None  # one for each process: loading the dictionary takes half a second


def _task(cut: Any) -> _Task:
    text = normalise_transcript(transcript_of(cut))
    key = fingerprint([METHOD, text, round(cut.start, 4), round(cut.duration, 4), cut.id, audio_identity(cut)])
    return _Task(key, cut, text)


def _read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """What earlier runs did; a last line that was cut off by a kill is removed."""
    if not path.exists():
        return {}
    done: dict[str, dict[str, Any]] = {}
    whole = 0
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
                done[row.pop("key")] = row
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                break
            if not line.endswith(b"\n"):
                break
            whole += len(line)
    if whole < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(whole)
    return done


def _run(
    tasks: Sequence[_Task], workers: int, align: Callable[[Any, str], dict[str, Any]]
) -> Iterator[tuple[_Task, dict[str, Any]]]:
    """Align the tasks, in any order. An utterance that kills its process is found out and gets that as its reason."""
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, align(task.cut, task.text)
        return
    left = {task.key: task for task in tasks}
    size = _CHUNK
    while left:
        try:
            for task, result in _run_pool(list(left.values()), workers, size, align):
                del left[task.key]
                yield task, result
        except BrokenProcessPool:
            if workers == 1:
                culprit = left.pop(next(iter(left)))
                yield culprit, {"reason": "not aligned: the aligner crashed on it", "unreadable": False}
                continue
            workers, size = 1, 1  # slow but sure: the first one left is the one at work when the process dies


def _run_pool(
    tasks: Sequence[_Task], workers: int, size: int, align: Callable[[Any, str], dict[str, Any]]
) -> Iterator[tuple[_Task, dict[str, Any]]]:
    chunks = iter([tasks[first : first + size] for first in range(0, len(tasks), size)])
    # Processes are started afresh: a fork would copy the threads' locks of the libraries loaded here. An interrupt
    # from the keyboard is for this process alone; it lets the others finish what they have in hand.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        running: dict[Future[list[dict[str, Any]]], Sequence[_Task]] = {}
        try:
            while True:
                while len(running) < (2 * workers if size > 1 else 1) and (chunk := next(chunks, None)):
                    running[pool.submit(_align_chunk, align, [(task.cut, task.text) for task in chunk])] = chunk
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield from zip(running.pop(future), future.result(), strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _align_chunk(align: Callable[[Any, str], dict[str, Any]], chunk: list[tuple[Any, str]]) -> list[dict[str, Any]]:
    return [align(cut, text) for cut, text in chunk]


def _aligned_cut(task: _Task, result: dict[str, Any], log: ProblemLog) -> Any | None:
    """The cut with its alignment; ``None`` where its audio cannot be read."""
    cut = task.cut
    alignment = None
    if "reason" in result:
        log.report(cut.id, result["reason"], skipped=result["unreadable"])
        if result["unreadable"]:
            return None
    else:
        alignment = {"word": _items(result["words"], cut), "phone": _items(result["phones"], cut)}
    written = transcript_of(cut)
    custom = {**(cut.custom or {}), **({} if written == task.text else {"written": written})}
    supervision = fastcopy(cut.supervisions[0], text=task.text, alignment=alignment)
    return fastcopy(cut, supervisions=[supervision], custom=custom or None)


def _items(spans: list[list[Any]], cut: Any) -> list[AlignmentItem]:
    """Spans from the cut's start as items from the recording's start."""
    return [
        AlignmentItem(symbol, round(start + cut.start, 6), round(end - start, 6), score[0] if score else None)
        for symbol, start, end, *score in spans
    ]
