from pathlib import Path
from typing import Any

import polars as pl
import pytest

from speechstrata.experiments import analysis_stages, probe_stages
from speechstrata.experiments import reproduce as module
from speechstrata.experiments.config import TASKS, ReproduceConfig
from speechstrata.experiments.reproduce import build_graph, reproduce
from speechstrata.files import write_json


def _fake_probe(calls: list[tuple[str, ...]]) -> Any:
    """In place of a training: a result that the cell and the seed can be read from."""

    def train(inputs: Any, config: Any, output: Path) -> dict[str, Any]:
        calls.append((inputs.task, inputs.model, inputs.corpus, str(config.seed)))
        layer = {"name": "T3", "stride_ms": 40.0, "weight": 1.0, "mean_norm": 1.0, "weight_times_norm": 1.0}
        result = {
            "task": inputs.task, "model": inputs.model, "corpus": f"mini-{inputs.task}", "mini": True,
            "seed": config.seed, "budget": config.budget, "dev": {}, "test": {"test": {"wer": 0.5}}, "layers": [layer],
            "recipe": {"steps": 1, "learning_rate": 1.0}, "best_step": 1, "seconds": {"fit": 1, "all": 1},
        }  # fmt: skip
        write_json(output / "result.json", result)
        write_json(output / "config.json", {})
        return result

    return train


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("tiny-hubert", "tiny-b4-a", "tiny-b4-a-s2", "tiny-mrhubert-base", "tiny-large-hubert"):
        (tmp_path / "models" / name).mkdir(parents=True)
    return tmp_path / "models"


def test_probes_of_every_base_model_task_and_seed_are_trained_and_gathered(tmp_path, models, monkeypatch):
    calls: list[tuple[str, ...]] = []
    made: list[str] = []
    monkeypatch.setattr("speechstrata.superb.grid.train_probe", _fake_probe(calls))
    monkeypatch.setattr(
        "speechstrata.superb.corpora.prepare.prepare_probe_corpus",
        lambda kind, source, folder: (
            made.append(kind),
            write_json(folder / "corpus.json", {"task": kind.removeprefix("mini-")}),
        ),
    )
    monkeypatch.setattr(
        module, "check_architectures", lambda family: [{"fingerprint": model.source} for model in family]
    )
    write_json(tmp_path / "own" / "asr" / "corpus.json", {"task": "asr"})
    config = ReproduceConfig(
        models=str(models), probes=True, probe_seeds=2, probe_corpora=str(tmp_path / "own"), demo=False
    )
    output = tmp_path / "out"
    wanted = ["models", "corpus", "probes"]
    for room in (module, analysis_stages):
        monkeypatch.setattr(room, "analysis_runs", lambda *_: {})
    monkeypatch.setattr(probe_stages, "corpus_fingerprint", str)
    states = [outcome.state for outcome in reproduce(config, ["queen"], output, [*wanted, "gather"])]
    assert set(states) == {"done"}
    assert sorted(made) == sorted(f"mini-{task}" for task in TASKS if task != "asr")
    assert len(calls) == len(set(calls)) == len(TASKS) * 5 * 2
    assert {call[2] for call in calls if call[0] == "asr"} == {str(tmp_path / "own" / "asr")}
    probes = pl.read_csv(output / "probes.csv")
    probed = [("hubert", "", 1), ("b4-a", "", 1), ("b4-a", "", 2), ("mrhubert-base", "", 1)]
    probed.append(("mrhubert-base", "random", 1))
    found = probes.select(pl.col("cell"), pl.col("control").fill_null(""), "training_seed", "probe_seed").rows()
    assert sorted(found) == sorted((*model, probe) for model in probed for probe in (0, 1) for _ in TASKS)
    blocks = set(pl.read_csv(output / "probe_weights.csv").select("cell", "block").rows())
    assert blocks == {("hubert", "encoder0"), ("b4-a", "middle"), ("mrhubert-base", "middle")}


def test_tasks_can_fail_alone(tmp_path, models):
    """A mini corpus that needs speech is refused without any; the spoken ones are another stage's."""
    config = ReproduceConfig(models=str(models), probes=True, demo=False)
    names = [stage.name for stage in build_graph(config, [], tmp_path)]
    assert [name for name in names if name.startswith("probes-")] == [f"probes-{task}" for task in TASKS]
    outcomes = reproduce(config, [], tmp_path, ["corpus-ks"])
    assert (outcomes[0].state, "--corpus" in outcomes[0].reason) == ("failed", True)
