"""Acoustic word discrimination: do two segments say the same word? And does a segment say a written word?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from speechstrata.errors import TooFewSamplesError


@dataclass(frozen=True)
class Discrimination:
    """Average precision of ranking pairs by their distance, and what chance gives.

    Attributes:
        precision: of all pairs of segments; same-word pairs are to come first.
        chance: the share of same-word pairs, which is the average precision of a random order.
        pairs: how many.
        across_speakers: as ``precision``, without the same-word pairs of one speaker; ``None`` where none is left.
    """

    precision: float
    chance: float
    pairs: int
    across_speakers: float | None


def same_different(
    distances: NDArray[np.floating], words: NDArray[np.str_], speakers: NDArray[np.str_]
) -> Discrimination:
    """The same-different task (Carlin et al., 2011).

    Args:
        distances: (n, n) between segments, symmetric; the diagonal is not read.
        words: (n,) of the segments.
        speakers: (n,) of the segments.

    Raises:
        TooFewSamplesError: no pair of the same word, or of different ones.
    """
    first, second = np.triu_indices(len(words), 1)
    same = words[first] == words[second]
    if not same.any() or same.all():
        raise TooFewSamplesError(
            f"{len(words)} segments have {int(same.sum())} pairs of one word and {int((~same).sum())} of two",
            "hold out more speech, or admit shorter words",
        )
    closeness = -distances[first, second]
    kept = ~same | (speakers[first] != speakers[second])
    across = average_precision_score(same[kept], closeness[kept]) if same[kept].any() else None
    return Discrimination(
        float(average_precision_score(same, closeness)),
        float(same.mean()),
        len(same),
        None if across is None else float(across),
    )


def cross_view(
    distances: NDArray[np.floating], words: NDArray[np.str_], types: NDArray[np.str_]
) -> tuple[float, float]:
    """Average precision of (segment, written word) pairs, and chance: the share of right ones.

    Args:
        distances: (segments, types).
        words: (segments,) what is said.
        types: (types,) what is written, each once.
    """
    same = words[:, None] == types[None, :]
    return float(average_precision_score(same.ravel(), -distances.ravel())), float(same.mean())


def cosine_distances(rows: NDArray[np.floating], others: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """(n, m) cosine distances between rows, of any length but zero."""
    left, right = (
        value / np.linalg.norm(value, axis=1, keepdims=True)
        for value in (rows.astype(np.float64), (rows if others is None else others).astype(np.float64))
    )
    return np.asarray(1 - left @ right.T)
