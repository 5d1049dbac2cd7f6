"""What grows with the corpus: an analysis and units of made-up corpora of more and more hours, by a stub encoder.

    python benchmarks/bench_scale.py --hours 5 20 80

Utterances last 12.3 s (LibriSpeech's mean) and have 34 words of some 20,000 types, falling off as 1/rank, and 110
phones of 39. No audio is read: a waveform is silence, and the stub's states are noise of 64 dimensions in two layers;
the seconds are those of everything but the encoder. Each size runs in a process of its own. ``load`` reads a corpus
whole, which ``analyze`` and ``targets`` do not do.
"""

import argparse
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

SECONDS, WORDS, PHONES, TYPES = 12.3, 34, 110, 20_000
JOBS = ("load", "analyze", "targets")
PHONE_NAMES = [f"P{number}" for number in range(39)]


def write_corpus(folder: Path, hours: float) -> int:
    """A corpus folder; gives the number of utterances."""
    import numpy as np

    from speechstrata.corpora.corpus import Counts

    rng = np.random.default_rng(0)
    utterances = round(hours * 3600 / SECONDS)
    shares = 1 / np.arange(1, TYPES + 1)
    shares /= shares.sum()
    folder.mkdir(parents=True)
    with gzip.open(folder / "cuts.jsonl.gz", "wt", compresslevel=1) as file:
        for number in range(utterances):
            name, speaker = f"u{number:07d}", f"s{number % 2000}"
            words = rng.choice(TYPES, WORDS, p=shares)
            phones = rng.integers(39, size=PHONES)
            step, short = (SECONDS - 0.5) / WORDS, (SECONDS - 0.5) / PHONES
            alignment = {
                "word": [[f"w{word}", round(0.2 + n * step, 3), round(step, 3), None] for n, word in enumerate(words)],
                "phone": [
                    [PHONE_NAMES[phone], round(0.2 + n * short, 3), round(short, 3), None]
                    for n, phone in enumerate(phones)
                ],
            }
            recording = {
                "id": name, "sources": [{"type": "file", "channels": [0], "source": f"/nowhere/{name}.flac"}],
                "sampling_rate": 16_000, "num_samples": int(SECONDS * 16_000), "duration": SECONDS, "channel_ids": [0],
            }  # fmt: skip
            supervision = {
                "id": name, "recording_id": name, "start": 0.0, "duration": SECONDS, "channel": 0, "speaker": speaker,
                "text": " ".join(f"w{word}" for word in words), "alignment": alignment,
            }  # fmt: skip
            cut = {
                "id": name, "start": 0.0, "duration": SECONDS, "channel": 0, "supervisions": [supervision],
                "recording": recording, "custom": {"audio_sha256": "0" * 64}, "type": "MonoCut",
            }  # fmt: skip
            file.write(json.dumps(cut) + "\n")
    import hashlib

    described = dict.fromkeys(("description", "licence", "source", "language"), "")
    counts = Counts(utterances, hours, 2000, WORDS * utterances, PHONES * utterances, utterances)
    described |= {"name": "made-up", "fingerprint": f"made-up-{hours}", "counts": vars(counts), "details": {}}  # type: ignore[dict-item]
    described["cuts_sha256"] = hashlib.sha256((folder / "cuts.jsonl.gz").read_bytes()).hexdigest()
    (folder / "corpus.json").write_text(json.dumps(described))
    return utterances


