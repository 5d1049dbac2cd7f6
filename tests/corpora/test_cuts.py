import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import write_noise

from speechstrata.audio import AudioInfo
from speechstrata.corpora.cuts import TIME_TOLERANCE, Span, check_spans, cut_digest, make_cut, spans_of
from speechstrata.errors import InputError

INFO = AudioInfo(16_000, 1, 32_000)  # two seconds


def cut(**changed):
    values = {"text": "a b", "speaker": "s", "words": [Span("a", 0.1, 0.5), Span("b", 0.5, 1.0)]}
    return make_cut("u", "x.wav", INFO, **(values | changed))


def test_a_cut_holds_what_it_was_given():
    made = cut(phones=[Span("AH0", 0.1, 0.5, 3.0)], gender="F", custom={"scene": 1})
    [supervision] = made.supervisions
    assert (made.id, made.duration, supervision.text, supervision.speaker) == ("u", 2.0, "a b", "s")
    assert spans_of(made, "word") == [Span("a", 0.1, 0.5), Span("b", 0.5, 1.0)]
    assert spans_of(made, "phone") == [Span("AH0", 0.1, 0.5, 3.0)]
    assert made.custom == {"scene": 1}


def test_alignments_are_kept_from_the_recordings_start_and_given_from_the_cuts():
    made = cut(start=0.5, end=1.5, words=[Span("a", 0.75, 1.25)])
    assert made.supervisions[0].alignment["word"][0].start == 0.75
    assert spans_of(made, "word") == [Span("a", 0.25, 0.75)]


def test_a_recording_of_two_channels_makes_a_cut_of_both():
    made = make_cut("u", "x.wav", AudioInfo(8_000, 2, 8_000), text="", speaker="")
    assert made.channel == [0, 1]


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([Span("a", 0.5, 0.4)], "ends before it begins"),
        ([Span("a", 0.5, 0.5)], "ends before it begins"),
        ([Span("a", 0.1, math.nan)], "not finite"),
        ([Span("a", 0.1, math.inf)], "not finite"),
        ([Span("a", math.nan, 0.2)], "not finite"),
        ([Span("a", 0.1, 2.2)], "outside the utterance"),
        ([Span("a", -0.2, 0.2)], "outside the utterance"),
        (
            [Span("a", 0.1, 0.8), Span("b", 0.6, 1.0)],
            "'b' at 0.6-1.0 s: overlaps the word before it, which ends at 0.8",
        ),
        ([Span("a", 0.1, 0.5), Span("b", 0.47, 0.49)], "nothing of it is left"),
    ],
)
def test_impossible_times_are_refused_by_name(spans, reason):
    with pytest.raises(InputError) as caught:
        cut(words=spans)
    assert reason in caught.value.message
    assert "word '" in caught.value.message


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [(0.0, 0.05, "too short"), (0.0, 3.0, "not inside"), (-1.0, 1.0, "not inside"), (0.0, math.nan, "not inside")],
)
def test_an_utterance_must_lie_in_its_audio(start, end, reason):
    with pytest.raises(InputError, match=reason):
        cut(start=start, end=end, words=[])


def test_small_overhangs_are_trimmed():
    items = check_spans([Span("a", 0.0, 0.52), Span("b", 0.5, 2.03)], "word", 0.0, 2.0)
    assert [(item.start, round(item.end, 6)) for item in items] == [(0.0, 0.52), (0.52, 2.0)]


def test_spans_come_out_in_order_without_silences():
    items = check_spans([Span("b", 1.0, 1.5), Span(" ", 0.5, 1.0), Span("a", 0.0, 0.5)], "word", 0.0, 2.0)
    assert [item.symbol for item in items] == ["a", "b"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", ""]), st.floats(-0.5, 2.5), st.floats(-0.5, 2.5)).map(lambda t: Span(*t)),
        max_size=6,
    )
)
def test_what_is_accepted_is_ordered_inside_and_near_to_what_was_given(spans):
    try:
        items = check_spans(spans, "word", 0.0, 2.0)
    except InputError:
        return
    given_spans = sorted((span for span in spans if span.symbol), key=lambda span: span.start)
    assert len(items) == len(given_spans)
    end = 0.0
    for item, span in zip(items, given_spans, strict=True):
        assert end <= item.start + 2e-6
        assert item.duration > 0
        assert abs(item.start - span.start) <= TIME_TOLERANCE + 2e-6
        assert abs(item.end - span.end) <= TIME_TOLERANCE + 2e-6
        end = item.end
    assert end <= 2.0 + 2e-6


def test_the_digest_knows_the_content_and_not_the_place(tmp_path):
    first, second = write_noise(tmp_path / "a" / "x.wav"), write_noise(tmp_path / "b" / "y.wav")
    longer = write_noise(tmp_path / "c" / "x.wav", seconds=1.5)

    def digest(path=first, **changed):
        values = {"text": "a", "speaker": "s", "words": [Span("a", 0.1, 0.5)]}
        return cut_digest(make_cut("u", path, AudioInfo(16_000, 1, 16_000), **(values | changed)))

    assert digest() == digest(second)
    assert digest() != digest(longer)
    changes = [{"text": "b"}, {"speaker": "t"}, {"words": [Span("a", 0.1, 0.6)]}, {"phones": [Span("AH", 0.1, 0.5)]}]
    changes += [{"custom": {"audio_sha256": "0"}}, {"end": 0.9}]
    digests = [digest(**change) for change in changes]
    assert len({digest(), *digests}) == len(digests) + 1
    assert digest(custom={"audio_sha256": "0"}) == digest(longer, custom={"audio_sha256": "0"})
