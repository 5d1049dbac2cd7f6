"""The batch plan: bounded batches, every utterance once an epoch, and no memory of what came before."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechstrata.errors import CorpusError
from speechstrata.pretraining.batches import BatchPlan, Utterance, validation_batches
from speechstrata.pretraining.config import FRAME_STRIDE, SAMPLE_RATE, DataConfig

CONFIG = DataConfig(batch_seconds=20, minimum_seconds=0.5, maximum_seconds=10, buckets=8)


def corpus(count: int = 300, seed: int = 0) -> list[Utterance]:
    seconds = np.random.default_rng(seed).lognormal(0.8, 0.7, count)
    return [Utterance(f"u{number:04d}", int(s * SAMPLE_RATE)) for number, s in enumerate(seconds)]


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 200), seed=st.integers(0, 3), padding=st.booleans())
def test_an_epoch_holds_each_long_enough_utterance_once(count: int, seed: int, padding: bool) -> None:
    config = DataConfig(batch_seconds=20, minimum_seconds=0.0, maximum_seconds=10, buckets=8, padding=padding)
    utterances = corpus(count, seed)
    plan = BatchPlan(utterances, config, seed)
    for epoch in (0, 3):
        indices = range(epoch * plan.batches_per_epoch, (epoch + 1) * plan.batches_per_epoch)
        seen = Counter(crop.utterance for index in indices for crop in plan.batch(index))
        assert seen == Counter(u.id for u in utterances)


@pytest.mark.parametrize("padding", [False, True])
def test_batches_are_bounded_by_seconds_and_crops_lie_inside(padding: bool) -> None:
    config = DataConfig(batch_seconds=20, minimum_seconds=0.5, maximum_seconds=10, buckets=8, padding=padding)
    utterances = corpus()
    length = {u.id: u.samples for u in utterances}
    plan = BatchPlan(utterances, config, seed=1)
    starts = set()
    for index in range(2 * plan.batches_per_epoch):
        batch = plan.batch(index)
        assert len(batch) * max(crop.samples for crop in batch) <= 20 * SAMPLE_RATE
        for crop in batch:
            assert crop.start >= 0
            assert crop.start + crop.samples <= length[crop.utterance]
            assert crop.start % FRAME_STRIDE == 0
            starts.add(crop.start)
            if padding:
                assert crop.samples == min(length[crop.utterance], 10 * SAMPLE_RATE)
        if not padding:
            assert len({crop.samples for crop in batch}) == 1
    assert len(starts) > 3


def test_a_fresh_plan_asked_for_one_batch_gives_what_a_plan_asked_for_all_gives() -> None:
    walked = BatchPlan(corpus(), CONFIG, seed=5)
    batches = [walked.batch(index) for index in range(3 * walked.batches_per_epoch)]
    for index in (0, 17, len(batches) - 1):
        assert BatchPlan(corpus(), CONFIG, seed=5).batch(index) == batches[index]
    assert BatchPlan(corpus(), CONFIG, seed=6).batch(0) != batches[0]
    assert batches[0] != batches[walked.batches_per_epoch]


def test_batches_are_well_filled() -> None:
    plan = BatchPlan(corpus(2_000), DataConfig(batch_seconds=20, minimum_seconds=0.5, maximum_seconds=10), seed=1)
    seconds = [
        len(batch) * max(c.samples for c in batch) / SAMPLE_RATE
        for batch in map(plan.batch, range(plan.batches_per_epoch))
    ]
    assert np.mean(seconds) > 0.75 * 20
    assert sum(seconds) > 0.9 * plan.seconds


def test_short_utterances_are_left_out_and_none_left_is_an_error() -> None:
    utterances = [Utterance("short", 7_999), Utterance("long", 8_000)]
    plan = BatchPlan(utterances, CONFIG, seed=1)
    assert [crop.utterance for crop in plan.batch(0)] == ["long"]
    with pytest.raises(CorpusError, match=r"0\.5 s"):
        BatchPlan(utterances[:1], CONFIG, seed=1)


def test_validation_batches_are_fixed_bounded_and_limited() -> None:
    utterances = corpus()
    kept = [u for u in utterances if u.samples >= 8_000]
    batches = validation_batches(utterances, CONFIG)
    assert batches == validation_batches(utterances, CONFIG)
    assert sorted(crop.utterance for batch in batches for crop in batch) == sorted(u.id for u in kept)
    assert all(len(batch) * max(c.samples for c in batch) <= 20 * SAMPLE_RATE for batch in batches)
    limited = validation_batches(utterances, DataConfig(**{**CONFIG.__dict__, "validation_seconds": 100.0}))
    total = sum(crop.samples for batch in limited for crop in batch) / SAMPLE_RATE
    assert 60 < total < 140
