"""Run one encoder over the utterances of a plan, pooling its states on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.blocks import Block, PassLog
from speechstrata.analysis.forward import Batch, plan_batches, read_batches
from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder
from speechstrata.errors import CorpusError
from speechstrata.progress import ProgressBar
from speechstrata.sharding import WHOLE, Shard


@dataclass(frozen=True)
class Utterances:
    """The utterances of a corpus, in an order that the indices of spans refer to.

    Attributes:
        ids: (n,) names.
        speakers: (n,) "" where unknown.
        splits: (n,) "train", "dev", ...; "" where the corpus has none.
        seconds: (n,) durations.
        load: gives the waveform of one, (samples,) float32, at a sample rate in hertz; raises a
            ``SpeechstrataError`` for audio that cannot be used.
    """

    ids: tuple[str, ...]
    speakers: tuple[str, ...]
    splits: tuple[str, ...]
    seconds: NDArray[np.float64]
    load: Callable[[int, int], NDArray[np.float32]]

    @classmethod
    def of_corpus(cls, corpus: Any, *gather: Callable[[Any], None]) -> "Utterances":
        """The utterances of a ``Corpus``, whose cuts are gone through once and kept without their alignments.

        Args:
            corpus: the corpus.
            gather: called with every cut, alignments and all.

        Raises:
            CorpusError: two utterances have the same id, or the corpus cannot be read.
        """
        from speechstrata.audio import load_cut
        from speechstrata.corpora.corpus import without_alignment

        cuts = []
        for cut in corpus.cuts:
            for take in gather:
                take(cut)
            cuts.append(without_alignment(cut))
        if len({cut.id for cut in cuts}) != len(cuts):
            raise CorpusError(f"two utterances of {corpus.name} have the same id", "give each an id of its own")
        return cls(
            ids=tuple(cut.id for cut in cuts),
            speakers=tuple((cut.supervisions[0].speaker or "") if cut.supervisions else "" for cut in cuts),
            splits=tuple(str((cut.custom or {}).get("split", "")) for cut in cuts),
            seconds=np.array([cut.duration for cut in cuts], dtype=np.float64),
            load=lambda number, sample_rate: load_cut(cuts[number], sample_rate),
        )


class Consumer(Protocol):
    """Something that takes the states of a batch, layer after layer."""

    def begin(self, batch: Batch) -> None:
        """A batch comes next."""

    def visit(self, layer: Layer, output: HiddenStates) -> None:
        """One layer's states of the batch."""

    def end(self) -> None:
        """The batch was the last one, or another comes next."""


def run_pass(
    encoder: SpeechEncoder,
    utterances: Utterances,
    blocks: Sequence[Block],
    layers: Sequence[str],
    consumers: Callable[[Block], Sequence[Consumer]],
    log: PassLog,
    *,
    batch_seconds: float,
    flush: Callable[[], None],
    on_block: Callable[[Block], None],
    shard: Shard = WHOLE,
) -> None:
    """Run ``encoder`` over every block that is not done yet.

    Args:
        encoder: what is run.
        utterances: the corpus.
        blocks: the plan.
        layers: names of the layers wanted.
        consumers: makes what takes the states of a block.
        log: of the blocks done; utterances that could not be used are noted in it, with the reason.
        batch_seconds: audio in a batch, padding included.
        flush: puts pooled rows on the disk; called before a block counts as done.
        on_block: called after each block, before it counts as done.
        shard: run every n-th batch only.
    """
    waiting = [block for block in blocks if block.number not in log.done]
    total = float(sum(utterances.seconds[block.utterances].sum() for block in waiting)) / shard.count
    wanted = [encoder.layer(name) for name in layers]
    with ProgressBar(encoder.name, total, "s of audio") as bar:
        for block in waiting:
            taking = consumers(block)
            plan = shard.of(plan_batches(utterances.seconds, block.utterances, batch_seconds))
            for batch in read_batches(
                plan, 0, lambda number: utterances.load(number, encoder.sample_rate), encoder.sample_rate
            ):
                for number, reason in batch.problems:
                    log.unread[utterances.ids[number]] = reason
                usable = _long_enough(encoder, wanted, batch, utterances, log)
                if len(usable.utterances):
                    for consumer in taking:
                        consumer.begin(usable)

                    def deliver(layer: Layer, output: HiddenStates, to: Sequence[Consumer] = taking) -> None:
                        for consumer in to:
                            consumer.visit(layer, output)

                    encoder.visit(usable.waveforms, usable.lengths, deliver, layers)
                    for consumer in taking:
                        consumer.end()
                bar.advance(float(utterances.seconds[plan[batch.number]].sum()))
            flush()
            on_block(block)
            log.finish(block)


def _long_enough(
    encoder: SpeechEncoder, layers: Sequence[Layer], batch: Batch, utterances: Utterances, log: PassLog
) -> Batch:
    """The batch without the utterances that are too short for a frame of some layer."""
    keep = []
    for row, (number, samples) in enumerate(zip(batch.utterances.tolist(), batch.lengths.tolist(), strict=True)):
        short = next((layer for layer in layers if encoder.frame_count(layer, samples) < 1), None)
        if short is None:
            keep.append(row)
        else:
            log.unread[utterances.ids[number]] = f"{samples} samples are too short for a frame of {short.name}"
    if len(keep) == len(batch.utterances):
        return batch
    lengths = batch.lengths[keep]
    longest = int(lengths.max()) if keep else 0
    return Batch(
        batch.number,
        batch.utterances[keep],
        batch.waveforms[keep, :longest],
        lengths,
        float(lengths.sum()) / encoder.sample_rate,
        batch.problems,
    )
