import numpy as np
import pytest
from scipy.spatial.distance import cdist

from speechstrata.agwe.discrimination import cosine_distances, cross_view, same_different
from speechstrata.agwe.dtw import dtw_distances, mean_frame_distances
from speechstrata.errors import TooFewSamplesError

WORDS = np.array(["cat", "dog", "cat", "eel", "dog", "cat"])
SPEAKERS = np.array(["a", "a", "a", "b", "b", "b"])


def slow_precision(pairs):
    """Mean over the right pairs of the share of right ones among those ranked no lower; no ties."""
    ranked = [same for _, same in sorted(pairs)]
    return np.mean([np.mean(ranked[: place + 1]) for place, same in enumerate(ranked) if same])


def random_distances(seed=0):
    table = np.random.default_rng(seed).random((6, 6))
    return table + table.T


def test_average_precision_over_all_pairs_and_across_speakers():
    distances = random_distances()
    pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
    result = same_different(distances, WORDS, SPEAKERS)
    assert result.precision == pytest.approx(
        slow_precision([(distances[i, j], WORDS[i] == WORDS[j]) for i, j in pairs])
    )
    across = [
        (distances[i, j], WORDS[i] == WORDS[j]) for i, j in pairs if WORDS[i] != WORDS[j] or SPEAKERS[i] != SPEAKERS[j]
    ]
    assert result.across_speakers == pytest.approx(slow_precision(across))
    assert (result.pairs, result.chance) == (15, pytest.approx(4 / 15))


def test_distances_that_follow_the_words_give_one():
    same = (WORDS[:, None] == WORDS).astype(float)
    assert same_different(1 - same, WORDS, SPEAKERS).precision == 1
    assert same_different(np.ones((6, 6)), WORDS, SPEAKERS).precision == pytest.approx(4 / 15)


def test_one_speaker_has_no_pairs_across_speakers():
    assert same_different(random_distances(), WORDS, np.array(["a"] * 6)).across_speakers is None


@pytest.mark.parametrize("words", [["a", "b", "c"], ["a", "a", "a"]])
def test_pairs_of_one_kind_cannot_be_ranked(words):
    with pytest.raises(TooFewSamplesError, match="3 segments"):
        same_different(np.ones((3, 3)), np.array(words), np.array(["x"] * 3))


def test_cross_view_ranks_segments_with_written_words():
    types = np.array(["cat", "dog", "eel"])
    distances = np.random.default_rng(1).random((6, 3))
    pairs = [(distances[i, j], WORDS[i] == types[j]) for i in range(6) for j in range(3)]
    precision, chance = cross_view(distances, WORDS, types)
    assert (precision, chance) == (pytest.approx(slow_precision(pairs)), pytest.approx(1 / 3))


def test_cosine_distances_are_scipys():
    rng = np.random.default_rng(2)
    rows, others = rng.standard_normal((5, 7)).astype(np.float32), rng.standard_normal((4, 7)).astype(np.float32)
    np.testing.assert_allclose(cosine_distances(rows, others), cdist(rows, others, "cosine"), atol=1e-6)
    np.testing.assert_allclose(cosine_distances(rows), cdist(rows, rows, "cosine"), atol=1e-6)


def slow_dtw(first, second):
    costs = cdist(first, second, "cosine")
    sums = np.full(costs.shape, np.inf)
    for i in range(len(first)):
        for j in range(len(second)):
            before = [
                sums[i - 1, j] if i else np.inf,
                sums[i, j - 1] if j else np.inf,
                sums[i - 1, j - 1] if i and j else np.inf,
            ]
            sums[i, j] = costs[i, j] + (min(before) if i or j else 0.0)
    return sums[-1, -1] / (len(first) + len(second))


def test_time_warping_finds_the_cheapest_path_whatever_the_lengths():
    rng = np.random.default_rng(3)
    frames = [rng.standard_normal((length, 4)).astype(np.float32) for length in (2, 9, 1, 5, 5, 12)]
    expected = [[slow_dtw(a, b) if a is not b else 0.0 for b in frames] for a in frames]
    np.testing.assert_allclose(dtw_distances(frames), expected, atol=1e-6)


def test_a_segment_is_near_itself_said_more_slowly():
    rng = np.random.default_rng(4)
    quick, other = rng.standard_normal((6, 5)).astype(np.float32), rng.standard_normal((6, 5)).astype(np.float32)
    table = dtw_distances([quick, np.repeat(quick, 3, axis=0), other])
    assert table[0, 1] == pytest.approx(0, abs=1e-6)
    assert table[0, 2] > 0.1
    means = mean_frame_distances([quick, np.repeat(quick, 3, axis=0), other])
    assert means[0, 1] == pytest.approx(0, abs=1e-6)
