"""``speechstrata corpus prepare``: from any kind of source to a corpus folder."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.utils import fastcopy

from speechstrata.corpora.corpus import CORPUS_FILE, Corpus, load_corpus, save_corpus
from speechstrata.corpora.kinds import KINDS, PrepareOptions
from speechstrata.corpora.problems import Problem
from speechstrata.errors import CorpusError
from speechstrata.files import LOCK_FILE, atomic_path, hold, read_json, room_for


def prepare_corpus(
    kind: str,
    source: Path | str | None,
    output: Path | str,
    options: PrepareOptions | None = None,
    *,
    name: str | None = None,
    copy_audio: bool = False,
    check: bool = True,
    strict: bool = False,
    workers: int | None = None,
) -> Corpus:
    """Prepare a corpus folder.

    Args:
        kind: one of ``KINDS``.
        source: what the kind says; ``None`` where the kind can do without.
        output: the corpus folder; a folder that holds another corpus is not written over.
        options: of the kind; one that the kind does not use must keep its default. All defaults if not given.
        name: of the corpus, instead of the kind's own.
        copy_audio: copy the recordings into the folder, so that it stands on its own; otherwise their absolute
            paths are kept.
        check: decode every recording to its end. Without it only headers are read, and broken audio is found when it
            is used.
        strict: the first item that is not right is an error; otherwise it is reported and skipped.
        workers: threads for checking and processes for alignment; one for each processor by default.

    Returns:
        The corpus, with its folder, counts and problems; ``summary`` says them in words.

    Raises:
        CorpusError: unknown kind or source, an option of another kind, nothing usable; with ``strict`` any problem.
        InputError: the folder cannot be written, or another process writes to it.
    """
    if kind not in KINDS:
        raise CorpusError(f"there is no kind of corpus {kind!r}", f"the kinds are: {', '.join(KINDS)}")
    if source is None and KINDS[kind].needs_source:
        raise CorpusError(f"a corpus of the kind {kind} needs a source", f"give {KINDS[kind].source}")
    options = options or PrepareOptions()
    _refuse_foreign_options(kind, options)
    output = Path(output)
    workers = workers or os.cpu_count() or 1
    path = None if source is None else Path(source)
    with hold(output / LOCK_FILE), room_for(output):
        _refuse_other_corpus(output, kind)
        if kind == "amazon-queen":
            return _amazon_queen(path, output, options, name, strict, workers)
        if kind.endswith("-sts"):
            corpus = _sentence_pairs(kind, path, output, options, strict)
        else:
            assert path is not None
            corpus = _READERS[kind](path, options, {"workers": workers, "check": check, "strict": strict})
        corpus = replace(corpus, name=name or corpus.name, details={**corpus.details, "kind": kind})
        if copy_audio and kind in _READERS:
            corpus = _with_copies(corpus, output)
        return save_corpus(corpus, output)


def summary(corpus: Corpus, limit: int = 5) -> str:
    """What a corpus holds and what was wrong, in a few lines: the counts, and the commonest reasons with an example.

    Args:
        corpus: any.
        limit: how many reasons are told.
    """
    counts = corpus.counts
    lines = [
        f"{corpus.name}: {counts.utterances:,} utterances, {counts.hours:.2f} h, {counts.speakers} speakers; "
        f"{counts.aligned:,} aligned: {counts.words:,} words, {counts.phones:,} phones"
    ]
    skipped = sum(problem.skipped for problem in corpus.problems)
    if corpus.problems:
        where = f"; all in {corpus.folder / 'problems.jsonl'}" if corpus.folder else ""
        lines.append(f"{skipped:,} items skipped, {len(corpus.problems) - skipped:,} kept with a lack{where}")
    reasons: Counter[str] = Counter()
    example: dict[str, Problem] = {}
    for problem in corpus.problems:
        reason = "".join(" " if char.isdigit() else char for char in problem.reason)
        reasons[reason] += 1
        example.setdefault(reason, problem)
    for reason, number in reasons.most_common(limit):
        lines.append(f"  {number:,} x e.g. {example[reason].item}: {example[reason].reason}")
    return "\n".join(lines)


def _amazon_queen(
    source: Path | None, output: Path, options: PrepareOptions, name: str | None, strict: bool, workers: int
) -> Corpus:
    from speechstrata.corpora.amazon_queen import prepare_amazon_queen

    corpus = prepare_amazon_queen(source, output, strict=strict)
    corpus = replace(corpus, name=name or corpus.name, details={"kind": "amazon-queen"})
    if not options.align:
        return save_corpus(corpus, output)
    from speechstrata.corpora.align import align_corpus

    return align_corpus(corpus, output, workers=workers, strict=strict)


def _sentence_pairs(kind: str, source: Path | None, output: Path, options: PrepareOptions, strict: bool) -> Corpus:
    """The kinds that write their own audio, with the tables of ``analyze --sts`` beside it."""
    if kind == "lee-sts":
        from speechstrata.corpora.lee_sts import prepare_lee

        return prepare_lee(source, output, voices=options.voices, words=options.max_words)
    assert source is not None
    if kind == "silver-sts":
        from speechstrata.corpora.silver_sts import prepare_silver

        return prepare_silver(load_corpus(source), output, pairs=options.pairs, strict=strict)
    from speechstrata.corpora.published_sts import prepare_published_sts

    return prepare_published_sts(source, output, strict)


def _librispeech(source: Path, options: PrepareOptions, common: dict[str, Any]) -> Corpus:
    from speechstrata.corpora.librispeech import LibriSpeechOptions, prepare_librispeech

    return prepare_librispeech(source, LibriSpeechOptions(options.splits, options.alignments), **common)


def _mini_librispeech(source: Path, options: PrepareOptions, common: dict[str, Any]) -> Corpus:
    from speechstrata.corpora.librispeech import download_mini_librispeech

    return _librispeech(download_mini_librispeech(source), options, common)


def _textgrid(source: Path, options: PrepareOptions, common: dict[str, Any]) -> Corpus:
    from speechstrata.corpora.textgrid import TextGridOptions, prepare_textgrid

    return prepare_textgrid(source, _options(TextGridOptions, options), **common)


def _ctm(source: Path, options: PrepareOptions, common: dict[str, Any]) -> Corpus:
    from speechstrata.corpora.ctm import CtmOptions, prepare_ctm

    if options.words is None:
        raise CorpusError("a corpus of the kind ctm needs a CTM file of words", "give its option 'words'")
    return prepare_ctm(source, _options(CtmOptions, options), **common)


def _transcripts(source: Path, options: PrepareOptions, common: dict[str, Any]) -> Corpus:
    from speechstrata.corpora.transcripts import TranscriptOptions, prepare_transcripts

    return prepare_transcripts(source, _options(TranscriptOptions, options), **common)


def _lhotse(source: Path, options: PrepareOptions, common: dict[str, Any]) -> Corpus:
    from speechstrata.corpora.manifests import load_manifest_corpus

    return load_manifest_corpus(source, options.supervisions, **common)


_READERS: dict[str, Callable[[Path, PrepareOptions, dict[str, Any]], Corpus]] = {
    "librispeech": _librispeech,
    "mini-librispeech": _mini_librispeech,
    "textgrid": _textgrid,
    "ctm": _ctm,
    "transcripts": _transcripts,
    "lhotse": _lhotse,
}


def _options(made: type[Any], options: PrepareOptions) -> Any:
    return made(**{field.name: getattr(options, field.name) for field in fields(made)})


def _refuse_foreign_options(kind: str, options: PrepareOptions) -> None:
    default = PrepareOptions()
    for field in fields(options):
        if getattr(options, field.name) != getattr(default, field.name) and field.name not in KINDS[kind].options:
            used = ", ".join(KINDS[kind].options) or "none"
            raise CorpusError(f"a corpus of the kind {kind} has no option {field.name!r}", f"its options: {used}")


def _refuse_other_corpus(output: Path, kind: str) -> None:
    """A folder is only written again by the kind of source that it came from."""
    if not (output / CORPUS_FILE).exists():
        return
    held = read_json(output / CORPUS_FILE)
    if held.get("details", {}).get("kind") != kind:
        raise CorpusError(f"{output} already holds the corpus {held.get('name')!r}", "choose another folder")


def _with_copies(corpus: Corpus, output: Path) -> Corpus:
    """The corpus with its recordings copied to ``output/audio``, each file once."""
    folder = output.resolve() / "audio"
    copied: dict[str, str] = {}
    cuts = []
    for cut in corpus.cuts:
        sources = []
        for source in cut.recording.sources:
            if source.type == "file" and source.source not in copied:
                original = Path(source.source)
                target = folder / f"{cut.recording.id}{original.suffix}"
                if len(cut.recording.sources) > 1:
                    target = folder / f"{cut.recording.id}-{source.channels[0]}{original.suffix}"
                if target.resolve() != original.resolve():
                    with atomic_path(target) as partial:
                        shutil.copyfile(original, partial)
                copied[source.source] = str(target)
            sources.append(fastcopy(source, source=copied.get(source.source, source.source)))
        cuts.append(fastcopy(cut, recording=fastcopy(cut.recording, sources=sources)))
    return replace(corpus, cuts=CutSet.from_cuts(cuts))
