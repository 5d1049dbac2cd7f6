"""The audio of a corpus as this room sees it: ids, lengths, speakers, and a way to load a waveform."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechstrata.errors import CorpusError
from speechstrata.files import fingerprint
from speechstrata.pretraining.batches import Utterance
from speechstrata.pretraining.config import SAMPLE_RATE
from speechstrata.pretraining.splits import SpeakerSplit, split_speakers

#: Waveform of a cut: (cut, sample rate in hertz) -> (samples,) float32.
LoadCut = Callable[[Any, int], NDArray[np.float32]]


@dataclass(frozen=True)
class Speech:
    """The utterances of a corpus; cheap to send to another process.

    Attributes:
        cuts: lhotse cuts, in the corpus' order.
        utterances: their ids and lengths in samples at 16 kHz.
        speakers: of each cut; "" where unknown.
        fingerprint: of ids, lengths and speakers.
    """

    cuts: tuple[Any, ...]
    utterances: tuple[Utterance, ...]
    speakers: tuple[str, ...]
    fingerprint: str

    @classmethod
    def of_cuts(cls, cuts: Iterable[Any]) -> "Speech":
        """Gather what there is to know about ``cuts``, which are gone through once and kept without alignments.

        Raises:
            CorpusError: there are none, or two have the same id.
        """
        from speechstrata.corpora.corpus import without_alignment

        kept = tuple(map(without_alignment, cuts))
        utterances = tuple(Utterance(str(cut.id), round(cut.duration * SAMPLE_RATE)) for cut in kept)
        if not utterances:
            raise CorpusError("the corpus has no utterances", "check that it was prepared")
        if len({utterance.id for utterance in utterances}) != len(utterances):
            raise CorpusError("two utterances of the corpus have the same id", "give every utterance an id of its own")
        speakers = tuple((cut.supervisions[0].speaker or "") if cut.supervisions else "" for cut in kept)
        digest = fingerprint([[*utterance, speaker] for utterance, speaker in zip(utterances, speakers, strict=True)])
        return cls(kept, utterances, speakers, digest)

    def load(self, index: int, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
        """The waveform of utterance ``index``: (samples,) float32, in [-1, 1].

        Raises:
            SpeechstrataError: it cannot be read.
        """
        from speechstrata.audio import load_cut

        return load_cut(self.cuts[index], sample_rate)

    def split(self, *, validation_share: float, test_share: float, seed: int) -> SpeakerSplit:
        """See :func:`~speechstrata.pretraining.splits.split_speakers`; all unknown speakers count as one."""
        seconds: dict[str, float] = {}
        for utterance, speaker in zip(self.utterances, self.speakers, strict=True):
            seconds[speaker] = seconds.get(speaker, 0.0) + utterance.samples / SAMPLE_RATE
        known = {speaker: amount for speaker, amount in seconds.items() if speaker}
        split = split_speakers(known, validation_share=validation_share, test_share=test_share, seed=seed)
        return SpeakerSplit(split.train | {""}, split.validation, split.test) if "" in seconds else split
