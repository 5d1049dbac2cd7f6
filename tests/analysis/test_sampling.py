from dataclasses import replace

import numpy as np
import pytest

from speechstrata.analysis.config import PUBLISHED, SMALL_CORPUS, AnalysisConfig
from speechstrata.analysis.samples import draw_samples
from speechstrata.analysis.sampling import (
    choose_protocol,
    choose_types,
    clusters_for,
    frame_parts,
    per_type,
    sample_frames,
    sample_unit,
)
from speechstrata.analysis.spans import Spans
from speechstrata.seeds import generator


def make_spans(counts, n_utterances=40, unit="word", seed=0):
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(counts)), counts)
    rng.shuffle(label)
    n = len(label)
    start = rng.uniform(0, 1, n)
    return Spans(
        unit=unit,
        utterance=np.sort(rng.integers(0, n_utterances, n)),
        start=start,
        end=start + 0.1,
        label=label,
        labels=tuple(f"w{i:03d}" for i in range(len(counts))),
        utterance_ids=tuple(f"u{i}" for i in range(n_utterances)),
        speakers=("ann",) * n_utterances,
    )


def test_no_type_has_more_rows_than_the_limit_and_none_is_lost_below_it():
    label = np.repeat([3, 5, 9], [4, 50, 1])
    rows = per_type(label, 10, generator(0, "test"))
    np.testing.assert_array_equal(np.unique(label[rows], return_counts=True), [[3, 5, 9], [4, 10, 1]])
    assert np.all(np.diff(rows) > 0)
    assert len(per_type(label[:0], 10, generator(0, "test"))) == 0


def test_every_instance_is_equally_likely():
    label = np.zeros(20, dtype=np.int64)
    drawn = np.zeros(20)
    for seed in range(400):
        drawn[per_type(label, 5, generator(seed, "test"))] += 1
    assert abs(drawn - 100).max() < 45  # 5 standard deviations of a binomial(400, 1/4)


def test_words_are_chosen_by_frequency_and_phones_all():
    protocol = AnalysisConfig(top_words=2, min_words_per_type=3).resolve(SMALL_CORPUS)
    counts = [5, 2, 9, 5]
    np.testing.assert_array_equal(choose_types(make_spans(counts), protocol), [0, 2])
    np.testing.assert_array_equal(choose_types(make_spans(counts, unit="phone"), protocol), [0, 1, 2, 3])


def test_the_kmeans_is_trained_and_scored_on_different_utterances():
    spans = make_spans([60] * 10)
    sample = sample_unit(spans, SMALL_CORPUS, ("",) * 40, seed=0, number=0)
    assert not set(spans.utterance[sample.fit]) & set(spans.utterance[sample.evaluate])
    assert len(sample.fit) + len(sample.evaluate) == len(spans)


def test_the_spans_that_are_scored_are_bounded_and_of_whole_utterances():
    spans = make_spans([60] * 10)
    whole = sample_unit(spans, SMALL_CORPUS, ("",) * 40, seed=0, number=0)
    protocol = replace(SMALL_CORPUS, mi_evaluated=100)
    fewer = sample_unit(spans, protocol, ("",) * 40, seed=0, number=0)
    np.testing.assert_array_equal(fewer.fit, whole.fit)
    assert 80 < len(fewer.evaluate) <= 100
    of_chosen = np.isin(spans.utterance[whole.evaluate], spans.utterance[fewer.evaluate])
    np.testing.assert_array_equal(fewer.evaluate, whole.evaluate[of_chosen])
    other = sample_unit(spans, protocol, ("",) * 40, seed=0, number=1)
    assert not np.array_equal(fewer.evaluate, other.evaluate)


