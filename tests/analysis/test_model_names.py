"""Which encoders a run analyses, each once."""

from speechstrata.analysis.config import Inputs
from speechstrata.analysis.model_names import wanted_models


def test_every_model_has_a_random_control_and_the_filterbank_stands_beside_them() -> None:
    assert wanted_models(Inputs(models=("a", "b"), controls=("fbank", "random"))) == [
        ("a", "encoder", None),
        ("b", "encoder", None),
        ("a", "control", "a"),
        ("b", "control", "b"),
        ("fbank", "control", None),
    ]


def test_one_model_alone_can_have_a_random_control() -> None:
    assert wanted_models(Inputs(models=("a", "b"), controls=("random:b",))) == [
        ("a", "encoder", None),
        ("b", "encoder", None),
        ("b", "control", "b"),
    ]
