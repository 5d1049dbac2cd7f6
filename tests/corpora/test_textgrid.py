from pathlib import Path

import pytest
from synthetic import short_textgrid, textgrid, write_nan, write_noise

from speechstrata.corpora.cuts import spans_of
from speechstrata.corpora.textgrid import TextGridOptions, prepare_textgrid, read_textgrid
from speechstrata.errors import CorpusError, InputError

WORDS = [(0.0, 0.2, ""), (0.2, 0.5, "Ahoj"), (0.5, 0.6, "sp"), (0.6, 0.9, 'svě"te'), (0.9, 1.0, "sil")]
PHONES = [(0.0, 0.2, "sil"), (0.2, 0.5, "a"), (0.5, 0.6, ""), (0.6, 0.9, "s"), (0.9, 1.0, "")]
TIERS = {"words": WORDS, "phones": PHONES}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("format", [textgrid, short_textgrid])
def test_both_formats_are_read_in_every_encoding_that_praat_writes(tmp_path, format, encoding, line_end):
    path = tmp_path / "a.TextGrid"
    with path.open("w", encoding=encoding, newline=line_end) as file:
        file.write(format(TIERS, 1.0))
    words, phones = read_textgrid(path)
    assert [(span.symbol, span.start, span.end) for span in words] == [("Ahoj", 0.2, 0.5), ('svě"te', 0.6, 0.9)]
    assert [span.symbol for span in phones] == ["a", "s"]


