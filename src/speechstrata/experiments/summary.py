"""A reproduction in the terminal: its stages, and the verdicts."""

from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from speechstrata.experiments.stages import Outcome, Stage
from speechstrata.files import read_json


def outcomes_table(outcomes: Sequence[Outcome]) -> Table:
    """How the stages of a run came out."""
    table = Table(title="stages")
    for heading in ("stage", "state", "seconds", "reason"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for outcome in outcomes:
        table.add_row(outcome.stage, outcome.state, f"{outcome.seconds:.1f}", escape(outcome.reason))
    return table


def stages_table(stages: Sequence[Stage], output: Path) -> Table:
    """All stages of a graph with what they need and the state that they are recorded in."""
    table = Table(title=f"stages of {output}")
    for heading in ("stage", "about", "needs", "state"):
        table.add_column(heading)
    for stage in stages:
        file = output / "stages" / f"{stage.name}.json"
        state = str(read_json(file)["state"]) if file.exists() else "not run"
        table.add_row(stage.name, escape(stage.about), ", ".join(stage.needs), state)
    return table


def verdicts_table(output: Path) -> Table:
    """The findings and claims of a finished run with their verdicts."""
    found = read_json(output / "findings.json")
    seeds = found["design"]["seeds"]
    table = Table(title=f"verdicts at the scale '{found['scale']}', {len(seeds)} training seeds")
    for heading in ("claim", "verdict", "reason"):
        table.add_column(heading)
    for claim in (*found["findings"], *found["claims"]):
        table.add_row(claim["claim"], claim["verdict"], escape(claim["reason"]))
    return table
