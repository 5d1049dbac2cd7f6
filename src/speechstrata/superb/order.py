"""Which examples make up a step: a pure function of seed and step, so that resuming needs the step's number only."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from speechstrata.seeds import generator

#: Examples of like length are drawn from windows of so many batches.
_WINDOW = 50
#: Lengths are taken for longer or shorter by about this share when examples of like length are put together.
_NOISE = 0.1


class BatchOrder:
    """The training batches of a run.

    Args:
        lengths: (n,) of the examples, in any unit.
        batch_size: examples in a batch.
        seed: of the run.
        weights: (n,) chances of the examples, drawn with replacement; None: every example once an epoch, in random
            order, examples of like length together.
    """

    def __init__(
        self, lengths: Sequence[float], batch_size: int, seed: int, weights: NDArray[np.float64] | None = None
    ) -> None:
        self._lengths = np.asarray(lengths, dtype=np.float64)
        self._size = min(batch_size, len(lengths))
        self._seed = seed
        self._chances = None if weights is None else weights / weights.sum()
        self.batches_per_epoch = -(-len(lengths) // self._size)
        self._epoch = lru_cache(maxsize=2)(self._plan)

    def batch(self, number: int) -> NDArray[np.int64]:
        """The examples of that batch; batches are numbered from 0 through all epochs."""
        if self._chances is not None:
            random = generator(self._seed, "probe", "draw", number)
            return random.choice(len(self._lengths), size=self._size, p=self._chances)
        epoch, place = divmod(number, self.batches_per_epoch)
        return self._epoch(epoch)[place]

    def _plan(self, epoch: int) -> list[NDArray[np.int64]]:
        random = generator(self._seed, "probe", "epoch", epoch)
        order = random.permutation(len(self._lengths))
        batches: list[NDArray[np.int64]] = []
        window = self._size * _WINDOW
        for start in range(0, len(order), window):
            part = order[start : start + window]
            # without the noise, a small corpus would have the same batches in every epoch
            nearly = self._lengths[part] * np.exp(_NOISE * random.standard_normal(len(part)))
            part = part[np.argsort(nearly, kind="stable")]
            batches += [part[first : first + self._size] for first in range(0, len(part), self._size)]
        return [batches[index] for index in random.permutation(len(batches))]
