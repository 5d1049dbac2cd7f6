"""Long recordings cut at pauses into utterances."""

from dataclasses import dataclass
from itertools import pairwise

from speechstrata.corpora.cuts import Span

#: Silence kept at either side of an utterance that is cut out of a recording, in seconds.
_MARGIN = 0.2


@dataclass(frozen=True)
class Segment:
    """An utterance within a recording; all times in seconds from the start of the recording."""

    start: float
    end: float
    words: tuple[Span, ...]
    phones: tuple[Span, ...]


def split_at_pauses(words: list[Span], phones: list[Span], duration: float, max_seconds: float) -> list[Segment]:
    """Cut a recording at its longest pauses until no part is longer than ``max_seconds``.

    A recording that is short enough stays whole. A part is cut between two words, never within one, and keeps
    up to 0.2 s of silence at either end; long silences fall away. A part of one word stays, however long.
    Where there are no words at all, phones take their place.

    Args:
        words: of the recording, in time order.
        phones: likewise; each goes to the part that its middle lies in.
        duration: of the recording, in seconds.
        max_seconds: the longest utterance wanted.
    """
    if duration <= max_seconds or not (words or phones):
        return [Segment(0.0, duration, tuple(words), tuple(phones))]
    parts = [sorted(words or phones, key=lambda span: span.start)]
    done: list[list[Span]] = []
    while parts:
        part = parts.pop()
        if len(part) == 1 or part[-1].end - part[0].start + 2 * _MARGIN <= max_seconds:
            done.append(part)
            continue
        pauses = [after.start - before.end for before, after in pairwise(part)]
        # Of equal pauses the one nearest to the middle, so that the parts come out alike.
        middle = (len(part) - 2) / 2
        cut = max(range(len(pauses)), key=lambda index: (round(pauses[index], 4), -abs(index - middle))) + 1
        parts += [part[cut:], part[:cut]]
    done.sort(key=lambda part: part[0].start)
    bounds = _bounds(done, duration)
    segments: list[Segment] = []
    for (start, end), part in zip(bounds, done, strict=True):
        inside = tuple(phone for phone in phones if start <= (phone.start + phone.end) / 2 < end)
        segments.append(Segment(start, end, tuple(part) if words else (), inside))
    return segments


def _bounds(parts: list[list[Span]], duration: float) -> list[tuple[float, float]]:
    """Start and end of each part: its spans and a margin of silence, at most half of the pause to the next part."""
    bounds: list[tuple[float, float]] = []
    for index, part in enumerate(parts):
        before = parts[index - 1][-1].end if index else -part[0].start
        after = parts[index + 1][0].start if index + 1 < len(parts) else 2 * duration - part[-1].end
        start = part[0].start - min(_MARGIN, max(part[0].start - before, 0.0) / 2)
        end = part[-1].end + min(_MARGIN, max(after - part[-1].end, 0.0) / 2)
        bounds.append((max(start, 0.0), min(end, duration)))
    return bounds
