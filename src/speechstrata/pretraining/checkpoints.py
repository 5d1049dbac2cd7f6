"""Checkpoints that a kill, a full disk or a failed write never damages."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from safetensors import SafetensorError
from transformers.utils.logging import disable_progress_bar

from speechstrata.errors import InputError
from speechstrata.files import atomic_path
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.pretraining.module import PretrainingModule
from speechstrata.state_files import read_state, save_state

LAST, BEST = "last.ckpt", "best.ckpt"
_PREFIX = "model."


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the old checkpoint, flushes to the disk, then renames."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """See Lightning's and :func:`speechstrata.state_files.save_state`."""
        save_state(checkpoint, path)


class KeepCheckpoints(lightning.Callback):
    """Saves the last, the best and every n-th checkpoint, at the end of each round of ``checkpoint_every`` steps.

    Args:
        folder: of the checkpoints.
        validate_every: the best one is chosen among the steps that are multiples of this.
        keep_every: keep ``step-<n>.ckpt`` at multiples of this; 0: none.
    """

    def __init__(self, folder: Path, validate_every: int, keep_every: int) -> None:
        self._folder, self._validate_every, self._keep_every = folder, validate_every, keep_every
        self.best_loss = float("inf")
        self.best_step = -1

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save."""
        assert isinstance(pl_module, PretrainingModule)
        step = trainer.global_step
        loss = pl_module.validation_metrics.get("loss")
        is_best = step % self._validate_every == 0 and loss is not None and loss < self.best_loss
        if is_best and loss is not None:
            self.best_loss, self.best_step = loss, step
        last = self._folder / LAST
        trainer.save_checkpoint(last)
        if trainer.is_global_zero:
            if is_best:
                link(last, self._folder / BEST)
            if self._keep_every and step % self._keep_every == 0:
                link(last, self._folder / f"step-{step:07d}.ckpt")

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """For Lightning."""
        end_round(checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"best_loss": self.best_loss, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.best_loss, self.best_step = state_dict["best_loss"], state_dict["best_step"]


def end_round(checkpoint: dict[str, Any]) -> None:
    """Let a checkpoint that is saved at the end of an epoch begin with a new epoch.

    Lightning's own note says "in the middle, after the last batch"; unless validation runs at that very place, a
    resumed run then takes one batch more than an undisturbed one.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    progress.update(dict.fromkeys(progress, 0))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content.

    Raises:
        InputError: it cannot be read.
    """
    return read_state(
        path, f"put another checkpoint of the run in its place ({BEST}, step-*.ckpt), or start afresh without it"
    )


def export_model(checkpoint: Path, network: NetworkConfig, folder: Path) -> None:
    """Write the weights of a checkpoint (their average, where one is kept) as a ``save_pretrained`` folder.

    Raises:
        InputError: the checkpoint cannot be read or is of another network, or ``folder`` cannot be written.
    """
    state = read_checkpoint(checkpoint)["state_dict"]
    with torch.random.fork_rng(devices=[]):
        model = MRHubertForPreTraining(MRHubertConfig(network))
    weights = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{checkpoint} does not fit the run's network: {str(error).splitlines()[-1].strip()}",
            "use the checkpoint with its own run folder",
        ) from error
    partial = folder.with_name(f".{folder.name}.partial")
    disable_progress_bar()  # transformers' own, of a second
    try:
        model.save_pretrained(partial)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"cannot write {folder}: {error}", "free some space and run the same command again; it only writes this"
        ) from error
    for file in sorted(partial.iterdir()):  # config.json comes before model.safetensors, which makes the folder whole
        folder.mkdir(parents=True, exist_ok=True)
        file.replace(folder / file.name)
    partial.rmdir()


def link(source: Path, target: Path) -> None:
    """Let ``target`` be what ``source`` is now, without a copy where the file system can."""
    with atomic_path(target) as partial:
        partial.unlink()
        try:
            os.link(source, partial)
        except OSError:  # no hard links here
            partial.write_bytes(source.read_bytes())
