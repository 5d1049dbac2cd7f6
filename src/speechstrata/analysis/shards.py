"""One analysis shared out: which utterances a shard runs, what it leaves in the run folder, and taking that together.

Every shard runs every n-th batch of each block: the batches are those of an undivided run, so the states are too. It
leaves its pooled rows, its frames' statistics and its log in ``shards/I-of-N/cache/<model>/``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.blocks import Block, PassLog
from speechstrata.analysis.forward import plan_batches
from speechstrata.analysis.frames import FrameStatistics
from speechstrata.analysis.pooling import RowPlan, RowStore
from speechstrata.analysis.spans import Unit
from speechstrata.encoders.base import Layer
from speechstrata.errors import InputError
from speechstrata.files import atomic_path
from speechstrata.sharding import Shard

_FOLDER = "shards"


def shard_folder(run: Path, shard: Shard) -> Path:
    """Where a shard leaves its part of a run."""
    return run / _FOLDER / f"{shard.index}-of-{shard.count}"


def is_shard_folder(path: Path) -> bool:
    """Whether this is such a place, and no run folder."""
    return path.parent.name == _FOLDER


def shard_utterances(
    blocks: Sequence[Block], seconds: NDArray[np.float64], batch_seconds: float, shard: Shard
) -> NDArray[np.int64]:
    """The utterances that a shard runs; sorted."""
    mine = [batch for block in blocks for batch in shard.of(plan_batches(seconds, block.utterances, batch_seconds))]
    return np.sort(np.concatenate([*mine, np.zeros(0, dtype=np.int64)]))


def find_shards(run: Path) -> list[Shard]:
    """The shards that left something in a run folder; empty where it was not shared out.

    Raises:
        InputError: some are missing, or they are of different numbers.
    """
    matches = [re.fullmatch(r"(\d+)-of-(\d+)", path.name) for path in (run / _FOLDER).glob("*-of-*")]
    found = sorted((int(m[1]), int(m[2])) for m in matches if m is not None)
    if not found:
        return []
    counts = {count for _, count in found}
    if len(counts) > 1:
        raise InputError(f"{run / _FOLDER} holds shards of {sorted(counts)}", "remove those that are not wanted")
    count = counts.pop()
    missing = sorted(set(range(count)) - {index for index, _ in found})
    if missing:
        raise InputError(
            f"{run / _FOLDER} lacks shard {', '.join(f'{index}/{count}' for index in missing)}",
            f"run it, or remove {run / _FOLDER} to do everything in one process",
        )
    return [Shard(index, count) for index in range(count)]


def save_frames(cache: Path, statistics: FrameStatistics, sample_set: int) -> None:
    """Keep the statistics of a sample set's frames in a model's cache."""
    with atomic_path(_frames_file(cache, sample_set)) as partial, partial.open("wb") as file:
        np.savez(file, **statistics.state_dict())  # type: ignore[arg-type]


def _frames_file(cache: Path, sample_set: int) -> Path:
    return cache / f"frames-{sample_set}.npz"


@dataclass(frozen=True)
class Part:
    """What one shard left of one model.

    Attributes:
        shard: which.
        cache: the model's folder in the shard's.
    """

    shard: Shard
    cache: Path

    def unread(self, name: str, key: str, blocks: Sequence[Block], needed: Sequence[Block]) -> dict[str, str]:
        """Utterance -> why it could not be used, of a finished pass.

        Args:
            name: of the pass.
            key: see ``PassLog``.
            blocks: the plan.
            needed: those that must be done.

        Raises:
            InputError: the shard has not finished them, or was run with other options.
        """
        log = PassLog(self.cache / f"{name}.json", key, blocks)
        if not {block.number for block in needed} <= log.done:
            raise InputError(
                f"shard {self.shard} has not finished {self.cache}",
                f"run it again with --shard {self.shard} and the same options; or remove {self.cache.parents[2]} "
                "to do everything in one process",
            )
        return log.unread

    def add_frames(self, statistics: FrameStatistics, sample_set: int) -> None:
        """Add the shard's frames to the statistics.

        Raises:
            InputError: they are damaged.
        """
        path = _frames_file(self.cache, sample_set)
        try:
            with np.load(path) as file:
                statistics.absorb(file)
        except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
            raise InputError(f"cannot read {path}: {error}", f"remove {self.cache} and run that shard again") from error

    def add_rows(
        self, store: RowStore, layers: tuple[Layer, ...], plans: Mapping[Unit, RowPlan], utterances: NDArray[np.int64]
    ) -> None:
        """Add the shard's pooled rows to a store.

        Args:
            store: of all rows.
            layers: of the model.
            plans: unit -> all rows.
            utterances: those of the shard.

        Raises:
            InputError: they are damaged.
        """
        own = {unit: plan.of_utterances(utterances) for unit, plan in plans.items()}
        counts: dict[str, int] = {unit: len(plan.spans_of_rows) for unit, plan in own.items()}
        saved = RowStore(self.cache, layers, counts, existing=True)
        store.absorb(saved, {unit: plans[unit].rows_of(plan.spans_of_rows) for unit, plan in own.items()})
