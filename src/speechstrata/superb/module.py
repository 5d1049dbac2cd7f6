"""A probe as a Lightning module: the layer weights and the head, trained together; and what happens between rounds."""

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from speechstrata.errors import InputError
from speechstrata.pretraining.checkpoints import end_round
from speechstrata.seeds import derived_seed
from speechstrata.superb.data import Batch
from speechstrata.superb.featurizer import Featurizer
from speechstrata.superb.layered import LayeredStates
from speechstrata.superb.states import LayerChoice
from speechstrata.superb.task import Labels, ProbeTask, Recipe


class Probe(nn.Module):
    """Layer weights and head.

    Args:
        task: which head.
        labels: of the task.
        recipe: its sizes.
        choice: of the layers.
        seed: of the head's weights.
    """

    def __init__(self, task: ProbeTask, labels: Labels, recipe: Recipe, choice: LayerChoice, seed: int) -> None:
        super().__init__()
        self.featurizer = Featurizer(len(choice.layers))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "probe", "head"))
            self.head = task.build_head(choice.dim, labels, recipe, choice.grid())

    def forward(self, states: Tensor | LayeredStates, lengths: Tensor) -> Tensor:
        """(batch, frames, layers, dim) and (batch,) -> the head's outputs."""
        outputs: Tensor = self.head(self.featurizer(states), lengths)
        return outputs


class ProbeModule(lightning.LightningModule):
    """Trains a :class:`Probe` by a recipe.

    Noise (dropout, SpecAugment) is seeded by the number of the batch, so a resumed run equals an undisturbed one.

    Attributes:
        skipped: steps whose gradient was not finite; they change nothing, as in the benchmark.
    """

    def __init__(self, probe: Probe, task: ProbeTask, labels: Labels, recipe: Recipe, seed: int) -> None:
        super().__init__()
        self.probe = probe
        self.skipped = 0
        self._task, self._labels, self._recipe, self._seed = task, labels, recipe, seed
        self._losses: list[Tensor] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The task's loss."""
        torch.manual_seed(derived_seed(self._seed, "probe", "noise", batch.number))
        lengths = batch.lengths
        loss = self._task.loss(self.probe(batch.states, lengths), lengths, batch.targets, self._labels)
        self._losses.append(loss.detach())
        return loss

    def configure_gradient_clipping(
        self, optimizer: torch.optim.Optimizer, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip; drop a gradient that is not finite, so that the optimizer passes over it."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.probe.parameters(), self._recipe.clip_norm or math.inf))
        if not math.isfinite(norm):
            self.skipped += 1
            for parameter in self.probe.parameters():
                parameter.grad = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the recipe, at a constant rate."""
        kinds: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        kind = kinds[self._recipe.optimizer]
        return kind(self.probe.parameters(), lr=self._recipe.learning_rate, eps=self._recipe.epsilon, weight_decay=0.0)

    def mean_loss(self) -> float:
        """Since it was last asked for."""
        value = float(torch.stack(self._losses).mean()) if self._losses else math.nan
        self._losses = []
        return value

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """For Lightning."""
        checkpoint["skipped"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """For Lightning."""
        self.skipped = int(checkpoint["skipped"])


class Rounds(lightning.Callback):
    """After each round of training: evaluate on dev, note the metrics and the weights, save, keep the best.

    Args:
        evaluate: gives the dev metrics of the probe.
        metric: the one that picks the best step.
        higher_is_better: of that metric.
        write: takes the history, a row per evaluation.
        save: takes the trainer and whether the step is the best so far.
        advance: takes the step, for the progress bar.
    """

    def __init__(
        self,
        evaluate: Callable[[nn.Module], dict[str, float]],
        metric: str,
        higher_is_better: bool,
        write: Callable[[list[dict[str, Any]]], None],
        save: Callable[[lightning.Trainer, bool], None],
        advance: Callable[[int], None],
    ) -> None:
        self._evaluate, self._metric, self._sign = evaluate, metric, 1.0 if higher_is_better else -1.0
        self._write, self._save, self._advance = write, save, advance
        self.history: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Move the progress bar."""
        self._advance(trainer.global_step)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Evaluate."""
        assert isinstance(pl_module, ProbeModule)
        metrics = self._evaluate(pl_module.probe)
        if self._metric not in metrics:
            raise InputError(f"the dev metrics have no {self._metric!r}", f"pick one of {', '.join(metrics)}")
        best = max((self._sign * row["metrics"][self._metric] for row in self.history), default=-math.inf)
        self.history.append(
            {
                "step": trainer.global_step,
                "loss": pl_module.mean_loss(),
                "skipped": pl_module.skipped,
                "metrics": metrics,
                "weights": pl_module.probe.featurizer.weights.tolist(),
            }
        )
        self._write(self.history)
        value = self._sign * metrics[self._metric]
        self._save(trainer, value > best or len(self.history) == 1)

    def best(self) -> dict[str, Any]:
        """The row of the best evaluation, the earliest of equals."""
        return max(self.history, key=lambda row: self._sign * row["metrics"][self._metric])

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """For Lightning."""
        end_round(checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.history = state_dict["history"]
