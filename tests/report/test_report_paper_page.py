"""A reproduction's page: what it is told, and in headless Chromium how it loads, answers and prints."""

import base64
import io
import json
import shlex
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from chromium_browser import IN_BROWSER, Browser
from PIL import Image
from synthetic_paper import write_paper

from speechstrata.experiments.config import ReproduceConfig
from speechstrata.experiments.published import published_table
from speechstrata.files import write_json
from speechstrata.report.paper_data import read_paper
from speechstrata.report.paper_figures import write_paper_figures
from speechstrata.report.paper_page import _picture, paper_data, write_paper_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_paper(tmp_path_factory.mktemp("paper") / "run")
    (folder / "figures").mkdir()
    for name in ("figure-2a-demo", "figure-2b", "figure-1"):
        Image.new("RGB", (2600, 1000), "white").save(folder / "figures" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> dict:
    return json.loads(json.dumps(paper_data(read_paper(folder))))


def test_findings_come_as_they_were_written(told: dict, folder: Path) -> None:
    written = json.loads((folder / "findings.json").read_text())
    assert (told["findings"], told["claims"]) == (written["findings"], written["claims"])


def test_a_task_is_the_mean_of_its_probes(told: dict, folder: Path) -> None:
    probes = pl.read_csv(folder / "probes.csv").filter(
        (pl.col("cell") == "b5-a") & (pl.col("task") == "asr") & (pl.col("metric") == "wer")
    )["value"]
    quality = next(each for each in told["cost"]["qualities"] if each["key"] == "task:asr:wer")
    value = quality["values"]["MR-HuBERT B5-a"]
    assert (value["mean"], value["low"], value["high"], value["n"]) == pytest.approx(
        (probes.mean(), probes.min(), probes.max(), 2)
    )
    assert "not with published numbers" in quality["note"]


def test_a_score_is_that_of_the_best_layer_beside_its_controls(told: dict, folder: Path) -> None:
    quality = next(each for each in told["cost"]["qualities"] if each["key"] == "score:s2:cca-word")
    raw = pl.read_csv(folder / "scores.csv").filter(
        (pl.col("corpus") == "demo") & (pl.col("score") == "cca-word")
        & ~pl.col("layer").is_in(["mel", "projection"])
    ).with_columns(pl.col("cell", "control").fill_null(""))  # fmt: skip
    means = raw.group_by("cell", "control", "layer").agg(pl.col("value").mean()).sort("value", descending=True)

    def best(cell: str, control: str) -> tuple[str, float]:
        return means.filter((pl.col("cell") == cell) & (pl.col("control") == control)).row(0)[2:]

    for kind, control in (("values", ""), ("random", "random")):
        value = quality[kind]["MR-HuBERT B4-a"]
        assert (value["layer"], value["mean"]) == (best("b4-a", control)[0], pytest.approx(best("b4-a", control)[1]))
    assert quality["level"] == pytest.approx(best("", "fbank")[1])


def test_published_weights_are_maps_of_their_own(told: dict) -> None:
    maps = [each for each in told["weights"] if each["published"]]
    assert [each["model"] for each in maps] == ["MR-HuBERT-base", "MR-HuBERT B4-a", "MR-HuBERT B5-a"]
    expected = published_table("figure2b").filter((pl.col("cell") == "b4-a") & (pl.col("task") == "sf")).sort("index")
    assert [layer["weight"][1]["mean"] for layer in maps[1]["layers"]] == pytest.approx(expected["weight"].to_list())
    assert maps[0]["layers"][0]["weight_times_norm"] is None


def test_published_rows_of_the_tables_stand_apart(told: dict) -> None:
    groups = [(group["title"], group["published"]) for group in told["tables"][1]["groups"]]
    assert groups == [("Ours (tiny)", False), ("As published", True)]


def test_figures_come_in_the_papers_order_and_small_enough(told: dict) -> None:
    assert [figure["name"] for figure in told["figures"]] == ["figure-1", "figure-2b", "figure-2a-demo"]
    assert told["figures"][2]["title"] == "Figure 2a. CCA word-level similarity by layer, demo"
    content = base64.b64decode(told["figures"][0]["image"].split(",")[1])
    assert Image.open(io.BytesIO(content)).size == (1300, 500)


def test_the_command_says_what_differs_from_the_defaults(folder: Path, tmp_path: Path) -> None:
    copy = write_paper(tmp_path / "a folder", replication=False)
    config = {"reproduce": {"scale": "small", "seed": 0, "probes": True}, "corpora": ["corpora/queen"]}
    write_json(copy / "config.json", config)
    assert paper_data(read_paper(copy))["command"] == (
        f"speechstrata reproduce --scale small --probes --corpus corpora/queen --output '{copy}'"
    )


def test_the_command_can_be_given_again(tmp_path: Path) -> None:
    """What it says, the command line takes, and means the same."""
    from speechstrata.cli import _underscored, build_parser

    config = ReproduceConfig(
        demo=False, from_scratch=True, training_set=("optimizer.steps=3", "seed=2"), probe_budget=0.5, glove=""
    )
    copy = write_paper(tmp_path / "run", replication=False)
    for given in (config, ReproduceConfig()):
        write_json(copy / "config.json", {"reproduce": asdict(given), "corpora": ["a b", "c"]})
        program, *words = shlex.split(paper_data(read_paper(copy))["command"])
        parsed = build_parser().parse_args([_underscored(word) for word in words])["reproduce"]
        values = {name: parsed[name] for name in ReproduceConfig.__dataclass_fields__}
        assert ReproduceConfig(**values | {"training_set": tuple(parsed.training_set)}) == given
        assert (program, parsed.corpus, parsed.output) == ("speechstrata", ["a b", "c"], str(copy))
    assert words == ["reproduce", "--corpus", "a b", "c", "--output", str(copy)]


def test_figures_of_a_replication_with_a_hyphen_keep_their_order(tmp_path: Path) -> None:
    folder = write_paper(tmp_path / "run")
    (folder / "figures").mkdir()
    for name in ("figure-4-a-b", "figure-3-a-b", "figure-6a", "figure-6-others"):
        Image.new("RGB", (20, 10), "white").save(folder / "figures" / f"{name}.png")
    told = paper_data(read_paper(folder))
    assert [figure["name"] for figure in told["figures"]] == [
        "figure-6a", "figure-6-others", "figure-3-a-b", "figure-4-a-b"
    ]  # fmt: skip
    assert told["figures"][2]["title"] == "Figure 3. Layer-wise analyses of the base models, a-b"


def test_pictures_keep_the_colours_of_thin_lines(tmp_path: Path) -> None:
    shades = np.random.default_rng(0).integers(120, 255, (300, 300, 3), dtype=np.uint8)
    shades[100:103, :60] = (0xD9, 0x60, 0x0F)
    Image.fromarray(shades).save(tmp_path / "figure-3.png")
    content = base64.b64decode(_picture(tmp_path / "figure-3.png")["image"].split(",")[1])
    shown = np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)[101, :60]
    assert np.abs(shown - (0xD9, 0x60, 0x0F)).max() <= 10


