"""The commands that bring speech in: ``corpus prepare`` and ``align``."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from speechstrata.commands.command import Command, group
from speechstrata.corpora.kinds import KINDS, PrepareOptions


def _prepare_arguments(parser: ArgumentParser) -> None:
    kinds = "; ".join(f"{name}: {kind.help}" for name, kind in KINDS.items())
    parser.add_argument("kind", choices=list(KINDS), help=f"Kind of source. {kinds}.")
    parser.add_argument("source", nargs="?", help="; ".join(f"{name}: {kind.source}" for name, kind in KINDS.items()))
    parser.add_argument("--output", type=str, required=True, help="Corpus folder to make.")
    parser.add_argument("--name", type=str, help="Name of the corpus, instead of the kind's own.")
    parser.add_argument("--copy_audio", action="store_true", help="Copy the recordings into the folder.")
    parser.add_argument(
        "--no_check", action="store_true", help="Read headers only; broken audio shows when it is used."
    )
    parser.add_argument("--strict", action="store_true", help="Stop at the first item that is not right.")
    parser.add_argument("--workers", type=int, help="Threads and processes; one per processor by default.")
    parser.add_argument("--splits", nargs="+", default=[], help="librispeech: the splits to take; all by default.")
    parser.add_class_arguments(PrepareOptions, skip={"splits"})


def _prepare(arguments: Namespace) -> None:
    from speechstrata.corpora.prepare import prepare_corpus, summary

    names = set(PrepareOptions.__dataclass_fields__) - {"splits"}
    options = PrepareOptions(**{name: arguments[name] for name in names}, splits=tuple(arguments.splits))
    corpus = prepare_corpus(
        arguments.kind,
        arguments.source,
        arguments.output,
        options,
        name=arguments.name,
        copy_audio=arguments.copy_audio,
        check=not arguments.no_check,
        strict=arguments.strict,
        workers=arguments.workers,
    )
    print(summary(corpus))


def _align_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("corpus", type=str, help="A corpus folder with transcripts (see `corpus prepare transcripts`).")
    parser.add_argument("--output", type=str, required=True, help="Corpus folder to make; may be the same.")
    parser.add_argument("--workers", type=int, help="Processes; one per processor by default.")
    parser.add_argument("--strict", action="store_true", help="Stop at the first utterance that cannot be aligned.")


def _align(arguments: Namespace) -> None:
    from speechstrata.corpora.align import align_corpus
    from speechstrata.corpora.corpus import load_corpus
    from speechstrata.corpora.prepare import summary

    corpus = align_corpus(
        load_corpus(arguments.corpus), Path(arguments.output), workers=arguments.workers, strict=arguments.strict
    )
    print(summary(corpus))


_ACTIONS = {
    "prepare": Command("a corpus folder from a published corpus or from files of yours", _prepare_arguments, _prepare),
}

COMMANDS = {
    "corpus": group("speech and its alignments, from wherever they are, to a corpus folder", _ACTIONS),
    "align": Command("word and phone alignments for audio and transcripts, offline", _align_arguments, _align),
}
