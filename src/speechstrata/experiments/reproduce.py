"""``speechstrata reproduce``: the stages of a reproduction, from models to the page, as one resumable graph."""

import importlib.util
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata.analysis.config import ALL_SCORES, AnalysisConfig, ComputeConfig, Inputs
from speechstrata.analysis.vectors import PACKAGED_GLOVE
from speechstrata.errors import InputError
from speechstrata.experiments.cells import cells_of, network_of
from speechstrata.experiments.config import ReproduceConfig
from speechstrata.experiments.family import FamilyModel, check_architectures, find_family
from speechstrata.experiments.stages import Outcome, Stage, run_stages
from speechstrata.files import read_json, write_json

#: Audio that costs are computed for.
_COST_SECONDS = 10
#: The cells whose states are averaged in time, as the control for the slower blocks of the others.
_AVERAGED_CELL, _AVERAGED_MS = "b5-a", (40, 80)
_AVERAGED_SCORES = ("cca-phone", "cca-word", "mi-phone", "mi-word", "probe-phone", "abx-phone")
MODELS_FILE, COST_FILE, FINDINGS_FILE = "models.json", "cost.csv", "findings.json"


def reproduce(
    config: ReproduceConfig, corpora: Sequence[str], output: Path, stages: Sequence[str] = ()
) -> list[Outcome]:
    """Run a reproduction, or some of its stages; the same command continues one that was stopped.

    Args:
        config: what is asked for.
        corpora: that are analysed; the findings are decided on the first. At the scale "tiny" the packaged one is
            analysed too.
        output: the folder; ``docs/reproduce.md`` describes it.
        stages: names or groups of the stages to run; all by default.

    Raises:
        InputError: an option that does not fit, an unknown stage, or a stage that needs another.
    """
    graph = build_graph(config, corpora, output)
    write_json(output / "config.json", {"reproduce": asdict(config), "corpora": list(corpora)})
    return run_stages(graph, output, stages)


def build_graph(config: ReproduceConfig, corpora: Sequence[str], output: Path) -> list[Stage]:
    """The stages of a reproduction, each after those that it needs."""
    stages: list[Stage] = []
    trained: list[str] = []
    if config.from_scratch and config.scale == "paper":
        raise InputError(
            "the paper's models are not trained by one command", "leave --from-scratch out: cluster/ has all"
        )
    if config.from_scratch:
        from speechstrata.experiments.training_stages import training_stages

        stages += training_stages(config, corpora[0] if corpora else "", output)
        trained = [stage.name for stage in stages]
    if config.scale == "paper":
        stages.append(_cluster_stage(config, output))
    analysed = list(dict.fromkeys([*corpora, *(["demo"] if config.scale == "tiny" and config.demo else [])]))
    family = find_family(config, output)
    scored: list[str] = []
    runs: list[Path] = []
    if family:
        stages.append(_models_stage(config, family, trained, output))
        for corpus in analysed:
            stages += (own := _analysis_stages(config, corpus, family, output))
            scored += [stage.name for stage in own]
            runs += [output / "analysis" / name for name in analysis_runs(corpus, family)]
        if config.probes:
            from speechstrata.experiments.probe_stages import probe_stages

            stages += (own := probe_stages(config, corpora[0] if corpora else "", family, output))
            scored += [stage.name for stage in own]
    stages.append(_cost_stage(config, output))
    stages.append(_gather_stage(config, family, [*trained, *scored], runs, output))
    reporting = _reporting_stages(config, corpora[0] if corpora else "", output)
    # without models there are scores only where they are committed
    return stages + [stage for stage in reporting if family or config.scale == "tiny" or stage.name == "tables"]


def _cluster_stage(config: ReproduceConfig, output: Path) -> Stage:
    def run() -> None:
        from speechstrata.experiments.cluster import write_cluster

        write_cluster(config, output / "cluster")

    names = ("gpu_tflops", "utilisation", "gpus_per_node", "training_seeds", "probe_seeds")
    return Stage(
        "cluster",
        "recipes, job files and expected GPU hours",
        (),
        run,
        ("cluster/submit.sh", "cluster/plan.csv"),
        lambda: [asdict(config)[name] for name in names],
    )


def _models_stage(config: ReproduceConfig, family: Sequence[FamilyModel], needs: Sequence[str], output: Path) -> Stage:
    return Stage(
        "models",
        "every model opened, its architecture compared with its cell's",
        tuple(needs),
        lambda: write_json(output / MODELS_FILE, check_architectures(family)),
        (MODELS_FILE,),
        lambda: [[model.cell.name, model.seed, model.source] for model in family],
    )


def corpus_folder(corpus: str) -> str:
    """The folder name of a corpus's analyses."""
    return Path(corpus).name.split(".")[0] or "corpus"


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
    averaged = [
        f"averaged:{ms}ms:{model.source}"
        for model in family
        if model.cell.name == _AVERAGED_CELL
        for ms in _AVERAGED_MS
    ]
    if averaged:
        runs[f"{folder}-averaged"] = (averaged, ())
    return runs


