"""Unit streams on disk: one integer array for a whole corpus, memory-mapped, with an index."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import InputError
from speechstrata.files import atomic_path, map_array, read_json, sha256_of_file, write_json
from speechstrata.pretraining.config import SAMPLE_RATE

UNITS_FILE, INDEX_FILE = "units.npy", "index.json"
_FORMAT = "speechstrata-units-1"


def unit_dtype(classes: int) -> np.dtype[Any]:
    """The smallest unsigned integer type that holds ``classes`` classes."""
    return np.dtype(np.min_scalar_type(max(classes - 1, 0)))


def labels_of_crop(start: int, samples: int, labels: int, stride: Fraction) -> tuple[int, int]:
    """Which labels belong to a stretch of audio: (first label, number of labels).

    Equal to the public code's ``collater_frm_label`` (without padding): both ends are rounded to the nearest label and
    cut where the labels end.

    Args:
        start: of the stretch, in samples.
        samples: its length.
        labels: labels that the utterance has.
        stride: samples from one label to the next.
    """
    first = round(start / stride)
    return first, max(0, min(round(samples / stride), labels - first))


class UnitStore:
    """The units of a corpus.

    Example:
        >>> units = UnitStore.open("targets/mfcc-100")  # doctest: +SKIP
        >>> units.units("utterance-1")  # every unit, at the store's own rate  # doctest: +SKIP
        >>> units.crop("utterance-1", start=3200, samples=32000)  # those of two seconds  # doctest: +SKIP

    Attributes:
        classes: number of classes; units are below it.
        stride: samples (at 16 kHz) from one unit to the next.
        offset: the centre of the first unit, in samples.
        fingerprint: of the units.
    """

    def __init__(
        self,
        values: NDArray[Any],
        spans: Mapping[str, tuple[int, int]],
        index: Mapping[str, Any],
        folder: Path | None = None,
    ) -> None:
        self._folder = folder
        self.classes = int(index["classes"])
        self.stride = Fraction(index["stride"])
        self.offset = float(index["offset"])
        self.fingerprint = str(index["sha256"])[:16]
        self._values = values
        self._spans = spans

    @classmethod
    def open(cls, folder: Path | str) -> "UnitStore":
        """Open a folder that :func:`write_units` made, without reading the units.

        Raises:
            InputError: it is not such a folder, or the two files do not belong together.
        """
        folder = Path(folder)
        if not (folder / INDEX_FILE).is_file():
            raise InputError(f"{folder} holds no units (no {INDEX_FILE})", "make it with `speechstrata targets`")
        index = read_json(folder / INDEX_FILE)
        try:
            if index["format"] != _FORMAT:
                raise InputError(f"{folder / INDEX_FILE} has the format {index['format']!r}", f"wanted: {_FORMAT}")
            values = map_array(folder / UNITS_FILE)
            ends = np.cumsum(index["frames"], dtype=np.int64)
            spans = {
                name: (int(end - count), int(end))
                for name, count, end in zip(index["utterances"], index["frames"], ends, strict=True)
            }
            store = cls(values, spans, index, folder)
        except (KeyError, TypeError, ValueError, OSError, EOFError, ArithmeticError) as error:
            raise InputError(f"the units in {folder} cannot be read: {error}", "make them again") from error
        total = int(ends[-1]) if len(ends) else 0
        if values.shape != (total,) or not np.issubdtype(values.dtype, np.unsignedinteger):
            raise InputError(
                f"{folder / UNITS_FILE} holds {values.dtype} {values.shape}, its index tells of {total} units",
                "make the units again",
            )
        return store

    def __reduce__(self) -> Any:
        """Another process opens the files itself; the units are not sent."""
        return super().__reduce__() if self._folder is None else (UnitStore.open, (self._folder,))

    @property
    def rate(self) -> float:
        """Units per second."""
        return float(SAMPLE_RATE / self.stride)

    def __contains__(self, utterance: object) -> bool:
        return utterance in self._spans

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def units(self, utterance: str) -> NDArray[Any]:
        """The units of an utterance: (units,), unsigned, at the store's own rate.

        Raises:
            InputError: the store does not have that utterance.
        """
        try:
            start, end = self._spans[utterance]
        except KeyError:
            raise InputError(
                f"there are no units for the utterance {utterance!r}", "make units for the corpus that you train on"
            ) from None
        return self._values[start:end]

    def crop(self, utterance: str, start: int, samples: int) -> NDArray[np.int64]:
        """The units of a stretch of audio, at the store's own rate: (units,).

        Args:
            utterance: its id.
            start: of the stretch, in samples.
            samples: its length.

        Raises:
            InputError: the store does not have that utterance.
        """
        units = self.units(utterance)
        first, count = labels_of_crop(start, samples, len(units), self.stride)
        return units[first : first + count].astype(np.int64)


def write_units(
    folder: Path | str,
    utterances: Sequence[str],
    units: Sequence[NDArray[Any]],
    *,
    classes: int,
    stride: Fraction | int,
    offset: float,
) -> None:
    """Write ``units.npy`` and then, to make it count, ``index.json``.

    Args:
        folder: made if missing.
        utterances: ids, in the order of ``units``.
        units: (units,) integers for each utterance.
        classes: number of classes.
        stride: samples from one unit to the next.
        offset: the centre of the first unit, in samples.

    Raises:
        InputError: a unit out of range, an id that comes twice, or a folder that cannot be written.
    """
    folder = Path(folder)
    if len(set(utterances)) != len(utterances):
        twice = next(name for name in utterances if utterances.count(name) > 1)
        raise InputError(f"the utterance {twice!r} has two unit streams", "give every utterance an id of its own")
    for name, stream in zip(utterances, units, strict=True):
        if len(stream) and not 0 <= int(stream.min()) <= int(stream.max()) < classes:
            raise InputError(f"the units of {name!r} are not all below {classes}", "check the number of classes")
    dtype = unit_dtype(classes)
    values = np.concatenate([np.asarray(stream, dtype=dtype) for stream in units] or [np.empty(0, dtype)])
    (folder / INDEX_FILE).unlink(missing_ok=True)  # it belongs to the units that are replaced now
    with atomic_path(folder / UNITS_FILE) as partial:
        np.save(partial, values)
    index = {
        "format": _FORMAT,
        "classes": classes,
        "stride": str(Fraction(stride)),
        "offset": offset,
        "sample_rate": SAMPLE_RATE,
        "sha256": sha256_of_file(folder / UNITS_FILE),
        "utterances": list(utterances),
        "frames": [len(stream) for stream in units],
    }
    write_json(folder / INDEX_FILE, index)
