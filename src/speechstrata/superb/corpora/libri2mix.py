"""SD on Libri2Mix (16 kHz, max): mixtures with the times at which each speaker speaks, in Kaldi folders."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lhotse import SupervisionSegment

from speechstrata.errors import CorpusError
from speechstrata.files import read_text
from speechstrata.superb.corpora.audio import example, recording
from speechstrata.superb.corpora.folders import require
from speechstrata.superb.corpora.probe_corpus import ProbeCorpus, write_probe_corpus

_SPLITS = {"train": "train", "dev": "dev", "test": "test"}
_FILES = ("wav.scp", "segments", "utt2spk")


def libri2mix(source: Path, output: Path) -> ProbeCorpus:
    """Prepare it.

    Args:
        source: the folder with ``train``, ``dev`` and ``test``, each with ``wav.scp``, ``segments`` and ``utt2spk``, as
            the benchmark's preparation of Libri2Mix writes them.
        output: folder to make; the audio stays where it is.

    Raises:
        CorpusError: it is another folder.
    """
    for name in _SPLITS.values():
        require(source / name, _FILES, "Libri2Mix for diarisation")
    return write_probe_corpus(
        output,
        task="sd",
        name="libri2mix",
        splits={split: list(_cuts(source / name)) for split, name in _SPLITS.items()},
        mini=False,
        licence="CC-BY-4.0",
        source="LibriMix, of LibriSpeech and WHAM!",
        description="two speakers of LibriSpeech at a time",
    )


def _cuts(folder: Path) -> Iterator[Any]:
    speakers = dict(_pairs(folder / "utt2spk"))
    segments: dict[str, list[SupervisionSegment]] = {}
    for line in _lines(folder / "segments"):
        try:
            name, audio, start, end = line.split()
            first, last = float(start), float(end)
        except ValueError as error:
            raise CorpusError(f"{folder / 'segments'}: {line[:80]!r} has another form", "prepare it again") from error
        if name not in speakers:
            raise CorpusError(f"{folder / 'utt2spk'} has no speaker of {name}", "prepare it again")
        segments.setdefault(audio, []).append(
            SupervisionSegment(name, audio, first, round(last - first, 6), speaker=speakers[name])
        )
    for name, path in _pairs(folder / "wav.scp"):
        yield example(name, recording(_located(Path(path), folder), name), segments.get(name, []))


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    for line in _lines(path):
        name, *rest = line.split(maxsplit=1)
        if not rest:
            raise CorpusError(f"{path}: {line[:80]!r} has another form", "prepare it again")
        yield name, rest[0]


def _located(path: Path, folder: Path) -> Path:
    return path if path.is_absolute() else folder / path


def _lines(path: Path) -> list[str]:
    return [line for line in read_text(path).splitlines() if line.strip()]
