"""``speechstrata superb run``: every task with every model and seed, resumable, to tables and figures."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from speechstrata.errors import InputError, SpeechstrataError
from speechstrata.files import LOCK_FILE, atomic_path, hold, read_json, write_text
from speechstrata.superb.config import ProbeConfig
from speechstrata.superb.names import model_name
from speechstrata.superb.training import RESULT, ProbeInputs, train_probe


@dataclass(frozen=True)
class Cell:
    """A model on a task's corpus, with all seeds: they share the cached states.

    Attributes:
        inputs: task, model, corpus, cache.
        config: but for the seed.
        outputs: run folder of each seed.
    """

    inputs: ProbeInputs
    config: ProbeConfig
    outputs: dict[int, Path]


@dataclass(frozen=True)
class Outcome:
    """How one run went: its result, or the reason why there is none."""

    task: str
    model: str
    seed: int
    result: dict[str, Any] | None
    error: str = ""


def plan_grid(
    models: Sequence[str],
    corpora: Sequence[Path | str],
    config: ProbeConfig,
    output: Path,
    *,
    tasks: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    cache: str = "",
) -> list[Cell]:
    """What is to be trained, a model after the other, in ``output/<task>/<model>-p<seed>``.

    Args:
        models: anything that ``load_encoder`` takes; ``NAME+random`` for a control.
        corpora: probe corpora, or folders of them; a task each.
        config: of the runs; its seed is replaced.
        output: folder to make.
        tasks: of the corpora; all by default.
        seeds: of the probes.
        cache: folder of cached states; by default ``output/cache``.

    Raises:
        InputError: two corpora for one task, none for a task, or two models of one name.
    """
    found = _corpora(corpora)
    if missing := [task for task in tasks if task not in found]:
        raise InputError(f"no corpus for {', '.join(missing)}", "give it with --corpora")
    names: dict[str, str] = {}
    for model in models:
        if (other := names.setdefault(model_name(model), model)) != model:
            raise InputError(f"{other} and {model} would both be called {model_name(model)}", "rename one")
    return [
        Cell(
            ProbeInputs(task, model, str(folder), cache or str(output / "cache")),
            config,
            {seed: output / task / f"{name}-p{seed}" for seed in dict.fromkeys(seeds)},
        )
        for name, model in names.items()
        for task, folder in found.items()
        if not tasks or task in tasks
    ]


def run_grid(cells: Sequence[Cell], output: Path, *, workers: int = 1, report: Callable[[Outcome], None]) -> int:
    """Train what is not finished; ``output`` gets ``metrics.csv``, ``weights.csv``, ``table.md`` and ``problems.csv``.

    A run that fails does not stop the others; the same call again trains what is missing.

    Args:
        cells: of :func:`plan_grid`.
        output: folder of the tables.
        workers: processes that train at the same time, with an equal share of the processors each.
        report: is told of every run as it ends.

    Returns:
        how many runs failed.

    Raises:
        InputError: another process works in ``output``.
    """
    failed: list[Outcome] = []
    with hold(output / LOCK_FILE):
        for outcome in _outcomes(cells, workers):
            if outcome.result is None:
                failed.append(outcome)
            else:
                write_tables(output, cells)
            report(outcome)
        lines = ["task,model,seed,reason", *(f'{o.task},{o.model},{o.seed},"{_quoted(o.error)}"' for o in failed)]
        write_text(output / "problems.csv", "\n".join(lines) + "\n")
    return len(failed)


def write_tables(output: Path, cells: Sequence[Cell]) -> None:
    """The tables of those runs of the grid that are finished."""
    from speechstrata.superb.results import ProbeRun, metrics_table, summary_table, weights_table

    runs = [
        ProbeRun(folder, read_json(folder / RESULT))
        for cell in cells
        for folder in cell.outputs.values()
        if (folder / RESULT).exists()
    ]
    for name, table in (("metrics", metrics_table(runs)), ("weights", weights_table(runs))):
        with atomic_path(output / f"{name}.csv") as partial:
            table.write_csv(partial)
    write_text(output / "table.md", summary_table(runs))


def _corpora(folders: Sequence[Path | str]) -> dict[str, Path]:
    """Task -> folder of its corpus."""
    found: dict[str, Path] = {}
    for folder in map(Path, folders):
        own = {path.parent.resolve() for path in [*folder.glob("corpus.json"), *folder.glob("*/corpus.json")]}
        own = {path for path in own if "task" in read_json(path / "corpus.json")}
        if not own:
            raise InputError(f"{folder} holds no probe corpus", "make one with `speechstrata superb prepare KIND`")
        for path in sorted(own):
            task = str(read_json(path / "corpus.json")["task"])
            if (other := found.setdefault(task, path)) != path:
                raise InputError(f"{other} and {path} are both for {task}", "give one corpus for each task")
    from speechstrata.superb.tasks import TASKS

    return {task: found[task] for task in TASKS if task in found}


def _outcomes(cells: Sequence[Cell], workers: int) -> Iterator[Outcome]:
    """Of all runs, as they end."""
    if workers <= 1:
        for cell in cells:
            yield from _train(cell)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin, (threads,)) as pool:
        try:
            for future in as_completed([pool.submit(_train_all, cell) for cell in cells]):
                yield from future.result()
        except BrokenExecutor as error:
            raise SpeechstrataError(
                "a worker process died, perhaps for lack of memory",
                "run the same command again with fewer --workers; it continues from here",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(threads: int) -> None:
    """In a worker: its share of the processors, and no bars that would write over each other."""
    import torch

    torch.set_num_threads(threads)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _train_all(cell: Cell) -> list[Outcome]:
    return list(_train(cell))


def _train(cell: Cell) -> Iterator[Outcome]:
    for seed, output in cell.outputs.items():
        named = (cell.inputs.task, model_name(cell.inputs.model), seed)
        try:
            yield Outcome(*named, train_probe(cell.inputs, replace(cell.config, seed=seed), output))
        except (SpeechstrataError, ArithmeticError, OSError, RuntimeError, ValueError) as error:
            yield Outcome(*named, None, str(error) or repr(error))


def _quoted(text: str) -> str:
    return text.replace('"', '""').replace("\n", " ")
