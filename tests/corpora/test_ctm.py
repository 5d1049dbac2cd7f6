from pathlib import Path

import pytest
from synthetic import write_noise

from speechstrata.corpora.ctm import CtmOptions, prepare_ctm, read_ctm
from speechstrata.corpora.cuts import spans_of
from speechstrata.corpora.problems import ProblemLog
from speechstrata.errors import CorpusError

WORDS = """;; a comment
one 1 0.10 0.30 HELLO 0.98
one 1 0.45 0.20 <eps>
one 1 0.70 0.25 World 0.50
two A 0.00 0.90 yes
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    write_noise(tmp_path / "in" / "anna" / "one.wav", rate=8_000)
    write_noise(tmp_path / "in" / "ben" / "two.flac", seed=1)
    (tmp_path / "words.ctm").write_text(WORDS)
    return tmp_path


def test_words_and_phones_are_read(folder):
    (folder / "phones.ctm").write_text("one 1 0.10 0.10 HH_B\none 1 0.20 0.20 AH0\none 1 0.40 0.10 SIL\n")
    options = CtmOptions(words=folder / "words.ctm", phones=folder / "phones.ctm")
    corpus = prepare_ctm(folder / "in", options)
    cut = corpus.cuts["anna-one"]
    assert cut.supervisions[0].text == "hello world"
    assert [(span.symbol, span.start, span.end, span.score) for span in spans_of(cut, "word")] == [
        ("hello", 0.1, 0.4, 0.98), ("world", 0.7, 0.95, 0.5),
    ]  # fmt: skip
    assert [span.symbol for span in spans_of(cut, "phone")] == ["HH_B", "AH0"]
    assert {cut.supervisions[0].speaker for cut in corpus.cuts} == {"anna", "ben"}


def test_speakers_can_be_listed(folder):
    (folder / "utt2spk").write_text("one s1\ntwo s2\nbroken\n")
    corpus = prepare_ctm(folder / "in", CtmOptions(words=folder / "words.ctm", speakers=folder / "utt2spk"))
    assert {cut.supervisions[0].speaker for cut in corpus.cuts} == {"s1", "s2"}
    assert [problem.item for problem in corpus.problems] == ["utt2spk, line 3"]


def test_broken_lines_and_recordings_without_a_partner_are_reported(folder):
    write_noise(folder / "in" / "three.wav")
    (folder / "words.ctm").write_text(WORDS + "two A x 0.1 no\ntwo A 0.1\nfour 1 0.1 0.2 gone\n")
    corpus = prepare_ctm(folder / "in", CtmOptions(words=folder / "words.ctm"))
    reasons = {Path(problem.item).name: problem.reason for problem in corpus.problems}
    assert "not a line of a CTM file: 'two A x 0.1 no'" in reasons["words.ctm, line 6"]
    assert "words.ctm, line 7" in reasons
    assert reasons["three.wav"] == "words.ctm has nothing on it"
    assert reasons["four"] == "there is no audio for it"
    assert len(corpus.cuts) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("two A 0.80 0.50 late", "outside the utterance"),
        ("two A 0.30 -0.10 back", "ends before it begins"),
        ("two A 0.30 0.10 inside", "overlaps the word before it"),
        ("two A 0.95 nan odd", "not finite"),
    ],
)
def test_impossible_times_leave_the_utterance_out(folder, line, reason):
    (folder / "words.ctm").write_text(WORDS + line + "\n")
    corpus = prepare_ctm(folder / "in", CtmOptions(words=folder / "words.ctm"))
    [problem] = corpus.problems
    assert reason in problem.reason
    assert [cut.id for cut in corpus.cuts] == ["anna-one"]


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    (tmp_path / "words.ctm").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_ctm(tmp_path / "words.ctm", ProblemLog())


def test_recordings_that_share_a_name_are_known_by_their_place(folder):
    write_noise(folder / "in" / "ben" / "one.wav", seed=2)
    (folder / "words.ctm").write_text(WORDS + "ben-one 1 0.2 0.3 other\n")
    corpus = prepare_ctm(folder / "in", CtmOptions(words=folder / "words.ctm"))
    assert {cut.id: cut.supervisions[0].text for cut in corpus.cuts} == {"ben-one": "other", "ben-two": "yes"}
    reasons = {Path(problem.item).name: problem.reason for problem in corpus.problems}
    assert reasons["one.wav"] == "words.ctm has nothing on it; 2 files are called one"
    assert reasons["one"] == "there is no audio for it"


def test_a_byte_order_mark_is_no_part_of_the_first_name(folder):
    (folder / "words.ctm").write_text("one 1 0.10 0.30 hello\n", encoding="utf-8-sig")
    (folder / "utt2spk").write_text("one s1\n", encoding="utf-8-sig")
    options = CtmOptions(words=folder / "words.ctm", speakers=folder / "utt2spk")
    [cut] = prepare_ctm(folder / "in", options).cuts
    assert cut.supervisions[0].speaker == "s1"
