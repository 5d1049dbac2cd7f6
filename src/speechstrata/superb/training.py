"""``speechstrata superb train``: a task, an encoder and a probe corpus to metrics and layer weights, resumable."""

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from speechstrata.errors import InputError, require
from speechstrata.files import LOCK_FILE, hold, read_json, write_json, write_text
from speechstrata.superb.config import ProbeConfig

CONFIG, RESULT, LAST, BEST = "config.json", "result.json", "last.ckpt", "best.ckpt"
#: Settings that change where a run computes, not what comes out.
_FREE = ("cache_gigabytes", "memory_gigabytes", "device")


@dataclass(frozen=True)
class ProbeInputs:
    """What a probe run is given.

    Attributes:
        task: short name.
        model: anything that ``load_encoder`` takes; ``NAME+random`` re-initialises the architecture.
        corpus: folder of a probe corpus.
        cache: folder of cached states; by default ``cache`` beside the run.
    """

    task: str
    model: str
    corpus: str
    cache: str = ""


def train_probe(inputs: ProbeInputs, config: ProbeConfig, output: Path | str) -> dict[str, Any]:
    """Train a probe, or go on where an earlier call with the same arguments stopped; a finished run is served.

    Args:
        inputs: task, encoder and corpus.
        config: of the run.
        output: the run's folder: ``config.json``, ``run.json`` (versions, fingerprints), ``metrics.csv`` and
            ``weights.csv`` (a row per evaluation), ``checkpoints/``, ``predictions-<split>.jsonl`` and ``result.json``.

    Returns:
        What ``result.json`` holds.

    Raises:
        InputError: a corpus of another task, or a folder that holds another run or that another process writes to.
        EncoderError: no such model.
        MissingExtraError: without the extra ``superb``.
    """
    require("lightning", "superb", "training a probe")
    output = Path(output)
    if (output / RESULT).exists():
        if not (output / CONFIG).exists():
            raise InputError(f"{output} holds a sweep of learning rates", "choose another --output")
        _claim(output, inputs, config)
        result: dict[str, Any] = read_json(output / RESULT)
        return result
    with hold(output / LOCK_FILE):
        _claim(output, inputs, config)
        from speechstrata.superb.setting import Setting

        began = time.perf_counter()
        with Setting(inputs, config, Path(inputs.cache) if inputs.cache else output.parent / "cache") as setting:
            _record(output, setting)
            rounds, seconds = _fit(setting, output)
            return _finish(setting, rounds, output, seconds, began)


def sweep(
    inputs: ProbeInputs, config: ProbeConfig, learning_rates: Sequence[float], output: Path | str
) -> dict[str, Any]:
    """One run per learning rate in ``output/lr-<rate>``; ``output/result.json`` is that of the best on dev.

    Raises:
        As :func:`train_probe`; InputError also where ``output`` holds a single run.
    """
    output = Path(output)
    if (output / CONFIG).exists():
        raise InputError(f"{output} holds a single run", "choose another --output for the sweep")
    runs = {}
    with hold(output / LOCK_FILE):
        for rate in learning_rates:
            settings = (*config.set, f"learning_rate={rate!r}")
            runs[rate] = train_probe(
                replace(inputs, cache=inputs.cache or str(output.parent / "cache")),
                replace(config, set=settings),
                output / f"lr-{rate:g}",
            )
        any_run = runs[learning_rates[0]]
        metric, sign = any_run["metric"], 1.0 if any_run["higher_is_better"] else -1.0
        best = max(runs, key=lambda rate: sign * runs[rate]["dev"][metric])
        table = {f"{rate:g}": run["dev"][metric] for rate, run in runs.items()}
        result = runs[best] | {"sweep": {"metric": metric, "dev": table, "chosen": best}}
        write_json(output / RESULT, result)
    return result


