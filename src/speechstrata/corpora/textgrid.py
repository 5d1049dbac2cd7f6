"""Folders of audio with Praat TextGrid files, as the Montreal Forced Aligner and phoneticians leave them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechstrata.corpora.audio_files import (
    AudioFile,
    find_audio,
    inspect_audio,
    pair_by_stem,
    speaker_of,
    utterance_id,
)
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import Span, make_cut
from speechstrata.corpora.problems import ProblemLog
from speechstrata.corpora.segments import Segment, split_at_pauses
from speechstrata.errors import InputError

#: Labels of pauses; they are left out. Other labels that are not speech ("spn", "<unk>") stay: time was spent on them.
SILENCES = frozenset({"", "sil", "sp", "silence", "<eps>", "<sil>", "<p>", "pau", "h#", "#", "_"})


@dataclass(frozen=True)
class TextGridOptions:
    """How a folder of TextGrids is read.

    Attributes:
        word_tier: the name of the tier of words; ``phone_tier`` likewise. Case does not matter, and neither does a
            speaker's name before it, as in "anna - words". A file without a tier of phones has words only; with
            ``word_tier=""`` no words are read, and there must be phones.
        speaker: a regular expression searched in the path of the audio below the folder; its first group is
            the speaker. By default the folder that the file lies in, or "" at the top.
        alignments: the folder of the TextGrids, if it is another one than that of the audio.
        max_seconds: longer recordings are cut at pauses into utterances of at most this length.
        language: BCP 47 tag.
    """

    word_tier: str = "words"
    phone_tier: str = "phones"
    speaker: str | None = None
    alignments: Path | None = None
    max_seconds: float = 30.0
    language: str = "en"


def prepare_textgrid(
    source: Path,
    options: TextGridOptions = TextGridOptions(),
    *,
    workers: int = 1,
    check: bool = True,
    strict: bool = False,
) -> Corpus:
    """The corpus of a folder of audio and TextGrids (long or short format, UTF-8 or UTF-16; point tiers are ignored).

    Raises:
        CorpusError: no audio, or nothing usable.
    """
    log = ProblemLog(strict)
    return make_corpus(
        source.resolve().name,
        _cuts(source, options, log, workers, check),
        description=f"audio and TextGrid files of {source.resolve().name}",
        source=source.resolve().name,
        language=options.language,
        problems=log.problems,
    )


def read_textgrid(path: Path, word_tier: str = "words", phone_tier: str = "phones") -> tuple[list[Span], list[Span]]:
    """The words and phones of a TextGrid, pauses left out; no phones where there is no such tier.

    With ``word_tier=""`` no words are read.

    Raises:
        InputError: not a TextGrid, overlapping or reversed intervals, no tier of words (of phones, where no words are
            wanted), or several.
    """
    from praatio import textgrid

    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="error")
    except Exception as error:  # its parser raises index, value, Unicode and its own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path.name} cannot be read as a TextGrid: {reason}", "write it again with Praat") from error
    words = _tier(grid, word_tier) if word_tier else []
    phones = _tier(grid, phone_tier)
    wanted = word_tier or phone_tier
    if (words if word_tier else phones) is None:
        reason = f"{path.name} has no interval tier {wanted!r}; it has {', '.join(grid.tierNames)}"
        raise InputError(reason, "name the tiers with --word_tier and --phone_tier; --word_tier '' is for phones alone")
    return words or [], phones or []


def _tier(grid: Any, name: str) -> list[Span] | None:
    """The intervals of the tier of that name; ``None`` where there is none."""
    pattern = re.compile(rf"(?:.*\s-\s)?{re.escape(name)}", re.IGNORECASE)
    found = [tier for tier in grid.tiers if pattern.fullmatch(tier.name.strip()) and hasattr(tier, "insertEntry")]
    intervals = [tier for tier in found if all(len(entry) == 3 for entry in tier.entries)]
    if len(intervals) > 1:
        names = ", ".join(repr(tier.name) for tier in intervals)
        raise InputError(f"several tiers match {name!r}: {names}", "name one tier in full")
    if not intervals:
        return None
    return [
        Span(entry.label.strip(), float(entry.start), float(entry.end))
        for entry in intervals[0].entries
        if entry.label.strip().lower() not in SILENCES
    ]


def _cuts(source: Path, options: TextGridOptions, log: ProblemLog, workers: int, check: bool) -> Iterator[Any]:
    root, grids = source.resolve(), (options.alignments or source).resolve()
    audio = find_audio(root, log)
    found = sorted(path for path in grids.rglob("*") if path.suffix.lower() == ".textgrid")
    pairs = pair_by_stem(audio, root, found, grids)
    for path in audio:
        if path not in pairs:
            log.report(path, "there is no TextGrid for it")
    for path in sorted(set(found) - set(pairs.values())):
        log.report(path, "there is no audio for it")
    for file in inspect_audio([path for path in audio if path in pairs], log, workers=workers, check=check):
        grid = pairs[file.path]
        try:
            words, phones = read_textgrid(grid, options.word_tier, options.phone_tier)
            segments = split_at_pauses(words, phones, file.info.duration, options.max_seconds)
        except InputError as error:
            log.report(grid, error.message)
            continue
        yield from cuts_of_segments(
            file, root, segments, speaker_of(file.path, root, options.speaker), options.language, log
        )


def cuts_of_segments(
    file: AudioFile, root: Path, segments: list[Segment], speaker: str, language: str, log: ProblemLog
) -> Iterator[Any]:
    """A cut for each segment of a recording; those with impossible times are reported and left out."""
    name = utterance_id(file.path, root)
    for number, segment in enumerate(segments, start=1):
        identity = name if len(segments) == 1 else f"{name}-{number:04d}"
        try:
            yield make_cut(
                identity,
                file.path,
                file.info,
                text=" ".join(word.symbol.lower() for word in segment.words if not word.symbol.startswith(("<", "["))),
                speaker=speaker,
                words=[word._replace(symbol=word.symbol.lower()) for word in segment.words],
                phones=segment.phones,
                language=language,
                start=segment.start,
                end=segment.end,
                recording_id=name,
                custom=dict(file.custom),
            )
        except InputError as error:
            log.report(identity, error.message)
