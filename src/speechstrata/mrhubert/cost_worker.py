"""The process that measures one model: ``python -m speechstrata.mrhubert.cost_worker``.

A process of its own, so that its peak memory is this model's. It reads one JSON object a line from standard input and
answers each with one: first ``{"model", "mode", "device", "threads"}``, answered by what the model is, then any number
of ``{"do": "peak" | "time" | "count", "seconds"}``, until the input ends.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from speechstrata.encoders.loading import load_encoder
from speechstrata.errors import InputError, SpeechstrataError
from speechstrata.mrhubert.config import NetworkConfig, frontend_length
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.flops import counted_macs
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.model import MRHubertModel
from speechstrata.mrhubert.named import NAMED

#: A warm-up this long leaves little behind in the allocator.
_TOUCH_SECONDS = 0.2
#: Of 35 frames 20 are hidden (.571; published masks hide .57), in runs as long as two overlapping spans.
_MASK_PERIOD, _MASK_RUN = 35, 20


class Subject(NamedTuple):
    """A model ready to be measured; ``prepare(samples)`` gives the run whose cost is wanted."""

    sample_rate: int
    parameters: int
    network: NetworkConfig | None
    prepare: Callable[[int], Callable[[], object]]


def load_subject(name: str, mode: str, device: torch.device) -> Subject | None:
    """The model of that name (a named configuration gets random weights), for inference or training.

    None for a training step of a model that is not of this family.

    Raises:
        EncoderError: as ``load_encoder``.
    """
    if name in NAMED:
        network = NAMED[name]
        if mode == "training":
            return _training(network, device)
        torch.manual_seed(0)
        return _inference(MRHubertModel(MRHubertConfig(network=network)).to(device), device)
    encoder = load_encoder(name, device=device)
    module = getattr(encoder, "module", None)
    if mode == "training":
        return _training(module.network, device) if isinstance(module, MRHubertModel) else None
    last = [encoder.layers[-1].name]

    def prepare(samples: int) -> Callable[[], object]:
        audio, lengths = _noise(samples, torch.device("cpu")), torch.tensor([samples])
        return lambda: encoder.visit(audio, lengths, lambda *_: None, last)

    network_ = module.network if isinstance(module, MRHubertModel) else None
    return Subject(encoder.sample_rate, encoder.parameters or 0, network_, prepare)


def _inference(model: MRHubertModel, device: torch.device) -> Subject:
    model.eval().requires_grad_(False)

    def prepare(samples: int) -> Callable[[], object]:
        audio = _noise(samples, device)

        @torch.inference_mode()
        def run() -> object:
            return model(audio)

        return run

    return Subject(model.network.sample_rate, model.num_parameters(), model.network, prepare)


def _training(network: NetworkConfig, device: torch.device) -> Subject:
    """Forward, masked-prediction loss and backward; without layer drop, so that every step does the same work."""
    network = replace(network, layerdrop=0.0)
    torch.manual_seed(0)
    model = MRHubertForPreTraining(MRHubertConfig(network=network)).to(device).train()

    def prepare(samples: int) -> Callable[[], object]:
        audio = _noise(samples, device)
        frames = frontend_length(network, samples)
        mask = (torch.arange(frames, device=device) % _MASK_PERIOD < _MASK_RUN)[None]
        targets = [
            torch.arange(int(samples / network.sample_rate * rate) + 1, device=device)[None] % (rows - rows // 8)
            for rate, rows in zip(network.label_rates, network.classes, strict=True)
        ]

        def run() -> object:
            model.zero_grad(set_to_none=True)
            loss = model(audio, [samples], mask, targets).mean_loss()
            if torch.is_grad_enabled():
                loss.backward()
            return loss

        return run

    return Subject(network.sample_rate, model.num_parameters(), network, prepare)


def _noise(samples: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(samples)
    return (0.1 * torch.randn(1, samples, generator=generator)).to(device)


class Session:
    """One loaded model, and what can be asked of it.

    Args:
        request: ``model``, ``mode``, ``device`` and ``threads``; see
            :func:`speechstrata.mrhubert.cost.measure_cost`.

    Raises:
        InputError: no such device.
        EncoderError: the model cannot be loaded.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        torch.set_num_threads(request["threads"])
        self._device = device = torch.device(request["device"])
        if device.type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"there is no device {device}", 'use "cpu"')
        self._subject = load_subject(request["model"], request["mode"], device)
        self._prepared: tuple[float, Callable[[], object]] | None = None
        if self._subject is None:
            return
        self._memory = _Memory(device)
        with torch.no_grad():
            self._subject.prepare(int(_TOUCH_SECONDS * self._subject.sample_rate))()
        self._memory.start()

    @property
    def facts(self) -> dict[str, Any]:
        """What the model is; ``skipped`` for a training step of another family's model."""
        if self._subject is None:
            return {"skipped": True}
        network = self._subject.network
        return {
            "sample_rate": self._subject.sample_rate,
            "parameters": self._subject.parameters,
            "network": None if network is None else network.to_dict(),
        }

    def answer(self, what: str, seconds: float) -> dict[str, Any]:
        """The ``peak`` memory of a run on so much audio, the ``time`` of one, or the ``count`` of its MACs."""
        run = self._run(seconds)
        if what == "peak":
            return {"peak_bytes": self._memory.peak_of(run), "memory_source": self._memory.source}
        if what == "count":
            return {"macs": counted_macs(run)}
        _synchronize(self._device)
        start, worked = time.perf_counter(), time.process_time()
        run()
        _synchronize(self._device)
        wall, cpu = time.perf_counter() - start, time.process_time() - worked
        return {"wall": wall, "cpu": cpu if self._device.type == "cpu" else None}

    def _run(self, seconds: float) -> Callable[[], object]:
        assert self._subject is not None
        if self._prepared is None or self._prepared[0] != seconds:
            self._prepared = (seconds, self._subject.prepare(round(seconds * self._subject.sample_rate)))
        return self._prepared[1]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Memory:
    """Peak memory above that of the loaded model."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._base = 0
        self.source = "cuda allocator"
        if device.type != "cuda":
            self.source = "resident set" if _reset_high_water() else "resident set of the whole run"

    def start(self) -> None:
        """What is held now is the loaded model."""
        gc.collect()
        if self._device.type == "cuda":
            _synchronize(self._device)
            self._base = torch.cuda.memory_allocated(self._device)
            return
        _reset_high_water()
        self._base = _high_water()

    def peak_of(self, run: Callable[[], object]) -> int:
        """Bytes above the loaded model while ``run`` runs (which also warms it up)."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            run()
            _synchronize(self._device)
            return torch.cuda.max_memory_allocated(self._device) - self._base
        _reset_high_water()
        run()
        return max(0, _high_water() - self._base)


def _reset_high_water() -> bool:
    """Forget the process's peak so far; only Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _high_water() -> int:
    """The peak resident set in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def main() -> int:
    """Answer until the input ends; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        session = Session(json.loads(sys.stdin.readline()))
        say(session.facts)
        for line in sys.stdin:
            question = json.loads(line)
            say(session.answer(question["do"], question["seconds"]))
    except SpeechstrataError as error:
        say({"error": error.message, "remedy": error.remedy})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
