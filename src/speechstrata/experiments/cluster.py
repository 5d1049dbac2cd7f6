"""Everything that a cluster needs to train the paper's models: recipes, job files, and what it will take.

The jobs go through ``torchrun`` under Slurm; ``submit.sh`` sends them with their dependencies. Nothing is run here.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from speechstrata.experiments.cells import RESIDUAL_RECIPES, cells_of
from speechstrata.experiments.config import TASKS, ReproduceConfig
from speechstrata.experiments.family import training_seeds
from speechstrata.files import write_text
from speechstrata.mrhubert.config import NetworkConfig, block_plan
from speechstrata.mrhubert.macs import head_costs, part_costs
from speechstrata.mrhubert.named import named_config
from speechstrata.pretraining.config import SAMPLE_RATE, PretrainConfig
from speechstrata.pretraining.recipes import load_recipe, recipe_text

#: A forward and a backward pass, in forward passes; two operations in a multiply-accumulate.
_PASSES, _OPERATIONS = 3, 2
#: Frames that are masked, of all.
_MASKED = 0.57
#: More GPUs than this are not asked for.
_MOST_GPUS = 128
#: (units, features of, layer, clusters): as published, iteration by iteration.
_UNITS = (
    ("mfcc-100", "", "", 100),
    ("it1-500", "hubert-base-it1-s1", "T6", 500),
    ("it2-500", "hubert-base-s1", "T9", 500),
)


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        name: of its folder.
        recipe: that it follows.
        seed: of the training.
        units: that it predicts.
        after: names of the jobs that it waits for.
    """

    name: str
    recipe: str
    seed: int
    units: str
    after: tuple[str, ...]


@dataclass(frozen=True)
class Effort:
    """What a training takes: GPUs at a time, audio heard, operations (1e18), and hours at a stated utilisation."""

    gpus: int
    steps: int
    audio_hours: float
    exaflops: float
    gpu_hours: float
    wall_hours: float


def training_jobs(config: ReproduceConfig) -> list[Job]:
    """All trainings of the scale "paper": two iterations of HuBERT, then every cell and Appendix C with every seed."""
    jobs = [
        Job("hubert-base-it1-s1", "hubert-base-it1", 1, "mfcc-100", ("units-mfcc-100",)),
        Job("hubert-base-s1", "hubert-base", 1, "it1-500", ("units-it1-500",)),
    ]
    last = ("units-it2-500",)
    for cell in cells_of("paper"):
        # HuBERT itself is the second iteration: the one that made the units is its first seed
        units, after = ("it1-500", ("units-it1-500",)) if cell.name == "hubert" else ("it2-500", last)
        for seed in training_seeds(config, cell):
            if (name := f"{cell.recipe}-s{seed}") not in {job.name for job in jobs}:
                jobs.append(Job(name, cell.recipe, seed, units, after))
    for recipe in RESIDUAL_RECIPES["paper"].values():
        jobs += [
            Job(f"{recipe}-s{seed}", recipe, seed, "it2-500", last) for seed in range(1, config.training_seeds + 1)
        ]
    return jobs


def effort(recipe: PretrainConfig, config: ReproduceConfig) -> Effort:
    """The expected effort of one training, from the network's multiply-accumulates; validation is not counted."""
    settings = dict(recipe.model)
    network = NetworkConfig.from_dict(named_config(settings.pop("name")).to_dict() | settings)
    samples = round(recipe.data.maximum_seconds * SAMPLE_RATE)
    frames = samples // network.frame_stride
    masked = {
        block.head: round(_MASKED * frames * network.frame_stride / block.stride)
        for block in block_plan(network)
        if block.head is not None
    }
    macs = sum(part.macs for part in (*part_costs(network, samples), *head_costs(network, masked)))
    seconds = recipe.optimizer.steps * recipe.data.batches_per_step * recipe.data.batch_seconds
    operations = seconds * macs / recipe.data.maximum_seconds * _OPERATIONS * _PASSES
    gpus = max(
        n
        for n in range(1, _MOST_GPUS + 1)
        if recipe.data.batches_per_step % n == 0 and (n < config.gpus_per_node or n % config.gpus_per_node == 0)
    )
    hours = operations / (config.gpu_tflops * 1e12 * config.utilisation) / 3600
    return Effort(gpus, recipe.optimizer.steps, seconds / 3600, operations / 1e18, hours, hours / gpus)


def plan_table(config: ReproduceConfig) -> pl.DataFrame:
    """One row per training, with its expected effort."""
    rows = []
    for job in training_jobs(config):
        each = effort(load_recipe(job.recipe), config)
        rows.append(
            {
                "training": job.name,
                "recipe": job.recipe,
                "seed": job.seed,
                "gpus": each.gpus,
                "steps": each.steps,
                "audio_hours": each.audio_hours,
                "exaflops": each.exaflops,
                "gpu_hours": each.gpu_hours,
                "wall_hours": each.wall_hours,
                "assumed_tflops": config.gpu_tflops,
                "assumed_utilisation": config.utilisation,
            }
        )
    return pl.DataFrame(rows)


