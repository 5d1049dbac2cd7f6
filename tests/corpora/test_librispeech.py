from pathlib import Path

import pytest
from synthetic import textgrid, write_nan, write_noise

from speechstrata.corpora.cuts import spans_of
from speechstrata.corpora.librispeech import LibriSpeechOptions, prepare_librispeech, read_condensed_alignments
from speechstrata.corpora.problems import ProblemLog
from speechstrata.errors import CorpusError

WORDS = [(0.0, 0.2, ""), (0.2, 0.5, "go"), (0.5, 0.9, "don't"), (0.9, 1.0, "")]
PHONES = [(0.0, 0.2, "sil"), (0.2, 0.3, "G"), (0.3, 0.5, "OW1"), (0.5, 0.9, "D"), (0.9, 1.0, "sp")]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The release's layout, with audio, transcripts and TextGrids beside each other."""
    root = tmp_path / "LibriSpeech"
    for split, speaker, chapter in (("dev-clean", 84, 121123), ("train-clean-5", 1088, 134315)):
        folder = root / split / str(speaker) / str(chapter)
        for number in range(2):
            name = f"{speaker}-{chapter}-{number:04d}"
            write_noise(folder / f"{name}.flac", seed=number)
            (folder / f"{name}.TextGrid").write_text(textgrid({"words": WORDS, "phones": PHONES}, 1.0))
        lines = [f"{speaker}-{chapter}-{number:04d} GO DON'T" for number in range(2)]
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("\n".join(lines) + "\n")
    (root / "SPEAKERS.TXT").write_text("; ID | SEX | SUBSET\n84   | F | dev-clean | 8.0 | A Reader\n")
    return root


def problems(corpus) -> dict[str, str]:
    return {Path(problem.item).name: problem.reason for problem in corpus.problems}


def test_words_and_phones_come_with_text_speaker_split_and_gender(release):
    corpus = prepare_librispeech(release)
    assert [cut.id for cut in corpus.cuts] == [
        "84-121123-0000", "84-121123-0001", "1088-134315-0000", "1088-134315-0001",
    ]  # fmt: skip
    cut = corpus.cuts["84-121123-0000"]
    [supervision] = cut.supervisions
    assert (supervision.text, supervision.speaker, supervision.gender) == ("go don't", "84", "F")
    assert (cut.custom["split"], cut.custom["chapter"]) == ("dev-clean", "121123")
    assert [(span.symbol, span.start, span.end) for span in spans_of(cut, "word")] == [
        ("go", 0.2, 0.5), ("don't", 0.5, 0.9),
    ]  # fmt: skip
    assert [span.symbol for span in spans_of(cut, "phone")] == ["G", "OW1", "D"]
    assert not corpus.problems
    assert corpus.licence == "CC-BY-4.0"


@pytest.mark.parametrize("place", ["LibriSpeech/..", ".", "dev-clean"])
def test_the_folder_above_the_release_and_a_splits_own_folder_do_as_well(release, place):
    given = {"LibriSpeech/..": release.parent, ".": release, "dev-clean": release / "dev-clean"}[place]
    assert "84-121123-0000" in {cut.id for cut in prepare_librispeech(given).cuts}


def test_splits_can_be_chosen(release):
    corpus = prepare_librispeech(release, LibriSpeechOptions(splits=("train-clean-5",)))
    assert corpus.name == "mini-librispeech"
    assert {cut.custom["split"] for cut in corpus.cuts} == {"train-clean-5"}
    with pytest.raises(CorpusError, match="no split 'test-other'"):
        prepare_librispeech(release, LibriSpeechOptions(splits=("test-other",)))


def test_alignments_may_lie_in_a_tree_of_their_own(release, tmp_path):
    for grid in list(release.rglob("*.TextGrid")):
        target = tmp_path / "alignments" / grid.relative_to(release)
        target.parent.mkdir(parents=True, exist_ok=True)
        grid.rename(target)
    corpus = prepare_librispeech(release, LibriSpeechOptions(alignments=tmp_path / "alignments"))
    assert corpus.counts.aligned == 4


