"""The commands of acoustically grounded word embeddings: ``agwe train|embed``."""

from jsonargparse import ArgumentParser, Namespace

from speechstrata.agwe.config import AgweConfig
from speechstrata.commands.command import Command, group


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_argument("--corpus", type=str, required=True, help="A corpus folder or manifest with word alignments.")
    parser.add_argument("--output", type=str, required=True, help="Run folder; the same command continues it.")
    parser.add_class_arguments(AgweConfig)


def _train(arguments: Namespace) -> None:
    from speechstrata.agwe.training import train_agwe

    config = AgweConfig(**{name: arguments[name] for name in AgweConfig.__dataclass_fields__})
    result = train_agwe(arguments.corpus, arguments.output, config)
    for name, scores in ((name, result["test"][name]) for name in ("all_words", "unseen_words")):
        if "problem" in scores:
            print(f"{name.replace('_', ' '):<14}{scores['problem']}")
            continue
        values = {how.replace("_", " "): own["precision"] for how, own in scores.items()}
        values["chance"] = scores["encoders"]["chance"]
        print(f"{name.replace('_', ' '):<14}" + "  ".join(f"{how} {value:.3f}" for how, value in values.items()))
    print(f"average precision on {result['test']['segments']} words of unseen speakers")
    print(f"vectors  {arguments.output}/vectors.npz ({result['words']} words of {result['dim']} dimensions)")


def _embed_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="Run folder of a finished `agwe train`.")
    parser.add_argument("words", nargs="+", help="Corpora, or .txt files with a word a line.")
    parser.add_argument("--output", type=str, required=True, help="File to write, .npz.")
    parser.add_argument("--half", action="store_true", help="Half precision: half the size.")


def _embed(arguments: Namespace) -> None:
    from pathlib import Path

    from speechstrata.agwe.model_folder import embed_words

    found, wanted = embed_words(arguments.run, arguments.words, Path(arguments.output), half=arguments.half)
    print(f"vectors  {arguments.output} ({found} of {wanted} words)")


_ACTIONS = {
    "train": Command(
        "an acoustic and a text encoder, and a vector for each word of a corpus", _train_arguments, _train
    ),
    "embed": Command("the vectors of more words by a trained text encoder", _embed_arguments, _embed),
}

COMMANDS = {"agwe": group("acoustically grounded word embeddings, for cca-agwe; trained on any corpus", _ACTIONS)}
