import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.corpora.text import normalise_transcript, plain_words, spell_number, spell_ordinal

inflect = pytest.importorskip("inflect") if importlib.util.find_spec("inflect") else None


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Login incorrect.  Mailbox?", "login incorrect mailbox"),
        ("Dr. O'Neil's 3 cats -- dancin'!", "doctor o'neil's three cats dancin'"),
        ("“It’s” ‘quoted’ 'quoted'", "it's quoted quoted"),
        ("get 'em 'til noon", "get 'em 'til noon"),
        ("the girls' dogs'", "the girls dogs"),
        ("at 3:05 P.M. or 5:00", "at three oh five p m or five o'clock"),
        ("at 19:00 Hours", "at nineteen hundred hours"),
        ("$5.50, £1 and €2", "five dollars fifty one pound and two euros"),
        (
            "in 1949, 1906, 1900 and 2010",
            "in nineteen forty nine nineteen oh six nineteen hundred and two thousand ten",
        ),
        ("1,234 or 28.8", "one thousand two hundred thirty four or twenty eight point eight"),
        ("the 1st, 2nd, 12th, 20th and 21st", "the first second twelfth twentieth and twenty first"),
        ("3D, B2B", "three d b two b"),
        ("full-featured x-ray", "full featured x ray"),
        ("a TV's PBX, HMM GRRR", "a t v's p b x hmm grrr"),
        ("THE TV IS LOUD", "the tv is loud"),
        ("50% & more", "fifty percent and more"),
        ("at [@] <beep> {noise} dash", "at dash"),
        ("café naïve", "cafe naive"),
        ("...", ""),
        ("", ""),
        ("9999999999999999", " ".join(["nine"] * 16)),
    ],
)
def test_transcripts_become_the_words_that_are_spoken(written, spoken):
    assert normalise_transcript(written) == spoken


@given(st.text())
def test_normalised_text_has_only_lower_case_words_and_stays_as_it_is(text):
    once = normalise_transcript(text)
    assert set(once) <= set("abcdefghijklmnopqrstuvwxyz' ")
    assert once == " ".join(once.split())
    assert normalise_transcript(once) == once


@pytest.mark.skipif(inflect is None, reason="inflect comes with g2p-en (the extra 'align')")
@given(st.integers(0, 10**15 - 1))
def test_numbers_are_spelt_as_inflect_spells_them(number):
    engine = inflect.engine()
    expected = engine.number_to_words(number, andword="").replace(",", "").replace("-", " ")
    assert spell_number(number) == " ".join(expected.split())
    ordinal = engine.number_to_words(engine.ordinal(number), andword="").replace(",", "").replace("-", " ")
    assert spell_ordinal(number) == " ".join(ordinal.split())


def test_plain_words_keep_any_script():
    assert plain_words("Čau, SVĚTE! Don't 'x' 42.") == "čau světe don't x 42"
    assert plain_words("हिन्दी भाषा।") == "हिन्दी भाषा"


def test_a_number_of_any_length_is_read():
    assert normalise_transcript("9" * 16) == " ".join(["nine"] * 16)
    assert normalise_transcript("1" * 15).startswith("one hundred eleven trillion")
    for text in ("7" * 5000, "7" * 5000 + "x", "$" + "7" * 5000 + ".50", ",".join(["777"] * 2000)):
        assert normalise_transcript(text).startswith("seven seven seven")
