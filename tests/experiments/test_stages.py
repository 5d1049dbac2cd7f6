from pathlib import Path

import pytest

from speechstrata.errors import InputError
from speechstrata.experiments.stages import Stage, run_stages
from speechstrata.files import read_json


class Graph:
    """a -> b -> d, a -> c -> d; every run is counted."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.ran: list[str] = []
        self.given: dict[str, int] = dict.fromkeys("abcd", 0)
        self.broken: set[str] = set()

    def stages(self) -> list[Stage]:
        needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
        return [
            Stage(name, f"stage {name}", needs[name], lambda name=name: self._run(name), (f"{name}.txt",),
                  lambda name=name: self.given[name])
            for name in "abcd"
        ]  # fmt: skip

    def _run(self, name: str) -> None:
        if name in self.broken:
            raise InputError(f"{name} is broken", "mend it")
        self.ran.append(name)
        (self.output / f"{name}.txt").write_text("")

    def run(self, *wanted: str) -> dict[str, str]:
        self.ran.clear()
        return {outcome.stage: outcome.state for outcome in run_stages(self.stages(), self.output, wanted)}


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return Graph(tmp_path)


def test_what_is_done_is_served(graph):
    assert set(graph.run().values()) == {"done"}
    assert graph.ran == list("abcd")
    assert set(graph.run().values()) == {"served"}
    assert graph.ran == []


def test_a_change_reaches_what_depends_on_it_and_nothing_else(graph):
    graph.run()
    graph.given["b"] = 1
    assert graph.run() == {"a": "served", "b": "done", "c": "served", "d": "done"}


def test_lost_outputs_are_made_again(graph, tmp_path):
    graph.run()
    (tmp_path / "c.txt").unlink()
    graph.run()
    assert graph.ran == ["c"]


def test_a_failure_harms_only_what_needs_it(graph, tmp_path):
    graph.broken = {"b"}
    assert graph.run() == {"a": "done", "b": "failed", "c": "done", "d": "skipped"}
    assert "mend it" in read_json(tmp_path / "stages" / "b.json")["reason"]
    graph.broken = set()
    assert graph.run() == {"a": "served", "b": "done", "c": "served", "d": "done"}


def test_a_kill_loses_only_the_stage_it_was_in(graph):
    def interrupted(name: str) -> None:
        if name == "c":
            raise KeyboardInterrupt
        Graph._run(graph, name)

    graph._run = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        graph.run()
    del graph._run
    graph.run()
    assert graph.ran == ["c", "d"]


def test_a_stage_by_itself(graph):
    graph.run("a")
    assert graph.ran == ["a"]
    with pytest.raises(InputError, match="needs b, c"):
        graph.run("d")
    with pytest.raises(InputError, match="the stages are: a, b, c, d"):
        graph.run("e")


def test_a_group_is_all_stages_that_begin_so(tmp_path):
    ran: list[str] = []
    names = ("train-x", "train-y", "trainer")
    stages = [Stage(name, "", (), lambda name=name: ran.append(name), ()) for name in names]
    run_stages(stages, tmp_path, ["train"])
    assert ran == ["train-x", "train-y"]


def test_a_stage_that_leaves_nothing_has_failed(tmp_path):
    outcomes = run_stages([Stage("a", "", (), lambda: None, ("a.txt",))], tmp_path)
    assert (outcomes[0].state, "left no a.txt" in outcomes[0].reason) == ("failed", True)
