"""What is shown and measured while a run trains."""

import time
from typing import Any

import lightning.pytorch as lightning
from lightning.pytorch.profilers import Profiler

from speechstrata.pretraining.dataset import Batch
from speechstrata.progress import ProgressBar


class WaitClock(Profiler):
    """Measures how long the training loop waits for its next batch.

    Attributes:
        waited: seconds so far.
    """

    _ACTION = "[_TrainingEpochLoop].train_dataloader_next"

    def __init__(self) -> None:
        super().__init__()
        self.waited = 0.0
        self._began = 0.0

    def start(self, action_name: str) -> None:
        """For Lightning."""
        if action_name == self._ACTION:
            self._began = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """For Lightning."""
        if action_name == self._ACTION:
            self.waited += time.perf_counter() - self._began


class Progress(lightning.Callback):
    """The progress bar, and the speed: seconds of audio per second of training, validation and checkpoints left out.

    Attributes:
        seconds: spent in training steps and waiting for their data.
        audio_seconds: trained on by this process.
    """

    def __init__(self, steps: int, done: int) -> None:
        self._steps, self._done = steps, done
        self._bar: ProgressBar | None = None
        self._mark = 0.0
        self.seconds = 0.0
        self.audio_seconds = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Show the bar, on one process."""
        if trainer.is_global_zero:
            self._bar = ProgressBar("training", total=self._steps, unit="steps")
            self._bar.__enter__()
            self._bar.advance(self._done)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._mark = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count."""
        now = time.perf_counter()
        self.seconds += now - self._mark
        self._mark = now
        self.audio_seconds += batch.seconds
        if self._bar is not None and (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._bar.advance()

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away before the error is shown."""
        self.teardown(trainer, pl_module, "fit")

    def summary(self) -> dict[str, float]:
        """Of this process, for ``summary.json``."""
        return {
            "train_seconds": self.seconds,
            "audio_hours": self.audio_seconds / 3600,
            "real_time_factor": self.audio_seconds / max(self.seconds, 1e-9),
        }
