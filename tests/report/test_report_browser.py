"""The page in headless Chromium: it loads, answers to mouse and keyboard, and says nothing on the console."""

import json
from pathlib import Path

import pytest
import synthetic_runs as synthetic
from chromium_browser import IN_BROWSER, Browser

from speechstrata.report.merge import merge_runs
from speechstrata.report.page import write_page
from speechstrata.report.runs import read_run
from speechstrata.report.tables import summarize

pytestmark = IN_BROWSER

HOSTILE = "<img src=x onerror=document.title='owned'><b>$x_{1}$</b>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, demo_run: Path, family_run: Path, checkpoints_run: Path) -> Path:
    folder = tmp_path_factory.mktemp("page")
    model = synthetic.SyntheticModel(HOSTILE, synthetic.plain_layers(3, conv=False), scores=("cca-word",))
    hostile = synthetic.write_run(folder / "hostile", [model])
    merged = merge_runs([read_run(run) for run in (demo_run, family_run, checkpoints_run, hostile)])
    return write_page(merged, summarize(merged.scores), [], folder / "index.html")


def choose(browser: Browser, selector: str, value: str) -> None:
    browser.run(
        f"(() => {{ const select = document.querySelector({json.dumps(selector)});"
        f"select.value = {json.dumps(value)}; select.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
    )


def test_every_score_has_a_chart_with_curves(browser: Browser) -> None:
    assert browser.run("document.querySelectorAll('.chart').length") == 11
    assert browser.run("[...document.querySelectorAll('.plot')].every(plot => plot.querySelectorAll('.trace').length)")


def test_corpora_have_axes_of_their_own(browser: Browser) -> None:
    titles = browser.run("[...document.querySelectorAll('[data-score=cca-word] h4')].map(title => title.textContent)")
    assert titles == ["asterisk-en, small-corpus protocol", "amazon-queen, published protocol"]


def test_models_and_scores_can_be_chosen_by_keyboard(browser: Browser) -> None:
    browser.run("document.querySelector('[data-none=score]').focus()")
    browser.press("Enter")
    assert browser.run("document.querySelectorAll('.chart').length") == 0
    assert "Nothing to draw" in browser.run("document.getElementById('charts').textContent")
    browser.run("document.querySelector('input[value=cca-word]').focus()")
    browser.press(" ")
    assert browser.run("[...document.querySelectorAll('.chart')].map(chart => chart.dataset.score)") == ["cca-word"]
    browser.run("document.querySelector('input[value=fbank]').focus()")
    browser.press(" ")
    assert "fbank" not in browser.run("document.getElementById('legend').textContent")


def test_arrow_keys_read_out_the_points_of_a_chart(browser: Browser) -> None:
    browser.run("document.querySelector('[data-score=cca-word] .plot').focus()")
    browser.press("ArrowRight", "ArrowRight")
    said = browser.run("document.getElementById('live').textContent")
    assert said.startswith("moonshine-tiny, T1, 20 ms per frame.")
    for part in ("3 sample sets", "n = 875 words", "moonshine-tiny+random:", "fbank:", "small-corpus"):
        assert part in said
    browser.run("new Promise(resolve => setTimeout(resolve, 300))")  # plotly holds hovers back a little
    assert "T1" in browser.run("document.querySelector('[data-score=cca-word] .plot .hoverlayer').textContent")


def test_a_heading_sorts_the_table(browser: Browser) -> None:
    column = browser.run(
        "[...document.querySelectorAll('#value-tables th[data-column]')].find(th => th.textContent.includes('word'))"
        ".dataset.column"
    )
    read = (
        "(() => { const table = document.querySelector('#value-tables table');"
        "const heads = [...table.tHead.rows[0].cells];"
        f"const place = heads.findIndex(th => th.dataset.column === {json.dumps(column)});"
        "return [...table.tBodies[0].rows].map(row => row.cells[place].firstChild?.textContent).filter(Boolean)"
        ".map(Number); })()"
    )
    press = (
        f"[...document.querySelectorAll('#value-tables th')].find(th => th.dataset.column === {json.dumps(column)})"
        ".querySelector('button')"
    )
    browser.run(f"{press}.click()")
    values = browser.run(read)
    assert len(values) > 10
    assert values == sorted(values, reverse=True)
    browser.run(f"{press}.click()")
    assert browser.run(read) == sorted(values)


def test_the_axis_can_be_training_steps(browser: Browser) -> None:
    choose(browser, "#axis", "steps")
    assert browser.run("document.querySelector('.plot').textContent.includes('training step')")
    choose(browser, "#axis", "depth")
    assert browser.run("document.querySelector('.plot').textContent.includes('share of the Transformer layers')")


def test_the_configuration_can_be_copied(browser: Browser) -> None:
    browser.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.run("document.querySelector('.copy').click()")
    browser.run("new Promise(resolve => setTimeout(resolve, 200))")
    assert browser.run("document.querySelector('.copy').textContent") == "Copied"
    shown = browser.run("document.querySelector('#origin pre').textContent")
    assert json.loads(shown)["config"]["corpus"] == "asterisk-en"


def test_a_name_with_markup_is_shown_as_a_name(browser: Browser) -> None:
    assert HOSTILE in browser.run("document.getElementById('legend').textContent")
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("document.title") != "owned"


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (1280, True)])
def test_nothing_is_wider_than_the_window(page: Path, width: int, dark: bool) -> None:
    with Browser(width, 740, dark=dark) as browser:
        browser.open(page)
        assert browser.run("document.documentElement.scrollWidth") == width
        ground = browser.run("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(22, 25, 30)" if dark else "rgb(255, 255, 255)")
        overflowing = browser.run(
            "[...document.querySelectorAll('.plot')]"
            ".filter(plot => plot.querySelector('svg').clientWidth > plot.clientWidth + 1).length"
        )
        assert overflowing == 0
        assert browser.console == []


def test_the_theme_can_be_set_by_hand(browser: Browser) -> None:
    browser.run("document.getElementById('theme').focus()")
    browser.press("Enter")
    assert browser.run("document.getElementById('theme').textContent") == "Theme: dark"
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 25, 30)"
    browser.press("Enter")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.press("Enter")
    assert browser.run("document.getElementById('theme').textContent") == "Theme: auto"


def test_it_prints(browser: Browser, tmp_path: Path) -> None:
    browser.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 50_000
    assert browser.run("document.documentElement.classList.contains('printing')") is False
