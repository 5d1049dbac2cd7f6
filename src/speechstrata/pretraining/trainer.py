"""``speechstrata pretrain``: a recipe, a corpus and its units to a trained model, resumable at any moment.

One process:    speechstrata pretrain tiny-mrhubert-base --corpus C --targets T --output RUN
Several:        torchrun --nproc-per-node 8 -m speechstrata pretrain base --corpus C --targets T --output RUN
"""

import logging
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from speechstrata.errors import InputError, require
from speechstrata.files import LOCK_FILE, hold, read_json, write_json, write_text
from speechstrata.pretraining.config import Intervals, PretrainConfig
from speechstrata.pretraining.recipes import config_from, load_recipe, recipe_text

#: Settings that do not change what is learned: a run may be continued with others.
_FREE = {
    "about",
    "data.workers",
    "run.keep_every",
    "run.strategy",
    "run.accelerator",
    "run.wandb_project",
    "run.cache_folder",
}


def pretrain(
    recipe: str | Path,
    output: Path | str,
    *,
    corpus: str | None = None,
    targets: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Path:
    """Train a model, or continue where an earlier call with the same arguments stopped.

    Args:
        recipe: a packaged recipe's name or a YAML file.
        output: the run's folder: ``config.yaml`` (a recipe that makes this run), ``run.json`` (versions, fingerprints),
            ``train.csv`` and ``validation.csv`` (curves), ``tensorboard/``, ``checkpoints/``, ``summary.json`` and
            ``model/`` (a ``save_pretrained`` folder, for ``load_encoder`` and ``analyze``).
        corpus: a prepared corpus; overrides the recipe's.
        targets: folders of units; override the recipe's.
        overrides: ``section.key=value`` settings.

    Returns:
        ``output``.

    Raises:
        InputError: a recipe, corpus or targets that cannot be used, or a folder that holds another run or that another
            process writes to.
        SpeechstrataError: the loss became NaN or infinite, or a checkpoint could not be written.
    """
    config = resolve(recipe, corpus=corpus, targets=targets, overrides=overrides)
    return pretrain_cuts(config, load_cuts(config), output)


def resolve(
    recipe: str | Path, *, corpus: str | None = None, targets: Sequence[str] = (), overrides: Sequence[str] = ()
) -> PretrainConfig:
    """The configuration that the arguments of :func:`pretrain` mean."""
    config = load_recipe(recipe, overrides)
    data = config.data
    if corpus is not None:
        data = replace(data, corpus=corpus)
    if targets:
        data = replace(data, targets=tuple(str(folder) for folder in targets))
    return replace(config, data=data)


def load_cuts(config: PretrainConfig) -> Iterable[Any]:
    """The cuts of the recipe's corpus, read from the disk each time that they are gone through.

    Raises:
        InputError: the recipe names none.
        CorpusError: it cannot be read.
    """
    if not config.data.corpus:
        raise InputError("data.corpus is empty", "give --corpus")
    from speechstrata.corpora.corpus import load_corpus

    return cast(Iterable[Any], load_corpus(config.data.corpus, lazy=True).cuts)


def pretrain_cuts(config: PretrainConfig, cuts: Iterable[Any], output: Path | str) -> Path:
    """:func:`pretrain` for lhotse cuts at hand."""
    output = Path(output)
    with hold(output / LOCK_FILE) if _rank() == 0 else nullcontext():  # all processes of one run share the folder
        _pretrain(config, cuts, output)
    return output


def _pretrain(config: PretrainConfig, cuts: Iterable[Any], output: Path) -> None:
    require("lightning", "train", "pre-training")
    import lightning.pytorch as lightning

    from speechstrata.pretraining.checkpoints import LAST, export_model, read_checkpoint
    from speechstrata.pretraining.prepare import prepare

    quieten()
    steps = config.optimizer.steps
    last = output / "checkpoints" / LAST
    _claim(output, config)
    prepared = prepare(config, cuts, Path(config.run.cache_folder or output.parent / "cache"))
    main = _rank() == 0
    if main:
        _record(output, prepared)
    resume_step = int(read_checkpoint(last)["global_step"]) if last.exists() else 0
    if resume_step < steps:
        began = time.perf_counter()
        summary = _fit(lightning, config, prepared, output, resume_step)
        if main:
            summary |= {"wall_seconds": time.perf_counter() - began, "from_step": resume_step}
            write_json(output / "summary.json", summary)
    if main:
        export_model(last, prepared.network, output / "model")


def _fit(lightning: Any, config: PretrainConfig, prepared: Any, output: Path, resume_step: int) -> dict[str, Any]:
    """Train to the last step; gives what was measured."""
    from speechstrata.pretraining.callbacks import Progress, WaitClock
    from speechstrata.pretraining.checkpoints import LAST, AtomicCheckpointIO, KeepCheckpoints
    from speechstrata.pretraining.curves import CurveLogger
    from speechstrata.pretraining.data import PretrainingData
    from speechstrata.pretraining.module import PretrainingModule
    from speechstrata.pretraining.strategies import accelerator, choose_strategy, processes

    intervals = Intervals.of(config)
    world, local, hosts = processes()
    if config.data.batches_per_step % world:
        raise InputError(
            f"{config.data.batches_per_step} batches per step cannot be shared by {world} processes",
            "set data.batches_per_step to a multiple of the number of processes",
        )
    module = PretrainingModule(config, prepared.network, output)
    keep = KeepCheckpoints(output / "checkpoints", intervals.validate, intervals.keep)
    clock = WaitClock()
    progress = Progress(config.optimizer.steps, resume_step)
    callbacks: list[Any] = [progress, keep]
    if config.optimizer.ema_decay > 0:
        from lightning.pytorch.callbacks import EMAWeightAveraging

        callbacks.insert(0, EMAWeightAveraging(decay=config.optimizer.ema_decay))
    trainer = lightning.Trainer(
        accelerator=accelerator(config),
        devices=local,
        num_nodes=hosts,
        strategy=choose_strategy(config, prepared.network, world),
        precision={"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[config.run.precision],
        max_steps=config.optimizer.steps,
        max_epochs=-1,
        accumulate_grad_batches=config.data.batches_per_step // world,
        check_val_every_n_epoch=intervals.validate // intervals.checkpoint,
        limit_val_batches=1.0 if prepared.validation else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=[CurveLogger(output, resume_step), *_other_loggers(config, output, resume_step)],
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        profiler=clock,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=output,
    )
    data = PretrainingData(prepared, config, intervals.checkpoint)
    last = output / "checkpoints" / LAST
    trainer.fit(module, datamodule=data, ckpt_path=last if resume_step else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    return progress.summary() | {
        "steps": config.optimizer.steps,
        "data_wait_share": clock.waited / max(progress.seconds, 1e-9),
        "best_step": keep.best_step,
        "validation": module.validation_metrics,
    }


def _other_loggers(config: PretrainConfig, output: Path, resume_step: int) -> list[Any]:
    from lightning.pytorch.loggers import TensorBoardLogger

    loggers: list[Any] = [
        TensorBoardLogger(output, name="", version="tensorboard", purge_step=resume_step + 1 if resume_step else None)
    ]
    if config.run.wandb_project:
        require("wandb", "train", "run.wandb_project")
        from lightning.pytorch.loggers import WandbLogger

        loggers.append(WandbLogger(name=output.name, id=output.name, project=config.run.wandb_project, resume="allow"))
    return loggers


def _claim(output: Path, config: PretrainConfig) -> None:
    """Make ``output`` this run's folder, unless it is another run's."""
    path = output / "config.yaml"
    if path.exists():
        import yaml

        theirs = config_from(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
        if different := sorted(_differences(theirs, config) - _FREE):
            raise InputError(
                f"{output} holds a run with other settings: {', '.join(different)}",
                "continue with the same settings (its config.yaml is a recipe), or choose another --output",
            )
    elif _rank() == 0:
        write_text(path, recipe_text(config))


def _differences(left: Any, right: Any, prefix: str = "") -> set[str]:
    """Dotted names of the settings that differ."""
    from dataclasses import fields, is_dataclass

    if not is_dataclass(left):
        return set() if _plain(left) == _plain(right) else {prefix.rstrip(".")}
    found: set[str] = set()
    for field in fields(left):
        found |= _differences(getattr(left, field.name), getattr(right, field.name), f"{prefix}{field.name}.")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _record(output: Path, prepared: Any) -> None:
    """Write where the run comes from, or check that a continued run still comes from there."""
    from importlib import metadata

    from speechstrata.provenance import provenance

    path = output / "run.json"
    if path.exists():
        if (before := read_json(path)["fingerprints"]) != prepared.fingerprints:
            changed = ", ".join(name for name in before if before[name] != prepared.fingerprints.get(name))
            raise InputError(f"the {changed} of the run in {output} changed", "restore it, or choose another --output")
        return
    config, plan = prepared.config, prepared.plan
    origin = provenance([config.seed])
    origin["packages"]["lightning"] = metadata.version("lightning")
    write_json(
        path,
        {
            **origin,
            "fingerprints": prepared.fingerprints,
            "network": prepared.network.to_dict(),
            "training": {
                "utterances": len(plan.utterances),
                "hours": plan.seconds / 3600,
                "batches_per_epoch": plan.batches_per_epoch,
            },
            "speakers": {
                "train": sorted(prepared.split.train),
                "validation": sorted(prepared.split.validation),
                "test": sorted(prepared.split.test),
            },
            "left_out": prepared.left_out,
        },
    )


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def quieten() -> None:
    """Lightning's notes are about choices that are made here on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
