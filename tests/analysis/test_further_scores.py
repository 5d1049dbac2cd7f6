"""CKA, the probe, ABX and the time-averaged control in the whole job: samples, splits, journal, report."""

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from speechstrata.analysis.config import FURTHER_SCORES, SMALL_CORPUS, AnalysisConfig, ComputeConfig, Inputs
from speechstrata.analysis.model_names import inter_parts
from speechstrata.analysis.samples import draw_samples, row_plan, unit_sets
from speechstrata.analysis.sampling import abx_blocks, sample_abx
from speechstrata.analysis.spans import Spans
from speechstrata.analysis.suite import analyze
from tests.analysis.speech import make_corpus, make_encoder

CONFIG = AnalysisConfig(scores=("cca-phone", *FURTHER_SCORES), layers=("T0", "T2"), sample_sets=2, min_words_per_type=3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("tones"), utterances=30)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("hubert") / "small")


def run(corpus, models, output, config=CONFIG, **inputs):
    return analyze(Inputs(models=models, corpus=str(corpus), **inputs), config, ComputeConfig(score_workers=1), output)


@pytest.fixture(scope="module")
def reference(corpus, encoder, tmp_path_factory):
    models = (str(encoder), f"averaged:40ms:{encoder}", "averaged:40ms:fbank")
    return run(corpus, models, tmp_path_factory.mktemp("run"))


def scores(folder):
    return pl.read_parquet(folder / "scores.parquet")


def test_every_layer_of_every_model_gets_every_score(reference, encoder):
    table = scores(reference)
    names = {str(encoder), f"averaged:40ms:{encoder}"}
    names |= {f"{name}+random" for name in names}
    assert set(table["model"]) == names | {"fbank", "averaged:40ms:fbank"}
    for name in names:
        own = table.filter(pl.col("model") == name)
        for score in CONFIG.scores:
            here = own.filter((pl.col("score") == score) & (pl.col("variant") == ""))
            assert sorted(here["layer"]) == sorted(CONFIG.layers * 2), (name, score)
    assert set(table.filter(pl.col("variant") == "debiased")["score"]) == {"cka-phone", "cka-word"}
    assert set(table.filter(pl.col("model") == "averaged:40ms:fbank")["score"]) == set(CONFIG.scores)
    assert not (reference / "problems.jsonl").read_text()


def test_the_averaged_model_is_at_its_own_resolution(reference, encoder):
    table = scores(reference)
    own = table.filter(pl.col("model") == f"averaged:40ms:{encoder}")
    assert set(own["stride_ms"]) == {40.0}
    inner = table.filter((pl.col("model") == str(encoder)) & (pl.col("layer") == "T0"))
    assert set(inner["stride_ms"]) == {20.0}
    models = json.loads((reference / "provenance.json").read_text())["models"]
    roles = {model["name"]: (model["role"], model["control_of"]) for model in models}
    assert roles[f"averaged:40ms:{encoder}"] == ("encoder", None)
    assert roles[f"averaged:40ms:{encoder}+random"] == ("control", f"averaged:40ms:{encoder}")
    offsets = {layer["name"]: layer["offset_ms"] for layer in models[1]["layers"]}
    assert offsets["T0"] == pytest.approx(359.5 / 16)


def test_scores_and_baselines_are_what_they_must_be(reference):
    table = scores(reference)
    fbank = table.filter(pl.col("model") == "fbank")

    def of(score, variant=""):
        return fbank.filter((pl.col("score") == score) & (pl.col("variant") == variant)).sort("sample_set")

    np.testing.assert_allclose(of("cka-mel")["value"], 1, atol=1e-6)
    assert (of("probe-phone")["value"] > 0.9).all()  # phones are chords
    assert (of("abx-phone")["value"] > 0.9).all()
    assert set(of("abx-phone")["baseline"]) == {0.5}
    assert of("probe-phone")["baseline"].is_between(0.15, 0.45).all()  # four phones
    assert set(of("probe-phone")["reference"]) == {"disjoint utterances"}  # three speakers are too few
    assert set(of("abx-phone")["reference"]) == {"within context"}
    plain, without = of("cka-phone"), of("cka-phone", "debiased")
    assert plain["n"].to_list() == of("cca-phone")["n"].to_list()  # the same sample
    np.testing.assert_allclose(plain["value"] - plain["baseline"], without["value"], atol=0.02)
    assert without["baseline"].null_count() == 2


