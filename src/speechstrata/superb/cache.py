"""States on the disk, computed once: bounded, keyed by everything they depend on, whole or not there.

A cache entry is a folder of shards, one per batch of the encoder. Each shard is written atomically, so a killed run
goes on with the shards that are there; two runs that fill the same entry write the same bytes. An entry is locked
while a run has it open, so that no other one drives it out.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.forward import plan_batches, read_batches
from speechstrata.audio import load_cut
from speechstrata.encoders.base import SpeechEncoder
from speechstrata.errors import InputError
from speechstrata.files import LOCK_FILE, atomic_path, fingerprint, hold, read_json, write_json
from speechstrata.progress import ProgressBar
from speechstrata.superb.layered import LayeredStates
from speechstrata.superb.states import LayerChoice, has_frames

Precision = Literal["float32", "float16"]
_BYTES = {"float32": 4, "float16": 2}
_ENTRY = "entry.json"


@dataclass(frozen=True)
class CacheSettings:
    """Where states are kept, and how.

    Attributes:
        folder: of all entries.
        gigabytes: an entry that would make the folder larger drives out those unused for longest; one for which there
            is no room beside those in use is not made.
        precision: of the states on the disk.
        batch_seconds: audio in one batch of the encoder.
    """

    folder: Path
    gigabytes: float = 20.0
    precision: Precision = "float32"
    batch_seconds: float = 60.0


@dataclass(frozen=True)
class Wanted:
    """The states of some cuts.

    Attributes:
        cuts: lhotse cuts.
        encoder: what makes the states.
        choice: of its layers.
        pooled: keep the mean over frames only.
        normalize: layer-normalise each state first.
        corpus: fingerprint of the cuts' content.
    """

    cuts: Sequence[Any]
    encoder: SpeechEncoder
    choice: LayerChoice
    pooled: bool
    normalize: bool
    corpus: str

    def key(self, precision: Precision, batch_seconds: float) -> str:
        """A fingerprint of everything that the shards depend on."""
        return fingerprint(
            {
                "encoder": self.encoder.fingerprint,
                "layers": self.choice.names,
                "pooled": self.pooled,
                "normalize": self.normalize,
                "corpus": self.corpus,
                "cuts": [cut.id for cut in self.cuts],
                "precision": precision,
                "batch_seconds": batch_seconds,
            }
        )

    def gigabytes(self, precision: Precision) -> float:
        """About what the states take."""
        seconds = sum(cut.duration for cut in self.cuts)
        frames = len(self.cuts) if self.pooled else seconds * self.choice.sample_rate / float(self.choice.finest.stride)
        return float(frames * len(self.choice.layers) * self.choice.dim * _BYTES[precision] / 1e9)


class StateCache:
    """A complete cache entry.

    Args:
        folder: of the entry.
        held: its lock.

    Attributes:
        frames: (n,) frames of every cut, before pooling; 0 where its audio could not be read.
        problems: (cut id, reason) of those.
        mean_norms: (layers,) mean Euclidean norm of a layer's states, before normalising and pooling.
    """

    def __init__(self, folder: Path, held: ExitStack) -> None:
        entry = read_json(folder / _ENTRY)
        self._folder, self._held = folder, held
        self._shard = np.array(entry["shard"], dtype=np.int64)
        self._start = np.array(entry["start"], dtype=np.int64)
        self._rows = np.array(entry["rows"], dtype=np.int64)
        self.frames: NDArray[np.int64] = np.array(entry["frames"], dtype=np.int64)
        self.problems: list[tuple[str, str]] = [(name, reason) for name, reason in entry["problems"]]
        self.mean_norms: list[float] = entry["mean_norms"]
        self._open = lru_cache(maxsize=256)(_load)

    def states(self, number: int) -> NDArray[np.float32]:
        """The states of a cut: (frames, layers, dim), or (1, layers, dim) where pooled."""
        start, rows = self._start[number], self._rows[number]
        block = self._open(_shard(self._folder, int(self._shard[number])))[start : start + rows]
        return np.array(block, dtype=np.float32)

    def close(self) -> None:
        """Let others drive the entry out."""
        self._held.close()


def open_cache(wanted: Wanted, settings: CacheSettings) -> StateCache | None:
    """The entry for ``wanted``, filled first where it is not there; None where there is no room for it.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = settings.folder / wanted.key(settings.precision, settings.batch_seconds)
    if not (folder / _ENTRY).exists() and not _make_room(settings, wanted.gigabytes(settings.precision), keep=folder):
        return None
    with _in_use(folder) as held:
        if not (folder / _ENTRY).exists():
            _fill(folder, wanted, settings)
        os.utime(folder)
        return StateCache(folder, held.pop_all())


def _in_use(folder: Path) -> ExitStack:
    """A lock on an entry that any number of runs may hold."""
    while True:
        held = ExitStack()
        held.enter_context(hold(folder / LOCK_FILE, shared=True, wait=True))
        if (folder / LOCK_FILE).exists():  # else the entry was driven out just then, and its lock with it
            return held
        held.close()