@pytest.mark.parametrize(
    ("unit", "score", "expected"),
    [
        ("word", "cca-word", {"cca"}),
        ("word", "cca-glove", {"cca"}),
        ("word", "cca-inter", {"cca"}),
        ("word", "mi-word", {"fit", "evaluate"}),
        ("word", "cca-phone", set()),
        ("phone", "cca-phone", {"cca"}),
        ("phone", "probe-phone", {"cca"}),
        ("phone", "cca-glove", set()),
        ("phone", "mi-phone", {"fit", "evaluate"}),
        ("phone", "cca-mel", set()),
    ],
)
def test_only_what_a_score_needs_is_drawn(unit, score, expected):
    spans = make_spans([60] * 10, unit=unit)
    (drawn,) = draw_samples(spans, SMALL_CORPUS, ("",) * 40, AnalysisConfig(scores=(score,), sample_sets=1), {})
    found = {name for name in ("cca", "fit", "evaluate", "abx") if len(getattr(drawn[""], name))}
    assert found == expected


def test_a_corpus_with_splits_is_split_by_them():
    spans = make_spans([60] * 10)
    splits = tuple("train" if i < 5 else "dev" for i in range(40))
    sample = sample_unit(spans, SMALL_CORPUS, splits, seed=0, number=0)
    assert set(spans.utterance[sample.fit]) <= set(range(5))
    assert set(spans.utterance[sample.evaluate]) <= set(range(5, 40))


def test_samples_repeat_by_seed_and_differ_between_sets():
    spans = make_spans([200] * 5)
    one, same = (sample_unit(spans, PUBLISHED, ("",) * 40, 0, 0) for _ in range(2))
    other = sample_unit(spans, PUBLISHED, ("",) * 40, 0, 1)
    np.testing.assert_array_equal(one.cca, same.cca)
    assert not np.array_equal(one.cca, other.cca)


def test_a_sample_can_be_restricted_to_some_speakers():
    spans = make_spans([200] * 5)
    allowed = spans.utterance < 10
    sample = sample_unit(spans, PUBLISHED, ("",) * 40, 0, 0, allowed)
    assert spans.utterance[sample.cca].max() < 10


def test_a_small_corpus_is_not_given_the_published_protocol():
    few = {"word": make_spans([30] * 20), "phone": make_spans([100] * 39, unit="phone")}
    assert choose_protocol(AnalysisConfig(), few, ("",) * 40).name == "small-corpus"
    many = {"word": make_spans([80] * 500), "phone": make_spans([600] * 39, unit="phone")}
    assert choose_protocol(AnalysisConfig(), many, ("",) * 40).name == "published"
    forced = choose_protocol(AnalysisConfig(protocol="published", top_words=7), few, ("",) * 40)
    assert (forced.name, forced.top_words) == ("published", 7)


def test_a_corpus_without_spans_has_the_published_protocol_where_its_frames_do():
    assert choose_protocol(AnalysisConfig(), {}, ("",) * 1499).name == "small-corpus"
    assert choose_protocol(AnalysisConfig(), {}, ("",) * 1500).name == "published"


def test_small_corpora_lower_k_to_a_tenth_of_their_spans():
    assert clusters_for("word", 1000, SMALL_CORPUS) == 100
    assert clusters_for("phone", 100_000, SMALL_CORPUS) == 500
    assert clusters_for("word", 1000, PUBLISHED) == 5000


def test_frame_samples_are_disjoint_and_as_large_as_the_corpus_allows():
    sets = sample_frames(10, PUBLISHED, 3, 0)
    assert [len(each) for each in sets] == [3, 3, 3]
    assert len(np.unique(np.concatenate(sets))) == 9
    assert [len(each) for each in sample_frames(2000, PUBLISHED, 3, 0)] == [500, 500, 500]


def test_frame_parts_do_not_depend_on_what_else_is_drawn():
    np.testing.assert_array_equal(frame_parts(50, 10, 0, 1, "u1"), frame_parts(50, 10, 0, 1, "u1"))
    assert set(frame_parts(5000, 10, 0, 1, "u1")) == set(range(10))


@pytest.mark.parametrize("unit", ["word", "phone"])
def test_an_empty_unit_gives_an_empty_sample(unit):
    sample = sample_unit(make_spans([], unit=unit), PUBLISHED, ("",) * 40, 0, 0)
    assert len(sample.cca) == len(sample.fit) == len(sample.evaluate) == 0
