"""``speechstrata reproduce``: the stages of a reproduction, from models to the page, as one resumable graph."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from speechstrata.errors import InputError
from speechstrata.experiments.analysis_stages import (
    MODELS_FILE,
    analysis_runs,
    analysis_stages,
    check_folder_names,
    corpus_fingerprint,
    part_runs,
    part_stages,
    report_stage,
)
from speechstrata.experiments.cells import cells_of, network_of
from speechstrata.experiments.config import ReproduceConfig
from speechstrata.experiments.family import FamilyModel, check_architectures, file_marks, find_family
from speechstrata.experiments.stages import Outcome, Stage, run_stages
from speechstrata.files import sha256_of_file, write_json

#: Audio that costs are computed for.
_COST_SECONDS = 10
COST_FILE, FINDINGS_FILE = "cost.csv", "findings.json"


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
    check_folder_names(analysed)
    family = find_family(config, output)
    scored: list[str] = []
    runs: dict[Path, str] = {}
    if family:
        stages.append(_models_stage(config, family, trained, output))
        for corpus in analysed:
            stages += (own := analysis_stages(config, corpus, family, output))
            scored += [stage.name for stage in own]
            runs |= {output / "analysis" / name: "" for name in analysis_runs(corpus, family)}
            stages.append(report_stage(corpus, family, output))
        if analysed:
            stages += (own := part_stages(config, analysed[0], family, output))
            scored += [stage.name for stage in own]
            runs |= {output / "analysis" / name: analysed[0] for name in part_runs(config, analysed[0])}
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
        lambda: [[model.cell.name, model.seed, model.source, file_marks(Path(model.source))] for model in family],
    )


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
    config: ReproduceConfig, family: Sequence[FamilyModel], needs: Sequence[str], runs: Mapping[Path, str], output: Path
) -> Stage:
    def run() -> None:
        from speechstrata.experiments.gather import gather

        gather(config, family, runs, output)

    def depends_on() -> Any:
        from speechstrata.experiments.score_tables import committed

        others = sorted(Path(config.probe_runs).rglob("result.json")) if config.probe_runs else []
        results = [(str(path), sha256_of_file(path)) for path in others]
        return [config.scale, committed(config.scale).fingerprint(), results]

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
        fingerprint = corpus_fingerprint(primary) if primary else None
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
              lambda: [primary and corpus_fingerprint(primary)]),
        Stage("tables", "Tables 1, 2, 3", ("gather", "cost"), tables, ("tables/table1.pdf", "tables/table3.png")),
        Stage("figures", "Figures 1 to 6", ("statistics",), figures, ("figures",)),
        Stage("page", "the page", ("statistics", "tables", "figures"), page, ("index.html",)),
    ]  # fmt: skip
