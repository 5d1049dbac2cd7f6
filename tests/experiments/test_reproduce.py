from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lhotse import CutSet

from speechstrata.encoders.registry import PACKAGED_NAMES
from speechstrata.errors import InputError
from speechstrata.experiments import analysis_stages
from speechstrata.experiments import reproduce as module
from speechstrata.experiments.analysis_stages import analysis_runs
from speechstrata.experiments.cells import CELLS, PACKAGED_SEED, layer_blocks, network_of
from speechstrata.experiments.config import ReproduceConfig
from speechstrata.experiments.family import FamilyModel, check_architectures, find_family
from speechstrata.experiments.reproduce import build_graph, cost_table, reproduce
from speechstrata.files import read_json
from tests.pretraining.conftest import tone_cut
from tests.report.synthetic_runs import SyntheticModel, fbank, network_layers, random_of, write_run

SCORES = ("cca-mel", "cca-phone", "cca-word", "cca-glove", "mi-phone", "mi-word")
NETWORKS = {cell.recipe: cell.network for cell in CELLS["tiny"]}


def _fake_analyze(calls: list[Path]) -> Any:
    """In place of the analysis: scores that are invented, of the models that were asked for."""

    def analyze(config: ReproduceConfig, inputs: Any, analysis: Any, folder: Path) -> None:
        calls.append(folder)
        models = []
        for source in inputs.models:
            name = Path(source.rpartition(":")[2]).name.removesuffix("-s2")
            models.append(SyntheticModel(source, network_layers(NETWORKS[name]), scores=SCORES))
        controls = [random_of(model) for model in models] + [fbank(SCORES)] if inputs.controls else []
        write_run(folder, [*models, *controls], corpus=Path(inputs.corpus).name, sets=analysis.sample_sets)

    return analyze


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Folders with the names of a family of two seeds."""
    for cell in CELLS["tiny"]:
        for suffix in ("", "-s2") if cell.comparison == "base" else ("",):
            (tmp_path / "models" / f"{cell.recipe}{suffix}").mkdir(parents=True)
    return tmp_path / "models"


def test_a_reproduction_from_models_to_tables(tmp_path, models, monkeypatch):
    calls: list[Path] = []
    monkeypatch.setattr(analysis_stages, "_analyze", _fake_analyze(calls))
    monkeypatch.setattr(
        module, "check_architectures", lambda family: [{"fingerprint": model.source} for model in family]
    )
    output, config = tmp_path / "out", ReproduceConfig(models=str(models), glove="x.txt")
    wanted = ["models", "analysis", "cost", "gather", "statistics", "tables"]
    states = {outcome.stage: outcome.state for outcome in reproduce(config, [], output, wanted)}
    assert set(states.values()) == {"done"}
    assert sorted(path.name for path in calls) == ["demo", "demo-averaged", "demo-seed2"]
    found = read_json(output / "findings.json")
    assert found["design"]["seeds"] == [1, 2]
    statistic = found["findings"][0]["statistics"][0]
    assert (statistic["n_seeds"], statistic["n_sample_sets"]) == (2, 3)
    scores = pl.read_csv(output / "scores.csv", infer_schema_length=None)
    assert set(scores["source"]) == {"this run"}
    assert {"averaged-40ms", "averaged-80ms", "random", "fbank"} <= set(scores["control"].drop_nulls())
    for name in ("table1", "table2", "table3"):
        for suffix in ("csv", "tex", "pdf", "png"):
            assert (output / "tables" / f"{name}.{suffix}").stat().st_size > 100
    assert {outcome.state for outcome in reproduce(config, [], output, wanted)} == {"served"}


def test_parts_by_speakers_are_analysed_and_gathered(tmp_path, models, monkeypatch):
    calls: list[Path] = []
    monkeypatch.setattr(analysis_stages, "_analyze", _fake_analyze(calls))
    monkeypatch.setattr(
        module, "check_architectures", lambda family: [{"fingerprint": model.source} for model in family]
    )
    rng = np.random.default_rng(0)
    cuts = [tone_cut(tmp_path, f"u{n}", f"s{n % 4}", ["A", "E", "S"], rng) for n in range(8)]
    manifest = tmp_path / "spoken.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(manifest)
    config = ReproduceConfig(models=str(models), speaker_groups=2, demo=False, glove="x")
    output = tmp_path / "out"
    outcomes = reproduce(config, [str(manifest)], output, ["models", "speakers", "analysis", "gather"])
    assert {outcome.state for outcome in outcomes} == {"done"}
    assert {"spoken-speakers1", "spoken-speakers2"} <= {path.name for path in calls}
    scores = pl.read_csv(output / "scores.csv", infer_schema_length=None)
    parts = scores.filter(pl.col("part_of").fill_null("") != "")
    assert parts["corpus_fingerprint"].n_unique() == 2
    assert "large-hubert" not in set(parts["cell"])


def test_a_missing_model_is_one_failed_stage(tmp_path):
    outcomes = reproduce(ReproduceConfig(models=str(_empty_models(tmp_path))), [], tmp_path / "out", ["models", "cost"])
    assert {outcome.stage: outcome.state for outcome in outcomes} == {"models": "failed", "cost": "done"}


def test_replaced_weights_are_noticed(tmp_path, models, monkeypatch):
    monkeypatch.setattr(
        module, "check_architectures", lambda family: [{"fingerprint": model.source} for model in family]
    )
    config = ReproduceConfig(models=str(models))
    weights = models / "tiny-b4-a" / "model.safetensors"
    weights.write_bytes(b"before")
    states = [reproduce(config, [], tmp_path / "out", ["models"])[0].state for _ in range(2)]
    weights.write_bytes(b"after")
    states.append(reproduce(config, [], tmp_path / "out", ["models"])[0].state)
    assert states == ["done", "served", "done"]


@pytest.mark.parametrize("corpora", [["a/clean", "b/clean"], ["clean.jsonl.gz", "x/clean"], ["elsewhere/demo"]])
def test_corpora_of_one_name_are_refused(tmp_path, corpora):
    with pytest.raises(InputError, match="would share the folder"):
        build_graph(ReproduceConfig(), corpora, tmp_path)


def test_the_packaged_corpus_by_its_name_is_no_second_corpus(tmp_path):
    build_graph(ReproduceConfig(), ["demo"], tmp_path)


def _empty_models(tmp_path: Path) -> Path:
    (tmp_path / "models" / "tiny-hubert").mkdir(parents=True)
    return tmp_path / "models"


def test_family_comes_from_where_it_is_said_to_be(tmp_path, models):
    packaged = find_family(ReproduceConfig(), tmp_path)
    assert {model.source for model in packaged} == set(PACKAGED_NAMES)
    assert {model.seed for model in packaged} == {PACKAGED_SEED}
    given = find_family(ReproduceConfig(models=str(models)), tmp_path)
    assert [model.seed for model in given if model.cell.name == "b5-a"] == [1, 2]
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt" / "b5-a.pt").write_bytes(b"")
    (tmp_path / "ckpt" / "mono_base.pt").write_bytes(b"")
    released = find_family(ReproduceConfig(scale="paper", checkpoints=str(tmp_path / "ckpt")), tmp_path)
    assert [model.cell.name for model in released] == ["mrhubert-base", "b5-a"]
    trained = find_family(ReproduceConfig(scale="small", from_scratch=True, training_seeds=2), tmp_path)
    assert [Path(model.source).parent.name for model in trained[:2]] == ["small-hubert-s1", "small-hubert-s2"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ReproduceConfig(models="no-such-folder"), "no folder no-such-folder"),
        (ReproduceConfig(scale="paper", checkpoints="no-such-folder"), "no folder"),
        (ReproduceConfig(scale="small"), "no packaged models"),
        (ReproduceConfig(from_scratch=True), "needs a corpus"),
        (ReproduceConfig(scale="paper", from_scratch=True), "not trained by one command"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, config, message):
    with pytest.raises(InputError, match=message):
        build_graph(config, [], tmp_path)


@pytest.mark.parametrize("scale", list(CELLS))
def test_cells_are_what_table_1_says(scale):
    for cell in CELLS[scale]:
        network = network_of(cell)
        assert network.layers == cell.layers
        strides = {layer["stride_ms"] for layer in network_layers(cell.network)} if not cell.overrides else None
        resolutions = [20.0 * 2**step for step in range(len(cell.resolutions_ms))]
        assert list(cell.resolutions_ms) == resolutions
        if strides is not None:
            assert {stride for stride in strides if stride >= 20} == set(resolutions)
        assert (network.head_count > 1) == cell.auxiliary
        assert any(up != down for up, down in network.ratios) == cell.downsampling
        assert ("middle" in layer_blocks(cell).values()) == (len(cell.layers) > 1)


def test_downsampling_costs_less():
    costs = dict(cost_table("tiny").select("cell", "macs_per_second").rows())
    assert costs["b2-a"] < costs["mrhubert-base"] == costs["b4-a"] < costs["b5-a"] == costs["neither"]


def test_architectures_are_checked_by_their_weights_configuration(tmp_path):
    from speechstrata.mrhubert.configuration import MRHubertConfig
    from speechstrata.mrhubert.model import MRHubertModel

    cells = {cell.name: cell for cell in CELLS["tiny"]}
    small = {"dim": 32, "ffn_dim": 64, "heads": 2}
    MRHubertModel(MRHubertConfig(replace(network_of(cells["b5-a"]), **small))).save_pretrained(tmp_path / "x")
    source = str(tmp_path / "x")
    entry = check_architectures([FamilyModel(cells["b5-a"], 1, source)])[0]
    assert entry["cell"] == "b5-a"
    with pytest.raises(InputError, match="no MR-HuBERT B4-a"):
        check_architectures([FamilyModel(cells["b4-a"], 1, source)])


def test_every_model_is_analysed_once_and_controls_once_a_cell(tmp_path, models):
    family = find_family(ReproduceConfig(models=str(models)), tmp_path)
    runs = analysis_runs("corpora/queen", family)
    assert sorted(runs) == ["queen", "queen-averaged", "queen-seed2"]
    sources = [source for name in ("queen", "queen-seed2") for source in runs[name][0]]
    assert sorted(sources) == sorted(model.source for model in family)
    assert runs["queen"][1] == ("fbank", "random")
    assert runs["queen-seed2"][1] == ()
