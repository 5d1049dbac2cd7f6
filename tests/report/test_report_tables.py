"""Means, spreads, best layers, and their exports, against direct formulas."""

import re
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import synthetic_runs as synthetic
from rich.console import Console

from speechstrata.report.latex import latex_escape, write_latex
from speechstrata.report.merge import Merged, merge_runs
from speechstrata.report.runs import read_run
from speechstrata.report.tables import best_layers, last_steps, summarize, write_csv
from speechstrata.report.terminal import terminal_tables


def test_the_summary_is_mean_range_and_deviation_over_sample_sets(family: Merged) -> None:
    values = defaultdict(list)
    for row in family.scores.iter_rows(named=True):
        values[row["model"], row["score"], row["variant"], row["layer"]].append(row["value"])
    summary = summarize(family.scores)
    assert len(summary) == len(values)
    for row in summary.iter_rows(named=True):
        sample = values[row["model"], row["score"], row["variant"], row["layer"]]
        assert row["sets"] == len(sample) == 3
        assert row["mean"] == pytest.approx(statistics.mean(sample), abs=1e-12)
        assert row["sd"] == pytest.approx(statistics.stdev(sample), abs=1e-12)
        assert (row["low"], row["high"]) == (min(sample), max(sample))


def test_a_single_sample_set_has_no_deviation(tmp_path: Path) -> None:
    folder = synthetic.write_run(tmp_path / "run", synthetic.demo(), sets=1)
    summary = summarize(merge_runs([read_run(folder)]).scores)
    assert summary["sd"].null_count() == len(summary)
    assert (summary["low"] == summary["high"]).all()


def test_warnings_are_kept_once(demo: Merged) -> None:
    warned = demo.scores.with_columns(
        pl.when(pl.col("sample_set") < 2).then(pl.lit("few spans")).otherwise(pl.lit("")).alias("warning")
    )
    assert summarize(warned)["warning"].unique().to_list() == ["few spans"]


def test_the_best_layer_has_the_highest_mean_and_names_those_it_cannot_be_told_from(family: Merged) -> None:
    summary = summarize(family.scores)
    best = best_layers(summary)
    assert "cca-intra" not in best["score"]  # its reference layer would always win
    for row in best.iter_rows(named=True):
        curve = [
            point
            for point in summary.iter_rows(named=True)
            if all(point[name] == row[name] for name in ("model", "score", "variant", "reference"))
        ]
        top = max(curve, key=lambda point: point["mean"])
        assert (row["layer"], row["mean"]) == (top["layer"], top["mean"])
        others = {point["layer"] for point in curve if point is not top and point["mean"] >= top["low"]}
        assert set(row["ties"]) == others


def test_last_steps_keeps_the_last_checkpoint_and_what_has_none(checkpoints: Merged) -> None:
    final = last_steps(summarize(checkpoints.scores))
    assert set(final["step"]) == {100_000, None}
    assert set(final["model"]) == {"mr-tiny/checkpoint-*", "mr-tiny/checkpoint-100000+random", "fbank"}


def test_the_csv_holds_every_point_and_its_setting(family: Merged, tmp_path: Path) -> None:
    summary = summarize(family.scores)
    write_csv(summary, family, tmp_path / "scores.csv")
    table = pl.read_csv(tmp_path / "scores.csv")
    assert len(table) == len(summary)
    assert table["corpus"].unique().to_list() == ["amazon-queen"]
    assert table["protocol"].unique().to_list() == ["published"]
    assert table["mean"].to_list() == pytest.approx(summary["mean"].to_list(), abs=1e-6)


