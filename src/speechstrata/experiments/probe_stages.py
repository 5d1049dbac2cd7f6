"""Stages that train the SUPERB probes: a corpus for each task, then every model, task and probe seed."""

from collections.abc import Sequence
from pathlib import Path

from speechstrata.errors import InputError
from speechstrata.experiments.config import TASKS, ReproduceConfig
from speechstrata.experiments.family import FamilyModel
from speechstrata.experiments.stages import Stage

#: Mini corpora that are cut out of an aligned corpus by several speakers; the others are spoken by a synthesiser.
_FROM_SPEECH = ("asr", "ks", "sd", "se")


def probe_stages(config: ReproduceConfig, corpus: str, family: Sequence[FamilyModel], output: Path) -> list[Stage]:
    """One stage that makes or finds a task's corpus, and one that trains its probes, for each task."""
    members = [model for model in family if model.cell.comparison == "base"]
    stages = []
    for task in TASKS:
        own = Path(config.probe_corpora) / task if config.probe_corpora else None
        given = own is not None and own.is_dir()
        folder = own if own is not None and given else output / "probe-corpora" / task
        needs: tuple[str, ...] = ("models",)
        if not given:
            stages.append(
                Stage(
                    f"corpus-{task}",
                    f"a mini corpus for {task}",
                    (),
                    lambda task=task, folder=folder: _prepare(task, corpus, folder),  # type: ignore[misc]
                    (f"probe-corpora/{task}/corpus.json",),
                    lambda task=task: [corpus if task in _FROM_SPEECH else ""],  # type: ignore[misc]
                )
            )
            needs = (*needs, f"corpus-{task}")
        stages.append(
            Stage(
                f"probes-{task}",
                f"{task} with {len(members)} models, {config.probe_seeds} probe seeds",
                needs,
                lambda task=task, folder=folder: _train(config, task, folder, members, output),  # type: ignore[misc]
                (f"probes/{task}",),
                lambda folder=folder: [  # type: ignore[misc]
                    str(folder),
                    config.probe_seeds,
                    config.probe_budget,
                    [model.source for model in members],
                ],
            )
        )
    return stages


def _prepare(task: str, corpus: str, folder: Path) -> None:
    from speechstrata.superb.corpora.prepare import prepare_probe_corpus

    if task in _FROM_SPEECH and not corpus:
        raise InputError(f"a mini corpus for {task} is cut out of aligned speech", "give --corpus, or --probe-corpora")
    prepare_probe_corpus(f"mini-{task}", Path(corpus) if task in _FROM_SPEECH else None, folder)


def _train(config: ReproduceConfig, task: str, corpus: Path, members: Sequence[FamilyModel], output: Path) -> None:
    """Train what is not finished yet; the states of a model are computed once for all its seeds."""
    from speechstrata.superb.config import ProbeConfig
    from speechstrata.superb.training import ProbeInputs, train_probe

    for model in members:
        for seed in range(config.probe_seeds):
            train_probe(
                ProbeInputs(task, model.source, str(corpus), str(output / "probes" / "cache")),
                ProbeConfig(seed=seed, budget=config.probe_budget, device=config.device),
                output / "probes" / task / f"{model.cell.name}-s{model.seed}-p{seed}",
            )
