"""The packaged corpus: the English prompts of the Asterisk telephone exchange, one speaker, 24 minutes at 16 kHz.

The recordings are the original G.722 files, stored in one zip archive; ``utterances.jsonl`` has a line for each with
its text and alignment. ``scripts/make_demo_corpus.py`` makes both from the Debian packages. Licence: CC-BY-SA-3.0.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechstrata.audio import AudioInfo
from speechstrata.corpora.corpus import Corpus, make_corpus
from speechstrata.corpora.cuts import Span, make_cut
from speechstrata.errors import CorpusError

DATA = Path(__file__).parent / "data" / "demo"
RECORDINGS = "recordings.zip"
UTTERANCES = "utterances.jsonl"
SAMPLE_RATE = 16_000
#: Seconds in a frame of the packaged alignments.
FRAME = 0.01

DESCRIPTION = "English telephone prompts read by Allison Smith for Asterisk; forced word and phone alignments"
SOURCE = "Debian source package asterisk-core-sounds 1.6.1 (downloads.asterisk.org/pub/telephony/sounds)"


def load_demo() -> Corpus:
    """The packaged corpus.

    Raises:
        CorpusError: the package was installed without its data.
    """
    path = DATA / UTTERANCES
    if not path.is_file() or not (DATA / RECORDINGS).is_file():
        raise CorpusError(f"the packaged corpus is not in {DATA}", "install speechstrata again")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return make_corpus(
        "demo",
        (_cut(row) for row in rows),
        description=DESCRIPTION,
        licence="CC-BY-SA-3.0",
        source=SOURCE,
        folder=DATA,
    )


def _cut(row: dict[str, Any]) -> Any:
    """A cut of a line: the words of the text in order, each ``[first frame, "PHONE frames ...", score]``."""
    info = AudioInfo(SAMPLE_RATE, 1, row["samples"])
    words: list[Span] = []
    phones: list[Span] = []
    for symbol, (first, sounds, score) in zip(row["text"].split(), row["words"], strict=True):
        spans = list(_phones(first, sounds, info.duration))
        words.append(Span(symbol, spans[0].start, spans[-1].end, score))
        phones.extend(spans)
    return make_cut(
        row["id"],
        f"{DATA / RECORDINGS}!/{row['id']}.g722",
        info,
        text=row["text"],
        speaker="allison-smith",
        gender="F",
        language="en-US",
        words=words,
        phones=phones,
        custom={"prompt": row["prompt"], "audio_sha256": row["sha256"]},
    )


def _phones(first: int, sounds: str, duration: float) -> Iterator[Span]:
    symbols = sounds.split()
    for symbol, frames in zip(symbols[::2], map(int, symbols[1::2]), strict=True):
        last = first + frames
        yield Span(symbol, round(first * FRAME, 2), min(round(last * FRAME, 2), duration))
        first = last
