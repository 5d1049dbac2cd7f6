"""From tables to grids: a statistic's value for every training seed and sample set, or probe seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from speechstrata.experiments.cells import Cell, layer_blocks
from speechstrata.experiments.intervals import PROBES, SEEDS, SETS, SPEAKERS
from speechstrata.experiments.score_tables import Measurements

#: Controls that are the same whatever the training seed.
_SEEDLESS = ("random", "fbank")


class NotMeasured(Exception):
    """A statistic's material is not there; the message says what is missing."""


class Need(NamedTuple):
    """A model's part in a statistic: its cell, and which control or variant of its scores."""

    cell: str
    control: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.cell, self.control, self.variant]))


class Profile(NamedTuple):
    """One model's values over its layers, and the block of each layer."""

    curve: Mapping[str, float]
    blocks: Mapping[str, str]


@dataclass(frozen=True)
class Grid:
    """A statistic's values: one dimension per axis; ``seeds`` are the training seeds of the first axis."""

    values: NDArray[np.float64]
    axes: tuple[str, ...]
    seeds: tuple[int, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """What a statistic is computed from.

    Attributes:
        tables: all measurements.
        corpus: fingerprint of the corpus whose scores count.
        protocol: of those scores.
        cells: of the scale, by name.
        macs: cell -> multiply-accumulates per second of audio.
        by_speakers: take the scores on the corpus's parts, each with some of its speakers, in place of sample sets.
    """

    tables: Measurements
    corpus: str
    protocol: str
    cells: Mapping[str, Cell]
    macs: Mapping[str, float]
    by_speakers: bool = False


def score_grid(setting: Setting, score: str, needs: Sequence[Need], function: Callable[..., float]) -> Grid:
    """``function`` of the needed models' profiles, for every training seed and sample set.

    By speakers, for every training seed and part of the corpus, of profiles that are means over sample sets.

    Raises:
        NotMeasured: a model's scores are missing, or no training seed has all of them.
    """
    whole, part = pl.col("corpus_fingerprint") == setting.corpus, pl.col("part_of") == setting.corpus
    here = part if setting.by_speakers else whole & (pl.col("protocol") == setting.protocol)
    table = setting.tables.scores.filter(here & (pl.col("score") == score))
    if table.is_empty():
        raise NotMeasured(f"no scores {score} on this corpus")
    reference = str(table.filter(pl.col("variant") == "")["reference"].min() or "")
    table = table.filter(pl.col("reference") == reference)
    found: list[dict[tuple[Any, ...], dict[str, float]]] = []
    for need in needs:
        rows = table.filter(
            (pl.col("cell") == need.cell) & (pl.col("control") == need.control) & (pl.col("variant") == need.variant)
        ).sort("training_seed", "seed", "sample_set", "index")
        if rows.is_empty():
            raise NotMeasured(f"no scores {score} of {need}")
        curves: dict[tuple[Any, ...], dict[str, float]] = {}
        drawn = ["corpus_fingerprint"] if setting.by_speakers else ["seed", "sample_set"]
        keys = ["training_seed", *drawn, "layer"]
        means = rows.group_by(keys, maintain_order=True).agg(pl.col("value").mean())
        for seed, *draw, layer, value in means.select(*keys, "value").iter_rows():
            curves.setdefault((seed, tuple(draw)), {})[layer] = value
        found.append(curves)
    blocks = [layer_blocks(setting.cells[need.cell]) if need.cell in setting.cells else {} for need in needs]

    def value_at(at: tuple[Any, ...]) -> float:
        profiles = []
        for need, curves, block in zip(needs, found, blocks, strict=True):
            profiles.append(Profile(curves[_key(need, at, curves)], block))
        return function(*profiles)

    evidence = (f"scores.csv: {score}{f' ({reference})' if reference else ''}, {', '.join(map(str, needs))}",)
    return _grid(needs, found, value_at, SPEAKERS if setting.by_speakers else SETS, evidence)


def probe_grid(setting: Setting, task: str, metric: str, needs: Sequence[Need], function: Callable[..., float]) -> Grid:
    """``function`` of the needed models' test metrics, for every training seed and probe seed.

    Raises:
        NotMeasured: a model's metrics are missing, or no training seed has all of them.
    """
    table = setting.tables.probes.filter(
        (pl.col("task") == task) & (pl.col("metric") == metric) & (pl.col("split") == "test")
    )
    if table.is_empty():
        raise NotMeasured(f"no probe results of {task} {metric}")
    table = table.filter(pl.col("corpus") == table["corpus"].sort()[0])
    found: list[dict[tuple[Any, ...], float]] = []
    for need in needs:
        rows = table.filter((pl.col("cell") == need.cell) & (pl.col("control") == need.control))
        if rows.is_empty():
            raise NotMeasured(f"no probe results of {task} with {need}")
        found.append(
            {(seed, probe): value for seed, probe, value in rows.select("training_seed", "probe_seed", "value").rows()}
        )
    evidence = (f"probes.csv: {task} {metric} (test, {table['corpus'][0]}), {', '.join(map(str, needs))}",)
    return _grid(
        needs,
        found,
        lambda at: function(*(each[_key(need, at, each)] for need, each in zip(needs, found, strict=True))),
        PROBES,
        evidence,
    )


def weight_grid(setting: Setting, tasks: Sequence[str], cells: Sequence[str], function: Callable[..., float]) -> Grid:
    """``function`` of profiles of layer weights: for each cell, one for each task, in that order.

    Raises:
        NotMeasured: a model's weights are missing, or no training seed has all of them.
    """
    table = setting.tables.probe_weights.filter(pl.col("control") == "")
    found: list[dict[tuple[Any, ...], dict[str, float]]] = []
    blocks: list[dict[str, str]] = []
    corpora = set()
    for cell in cells:
        for task in tasks:
            rows = table.filter((pl.col("cell") == cell) & (pl.col("task") == task))
            if rows.is_empty():
                raise NotMeasured(f"no layer weights of {task} with {cell}")
            rows = rows.filter(pl.col("corpus") == rows["corpus"].sort()[0]).sort("index")
            corpora.add(rows["corpus"][0])
            curves: dict[tuple[Any, ...], dict[str, float]] = {}
            for seed, probe, layer, weight in rows.select("training_seed", "probe_seed", "layer", "weight").iter_rows():
                curves.setdefault((seed, probe), {})[layer] = weight
            found.append(curves)
            blocks.append(dict(rows.select("layer", "block").rows()))
    needs = [Need(cell) for cell in cells for _ in tasks]
    evidence = (f"probe_weights.csv: {', '.join(tasks)} ({', '.join(sorted(corpora))}), {', '.join(cells)}",)
    return _grid(
        needs,
        found,
        lambda at: function(*(Profile(each[at], block) for each, block in zip(found, blocks, strict=True))),
        PROBES,
        evidence,
    )


def residual_grid(setting: Setting, function: Callable[[float, float], float]) -> Grid:
    """``function`` of the validation losses with the residual before and after the decoder, for every training seed.

    Raises:
        NotMeasured: no seed has trained both.
    """
    table = setting.tables.residual
    losses = {(variant, seed): loss for variant, seed, loss in table.select("variant", "seed", "loss_bits").rows()}
    seeds = sorted({seed for variant, seed in losses if variant == "pre"} & {s for v, s in losses if v == "post"})
    if not seeds:
        raise NotMeasured("no trainings of both residual variants")
    values = np.array([function(losses["pre", seed], losses["post", seed]) for seed in seeds])
    return Grid(values, (SEEDS,), tuple(seeds), ("residual.csv: pre, post",))


def _key(need: Need, at: tuple[Any, ...], found: Mapping[tuple[Any, ...], Any]) -> tuple[Any, ...]:
    """Where a model's value for (training seed, other) stands; of a seedless control any seed's will do."""
    if need.control in _SEEDLESS and at not in found:
        return next(key for key in found if key[1] == at[1])
    return at


def _grid(
    needs: Sequence[Need],
    found: Sequence[Mapping[tuple[Any, ...], Any]],
    value: Callable[[tuple[Any, ...]], float],
    other: str,
    evidence: tuple[str, ...],
) -> Grid:
    """The largest complete grid of training seeds by sample sets (or probe seeds) that all models have.

    Raises:
        NotMeasured: there is none.
    """
    seeded = [each for need, each in zip(needs, found, strict=True) if need.control not in _SEEDLESS] or list(found)
    seedless = [each for need, each in zip(needs, found, strict=True) if need.control in _SEEDLESS]
    shared = set.intersection(*(set(each) for each in seeded))
    for each in seedless:
        shared = {key for key in shared if key[1] in {other for _, other in each}}
    if not shared:
        raise NotMeasured(f"no training seed has all of {', '.join(dict.fromkeys(map(str, needs)))}")
    by_seed: dict[int, set[Any]] = {}
    for seed, number in shared:
        by_seed.setdefault(seed, set()).add(number)
    # Every choice of sample sets leaves the seeds that have them all; the largest grid counts.
    best = max(
        ((seeds, chosen) for chosen in map(frozenset, by_seed.values())
         if (seeds := [seed for seed, own in by_seed.items() if chosen <= own])),
        key=lambda pair: (len(pair[0]) * len(pair[1]), len(pair[0])),
    )  # fmt: skip
    seeds, numbers = sorted(best[0]), sorted(best[1])
    values = np.array([[value((seed, number)) for number in numbers] for seed in seeds], dtype=np.float64)
    if not np.isfinite(values).all():
        raise NotMeasured("a model lacks a layer that the statistic is about")
    return Grid(values, (SEEDS, other), tuple(seeds), evidence)
