"""A run folder is read as it was written, and a broken one is refused by file and field."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import synthetic_runs as synthetic

from speechstrata.errors import InputError
from speechstrata.report.runs import COLUMNS, read_run


@pytest.fixture
def folder(demo_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_run, tmp_path / "run"))


def change_scores(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    file = folder / "scores.parquet"
    change(pl.read_parquet(file)).write_parquet(file)


def change_provenance(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    file = folder / "provenance.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_run_is_read_as_it_was_written(family_run: Path) -> None:
    run = read_run(family_run)
    written = pl.read_parquet(family_run / "scores.parquet")
    assert run.scores.equals(written.select(*COLUMNS))
    assert [model.name for model in run.models] == [model.name for model in synthetic.family()]
    assert run.models[2].layers[-1].name == "post_skip"
    assert run.models[5].control_of == "hubert-base"
    assert run.corpus.hours == 4.53
    assert run.protocol.name == "published"
    assert run.protocol.details["word"] == {"classes": 500, "n": 7000}
    assert [problem.where for problem in run.problems] == ["cd1/lola-117.wav", "hubert-base"]
    assert run.config == json.loads((family_run / "config.json").read_text())


def test_extra_columns_and_a_missing_problem_list_do_no_harm(folder: Path) -> None:
    (folder / "problems.jsonl").unlink()
    change_scores(folder, lambda table: table.with_columns(pl.lit(1).alias("more")))
    run = read_run(folder)
    assert run.problems == ()
    assert "more" not in run.scores.columns


def test_a_value_that_is_not_a_number_becomes_a_problem_and_no_point(folder: Path) -> None:
    bad = (pl.col("layer") == "T3") & (pl.col("score") == "cca-word")
    nan = pl.when(bad).then(float("nan")).otherwise(pl.col("value")).alias("value")
    why = pl.when(bad).then(pl.lit("no variance")).otherwise(pl.col("warning")).alias("warning")
    before = len(pl.read_parquet(folder / "scores.parquet"))
    change_scores(folder, lambda table: table.with_columns(nan, why))
    run = read_run(folder)
    assert len(run.scores) == before - 6  # two models, three sample sets
    assert [(p.what, p.where, p.reason) for p in run.problems] == [
        ("cca-word", "moonshine-tiny", "no variance"),
        ("cca-word", "moonshine-tiny+random", "no variance"),
    ]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no scores\.parquet"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "provenance.json"])
def test_a_missing_or_torn_json_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text('{"corpus": ')
    with pytest.raises(InputError, match=f"{name} is not valid JSON"):
        read_run(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"cannot read .*{name}"):
        read_run(folder)


def test_a_table_that_is_not_the_one_written_is_not_given_to_the_parquet_reader(folder: Path) -> None:
    file, provenance = folder / "scores.parquet", folder / "provenance.json"
    whole = file.read_bytes()
    digest = {"scores_sha256": hashlib.sha256(whole).hexdigest()}
    provenance.write_text(json.dumps(json.loads(provenance.read_text()) | digest))
    assert len(read_run(folder).scores)
    file.write_bytes(whole[:200] + b"\xff" + whole[201:])
    with pytest.raises(InputError, match=r"scores\.parquet is not the table that `analyze` wrote"):
        read_run(folder)


def test_a_torn_parquet_file_is_named(folder: Path) -> None:
    file = folder / "scores.parquet"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cannot read .*scores\.parquet"):
        read_run(folder)


def test_a_broken_problem_is_named_by_its_line(folder: Path) -> None:
    (folder / "problems.jsonl").write_text('{"what": "utterance"}\n{"wha\n')
    with pytest.raises(InputError, match=r"problems\.jsonl, line 2"):
        read_run(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop("depth", "n"), "lacks the column depth, n"),
        (lambda t: t.with_columns(pl.lit("deep").alias("depth")), "column of the wrong type"),
        (lambda t: t.with_columns(pl.lit(None, dtype=pl.Int64).alias("n")), "rows have no n"),
        (lambda t: pl.concat([t, t.head(1)]), "2 rows that repeat each other, e.g. model='moonshine-tiny'"),
        (
            lambda t: t.with_columns(pl.lit("who").alias("model")),
            "'who', which provenance.json does not list",
        ),
    ],
)
def test_a_broken_table_is_refused(folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame], message: str) -> None:
    change_scores(folder, change)
    with pytest.raises(InputError, match=message):
        read_run(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("corpus"), "lacks corpus"),
        (lambda p: p["corpus"].pop("hours"), r"lacks corpus\.hours"),
        (lambda p: p["corpus"].update(hours="four"), r"corpus\.hours is 'four', of the wrong type"),
        (lambda p: p["corpus"].update(utterances=True), r"corpus\.utterances is True"),
        (lambda p: p["models"][0].update(role="hero"), r"models\[0\]\.role is 'hero'"),
        (lambda p: p["models"].append("hubert"), r"models\[3\] is not a JSON object"),
        (lambda p: p["models"][1]["layers"][0].pop("stride_ms"), r"lacks models\[1\]\.layers\.stride_ms"),
    ],
)
def test_a_broken_provenance_is_refused(folder: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    change_provenance(folder, change)
    with pytest.raises(InputError, match=message):
        read_run(folder)
