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
    is warped to all later ones at a time, along anti-diagonals.

    Args:
        frames: of each segment, (frames, dim).
    """
    lengths = np.array([len(segment) for segment in frames])
    unit = [segment / np.maximum(np.linalg.norm(segment, axis=1, keepdims=True), 1e-12) for segment in frames]
    padded = np.zeros((len(unit), lengths.max(), unit[0].shape[1]), dtype=np.float32)
    for row, segment in zip(padded, unit, strict=True):
        row[: len(segment)] = segment
    result = np.zeros((len(unit), len(unit)))
    with ProgressBar("time warping", len(unit) * (len(unit) - 1) / 2, "pairs") as bar:
        for index, segment in enumerate(unit[:-1]):
            others, own = lengths[index + 1 :], lengths[index]
            costs = 1 - np.einsum("id,njd->nij", segment, padded[index + 1 :, : others.max()], optimize=True)
            result[index, index + 1 :] = _warp(costs, others) / (own + others)
            bar.advance(len(others))
    return np.asarray(result + result.T)


def _warp(costs: NDArray[np.floating], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """The cost of the cheapest path of each (n, own, other) cost matrix, ending at ``lengths`` (n,) in the other."""
    count, own, other = costs.shape
    ends = np.full(count, np.inf)
    before = np.full((count, own + 1), np.inf)  # sums along the last anti-diagonal; column i + 1 is row i
    last = before.copy()
    for diagonal in range(own + other - 1):
        low, high = max(0, diagonal - other + 1), min(own, diagonal + 1)
        rows = np.arange(low, high)
        best = np.minimum(np.minimum(last[:, low:high], last[:, low + 1 : high + 1]), before[:, low:high])
        if diagonal == 0:
            best = np.zeros((count, 1))
        now = np.full((count, own + 1), np.inf)
        now[:, low + 1 : high + 1] = best + costs[:, rows, diagonal - rows]
        before, last = last, now
        arrived = lengths - 1 == diagonal - (own - 1)
        ends[arrived] = now[arrived, own]
    return ends
