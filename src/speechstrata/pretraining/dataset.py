"""From a batch's number to its tensors: audio, masks and targets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from speechstrata.errors import SpeechstrataError
from speechstrata.mrhubert.config import NetworkConfig, frontend_length
from speechstrata.mrhubert.objective import IGNORE
from speechstrata.pretraining.batches import BatchPlan, Crop
from speechstrata.pretraining.cache import AudioCache, mel_frames
from speechstrata.pretraining.config import MaskingConfig
from speechstrata.pretraining.masking import batch_masks
from speechstrata.pretraining.speech import Speech
from speechstrata.pretraining.units import UnitStore

#: The step of the masks of validation batches.
VALIDATION = -1


class Batch(NamedTuple):
    """What the objective takes.

    Attributes:
        inputs: (batch, samples), or (batch, 10 ms frames, bins) from a log-mel cache.
        lengths: samples (10 ms frames) of each row.
        mask: (batch, frames) bool at 20 ms.
        targets: for each stream (batch, labels), padded with ``IGNORE``.
        number: of the batch in the run.
        crops: where the rows come from.
    """

    inputs: Tensor
    lengths: tuple[int, ...]
    mask: Tensor
    targets: tuple[Tensor, ...]
    number: int
    crops: tuple[Crop, ...]

    @property
    def seconds(self) -> float:
        """Of audio, without padding."""
        return sum(crop.samples for crop in self.crops) / 16_000


class Material:
    """Where the tensors come from.

    Args:
        speech: the corpus, for audio that is decoded as it is needed.
        cache: or the corpus' cache.
        stores: the target streams.
        network: whose front-end tells the number of frames.
        masking: how to mask.
        seed: of the masks.
    """

    def __init__(
        self,
        speech: Speech,
        cache: AudioCache | None,
        stores: Sequence[UnitStore],
        network: NetworkConfig,
        masking: MaskingConfig,
        seed: int,
    ) -> None:
        self._speech, self._cache, self._stores = speech, cache, tuple(stores)
        self._network, self._masking, self._seed = network, masking, seed
        self._position: Mapping[str, int] = {u.id: number for number, u in enumerate(speech.utterances)}

    def batch(self, crops: Sequence[Crop], *, number: int, step: int) -> Batch:
        """Put the tensors of a batch together; rows of like lengths stand beside each other.

        Args:
            crops: the rows.
            number: of the batch in the run.
            step: optimizer step, for the masks.
        """
        crops = tuple(sorted(crops, key=lambda crop: -crop.samples))
        logmel = self._cache is not None and self._cache.kind == "logmel"
        lengths = tuple(mel_frames(crop.samples) if logmel else crop.samples for crop in crops)
        rows = [self._row(crop) for crop in crops]
        inputs = torch.zeros(len(rows), max(lengths), *rows[0].shape[1:])
        for place, row in enumerate(rows):
            inputs[place, : len(row)] = row
        frames = [frontend_length(self._network, crop.samples) for crop in crops]
        names = [crop.utterance for crop in crops]
        mask = batch_masks(frames, names, seed=self._seed, step=step, config=self._masking)
        targets = tuple(self._targets(store, crops) for store in self._stores)
        return Batch(inputs, lengths, torch.from_numpy(mask), targets, number, crops)

    def _row(self, crop: Crop) -> Tensor:
        if self._cache is not None:
            return self._cache.crop(crop.utterance, crop.start, crop.samples)
        wave = self._speech.load(self._position[crop.utterance])
        return torch.from_numpy(wave[crop.start : crop.start + crop.samples])

    @staticmethod
    def _targets(store: UnitStore, crops: Sequence[Crop]) -> Tensor:
        rows = [torch.from_numpy(store.crop(crop.utterance, crop.start, crop.samples)) for crop in crops]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORE)


class TrainingBatches(Dataset[Batch]):
    """The training batches, by number; what :class:`BatchPlan` plans.

    A file that can no longer be read stops the run with the utterance's name.
    """

    def __init__(self, material: Material, plan: BatchPlan, batches_per_step: int) -> None:
        self.material, self.plan, self.batches_per_step = material, plan, batches_per_step

    def __getitem__(self, index: int) -> Batch:
        return self.material.batch(self.plan.batch(index), number=index, step=index // self.batches_per_step)


class ValidationBatches(Dataset[Batch | None]):
    """This process' share of the validation batches, with masks that never change.

    All processes have the same number, since they meet at the end; those with less to do get None.
    """

    def __init__(self, material: Material, batches: Sequence[tuple[Crop, ...]], rank: int, processes: int) -> None:
        self.material = material
        self.batches = batches[rank::processes]
        self._length = -(-len(batches) // processes)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch | None:
        if index >= self._length:
            raise IndexError(index)
        if index >= len(self.batches):
            return None
        return self.material.batch(self.batches[index], number=index, step=VALIDATION)


class StepSampler(Sampler[int]):
    """The numbers of the batches that this process trains on until the next checkpoint.

    Of the ``batches_per_step`` batches of a step, process r of P takes those with (number mod P) = r. Where to begin
    is asked each time, so a resumed run needs nothing but its step.

    Args:
        step: gives the step to begin with.
        until: gives the first step that is not in the round that begins at a step.
        batches_per_step: over all processes.
        rank: of this process.
        processes: how many there are.
    """

    def __init__(
        self,
        step: Callable[[], int],
        until: Callable[[int], int],
        batches_per_step: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if batches_per_step % processes:
            raise SpeechstrataError(
                f"{batches_per_step} batches per step cannot be shared by {processes} processes",
                "set data.batches_per_step to a multiple of the number of processes",
            )
        self._step, self._until = step, until
        self._batches_per_step, self._rank, self._processes = batches_per_step, rank, processes

    def __iter__(self) -> Iterator[int]:
        first = self._step()
        start, stop = first * self._batches_per_step, self._until(first) * self._batches_per_step
        return iter(range(start + self._rank, stop, self._processes))

    def __len__(self) -> int:
        first = self._step()
        return (self._until(first) - first) * self._batches_per_step // self._processes
