"""Speaker diarisation: who speaks when (frame accuracy, diarisation error rate)."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor, nn

from speechstrata.errors import CorpusError
from speechstrata.superb.der import (
    Segment,
    active_frames,
    diarisation_error_rate,
    diarisation_errors,
    frame_labels,
    frame_segments,
    merge_segments,
)
from speechstrata.superb.metric_packages import metric_package
from speechstrata.superb.permutation import best_permutations, permutation_loss
from speechstrata.superb.recurrent import FrameHead
from speechstrata.superb.task import FrameGrid, Labels, ProbeTask, Recipe

#: Frames of a training or dev example.
_CHUNK = 2000
#: A rest of a recording that is shorter, in seconds, is left out: some encoders have no frame for it.
_SHORTEST = 0.5
#: The decisions that are tried: on a speaker's probability, and frames of the median filter.
THRESHOLDS, MEDIANS = (0.3, 0.4, 0.5, 0.6, 0.7), (1, 11)
_PLAIN = {"threshold": 0.5, "median": 1}


class SpeakerDiarisation(ProbeTask):
    """As many speaker outputs as training recordings have speakers at most (two in Libri2Mix); their order is free.

    The benchmark takes the decision (threshold, median filter) with the lowest error rate on the *test* split. Here it
    is chosen on dev, and ``der`` is what it gives; ``der_tuned_on_test`` is the benchmark's number: the lowest on the
    very split that is scored. A segment that spans a whole chunk is labelled here; the benchmark loses it.
    """

    name: ClassVar[str] = "sd"
    title: ClassVar[str] = "Speaker diarisation"
    metric: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    published: ClassVar[Recipe] = Recipe(
        steps=30_000, evaluate_every=500, batch_size=8, accumulation=4, hidden=512, recurrent_layers=1
    )
    mini: ClassVar[Recipe] = Recipe(
        learning_rate=1e-3,
        steps=400,
        evaluate_every=100,
        batch_size=4,
        hidden=256,
        recurrent_layers=1,
        dev_examples=40,
    )

    def fit_labels(self, train: CutSet) -> Labels:
        """``speakers``: the most that one training recording has.

        Raises:
            CorpusError: no recording has two.
        """
        metric_package("pyannote.metrics.diarization", "the diarisation error rate")  # better now than after training
        speakers = max((len({s.speaker for s in cut.supervisions}) for cut in train), default=0)
        if speakers < 2:
            raise CorpusError("no training recording has two speakers", "make the probe corpus again")
        return {"speakers": speakers}

    def examples(self, cuts: CutSet, split: str, stride_seconds: float) -> CutSet:
        """Train and dev in pieces of 2000 frames (a rest below half a second is left out), others whole."""
        if split not in ("train", "dev"):
            return cuts
        seconds = _CHUNK * stride_seconds
        pieces = (
            piece for cut in cuts for piece in (cut.cut_into_windows(seconds) if cut.duration > seconds else [cut])
        )
        return CutSet.from_cuts(piece for piece in pieces if piece.duration >= _SHORTEST)

    def target(self, cut: Cut, labels: Labels, waveform: NDArray[np.float32] | None, grid: FrameGrid) -> dict[str, Any]:
        """``segments``, ``labels`` (frames, speakers), ``stride`` and ``duration`` in seconds.

        Raises:
            CorpusError: more speakers than there are outputs.
        """
        spoken: list[Segment] = [(s.speaker, s.start, s.end) for s in cut.supervisions]
        segments = merge_segments(spoken, cut.duration)
        speakers = list(dict.fromkeys(speaker for speaker, _, _ in segments))
        if len(speakers) > labels["speakers"]:
            raise CorpusError(
                f"the recording {cut.id} has {len(speakers)} speakers, the probe tells {labels['speakers']} apart",
                "leave it out, or train on recordings of as many speakers",
            )
        speakers += [""] * (labels["speakers"] - len(speakers))
        stride = float(grid.stride / grid.sample_rate)
        return {
            "segments": segments,
            "labels": frame_labels(segments, speakers, grid.frames, stride),
            "stride": stride,
            "duration": cut.duration,
        }

    def build_head(self, dim: int, labels: Labels, recipe: Recipe, grid: FrameGrid) -> nn.Module:
        """One direction only, as published. Outputs are logits (batch, frames, speakers)."""
        return FrameHead(dim, labels["speakers"], recipe, bidirectional=False, rectify=False)

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> Tensor:
        """See :func:`speechstrata.superb.permutation.permutation_loss`."""
        return permutation_loss(outputs, _wanted(outputs, targets), lengths)

    def predict(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> list[dict[str, Any]]:
        """Frames that are right, ``probabilities`` (frames, speakers), and what the reference has."""
        wanted = _wanted(outputs, targets)
        _, orders = best_permutations(outputs, wanted, lengths)
        probabilities = torch.sigmoid(outputs).cpu().numpy()
        rows = []
        for number, (target, length) in enumerate(zip(targets, lengths.tolist(), strict=True)):
            right = (outputs[number, :length] > 0) == (wanted[number, :length][:, orders[number]] > 0)
            rows.append(
                {
                    "right": int(right.sum()),
                    "decisions": right.numel(),
                    "probabilities": probabilities[number, :length],
                    "reference": target["segments"],
                    "stride": target["stride"],
                    "duration": target["duration"],
                }
            )
        return rows

    def tune(self, predictions: Sequence[Mapping[str, Any]], labels: Labels) -> dict[str, Any]:
        """``threshold`` and ``median`` with the lowest error rate; of equals, the nearest to 0.5 and unfiltered."""
        return _best_decision(predictions)

    def score(
        self, predictions: Sequence[Mapping[str, Any]], labels: Labels, settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """``accuracy`` of frames x speakers (logit above 0, the loss's order), ``der``, ``der_tuned_on_test``.

        Without settings, ``der`` is that of probabilities above 0.5, unfiltered.
        """
        lowest = _best_decision(predictions)
        return {
            "accuracy": sum(row["right"] for row in predictions) / sum(row["decisions"] for row in predictions),
            "der": diarisation_error_rate([_compared(row, settings or _PLAIN) for row in predictions]),
            "der_tuned_on_test": diarisation_error_rate([_compared(row, lowest) for row in predictions]),
        }


def _wanted(outputs: Tensor, targets: Sequence[Any]) -> Tensor:
    """(batch, frames, speakers) labels, zero past the lengths."""
    wanted = torch.zeros_like(outputs)
    for number, target in enumerate(targets):
        own = torch.as_tensor(target["labels"])
        wanted[number, : len(own)] = own.to(outputs)
    return wanted


def _compared(
    row: Mapping[str, Any], decision: Mapping[str, Any]
) -> tuple[Sequence[Segment], Sequence[Segment], float]:
    """Reference and hypothesis segments and the seconds of a recording."""
    active = active_frames(row["probabilities"], decision["threshold"], decision["median"])
    return row["reference"], frame_segments(active, row["stride"], row["duration"]), row["duration"]


def _best_decision(predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rates: dict[tuple[float, int], float] = {}
    for threshold, median in sorted(product(THRESHOLDS, MEDIANS), key=lambda pair: (abs(pair[0] - 0.5), pair[1])):
        decision = {"threshold": threshold, "median": median}
        errors = [diarisation_errors(*_compared(row, decision)) for row in predictions]
        rates[threshold, median] = sum(error.wrong for error in errors) / max(sum(e.total for e in errors), 1e-9)
    threshold, median = min(rates, key=lambda pair: rates[pair])
    return {"threshold": threshold, "median": median}
