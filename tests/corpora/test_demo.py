import json
import time
from itertools import pairwise

import pytest

from speechstrata.audio import load_cut
from speechstrata.corpora import demo
from speechstrata.corpora.corpus import load_corpus
from speechstrata.corpora.cuts import spans_of
from speechstrata.corpora.text import plain_words
from speechstrata.errors import CorpusError

ARPABET = {
    "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH", "K",
    "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("demo")


def test_it_holds_what_its_description_says(corpus):
    assert vars(corpus.counts) == {
        "utterances": 551, "hours": 0.4043, "speakers": 1, "words": 3311, "phones": 12904, "aligned": 551,
    }  # fmt: skip
    assert corpus.licence == "CC-BY-SA-3.0"
    assert not corpus.problems


def test_it_fits_in_the_package_and_carries_its_licence():
    assert sum(path.stat().st_size for path in demo.DATA.iterdir()) < 12_000_000
    copyright_text = (demo.DATA / "COPYRIGHT").read_text(encoding="utf-8")
    assert "Allison Smith" in copyright_text
    assert "CC-BY-SA-3.0" in copyright_text


def test_it_loads_in_seconds():
    started = time.perf_counter()
    load_corpus("demo")
    assert time.perf_counter() - started < 10


def test_every_word_of_the_text_is_aligned_and_consists_of_its_phones(corpus):
    for cut in corpus.cuts:
        words, phones = spans_of(cut, "word"), spans_of(cut, "phone")
        assert (
            " ".join(word.symbol for word in words) == cut.supervisions[0].text == plain_words(cut.supervisions[0].text)
        )
        assert {phone.symbol for phone in phones} <= ARPABET
        for word in words:
            own = [phone for phone in phones if word.start <= phone.start < word.end]
            assert own[0].start == word.start
            assert own[-1].end == word.end
            assert all(before.end == after.start for before, after in pairwise(own))
        assert all(any(word.start <= phone.start < word.end for word in words) for phone in phones)
        assert words[-1].end <= cut.duration + 1e-6


def test_known_prompts_say_what_they_say(corpus):
    assert corpus.cuts["digits/7"].supervisions[0].text == "seven"
    assert [phone.symbol for phone in spans_of(corpus.cuts["digits/7"], "phone")] == ["S", "EH", "V", "AH", "N"]
    assert corpus.cuts["phonetic/x_p"].supervisions[0].text == "x ray"


@pytest.mark.parametrize("name", ["agent-incorrect", "digits/7", "vm-goodbye"])
def test_the_audio_is_there_in_full_and_loudest_inside_the_words(corpus, name):
    cut = corpus.cuts[name]
    samples = load_cut(cut, 16_000)
    assert len(samples) == cut.recording.num_samples
    words = spans_of(cut, "word")
    inside = samples[round(words[0].start * 16_000) : round(words[-1].end * 16_000)]
    before = samples[: max(round(words[0].start * 16_000), 1)]
    assert (inside**2).mean() > 10 * (before**2).mean()


def test_the_transcripts_keep_the_prompt_as_written():
    rows = [json.loads(line) for line in (demo.DATA / demo.UTTERANCES).read_text(encoding="utf-8").splitlines()]
    assert {row["id"]: row["prompt"] for row in rows}["digits/h-40"] == "fourtieth"


def test_without_its_data_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "DATA", tmp_path)
    with pytest.raises(CorpusError, match="install speechstrata again"):
        demo.load_demo()
