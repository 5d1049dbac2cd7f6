"""Diarisation: speech segments to frames and back, and their error rate.

Segments are (speaker, start, end) in seconds. The error rate counts every instant of a recording, overlaps included and
without a collar: (missed + false alarm + confused speaker time) / reference speaker time.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.signal import medfilt

from speechstrata.superb.metric_packages import metric_package

Segment = tuple[str, float, float]


class Errors(NamedTuple):
    """Seconds of wrong speaker time, and of reference speaker time."""

    wrong: float
    total: float


def merge_segments(segments: Sequence[Segment], duration: float) -> list[Segment]:
    """Cut to [0, duration], those of one speaker that touch or overlap made one; in order of time."""
    merged: list[Segment] = []
    for speaker in dict.fromkeys(speaker for speaker, _, _ in segments):
        own = sorted((max(start, 0.0), min(end, duration)) for name, start, end in segments if name == speaker)
        joined: list[tuple[float, float]] = []
        for start, end in own:
            if end <= start:
                continue
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], end))
            else:
                joined.append((start, end))
        merged += [(speaker, start, end) for start, end in joined]
    return sorted(merged, key=lambda segment: segment[1:])


def frame_labels(segments: Sequence[Segment], speakers: Sequence[str], frames: int, stride: float) -> NDArray[np.uint8]:
    """(frames, speakers): 1 where the speaker speaks; segments' ends go to the nearest edge of a frame.

    Args:
        segments: of a recording.
        speakers: the columns.
        frames: how many.
        stride: from one frame to the next, in seconds.
    """
    labels = np.zeros((frames, len(speakers)), dtype=np.uint8)
    for speaker, start, end in segments:
        first, last = (round(time / stride) for time in (start, end))
        labels[max(first, 0) : max(last, 0), speakers.index(speaker)] = 1
    return labels


def active_frames(probabilities: NDArray[Any], threshold: float, median: int) -> NDArray[np.bool_]:
    """(frames, speakers) above the threshold, each speaker smoothed by a median filter of so many frames (odd)."""
    active = probabilities > threshold
    if median == 1:
        return active
    smoothed: NDArray[np.bool_] = medfilt(active.astype(np.float64), (median, 1)) > 0.5
    return smoothed


def frame_segments(active: NDArray[np.bool_], stride: float, duration: float) -> list[Segment]:
    """The segments of each column's runs; the speakers are ``"0"``, ``"1"``, ... Runs end with the recording at last.

    Args:
        active: (frames, speakers).
        stride: from one frame to the next, in seconds.
        duration: of the recording, in seconds.
    """
    found: list[Segment] = []
    for column, own in enumerate(active.T):
        edges = np.diff(np.concatenate([[0], own.astype(np.int8), [0]]))
        for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            start, end = float(first * stride), float(min(last * stride, duration))
            if start < end:
                found.append((str(column), start, end))
    return found


def diarisation_errors(reference: Sequence[Segment], hypothesis: Sequence[Segment], duration: float) -> Errors:
    """The error time of one recording: what :func:`diarisation_error_rate` adds up, for trying decisions.

    Between two neighbouring edges of segments nothing changes; so much is wrong there as the larger of the numbers of
    speakers exceeds the speakers in common, under the mapping of speakers that has the most time in common.
    """
    edges = np.unique([0.0, duration, *(time for _, start, end in (*reference, *hypothesis) for time in (start, end))])
    widths = np.diff(edges)
    wanted, guessed = _activity(reference, edges), _activity(hypothesis, edges)
    common = (wanted * widths) @ guessed.T
    rows, columns = linear_sum_assignment(common, maximize=True)
    larger = np.maximum(wanted.sum(0), guessed.sum(0)) @ widths
    return Errors(float(larger - common[rows, columns].sum()), float(wanted.sum(0) @ widths))


def diarisation_error_rate(
    recordings: Sequence[tuple[Sequence[Segment], Sequence[Segment], float]],
) -> float:
    """The error rate over all recordings, by pyannote.metrics.

    Args:
        recordings: (reference, hypothesis, seconds) of each.

    Raises:
        MissingExtraError: without pyannote.metrics.
    """
    diarization = metric_package("pyannote.metrics.diarization", "the diarisation error rate")
    core = metric_package("pyannote.core", "the diarisation error rate")
    metric = diarization.DiarizationErrorRate(collar=0.0, skip_overlap=False)
    for reference, hypothesis, duration in recordings:
        annotations = []
        for segments in (reference, hypothesis):
            annotation = core.Annotation()
            for track, (speaker, start, end) in enumerate(segments):
                annotation[core.Segment(start, end), track] = speaker
            annotations.append(annotation)
        metric(*annotations, uem=core.Timeline([core.Segment(0.0, duration)]))
    return float(abs(metric))


def _activity(segments: Sequence[Segment], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """(speakers, intervals between the edges): 1 where the speaker speaks."""
    speakers = sorted({speaker for speaker, _, _ in segments})
    activity = np.zeros((len(speakers), len(edges) - 1))
    for speaker, start, end in segments:
        first, last = np.searchsorted(edges, (start, end))
        activity[speakers.index(speaker), first:last] = 1
    return activity
