"""Where the states of a batch come from: the cache, or the encoder itself."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechstrata.analysis.forward import plan_batches, read_batches
from speechstrata.audio import load_cut
from speechstrata.encoders.base import SpeechEncoder
from speechstrata.progress import ProgressBar
from speechstrata.superb.cache import StateCache
from speechstrata.superb.layered import LayeredStates
from speechstrata.superb.states import LayerChoice


class StateSource(Protocol):
    """States of the examples of one split."""

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor | LayeredStates, Tensor]:
        """(batch, frames, layers, dim), zero past the lengths, and the lengths (batch,) in frames.

        Of a pooled task there is one "frame" per example. What would be too large comes as what makes it.
        """
        ...

    def frames(self, number: int) -> int:
        """How many frames an example has, before pooling."""
        ...

    def mean_norms(self) -> list[float]:
        """(layers,) mean Euclidean norm of each layer's states."""
        ...


class CachedStates:
    """States from a cache entry.

    Args:
        cache: the entry.
        kept: (n,) the cut of the entry that each example is.
    """

    def __init__(self, cache: StateCache, kept: NDArray[np.int64]) -> None:
        self._cache, self._kept = cache, kept

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See :class:`StateSource`."""
        rows = [self._cache.states(int(self._kept[number])) for number in numbers]
        lengths = torch.tensor([len(row) for row in rows])
        states = torch.zeros((len(rows), int(lengths.max()), *rows[0].shape[1:]))
        for place, row in enumerate(rows):
            states[place, : len(row)] = torch.from_numpy(row)
        return states, lengths

    def frames(self, number: int) -> int:
        """See :class:`StateSource`."""
        return int(self._cache.frames[self._kept[number]])

    def mean_norms(self) -> list[float]:
        """See :class:`StateSource`."""
        return self._cache.mean_norms


class LiveStates:
    """States made anew for every batch, where a cache would be too large.

    Args:
        cuts: of the split.
        encoder: what makes the states.
        choice: of its layers.
        pooled: mean over frames.
        normalize: layer-normalise each state first.
        memory_gigabytes: a batch whose layers take more together is given as :class:`LayeredStates`.
        batch_seconds: audio in one batch of the encoder, for the norms.
    """

    def __init__(
        self,
        cuts: Sequence[Any],
        encoder: SpeechEncoder,
        choice: LayerChoice,
        *,
        pooled: bool,
        normalize: bool,
        memory_gigabytes: float = 4.0,
        batch_seconds: float = 60.0,
    ) -> None:
        self._cuts, self._encoder, self._choice = cuts, encoder, choice
        self._pooled, self._normalize = pooled, normalize
        self._memory_gigabytes, self._batch_seconds = memory_gigabytes, batch_seconds

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor | LayeredStates, Tensor]:
        """See :class:`StateSource`."""
        waves = [torch.from_numpy(self._load(number)) for number in numbers]
        samples = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        states = LayeredStates(self._encoder, self._choice, padded, samples, normalize=self._normalize)
        if self._pooled:
            return states.collect(pooled=True)[0], torch.ones_like(states.lengths)
        if states.gigabytes > self._memory_gigabytes:
            return states, states.lengths
        return states.collect(pooled=False)[0], states.lengths

    def frames(self, number: int) -> int:
        """See :class:`StateSource`."""
        samples = round(self._cuts[number].duration * self._choice.sample_rate)
        return self._encoder.frame_count(self._choice.finest, samples)

    def mean_norms(self) -> list[float]:
        """See :class:`StateSource`; in a pass over the split."""
        seconds = np.array([cut.duration for cut in self._cuts])
        plan = plan_batches(seconds, np.arange(len(seconds)), self._batch_seconds)
        sums, frames = np.zeros(len(self._choice.layers)), 0
        with ProgressBar("norms of the states", total=float(seconds.sum()), unit="s") as bar:
            for batch in read_batches(plan, 0, self._load, self._choice.sample_rate):
                if len(batch.utterances):
                    states = LayeredStates(self._encoder, self._choice, batch.waveforms, batch.lengths, normalize=False)
                    sums += states.norms()
                    frames += int(states.lengths.sum())
                bar.advance(float(seconds[plan[batch.number]].sum()))
        return [float(norm) for norm in sums / max(frames, 1)]

    def _load(self, number: int) -> NDArray[np.float32]:
        return load_cut(self._cuts[number], self._choice.sample_rate)
