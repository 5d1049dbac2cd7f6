import subprocess
import sys

import polars as pl
import pytest

from speechstrata.cli import COMMANDS, main
from tests.analysis.speech import make_corpus, make_encoder

HEAVY = ("torch", "transformers", "lhotse", "lightning", "matplotlib", "plotly", "polars", "sklearn", "faiss")


def test_help_imports_nothing_heavy():
    script = f"import sys, speechstrata.cli as c; c.build_parser(); print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"] if command else ["--help"])
    assert stop.value.code == 0
    assert "usage: speechstrata" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["analyse"], ["analyze"], ["analyze", "m", "--sample_sets", "many"], []])
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_a_mendable_error_is_one_line_with_the_remedy(tmp_path, capsys):
    code = main(["report", str(tmp_path / "nothing")])
    error = capsys.readouterr().err
    assert code == 1
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert str(tmp_path / "nothing") in error


def test_an_unknown_model_is_exit_code_1_and_names_the_model(tmp_path, capsys):
    manifest = make_corpus(tmp_path / "tones", utterances=4)
    run = str(tmp_path / "run")
    code = main(
        ["analyze", str(tmp_path / "no-model"), "--corpus", str(manifest), "--control", "none", "--output", run]
    )
    assert code == 1
    assert "no-model" in capsys.readouterr().err.strip().splitlines()[-1]


def test_analyze_report_and_extract_from_the_command_line(tmp_path, capsys):
    manifest = str(make_corpus(tmp_path / "tones", utterances=30))
    encoder = str(make_encoder(tmp_path / "small"))
    run = tmp_path / "run"
    arguments = ["--corpus", manifest, "--scores", "cca-phone", "--layers", "T1", "--sample-sets", "2"]
    assert main(["analyze", encoder, *arguments, "--control", "none", "--output", str(run)]) == 0
    assert "page" in capsys.readouterr().out
    assert set(pl.read_parquet(run / "scores.parquet")["sample_set"]) == {0, 1}
    assert (run / "index.html").exists()
    assert main(["report", str(run)]) == 0
    states = tmp_path / "states"
    assert main(["extract", encoder, "--corpus", manifest, "--layers", "T1", "--output", str(states)]) == 0
    assert (states / "T1.word.npy").exists()
    assert main(["layers", encoder]) == 0
    assert "projection" in capsys.readouterr().out


def test_the_package_offers_its_main_functions_without_importing_them():
    script = f"import sys, speechstrata; print([m for m in {HEAVY!r} if m in sys.modules]); speechstrata.load_corpus"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    import speechstrata

    assert {name for name in speechstrata.__all__ if callable(getattr(speechstrata, name))} == {
        "analyze",
        "load_corpus",
        "load_encoder",
    }
    with pytest.raises(AttributeError, match="nothing"):
        _ = speechstrata.nothing


@pytest.mark.parametrize(
    "arguments",
    [
        ["pretrain", "tiny", "--corpus", "demo", "--dry_run"],
        ["pretrain", "tiny", "--corpus", "demo", "--output", "FOLDER"],
        ["superb", "train", "ks", "--model", "fbank", "--corpus", "FOLDER", "--output", "FOLDER"],
        ["superb", "evaluate", "FOLDER"],
    ],
)
def test_without_lightning_the_remedy_is_the_extra(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("speechstrata.errors.find_spec", lambda name: None)
    assert main([str(tmp_path / "run") if text == "FOLDER" else text for text in arguments]) == 1
    extra = "superb" if arguments[0] == "superb" else "train"
    assert f'pip install "speechstrata[{extra}]"' in capsys.readouterr().err
