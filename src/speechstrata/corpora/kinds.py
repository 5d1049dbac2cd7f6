"""The kinds of source that ``speechstrata corpus prepare`` knows. Imports nothing heavy: the command line reads it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        help: one line.
        source: what the source argument is.
        options: the names of the fields of ``PrepareOptions`` that this kind uses.
        needs_source: whether it can do without one.
    """

    help: str
    source: str
    options: tuple[str, ...] = ()
    needs_source: bool = True


KINDS: dict[str, Kind] = {
    "amazon-queen": Kind(
        "6,587 voiced lines of an adventure game (4.5 h, about 37 characters), with forced alignments",
        "the Debian package flight-of-the-amazon-queen, its folder, or queen.1c; fetched with apt-get by default",
        ("align",),
        needs_source=False,
    ),
    "librispeech": Kind(
        "LibriSpeech or Mini LibriSpeech, with the public alignments",
        "the folder with the splits",
        ("splits", "alignments"),
    ),
    "mini-librispeech": Kind(
        "download Mini LibriSpeech (0.5 GB) and prepare it",
        "the folder to download to",
        ("splits", "alignments"),
    ),
    "textgrid": Kind(
        "a folder of audio with Praat TextGrid files",
        "the folder of the audio",
        ("word_tier", "phone_tier", "alignments", "speaker", "max_seconds", "language"),
    ),
    "ctm": Kind(
        "a folder of audio with CTM files of words and phones",
        "the folder of the audio",
        ("words", "phones", "speakers", "max_seconds", "language"),
    ),
    "transcripts": Kind(
        "a folder of audio with transcripts, to be aligned with 'speechstrata align'",
        "the folder of the audio",
        ("table", "speaker", "language"),
    ),
    "lhotse": Kind(
        "a lhotse manifest: cuts, or recordings with supervisions",
        "the manifest of cuts or recordings",
        ("supervisions",),
    ),
    "lee-sts": Kind(
        "for --sts: the 50 Lee documents spoken by espeak-ng voices, 1,225 pairs with human scores",
        "a folder with lee.cor and similarities0-1.txt; gensim's test data by default",
        ("voices", "max_words"),
        needs_source=False,
    ),
    "silver-sts": Kind(
        "for --sts: pairs of a corpus's utterances with silver scores, by a text encoder",
        "a corpus with transcripts and speakers",
        ("pairs",),
    ),
    "spoken-sts": Kind(
        "for --sts: the published natural-speech STS set, with human scores",
        "the folder with the Parquet files of the hub's data set juice500/spoken_sts",
    ),
}


@dataclass(frozen=True)
class PrepareOptions:
    """Options of the kinds; each kind uses those that its entry in ``KINDS`` names.

    Attributes:
        align: amazon-queen: align the words and phones (needs the extra ``align``).
        splits: librispeech: the splits to take; all that are there by default.
        alignments: librispeech, textgrid: the folder of the alignments, if not that of the audio.
        word_tier: textgrid: the tier of words; '' where there are phones alone.
        phone_tier: textgrid: the tier of phones.
        speaker: textgrid, transcripts: a regular expression for the speaker in the audio's path; by default the
            folder that the file lies in.
        max_seconds: textgrid, ctm: longer recordings are cut at pauses.
        words: ctm: the file of words.
        phones: ctm: the file of phones.
        speakers: ctm: a file with a recording and its speaker on each line.
        table: transcripts: a file of utterances and texts separated by tabs, instead of one text file each.
        supervisions: lhotse: the manifest of supervisions, with one of recordings.
        language: textgrid, ctm, transcripts: BCP 47 tag.
        voices: lee-sts: so many voices say each document, 1 to 4.
        max_words: lee-sts: of each document only the first sentences, up to so many words; 0: all of it.
        pairs: silver-sts: about so many pairs.
    """

    align: bool = True
    splits: tuple[str, ...] = ()
    alignments: Path | None = None
    word_tier: str = "words"
    phone_tier: str = "phones"
    speaker: str | None = None
    max_seconds: float = 30.0
    words: Path | None = None
    phones: Path | None = None
    speakers: Path | None = None
    table: Path | None = None
    supervisions: Path | None = None
    language: str = "en"
    voices: int = 4
    max_words: int = 40
    pairs: int = 600
