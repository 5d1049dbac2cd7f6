"""Tasks x models x seeds in one call: what is trained, what is left when a run fails, and the tables."""

import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import polars as pl
import pytest

from speechstrata.cli import main
from speechstrata.errors import InputError, SpeechstrataError
from speechstrata.superb import grid
from speechstrata.superb.config import ProbeConfig
from speechstrata.superb.grid import Outcome, plan_grid, run_grid
from speechstrata.superb.names import model_name
from speechstrata.superb.results import find_runs, summary_table
from speechstrata.superb.training import ProbeInputs, train_probe

CONFIG = ProbeConfig(set=("steps=10", "evaluate_every=10", "batch_size=8", "learning_rate=0.01"))


@pytest.mark.parametrize(
    ("given", "short"),
    [
        ("facebook/hubert-base-ls960", "hubert-base-ls960"),
        ("runs/tiny-s1/model", "tiny-s1"),
        ("runs/tiny-s1/model+random", "tiny-s1+random"),
        ("/a/b.pt", "b.pt"),
        ("fbank", "fbank"),
    ],
)
def test_a_model_has_a_short_name(given: str, short: str) -> None:
    assert model_name(given) == short


def test_the_plan_has_every_model_task_and_seed_once(keywords: Path, tmp_path: Path) -> None:
    cells = plan_grid(["a/one", "b/two", "a/one"], [keywords.parent], CONFIG, tmp_path, seeds=(3, 4, 3))
    assert [cell.inputs.model for cell in cells] == ["a/one", "b/two"]
    folders = {path.relative_to(tmp_path).as_posix() for cell in cells for path in cell.outputs.values()}
    assert folders == {"ks/one-p3", "ks/one-p4", "ks/two-p3", "ks/two-p4"}
    assert len({cell.inputs.cache for cell in cells}) == 1


def test_a_plan_that_cannot_be_is_refused(keywords: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="both be called one"):
        plan_grid(["a/one", "b/one"], [keywords], CONFIG, tmp_path)
    with pytest.raises(InputError, match="no corpus for asr"):
        plan_grid(["a"], [keywords], CONFIG, tmp_path, tasks=("ks", "asr"))
    with pytest.raises(InputError, match="holds no probe corpus"):
        plan_grid(["a"], [tmp_path], CONFIG, tmp_path)
    shutil.copytree(keywords, tmp_path / "again")
    with pytest.raises(InputError, match="both for ks"):
        plan_grid(["a"], [keywords, tmp_path / "again"], CONFIG, tmp_path)


def test_a_run_that_fails_stops_no_other_and_finished_ones_are_kept(
    keywords: Path, model: Path, tmp_path: Path
) -> None:
    told: list[Outcome] = []
    cells = plan_grid([str(tmp_path / "none"), str(model)], [keywords], CONFIG, tmp_path / "out", seeds=(0, 1))
    assert run_grid(cells, tmp_path / "out", report=told.append) == 2
    assert [(o.model, o.seed, o.result is None) for o in told] == [
        ("none", 0, True), ("none", 1, True), ("small", 0, False), ("small", 1, False),
    ]  # fmt: skip
    problems = pl.read_csv(tmp_path / "out/problems.csv")
    assert problems["model"].to_list() == ["none", "none"]
    assert all(str(tmp_path / "none") in reason for reason in problems["reason"])
    table = pl.read_csv(tmp_path / "out/metrics.csv")
    assert set(table["split"]) == {"dev", "test"}
    assert set(table["seed"]) == {0, 1}
    assert (table["seconds_fit"] <= table["seconds"]).all()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.ckpt")}
    run_grid(cells[1:], tmp_path / "out", report=told.append)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.ckpt")} == before
    assert [outcome.result for outcome in told[4:]] == [outcome.result for outcome in told[2:4]]


def test_a_worker_that_dies_is_one_error(
    keywords: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> Future[list[Outcome]]:
        future: Future[list[Outcome]] = Future()
        future.set_exception(BrokenProcessPool("terminated abruptly"))
        return future

    monkeypatch.setattr(grid.ProcessPoolExecutor, "submit", dead)
    cells = plan_grid([str(model)], [keywords], CONFIG, tmp_path)
    with pytest.raises(SpeechstrataError, match="a worker process died"):
        run_grid(cells, tmp_path, workers=2, report=lambda outcome: None)


def test_runs_of_different_lengths_have_no_mean(keywords: Path, model: Path, tmp_path: Path) -> None:
    for steps in (2, 4):
        config = ProbeConfig(set=(f"steps={steps}", f"evaluate_every={steps}"))
        train_probe(ProbeInputs("ks", str(model), str(keywords)), config, tmp_path / f"ks-{steps}")
    assert "| small |" in summary_table(find_runs([tmp_path / "ks-2"]))
    with pytest.raises(InputError, match=r"small has ks runs with .* 2\) and .* 4\)"):
        summary_table(find_runs([tmp_path]))


@pytest.mark.slow
def test_workers_give_the_same_numbers(keywords: Path, model: Path, tmp_path: Path) -> None:
    tables = []
    for workers in (1, 2):
        output = tmp_path / str(workers)
        cells = plan_grid([str(model), f"{model}+random"], [keywords], CONFIG, output, seeds=(0, 1))
        assert not run_grid(cells, output, workers=workers, report=lambda outcome: None)
        tables.append(pl.read_csv(output / "weights.csv").sort("model", "seed", "index"))
    assert tables[0].equals(tables[1])


def test_from_the_command_line_to_the_figures(
    keywords: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out")
    given = ["--corpora", str(keywords), "--output", output, "--set", "steps=4", "evaluate_every=4"]
    assert main(["superb", "run", "--models", str(model), *given, "--layers", "T0", "D0", "T2"]) == 0
    printed = capsys.readouterr().out
    assert "[1/1] ks  small  seed 0  accuracy" in printed
    assert "not comparable with published SUPERB numbers" in printed
    assert pl.read_csv(tmp_path / "out/weights.csv")["layer"].to_list() == ["T0", "D0", "T2"]
    assert main(["superb", "weights", f"{output}/weights.csv", "--output", str(tmp_path / "drawn")]) == 0
    assert main(["superb", "weights", output, "--output", str(tmp_path / "drawn-too")]) == 0
    for name in ("weights.csv", "weights.png", "weights-times-norm.pdf"):
        assert (tmp_path / "drawn" / name).stat().st_size > 100
    one, other = ((tmp_path / folder / "weights.csv").read_text() for folder in ("drawn", "drawn-too"))
    assert one == other
    assert main(["superb", "run", "--models", str(tmp_path / "none"), *given]) == 1
    assert "1 of 1 runs failed" in capsys.readouterr().err