def printed(merged: Merged, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in terminal_tables(merged, summarize(merged.scores), width):
        console.print(table)
    return console.export_text(styles=True)


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_the_terminal_shows_layers_best_in_bold_and_the_controls_beneath(demo: Merged) -> None:
    text = printed(demo)
    summary = summarize(demo.scores).filter((pl.col("variant") == "") & (pl.col("score") == "cca-word"))
    own = summary.filter(pl.col("model") == "moonshine-tiny")
    best = own["mean"].to_list().index(own["mean"].max())
    assert f"\x1b[1;32m{own['mean'][best]:.3f}" in text
    lines = plain(text).splitlines()
    starts = [line.split("  ")[0] for line in lines if line.strip()]
    assert starts.index("T0") < starts.index("T6") < starts.index("moonshine-tiny+random") < starts.index("fbank")
    fbank = next(line for line in lines if line.startswith("fbank"))
    assert f"{summary.filter(pl.col('model') == 'fbank')['mean'][0]:.3f}" in fbank
    assert any(line.startswith("vectors permuted") for line in lines)
    assert any(line.startswith("labels permuted") for line in lines)


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_terminal_tables_fit_and_lose_nothing(family: Merged, width: int) -> None:
    text = plain(printed(family, width))
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    best = best_layers(summarize(family.scores)).filter((pl.col("variant") == "") & (pl.col("model") == "hubert-base"))
    for row in best.iter_rows(named=True):
        assert re.search(rf"^hubert-base .*{row['mean']:.3f} {row['layer']}", text, re.MULTILINE)


def test_many_references_are_one_column_of_their_highest_values(tmp_path: Path) -> None:
    references = tuple(f"y:T{number}" for number in range(11))
    layers = synthetic.plain_layers(3, conv=False)
    model = synthetic.SyntheticModel("x", layers, scores=("cca-inter",), references={"cca-inter": references})
    merged = merge_runs([read_run(synthetic.write_run(tmp_path / "run", [model]))])
    scores = merged.scores.with_columns(
        pl.when((pl.col("reference") == "y:T10") & (pl.col("layer") == "T2"))
        .then(0.95)
        .otherwise("value")
        .alias("value")
    )
    lines = plain(printed(replace(merged, scores=scores))).splitlines()
    assert any(line.endswith("of 11") for line in lines)
    assert next(line for line in lines if line.startswith("T2")).split() == ["T2", "20", "0.950"]


def test_markup_in_a_name_stays_text_in_the_terminal(demo: Merged) -> None:
    scores = demo.scores.with_columns(pl.col("model").str.replace("moonshine-tiny", "[bold]x[/]", literal=True))
    subjects = [
        replace(subject, label=subject.label.replace("moonshine-tiny", "[bold]x[/]"),
                control_of=subject.control_of and "[bold]x[/]")
        for subject in demo.subjects
    ]  # fmt: skip
    text = plain(printed(replace(demo, scores=scores, subjects=tuple(subjects))))
    assert "[bold]x[/]+random" in text


def test_latex_has_a_table_for_each_model_with_the_best_in_bold(family: Merged, tmp_path: Path) -> None:
    write_latex(family, summarize(family.scores), tmp_path / "tables.tex")
    text = (tmp_path / "tables.tex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 8
    assert r"post\_skip" in text
    assert r"$\rho$" in text
    best = best_layers(summarize(family.scores)).filter(
        (pl.col("model") == "mrhubert-base") & (pl.col("score") == "cca-word")
    )
    row = next(line for line in text.split("mrhubert-base")[1].splitlines() if line.startswith(f"{best['layer'][0]} &"))
    assert rf"\textbf{{{best['mean'][0]:.3f}}}" in row
    for line in text.splitlines():
        if line.endswith(r"\\"):
            columns = 2 + 11 if "wav2vec" not in line else None
            assert columns is None or line.count("&") in (columns - 1, columns - 2, columns - 3)


def test_latex_escape_leaves_nothing_for_latex_to_act_on() -> None:
    escaped = latex_escape(r"50%_&$x$ {a}\b #1 ~^ <>")
    assert escaped == (
        r"50\%\_\&\$x\$ \{a\}\textbackslash{}b \#1 \textasciitilde{}\textasciicircum{} \textless{}\textgreater{}"
    )
