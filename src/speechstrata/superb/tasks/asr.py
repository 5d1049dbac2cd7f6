"""Speech recognition: characters by CTC (word error rate)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor, nn

from speechstrata.superb.ctc import best_path, ctc_loss
from speechstrata.superb.labels import only_supervision
from speechstrata.superb.metric_packages import error_rate, metric_package
from speechstrata.superb.recurrent import TranscriptionHead
from speechstrata.superb.task import FrameGrid, Labels, ProbeTask, Recipe
from speechstrata.superb.text_units import CHARACTER_UNITS, plain, spell, unspell


class SpeechRecognition(ProbeTask):
    """32 units, decoded greedily: no language model.

    The published masks of SpecAugment are up to 50 dimensions wide whatever the encoder, which leaves little of narrow
    states: ``mini`` does without. It picks the best step by characters: few words are right after minutes of training.
    """

    name: ClassVar[str] = "asr"
    title: ClassVar[str] = "Speech recognition"
    metric: ClassVar[str] = "wer"
    higher_is_better: ClassVar[bool] = False
    published: ClassVar[Recipe] = Recipe(
        evaluate_every=2_000,
        batch_size=16,
        width=1024,
        hidden=1024,
        recurrent_layers=2,
        dropout=0.2,
        augment=True,
    )
    mini: ClassVar[Recipe] = Recipe(
        learning_rate=2e-3,
        steps=800,
        evaluate_every=100,
        batch_size=8,
        width=256,
        hidden=256,
        recurrent_layers=1,
        dropout=0.2,
        dev_examples=100,
        pick="cer",
    )

    def fit_labels(self, train: CutSet) -> Labels:
        """The published inventory, whatever the corpus."""
        metric_package("jiwer", "the word error rate")  # better now than after hours of training
        return {"units": list(CHARACTER_UNITS)}

    def target(self, cut: Cut, labels: Labels, waveform: NDArray[np.float32] | None, grid: FrameGrid) -> dict[str, Any]:
        """``text`` (upper case) and its ``units``."""
        text = plain(only_supervision(cut).text or "")
        return {"text": text, "units": spell(text)}

    def build_head(self, dim: int, labels: Labels, recipe: Recipe, grid: FrameGrid) -> nn.Module:
        """Outputs are logits (batch, frames, units)."""
        return TranscriptionHead(dim, len(labels["units"]), recipe)

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> Tensor:
        """See :func:`speechstrata.superb.ctc.ctc_loss`."""
        return ctc_loss(outputs, lengths, [target["units"] for target in targets])

    def predict(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> list[dict[str, Any]]:
        """``hypothesis`` and ``reference``."""
        paths = best_path(outputs, lengths)
        return [
            {"hypothesis": unspell(path), "reference": target["text"]}
            for path, target in zip(paths, targets, strict=True)
        ]

    def score(
        self, predictions: Sequence[Mapping[str, Any]], labels: Labels, settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """``wer`` and ``cer``: edits over the length of the references, of the whole split."""
        references = [row["reference"] for row in predictions]
        hypotheses = [row["hypothesis"] for row in predictions]
        return {
            "wer": error_rate(references, hypotheses, "word"),
            "cer": error_rate(references, hypotheses, "character"),
        }
