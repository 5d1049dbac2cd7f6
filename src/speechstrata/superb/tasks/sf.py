"""Slot filling: characters and slots' edges by CTC (slot-type F1, slot-value character error rate)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor, nn

from speechstrata.errors import CorpusError
from speechstrata.superb.ctc import best_path, ctc_loss
from speechstrata.superb.labels import custom_label
from speechstrata.superb.metric_packages import error_rate, metric_package
from speechstrata.superb.recurrent import TranscriptionHead
from speechstrata.superb.slot_scores import slot_type_f1, slot_value_cer
from speechstrata.superb.task import FrameGrid, Labels, ProbeTask, Recipe
from speechstrata.superb.tasks.asr import SpeechRecognition
from speechstrata.superb.text_units import slot_units, spell_slots, tagged_words, unspell_slots, without_slots


class SlotFilling(ProbeTask):
    """Speech recognition whose units include the beginning and the end of every slot in the training split."""

    name: ClassVar[str] = "sf"
    title: ClassVar[str] = "Slot filling"
    metric: ClassVar[str] = "slot_type_f1"
    higher_is_better: ClassVar[bool] = True
    published: ClassVar[Recipe] = replace(SpeechRecognition.published, batch_size=32)
    mini: ClassVar[Recipe] = replace(SpeechRecognition.mini, steps=500, pick="")

    def fit_labels(self, train: CutSet) -> Labels:
        """``slots``, sorted, and the ``units`` that they make.

        Raises:
            CorpusError: slots that are not a word each.
        """
        metric_package("jiwer", "scoring slots")  # better now than after hours of training
        found = {slot for cut in train for slot in _words_and_slots(cut)[1]} - {"O"}
        if strange := sorted(slot for slot in found if not slot or len(slot.split()) != 1):
            raise CorpusError(f"the slot {strange[0]!r} is not one word", "write it without spaces")
        slots = sorted(found)
        return {"slots": slots, "units": slot_units(slots)}

    def target(self, cut: Cut, labels: Labels, waveform: NDArray[np.float32] | None, grid: FrameGrid) -> dict[str, Any]:
        """The tagged ``text`` and its ``units``."""
        tagged = tagged_words(*_words_and_slots(cut))
        return {"text": " ".join(tagged), "units": spell_slots(tagged, labels["units"])}

    def build_head(self, dim: int, labels: Labels, recipe: Recipe, grid: FrameGrid) -> nn.Module:
        """Outputs are logits (batch, frames, units)."""
        return TranscriptionHead(dim, len(labels["units"]), recipe)

    def loss(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> Tensor:
        """See :func:`speechstrata.superb.ctc.ctc_loss`."""
        return ctc_loss(outputs, lengths, [target["units"] for target in targets])

    def predict(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> list[dict[str, Any]]:
        """``hypothesis`` and ``reference``, with ``B-slot`` and ``E-slot`` around values."""
        paths = best_path(outputs, lengths)
        return [
            {"hypothesis": unspell_slots(path, labels["units"]), "reference": target["text"]}
            for path, target in zip(paths, targets, strict=True)
        ]

    def score(
        self, predictions: Sequence[Mapping[str, Any]], labels: Labels, settings: Mapping[str, Any]
    ) -> dict[str, float]:
        """``slot_type_f1``, ``slot_value_cer`` (NaN without slots), and ``wer`` of the words without slots."""
        references = [row["reference"] for row in predictions]
        hypotheses = [row["hypothesis"] for row in predictions]
        words = [[without_slots(text, labels["slots"]) for text in texts] for texts in (references, hypotheses)]
        return {
            "slot_type_f1": slot_type_f1(references, hypotheses),
            "slot_value_cer": slot_value_cer(references, hypotheses),
            "wer": error_rate(words[0], words[1], "word"),
        }


def _words_and_slots(cut: Cut) -> tuple[list[str], list[str]]:
    words, slots = custom_label(cut, "words", list), custom_label(cut, "slots", list)
    if len(words) != len(slots):
        raise CorpusError(
            f"the utterance {cut.id} has {len(words)} words and {len(slots)} slots", "make the probe corpus again"
        )
    return words, slots
