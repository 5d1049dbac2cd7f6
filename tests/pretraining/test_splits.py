"""Speakers are kept apart, by their names alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.errors import CorpusError
from speechstrata.pretraining.splits import split_speakers


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.floats(1, 20), min_size=25, max_size=60), st.integers(0, 5))
def test_speakers_are_in_one_set_and_the_shares_are_kept(seconds: dict[str, float], seed: int) -> None:
    split = split_speakers(seconds, validation_share=0.15, test_share=0.2, seed=seed)
    assert split.train | split.validation | split.test == set(seconds)
    assert len(split.train) + len(split.validation) + len(split.test) == len(seconds)
    total = sum(seconds.values())
    for held_out, share in ((split.validation, 0.15), (split.test, 0.2)):
        assert 0 < sum(seconds[speaker] for speaker in held_out) <= 1.5 * share * total


def test_the_order_of_the_corpus_does_not_matter_and_the_seed_does() -> None:
    seconds = {f"s{n}": 1.0 + n % 3 for n in range(40)}
    backwards = dict(reversed(seconds.items()))
    shares = {"validation_share": 0.1, "test_share": 0.1}
    assert split_speakers(seconds, **shares) == split_speakers(backwards, **shares)
    assert split_speakers(seconds, **shares) != split_speakers(seconds, **shares, seed=1)


def test_a_speaker_who_is_most_of_the_corpus_trains() -> None:
    seconds = {"hero": 1000.0} | {f"s{n}": 20.0 for n in range(20)}
    split = split_speakers(seconds, validation_share=0.05, test_share=0.05)
    assert "hero" in split.train


def test_one_speaker_cannot_be_split() -> None:
    with pytest.raises(CorpusError, match="none of 1 speakers"):
        split_speakers({"only": 60.0}, validation_share=0.1, test_share=0.0)
    assert split_speakers({"only": 60.0}, validation_share=0.0, test_share=0.0).train == {"only"}
