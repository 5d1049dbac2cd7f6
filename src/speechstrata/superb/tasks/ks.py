"""Keyword spotting: which of a few words is said (accuracy)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor, nn

from speechstrata.superb.classification import PooledHead, inventory
from speechstrata.superb.labels import custom_label
from speechstrata.superb.task import FrameGrid, Labels, ProbeTask, Recipe


class KeywordSpotting(ProbeTask):
    """One class per utterance, of those in the training split (12 in Speech Commands v0.01).

    Training examples are drawn with replacement, every class alike, as in the benchmark. The benchmark draws its dev
    examples in that way too, anew at every evaluation; here dev is scored as it is, and ``balanced_accuracy`` is what
    such draws give on average.
    """

    name: ClassVar[str] = "ks"
    title: ClassVar[str] = "Keyword spotting"
    metric: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    pooled: ClassVar[bool] = True
    published: ClassVar[Recipe] = Recipe()
    mini: ClassVar[Recipe] = Recipe(learning_rate=1e-3, steps=3_000, evaluate_every=300)

    def fit_labels(self, train: CutSet) -> Labels:
        """The keywords, sorted."""
        return {"keywords": inventory([custom_label(cut, "keyword", str) for cut in train], "keywords")}

    def sampling_weights(self, train: CutSet, labels: Labels) -> NDArray[np.float64] | None:
        """One over the size of each example's class."""
        keywords = [custom_label(cut, "keyword", str) for cut in train]
        counts = Counter(keywords)
        return np.array([1.0 / counts[keyword] for keyword in keywords])

    def target(self, cut: Cut, labels: Labels, waveform: NDArray[np.float32] | None, grid: FrameGrid) -> str:
        """The keyword."""
        keyword: str = custom_label(cut, "keyword", str)
        return keyword

    def build_head(self, dim: int, labels: Labels, recipe: Recipe, grid: FrameGrid) -> nn.Module:
        """Outputs are logits (batch, keywords)."""
        return PooledHead(dim, recipe.width, len(labels["keywords"]))

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> Tensor:
        """Cross-entropy, mean over the batch."""
        numbers = {keyword: number for number, keyword in enumerate(labels["keywords"])}
        return F.cross_entropy(outputs, torch.tensor([numbers[word] for word in targets], device=outputs.device))

    def predict(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> list[dict[str, Any]]:
        """``hypothesis`` and ``reference``; a reference that training did not have is never met."""
        best = outputs.argmax(-1).tolist()
        return [
            {"hypothesis": labels["keywords"][number], "reference": word}
            for number, word in zip(best, targets, strict=True)
        ]

    def score(
        self, predictions: Sequence[Mapping[str, Any]], labels: Labels, settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """``accuracy`` and ``balanced_accuracy`` (the mean over classes of the share that is right)."""
        right: dict[str, list[bool]] = {}
        for row in predictions:
            right.setdefault(row["reference"], []).append(row["hypothesis"] == row["reference"])
        return {
            "accuracy": float(np.mean([hit for hits in right.values() for hit in hits])),
            "balanced_accuracy": float(np.mean([np.mean(hits) for hits in right.values()])),
        }
