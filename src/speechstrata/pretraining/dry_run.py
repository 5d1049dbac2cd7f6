"""``speechstrata pretrain --dry-run``: what a run will do, and its pace on this machine, from a few real steps."""

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from speechstrata.pretraining.batches import BatchPlan
from speechstrata.pretraining.config import SAMPLE_RATE, PretrainConfig
from speechstrata.pretraining.module import build_model
from speechstrata.pretraining.prepare import Prepared, prepare
from speechstrata.pretraining.strategies import accelerator, processes
from speechstrata.pretraining.trainer import load_cuts, resolve

#: Batches whose time is measured, after one that warms up.
_MEASURED = 4
#: AdamW keeps two moments beside a weight and its gradient.
_TENSORS_PER_WEIGHT = 4


@dataclass(frozen=True)
class DryRun:
    """What a run will do.

    Attributes:
        parameters: of the model.
        utterances: that are trained on; ``hours`` of audio in them, by ``speakers``.
        validation_hours: of audio in the validation set, by ``validation_speakers``.
        left_out: utterances without audio or units.
        batches_per_epoch: batches of all processes.
        steps: of the run, of ``batches_per_step`` batches, shared by ``processes``.
        epochs: passes over the corpus.
        audio_hours: that the run will hear, crops and repetitions as they come.
        state_bytes: weights, gradients and optimizer state.
        peak_bytes: of memory in the measured steps (the process, or the GPU).
        batch_seconds: of wall time for one batch, the median of a few real ones.
        run_hours: of wall time that all steps would take at that pace, validation and checkpoints left out.
        real_time_factor: seconds of audio per second of wall time, of all processes.
    """

    parameters: int
    utterances: int
    hours: float
    speakers: int
    validation_hours: float
    validation_speakers: int
    left_out: int
    batches_per_epoch: int
    batches_per_step: int
    processes: int
    steps: int
    epochs: float
    audio_hours: float
    state_bytes: int
    peak_bytes: int
    batch_seconds: float
    run_hours: float
    real_time_factor: float

    def __str__(self) -> str:
        """The report, for people."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """The lines of the report."""
        return [
            f"model         {self.parameters / 1e6:.2f} M parameters",
            f"corpus        {self.utterances} utterances, {self.hours:.2f} h, {self.speakers} speakers"
            + (f" ({self.left_out} utterances left out)" if self.left_out else ""),
            f"validation    {self.validation_hours:.2f} h, {self.validation_speakers} speakers",
            f"batches       {self.batches_per_epoch} per epoch, {self.batches_per_step} per step "
            f"on {self.processes} process{'es' if self.processes > 1 else ''}",
            f"steps         {self.steps} = {self.epochs:.1f} epochs, {self.audio_hours:.1f} h of audio",
            f"memory        {_size(self.state_bytes)} weights and optimizer, {_size(self.peak_bytes)} at the peak",
            f"pace          {self.batch_seconds:.3f} s a batch, {self.real_time_factor:.0f} x real time",
            f"time          about {_duration(self.run_hours * 3600)} on this machine, validation not counted",
        ]


def dry_run(
    recipe: str | Path,
    *,
    corpus: str | None = None,
    targets: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> DryRun:
    """Prepare a run and try a few of its batches; nothing is kept. Arguments and errors: as for ``pretrain``."""
    config = resolve(recipe, corpus=corpus, targets=targets, overrides=overrides)
    return dry_run_cuts(config, load_cuts(config))


def dry_run_cuts(config: PretrainConfig, cuts: Iterable[Any]) -> DryRun:
    """:func:`dry_run` for lhotse cuts at hand. A cache of the audio is made only for the batches that are tried."""
    from dataclasses import replace

    uncached = replace(config, data=replace(config.data, cache="none"))
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(uncached, cuts, Path(folder))
        return _measure(config, prepared)


def _measure(config: PretrainConfig, prepared: Prepared) -> DryRun:
    device = torch.device(accelerator(config))
    model = build_model(prepared.network, config.seed).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[config.run.precision]
    plan, per_step = prepared.plan, config.data.batches_per_step
    seconds: list[float] = []
    audio: list[float] = []
    for number in _spread(plan, _MEASURED + 1):
        batch = prepared.material.batch(plan.batch(number), number=number, step=0)
        inputs, mask = batch.inputs.to(device), batch.mask.to(device)
        targets = [stream.to(device) for stream in batch.targets]
        began = time.perf_counter()
        with torch.autocast(device.type, dtype=dtype) if dtype else nullcontext():
            output = model(inputs, batch.lengths, mask, targets)
        (output.loss / output.sample_size).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        audio.append(batch.seconds)
    world = processes()[0]
    steps = config.optimizer.steps
    pace = statistics.median(duration / heard for duration, heard in zip(seconds[1:], audio[1:], strict=True))
    sampled = [
        sum(crop.samples for crop in plan.batch(number)) / SAMPLE_RATE
        for number in _spread(plan, min(100, plan.batches_per_epoch))
    ]
    heard_in_all = statistics.mean(sampled) * steps * per_step
    parameters = sum(weight.numel() for weight in model.parameters())
    known = [speaker for speaker in prepared.split.train if speaker]
    validation = sum(crop.samples for batch in prepared.validation for crop in batch) / SAMPLE_RATE
    return DryRun(
        parameters=parameters,
        utterances=len(plan.utterances),
        hours=plan.seconds / 3600,
        speakers=len(known),
        validation_hours=validation / 3600,
        validation_speakers=len(prepared.split.validation),
        left_out=len(prepared.left_out),
        batches_per_epoch=plan.batches_per_epoch,
        batches_per_step=per_step,
        processes=world,
        steps=steps,
        epochs=steps * per_step / plan.batches_per_epoch,
        audio_hours=heard_in_all / 3600,
        state_bytes=_TENSORS_PER_WEIGHT * 4 * parameters,
        peak_bytes=_peak_bytes(device),
        batch_seconds=pace * statistics.mean(sampled),
        run_hours=pace * heard_in_all / world / 3600,
        real_time_factor=world / pace,
    )


def _spread(plan: BatchPlan, count: int) -> list[int]:
    """Batch numbers spread over an epoch; some come more than once where it has fewer."""
    return [number * plan.batches_per_epoch // count for number in range(count)]


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