def test_one_more_score_is_all_that_is_computed_and_options_are_part_of_the_key(reference, corpus, encoder, tmp_path):
    folder = tmp_path / "served"
    shutil.copytree(reference, folder)
    before = (folder / "journal.jsonl").read_text().splitlines()

    def more(**options):
        run(corpus, (str(encoder),), folder, replace(CONFIG, **options), controls=())
        return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()[len(before) :]]

    assert more() == []
    added = more(abx_context="any")
    assert {row["score"] for entry in added for row in entry["rows"]} == {"abx-phone"}
    assert {row["reference"] for entry in added for row in entry["rows"]} == {"any context"}
    before = (folder / "journal.jsonl").read_text().splitlines()
    added = more(probe_split="speaker", abx_context="any")
    assert {(row["score"], row["reference"]) for entry in added for row in entry["rows"]} == {
        ("probe-phone", "disjoint speakers")
    }


def test_scores_of_subsets_of_speakers(corpus, encoder, tmp_path):
    known = tmp_path / "speakers.txt"
    known.write_text("speaker-0\nspeaker-1\n")
    config = replace(CONFIG, scores=("cka-phone", "probe-phone", "abx-phone"), layers=("T0",), sample_sets=1)
    folder = run(corpus, (str(encoder),), tmp_path / "run", config, controls=(), training_speakers=str(known))
    table = scores(folder)
    for score in config.scores:
        variants = set(table.filter(pl.col("score") == score)["variant"]) - {"debiased"}
        assert variants == {"", "speakers-train", "speakers-heldout"}, score


# What is drawn


def many_spans(speakers=8, seed=0, n=4000, utterances=80):
    rng = np.random.default_rng(seed)
    utterance = np.sort(rng.integers(0, utterances, n))
    start = np.concatenate([0.1 * np.arange(count) for count in np.bincount(utterance, minlength=utterances)])
    return Spans(
        "phone",
        utterance,
        start,
        start + 0.1,
        rng.integers(0, 5, n),
        tuple("ABCDE"),
        tuple(f"u{number}" for number in range(utterances)),
        tuple(f"s{number % speakers}" if speakers else "" for number in range(utterances)),
    )


def test_an_abx_sample_is_of_whole_contexts_that_hold_a_triple():
    spans = many_spans()
    config = AnalysisConfig(scores=("abx-phone",), abx_contexts=20, abx_per_phone=3)
    context, speaker = abx_blocks(spans, "within")
    drawn = [sample_abx(spans, config, number) for number in range(3)]
    for rows in drawn:
        blocks = {}
        for row in rows:
            blocks.setdefault((context[row], speaker[row]), []).append(spans.label[row])
        assert len(blocks) == 20
        for labels in blocks.values():
            counts = np.bincount(labels)
            assert counts.max() <= 3
            assert (counts >= 2).any()
            assert (counts > 0).sum() >= 2
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], sample_abx(spans, config, 0))
    allowed = np.array(spans.speakers)[spans.utterance] == "s3"
    assert allowed[sample_abx(spans, config, 0, allowed)].all()
    assert not len(sample_abx(spans, config, 0, np.zeros(len(spans), bool)))


def probe_view(spans, **options):
    config = AnalysisConfig(scores=("probe-phone",), sample_sets=1, **options)
    drawn = draw_samples(spans, SMALL_CORPUS, ("",) * 80, config, {})
    plan = row_plan(spans, drawn)
    (view,) = unit_sets(plan, drawn, SMALL_CORPUS, config, {})[0].probes
    return view, spans.utterance[plan.spans_of_rows[view.rows]]


@pytest.mark.parametrize(
    ("speakers", "options", "expected", "parts"),
    [
        (8, {}, "disjoint speakers", 8),
        (20, {}, "disjoint speakers", 10),
        (3, {}, "disjoint utterances", 10),
        (0, {}, "disjoint utterances", 10),  # unknown speakers
        (3, {"probe_split": "speaker"}, "disjoint speakers", 3),
        (20, {"probe_split": "utterance"}, "disjoint utterances", 10),
    ],
)
def test_parts_of_a_probe_share_no_speaker_or_no_utterance(speakers, options, expected, parts):
    spans = many_spans(speakers)
    view, utterance = probe_view(spans, **options)
    assert view.reference == expected
    assert len(np.unique(view.parts)) == parts
    group = np.array(spans.speakers)[utterance] if expected.endswith("speakers") else utterance
    for each in np.unique(group):
        assert len(np.unique(view.parts[group == each])) == 1


def test_one_speaker_with_most_of_the_speech_is_not_held_out():
    spans = many_spans(8)
    names = tuple("s0" if number < 50 else name for number, name in enumerate(spans.speakers))
    view, _ = probe_view(replace(spans, speakers=names))
    assert view.reference == "disjoint utterances"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hubert", ("hubert", None)),
        ("hubert:T9", ("hubert", "T9")),
        ("averaged:40ms:hubert", ("averaged:40ms:hubert", None)),
        ("averaged:40ms:hubert:T9", ("averaged:40ms:hubert", "T9")),
    ],
)
def test_a_layer_of_an_averaged_model_can_be_named(text, expected):
    assert inter_parts(text) == expected
