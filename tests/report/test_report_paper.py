"""The paper's figures from a reproduction's folder: what is in them, and that published numbers stay apart."""

import json
from pathlib import Path

import matplotlib as mpl
import polars as pl
import pytest
import synthetic_runs as synthetic
from matplotlib.colors import to_hex
from synthetic_paper import write_paper

from speechstrata.errors import InputError
from speechstrata.experiments.published import published_table
from speechstrata.files import write_json
from speechstrata.report import drawing, paper_figures
from speechstrata.report.figures import score_figure
from speechstrata.report.panels import panels_figure
from speechstrata.report.paper_data import PaperData, read_paper
from speechstrata.report.paper_figures import (
    FIGURE_3,
    comparable,
    transformer_layers,
    write_figure_2a,
    write_paper_figures,
)
from speechstrata.report.paper_weights import weights_numbers, weights_of
from speechstrata.report.style import PALETTE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_paper(tmp_path_factory.mktemp("paper") / "run")


@pytest.fixture(scope="module")
def data(folder: Path) -> PaperData:
    return read_paper(folder)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = write_paper(tmp_path_factory.mktemp("paper") / "small", replication=False)
    write_paper_figures(small)
    return small


def test_a_curve_is_the_mean_over_training_seeds_and_sample_sets(data: PaperData, folder: Path) -> None:
    raw = pl.read_csv(folder / "scores.csv").filter(
        (pl.col("cell") == "b4-a") & (pl.col("control").fill_null("") == "") & (pl.col("score") == "cca-word")
        & (pl.col("layer") == "T4") & (pl.col("corpus") == "amazon-queen")
    )["value"]  # fmt: skip
    point = data.summary.filter(
        (pl.col("model") == "MR-HuBERT B4-a") & (pl.col("score") == "cca-word") & (pl.col("layer") == "T4")
        & (pl.col("setting") == "s1")
    )  # fmt: skip
    assert len(raw) == 9
    assert point.select("mean", "low", "high", "sets", "seeds").row(0) == pytest.approx(
        (raw.mean(), raw.min(), raw.max(), 9, 3)
    )


def test_every_cell_has_its_random_weights_and_there_is_the_filterbank(data: PaperData) -> None:
    for cell in data.cells:
        control = data.merged.subject(f"{cell.label}, random weights")
        assert (control.is_control, control.control_of) == (True, cell.label)
    assert data.merged.subject("fbank").slot is None


def test_cells_of_one_comparison_have_colours_of_their_own(data: PaperData) -> None:
    for large in (False, True):
        slots = [data.merged.subject(cell.label).slot for cell in data.cells if cell.large == large]
        assert len({slot % len(PALETTE) for slot in slots}) == len(slots)


def test_the_corpus_is_described_by_its_run_folder_where_there_is_one(data: PaperData) -> None:
    primary, replication = data.merged.settings
    assert (primary.title, primary.corpus.hours) == ("amazon-queen, published protocol", None)
    assert replication.corpus.hours == 5.4


@pytest.mark.parametrize("name", ["1", "2a", "2b", "3", "4", "5", "6a", "6b", "6c", "6-others"])
def test_each_figure_has_pdf_png_and_numbers(drawn: Path, name: str) -> None:
    stem = drawn / "figures" / f"figure-{name}"
    assert stem.with_suffix(".pdf").read_bytes()[:5] == b"%PDF-"
    assert stem.with_suffix(".png").stat().st_size > 8_000
    assert len(pl.read_csv(stem.with_suffix(".csv"))) > 2


def test_figure_2a_has_base_models_taps_and_controls_and_no_t0(drawn: Path) -> None:
    table = pl.read_csv(drawn / "figures" / "figure-2a.csv")
    assert {"fbank", "MR-HuBERT-base, random weights"} <= set(table["model"])
    assert not table["model"].str.contains("large").any()
    layers = table.filter(pl.col("model") == "MR-HuBERT-base").sort("index")
    assert layers["layer"].to_list() == [
        "T1", "T2", "D0", "T3", "T4", "middle.post_skip", "U0", "T5", "T6", "decoder0.post_skip"
    ]  # fmt: skip
    assert layers.filter(pl.col("tap"))["layer"].to_list() == ["D0", "middle.post_skip", "U0", "decoder0.post_skip"]
    assert layers["stride_ms"].to_list() == [20, 20, 40, 40, 40, 40, 20, 20, 20, 20]


