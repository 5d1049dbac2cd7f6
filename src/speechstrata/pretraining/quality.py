"""How good a clustering is against phone alignments: purities and normalised mutual information.

The figures of Hsu et al., "HuBERT" (2021), section IV-D, over frames that lie in a phone (silence and noise left out).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechstrata.analysis.spans import collect_spans
from speechstrata.pretraining.config import SAMPLE_RATE
from speechstrata.pretraining.units import UnitStore


@dataclass(frozen=True)
class UnitQuality:
    """Figures of a unit stream.

    Attributes:
        frames: all frames of the stream.
        classes: number of classes.
        used: classes that occur.
        most_frequent: share of the most frequent unit; a model that always answers it has this accuracy.
        perplexity: exp of the entropy of the units.
        labelled_frames: frames that lie in a phone; 0 without phone alignments, and then the rest is NaN.
        phones: phone types that occur.
        phone_purity: sum over units of the frames of the unit's most frequent phone, over all labelled frames.
        cluster_purity: sum over phones of the frames of the phone's most frequent unit, over all labelled frames.
        pnmi: I(phone; unit) / H(phone).
    """

    frames: int
    classes: int
    used: int
    most_frequent: float
    perplexity: float
    labelled_frames: int
    phones: int
    phone_purity: float
    cluster_purity: float
    pnmi: float


def frame_phones(start: NDArray[np.float64], end: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which span each frame's centre lies in: (frames,), an index into the spans, or -1.

    Args:
        start: (spans,) seconds, ascending.
        end: (spans,) seconds; where spans overlap, the one that starts last counts.
        times: (frames,) seconds.
    """
    if not len(start):
        return np.full(len(times), -1, dtype=np.int64)
    span = np.searchsorted(start, times, side="right") - 1
    inside = (span >= 0) & (times < end[np.maximum(span, 0)])
    return np.where(inside, span, -1)


def contingency(store: UnitStore, cuts: Iterable[Any]) -> NDArray[np.int64]:
    """Frames of each phone in each unit: (phones, classes); (0, classes) without phone alignments.

    Args:
        store: the units.
        cuts: lhotse cuts with ``alignment["phone"]``; those without units are passed over.
    """
    spans = collect_spans((cut for cut in cuts if cut.id in store), "phone")
    counts = np.zeros((len(spans.labels), store.classes), dtype=np.int64)
    order = np.lexsort((spans.start, spans.utterance))
    bounds = np.searchsorted(spans.utterance[order], np.arange(len(spans.utterance_ids) + 1))
    for number, utterance in enumerate(spans.utterance_ids):
        rows = order[bounds[number] : bounds[number + 1]]
        units = store.units(utterance)
        times = (store.offset + np.arange(len(units)) * float(store.stride)) / SAMPLE_RATE
        span = frame_phones(spans.start[rows], spans.end[rows], times)
        inside = span >= 0
        np.add.at(counts, (spans.label[rows[span[inside]]], units[inside]), 1)
    return counts


def unit_counts(store: UnitStore) -> NDArray[np.int64]:
    """Frames of each unit over the whole store: (classes,)."""
    counts = np.zeros(store.classes, dtype=np.int64)
    for utterance in store:
        counts += np.bincount(store.units(utterance), minlength=store.classes)
    return counts


def unit_quality(units: NDArray[np.int64], phones_by_units: NDArray[np.int64]) -> UnitQuality:
    """The figures, from counts.

    Args:
        units: (classes,) frames of each unit.
        phones_by_units: (phones, classes) frames, as of :func:`contingency`.
    """
    total = max(int(units.sum()), 1)
    labelled = int(phones_by_units.sum())
    joint = phones_by_units / max(labelled, 1)
    phone_entropy = _entropy(joint.sum(axis=1))
    mutual = phone_entropy + _entropy(joint.sum(axis=0)) - _entropy(joint.ravel())
    nothing = float("nan")
    phones = int((phones_by_units.sum(axis=1) > 0).sum())
    return UnitQuality(
        frames=int(units.sum()),
        classes=len(units),
        used=int((units > 0).sum()),
        most_frequent=float(units.max(initial=0) / total),
        perplexity=float(np.exp(_entropy(units / total))),
        labelled_frames=labelled,
        phones=phones,
        phone_purity=float(joint.max(axis=0).sum()) if labelled else nothing,
        cluster_purity=float(joint.max(axis=1).sum()) if labelled else nothing,
        # The entropy of one phone is zero but for rounding.
        pnmi=mutual / phone_entropy if phones > 1 else nothing,
    )


def measure_units(store: UnitStore, cuts: Iterable[Any]) -> UnitQuality:
    """The quality of a corpus' units; ``cuts`` may carry phone alignments."""
    return unit_quality(unit_counts(store), contingency(store, cuts))


def as_row(quality: UnitQuality) -> Mapping[str, float | int | None]:
    """The figures for JSON, NaN as null."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value for name, value in vars(quality).items()
    }


def _entropy(shares: NDArray[np.float64]) -> float:
    """In nats; zero shares count nothing."""
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
