"""What is trained on and what is tested on: the spoken words of training, validation and test speakers, spelt."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechstrata.agwe.config import AgweConfig
from speechstrata.agwe.networks import spellings
from speechstrata.agwe.segments import WordSegments, pronunciations, read_segments, vocabulary
from speechstrata.errors import CorpusError
from speechstrata.pretraining.speech import Speech
from speechstrata.pretraining.splits import SpeakerSplit


@dataclass(frozen=True)
class AgweMaterial:
    """The words of a corpus.

    Attributes:
        train: segments that are trained on.
        validation: of the validation speakers.
        test: of the test speakers.
        spelt: the symbols of every word type of the corpus that can be spelt.
        alphabet: the symbols of the training words, in order.
        split: the speakers.
        unread: utterances that could not be read, with the reasons.
    """

    train: WordSegments
    validation: WordSegments
    test: WordSegments
    spelt: Mapping[str, tuple[str, ...]]
    alphabet: tuple[str, ...]
    split: SpeakerSplit
    unread: Mapping[str, str]


def gather(cuts: Sequence[Any], config: AgweConfig) -> AgweMaterial:
    """Read the words of a corpus and divide them by speakers.

    Held-out words are tested if the alphabet of training has all of their symbols; rare ones and ones never heard in
    training are among them.

    Raises:
        CorpusError: too few speakers or words.
    """
    try:
        split = Speech.of_cuts(cuts).split(
            validation_share=config.validation_share, test_share=config.test_share, seed=config.split_seed
        )
    except CorpusError as error:
        raise CorpusError(
            error.message, "raise --validation_share or --test_share, or take a corpus of more speakers"
        ) from error
    segments, unread = read_segments(cuts, config.minimum_seconds, config.maximum_seconds)
    spelt = spellings(vocabulary(cuts), pronunciations(cuts) if config.symbols == "phones" else None)
    can_be_spelt = np.isin(segments.words, list(spelt))
    heard = segments.where(np.isin(segments.speakers, list(split.train)) & can_be_spelt)
    counts = Counter(heard.words.tolist())
    train = heard.where(np.array([counts[word] >= config.minimum_count for word in heard.words], dtype=bool))
    if len(counts) < 2 or len(set(train.words.tolist())) < 2:
        raise CorpusError(
            f"the training speakers say {len(set(train.words.tolist()))} words {config.minimum_count} times or more",
            "lower --minimum_count or --minimum_seconds, or take a larger corpus",
        )
    alphabet = tuple(sorted({symbol for word in set(train.words.tolist()) for symbol in spelt[word]}))
    known = {word for word, symbols in spelt.items() if set(symbols) <= set(alphabet)}
    held_out = [
        segments.where(np.isin(segments.speakers, list(speakers)) & np.isin(segments.words, list(known)))
        for speakers in (split.validation, split.test)
    ]
    for name, own in zip(("validation", "test"), held_out, strict=True):
        if not len(own):
            raise CorpusError(
                f"no {name} speaker says a word that can be spelt as the training words are",
                f"raise --{name}_share, lower --minimum_seconds, or take a larger corpus",
            )
    return AgweMaterial(train, held_out[0], held_out[1], spelt, alphabet, split, unread)


def types_of(segments: WordSegments) -> NDArray[np.str_]:
    """The words, each once, in alphabetical order."""
    return np.unique(segments.words)
