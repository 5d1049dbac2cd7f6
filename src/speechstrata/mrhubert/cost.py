"""What a model costs: parameters, multiply-accumulates, time and peak memory, in inference and in training.

``speechstrata cost mrhubert-base b5-a hubert-base`` measures named configurations (with random weights, which cost the
same) and any encoder that ``load_encoder`` takes, each in a process of its own. The models take turns, run by run, so
that whatever else the machine does meanwhile meets all of them.
"""

import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.cost_process import CostProcess
from speechstrata.mrhubert.macs import PartCost, part_costs
from speechstrata.progress import ProgressBar

Mode = Literal["inference", "training"]
MacSource = Literal["configuration", "counted"]

#: Pre-training crops utterances at 15.6 s, so longer training steps than this are of no use.
TRAINING_SECONDS = (5.0, 15.0)


@dataclass(frozen=True)
class CostRow:
    """One model, one utterance of one length, batch 1, float32.

    Attributes:
        model: as given.
        mode: ``inference``: a forward pass; ``training``: forward, masked-prediction loss and backward
            (dropout on, layer drop off, 57 % of the frames masked), without the optimizer's step.
        seconds: of audio.
        sample_rate: hertz.
        parameters: weights; in training with the prediction heads.
        macs: multiply-accumulates of matrix products and convolutions.
        mac_source: from the ``configuration``, or ``counted`` while running.
        latency: median wall-clock seconds of ``repeats`` runs, after a warm-up.
        latency_range: the fastest and the slowest of them.
        cpu_seconds: the least CPU time of a run, all threads together; None on a GPU. Other work on the machine only
            ever lengthens it, so this is what models are compared by.
        peak_bytes: peak memory above that of the loaded model: states, and in training gradients.
        memory_source: how the peak was measured.
        device, threads, repeats: of the measurement.
        parts: the cost part by part; empty for other families and for training.
    """

    model: str
    mode: Mode
    seconds: float
    sample_rate: int
    parameters: int
    macs: int
    mac_source: MacSource
    latency: float
    latency_range: tuple[float, float]
    cpu_seconds: float | None
    peak_bytes: int
    memory_source: str
    device: str
    threads: int
    repeats: int
    parts: tuple[PartCost, ...] = ()

    @property
    def macs_per_second(self) -> float:
        """MACs per second of audio."""
        return self.macs / self.seconds

    @property
    def work_seconds(self) -> float:
        """CPU seconds, or wall-clock seconds on a GPU, of one run."""
        return self.latency if self.cpu_seconds is None else self.cpu_seconds


def measure_cost(
    models: Sequence[str],
    *,
    seconds: Sequence[float] = (1.0, 5.0, 15.0, 30.0),
    training: bool = False,
    training_seconds: Sequence[float] = TRAINING_SECONDS,
    device: str = "cpu",
    threads: int = 1,
    repeats: int = 5,
    output: Path | None = None,
) -> list[CostRow]:
    """Measure each model at each length. All models are in memory at once.

    Args:
        models: named configurations, or anything that ``load_encoder`` takes.
        seconds: lengths of the utterance in inference.
        training: also measure training steps of the models of this family; others are named on standard error.
        training_seconds: lengths in training.
        device: "cpu", "cuda", "cuda:1", ...
        threads: of the CPU.
        repeats: timed runs, after one that warms up.
        output: folder for ``cost.csv``, ``parts.csv``, ``cost.json``, ``cost.pdf`` and ``cost.png``; rewritten after
            each length, so that a failure loses nothing.

    Raises:
        InputError: a length, a number of threads or repeats that makes no sense, or no model.
        EncoderError: a model cannot be loaded, which is found before anything is measured, or its process died; what
            was measured before is in ``output``.
    """
    _check(models, seconds, training_seconds if training else (), threads, repeats)
    modes: list[tuple[Mode, Sequence[float]]] = [("inference", sorted(set(seconds)))]
    if training:
        modes.append(("training", sorted(set(training_seconds))))
    rows: list[CostRow] = []
    runs = len(models) * (repeats + 1) * sum(sum(lengths) for _, lengths in modes)
    with ProgressBar("measuring", total=runs, unit="s of audio") as bar:
        for mode, lengths in modes:
            with ExitStack() as stack:
                started = [stack.enter_context(CostProcess(model, mode, device, threads)) for model in models]
                processes = []
                for process in started:
                    if "skipped" in process.facts:
                        print(f"{process.model}: no training step, only models of the MR-HuBERT family have one",
                              file=sys.stderr)  # fmt: skip
                    else:
                        processes.append(process)
                for length in lengths:
                    rows += _measure(processes, mode, length, device, threads, repeats, bar)
                    if output is not None:
                        from speechstrata.mrhubert.cost_report import write_cost  # brings matplotlib

                        write_cost(rows, output)
    return rows


def _measure(
    processes: Sequence[CostProcess],
    mode: Mode,
    seconds: float,
    device: str,
    threads: int,
    repeats: int,
    bar: ProgressBar,
) -> list[CostRow]:
    """One length: the peak of each model, which warms it up, then timed runs in turn."""
    peaks: list[dict[str, Any]] = []
    times: list[list[dict[str, Any]]] = []
    for process in processes:
        peaks.append(process.ask("peak", seconds))
        bar.advance(seconds)
    for _ in range(repeats):
        times.append([])
        for process in processes:
            times[-1].append(process.ask("time", seconds))
            bar.advance(seconds)
    rows = []
    for index, (process, peak) in enumerate(zip(processes, peaks, strict=True)):
        facts, timed = process.facts, [turn[index] for turn in times]
        parts: tuple[PartCost, ...] = ()
        if mode == "inference" and facts["network"] is not None:
            network = NetworkConfig.from_dict(facts["network"])
            parts = part_costs(network, round(seconds * facts["sample_rate"]))
        wall = [run["wall"] for run in timed]
        rows.append(
            CostRow(
                model=process.model,
                mode=mode,
                seconds=seconds,
                sample_rate=facts["sample_rate"],
                parameters=facts["parameters"],
                macs=sum(part.macs for part in parts) if parts else process.ask("count", seconds)["macs"],
                mac_source="configuration" if parts else "counted",
                latency=statistics.median(wall),
                latency_range=(min(wall), max(wall)),
                cpu_seconds=None if timed[0]["cpu"] is None else min(run["cpu"] for run in timed),
                peak_bytes=peak["peak_bytes"],
                memory_source=peak["memory_source"],
                device=device,
                threads=threads,
                repeats=repeats,
                parts=parts,
            )
        )
    return rows


def _check(
    models: Sequence[str], seconds: Sequence[float], training_seconds: Sequence[float], threads: int, repeats: int
) -> None:
    if not models:
        raise InputError("no model to measure", "name at least one")
    for length in (*seconds, *training_seconds):
        if not 0.1 <= length <= 3600:
            raise InputError(f"cannot measure an utterance of {length:g} seconds", "give lengths from 0.1 to 3600")
    if not seconds:
        raise InputError("no length to measure at", "give at least one, in seconds")
    for name, value in (("threads", threads), ("repeats", repeats)):
        if value < 1:
            raise InputError(f"{name} = {value} makes no sense", "give a positive number")
