"""A batch without padding: the frames of its utterances, one after another.

Linear layers, normalisations and non-linearities see every frame once; only what mixes frames (attention,
convolutions over time, statistics over time) has to know where an utterance ends, and works on *runs*:
neighbouring utterances of the same length, as one (utterances, frames, dim) view. A batch of equal lengths
is a single run: the usual padded computation, without a mask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frames:
    """The frames of several utterances.

    Attributes:
        data: (frames of all utterances, dim).
        lengths: frames of each utterance.
        padding: (frames of all utterances,) bool, True where a frame is padding; only in the published
            code's padded batches (``padding="reference"``), where all utterances have the same length.
    """

    data: Tensor
    lengths: tuple[int, ...]
    padding: Tensor | None = None

    def replace(self, data: Tensor) -> "Frames":
        """The same utterances with other vectors (frames, any dim)."""
        return Frames(data, self.lengths, self.padding)

    def map_runs(self, function: Callable[[Tensor], Tensor]) -> "Frames":
        """Apply ``function``, (utterances, frames, dim) -> (utterances, other frames, other dim), to each run.

        All frames of an utterance are seen together, and never those of another length.
        """
        counts = runs(self.lengths)
        parts = [
            function(part.view(count, length, part.shape[-1]))
            for part, (count, length) in zip(self._split(counts), counts, strict=True)
        ]
        lengths = [part.shape[1] for part in parts for _ in range(part.shape[0])]
        return Frames(join([part.flatten(0, 1) for part in parts]), tuple(lengths), self.padding)

    def _split(self, counts: Sequence[tuple[int, int]]) -> Sequence[Tensor]:
        if len(counts) == 1:
            return (self.data,)
        parts: Sequence[Tensor] = self.data.split([count * length for count, length in counts])
        return parts

    def trimmed(self, lengths: Sequence[int]) -> "Frames":
        """The first ``lengths[i]`` frames of each utterance."""
        if tuple(lengths) == self.lengths:
            return self
        if len(set(self.lengths)) == 1 and len(set(lengths)) == 1:
            shape = (len(lengths), self.lengths[0])
            data = self.data.unflatten(0, shape)[:, : lengths[0]].flatten(0, 1)
            padding = self.padding
            if padding is not None:
                padding = padding.unflatten(0, shape)[:, : lengths[0]].flatten()
            return Frames(data, tuple(lengths), padding)
        assert self.padding is None, "padded batches have one length"
        parts = self.data.split(self.lengths)
        return Frames(torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)]), tuple(lengths))

    def padded(self, frames: int | None = None) -> Tensor:
        """(batch, frames, dim), zero beyond each utterance; ``frames`` is the longest one's by default."""
        frames = max(self.lengths) if frames is None else frames
        if set(self.lengths) == {frames}:
            whole: Tensor = self.data.unflatten(0, (len(self.lengths), frames))
            return whole
        padded: Tensor = self.data.new_zeros(len(self.lengths), frames, *self.data.shape[1:])
        for row, part in zip(padded, self.data.split(self.lengths), strict=True):
            row[: len(part)] = part
        return padded

    @classmethod
    def pack(cls, padded: Tensor, lengths: Sequence[int]) -> "Frames":
        """The inverse of :meth:`padded`; frames beyond the lengths are dropped."""
        if set(lengths) == {padded.shape[1]}:
            return cls(padded.flatten(0, 1), tuple(lengths))
        return cls(torch.cat([row[:length] for row, length in zip(padded, lengths, strict=True)]), tuple(lengths))


def runs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """(utterances, length) of each stretch of neighbours with the same length."""
    return [(len(list(group)), length) for length, group in groupby(lengths)]


def join(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate along the first axis, without a copy where there is only one part."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
