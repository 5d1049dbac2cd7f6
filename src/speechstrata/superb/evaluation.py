"""A trained probe on a split: predictions, settings chosen on dev, metrics."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from speechstrata.seeds import generator
from speechstrata.superb.data import Examples
from speechstrata.superb.task import Recipe


@torch.no_grad()
def predictions(
    probe: nn.Module, examples: Examples, recipe: Recipe, chosen: NDArray[np.int64] | None = None
) -> list[dict[str, Any]]:
    """The task's predictions, in the order of the examples (of those ``chosen``); each has its ``id``.

    Args:
        probe: ``probe(states, lengths)`` gives the head's outputs; put into evaluation mode while it works.
        examples: of a split.
        recipe: for the batch size.
        chosen: numbers of examples; all by default.
    """
    was_training = probe.training
    probe.eval()
    device = next(probe.parameters()).device
    found: dict[int, dict[str, Any]] = {}
    ids = examples.ids
    for numbers, batch in examples.batches(recipe.batch_size, chosen):
        lengths = batch.lengths.to(device)
        outputs = probe(batch.states.to(device), lengths)
        rows = examples.task.predict(outputs, lengths, batch.targets, examples.labels)
        found |= {int(number): {"id": ids[number]} | row for number, row in zip(numbers.tolist(), rows, strict=True)}
    probe.train(was_training)
    return [found[number] for number in sorted(found)]


def dev_subset(examples: Examples, recipe: Recipe, seed: int) -> NDArray[np.int64] | None:
    """The dev examples that are looked at during training; None: all."""
    if not recipe.dev_examples or recipe.dev_examples >= len(examples):
        return None
    chosen = generator(seed, "probe", "dev").choice(len(examples), size=recipe.dev_examples, replace=False)
    return np.sort(chosen)


def evaluate_on(
    probe: nn.Module, examples: Examples, recipe: Recipe, settings: Mapping[str, Any]
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Metrics and predictions of a whole split, with the settings chosen on dev."""
    rows = predictions(probe, examples, recipe)
    return examples.task.score(rows, examples.labels, settings), rows
