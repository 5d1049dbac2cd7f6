import json
import shutil

import numpy as np
import polars as pl
import pytest
from lhotse import CutSet

from speechstrata.analysis import suite
from speechstrata.analysis.config import AnalysisConfig, ComputeConfig, Inputs
from speechstrata.analysis.suite import analyze
from speechstrata.errors import EncoderError, InputError
from speechstrata.files import sha256_of_file
from tests.analysis.speech import make_corpus, make_encoder

#: Few types and clusters, so that some two hundred words carry them.
CONFIG = AnalysisConfig(
    scores=("cca-mel", "cca-intra", "cca-phone", "cca-word", "mi-phone", "mi-word"),
    sample_sets=2,
    min_words_per_type=3,
    mi_clusters_phone=6,
    mi_clusters_word=8,
)
KEY = ["model", "layer", "score", "variant", "sample_set"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("tones"), utterances=60)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("hubert") / "small")


def run(corpus, encoder, output, *, config=CONFIG, compute=None, controls=(), **inputs):
    given = Inputs(models=(str(encoder),), corpus=str(corpus), controls=controls, **inputs)
    return analyze(given, config, compute or ComputeConfig(), output)


def scores(folder):
    return pl.read_parquet(folder / "scores.parquet").sort(KEY)


@pytest.fixture(scope="session")
def reference(corpus, encoder, tmp_path_factory):
    return run(corpus, encoder, tmp_path_factory.mktemp("run"), controls=("fbank", "random"))


def same(first, second, tolerance=0.0):
    one, two = scores(first), scores(second)
    assert one.select(KEY).equals(two.select(KEY))
    np.testing.assert_allclose(one["value"].to_numpy(), two["value"].to_numpy(), rtol=tolerance, atol=tolerance)


def test_every_layer_gets_every_score_in_every_sample_set(reference):
    table = scores(reference)
    layers = {f"conv{i}" for i in range(1, 8)} | {"projection", "T0", "T1", "T2"}
    for role in ("small", "small+random"):
        own = table.filter(pl.col("model").str.ends_with(role))
        for score in CONFIG.scores:
            chosen = own.filter(pl.col("score") == score)
            assert set(chosen["layer"]) == layers, score
            assert len(chosen) == 2 * len(layers)
    fbank = table.filter(pl.col("model") == "fbank")
    assert set(fbank["score"]) == set(CONFIG.scores) - {"cca-intra"}


def test_scores_say_what_they_must(reference):
    table = scores(reference)
    assert table["value"].is_finite().all()
    fbank = table.filter((pl.col("model") == "fbank") & (pl.col("score") == "cca-mel"))
    np.testing.assert_allclose(fbank["value"].to_numpy(), 1.0, atol=1e-6)
    itself = table.filter((pl.col("layer") == "T0") & (pl.col("score") == "cca-intra"))
    np.testing.assert_allclose(itself["value"].to_numpy(), 1.0, atol=1e-6)
    # Phones are chords: the spectrum tells them apart, and far better than shuffled labels.
    phones = table.filter((pl.col("model") == "fbank") & pl.col("score").is_in(["cca-phone", "mi-phone"]))
    assert (phones["value"] > 0.5).all()
    assert (phones["value"] > phones["baseline"] + 0.3).all()


def test_the_run_folder_can_be_made_again_from_its_own_config(reference, tmp_path):
    config = json.loads((reference / "config.json").read_text())
    inputs = {k: tuple(v) if isinstance(v, list) else v for k, v in config["inputs"].items()}
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in config["analysis"].items()}
    again = analyze(Inputs(**inputs), AnalysisConfig(**options), ComputeConfig(**config["compute"]), tmp_path / "again")
    same(reference, again)


def test_provenance_names_corpus_models_and_versions(reference):
    provenance = json.loads((reference / "provenance.json").read_text())
    assert provenance["scores_sha256"] == sha256_of_file(reference / "scores.parquet")
    assert {model["role"] for model in provenance["models"]} == {"encoder", "control"}
    assert provenance["corpus"]["utterances"] == 60
    assert provenance["corpus"]["speakers"] == 3
    assert provenance["protocol"]["name"] == "small-corpus"
    assert "torch" in provenance["packages"]
    assert not (reference / "cache").exists()


