import math

import polars as pl
import pytest

from speechstrata.experiments.paper_tables import OURS, PUBLISHED, latex, table_1, table_2, table_3
from speechstrata.experiments.published import published_metric, published_table
from speechstrata.experiments.score_tables import empty, rows_table

from .synthetic import tables

COST = pl.DataFrame({"cell": ["hubert"], "parameters": [2_770_000], "macs_per_second": [0.2e9]})


def _residual() -> pl.DataFrame:
    rows = [
        {"variant": variant, "seed": seed, "step": 10, "loss_bits": loss + 0.1 * seed, "train_loss_bits": None}
        for variant, loss in (("pre", 6.0), ("post", 6.5))
        for seed in (1, 2, 3)
    ]
    return rows_table("residual", rows, "here")


def test_published_numbers_are_those_of_the_paper():
    assert published_metric("mrhubert-base", "asr", "wer") == 0.0585
    assert published_metric("hubert", "sd", "accuracy") is None
    weights = published_table("figure2b").group_by("cell", "task").agg(pl.col("weight").sum(), pl.len())
    assert len(weights) == 6
    assert all(
        count == 15 and math.isclose(total, 1.0, abs_tol=0.003)
        for total, count in weights.select("weight", "len").rows()
    )
    for name in ("table2", "table3", "figure2b"):
        assert published_table(name)["source"].null_count() == 0


def test_ours_and_published_are_never_in_one_part():
    probes = tables({}, seeds=2, sets=1, wer={"mrhubert-base": 0.4, "neither": 0.5}).probes
    table = table_2("tiny", probes)
    (ours, own), (published, theirs) = table.rows
    assert (ours, published) == ("Ours (tiny)", "As published")
    assert [row[0] for row in own] == ["MR-HuBERT-base", "no auxiliary loss, no downsampling"]
    assert len(theirs) == 4
    numbers = table.numbers.filter(pl.col("source") == OURS)
    assert set(numbers["corpus"]) == {"mini"}
    assert set(table.numbers.filter(pl.col("source") == PUBLISHED)["corpus"]) == {"as published"}
    assert "not comparable" in table.caption


def test_means_and_spreads_are_over_training_seeds():
    rows = [
        {"task": "asr", "cell": "b5-a", "control": "", "model": "x", "training_seed": seed, "probe_seed": probe,
         "corpus": "c", "mini": False, "budget": 1.0, "split": split, "metric": "wer", "value": value}
        for seed, probe, split, value in (
            (1, 0, "test", 0.1), (1, 1, "test", 0.3), (2, 0, "test", 0.4), (2, 1, "test", 0.4), (1, 0, "other", 9.0)
        )
    ]  # fmt: skip
    table = table_2("tiny", rows_table("probes", rows, "here"))
    own = table.numbers.filter(pl.col("source") == OURS).rows(named=True)
    assert len(own) == 1
    assert own[0]["mean"] == pytest.approx(0.3)
    assert own[0]["sd"] == pytest.approx(0.2 / math.sqrt(2))
    assert (own[0]["training_seeds"], own[0]["probe_seeds"]) == (2, 2)
    assert table.rows[0][1][0][1] == "30.00 ± 14.14"


def test_residual_table():
    table = table_3("tiny", _residual())
    own = {row[0]: row for row in table.rows[0][1]}
    assert own["pre-residual"][1:] == ("–", "6.200 ± 0.100", "3")
    assert table.rows[1][1][0] == ("post-residual (baseline)", "7.312", "6.784", "–")
    assert len(table.numbers) == 6 + 2


def test_models_table_lists_every_cell_with_its_cost():
    table = table_1("tiny", COST)
    assert table.rows[0][1][0] == ("HuBERT-base", "20", "6", "no", "no", "2.77", "0.20")
    assert table.rows[0][1][1][-1] == "–"


def test_without_probes_only_the_published_part_stands():
    table = table_2("tiny", empty("probes"))
    assert [heading for heading, _ in table.rows] == ["As published"]
    assert "No probes of ours" in table.caption


def test_latex_is_whole():
    for table in (table_1("tiny", COST), table_2("tiny", empty("probes")), table_3("tiny", _residual())):
        text = latex(table)
        rows = [line for line in text.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
        assert {line.count(" & ") for line in rows} == {len(table.heads) - 1}
        assert not set("↑↓±–") & set(text)
        assert text.count("\\begin") == text.count("\\end") == 2
