import gzip
import json
import shutil

import numpy as np
import pytest
from synthetic import write_noise

from speechstrata.audio import audio_info, load_cut
from speechstrata.corpora.corpus import CUTS_FILE, CutsFile, load_corpus, make_corpus, save_corpus, without_alignment
from speechstrata.corpora.cuts import Span, make_cut
from speechstrata.corpora.problems import Problem, ProblemLog
from speechstrata.errors import CorpusError


def make(folder, count=3, order=1):
    cuts = []
    for number in range(count)[::order]:
        path = write_noise(folder / "audio" / f"{number}.wav", seconds=1 + number / 2, seed=number)
        spans = [Span("hello", 0.1, 0.4), Span("there", 0.5, 0.9)]
        cuts.append(
            make_cut(
                f"u{number}", path, audio_info(path), text="hello there", speaker=f"s{number % 2}",
                words=spans, phones=[Span("HH", 0.1, 0.2)] if number else [], custom={"split": "train"},
            )
        )  # fmt: skip
    return make_corpus("tiny", cuts, description="noise", licence="none", problems=[Problem("x.wav", "broken")])


def test_a_corpus_is_counted():
    corpus = load_corpus("demo")
    assert vars(make_corpus("x", list(corpus.cuts)[:2], description="").counts)["utterances"] == 2


def test_counts(tmp_path):
    counts = make(tmp_path).counts
    assert vars(counts) == {
        "utterances": 3, "hours": round(4.5 / 3600, 4), "speakers": 2, "words": 6, "phones": 2, "aligned": 3,
    }  # fmt: skip


def test_a_saved_corpus_loads_as_it_was(tmp_path):
    made = make(tmp_path)
    save_corpus(made, tmp_path)
    loaded = load_corpus(tmp_path)
    assert [cut.to_dict() for cut in loaded.cuts] == [cut.to_dict() for cut in made.cuts]
    for field in ("name", "description", "licence", "language", "fingerprint", "counts", "problems"):
        assert getattr(loaded, field) == getattr(made, field)
    described = json.loads((tmp_path / "corpus.json").read_text())
    assert described["counts"]["words"] == 6
    assert described["problems"] == 1
    assert "lhotse" in described["tools"]


def test_a_lazy_corpus_has_the_same_cuts_every_time_it_is_gone_through(tmp_path):
    save_corpus(make(tmp_path), tmp_path)
    eager, lazy = load_corpus(tmp_path), load_corpus(tmp_path, lazy=True)
    for _ in range(2):
        assert [cut.to_dict() for cut in lazy.cuts] == [cut.to_dict() for cut in eager.cuts]
    assert len(lazy.cuts) == 3
    assert lazy.cuts.is_lazy
    assert (lazy.fingerprint, lazy.counts) == (eager.fingerprint, eager.counts)


def test_utterances_are_the_cuts_without_alignments(tmp_path):
    made = make(tmp_path)
    bare = [without_alignment(cut) for cut in made.cuts]
    assert [cut.id for cut in bare] == [cut.id for cut in made.cuts]
    assert all(not cut.supervisions[0].alignment for cut in bare)
    assert all(cut.supervisions[0].alignment for cut in made.cuts)
    assert bare[0].supervisions[0].text == "hello there"


def test_saving_twice_gives_the_same_bytes(tmp_path):
    made = make(tmp_path)
    save_corpus(made, tmp_path)
    before = (tmp_path / CUTS_FILE).read_bytes()
    save_corpus(load_corpus(tmp_path), tmp_path)
    assert (tmp_path / CUTS_FILE).read_bytes() == before


