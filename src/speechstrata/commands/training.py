"""The commands of pre-training: ``targets``, ``units import|export`` and ``pretrain``."""

from jsonargparse import ArgumentParser, Namespace

from speechstrata.commands.command import Command, group
from speechstrata.pretraining.config import TargetsConfig


def _targets_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    parser.add_argument("--corpus", type=str, required=True, help="'demo', a corpus folder, or a lhotse manifest.")
    parser.add_argument("--output", type=str, required=True, help="Folder of the units.")
    parser.add_argument(
        "--shard", type=str, default="", help="One share of the work: I/N with I from 0, or auto (docs/scale.md)."
    )
    parser.add_class_arguments(TargetsConfig)


def _targets(arguments: Namespace) -> None:
    from dataclasses import replace

    from speechstrata.corpora.corpus import load_corpus
    from speechstrata.files import read_json
    from speechstrata.pretraining.targets import make_targets, share_targets
    from speechstrata.sharding import parse_shard

    config = TargetsConfig(**{name: arguments[name] for name in TargetsConfig.__dataclass_fields__})
    shard = parse_shard(arguments.shard)
    if shard is not None:
        cuts = load_corpus(arguments.corpus, lazy=True).cuts
        config = replace(config, device=shard.device(config.device))
        following = share_targets(cuts, arguments.output, config, shard)
        if following or shard.index:
            print(
                f"share    {shard} of {arguments.output} done; {following}" if following else f"share    {shard} done"
            )
            return
    folder = make_targets(arguments.corpus, arguments.output, config)
    for name, value in read_json(folder / "targets.json")["quality"].items():
        print(f"{name:<20}{value:.4g}" if isinstance(value, float) else f"{name:<20}{value}")
    print(f"units    {folder}")


def _pretrain_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("recipe", type=str, help="A packaged recipe (see docs/pretraining.md) or a YAML file.")
    parser.add_argument("--output", type=str, default="", help="Run folder; the same command continues it.")
    parser.add_argument("--corpus", type=str, help="Overrides the recipe's corpus.")
    parser.add_argument("--targets", nargs="+", default=[], help="Folders of units; override the recipe's.")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="SECTION.KEY=VALUE", help="Overrides any setting of the recipe."
    )
    parser.add_argument("--dry_run", action="store_true", help="Say what would happen, from a few measured steps.")


def _pretrain(arguments: Namespace) -> None:
    from speechstrata.errors import InputError, require

    require("lightning", "train", "pre-training")  # dry_run imports it
    if arguments.dry_run:
        from speechstrata.pretraining.dry_run import dry_run

        print(dry_run(arguments.recipe, corpus=arguments.corpus, targets=arguments.targets, overrides=arguments.set))
        return
    if not arguments.output:
        raise InputError("no run folder", "give --output FOLDER")
    from speechstrata.pretraining.trainer import pretrain

    folder = pretrain(
        arguments.recipe,
        arguments.output,
        corpus=arguments.corpus,
        targets=arguments.targets,
        overrides=arguments.set,
    )
    print(f"model    {folder / 'model'}\ncurves   {folder / 'train.csv'}, {folder / 'validation.csv'}")


def _import_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--tsv", type=str, required=True, help="The root folder, then a line for each audio file.")
    parser.add_argument("--labels", type=str, required=True, help="A line of symbols for each file: train.km.")
    parser.add_argument("--dictionary", type=str, required=True, help="`symbol count` lines: dict.km.txt.")
    parser.add_argument("--rate", type=float, required=True, help="Units per second: 100 for MFCC, 50 for HuBERT.")
    parser.add_argument("--offset", type=float, default=199.5, help="Centre of the first unit in samples at 16 kHz.")
    parser.add_argument("--output", type=str, required=True, help="Folder of the units.")


def _import(arguments: Namespace) -> None:
    from speechstrata.pretraining.published_units import import_units

    files = (arguments.tsv, arguments.labels, arguments.dictionary)
    store = import_units(*files, arguments.output, rate=arguments.rate, offset=arguments.offset)
    print(f"units    {arguments.output} ({len(store)} utterances, {store.classes} classes)")


def _export_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("units", type=str, help="Folder of units, as `targets` makes it.")
    parser.add_argument("--corpus", type=str, required=True, help="The corpus that they were made of.")
    parser.add_argument("--root", type=str, required=True, help="Folder that all its audio files are in.")
    parser.add_argument("--split", type=str, default="train", help="Name of the files.")
    parser.add_argument("--output", type=str, required=True, help="Folder of SPLIT.tsv, SPLIT.km, dict.km.txt.")


def _export(arguments: Namespace) -> None:
    from speechstrata.corpora.corpus import load_corpus
    from speechstrata.pretraining.published_units import audio_below, export_units
    from speechstrata.pretraining.units import UnitStore

    store = UnitStore.open(arguments.units)
    audio = audio_below(arguments.root, load_corpus(arguments.corpus, lazy=True).cuts, store)
    export_units(store, audio, arguments.output, root=arguments.root, split=arguments.split)
    print(f"units    {arguments.output} ({len(audio)} of {len(store)} utterances)")


COMMANDS = {
    "targets": Command(
        "acoustic units for pre-training: features, k-means, one unit per frame", _targets_arguments, _targets
    ),
    "units": group(
        "units from and for the public training code (.tsv, .km, dict.km.txt)",
        {
            "import": Command("a folder of units from public files", _import_arguments, _import),
            "export": Command("public files from a folder of units", _export_arguments, _export),
        },
    ),
    "pretrain": Command(
        "HuBERT and MR-HuBERT by masked prediction; one process or torchrun", _pretrain_arguments, _pretrain
    ),
}
