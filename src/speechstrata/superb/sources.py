"""Where the states of a batch come from: the cache, or the encoder itself."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechstrata.audio import load_cut
from speechstrata.encoders.base import SpeechEncoder
from speechstrata.superb.cache import StateCache
from speechstrata.superb.states import LayerChoice, mean_over_frames, normalized, stack_states


class StateSource(Protocol):
    """States of the examples of one split."""

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(batch, frames, layers, dim), zero past the lengths, and the lengths (batch,) in frames.

        Of a pooled task there is one "frame" per example.
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
    """

    def __init__(
        self, cuts: Sequence[Any], encoder: SpeechEncoder, choice: LayerChoice, *, pooled: bool, normalize: bool
    ) -> None:
        self._cuts, self._encoder, self._choice = cuts, encoder, choice
        self._pooled, self._normalize = pooled, normalize
        self._norms: NDArray[np.float64] = np.zeros(len(choice.layers))
        self._seen = 0

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See :class:`StateSource`."""
        waves = [torch.from_numpy(load_cut(self._cuts[number], self._choice.sample_rate)) for number in numbers]
        samples = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        stacked, lengths = stack_states(self._encoder.hidden_states(padded, samples, self._choice.names), self._choice)
        self._norms += stacked.norm(dim=-1).sum((0, 1)).cpu().double().numpy()
        self._seen += int(lengths.sum())
        if self._normalize:
            stacked = normalized(stacked)  # zeros stay zeros
        if self._pooled:
            return mean_over_frames(stacked, lengths), torch.ones_like(lengths)
        return stacked, lengths

    def frames(self, number: int) -> int:
        """See :class:`StateSource`."""
        samples = round(self._cuts[number].duration * self._choice.sample_rate)
        return self._encoder.frame_count(self._choice.finest, samples)

    def mean_norms(self) -> list[float]:
        """See :class:`StateSource`; over what has been seen so far."""
        return [float(norm) for norm in self._norms / max(self._seen, 1)]
