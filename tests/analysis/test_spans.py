from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.analysis.spans import (
    collect_spans,
    count_speakers,
    frame_ranges,
    normalise_label,
    whole_utterances,
)
from speechstrata.encoders.base import Layer

RATE = 16_000
AT_20_MS = Layer("T1", 320, 199.5, 768, "transformer")
AT_80_MS = Layer("T5", 1280, 679.5, 768, "transformer")


def ranges(start, end, layer=AT_20_MS, frames=100, unit="phone", rule="published"):
    first, stop = frame_ranges(np.array([start]), np.array([end]), layer, RATE, np.array([frames]), unit, rule)
    return int(first[0]), int(stop[0])


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.00, 0.02, (0, 1)),  # one frame keeps it
        (0.00, 0.04, (1, 2)),  # of two frames the second, as the public rule has it
        (0.00, 0.06, (1, 2)),
        (0.00, 0.12, (2, 4)),
        (0.10, 0.19, (7, 8)),
        (0.58, 0.60, (29, 30)),  # 0.58 / 0.02 is 28.999... in floating point
    ],
)
def test_a_phone_takes_its_middle_third_by_the_published_rule(start, end, expected):
    assert ranges(start, end) == expected


def test_a_word_takes_every_frame_it_touches():
    assert ranges(0.10, 0.19, unit="word") == (5, 10)
    assert ranges(0.10, 0.19, unit="word", layer=AT_80_MS) == (1, 3)


def test_a_span_at_the_end_of_the_audio_takes_the_last_frame():
    assert ranges(1.99, 2.0, frames=99) == (98, 99)
    assert ranges(1.98, 2.02, frames=99, unit="word") == (98, 99)


def test_the_centred_rule_takes_frames_whose_centres_lie_in_the_middle_third():
    # 20 ms frames are centred at 199.5, 519.5, ...; the middle third of 0..0.12 s is samples 640..1280.
    assert ranges(0.0, 0.12, rule="centred") == (2, 4)
    # Shorter than a frame at 80 ms: the one frame that covers its middle.
    assert ranges(0.10, 0.14, layer=AT_80_MS, rule="centred") == (1, 2)


def published_by_hand(start, end, stride, frames):
    first = (Fraction(round(start * RATE)) // Fraction(stride)).__floor__()
    stop = -((-Fraction(round(end * RATE))) // Fraction(stride)).__floor__()
    third = (stop - first + 1) // 3
    first, stop = first + third, stop - third
    if stop <= first:
        stop = first + 1
    first = min(first, frames - 1)
    return first, max(min(stop, frames), first + 1)


@given(
    st.integers(0, 300),
    st.integers(1, 60),
    st.sampled_from([320, 384, 480, 640, 1280, Fraction(640, 3)]),
    st.integers(1, 200),
    st.sampled_from(["published", "centred"]),
    st.sampled_from(["phone", "word"]),
)
def test_every_span_has_frames_inside_the_utterance(begin, length, stride, frames, rule, unit):
    layer = Layer("x", stride, 200.0, 4, "transformer")
    start, end = begin / 100, (begin + length) / 100
    first, stop = ranges(start, end, layer, frames, unit, rule)
    assert 0 <= first < stop <= frames
    if rule == "published" and unit == "phone":
        assert (first, stop) == published_by_hand(start, end, stride, frames)


def alignment(*items):
    return [SimpleNamespace(symbol=s, start=5 + a, duration=d, score=None) for s, a, d in items]


def cut(name, speaker, **alignments):
    # Alignment times are those of the recording, and this cut begins five seconds into it.
    return SimpleNamespace(id=name, start=5.0, supervisions=[SimpleNamespace(speaker=speaker, alignment=alignments)])


def test_collecting_drops_silence_stress_and_spans_that_are_too_short():
    cuts = [
        cut("u1", "ann", phone=alignment(("SIL", 0, 0.1), ("HH", 0.1, 0.05), ("AH0", 0.15, 0.1), ("spn", 0.3, 1))),
        cut("u2", "bob", phone=alignment(("AH1", 0.0, 0.2), ("L", 0.2, 0.01))),
    ]
    spans = collect_spans(cuts, "phone", min_seconds=0.02)
    assert spans.labels == ("AH", "HH")
    assert [spans.labels[i] for i in spans.label] == ["HH", "AH", "AH"]
    np.testing.assert_array_equal(spans.utterance, [0, 0, 1])
    np.testing.assert_allclose(spans.end, [0.15, 0.25, 0.2])
    assert spans.speakers == ("ann", "bob")


def test_words_keep_their_apostrophes_and_lose_their_case():
    assert normalise_label("Don't", "word") == "don't"
    assert normalise_label("<eps>", "word") is None


def test_a_corpus_without_that_unit_gives_an_empty_table():
    spans = collect_spans([cut("u1", "ann", word=alignment(("a", 0, 1)))], "phone")
    assert len(spans) == 0
    assert spans.utterance_ids == ("u1",)


def test_whole_utterances_are_labelled_by_their_ids():
    spans = whole_utterances(["b", "a"], ["x", "y"], [1.0, 2.0])
    assert [spans.labels[i] for i in spans.label] == ["b", "a"]


def test_the_largest_speakers_share_is_of_the_audio():
    assert count_speakers(["a", "b", "a"], [1.0, 1.0, 2.0]) == (2, 0.75)
    assert count_speakers(["a", "", ""], [1.0, 1.0, 2.0]) == (1, 0.25)
    assert count_speakers(["", ""], [1.0, 1.0]) == (0, 0.0)
    assert count_speakers([], []) == (0, 0.0)
