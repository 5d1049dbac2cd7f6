import numpy as np
import pytest
from scipy.spatial.distance import cosine
from scipy.stats import spearmanr

from speechstrata.analysis.sentence_similarity import sentence_similarity
from speechstrata.errors import InputError, TooFewSamplesError

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((60, 12)).astype(np.float32)
PAIRS = [RNG.integers(60, size=(size, 2)) for size in (1, 4, 16, 2, 9, 3, 16, 5)]
SCORES = np.array([0.0, 1.0, 1.0, 2.5, 3.0, 3.0, 4.5, 5.0])  # with ties


def test_rho_of_the_mean_cosine_of_each_pairs_recordings():
    means = [np.mean([1 - cosine(VECTORS[a], VECTORS[b]) for a, b in pair]) for pair in PAIRS]
    result = sentence_similarity(VECTORS, PAIRS, SCORES)
    assert result.rho == pytest.approx(spearmanr(means, SCORES).statistic, abs=1e-12)
    assert (result.n_pairs, result.n_recordings) == (8, 56)


def test_the_length_of_a_vector_does_not_matter():
    scaled = VECTORS * RNG.uniform(0.1, 10, size=(60, 1))
    assert sentence_similarity(scaled, PAIRS, SCORES).rho == sentence_similarity(VECTORS, PAIRS, SCORES).rho


def test_any_increasing_map_of_the_human_scores_gives_the_same_rho():
    assert sentence_similarity(VECTORS, PAIRS, np.exp(SCORES)).rho == sentence_similarity(VECTORS, PAIRS, SCORES).rho


def test_cosines_that_follow_the_scores_give_one():
    angles = np.linspace(0.1, 3, 8)
    vectors = np.stack([np.cos(np.append(0, angles)), np.sin(np.append(0, angles))], axis=1)
    pairs = [[(0, number)] for number in range(1, 9)]
    assert sentence_similarity(vectors, pairs, -angles).rho == pytest.approx(1)
    assert sentence_similarity(vectors, pairs, angles).rho == pytest.approx(-1)


def test_states_that_are_all_alike_order_nothing():
    assert sentence_similarity(np.ones((60, 3)), PAIRS, SCORES).rho == 0


def test_what_is_wrong_is_named():
    with pytest.raises(InputError, match="8 sentence pairs and human scores of shape"):
        sentence_similarity(VECTORS, PAIRS, SCORES[:7])
    with pytest.raises(InputError, match="finite"):
        sentence_similarity(VECTORS, PAIRS, np.where(SCORES == 0, np.nan, SCORES))
    with pytest.raises(InputError, match=r"names utterance 60, but there are 60"):
        sentence_similarity(VECTORS, [*PAIRS[:7], [(0, 60)]], SCORES)
    with pytest.raises(InputError, match=r"names utterance -1"):
        sentence_similarity(VECTORS, [*PAIRS[:7], [(0, -1)]], SCORES)
    with pytest.raises(InputError, match="sentence pair 7"):
        sentence_similarity(VECTORS, [*PAIRS[:7], np.zeros((0, 2), dtype=int)], SCORES)
    with pytest.raises(TooFewSamplesError, match="2 sentence pairs"):
        sentence_similarity(VECTORS, PAIRS[:2], SCORES[:2])
    with pytest.raises(TooFewSamplesError, match="1 different"):
        sentence_similarity(VECTORS, PAIRS, np.ones(8))
    silent = VECTORS.copy()
    silent[PAIRS[0][0, 0]] = 0
    with pytest.raises(InputError, match=f"utterance {PAIRS[0][0, 0]} is zero"):
        sentence_similarity(silent, PAIRS, SCORES)
