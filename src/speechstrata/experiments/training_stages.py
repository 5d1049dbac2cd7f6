"""Stages that train the family from nothing: units, a first HuBERT, its units, every cell with every seed.

As in the papers: iteration 1 is a HuBERT on k-means units of MFCCs; the whole family is then trained on k-means units
of one of its layers. All cells see the same batches, crops and masks for the same seed.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from speechstrata.errors import InputError
from speechstrata.experiments.cells import RESIDUAL_RECIPES, Cell, Scale, cells_of, network_of
from speechstrata.experiments.config import ReproduceConfig
from speechstrata.experiments.family import training_name, training_seeds
from speechstrata.experiments.stages import Stage
from speechstrata.files import write_text

_MFCC_CLUSTERS = 100
#: Frames that the two k-means are fitted on.
_FIRST_FRAMES, _SECOND_FRAMES = 300_000, 100_000
FIRST_UNITS, FIRST_MODEL, SECOND_UNITS = "targets-first", "train-first", "targets-second"


def training_stages(config: ReproduceConfig, corpus: str, output: Path) -> list[Stage]:
    """The stages, the last of which leave the models where ``find_family`` expects them.

    Raises:
        InputError: no corpus to train on.
    """
    if not corpus:
        raise InputError("training from scratch needs a corpus", "give --corpus FOLDER (see docs/corpora.md)")
    first = Stage(
        FIRST_UNITS,
        f"{_MFCC_CLUSTERS} units from MFCCs",
        (),
        lambda: _units(config, corpus, output / "units" / "first", first=True, output=output),
        ("units/first/targets.json",),
        lambda: [config.scale, _fingerprint(corpus), config.training_set],
    )
    teacher = Stage(
        FIRST_MODEL,
        "the first HuBERT",
        (FIRST_UNITS,),
        lambda: _train(config, _first_recipe(config, output), corpus, output / "units" / "first", output, "first"),
        ("training/first/model",),
        lambda: list(config.training_set),
    )
    second = Stage(
        SECOND_UNITS,
        f"{config.clusters} units from its layer {config.target_layer}",
        (FIRST_MODEL,),
        lambda: _units(config, corpus, output / "units" / "second", first=False, output=output),
        ("units/second/targets.json",),
        lambda: [config.target_layer, config.clusters],
    )
    return [first, teacher, second, *_models(config, corpus, output)]


def _models(config: ReproduceConfig, corpus: str, output: Path) -> list[Stage]:
    stages = []
    units = output / "units" / "second"
    for cell in cells_of(config.scale):
        for seed in training_seeds(config, cell):
            name = training_name(config.scale, cell, seed)
            stages.append(
                Stage(
                    f"train-{name}",
                    f"{cell.label}, training seed {seed}",
                    (SECOND_UNITS,),
                    lambda cell=cell, seed=seed, name=name: _train(  # type: ignore[misc]
                        config, cell_recipe(config.scale, cell, output), corpus, units, output, name, seed
                    ),
                    (f"training/{name}/model",),
                    lambda cell=cell: [network_of(cell).to_dict(), config.training_set],  # type: ignore[misc]
                )
            )
    pre = RESIDUAL_RECIPES[config.scale]["pre"]
    for seed in range(1, config.training_seeds + 1):
        stages.append(
            Stage(
                f"train-{pre}-s{seed}",
                f"residual before the decoder, training seed {seed}",
                (SECOND_UNITS,),
                lambda seed=seed: _train(config, pre, corpus, units, output, f"{pre}-s{seed}", seed),  # type: ignore[misc]
                (f"training/{pre}-s{seed}/model",),
                lambda: list(config.training_set),
            )
        )
    return stages


def cell_recipe(scale: Scale, cell: Cell, output: Path) -> str:
    """The packaged recipe's name, or the file of one that is written for the cell."""
    if cell.recipe:
        return cell.recipe
    base = next(other for other in cells_of(scale) if other.name == "mrhubert-base").recipe
    model: dict[str, Any] = {"name": cell.network} | {name: _plain(value) for name, value in cell.overrides}
    return str(_write_recipe(output, f"{scale}-{cell.name}", base, cell.label, model))


def _first_recipe(config: ReproduceConfig, output: Path) -> str:
    """The first iteration's HuBERT: the family's own HuBERT, on other units."""
    if config.scale == "tiny":
        return "tiny-hubert-it1"
    hubert = next(cell for cell in cells_of(config.scale) if cell.name == "hubert")
    return cell_recipe(config.scale, hubert, output)


def _write_recipe(output: Path, name: str, base: str, about: str, model: dict[str, Any]) -> Path:
    path = output / "recipes" / f"{name}.yaml"
    write_text(path, yaml.safe_dump({"about": about, "base": base, "model": model}, sort_keys=False))
    return path


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _train(
    config: ReproduceConfig, recipe: str, corpus: str, units: Path, output: Path, name: str, seed: int = 1
) -> None:
    from speechstrata.pretraining.trainer import pretrain

    overrides = [*config.training_set, f"seed={seed}"]
    if config.device.startswith("cuda"):
        overrides.append("run.accelerator=cuda")
    pretrain(recipe, output / "training" / name, corpus=corpus, targets=[str(units)], overrides=overrides)


def _units(config: ReproduceConfig, corpus: str, folder: Path, *, first: bool, output: Path) -> None:
    from speechstrata.pretraining.config import TargetsConfig
    from speechstrata.pretraining.recipes import load_recipe
    from speechstrata.pretraining.targets import make_targets

    data = load_recipe(_first_recipe(config, output), config.training_set).data
    make_targets(
        corpus,
        folder,
        TargetsConfig(
            features="mfcc" if first else str(output / "training" / "first" / "model"),
            layer="" if first else config.target_layer,
            clusters=_MFCC_CLUSTERS if first else config.clusters,
            sample_frames=_FIRST_FRAMES if first else _SECOND_FRAMES,
            validation_share=data.validation_share,
            test_share=data.test_share,
            split_seed=data.split_seed,
            device=config.device,
        ),
    )


def training_folders(config: ReproduceConfig, output: Path) -> list[Path]:
    """The trainings that Table 3 compares: those made here, or beside the models that were given."""
    where = Path(config.models) if config.models else output / "training"
    variants = set(RESIDUAL_RECIPES[config.scale].values())
    return [
        path.parent for path in sorted(where.glob("*/validation.csv")) if _without_seed(path.parent.name) in variants
    ]


def _without_seed(name: str) -> str:
    return re.sub(r"-s\d+$", "", name)


def _fingerprint(corpus: str) -> str:
    from speechstrata.corpora.corpus import load_corpus

    return load_corpus(corpus, lazy=True).fingerprint
