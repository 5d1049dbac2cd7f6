"""Where the models of a reproduction are: packaged, released, trained here, or in a folder of the user's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechstrata.encoders.registry import PACKAGED_NAMES
from speechstrata.errors import InputError
from speechstrata.experiments.cells import PACKAGED_SEED, Cell, cells_of, model_names
from speechstrata.experiments.config import ReproduceConfig

#: Other names that a released file goes by.
_ALIASES = {
    "mrhubert_mono_base.pt": ("mono_base.pt", "multires_hubert_base.pt"),
    "mrhubert_mono_large.pt": ("mono_large.pt", "multires_hubert_large.pt"),
}


@dataclass(frozen=True)
class FamilyModel:
    """One model: its cell, the seed of its training, and what ``load_encoder`` takes."""

    cell: Cell
    seed: int
    source: str


def training_name(scale: str, cell: Cell, seed: int) -> str:
    """The folder name of a cell's training."""
    return f"{cell.recipe or f'{scale}-{cell.name}'}-s{seed}"


def find_family(config: ReproduceConfig, output: Path) -> list[FamilyModel]:
    """The models of a reproduction, by cell, then by seed.

    Raises:
        InputError: a folder that is not there, or holds none of the models.
    """
    cells = cells_of(config.scale)
    if config.from_scratch:
        return [
            FamilyModel(cell, seed, str(output / "training" / training_name(config.scale, cell, seed) / "model"))
            for cell in cells
            for seed in training_seeds(config, cell)
        ]
    if config.models:
        return _in_folder(Path(config.models), config.scale, cells)
    if config.scale == "paper":
        return _released(Path(config.checkpoints), cells) if config.checkpoints else []
    packaged = [FamilyModel(cell, PACKAGED_SEED, cell.encoder) for cell in cells if cell.encoder in PACKAGED_NAMES]
    if not packaged:
        remedy = "give --models FOLDER, or --from-scratch and --corpus"
        raise InputError(f"there are no packaged models of the scale {config.scale!r}", remedy)
    return packaged


def training_seeds(config: ReproduceConfig, cell: Cell) -> range:
    """The seeds that a cell is trained with: the large pair is for Figure 5, which has no statistics."""
    return range(1, 2 if cell.comparison == "large" else config.training_seeds + 1)


def _in_folder(folder: Path, scale: str, cells: Sequence[Cell]) -> list[FamilyModel]:
    """Models by name; ``NAME/model``, as ``pretrain`` leaves them, is taken for ``NAME``."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", "check --models")
    found = []
    for cell in cells:
        names = model_names(scale, cell)
        for path in sorted(folder.iterdir()):
            match = re.fullmatch(r"(.+?)(?:-s(\d+))?", path.name)
            if match is None or match[1] not in names:
                continue
            inner = path / "model" if (path / "model").is_dir() else path
            found.append(FamilyModel(cell, int(match[2] or PACKAGED_SEED), str(inner)))
    if not found:
        known = ", ".join(cell.recipe or f"{scale}-{cell.name}" for cell in cells)
        raise InputError(f"{folder} holds no model of the family", f"name them {known}; further seeds NAME-s2")
    return sorted(found, key=lambda model: ([cell.name for cell in cells].index(model.cell.name), model.seed))


def _released(folder: Path, cells: Sequence[Cell]) -> list[FamilyModel]:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", "check --checkpoints")
    found = []
    for cell in cells:
        for name in (cell.encoder, *_ALIASES.get(cell.encoder, ())) if cell.encoder else ():
            if (path := folder / name).is_file():
                found.append(FamilyModel(cell, PACKAGED_SEED, str(path)))
                break
    if not found:
        known = ", ".join(cell.encoder for cell in cells if cell.encoder)
        raise InputError(f"{folder} holds none of the released checkpoints", f"their names are: {known}")
    return found


def file_marks(source: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a model's files, which tell that they were replaced; none of a packaged one."""
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def check_architectures(models: Sequence[FamilyModel]) -> list[dict[str, object]]:
    """Open every model and compare its network with its cell's.

    Returns:
        one entry per model: ``cell``, ``training_seed``, ``source``, ``fingerprint``, ``parameters``, and
        ``classes`` that its prediction heads tell apart.

    Raises:
        EncoderError: a model cannot be loaded.
        InputError: a model is of another architecture than its cell.
    """
    from speechstrata.encoders.loading import load_encoder
    from speechstrata.experiments.cells import network_of
    from speechstrata.mrhubert.config import block_plan
    from speechstrata.mrhubert.encoder import MRHubertEncoder

    entries: list[dict[str, object]] = []
    for model in models:
        encoder = load_encoder(model.source)
        classes: list[int] = []
        if isinstance(encoder, MRHubertEncoder):
            wanted = [(block.name, block.layers, block.stride) for block in block_plan(network_of(model.cell))]
            actual = [(block.name, block.layers, block.stride) for block in block_plan(encoder.network)]
            heads = (network_of(model.cell).head_count, encoder.network.head_count)
            if wanted != actual or heads[0] != heads[1]:
                raise InputError(
                    f"{model.source} is no {model.cell.label}: blocks of {[layers for _, layers, _ in actual]} layers "
                    f"with {heads[1]} prediction heads",
                    f"give one with blocks of {list(model.cell.layers)} layers and {heads[0]} heads",
                )
            classes = list(encoder.network.classes)
        entries.append(
            {
                "cell": model.cell.name,
                "training_seed": model.seed,
                "source": model.source,
                "fingerprint": encoder.fingerprint,
                "parameters": encoder.parameters,
                "classes": classes,
            }
        )
    return entries
