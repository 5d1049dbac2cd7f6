"""What a command is."""

from collections.abc import Callable
from dataclasses import dataclass

from jsonargparse import ArgumentParser, Namespace


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes:
        summary: its line in ``speechstrata --help``.
        arguments: adds its arguments to a parser.
        run: does it; a ``SpeechstrataError`` becomes one line and exit code 1.
    """

    summary: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], None]
