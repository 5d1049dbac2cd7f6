"""From run folders to the tables of all training seeds: whose cell and seed a model is, and what was measured of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata.errors import InputError
from speechstrata.experiments.cells import (
    CELLS,
    PACKAGED_SEED,
    RESIDUAL_RECIPES,
    Cell,
    Scale,
    cell_of_recipe,
    layer_blocks,
    model_names,
)
from speechstrata.experiments.score_tables import Measurements, empty, rows_table
from speechstrata.superb.names import RANDOM, model_name

_AVERAGED = re.compile(r"averaged:([0-9.]+)ms:(.+)", re.DOTALL)


@dataclass(frozen=True)
class Member:
    """Which model of the family something is: its cell and the seed of its training."""

    cell: Cell
    seed: int


class Members:
    """Finds a model's cell and training seed from its name.

    A folder that ``pretrain`` wrote is known by the recipe beside it (``config.yaml``), a packaged or released model,
    or a copy of any, by its name; anything else has to be named.

    Args:
        scale: whose cells are meant.
        named: model name -> (cell name, training seed), for models that cannot be recognised.
    """

    def __init__(self, scale: Scale, named: Mapping[str, tuple[str, int]] | None = None) -> None:
        self.scale = scale
        self._cells = {cell.name: cell for cell in CELLS[scale]}
        self._names = {name: cell for cell in CELLS[scale] for name in model_names(scale, cell)}
        self._named = dict(named or {})
        self._blocks: dict[str, dict[str, str]] = {}

    def find(self, model: str) -> Member | None:
        """The cell and seed of a model; None for one that is no member of this family.

        Raises:
            InputError: a name was given a cell that the scale does not have.
        """
        if model in self._named:
            name, seed = self._named[model]
            if name not in self._cells:
                raise InputError(f"{model} is said to be of the cell {name!r}", f"one of {', '.join(self._cells)}")
            return Member(self._cells[name], seed)
        return self._trained(Path(model)) or self._called(model_name(model))

    def _called(self, name: str) -> Member | None:
        """By its name alone: a packaged, released or recipe's name, further seeds with ``-s2``."""
        match = re.fullmatch(r"(.+?)(?:-s(\d+))?", name)
        cell = self._names.get(match[1]) if match else None
        return Member(cell, int(match[2] or PACKAGED_SEED)) if match and cell else None

    def _trained(self, model: Path) -> Member | None:
        for folder in (model, model.parent):
            if (file := folder / "config.yaml").is_file():
                import yaml

                recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
                found = cell_of_recipe(str(recipe.get("name", "")))
                if found is not None and found[0] == self.scale:
                    return Member(found[1], int(recipe.get("seed", 1)))
        return None

    def block(self, cell: Cell, layer: str) -> str:
        """The block that a layer of a cell's models belongs to; "" before the first."""
        if cell.name not in self._blocks:
            self._blocks[cell.name] = layer_blocks(cell)
        return self._blocks[cell.name].get(layer, "")


def score_rows(run_folder: Path | str, members: Members, part_of: str = "") -> pl.DataFrame:
    """The scores of a run folder in the form of ``seeds.csv.gz``; models that are no members are left out.

    Controls keep their model's cell, and the name of the control: ``random``, or ``averaged-40ms`` for a model's states
    averaged in time. The filterbank is the control ``fbank`` of no cell.

    Args:
        run_folder: of ``analyze``.
        members: of the family.
        part_of: fingerprint of the corpus that the run's is a part of, with some of its speakers; "" for a whole one.

    Raises:
        InputError: not a finished run folder.
    """
    from speechstrata.report.runs import read_run

    run = read_run(run_folder)
    whose: dict[str, tuple[Member | None, str]] = {}
    for info in run.models:
        name, control = info.name, ""
        if info.role == "control" and info.control_of is not None:
            name, control = info.control_of, "random"
        elif info.role == "control" or [layer.kind for layer in info.layers] == ["fbank"]:
            whose[info.name] = (None, "fbank")
            continue
        if (averaged := _AVERAGED.fullmatch(name)) is not None:
            name = averaged[2]
            control = f"averaged-{averaged[1]}ms" + (f"-{control}" if control else "")
        member = members.find(name)
        if member is not None:
            whose[info.name] = (member, control)
    rows: list[Mapping[str, Any]] = []
    for row in run.scores.filter(pl.col("model").is_in(list(whose))).iter_rows(named=True):
        member, control = whose[row["model"]]
        rows.append(
            {column: row[column] for column in row if column in _COPIED}
            | {
                "corpus": run.corpus.name,
                "corpus_fingerprint": run.corpus.fingerprint,
                "part_of": part_of,
                "protocol": run.protocol.name,
                "cell": member.cell.name if member else "",
                "control": control,
                "training_seed": member.seed if member else 0,
                "model": model_name(row["model"]),
                "block": members.block(member.cell, row["layer"]) if member else "",
            }
        )
    return rows_table("scores", rows, str(run_folder))


