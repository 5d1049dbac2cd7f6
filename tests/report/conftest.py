"""Run folders shared by the report's tests, read and never written to; and a page in headless Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import synthetic_runs as synthetic
from chromium_browser import Browser

from speechstrata.report.merge import Merged, merge_runs
from speechstrata.report.runs import read_run


@pytest.fixture(scope="session")
def family_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "family"
    return synthetic.write_run(folder, synthetic.family(), problems=synthetic.PROBLEMS)


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "demo"
    return synthetic.write_run(folder, synthetic.demo(), corpus="asterisk-en", protocol="small-corpus")


@pytest.fixture(scope="session")
def checkpoints_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "checkpoints"
    return synthetic.write_run(folder, synthetic.checkpoints(), corpus="asterisk-en", protocol="small-corpus")


@pytest.fixture(scope="session")
def family(family_run: Path) -> Merged:
    return merge_runs([read_run(family_run)])


@pytest.fixture(scope="session")
def demo(demo_run: Path) -> Merged:
    return merge_runs([read_run(demo_run)])


@pytest.fixture(scope="session")
def checkpoints(checkpoints_run: Path) -> Merged:
    return merge_runs([read_run(checkpoints_run)])


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser, page: Path) -> Iterator[Browser]:
    """The module's ``page``, freshly loaded; afterwards, nothing on the console and nothing fetched."""
    window.console.clear()
    window.requests.clear()
    window.open(page)
    window.run("localStorage.clear()")
    yield window
    assert window.console == []
    assert [url for url in window.requests if not url.startswith(("file:", "blob:", "data:"))] == []
