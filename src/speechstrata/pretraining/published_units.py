"""The public text format of units: ``.tsv`` (audio files), ``.km`` (units) and ``dict.km.txt`` (classes)."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path, PurePosixPath

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


def _lines(path: Path | str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}", "check the path") from error
