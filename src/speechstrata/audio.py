"""Audio in: any file that libsndfile or FFmpeg can decode becomes a mono float32 waveform at the wanted rate.

Neither torchaudio nor torchcodec is needed. A source is a path, or a path inside a zip archive written as
``archive.zip!/member`` (the packaged corpus keeps its recordings in one file that way).
"""

import io
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from speechstrata.errors import InputError

#: Separates an archive from its member in a source.
ARCHIVE_MARK = ".zip!/"

#: Formats without a header: only the file's name tells what they are.
_HEADERLESS = {".g722": "g722", ".722": "g722"}

#: A recording may be this much shorter than its manifest says: codecs pad and trim at their edges.
DURATION_TOLERANCE = 0.05  # seconds

#: Hertz; a rate outside of these is a damaged header, and resampling from it takes all memory or leaves nothing.
LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class AudioInfo:
    """What a recording is: hertz, channels, samples (per channel)."""

    sample_rate: int
    channels: int
    samples: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / self.sample_rate


def read_audio(
    path: Path | str, sample_rate: int, *, start: float = 0.0, duration: float | None = None, mono: bool = True
) -> Waveform:
    """Read a recording, or a part of it, at ``sample_rate``.

    Full scale is 1: integer formats lie in [-1, 1], floating-point files are taken as they are.

    Args:
        path: a file, or ``archive.zip!/member``.
        sample_rate: of the result, in hertz (soxr's high quality resampler).
        start: seconds from the beginning.
        duration: seconds; to the end by default.
        mono: average the channels.

    Returns:
        (samples,), or (channels, samples) with ``mono=False``.

    Raises:
        InputError: not found, broken, empty, too short for the part asked for, or not finite.
    """
    samples, rate = decode(path, start, duration)
    result = resample(samples.mean(axis=0, dtype=np.float32) if mono else samples, rate, sample_rate)
    if result.shape[-1] == 0:
        raise InputError(f"{path} is shorter than a sample at {sample_rate} Hz", "remove it or mend it")
    _require_finite(result, str(path))  # the largest float32 numbers overflow when they are resampled
    return result


def load_cut(cut: Any, sample_rate: int) -> Waveform:
    """The waveform of a lhotse cut, its channels averaged.

    ``MonoCut`` and ``MultiCut`` over files, archive members and memory are read here; recordings with lazy
    transforms, mixed and padded cuts, and URLs go through lhotse; commands are not run.

    Args:
        cut: with a recording.
        sample_rate: of the result, in hertz.

    Returns:
        (samples,) at ``sample_rate``.

    Raises:
        InputError: the audio cannot be read; the message names the cut and the file.
    """
    recording: Any = getattr(cut, "recording", None)
    try:
        direct = recording is not None and not recording.transforms and not recording.has_video
        if direct and all(source.type in ("file", "memory") for source in recording.sources):
            return _load_direct(cut, recording, sample_rate)
        if recording is not None and any(source.type == "command" for source in recording.sources):
            raise InputError("its audio is the output of a command, which is not run", "write it to a file first")
        samples = np.atleast_2d(cut.load_audio())
    except InputError as error:
        raise InputError(f"utterance {cut.id}: {error.message}", error.remedy) from error
    except Exception as error:  # lhotse raises whatever the reader of the day raises
        raise InputError(f"utterance {cut.id}: {_first_line(error)}", "check the recording") from error
    _require_finite(samples, f"utterance {cut.id}")
    return resample(samples.mean(axis=0, dtype=np.float32), cut.sampling_rate, sample_rate)


def audio_info(path: Path | str) -> AudioInfo:
    """The rate, channels and length of a recording; decodes it where no header says.

    Raises:
        InputError: as :func:`read_audio`.
    """
    try:
        _refuse_headerless(path)
        found = soundfile.info(_open(path))
        return AudioInfo(found.samplerate, found.channels, found.frames)
    except (soundfile.LibsndfileError, TypeError):
        samples, rate = _decode_with_av(path, _open(path), 0.0, None)
        return AudioInfo(rate, samples.shape[0], samples.shape[1])


