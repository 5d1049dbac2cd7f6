import json

import polars as pl
import pytest

from speechstrata.analysis.provenance import layer_depths
from speechstrata.analysis.run_folder import Problem, RunFolder, ScoreRow
from speechstrata.encoders.base import Layer
from speechstrata.errors import InputError


def row(layer="T1", value=0.5, **changes):
    values = {
        "model": "m", "layer": layer, "index": 1, "depth": 0.5, "kind": "transformer", "stride_ms": 20.0,
        "score": "cca-word", "unit": "word", "variant": "", "reference": "", "sample_set": 0, "seed": 0,
        "value": value, "nats": None, "baseline": 0.1, "n": 100, "classes": 10, "k": None, "step": None,
        "warning": "",
    }  # fmt: skip
    return ScoreRow(**(values | changes))


def test_finished_work_is_found_again(tmp_path):
    folder = RunFolder(tmp_path)
    folder.finish("key-1", [row()])
    folder.close()
    assert RunFolder(tmp_path).finished("key-1") == [row()]
    assert RunFolder(tmp_path).finished("key-2") is None


def test_a_line_cut_short_by_a_kill_is_computed_again_and_harms_no_later_line(tmp_path):
    folder = RunFolder(tmp_path)
    folder.finish("key-1", [row()])
    folder.finish("key-2", [row(value=0.7)])
    folder.close()
    journal = tmp_path / "journal.jsonl"
    journal.write_text(journal.read_text()[:-20])
    again = RunFolder(tmp_path)
    assert again.finished("key-1") is not None
    assert again.finished("key-2") is None
    again.finish("key-3", [row(value=0.9)])
    again.close()
    assert RunFolder(tmp_path).finished("key-3") == [row(value=0.9)]


def test_the_table_has_one_typed_row_per_value(tmp_path):
    folder = RunFolder(tmp_path)
    folder.finish("key-1", [row(), row(layer="T2", nats=1.5, k=100)])
    folder.finish("stale", [row(layer="T9")])
    path = folder.write_results(["key-1"], {"seed": 0}, {"seeds": [0]})
    table = pl.read_parquet(path)
    assert table["layer"].to_list() == ["T1", "T2"]
    assert table.schema["k"] == pl.Int64
    assert table.schema["value"] == pl.Float64
    assert json.loads((tmp_path / "config.json").read_text()) == {"seed": 0}


def test_a_run_without_any_score_says_why(tmp_path):
    folder = RunFolder(tmp_path)
    folder.add_problem(Problem("cca-word", "demo", "no word alignments"))
    folder.add_problem(Problem("cca-word", "demo", "no word alignments"))
    assert len(folder.problems) == 1
    with pytest.raises(InputError, match="no word alignments"):
        folder.write_results([], {}, {})


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to the run folder"):
        RunFolder(tmp_path / "file" / "run")


def layers(*names):
    return tuple(Layer(name, 320, 0.0, 4, "transformer") for name in names)


def test_depth_counts_the_transformer_layers_passed():
    names = ("conv1", "projection", "T0", "T1", "T2", "down0", "D0", "T3", "T4", "post_skip")
    expected = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.5, 0.5, 0.75, 1.0, 1.0)
    assert layer_depths(layers(*names)) == expected
    assert layer_depths(layers("fbank")) == (0.0,)
