"""The plan of one pass: which utterances are run, in which blocks, and which blocks are done.

A block is what a killed run repeats at most. Sample sets of frames are disjoint and each is a block, so
that only one set's statistics are in memory at a time.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import InputError
from speechstrata.files import fingerprint, read_json, write_json


@dataclass(frozen=True)
class Block:
    """Some utterances that are run together.

    Attributes:
        number: position in the plan.
        utterances: (n,) indices into the corpus.
        frame_set: the sample set whose frame-level scores these utterances make; None for none.
    """

    number: int
    utterances: NDArray[np.int64]
    frame_set: int | None


def plan_blocks(
    frame_sets: Sequence[NDArray[np.int64]],
    pooled: NDArray[np.int64],
    durations: NDArray[np.float64],
    block_seconds: float = 3600.0,
) -> list[Block]:
    """The blocks of a pass: one per frame set, then the utterances that are only pooled.

    Args:
        frame_sets: the utterances of each frame-level sample; disjoint.
        pooled: the utterances with spans to pool.
        durations: (n_corpus,) seconds.
        block_seconds: the audio in a block of utterances that are only pooled.
    """
    blocks = [Block(number, np.sort(each), number) for number, each in enumerate(frame_sets) if len(each)]
    framed = np.concatenate([*frame_sets, np.zeros(0, dtype=np.int64)])
    rest = np.setdiff1d(pooled, framed)
    if len(rest):
        piece = (np.cumsum(durations[rest]) / block_seconds).astype(np.int64)
        for index in np.unique(piece):
            blocks.append(Block(len(blocks), rest[piece == index], None))
    return [Block(number, block.utterances, block.frame_set) for number, block in enumerate(blocks)]


class PassLog:
    """Which blocks of a plan are done, in a file that is replaced whole after each.

    Args:
        path: the file.
        key: fingerprint of everything the pass depends on; a file with another key counts as empty.
        blocks: the plan.
        fresh: what the file says is not to be believed: the rows it tells of are gone.
    """

    def __init__(self, path: Path, key: str, blocks: Sequence[Block], *, fresh: bool = False) -> None:
        self._path = path
        self._key = fingerprint([key, [block.utterances.tolist() for block in blocks]])
        self.done: set[int] = set()
        self.unread: dict[str, str] = {}
        if path.exists() and not fresh:
            with suppress(
                InputError, AttributeError, KeyError, TypeError, ValueError
            ):  # damaged: as if it were not there
                state = read_json(path)
                if state.get("key") == self._key:
                    self.done, self.unread = set(state["done"]), dict(state["unread"])

    def finish(self, block: Block) -> None:
        """Note that a block is done; call after its results are on the disk."""
        self.done.add(block.number)
        write_json(self._path, {"key": self._key, "done": sorted(self.done), "unread": self.unread})
