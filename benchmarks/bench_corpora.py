"""How fast speech is read, and aligned.

    python benchmarks/bench_corpora.py

Reading: ``load_cut`` against lhotse's own ``load_audio`` and resampling, on the same cuts (2 s each, at 16 kHz).
Alignment: real-time factor on the packaged corpus (24 minutes), with one process and with two.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from lhotse import Recording

from speechstrata.audio import load_cut
from speechstrata.corpora.align import align_corpus
from speechstrata.corpora.corpus import load_corpus

SECONDS = 2.0
FILES = 200


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for suffix, rate in (("flac", 16_000), ("wav", 44_100), ("mp3", 22_050)):
            reading(Path(scratch), suffix, rate)
        aligning(Path(scratch))


def reading(folder: Path, suffix: str, rate: int) -> None:
    draw = np.random.default_rng(0)
    cuts = []
    for number in range(FILES):
        path = folder / f"{number}.{suffix}"
        soundfile.write(path, draw.uniform(-0.3, 0.3, round(SECONDS * rate)), rate)
        cuts.append(Recording.from_file(path).to_cut())
    ours = shortest(lambda: [load_cut(cut, 16_000) for cut in cuts])
    resampled = [cut if rate == 16_000 else cut.resample(16_000) for cut in cuts]
    try:
        theirs = shortest(lambda: [cut.load_audio() for cut in resampled])
        compared = f"lhotse {FILES * SECONDS / theirs:,.0f} x, ratio {theirs / ours:.2f}"
    except Exception as error:  # lhotse resamples with torchaudio, which may not be there
        compared = f"lhotse cannot: {type(error).__name__}"
    print(f"reading {suffix} at {rate} Hz: {FILES * SECONDS / ours:,.0f} x real time; {compared}")


def shortest(work, repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def aligning(folder: Path) -> None:
    corpus = load_corpus("demo")
    seconds = sum(cut.duration for cut in corpus.cuts)
    taken = {}
    for workers in (1, 2):
        started = time.perf_counter()
        align_corpus(corpus, folder / str(workers), workers=workers)
        taken[workers] = time.perf_counter() - started
        speed = f"{seconds:.0f} s in {taken[workers]:.1f} s, RTF {taken[workers] / seconds:.3f}"
        print(f"aligning with {workers} processes: {speed}")
    print(f"two processes against one: {taken[1] / taken[2]:.2f} x")


if __name__ == "__main__":
    main()
