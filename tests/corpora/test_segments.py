from hypothesis import given
from hypothesis import strategies as st

from speechstrata.corpora.cuts import Span
from speechstrata.corpora.segments import split_at_pauses


@st.composite
def recordings(draw):
    """Words with pauses between them, and the length of the recording."""
    time, words = draw(st.floats(0, 2)), []
    for number in range(draw(st.integers(0, 25))):
        length = draw(st.floats(0.05, 1.0))
        words.append(Span(f"w{number}", time, time + length))
        time += length + draw(st.sampled_from([0.0, 0.05, 0.3, 1.0, 4.0]))
    return words, time + draw(st.floats(0.01, 2))


@given(recordings(), st.floats(1.5, 20))
def test_every_word_is_in_one_part_inside_its_bounds_and_the_parts_are_short_enough(recording, max_seconds):
    words, duration = recording
    segments = split_at_pauses(words, words, duration, max_seconds)
    assert [word for segment in segments for word in segment.words] == words
    end = 0.0
    for segment in segments:
        assert end - 1e-9 <= segment.start < segment.end <= duration
        assert all(segment.start - 1e-9 <= word.start and word.end <= segment.end + 1e-9 for word in segment.words)
        assert segment.phones == segment.words
        assert segment.end - segment.start <= max_seconds + 1e-9 or len(segment.words) <= 1
        end = segment.end
    alone = split_at_pauses([], words, duration, max_seconds)
    assert [(segment.start, segment.end, segment.phones) for segment in alone] == [
        (segment.start, segment.end, segment.words) for segment in segments
    ]
    assert not any(segment.words for segment in alone)


def test_a_short_recording_stays_whole():
    words = [Span("a", 1.0, 2.0)]
    [segment] = split_at_pauses(words, [], 5.0, 5.0)
    assert (segment.start, segment.end) == (0.0, 5.0)


def test_the_longest_pause_is_taken_first():
    words = [Span("a", 0.0, 1.0), Span("b", 1.1, 2.0), Span("c", 4.0, 5.0), Span("d", 5.5, 6.0)]
    parts = [[word.symbol for word in segment.words] for segment in split_at_pauses(words, [], 6.0, 3.0)]
    assert parts == [["a", "b"], ["c", "d"]]
