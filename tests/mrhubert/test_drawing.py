"""The drawing: every network draws, with all of its taps, in its lanes, and nothing runs off the page."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import NetworkConfig, block_plan
from speechstrata.mrhubert.drawing import architecture_figure, draw
from speechstrata.mrhubert.layout import arrange
from speechstrata.mrhubert.named import NAMED
from speechstrata.mrhubert.pen import HUES
from speechstrata.mrhubert.taps import tap_plan

UNUSUAL = {
    "two thirds, then the same": NetworkConfig(
        layers=(1, 2, 3, 2, 1),
        ratios=((2, 3), (1, 1)),
        classes=(104, 204, 504),
        label_rates=(50.0, 25.0, 100.0),
        residual="pre",
        extractor="log_mel",
    ),
    "three times the same": NetworkConfig(layers=(1, 1, 1, 1, 1), ratios=((1, 1), (1, 1))),
    "four resolutions": NetworkConfig(layers=(1,) * 7, ratios=((1, 2),) * 3),
    "upwards first": NetworkConfig(layers=(2, 2, 2), ratios=((2, 1),), label_rates=(100.0,)),
}
ALL = NAMED | UNUSUAL


def texts(figure: Figure) -> list[Text]:
    return [text for text in figure.axes[0].texts if text.get_text()]


@pytest.mark.parametrize("name", ALL)
def test_every_tap_is_named_once(name):
    written = [text.get_text() for text in texts(architecture_figure(ALL[name]))]
    for tap in tap_plan(ALL[name]):
        # a sampling module that keeps the rate also carries its ratio
        count = sum(text == tap.name or text.startswith(f"{tap.name}  ") for text in written)
        assert count == 1, tap.name


@pytest.mark.parametrize("name", ALL)
def test_there_is_a_lane_for_each_resolution_and_a_loss_for_each_head(name):
    config = ALL[name]
    figure = architecture_figure(config)
    written = [text.get_text() for text in texts(figure)]
    strides = {block.stride for block in block_plan(config)}
    lanes = [text for text in written if re.fullmatch(r"[\d.]+ ms", text)]
    assert sorted(lanes) == sorted(f"{float(stride) / 16:.3g} ms" for stride in strides)
    assert written.count("loss") == 1
    assert written.count("auxiliary loss") == config.head_count - 1


@pytest.mark.parametrize("name", ALL)
def test_no_text_overlaps_another_or_leaves_the_page(name):
    figure = architecture_figure(ALL[name])
    renderer = FigureCanvasAgg(figure).get_renderer()
    page = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts(figure)]
    for text, box in boxes:
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text
    for index, (text, box) in enumerate(boxes):
        for other_text, other in boxes[index + 1 :]:
            across = min(box.x1, other.x1) - max(box.x0, other.x0)
            along = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert across <= 1 or along <= 1, (text, other_text)


@pytest.mark.parametrize("name", ALL)
def test_blocks_follow_each_other_in_time_and_stay_in_their_lanes(name):
    layout = arrange(ALL[name])
    for before, after in pairwise(layout.blocks):
        assert before.right < after.left
    assert layout.front[-1].left < layout.projection[0].left < layout.blocks[0].left
    for upper, lower in pairwise(layout.lanes):
        assert upper.stride < lower.stride
        assert upper.bottom > lower.top
    for placed in layout.blocks:
        assert layout.lanes[placed.lane].stride == placed.block.stride


def test_skip_connections_join_after_the_decoder_or_before_it():
    after, before = (arrange(replace(NAMED["mrhubert-base"], residual=where)) for where in ("post", "pre"))
    assert after.skips[-1].state.text == "decoder0.post_skip"
    assert after.skips[-1].end > after.blocks[-1].right
    assert before.skips[-1].state.text == "up0.post_skip"
    assert before.skips[-1].end < before.blocks[-1].left
    for layout in (after, before):
        assert layout.blocks[0].right < layout.skips[-1].start < layout.samplings[0].centre


def test_nested_skip_connections_of_a_lane_run_at_different_heights():
    layout = arrange(UNUSUAL["three times the same"])
    assert [skip.level for skip in sorted(layout.skips, key=lambda skip: skip.start)] == [3, 2, 1]


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_the_same_network_gives_the_same_file(tmp_path, suffix):
    first, second = (draw(NAMED["tiny"], tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert first == second
    signature = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[suffix]
    assert first.startswith(signature)


def test_a_named_network_gets_its_name_for_a_title(tmp_path):
    assert texts(architecture_figure(NAMED["b5-a"]))[0].get_text() == "b5-a"
    assert texts(architecture_figure(NAMED["b5-a"], "mine"))[0].get_text() == "mine"
    assert texts(architecture_figure(replace(NAMED["b5-a"], dim=96)))[0].get_text().startswith("a network")


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"\.gif.*\.svg"):
        draw(NAMED["tiny"], tmp_path / "tiny.gif")
    assert list(tmp_path.iterdir()) == []


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("hue", HUES)
def test_text_has_the_contrast_that_wcag_asks_for(hue):
    for text, ground in (("#FFFFFF", hue.ink), (hue.ink, hue.block), (hue.ink, hue.band), (hue.ink, "#FFFFFF")):
        light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_the_readme_figure_is_up_to_date(tmp_path):
    figures = Path(__file__).parents[2] / "docs" / "figures"
    made = draw(NAMED["mrhubert-base"], tmp_path / "mrhubert-base.svg").read_text()
    kept = (figures / "mrhubert-base.svg").read_text()
    shape = re.compile(r'<path d="[^"]*"|<text|<use [^>]*>')
    # coordinates differ in the last digit between versions of matplotlib; what is drawn must not
    assert len(shape.findall(made)) == len(shape.findall(kept))
