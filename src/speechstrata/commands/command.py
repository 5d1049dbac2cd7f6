"""What a command is."""

from collections.abc import Callable, Mapping
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


def group(summary: str, actions: Mapping[str, Command]) -> Command:
    """A command of several actions: ``speechstrata NAME ACTION ...``.

    Args:
        summary: its line in ``speechstrata --help``.
        actions: by name, in the order of the help.
    """

    def arguments(parser: ArgumentParser) -> None:
        subcommands = parser.add_subcommands(required=True, title="actions", description=None)
        for name, action in actions.items():
            own = ArgumentParser(description=action.summary[0].upper() + action.summary[1:] + ".")
            subcommands.add_subcommand(name, own, help=action.summary)
            action.arguments(own)

    def run(given: Namespace) -> None:
        actions[given.subcommand].run(given[given.subcommand])

    return Command(summary, arguments, run)
