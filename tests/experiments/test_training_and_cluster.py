import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from lhotse import CutSet

from speechstrata.experiments.cells import CELLS, cells_of, network_of
from speechstrata.experiments.cluster import effort, plan_table, training_jobs, write_cluster
from speechstrata.experiments.collect import collect
from speechstrata.experiments.config import TASKS, ReproduceConfig
from speechstrata.experiments.family import find_family
from speechstrata.experiments.reproduce import reproduce
from speechstrata.experiments.training_stages import cell_recipe, training_folders, training_stages
from speechstrata.files import read_json
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.named import named_config
from speechstrata.pretraining.recipes import load_recipe
from tests.pretraining.conftest import tone_cut

PAPER = ReproduceConfig(scale="paper", training_seeds=2, probe_seeds=1)


@pytest.mark.parametrize("scale", ["tiny", "small"])
def test_training_leaves_the_models_that_are_analysed(tmp_path, scale):
    config = ReproduceConfig(scale=scale, from_scratch=True, training_seeds=2)
    outputs = {name for stage in training_stages(config, "demo", tmp_path) for name in stage.outputs}
    wanted = {str(Path(model.source).relative_to(tmp_path)) for model in find_family(config, tmp_path)}
    assert wanted <= outputs


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_recipes_train_the_cells_networks(tmp_path, scale):
    for cell in cells_of(scale):
        recipe = load_recipe(cell_recipe(scale, cell, tmp_path))
        settings = dict(recipe.model)
        network = NetworkConfig.from_dict(named_config(settings.pop("name")).to_dict() | settings)
        assert network == network_of(cell)


def test_cells_of_one_scale_differ_in_the_network_alone(tmp_path):
    """Same optimizer, data order, masks: what differs between models is what the cell says."""
    for scale in ("tiny", "small"):
        recipes = [load_recipe(cell_recipe(scale, cell, tmp_path)) for cell in cells_of(scale)]
        assert all((recipe.data, recipe.optimizer, recipe.masking) ==
                   (recipes[0].data, recipes[0].optimizer, recipes[0].masking) for recipe in recipes)  # fmt: skip


def test_expected_hours_against_an_independent_count():
    """MR-HuBERT base: 400,000 updates of 32 x 62.5 s; a Transformer takes 6 x parameters x frames."""
    recipe = load_recipe("mrhubert-base")
    ours = effort(recipe, ReproduceConfig(gpu_tflops=100.0, utilisation=0.5))
    assert ours.audio_hours == pytest.approx(400_000 * 32 * 62.5 / 3600)
    assert (ours.gpus, ours.steps) == (32, 400_000)
    frames = 400_000 * 32 * 62.5 * 50
    transformer = 6 * 85e6 * (2 / 3 + 1 / 6) * frames / 1e18  # a third of the layers at half the rate
    assert transformer < ours.exaflops < 2.2 * transformer  # with convolutions, attention scores and heads
    assert ours.gpu_hours == pytest.approx(ours.exaflops * 1e18 / 50e12 / 3600)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    write_cluster(PAPER, folder)
    return folder


def test_job_files_are_valid_bash_and_name_what_is_there(cluster):
    scripts = [*cluster.glob("jobs/*.sh"), cluster / "submit.sh"]
    assert len(scripts) == len(training_jobs(PAPER)) + 4
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
    for job in training_jobs(PAPER):
        text = (cluster / "jobs" / f"{job.name}.sh").read_text()
        assert (cluster / "recipes" / f"{job.recipe}.yaml").is_file()
        assert f"--output runs/{job.name} " in text
        assert f"seed={job.seed}" in text


@pytest.mark.parametrize("per_node", [1, 4, 6, 8])
def test_nodes_are_filled_and_share_the_batches_evenly(tmp_path, per_node):
    config = replace(PAPER, gpus_per_node=per_node)
    write_cluster(config, tmp_path)
    for job in training_jobs(config):
        text = (tmp_path / "jobs" / f"{job.name}.sh").read_text()
        nodes, each = (int(re.search(rf"--{name} (\d+)", text)[1]) for name in ("nnodes", "nproc-per-node"))  # type: ignore[index]
        recipe = load_recipe(job.recipe)
        assert nodes * each == effort(recipe, config).gpus
        assert recipe.data.batches_per_step % (nodes * each) == 0


def test_jobs_are_sent_after_what_they_need(cluster, tmp_path):
    """``submit.sh`` with an ``sbatch`` that prints its script: every dependency is a job sent before."""
    fake = tmp_path / "sbatch"
    fake.write_text('#!/bin/bash\necho "$@" >> "$LOG"\nbasename "${@: -1}" .sh\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CORPUS": "x", "LOG": str(tmp_path / "log")}
    subprocess.run(["bash", "submit.sh"], cwd=cluster, env=environment, check=True)
    sent: list[str] = []
    for line in (tmp_path / "log").read_text().splitlines():
        *options, script = line.split()
        for option in options:
            if option.startswith("--dependency"):
                assert set(option.split(":")[1:]) <= set(sent)
        sent.append(Path(script).stem)
    assert set(sent) == {path.stem for path in cluster.glob("jobs/*.sh")}


def test_recipes_on_the_cluster_are_whole(cluster):
    for path in cluster.glob("recipes/*.yaml"):
        assert "base" not in yaml.safe_load(path.read_text())
        assert load_recipe(str(path)) == load_recipe(path.stem)


def test_probes_cover_the_base_models_and_tasks(cluster):
    lines = (cluster / "probes.txt").read_text().splitlines()
    base = [cell for cell in CELLS["paper"] if cell.comparison == "base"]
    assert len(lines) == len(base) * 2 * len(TASKS)
    assert len(lines) == len(set(lines))


def test_plan_adds_up(cluster):
    plan = pl.read_csv(cluster / "plan.csv")
    assert len(plan) == len(plan_table(PAPER)) == len(training_jobs(PAPER))
    assert (plan["gpu_hours"] / plan["gpus"]).to_list() == pytest.approx(plan["wall_hours"].to_list(), rel=1e-5)


@pytest.mark.slow
def test_a_family_from_nothing(tmp_path):
    """Two steps of every model on tones: units, first HuBERT, its units, all cells, both residuals; then served."""
    rng = np.random.default_rng(0)
    audio = tmp_path / "audio"
    audio.mkdir()
    cuts = [
        tone_cut(audio, f"u{n:02d}", f"s{n}", rng.choice(list("AEST"), rng.integers(6, 18)).tolist(), rng)
        for n in range(40)
    ]
    manifest = tmp_path / "cuts.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(manifest)
    settings = ("optimizer.steps=2", "optimizer.warmup_steps=1", "run.log_every=1", "run.checkpoint_every=1",
                "run.validate_every=1", "run.precision=fp32")  # fmt: skip
    config = ReproduceConfig(from_scratch=True, training_seeds=1, clusters=12, training_set=settings, demo=False)
    wanted = ["targets", "train", "models", "cost"]
    outcomes = reproduce(config, [str(manifest)], tmp_path / "out", wanted)
    assert {outcome.state for outcome in outcomes} == {"done"}
    entries = read_json(tmp_path / "out" / "models.json")
    assert [entry["cell"] for entry in entries] == [cell.name for cell in cells_of("tiny")]
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)
    losses = collect("tiny", trainings=training_folders(config, tmp_path / "out")).residual
    assert losses.select("variant", "seed", "step").rows() == [("post", 1, 2), ("pre", 1, 2)]
    again = reproduce(config, [str(manifest)], tmp_path / "out", wanted)
    assert {outcome.state for outcome in again} == {"served"}
