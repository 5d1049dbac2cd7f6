"""Intent classification and keyword spotting against direct formulas."""

import math

import numpy as np
import pytest
import torch
from labelled import GRID, cut, cuts
from scipy.special import log_softmax

from speechstrata.errors import CorpusError
from speechstrata.superb.task import Recipe
from speechstrata.superb.tasks import load_task

WORDS = ["yes", "no", "yes", "yes", "go"]
INTENTS = [
    {"action": "turn on", "object": "light", "location": "kitchen"},
    {"action": "turn off", "object": "light", "location": "none"},
    {"action": "turn off", "object": "music", "location": "none"},
]


def keyword_cuts(words=WORDS):
    return cuts(*(cut(f"k{place}", custom={"keyword": word}) for place, word in enumerate(words)))


def intent_cuts(intents=INTENTS):
    return cuts(*(cut(f"i{place}", custom={"intent": intent}) for place, intent in enumerate(intents)))


def targets(task, labels, examples):
    return [task.target(example, labels, None, GRID) for example in examples]


@pytest.mark.parametrize(("name", "examples"), [("ks", keyword_cuts()), ("ic", intent_cuts())])
def test_head_takes_the_mean_over_valid_frames(name, examples):
    task = load_task(name)
    head = task.build_head(6, task.fit_labels(examples), Recipe(width=5), GRID)
    lengths = torch.tensor([4, 9])
    features = torch.randn(2, 9, 6)
    features[0, 4:] = 1e3  # padding may hold anything
    together = head(features, lengths)
    means = torch.stack([features[0, :4].mean(0), features[1].mean(0)])[:, None]
    torch.testing.assert_close(head(means, torch.ones(2)), together)
    torch.testing.assert_close(head(features[:1, :4], lengths[:1]), together[:1])
    weight = head.output.weight @ head.projection.weight
    bias = head.output.weight @ head.projection.bias + head.output.bias
    torch.testing.assert_close(together, means[:, 0] @ weight.T + bias)


def test_keyword_loss_is_the_cross_entropy():
    task, examples = load_task("ks"), keyword_cuts()
    labels = task.fit_labels(examples)
    assert labels["keywords"] == ["go", "no", "yes"]
    outputs = torch.randn(5, 3)
    expected = -log_softmax(outputs.numpy(), axis=1)[range(5), [2, 1, 2, 2, 0]].mean()
    assert task.loss(outputs, torch.ones(5), targets(task, labels, examples), labels).item() == pytest.approx(expected)


def test_keyword_classes_are_drawn_alike():
    task, examples = load_task("ks"), keyword_cuts()
    weights = task.sampling_weights(examples, task.fit_labels(examples))
    shares = {word: weights[[w == word for w in WORDS]].sum() / weights.sum() for word in set(WORDS)}
    assert shares == pytest.approx(dict.fromkeys(shares, 1 / 3))


def test_keyword_accuracies():
    task, examples = load_task("ks"), keyword_cuts()
    labels = task.fit_labels(examples)
    outputs = torch.eye(3)[[2, 1, 0, 2, 2]]  # the third and the fifth are wrong
    rows = task.predict(outputs, torch.ones(5), targets(task, labels, examples), labels)
    assert rows[2] == {"hypothesis": "go", "reference": "yes"}
    scores = task.score(rows, labels, {})
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_intent_loss_is_the_sum_of_three_cross_entropies():
    task, examples = load_task("ic"), intent_cuts()
    labels = task.fit_labels(examples)
    assert labels["sets"]["action"] == ["turn off", "turn on"]
    outputs = torch.randn(3, 6)
    numbers = [1, 0, 0], [0, 0, 1], [0, 1, 1]
    parts = [outputs.numpy()[:, place : place + 2] for place in (0, 2, 4)]
    expected = -sum(log_softmax(parts[s], axis=1)[range(3), numbers[s]].mean() for s in range(3))
    assert task.loss(outputs, torch.ones(3), targets(task, labels, examples), labels).item() == pytest.approx(expected)


def test_an_intent_is_right_where_all_its_labels_are():
    task, examples = load_task("ic"), intent_cuts()
    labels = task.fit_labels(examples)
    outputs = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0], [1, 0, 0, 1, 0, 1]]).float()
    rows = task.predict(outputs, torch.ones(3), targets(task, labels, examples), labels)
    assert rows[1]["hypothesis"] == {"action": "turn off", "object": "light", "location": "kitchen"}
    scores = task.score(rows, labels, {})
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["accuracy_action"] == 1
    assert scores["accuracy_location"] == pytest.approx(2 / 3)


def test_classes_that_training_did_not_have_are_wrong_not_an_error():
    task = load_task("ic")
    labels = task.fit_labels(intent_cuts())
    strange = intent_cuts([{"action": "sing", "object": "light", "location": "none"}])
    wanted = targets(task, labels, strange)
    outputs = torch.zeros(1, 6)
    assert math.isnan(task.loss(outputs, torch.ones(1), wanted, labels).item())  # no class to learn from
    assert task.score(task.predict(outputs, torch.ones(1), wanted, labels), labels, {})["accuracy"] == 0


def test_missing_labels_name_the_utterance():
    with pytest.raises(CorpusError, match="k1"):
        load_task("ks").fit_labels(cuts(cut("k1")))
    with pytest.raises(CorpusError, match="i1"):
        load_task("ic").fit_labels(cuts(*intent_cuts(INTENTS[:1]), cut("i1", custom={"intent": {"action": "x"}})))
    with pytest.raises(CorpusError, match="1 keywords"):
        load_task("ks").fit_labels(keyword_cuts(["yes", "yes"]))


def test_published_recipes_of_pooled_tasks():
    for name in ("ic", "ks"):
        task = load_task(name)
        recipe = task.published
        assert (recipe.learning_rate, recipe.batch_size, recipe.steps) == (1e-4, 32, 200_000)
        assert (recipe.width, recipe.evaluate_every, recipe.optimizer) == (256, 5_000, "adam")
        assert task.pooled
        assert np.isclose(recipe.clip_norm, 1.0)
