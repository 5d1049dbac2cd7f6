"""A corpus: its cuts, where it comes from, and a fingerprint; and the folder that it is kept in."""

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from lhotse import CutSet
from lhotse.serialization import deserialize_item
from lhotse.utils import fastcopy

from speechstrata.audio import ARCHIVE_MARK
from speechstrata.corpora.cuts import as_cut_set, cut_digest
from speechstrata.corpora.problems import Problem, read_problems, write_problems
from speechstrata.errors import CorpusError, SpeechstrataError
from speechstrata.files import atomic_path, bounded_lines, fingerprint, read_json, sha256_of_file, write_json

CUTS_FILE = "cuts.jsonl.gz"
CORPUS_FILE = "corpus.json"
_PROBLEMS_FILE = "problems.jsonl"
#: Characters: the alignment of sixteen hours of speech in one cut. No line of a manifest is read further.
LONGEST_LINE = 1 << 26
_TOOLS = ("speechstrata", "lhotse", "soundfile", "av", "soxr", "pocketsphinx", "g2p-en")


@dataclass(frozen=True)
class Counts:
    """How much there is.

    Attributes:
        utterances: cuts.
        hours: of audio.
        speakers: names of speakers.
        words: aligned words; likewise ``phones``.
        aligned: utterances with an alignment.
    """

    utterances: int
    hours: float
    speakers: int
    words: int
    phones: int
    aligned: int


