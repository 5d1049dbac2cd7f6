from pathlib import Path

from speechstrata.cli import main
from speechstrata.files import read_json, write_json


def test_stages_are_listed_and_nothing_runs(tmp_path, capsys):
    assert main(["reproduce", "--scale", "paper", "--output", str(tmp_path), "--list"]) == 0
    shown = capsys.readouterr().out
    assert "cluster" in shown
    assert not any(tmp_path.iterdir())


def test_a_stage_by_itself_and_where_its_results_are(tmp_path, capsys):
    arguments = ["reproduce", "--scale", "paper", "--training-seeds", "1", "--output", str(tmp_path), "--stages"]
    assert main([*arguments, "cluster"]) == 0
    assert str(tmp_path / "cluster") in capsys.readouterr().out.replace("\n", "")
    assert read_json(tmp_path / "config.json")["reproduce"]["training_seeds"] == 1
    assert main([*arguments, "no-such-stage"]) == 1
    assert "the stages are" in capsys.readouterr().err


def test_a_failed_stage_is_a_failed_command(tmp_path: Path, capsys):
    (tmp_path / "models" / "tiny-hubert").mkdir(parents=True)
    arguments = ["reproduce", "--models", str(tmp_path / "models"), "--output", str(tmp_path / "out"), "--stages"]
    assert main([*arguments, "models"]) == 1
    assert "first models" in capsys.readouterr().err


def test_verdicts_of_an_earlier_run_are_not_shown_as_this_ones(tmp_path: Path, capsys):
    write_json(tmp_path / "findings.json", {"scale": "old", "design": {"seeds": []}, "findings": [], "claims": []})
    assert main(["reproduce", "--output", str(tmp_path), "--stages", "cost"]) == 0
    assert "verdicts" not in capsys.readouterr().out
