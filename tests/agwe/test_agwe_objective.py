import numpy as np
import pytest
import torch

from speechstrata.agwe.config import AgweConfig
from speechstrata.agwe.objective import multi_view_loss
from speechstrata.agwe.training import hardest


def unit(rng, *shape):
    rows = rng.standard_normal(shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def slow_loss(spoken, written, word, margin, negatives):
    """The two objectives, term by term."""
    total = 0.0
    for x, c in zip(spoken, word, strict=True):
        positive = 1 - x @ written[c]
        words = sorted(1 - x @ written[other] for other in range(len(written)) if other != c)[:negatives]
        segments = sorted(1 - spoken[other] @ written[c] for other in range(len(spoken)) if word[other] != c)[
            :negatives
        ]
        for hardest_ in (words, segments):
            if hardest_:
                total += np.mean([max(0.0, margin + positive - negative) for negative in hardest_])
    return total / len(spoken)


@pytest.mark.parametrize("negatives", [1, 3, 100])
@pytest.mark.parametrize("margin", [0.1, 0.9])
def test_the_loss_is_the_sum_of_both_objectives_over_the_hardest_negatives(negatives, margin):
    rng = np.random.default_rng(0)
    word = np.array([0, 1, 1, 2, 3, 3, 3, 0, 4])
    spoken, written = unit(rng, len(word), 6), unit(rng, 5, 6)
    found = multi_view_loss(
        torch.from_numpy(spoken), torch.from_numpy(written), torch.from_numpy(word), margin, negatives
    )
    assert found.item() == pytest.approx(slow_loss(spoken, written, word, margin, negatives), abs=1e-12)


def test_words_that_are_apart_cost_nothing():
    corners = torch.eye(3, dtype=torch.float64)
    word = torch.tensor([0, 1, 2, 2])
    assert multi_view_loss(corners[word], corners, word, margin=0.9, negatives=2).item() == 0


def test_everything_in_one_point_costs_the_margin_twice():
    rows = torch.ones(4, 2, dtype=torch.float64) / 2**0.5
    assert multi_view_loss(rows, rows[:3], torch.tensor([0, 1, 2, 2]), 0.4, 2).item() == pytest.approx(0.8)


def test_a_batch_of_one_word_has_no_loss_and_a_finite_gradient():
    spoken = torch.nn.functional.normalize(torch.randn(3, 4), dim=1).requires_grad_()
    loss = multi_view_loss(spoken, torch.eye(1, 4), torch.zeros(3, dtype=torch.long), 0.4, 5)
    loss.backward()
    assert loss.item() == 0
    assert spoken.grad is not None
    assert torch.equal(spoken.grad, torch.zeros_like(spoken))


def test_the_hardest_negatives_become_fewer_from_first_to_last():
    config = AgweConfig(first_negatives=256, negatives=4)
    counts = [hardest(config, done) for done in np.linspace(0, 1, 50)]
    assert (counts[0], counts[-1]) == (256, 4)
    assert counts == sorted(counts, reverse=True)
    assert hardest(config, 0.5) == 32
