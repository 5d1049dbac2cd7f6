"""Stages that score every layer of every model on every corpus, on its parts by speakers, and averaged in time."""

import importlib.util
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from speechstrata.analysis.config import ALL_SCORES, AnalysisConfig, ComputeConfig, Inputs
from speechstrata.analysis.vectors import PACKAGED_GLOVE
from speechstrata.errors import InputError
from speechstrata.experiments.config import ReproduceConfig
from speechstrata.experiments.family import FamilyModel
from speechstrata.experiments.stages import Stage
from speechstrata.files import read_json

MODELS_FILE = "models.json"
#: The cell whose states are averaged in time, as the control for the slower blocks of the others.
_AVERAGED_CELL, _AVERAGED_MS = "b5-a", (40, 80)
#: What is scored of averaged models, and on a corpus's parts, which hold too few words for the others.
_AVERAGED_SCORES = ("cca-phone", "cca-word", "mi-phone", "mi-word", "probe-phone", "abx-phone")
_PART_SCORES = ("cca-phone", "cca-word", "mi-phone", "cka-phone", "probe-phone")


def corpus_folder(corpus: str) -> str:
    """The folder name of a corpus's analyses."""
    return Path(corpus).name.split(".")[0] or "corpus"


def check_folder_names(corpora: Sequence[str]) -> None:
    """Every corpus needs folders of its own.

    Raises:
        InputError: two go by one name.
    """
    named: dict[str, str] = {}
    for corpus in corpora:
        other = named.setdefault(corpus_folder(corpus), corpus)
        if other != corpus:
            raise InputError(
                f"the corpora {other} and {corpus} would share the folder analysis/{corpus_folder(corpus)}",
                "rename one of them (without the packaged corpus: --demo false)",
            )


def analysis_runs(corpus: str, family: Sequence[FamilyModel]) -> dict[str, tuple[list[str], tuple[str, ...]]]:
    """Run folder -> (models, controls): each cell's first seed with controls, the further seeds, averaged models."""
    folder = corpus_folder(corpus)
    first: dict[str, int] = {}
    for model in family:
        first[model.cell.name] = min(model.seed, first.get(model.cell.name, model.seed))
    runs: dict[str, tuple[list[str], tuple[str, ...]]] = {folder: ([], ("fbank", "random"))}
    for model in family:
        if model.seed == first[model.cell.name]:
            runs[folder][0].append(model.source)
        else:
            runs.setdefault(f"{folder}-seed{model.seed}", ([], ()))[0].append(model.source)
    whole = [model.source for model in family if model.cell.name == _AVERAGED_CELL]
    averaged = [f"averaged:{ms}ms:{source}" for source in whole for ms in _AVERAGED_MS]
    if averaged:
        runs[f"{folder}-averaged"] = (averaged, ())
    return runs


def analysis_stages(config: ReproduceConfig, corpus: str, family: Sequence[FamilyModel], output: Path) -> list[Stage]:
    """The stages of one corpus."""
    stages = []
    for name, (models, controls) in analysis_runs(corpus, family).items():
        inputs = Inputs(
            models=tuple(models),
            corpus=corpus,
            controls=controls,
            glove=_glove(config),
            agwe=config.agwe or None,
            sts=config.sts or None,
            training_speakers=config.training_speakers or None,
        )
        scores = _AVERAGED_SCORES if name.endswith("-averaged") else _scores(inputs)
        stages.append(_stage(config, name, inputs, scores, ("models",), output))
    return stages


def report_stage(corpus: str, family: Sequence[FamilyModel], output: Path) -> Stage:
    """The usual report on a corpus's runs: every score, control and further measure, and what exceeds the controls."""
    folder, names = corpus_folder(corpus), list(analysis_runs(corpus, family))

    def run() -> None:
        from speechstrata.report.compare import build_report

        build_report([output / "analysis" / name for name in names], output / "reports" / folder)

    needs = tuple(f"analysis-{name}" for name in names)
    return Stage(f"report-{folder}", f"all scores on {corpus}", needs, run, (f"reports/{folder}/index.html",))


def part_runs(config: ReproduceConfig, corpus: str) -> list[str]:
    """The run folders of a corpus's parts by speakers."""
    return [f"{corpus_folder(corpus)}-speakers{number + 1}" for number in range(config.speaker_groups)]


def part_stages(config: ReproduceConfig, corpus: str, family: Sequence[FamilyModel], output: Path) -> list[Stage]:
    """One stage that cuts a corpus into parts by speakers, and one that scores all models on each."""
    from speechstrata.experiments.speakers import part_file, write_parts

    folder, names = corpus_folder(corpus), part_runs(config, corpus)
    if not names:
        return []
    files = [part_file(output, folder, number) for number in range(len(names))]
    cutting = Stage(
        f"speakers-{folder}",
        f"{corpus} in {len(names)} parts by speakers",
        (),
        lambda: write_parts(corpus, folder, len(names), output),
        tuple(str(file.relative_to(output)) for file in files),
        lambda: [corpus_fingerprint(corpus), len(names)],
    )
    models = tuple(model.source for model in family if model.cell.comparison == "base")
    scoring = [
        _stage(config, name, Inputs(models, str(file), controls=()), _PART_SCORES, ("models", cutting.name), output)
        for name, file in zip(names, files, strict=True)
    ]
    return [cutting, *scoring]


def corpus_fingerprint(corpus: str) -> str:
    """Of a corpus's content."""
    from speechstrata.corpora.corpus import load_corpus

    return load_corpus(corpus, lazy=True).fingerprint


def _stage(
    config: ReproduceConfig, name: str, inputs: Inputs, scores: tuple[str, ...], needs: tuple[str, ...], output: Path
) -> Stage:
    analysis = AnalysisConfig(scores=scores, sample_sets=config.sample_sets, seed=config.seed)
    return Stage(
        f"analysis-{name}",
        f"scores of {len(inputs.models)} models on {inputs.corpus}",
        needs,
        lambda: _analyze(config, inputs, analysis, output / "analysis" / name),
        (f"analysis/{name}/scores.parquet",),
        lambda: [
            asdict(inputs),
            asdict(analysis),
            corpus_fingerprint(inputs.corpus),
            [entry["fingerprint"] for entry in read_json(output / MODELS_FILE)],
        ],
    )


def _analyze(config: ReproduceConfig, inputs: Inputs, analysis: AnalysisConfig, folder: Path) -> None:
    from speechstrata.analysis.suite import analyze

    compute = ComputeConfig(
        device=config.device,
        dtype=config.dtype,
        batch_seconds=config.batch_seconds,
        score_workers=config.score_workers,
    )
    analyze(inputs, analysis, compute, folder)


def _glove(config: ReproduceConfig) -> str | None:
    if config.glove != "auto":
        return config.glove or None
    return PACKAGED_GLOVE if importlib.util.find_spec(PACKAGED_GLOVE.replace("-", "_")) else None


def _scores(inputs: Inputs) -> tuple[str, ...]:
    """All scores that there is material for."""
    lacking = {"cca-inter"}
    lacking |= {name for name, given in (("cca-glove", inputs.glove), ("cca-agwe", inputs.agwe)) if given is None}
    if inputs.sts is None:
        lacking.add("spoken-sts")
    return tuple(score for score in ALL_SCORES if score not in lacking)
