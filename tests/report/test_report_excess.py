"""Scores less those of their controls, against subtraction by hand."""

import csv
import re
from pathlib import Path

import polars as pl
import pytest
import synthetic_runs as synthetic

from speechstrata.report.compare import build_report, report_tables
from speechstrata.report.excess import excess_over_controls, latex_excess, write_excess_csv
from speechstrata.report.merge import Merged, merge_runs
from speechstrata.report.runs import read_run
from speechstrata.report.style import shorten
from speechstrata.report.tables import summarize


def test_differences_are_taken_layer_by_layer_and_set_by_set(family: Merged) -> None:
    values = {
        (row["model"], row["score"], row["variant"], row["reference"], row["layer"], row["sample_set"]): row["value"]
        for row in family.scores.iter_rows(named=True)
    }
    excess = excess_over_controls(family)
    assert {"hubert-base", "mrhubert-b2-a", "mrhubert-base"} <= set(excess["model"])
    seen = {"random": 0, "fbank": 0}
    for row in excess.iter_rows(named=True):
        point = (row["score"], row["variant"], row["reference"])
        own = [values[row["model"], *point, row["layer"], number] for number in range(3)]
        assert row["mean"] == pytest.approx(sum(own) / 3)
        controls = {
            "random": [values.get((f"{row['model']}+random", *point, row["layer"], number)) for number in range(3)],
            "fbank": [values.get(("fbank", *point, "fbank", number)) for number in range(3)],
        }
        for name, control in controls.items():
            if control[0] is None:
                assert row[f"above_{name}"] is None
                continue
            seen[name] += 1
            differences = [one - other for one, other in zip(own, control, strict=True)]
            assert row[f"above_{name}"] == pytest.approx(sum(differences) / 3)
            assert row[f"above_{name}_low"] == pytest.approx(min(differences))
            assert row[f"above_{name}_high"] == pytest.approx(max(differences))
            assert row[f"mean_{name}"] == pytest.approx(sum(control) / 3)
    assert min(seen.values()) > 100
    assert not len(excess.filter(pl.col("model") == "mrhubert-base")["above_random"].drop_nulls())  # none was measured


def test_controls_themselves_and_scores_of_frames_have_no_rows(family: Merged) -> None:
    excess = excess_over_controls(family)
    assert not set(excess["model"]) & set(family.controls)
    assert not {"cca-mel", "cca-mfcc", "cca-intra"} & set(excess["score"])
    assert excess.select("setting", "score", "variant", "reference", "model", "step", "layer").is_unique().all()


def test_a_run_without_controls_has_an_empty_table(tmp_path: Path) -> None:
    models = [model for model in synthetic.demo() if model.role == "encoder"]
    merged = merge_runs([read_run(synthetic.write_run(tmp_path / "run", models))])
    excess = excess_over_controls(merged)
    assert excess.is_empty()
    assert latex_excess(excess, merged) == []
    write_excess_csv(excess, merged, tmp_path / "above-controls.csv")
    assert (tmp_path / "above-controls.csv").read_text().startswith("corpus,protocol,score")


def test_checkpoints_share_the_control_of_their_training(tmp_path: Path) -> None:
    merged = merge_runs([read_run(synthetic.write_run(tmp_path / "run", synthetic.checkpoints()))])
    excess = excess_over_controls(merged)
    assert excess["step"].unique().sort().to_list() == [1000, 3000, 10_000, 30_000, 100_000]
    assert excess["above_random"].null_count() == 0
    (table,) = latex_excess(excess, merged)
    assert table.count("T6 &") == 1  # the last step alone


def test_the_report_has_the_csv_and_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechstrata.report.figures.write_figures", lambda *_: [])  # they take most of the time
    folder = synthetic.write_run(tmp_path / "run", synthetic.demo())
    build_report([folder])
    with (folder / "above-controls.csv").open() as file:
        rows = list(csv.DictReader(file))
    merged = merge_runs([read_run(folder)])
    assert len(rows) == len(excess_over_controls(merged))
    assert {row["corpus"] for row in rows} == {"amazon-queen"}
    tex = (folder / "tables.tex").read_text()
    table = tex[tex.index("phone scores above their controls") :]
    row = next(row for row in rows if row["score"] == "cca-phone" and row["layer"] == "T6")
    cells = re.search(r"^T6 & .*$", table, re.MULTILINE)[0].split(" & ")
    assert cells[2] == f"{float(row['mean']):.3f}"
    assert cells[3].startswith(f"{float(row['above_random']):+.3f} ")
    assert cells[4].startswith(f"{float(row['above_fbank']):+.3f} ")


def further_run(tmp_path: Path) -> Path:
    """A run whose scores have other baselines than permutation, with a time-averaged model."""
    folder = synthetic.write_run(tmp_path / "run", synthetic.demo())
    table = pl.read_parquet(folder / "scores.parquet")
    phones = table.filter(pl.col("score") == "cca-phone")
    probe = phones.with_columns(pl.lit("probe-phone").alias("score"), pl.lit(0.026).alias("baseline"))
    abx = phones.with_columns(pl.lit("abx-phone").alias("score"), pl.lit(0.5).alias("baseline"))
    pl.concat([table, probe, abx]).write_parquet(folder / "scores.parquet")
    return folder


def test_baselines_are_called_what_they_are(tmp_path: Path) -> None:
    from rich.console import Console

    from speechstrata.report.captions import context_text
    from speechstrata.report.page import page_data

    folder = further_run(tmp_path)
    merged = merge_runs([read_run(folder)])
    summary = summarize(merged.scores)
    console = Console(width=140, record=True, file=(tmp_path / "out").open("w"))
    for table in report_tables([folder], width=140):
        console.print(table)
    text = console.export_text()
    assert re.search(r"^chance .*0\.500", text, re.MULTILINE)
    assert re.search(r"^majority class .*0\.026", text, re.MULTILINE)
    assert re.search(r"^labels permuted .*0\.110", text, re.MULTILINE)
    for score, name in (("abx-phone", "chance"), ("probe-phone", "majority class"), ("mi-phone", "permutation")):
        here = summary.filter(pl.col("score") == score)
        assert f"dotted: {name}" in context_text(here, merged.settings[0], merged.controls)
    baselines = {score["name"]: score["baseline"] for score in page_data(merged, summary)["scores"]}
    assert baselines["abx-phone"] == "chance"


def test_a_long_name_still_says_that_it_is_averaged() -> None:
    assert shorten("averaged:40ms:/home/somebody/models/checkpoints/mrhubert") == "averaged:40ms:checkpoints/mrhubert"
    assert shorten("averaged:40ms:hubert") == "averaged:40ms:hubert"
    assert shorten("averaged:80ms:" + "x" * 60).startswith("averaged:80ms:\u2026")