def decode(
    path: Path | str, start: float = 0.0, duration: float | None = None, data: bytes | None = None
) -> tuple[Waveform, int]:
    """Decode a recording at its own rate.

    Args:
        path: a file or ``archive.zip!/member``; only a name for messages (and for formats without a header) where
            ``data`` is given.
        start: seconds from the beginning.
        duration: seconds; to the end by default.
        data: the encoded bytes.

    Returns:
        (channels, samples) and the rate in hertz.

    Raises:
        InputError: as :func:`read_audio`.
    """
    if not (start >= 0 and (duration is None or duration > 0)):
        raise InputError(f"{path}: the part from {start} s lasting {duration} s does not exist", "check the times")
    try:
        samples, rate = _decode_with_soundfile(path, _open(path, data), start, duration)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: soundfile takes .raw for headerless PCM
        samples, rate = _decode_with_av(path, _open(path, data), start, duration)
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(f"{path} tells of {rate} Hz", f"audio has {LOWEST_RATE} to {HIGHEST_RATE} Hz; mend it")
    if samples.shape[1] == 0:
        raise InputError(f"{path} holds no audio" + (f" after {start:g} s" if start else ""), "remove it or mend it")
    if duration is not None and samples.shape[1] < (duration - DURATION_TOLERANCE) * rate:
        held = samples.shape[1] / rate
        raise InputError(f"{path} holds only {held:.2f} s of the {duration:.2f} s from {start:.2f} s", "check the file")
    _require_finite(samples, str(path))
    return samples, rate


def resample(samples: Waveform, rate: int, wanted: int) -> Waveform:
    """Resample the last axis from ``rate`` to ``wanted`` hertz (soxr, high quality)."""
    if rate == wanted:
        return np.ascontiguousarray(samples, dtype=np.float32)
    result = soxr.resample(np.ascontiguousarray(samples.T, dtype=np.float32), rate, wanted, quality="HQ")
    return np.ascontiguousarray(result.T, dtype=np.float32)


def read_bytes(path: Path | str) -> bytes:
    """The encoded bytes of a recording: a file's, or an archive member's.

    Raises:
        InputError: not found or not readable.
    """
    text = os.fspath(path)
    if ARCHIVE_MARK not in text:
        try:
            return Path(text).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {text}: {error.strerror}", "check the path") from error
    archive, _, member = text.rpartition("!/")
    try:
        stamp = Path(archive).stat().st_mtime_ns
        return _archive(archive, stamp, os.getpid()).read(member)
    except KeyError as error:
        raise InputError(f"{archive} has no member {member!r}", "make the corpus again") from error
    # RuntimeError: it is encrypted; ValueError: its name is damaged
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise InputError(f"cannot read {member!r} of {archive}: {error}", "make the corpus again") from error


@lru_cache(maxsize=16)
def _archive(path: str, stamp: int, process: int) -> zipfile.ZipFile:
    """An open archive; of this process alone, since a forked child would share its parent's file position."""
    return zipfile.ZipFile(path)


def _open(path: Path | str, data: bytes | None = None) -> str | io.BytesIO:
    """What the decoders are given: a path where there is a file, else the bytes in memory."""
    text = os.fspath(path)
    if data is None and ARCHIVE_MARK not in text:
        if not Path(text).is_file():
            raise InputError(f"there is no file {text}", "check the path")
        return text
    return io.BytesIO(read_bytes(path) if data is None else data)