def test_a_folder_can_be_moved_with_its_audio(tmp_path):
    save_corpus(make(tmp_path / "here"), tmp_path / "here")
    before = [load_cut(cut, 16_000) for cut in load_corpus(tmp_path / "here").cuts]
    shutil.move(tmp_path / "here", tmp_path / "there")
    after = [load_cut(cut, 16_000) for cut in load_corpus(tmp_path / "there").cuts]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_audio_outside_the_folder_keeps_its_absolute_path(tmp_path):
    save_corpus(make(tmp_path / "source"), tmp_path / "corpus")
    shutil.move(tmp_path / "corpus", tmp_path / "elsewhere")
    assert len(load_cut(load_corpus(tmp_path / "elsewhere").cuts["u0"], 16_000)) == 16_000


def test_the_fingerprint_depends_neither_on_place_nor_on_order(tmp_path):
    assert make(tmp_path / "a").fingerprint == make(tmp_path / "b", order=-1).fingerprint
    assert make(tmp_path / "a").fingerprint != make(tmp_path / "c", count=2).fingerprint


def test_a_manifest_edited_by_hand_has_another_fingerprint(tmp_path):
    made = save_corpus(make(tmp_path), tmp_path)
    with gzip.open(tmp_path / CUTS_FILE, "rt") as file:
        text = file.read()
    with gzip.open(tmp_path / CUTS_FILE, "wt") as file:
        file.write(text.replace("hello there", "hello thear"))
    assert load_corpus(tmp_path).fingerprint != made.fingerprint


def test_utterances_of_one_id_are_refused(tmp_path):
    [cut] = make(tmp_path, count=1).cuts
    with pytest.raises(CorpusError, match="two utterances have the id 'u0'"):
        make_corpus("x", [cut, cut], description="")


def test_a_corpus_without_utterances_says_what_was_wrong():
    with pytest.raises(CorpusError, match=r"no usable utterances; the first problem: a\.wav: broken"):
        make_corpus("x", [], description="", problems=[Problem("a.wav", "broken")])


@pytest.mark.parametrize("damage", ["cuts", "json", "missing"])
def test_a_damaged_folder_is_one_clear_error(tmp_path, damage):
    save_corpus(make(tmp_path), tmp_path)
    if damage == "cuts":
        (tmp_path / CUTS_FILE).write_bytes((tmp_path / CUTS_FILE).read_bytes()[:-40])
    elif damage == "json":
        (tmp_path / "corpus.json").write_text('{"name": "x"}')
    else:
        (tmp_path / CUTS_FILE).unlink()
    with pytest.raises(CorpusError, match="cannot be read"):
        load_corpus(tmp_path)


def test_an_unknown_corpus_names_the_choices(tmp_path):
    with pytest.raises(CorpusError, match=r"no corpus 'nosuch'.*'demo'"):
        load_corpus("nosuch")
    with pytest.raises(CorpusError, match=r"has no corpus\.json"):
        load_corpus(tmp_path)


def test_strict_ends_at_the_first_problem():
    log = ProblemLog()
    log.report("a.wav", "broken")
    assert log.problems == [Problem("a.wav", "broken", skipped=True)]
    with pytest.raises(CorpusError, match=r"a\.wav: broken"):
        ProblemLog(strict=True).report("a.wav", "broken")


def test_problems_keep_whatever_characters_their_names_have(tmp_path):
    log = ProblemLog()
    log.report("a\u2028b\x85c\n.wav", "caf\udce9")
    save_corpus(make_corpus("tiny", make(tmp_path).cuts, description="", problems=log.problems), tmp_path)
    assert load_corpus(tmp_path).problems == (Problem("a\u2028b\x85c\n.wav", "caf\\udce9"),)


def test_a_lazy_corpus_that_was_cut_short_says_so_when_it_is_read(tmp_path):
    save_corpus(make(tmp_path), tmp_path)
    packed = (tmp_path / CUTS_FILE).read_bytes()
    reader = CutsFile(tmp_path / CUTS_FILE, tmp_path)
    assert len(list(reader)) == 3
    (tmp_path / CUTS_FILE).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CorpusError, match=r"cuts\.jsonl\.gz cannot be read"):
        list(reader)
