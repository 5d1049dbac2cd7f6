import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from synthetic import write_nan, write_noise

from speechstrata.audio import AudioInfo, audio_info, read_audio
from speechstrata.corpora.align import JOURNAL, align_corpus
from speechstrata.corpora.corpus import load_corpus, make_corpus
from speechstrata.corpora.cuts import make_cut, spans_of
from speechstrata.corpora.problems import Problem
from speechstrata.errors import CorpusError

FESTIVAL = Path(__file__).parents[1] / "data" / "corpora" / "festival"
needs_aligner = pytest.mark.skipif(
    importlib.util.find_spec("pocketsphinx") is None or importlib.util.find_spec("g2p_en") is None,
    reason="pocketsphinx and g2p-en are not installed (the extra 'align')",
)


def noise_corpus(folder: Path, count: int = 12, texts=None, language: str = "en"):
    cuts = []
    for number in range(count):
        path = write_noise(folder / f"{number}.wav", seed=number)
        text = texts[number] if texts else f"Number {number}!"
        cuts.append(make_cut(f"u{number:02d}", path, audio_info(path), text=text, speaker="s", language=language))
    return make_corpus("noise", cuts, description="noise", language=language)


def align_in_halves(cut, text):
    """Stands for the aligner: the words share the time evenly, and the calls are written down."""
    with Path(os.environ["SPEECHSTRATA_TEST_CALLS"]).open("a") as calls:
        calls.write(f"{cut.id}\n")
    words = text.split()
    step = cut.duration / len(words)
    rows = [[word, round(i * step, 4), round((i + 1) * step, 4), -1.0] for i, word in enumerate(words)]
    return {"words": rows, "phones": [["AH", row[1], row[2]] for row in rows]}


def align_until_killed(cut, text):
    if cut.id == "u05":
        raise KeyboardInterrupt
    return align_in_halves(cut, text)


def align_with_a_crash(cut, text):
    if cut.id == "u05":
        os._exit(11)
    return align_in_halves(cut, text)


def align_none(cut, text):
    return {"reason": "not aligned: no path", "unreadable": cut.id == "u01"}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    path = tmp_path / "calls.txt"
    monkeypatch.setenv("SPEECHSTRATA_TEST_CALLS", str(path))
    return lambda: path.read_text().split() if path.exists() else []


def alignments(corpus):
    return {cut.id: (cut.supervisions[0].text, spans_of(cut, "word"), spans_of(cut, "phone")) for cut in corpus.cuts}


def test_every_utterance_gets_its_alignment_and_keeps_what_was_written(tmp_path, calls):
    aligned = align_corpus(noise_corpus(tmp_path / "in"), tmp_path / "out", workers=1, align=align_in_halves)
    cut = aligned.cuts["u07"]
    assert cut.supervisions[0].text == "number seven"
    assert cut.custom["written"] == "Number 7!"
    assert [(word.symbol, word.start, word.end) for word in spans_of(cut, "word")] == [
        ("number", 0.0, 0.5),
        ("seven", 0.5, 1.0),
    ]
    assert alignments(load_corpus(tmp_path / "out")) == alignments(aligned)
    assert aligned.counts.aligned == 12
    assert "alignment" in aligned.details


def test_a_cut_that_begins_later_is_aligned_from_its_own_start(tmp_path, calls):
    path = write_noise(tmp_path / "a.wav", seconds=3.0)
    cut = make_cut("u", path, audio_info(path), text="one two", speaker="s", start=1.0, end=2.0)
    aligned = align_corpus(make_corpus("x", [cut], description=""), tmp_path / "out", workers=1, align=align_in_halves)
    assert aligned.cuts["u"].supervisions[0].alignment["word"][1].start == 1.5
    assert spans_of(aligned.cuts["u"], "word")[1].start == 0.5


