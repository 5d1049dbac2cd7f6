"""CTM files (NIST: recording, channel, start, duration, symbol), of words and of phones, with a folder of audio."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechstrata.corpora.audio_files import find_audio, inspect_audio, utterance_id
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import Span
from speechstrata.corpora.problems import ProblemLog
from speechstrata.corpora.segments import split_at_pauses
from speechstrata.corpora.textgrid import SILENCES, cuts_of_segments
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import read_text


@dataclass(frozen=True)
class CtmOptions:
    """How CTM files are read.

    Attributes:
        words: the CTM file of words.
        phones: that of phones, if there is one.
        speakers: a file with a recording and its speaker on each line (Kaldi's ``utt2spk``); without it, the
            folder that the audio lies in is the speaker.
        max_seconds: longer recordings are cut at pauses into utterances of at most this length.
        language: BCP 47 tag.
    """

    words: Path
    phones: Path | None = None
    speakers: Path | None = None
    max_seconds: float = 30.0
    language: str = "en"


def prepare_ctm(
    source: Path, options: CtmOptions, *, workers: int = 1, check: bool = True, strict: bool = False
) -> Corpus:
    """The corpus of a folder of audio and CTM files; a recording is known by its file's name, if
    no other file has it, or its path's id.

    Raises:
        CorpusError: a file cannot be read, or nothing usable is left.
    """
    log = ProblemLog(strict)
    return make_corpus(
        source.resolve().name,
        _cuts(source.resolve(), options, log, workers, check),
        description=f"audio of {source.resolve().name} with {options.words.name}",
        source=source.resolve().name,
        language=options.language,
        problems=log.problems,
    )


def read_ctm(path: Path, log: ProblemLog) -> dict[str, list[Span]]:
    """The spans of each recording of a CTM file; broken lines are reported. The confidence becomes the score.

    Raises:
        CorpusError: the file cannot be read.
    """
    try:
        text = read_text(path)
    except InputError as error:
        raise CorpusError(f"the CTM file cannot be read: {error.message}", error.remedy) from error
    found: dict[str, list[Span]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            recording, _, start, duration, symbol, *score = fields
            span = Span(symbol, float(start), float(start) + float(duration), float(score[0]) if score else None)
        except ValueError:
            log.report(f"{path.name}, line {number}", f"not a line of a CTM file: {line.strip()[:60]!r}")
            continue
        spans = found.setdefault(recording, [])
        if symbol.lower() not in SILENCES:
            spans.append(span)
    return {recording: sorted(spans, key=lambda span: span.start) for recording, spans in found.items()}


def _cuts(root: Path, options: CtmOptions, log: ProblemLog, workers: int, check: bool) -> Iterator[Any]:
    words = read_ctm(options.words, log)
    phones = read_ctm(options.phones, log) if options.phones else {}
    speakers = _read_speakers(options.speakers, log) if options.speakers else {}
    audio = find_audio(root, log)
    stems = Counter(path.stem for path in audio)
    names = {
        path: path.stem if path.stem in words and stems[path.stem] == 1 else utterance_id(path, root) for path in audio
    }
    for path, name in names.items():
        if name not in words:
            shared = f"; {stems[path.stem]} files are called {path.stem}" if stems[path.stem] > 1 else ""
            log.report(path, f"{options.words.name} has nothing on it{shared}")
    for name in sorted(set(words) - set(names.values())):
        log.report(name, "there is no audio for it")
    known = [path for path in audio if names[path] in words]
    for file in inspect_audio(known, log, workers=workers, check=check):
        name = names[file.path]
        speaker = speakers.get(name, file.path.relative_to(root).parent.name)
        segments = split_at_pauses(words[name], phones.get(name, []), file.info.duration, options.max_seconds)
        yield from cuts_of_segments(file, root, segments, speaker, options.language, log)


def _read_speakers(path: Path, log: ProblemLog) -> dict[str, str]:
    try:
        lines = read_text(path).splitlines()
    except InputError as error:
        raise CorpusError(f"the file of speakers cannot be read: {error.message}", error.remedy) from error
    speakers: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if len(fields) == 2:
            speakers[fields[0]] = fields[1]
        elif fields:
            log.report(f"{path.name}, line {number}", "not a recording and its speaker")
    return speakers
