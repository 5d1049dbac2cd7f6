"""The examples of a split with their states and targets, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from speechstrata.audio import load_cut
from speechstrata.superb.layered import LayeredStates
from speechstrata.superb.order import BatchOrder
from speechstrata.superb.sources import StateSource
from speechstrata.superb.states import LayerChoice
from speechstrata.superb.task import FrameGrid, Labels, ProbeTask


class Batch(NamedTuple):
    """Some examples.

    Attributes:
        states: (batch, frames, layers, dim), zero past the lengths; one "frame" each where the task is pooled; or what
            makes them as they are added up.
        lengths: (batch,) in frames.
        targets: of the task, one per example.
        number: of the batch in the run.
    """

    states: Tensor | LayeredStates
    lengths: Tensor
    targets: list[Any]
    number: int


class Examples:
    """One split.

    Args:
        task: whose targets these are.
        labels: of the task.
        cuts: the examples.
        source: of their states.
        choice: of the layers.
    """

    def __init__(
        self, task: ProbeTask, labels: Labels, cuts: Sequence[Any], source: StateSource, choice: LayerChoice
    ) -> None:
        self.task, self.labels, self.source = task, labels, source
        self._cuts, self._choice = list(cuts), choice

    def __len__(self) -> int:
        return len(self._cuts)

    @property
    def ids(self) -> list[str]:
        """Of the cuts."""
        return [cut.id for cut in self._cuts]

    @property
    def seconds(self) -> list[float]:
        """Of the cuts."""
        return [cut.duration for cut in self._cuts]

    def batch(self, numbers: Sequence[int], number: int = 0) -> Batch:
        """The examples of those numbers."""
        states, lengths = self.source.batch(numbers)
        targets = []
        for place, example in enumerate(numbers):
            cut = self._cuts[example]
            frames = self.source.frames(example) if self.task.pooled else int(lengths[place])
            rate = self._choice.sample_rate
            waveform = load_cut(cut, rate) if self.task.needs_waveform else None
            grid = FrameGrid(frames, self._choice.grid().stride, rate)
            targets.append(self.task.target(cut, self.labels, waveform, grid))
        return Batch(states, lengths, targets, number)

    def batches(self, size: int, chosen: NDArray[np.int64] | None = None) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """All (or the chosen) examples, those of like length together: their numbers, and a batch."""
        numbers = np.arange(len(self)) if chosen is None else chosen
        order = numbers[np.argsort(np.array(self.seconds)[numbers], kind="stable")]
        for start in range(0, len(order), size):
            part = order[start : start + size]
            yield part, self.batch(part.tolist())


class TrainingBatches(Dataset[Batch]):
    """Batch ``number`` of the run, whatever was read before it."""

    def __init__(self, examples: Examples, order: BatchOrder) -> None:
        self._examples, self._order = examples, order

    def __getitem__(self, number: int) -> Batch:
        return self._examples.batch(self._order.batch(number).tolist(), number)


class Numbers(Sampler[int]):
    """The numbers of the batches of one round of training, beginning where the run is.

    Args:
        first: gives the number of the next batch.
        count: batches in a round.
    """

    def __init__(self, first: Callable[[], int], count: int) -> None:
        self._first, self._count = first, count

    def __iter__(self) -> Iterator[int]:
        first = self._first()
        return iter(range(first, first + self._count))

    def __len__(self) -> int:
        return self._count