def test_two_processes_give_what_one_gives(tmp_path, calls):
    corpus = noise_corpus(tmp_path / "in")
    one = align_corpus(corpus, tmp_path / "one", workers=1, align=align_in_halves)
    two = align_corpus(corpus, tmp_path / "two", workers=2, align=align_in_halves)
    assert one.fingerprint == two.fingerprint
    assert alignments(one) == alignments(two)


@pytest.mark.parametrize("torn", ['{"key": "a line that was being writ', "7\n", "[" * 5000 + "\n"])
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, calls, torn):
    corpus = noise_corpus(tmp_path / "in")
    with pytest.raises(KeyboardInterrupt):
        align_corpus(corpus, tmp_path / "out", workers=1, align=align_until_killed)
    assert len(calls()) == 5
    with (tmp_path / "out" / JOURNAL).open("a") as journal:
        journal.write(torn)
    resumed = align_corpus(corpus, tmp_path / "out", workers=1, align=align_in_halves)
    assert sorted(calls()) == sorted(cut.id for cut in corpus.cuts)
    whole = align_corpus(corpus, tmp_path / "fresh", workers=1, align=align_in_halves)
    assert resumed.fingerprint == whole.fingerprint
    rows = [json.loads(line) for line in (tmp_path / "out" / JOURNAL).read_text().splitlines()]
    assert len(rows) == 12


def test_a_finished_run_is_served_and_a_changed_text_is_noticed(tmp_path, calls):
    align_corpus(noise_corpus(tmp_path / "in"), tmp_path / "out", workers=1, align=align_in_halves)
    align_corpus(noise_corpus(tmp_path / "in"), tmp_path / "out", workers=1, align=align_in_halves)
    assert len(calls()) == 12
    texts = [f"Number {number}!" for number in range(12)]
    texts[3] = "another"
    changed = align_corpus(
        noise_corpus(tmp_path / "in", texts=texts), tmp_path / "out", workers=1, align=align_in_halves
    )
    assert calls()[12:] == ["u03"]
    assert spans_of(changed.cuts["u03"], "word")[0].symbol == "another"


def test_an_utterance_that_crashes_its_process_is_found_out(tmp_path, calls):
    aligned = align_corpus(noise_corpus(tmp_path / "in"), tmp_path / "out", workers=2, align=align_with_a_crash)
    assert aligned.problems == (Problem("u05", "not aligned: the aligner crashed on it", skipped=False),)
    assert aligned.counts.aligned == 11


def test_what_cannot_be_aligned_stays_and_what_cannot_be_read_goes(tmp_path):
    corpus = noise_corpus(tmp_path / "in", count=3)
    aligned = align_corpus(corpus, tmp_path / "out", workers=1, align=align_none)
    assert [cut.id for cut in aligned.cuts] == ["u00", "u02"]
    assert [(problem.item, problem.skipped) for problem in aligned.problems] == [
        ("u00", False), ("u01", True), ("u02", False),
    ]  # fmt: skip
    assert not aligned.cuts["u00"].supervisions[0].alignment
    with pytest.raises(CorpusError, match="u00: not aligned: no path"):
        align_corpus(corpus, tmp_path / "strict", workers=1, align=align_none, strict=True)


def test_only_english_with_transcripts_can_be_aligned(tmp_path):
    with pytest.raises(CorpusError, match="is in 'cs'; the acoustic model is English"):
        align_corpus(noise_corpus(tmp_path / "in", language="cs"), tmp_path / "out")
    silent = noise_corpus(tmp_path / "in", count=1, texts=["..."])
    with pytest.raises(CorpusError, match="has no transcripts to align"):
        align_corpus(silent, tmp_path / "out")


