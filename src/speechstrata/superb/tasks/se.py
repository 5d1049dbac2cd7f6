"""Speech enhancement: a mask on the noisy spectrum (PESQ, STOI, SI-SDR improvement)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from lhotse import CutSet, MonoCut, Recording
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor, nn

from speechstrata.audio import load_cut
from speechstrata.errors import CorpusError
from speechstrata.superb.metric_packages import metric_package
from speechstrata.superb.recurrent import FrameHead
from speechstrata.superb.spectra import (
    fit_frames,
    hop_of,
    phase_sensitive_loss,
    spectrum,
    waveform_of,
    window_of,
)
from speechstrata.superb.speech_quality import pesq, si_sdr, stoi
from speechstrata.superb.task import FrameGrid, Labels, ProbeTask, Recipe

#: Noisy and clean may differ so much in length, in seconds; the longer one is cut.
_TOLERANCE = 0.01


class SpeechEnhancement(ProbeTask):
    """Short-time spectra at the encoder's stride; the mask scales their magnitudes, and the phase stays noisy."""

    name: ClassVar[str] = "se"
    title: ClassVar[str] = "Speech enhancement"
    metric: ClassVar[str] = "pesq"
    higher_is_better: ClassVar[bool] = True
    needs_waveform: ClassVar[bool] = True
    published: ClassVar[Recipe] = Recipe(
        steps=150_000,
        evaluate_every=1_250,
        batch_size=8,
        hidden=896,
        recurrent_layers=3,
        dropout=0.5,
        optimizer="adamw",
        epsilon=1e-7,
    )
    mini: ClassVar[Recipe] = Recipe(
        learning_rate=1e-3,
        steps=500,
        evaluate_every=100,
        batch_size=4,
        hidden=256,
        recurrent_layers=1,
        optimizer="adamw",
        epsilon=1e-7,
        dev_examples=24,
    )

    def fit_labels(self, train: CutSet) -> Labels:
        """There is nothing to fit."""
        for module in ("pesq", "pystoi"):
            metric_package(module, "scoring enhanced speech")  # better now than after hours of training
        return {}

    def target(self, cut: Cut, labels: Labels, waveform: NDArray[np.float32] | None, grid: FrameGrid) -> dict[str, Any]:
        """``noisy`` and ``clean`` (samples,), of one length; ``hop`` in samples and ``sample_rate`` in hertz.

        Raises:
            CorpusError: no clean recording, a silent one, or one of another length.
            EncoderError: see :func:`speechstrata.superb.spectra.hop_of`.
        """
        clean = load_cut(_clean_cut(cut), grid.sample_rate)
        noisy = load_cut(cut, grid.sample_rate) if waveform is None else waveform
        if abs(len(clean) - len(noisy)) > _TOLERANCE * grid.sample_rate:
            lengths = f"{len(noisy) / grid.sample_rate:.2f} s noisy, {len(clean) / grid.sample_rate:.2f} s clean"
            raise CorpusError(f"the recordings of {cut.id} differ in length ({lengths})", "mend the corpus")
        samples = min(len(clean), len(noisy))
        if not clean[:samples].any():
            raise CorpusError(f"the clean recording of {cut.id} is silent", "remove it")
        return {
            "noisy": noisy[:samples],
            "clean": clean[:samples],
            "hop": hop_of(grid),
            "sample_rate": grid.sample_rate,
        }

    def build_head(self, dim: int, labels: Labels, recipe: Recipe, grid: FrameGrid) -> nn.Module:
        """Outputs are masks (batch, frames, bins), at least 0; 257 bins where the stride is below 512 samples."""
        bins = window_of(hop_of(grid)) // 2 + 1
        return FrameHead(dim, bins, recipe, bidirectional=True, rectify=True)

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> Tensor:
        """:func:`speechstrata.superb.spectra.phase_sensitive_loss`, mean over the batch."""
        losses = []
        for mask, length, target in zip(outputs, lengths.tolist(), targets, strict=True):
            noisy, clean = (
                spectrum(torch.as_tensor(target[name], device=mask.device), target["hop"])
                for name in ("noisy", "clean")
            )
            losses.append(phase_sensitive_loss(fit_frames(mask[:length], len(noisy)), noisy, clean))
        return torch.stack(losses).mean()

    def predict(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> list[dict[str, Any]]:
        """``pesq``, ``stoi`` (each None where it is not defined), ``si_sdr`` and ``si_sdri`` (dB) of each utterance."""
        rows = []
        for mask, length, target in zip(outputs, lengths.tolist(), targets, strict=True):
            clean, noisy, rate = target["clean"], target["noisy"], target["sample_rate"]
            enhanced = enhance(mask[:length].cpu(), noisy, target["hop"])
            ratio = si_sdr(enhanced, clean)
            rows.append(
                {
                    "pesq": pesq(enhanced, clean, rate),
                    "stoi": stoi(enhanced, clean, rate),
                    "si_sdr": ratio,
                    "si_sdri": ratio - si_sdr(noisy, clean),
                }
            )
        return rows

    def score(
        self, predictions: Sequence[Mapping[str, Any]], labels: Labels, settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """Means of ``pesq``, ``stoi``, ``si_sdr`` and ``si_sdri``; ``left_out``: utterances without PESQ or STOI.

        Those have hardly any speech; the means of PESQ and STOI are over the others.
        """
        means = {}
        for name in ("pesq", "stoi", "si_sdr", "si_sdri"):
            values = [row[name] for row in predictions if row[name] is not None]
            means[name] = float(np.mean(values)) if values else float("nan")
        left_out = sum(row["pesq"] is None or row["stoi"] is None for row in predictions)
        return means | {"left_out": float(left_out)}


def enhance(mask: Tensor, noisy: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    """The waveform whose spectrum is the mask times that of ``noisy``: (frames, bins) and (samples,) -> (samples,)."""
    found = spectrum(torch.from_numpy(noisy), hop)
    enhanced: NDArray[np.float32] = waveform_of(fit_frames(mask, len(found)) * found, hop, len(noisy)).numpy()
    return enhanced


def _clean_cut(cut: Cut) -> MonoCut:
    """The part of the clean recording that the cut is of the noisy one."""
    clean = (cut.custom or {}).get("clean")
    if not isinstance(clean, Recording):
        raise CorpusError(f"the utterance {cut.id} has no clean recording", "make the probe corpus again")
    if cut.end > clean.duration + _TOLERANCE:
        raise CorpusError(
            f"the recordings of {cut.id} differ in length ({cut.end:.2f} s noisy, {clean.duration:.2f} s clean)",
            "mend the corpus",
        )
    duration = min(cut.duration, clean.duration - cut.start)
    return MonoCut(f"{cut.id}-clean", cut.start, duration, clean.channel_ids[0], recording=clean)
