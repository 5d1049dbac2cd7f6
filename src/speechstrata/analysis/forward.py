"""One pass of an encoder over a corpus: batches of similar length, and audio that is read ahead."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechstrata.errors import SpeechstrataError

#: How many batches are read ahead of the encoder.
_READ_AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """Some utterances, ready for an encoder.

    Attributes:
        number: of the batch in the plan.
        utterances: (batch,) indices into the corpus.
        waveforms: (batch, samples), zero-padded.
        lengths: (batch,), in samples.
        seconds: of audio, without padding.
        problems: (utterance index, reason) of those that could not be read; they are not in the batch.
    """

    number: int
    utterances: NDArray[np.int64]
    waveforms: Tensor
    lengths: Tensor
    seconds: float
    problems: tuple[tuple[int, str], ...]


def plan_batches(
    durations: NDArray[np.float64], utterances: NDArray[np.int64], batch_seconds: float
) -> list[NDArray[np.int64]]:
    """Put utterances of similar length together; a batch with its padding lasts at most ``batch_seconds``.

    The longest come first, so that a batch too large for the memory shows at once. An utterance longer than
    ``batch_seconds`` is a batch of its own. The plan depends on the durations only.

    Args:
        durations: (n_corpus,) seconds of every utterance of the corpus.
        utterances: the ones wanted, as indices into ``durations``.
        batch_seconds: the bound, padding included.
    """
    order = utterances[np.lexsort((utterances, -durations[utterances]))]
    batches: list[NDArray[np.int64]] = []
    start = 0
    while start < len(order):
        longest = max(float(durations[order[start]]), 1e-3)
        size = max(1, int(batch_seconds / longest))
        batches.append(order[start : start + size])
        start += size
    return batches


def read_batches(
    plan: Sequence[NDArray[np.int64]], first: int, load: Callable[[int], NDArray[np.float32]], sample_rate: int
) -> Iterator[Batch]:
    """Read the batches ``plan[first:]``, a few ahead, in a thread.

    Args:
        plan: utterance indices of each batch.
        first: the first batch to read, for a run that continues.
        load: gives one utterance's waveform; a ``SpeechstrataError`` from it leaves the utterance out of its batch.
        sample_rate: of the waveforms, in hertz.
    """

    def read(number: int) -> Batch:
        kept: list[int] = []
        waves: list[NDArray[np.float32]] = []
        problems: list[tuple[int, str]] = []
        for utterance in plan[number].tolist():
            try:
                wave = load(utterance)
            except SpeechstrataError as error:
                problems.append((utterance, error.message))
                continue
            kept.append(utterance)
            waves.append(wave)
        lengths = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
        waveforms = torch.zeros((len(waves), int(lengths.max()) if waves else 0))
        for row, wave in enumerate(waves):
            waveforms[row, : len(wave)] = torch.from_numpy(wave)
        seconds = float(lengths.sum()) / sample_rate
        return Batch(number, np.array(kept, dtype=np.int64), waveforms, lengths, seconds, tuple(problems))

    with ThreadPoolExecutor(max_workers=1) as reader:
        pending: list[Future[Batch]] = []
        numbers = iter(range(first, len(plan)))
        try:
            for number in numbers:
                pending.append(reader.submit(read, number))
                if len(pending) > _READ_AHEAD:
                    yield pending.pop(0).result()
            while pending:
                yield pending.pop(0).result()
        finally:
            for future in pending:
                future.cancel()
