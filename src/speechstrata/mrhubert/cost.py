"""What a model costs: parameters, multiply-accumulates, time and peak memory, in inference and in training.

``speechstrata cost mrhubert-base b5-a hubert-base`` measures named configurations (with random weights, which cost the
same) and any encoder that ``load_encoder`` takes, each in a process of its own. Use it with nothing else running.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from speechstrata.errors import EncoderError, InputError
from speechstrata.mrhubert.config import NetworkConfig
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
        cpu_seconds: median CPU time of a run, all threads together; None on a GPU. Compare models by this one where
            other work shares the machine.
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
    """Measure each model at each length.

    Args:
        models: named configurations, or anything that ``load_encoder`` takes.
        seconds: lengths of the utterance in inference.
        training: also measure training steps of the models of this family; others are named on standard error.
        training_seconds: lengths in training.
        device: "cpu", "cuda", "cuda:1", ...
        threads: of the CPU.
        repeats: timed runs, after one that warms up.
        output: folder for ``cost.csv``, ``parts.csv``, ``cost.json``, ``cost.pdf`` and ``cost.png``; rewritten after
            each model, so that a failure loses nothing.

    Raises:
        InputError: a length, a number of threads or repeats that makes no sense, or no model.
        EncoderError: a model cannot be loaded or its process died; what was measured before is in ``output``.
    """
    _check(models, seconds, training_seconds if training else (), threads, repeats)
    modes: list[tuple[Mode, Sequence[float]]] = [("inference", seconds)]
    if training:
        modes.append(("training", training_seconds))
    rows: list[CostRow] = []
    total = len(models) * sum(len(lengths) for _, lengths in modes)
    with ProgressBar("measuring", total=total, unit="points") as bar:
        for model in models:
            for mode, lengths in modes:
                request = {"model": model, "mode": mode, "seconds": sorted(set(lengths)), "device": device,
                           "threads": threads, "repeats": repeats}  # fmt: skip
                for row in _run_worker(request):
                    rows.append(row)
                    bar.advance()
            if output is not None and rows:
                from speechstrata.mrhubert.cost_report import write_cost  # brings matplotlib

                write_cost(rows, output)
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


def _run_worker(request: dict[str, Any]) -> Iterator[CostRow]:
    """Start the measuring process and turn its answers into rows as they come."""
    number = str(request["threads"])
    environment = os.environ | {"OMP_NUM_THREADS": number, "MKL_NUM_THREADS": number}
    command = [sys.executable, "-m", "speechstrata.mrhubert.cost_worker"]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as worker,
    ):
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it died at once; its last words follow
                worker.stdin.write(json.dumps(request))
                worker.stdin.close()
            facts: dict[str, Any] = {}
            for line in worker.stdout:
                answer = json.loads(line)
                if "error" in answer:
                    raise EncoderError(answer["error"], answer["remedy"])
                if "skipped" in answer:
                    print(f"{request['model']}: no training step, only models of the MR-HuBERT family have one",
                          file=sys.stderr)  # fmt: skip
                elif "seconds" in answer:
                    yield _row(request, facts, answer)
                else:
                    facts = answer
            if worker.wait() != 0:
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["no message"])[-1]
                raise EncoderError(
                    f"measuring {request['model']} ({request['mode']}) ended with code {worker.returncode}: {last}",
                    "if memory ran out, give shorter lengths",
                )
        finally:
            if worker.poll() is None:
                worker.kill()


def _row(request: dict[str, Any], facts: dict[str, Any], answer: dict[str, Any]) -> CostRow:
    parts: tuple[PartCost, ...] = ()
    if request["mode"] == "inference" and facts["network"] is not None:
        network = NetworkConfig.from_dict(facts["network"])
        parts = part_costs(network, round(answer["seconds"] * facts["sample_rate"]))
    wall = answer["wall"]
    return CostRow(
        model=request["model"],
        mode=request["mode"],
        seconds=answer["seconds"],
        sample_rate=facts["sample_rate"],
        parameters=facts["parameters"],
        macs=sum(part.macs for part in parts) if answer["macs"] is None else answer["macs"],
        mac_source="configuration" if answer["macs"] is None else "counted",
        latency=statistics.median(wall),
        latency_range=(min(wall), max(wall)),
        cpu_seconds=answer["cpu"],
        peak_bytes=answer["peak_bytes"],
        memory_source=answer["memory_source"],
        device=request["device"],
        threads=request["threads"],
        repeats=request["repeats"],
        parts=parts,
    )
