"""Watch what a parser does to the machine: an audit hook that sees programs started, files written, sockets opened."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EXECUTES = {
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "subprocess.Popen",
    "socket.connect", "socket.bind", "os.kill", "webbrowser.open",
}  # fmt: skip
_CHANGES = {
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.chmod",
    "os.symlink",
    "os.link",
    "os.truncate",
    "shutil.rmtree",
}

_seen: list[str] | None = None
_allowed: tuple[str, ...] = ()


def _inside(path: object) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return True  # an open file
    name = os.path.realpath(os.fsdecode(path))
    return name.startswith(_allowed)


def _relative(arguments: tuple[object, ...]) -> bool:
    """Whether the name is one in an open folder, as when a tree is removed: that folder was seen when it was opened."""
    return len(arguments) > 1 and isinstance(arguments[-1], int) and arguments[-1] >= 0


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _seen is None:
        return
    if event in _EXECUTES or (event in _CHANGES and not _relative(arguments) and not _inside(arguments[0])):
        _seen.append(f"{event} {arguments[:2]!r}"[:300])
    elif event == "open":
        path, mode, flags = arguments
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes and not _inside(path):
            _seen.append(f"open {path!r} {mode!r}")


_installed = False


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """What was executed, and what was written outside of ``folder``, meanwhile."""
    global _seen, _allowed, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _seen, _allowed = [], (str(folder.resolve()), "/dev/null", "/dev/tty")
    try:
        yield _seen
    finally:
        _seen = None
