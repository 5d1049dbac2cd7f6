import json

import pytest
from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
from lhotse.supervision import AlignmentItem
from synthetic import write_noise

from speechstrata.audio import load_cut
from speechstrata.corpora.corpus import load_corpus
from speechstrata.corpora.cuts import spans_of
from speechstrata.corpora.manifests import load_manifest_corpus
from speechstrata.errors import CorpusError


def recording(folder, name="r", seconds=4.0, seed=0) -> Recording:
    return Recording.from_file(write_noise(folder / f"{name}.wav", seconds=seconds, seed=seed), recording_id=name)


def segment(name="a", start=0.0, duration=2.0, text="Hello, there!", speaker="s", items=(), unit="word"):
    alignment = {unit: [AlignmentItem(*item) for item in items]} if items else None
    return SupervisionSegment(name, "r", start, duration, text=text, speaker=speaker, alignment=alignment)


def write_cuts(folder, *segments, seconds=4.0):
    cut = recording(folder, seconds=seconds).to_cut()
    cut.supervisions = list(segments)
    path = folder / "cuts.jsonl.gz"
    CutSet.from_cuts([cut]).to_file(path)
    return path


def test_a_manifest_of_cuts_is_a_corpus(tmp_path):
    path = write_cuts(tmp_path, segment(items=[("Hello", 0.1, 0.4), ("there", 0.6, 0.4)]))
    corpus = load_corpus(path)
    assert corpus.name == "cuts"
    [cut] = corpus.cuts
    assert cut.supervisions[0].text == "hello there"
    assert [(span.symbol, span.start, span.end) for span in spans_of(cut, "word")] == [
        ("Hello", 0.1, 0.5), ("there", 0.6, 1.0),
    ]  # fmt: skip


def test_recordings_and_supervisions_are_cut_into_utterances(tmp_path):
    RecordingSet.from_recordings([recording(tmp_path)]).to_file(tmp_path / "recordings.jsonl")
    segments = [segment("a", 0.0, 1.5), segment("b", 2.0, 1.5, items=[("hello", 2.25, 0.5)])]
    SupervisionSet.from_segments(segments).to_file(tmp_path / "supervisions.jsonl")
    corpus = load_manifest_corpus(tmp_path / "recordings.jsonl", tmp_path / "supervisions.jsonl", check=True)
    first, second = corpus.cuts
    assert (first.start, second.start) == (0.0, 2.0)
    assert [(span.start, span.end) for span in spans_of(second, "word")] == [(0.25, 0.75)]
    assert len(load_cut(second, 16_000)) == 24_000


@pytest.mark.parametrize("unit", ["phone", "phones", "phoneme"])
def test_phones_are_found_under_their_usual_names(tmp_path, unit):
    [cut] = load_corpus(write_cuts(tmp_path, segment(items=[("AH0", 0.1, 0.4)], unit=unit))).cuts
    assert [span.symbol for span in spans_of(cut, "phone")] == ["AH0"]


def test_relative_paths_are_taken_from_the_manifests_folder(tmp_path):
    path = write_cuts(tmp_path, segment())
    CutSet.from_file(path).to_file(tmp_path / "plain.jsonl")
    described = json.loads((tmp_path / "plain.jsonl").read_text())
    described["recording"]["sources"][0]["source"] = "r.wav"
    (tmp_path / "plain.jsonl").write_text(json.dumps(described))
    [cut] = load_corpus(tmp_path / "plain.jsonl").cuts
    assert len(load_cut(cut, 16_000)) == 64_000


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([("a", 3.0, 2.0)], "outside the utterance"),
        ([("a", 1.0, -0.5)], "ends before it begins"),
        ([("a", 0.1, 1.0), ("b", 0.5, 1.0)], "overlaps"),
    ],
)
def test_impossible_alignments_leave_the_cut_out(tmp_path, items, reason):
    write_noise(tmp_path / "b" / "r.wav")
    good = recording(tmp_path / "c", name="good").to_cut()
    good.supervisions = [segment("good")]
    bad = recording(tmp_path).to_cut()
    bad.supervisions = [segment(items=items)]
    CutSet.from_cuts([good, bad]).to_file(tmp_path / "cuts.jsonl")
    corpus = load_corpus(tmp_path / "cuts.jsonl")
    assert len(corpus.cuts) == 1
    [problem] = corpus.problems
    assert reason in problem.reason


def test_cuts_that_are_no_utterances_are_reported(tmp_path):
    plain = recording(tmp_path).to_cut()
    padded = recording(tmp_path, "p").to_cut().pad(duration=5.0)
    gone = recording(tmp_path, "gone").to_cut()
    short = recording(tmp_path, "short", seconds=0.05).to_cut()
    CutSet.from_cuts([plain, padded, gone, short]).to_file(tmp_path / "cuts.jsonl")
    (tmp_path / "gone.wav").unlink()
    corpus = load_corpus(tmp_path / "cuts.jsonl")
    reasons = " | ".join(problem.reason for problem in corpus.problems)
    assert "MixedCut is not one recorded utterance" in reasons
    assert "no audio file" in reasons
    assert "too short" in reasons
    [cut] = corpus.cuts
    assert cut.supervisions[0].text == ""


def test_checking_finds_files_that_are_not_what_the_manifest_says(tmp_path):
    cuts = []
    for number, name in enumerate(("good", "shorter", "slower", "broken")):
        cuts.append(recording(tmp_path, name, seed=number).to_cut())
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl")
    write_noise(tmp_path / "shorter.wav", seconds=1.0)
    write_noise(tmp_path / "slower.wav", seconds=4.0, rate=8_000)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    corpus = load_manifest_corpus(tmp_path / "cuts.jsonl", check=True, workers=2)
    assert len(corpus.cuts) == 1
    assert corpus.cuts[0].custom["audio_sha256"]
    reasons = " | ".join(problem.reason for problem in corpus.problems)
    assert "ends at 4.000 s, its audio at 1.000 s" in reasons
    assert "at 8000 Hz, the manifest says 16000 Hz" in reasons
    assert "not audio" in reasons


def test_another_manifest_or_file_is_one_clear_error(tmp_path):
    RecordingSet.from_recordings([recording(tmp_path)]).to_file(tmp_path / "recordings.jsonl")
    with pytest.raises(CorpusError, match="holds a RecordingSet, not cuts"):
        load_corpus(tmp_path / "recordings.jsonl")
    (tmp_path / "x.jsonl").write_text("{")
    with pytest.raises(CorpusError, match="cannot be read as a lhotse manifest"):
        load_corpus(tmp_path / "x.jsonl")
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(CorpusError, match="cannot be read as a lhotse manifest"):
        load_corpus(tmp_path / "x.txt")
