"""Spoken sentence similarity: do utterance vectors agree with people on which sentences mean the same?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from speechstrata.analysis.moments import as_rows
from speechstrata.errors import InputError, TooFewSamplesError

#: Rank correlations of fewer pairs than this say nothing.
MIN_PAIRS = 3


@dataclass(frozen=True)
class SentenceSimilarity:
    """The agreement of cosine similarity with human scores.

    Attributes:
        rho: Spearman's rank correlation over sentence pairs; ties share their mean rank.
        n_pairs: sentence pairs.
        n_recordings: pairs of recordings, over all sentence pairs.
    """

    rho: float
    n_pairs: int
    n_recordings: int


def sentence_similarity(vectors: ArrayLike, pairs: Sequence[ArrayLike], human_scores: ArrayLike) -> SentenceSimilarity:
    """Spearman's rho between human scores and the mean cosine over the recordings of each sentence pair.

    Args:
        vectors: (utterances, dim), each the mean over time of a recording's states.
        pairs: for each sentence pair the (recordings, 2) utterance indices: every recording of the one
            sentence with every one of the other (16 for four speakers a sentence, Merkx et al., 2021).
        human_scores: (sentence pairs,).

    Raises:
        InputError: the numbers of pairs and scores differ, a pair has no recordings or an index that does
            not exist, a vector is zero or not finite, a score is not finite.
        TooFewSamplesError: fewer than three sentence pairs, or all have one score.
    """
    rows = as_rows(vectors, "the utterance vectors").astype(np.float64)
    scores = np.asarray(human_scores, dtype=np.float64)
    if scores.shape != (len(pairs),) or not np.isfinite(scores).all():
        raise InputError(
            f"{len(pairs)} sentence pairs and human scores of shape {scores.shape}",
            "give one finite score for each pair",
        )
    if len(pairs) < MIN_PAIRS or np.ptp(scores) == 0:
        raise TooFewSamplesError(
            f"{len(pairs)} sentence pairs with {len(np.unique(scores))} different scores cannot be ranked",
            f"use at least {MIN_PAIRS} pairs that differ in score",
        )
    blocks = [np.asarray(pair) for pair in pairs]
    for number, block in enumerate(blocks):
        if block.ndim != 2 or block.shape[1:] != (2,) or len(block) == 0 or block.dtype.kind not in "iu":
            raise InputError(
                f"sentence pair {number} has recordings of shape {block.shape}",
                "give (recordings, 2) utterance indices, at least one",
            )
    recordings = np.concatenate(blocks)
    unknown = recordings[(recordings < 0) | (recordings >= len(rows))]
    if len(unknown):
        raise InputError(
            f"a sentence pair names utterance {unknown[0]}, but there are {len(rows)}",
            "number the utterances from 0",
        )
    norms = np.linalg.norm(rows, axis=1)
    silent = np.unique(recordings[norms[recordings] == 0])
    if len(silent):
        raise InputError(f"the vector of utterance {silent[0]} is zero", "leave the recording out")
    units = rows / np.where(norms > 0, norms, 1)[:, None]
    cosines = np.einsum("nd,nd->n", units[recordings[:, 0]], units[recordings[:, 1]])
    sizes = np.array([len(block) for block in blocks])
    means = np.add.reduceat(cosines, np.concatenate([[0], np.cumsum(sizes)[:-1]])) / sizes
    if np.ptp(means) == 0:
        rho = 0.0  # a constant orders nothing
    else:
        rho = float(stats.spearmanr(scores, means).statistic)
    return SentenceSimilarity(rho=rho, n_pairs=len(pairs), n_recordings=len(recordings))
