"""Batches are functions of seed and number."""

import numpy as np

from speechstrata.superb.order import BatchOrder


def test_an_epoch_has_every_example_once_with_like_lengths_together():
    lengths = np.random.default_rng(0).uniform(1, 10, 203)
    order = BatchOrder(lengths, 8, seed=3)
    assert order.batches_per_epoch == 26
    epoch = [order.batch(number) for number in range(26)]
    assert sorted(np.concatenate(epoch).tolist()) == list(range(203))
    spread = np.mean([np.ptp(lengths[batch]) for batch in epoch])
    assert spread < 3.0 < np.ptp(lengths)


def test_a_batch_is_the_same_whatever_was_asked_for_before():
    lengths = np.arange(50.0)
    one, other = BatchOrder(lengths, 4, seed=1), BatchOrder(lengths, 4, seed=1)
    for number in range(40):
        one.batch(number)
    assert other.batch(31).tolist() == one.batch(31).tolist()
    assert BatchOrder(lengths, 4, seed=2).batch(31).tolist() != one.batch(31).tolist()
    epochs = [np.concatenate([one.batch(13 * epoch + n) for n in range(13)]).tolist() for epoch in range(2)]
    assert epochs[0] != epochs[1]


def test_weights_are_chances():
    weights = np.array([1.0, 1.0, 8.0])
    order = BatchOrder(np.ones(3), 2, seed=0, weights=weights)
    drawn = np.concatenate([order.batch(number) for number in range(2_000)])
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), weights / 10, atol=0.03)