def megabytes() -> float:
    """Of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def stub_encoder(*_: object, **__: object):
    """Two layers of noise at 20 and 40 ms."""
    import torch

    from speechstrata.encoders.base import HiddenStates, Layer, SpeechEncoder

    class Stub(SpeechEncoder):
        name, sample_rate, fingerprint, parameters, supervision = "stub", 16_000, "stub", None, "none"
        layers = (Layer("T0", 320, 159.5, 64, "transformer"), Layer("T1", 640, 319.5, 64, "transformer"))

        def frame_count(self, layer: Layer, samples: int) -> int:
            return samples // int(layer.stride)

        def visit(self, waveforms, lengths, visitor, layers: Sequence[str] | None = None) -> None:
            for layer in self.layers:
                if layers is None or layer.name in layers:
                    counts = lengths // int(layer.stride)
                    visitor(layer, HiddenStates(torch.randn(len(lengths), int(counts.max()), layer.dim), counts))

    return Stub()


def measured(name: str, work: Callable[[], object], found: dict[str, float]) -> None:
    """Seconds, growth and peak of memory, and most open files of some work."""
    import gc

    gc.collect()
    before, files, done = megabytes(), 0, threading.Event()
    peak = before

    def watch() -> None:
        nonlocal files, peak
        while not done.wait(0.05):
            files, peak = max(files, len(os.listdir("/proc/self/fd"))), max(peak, megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    kept = work()
    found[f"{name} s"] = time.perf_counter() - began
    done.set()
    watcher.join()
    gc.collect()
    found |= {f"{name} MB kept": megabytes() - before, f"{name} MB peak": peak - before, f"{name} files": files}
    del kept


def measure(folder: Path, jobs: Sequence[str]) -> dict[str, float]:
    """All figures of one corpus."""
    import numpy as np

    from speechstrata.analysis import suite
    from speechstrata.analysis.config import AnalysisConfig, ComputeConfig, Inputs
    from speechstrata.corpora.corpus import load_corpus
    from speechstrata.pretraining.config import TargetsConfig
    from speechstrata.pretraining.targets import make_targets

    def silence(cut: object, sample_rate: int):
        return np.zeros(int(SECONDS * sample_rate), dtype=np.float32)

    found: dict[str, float] = {}
    if "load" in jobs:
        measured("load", lambda: load_corpus(folder), found)
    if "analyze" in jobs:
        config = AnalysisConfig(scores=("cca-mel", "cca-phone", "cca-word", "mi-phone"), controls=False, sample_sets=3)
        inputs = Inputs(models=("stub",), corpus=str(folder), controls=())
        stores: list[int] = []
        row_store = suite._row_store

        def counted(cache, layers, plans):
            stores.append(sum(len(plan.spans_of_rows) for plan in plans.values()))
            return row_store(cache, layers, plans)

        # Filterbanks of silence would be most of the time: the view is noise too.
        view = np.random.default_rng(0).standard_normal((1230, 80)).astype(np.float32)
        with (
            patch.object(suite, "load_encoder", stub_encoder),
            patch.object(suite, "_row_store", counted),
            patch("speechstrata.audio.load_cut", silence),
            patch("speechstrata.analysis.frames.acoustic_view", lambda wave, kind: view[: 1 + len(wave) // 160]),
        ):
            run = folder / "run"
            measured("analyze", lambda: suite.analyze(inputs, config, ComputeConfig(batch_seconds=400.0), run), found)
        found["rows pooled"] = stores[0]
        found["score table kB"] = sum((run / name).stat().st_size for name in ("scores.parquet", "journal.jsonl")) / 1e3
    if "targets" in jobs:
        with patch("speechstrata.audio.load_cut", silence):
            targets = TargetsConfig(clusters=8, sample_frames=20_000, iterations=2, spread=1)
            measured("targets", lambda: make_targets(str(folder), folder / "units", targets), found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", nargs="+", type=float, default=[5, 20, 80])
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print("FOUND" + json.dumps(measure(given.measure, given.jobs)))
        return
    table: dict[float, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for hours in given.hours:
            folder = Path(name) / f"{hours:g}"
            utterances = write_corpus(folder, hours)
            command = [sys.executable, __file__, "--measure", str(folder), "--jobs", *given.jobs]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                print(run.stderr[-3000:])
                sys.exit(1)
            line = next(line for line in run.stdout.splitlines() if line.startswith("FOUND"))
            table[hours] = {"utterances": utterances, **json.loads(line.removeprefix("FOUND"))}
            shutil.rmtree(folder)
            print(f"{hours:g} h: {json.dumps(table[hours])}", file=sys.stderr, flush=True)
    first, last = given.hours[0], given.hours[-1]
    print(
        "| | "
        + " | ".join(f"{hours:g} h" for hours in given.hours)
        + " | per hour |\n|---|"
        + "---:|" * (len(table) + 1)
    )
    for name in table[last]:
        slope = (table[last][name] - table[first][name]) / (last - first) if last > first else float("nan")
        print(f"| {name} | " + " | ".join(f"{table[hours][name]:,.1f}" for hours in given.hours) + f" | {slope:,.3f} |")


if __name__ == "__main__":
    main()
