import subprocess
import sys
from pathlib import Path

import pytest
from queen_writer import VOICES, game
from synthetic import textgrid, write_noise

from speechstrata.audio import load_cut
from speechstrata.corpora.corpus import load_corpus
from speechstrata.corpora.kinds import KINDS, PrepareOptions
from speechstrata.corpora.prepare import prepare_corpus, summary
from speechstrata.errors import CorpusError


@pytest.fixture
def grids(tmp_path) -> Path:
    for name in ("one", "two"):
        write_noise(tmp_path / "in" / f"{name}.wav", seed=len(name))
        (tmp_path / "in" / f"{name}.TextGrid").write_text(textgrid({"words": [(0.1, 0.9, "hello")]}, 1.0))
    return tmp_path / "in"


def test_a_kind_and_a_source_make_a_folder(grids, tmp_path):
    made = prepare_corpus("textgrid", grids, tmp_path / "out", name="mine", workers=1)
    loaded = load_corpus(tmp_path / "out")
    assert (loaded.name, loaded.fingerprint) == ("mine", made.fingerprint)
    assert loaded.details["kind"] == "textgrid"
    assert made.folder == tmp_path / "out"


def test_copied_audio_makes_the_folder_stand_on_its_own(grids, tmp_path):
    made = prepare_corpus("textgrid", grids, tmp_path / "out", copy_audio=True, workers=1)
    for path in grids.iterdir():
        path.unlink()
    (tmp_path / "out").rename(tmp_path / "moved")
    corpus = load_corpus(tmp_path / "moved")
    assert corpus.fingerprint == made.fingerprint
    assert all(len(load_cut(cut, 16_000)) == 16_000 for cut in corpus.cuts)


def test_a_folder_is_written_again_only_by_its_own_kind(grids, tmp_path):
    prepare_corpus("textgrid", grids, tmp_path / "out", workers=1)
    prepare_corpus("textgrid", grids, tmp_path / "out", workers=1)
    with pytest.raises(CorpusError, match="already holds the corpus 'in'"):
        prepare_corpus("transcripts", grids, tmp_path / "out", workers=1)


def test_the_game_is_prepared_without_alignment_on_demand(tmp_path):
    (tmp_path / "queen.1c").write_bytes(game())
    corpus = prepare_corpus(
        "amazon-queen", tmp_path / "queen.1c", tmp_path / "out", PrepareOptions(align=False), workers=1
    )
    assert load_corpus(tmp_path / "out").counts.utterances == len(VOICES)
    assert corpus.folder == tmp_path / "out"


def test_ctm_and_manifests_go_through_the_same_door(grids, tmp_path):
    (tmp_path / "w.ctm").write_text("one 1 0.1 0.5 hello\ntwo 1 0.1 0.5 there\n")
    made = prepare_corpus("ctm", grids, tmp_path / "ctm", PrepareOptions(words=tmp_path / "w.ctm"), workers=1)
    again = prepare_corpus("lhotse", tmp_path / "ctm" / "cuts.jsonl.gz", tmp_path / "lhotse", workers=1)
    assert again.counts == made.counts
    with pytest.raises(CorpusError, match="needs a CTM file of words"):
        prepare_corpus("ctm", grids, tmp_path / "x", workers=1)


@pytest.mark.parametrize(
    ("kind", "source", "options", "reason"),
    [
        ("nosuch", ".", {}, "no kind of corpus 'nosuch' — the kinds are: amazon-queen, librispeech"),
        ("textgrid", None, {}, "needs a source"),
        ("textgrid", ".", {"splits": ("dev-clean",)}, "has no option 'splits'"),
    ],
)
def test_wrong_usage_is_told_with_the_choices(tmp_path, kind, source, options, reason):
    with pytest.raises(CorpusError) as caught:
        prepare_corpus(kind, source, tmp_path / "out", PrepareOptions(**options))
    assert reason in str(caught.value)


def test_every_option_belongs_to_a_kind():
    used = {option for kind in KINDS.values() for option in kind.options}
    assert used == set(vars(PrepareOptions()))


def test_the_kinds_import_nothing_heavy():
    code = "import sys, speechstrata.corpora.kinds; print({'lhotse', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_summary_counts_and_gives_examples(grids, tmp_path):
    for number in range(3):
        write_noise(grids / f"alone{number}.wav", seed=number)
    text = summary(prepare_corpus("textgrid", grids, tmp_path / "out", workers=1))
    assert "2 utterances" in text
    assert "2 aligned: 2 words, 0 phones" in text
    assert "3 items skipped, 0 kept with a lack; all in" in text
    assert "3 x e.g." in text
    assert "there is no TextGrid for it" in text


def test_a_corpus_without_problems_has_one_line(grids, tmp_path):
    assert "\n" not in summary(prepare_corpus("textgrid", grids, tmp_path / "out", workers=1))
