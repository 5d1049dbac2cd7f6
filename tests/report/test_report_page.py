"""The page holds its data, fetches nothing, and runs nothing that a run's names might smuggle in."""

import base64
import hashlib
import json
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic_runs as synthetic

from speechstrata.report.merge import Merged, merge_runs
from speechstrata.report.page import render_page
from speechstrata.report.runs import read_run
from speechstrata.report.tables import summarize

HOSTILE = "</script><img src=x onerror=alert(1)>{{data}}&amp;\u2028"


class Tags(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def data_of(page: str) -> dict:
    return json.loads(parsed(page).scripts[0])


@pytest.fixture(scope="module")
def page(family: Merged) -> str:
    return render_page(family, summarize(family.scores), [Path("figures/overview.png")])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    model = synthetic.SyntheticModel(HOSTILE, synthetic.plain_layers(3, conv=False), scores=("cca-word",))
    folder = synthetic.write_run(
        tmp_path_factory.mktemp("hostile") / "run", [model], corpus=HOSTILE,
        problems=[{"what": HOSTILE, "where": "", "reason": HOSTILE, "remedy": ""}],
    )  # fmt: skip
    merged = merge_runs([read_run(folder)])
    return render_page(merged, summarize(merged.scores))


def test_the_page_holds_every_point(page: str, family: Merged) -> None:
    data = data_of(page)
    summary = summarize(family.scores)
    assert data["points"]["mean"] == pytest.approx(summary["mean"].to_list(), abs=1e-5)
    layers = data["points"]["layer"]
    assert [layers["texts"][code] for code in layers["codes"]] == summary["layer"].to_list()
    lengths = {len(column["codes"] if isinstance(column, dict) else column) for column in data["points"].values()}
    assert lengths == {len(summary)}
    assert [model["label"] for model in data["models"]] == [subject.label for subject in family.subjects]
    assert [problem["where"] for problem in data["problems"]] == ["cd1/lola-117.wav", "hubert-base"]
    assert data["runs"][0]["config"] == family.runs[0].config
    assert data["runs"][0]["provenance"]["command"].startswith("speechstrata analyze")
    assert data["figures"] == ["overview"]


def test_every_score_is_explained(page: str) -> None:
    scores = data_of(page)["scores"]
    assert len(scores) == 11
    for score in scores:
        assert len(score["means"]) > 30
        assert len(score["not_means"]) > 30
        assert len(score["controls"]) > 30


def test_the_page_fetches_nothing(page: str) -> None:
    for tag, attributes in parsed(page).elements:
        assert tag not in ("iframe", "object", "embed", "base")
        assert not (tag == "script" and "src" in attributes)
        assert tag != "link" or attributes["href"] == "data:,"
        assert tag != "img"
    assert "@import" not in page.split("<style>")[1].split("</style>")[0]


def test_the_policy_allows_the_pages_own_scripts_alone(page: str) -> None:
    tags = parsed(page)
    policy = next(a["content"] for t, a in tags.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    code = tags.scripts[1:]  # the first is the data, which is not run
    assert {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code} == allowed
    assert len(code) == 2


def test_names_with_markup_stay_names(hostile: str) -> None:
    tags = parsed(hostile)
    assert not any(tag == "img" for tag, _ in tags.elements)
    assert len(tags.scripts) == 3
    data = data_of(hostile)
    assert data["models"][0]["label"] == HOSTILE
    assert data["settings"][0]["corpus"]["name"] == HOSTILE
    assert data["problems"][0]["reason"] == HOSTILE
    assert "\u2028" not in tags.scripts[0]
    heading = f"{HOSTILE}, layer by layer, on {HOSTILE}"
    assert f"<h1>{escape(heading)}</h1>" in hostile


def test_the_page_is_not_large(page: str) -> None:
    assert len(page.encode()) < 5_500_000


def test_values_that_json_lacks_become_null(demo: Merged, tmp_path: Path) -> None:
    run = demo.runs[0]
    merged = merge_runs([run.__class__(**{**vars(run), "config": {"rate": float("nan"), "more": [float("inf"), 1.5]}})])
    assert data_of(render_page(merged, summarize(merged.scores)))["runs"][0]["config"] == {
        "rate": None,
        "more": [None, 1.5],
    }
