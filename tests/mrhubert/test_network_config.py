"""The family's configuration: blocks, lengths, labels, and every named model."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mrhubert_golden import golden

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import (
    NetworkConfig,
    Sampling,
    block_lengths,
    block_plan,
    frontend_length,
    label_ratio,
    sampled_length,
)
from speechstrata.mrhubert.configuration import MRHubertConfig
from speechstrata.mrhubert.masked_prediction import MRHubertForPreTraining
from speechstrata.mrhubert.named import NAMED, named_config


@pytest.mark.parametrize(
    ("name", "millions"), [("hubert-base", 94.70), ("mrhubert-base", 97.39), ("hubert-large", 316.61)]
)
def test_parameter_counts_are_the_published_ones(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = MRHubertForPreTraining(MRHubertConfig(NAMED[name]))
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_the_released_b2_a_runs_its_list_innermost_first() -> None:
    plan = [(block.layers, int(block.stride) // 16) for block in block_plan(NAMED["b2-a"])]
    assert plan == [(3, 20), (2, 40), (2, 80), (3, 40), (2, 20)]


def test_the_blocks_of_three_resolutions() -> None:
    plan = block_plan(NAMED["b2-b"])
    assert [block.name for block in plan] == ["encoder0", "encoder1", "middle", "decoder0", "decoder1"]
    assert [block.sampling and block.sampling.name for block in plan] == [None, "down0", "down1", "up0", "up1"]
    assert [block.skip for block in plan] == [None, None, "down1", "encoder1", "encoder0"]
    assert [block.head for block in plan] == [None, None, 2, 1, 0]
    assert [block.positional for block in plan] == [True, False, False, False, False]


def test_without_auxiliary_heads_only_the_last_block_predicts() -> None:
    assert [block.head for block in block_plan(NAMED["b4-a"])] == [None, None, 0]


def test_the_missing_cell_is_b5_a_without_its_auxiliary_loss() -> None:
    assert NAMED["b5-a-single"] == replace(NAMED["b5-a"], auxiliary_heads=False)
    assert all(block.stride == 320 for block in block_plan(NAMED["b5-a-single"]))


def test_every_model_of_table_1_has_twelve_layers() -> None:
    for name in ("hubert-base", "mrhubert-base", "b2-a", "b2-b", "b4-a", "b5-a", "b5-a-single"):
        assert sum(NAMED[name].layers) == 12


def test_every_tiny_model_has_six_layers_of_192() -> None:
    tiny = {name: config for name, config in NAMED.items() if name.startswith("tiny")}
    assert len(tiny) == 9
    for config in tiny.values():
        assert (sum(config.layers), config.dim, config.extractor) == (6, 192, "log_mel")


def test_unknown_names_are_refused_with_the_list() -> None:
    with pytest.raises(InputError, match="b2-a"):
        named_config("b9-z")


@pytest.mark.parametrize("name", NAMED)
def test_a_config_survives_json(name: str) -> None:
    values = {
        key: value for key, value in MRHubertConfig(NAMED[name]).to_dict().items() if key in NAMED[name].to_dict()
    }
    assert NetworkConfig.from_dict(values) == NAMED[name]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layers": (4, 4)}, "layers"),
        ({"layers": (4, 0, 4)}, "layers"),
        ({"heads": 5}, "heads"),
        ({"ratios": ((0, 2),)}, "ratios"),
        ({"classes": (504, 504, 504)}, "classes"),
        ({"classes": (4,)}, "classes"),
        ({"label_rates": (50.0, 25.0)}, "label_rates"),
        ({"extractor": "mel"}, "extractor"),
        ({"dropout": 1.0}, "dropout"),
        ({"positional_groups": 7}, "positional_groups"),
        ({"conv_layers": ()}, "conv_layers"),
        ({"logit_temperature": 0.0}, "logit_temperature"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=f"setting {named}"):
        NetworkConfig(**changes)


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(InputError, match="'layer'"):
        NetworkConfig.from_dict({"layer": 3})


@given(st.integers(1, 300), st.integers(1, 7), st.integers(1, 7))
def test_sampling_loses_no_frame(frames: int, up: int, down: int) -> None:
    there = sampled_length(frames, Sampling("down0", up, down))
    assert there == -(-frames * up // down)
    assert sampled_length(there, Sampling("up0", down, up)) >= frames


@pytest.mark.parametrize("key", golden()["sampling_lengths"]["tables"])
def test_sampled_lengths_are_the_published_ones(key: str) -> None:
    up, down = (int(number) for number in key.split(":")[1].split("/"))
    for frames, published, mask in golden()["sampling_lengths"]["tables"][key]:
        assert sampled_length(frames, Sampling("down0", up, down)) == mask
        assert published <= mask  # the public code loses a frame where its kernel is even


def test_a_decoder_runs_on_66_frames_for_65() -> None:
    assert [tuple(length) for length in block_lengths(NAMED["mrhubert-base"], 65)] == [(65, 65), (33, 33), (66, 65)]


@given(st.integers(0, 20_000))
def test_both_front_ends_give_as_many_frames(samples: int) -> None:
    assert frontend_length(NAMED["tiny"], samples) == frontend_length(NAMED["mrhubert-base"], samples)


@pytest.mark.parametrize(
    ("changes", "ratios"),
    [
        ({}, [1, 2]),
        ({"ratios": ((2, 3),)}, [1, Fraction(3, 2)]),
        ({"label_rates": (100.0,)}, [2, 4]),
        ({"classes": (100, 50), "label_rates": (50.0, 25.0)}, [1, 1]),
        ({"classes": (100, 50), "label_rates": (50.0, 100 / 3), "ratios": ((2, 3),)}, [1, 1]),
        ({"classes": (100, 50), "label_rates": (50.0, 12.0), "ratios": ((1, 4),)}, [1, Fraction(24, 25)]),
    ],
)
def test_label_ratios_are_exact(changes: dict[str, object], ratios: list[Fraction]) -> None:
    config = replace(NAMED["mrhubert-base"], **changes)
    assert [label_ratio(config, head) for head in range(2)] == ratios


def test_the_configuration_needs_no_heavy_library() -> None:
    code = "import sys, speechstrata.mrhubert.named; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
