"""The public text format of units: ``.tsv`` (audio files), ``.km`` (units) and ``dict.km.txt`` (classes)."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from speechstrata.errors import InputError
from speechstrata.files import write_text
from speechstrata.pretraining.config import SAMPLE_RATE
from speechstrata.pretraining.units import UnitStore, write_units


def import_units(
    tsv: Path | str, labels: Path | str, dictionary: Path | str, folder: Path | str, *, rate: float, offset: float
) -> UnitStore:
    """Turn public unit files into a folder of units; an utterance's id is its audio file's name without suffix.

    Args:
        tsv: the root folder on the first line, then ``path<TAB>samples``.
        labels: one line of symbols for each audio file, in the same order.
        dictionary: ``symbol count`` lines; a symbol's class is its line number, as in models trained with it.
        folder: where to write.
        rate: units per second.
        offset: the centre of the first unit, in samples at 16 kHz (199.5 for the published extractors).

    Raises:
        InputError: a file cannot be read, the files do not match, or a symbol is not in the dictionary.
    """
    symbols = [line.split() for line in _lines(dictionary)]
    if not all(symbols):
        raise InputError(f"{dictionary}, line {symbols.index([]) + 1}, is empty", "write `symbol count` on every line")
    classes = {fields[0]: number for number, fields in enumerate(symbols)}
    audio = _lines(tsv)[1:]
    streams = _lines(labels)
    if len(audio) != len(streams):
        raise InputError(
            f"{tsv} lists {len(audio)} audio files, {labels} has {len(streams)} lines", "give the files of one split"
        )
    units = []
    for number, line in enumerate(streams, start=1):
        try:
            units.append(np.array([classes[symbol] for symbol in line.split()], dtype=np.int64))
        except KeyError as error:
            raise InputError(
                f"{labels}, line {number}: the symbol {error.args[0]!r} is not in {dictionary}", "give its dictionary"
            ) from error
    names = [PurePosixPath(line.split("\t")[0]).stem for line in audio]
    stride = SAMPLE_RATE / Fraction(str(rate))
    write_units(folder, names, units, classes=len(classes), stride=stride, offset=offset)
    return UnitStore.open(folder)


def export_units(
    store: UnitStore, audio: Mapping[str, tuple[str, int]], folder: Path | str, *, root: str, split: str = "train"
) -> None:
    """Write ``<split>.tsv``, ``<split>.km`` and ``dict.km.txt`` for the public training code.

    Args:
        store: the units.
        audio: utterance id -> (path of the audio file relative to ``root``, its samples).
        folder: where to write.
        root: folder of the audio files, for the first line of the ``.tsv``.
        split: name of the files.
    """
    folder = Path(folder)
    tsv = [root, *(f"{path}\t{samples}" for path, samples in audio.values())]
    streams = [" ".join(map(str, store.units(name))) for name in audio]
    write_text(folder / f"{split}.tsv", "".join(f"{line}\n" for line in tsv))
    write_text(folder / f"{split}.km", "".join(f"{line}\n" for line in streams))
    write_text(folder / "dict.km.txt", "".join(f"{number} 1\n" for number in range(store.classes)))


def audio_below(root: Path | str, cuts: Iterable[Any], store: UnitStore) -> dict[str, tuple[str, int]]:
    """What ``export_units`` says of the audio, for the utterances that have units.

    Args:
        root: folder that all audio files are in.
        cuts: lhotse cuts of the corpus.
        store: the units.

    Returns:
        Utterance id -> (path below ``root``, samples).

    Raises:
        InputError: an utterance is not a whole file below ``root`` of 16 kHz and one channel, which is all that the
            public format knows; or no utterance has units.
    """
    found: dict[str, tuple[str, int]] = {}
    folder = Path(root).resolve()
    for cut in cuts:
        if cut.id not in store:
            continue
        recording, source = cut.recording, cut.recording.sources[0]
        path = Path(str(source.source))
        if source.type != "file" or not path.is_file():
            raise InputError(f"the audio of {cut.id} is no file of its own", "give a corpus of plain audio files")
        if cut.start != 0 or round(cut.duration * recording.sampling_rate) != recording.num_samples:
            raise InputError(f"{cut.id} is a part of {path}", "write each utterance to a file of its own")
        if recording.sampling_rate != SAMPLE_RATE or recording.num_channels != 1:
            rate, channels = recording.sampling_rate, recording.num_channels
            raise InputError(f"{path} has {rate} Hz and {channels} channels", "write it at 16 kHz with one channel")
        if not path.resolve().is_relative_to(folder):
            raise InputError(f"{path} is not in {root}", "give --root, the folder that all audio files are in")
        found[cut.id] = (path.resolve().relative_to(folder).as_posix(), recording.num_samples)
    if not found:
        raise InputError("no utterance of the corpus has units", "give the corpus that the units were made of")
    return found


def _lines(path: Path | str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}", "check the path") from error
