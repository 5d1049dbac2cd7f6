"""Forced alignment of one utterance with PocketSphinx' English acoustic model, offline.

Two passes, as PocketSphinx' own alignment program makes them: the words with optional silences between
(``set_align_text``), then the phones of the word sequence found (``set_alignment``). The frames are 10 ms apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechstrata.corpora.cuts import Span
from speechstrata.corpora.g2p import load_g2p
from speechstrata.errors import MissingExtraError, SpeechstrataError

#: The rate of the acoustic model, in hertz.
SAMPLE_RATE = 16_000
_FRAME = 0.01  # seconds
#: Shorter audio holds no word.
MIN_SECONDS = 0.1

#: How far the search may fall behind its best path before a path is given up: PocketSphinx' own, then a wide
#: one for utterances that it loses (music under the voice, a word that is not said).
_BEAMS: tuple[dict[str, float], ...] = ({}, {"beam": 1e-120, "wbeam": 1e-100, "pbeam": 1e-120})

#: Names the method in corpus descriptions and in the journal; change it when the results change.
METHOD = "pocketsphinx en-us, two passes, 1"


@dataclass(frozen=True)
class Aligned:
    """Where the words and phones of an utterance are.

    Attributes:
        words: in seconds from the start of the audio; silences left out. Their score is the mean log-likelihood per
            frame relative to each frame's best state, in the decoder's units: 0 is perfect, -60 doubtful, below
            -100 the word was probably not said.
        phones: likewise, without scores; ARPAbet without stress.
    """

    words: tuple[Span, ...]
    phones: tuple[Span, ...]


class UnalignedError(SpeechstrataError):
    """An utterance could not be aligned; the message is the reason."""


class Aligner:
    """Aligns utterances one after another; what it gives does not depend on those that came before.

    Args:
        pronunciations: of words outside the dictionary, as ARPAbet phones separated by spaces; what neither has is
            predicted by :mod:`speechstrata.corpora.g2p`.

    Raises:
        MissingExtraError: ``pocketsphinx`` is not installed.
    """

    def __init__(self, pronunciations: Mapping[str, str] | None = None) -> None:
        self._pronunciations = pronunciations or {}
        try:
            import pocketsphinx
        except ImportError as error:
            raise MissingExtraError("pocketsphinx", "align", "forced alignment") from error
        self._pocketsphinx = pocketsphinx
        self._decoders: dict[int, Any] = {}

    def __call__(self, waveform: NDArray[np.float32], text: str) -> Aligned:
        """Align.

        Args:
            waveform: (samples,) at 16 kHz, full scale 1.
            text: the words, normalised, separated by spaces.

        Raises:
            UnalignedError: nothing to align, too short, or no path through the audio.
        """
        words = text.split()
        if not words:
            raise UnalignedError("the transcript has no words")
        seconds = len(waveform) / SAMPLE_RATE
        if seconds < MIN_SECONDS:
            raise UnalignedError(f"the audio is too short ({seconds:.3f} s)")
        pcm = np.clip(np.rint(waveform * 32767), -32768, 32767).astype("<i2").tobytes()
        for attempt in range(len(_BEAMS)):
            aligned = self._attempt(attempt, pcm, words, seconds)
            if aligned is not None:
                return aligned
        raise UnalignedError(f"no path of its {len(words)} words through {seconds:.2f} s of audio")

    @cached_property
    def _model(self) -> str:
        return str(self._pocketsphinx.get_model_path("en-us"))

    def _decoder(self, attempt: int) -> Any:
        """The decoder of an attempt; the wide one is only made when it is needed."""
        if attempt not in self._decoders:
            self._decoders[attempt] = self._pocketsphinx.Decoder(
                hmm=f"{self._model}/en-us",
                dict=f"{self._model}/cmudict-en-us.dict",
                lm=None,
                loglevel="FATAL",
                cmn="batch",  # "live" would carry the mean of one utterance into the next
                bestpath=False,  # the lattice search invents words of one frame, on which the phone pass fails
                **_BEAMS[attempt],
            )
        return self._decoders[attempt]

    def _attempt(self, attempt: int, pcm: bytes, words: list[str], seconds: float) -> Aligned | None:
        decoder = self._decoder(attempt)
        for word in words:
            if decoder.lookup_word(word) is None:
                decoder.add_word(word, self._pronounce(word), True)
        try:
            decoder.set_align_text(" ".join(words))
            _decode(decoder, pcm)
            if decoder.hyp() is None or decoder.hyp().hypstr.split() != words:
                return None
            decoder.set_alignment()
            _decode(decoder, pcm)
            alignment = decoder.get_alignment()
        except RuntimeError:  # the search died: no path survived its beam
            return None
        return None if alignment is None else _read(alignment, words, seconds)

    def _pronounce(self, word: str) -> str:
        known = self._pronunciations.get(word)
        phones = known or " ".join(phone.rstrip("012") for phone in load_g2p()(word))
        if not phones:
            raise UnalignedError(f"the word {word!r} has no pronunciation")
        return phones


def _decode(decoder: Any, pcm: bytes) -> None:
    decoder.start_stream()  # forgets the noise that was estimated in the utterance before
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, full_utt=True)
    finally:
        decoder.end_utt()


def _read(alignment: Any, symbols: list[str], seconds: float) -> Aligned | None:
    """Turn the decoder's alignment into seconds; ``None`` where it lost a word on the way."""
    words: list[Span] = []
    phones: list[Span] = []
    for entry in alignment:  # an entry lives only until the next one
        if entry.name.startswith("<"):
            continue
        if len(words) == len(symbols):
            return None
        # The decoder's own names carry the pronunciation variant: "to(2)".
        words.append(_span(symbols[len(words)], entry, seconds, round(entry.score / entry.duration, 1)))
        phones.extend(_span(phone.name, phone, seconds) for phone in entry)
    if len(words) != len(symbols) or any(span.end <= span.start for span in words + phones):
        return None
    return Aligned(tuple(words), tuple(phones))


def _span(symbol: str, entry: Any, seconds: float, score: float | None = None) -> Span:
    start = round(entry.start * _FRAME, 2)
    return Span(symbol, start, min(round((entry.start + entry.duration) * _FRAME, 2), seconds), score)
