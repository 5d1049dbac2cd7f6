"""Distances between segments without any training: dynamic time warping, and the mean frame. The baselines."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speechstrata.agwe.discrimination import cosine_distances
from speechstrata.progress import ProgressBar


def mean_frame_distances(frames: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """(n, n) cosine distances between the segments' mean frames."""
    return cosine_distances(np.stack([segment.mean(axis=0) for segment in frames]))


def dtw_distances(frames: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """(n, n) distances by dynamic time warping: the cheapest path's sum of cosine frame distances by n + m frames.

    A path goes from both first frames to both last ones, by steps of one frame in one segment or in both. One segment
    is warped to all shorter ones at a time, along anti-diagonals.

    Args:
        frames: of each segment, (frames, dim).
    """
    order = np.argsort([-len(segment) for segment in frames], kind="stable")
    lengths = np.array([len(frames[index]) for index in order])
    unit = [frames[i] / np.maximum(np.linalg.norm(frames[i], axis=1, keepdims=True), 1e-12) for i in order]
    padded = np.zeros((unit[0].shape[1], lengths.max(), len(unit)), dtype=np.float32)  # the segments are innermost
    for place, segment in enumerate(unit):
        padded[:, : len(segment), place] = segment.T
    result = np.zeros((len(unit), len(unit)))
    with ProgressBar("time warping", len(unit) * (len(unit) - 1) / 2, "pairs") as bar:
        for place, segment in enumerate(unit[:-1]):
            others, own = lengths[place + 1 :], lengths[place]
            beside = np.ascontiguousarray(padded[:, : others[0], place + 1 :])
            costs = 1 - (segment @ beside.reshape(len(beside), -1)).reshape(own, others[0], -1)
            result[order[place], order[place + 1 :]] = _warp(costs, others) / (own + others)
            bar.advance(len(others))
    return np.asarray(result + result.T)


def _warp(costs: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """The cost of the cheapest path of each of n matrices (own, other, n), ending at ``lengths`` (n,) in the other."""
    own, other, count = costs.shape
    ends = np.full(count, np.inf)
    before = np.full((own + 1, count), np.inf, dtype=np.float32)  # sums along the last anti-diagonal; row i + 1 is i
    last = before.copy()
    for diagonal in range(own + other - 1):
        low, high = max(0, diagonal - other + 1), min(own, diagonal + 1)
        rows = np.arange(low, high)
        best = np.minimum(np.minimum(last[low:high], last[low + 1 : high + 1]), before[low:high])
        if diagonal == 0:
            best = np.zeros((1, count), dtype=np.float32)
        now = np.full((own + 1, count), np.inf, dtype=np.float32)
        now[low + 1 : high + 1] = best + costs[rows, diagonal - rows]
        before, last = last, now
        arrived = lengths - 1 == diagonal - (own - 1)
        ends[arrived] = now[own, arrived]
    return ends
