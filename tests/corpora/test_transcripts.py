import os
from pathlib import Path

import pytest
from synthetic import write_noise

from speechstrata.corpora.corpus import load_corpus, save_corpus
from speechstrata.corpora.transcripts import TranscriptOptions, prepare_transcripts
from speechstrata.errors import CorpusError


@pytest.fixture
def folder(tmp_path) -> Path:
    write_noise(tmp_path / "in" / "anna" / "1.wav")
    write_noise(tmp_path / "in" / "ben" / "2.wav", seed=1)
    return tmp_path / "in"


def texts(corpus) -> dict[str, tuple[str, str]]:
    return {cut.id: (cut.supervisions[0].text, cut.supervisions[0].speaker) for cut in corpus.cuts}


def test_text_files_beside_the_audio_are_taken_as_they_are_written(folder):
    (folder / "anna" / "1.txt").write_text("Hello,\n World!\n")
    (folder / "ben" / "2.lab").write_text("42")
    assert texts(prepare_transcripts(folder)) == {"anna-1": ("Hello, World!", "anna"), "ben-2": ("42", "ben")}


def test_a_table_gives_texts_and_speakers(folder, tmp_path):
    table = tmp_path / "t.tsv"
    table.write_text("anna-1\tHello\tA\n2\tYes\nnine\tgone\nno tab\n")
    corpus = prepare_transcripts(folder, TranscriptOptions(table=table))
    assert texts(corpus) == {"anna-1": ("Hello", "A"), "ben-2": ("Yes", "ben")}
    assert [(problem.item, problem.reason) for problem in corpus.problems] == [
        ("nine", "there is no audio for it"),
        ("t.tsv, line 4", "not an utterance, a tab, and a text"),
    ]


def test_missing_empty_and_unreadable_transcripts_are_reported(folder):
    (folder / "anna" / "1.txt").write_text("here")
    (folder / "ben" / "2.txt").write_text("  \n")
    write_noise(folder / "3.wav")
    (folder / "3.txt").write_bytes(b"\xff\xfea")
    write_noise(folder / "4.wav")
    write_noise(folder / "5.wav")
    (folder / "5.txt").mkdir()
    corpus = prepare_transcripts(folder)
    reasons = {Path(problem.item).name: problem.reason for problem in corpus.problems}
    assert reasons["2.txt"] == "the transcript is empty"
    assert "is not UTF-8 text" in reasons["3.txt"]
    assert "cannot read" in reasons["5.txt"]
    assert reasons["4.wav"] == "there is no transcript for it"
    assert list(texts(corpus)) == ["anna-1"]


def test_a_missing_table_is_an_error(folder):
    with pytest.raises(CorpusError, match="table of transcripts"):
        prepare_transcripts(folder, TranscriptOptions(table=folder / "none.tsv"))


def test_tables_of_other_editors_are_read_line_by_line(folder, tmp_path):
    table = tmp_path / "t.tsv"
    table.write_bytes("\ufeff1\tone\u2028more\tA\r\n2\ttwo\r\n".encode())
    corpus = prepare_transcripts(folder, TranscriptOptions(table=table))
    assert texts(corpus) == {"anna-1": ("one\u2028more", "A"), "ben-2": ("two", "ben")}


def test_names_that_are_not_utf_8_are_reported(folder):
    (folder / "anna" / "1.txt").write_text("here")
    spoilt = folder / os.fsdecode(b"caf\xe9.wav")
    try:
        write_noise(folder / "x.wav").rename(spoilt)
    except OSError:
        pytest.skip("this file system takes no such name")
    spoilt.with_suffix(".txt").write_text("there")
    corpus = save_corpus(prepare_transcripts(folder), folder.parent / "out")
    assert list(texts(corpus)) == ["anna-1"]
    reasons = {Path(problem.item).name: problem.reason for problem in load_corpus(folder.parent / "out").problems}
    assert reasons["caf\\udce9.wav"] == "its name is not UTF-8"


def test_of_two_files_of_one_id_the_first_is_taken_and_the_other_reported(folder):
    (folder / "anna" / "1.txt").write_text("here")
    write_noise(folder / "anna" / "1.flac", seed=3)
    write_noise(folder / "anna-1.wav", seed=4)
    corpus = prepare_transcripts(folder)
    assert list(texts(corpus)) == ["anna-1"]
    reasons = {Path(problem.item).name: problem.reason for problem in corpus.problems}
    assert reasons["1.wav"] == reasons["anna-1.wav"] == "anna/1.flac has the same id, anna-1"
