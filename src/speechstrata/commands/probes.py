"""The commands of the SUPERB probes: ``superb prepare|train|run|evaluate|weights|table``."""

from jsonargparse import ArgumentParser, Namespace

from speechstrata.commands.command import Command, group
from speechstrata.superb.config import ProbeConfig

_TASKS = ("asr", "sf", "ic", "ks", "sd", "se")


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
    _config_arguments(parser)


def _train(arguments: Namespace) -> None:
    from speechstrata.superb.training import ProbeInputs, sweep, train_probe

    inputs = ProbeInputs(arguments.task, arguments.model, arguments.corpus, arguments.cache)
    config = _config(arguments)
    if arguments.learning_rates:
        result = sweep(inputs, config, arguments.learning_rates, arguments.output)
    else:
        result = train_probe(inputs, config, arguments.output)
    if not result["cached"]:
        print("the states did not fit into --cache_gigabytes and were computed anew in each step")
    for problem in result["problems"]:
        print(f"left out {problem['cut']} ({problem['split']}): {problem['reason']}")
    for split, metrics in {"dev": result["dev"], **result["test"]}.items():
        print(f"{split:<12}" + "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    print("weights     " + "  ".join(f"{layer['name']} {layer['weight']:.3f}" for layer in result["layers"]))
    if result["budget"] != 1.0 or result["mini"]:
        print("not comparable with published numbers: a mini corpus or a budget other than 1")
    print(f"result   {arguments.output}/result.json")


def _config_arguments(parser: ArgumentParser, skip: frozenset[str] | set[str] = frozenset()) -> None:
    parser.add_argument("--layers", nargs="+", default=[], help="To be weighed; by default the benchmark's states.")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="Settings of the recipe, such as learning_rate=1e-3."
    )
    parser.add_class_arguments(ProbeConfig, skip={"layers", "set", *skip})


def _config(arguments: Namespace) -> ProbeConfig:
    values = {name: arguments[name] for name in ProbeConfig.__dataclass_fields__ if name in arguments}
    return ProbeConfig(**values | {name: tuple(values[name]) for name in ("layers", "set")})


def _run_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_argument("--models", nargs="+", required=True, help="Encoders; NAME+random: with random weights.")
    parser.add_argument("--corpora", nargs="+", required=True, help="Folders of `superb prepare`, or one of them all.")
    parser.add_argument("--tasks", nargs="+", choices=list(_TASKS), default=[], help="By default those of the corpora.")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="Seeds of the probes.")
    parser.add_argument("--output", type=str, required=True, help="Folder of all; the same command goes on.")
    parser.add_argument("--cache", type=str, default="", help="Folder of cached states; by default in the output.")
    parser.add_argument("--workers", type=int, default=1, help="Runs at the same time, in processes of their own.")
    _config_arguments(parser, skip={"seed"})


def _grid(arguments: Namespace) -> None:
    from pathlib import Path

    from speechstrata.errors import InputError
    from speechstrata.superb.grid import Outcome, plan_grid, run_grid

    output = Path(arguments.output)
    cells = plan_grid(
        arguments.models,
        arguments.corpora,
        _config(arguments),
        output,
        tasks=arguments.tasks,
        seeds=arguments.seeds,
        cache=arguments.cache,
    )
    total, done = sum(len(cell.outputs) for cell in cells), 0

    def report(outcome: Outcome) -> None:
        nonlocal done
        done += 1
        said = f"failed: {outcome.error}"
        if (result := outcome.result) is not None:
            metrics = "  ".join(f"{name} {value:.4g}" for name, value in result["test"]["test"].items())
            said = f"{metrics}  ({result['seconds']['all']:.0f} s)"
        print(f"[{done}/{total}] {outcome.task}  {outcome.model}  seed {outcome.seed}  {said}", flush=True)

    failed = run_grid(cells, output, workers=arguments.workers, report=report)
    print((output / "table.md").read_text(encoding="utf-8") if failed < total else "")
    print(f"tables   {output}/metrics.csv  {output}/weights.csv  {output}/table.md")
    if failed:
        raise InputError(f"{failed} of {total} runs failed; see {output}/problems.csv", "mend them, and run it again")


def _evaluate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="A finished run.")
    parser.add_argument("--split", type=str, default="test", help="Split of its corpus.")
    parser.add_argument("--corpus", type=str, help="Another corpus for the same task, with the same labels.")
    parser.add_argument("--language_model", type=str, help="asr: decode by beam search with this ARPA or KenLM file.")


def _evaluate(arguments: Namespace) -> None:
    from speechstrata.superb.training import evaluate_run

    metrics = evaluate_run(arguments.run, arguments.split, arguments.corpus, arguments.language_model)
    for name, value in metrics.items():
        print(f"{name:<24}{value:.4g}")


def _weights_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", help="Finished runs, or folders of them; or a weights.csv.")
    parser.add_argument("--tasks", nargs="+", choices=list(_TASKS), default=list(_TASKS), help="To be drawn.")
    parser.add_argument("--output", type=str, required=True, help="Folder of the figures and the table.")


def _weights(arguments: Namespace) -> None:
    from pathlib import Path

    from speechstrata.errors import InputError
    from speechstrata.files import atomic_path
    from speechstrata.superb.figure import weights_figure, write_figure
    from speechstrata.superb.results import read_weights

    output = Path(arguments.output)
    table, remarks = read_weights(arguments.runs)
    table = table.filter(table["task"].is_in(arguments.tasks))
    if table.is_empty():
        raise InputError(f"there are no weights of {', '.join(arguments.tasks)}", "choose other --tasks")
    with atomic_path(output / "weights.csv") as partial:
        table.write_csv(partial)
    for column in ("weight", "weight_times_norm"):
        name = "weights" if column == "weight" else "weights-times-norm"
        for path in write_figure(weights_figure(table, column, remarks), output / name):
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
    "prepare": Command(
        "a probe corpus from the folder it was downloaded to, or a mini one", _prepare_arguments, _prepare
    ),
    "train": Command("a task's head and layer weights on frozen states", _train_arguments, _train),
    "run": Command("every task with every model and seed, with tables", _run_arguments, _grid),
    "evaluate": Command("a finished run on a split", _evaluate_arguments, _evaluate),
    "weights": Command("the learned layer weights as heat maps and a table", _weights_arguments, _weights),
    "table": Command("the metrics of runs side by side", _table_arguments, _table),
}

COMMANDS = {"superb": group("SUPERB probes: six tasks with learned layer weights", _ACTIONS)}
