"""Layers keep their order on every axis, and sampling taps stand between the Transformer layers they join."""

from itertools import pairwise

import pytest
import synthetic_runs as synthetic
from hypothesis import given
from hypothesis import strategies as st

from speechstrata.mrhubert.named import NAMED
from speechstrata.report.axes import layer_axis, places, taps_between, transformer_count
from speechstrata.report.merge import Merged, Subject
from speechstrata.report.runs import LayerInfo, ModelInfo
from speechstrata.report.tables import summarize


def subject_of(layers: list[dict], label: str = "x") -> Subject:
    infos = tuple(LayerInfo(**layer) for layer in layers)
    info = ModelInfo(label, "encoder", None, "self-supervised", "f", None, 16_000, None, infos)
    return Subject(label, info, None, 0, ())


blocks = st.lists(st.tuples(st.integers(1, 8), st.sampled_from([20.0, 40.0, 80.0])), min_size=1, max_size=7).filter(
    lambda value: len(value) % 2 == 1
)


@given(blocks, st.booleans())
def test_every_layer_has_a_place_of_its_own_in_the_order_of_computation(
    shape: list[tuple[int, float]], conv: bool
) -> None:
    subject = subject_of(synthetic.multi_resolution_layers(shape, conv=conv))
    where = list(places(subject).values())
    assert all(after > before for before, after in pairwise(where))


@given(blocks)
def test_transformer_layers_stay_at_their_depth_and_taps_before_the_next_one(shape: list[tuple[int, float]]) -> None:
    subject = subject_of(synthetic.multi_resolution_layers(shape, conv=False))
    where = places(subject)
    step = 1 / sum(count for count, _ in shape)
    for layer in subject.info.layers:
        if layer.kind == "transformer":
            assert where[layer.name] == layer.depth
        else:
            assert layer.depth < where[layer.name] < layer.depth + step


@pytest.mark.parametrize("name", NAMED)
def test_no_two_layers_of_a_network_of_the_family_share_a_place(name: str) -> None:
    """The inputs of blocks and the sums behind skips are Transformer states, at the depth of the layer before them."""
    subject = subject_of(synthetic.network_layers(name))
    where = places(subject)
    assert all(after > before for before, after in pairwise(where.values()))
    step = 1 / sum(NAMED[name].layers)
    for layer in subject.info.layers:
        if layer.name.startswith("T"):
            assert where[layer.name] == layer.depth
        elif layer.depth >= 0:
            assert layer.depth < where[layer.name] < layer.depth + step


def test_block_inputs_and_skips_are_taps() -> None:
    subject = subject_of(synthetic.network_layers("tiny"))
    taps = taps_between((layer.name, layer.kind, layer.index, layer.depth) for layer in subject.info.layers)
    assert list(taps) == ["down0", "D0", "middle.post_skip", "up0", "U0", "decoder0.post_skip"]


def test_layers_of_an_encoder_without_transformer_layers_are_no_taps() -> None:
    assert taps_between([("a", "conv", 0, 0.0), ("b", "conv", 1, 0.0)]) == {}


@pytest.mark.parametrize("total", [1, 6, 12, 24, 32])
def test_the_transformer_layers_are_counted_from_their_depths(total: int) -> None:
    assert transformer_count(subject_of(synthetic.plain_layers(total))) == total


def test_depths_that_are_no_whole_layers_give_no_count() -> None:
    layers = synthetic.plain_layers(3, conv=False)
    layers[1]["depth"] = 0.4
    assert transformer_count(subject_of(layers)) is None


def test_one_architecture_is_drawn_by_layer_names(demo: Merged) -> None:
    axis = layer_axis(demo, summarize(demo.scores))
    assert axis.scale == "names"
    assert [name for _, name in axis.ticks] == [f"T{number}" for number in range(7)]
    assert axis.positions["moonshine-tiny", "T3"] == axis.positions["moonshine-tiny+random", "T3"] == 3


def test_architectures_of_as_many_layers_are_drawn_by_layer_number(family: Merged) -> None:
    axis = layer_axis(family, summarize(family.scores))
    assert axis.scale == "number"
    assert axis.positions["hubert-base", "T7"] == pytest.approx(7)
    assert axis.positions["mrhubert-b2-a", "T7"] == pytest.approx(7)
    assert 3 < axis.positions["mrhubert-b2-a", "D0"] < 4
    assert axis.positions["hubert-base", "projection"] == pytest.approx(-1)
    assert {name: position for position, name in axis.ticks}["conv1"] == pytest.approx(-8)


def test_architectures_of_different_depth_are_drawn_by_their_share(demo: Merged, family: Merged) -> None:
    subjects = (demo.subjects[0], family.subjects[0])
    both = Merged((), (), subjects, family.scores, ())
    rows = summarize(demo.scores.vstack(family.scores.select(demo.scores.columns)))
    axis = layer_axis(both, rows)
    assert axis.scale == "depth"
    assert axis.positions["moonshine-tiny", "T3"] == axis.positions["hubert-base", "T6"] == 0.5