def test_hollow_marks_of_low_resolution_are_larger(data: PaperData) -> None:
    own = data.of_cells([data.cells[1]]).filter((pl.col("setting") == "s1") & (pl.col("score") == "cca-word"))
    with mpl.rc_context(drawing.RC):
        axes = score_figure(data.merged, transformer_layers(own), "cca-word").axes[0]
    hollow = [line for line in axes.get_lines() if to_hex(line.get_markerfacecolor()) == "#ffffff"]
    assert {(line.get_markersize(), len(line.get_ydata())) for line in hollow} == {(4.0, 2), (5.25, 2)}


def test_figure_5_has_the_large_pair_alone(drawn: Path) -> None:
    table = pl.read_csv(drawn / "figures" / "figure-5.csv")
    encoders = {name for name in table["model"] if "random" not in name and name != "fbank"}
    assert encoders == {"HuBERT-large", "MR-HuBERT-large"}


def test_a_panel_without_numbers_says_so_and_the_strips_keep_their_names(data: PaperData) -> None:
    rows = transformer_layers(data.of_cells([cell for cell in data.cells if not cell.large]))
    rows = rows.filter((pl.col("setting") == "s1") & (pl.col("score") != "spoken-sts"))
    with mpl.rc_context(drawing.RC):
        figure = panels_figure(data.merged, rows, data.merged.settings[0], FIGURE_3, title="x", strips=True)
    texts = [text.get_text() for text in figure.findobj(mpl.text.Text)]
    assert sum("not measured" in text for text in texts) == 2  # AGWE and STS
    assert sum(text == " MR-HuBERT B2-a" for text in texts) == 1


def test_a_score_that_only_controls_have_is_not_drawn(tmp_path: Path) -> None:
    folder = write_paper(tmp_path / "run", replication=False)
    scores = pl.read_csv(folder / "scores.csv")
    trained = (pl.col("cell").fill_null("") != "") & (pl.col("control").fill_null("") == "")
    scores.filter(((pl.col("score") == "cca-word") & trained).not_()).write_csv(folder / "scores.csv")
    data = read_paper(folder)
    rows = comparable(data, data.merged.settings[0], [cell for cell in data.cells if not cell.large])
    assert "cca-word" not in rows["score"]
    assert "cca-phone" in rows["score"]


def test_published_weights_are_apart_and_as_published(drawn: Path) -> None:
    table = pl.read_csv(drawn / "figures" / "figure-2b.csv")
    paper = table.filter(pl.col("source") == "Figure 2b")
    expected = published_table("figure2b").sort("cell", "task", "index")["weight"]
    assert paper.sort("cell", "task", "index")["mean"].to_list() == pytest.approx(expected.to_list())
    ours = table.filter(pl.col("source") == "here")
    assert ours["layer"].unique().sort().to_list() == ["D0", "T0", "T1", "T2", "T3", "T4", "T5", "T6", "U0"]
    assert ours.group_by("cell", "task").agg(pl.col("mean").sum())["mean"].to_list() == pytest.approx(
        [1.0] * 6, abs=1e-5
    )


def test_published_middle_layers_of_b5_a_run_at_20_ms(data: PaperData) -> None:
    table, remarks = weights_of(data, ["b4-a", "b5-a"], ["asr"], published=True)
    paper = weights_numbers(table).filter((pl.col("source") != "here") & (pl.col("layer") == "T6"))
    assert dict(paper.select("cell", "stride_ms").rows()) == {"b4-a": 40.0, "b5-a": 20.0}
    assert any("published" in remark for remark in remarks)
    assert any("Mini corpora" in remark for remark in remarks)


def test_without_probes_there_are_no_weight_figures(tmp_path: Path) -> None:
    folder = write_paper(tmp_path / "run", replication=False)
    pl.read_csv(folder / "probe_weights.csv").clear().write_csv(folder / "probe_weights.csv")
    data = read_paper(folder)
    assert weights_of(data, ["b4-a"], ["asr"], published=True)[0].is_empty()