def test_workers_do_not_change_the_scores_and_batches_hardly_do(corpus, encoder, tmp_path):
    config = AnalysisConfig(**(CONFIG.__dict__ | {"sample_sets": 1, "layers": ("conv5", "T0", "T2")}))

    def with_compute(name, **compute):
        return run(corpus, encoder, tmp_path / name, config=config, compute=ComputeConfig(**compute))

    one = with_compute("one", batch_seconds=60.0, score_workers=1)
    same(one, with_compute("three", batch_seconds=60.0, score_workers=3))
    table, alone = scores(one), scores(with_compute("alone", batch_seconds=0.1, score_workers=1))
    # A state moves by 1e-6 of its size with the batch. k-means may end in another optimum for that, and in a layer of
    # random weights CCA lives on directions of little variance.
    tolerance = np.where(table["score"].str.starts_with("mi-").to_numpy(), 0.06, 5e-3)
    assert (np.abs(table["value"].to_numpy() - alone["value"].to_numpy()) <= tolerance).all()


class Killed(BaseException):
    """What a kill is to the code: nothing catches it."""


@pytest.mark.parametrize("after", [1, 9, 30])
def test_a_killed_run_continues_and_ends_as_an_undisturbed_one(corpus, encoder, tmp_path, monkeypatch, after):
    config = AnalysisConfig(**(CONFIG.__dict__ | {"layers": ("conv7", "T1", "T2")}))
    whole = run(corpus, encoder, tmp_path / "whole", config=config)
    finish, count = suite.RunFolder.finish, 0

    def dying(self, key, rows):
        nonlocal count
        count += 1
        if count > after:
            raise Killed
        finish(self, key, rows)

    monkeypatch.setattr(suite.RunFolder, "finish", dying)
    with pytest.raises(Killed):
        run(corpus, encoder, tmp_path / "killed", config=config)
    monkeypatch.undo()
    journal = (tmp_path / "killed" / "journal.jsonl").read_text().splitlines()
    assert len(journal) == after
    continued = run(corpus, encoder, tmp_path / "killed", config=config)
    assert (continued / "journal.jsonl").read_text().splitlines()[:after] == journal
    same(whole, continued)


def test_what_is_there_is_served_and_one_more_score_is_all_that_is_computed(
    reference, corpus, encoder, tmp_path, capsys
):
    folder = tmp_path / "served"
    shutil.copytree(reference, folder)
    run(corpus, encoder, folder, controls=("fbank", "random"))
    assert "already there" in capsys.readouterr().err
    assert (folder / "journal.jsonl").read_text() == (reference / "journal.jsonl").read_text()
    fewer = AnalysisConfig(**(CONFIG.__dict__ | {"scores": ("cca-word",)}))
    run(corpus, encoder, folder, config=fewer)
    assert "scores was" in capsys.readouterr().err
    assert set(scores(folder)["score"]) == {"cca-word"}
    assert (folder / "journal.jsonl").read_text() == (reference / "journal.jsonl").read_text()


def test_a_changed_corpus_is_not_served_old_results(encoder, tmp_path):
    config = AnalysisConfig(**(CONFIG.__dict__ | {"scores": ("cca-phone",), "layers": ("T1",)}))
    first = scores(run(make_corpus(tmp_path / "c", seed=1), encoder, tmp_path / "run", config=config))
    shutil.rmtree(tmp_path / "c")
    second = scores(run(make_corpus(tmp_path / "c", seed=2), encoder, tmp_path / "run", config=config))
    assert not np.array_equal(first["value"].to_numpy(), second["value"].to_numpy())


def test_other_splits_are_not_served_old_mutual_informations(corpus, encoder, tmp_path):
    config = AnalysisConfig(**(CONFIG.__dict__ | {"scores": ("cca-phone", "mi-phone"), "layers": ("T1",)}))
    tables = []
    for remainder in (0, 1):
        cuts = list(CutSet.from_file(corpus))
        for number, cut in enumerate(cuts):
            cut.custom = (cut.custom or {}) | {"split": "dev" if number % 2 == remainder else "train"}
        CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
        tables.append(scores(run(tmp_path / "cuts.jsonl", encoder, tmp_path / "run", config=config)))
    for score, same_values in (("cca-phone", True), ("mi-phone", False)):
        one, other = (table.filter(pl.col("score") == score)["value"].to_numpy() for table in tables)
        assert np.array_equal(one, other) == same_values


def problems(folder):
    return [json.loads(line) for line in (folder / "problems.jsonl").read_text().splitlines()]


def test_an_unreadable_file_is_named_and_does_not_stop_the_run(encoder, tmp_path):
    manifest = make_corpus(tmp_path / "c", utterances=30, broken=(3,))
    config = AnalysisConfig(**(CONFIG.__dict__ | {"scores": ("cca-phone",), "layers": ("T1",)}))
    folder = run(manifest, encoder, tmp_path / "run", config=config)
    assert [p["where"] for p in problems(folder) if p["what"] == "utterance"] == ["utterance-03"]
    assert scores(folder)["warning"].str.contains("spans left out").all()
    given = Inputs(models=(str(encoder),), corpus=str(manifest), controls=())
    with pytest.raises(InputError, match="utterance-03"):
        analyze(given, config, ComputeConfig(), tmp_path / "strict", strict=True)


