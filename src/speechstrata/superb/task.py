"""What a probe task is: labels, targets, head, loss, predictions and metrics; and the recipe it is trained by."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor, nn

#: What a task learns from the training split before anything is trained: character or class inventories. JSON-able.
Labels = Mapping[str, Any]

Optimizer = Literal["adam", "adamw"]


@dataclass(frozen=True)
class Recipe:
    """How a probe is trained. The defaults of a task are the public benchmark's; ``mini`` is for two CPU cores.

    Attributes:
        learning_rate: of the head and of the layer weights, constant.
        steps: optimizer steps.
        evaluate_every: optimizer steps between evaluations on the dev split.
        batch_size: examples in a batch.
        accumulation: batches per optimizer step.
        width: of the first linear layer (ASR, SF, IC, KS).
        hidden: units of each recurrent layer and direction; 0 where a task has none.
        recurrent_layers: how many.
        dropout: in the recurrent part.
        augment: SpecAugment on the weighted sum.
        optimizer: ``adamw`` has no weight decay here, as in the published enhancement recipe.
        epsilon: the optimizer's.
        clip_norm: of the gradient.
        dev_examples: evaluations during training take so many dev examples at most, drawn once; 0: all.
        pick: the dev metric that picks the best step, of the same direction as the task's; "": the task's.
    """

    learning_rate: float = 1e-4
    steps: int = 200_000
    evaluate_every: int = 5_000
    batch_size: int = 32
    accumulation: int = 1
    width: int = 256
    hidden: int = 0
    recurrent_layers: int = 0
    dropout: float = 0.0
    augment: bool = False
    optimizer: Optimizer = "adam"
    epsilon: float = 1e-8
    clip_norm: float = 1.0
    dev_examples: int = 0
    pick: str = ""


@dataclass(frozen=True)
class FrameGrid:
    """The frames that a feature sequence has.

    Attributes:
        frames: how many there are.
        stride: from one to the next, in samples at ``sample_rate``.
        sample_rate: of the encoder, in hertz.
    """

    frames: int
    stride: Fraction
    sample_rate: int


class ProbeTask(ABC):
    """One downstream task. Instances hold no state; what is learned from data goes through :data:`Labels`.

    Attributes:
        name: the short name, ``asr`` for example.
        title: for tables and figures.
        metric: the key of :meth:`score` that picks the best step on the dev split.
        higher_is_better: whether that metric grows with quality.
        pooled: the head begins with a linear layer and the mean over frames, so the mean of the states serves as well
            as the states: the engine then hands over a single "frame" per example, and the result is the same.
        needs_waveform: :meth:`target` reads the waveform.
        published: the public benchmark's recipe.
        mini: a recipe for minutes on two CPU cores.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    metric: ClassVar[str]
    higher_is_better: ClassVar[bool]
    pooled: ClassVar[bool] = False
    needs_waveform: ClassVar[bool] = False
    published: ClassVar[Recipe]
    mini: ClassVar[Recipe]

    @abstractmethod
    def fit_labels(self, train: CutSet) -> Labels:
        """Read the label inventory off the training split."""

    def examples(self, cuts: CutSet, split: str, stride_seconds: float) -> CutSet:
        """The examples of a split: the cuts as they are, unless a task cuts them into pieces.

        Args:
            cuts: of the split.
            split: ``train``, ``dev`` or a test split's name.
            stride_seconds: of the feature's frames.
        """
        return cuts

    def sampling_weights(self, train: CutSet, labels: Labels) -> NDArray[np.float64] | None:
        """(n,) chances of the training examples, drawn with replacement; None: each once an epoch, in random order."""
        return None

    @abstractmethod
    def target(self, cut: Cut, labels: Labels, waveform: NDArray[np.float32] | None, grid: FrameGrid) -> Any:
        """What is to be predicted for one example.

        Args:
            cut: the example.
            labels: of :meth:`fit_labels`.
            waveform: (samples,) at the encoder's rate where ``needs_waveform``.
            grid: the frames of the example's feature. Of a pooled task, those before pooling.

        Returns:
            Anything that pickles; numpy arrays rather than tensors.
        """

    @abstractmethod
    def build_head(self, dim: int, labels: Labels, recipe: Recipe, grid: FrameGrid) -> nn.Module:
        """A module with ``forward(features (batch, frames, dim), lengths (batch,)) -> outputs``.

        Outputs are (batch, frames, ...) or, of a pooled task, (batch, ...). Padding never changes the valid ones.

        Args:
            dim: of the feature.
            labels: of :meth:`fit_labels`.
            recipe: sizes.
            grid: stride and rate of the features (``frames`` is 0).
        """

    @abstractmethod
    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> Tensor:
        """The training loss of a batch, a scalar."""

    @abstractmethod
    def predict(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> list[dict[str, Any]]:
        """Per example: the prediction and whatever :meth:`score` needs, the reference included."""

    def tune(self, predictions: Sequence[Mapping[str, Any]], labels: Labels) -> dict[str, Any]:
        """Settings of the decision chosen on the dev split (thresholds); JSON-able. Most tasks have none."""
        return {}

    @abstractmethod
    def score(
        self, predictions: Sequence[Mapping[str, Any]], labels: Labels, settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """Metrics over a whole split.

        Args:
            predictions: of :meth:`predict`, all examples.
            labels: of :meth:`fit_labels`.
            settings: of :meth:`tune`; empty while it has not been called.
        """