def _load(path: Path) -> NDArray[np.floating]:
    array: NDArray[np.floating] = np.load(path, mmap_mode="r")
    return array


def _fill(folder: Path, wanted: Wanted, settings: CacheSettings) -> None:
    """Compute every shard that is not there, then the entry's index, which makes it complete."""
    cuts, choice = list(wanted.cuts), wanted.choice
    seconds = np.array([cut.duration for cut in cuts])
    plan = plan_batches(seconds, np.arange(len(cuts)), settings.batch_seconds)
    missing = [number for number in range(len(plan)) if not _index(folder, number).exists()]

    def load(number: int) -> NDArray[np.float32]:
        wave = load_cut(cuts[number], choice.sample_rate)
        if not has_frames(wanted.encoder, choice, len(wave)):
            raise InputError(f"{len(wave)} samples are too few for a frame")
        return wave

    with ProgressBar("states", total=float(seconds.sum()), unit="s") as bar:
        bar.advance(float(seconds.sum() - sum(seconds[plan[number]].sum() for number in missing)))
        for batch in read_batches([plan[number] for number in missing], 0, load, choice.sample_rate):
            shard = missing[batch.number]
            blocks: list[NDArray[np.floating]] = []
            index: dict[str, object] = {
                "cuts": batch.utterances.tolist(),
                "problems": [(int(number), reason) for number, reason in batch.problems],
                "frames": [],
                "norms": [0.0] * len(choice.layers),
            }
            if len(batch.utterances):
                states = LayeredStates(
                    wanted.encoder, choice, batch.waveforms, batch.lengths, normalize=wanted.normalize
                )
                stacked, index["norms"] = states.collect(wanted.pooled)
                index["frames"] = states.lengths.tolist()
                counts = [1] * len(states.lengths) if wanted.pooled else states.lengths.tolist()
                array = _rounded(stacked.cpu().numpy(), settings.precision)
                blocks = [row[:count] for row, count in zip(array, counts, strict=True)]
            rows = np.concatenate(blocks) if blocks else np.zeros((0, len(choice.layers), choice.dim), np.float32)
            with atomic_path(_shard(folder, shard)) as partial:
                np.save(partial, rows)
            write_json(_index(folder, shard), index)  # after its states: a shard with an index is whole
            bar.advance(float(seconds[plan[shard]].sum()))
    _complete(folder, wanted, len(plan))


def _rounded(states: NDArray[np.float32], precision: Precision) -> NDArray[np.floating]:
    """The states in a precision.

    Raises:
        InputError: one is too large for it.
    """
    if precision == "float16" and (largest := float(np.abs(states).max(initial=0.0))) > np.finfo(np.float16).max:
        raise InputError(f"a state of {largest:.3g} is too large for float16", "use --cache_precision float32")
    return states.astype(precision)


def _complete(folder: Path, wanted: Wanted, shards: int) -> None:
    count = len(wanted.cuts)
    shard, start, rows, frames = (np.zeros(count, dtype=np.int64) for _ in range(4))
    norms, problems = np.zeros(len(wanted.choice.layers)), []
    for number in range(shards):
        index = read_json(_index(folder, number))
        norms += index["norms"]
        problems += [(wanted.cuts[cut].id, reason) for cut, reason in index["problems"]]
        place = 0
        for cut, length in zip(index["cuts"], index["frames"], strict=True):
            own = 1 if wanted.pooled else length
            shard[cut], start[cut], rows[cut], frames[cut] = number, place, own, length
            place += own
    columns = {"shard": shard, "start": start, "rows": rows, "frames": frames}
    write_json(
        folder / _ENTRY,
        {
            **{name: column.tolist() for name, column in columns.items()},
            "mean_norms": (norms / max(int(frames.sum()), 1)).tolist(),
            "problems": problems,
        },
    )


def _make_room(settings: CacheSettings, gigabytes: float, keep: Path) -> bool:
    """Remove the entries unused for longest until another ``gigabytes`` fit; gives whether they do."""
    if gigabytes > settings.gigabytes:
        return False
    if not settings.folder.is_dir():
        return True
    used = {path: _use(path) for path in settings.folder.iterdir() if path.is_dir() and path != keep}
    sizes = {path: size for path, (_, size) in used.items()}
    for path in sorted(used, key=lambda path: used[path][0]):
        if sum(sizes.values()) + gigabytes <= settings.gigabytes:
            break
        try:
            with hold(path / LOCK_FILE):
                shutil.rmtree(path, ignore_errors=True)
        except InputError:  # a run has it open
            continue
        del sizes[path]
    return sum(sizes.values()) + gigabytes <= settings.gigabytes


def _use(folder: Path) -> tuple[float, float]:
    """When an entry was last used, and its gigabytes; other processes may be writing or removing it."""
    try:
        when, names = folder.stat().st_mtime, list(folder.iterdir())
    except FileNotFoundError:
        return 0.0, 0.0
    size = 0
    for path in names:
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return when, size / 1e9


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.npy"


def _index(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"
