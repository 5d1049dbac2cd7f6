"""Stages that train the SUPERB probes: a corpus for each task, then every model, task and probe seed."""

from collections.abc import Sequence
from pathlib import Path

from speechstrata.errors import InputError, SpeechstrataError
from speechstrata.experiments.analysis_stages import corpus_fingerprint
from speechstrata.experiments.config import TASKS, ReproduceConfig
from speechstrata.experiments.family import FamilyModel
from speechstrata.experiments.stages import Stage
from speechstrata.experiments.statements import BASE
from speechstrata.files import read_text
from speechstrata.superb.names import RANDOM

#: Mini corpora that are cut out of an aligned corpus by several speakers; the others are spoken by a synthesiser.
_FROM_SPEECH = ("asr", "ks", "sd", "se")


def probe_stages(config: ReproduceConfig, corpus: str, family: Sequence[FamilyModel], output: Path) -> list[Stage]:
    """One stage that makes a task's corpus, and one that trains its probes, for each task.

    Besides the models, one with random weights is probed: what a probe learns without them.
    """
    models = [model.source for model in family if model.cell.comparison == "base"]
    models += [f"{model.source}{RANDOM}" for model in family if model.cell.name == BASE][:1]
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
                    lambda task=task: [corpus_fingerprint(corpus) if corpus and task in _FROM_SPEECH else ""],  # type: ignore[misc]
                )
            )
            needs = (*needs, f"corpus-{task}")
        stages.append(
            Stage(
                f"probes-{task}",
                f"{task} with {len(models)} models, {config.probe_seeds} probe seeds",
                needs,
                lambda task=task, folder=folder: _train(config, task, folder, models, output),  # type: ignore[misc]
                (f"probes/{task}",),
                lambda folder=folder: [  # type: ignore[misc]
                    read_text(folder / "corpus.json"),
                    config.probe_seeds,
                    config.probe_budget,
                    models,
                ],
            )
        )
    return stages


def _prepare(task: str, corpus: str, folder: Path) -> None:
    from speechstrata.superb.corpora.prepare import prepare_probe_corpus

    if task in _FROM_SPEECH and not corpus:
        raise InputError(f"a mini corpus for {task} is cut out of aligned speech", "give --corpus, or --probe-corpora")
    prepare_probe_corpus(f"mini-{task}", Path(corpus) if task in _FROM_SPEECH else None, folder)


def _train(config: ReproduceConfig, task: str, corpus: Path, models: Sequence[str], output: Path) -> None:
    """Train what is not finished yet.

    Raises:
        SpeechstrataError: some of the probes could not be trained; the others are.
    """
    from speechstrata.superb.config import ProbeConfig
    from speechstrata.superb.grid import Outcome, plan_grid, run_grid

    errors: list[str] = []

    def note(outcome: Outcome) -> None:
        if outcome.error:
            errors.append(f"{outcome.model}, probe seed {outcome.seed}: {outcome.error}")

    probe = ProbeConfig(budget=config.probe_budget, device=config.device)
    cells = plan_grid(models, [corpus], probe, output / "probes", tasks=[task], seeds=range(config.probe_seeds))
    if failed := run_grid(cells, output / "probes" / task, report=note):
        raise SpeechstrataError(f"{failed} probes of {task} failed, first {errors[0]}", "the same command tries again")
