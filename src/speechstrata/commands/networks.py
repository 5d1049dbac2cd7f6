"""The commands about networks: ``convert``, ``cost`` and ``draw``."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from speechstrata.commands.command import Command


def _convert_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=str, help="A fairseq checkpoint (.pt) or a Hugging Face HuBERT folder.")
    parser.add_argument("output", type=str, help="Folder to make.")
    parser.add_argument(
        "--to", choices=["speechstrata", "transformers"], default="speechstrata", help="Whose classes load the folder."
    )


def _convert(arguments: Namespace) -> None:
    from speechstrata.mrhubert.checkpoints import convert_checkpoint

    folder = convert_checkpoint(arguments.checkpoint, arguments.output, arguments.to)
    print(f"model    {folder}")


def _cost_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", help="Named configurations (mrhubert-base, b5-a, ...) or encoders.")
    parser.add_argument("--seconds", nargs="+", type=float, default=[1.0, 5.0, 15.0, 30.0], help="Utterance lengths.")
    parser.add_argument("--training", action="store_true", help="Measure training steps too.")
    parser.add_argument(
        "--training_seconds", nargs="+", type=float, default=[5.0, 15.0], help="Utterance lengths in training."
    )
    parser.add_argument("--device", type=str, default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, default=1, help="Threads of the CPU.")
    parser.add_argument("--repeats", type=int, default=5, help="Timed runs, after one that warms up.")
    parser.add_argument("--output", type=str, help="Folder for the tables and the figure.")


def _cost(arguments: Namespace) -> None:
    from speechstrata.mrhubert.cost import measure_cost
    from speechstrata.mrhubert.cost_report import print_cost

    output = None if arguments.output is None else Path(arguments.output)
    rows = measure_cost(
        arguments.models,
        seconds=arguments.seconds,
        training=arguments.training,
        training_seconds=arguments.training_seconds,
        device=arguments.device,
        threads=arguments.threads,
        repeats=arguments.repeats,
        output=output,
    )
    print_cost(rows)
    if output is not None:
        print(f"cost     {output}")


def _draw_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", type=str, help="A named configuration, a folder, or a checkpoint.")
    parser.add_argument("--output", type=str, required=True, help="File to write: .svg, .png or .pdf.")
    parser.add_argument("--title", type=str, help="Written above the drawing.")


def _draw(arguments: Namespace) -> None:
    from speechstrata.mrhubert.checkpoints import open_model
    from speechstrata.mrhubert.drawing import draw
    from speechstrata.mrhubert.named import NAMED

    known = arguments.model in NAMED
    config = NAMED[arguments.model] if known else open_model(arguments.model).network
    print(f"drawing  {draw(config, arguments.output, title=arguments.title)}")


COMMANDS = {
    "convert": Command("a released checkpoint to a Hugging Face folder, and back", _convert_arguments, _convert),
    "cost": Command("MACs, latency and memory of models, by block and resolution", _cost_arguments, _cost),
    "draw": Command("the architecture of any network of the family", _draw_arguments, _draw),
}
