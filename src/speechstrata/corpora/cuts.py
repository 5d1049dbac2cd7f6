"""Building and reading the cuts of a corpus: one utterance each, with its words and phones in time."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lhotse import CutSet, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource
from lhotse.supervision import AlignmentItem

from speechstrata.audio import AudioInfo
from speechstrata.corpora.problems import MIN_SECONDS
from speechstrata.errors import CorpusError, InputError
from speechstrata.files import fingerprint

#: Alignments may pass the end of the audio, or overlap, by this much: aligners round to their frames.
TIME_TOLERANCE = 0.05  # seconds

Unit = Literal["word", "phone"]


class Span(NamedTuple):
    """A word or phone, in seconds from the start of the recording; ``score`` as the aligner gives it, or ``None``."""

    symbol: str
    start: float
    end: float
    score: float | None = None


def make_cut(
    name: str,
    audio: Path | str,
    info: AudioInfo,
    *,
    text: str,
    speaker: str,
    words: Iterable[Span] = (),
    phones: Iterable[Span] = (),
    language: str | None = "en",
    gender: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    recording_id: str | None = None,
    custom: dict[str, Any] | None = None,
) -> Any:
    """A cut (``MonoCut`` or ``MultiCut``) of one utterance.

    Args:
        name: the utterance's id.
        audio: the recording, as ``speechstrata.audio`` takes it.
        info: of the recording.
        text: the words.
        speaker: who speaks.
        words: their spans, checked here; likewise ``phones``. Spans with an empty symbol are silences, left out.
        language: as a BCP 47 tag.
        gender: as the source gives it.
        start: of the utterance in the recording, in seconds; likewise ``end``.
        recording_id: the utterance's id by default.
        custom: kept with the cut.

    Raises:
        InputError: too short, or spans that cannot be: not finite, reversed, overlapping, outside the utterance.
    """
    end = info.duration if end is None else end
    if not (math.isfinite(start) and math.isfinite(end)) or start < 0 or end > info.duration + TIME_TOLERANCE:
        raise InputError(f"the utterance {start:.3f}-{end:.3f} s is not inside its audio of {info.duration:.3f} s")
    end = min(end, info.duration)
    duration = end - start
    if duration < MIN_SECONDS:
        raise InputError(f"too short: {duration:.3f} s of audio")
    alignment = {
        unit: items
        for unit, spans in (("word", words), ("phone", phones))
        if (items := check_spans(spans, unit, start, end))
    }
    recording_id = recording_id or name
    channels = list(range(info.channels))
    recording = Recording(
        id=recording_id,
        sources=[AudioSource(type="file", channels=channels, source=str(audio))],
        sampling_rate=info.sample_rate,
        num_samples=info.samples,
        duration=info.duration,
        channel_ids=channels,
    )
    supervision = SupervisionSegment(
        id=name,
        recording_id=recording_id,
        start=0.0,
        duration=duration,
        channel=0 if info.channels == 1 else channels,
        text=text,
        language=language,
        speaker=speaker,
        gender=gender,
        alignment=alignment or None,
    )
    values = {"start": start, "duration": duration, "supervisions": [supervision], "recording": recording}
    if info.channels == 1:
        return MonoCut(id=name, channel=0, custom=custom, **values)
    return MultiCut(id=name, channel=channels, custom=custom, **values)


def check_spans(spans: Iterable[Span], unit: str, start: float, end: float) -> list[AlignmentItem]:
    """The spans as lhotse's alignment items, in time order, empty symbols left out.

    What passes a neighbour or an end of the utterance by at most 50 ms is trimmed to it.

    Args:
        spans: of one utterance.
        unit: for messages.
        start: of the utterance, in seconds of the recording; likewise ``end``.

    Raises:
        InputError: not finite, reversed, overlapping or outside; the message names the span.
    """
    items: list[AlignmentItem] = []
    before = start
    for symbol, first, last, score in sorted(spans, key=lambda span: span.start):
        symbol = symbol.strip()
        if not symbol:
            continue
        name = f"{unit} {symbol!r} at {first}-{last} s"
        if not (math.isfinite(first) and math.isfinite(last)):
            raise InputError(f"{name}: the times are not finite")
        if last <= first:
            raise InputError(f"{name}: it ends before it begins")
        if first < start - TIME_TOLERANCE or last > end + TIME_TOLERANCE:
            raise InputError(f"{name}: outside the utterance ({start:.3f}-{end:.3f} s)")
        if first < before - TIME_TOLERANCE:
            raise InputError(f"{name}: overlaps the {unit} before it, which ends at {before:.3f} s")
        first, last = round(max(first, before), 6), round(min(last, end), 6)
        if last <= first:
            raise InputError(f"{name}: nothing of it is left inside the utterance and after the {unit} before it")
        items.append(AlignmentItem(symbol, first, round(last - first, 6), score))
        before = last
    return items


def spans_of(cut: Any, unit: Unit) -> list[Span]:
    """The words or phones of a cut, in seconds from the start of the cut's own audio.

    lhotse keeps alignment times relative to the recording, also in a cut that begins later.
    """
    offset = cut.start
    return [
        Span(item.symbol, round(item.start - offset, 6), round(item.start + item.duration - offset, 6), item.score)
        for supervision in cut.supervisions
        for item in (supervision.alignment or {}).get(unit, ())
    ]


def transcript_of(cut: Any) -> str:
    """The text of a cut's supervisions."""
    return " ".join(supervision.text for supervision in cut.supervisions if supervision.text)


def cut_digest(cut: Any) -> str:
    """A fingerprint of a cut: id, length, speaker, text, alignments and the identity of its audio, not its path."""
    rows = [
        [supervision.speaker, supervision.text, [_items(supervision, unit) for unit in ("word", "phone")]]
        for supervision in cut.supervisions
    ]
    return fingerprint([cut.id, round(cut.start, 4), round(cut.duration, 4), rows, audio_identity(cut)])


def _items(supervision: Any, unit: str) -> list[tuple[str, float, float]]:
    items: Sequence[AlignmentItem] = (supervision.alignment or {}).get(unit, ())
    return [(item.symbol, round(item.start, 4), round(item.duration, 4)) for item in items]


def audio_identity(cut: Any) -> Any:
    """The hash taken when the corpus was prepared, else the sizes of the files."""
    known = (cut.custom or {}).get("audio_sha256")
    if known is not None or not cut.has_recording:
        return known
    sizes: list[int | None] = []
    for source in cut.recording.sources:
        path = Path(source.source) if source.type == "file" else None
        sizes.append(path.stat().st_size if path is not None and path.is_file() else None)
    return sizes


def as_cut_set(cuts: Iterable[Any]) -> CutSet:
    """The cuts, by id; a repeated id is an error.

    Raises:
        CorpusError: two utterances of one id.
    """
    seen: dict[str, Any] = {}
    for cut in cuts:
        if cut.id in seen:
            raise CorpusError(f"two utterances have the id {cut.id!r}", "give every utterance an id of its own")
        seen[cut.id] = cut
    return CutSet.from_cuts(seen.values())
