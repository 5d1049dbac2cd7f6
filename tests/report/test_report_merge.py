"""Runs side by side: what meets, what stays apart, and what things are called."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import synthetic_runs as synthetic

from speechstrata.errors import InputError
from speechstrata.report.merge import Merged, merge_runs
from speechstrata.report.runs import read_run

WORD = ("cca-word",)


def tiny(name: str = "tiny", **options: object) -> synthetic.SyntheticModel:
    return synthetic.SyntheticModel(name, synthetic.plain_layers(3, conv=False), scores=WORD, **options)


def merged(*folders: Path) -> Merged:
    return merge_runs([read_run(folder) for folder in folders])


def test_another_corpus_or_protocol_is_another_setting(tmp_path: Path) -> None:
    same = synthetic.write_run(tmp_path / "a", [tiny()])
    also = synthetic.write_run(tmp_path / "b", [tiny("other")])
    corpus = synthetic.write_run(tmp_path / "c", [tiny()], corpus="librispeech")
    protocol = synthetic.write_run(tmp_path / "d", [tiny()], protocol="small-corpus")
    result = merged(same, also, corpus, protocol)
    assert [setting.title for setting in result.settings] == [
        "amazon-queen, published protocol",
        "librispeech, published protocol",
        "amazon-queen, small-corpus protocol",
    ]
    counts = dict(result.scores.group_by("setting").len().rows())
    assert counts == {"s1": 24, "s2": 12, "s3": 12}


def test_two_corpora_of_one_name_are_told_apart_by_their_fingerprint(tmp_path: Path) -> None:
    runs = [read_run(synthetic.write_run(tmp_path / name, [tiny()])) for name in "ab"]
    runs[1] = replace(runs[1], corpus=replace(runs[1].corpus, fingerprint="feedc0de12345678"))
    assert [s.title for s in merge_runs(runs).settings] == [
        "amazon-queen, published protocol",
        "amazon-queen (feedc0de), published protocol",
    ]


def test_different_models_of_one_name_are_told_apart_by_their_run(tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path / "before", [tiny(fingerprint="1")])
    second = synthetic.write_run(tmp_path / "after", [tiny(fingerprint="2")])
    result = merged(first, second)
    assert [subject.label for subject in result.subjects] == ["tiny (before)", "tiny (after)"]
    assert set(result.scores["model"]) == {"tiny (before)", "tiny (after)"}


def test_folders_of_one_name_still_give_different_labels(tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path / "x" / "run", [tiny(fingerprint="1")])
    second = synthetic.write_run(tmp_path / "y" / "run", [tiny(fingerprint="2")])
    assert [subject.label for subject in merged(first, second).subjects] == ["tiny (run #1)", "tiny (run #2)"]


def test_a_measurement_that_two_runs_share_counts_once(tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path / "a", [tiny(), synthetic.fbank()])
    second = synthetic.write_run(tmp_path / "b", [tiny("other"), synthetic.fbank()])
    alone = merged(first).scores.filter(pl.col("model") == "fbank")
    both = merged(first, second).scores.filter(pl.col("model") == "fbank")
    assert len(both) == len(alone)


def test_sample_sets_of_other_seeds_are_pooled(tmp_path: Path) -> None:
    runs = [read_run(synthetic.write_run(tmp_path / name, [tiny()])) for name in "ab"]
    runs[1] = replace(runs[1], scores=runs[1].scores.with_columns(pl.col("seed") + 100))
    assert len(merge_runs(runs).scores) == 24


def test_controls_follow_their_encoder_and_take_its_slot(family: Merged) -> None:
    assert [(s.label, s.slot) for s in family.subjects] == [
        ("hubert-base", 0),
        ("hubert-base+random", 0),
        ("mrhubert-base", 1),
        ("mrhubert-b2-a", 2),
        ("mrhubert-b2-a+random", 2),
        ("mrhubert-b4-a", 3),
        ("facebook/wav2vec2-base", 4),
        ("fbank", None),
    ]
    assert family.subject("mrhubert-b2-a+random").control_of == "mrhubert-b2-a"


def test_checkpoints_of_one_training_run_are_one_subject(checkpoints: Merged) -> None:
    subject = checkpoints.subject("mr-tiny/checkpoint-*")
    assert subject.steps == (1000, 3000, 10_000, 30_000, 100_000)
    assert checkpoints.subject("mr-tiny/checkpoint-100000+random").control_of == "mr-tiny/checkpoint-*"


def test_checkpoints_may_also_share_their_name(tmp_path: Path) -> None:
    models = [tiny("mine", step=step, fingerprint=str(step)) for step in (1, 2)]
    result = merged(synthetic.write_run(tmp_path / "run", models))
    assert [(s.label, s.steps) for s in result.subjects] == [("mine", (1, 2))]
    assert len(result.scores) == 24


def test_a_single_checkpoint_keeps_its_name(tmp_path: Path) -> None:
    result = merged(synthetic.write_run(tmp_path / "run", [tiny("step-500", step=500)]))
    assert result.subjects[0].label == "step-500"


def test_runs_without_scores_are_refused(tmp_path: Path) -> None:
    folder = synthetic.write_run(tmp_path / "run", [tiny()])
    pl.read_parquet(folder / "scores.parquet").clear().write_parquet(folder / "scores.parquet")
    with pytest.raises(InputError, match="no score was computed"):
        merged(folder)
    with pytest.raises(InputError, match="no run to report on"):
        merge_runs([])