def test_condensed_alignments_give_words(release):
    for grid in release.rglob("*.TextGrid"):
        grid.unlink()
    folder = release / "dev-clean" / "84" / "121123"
    (folder / "84-121123.alignment.txt").write_text(
        '84-121123-0000 ",GO,,DON\'T," "0.200,0.500,0.600,0.900,1.000"\n'
        '84-121123-0001 ",GO,DON\'T," "0.2,0.5"\n'
        "a broken line\n"
    )
    corpus = prepare_librispeech(release)
    spans = spans_of(corpus.cuts["84-121123-0000"], "word")
    assert [(span.symbol, span.start, span.end) for span in spans] == [("go", 0.2, 0.5), ("don't", 0.6, 0.9)]
    reasons = problems(corpus)
    assert reasons["84-121123.alignment.txt, line 2"].endswith("4 words, 2 times")
    assert "line 3" in " ".join(reasons)
    assert reasons["84-121123-0001"] == "there is no alignment for it"
    assert len(corpus.cuts) == 4
    assert corpus.counts.aligned == 1


def test_condensed_alignments_agree_with_lhotses_reader(tmp_path):
    from lhotse.recipes.librispeech import parse_alignments

    path = tmp_path / "84-121123.alignment.txt"
    path.write_text('84-121123-0000 ",GO,,DO,YOU,HEAR," "0.490,0.890,1.270,1.380,1.490,1.890,2.09"\n')
    theirs = [item for item in parse_alignments(path)["84-121123-0000"] if item.symbol]
    ours = read_condensed_alignments(path, ProblemLog())["84-121123-0000"]
    assert [(span.symbol, span.start, span.end) for span in ours] == [
        (item.symbol, item.start, pytest.approx(item.end)) for item in theirs
    ]


def test_everything_that_is_wrong_is_reported_and_the_rest_is_there(release):
    folder = release / "dev-clean" / "84" / "121123"
    write_noise(folder / "84-121123-0002.flac")  # no transcript
    (folder / "84-121123-0001.flac").write_bytes(b"fLaC and no more")
    with (folder / "84-121123.trans.txt").open("a") as file:
        file.write("84-121123-0003 NO AUDIO\n84-121123-0004\n")
    (release / "train-clean-5" / "1088" / "134315" / "1088-134315-0000.TextGrid").unlink()
    beyond = [(0.0, 0.5, "go"), (0.5, 1.9, "don't")]
    grid = textgrid({"words": beyond, "phones": []}, 1.9)
    (release / "train-clean-5" / "1088" / "134315" / "1088-134315-0001.TextGrid").write_text(grid)
    corpus = prepare_librispeech(release, workers=2)
    reasons = problems(corpus)
    assert reasons["84-121123-0002"] == "there is no transcript for it"
    assert "not audio" in reasons["84-121123-0001.flac"]
    assert reasons["84-121123-0003"] == "there is no audio for it"
    assert "no transcript after" in reasons["84-121123.trans.txt, line 4"]
    assert reasons["1088-134315-0000"] == "there is no alignment for it"
    assert "outside the utterance" in reasons["1088-134315-0001"]
    assert sorted(cut.id for cut in corpus.cuts) == ["1088-134315-0000", "84-121123-0000"]
    with pytest.raises(CorpusError):
        prepare_librispeech(release, strict=True)


def test_without_checking_only_headers_are_read(release):
    write_nan(release / "dev-clean" / "84" / "121123" / "84-121123-0000.wav")
    assert len(prepare_librispeech(release, check=False).cuts) == 4


def test_another_folder_is_one_clear_error(tmp_path):
    with pytest.raises(CorpusError, match="no split of LibriSpeech"):
        prepare_librispeech(tmp_path)


def test_other_names_and_a_chapter_that_is_no_text_do_not_stop_it(release):
    folder = release / "dev-clean" / "84" / "121123"
    write_noise(folder / "84-121123-x-1.flac")
    with (folder / "84-121123.trans.txt").open("a") as file:
        file.write("84-121123-x-1 MORE\n")
    (release / "train-clean-5" / "1088" / "134315" / "1088-134315.trans.txt").write_bytes(b"\xff\xfe")
    corpus = prepare_librispeech(release)
    cut = corpus.cuts["84-121123-x-1"]
    assert (cut.supervisions[0].speaker, cut.custom["chapter"]) == ("84", "121123")
    assert "is not UTF-8 text" in problems(corpus)["1088-134315.trans.txt"]
    assert len(corpus.cuts) == 3
