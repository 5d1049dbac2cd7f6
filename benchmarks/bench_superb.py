"""An epoch of a pooled probe (IC, KS) with the cache of states and without, in processor and wall seconds.

    python benchmarks/bench_superb.py --model moonshine-tiny --corpora probes/mini-ic probes/mini-ks

Both ways run in this process on the same batches, forward and backward; filling the cache is timed by itself.
``--examples`` bounds the epoch, since without a cache every example goes through the encoder.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from speechstrata.superb.config import ProbeConfig
from speechstrata.superb.data import Examples
from speechstrata.superb.module import Probe
from speechstrata.superb.order import BatchOrder
from speechstrata.superb.setting import Setting
from speechstrata.superb.sources import LiveStates
from speechstrata.superb.training import ProbeInputs


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Processor and wall seconds."""
    wall, spent = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - spent, time.perf_counter() - wall


def epoch(setting: Setting, examples: Examples) -> Callable[[], None]:
    """One pass over the examples: states, targets, loss, step."""
    recipe, task = setting.recipe, setting.task
    probe = Probe(task, setting.labels, recipe, setting.choice, seed=0)
    optimizer = torch.optim.Adam(probe.parameters(), lr=recipe.learning_rate)
    order = BatchOrder(examples.seconds, recipe.batch_size, seed=0)

    def run() -> None:
        for number in range(order.batches_per_epoch):
            batch = examples.batch(order.batch(number).tolist(), number)
            optimizer.zero_grad()
            task.loss(probe(batch.states, batch.lengths), batch.lengths, batch.targets, setting.labels).backward()
            optimizer.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="moonshine-tiny")
    parser.add_argument("--corpora", nargs="+", required=True)
    parser.add_argument("--examples", type=int, default=320)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print("| task | examples | minutes | filling the cache | epoch with | epoch without | with / without |")
    print("|---|---|---|---|---|---|---|")
    for corpus in given.corpora:
        with tempfile.TemporaryDirectory() as folder:
            # the corpus says its task; the inputs have to agree with it
            from speechstrata.superb.corpora.probe_corpus import load_probe_corpus

            task = load_probe_corpus(corpus).task
            setting = Setting(ProbeInputs(task, given.model, corpus), ProbeConfig(), Path(folder))
            filled = timed(lambda setting=setting: setting.split("train"))  # type: ignore[misc]
            cuts = setting.cuts("train")[: given.examples]
            live = LiveStates(cuts, setting.encoder, setting.choice, pooled=setting.task.pooled, normalize=False)
            whole = setting.split("train")
            ways = [
                Examples(setting.task, setting.labels, cuts, source, setting.choice)
                for source in (whole.source, live)  # the first examples of a split have the first numbers
            ]
            quick, slow = (timed(epoch(setting, examples)) for examples in ways)
        minutes = sum(cut.duration for cut in cuts) / 60
        shown = " | ".join(f"{spent:.2f} s ({wall:.2f})" for spent, wall in (filled, quick, slow))
        print(f"| {task} | {len(cuts)} | {minutes:.1f} | {shown} | {quick[0] / slow[0]:.4f} |", flush=True)
    print(f"\n{given.model}, {given.threads} thread(s); processor seconds, wall seconds in brackets.")


if __name__ == "__main__":
    main()
