"""What handing out every layer costs: ``visit`` against a bare forward pass, and batches against one by one.

    python benchmarks/bench_encoder_overhead.py              # HuBERT base (95 M), random weights, about 4 minutes
    python benchmarks/bench_encoder_overhead.py --seconds 4 --rounds 2

Variants are run in turn, round after round, and the fastest round of each counts: on a shared machine that is the one
least disturbed. Peak memory is that of a fresh process that runs one variant alone (Linux).
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from speechstrata.encoders.base import HiddenStates, Layer
from speechstrata.encoders.loading import load_encoder

RATE = 16000


def make_model(folder: Path) -> None:
    """A base-size HuBERT with random weights, with the preprocessor of the published one's training."""
    torch.manual_seed(0)
    transformers.HubertModel(transformers.HubertConfig()).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)


def nothing(layer: Layer, output: HiddenStates) -> None:
    """A visitor that keeps nothing."""


def variants(folder: Path, batch: int, seconds: float) -> dict[str, Callable[[], Any]]:
    """The ways to run the same batch of equal lengths."""
    encoder = load_encoder(folder)
    model: Any = encoder.module  # type: ignore[attr-defined]
    samples = int(seconds * RATE)
    audio = 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(1))
    lengths = torch.full((batch,), samples)

    def bare(**options: bool) -> Callable[[], Any]:
        def run() -> Any:
            with torch.inference_mode():
                return model(audio, **options)

        return run

    return {
        "bare forward (transformers)": bare(),
        "transformers, output_hidden_states": bare(output_hidden_states=True),
        "visit, 21 layers": lambda: encoder.visit(audio, lengths, nothing),
        "visit, T6 alone (early stop)": lambda: encoder.visit(audio, lengths, nothing, ["T6"]),
        "hidden_states, 21 layers kept": lambda: encoder.hidden_states(audio, lengths),
    }


def seconds_of(run: Callable[[], Any]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def resident_megabytes(field: str) -> float:
    """ "VmRSS" (now) or "VmHWM" (the most since the process began or the mark was reset); Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return float(line.split()[1]) / 1e3
    raise RuntimeError(f"/proc/self/status has no {field}")


def peak_megabytes(folder: Path, batch: int, seconds: float, name: str, threads: int) -> float:
    """The most that a process running one variant has resident, minus what it has before."""
    torch.set_num_threads(threads)
    run = variants(folder, batch, seconds)[name]
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = resident_megabytes("VmRSS")
    run()
    return resident_megabytes("VmHWM") - before


def compare_overhead(folder: Path, arguments: argparse.Namespace) -> None:
    """Print time, ratio and memory of each variant."""
    runs = variants(folder, arguments.batch, arguments.seconds)
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(arguments.rounds + 1):  # the first is the warm-up that a minimum forgets by itself
        for name, run in runs.items():
            best[name] = min(best[name], seconds_of(run))
    bare = next(iter(best.values()))
    print(f"batch of {arguments.batch} x {arguments.seconds:g} s, best of {arguments.rounds + 1}")
    context = multiprocessing.get_context("spawn")
    for name, took in best.items():
        with context.Pool(1) as pool:
            memory = pool.apply(peak_megabytes, (folder, arguments.batch, arguments.seconds, name, arguments.threads))
        print(f"  {name:36s} {took:7.2f} s  {took / bare:5.2f} x  peak +{memory:6.0f} MB")


def compare_batching(folder: Path, arguments: argparse.Namespace) -> None:
    """Print the speed of mixed lengths: one by one, and padded in batches of similar length."""
    encoder = load_encoder(folder)
    generator = torch.Generator().manual_seed(2)
    lengths = (torch.rand(16, generator=generator) * 0.9 + 0.1) * 1.2 * arguments.seconds * RATE
    lengths = lengths.long().sort(descending=True).values
    audio = 0.1 * torch.randn(16, int(lengths.max()), generator=generator)

    def one_by_one() -> None:
        for row, length in zip(audio, lengths, strict=True):
            encoder.visit(row[None, :length], length[None], nothing)

    def in_batches() -> None:
        for rows, row_lengths in zip(audio.split(4), lengths.split(4), strict=True):
            encoder.visit(rows, row_lengths, nothing)

    def transformers_batches() -> None:
        model: Any = encoder.module  # type: ignore[attr-defined]
        with torch.inference_mode():
            for rows, row_lengths in zip(audio.split(4), lengths.split(4), strict=True):
                rows = rows[:, : int(row_lengths.max())]
                mask = torch.arange(rows.shape[1])[None] < row_lengths[:, None]
                model(rows, attention_mask=mask.long())

    runs = {
        "one by one": one_by_one,
        "batches of 4, similar lengths": in_batches,
        "the same batches, transformers": transformers_batches,
    }
    times = dict.fromkeys(runs, float("inf"))
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            times[name] = min(times[name], seconds_of(run))
    total = float(lengths.sum()) / RATE
    padded = sum(4 * int(rows.max()) for rows in lengths.split(4)) / RATE
    print(
        f"16 utterances of {lengths.min() / RATE:.1f} to {lengths.max() / RATE:.1f} s, {total:.0f} s in all; "
        f"the batches are {padded:.0f} s with their padding ({padded / total:.2f} x)"
    )
    one = times["one by one"]
    for name, took in times.items():
        print(f"  {name:36s} {took:7.2f} s  {took / one:5.2f} x  {total / took:5.1f} s of audio per second")


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4, help="utterances (default: 4)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each utterance (default: 10)")
    parser.add_argument("--rounds", type=int, default=4, help="timed rounds (default: 4)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder))
        compare_overhead(Path(folder), arguments)
        compare_batching(Path(folder), arguments)


if __name__ == "__main__":
    main()