def test_tiers_are_found_by_name_in_any_case_and_after_a_speakers_name(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(textgrid({"anna - Words": WORDS, "anna - phones": PHONES}, 1.0))
    assert len(read_textgrid(path)[0]) == 2
    path.write_text(textgrid({"ORT": WORDS, "KAN": PHONES}, 1.0))
    assert len(read_textgrid(path, "ort", "kan")[1]) == 2
    with pytest.raises(InputError, match="no interval tier 'words'; it has ORT, KAN"):
        read_textgrid(path)
    path.write_text(textgrid({"anna - words": WORDS, "ben - words": WORDS}, 1.0))
    with pytest.raises(InputError, match="several tiers match 'words'"):
        read_textgrid(path)
    assert len(read_textgrid(path, "ben - words")[0]) == 2


def test_a_file_of_phones_alone_is_read_where_no_words_are_wanted(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(textgrid({"phones": PHONES}, 1.0))
    with pytest.raises(InputError, match="no interval tier 'words'; it has phones"):
        read_textgrid(path)
    words, phones = read_textgrid(path, word_tier="")
    assert (words, [span.symbol for span in phones]) == ([], ["a", "s"])
    path.write_text(textgrid({"words": WORDS}, 1.0))
    with pytest.raises(InputError, match="no interval tier 'phones'; it has words"):
        read_textgrid(path, word_tier="")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "this is no TextGrid",
        textgrid(TIERS, 1.0)[:300],
        textgrid({"words": [(0.0, 0.6, "a"), (0.4, 0.9, "b")]}, 1.0),
        textgrid({"words": [(0.6, 0.2, "a")]}, 1.0),
        textgrid(TIERS, 1.0).replace("0.5", "--undefined--"),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path, text):
    path = tmp_path / "a.TextGrid"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.TextGrid"):
        read_textgrid(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    for number, speaker in enumerate(("anna", "ben")):
        write_noise(tmp_path / "in" / speaker / f"{speaker}_{number}.wav", rate=44_100, channels=2, seed=number)
        (tmp_path / "in" / speaker / f"{speaker}_{number}.TextGrid").write_text(textgrid(TIERS, 1.0), encoding="utf-8")
    return tmp_path / "in"


def test_a_folder_becomes_a_corpus(folder):
    corpus = prepare_textgrid(folder, TextGridOptions(language="cs"))
    cut = corpus.cuts["anna-anna_0"]
    [supervision] = cut.supervisions
    assert (supervision.text, supervision.speaker, supervision.language) == ('ahoj svě"te', "anna", "cs")
    assert [span.symbol for span in spans_of(cut, "phone")] == ["a", "s"]
    assert cut.channel == [0, 1]
    assert corpus.counts.speakers == 2


def test_speakers_come_from_a_pattern(folder):
    corpus = prepare_textgrid(folder, TextGridOptions(speaker=r"_(\d)"))
    assert {cut.supervisions[0].speaker for cut in corpus.cuts} == {"0", "1"}


def test_textgrids_may_lie_elsewhere(folder, tmp_path):
    (tmp_path / "grids" / "flat").mkdir(parents=True)
    for grid in list(folder.rglob("*.TextGrid")):
        grid.rename(tmp_path / "grids" / "flat" / grid.name)
    corpus = prepare_textgrid(folder, TextGridOptions(alignments=tmp_path / "grids"))
    assert corpus.counts.aligned == 2


def test_what_is_wrong_is_reported_by_name(folder):
    write_noise(folder / "alone.wav")
    (folder / "lonely.TextGrid").write_text(textgrid(TIERS, 1.0), encoding="utf-8")
    write_nan(folder / "nan.wav")
    (folder / "nan.TextGrid").write_text(textgrid(TIERS, 1.0), encoding="utf-8")
    write_noise(folder / "tiny.wav", seconds=0.05)
    (folder / "tiny.TextGrid").write_text(textgrid(TIERS, 1.0), encoding="utf-8")
    (folder / "empty.wav").touch()
    (folder / "empty.TextGrid").write_text(textgrid(TIERS, 1.0), encoding="utf-8")
    write_noise(folder / "short.wav", seconds=0.5)
    (folder / "short.TextGrid").write_text(textgrid(TIERS, 1.0), encoding="utf-8")
    corpus = prepare_textgrid(folder)
    reasons = {Path(problem.item).name: problem.reason for problem in corpus.problems}
    assert reasons["alone.wav"] == "there is no TextGrid for it"
    assert reasons["lonely.TextGrid"] == "there is no audio for it"
    assert "not finite" in reasons["nan.wav"]
    assert "too short: 0.050 s" in reasons["tiny.wav"]
    assert "empty" in reasons["empty.wav"]
    assert "outside the utterance" in reasons["short"]
    assert len(corpus.cuts) == 2
    with pytest.raises(CorpusError, match="no TextGrid for it"):
        prepare_textgrid(folder, strict=True)


def test_a_folder_without_audio_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match="no audio in"):
        prepare_textgrid(tmp_path)
    with pytest.raises(CorpusError, match="no folder"):
        prepare_textgrid(tmp_path / "missing")


def test_long_recordings_are_cut_at_pauses(tmp_path):
    write_noise(tmp_path / "in" / "talk.wav", seconds=12.0)
    words = [(float(start), start + 0.8, f"w{start}") for start in (0, 1, 2, 6, 7, 8, 10, 11)]
    (tmp_path / "in" / "talk.TextGrid").write_text(textgrid({"words": words}, 12.0))
    corpus = prepare_textgrid(tmp_path / "in", TextGridOptions(max_seconds=5.0))
    assert [cut.supervisions[0].text for cut in corpus.cuts] == ["w0 w1 w2", "w6 w7 w8", "w10 w11"]
    assert [cut.id for cut in corpus.cuts] == ["talk-0001", "talk-0002", "talk-0003"]
    second = corpus.cuts["talk-0002"]
    assert (second.start, round(second.end, 3)) == (5.8, 9.0)
    assert spans_of(second, "word")[0].start == pytest.approx(0.2)


def test_a_folder_of_phones_alone_becomes_a_corpus_that_is_cut_at_its_pauses(tmp_path):
    (tmp_path / "in").mkdir()
    phones = [(0.0, 2.0, "a"), (2.0, 2.5, ""), (2.5, 4.0, "b"), (4.0, 4.2, "sil"), (4.2, 6.0, "a")]
    write_noise(tmp_path / "in" / "long.wav", 6.0)
    (tmp_path / "in" / "long.TextGrid").write_text(textgrid({"phones": phones}, 6.0))
    corpus = prepare_textgrid(tmp_path / "in", TextGridOptions(word_tier="", max_seconds=4.0))
    spans = [[span.symbol for span in spans_of(cut, "phone")] for cut in corpus.cuts]
    assert spans == [["a"], ["b", "a"]]
    assert [spans_of(cut, "word") for cut in corpus.cuts] == [[], []]