_COPIED = {
    "layer",
    "index",
    "depth",
    "kind",
    "stride_ms",
    "score",
    "unit",
    "variant",
    "reference",
    "sample_set",
    "seed",
    "value",
    "baseline",
    "n",
}


def probe_rows(folders: Sequence[Path | str], members: Members) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Metrics and layer weights of finished probe runs, in the form of ``probes.csv`` and ``probe_weights.csv``.

    Raises:
        InputError: a folder without a finished probe run.
    """
    from speechstrata.superb.results import find_runs

    metrics: list[Mapping[str, Any]] = []
    weights: list[Mapping[str, Any]] = []
    for run in find_runs(folders):
        result = run.result
        name = str(result["model"])
        member = members.find(name.removesuffix(RANDOM))
        if member is None:
            continue
        origin = {
            "task": result["task"],
            "cell": member.cell.name,
            "control": "random" if name.endswith(RANDOM) else "",
            "model": run.model,
            "training_seed": member.seed,
            "probe_seed": result["seed"],
            "corpus": result["corpus"],
            "mini": result["mini"],
            "budget": float(result["budget"]),
        }
        for split, values in result["test"].items():
            metrics += [origin | {"split": split, "metric": name, "value": float(v)} for name, v in values.items()]
        for index, layer in enumerate(result["layers"]):
            weights.append(
                origin
                | {
                    "index": index,
                    "layer": layer["name"],
                    "stride_ms": float(layer["stride_ms"]),
                    "block": members.block(member.cell, layer["name"]),
                    "weight": float(layer["weight"]),
                    "mean_norm": float(layer["mean_norm"]),
                    "weight_times_norm": float(layer["weight_times_norm"]),
                }
            )
    where = ", ".join(map(str, folders))
    return rows_table("probes", metrics, where), rows_table("probe_weights", weights, where)


def residual_rows(folders: Sequence[Path | str], scale: Scale) -> pl.DataFrame:
    """Losses of the two residual variants from their training folders, in the form of ``residual.csv``.

    The final step's validation loss, and the training curve's last point (which is one logging interval's mean).
    Folders of other recipes are left out.

    Raises:
        InputError: a folder without curves.
    """
    import yaml

    from speechstrata.pretraining.curves import read_curve

    variants = {recipe: variant for variant, recipe in RESIDUAL_RECIPES[scale].items()}
    rows: list[Mapping[str, Any]] = []
    for folder in map(Path, folders):
        try:
            recipe = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{folder} is no training run: it has no config.yaml", "give pretrain's folder") from error
        if recipe.get("name") not in variants:
            continue
        curve, training = read_curve(folder / "validation.csv"), read_curve(folder / "train.csv")
        if not curve:
            raise InputError(f"{folder / 'validation.csv'} is empty", "let the training finish")
        rows.append(
            {
                "variant": variants[recipe["name"]],
                "seed": int(recipe.get("seed", 1)),
                "step": int(curve[-1]["step"]),
                "loss_bits": curve[-1]["loss"],
                "train_loss_bits": training[-1]["loss"] if training else None,
            }
        )
    return rows_table("residual", rows, ", ".join(map(str, folders)))


def collect(
    scale: Scale,
    analyses: Sequence[Path | str] = (),
    probes: Sequence[Path | str] = (),
    trainings: Sequence[Path | str] = (),
    named: Mapping[str, tuple[str, int]] | None = None,
    parts: Mapping[Path, str] | None = None,
) -> Measurements:
    """All tables from all folders.

    Args:
        scale: of the models.
        analyses: run folders of ``analyze``.
        probes: folders of probe runs, or folders of them.
        trainings: folders of trainings.
        named: see :class:`Members`.
        parts: run folders on parts of a corpus, by speakers -> the whole corpus's fingerprint.

    Raises:
        InputError: a folder cannot be read, or two measured the same thing.
    """
    from speechstrata.experiments.score_tables import checked

    members = Members(scale, named)
    scores = [score_rows(folder, members) for folder in analyses]
    scores += [score_rows(folder, members, whole) for folder, whole in (parts or {}).items()]
    metrics, weights = probe_rows(probes, members) if probes else (empty("probes"), empty("probe_weights"))
    table = pl.concat([empty("scores"), *scores])
    # the filterbank is in every run
    table = table.unique([*table.columns], maintain_order=True)
    return Measurements(
        scores=checked("scores", table, ", ".join(map(str, analyses))),
        probes=metrics,
        probe_weights=weights,
        residual=residual_rows(trainings, scale) if trainings else empty("residual"),
    )
