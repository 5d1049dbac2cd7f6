"""Intent classification: several labels of one utterance, all of which must be right (accuracy)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor, nn

from speechstrata.errors import CorpusError
from speechstrata.superb.classification import PooledHead
from speechstrata.superb.labels import custom_label
from speechstrata.superb.task import FrameGrid, Labels, ProbeTask, Recipe

#: A label that training did not have.
_UNSEEN = -1


class IntentClassification(ProbeTask):
    """One class of each label set: action, object and location in Fluent Speech Commands."""

    name: ClassVar[str] = "ic"
    title: ClassVar[str] = "Intent classification"
    metric: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    pooled: ClassVar[bool] = True
    published: ClassVar[Recipe] = Recipe()
    mini: ClassVar[Recipe] = Recipe(learning_rate=1e-3, steps=3_000, evaluate_every=300)

    def fit_labels(self, train: CutSet) -> Labels:
        """The classes of each set, sorted, the sets in the order of the first utterance.

        Raises:
            CorpusError: no utterances, or label sets that differ between utterances.
        """
        found: dict[str, set[str]] = {}
        for cut in train:
            intent = custom_label(cut, "intent", dict)
            if found and set(intent) != set(found):
                raise CorpusError(
                    f"the utterance {cut.id} has the label sets {', '.join(intent)}, others have {', '.join(found)}",
                    "make the probe corpus again",
                )
            for name, value in intent.items():
                found.setdefault(name, set()).add(value)
        if not found:
            raise CorpusError("the training split has no utterances", "make the probe corpus again")
        return {"sets": {name: sorted(values) for name, values in found.items()}}

    def target(self, cut: Cut, labels: Labels, waveform: NDArray[np.float32] | None, grid: FrameGrid) -> dict[str, str]:
        """Label set -> class."""
        intent = custom_label(cut, "intent", dict)
        if set(intent) != set(labels["sets"]):
            raise CorpusError(
                f"the utterance {cut.id} has the label sets {', '.join(intent)}, "
                f"the training split has {', '.join(labels['sets'])}",
                "make the probe corpus again",
            )
        return {name: intent[name] for name in labels["sets"]}

    def build_head(self, dim: int, labels: Labels, recipe: Recipe, grid: FrameGrid) -> nn.Module:
        """Outputs are the logits of all sets side by side (batch, classes of all sets)."""
        return PooledHead(dim, recipe.width, sum(_sizes(labels)))

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> Tensor:
        """The sum over label sets of the cross-entropy, mean over the batch."""
        parts = outputs.split(_sizes(labels), dim=-1)
        losses = []
        for logits, (name, classes) in zip(parts, labels["sets"].items(), strict=True):
            numbers = {value: number for number, value in enumerate(classes)}
            wanted = torch.tensor([numbers.get(target[name], _UNSEEN) for target in targets], device=outputs.device)
            losses.append(F.cross_entropy(logits, wanted, ignore_index=_UNSEEN))
        return torch.stack(losses).sum()

    def predict(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> list[dict[str, Any]]:
        """``hypothesis`` and ``reference``, label set -> class; a class that training did not have is never met."""
        best = [part.argmax(-1).tolist() for part in outputs.split(_sizes(labels), dim=-1)]
        return [
            {
                "hypothesis": {
                    name: classes[numbers[place]]
                    for numbers, (name, classes) in zip(best, labels["sets"].items(), strict=True)
                },
                "reference": target,
            }
            for place, target in enumerate(targets)
        ]

    def score(
        self, predictions: Sequence[Mapping[str, Any]], labels: Labels, settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """``accuracy`` (all sets right) and ``accuracy_<set>`` of each set alone."""
        hits = np.array(
            [[row["hypothesis"][name] == row["reference"][name] for name in labels["sets"]] for row in predictions]
        )
        return {"accuracy": float(hits.all(1).mean())} | {
            f"accuracy_{name}": float(hits[:, place].mean()) for place, name in enumerate(labels["sets"])
        }


def _sizes(labels: Labels) -> list[int]:
    """Classes of each set."""
    return [len(classes) for classes in labels["sets"].values()]
