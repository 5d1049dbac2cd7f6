"""Corpora that carry little, inputs that change, options that cannot be: nothing is left out without a word."""

import json

import numpy as np
import polars as pl
import pytest
from lhotse import CutSet

from speechstrata.analysis.config import AnalysisConfig, ComputeConfig, Inputs
from speechstrata.analysis.suite import analyze
from speechstrata.errors import InputError, TooFewSamplesError
from tests.analysis.speech import make_corpus, make_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("hubert") / "small")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("tones"), utterances=40)


def run(corpus, encoder, output, *scores, strict=False, inputs=None, **config):
    given = Inputs(models=(str(encoder),), corpus=str(corpus), controls=(), **(inputs or {}))
    settings = {"layers": ("T1",), "sample_sets": 1, "min_words_per_type": 3, "mi_clusters_phone": 6} | config
    return analyze(given, AnalysisConfig(scores=scores, **settings), ComputeConfig(), output, strict=strict)


def table(folder):
    return pl.read_parquet(folder / "scores.parquet")


def problems(folder):
    return {row["what"]: row["reason"] for row in map(json.loads, (folder / "problems.jsonl").read_text().splitlines())}


def without(corpus, path, unit):
    """The corpus without the alignments of a unit, or of any."""
    cuts = []
    for cut in CutSet.from_file(corpus):
        alignment = dict(cut.supervisions[0].alignment)
        cut.supervisions[0].alignment = {name: items for name, items in alignment.items() if unit and name != unit}
        cuts.append(cut)
    CutSet.from_cuts(cuts).to_file(path)
    return path


def test_a_corpus_of_two_utterances_says_what_it_cannot_carry(encoder, tmp_path):
    corpus = make_corpus(tmp_path / "c", utterances=2)
    scores = ("cca-mel", "cka-mel", "cca-intra", "cca-word", "mi-word", "cka-phone")
    folder = run(corpus, encoder, tmp_path / "run", *scores, sample_sets=3, min_words_per_type=10)
    assert set(table(folder)["score"]) == {"cka-phone"}
    noted = problems(folder)
    assert noted["cca-mel, cka-mel, cca-intra"] == "2 utterances cannot make 3 sample sets of frames"
    assert noted["cca-word"] == "no word occurs often enough"
    assert "mi-word" in noted
    with pytest.raises(TooFewSamplesError, match="often enough"):
        run(corpus, encoder, tmp_path / "strict", *scores, strict=True, min_words_per_type=10)


def test_a_corpus_of_one_utterance_is_one_clear_error_or_its_frames(encoder, tmp_path):
    corpus = make_corpus(tmp_path / "c", utterances=1)
    folder = run(corpus, encoder, tmp_path / "run", "cka-mel", "mi-phone")
    assert table(folder)["n"].to_list()[0] > 50
    assert "of other utterances" in problems(folder)["mi-phone"]
    with pytest.raises(InputError, match="no score could be computed: mi-phone: "):
        run(corpus, encoder, tmp_path / "none", "mi-phone")


@pytest.mark.parametrize(("kept", "lost"), [("word", "phone"), ("phone", "word")])
def test_words_without_phones_and_phones_without_words(corpus, encoder, tmp_path, kept, lost):
    corpus = without(corpus, tmp_path / "cuts.jsonl", lost)
    folder = run(corpus, encoder, tmp_path / "run", "cca-word", "cca-phone")
    assert set(table(folder)["score"]) == {f"cca-{kept}"}
    assert problems(folder) == {f"{lost} scores": f"the corpus has no {lost} alignments"}


def test_without_alignments_nothing_is_called_published(corpus, encoder, tmp_path):
    folder = run(without(corpus, tmp_path / "cuts.jsonl", None), encoder, tmp_path / "run", "cka-mel")
    assert json.loads((folder / "provenance.json").read_text())["protocol"]["name"] == "small-corpus"


def test_another_model_can_be_the_only_comparison(corpus, encoder, tmp_path):
    other = make_encoder(tmp_path / "other")
    folder = run(corpus, encoder, tmp_path / "run", "cca-inter", inputs={"inter": (f"{other}:T1",)})
    found = table(folder).filter(pl.col("model") == str(encoder))
    assert set(found["score"]) == {"cca-inter"}
    assert sorted(found["unit"]) == ["phone", "word"]
    np.testing.assert_allclose(found["value"].to_numpy(), 1.0, atol=1e-6)  # the same weights


def test_a_model_is_not_compared_with_itself_in_silence(corpus, encoder, tmp_path):
    folder = run(corpus, encoder, tmp_path / "run", "cca-phone", "cca-inter", inputs={"inter": (f"{encoder}:T1",)})
    assert problems(folder) == {"cca-inter": "it is the model that is analysed"}


def test_changed_word_vectors_of_the_same_name_are_noticed(corpus, encoder, tmp_path):
    rng = np.random.default_rng(0)
    given = {"glove": str(tmp_path / "vectors.txt")}
    values = []
    for _ in range(2):
        lines = [" ".join([f"word{number}", *map(str, rng.standard_normal(4))]) for number in range(12)]
        (tmp_path / "vectors.txt").write_text("\n".join(lines))
        found = table(run(corpus, encoder, tmp_path / "run", "cca-glove", inputs=given, controls=False))
        values.append(found["value"].to_numpy())
    assert not np.array_equal(*values)


def test_a_changed_list_of_training_speakers_is_noticed(corpus, encoder, tmp_path):
    counts = []
    for known in ("speaker-0\n", "speaker-0\nspeaker-1\n"):
        (tmp_path / "speakers.txt").write_text(known)
        given = {"training_speakers": str(tmp_path / "speakers.txt")}
        found = table(run(corpus, encoder, tmp_path / "run", "cka-phone", inputs=given))
        counts.append(found.filter(pl.col("variant") == "speakers-train")["n"].item())
    assert counts[0] < counts[1]


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_reference_that_is_not_finite_spoils_cca_intra_alone(corpus, encoder, tmp_path, value):
    import torch
    from transformers import HubertModel

    whole = table(run(corpus, encoder, tmp_path / "whole", "cca-mel", layers=("conv7",)))
    model = HubertModel.from_pretrained(encoder)
    with torch.no_grad():
        model.encoder.layer_norm.weight.fill_(float(value))  # what comes out of it is T0
    model.save_pretrained(tmp_path / "spoilt")
    folder = run(corpus, tmp_path / "spoilt", tmp_path / "run", "cca-mel", "cca-intra", layers=("conv7", "T0"))
    found = table(folder)
    assert found["layer"].to_list() == ["conv7"]
    assert found["value"].to_list() == whole["value"].to_list()
    assert problems(folder)["cca-intra"].endswith("not finite")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_sets": 0}, "--sample_sets is 0"),
        ({"top_words": -1}, "--top_words is -1"),
        ({"min_span_seconds": float("nan")}, "--min_span_seconds is nan"),
        ({"mi_clusters_word": 1}, "--mi_clusters_word is 1"),
        ({"scores": ("cca-wrod",)}, "no score 'cca-wrod'"),
        ({"controls_": ("randm",)}, "no control 'randm'"),
        ({"batch_seconds": 0.0}, r"--batch_seconds is 0\.0"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_done(tmp_path, options, message):
    options = dict(options)
    inputs = Inputs(models=("fbank",), controls=options.pop("controls_", ()))
    compute = ComputeConfig(batch_seconds=options.pop("batch_seconds", 40.0))
    with pytest.raises(InputError, match=message):
        analyze(inputs, AnalysisConfig(**options), compute, tmp_path / "run")
    assert not (tmp_path / "run").exists()
