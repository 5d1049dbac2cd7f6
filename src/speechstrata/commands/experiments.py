"""The command of the paper: ``reproduce``."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from speechstrata.commands.command import Command
from speechstrata.experiments.config import ReproduceConfig


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_argument("--output", type=str, default="runs/reproduce", help="Folder; the same command continues it.")
    parser.add_argument(
        "--corpus", nargs="+", default=[], help="Corpora to analyse, beside the packaged one; the first one decides."
    )
    parser.add_argument("--stages", nargs="+", default=[], help="Run these stages only, by name or group.")
    parser.add_argument("--list", action="store_true", help="List the stages with their states, and run nothing.")
    parser.add_argument("--probes", action="store_true", help="Train the SUPERB probes anew.")
    parser.add_argument("--from_scratch", action="store_true", help="Train every model anew, on the first corpus.")
    parser.add_argument(
        "--training_set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="Settings of every training."
    )
    parser.add_class_arguments(ReproduceConfig, skip={"probes", "from_scratch", "training_set"})


def _run(arguments: Namespace) -> None:
    from rich.console import Console

    from speechstrata.errors import SpeechstrataError
    from speechstrata.experiments.reproduce import build_graph, reproduce
    from speechstrata.experiments.summary import outcomes_table, stages_table, verdicts_table

    values = {name: arguments[name] for name in ReproduceConfig.__dataclass_fields__}
    config = ReproduceConfig(**values | {"training_set": tuple(arguments.training_set)})
    output, console = Path(arguments.output), Console()
    if arguments.list:
        console.print(stages_table(build_graph(config, arguments.corpus, output), output))
        return
    outcomes = reproduce(config, arguments.corpus, output, arguments.stages)
    console.print(outcomes_table(outcomes))
    states = {outcome.stage: outcome.state for outcome in outcomes}
    if states.get("statistics") in ("done", "served"):  # else findings.json is of an earlier run
        console.print(verdicts_table(output))
    for name in ("cluster", "tables", "figures", "index.html"):
        if (output / name).exists():
            console.print(f"{name:<12}{output / name}", highlight=False)
    if broken := [outcome for outcome in outcomes if outcome.state == "failed"]:
        raise SpeechstrataError(
            f"{len(broken)} stages failed, first {broken[0].stage}: {broken[0].reason}",
            "the same command continues from here",
        )


COMMANDS = {"reproduce": Command("the paper's tables and figures, with its findings put to the test", _arguments, _run)}
