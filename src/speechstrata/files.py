"""Atomic writes, locks and fingerprints: what is on disk is either whole or not there."""

import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import InputError

_CHUNK = 1 << 20
#: The disk is full, a quota is used up, or the file system is read-only or broken.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
#: In a folder that only one process may write to at a time; see ``hold``.
LOCK_FILE = ".lock"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on a clean exit it is flushed and renamed over ``path``.

    On an exception the temporary file is removed and ``path`` keeps whatever it held. The temporary
    name keeps the suffix of ``path``, since many writers choose their format by it.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=f".partial{path.suffix}")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", "choose a folder you can write to") from error
    os.close(handle)
    partial = Path(name)
    try:
        with room_for(path):
            yield partial
            umask = os.umask(0)
            os.umask(umask)
            partial.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def room_for(path: Path | str) -> Iterator[None]:
    """Let a full or broken disk be one clear error about ``path``.

    Raises:
        InputError: there is no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise InputError(
            f"cannot write {path}: {error.strerror}", "make room, and run the same command again; it goes on from here"
        ) from error


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_text(path: Path | str) -> str:
    """The content of a UTF-8 text file, without the byte order mark that some editors put before it.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}", "mend the file") from error


def bounded_lines(file: IO[str], longest: int, name: Path | str) -> Iterator[str]:
    """The lines of an open text file; a compressed one may hold a line that the memory does not.

    Args:
        file: open for reading.
        longest: characters; no line is read further.
        name: of the file, for the message.

    Raises:
        InputError: a line is longer.
    """
    for number, line in enumerate(iter(lambda: file.readline(longest), ""), start=1):
        if len(line) == longest and not line.endswith("\n"):
            raise InputError(f"{name}: line {number} is longer than {longest:,} characters", "check the file")
        yield line


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON, keys in the order given, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {str(error)[:200]}", "make the file again") from error


def map_array(path: Path | str, mode: Literal["r", "r+"] = "r") -> NDArray[Any]:
    """The array of a ``.npy`` file, memory-mapped.

    Raises:
        InputError: the file is missing, cut short, or no such file.
    """
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
        if isinstance(array, np.ndarray):
            return array
        reason = "it is an archive"
    except Exception as error:  # numpy parses the header as Python, with all the errors of that
        reason = f"{type(error).__name__}: {str(error)[:200]}"
    raise InputError(f"the array {path} cannot be read ({reason})", "make it again")


def sha256_of_file(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """A 16-digit fingerprint of a JSON-serialisable value; independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def hold(path: Path | str, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Keep other processes out while this one writes: an advisory lock on the file ``path``, made if missing.

    A process that ends, however it ends, lets go of it.

    Args:
        path: the lock's file; never removed, since a removed one could be held twice.
        shared: any number of processes may hold it so at the same time, but none alone.
        wait: until the others let go, instead of an error.

    Raises:
        InputError: another process holds it, or the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", "choose a folder you can write to") from error
    with file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise InputError(
                f"another process is writing to {path.parent}", "wait until it is done, or choose another folder"
            ) from error
        except OSError as error:
            if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}:  # a file system without locks
                raise InputError(f"cannot lock {path}: {error.strerror}", "choose another folder") from error
        yield
