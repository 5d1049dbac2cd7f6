import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from speechstrata.experiments.findings import corpora_of, evaluate
from speechstrata.experiments.score_tables import Measurements, empty
from speechstrata.experiments.stated_claims import claims
from speechstrata.experiments.stated_findings import findings
from speechstrata.files import read_json

from .synthetic import tables

MACS = {"mrhubert-base": 0.9e9, "b5-a": 1.2e9, "b2-a": 0.8e9}
#: As the paper has it: the auxiliary loss raises the middle block, downsampling does nothing, 80 ms lowers it.
AS_CLAIMED = {"mrhubert-base": 0.1, "b5-a": 0.1, "b2-a": 0.02}
WER = {"hubert": 0.51, "mrhubert-base": 0.4, "b5-a": 0.4, "b4-a": 0.5, "neither": 0.5}


def _statistics(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {s["id"]: s for claim in (*found["findings"], *found["claims"]) for s in claim["statistics"]}


def _verdict(found: Mapping[str, Any], name: str) -> str:
    return next(c["verdict"] for c in (*found["findings"], *found["claims"]) if c["id"] == name)


@pytest.fixture(scope="module")
def claimed() -> dict[str, Any]:
    return evaluate("tiny", tables(AS_CLAIMED, wer=WER), MACS)


def test_a_world_as_the_paper_says_is_found_so(claimed):
    statistics = _statistics(claimed)
    assert _verdict(claimed, "3") == "supported"
    assert _verdict(claimed, "b4a-like-hubert") == "supported"
    for name in ("middle-cca-word-aux", "middle-cca-phone-no-aux", "drop-80ms-cca-phone", "cost-macs"):
        assert statistics[name]["verdict"] == "supported", name
    assert statistics["early-peak-cca-word-down"]["estimate"] == pytest.approx(0.1, abs=0.02)
    assert statistics["drop-80ms-cca-phone"]["estimate"] == pytest.approx(-0.08, abs=0.02)


def test_a_world_where_downsampling_does_it_contradicts_the_paper():
    found = evaluate("tiny", tables({"mrhubert-base": 0.1, "b4-a": 0.1, "b2-a": 0.1}), MACS)
    assert _verdict(found, "1") == "contradicted"
    assert _verdict(found, "3") == "contradicted"
    assert _statistics(found)["middle-cca-word-aux"]["verdict"] == "contradicted"


def test_noise_resolves_nothing():
    found = evaluate("tiny", tables(AS_CLAIMED, seeds=2, noise=0.2, wer=WER), MACS)
    assert [_verdict(found, name) for name in ("1", "3")] == ["not resolved"] * 2


def test_one_seed_resolves_nothing(claimed):
    found = evaluate("tiny", tables(AS_CLAIMED, seeds=1, wer=WER), MACS)
    for statistic in _statistics(found).values():
        if statistic["estimate"] is not None and statistic["id"][:4] != "cost":
            assert statistic["verdict"] == "not resolved"
            assert "training seeds" in statistic["lacks"]


def test_equivalence_of_models_that_learned_nothing_is_no_support():
    found = evaluate("tiny", tables({}, random_level=0.5), MACS)
    statistic = _statistics(found)["middle-cca-word-aux"]
    assert (statistic["verdict"], "cannot tell models apart" in statistic["reason"]) == ("not resolved", True)


def test_statistics_have_every_key_of_the_contract(claimed):
    example = read_json(Path(__file__).parents[1] / "data" / "experiments" / "findings.json")
    assert set(claimed) == set(example)
    assert set(claimed["design"]) == set(example["design"])
    assert set(claimed["design"]["cells"][0]) == set(example["design"]["cells"][0])
    keys = set(example["findings"][0]["statistics"][0])
    for claim in (*claimed["findings"], *claimed["claims"]):
        assert set(claim) == set(example["findings"][0])
        assert all(set(statistic) == keys for statistic in claim["statistics"])
    json.dumps(claimed, allow_nan=False)


def test_ids_are_unique_and_every_claim_can_be_decided():
    stated = [statement.id for claim in (*findings(), *claims()) for statement in claim.statements]
    assert len(stated) == len(set(stated))
    assert all(any(statement.decisive for statement in claim.statements) for claim in (*findings(), *claims()))


def test_seeds_and_sets_that_one_model_lacks_do_not_count():
    whole = tables(AS_CLAIMED, seeds=4)
    partial = whole.scores.filter(
        (pl.col("cell") != "b5-a") | ((pl.col("training_seed") < 3) & (pl.col("sample_set") < 2))
    )
    statistic = _statistics(evaluate("tiny", replace(whole, scores=partial), MACS))["middle-cca-word-aux"]
    assert (statistic["n_seeds"], statistic["n_sample_sets"]) == (2, 2)


def test_values_by_seed_are_means_over_sample_sets(claimed):
    statistic = _statistics(claimed)["middle-cca-word-aux"]
    values = [each["value"] for each in statistic["values"]]
    assert [each["seed"] for each in statistic["values"]] == [1, 2, 3, 4]
    assert sum(values) / 4 == pytest.approx(statistic["estimate"])


def test_published_values_come_from_the_papers_tables(claimed):
    statistics = _statistics(claimed)
    assert statistics["residual-loss"]["published"] == pytest.approx(6.757 - 6.784)
    assert statistics["asr-inner-middle"]["published"] == pytest.approx(0.211 + 0.203 - 0.40, abs=2e-3)
    middle = 0.004 + 0.019 + 0.211 + 0.203 + 0.005 - (0.003 + 0.012 + 0.045 + 0.115 + 0.090)
    assert statistics["middle-share-asr-down"]["published"] == pytest.approx(middle, abs=2e-3)
    assert statistics["task-ks-accuracy-aux"]["published"] == pytest.approx(0.957 - 0.963)


def test_nothing_measured_is_not_resolved_with_reasons():
    nothing = Measurements(*(empty(name) for name in ("scores", "probes", "probe_weights", "residual")))
    found = evaluate("tiny", nothing, {})
    assert {claim["verdict"] for claim in (*found["findings"], *found["claims"])} == {"not resolved"}
    assert all(statistic["reason"] for statistic in _statistics(found).values())


def test_a_model_without_a_front_end_has_no_fall_from_it():
    whole = tables({}, seeds=2, scores=("cca-mel",))
    deep = whole.scores.filter(pl.col("layer").str.starts_with("T"))
    statistic = _statistics(evaluate("tiny", replace(whole, scores=deep), MACS))["fbank-fall-hubert"]
    assert (statistic["estimate"], "lacks a layer" in statistic["reason"]) == (None, True)


def test_speakers_are_an_axis_of_their_own():
    """Parts of the corpus by speakers: their spread is in the interval, their number is said, they decide nothing."""
    whole = tables(AS_CLAIMED, seeds=3)
    shifts = {"part 1": -0.1, "part 2": 0.0, "part 3": 0.1}
    parts = [
        whole.scores.with_columns(
            pl.lit(name).alias("corpus_fingerprint"),
            pl.lit("f00d").alias("part_of"),
            value=pl.col("value") + shift * (pl.col("cell") == "b5-a"),
        )
        for name, shift in shifts.items()
    ]
    found = evaluate("tiny", replace(whole, scores=pl.concat([whole.scores, *parts])), MACS)
    assert [corpus["name"] for corpus in found["design"]["corpora"]] == ["made up"]
    own, spoken = [s for s in found["findings"][0]["statistics"] if s["id"] == "middle-cca-word-aux"]
    assert (own["role"], own["n_speakers"], own["n_seeds"]) == ("primary", None, 3)
    assert (spoken["role"], spoken["n_speakers"], spoken["n_seeds"]) == ("replication", 3, 3)
    assert spoken["estimate"] == pytest.approx(own["estimate"])
    assert spoken["high"] - spoken["low"] > 5 * (own["high"] - own["low"])


def test_a_second_corpus_is_a_replication_that_decides_nothing():
    one = tables(AS_CLAIMED, seeds=3, wer=WER)
    other = tables({"mrhubert-base": -0.3}, seeds=1).scores.with_columns(
        pl.lit("other").alias("corpus"), pl.lit("beef").alias("corpus_fingerprint")
    )
    both = replace(one, scores=pl.concat([one.scores, other]))
    assert [(corpus.name, corpus.role) for corpus in corpora_of(both.scores)] == [
        ("made up", "primary"),
        ("other", "replication"),
    ]
    assert corpora_of(both.scores, primary="beef")[0].name == "other"
    found = evaluate("tiny", both, MACS)
    assert _verdict(found, "3") == "supported"
    roles = [s["role"] for s in found["findings"][2]["statistics"] if s["id"] == "early-peak-cca-word-down"]
    assert roles == ["primary", "replication"]
