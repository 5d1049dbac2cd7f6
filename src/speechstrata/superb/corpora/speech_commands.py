"""KS on Speech Commands v0.01 with its own test archive: ten words, unknown words, silence."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lhotse.utils import fastcopy

from speechstrata.errors import CorpusError
from speechstrata.seeds import generator
from speechstrata.superb.corpora.audio import example, recording
from speechstrata.superb.corpora.folders import require
from speechstrata.superb.corpora.probe_corpus import ProbeCorpus, write_probe_corpus

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE = "_unknown_", "_silence_"
_BACKGROUND = "_background_noise_"
_MODULUS = 2**27
_VALIDATION, _TEST = 10.0, 20.0  # per cent
#: Of the benchmark's audio, in decibels.
_GAIN = -3.0
#: One-second crops of the background recordings in a split, as a share of its other examples.
_SILENCES = 0.1


def speech_commands(source: Path, output: Path, test: Path | None = None) -> ProbeCorpus:
    """Prepare it; its audio is lowered by 3 dB, as in the benchmark.

    Args:
        source: the folder that ``speech_commands_v0.01.tar.gz`` unpacks to.
        output: folder to make; the audio stays where it is.
        test: the folder of ``speech_commands_test_set_v0.01.tar.gz``; by default one of that name beside ``source``.

    Raises:
        CorpusError: it is another folder, or the test archive is missing.
    """
    require(source, [*KEYWORDS, _BACKGROUND], "Speech Commands v0.01")
    test = test or source.parent / "speech_commands_test_set_v0.01"
    require(test, [*KEYWORDS, UNKNOWN, SILENCE], "the Speech Commands v0.01 test set")
    splits: dict[str, list[Any]] = {"train": [], "dev": []}
    for folder in sorted(path for path in source.iterdir() if path.is_dir() and path.name != _BACKGROUND):
        for path in sorted(folder.glob("*.wav")):
            share = hash_share(path.name)
            if _VALIDATION <= share < _TEST:
                continue
            splits["dev" if share < _VALIDATION else "train"].append(_example(path, folder.name))
    for split in splits:
        splits[split] += _silences(source / _BACKGROUND, split, round(_SILENCES * len(splits[split])))
    splits["test"] = [
        _example(path, folder.name)
        for folder in sorted(path for path in test.iterdir() if path.is_dir())
        for path in sorted(folder.glob("*.wav"))
    ]
    return write_probe_corpus(
        output,
        task="ks",
        name="speech-commands-v0.01",
        splits=splits,
        mini=False,
        licence="CC-BY-4.0",
        source="Speech Commands v0.01 and its test set",
        description="single words of one second",
    )


def hash_share(file_name: str) -> float:
    """Where a file stands between 0 and 100: by the SHA-1 of its speaker, so that a speaker is in one split only."""
    speaker = re.sub(r"_nohash_.*$", "", file_name)
    return (int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % _MODULUS) * 100.0 / (_MODULUS - 1)


def _example(path: Path, word: str) -> Any:
    keyword = word if word in (*KEYWORDS, UNKNOWN, SILENCE) else UNKNOWN
    name = f"{word}-{path.stem}"
    return _quieter(example(name, recording(path, name), label={"keyword": keyword}))


def _quieter(cut: Any) -> Any:
    return cut.perturb_volume(10 ** (_GAIN / 20), affix_id=False)


def _silences(folder: Path, split: str, count: int) -> Iterator[Any]:
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise CorpusError(f"there are no recordings in {folder}", "download Speech Commands again")
    backgrounds = [recording(path) for path in files]
    for number in range(count):
        random = generator(0, "speech-commands", split, number)
        audio = backgrounds[random.integers(len(backgrounds))]
        start = round(float(random.uniform(0.0, max(audio.duration - 1.0, 0.0))), 4)
        whole = example(f"{split}-silence-{number:05d}", audio, label={"keyword": SILENCE})
        piece = whole.truncate(offset=start, duration=min(1.0, audio.duration), preserve_id=True)
        bare = fastcopy(piece.supervisions[0], start=0.0, duration=piece.duration)
        yield _quieter(fastcopy(piece, supervisions=[bare]))
