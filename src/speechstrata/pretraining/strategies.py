"""How a run is spread over processes: one, DDP or FSDP under ``torchrun``."""

import os
from typing import Any, Literal

import torch

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.pretraining.config import PretrainConfig


def processes() -> tuple[int, int, int]:
    """Processes in all, on this host, and hosts, as ``torchrun`` says; (1, 1, 1) without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return world, local, world // local


def accelerator(config: PretrainConfig) -> Literal["cpu", "cuda"]:
    """Where a run computes.

    Raises:
        InputError: a GPU is asked for, or is needed by fp16, and there is none.
    """
    if config.run.accelerator != "cpu" and torch.cuda.is_available():
        return "cuda"
    if config.run.accelerator == "cuda":
        raise InputError("run.accelerator = cuda, but there is no GPU", "set run.accelerator=cpu")
    if config.run.precision == "fp16":
        raise InputError("run.precision = fp16 needs a GPU", "set run.precision=bf16 or fp32")
    return "cpu"


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
        if config.run.precision == "fp16":
            raise InputError("fsdp cannot train in fp16", "set run.precision=bf16, or use run.strategy=ddp")
        if config.optimizer.ema_decay > 0:
            raise InputError("fsdp cannot keep averaged weights", "set optimizer.ema_decay=0, or use run.strategy=ddp")
        from lightning.pytorch.strategies import ModelParallelStrategy

        return ModelParallelStrategy(
            data_parallel_size=world, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    from lightning.pytorch.strategies import DDPStrategy

    # a layer that is dropped, and a frozen extractor, give parameters that have no gradient
    frozen = network.feature_grad_mult == 0 and network.extractor != "log_mel"
    return DDPStrategy(find_unused_parameters=network.layerdrop > 0 or frozen)
