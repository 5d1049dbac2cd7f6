"""The progress bar of every long command: on standard error, with the time left; silent where that is no terminal."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar:
    """A bar that counts ``total`` units of work; nothing of it stays on the screen afterwards.

    Use as ``with ProgressBar("reading", total=seconds, unit="s") as bar: bar.advance(2.5)``.

    Args:
        description: what is being done.
        total: the work, in ``unit``.
        unit: shown behind the numbers.
    """

    def __init__(self, description: str, total: float, unit: str = "") -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(description, total=max(total, 1e-9))

    def advance(self, amount: float = 1.0) -> None:
        """Count ``amount`` more units as done."""
        self._progress.advance(self._task, amount)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
