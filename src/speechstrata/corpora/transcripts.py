"""Folders of audio with transcripts and no times yet: what ``speechstrata align`` starts from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechstrata.corpora.audio_files import find_audio, inspect_audio, pair_by_stem, speaker_of, utterance_id
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import make_cut
from speechstrata.corpora.problems import ProblemLog
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import read_text

_SUFFIXES = (".txt", ".lab")


@dataclass(frozen=True)
class TranscriptOptions:
    """How transcripts are found.

    Attributes:
        table: a file with an utterance, a tab, its text, and perhaps a tab and its speaker on each line; an
            utterance is a file's name without ending, or its path's id. Without a table, each audio file
            has a ``.txt`` or ``.lab`` file of its name beside it.
        speaker: a regular expression searched in the path of the audio below the folder; its first group is
            the speaker. By default the folder that the file lies in, or "" at the top.
        language: BCP 47 tag.
    """

    table: Path | None = None
    speaker: str | None = None
    language: str = "en"


def prepare_transcripts(
    source: Path,
    options: TranscriptOptions = TranscriptOptions(),
    *,
    workers: int = 1,
    check: bool = True,
    strict: bool = False,
) -> Corpus:
    """The corpus of a folder of audio with transcripts, without alignments; texts are kept as they are written.

    Raises:
        CorpusError: no audio, or nothing usable.
    """
    log = ProblemLog(strict)
    return make_corpus(
        source.resolve().name,
        _cuts(source.resolve(), options, log, workers, check),
        description=f"audio and transcripts of {source.resolve().name}",
        source=source.resolve().name,
        language=options.language,
        problems=log.problems,
    )


def _cuts(root: Path, options: TranscriptOptions, log: ProblemLog, workers: int, check: bool) -> Iterator[Any]:
    audio = find_audio(root, log)
    texts = _table(options.table, audio, root, log) if options.table else _files(audio, root, log)
    for path in audio:
        if path not in texts:
            log.report(path, "there is no transcript for it")
    known = [path for path in audio if path in texts]
    for file in inspect_audio(known, log, workers=workers, check=check):
        text, speaker = texts[file.path]
        name = utterance_id(file.path, root)
        try:
            speaker = speaker or speaker_of(file.path, root, options.speaker)
            yield make_cut(
                name, file.path, file.info, text=text, speaker=speaker, language=options.language, custom=file.custom
            )
        except InputError as error:
            log.report(name, error.message)


def _files(audio: list[Path], root: Path, log: ProblemLog) -> dict[Path, tuple[str, str]]:
    others = sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES)
    texts: dict[Path, tuple[str, str]] = {}
    for path, other in pair_by_stem(audio, root, others, root).items():
        try:
            text = " ".join(read_text(other).split())
        except InputError as error:
            log.report(other, error.message)
            continue
        if text:
            texts[path] = (text, "")
        else:
            log.report(other, "the transcript is empty")
    return texts


def _table(table: Path, audio: list[Path], root: Path, log: ProblemLog) -> dict[Path, tuple[str, str]]:
    try:
        lines = read_text(table).split("\n")
    except InputError as error:
        raise CorpusError(f"the table of transcripts cannot be read: {error.message}", error.remedy) from error
    by_name = {utterance_id(path, root): path for path in audio}
    stems: dict[str, list[Path]] = {}
    for path in audio:
        stems.setdefault(path.stem, []).append(path)
    by_name |= {stem: paths[0] for stem, paths in stems.items() if len(paths) == 1}
    texts: dict[Path, tuple[str, str]] = {}
    for number, line in enumerate(lines, start=1):
        name, _, rest = line.partition("\t")
        text, _, speaker = rest.partition("\t")
        if not line.strip():
            continue
        if not text.strip():
            log.report(f"{table.name}, line {number}", "not an utterance, a tab, and a text")
        elif name.strip() not in by_name:
            log.report(name.strip(), "there is no audio for it")
        else:
            texts[by_name[name.strip()]] = (text.strip(), speaker.strip())
    return texts
