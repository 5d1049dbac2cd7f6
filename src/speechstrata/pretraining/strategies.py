"""How a run is spread over processes: one, DDP or FSDP under ``torchrun``."""

import os
from typing import Any

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.pretraining.config import PretrainConfig


def processes() -> tuple[int, int, int]:
    """Processes in all, on this host, and hosts, as ``torchrun`` says; (1, 1, 1) without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return world, local, world // local


def choose_strategy(config: PretrainConfig, network: NetworkConfig, world: int) -> Any:
    """Lightning's strategy for ``config``.

    Raises:
        InputError: a strategy that cannot train this network.
    """
    if world == 1:
        if config.run.strategy != "auto":
            raise InputError(f"run.strategy = {config.run.strategy} in one process", "start the run with torchrun")
        return "auto"
    if config.run.strategy == "fsdp":
        if network.layerdrop > 0:
            raise InputError(
                "fsdp cannot train with layerdrop: processes would skip different layers and wait for each other",
                "set model.layerdrop=0, or use run.strategy=ddp",
            )
        if config.optimizer.ema_decay > 0:
            raise InputError("fsdp cannot keep averaged weights", "set optimizer.ema_decay=0, or use run.strategy=ddp")
        from lightning.pytorch.strategies import ModelParallelStrategy

        return ModelParallelStrategy(
            data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    from lightning.pytorch.strategies import DDPStrategy

    return DDPStrategy(find_unused_parameters=network.layerdrop > 0)