def test_of_two_word_vector_files_one_is_drawn(tmp_path: Path) -> None:
    """Committed seeds scored with one file, this run's own with another: no curve goes through both."""
    folder = write_paper(tmp_path / "run", replication=False)
    scores = pl.read_csv(folder / "scores.csv")
    glove = scores.filter(pl.col("score") == "cca-glove")
    other = glove.with_columns(reference=pl.lit("zzz"), value=pl.col("value") + 0.3)
    pl.concat([scores, other]).write_csv(folder / "scores.csv")
    data = read_paper(folder)
    rows = comparable(data, data.merged.settings[0], data.cells)
    drawn = rows.filter(pl.col("score") == "cca-glove")
    assert len(drawn) > 5
    assert drawn["reference"].n_unique() == 1
    assert drawn.select("model", "layer").is_unique().all()


def test_figures_are_those_of_the_folder_as_it_is(tmp_path: Path) -> None:
    """Names of corpora are no paths, and what an earlier run drew of another corpus does not stay."""
    folder = write_paper(tmp_path / "run")
    findings = json.loads((folder / "findings.json").read_text())
    findings["design"]["corpora"][1]["name"] = "../../my corpus"
    write_json(folder / "findings.json", findings)
    (folder / "figures").mkdir()
    for stale in ("figure-2a-old.png", "figure-5-old.csv", "notes.txt", "figure-plan.txt"):
        (folder / "figures" / stale).write_text("")
    names = {path.stem for path in write_paper_figures(folder)}
    assert {"figure-2a", "figure-2a-my-corpus"} <= names
    left = {path.name for path in (folder / "figures").iterdir()} - {
        f"{name}{suffix}" for name in names for suffix in (".pdf", ".png", ".csv")
    }
    assert left == {"notes.txt", "figure-plan.txt"}


def test_the_network_is_drawn_with_as_many_units_as_its_model_has(tmp_path: Path, monkeypatch) -> None:
    folder = write_paper(tmp_path / "run", replication=False)
    drawn = []
    monkeypatch.setattr("speechstrata.mrhubert.drawing.draw", lambda network, *_, **__: drawn.append(network.classes))
    paper_figures._architecture(read_paper(folder), folder / "figures")
    write_json(folder / "models.json", [{"cell": "mrhubert-base", "classes": [217]}])
    paper_figures._architecture(read_paper(folder), folder / "figures")
    assert drawn[-1] == (217,) != drawn[0]


def test_a_folder_that_is_no_reproduction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no reproduction.*findings\.json"):
        read_paper(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda findings: findings["design"]["cells"][0].pop("label"), "'label'"),
        (lambda findings: findings.pop("claims"), "'claims'"),
        (lambda findings: findings["design"].update(corpora=3), "not iterable"),
    ],
)
def test_garbled_findings_are_named(tmp_path: Path, data: PaperData, change: object, message: str) -> None:
    garbled = json.loads(json.dumps(data.findings))
    change(garbled)  # type: ignore[operator]
    write_json(tmp_path / "findings.json", garbled)
    with pytest.raises(InputError, match=rf"findings\.json.*{message}"):
        read_paper(tmp_path)


def test_missing_scores_are_named(tmp_path: Path, data: PaperData) -> None:
    write_json(tmp_path / "findings.json", data.findings)
    with pytest.raises(InputError, match=r"no .*scores\.csv"):
        read_paper(tmp_path)


def test_any_runs_can_be_drawn_like_figure_2a(family_run: Path, tmp_path: Path) -> None:
    png = write_figure_2a([family_run], tmp_path / "figure", models=["mrhubert-b2-a", "hubert-base"])
    assert png == tmp_path / "figure.png"
    table = pl.read_csv(tmp_path / "figure.csv")
    assert set(table["model"]) == {
        "mrhubert-b2-a", "hubert-base", "mrhubert-b2-a+random", "hubert-base+random", "fbank"
    }  # fmt: skip
    with pytest.raises(InputError, match="no encoder 'x'"):
        write_figure_2a([family_run], tmp_path / "figure", models=["x"])


def test_a_run_without_the_score_is_refused(tmp_path: Path) -> None:
    model = synthetic.SyntheticModel("x", synthetic.plain_layers(3, conv=False), scores=("cca-phone",))
    run = synthetic.write_run(tmp_path / "run", [model])
    with pytest.raises(InputError, match="no score cca-word"):
        write_figure_2a([run], tmp_path / "figure")
