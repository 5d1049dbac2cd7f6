"""The commands of the SUPERB probes: ``superb prepare|train|evaluate|weights|table``."""

from jsonargparse import ArgumentParser, Namespace

from speechstrata.commands.command import Command
from speechstrata.superb.config import ProbeConfig

_TASKS = ("asr", "sf", "ic", "ks", "sd", "se")


def _arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subcommands(required=True, title="actions", description=None)
    for name, (summary, arguments, _) in _ACTIONS.items():
        action = ArgumentParser(description=summary[0].upper() + summary[1:] + ".")
        actions.add_subcommand(name, action, help=summary)
        arguments(action)


def _run(arguments: Namespace) -> None:
    _, _, run = _ACTIONS[arguments.subcommand]
    run(arguments[arguments.subcommand])


def _prepare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("kind", type=str, help="Kind of probe corpus; see docs/superb.md.")
    parser.add_argument("source", nargs="?", help="Folder of the corpus as it was downloaded, or a prepared corpus.")
    parser.add_argument("--output", type=str, required=True, help="Folder to make.")
    parser.add_argument("--test", type=str, help="speech-commands: the folder of the test archive.")
    parser.add_argument("--music", type=str, help="mini-se: a folder or package of music for more noises.")
    parser.add_argument("--real", type=str, help="mini-sd: a real two-speaker recording with its RTTM beside it.")


def _prepare(arguments: Namespace) -> None:
    from pathlib import Path

    from speechstrata.superb.corpora.prepare import prepare_probe_corpus

    options = {name: Path(arguments[name]) for name in ("test", "music", "real") if arguments[name]}
    corpus = prepare_probe_corpus(
        arguments.kind, Path(arguments.source) if arguments.source else None, Path(arguments.output), **options
    )
    for split, cuts in corpus.splits.items():
        seconds = sum(cut.duration for cut in cuts)
        print(f"{split:<12}{len(list(cuts)):>7} examples {seconds / 60:8.1f} min")
    print(f"corpus   {corpus.folder}")


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("task", choices=list(_TASKS), help="The task.")
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_argument("--model", type=str, required=True, help="Encoder; NAME+random: with random weights.")
    parser.add_argument("--corpus", type=str, required=True, help="Folder of `superb prepare`.")
    parser.add_argument("--output", type=str, required=True, help="Run folder; the same command continues it.")
    parser.add_argument("--cache", type=str, default="", help="Folder of cached states; by default beside the run.")
    parser.add_argument(
        "--learning_rates", nargs="+", type=float, default=[], help="Train one probe with each; the best on dev counts."
    )
    parser.add_class_arguments(ProbeConfig)


def _train(arguments: Namespace) -> None:
    from speechstrata.superb.training import ProbeInputs, sweep, train_probe

    inputs = ProbeInputs(arguments.task, arguments.model, arguments.corpus, arguments.cache)
    values = {name: arguments[name] for name in ProbeConfig.__dataclass_fields__}
    config = ProbeConfig(**values | {name: tuple(values[name]) for name in ("layers", "set")})
    if arguments.learning_rates:
        result = sweep(inputs, config, arguments.learning_rates, arguments.output)
    else:
        result = train_probe(inputs, config, arguments.output)
    if not result["cached"]:
        print("the states were larger than --cache_gigabytes and were computed anew in each step")
    for problem in result["problems"]:
        print(f"left out {problem['cut']} ({problem['split']}): {problem['reason']}")
    for split, metrics in {"dev": result["dev"], **result["test"]}.items():
        print(f"{split:<12}" + "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    print("weights     " + "  ".join(f"{layer['name']} {layer['weight']:.3f}" for layer in result["layers"]))
    if result["budget"] != 1.0 or result["mini"]:
        print("not comparable with published numbers: a mini corpus or a budget other than 1")
    print(f"result   {arguments.output}/result.json")


def _evaluate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="A finished run.")
    parser.add_argument("--split", type=str, default="test", help="Split of its corpus.")
    parser.add_argument("--corpus", type=str, help="Another corpus for the same task, with the same labels.")


def _evaluate(arguments: Namespace) -> None:
    from speechstrata.superb.training import evaluate_run

    for name, value in evaluate_run(arguments.run, arguments.split, arguments.corpus).items():
        print(f"{name:<24}{value:.4g}")


def _weights_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", help="Finished runs, or folders of them.")
    parser.add_argument("--output", type=str, required=True, help="Folder of the figures and the table.")


def _weights(arguments: Namespace) -> None:
    from pathlib import Path

    from speechstrata.files import atomic_path
    from speechstrata.superb.figure import weights_figure, write_figure
    from speechstrata.superb.results import find_runs, remarks, weights_table

    output, runs = Path(arguments.output), find_runs(arguments.runs)
    table = weights_table(runs)
    with atomic_path(output / "weights.csv") as partial:
        table.write_csv(partial)
    for column in ("weight", "weight_times_norm"):
        name = "weights" if column == "weight" else "weights-times-norm"
        for path in write_figure(weights_figure(table, column, remarks(runs)), output / name):
            print(path)


def _table_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", help="Finished runs, or folders of them.")
    parser.add_argument("--output", type=str, help="Folder for the tables as CSV and Markdown.")


def _table(arguments: Namespace) -> None:
    from pathlib import Path

    from speechstrata.files import atomic_path, write_text
    from speechstrata.superb.results import find_runs, metrics_table, summary_table

    runs = find_runs(arguments.runs)
    print(summary_table(runs))
    if arguments.output:
        output = Path(arguments.output)
        with atomic_path(output / "metrics.csv") as partial:
            metrics_table(runs).write_csv(partial)
        write_text(output / "table.md", summary_table(runs))


_ACTIONS = {
    "prepare": ("a probe corpus from the folder it was downloaded to, or a mini one", _prepare_arguments, _prepare),
    "train": ("a task's head and layer weights on frozen states", _train_arguments, _train),
    "evaluate": ("a finished run on a split", _evaluate_arguments, _evaluate),
    "weights": ("the learned layer weights as heat maps and a table", _weights_arguments, _weights),
    "table": ("the metrics of runs side by side", _table_arguments, _table),
}

COMMANDS = {"superb": Command("SUPERB probes: six tasks with learned layer weights", _arguments, _run)}
