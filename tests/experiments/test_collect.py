from pathlib import Path

import polars as pl
import pytest

from speechstrata.errors import InputError
from speechstrata.experiments.cells import CELLS
from speechstrata.experiments.collect import Members, collect, residual_rows, score_rows
from speechstrata.experiments.score_tables import (
    TABLES,
    Measurements,
    checked,
    committed,
    empty,
    laid_over,
    read_folder,
    write_folder,
)
from speechstrata.files import write_json, write_text
from tests.report.synthetic_runs import SyntheticModel, fbank, network_layers, random_of, write_run

from .synthetic import tables

SCORES = ("cca-word", "cca-glove")


def _model(name: str, network: str = "tiny") -> SyntheticModel:
    return SyntheticModel(name, network_layers(network), scores=SCORES)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """What ``pretrain`` leaves of two residual variants."""
    for recipe, seed, loss in (("tiny-mrhubert-base", 1, 6.8), ("tiny-pre", 2, 6.7), ("tiny-b5-a", 3, 6.6)):
        folder = tmp_path / f"{recipe}-s{seed}"
        write_text(folder / "config.yaml", f"name: {recipe}\nseed: {seed}\n")
        write_text(folder / "validation.csv", f"step,loss\n100,9.0\n200,{loss}\n")
        write_text(folder / "train.csv", "step,loss\n50,9.5\n200,7.1\n")
        (folder / "model").mkdir()
    return tmp_path


def test_members_are_known_by_packaged_name_recipe_or_word(training):
    members = Members("tiny", {"elsewhere/x": ("hubert", 9)})
    known = {
        "tiny-b4-a": ("b4-a", 1),
        str(training / "tiny-b5-a-s3" / "model"): ("b5-a", 3),
        str(training / "tiny-b5-a-s3"): ("b5-a", 3),
        "elsewhere/x": ("hubert", 9),
        "copies/tiny-neither-s4": ("neither", 4),
        "copies/tiny-neither-s4/model": ("neither", 4),
    }
    for name, (cell, seed) in known.items():
        member = members.find(name)
        assert member is not None
        assert (member.cell.name, member.seed) == (cell, seed)
    assert members.find("moonshine-tiny") is None
    with pytest.raises(InputError, match="hubert"):
        Members("tiny", {"x": ("no-such-cell", 1)}).find("x")


def test_scores_of_a_run_with_its_controls(tmp_path, training):
    source = str(training / "tiny-b5-a-s3" / "model")
    base = _model("tiny-mrhubert-base")
    models = [base, random_of(base), _model(source, "tiny-b5-a"), _model("moonshine-tiny"), fbank(SCORES),
              _model(f"averaged:40ms:{source}", "tiny-b5-a")]  # fmt: skip
    table = score_rows(write_run(tmp_path / "run", models, sets=2), Members("tiny"))
    groups = set(table.select("cell", "control", "training_seed").unique().rows())
    assert groups == {
        ("mrhubert-base", "", 1),
        ("mrhubert-base", "random", 1),
        ("b5-a", "", 3),
        ("b5-a", "averaged-40ms", 3),
        ("", "fbank", 0),
    }
    blocks = dict(table.filter(pl.col("cell") == "b5-a").select("layer", "block").rows())
    assert (blocks["T2"], blocks["D0"], blocks["T4"], blocks["up0"]) == ("encoder0", "middle", "middle", "decoder0")
    assert not any("/" in name for name in table["model"])


def test_values_are_those_of_the_run(tmp_path):
    run = write_run(tmp_path / "run", [_model("tiny-b4-a", "tiny-b4-a")], sets=2)
    table = score_rows(run, Members("tiny"))
    there = pl.read_parquet(run / "scores.parquet")
    keys = ["layer", "score", "variant", "sample_set"]
    joined = table.join(there, on=keys, suffix="_there")
    assert len(joined) == len(there) == len(table)
    assert (joined["value"] == joined["value_there"]).all()


def test_losses_of_the_residual_variants(training):
    table = residual_rows(sorted(training.iterdir()), "tiny")
    assert table.rows() == [("post", 1, 200, 6.8, 7.1), ("pre", 2, 200, 6.7, 7.1)]


def _probe_result(folder: Path, model: str, seed: int, wer: float) -> None:
    layers = [
        {"name": name, "stride_ms": 20.0, "weight": 0.5, "mean_norm": 2.0, "weight_times_norm": 0.5}
        for name in ("T0", "D0")
    ]
    write_json(
        folder / "result.json",
        {"task": "asr", "model": model, "corpus": "mini-asr", "mini": True, "seed": seed, "budget": 1.0,
         "test": {"test": {"wer": wer}}, "layers": layers},
    )  # fmt: skip
    write_json(folder / "config.json", {})


def test_probes_with_their_random_control(tmp_path):
    _probe_result(tmp_path / "a", "tiny-b4-a", 0, 0.5)
    _probe_result(tmp_path / "b", "tiny-b4-a+random", 0, 0.9)
    _probe_result(tmp_path / "c", "moonshine-tiny", 0, 0.3)
    found = collect("tiny", probes=[tmp_path])
    assert found.probes.select("cell", "control", "value").rows() == [("b4-a", "", 0.5), ("b4-a", "random", 0.9)]
    assert found.probe_weights.select("layer", "block").unique().sort("layer").rows() == [
        ("D0", "middle"),
        ("T0", "encoder0"),
    ]


def test_tables_survive_their_files(tmp_path):
    before = tables({}, seeds=2, sets=2, wer={"b4-a": 0.5})
    written = write_folder(before, tmp_path)
    assert [path.name for path in written] == ["seeds.csv.gz", "probes.csv"]
    after = read_folder(tmp_path)
    key = list(TABLES["scores"][2])
    assert after.scores.drop("value").equals(before.scores.sort(key).drop("value"))
    assert after.scores["value"].to_list() == pytest.approx(before.scores.sort(key)["value"].to_list(), abs=1e-7)
    first = written[0].read_bytes()
    assert write_folder(after, tmp_path)[0].read_bytes() == first


def test_this_runs_rows_replace_committed_ones():
    below = tables({}, seeds=2, sets=1).scores
    above = below.filter((pl.col("cell") == "b4-a") & (pl.col("training_seed") == 1)).with_columns(value=pl.lit(0.9))
    both = laid_over("scores", below, above)
    assert len(both) == len(below)
    assert set(both.filter(pl.col("source") == "this run")["value"]) == {0.9}
    assert both.filter(pl.col("source") == "committed")["value"].max() < 0.9


def test_doubled_and_missing_rows_are_refused():
    rows = tables({}, seeds=1, sets=1).scores
    with pytest.raises(InputError, match="repeat each other"):
        checked("scores", pl.concat([rows, rows.head(1)]), "here")
    with pytest.raises(InputError, match="lacks the column value"):
        checked("scores", rows.drop("value"), "here")
    with pytest.raises(InputError, match="1 rows have no value"):
        checked("scores", rows.head(1).with_columns(value=pl.lit(None, pl.Float64)), "here")


@pytest.mark.parametrize("scale", list(CELLS))
def test_committed_tables_are_whole(scale):
    found = committed(scale)
    assert isinstance(found, Measurements)
    names = {cell.name for cell in CELLS[scale]}
    assert set(found.scores.filter(pl.col("control") != "fbank")["cell"]) <= names
    assert set(found.probes["cell"]) <= names
    for name in TABLES:
        assert getattr(found, name).columns == empty(name).columns
