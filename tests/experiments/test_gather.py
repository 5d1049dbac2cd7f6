from pathlib import Path

import polars as pl
import pytest

from speechstrata.errors import InputError
from speechstrata.experiments import gather as module
from speechstrata.experiments.config import ReproduceConfig
from speechstrata.experiments.gather import gather, read_gathered
from speechstrata.experiments.paper_tables import table_2
from speechstrata.experiments.reproduce import reproduce
from speechstrata.experiments.score_tables import Measurements, empty, rows_table
from speechstrata.files import write_json

LAYER = {"name": "T1", "stride_ms": 20.0, "weight": 1.0, "mean_norm": 2.0, "weight_times_norm": 1.0}


def _result(folder: Path, wer: float, corpus: str = "librispeech", budget: float = 1.0, seed: int = 0) -> None:
    write_json(
        folder / "result.json",
        {"task": "asr", "model": "tiny-b4-a", "corpus": corpus, "mini": False, "seed": seed, "budget": budget,
         "test": {"test": {"wer": wer}}, "layers": [LAYER]},
    )  # fmt: skip
    write_json(folder / "config.json", {})


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two probe seeds of one cell on a mini corpus."""
    origin = {"task": "asr", "cell": "b4-a", "control": "", "model": "tiny-b4-a", "training_seed": 1,
              "corpus": "mini-asr", "mini": True, "budget": 1.0}  # fmt: skip
    probes = [origin | {"probe_seed": seed, "split": "test", "metric": "wer", "value": 0.9} for seed in (0, 1)]
    weights = [
        origin | {"probe_seed": seed, "index": 0, "layer": "T1", "stride_ms": 20.0, "block": "encoder0", "weight": 1.0,
                  "mean_norm": 1.0, "weight_times_norm": 1.0}
        for seed in (0, 1)
    ]  # fmt: skip
    tables = Measurements(
        empty("scores"), rows_table("probes", probes, ""), rows_table("probe_weights", weights, ""), empty("residual")
    )
    monkeypatch.setattr(module, "committed", lambda scale: tables)


@pytest.mark.usefixtures("committed")
def test_metrics_of_two_corpora_are_never_averaged(tmp_path, capsys):
    _result(tmp_path / "runs" / "a", 0.1)
    gather(ReproduceConfig(probe_runs=str(tmp_path / "runs")), [], {}, tmp_path)
    found = read_gathered(tmp_path)
    assert found.probes.select("corpus", "value").rows() == [("librispeech", 0.1)]
    assert set(found.probe_weights["corpus"]) == {"librispeech"}
    assert "asr on mini-asr" in capsys.readouterr().err
    assert table_2("tiny", found.probes).rows[0][1][0][1] == "10.00"


@pytest.mark.usefixtures("committed")
def test_of_one_corpus_this_runs_seeds_stand_beside_the_committed_ones(tmp_path):
    _result(tmp_path / "runs" / "a", 0.1, corpus="mini-asr")
    gather(ReproduceConfig(probe_runs=str(tmp_path / "runs")), [], {}, tmp_path)
    assert sorted(pl.read_csv(tmp_path / "probes.csv")["value"]) == [0.1, 0.9]


@pytest.mark.usefixtures("committed")
def test_a_part_of_the_budget_is_not_averaged_with_the_whole(tmp_path):
    _result(tmp_path / "runs" / "a", 0.1, corpus="mini-asr", budget=0.1)
    gather(ReproduceConfig(probe_runs=str(tmp_path / "runs")), [], {}, tmp_path)
    assert pl.read_csv(tmp_path / "probes.csv").select("budget", "value").rows() == [(0.1, 0.1)]


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_probe_runs_that_are_none_are_refused(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=f"{folder} holds no finished probe run"):
        gather(ReproduceConfig(probe_runs=str(tmp_path / folder)), [], {}, tmp_path)


def test_a_probe_that_was_trained_again_is_noticed(tmp_path):
    config = ReproduceConfig(scale="paper", probe_runs=str(tmp_path / "runs"))
    states = []
    for wer in (0.1, 0.1, 0.2):
        _result(tmp_path / "runs" / "a", wer)
        states += [outcome.state for outcome in reproduce(config, [], tmp_path / "out", ["gather"])]
    assert states == ["done", "served", "done"]