def _fit(setting: Any, output: Path) -> tuple[Any, dict[str, float]]:
    """Train to the last step; gives the rounds and the seconds of training, evaluations included, by both clocks."""
    import lightning.pytorch as lightning
    import torch
    from torch.utils.data import DataLoader

    from speechstrata.pretraining.checkpoints import AtomicCheckpointIO, link, read_checkpoint
    from speechstrata.pretraining.trainer import quieten
    from speechstrata.progress import ProgressBar
    from speechstrata.superb.data import Numbers, TrainingBatches
    from speechstrata.superb.evaluation import dev_subset, predictions
    from speechstrata.superb.module import Probe, ProbeModule, Rounds
    from speechstrata.superb.order import BatchOrder

    quieten()
    device = torch.device(setting.config.device)
    task, recipe, labels, seed = setting.task, setting.recipe, setting.labels, setting.config.seed
    train, dev = setting.split("train"), setting.split("dev")
    subset = dev_subset(dev, recipe, seed)
    probe = Probe(task, labels, recipe, setting.choice, seed)
    module = ProbeModule(probe, task, labels, recipe, seed)
    last = output / "checkpoints" / LAST
    done = int(read_checkpoint(last)["global_step"]) if last.exists() else 0

    def evaluate(trained: Any) -> dict[str, float]:
        found: dict[str, float] = task.score(predictions(trained, dev, recipe, subset), labels, {})
        return found

    def save(trainer: Any, is_best: bool) -> None:
        trainer.save_checkpoint(last)
        if is_best:
            link(last, last.with_name(BEST))

    with ProgressBar(f"{task.name} on {setting.encoder.name}", total=recipe.steps, unit="steps") as bar:
        shown = [done]
        bar.advance(done)

        def advance(step: int) -> None:
            bar.advance(step - shown[0])
            shown[0] = step

        rounds = Rounds(
            evaluate,
            recipe.pick or task.metric,
            task.higher_is_better,
            lambda history: _write_history(output, history, setting.choice.names),
            save,
            advance,
        )
        trainer = lightning.Trainer(
            accelerator="cuda" if device.type == "cuda" else "cpu",
            devices=[device.index or 0] if device.type == "cuda" else 1,
            max_steps=recipe.steps,
            max_epochs=-1,
            accumulate_grad_batches=recipe.accumulation,
            limit_val_batches=0,
            logger=False,
            callbacks=[rounds],
            plugins=[AtomicCheckpointIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=output,
        )
        order = BatchOrder(train.seconds, recipe.batch_size, seed, task.sampling_weights(setting.cuts("train"), labels))
        numbers = Numbers(
            lambda: trainer.global_step * recipe.accumulation, recipe.evaluate_every * recipe.accumulation
        )
        # the targets stay what the task made them: Lightning's default would turn arrays into tensors
        loader = DataLoader(TrainingBatches(train, order), batch_size=None, sampler=numbers, collate_fn=_as_it_is)
        began, spent = time.perf_counter(), time.process_time()
        if done < recipe.steps:
            trainer.fit(module, loader, ckpt_path=last if done else None, weights_only=True)
            if trainer.interrupted:
                raise KeyboardInterrupt
        else:
            rounds.load_state_dict(read_checkpoint(last)["callbacks"][rounds.state_key])
    return rounds, {"fit": time.perf_counter() - began, "fit_cpu": time.process_time() - spent}


def _finish(setting: Any, rounds: Any, output: Path, seconds: dict[str, float], began: float) -> dict[str, Any]:
    """Score the best probe on dev and every test split, and write the result."""
    from speechstrata.superb.evaluation import evaluate_on

    task, labels, recipe = setting.task, setting.labels, setting.recipe
    probe = load_probe(setting, output)
    dev, rows = evaluate_on(probe, setting.split("dev"), recipe, {})
    settings = task.tune(rows, labels)
    dev = task.score(rows, labels, settings)
    tests = {}
    for name in setting.test_splits:
        tests[name], rows = evaluate_on(probe, setting.split(name), recipe, settings)
        _write_predictions(output / f"predictions-{name}.jsonl", rows)
    weights, norms = probe.featurizer.weights.tolist(), setting.split("train").source.mean_norms()
    scaled = [weight * norm for weight, norm in zip(weights, norms, strict=True)]
    best = rounds.best()
    result = {
        "task": task.name,
        "model": setting.encoder.name,
        "supervision": setting.encoder.supervision,
        "corpus": setting.corpus.name,
        "mini": setting.corpus.mini,
        "seed": setting.config.seed,
        "budget": setting.config.budget,
        "recipe": asdict(recipe),
        "metric": recipe.pick or task.metric,
        "higher_is_better": task.higher_is_better,
        "best_step": best["step"],
        "dev": dev,
        "test": tests,
        "decision": settings,
        "layers": [
            {
                "name": layer.name,
                "stride_ms": 1000 * float(layer.stride) / setting.choice.sample_rate,
                "weight": weight,
                "mean_norm": norm,
                "weight_times_norm": product / sum(scaled),
            }
            for layer, weight, norm, product in zip(setting.choice.layers, weights, norms, scaled, strict=True)
        ],
        "skipped_steps": rounds.history[-1]["skipped"],
        "cached": setting.cached,
        "problems": setting.problems,
        "seconds": {name: round(value, 1) for name, value in seconds.items()}
        | {"all": round(time.perf_counter() - began, 1)},
        "fingerprints": setting.fingerprints,
    }
    write_json(output / RESULT, result)
    return result


def _as_it_is(batch: Any) -> Any:
    return batch


def load_probe(setting: Any, output: Path) -> Any:
    """The best probe of a run.

    Raises:
        InputError: the run has no checkpoint that can be read.
    """
    from speechstrata.pretraining.checkpoints import read_checkpoint
    from speechstrata.superb.module import Probe

    state = read_checkpoint(output / "checkpoints" / BEST)["state_dict"]
    probe = Probe(setting.task, setting.labels, setting.recipe, setting.choice, setting.config.seed)
    probe.load_state_dict({name.removeprefix("probe."): value for name, value in state.items()})
    return probe.to(setting.config.device)


def evaluate_run(
    output: Path | str, split: str, corpus: str | None = None, language_model: str | None = None
) -> dict[str, float]:
    """A finished run's metrics on a split of its corpus, or of another corpus for the same task.

    The decision's settings are those that the run chose on its own dev split.

    Args:
        output: the run's folder.
        split: of the corpus.
        corpus: folder of another one.
        language_model: speech recognition only: ARPA file or KenLM binary for a beam search.

    Raises:
        InputError: no finished run, no such split, or a language model for another task.
        MissingExtraError: without the extra ``superb``.
    """
    require("lightning", "superb", "evaluating a probe")
    from speechstrata.superb.evaluation import evaluate_on
    from speechstrata.superb.setting import Setting

    output = Path(output)
    result = read_json(output / RESULT)
    inputs, config = read_inputs(output)
    cache = Path(inputs.cache) if inputs.cache else output.parent / "cache"
    own = Setting(inputs, config, cache)
    other = own if corpus is None else Setting(replace(inputs, corpus=corpus), config, cache)
    if language_model is not None:
        if inputs.task != "asr":
            raise InputError(f"{inputs.task} is decoded without a language model", "leave it out")
        from speechstrata.superb.beam_search import RecognitionWithLanguageModel

        other.task = RecognitionWithLanguageModel(language_model)
    other.labels = own.labels  # the head's outputs mean what the run's training split said
    with other:
        metrics, _ = evaluate_on(load_probe(own, output), other.split(split), own.recipe, result["decision"])
    return metrics


def read_inputs(output: Path) -> tuple[ProbeInputs, ProbeConfig]:
    """What a run folder was made from.

    Raises:
        InputError: it is none.
    """
    saved = read_json(output / CONFIG)
    config = saved["config"] | {name: tuple(saved["config"][name]) for name in ("layers", "set")}
    return ProbeInputs(**saved["inputs"]), ProbeConfig(**config)


def _claim(output: Path, inputs: ProbeInputs, config: ProbeConfig) -> None:
    """Make ``output`` this run's folder, unless it is another run's."""
    path = output / CONFIG
    wanted = json.loads(json.dumps({"inputs": asdict(inputs), "config": asdict(config)}))
    if not path.exists():
        write_json(path, wanted)
        return
    theirs = read_json(path)
    different = [
        name
        for part in ("inputs", "config")
        for name, value in wanted[part].items()
        if name not in _FREE and name != "cache" and theirs[part].get(name) != value
    ]
    if different:
        raise InputError(
            f"{output} holds a run with another {', '.join(different)}",
            "continue with the same arguments (they are in its config.json), or choose another --output",
        )


def _record(output: Path, setting: Any) -> None:
    """Write where the run comes from, or check that a continued run still comes from there."""
    from importlib import metadata

    from speechstrata.provenance import provenance

    path = output / "run.json"
    if path.exists():
        if (before := read_json(path)["fingerprints"]) != setting.fingerprints:
            changed = ", ".join(name for name in before if before[name] != setting.fingerprints.get(name))
            raise InputError(f"the {changed} of the run in {output} changed", "restore it, or choose another --output")
        return
    origin = provenance([setting.config.seed])
    origin["packages"]["lightning"] = metadata.version("lightning")
    write_json(path, origin | {"fingerprints": setting.fingerprints, "labels": dict(setting.labels)})


def _write_history(output: Path, history: Sequence[Mapping[str, Any]], layers: Sequence[str]) -> None:
    metrics = list(history[0]["metrics"])
    rows = [[row["step"], row["loss"], row["skipped"], *(row["metrics"][name] for name in metrics)] for row in history]
    _write_csv(output / "metrics.csv", ["step", "loss", "skipped", *metrics], rows)
    _write_csv(output / "weights.csv", ["step", *layers], [[row["step"], *row["weights"]] for row in history])


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _write_predictions(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """What can be written as JSON of each prediction; arrays are left out."""
    plain = (str, int, float, bool, list, dict, type(None))
    lines = [
        json.dumps({name: value for name, value in row.items() if isinstance(value, plain)}, ensure_ascii=False)
        for row in rows
    ]
    write_text(path, "\n".join(lines) + "\n")