@dataclass(frozen=True)
class Corpus:
    """Utterances with their words and phones in time.

    Every cut is one utterance with one supervision: ``text`` (lower-case words), ``speaker``, and
    ``alignment = {"word": [...], "phone": [...]}``. Alignment times are lhotse's: seconds from the start of the
    *recording* (``speechstrata.corpora.cuts.spans_of`` gives them from the start of the cut). Silences are left out.
    Phones are the source's symbols, with its stress digits.

    Attributes:
        name: short.
        cuts: the utterances.
        description: one sentence.
        licence: of the audio and the text.
        source: where it comes from.
        language: BCP 47 tag.
        fingerprint: of the content; the same wherever the files lie and whatever their order.
        counts: how much there is.
        problems: what was skipped, or kept with something missing.
        details: anything else of the corpus, e.g. how it was aligned.
        folder: where it is kept; ``None`` while it is only in memory.
    """

    name: str
    cuts: CutSet
    description: str
    licence: str
    source: str
    language: str
    fingerprint: str
    counts: Counts
    problems: tuple[Problem, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None


def make_corpus(
    name: str,
    cuts: Iterable[Any],
    *,
    description: str,
    licence: str = "unknown",
    source: str = "",
    language: str = "en",
    problems: Iterable[Problem] = (),
    details: dict[str, Any] | None = None,
    folder: Path | None = None,
) -> Corpus:
    """A corpus of these cuts, counted and fingerprinted.

    Raises:
        CorpusError: no cuts, or two of one id.
    """
    cut_set = as_cut_set(cuts)
    problems = tuple(problems)
    counts = count(cut_set)
    if counts.utterances == 0:
        first = f"; the first problem: {problems[0].item}: {problems[0].reason}" if problems else ""
        raise CorpusError(f"the corpus {name} has no usable utterances{first}", "check the source")
    return Corpus(
        name=name,
        cuts=cut_set,
        description=description,
        licence=licence,
        source=source,
        language=language,
        fingerprint=fingerprint_of(cut_set),
        counts=counts,
        problems=problems,
        details=details or {},
        folder=folder,
    )


def fingerprint_of(cuts: Iterable[Any]) -> str:
    """A fingerprint of what the cuts hold, whatever their order and wherever their audio lies."""
    return fingerprint(sorted(map(cut_digest, cuts)))


def count(cuts: Iterable[Any]) -> Counts:
    """Count utterances, hours, speakers and what is aligned."""
    utterances = words = phones = aligned = 0
    seconds = 0.0
    speakers: set[str] = set()
    for cut in cuts:
        utterances += 1
        seconds += cut.duration
        found = [supervision.alignment or {} for supervision in cut.supervisions]
        speakers.update(supervision.speaker for supervision in cut.supervisions if supervision.speaker)
        words += sum(len(alignment.get("word", ())) for alignment in found)
        phones += sum(len(alignment.get("phone", ())) for alignment in found)
        aligned += any(any(alignment.values()) for alignment in found)
    return Counts(utterances, round(seconds / 3600, 4), len(speakers), words, phones, aligned)


def load_corpus(name_or_path: str | Path, *, lazy: bool = False) -> Corpus:
    """Load a corpus: ``"demo"``, a corpus folder, or a lhotse manifest of cuts (``.jsonl``, ``.jsonl.gz``, ``.json``).

    Args:
        name_or_path: which.
        lazy: of a corpus folder, read the cuts from disk each time that they are gone through, instead of holding
            them: aligned speech takes about 10 MB an hour in memory, most of it for its alignments
            (see ``without_alignment``). Then ``cuts`` has no quick access by id.

    Raises:
        CorpusError: there is none of that name, or it cannot be read.
    """
    if str(name_or_path) == "demo":
        from speechstrata.corpora.demo import load_demo

        return load_demo()
    path = Path(name_or_path)
    if (path / CORPUS_FILE).is_file():
        return _load_folder(path, lazy)
    if path.is_file():
        from speechstrata.corpora.manifests import load_manifest_corpus

        return load_manifest_corpus(path)
    what = f"{path} has no {CORPUS_FILE}" if path.is_dir() else f"there is no corpus {str(name_or_path)!r}"
    raise CorpusError(what, "give 'demo', a folder made by 'speechstrata corpus prepare', or a lhotse cuts manifest")


def save_corpus(corpus: Corpus, folder: Path | str) -> Corpus:
    """Write a corpus folder: ``cuts.jsonl.gz``, ``problems.jsonl`` and ``corpus.json`` (last, so a folder is whole).

    Audio inside the folder is written relative to it, so that the folder can be moved.

    Returns:
        The corpus, with its folder.
    """
    folder = Path(folder)
    write_cuts(folder / CUTS_FILE, corpus.cuts)
    write_problems(folder / _PROBLEMS_FILE, corpus.problems)
    write_json(
        folder / CORPUS_FILE,
        {
            "name": corpus.name,
            "description": corpus.description,
            "licence": corpus.licence,
            "source": corpus.source,
            "language": corpus.language,
            "fingerprint": corpus.fingerprint,
            "counts": vars(corpus.counts),
            "problems": len(corpus.problems),
            "details": corpus.details,
            "tools": tool_versions(),
            "cuts_sha256": sha256_of_file(folder / CUTS_FILE),
        },
    )
    return Corpus(**{**vars(corpus), "folder": folder})


def write_cuts(path: Path, cuts: Iterable[Any]) -> None:
    """Write cuts as gzipped JSON lines; audio inside the file's folder is written relative to it."""
    root = path.parent.resolve()
    with (
        atomic_path(path) as partial,
        partial.open("wb") as raw,
        # No name and no time in the header: the same cuts are the same bytes.
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
    ):
        for cut in cuts:
            packed.write((json.dumps(_relative(cut.to_dict(), root), ensure_ascii=False) + "\n").encode())


def tool_versions() -> dict[str, str]:
    """The versions of the packages that a corpus depends on."""
    found: dict[str, str] = {}
    for package in _TOOLS:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def without_alignment(cut: Any) -> Any:
    """A cut without its words and phones: what is needed to read the audio, 3 kB where a whole cut may take 30."""
    return fastcopy(cut, supervisions=[fastcopy(supervision, alignment=None) for supervision in cut.supervisions])


def _load_folder(folder: Path, lazy: bool) -> Corpus:
    described: dict[str, Any] = read_json(folder / CORPUS_FILE)
    file = CutsFile(folder / CUTS_FILE, folder.resolve())
    try:
        # Counts and fingerprint are taken over when nothing was changed by hand, since making them anew takes time.
        unchanged = described["cuts_sha256"] == sha256_of_file(file.path)
        cuts = CutSet(file) if lazy else as_cut_set(file)
        return Corpus(
            name=described["name"],
            cuts=cuts,
            description=described["description"],
            licence=described["licence"],
            source=described["source"],
            language=described["language"],
            fingerprint=described["fingerprint"] if unchanged else fingerprint_of(cuts),
            counts=Counts(**described["counts"]) if unchanged else count(cuts),
            problems=read_problems(folder / _PROBLEMS_FILE),
            details=described.get("details", {}),
            folder=folder,
        )
    except SpeechstrataError:
        raise
    except Exception as error:  # whatever gzip, the JSON reader and lhotse raise
        raise CorpusError(f"the corpus folder {folder} cannot be read: {error!r}", "prepare it again") from error


@dataclass(frozen=True)
class CutsFile:
    """The cuts of a JSON-lines file, read anew by every iteration.

    Attributes:
        path: of the file, plain or gzip.
        root: what relative audio paths start from.
    """

    path: Path
    root: Path

    def __iter__(self) -> Iterator[Any]:
        with self._open() as file:
            for line in bounded_lines(file, LONGEST_LINE, self.path):
                described = json.loads(line)
                for source in _file_sources(described):
                    if not Path(source["source"]).is_absolute():
                        source["source"] = str(self.root / source["source"])
                for supervision in described.get("supervisions", ()):
                    for items in (supervision.get("alignment") or {}).values():
                        for item in items:  # one string for all the spans of a word saves a fifth of the memory
                            item[0] = sys.intern(item[0])
                yield deserialize_item(described)

    def __len__(self) -> int:
        with self._open() as file:
            return sum(1 for _ in bounded_lines(file, LONGEST_LINE, self.path))

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        try:
            with (
                gzip.open(self.path, "rt", encoding="utf-8")
                if self.path.suffix == ".gz"
                else self.path.open(encoding="utf-8") as file
            ):
                yield file
        except SpeechstrataError:
            raise
        except Exception as error:  # whatever gzip, the JSON reader and lhotse raise
            raise CorpusError(f"{self.path} cannot be read: {error!r}", "prepare the corpus again") from error


def _relative(described: dict[str, Any], root: Path) -> dict[str, Any]:
    for source in _file_sources(described):
        path, mark, member = source["source"].partition(ARCHIVE_MARK)
        absolute = Path(path).resolve()
        if absolute.is_relative_to(root):
            source["source"] = absolute.relative_to(root).as_posix() + mark + member
        else:
            source["source"] = str(absolute) + mark + member
    return described


def _file_sources(described: dict[str, Any]) -> list[dict[str, Any]]:
    """The files of a cut's recording, and of recordings among its custom fields (the clean one of a noisy one)."""
    recordings = [described.get("recording") or {}]
    recordings += [value for value in (described.get("custom") or {}).values() if isinstance(value, dict)]
    sources = [source for recording in recordings for source in recording.get("sources", ())]
    if any(source["type"] == "command" for source in sources):  # lhotse would give it to a shell
        raise CorpusError(f"the audio of {described.get('id')} is the output of a command", "write it to files first")
    return [source for source in sources if source["type"] == "file"]
