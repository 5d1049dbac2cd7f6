"""A corpus of tones that stand for words: each letter is a chord of its own, each speaker has a timbre."""

from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

RATE = 16_000
LETTERS = "abcd"
WORDS = ("ab", "bad", "cab", "dad", "cad", "abba", "dab", "baa")


def make_words(folder: Path, speakers: int = 8, utterances: int = 5) -> Path:
    """Write the utterances of each speaker, with the words and letters in time; gives the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    cuts = []
    for number in range(speakers * utterances):
        speaker = number % speakers
        wave, words, phones, start = [], [], [], 0.0
        for word in rng.choice(WORDS, 6):
            begin = start
            for letter in word:
                seconds = round(float(rng.uniform(0.1, 0.16)), 2)
                time = np.arange(round(seconds * RATE)) / RATE
                pitch = 400 + 500 * LETTERS.index(letter) + 15 * speaker
                wave.append(0.2 * np.sin(2 * np.pi * pitch * time) + 0.01 * rng.standard_normal(len(time)))
                phones.append(AlignmentItem(letter.upper(), round(start, 2), seconds))
                start += seconds
            words.append(AlignmentItem(str(word), round(begin, 2), round(start - begin, 2)))
        name = f"u{number:03d}"
        path = folder / f"{name}.wav"
        soundfile.write(path, np.concatenate(wave), RATE)
        recording = Recording.from_file(path, recording_id=name)
        supervision = SupervisionSegment(
            id=name,
            recording_id=name,
            start=0.0,
            duration=recording.duration,
            text=" ".join(item.symbol for item in words),
            speaker=f"s{speaker}",
            alignment={"word": words, "phone": phones},
        )
        cuts.append(MonoCut(name, 0.0, recording.duration, 0, supervisions=[supervision], recording=recording))
    manifest = folder / "cuts.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(manifest)
    return manifest
