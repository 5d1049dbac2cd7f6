"""The command line: ``speechstrata COMMAND ...``.

Exit codes: 0 done, 1 failed (the last line says what and the remedy), 2 wrong usage, 130 interrupted.
"""

import os
import re
import sys
from collections.abc import Sequence

from jsonargparse import ArgumentParser

from speechstrata import __version__
from speechstrata.commands import analysis, corpora, experiments, networks, probes, training, word_embeddings
from speechstrata.commands.command import Command
from speechstrata.errors import SpeechstrataError

COMMANDS: dict[str, Command] = {
    **analysis.COMMANDS,
    **corpora.COMMANDS,
    **networks.COMMANDS,
    **training.COMMANDS,
    **probes.COMMANDS,
    **word_embeddings.COMMANDS,
    **experiments.COMMANDS,
}


def build_parser() -> ArgumentParser:
    """The parser of the whole command line."""
    parser = ArgumentParser(
        prog="speechstrata",
        description="Train multi-resolution speech models and measure, layer by layer, what any speech encoder holds.",
        version=__version__,
    )
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    subcommands = parser.add_subcommands(required=True, title="commands", description=None)
    for name, command in COMMANDS.items():
        subparser = ArgumentParser(description=command.summary[0].upper() + command.summary[1:] + ".")
        subcommands.add_subcommand(name, subparser, help=command.summary)
        command.arguments(subparser)  # afterwards: a command may have actions of its own
    return parser


def _underscored(argument: str) -> str:
    """``--sample-sets`` as ``--sample_sets``: both spellings are taken."""
    match = re.match(r"--[a-z][a-z0-9-]*", argument)
    return argument if match is None else match[0][:2] + match[0][2:].replace("-", "_") + argument[match.end() :]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code."""
    given = [_underscored(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    parsed = build_parser().parse_args(given)
    try:
        COMMANDS[parsed.subcommand].run(parsed[parsed.subcommand])
    except SpeechstrataError as error:
        if parsed.debug:
            raise
        print(f"speechstrata: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("speechstrata: interrupted; the same command continues from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
