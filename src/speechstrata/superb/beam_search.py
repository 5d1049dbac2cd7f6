"""Speech recognition with an n-gram language model: prefix beam search by the package ctc-beam-decoder."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechstrata.errors import InputError
from speechstrata.superb.metric_packages import metric_package
from speechstrata.superb.task import Labels
from speechstrata.superb.tasks.asr import SpeechRecognition
from speechstrata.superb.text_units import CHARACTER_UNITS

#: Of the benchmark. Its decoder weighs decimal logarithms of the language model, this one natural logarithms.
BEAM, WEIGHT, WORD_SCORE = 5, 2.0, -1.0
#: The units that spell nothing, the blank among them.
_SPECIAL = 4


class RecognitionWithLanguageModel(SpeechRecognition):
    """Speech recognition whose predictions come from a beam search; for scoring a trained probe.

    The benchmark searches within a lexicon. This search may spell any word, at a price for those that the language
    model does not have.

    Args:
        language_model: ARPA file, plain or compressed, or KenLM binary, of upper-case words.
        beam: hypotheses that are kept.
        weight: of the language model's decimal logarithms.
        word_score: added for every word.

    Raises:
        InputError: no such language model, or not one.
        MissingExtraError: without ctc-beam-decoder.
    """

    def __init__(
        self, language_model: Path | str, beam: int = BEAM, weight: float = WEIGHT, word_score: float = WORD_SCORE
    ) -> None:
        path = Path(language_model)
        if not path.is_file():
            raise InputError(f"there is no language model {path}", "give an ARPA file or a KenLM binary")
        package = metric_package("ctc_beam_decoder", "beam search with a language model")
        columns = ["", *(" " if unit == "|" else unit for unit in CHARACTER_UNITS[_SPECIAL:])]
        try:
            self._decoder = package.build_ctcdecoder(
                columns, kenlm_model_path=str(path), alpha=weight / math.log(10), beta=word_score
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{path} is not a language model: {error}", "give an ARPA file or a KenLM binary"
            ) from error
        self._beam = beam

    def predict(self, outputs: Tensor, lengths: Tensor, targets: Sequence[Any], labels: Labels) -> list[dict[str, Any]]:
        """``hypothesis`` and ``reference``."""
        scores = spelling_scores(outputs)
        rows = []
        for row, length, target in zip(scores, lengths.tolist(), targets, strict=True):
            text = self._decoder.decode(row[:length], beam_width=self._beam)
            rows.append({"hypothesis": " ".join(text.split()), "reference": target["text"]})
        return rows


def spelling_scores(outputs: Tensor) -> NDArray[np.float32]:
    """Log probabilities (batch, frames, 1 + characters) of logits (batch, frames, units).

    The first column is that of nothing being spelt: the blank and the special units, which greedy decoding passes over.
    """
    scores = outputs.log_softmax(-1)
    nothing = torch.logsumexp(scores[..., :_SPECIAL], dim=-1, keepdim=True)
    found: NDArray[np.float32] = torch.cat([nothing, scores[..., _SPECIAL:]], dim=-1).cpu().numpy()
    return found