def test_published_weights_are_shown_where_ours_were_not_measured(tmp_path: Path) -> None:
    folder = write_paper(tmp_path / "run", replication=False)
    weights = pl.read_csv(folder / "probe_weights.csv")
    weights.filter((pl.col("task") == "sf") & (pl.col("probe_seed") == 0)).write_csv(folder / "probe_weights.csv")
    told = paper_data(read_paper(folder))
    maps = {each["published"]: each for each in told["weights"]}
    assert (maps[False]["tasks"], maps[True]["tasks"]) == (["sf"], ["asr", "sf"])
    assert maps[False]["probes"] == "1 probe a task"
    assert "Not measured here: ASR, SE, IC, KS, SD." in told["weight_remarks"]


# ---- in the browser


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return write_paper_page(folder)


class TestBrowser:
    pytestmark = IN_BROWSER

    def test_findings_show_verdict_statistics_and_published_values(self, browser: Browser) -> None:
        read = "[...document.querySelectorAll('[data-finding]')].map(card => card.querySelector('.badge').textContent)"
        assert browser.run(read) == ["✓supported", "?not resolved", "✗contradicted"]
        second = "document.querySelector('[data-finding=\"2\"]')"
        text = browser.run(f"{second}.textContent")
        for part in ("ASR word error rate, downsampling", "−0.080 to 0.120", "−0.220 (−20%)", "0.005 (Table 2)"):
            assert part in text
        assert browser.run(f"{second}.querySelectorAll('.forest .published').length") == 1
        label = browser.run(f"{second}.querySelector('.forest').getAttribute('aria-label')")
        assert label.endswith("0.020, −0.080 to 0.120 log ratio (+2.0%); published 0.005")

    def test_best_layers_of_seven_models_fit_the_window(self, browser: Browser) -> None:
        box = "document.querySelector('#glance-tables .scroll')"
        columns = f"[...{box}.querySelectorAll('tr')].map(row => {{ while (row.cells.length > 8) row.deleteCell(1);"
        assert set(browser.run(columns + " return row.cells.length; })")) == {8}
        assert browser.run(f"{box}.scrollWidth <= {box}.clientWidth")

    def test_an_interval_is_drawn_where_its_numbers_are(self, browser: Browser) -> None:
        ends = browser.run(
            "(() => { const card = document.querySelector('[data-finding=\"3\"]');"
            "const line = card.querySelector('.forest .interval');"
            "const zero = card.querySelector('.forest .zero').getAttribute('x1');"
            "const scale = [...card.querySelector('.scale .ends').children].map(end => end.textContent);"
            "return [...['x1', 'x2'].map(name => Number(line.getAttribute(name))), Number(zero), ...scale]; })()"
        )
        low, high = (float(text.replace("−", "-")) for text in ends[3:])
        for drawn, value in zip(ends[:3], (-0.08, -0.02, 0.0), strict=True):
            assert drawn / 240 * (high - low) + low == pytest.approx(value, abs=0.001)

    def test_evidence_leads_to_its_curves(self, browser: Browser) -> None:
        browser.run("document.querySelector('[data-finding=\"1\"] details').open = true")
        browser.run("document.querySelector('[data-finding=\"1\"] details button').focus()")
        browser.press("Enter")
        assert browser.run("[...document.querySelectorAll('.chart')].map(c => c.dataset.score)") == ["cca-word"]
        assert browser.run("document.activeElement.className").startswith("plot")

    def test_cost_beside_quality_can_be_chosen_and_read_by_keyboard(self, browser: Browser) -> None:
        browser.run(
            "(() => { const quality = document.getElementById('quality'); quality.value = 'score:s1:cca-word';"
            "quality.dispatchEvent(new Event('change')); })()"
        )
        browser.run("document.getElementById('cost-plot').focus()")
        browser.press("ArrowRight", "ArrowRight")
        said = browser.run("document.getElementById('cost-live').textContent")
        assert said.startswith("HuBERT-base, random weights. Word identity (CCA): ")
        assert "fbank: " in said
        assert "2.90 M parameters" in said
        names = "[...document.querySelectorAll('#cost-table tbody th')].map(th => th.textContent.trim())"
        assert len(browser.run(names)) == 8

    def test_a_unit_switches_its_scores(self, browser: Browser) -> None:
        box = "document.querySelector('input[name=unit][value=word]')"
        browser.run(f"{box}.focus()")
        browser.press(" ")
        shown = browser.run("[...document.querySelectorAll('.chart')].map(chart => chart.dataset.score)")
        assert shown == ["cca-mel", "cca-phone", "mi-phone", "spoken-sts"]
        browser.run("document.querySelector('input[name=score][value=cca-word]').click()")
        assert browser.run(f"{box}.indeterminate") is True

    def test_the_large_pair_is_there_but_not_chosen_at_first(self, browser: Browser) -> None:
        checked = "document.querySelector('input[name=model][value=\"HuBERT-large\"]').checked"
        assert browser.run(checked) is False
        assert "HuBERT-large" not in browser.run("document.getElementById('legend').textContent")

    def test_hover_says_over_how_many_trainings_a_point_is(self, browser: Browser) -> None:
        browser.run("document.querySelector('[data-score=cca-word] .plot').focus()")
        browser.press("ArrowDown", "ArrowDown", "ArrowRight")
        said = browser.run("document.getElementById('live').textContent")
        assert said.startswith("MR-HuBERT-base, ")
        for part in ("3 training seeds, 3 sample sets each", "n = 7,000 words", "random weights: ", "fbank: "):
            assert part in said

    def test_the_configuration_can_be_copied(self, browser: Browser) -> None:
        browser.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        browser.run("document.querySelector('#origin .copy').click()")
        browser.run("new Promise(resolve => setTimeout(resolve, 200))")
        assert browser.run("document.querySelector('#origin .copy').textContent") == "Copied"
        assert json.loads(browser.run("document.querySelector('#origin pre').textContent"))["scale"] == "tiny"

    def test_pictures_are_within_the_page(self, browser: Browser) -> None:
        loaded = "[...document.querySelectorAll('#paper-figures img')].every(image => image.naturalWidth === 1300)"
        assert browser.run(loaded)

    @pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, True)])
    def test_nothing_is_wider_than_the_window(self, page: Path, width: int, dark: bool) -> None:
        with Browser(width, 844, dark=dark) as browser:
            browser.open(page)
            assert browser.run("document.documentElement.scrollWidth") == width
            assert browser.console == []

    def test_on_paper_all_statistics_are_unfolded_and_fit_the_sheet(self, page: Path) -> None:
        with Browser(695, 900) as browser:
            browser.open(page)
            browser.send("Emulation.setEmulatedMedia", media="print", features=[])
            browser.run("window.dispatchEvent(new Event('beforeprint'))")
            assert browser.run("document.documentElement.scrollWidth") == 695
            cut = "[...document.querySelectorAll('.scroll')].some(box => box.scrollWidth > box.clientWidth + 1)"
            assert browser.run(cut) is False
            assert browser.run("[...document.querySelectorAll('details.others')].every(details => details.open)")
            browser.run("window.dispatchEvent(new Event('afterprint'))")
            assert not browser.run("document.querySelector('details.others').open")


def test_without_probes_and_figures_the_page_still_comes(tmp_path: Path) -> None:
    folder = write_paper(tmp_path / "run", replication=False)
    for name in ("probes", "probe_weights", "residual"):
        pl.read_csv(folder / f"{name}.csv").clear().write_csv(folder / f"{name}.csv")
    told = paper_data(read_paper(folder))
    assert (told["weights"], told["figures"]) == ([], [])
    assert all(quality["key"].startswith("score:") for quality in told["cost"]["qualities"])
    assert write_paper_page(folder).stat().st_size > 1e6
    assert [path.stem for path in write_paper_figures(folder)] == [
        "figure-1", "figure-2a", "figure-3", "figure-4", "figure-5"
    ]  # fmt: skip
