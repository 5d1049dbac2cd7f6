"""Spans: the words and phones of a corpus with their times, and the frames that belong to each at a layer's rate."""

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.config import SpanRule
from speechstrata.encoders.base import Layer

Unit = Literal["phone", "word", "sentence"]

#: Labels that mark silence or noise in the usual alignments; they are not linguistic units.
NOT_SPEECH = frozenset({"", "SIL", "SP", "SPN", "NSN", "SPOKEN_NOISE", "<EPS>", "<UNK>", "<SIL>", "+NSN+", "+SPN+"})

_STRESS = re.compile(r"[0-2]$")


@dataclass(frozen=True)
class Spans:
    """The labelled spans of a corpus, one row each.

    Attributes:
        unit: "phone", "word", or "sentence" (a whole utterance).
        utterance: (n,) index into ``utterance_ids``.
        start: (n,) seconds from the start of the utterance's audio.
        end: (n,) seconds.
        label: (n,) index into ``labels``.
        labels: the types, sorted.
        utterance_ids: of the corpus, in its order.
        speakers: (n_utterances,) the speaker of each utterance.
    """

    unit: Unit
    utterance: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    label: NDArray[np.int64]
    labels: tuple[str, ...]
    utterance_ids: tuple[str, ...]
    speakers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.utterance)


def normalise_label(symbol: str, unit: Unit) -> str | None:
    """A span's type: words in lower case, phones in upper case without stress; ``None`` for silence and noise."""
    symbol = symbol.strip()
    if symbol.upper() in NOT_SPEECH:
        return None
    if unit == "word":
        return symbol.lower()
    return _STRESS.sub("", symbol.upper())


class SpanCollector:
    """Gathers the spans of cuts that are gone through once: 32 bytes a span, whatever a cut itself would take.

    Args:
        unit: "phone" or "word".
        min_seconds: spans shorter than this are left out.
    """

    def __init__(self, unit: Literal["phone", "word"], min_seconds: float = 0.0) -> None:
        self._unit = unit
        self._min_seconds = min_seconds
        self._ids: list[str] = []
        self._speakers: list[str] = []
        self._codes: dict[str, int] = {}
        self._utterance, self._label = array("q"), array("q")
        self._start, self._end = array("d"), array("d")

    def add(self, cut: Any) -> None:
        """The next cut of the corpus; its supervisions may carry ``alignment[unit]``."""
        from speechstrata.corpora.cuts import spans_of

        for span in spans_of(cut, self._unit):
            label = normalise_label(span.symbol, self._unit)
            if label is not None and span.end > span.start and span.end - span.start >= self._min_seconds:
                self._utterance.append(len(self._ids))
                self._start.append(span.start)
                self._end.append(span.end)
                self._label.append(self._codes.setdefault(label, len(self._codes)))
        self._ids.append(cut.id)
        self._speakers.append(cut.supervisions[0].speaker or "" if cut.supervisions else "")

    def spans(self) -> Spans:
        """All that were gathered."""
        labels = tuple(sorted(self._codes))
        place = np.zeros(len(labels), dtype=np.int64)
        place[[self._codes[label] for label in labels]] = np.arange(len(labels))
        return Spans(
            unit=self._unit,
            utterance=np.array(self._utterance, dtype=np.int64),
            start=np.array(self._start, dtype=np.float64),
            end=np.array(self._end, dtype=np.float64),
            label=place[np.array(self._label, dtype=np.int64)],
            labels=labels,
            utterance_ids=tuple(self._ids),
            speakers=tuple(self._speakers),
        )


def collect_spans(cuts: Iterable[Any], unit: Literal["phone", "word"], min_seconds: float = 0.0) -> Spans:
    """All the spans of a corpus; see :class:`SpanCollector`."""
    collector = SpanCollector(unit, min_seconds)
    for cut in cuts:
        collector.add(cut)
    return collector.spans()


def whole_utterances(utterance_ids: Sequence[str], speakers: Sequence[str], durations: Sequence[float]) -> Spans:
    """One "sentence" span per utterance, labelled by the utterance's id."""
    order = sorted(range(len(utterance_ids)), key=lambda number: utterance_ids[number])
    label = np.empty(len(order), dtype=np.int64)
    label[order] = np.arange(len(order))
    return Spans(
        unit="sentence",
        utterance=np.arange(len(utterance_ids)),
        start=np.zeros(len(utterance_ids)),
        end=np.asarray(durations, dtype=np.float64),
        label=label,
        labels=tuple(utterance_ids[number] for number in order),
        utterance_ids=tuple(utterance_ids),
        speakers=tuple(speakers),
    )


def frame_ranges(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    layer: Layer,
    sample_rate: int,
    frames: NDArray[np.int64],
    unit: Unit,
    rule: SpanRule = "published",
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The frames ``[first, stop)`` of each span at a layer's own rate.

    The published rule: ``first = floor(start / stride)``, ``stop = ceil(end / stride)``. A word takes all of them. A
    phone takes its middle third: ``(stop - first + 1) // 3`` frames fall away at either side, and one frame is
    kept where nothing is left (so a phone of two frames takes the second). Times are rounded to samples
    first, so that a boundary on a multiple of the stride does not move by the rounding of a division.

    The rule "centred" takes the frames whose centres lie in a phone's middle third (in a word's whole span), and
    where none does, the one frame whose centre is nearest to the middle.

    Args:
        start: (n,) seconds.
        end: (n,) seconds.
        layer: its ``stride`` and ``offset`` are used.
        sample_rate: of the encoder that the layer belongs to, in hertz.
        frames: (n,) how many frames the layer has for the utterance of each span; at least 1.
        unit: "phone", "word", or "sentence", which takes every frame of its utterance.
        rule: "published" or "centred".

    Returns:
        ``first`` and ``stop``, each (n,): at least one frame each, all inside the utterance. A span that begins
        after the last frame's start takes the last frame.
    """
    if unit == "sentence":
        return np.zeros_like(frames), frames.copy()
    begin_sample = np.rint(start * sample_rate).astype(np.int64)
    end_sample = np.rint(end * sample_rate).astype(np.int64)
    if rule == "published":
        stride = Fraction(layer.stride)
        first = begin_sample * stride.denominator // stride.numerator
        stop = -(-end_sample * stride.denominator // stride.numerator)
        if unit == "phone":
            third = (stop - first + 1) // 3
            first = first + third
            stop = np.maximum(stop - third, first + 1)
    else:
        low, high = begin_sample.astype(np.float64), end_sample.astype(np.float64)
        if unit == "phone":
            low, high = low + (high - low) / 3, high - (high - low) / 3
        first = np.ceil((low - layer.offset) / float(layer.stride)).astype(np.int64)
        stop = np.ceil((high - layer.offset) / float(layer.stride)).astype(np.int64)
        nearest = np.rint(((low + high) / 2 - layer.offset) / float(layer.stride)).astype(np.int64)
        empty = stop <= first
        first = np.where(empty, nearest, first)
        stop = np.where(empty, nearest + 1, stop)
    first = np.clip(first, 0, frames - 1)
    stop = np.clip(stop, first + 1, frames)
    return first, stop


def count_speakers(speakers: Sequence[str], durations: Sequence[float]) -> tuple[int, float]:
    """The number of speakers, and the largest one's share of the audio (0 to 1); "" is nobody's name."""
    seconds: dict[str, float] = {}
    for speaker, duration in zip(speakers, durations, strict=True):
        if speaker:
            seconds[speaker] = seconds.get(speaker, 0.0) + duration
    total = sum(durations)
    return len(seconds), (max(seconds.values(), default=0.0) / total if total > 0 else 0.0)
