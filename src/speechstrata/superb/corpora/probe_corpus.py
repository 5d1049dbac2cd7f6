"""A probe corpus: the splits of one task, and the folder that they are kept in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lhotse import CutSet

from speechstrata.corpora.corpus import CutsFile, write_cuts
from speechstrata.corpora.cuts import as_cut_set, audio_identity
from speechstrata.errors import CorpusError
from speechstrata.files import fingerprint, read_json, write_json

CORPUS_FILE = "corpus.json"


@dataclass(frozen=True)
class ProbeCorpus:
    """The examples of a task, one per cut.

    Where the labels are: ``asr``: the supervision's ``text``. ``sf``: the text, and ``words`` and ``slots`` (``O`` or a
    slot's name, for each word) in the supervision's ``custom``. ``ic``: ``intent``, a label for each label set, in its
    ``custom``. ``ks``: ``keyword`` in its ``custom``. ``sd``: one supervision for each stretch of speech, with
    ``speaker``, ``start`` and ``duration``. ``se``: the cut is the noisy recording; ``clean`` in the cut's ``custom``
    is a recording of the same length.

    Attributes:
        task: short name of the task.
        name: of the corpus.
        splits: ``train``, ``dev``, ``test``, and further test sets.
        mini: made from other material than the benchmark's, and small.
        licence: of audio and labels.
        source: where it comes from.
        description: one sentence.
        details: how it was made.
        fingerprint: of labels, lengths and the identity of the audio.
        folder: where it is kept.
    """

    task: str
    name: str
    splits: Mapping[str, CutSet]
    mini: bool
    licence: str
    source: str
    description: str
    details: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    folder: Path | None = None


def write_probe_corpus(
    folder: Path,
    *,
    task: str,
    name: str,
    splits: Mapping[str, Iterable[Any]],
    mini: bool,
    licence: str,
    source: str,
    description: str,
    details: dict[str, Any] | None = None,
) -> ProbeCorpus:
    """Write a probe corpus: ``cuts-<split>.jsonl.gz``, and ``corpus.json`` last, so that a folder is whole.

    Raises:
        CorpusError: an empty split.
    """
    sets = {split: as_cut_set(cuts) for split, cuts in splits.items()}
    for split, cuts in sets.items():
        if not len(cuts):
            raise CorpusError(f"the {split} split of {name} would be empty", "check the source")
    withdraw(folder)
    for split, cuts in sets.items():
        write_cuts(folder / f"cuts-{split}.jsonl.gz", cuts)
    described = {
        "task": task,
        "name": name,
        "mini": mini,
        "licence": licence,
        "source": source,
        "description": description,
        "splits": {
            split: {"examples": len(cuts), "minutes": round(sum(cut.duration for cut in cuts) / 60, 2)}
            for split, cuts in sets.items()
        },
        "details": details or {},
        "fingerprint": fingerprint({split: sorted(map(_digest, cuts)) for split, cuts in sets.items()}),
    }
    write_json(folder / CORPUS_FILE, described)
    return load_probe_corpus(folder)


def withdraw(folder: Path) -> None:
    """Let what is in a folder no longer count as a corpus: to be called before any of it is written over."""
    (folder / CORPUS_FILE).unlink(missing_ok=True)


def load_probe_corpus(folder: Path | str) -> ProbeCorpus:
    """Read a probe corpus.

    Raises:
        CorpusError: the folder is none, or is damaged.
    """
    folder = Path(folder)
    if not (folder / CORPUS_FILE).is_file():
        raise CorpusError(f"{folder} is no probe corpus", "make one with `speechstrata superb prepare KIND`")
    described = read_json(folder / CORPUS_FILE)
    try:
        splits = {
            split: as_cut_set(CutsFile(folder / f"cuts-{split}.jsonl.gz", folder.resolve()))
            for split in described["splits"]
        }
        names = ("task", "name", "mini", "licence", "source", "description", "details", "fingerprint")
        return ProbeCorpus(**{name: described[name] for name in names}, splits=splits, folder=folder)
    except CorpusError:
        raise
    except Exception as error:  # whatever gzip, the JSON reader and lhotse raise
        raise CorpusError(f"the probe corpus {folder} cannot be read: {error!r}", "prepare it again") from error


def _digest(cut: Any) -> str:
    """Of everything that a task may read of a cut."""
    labels = [[s.speaker, s.text, round(s.start, 4), round(s.duration, 4), s.custom or {}] for s in cut.supervisions]
    changes = [cut.recording.to_dict()["transforms"]] if cut.recording.transforms else []
    return fingerprint([cut.id, round(cut.start, 4), round(cut.duration, 4), labels, audio_identity(cut), *changes])
