"""Our forward pass against transformers' ``HubertModel`` of the same size and weights, and MR-HuBERT against HuBERT.

    python benchmarks/bench_mrhubert_forward.py                  # base size (95 M), random weights, about 12 minutes
    python benchmarks/bench_mrhubert_forward.py --rounds 2 --utterances 4

Both run in one process, in turn, round after round, and the fastest round of each counts: on a shared machine that is
the one least disturbed. Peak memory is what a fresh process adds when it runs one variant alone (Linux).
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from speechstrata.mrhubert.checkpoints import to_transformers
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.model import MRHubertModel
from speechstrata.mrhubert.named import NAMED

RATE = 16000
SECONDS = (1, 2, 5, 10, 15)


def network(name: str) -> MRHubertModel:
    """A named model with random weights."""
    torch.manual_seed(0)
    return MRHubertModel(MRHubertConfig(NAMED[name])).eval()


def mixed(utterances: int) -> tuple[Tensor, Tensor, list[int]]:
    """A padded batch of lengths spread evenly over 2 to 15 s, its attention mask, and the lengths."""
    lengths = [int(2 * RATE + 13 * RATE * index / max(1, utterances - 1)) for index in range(utterances)]
    order = torch.randperm(utterances, generator=torch.Generator().manual_seed(1)).tolist()
    lengths = [lengths[index] for index in order]
    audio = 0.1 * torch.randn(utterances, max(lengths), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return audio * mask, mask.long(), lengths


def mixed_variants(utterances: int) -> dict[str, Callable[[], Any]]:
    """The ways to run the same batch of mixed lengths."""
    ours = network("hubert-base")
    theirs = to_transformers(ours)
    audio, mask, lengths = mixed(utterances)
    rows = [row[None, :length] for row, length in zip(audio, lengths, strict=True)]
    return {
        "transformers, padded batch": lambda: theirs(audio, attention_mask=mask).last_hidden_state,
        "transformers, one by one": lambda: [theirs(row).last_hidden_state for row in rows],
        "ours, batch": lambda: ours(audio, lengths=lengths).last_hidden_state,
        "ours, one by one": lambda: [ours(row).last_hidden_state for row in rows],
    }


@torch.inference_mode()
def fastest(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The fastest of some rounds of each, in seconds; one more round warms up."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def resident_megabytes(field: str) -> float:
    """ "VmRSS" (now) or "VmHWM" (the most since the mark was reset)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return float(line.split()[1]) / 1e3
    raise RuntimeError(f"/proc/self/status has no {field}")


@torch.inference_mode()
def peak_megabytes(name: str, utterances: int, threads: int) -> float:
    """What a process that runs one variant has resident at most, minus what it has before."""
    torch.set_num_threads(threads)
    run = mixed_variants(utterances)[name]
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = resident_megabytes("VmRSS")
    run()
    return resident_megabytes("VmHWM") - before


def compare_alone(rounds: int) -> None:
    """One utterance: time of both, of MR-HuBERT, and without downsampling."""
    ours = network("hubert-base")
    models: dict[str, Any] = {"transformers": to_transformers(ours), "ours": ours}
    models |= {name: network(name) for name in ("mrhubert-base", "b2-a", "b5-a")}
    print("one utterance: seconds (transformers' time / this one's)")
    print(f"  {'':>5s}" + "".join(f"{name:>22s}" for name in models))
    for seconds in SECONDS:
        audio = 0.1 * torch.randn(1, seconds * RATE, generator=torch.Generator().manual_seed(seconds))
        runs = {name: partial(model, audio) for name, model in models.items()}
        best = fastest(runs, rounds)
        base = best["transformers"]
        cells = "".join(f"{took:13.3f} ({base / took:4.2f} x)" for took in best.values())
        print(f"  {seconds:3d} s{cells}", flush=True)


def compare_mixed(utterances: int, rounds: int, threads: int) -> None:
    """Mixed lengths: time and memory, and how far a batch is from its utterances alone."""
    runs = mixed_variants(utterances)
    best = fastest(runs, rounds)
    lengths = mixed(utterances)[2]
    share = 1 - sum(lengths) / (len(lengths) * max(lengths))
    print(f"{utterances} utterances of 2 to 15 s, {sum(lengths) / RATE:.0f} s in all, padding {share:.0%} of the batch")
    base = best["transformers, padded batch"]
    context = multiprocessing.get_context("spawn")
    for name, took in best.items():
        with context.Pool(1) as pool:
            memory = pool.apply(peak_megabytes, (name, utterances, threads))
        rate = sum(lengths) / RATE / took
        print(f"  {name:28s} {took:6.2f} s  {rate:5.1f} s/s  {base / took:5.2f} x  peak +{memory:5.0f} MB", flush=True)
    with torch.inference_mode():
        for library in ("transformers, padded batch", "ours, batch"):
            together = runs[library]()
            alone = runs[f"{library.split(',')[0]}, one by one"]()
            scale = float(torch.cat([row[0] for row in alone]).square().mean().sqrt())
            differences = [(together[i, : row.shape[1]] - row[0]).abs().max() for i, row in enumerate(alone)]
            print(f"  {library}: differs from one by one by up to {float(max(differences)) / scale:.1e} of the RMS")


def compare_networks(utterances: int, rounds: int) -> None:
    """The same mixed batch through HuBERT and MR-HuBERTs of the same number of layers."""
    audio, _, lengths = mixed(utterances)
    models = {name: network(name) for name in ("hubert-base", "mrhubert-base", "b2-a", "b2-b", "b5-a")}
    runs = {name: partial(model, audio, lengths=lengths) for name, model in models.items()}
    best = fastest(runs, rounds)
    print("the same batch, ours")
    for name, took in best.items():
        rate = sum(lengths) / RATE / took
        print(f"  {name:14s} {rate:5.1f} s of audio per second  {best['hubert-base'] / took:5.2f} x")


def main() -> None:
    """Run the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=8, help="of the mixed batch (default: 8)")
    parser.add_argument("--rounds", type=int, default=4, help="timed rounds (default: 4)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: 2)")
    parser.add_argument("--only", choices=("alone", "mixed", "networks"), help="one of the three comparisons")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.set_verbosity_error()
    if arguments.only in (None, "alone"):
        compare_alone(arguments.rounds)
    if arguments.only in (None, "mixed"):
        compare_mixed(arguments.utterances, arguments.rounds, arguments.threads)
    if arguments.only in (None, "networks"):
        compare_networks(arguments.utterances, arguments.rounds)


if __name__ == "__main__":
    main()
