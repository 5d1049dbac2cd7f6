"""The batch plan: which stretch of which utterance is in which batch, as a pure function of (seed, batch index).

Nothing is drawn in sequence, so a run that resumes needs the step number and nothing else.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import CorpusError
from speechstrata.pretraining.config import FRAME_STRIDE, SAMPLE_RATE, DataConfig
from speechstrata.seeds import generator


class Utterance(NamedTuple):
    """What the plan must know of an utterance: its id and its length in samples at 16 kHz."""

    id: str
    samples: int


class Crop(NamedTuple):
    """A stretch of an utterance, in samples at 16 kHz."""

    utterance: str
    start: int
    samples: int


class BatchPlan:
    """All training batches of a run, by index.

    Utterances are grouped into buckets of like lengths (equal seconds in each; boundaries by lhotse). In each epoch
    the utterances of a bucket are shuffled and dealt out evenly to the bucket's batches, and the batches of all
    buckets are shuffled. A bucket's number of batches depends on its longest utterance alone, so every epoch has the
    same number of batches and batch ``i`` is found without looking at those before it.

    Args:
        utterances: in a fixed order (the corpus'); those under ``config.minimum_seconds`` are left out.
        config: batch size, crops, padding, buckets.
        seed: of the run.
        alignment: crops start at multiples of so many samples, so that labels of every resolution stay exact.

    Raises:
        CorpusError: no utterance is long enough.
    """

    def __init__(
        self, utterances: Sequence[Utterance], config: DataConfig, seed: int, alignment: int = FRAME_STRIDE
    ) -> None:
        shortest = round(config.minimum_seconds * SAMPLE_RATE)
        self.utterances = tuple(u for u in utterances if u.samples >= shortest)
        if not self.utterances:
            raise CorpusError(
                f"none of {len(utterances)} utterances is as long as {config.minimum_seconds} s",
                "lower data.minimum_seconds or take another corpus",
            )
        self._longest = round(config.maximum_seconds * SAMPLE_RATE)
        self._config = config
        self._seed = seed
        self._alignment = alignment
        kept = np.minimum([u.samples for u in self.utterances], self._longest)
        self._buckets = _buckets(kept, config.buckets)
        capacity = round(config.batch_seconds * SAMPLE_RATE)
        self._batches_in_bucket = [
            -(-len(bucket) // max(1, capacity // int(kept[bucket].max()))) for bucket in self._buckets
        ]
        self._epoch: Callable[[int], list[NDArray[np.int64]]] = lru_cache(maxsize=2)(self._plan_epoch)

    @property
    def batches_per_epoch(self) -> int:
        """Batches in every epoch."""
        return sum(self._batches_in_bucket)

    @property
    def seconds(self) -> float:
        """Seconds of audio in the utterances that are used (uncropped)."""
        return sum(u.samples for u in self.utterances) / SAMPLE_RATE

    def batch(self, index: int) -> tuple[Crop, ...]:
        """The crops of batch ``index`` (from 0, without end: epoch after epoch)."""
        epoch, position = divmod(index, self.batches_per_epoch)
        rows = [self.utterances[row] for row in self._epoch(epoch)[position]]
        longest = self._longest
        if not self._config.padding:
            longest = min(longest, *(u.samples for u in rows)) if len(rows) > 1 else min(longest, rows[0].samples)
        return tuple(self._crop(utterance, longest, epoch) for utterance in rows)

    def _crop(self, utterance: Utterance, longest: int, epoch: int) -> Crop:
        samples = min(utterance.samples, longest)
        places = (utterance.samples - samples) // self._alignment + 1
        place = 0 if places == 1 else int(generator(self._seed, "crop", epoch, utterance.id).integers(places))
        return Crop(utterance.id, place * self._alignment, samples)

    def _plan_epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        batches: list[NDArray[np.int64]] = []
        for number, (bucket, count) in enumerate(zip(self._buckets, self._batches_in_bucket, strict=True)):
            shuffled = generator(self._seed, "order", epoch, number).permutation(bucket)
            batches += np.array_split(shuffled, count)
        order = generator(self._seed, "batches", epoch).permutation(len(batches))
        return [batches[place] for place in order]


def validation_batches(utterances: Sequence[Utterance], config: DataConfig) -> list[tuple[Crop, ...]]:
    """Fixed batches for the validation loss: by length, padded, long utterances cut at ``maximum_seconds``.

    At most ``config.validation_seconds`` of audio (0: all), spread evenly over the utterances given.
    """
    shortest, longest = (round(s * SAMPLE_RATE) for s in (config.minimum_seconds, config.maximum_seconds))
    kept = [Crop(u.id, 0, min(u.samples, longest)) for u in utterances if u.samples >= shortest]
    total = sum(crop.samples for crop in kept)
    limit = round(config.validation_seconds * SAMPLE_RATE)
    if 0 < limit < total:
        every = total / limit
        kept = [kept[int(place)] for place in np.arange(0, len(kept), every)]
    capacity = round(config.batch_seconds * SAMPLE_RATE)
    batches: list[tuple[Crop, ...]] = []
    batch: list[Crop] = []
    for crop in sorted(kept, key=lambda crop: (crop.samples, crop.utterance)):
        if batch and (len(batch) + 1) * crop.samples > capacity:
            batches.append(tuple(batch))
            batch = []
        batch.append(crop)
    if batch:
        batches.append(tuple(batch))
    return batches


class _Samples:
    """Tells lhotse that a length is its own measure."""

    @staticmethod
    def measure_length(samples: int) -> int:
        return samples


def _buckets(samples: NDArray[np.int64], wanted: int) -> list[NDArray[np.int64]]:
    """Indices of like lengths, at most ``wanted`` groups of equal total length, shortest first."""
    from lhotse.dataset.sampling.dynamic_bucketing import estimate_duration_buckets

    wanted = min(wanted, len(samples))
    if wanted < 2:
        return [np.arange(len(samples))]
    bounds = estimate_duration_buckets(samples, wanted, constraint=_Samples())
    bucket = np.searchsorted(np.asarray(bounds), samples, side="right")
    return [np.flatnonzero(bucket == number) for number in np.unique(bucket)]
