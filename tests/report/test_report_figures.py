"""What the figures show, read back from matplotlib's own objects."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
import synthetic_runs as synthetic
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

from speechstrata.report import drawing
from speechstrata.report.captions import sample_text
from speechstrata.report.drawing import spread_apart
from speechstrata.report.figures import overview, score_figure, steps_figure, write_figures
from speechstrata.report.merge import Merged, merge_runs
from speechstrata.report.runs import read_run
from speechstrata.report.tables import last_steps, summarize


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with mpl.rc_context(drawing.RC):
        yield


def of_score(merged: Merged, score: str) -> pl.DataFrame:
    return summarize(merged.scores).filter(pl.col("score") == score)


def words(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.findobj(mpl.text.Text)).split())


def lines_of(figure: Figure, panel: int = 0) -> list[tuple[str, str, np.ndarray]]:
    """(colour, line style, y) of the lines drawn in data coordinates."""
    axes = figure.axes[panel]
    return [
        (to_hex(line.get_color()), str(line.get_linestyle()), np.asarray(line.get_ydata(), dtype=float))
        for line in axes.get_lines()
        if line.get_transform().contains_branch_seperately(axes.transData)[1]
    ]


def test_a_figure_draws_the_means_of_every_model(family: Merged) -> None:
    rows = of_score(family, "cca-word")
    figure = score_figure(family, rows, "cca-word")
    drawn = [y for _, style, y in lines_of(figure) if style == "-"]
    for model in ("hubert-base", "mrhubert-b2-a", "facebook/wav2vec2-base"):
        mean = rows.filter((pl.col("model") == model) & (pl.col("kind") == "transformer")).sort("index")["mean"]
        assert any(len(y) == len(mean) and np.allclose(y, mean) for y in drawn), model


def test_the_controls_are_always_drawn(family: Merged) -> None:
    rows = of_score(family, "cca-word")
    figure = score_figure(family, rows, "cca-word")
    level = rows.filter(pl.col("model") == "fbank")["mean"][0]
    random = rows.filter((pl.col("model") == "hubert-base+random") & (pl.col("kind") == "transformer"))["mean"]
    dashed = [y for _, style, y in lines_of(figure) if style == "--"]
    assert any(len(y) == 2 and np.allclose(y, level) for y in dashed)
    assert any(len(y) == len(random) and np.allclose(y, random) for y in dashed)
    assert "fbank" in words(figure)
    assert "hubert-base+random" in words(figure)


def test_sampling_taps_are_hollow(family: Merged) -> None:
    figure = score_figure(family, of_score(family, "cca-word"), "cca-word")
    hollow = [
        line
        for line in figure.axes[0].get_lines()
        if line.get_marker() == "^" and to_hex(line.get_markerfacecolor()) == "#ffffff"
    ]
    assert sum(len(line.get_ydata()) for line in hollow) == 6  # D0, D1, pre_skip, U1, U0, post_skip of b2-a


def test_block_inputs_and_sums_behind_skips_are_hollow_and_not_on_the_line(tmp_path: Path) -> None:
    model = synthetic.SyntheticModel("x", synthetic.network_layers("tiny"), scores=("cca-word",))
    merged = merge_runs([read_run(synthetic.write_run(tmp_path / "run", [model]))])
    rows = of_score(merged, "cca-word")
    figure = score_figure(merged, rows, "cca-word")
    curve = next(y for _, style, y in lines_of(figure) if style == "-")
    assert np.allclose(curve, rows.filter(pl.col("layer").str.contains(r"^T\d$")).sort("index")["mean"])
    hollow = [line for line in figure.axes[0].get_lines() if to_hex(line.get_markerfacecolor()) == "#ffffff"]
    assert sum(len(line.get_ydata()) for line in hollow) == 6


def test_the_random_weights_of_many_encoders_share_a_name(tmp_path: Path) -> None:
    models = [synthetic.SyntheticModel(name, synthetic.plain_layers(3, conv=False)) for name in "abc"]
    models += [synthetic.random_of(model) for model in models]
    merged = merge_runs([read_run(synthetic.write_run(tmp_path / "run", models))])
    rows = of_score(merged, "cca-word")
    for figure in (score_figure(merged, rows, "cca-word"), overview(merged, rows, merged.settings[0])):
        assert words(figure).count(drawing.RANDOM_WEIGHTS) == 1
        assert "a+random" not in words(figure)
        assert sum(style == "--" for _, style, y in lines_of(figure) if len(y) == 4) == 3


def test_the_permutation_baseline_is_drawn_where_there_is_one(demo: Merged) -> None:
    figure = score_figure(demo, of_score(demo, "mi-phone"), "mi-phone")
    assert any(np.allclose(y, 0.11) for _, style, y in lines_of(figure) if style == "--")
    assert "dotted: permutation baseline" in words(figure)


def test_the_caption_states_sample_corpus_and_protocol(family: Merged) -> None:
    text = words(score_figure(family, of_score(family, "mi-word"), "mi-word"))
    assert "n = 7,000 words of 500 types, k = 5,000" in text
    assert "amazon-queen (4.5 h, 31 speakers) · published protocol · mean of 3 sample sets" in text


def test_a_figure_without_controls_says_so(tmp_path: Path) -> None:
    model = synthetic.SyntheticModel("x", synthetic.plain_layers(3, conv=False), scores=("cca-word",))
    merged = merge_runs([read_run(synthetic.write_run(tmp_path / "run", [model]))])
    assert "no control was measured" in words(score_figure(merged, of_score(merged, "cca-word"), "cca-word"))


def test_samples_that_differ_are_said_to_differ(family: Merged) -> None:
    rows = of_score(family, "mi-word").with_columns(
        pl.when(pl.col("model") == "fbank").then(400).otherwise(pl.col(name)).alias(name) for name in ("k", "k_high")
    )
    assert sample_text(rows) == (
        "n = 7,000 words of 500 types, k = 400–5,000 (differs between curves, which moves the scores)"
    )


def test_word_vector_controls_have_panels_beside_the_score_on_one_scale(demo: Merged) -> None:
    figure = score_figure(demo, of_score(demo, "cca-glove"), "cca-glove")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "the score",
        "control: vectors permuted",
        "control: word types disjoint",
    ]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_several_references_make_panels(tmp_path: Path) -> None:
    model = synthetic.SyntheticModel(
        "x", synthetic.plain_layers(3, conv=False), scores=("cca-inter",), references={"cca-inter": ("y:T1", "y:T3")}
    )
    merged = merge_runs([read_run(synthetic.write_run(tmp_path / "run", [model]))])
    figure = score_figure(merged, of_score(merged, "cca-inter"), "cca-inter")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["the score (y:T1)", "the score (y:T3)"]


def test_many_references_make_a_map_of_references_by_layers(tmp_path: Path) -> None:
    references = tuple(f"y:T{number}" for number in range(11))
    layers = synthetic.plain_layers(3, conv=False)
    model = synthetic.SyntheticModel("x", layers, scores=("cca-inter",), references={"cca-inter": references})
    merged = merge_runs([read_run(synthetic.write_run(tmp_path / "run", [model]))])
    rows = of_score(merged, "cca-inter")
    figure = score_figure(merged, rows, "cca-inter")
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == list(references)
    values = panel.collections[0].get_array().reshape(11, 4)
    expected = rows.filter((pl.col("reference") == "y:T10") & (pl.col("layer") == "T2"))["mean"][0]
    assert values[10, 2] == pytest.approx(expected)
    assert "n = 7,000 words of 500 types" in words(figure)


def test_a_score_of_two_units_states_the_sample_of_each(family: Merged) -> None:
    rows = of_score(family, "cca-inter")
    phones = rows.with_columns(
        pl.lit("phone").alias("unit"), *(pl.lit(39).cast(pl.Int64).alias(name) for name in ("classes", "classes_high"))
    )
    assert sample_text(rows.vstack(phones)) == "n = 7,000 words of 500 types or 7,000 phones of 39 types"


def test_corpora_and_protocols_never_share_axes(demo_run: Path, family_run: Path) -> None:
    merged = merge_runs([read_run(demo_run), read_run(family_run)])
    rows = last_steps(of_score(merged, "cca-word"))
    figure = score_figure(merged, rows, "cca-word")
    assert len(figure.axes) == 2
    for setting, panel in zip(merged.settings, range(2), strict=True):
        own = set(rows.filter(pl.col("setting") == setting.key)["mean"])
        for _, _, y in lines_of(figure, panel):
            assert all(min(abs(value - mean) for mean in own) < 1e-9 for value in y)
    text = words(figure)
    assert "asterisk-en, small-corpus protocol" in text
    assert "amazon-queen, published protocol" in text


def test_convolutional_layers_are_in_the_figures_of_frames_only(family: Merged) -> None:
    def ticks(score: str) -> list[str]:
        figure = score_figure(family, of_score(family, score), score)
        return [label.get_text() for label in figure.axes[0].get_xticklabels()]

    assert ticks("cca-mel")[:8] == ["conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "conv7", "projection"]
    assert ticks("cca-word") == [f"T{number}" for number in range(13)]


def test_the_resolution_of_each_encoder_is_written_beneath(family: Merged) -> None:
    figure = score_figure(family, of_score(family, "cca-word"), "cca-word")
    strips = [text.get_text() for text in figure.axes[0].texts]
    for expected in ("20 ms", "40", "80", "40 ms"):
        assert expected in strips


def test_the_overview_has_a_panel_for_each_score(family: Merged) -> None:
    figure = overview(family, summarize(family.scores), family.settings[0])
    assert len(figure.axes) == 11
    text = words(figure)
    for name in ("hubert-base", "mrhubert-b2-a+random", "fbank", "K Sentence similarity (STS)"):
        assert name in text


def test_scores_over_training_have_a_line_for_each_layer_and_the_controls(checkpoints: Merged) -> None:
    rows = of_score(checkpoints, "cca-word")
    figure = steps_figure(checkpoints, rows, "cca-word")
    assert figure is not None
    layers = rows.filter(pl.col("step").is_not_null())["layer"].n_unique()
    lines = lines_of(figure)
    assert sum(style == "-" for _, style, _ in lines) == layers
    assert sum(style == "--" for _, style, _ in lines) == 2
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1k", "3k", "10k", "30k", "100k"]


def test_there_is_no_figure_over_training_without_checkpoints(demo: Merged) -> None:
    assert steps_figure(demo, of_score(demo, "cca-word"), "cca-word") is None


def test_labels_stay_apart_and_within_the_figure(family: Merged) -> None:
    figure = score_figure(family, of_score(family, "cca-mel"), "cca-mel")
    figure.canvas.draw()
    boxes = [
        text.get_window_extent()
        for text in figure.axes[0].texts
        if text.get_fontsize() == 7.5  # the names at the ends of the curves
    ]
    assert len(boxes) == 8
    for one, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert all(not box.overlaps(other) for other in boxes[one + 1 :])


@given(st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=12), st.floats(0.001, 0.3))
def test_spread_apart_keeps_order_and_distance(wanted: list[float], gap: float) -> None:
    placed = spread_apart(np.array(wanted), gap)
    order = np.argsort(wanted, kind="stable")
    fits = gap * (len(wanted) - 1) < 1
    least = gap if fits else 1 / max(len(wanted) - 1, 1)
    assert np.all(np.diff(placed[order]) >= least - 1e-9)
    assert placed.min() >= -1e-9
    assert placed.max() <= 1 + 1e-9


@given(st.lists(st.floats(0.3, 0.7), min_size=2, max_size=8))
def test_spread_apart_moves_labels_as_little_as_can_be(wanted: list[float]) -> None:
    gap = 0.02
    order = np.argsort(wanted, kind="stable")
    shifts = gap * np.arange(len(wanted))
    nearest = isotonic_regression(np.array(wanted)[order] - shifts).x + shifts
    assert spread_apart(np.array(wanted), gap)[order] == pytest.approx(nearest)


def test_every_figure_is_written_as_pdf_and_png_and_the_same_each_time(tmp_path: Path) -> None:
    layers = synthetic.plain_layers(3, conv=False)
    model = synthetic.SyntheticModel("a$b_{c", layers, scores=("cca-word", "mi-phone"))
    folder = synthetic.write_run(tmp_path / "run", [model, synthetic.random_of(model)])
    merged = merge_runs([read_run(folder)])
    digests = []
    for name in ("one", "two"):
        written = write_figures(merged, summarize(merged.scores), tmp_path / name)
        assert [file.name for file in written] == ["overview.png", "cca-word.png", "mi-phone.png"]
        files = sorted((tmp_path / name).iterdir())
        assert [file.suffix for file in files] == [".pdf", ".png"] * 3
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


def test_a_dollar_in_a_name_is_drawn_as_one(demo: Merged) -> None:
    name = "a$b_{c"
    subject = replace(demo.subjects[0], label=name)
    merged = replace(demo, subjects=(subject, *demo.subjects[1:]))
    rows = of_score(demo, "cca-word").with_columns(pl.col("model").replace("moonshine-tiny", name))
    figure = score_figure(merged, rows, "cca-word")
    figure.canvas.draw()
    assert name in words(figure)
