"""From run folders to a report, whole."""

import shutil
from pathlib import Path

import polars as pl
import pytest
import synthetic_runs as synthetic

from speechstrata.errors import InputError
from speechstrata.report.compare import build_report, report_tables


def small(folder: Path, *scores: str, controls: bool = True, **options: str) -> Path:
    model = synthetic.SyntheticModel("tiny", synthetic.plain_layers(3, conv=False), scores=scores or ("cca-word",))
    models = [model, synthetic.random_of(model), synthetic.fbank(model.scores)] if controls else [model]
    return synthetic.write_run(folder, models, **options)


def test_a_report_goes_into_the_run_folder(tmp_path: Path) -> None:
    run = small(tmp_path / "run", "cca-word", "mi-phone")
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    page = build_report([run])
    assert page == run / "index.html"
    assert (run / "figures" / "cca-word.pdf").stat().st_size > 1000
    assert len(pl.read_csv(run / "scores.csv")) > 8
    assert r"\toprule" in (run / "tables.tex").read_text()
    for name, content in before.items():
        assert (run / name).read_bytes() == content


def test_several_runs_need_a_folder_of_their_own(tmp_path: Path) -> None:
    runs = [small(tmp_path / "a"), small(tmp_path / "b", corpus="librispeech")]
    with pytest.raises(InputError, match="give --output"):
        build_report(runs)
    with pytest.raises(InputError, match="would replace the report of the run"):
        build_report(runs, tmp_path / "a" / ".." / "b")
    page = build_report(runs, tmp_path / "both")
    assert page.parent == tmp_path / "both"
    assert set(pl.read_csv(page.parent / "scores.csv")["corpus"]) == {"amazon-queen", "librispeech"}


def test_a_model_may_lack_scores_and_controls(tmp_path: Path) -> None:
    run = small(tmp_path / "one", "cca-phone", controls=False)
    other = small(tmp_path / "two", "mi-word")
    assert build_report([run, other], tmp_path / "both").is_file()
    assert len(report_tables([run, other])) == 3  # a heading, the table of the one encoder, the key


def test_a_report_on_controls_alone_is_drawn(tmp_path: Path) -> None:
    run = synthetic.write_run(tmp_path / "run", [synthetic.fbank(("cca-word", "mi-word"))])
    assert build_report([run]).is_file()
    assert len(report_tables([run])) == 3


def test_a_broken_run_leaves_the_earlier_report_alone(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    page = build_report([run])
    content = page.read_bytes()
    (run / "provenance.json").write_text("{}")
    with pytest.raises(InputError, match="lacks models"):
        build_report([run])
    assert page.read_bytes() == content


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    closed = tmp_path / "closed"
    closed.write_text("a file, in which not even root makes a folder")
    with pytest.raises(InputError, match="cannot write"):
        build_report([run], closed / "report")


def test_an_output_that_is_a_file_is_named(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        build_report([run], tmp_path / "file")


def test_a_copy_of_a_run_gives_the_same_page(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    copy = Path(shutil.copytree(run, tmp_path / "elsewhere" / "run"))
    assert build_report([run]).read_bytes() == build_report([copy]).read_bytes()
