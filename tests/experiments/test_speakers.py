import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import CutSet

from speechstrata.corpora.corpus import load_corpus
from speechstrata.errors import CorpusError
from speechstrata.experiments.speakers import part_file, speaker_groups, write_parts
from tests.pretraining.conftest import tone_cut

_speakers = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0.1, 1e4), min_size=3, max_size=30)


@given(_speakers, st.integers(1, 3))
def test_groups_hold_every_speaker_once_and_balance(seconds, groups):
    found = speaker_groups(seconds, groups)
    assert sorted(name for members in found for name in members) == sorted(seconds)
    totals = [sum(seconds[name] for name in members) for members in found]
    assert all(found)
    assert max(totals) - min(totals) <= max(seconds.values()) + 1e-6


def test_more_groups_than_speakers_are_refused():
    with pytest.raises(CorpusError, match="speaker-groups"):
        speaker_groups({"a": 1.0}, 2)


def test_parts_share_no_speaker_and_lose_no_utterance(tmp_path):
    rng = np.random.default_rng(0)
    cuts = [tone_cut(tmp_path, f"u{n}", f"s{n % 5}", ["A", "E", "S"], rng) for n in range(20)]
    manifest = tmp_path / "all.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(manifest)
    write_parts(str(manifest), "all", 2, tmp_path / "out")
    parts = [list(load_corpus(part_file(tmp_path / "out", "all", number)).cuts) for number in range(2)]
    speakers = [{cut.supervisions[0].speaker for cut in part} for part in parts]
    assert not speakers[0] & speakers[1]
    assert sorted(cut.id for part in parts for cut in part) == sorted(cut.id for cut in cuts)
    first = part_file(tmp_path / "out", "all", 0).read_bytes()
    write_parts(str(manifest), "all", 2, tmp_path / "out")
    assert part_file(tmp_path / "out", "all", 0).read_bytes() == first