def write_cluster(config: ReproduceConfig, folder: Path) -> None:
    """Write recipes, job files, ``submit.sh``, ``probes.txt`` (a command a line), ``plan.csv`` and ``README.md``."""
    jobs = training_jobs(config)
    for recipe in dict.fromkeys(job.recipe for job in jobs):
        write_text(folder / "recipes" / f"{recipe}.yaml", recipe_text(load_recipe(recipe)))
    for name, features, layer, clusters in _UNITS:
        write_text(folder / "jobs" / f"units-{name}.sh", _units_job(name, features, layer, clusters))
    for job in jobs:
        write_text(folder / "jobs" / f"{job.name}.sh", _training_job(job, config))
    write_text(folder / "submit.sh", "\n".join(_submission(jobs)) + "\n")
    write_text(folder / "probes.txt", "\n".join(_probe_commands(jobs, config)) + "\n")
    plan = plan_table(config)
    from speechstrata.experiments.score_tables import write_csv

    write_csv(plan, folder / "plan.csv")
    write_text(folder / "README.md", _readme(plan, config))


def _header(name: str, gpus: int, nodes: int) -> list[str]:
    return [
        "#!/bin/bash",
        f"#SBATCH --job-name={name}",
        f"#SBATCH --nodes={nodes}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --gpus-per-node={gpus}",
        "#SBATCH --output=logs/%x-%j.txt",
        "#SBATCH --requeue",
        "set -euo pipefail",
        ": ${CORPUS:?the LibriSpeech corpus folder}",
    ]


def _units_job(name: str, features: str, layer: str, clusters: int) -> str:
    source = f"--features runs/{features}/model --layer {layer} --device cuda" if features else "--features mfcc"
    command = f'speechstrata targets --corpus "$CORPUS" --output units/{name} --clusters {clusters} {source}'
    return "\n".join([*_header(f"units-{name}", 1, 1), command]) + "\n"


def _training_job(job: Job, config: ReproduceConfig) -> str:
    gpus = effort(load_recipe(job.recipe), config).gpus
    per_node = min(gpus, config.gpus_per_node)
    nodes = -(-gpus // per_node)
    lines = [
        *_header(job.name, per_node, nodes),
        'head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        f"srun torchrun --nnodes {nodes} --nproc-per-node {per_node} --rdzv-backend c10d "
        '--rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$head:29500" \\',
        f'  "$(which speechstrata)" pretrain recipes/{job.recipe}.yaml --output runs/{job.name} \\',
        f'  --corpus "$CORPUS" --targets units/{job.units} --set seed={job.seed} run.strategy=ddp run.accelerator=cuda',
    ]
    return "\n".join(lines) + "\n"


def _submission(jobs: list[Job]) -> Iterator[str]:
    """Each job after those that it waits for; the units of an iteration wait for the model that they are made of."""
    yield "#!/bin/bash"
    yield "# Run in this folder; CORPUS is the folder that `speechstrata corpus prepare librispeech` wrote."
    yield "set -euo pipefail"
    yield ": ${CORPUS:?the LibriSpeech corpus folder}"
    yield "export CORPUS"
    yield "mkdir -p logs"
    yield "declare -A id"
    waiting: dict[str, tuple[str, ...]] = {
        f"units-{name}": (features,) if features else () for name, features, _, _ in _UNITS
    }
    waiting |= {job.name: job.after for job in jobs}
    sent: set[str] = set()
    while waiting:
        ready = [name for name, after in waiting.items() if set(after) <= sent]
        for name in ready:
            after = "".join(f":${{id[{need}]}}" for need in waiting.pop(name))
            dependency = f"--dependency=afterok{after} " if after else ""
            yield f"id[{name}]=$(sbatch --parsable {dependency}jobs/{name}.sh)"
        sent |= set(ready)


def _probe_commands(jobs: list[Job], config: ReproduceConfig) -> Iterator[str]:
    recipes = {cell.recipe for cell in cells_of("paper") if cell.comparison == "base"}
    for job in jobs:
        if job.recipe not in recipes:
            continue
        for task in TASKS:
            for seed in range(config.probe_seeds):
                yield shlex.join(
                    ["speechstrata", "superb", "train", task, "--model", f"runs/{job.name}/model", "--corpus",
                     f"probe-corpora/{task}", "--output", f"probes/{task}/{job.name}-p{seed}", "--seed", str(seed),
                     "--device", "cuda"]
                )  # fmt: skip


def _readme(plan: pl.DataFrame, config: ReproduceConfig) -> str:
    total = plan["gpu_hours"].sum()
    lines = [
        "# The paper's models on a cluster",
        "",
        "1. `speechstrata corpus prepare librispeech DIR --output corpora/librispeech` (960 hours).",
        "2. `CORPUS=$PWD/corpora/librispeech bash submit.sh`: units and trainings, each after what it needs.",
        "3. `speechstrata superb prepare` into `probe-corpora/<task>`; then the commands in `probes.txt`.",
        "4. `speechstrata reproduce --scale paper --models runs --probe-runs probes --corpus corpora/dev-clean`.",
        "",
        f"{len(plan)} trainings, {total:,.0f} GPU hours expected: forward multiply-accumulates x {_PASSES} passes x "
        f"{_OPERATIONS} operations, at {config.gpu_tflops:g} TFLOPS x {config.utilisation:g} utilisation (assumed, not "
        "measured). Units, probes, validation and reading are not counted.",
        "",
        "| training | GPUs | steps | audio (h) | EFLOP | GPU hours | hours |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in plan.rows(named=True):
        lines.append(
            f"| {row['training']} | {row['gpus']} | {row['steps']:,} | {row['audio_hours']:,.0f} "
            f"| {row['exaflops']:,.0f} | {row['gpu_hours']:,.0f} | {row['wall_hours']:,.1f} |"
        )
    return "\n".join(lines) + "\n"