def test_nan_in_one_layer_does_not_spoil_the_others(corpus, tmp_path):
    poisoned = make_encoder(tmp_path / "poisoned", poison=True)
    config = AnalysisConfig(**(CONFIG.__dict__ | {"layers": ("T0", "T1", "T2")}))
    folder = run(corpus, poisoned, tmp_path / "run", config=config)
    table = scores(folder)
    assert set(table["layer"]) == {"T0", "T1"}
    assert table["value"].is_finite().all()
    assert {p["what"] for p in problems(folder) if p["where"].endswith("T2")} == set(CONFIG.scores)


def test_an_unknown_model_is_reported_and_the_others_are_scored(corpus, encoder, tmp_path):
    config = AnalysisConfig(**(CONFIG.__dict__ | {"scores": ("cca-phone",), "layers": ("T1",)}))
    given = Inputs(models=(str(encoder), str(tmp_path / "missing")), corpus=str(corpus), controls=())
    folder = analyze(given, config, ComputeConfig(), tmp_path / "run")
    assert set(scores(folder)["model"]) == {str(encoder)}
    assert any(p["what"] == "model" for p in problems(folder))
    given = Inputs(models=(str(tmp_path / "missing"),), corpus=str(corpus))
    with pytest.raises(EncoderError, match="no encoder could be loaded"):
        analyze(given, config, ComputeConfig(), tmp_path / "none")


def test_vectors_speakers_other_models_and_sentences(corpus, encoder, tmp_path):
    rng = np.random.default_rng(0)
    vectors = tmp_path / "vectors.txt"
    lines = [" ".join([f"word{i}", *map(str, rng.standard_normal(4))]) for i in range(11)]
    vectors.write_text("\n".join(lines))
    speakers = tmp_path / "speakers.txt"
    speakers.write_text("speaker-0\nspeaker-1\n")
    sts = tmp_path / "sts"
    sts.mkdir()
    names = sorted(path.name for path in corpus.parent.glob("*.wav"))[:8]
    (sts / "recordings.tsv").write_text(
        "sentence\tspeaker\taudio\n" + "".join(f"s{i // 2}\tx{i}\t{corpus.parent / n}\n" for i, n in enumerate(names))
    )
    (sts / "pairs.tsv").write_text("sentence_a\tsentence_b\tscore\ns0\ts1\t1\ns0\ts2\t2.5\ns1\ts3\t4\ns2\ts3\t0\n")
    everything = ("cca-phone", "cca-word", "cca-glove", "cca-inter", "mi-word", "spoken-sts")
    config = AnalysisConfig(**(CONFIG.__dict__ | {"scores": everything, "layers": ("T0", "T2"), "sample_sets": 1}))
    other = make_encoder(tmp_path / "other")
    folder = run(
        corpus,
        encoder,
        tmp_path / "run",
        config=config,
        glove=str(vectors),
        sts=str(sts),
        inter=(f"{other}:T0",),
        training_speakers=str(speakers),
    )
    table = scores(folder).filter(pl.col("model") == str(encoder))
    variants = {s: set(table.filter(pl.col("score") == s)["variant"]) for s in everything}
    assert variants["cca-glove"] == {"", "vectors-permuted", "types-disjoint"}
    assert variants["cca-phone"] == {"", "speakers-train", "speakers-heldout"}
    assert variants["spoken-sts"] == {""}
    inter = table.filter((pl.col("score") == "cca-inter") & (pl.col("layer") == "T0"))
    np.testing.assert_allclose(inter["value"].to_numpy(), 1.0, atol=1e-6)  # the same weights, the same layer
    assert set(inter["unit"]) == {"phone", "word"}
    sentences = table.filter(pl.col("score") == "spoken-sts")
    assert sentences["n"].to_list() == [4, 4]
    assert sentences["value"].is_between(-1, 1).all()


def test_missing_material_is_said_not_guessed(corpus, encoder, tmp_path):
    config = AnalysisConfig(
        **(CONFIG.__dict__ | {"scores": ("cca-phone", "cca-glove", "cca-agwe", "spoken-sts", "cca-inter")}),
    )
    folder = run(corpus, encoder, tmp_path / "run", config=AnalysisConfig(**(config.__dict__ | {"layers": ("T1",)})))
    missing = {p["what"]: p["remedy"] for p in problems(folder)}
    assert set(missing) == {"cca-glove", "cca-agwe", "spoken-sts", "cca-inter"}
    assert "--glove" in missing["cca-glove"]
