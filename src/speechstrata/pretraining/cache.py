"""A corpus' decoded audio, or its log-mel features, in one memory-mapped file that training reads instead."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from speechstrata.errors import CorpusError, InputError, SpeechstrataError
from speechstrata.files import atomic_path, fingerprint, hold, read_json, write_json
from speechstrata.mrhubert.config import MEL_HOP, MEL_WINDOW, NetworkConfig
from speechstrata.pretraining.batches import Utterance
from speechstrata.pretraining.config import SAMPLE_RATE
from speechstrata.pretraining.speech import Speech
from speechstrata.progress import ProgressBar

Kind = Literal["waveform", "logmel"]

_READ_AHEAD = 8
_PCM_SCALE = 32_767.0


class AudioCache:
    """Cached utterances.

    Attributes:
        kind: "waveform": (samples,) 16-bit integers; "logmel": (10 ms frames, bins) half-precision floats, of the
            whole utterance, brought to unit variance before where the network says so.
        utterances: those that could be read, with the samples that they really have.
        failed: id -> reason of those that could not.
    """

    def __init__(self, kind: Kind, values_path: Path, index_path: Path) -> None:
        self._paths = (values_path, index_path)
        self.kind = kind
        values = np.load(values_path, mmap_mode="r")
        index = read_json(index_path)
        self.utterances = tuple(Utterance(name, count) for name, count in index["utterances"])
        self.failed: dict[str, str] = index["failed"]
        self._values = values
        ends = np.cumsum(index["rows"], dtype=np.int64)
        self._spans = {
            utterance.id: (int(end - count), int(end))
            for utterance, count, end in zip(self.utterances, index["rows"], ends, strict=True)
        }

    def __reduce__(self) -> tuple[type["AudioCache"], tuple[Kind, Path, Path]]:
        """Another process opens the files itself; the audio is not sent."""
        return AudioCache, (self.kind, *self._paths)

    def crop(self, utterance: str, start: int, samples: int) -> torch.Tensor:
        """A stretch of an utterance: (samples,) or (10 ms frames, bins), float32.

        Args:
            utterance: its id.
            start: in samples, a multiple of 160 for log-mel.
            samples: length of the stretch.
        """
        first, end = self._spans[utterance]
        if self.kind == "waveform":
            rows = self._values[first + start : min(first + start + samples, end)]
            return torch.from_numpy(rows.astype(np.float32) / _PCM_SCALE)
        first += start // MEL_HOP
        rows = self._values[first : min(first + mel_frames(samples), end)]
        return torch.from_numpy(rows.astype(np.float32))


def mel_frames(samples: int) -> int:
    """10 ms log-mel frames of a waveform of so many samples."""
    return max(0, (samples - MEL_WINDOW) // MEL_HOP + 1)


def open_cache(speech: Speech, kind: Kind, network: NetworkConfig, folder: Path) -> AudioCache:
    """Open the cache of a corpus under ``folder``, making it first if it is not there.

    Several processes may call this at the same time: one makes it, the others wait.

    Raises:
        InputError: log-mel asked for a network without that front-end, or a folder that cannot be written.
        CorpusError: no utterance can be read.
    """
    settings: dict[str, Any] = {"corpus": speech.fingerprint, "kind": kind}
    if kind == "logmel":
        if network.extractor != "log_mel":
            raise InputError(
                f"data.cache = logmel, but the model's front-end is {network.extractor}", "use data.cache=waveform"
            )
        settings |= {"bins": network.mel_bins, "normalize": network.normalize}
    key = fingerprint(settings)
    values, index = folder / f"{kind}-{key}.npy", folder / f"{kind}-{key}.json"
    with hold(folder / f".{kind}-{key}.lock", wait=True):
        if not index.exists():
            _make(speech, kind, network, values, index)
    return AudioCache(kind, values, index)


def _make(speech: Speech, kind: Kind, network: NetworkConfig, values: Path, index: Path) -> None:
    utterances: list[tuple[str, int]] = []
    rows: list[int] = []
    failed: dict[str, str] = {}
    dtype, width = (np.dtype(np.int16), ()) if kind == "waveform" else (np.dtype(np.float16), (network.mel_bins,))
    try:
        with atomic_path(values) as partial, partial.open("wb") as file:
            _header(file, dtype, (0, *width))
            for utterance, samples, array in _arrays(speech, kind, network, failed):
                utterances.append((utterance, samples))
                rows.append(len(array))
                file.write(np.ascontiguousarray(array, dtype=dtype).tobytes())
            file.seek(0)
            _header(file, dtype, (sum(rows), *width))
    except OSError as error:
        raise InputError(
            f"cannot write the cache {values}: {error.strerror}", "free some space, or set data.cache=none"
        ) from error
    if not rows:
        raise CorpusError(f"no utterance can be read: {next(iter(failed.values()), '')}", "check the corpus")
    write_json(index, {"utterances": utterances, "rows": rows, "failed": failed})


def _header(file: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """A .npy header of a fixed size, so that the number of rows can be filled in at the end."""
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = repr(description).ljust(118 - 1) + "\n"
    file.write(np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text.encode("latin1"))


def _arrays(
    speech: Speech, kind: Kind, network: NetworkConfig, failed: dict[str, str]
) -> Iterator[tuple[str, int, NDArray[Any]]]:
    """Each utterance's id, samples and rows, in the corpus' order, decoded a few ahead."""

    def compute(position: int) -> tuple[int, NDArray[Any]]:
        wave = speech.load(position)
        if kind == "waveform":
            return len(wave), np.rint(np.clip(wave, -1.0, 1.0) * _PCM_SCALE).astype(np.int16)
        from speechstrata.mrhubert.frontend import log_mel

        if len(wave) < MEL_WINDOW:
            raise InputError(f"{len(wave)} samples are too few for one frame", "leave it out")
        batch = torch.from_numpy(wave)[None]
        if network.normalize:
            batch = torch.nn.functional.layer_norm(batch, batch.shape[1:])
        return len(wave), log_mel(batch, network.mel_bins, network.sample_rate)[0].half().numpy()

    total = sum(utterance.samples for utterance in speech.utterances) / SAMPLE_RATE
    with ThreadPoolExecutor(2) as pool, ProgressBar(f"caching {kind}", total=total, unit="s") as bar:
        pending: list[tuple[Utterance, Future[tuple[int, NDArray[Any]]]]] = []

        def take() -> Iterator[tuple[str, int, NDArray[Any]]]:
            utterance, future = pending.pop(0)
            bar.advance(utterance.samples / SAMPLE_RATE)
            try:
                yield utterance.id, *future.result()
            except SpeechstrataError as error:
                failed[utterance.id] = error.message

        for position, utterance in enumerate(speech.utterances):
            pending.append((utterance, pool.submit(compute, position)))
            if len(pending) > _READ_AHEAD:
                yield from take()
        while pending:
            yield from take()
