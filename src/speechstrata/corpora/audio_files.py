"""The audio files of a folder: found, decoded once to see that they are sound, and told by their hash."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechstrata.audio import AudioInfo, audio_info, decode, read_bytes
from speechstrata.corpora.problems import MIN_SECONDS, ProblemLog
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import atomic_path
from speechstrata.progress import ProgressBar

#: What is taken for audio, by the file's ending.
SUFFIXES = frozenset({
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".aac", ".aif", ".aiff", ".aifc", ".au", ".snd",
    ".sph", ".nist", ".w64", ".caf", ".wma", ".webm", ".g722", ".amr",
})  # fmt: skip


@dataclass(frozen=True)
class AudioFile:
    """A sound recording: where it is, what it is, and the first 16 digits of its SHA-256 (``None`` if not taken)."""

    path: Path
    info: AudioInfo
    sha256: str | None

    @property
    def custom(self) -> dict[str, str]:
        """For a cut's ``custom``."""
        return {"audio_sha256": self.sha256} if self.sha256 else {}


def find_audio(folder: Path, log: ProblemLog | None = None) -> list[Path]:
    """The audio files in a folder and the folders in it, in order of their paths (absolute if ``folder`` is).

    Args:
        folder: where.
        log: if given, a file whose utterance id an earlier one has (``a.mp3``, then ``a.wav``) goes there.

    Raises:
        CorpusError: there is no such folder, or no audio in it.
    """
    if not folder.is_dir():
        raise CorpusError(f"there is no folder {folder}", "check the path")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise CorpusError(f"there is no audio in {folder}", f"known endings: {' '.join(sorted(SUFFIXES))}")
    if log is None:
        return found
    first: dict[str, Path] = {}
    for path in found:
        name = utterance_id(path, folder)
        if first.setdefault(name, path) != path:
            log.report(path, f"{first[name].relative_to(folder)} has the same id, {name}")
    return list(first.values())


def inspect_audio(
    paths: Sequence[Path], log: ProblemLog, *, workers: int = 1, check: bool = True
) -> Iterator[AudioFile]:
    """The recordings that can be used, in the order given; the others are reported.

    Args:
        paths: of the files.
        log: where broken, empty and too short files go.
        workers: threads.
        check: decode every file to its end and take its hash. Otherwise only headers are read, which is faster
            but finds neither cut-off files nor NaN; those then fail when they are used.
    """
    with ProgressBar("checking audio", total=len(paths), unit="files") as bar, ThreadPoolExecutor(workers) as pool:
        rest = iter(paths)
        # A bounded number ahead: a corpus may have a million files.
        ahead = [(path, pool.submit(_inspect, path, check)) for path in islice(rest, 4 * workers)]
        while ahead:
            path, future = ahead.pop(0)
            if (following := next(rest, None)) is not None:
                ahead.append((following, pool.submit(_inspect, following, check)))
            bar.advance()
            try:
                yield future.result()
            except InputError as error:
                log.report(path, error.message.removeprefix(f"{path} "))


def pair_by_stem(audio: Iterable[Path], root: Path, others: Iterable[Path], other_root: Path) -> dict[Path, Path]:
    """For each audio file the other file (a TextGrid, a transcript) that has its path, or else its name.

    A file that lies at the same place under ``other_root`` as the audio under ``root`` comes first; otherwise a
    file of the same stem anywhere is taken, if there is only one.
    """
    by_place: dict[Path, Path] = {}
    by_stem: dict[str, list[Path]] = {}
    for other in others:
        by_place[other.relative_to(other_root).with_suffix("")] = other
        by_stem.setdefault(other.stem, []).append(other)
    pairs: dict[Path, Path] = {}
    for path in audio:
        named = by_stem.get(path.stem, [])
        match = by_place.get(path.relative_to(root).with_suffix("")) or (named[0] if len(named) == 1 else None)
        if match is not None:
            pairs[path] = match
    return pairs


def utterance_id(path: Path, root: Path) -> str:
    """The path under ``root`` without its ending, the folders joined by hyphens."""
    return "-".join(path.relative_to(root).with_suffix("").parts)


def speaker_of(path: Path, root: Path, pattern: str | None = None) -> str:
    """The speaker of a recording by its place.

    Args:
        path: of the recording.
        root: of the corpus.
        pattern: a regular expression searched in the path below the root; its first group (or all of the match)
            is the speaker, "" where it does not match. By default the folder that the file lies in.
    """
    place = path.relative_to(root)
    if pattern is None:
        return place.parent.name
    match = re.search(pattern, place.as_posix())
    if match is None:
        return ""
    return match.group(1) if match.re.groups else match.group()


def _inspect(path: Path, check: bool) -> AudioFile:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError("its name is not UTF-8", "rename it") from error
    if check:
        data = read_bytes(path)
        if not data:
            raise InputError("the file is empty")
        samples, rate = decode(path)
        info = AudioInfo(rate, samples.shape[0], samples.shape[1])
        digest = hashlib.sha256(data).hexdigest()[:16]
    else:
        info, digest = audio_info(path), None
    if info.duration < MIN_SECONDS:
        raise InputError(f"too short: {info.duration:.3f} s of audio")
    return AudioFile(path, info, digest)


def write_flac(path: Path, samples: NDArray[np.floating], rate: int) -> None:
    """Write a mono recording as 16-bit FLAC, atomically; what lies outside of [-1, 1) is clipped.

    Args:
        path: of the file.
        samples: (samples,), full scale at 1.
        rate: hertz.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    encoded = io.BytesIO()  # libsndfile has no error of its own for a full disk
    soundfile.write(encoded, np.clip(samples, -1.0, 1.0 - 2**-15), rate, subtype="PCM_16", format="FLAC")
    with atomic_path(path) as partial:
        partial.write_bytes(encoded.getvalue())
