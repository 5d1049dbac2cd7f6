"""Beam search: a language model settles what the sounds leave open."""

from pathlib import Path

import pytest
import torch

from speechstrata.errors import InputError
from speechstrata.superb.beam_search import RecognitionWithLanguageModel, spelling_scores
from speechstrata.superb.text_units import CHARACTER_UNITS

ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-1.0\t<s>\t0
-1.0\t</s>
-1.0\t<unk>\t0
-0.3\t{likely}\t0
-3.0\t{rare}\t0

\\2-grams:
-0.1\t<s> {likely}
-0.1\t{likely} </s>

\\end\\
"""
NUMBERS = {unit: number for number, unit in enumerate(CHARACTER_UNITS)}


def outputs_of(*frames: dict[str, float]) -> torch.Tensor:
    """Logits (1, frames, units) with these probabilities and hardly any other."""
    logits = torch.full((1, len(frames), len(CHARACTER_UNITS)), -30.0)
    for place, frame in enumerate(frames):
        for unit, probability in frame.items():
            logits[0, place, NUMBERS[unit]] = torch.tensor(probability).log()
    return logits


@pytest.mark.parametrize(("likely", "rare"), [("AB", "AC"), ("AC", "AB")])
def test_the_likely_word_wins(tmp_path: Path, likely: str, rare: str) -> None:
    pytest.importorskip("ctc_beam_decoder")
    (tmp_path / "lm.arpa").write_text(ARPA.format(likely=likely, rare=rare))
    task = RecognitionWithLanguageModel(tmp_path / "lm.arpa")
    outputs = outputs_of({"A": 1.0}, {"B": 0.5, "C": 0.5}, {"|": 1.0}, {"</s>": 1.0}, {"B": 1.0})
    rows = task.predict(outputs, torch.tensor([4]), [{"text": "AB"}], {})
    assert rows == [{"hypothesis": likely, "reference": "AB"}]


def test_units_that_spell_nothing_are_one_column() -> None:
    scores = spelling_scores(outputs_of({"<s>": 0.25, "</s>": 0.25, "<unk>": 0.25, "A": 0.25}))
    assert scores.shape == (1, 1, 29)
    assert scores[0, 0, 0] == pytest.approx(torch.tensor(0.75).log().item())
    assert scores[0, 0, 2] == pytest.approx(torch.tensor(0.25).log().item())


def test_a_language_model_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no language model"):
        RecognitionWithLanguageModel(tmp_path / "lm.arpa")
    pytest.importorskip("ctc_beam_decoder")
    (tmp_path / "lm.arpa").write_text("nothing")
    with pytest.raises(InputError, match="is not a language model"):
        RecognitionWithLanguageModel(tmp_path / "lm.arpa")
