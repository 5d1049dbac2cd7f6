"""The data module: loaders over batch numbers, one round of steps at a time."""

import lightning.pytorch as lightning
from torch.utils.data import DataLoader

from speechstrata.pretraining.config import PretrainConfig
from speechstrata.pretraining.dataset import Batch, StepSampler, TrainingBatches, ValidationBatches
from speechstrata.pretraining.prepare import Prepared


class PretrainingData(lightning.LightningDataModule):
    """Batches for a trainer, beginning with the step that it is at.

    Args:
        prepared: the plan and the material.
        config: of the run.
        steps_per_round: steps between checkpoints; Lightning calls such a round an epoch.
    """

    def __init__(self, prepared: Prepared, config: PretrainConfig, steps_per_round: int) -> None:
        super().__init__()
        self._prepared, self._config, self._steps_per_round = prepared, config, steps_per_round

    def train_dataloader(self) -> "DataLoader[Batch]":
        """For Lightning."""
        trainer = self.trainer
        assert trainer is not None
        per_step, workers = self._config.data.batches_per_step, self._config.data.workers
        sampler = StepSampler(
            step=lambda: trainer.global_step,
            until=lambda step: min(step + self._steps_per_round, self._config.optimizer.steps),
            batches_per_step=per_step,
            rank=trainer.global_rank,
            processes=trainer.world_size,
        )
        batches = TrainingBatches(self._prepared.material, self._prepared.plan, per_step)
        return DataLoader(
            batches,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
        )

    def val_dataloader(self) -> "DataLoader[Batch | None]":
        """For Lightning."""
        trainer = self.trainer
        assert trainer is not None
        share = ValidationBatches(
            self._prepared.material, self._prepared.validation, trainer.global_rank, trainer.world_size
        )
        return DataLoader(share, batch_size=None)
