"""The spoken words of a corpus: the MFCC frames of every word in time, its label and its speaker."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechstrata.analysis.spans import normalise_label
from speechstrata.audio import load_cut
from speechstrata.corpora.cuts import spans_of
from speechstrata.errors import CorpusError, SpeechstrataError
from speechstrata.pretraining.mfcc import HOP, WINDOW, mfcc
from speechstrata.progress import ProgressBar

_RATE = 16_000
#: A frame belongs to a word if its centre lies in it.
_CENTRE = WINDOW / 2 / _RATE
_FRAME = HOP / _RATE
#: A word with fewer frames has nothing to read.
_MIN_FRAMES = 2


@dataclass(frozen=True)
class WordSegments:
    """Spoken words.

    Attributes:
        frames: of each, (frames, 39) float32 MFCC at 10 ms.
        words: (n,) their labels.
        speakers: (n,) who says them.
    """

    frames: tuple[NDArray[np.float32], ...]
    words: NDArray[np.str_]
    speakers: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.frames)

    def where(self, chosen: NDArray[np.bool_]) -> "WordSegments":
        """Those that are chosen, in their order."""
        kept = np.flatnonzero(chosen)
        return WordSegments(tuple(self.frames[index] for index in kept), self.words[kept], self.speakers[kept])


def read_segments(cuts: Sequence[Any], minimum: float, maximum: float) -> tuple[WordSegments, dict[str, str]]:
    """The words of ``minimum`` to ``maximum`` seconds, and the utterances that could not be read with the reasons.

    MFCC are computed over the whole utterance, so that a word's edges are heard in their context.

    Args:
        cuts: lhotse cuts with word alignments.
        minimum, maximum: seconds.

    Raises:
        CorpusError: there are none.
    """
    frames: list[NDArray[np.float32]] = []
    words: list[str] = []
    speakers: list[str] = []
    unread: dict[str, str] = {}
    with ProgressBar("reading words", len(cuts), "utterances") as bar:
        for cut in cuts:
            bar.advance()
            spans = [span for span in _words(cut) if minimum <= span[2] - span[1] <= maximum]
            if not spans:
                continue
            try:
                wave = torch.from_numpy(load_cut(cut, _RATE))[None]
            except SpeechstrataError as error:
                unread[cut.id] = error.message
                continue
            features = mfcc(wave, torch.tensor([wave.shape[1]])).features[0].numpy()
            for word, start, end in spans:
                first, stop = (max(0, int(np.ceil((time - _CENTRE) / _FRAME))) for time in (start, end))
                if len(own := features[first:stop]) >= _MIN_FRAMES:
                    frames.append(own.copy())
                    words.append(word)
                    speakers.append(cut.supervisions[0].speaker or "")
    if not frames:
        raise CorpusError(
            f"the corpus has no aligned words of {minimum:g} to {maximum:g} seconds",
            "make alignments with 'speechstrata align', or widen the bounds",
        )
    return WordSegments(tuple(frames), np.array(words), np.array(speakers)), unread


def _words(cut: Any) -> list[tuple[str, float, float]]:
    found = ((normalise_label(span.symbol, "word"), span.start, span.end) for span in spans_of(cut, "word"))
    return [(word, start, end) for word, start, end in found if word is not None]


def vocabulary(cuts: Sequence[Any]) -> tuple[str, ...]:
    """Every word type of the alignments, however short or rare, in alphabetical order."""
    return tuple(sorted({word for cut in cuts for word, _, _ in _words(cut)}))


def pronunciations(cuts: Sequence[Any]) -> dict[str, tuple[str, ...]]:
    """The phones that each word type is aligned with most often; of equally frequent ones the first in the alphabet."""
    counts: defaultdict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for cut in cuts:
        phones = [
            (label, (span.start + span.end) / 2)
            for span in spans_of(cut, "phone")
            if (label := normalise_label(span.symbol, "phone")) is not None
        ]
        for word, start, end in _words(cut):
            own = tuple(phone for phone, centre in phones if start <= centre < end)
            if own:
                counts[word][own] += 1
    return {word: min(found, key=lambda phones: (-found[phones], phones)) for word, found in sorted(counts.items())}
