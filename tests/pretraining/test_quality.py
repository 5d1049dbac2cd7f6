"""Unit quality against scikit-learn and direct counting."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import entropy as entropy_of_counts
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from speechstrata.pretraining.quality import contingency, frame_phones, measure_units, unit_quality
from speechstrata.pretraining.units import UnitStore


@given(
    phones=st.lists(st.integers(0, 4), min_size=2, max_size=200),
    seed=st.integers(0, 100),
)
@example(phones=[4] * 6, seed=4)  # shares that add up to 1 - 1e-16
def test_figures_equal_those_of_scikit_learn(phones: list[int], seed: int) -> None:
    units = np.random.default_rng(seed).integers(0, 7, len(phones))
    table = np.zeros((5, 8), dtype=np.int64)
    np.add.at(table, (np.array(phones), units), 1)
    quality = unit_quality(table.sum(axis=0), table)
    oracle = contingency_matrix(phones, units)
    assert quality.phone_purity == pytest.approx(oracle.max(axis=0).sum() / len(phones))
    assert quality.cluster_purity == pytest.approx(oracle.max(axis=1).sum() / len(phones))
    assert quality.used == len(set(units))
    assert quality.classes == 8
    assert quality.perplexity == pytest.approx(np.exp(entropy_of_counts(np.bincount(units))))
    if len(set(phones)) > 1:
        assert quality.pnmi == pytest.approx(
            mutual_info_score(phones, units) / entropy_of_counts(np.bincount(phones)), abs=1e-9
        )
    else:
        assert np.isnan(quality.pnmi)


def test_frames_belong_to_the_span_that_holds_their_centre() -> None:
    start, end = np.array([0.1, 0.3]), np.array([0.2, 0.5])
    times = np.array([0.0, 0.1, 0.199, 0.2, 0.25, 0.3, 0.499, 0.5])
    assert frame_phones(start, end, times).tolist() == [-1, 0, 0, -1, -1, 1, 1, -1]
    assert frame_phones(start[:0], end[:0], times).tolist() == [-1] * 8


def cut(name: str, items: list[tuple[str, float, float]]) -> SimpleNamespace:
    alignment = [SimpleNamespace(symbol=s, start=a, duration=b - a, score=None) for s, a, b in items]
    return SimpleNamespace(
        id=name, start=0.0, supervisions=[SimpleNamespace(alignment={"phone": alignment}, speaker="x")]
    )


def test_counting_over_a_corpus_leaves_out_silence_and_utterances_without_units() -> None:
    index = {"classes": 3, "stride": "1600", "offset": 800.0, "sha256": "0"}
    store = UnitStore(np.array([0, 1, 1, 2, 2, 2], np.uint8), {"a": (0, 4), "b": (4, 6)}, index)
    cuts = [
        cut("a", [("AH0", 0.0, 0.2), ("SIL", 0.2, 0.3), ("T", 0.3, 0.4)]),
        cut("b", [("AH1", 0.1, 0.2)]),
        cut("missing", [("AH1", 0.0, 9.0)]),
    ]
    assert contingency(store, cuts).tolist() == [[1, 1, 1], [0, 0, 1]]
    quality = measure_units(store, cuts)
    assert (quality.frames, quality.labelled_frames, quality.phones) == (6, 4, 2)
    assert quality.most_frequent == 0.5


def test_without_alignments_only_the_use_of_the_clusters_is_known() -> None:
    index = {"classes": 2, "stride": "320", "offset": 0.0, "sha256": "0"}
    store = UnitStore(np.array([1, 1, 0], np.uint8), {"a": (0, 3)}, index)
    quality = measure_units(store, [SimpleNamespace(id="a", start=0.0, supervisions=[])])
    assert (quality.used, quality.labelled_frames) == (2, 0)
    assert np.isnan(quality.pnmi)
