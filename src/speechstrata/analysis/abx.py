"""ABX discrimination of phones within speaker (and within context) on pooled states.

A and X are two instances of one phone, B one of another, all three by one speaker and, for the published task, between
the same neighbours: is X nearer to A than to B? (Schatz et al., 2013.) The cells and the order of averaging are those
of the ZeroSpeech evaluation and of fastabx, which gives the same numbers; fastabx needs Python 3.12, so it is an oracle
of the tests where it is installed, and not used here. Reported is the share of triples that come out right, 1 - the ABX
error: .5 is chance, 1 is perfect.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechstrata.analysis.moments import as_labels, as_rows
from speechstrata.errors import InputError, TooFewSamplesError

#: Cosines are compared to so many decimals, so that equal rows are equally near whatever the order of a sum.
_DECIMALS = 12
#: What a symmetric choice between two phones gives when the states say nothing.
CHANCE = 0.5
#: A gap of so many seconds between two phones is a pause, not a neighbour.
PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class AbxResult:
    """How well phones are told apart.

    Attributes:
        discriminability: mean over pairs of phones of the share of triples that come out right; ties count half.
        cells: (phone A, phone B, context, speaker) combinations with a triple.
        pairs: ordered pairs of phones.
        triples: in all.
        n: rows that are in a triple.
    """

    discriminability: float
    cells: int
    pairs: int
    triples: int
    n: int


def abx_discriminability(x: ArrayLike, labels: ArrayLike, contexts: ArrayLike, speakers: ArrayLike) -> AbxResult:
    """ABX on rows, by cosine distance (whose order is that of the angle).

    A cell's score is the share of its triples with d(x, a) < d(x, b). Cells are averaged over contexts, then over
    speakers, then over ordered pairs of phones, each with equal weight.

    Args:
        x: (n, dim) pooled states.
        labels: (n,) integers, the phone.
        contexts: (n,) integers, what A, B and X must share besides the speaker; all 0 for any context.
        speakers: (n,) integers.

    Raises:
        TooFewSamplesError: not a single triple.
        InputError: shapes do not fit, or values are not finite.
    """
    rows = as_rows(x, "the ABX rows").astype(np.float64)
    phones, places, voices = (as_labels(each)[0] for each in (labels, contexts, speakers))
    if not len(rows) == len(phones) == len(places) == len(voices):
        raise InputError(f"{len(rows)} rows, {len(phones)} phones, {len(places)} contexts", "pair them")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(norms > 0, norms, 1)
    order = np.lexsort((phones, places, voices))
    breaks = np.flatnonzero((np.diff(voices[order]) != 0) | (np.diff(places[order]) != 0)) + 1
    of_cell: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    cells = triples = used = 0
    for block in np.split(order, breaks):
        own = phones[block]
        starts = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
        groups = [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], len(own)], strict=True)]
        if len(groups) < 2 or all(each.stop - each.start < 2 for each in groups):
            continue
        near = np.round(rows[block] @ rows[block].T, _DECIMALS)
        np.fill_diagonal(near, -np.inf)  # X is not its own A
        used += len(block)
        for a in groups:
            size = a.stop - a.start
            if size < 2:
                continue
            to_a = near[a, a][:, :, None]
            for b in groups:
                if b is a:
                    continue
                to_b = near[a, b][:, None, :]
                count = size * (size - 1) * (b.stop - b.start)
                right = float((to_a > to_b).sum()) + 0.5 * float((to_a == to_b).sum())
                of_cell[int(own[a.start]), int(own[b.start]), int(voices[block[0]])].append(right / count)
                cells += 1
                triples += count
    if not of_cell:
        raise TooFewSamplesError(
            "no two instances of a phone and one of another share speaker and context",
            "use more speech, or --abx_context any",
        )
    of_pair: dict[tuple[int, int], list[float]] = defaultdict(list)
    for (a_phone, b_phone, _), scores in of_cell.items():
        of_pair[a_phone, b_phone].append(float(np.mean(scores)))
    value = float(np.mean([np.mean(scores) for scores in of_pair.values()]))
    return AbxResult(value, cells, len(of_pair), triples, used)


def neighbours(
    utterance: NDArray[np.int64], start: NDArray, end: NDArray, label: NDArray[np.int64]
) -> NDArray[np.intp]:
    """The context of each phone: a number for its pair of neighbours, a pause or the utterance's end being one too.

    Args:
        utterance: (n,) which utterance each phone is in.
        start, end: (n,) seconds.
        label: (n,) integers.
    """
    order = np.lexsort((start, utterance))
    same = utterance[order][1:] == utterance[order][:-1]
    adjacent = same & (start[order][1:] - end[order][:-1] < PAUSE_SECONDS)
    before = np.r_[-1, np.where(adjacent, label[order][:-1], -1)] if len(order) else np.zeros(0, np.int64)
    after = np.r_[np.where(adjacent, label[order][1:], -1), -1] if len(order) else np.zeros(0, np.int64)
    _, context = np.unique(np.stack([before, after]), axis=1, return_inverse=True)
    result = np.empty(len(order), dtype=np.intp)
    result[order] = context.reshape(-1)
    return result