def _load_direct(cut: Any, recording: Any, sample_rate: int) -> Waveform:
    wanted = set(np.atleast_1d(cut.channel).tolist())
    whole = cut.start == 0 and abs(cut.duration - recording.duration) < 1e-3
    duration = None if whole else cut.duration
    parts: list[Waveform] = []
    rate = recording.sampling_rate
    for source in recording.sources:
        rows = [row for row, channel in enumerate(source.channels) if channel in wanted]
        if not rows:
            continue
        if source.type == "memory":
            samples, rate = decode(recording.id, cut.start, duration, source.source)
        else:
            samples, rate = decode(source.source, cut.start, duration)
        if rows[-1] >= len(samples):
            raise InputError(f"{source.source} has {len(samples)} channels, the manifest names {rows[-1] + 1}")
        if samples.shape[1] < (cut.duration - DURATION_TOLERANCE) * rate:
            held = samples.shape[1] / rate
            raise InputError(f"{source.source} holds {held:.2f} s, the manifest says {cut.duration:.2f} s")
        parts.append(samples[rows])
    if not parts:
        raise InputError(f"the recording {recording.id} has no channel {sorted(wanted)}", "check the manifest")
    shortest = min(part.shape[1] for part in parts)
    mixed = np.concatenate([part[:, :shortest] for part in parts]).mean(axis=0, dtype=np.float32)
    return resample(mixed, rate, sample_rate)


def _decode_with_soundfile(
    path: Path | str, source: str | io.BytesIO, start: float, duration: float | None
) -> tuple[Waveform, int]:
    _refuse_headerless(path)
    with soundfile.SoundFile(source) as file:
        rate = int(file.samplerate)
        first = round(start * rate)
        if first >= file.frames:
            return np.zeros((file.channels, 0), dtype=np.float32), rate
        file.seek(first)
        count = -1 if duration is None else round(duration * rate)
        return file.read(count, dtype="float32", always_2d=True).T, rate


def _refuse_headerless(path: Path | str) -> None:
    """Keep libsndfile from guessing at a format without a header; raises as it does for one unknown to it."""
    if _headerless_format(path) is not None:
        raise soundfile.LibsndfileError(1, "headerless: ")


def _headerless_format(path: Path | str) -> str | None:
    return _HEADERLESS.get(Path(os.fspath(path)).suffix.lower())


def _decode_with_av(
    path: Path | str, source: str | io.BytesIO, start: float, duration: float | None
) -> tuple[Waveform, int]:
    """Decode with FFmpeg from the beginning: seeking in compressed audio is not exact to the sample."""
    import av

    try:
        # A play list among the recordings must not make FFmpeg fetch what it names.
        options = {"protocol_whitelist": "file"}
        with av.open(source, format=_headerless_format(path), options=options) as container:
            if not container.streams.audio:
                raise InputError(f"{path} has no audio stream", "remove it or mend it")
            stream = container.streams.audio[0]
            if stream.codec_context is None or not stream.rate:
                raise InputError(f"{path} has audio in a form that FFmpeg cannot decode", "remove it or mend it")
            rate = int(stream.rate)
            last = None if duration is None else round((start + duration) * rate)
            blocks: list[Waveform] = []
            held = 0
            for frame in container.decode(stream):
                blocks.append(_frame_samples(frame.to_ndarray(), frame.layout.nb_channels, frame.format.is_planar))
                held += blocks[-1].shape[1]
                if last is not None and held >= last:
                    break
            samples = np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), dtype=np.float32)
            return samples[:, round(start * rate) : last], rate
    except (av.FFmpegError, ValueError) as error:
        if isinstance(source, str) and Path(source).stat().st_size == 0:
            raise InputError(f"{path} is empty", "remove it or mend it") from error
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise InputError(f"{path} is not audio that libsndfile or FFmpeg can decode ({reason})", "mend it") from error


def _frame_samples(block: NDArray[Any], channels: int, planar: bool) -> Waveform:
    """A decoded frame as (channels, samples) with full scale 1."""
    if not planar:
        block = block.reshape(-1, channels).T
    if block.dtype == np.uint8:
        return ((block.astype(np.float32) - 128) / 128).astype(np.float32)
    if np.issubdtype(block.dtype, np.integer):
        return (block.astype(np.float32) / (1 << (8 * block.dtype.itemsize - 1))).astype(np.float32)
    return block.astype(np.float32)


def _require_finite(samples: NDArray[Any], name: str) -> None:
    if not np.isfinite(samples).all():
        raise InputError(f"{name} holds samples that are not finite (NaN or infinite)", "remove it or mend it")


def _first_line(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
