"""SF on Audio SNIPS: text-to-speech voices, split by voice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechstrata.errors import CorpusError
from speechstrata.files import read_text
from speechstrata.superb.corpora.audio import example, recording
from speechstrata.superb.corpora.folders import require
from speechstrata.superb.corpora.probe_corpus import ProbeCorpus, write_probe_corpus

VOICES = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "dev": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
_FOLDERS = {"train": "train", "dev": "valid", "test": "test"}
_TABLE = "all.iob.snips.txt"


def audio_snips(source: Path, output: Path) -> ProbeCorpus:
    """Prepare it.

    Args:
        source: the folder with ``all.iob.snips.txt`` and the audio in ``train``, ``valid`` and ``test``.
        output: folder to make; the audio stays where it is.

    Raises:
        CorpusError: it is another folder, or a line of the table cannot be read.
    """
    require(source, [_TABLE, *_FOLDERS.values()], "Audio SNIPS")
    lines = read_iob(source / _TABLE)
    splits = {split: list(_cuts(source / folder, VOICES[split], lines)) for split, folder in _FOLDERS.items()}
    return write_probe_corpus(
        output,
        task="sf",
        name="audio-snips",
        splits=splits,
        mini=False,
        licence="see Audio SNIPS",
        source="Audio SNIPS",
        description="requests with slots, spoken by text-to-speech voices, split by voice",
    )


def read_iob(path: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Utterance -> its words and a slot's name (or ``O``) for each.

    A line is ``<id> BOS <words> EOS <TAB> O <tags> <intent>``; the ``B-`` and ``I-`` of tags are dropped.

    Raises:
        CorpusError: a line has another form.
    """
    found = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        left, _, right = line.partition("\t")
        name, *words = left.split() or [""]
        tags = right.split()
        if len(words) < 3 or words[0] != "BOS" or words[-1] != "EOS" or len(tags) != len(words):
            raise CorpusError(f"{path}, line {number}: words and tags do not fit together", "download it again")
        slots = [tag if tag == "O" else tag.partition("-")[2] for tag in tags[1:-1]]
        found[name] = (words[1:-1], slots)
    return found


def _cuts(folder: Path, voices: tuple[str, ...], lines: dict[str, tuple[list[str], list[str]]]) -> Iterator[Any]:
    for path in sorted(folder.rglob("*.*")):
        voice = path.stem.partition("-")[0]
        if path.suffix.lower() not in (".mp3", ".wav", ".flac") or voice not in voices or path.stem not in lines:
            continue
        words, slots = lines[path.stem]
        label = {"words": words, "slots": slots}
        yield example(path.stem, recording(path), text=" ".join(words), speaker=voice, label=label)
