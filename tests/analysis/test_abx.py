"""ABX, against every triple in turn, and against fastabx where that is installed."""

from collections import defaultdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cosine

from speechstrata.analysis.abx import abx_discriminability, neighbours
from speechstrata.errors import TooFewSamplesError


def sample(seed, n=60, phones=3, contexts=3, speakers=2, noise=1.0):
    rng = np.random.default_rng(seed)
    labels, places, voices = (rng.integers(0, size, n) for size in (phones, contexts, speakers))
    x = rng.standard_normal((phones, 6))[labels] + noise * rng.standard_normal((n, 6))
    return x.astype(np.float32), labels, places, voices


def brute_force(x, labels, contexts, speakers):
    """Every triple; then the means over contexts, speakers and pairs of phones, in this order."""
    cells = defaultdict(list)
    n = len(x)
    distance = np.array([[cosine(x[i].astype(float), x[j].astype(float)) for j in range(n)] for i in range(n)])
    for one, a, b in product(range(n), repeat=3):
        if one == a or labels[one] != labels[a] or labels[a] == labels[b]:
            continue
        if len({(contexts[i], speakers[i]) for i in (one, a, b)}) > 1:
            continue
        nearer = distance[one, b] - distance[one, a]
        cells[labels[a], labels[b], speakers[a], contexts[a]].append(0.5 * (1 + np.sign(round(nearer, 12))))
    speaker_means, pairs = defaultdict(list), defaultdict(list)
    for (a, b, speaker, _), scores in cells.items():
        speaker_means[a, b, speaker].append(np.mean(scores))
    for (a, b, _), scores in speaker_means.items():
        pairs[a, b].append(np.mean(scores))
    return np.mean([np.mean(scores) for scores in pairs.values()]), len(cells), sum(map(len, cells.values()))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_share_of_all_triples_that_come_out_right(seed):
    given_ = sample(seed)
    result = abx_discriminability(*given_)
    value, cells, triples = brute_force(*given_)
    assert result.discriminability == pytest.approx(value, abs=1e-12)
    assert (result.cells, result.triples) == (cells, triples)


def test_equal_states_are_ties_and_count_half():
    """Two phones in one frame of a slow layer have one state: nothing can tell them apart."""
    x, labels, contexts, speakers = sample(5)
    x[:] = x[0]
    assert abx_discriminability(x, labels, contexts, speakers).discriminability == 0.5
    x, labels, contexts, speakers = sample(6)
    x[30:40] = x[20:30]
    value = brute_force(x, labels, contexts, speakers)[0]
    assert abx_discriminability(x, labels, contexts, speakers).discriminability == pytest.approx(value, abs=1e-12)


def test_far_apart_is_one_and_unrelated_is_half():
    assert abx_discriminability(*sample(7, n=400, noise=0.01)).discriminability > 0.999
    _, labels, contexts, speakers = sample(8, n=1500)
    noise = np.random.default_rng(0).standard_normal((1500, 6))
    assert abx_discriminability(noise, labels, contexts, speakers).discriminability == pytest.approx(0.5, abs=0.02)


@given(st.integers(0, 1000))
def test_order_scale_and_names_do_not_matter(seed):
    x, labels, contexts, speakers = sample(seed, n=40)
    order = np.random.default_rng(seed).permutation(40)
    expected = abx_discriminability(x, labels, contexts, speakers)
    moved = abx_discriminability(x[order] * 4, 2 - labels[order], contexts[order] + 5, 3 - speakers[order])
    assert moved.discriminability == pytest.approx(expected.discriminability, abs=1e-12)
    assert moved.triples == expected.triples


def test_without_a_triple_it_is_refused():
    x, _, _, _ = sample(0)
    numbers = np.arange(60)
    with pytest.raises(TooFewSamplesError, match="share speaker and context"):
        abx_discriminability(x, numbers, np.zeros(60, int), np.zeros(60, int))
    with pytest.raises(TooFewSamplesError):
        abx_discriminability(x, numbers % 3, numbers, np.zeros(60, int))


def test_neighbours_are_those_without_a_pause_in_the_same_utterance():
    # in the first utterance A B C A B C, with a pause before the last B; in the second A B C
    utterance = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    label = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    start = np.array([0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.0, 0.1, 0.2])
    end = start + 0.1
    context = neighbours(utterance, start, end, label)
    assert context[1] == context[7]  # A_C
    assert context[1] != context[4]  # pause_C
    assert context[5] == context[8]  # B_end
    assert context[0] == context[6]  # start_B
    assert context[2] != context[5]
    order = np.random.default_rng(0).permutation(9)
    shuffled = neighbours(utterance[order], start[order], end[order], label[order])
    np.testing.assert_array_equal(shuffled, context[order])


def test_fastabx_gives_the_same_error_rate():
    fastabx = pytest.importorskip("fastabx", reason="fastabx (which needs Python 3.12) is not installed")
    import polars as pl
    import torch
    from fastabx.accessor import InMemoryAccessor

    x, labels, contexts, speakers = sample(9, n=500, contexts=8)
    table = pl.DataFrame({"phone": labels, "context": contexts, "speaker": speakers}).cast(pl.String)
    states = InMemoryAccessor({i: (i, i + 1) for i in range(500)}, torch.from_numpy(x), torch.device("cpu"))
    task = fastabx.Task(fastabx.Dataset(labels=table, accessor=states), on="phone", by=["context", "speaker"])
    error = fastabx.Score(task, "angular", progress=False).collapse(levels=["context", "speaker"])
    result = abx_discriminability(x, labels, contexts, speakers)
    assert 1 - error == pytest.approx(result.discriminability, abs=1e-6)