@needs_aligner
def test_words_and_phones_are_found_where_the_synthesiser_put_them(tmp_path):
    """Festival knows to the sample when each phone of its diphone voice begins."""
    references = [json.loads(path.read_text()) for path in sorted(FESTIVAL.glob("*.json"))]
    cuts = []
    for number, reference in enumerate(references):
        path = FESTIVAL / f"{number}.flac"
        cuts.append(make_cut(str(number), path, audio_info(path), text=reference["text"], speaker=""))
    aligned = align_corpus(make_corpus("festival", cuts, description=""), tmp_path, workers=1)
    errors: dict[str, list[float]] = {"word": [], "phone": []}
    for number, reference in enumerate(references):
        cut = aligned.cuts[str(number)]
        assert [word.symbol for word in spans_of(cut, "word")] == [row[0] for row in reference["words"]]
        for unit in ("word", "phone"):
            spans = spans_of(cut, unit)
            if len(spans) == len(reference[f"{unit}s"]):
                errors[unit] += [span.start - row[1] for span, row in zip(spans, reference[f"{unit}s"], strict=True)]
    assert len(errors["word"]) >= 30
    assert len(errors["phone"]) >= 60
    for unit in ("word", "phone"):
        absolute = np.abs(errors[unit])
        assert np.median(absolute) < 0.020
        assert (absolute < 0.05).mean() > 0.93
        assert abs(np.median(errors[unit])) < 0.012


@needs_aligner
def test_the_packaged_alignment_is_made_again_in_any_order_and_number_of_processes(tmp_path):
    demo = load_corpus("demo")
    names = ["digits/7", "agent-incorrect", "confbridge-unlocked", "letters/e", "vm-goodbye", "phonetic/x_p"]
    first = make_corpus("a", [demo.cuts[name] for name in names], description="")
    second = make_corpus("b", [demo.cuts[name] for name in reversed(names)], description="")
    one = align_corpus(first, tmp_path / "one", workers=1)
    two = align_corpus(second, tmp_path / "two", workers=2)
    assert one.fingerprint == two.fingerprint == first.fingerprint


@needs_aligner
def test_the_aligner_names_what_stops_it(tmp_path):
    path = write_noise(tmp_path / "noise.wav", seconds=0.4)
    nan = write_nan(tmp_path / "nan.wav")
    silence = tmp_path / "short.wav"
    soundfile.write(silence, np.zeros(2_000), 16_000)
    cuts = [
        make_cut("long", path, audio_info(path), text="far too many words for such a short noise to hold", speaker=""),
        make_cut("empty", path, audio_info(path), text="!", speaker=""),
        make_cut("nan", nan, AudioInfo(16_000, 1, 16_000), text="hello", speaker=""),
        make_cut("gone", tmp_path / "gone.wav", AudioInfo(16_000, 1, 16_000), text="hello", speaker=""),
    ]
    cuts.append(load_corpus("demo").cuts["digits/7"])
    aligned = align_corpus(make_corpus("x", cuts, description=""), tmp_path / "out", workers=1)
    reasons = {problem.item: problem.reason for problem in aligned.problems}
    assert reasons["long"] == "not aligned: no path of its 11 words through 0.40 s of audio"
    assert reasons["empty"] == "not aligned: the transcript has no words"
    assert "not finite" in reasons["nan"]
    assert "no file" in reasons["gone"]
    assert [cut.id for cut in aligned.cuts] == ["long", "empty", "digits/7"]


@needs_aligner
def test_words_outside_the_dictionary_are_aligned_by_their_predicted_sounds(tmp_path):
    demo = load_corpus("demo").cuts["digits/7"]
    from speechstrata.corpora.aligner import Aligner

    samples = read_audio(demo.recording.sources[0].source, 16_000)
    aligned = Aligner()(samples, "sevven")  # no dictionary has it
    assert [word.symbol for word in aligned.words] == ["sevven"]
    assert aligned.phones[0].symbol == "S"
    named = Aligner({"blorp": "S EH V AH N"})(samples, "blorp")
    assert [phone.symbol for phone in named.phones] == ["S", "EH", "V", "AH", "N"]
    assert named.words[0].score > aligned.words[0].score - 1e-9
