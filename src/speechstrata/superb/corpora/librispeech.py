"""ASR on LibriSpeech: train-clean-100, dev-clean, test-clean, from the folder that the archives unpack to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechstrata.files import read_text
from speechstrata.superb.corpora.audio import example, recording
from speechstrata.superb.corpora.folders import require
from speechstrata.superb.corpora.probe_corpus import ProbeCorpus, write_probe_corpus

_SPLITS = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}


def librispeech(source: Path, output: Path) -> ProbeCorpus:
    """Prepare it.

    Args:
        source: the folder ``LibriSpeech``, or the one above it.
        output: folder to make; the audio stays where it is.

    Raises:
        CorpusError: a split is missing or empty.
    """
    root = source / "LibriSpeech" if (source / "LibriSpeech").is_dir() else source
    require(root, _SPLITS.values(), "LibriSpeech")
    return write_probe_corpus(
        output,
        task="asr",
        name="librispeech",
        splits={split: list(_cuts(root / name)) for split, name in _SPLITS.items()},
        mini=False,
        licence="CC-BY-4.0",
        source="LibriSpeech (openslr.org/12)",
        description="read English, 100 h to train on",
    )


def _cuts(folder: Path) -> Iterator[Any]:
    for transcript in sorted(folder.rglob("*.trans.txt")):
        for line in read_text(transcript).splitlines():
            name, _, text = line.partition(" ")
            audio = recording(transcript.parent / f"{name}.flac")
            yield example(name, audio, text=text, speaker=name.partition("-")[0])