def _analysis_stages(config: ReproduceConfig, corpus: str, family: Sequence[FamilyModel], output: Path) -> list[Stage]:
    stages = []
    for name, (models, controls) in analysis_runs(corpus, family).items():
        averaged = name.endswith("-averaged")
        inputs = Inputs(
            models=tuple(models),
            corpus=corpus,
            controls=controls,
            glove=_glove(config),
            agwe=config.agwe or None,
            sts=config.sts or None,
            training_speakers=config.training_speakers or None,
        )
        scores = _AVERAGED_SCORES if averaged else _scores(inputs)
        analysis = AnalysisConfig(scores=scores, sample_sets=config.sample_sets, seed=config.seed)
        stages.append(
            Stage(
                f"analysis-{name}",
                f"scores of {len(models)} models on {corpus}",
                ("models",),
                lambda inputs=inputs, analysis=analysis, name=name: _analyze(  # type: ignore[misc]
                    config, inputs, analysis, output / "analysis" / name
                ),
                (f"analysis/{name}/scores.parquet",),
                lambda inputs=inputs, analysis=analysis: [  # type: ignore[misc]
                    asdict(inputs),
                    asdict(analysis),
                    _corpus_fingerprint(inputs.corpus),
                    [entry["fingerprint"] for entry in read_json(output / MODELS_FILE)],
                ],
            )
        )
    return stages


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


def _corpus_fingerprint(corpus: str) -> str:
    from speechstrata.corpora.corpus import load_corpus

    return load_corpus(corpus, lazy=True).fingerprint


def _cost_stage(config: ReproduceConfig, output: Path) -> Stage:
    def run() -> None:
        from speechstrata.experiments.score_tables import write_csv

        write_csv(cost_table(config.scale), output / COST_FILE)

    return Stage(
        "cost",
        "multiply-accumulates and parameters of every cell",
        (),
        run,
        (COST_FILE,),
        lambda: [network_of(cell).to_dict() for cell in cells_of(config.scale)],
    )


def cost_table(scale: str) -> pl.DataFrame:
    """``cell``, ``parameters``, ``macs_per_second`` of audio, ``seconds`` that it was computed for."""
    from speechstrata.mrhubert.macs import part_costs

    rows = []
    for cell in cells_of(scale):
        network = network_of(cell)
        parts = part_costs(network, _COST_SECONDS * network.sample_rate)
        rows.append(
            {
                "cell": cell.name,
                "parameters": sum(part.parameters for part in parts),
                "macs_per_second": sum(part.macs for part in parts) / _COST_SECONDS,
                "seconds": float(_COST_SECONDS),
            }
        )
    return pl.DataFrame(rows)


def _gather_stage(
    config: ReproduceConfig, family: Sequence[FamilyModel], needs: Sequence[str], runs: Sequence[Path], output: Path
) -> Stage:
    def run() -> None:
        from speechstrata.experiments.gather import gather

        gather(config, family, runs, output)

    def depends_on() -> Any:
        from speechstrata.experiments.score_tables import committed

        others = sorted(map(str, Path(config.probe_runs).rglob("result.json"))) if config.probe_runs else []
        return [config.scale, committed(config.scale).fingerprint(), others]

    return Stage(
        "gather",
        "this run's measurements laid over the committed ones",
        tuple(needs),
        run,
        ("scores.csv", "probes.csv", "probe_weights.csv", "residual.csv"),
        depends_on,
    )


def _reporting_stages(config: ReproduceConfig, primary: str, output: Path) -> list[Stage]:
    def statistics() -> None:
        from speechstrata.experiments.findings import evaluate
        from speechstrata.experiments.gather import read_gathered

        cost = pl.read_csv(output / COST_FILE)
        macs = dict(cost.select("cell", "macs_per_second").rows())
        fingerprint = _corpus_fingerprint(primary) if primary else None
        write_json(output / FINDINGS_FILE, evaluate(config.scale, read_gathered(output), macs, fingerprint))

    def tables() -> None:
        from speechstrata.experiments.paper_tables import table_1, table_2, table_3, write_tables

        cost = pl.read_csv(output / COST_FILE)
        probes, residual = (pl.read_csv(output / f"{name}.csv") for name in ("probes", "residual"))
        write_tables(
            [table_1(config.scale, cost), table_2(config.scale, probes), table_3(config.scale, residual)],
            output / "tables",
        )

    def figures() -> None:
        from speechstrata.report.paper_figures import write_paper_figures

        write_paper_figures(output)

    def page() -> None:
        from speechstrata.report.paper_page import write_paper_page

        write_paper_page(output)

    return [
        Stage("statistics", "claims, intervals, verdicts", ("gather", "cost"), statistics, (FINDINGS_FILE,),
              lambda: [primary and _corpus_fingerprint(primary)]),
        Stage("tables", "Tables 1, 2, 3", ("gather", "cost"), tables, ("tables/table1.pdf", "tables/table3.png")),
        Stage("figures", "Figures 1 to 6", ("statistics",), figures, ("figures",)),
        Stage("page", "the page", ("statistics", "tables", "figures"), page, ("index.html",)),
    ]  # fmt: skip
