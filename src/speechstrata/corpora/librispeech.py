"""LibriSpeech and Mini LibriSpeech, with the public alignments (TextGrid, or the condensed ``.alignment.txt`` files).

The layout is that of the release: ``<split>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac`` and one
``.trans.txt`` a chapter. The alignments (Lugosch et al., made with the Montreal Forced Aligner) come either as one
TextGrid an utterance, with words and phones, or as one ``.alignment.txt`` a chapter, with words only; both lie in the
same folders as the audio, beside it or in a tree of their own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechstrata.corpora.audio_files import AudioFile, inspect_audio
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import Span, make_cut
from speechstrata.corpora.problems import ProblemLog
from speechstrata.corpora.text import plain_words
from speechstrata.corpora.textgrid import SILENCES, read_textgrid
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import read_text

SPLITS = ("dev-clean", "dev-other", "test-clean", "test-other", "train-clean-100", "train-clean-360", "train-other-500")
MINI_SPLITS = ("dev-clean-2", "train-clean-5")


@dataclass(frozen=True)
class LibriSpeechOptions:
    """What of LibriSpeech is taken.

    Attributes:
        splits: by name; all that are there by default.
        alignments: the folder of the alignments, if it is another one than that of the audio; the folder that
            has the splits in it, or one above it.
    """

    splits: tuple[str, ...] = ()
    alignments: Path | None = None


def prepare_librispeech(
    source: Path,
    options: LibriSpeechOptions = LibriSpeechOptions(),
    *,
    workers: int = 1,
    check: bool = True,
    strict: bool = False,
) -> Corpus:
    """The corpus of a LibriSpeech folder; utterances without an alignment are kept, and reported.

    Raises:
        CorpusError: no split is there, or nothing usable.
    """
    log = ProblemLog(strict)
    root = _above_splits(source)
    splits = options.splits or tuple(split for split in (*SPLITS, *MINI_SPLITS) if (root / split).is_dir())
    missing = [split for split in splits if not (root / split).is_dir()]
    if missing or not splits:
        what = f"{root} has no split {missing[0]!r}" if missing else f"there is no split of LibriSpeech in {root}"
        raise CorpusError(what, f"give the folder that holds one of: {', '.join((*SPLITS, *MINI_SPLITS))}")
    aligned = _above_splits(options.alignments) if options.alignments else root
    mini = all(split in MINI_SPLITS for split in splits)
    return make_corpus(
        "mini-librispeech" if mini else "librispeech",
        _cuts(root, aligned, splits, log, workers, check),
        description=f"read English audiobooks, {', '.join(splits)}; public alignments where there are any",
        licence="CC-BY-4.0",
        source="openslr.org/31" if mini else "openslr.org/12; alignments: zenodo.org/records/2619474",
        problems=log.problems,
        details={"splits": list(splits)},
    )


def download_mini_librispeech(folder: Path) -> Path:
    """Download Mini LibriSpeech (1,519 + 1,089 utterances, 0.5 GB) with lhotse; what is there is not fetched again.

    Raises:
        CorpusError: it cannot be downloaded.
    """
    from lhotse.recipes.librispeech import download_librispeech

    try:
        return Path(download_librispeech(folder, dataset_parts="mini_librispeech"))
    except Exception as error:  # whatever the network and the archive raise
        remedy = "download dev-clean-2.tar.gz and train-clean-5.tar.gz from openslr.org/31, unpack, and give the folder"
        raise CorpusError(f"Mini LibriSpeech cannot be downloaded: {error}", remedy) from error


def read_condensed_alignments(path: Path, log: ProblemLog) -> dict[str, list[Span]]:
    """The words of a chapter's ``.alignment.txt``: on each line an utterance, its words, and when each of them ends.

    Empty words are pauses, left out here. Broken lines are reported.
    """
    found: dict[str, list[Span]] = {}
    try:
        text = read_text(path)
    except InputError as error:
        log.report(path.name, error.message, skipped=False)
        return found
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            utterance, symbols, ends = line.split()
            words = symbols.strip('"').split(",")
            times = [0.0, *map(float, ends.strip('"').split(","))]
            if len(times) != len(words) + 1:
                raise ValueError(f"{len(words)} words, {len(times) - 1} times")
        except ValueError as error:
            log.report(f"{path.name}, line {number}", f"not a line of an alignment file: {error}", skipped=False)
            continue
        rows = zip(words, times, times[1:], strict=False)
        found[utterance] = [Span(word, start, end) for word, start, end in rows if word.lower() not in SILENCES]
    return found


def _above_splits(folder: Path) -> Path:
    """The folder that has the splits in it: the one given, or its ``LibriSpeech``; a split's own folder's parent."""
    folder = folder.resolve()
    known = (*SPLITS, *MINI_SPLITS)
    if folder.name in known:
        return folder.parent
    inner = folder / "LibriSpeech"
    here = any((folder / split).is_dir() for split in known)
    return inner if inner.is_dir() and not here else folder


def _cuts(
    root: Path, aligned: Path, splits: Sequence[str], log: ProblemLog, workers: int, check: bool
) -> Iterator[Any]:
    genders = _genders(root)
    for split in splits:
        paths = sorted((root / split).glob("*/*/*.flac"))
        texts: dict[str, str] = {}
        words: dict[str, list[Span]] = {}
        for chapter in sorted({path.parent for path in paths}):
            texts |= _transcripts(chapter, log)
            place = aligned / chapter.relative_to(root)
            for condensed in sorted(place.glob("*.alignment.txt")):
                words |= read_condensed_alignments(condensed, log)
        for name in sorted(texts.keys() - {path.stem for path in paths}):
            log.report(name, "there is no audio for it")
        for file in inspect_audio(paths, log, workers=workers, check=check):
            name = file.path.stem
            if name not in texts:
                log.report(name, "there is no transcript for it")
                continue
            grid = aligned / file.path.relative_to(root).with_suffix(".TextGrid")
            try:
                cut = _cut(file, texts[name], split, grid, words.get(name, []), genders)
            except InputError as error:
                log.report(name, error.message)
                continue
            if not cut.supervisions[0].alignment:
                log.report(name, "there is no alignment for it", skipped=False)
            yield cut


def _cut(file: AudioFile, text: str, split: str, grid: Path, words: list[Span], genders: dict[str, str]) -> Any:
    phones: list[Span] = []
    if grid.is_file():
        words, phones = read_textgrid(grid)
    chapter, speaker = file.path.parent.name, file.path.parent.parent.name
    return make_cut(
        file.path.stem,
        file.path,
        file.info,
        text=plain_words(text),
        speaker=speaker,
        gender=genders.get(speaker),
        language="en",
        words=[word._replace(symbol=word.symbol.lower()) for word in words],
        phones=phones,
        custom={"split": split, "chapter": chapter, **file.custom},
    )


def _transcripts(chapter: Path, log: ProblemLog) -> dict[str, str]:
    texts: dict[str, str] = {}
    for path in sorted(chapter.glob("*.trans.txt")):
        try:
            lines = read_text(path).splitlines()
        except InputError as error:
            log.report(path, error.message)
            continue
        for number, line in enumerate(lines, start=1):
            name, _, text = line.strip().partition(" ")
            if text:
                texts[name] = text
            elif name:
                log.report(f"{path.name}, line {number}", "no transcript after the utterance's name")
    return texts


def _genders(root: Path) -> dict[str, str]:
    """Readers' genders from SPEAKERS.TXT, if it is there."""
    path = root / "SPEAKERS.TXT"
    if not path.is_file():
        return {}
    rows = [line.split("|") for line in read_text(path).splitlines() if not line.startswith(";")]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) > 2}
