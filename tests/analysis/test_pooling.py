import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.analysis.forward import Batch, plan_batches, read_batches
from speechstrata.analysis.pooling import RowPlan, RowStore, SpanPooler, mean_over_ranges, stored_bytes
from speechstrata.analysis.spans import Spans
from speechstrata.encoders.base import HiddenStates, Layer
from speechstrata.errors import InputError

LAYER = Layer("T1", 320, 200.0, 4, "transformer")


@given(st.integers(0, 2**31), st.integers(1, 12))
def test_means_equal_a_plain_loop(seed, n):
    rng = np.random.default_rng(seed)
    states = torch.from_numpy(rng.standard_normal((3, 17, 5)).astype(np.float32))
    item = torch.from_numpy(rng.integers(0, 3, n))
    first = torch.from_numpy(rng.integers(0, 17, n))
    stop = first + 1 + torch.from_numpy(rng.integers(0, 17, n)) % (17 - first)
    means = mean_over_ranges(states, item, first, stop)
    for row in range(n):
        direct = states[item[row], first[row] : stop[row]].double().mean(0)
        torch.testing.assert_close(means[row].double(), direct, rtol=1e-5, atol=1e-6)


def test_channel_first_states_give_the_same_means():
    states = torch.randn(3, 17, 5)
    item, first, stop = torch.tensor([0, 2, 2]), torch.tensor([0, 3, 16]), torch.tensor([17, 9, 17])
    channel_first = states.transpose(1, 2).contiguous().transpose(1, 2)
    assert not channel_first.is_contiguous()
    expected = mean_over_ranges(states, item, first, stop)
    torch.testing.assert_close(mean_over_ranges(channel_first, item, first, stop), expected)
    assert mean_over_ranges(channel_first, item[:0], first[:0], stop[:0]).shape == (0, 5)


def make_spans():
    return Spans(
        unit="word",
        utterance=np.array([0, 0, 1, 2]),
        start=np.array([0.0, 0.1, 0.02, 0.0]),
        end=np.array([0.1, 0.2, 0.08, 0.04]),
        label=np.array([0, 1, 0, 1]),
        labels=("a", "b"),
        utterance_ids=("u0", "u1", "u2"),
        speakers=("s", "s", "s"),
    )


def states_of(utterance, frames):
    return torch.arange(frames * 4, dtype=torch.float32).reshape(frames, 4) + 1000 * utterance


def pool(folder, batches, spans_of_rows=(0, 1, 2, 3)):
    plan = RowPlan(make_spans(), np.array(spans_of_rows))
    store = RowStore(folder, (LAYER,), {"word": len(spans_of_rows)})
    pooler = SpanPooler({"word": plan}, store, 16_000, "published")
    frames = [12, 6, 3]
    for batch in batches:
        longest = max(frames[u] for u in batch)
        lengths = torch.tensor([frames[u] for u in batch])
        states = torch.full((len(batch), longest, 4), -1e6)
        for row, u in enumerate(batch):
            states[row, : frames[u]] = states_of(u, frames[u])
        pooler.begin(Batch(0, np.array(batch), torch.zeros(0), lengths, 0.0, ()))
        pooler.visit(LAYER, HiddenStates(states, lengths))
    return store


def test_rows_do_not_depend_on_the_batches(tmp_path):
    together = pool(tmp_path / "a", [[2, 0, 1]]).rows("T1", "word")
    alone = pool(tmp_path / "b", [[0], [1], [2]]).rows("T1", "word")
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(alone[0], states_of(0, 12)[0:5].mean(0))
    np.testing.assert_allclose(alone[2], states_of(1, 6)[1:4].mean(0))


def test_only_the_spans_of_the_plan_have_rows(tmp_path):
    store = pool(tmp_path, [[0], [2]], spans_of_rows=(1, 3))
    np.testing.assert_allclose(store.rows("T1", "word")[1], states_of(2, 3)[0:2].mean(0))
    np.testing.assert_array_equal(RowPlan(make_spans(), np.array([1, 3])).rows_of(np.array([3])), [1])
    np.testing.assert_array_equal(RowPlan(make_spans(), np.array([1, 3])).utterances(), [0, 2])


def test_a_store_continues_where_it_was_left_and_unread_rows_are_nan(tmp_path):
    store = pool(tmp_path, [[0]])
    store.flush()
    again = RowStore(tmp_path, (LAYER,), {"word": 4})
    np.testing.assert_allclose(again.rows("T1", "word")[0], states_of(0, 12)[0:5].mean(0))
    assert np.isnan(again.rows("T1", "word")[2:]).all()
    assert stored_bytes((LAYER,), {"word": 4}) == 4 * 4 * 4


@given(st.lists(st.floats(0.05, 30), min_size=1, max_size=40), st.floats(1, 60))
def test_a_batch_stays_within_its_bound_and_nothing_is_lost(durations, bound):
    seconds = np.array(durations)
    plan = plan_batches(seconds, np.arange(len(seconds)), bound)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(seconds)))
    for batch in plan:
        assert len(batch) == 1 or len(batch) * seconds[batch].max() <= bound + 1e-9


def test_an_unreadable_utterance_is_named_and_the_rest_comes_through():
    def load(utterance):
        if utterance == 1:
            raise InputError("u1.wav is empty")
        return np.full(10 + utterance, 0.5, dtype=np.float32)

    batches = list(read_batches([np.array([2, 1, 0]), np.array([1])], 0, load, 16_000))
    np.testing.assert_array_equal(batches[0].utterances, [2, 0])
    assert batches[0].problems == ((1, "u1.wav is empty"),)
    assert batches[0].waveforms.shape == (2, 12)
    assert batches[0].waveforms[1, 10:].eq(0).all()
    assert batches[1].waveforms.shape[0] == 0
    assert [b.number for b in read_batches([np.array([0])] * 5, 3, load, 16_000)] == [3, 4]


def test_an_error_that_is_no_bad_input_is_not_swallowed():
    def load(utterance):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(read_batches([np.array([0])], 0, load, 16_000))
