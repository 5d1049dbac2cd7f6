"""Probe runs: they learn, find the layer that holds the label, resume to the same numbers, and serve finished work."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechstrata.errors import InputError
from speechstrata.files import read_json
from speechstrata.superb import training
from speechstrata.superb.config import ProbeConfig
from speechstrata.superb.evaluation import predictions
from speechstrata.superb.module import Probe, ProbeModule
from speechstrata.superb.recipe import recipe_of
from speechstrata.superb.states import LayerChoice
from speechstrata.superb.tasks import load_task
from speechstrata.superb.training import ProbeInputs, evaluate_run, sweep, train_probe

CONFIG = ProbeConfig(set=("steps=60", "evaluate_every=20", "batch_size=16", "learning_rate=0.01"))


@pytest.fixture(scope="module")
def inputs(keywords: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> ProbeInputs:
    return ProbeInputs("ks", str(model), str(keywords), str(tmp_path_factory.mktemp("states")))


@pytest.fixture(scope="module")
def finished(inputs: ProbeInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("probes") / "ks"
    train_probe(inputs, CONFIG, output)
    return output


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_probe_learns_and_leaves_all_that_is_promised(finished: Path, inputs: ProbeInputs) -> None:
    result = read_json(finished / "result.json")
    assert result["test"]["test"]["accuracy"] > 0.8
    assert result["mini"]
    assert result["fingerprints"]["model"]
    weights = [layer["weight"] for layer in result["layers"]]
    assert sum(weights) == pytest.approx(1.0)
    assert sum(layer["weight_times_norm"] for layer in result["layers"]) == pytest.approx(1.0)
    assert {layer["stride_ms"] for layer in result["layers"]} == {20.0, 40.0}
    metrics, course = rows(finished / "metrics.csv"), rows(finished / "weights.csv")
    assert [row["step"] for row in metrics] == [row["step"] for row in course] == ["20", "40", "60"]
    assert float(metrics[-1]["loss"]) < float(metrics[0]["loss"])
    assert len((finished / "predictions-test.jsonl").read_text().splitlines()) == 24
    best = next(row for row in course if int(row["step"]) == result["best_step"])
    assert [float(best[layer["name"]]) for layer in result["layers"]] == pytest.approx(weights)


def test_a_finished_run_is_served_and_can_be_scored_again(finished: Path, inputs: ProbeInputs) -> None:
    stamp = (finished / "result.json").stat().st_mtime_ns
    assert train_probe(inputs, CONFIG, finished) == read_json(finished / "result.json")
    assert (finished / "result.json").stat().st_mtime_ns == stamp
    assert evaluate_run(finished, "test") == read_json(finished / "result.json")["test"]["test"]
    with pytest.raises(InputError, match="no split 'other'"):
        evaluate_run(finished, "other")


def test_another_run_is_not_overwritten(finished: Path, inputs: ProbeInputs) -> None:
    with pytest.raises(InputError, match="another seed"):
        train_probe(inputs, ProbeConfig(**{**vars(CONFIG), "seed": 1}), finished)


def test_a_corpus_of_another_task_is_refused(inputs: ProbeInputs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is for ks, not for ic"):
        train_probe(ProbeInputs("ic", inputs.model, inputs.corpus), CONFIG, tmp_path / "run")


def test_a_stopped_run_goes_on_to_the_same_numbers(
    finished: Path, inputs: ProbeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = training._write_history, []

    def stops(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError("stopped")
        real(*given)

    monkeypatch.setattr(training, "_write_history", stops)
    with pytest.raises(RuntimeError, match="stopped"):
        train_probe(inputs, CONFIG, tmp_path / "ks")
    monkeypatch.setattr(training, "_write_history", real)
    assert not (tmp_path / "ks/result.json").exists()
    train_probe(inputs, CONFIG, tmp_path / "ks")
    for name in ("metrics.csv", "weights.csv", "predictions-test.jsonl"):
        assert (tmp_path / "ks" / name).read_bytes() == (finished / name).read_bytes()
    one, other = (read_json(folder / "result.json") for folder in (finished, tmp_path / "ks"))
    assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in other.items() if k != "seconds"}


def test_without_room_for_a_cache_the_states_are_made_anew(finished: Path, inputs: ProbeInputs, tmp_path: Path) -> None:
    config = ProbeConfig(**{**vars(CONFIG), "cache_gigabytes": 1e-6})
    result = train_probe(ProbeInputs("ks", inputs.model, inputs.corpus), config, tmp_path / "ks")
    assert not result["cached"]
    reference = read_json(finished / "result.json")
    assert result["dev"]["accuracy"] == pytest.approx(reference["dev"]["accuracy"], abs=0.05)
    live = [layer["weight"] for layer in result["layers"]]
    assert live == pytest.approx([layer["weight"] for layer in reference["layers"]], abs=1e-3)


def test_a_stopped_run_without_a_cache_has_the_norms_of_all_states(
    finished: Path, inputs: ProbeInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between its last step and its result, so that nothing is trained any more."""
    config = replace(CONFIG, cache_gigabytes=1e-6, set=("steps=4", "evaluate_every=4", "batch_size=16"))

    def stops(*_: Any) -> None:
        raise RuntimeError("stopped")

    monkeypatch.setattr(training, "_finish", stops)
    with pytest.raises(RuntimeError, match="stopped"):
        train_probe(replace(inputs, cache=""), config, tmp_path / "ks")
    monkeypatch.undo()
    torch.set_num_threads(1)
    result = train_probe(replace(inputs, cache=""), config, tmp_path / "ks")
    norms = [layer["mean_norm"] for layer in result["layers"]]
    assert norms == pytest.approx(
        [layer["mean_norm"] for layer in read_json(finished / "result.json")["layers"]], rel=1e-3
    )


def test_layers_that_are_added_up_as_they_appear_train_the_same_probe(model: Path, tmp_path: Path) -> None:
    """Speech recognition, whose states are not pooled: nothing cached, with all layers in memory and one at a time."""
    corpus = spoken(tmp_path / "corpus")
    settings = ("steps=6", "evaluate_every=3", "batch_size=4", "width=16", "hidden=16", "dropout=0.0")
    results = []
    for name, memory in (("all", 4.0), ("one", 1e-6)):
        config = ProbeConfig(set=settings, cache_gigabytes=1e-6, memory_gigabytes=memory)
        result = train_probe(ProbeInputs("asr", str(model), str(corpus)), config, tmp_path / name)
        assert not result["cached"]
        assert [problem["cut"] for problem in result["problems"]] == ["train-short"]
        results.append((result, rows(tmp_path / name / "metrics.csv"), rows(tmp_path / name / "weights.csv")))
    (one, metrics, course), (other, metrics_too, course_too) = results
    assert float(metrics_too[-1]["loss"]) == pytest.approx(float(metrics[-1]["loss"]), rel=1e-4)
    assert list(course[-1].values()) != list(course[0].values())
    for before, after in zip(course, course_too, strict=True):
        assert list(map(float, after.values())) == pytest.approx(list(map(float, before.values())), rel=1e-4)
    norms = ([layer["mean_norm"] for layer in result["layers"]] for result in (one, other))
    assert next(norms) == pytest.approx(next(norms), rel=1e-5)


def spoken(folder: Path) -> Path:
    """Noises with a text, and one that is too short for a frame."""
    import soundfile
    from lhotse import MonoCut, Recording, SupervisionSegment

    from speechstrata.superb.corpora.probe_corpus import write_probe_corpus

    rng = np.random.default_rng(0)
    folder.mkdir()

    def cut(name: str, seconds: float) -> MonoCut:
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.normal(size=round(seconds * 16_000)), 16_000)
        recording = Recording.from_file(folder / f"{name}.wav")
        supervision = SupervisionSegment(name, name, 0.0, recording.duration, text="a b")
        return MonoCut(name, 0.0, recording.duration, 0, supervisions=[supervision], recording=recording)

    splits = {
        split: [cut(f"{split}{n}", rng.uniform(0.5, 1.0)) for n in range(8)] for split in ("train", "dev", "test")
    }
    splits["train"].append(cut("train-short", 0.02))
    about = {"licence": "", "source": "", "description": "Noises."}
    write_probe_corpus(folder, task="asr", name="noises", splits=splits, mini=True, **about)
    return folder


def test_a_single_run_and_a_sweep_do_not_share_a_folder(finished: Path, inputs: ProbeInputs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a single run"):
        sweep(inputs, CONFIG, [0.1], finished)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(InputError, match="holds a sweep"):
        train_probe(inputs, CONFIG, tmp_path)


def test_a_sweep_keeps_the_best_on_dev_and_says_so(inputs: ProbeInputs, tmp_path: Path) -> None:
    config = ProbeConfig(set=("steps=20", "evaluate_every=20"))
    result = sweep(inputs, config, [1e-7, 1e-2], tmp_path / "sweep")
    assert result["sweep"]["chosen"] == 1e-2
    assert set(result["sweep"]["dev"]) == {"1e-07", "0.01"}
    assert read_json(tmp_path / "sweep/result.json") == result


class Planted:
    """States of noise, but that one layer holds the label."""

    def __init__(self, targets: list[int], layer: int) -> None:
        rng = np.random.default_rng(0)
        self.states = rng.normal(size=(len(targets), 1, 4, 8)).astype(np.float32)
        self.states[np.arange(len(targets)), 0, layer, targets] += 2.0

    def batch(self, numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.states[list(numbers)]), torch.ones(len(numbers), dtype=torch.long)


@pytest.mark.parametrize("layer", [0, 2])
def test_a_label_planted_in_one_layer_draws_the_weight_there(layer: int) -> None:
    from speechstrata.encoders.base import Layer

    task = load_task("ks")
    keywords = ["a", "b", "c"]
    truth = [number % 3 for number in range(120)]
    source = Planted(truth, layer)
    layers = tuple(Layer(f"T{n}", 320, 0.0, 8, "transformer") for n in range(4))
    labels = {"keywords": keywords}
    recipe = recipe_of(task, ProbeConfig(set=("learning_rate=0.02",)), mini_corpus=True)
    probe = Probe(task, labels, recipe, LayerChoice(layers, layers[0], 16_000), seed=0)
    optimizer = torch.optim.Adam(probe.parameters(), lr=recipe.learning_rate)
    states, lengths = source.batch(list(range(120)))
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(probe(states, lengths), lengths, [keywords[t] for t in truth], labels).backward()
        optimizer.step()
    weights = probe.featurizer.weights
    assert int(weights.argmax()) == layer
    assert float(weights[layer].detach()) > 0.5


def test_a_gradient_that_is_not_finite_changes_nothing_and_is_counted() -> None:
    from speechstrata.encoders.base import Layer

    task, labels = load_task("ks"), {"keywords": ["a", "b"]}
    layer = Layer("T1", 320, 0.0, 8, "transformer")
    recipe = recipe_of(task, ProbeConfig(), mini_corpus=True)
    probe = Probe(task, labels, recipe, LayerChoice((layer,), layer, 16_000), seed=0)
    module = ProbeModule(probe, task, labels, recipe, seed=0)
    optimizer = module.configure_optimizers()
    before = {name: value.clone() for name, value in probe.state_dict().items()}
    for parameter in probe.parameters():
        parameter.grad = torch.full_like(parameter, float("nan"))
    module.configure_gradient_clipping(optimizer)
    optimizer.step()
    assert module.skipped == 1
    assert all(torch.equal(value, before[name]) for name, value in probe.state_dict().items())


def test_a_recipe_is_scaled_changed_and_checked() -> None:
    task = load_task("ks")
    assert recipe_of(task, ProbeConfig(), mini_corpus=False) == task.published
    assert recipe_of(task, ProbeConfig(recipe="published"), mini_corpus=True) == task.published
    small = recipe_of(task, ProbeConfig(budget=0.01, set=("learning_rate=0.5",)), mini_corpus=False)
    assert (small.steps, small.evaluate_every, small.learning_rate) == (2_000, 50, 0.5)
    with pytest.raises(InputError, match="no setting 'speed'"):
        recipe_of(task, ProbeConfig(set=("speed=1",)), mini_corpus=True)
    with pytest.raises(InputError, match="no int"):
        recipe_of(task, ProbeConfig(set=("steps=many",)), mini_corpus=True)
    with pytest.raises(InputError, match="budget"):
        recipe_of(task, ProbeConfig(budget=0.0), mini_corpus=True)
    for setting in ("batch_size=0", "steps=-5", "learning_rate=nan", "optimizer=sgd"):
        with pytest.raises(InputError, match=setting.partition("=")[0]):
            recipe_of(task, ProbeConfig(set=(setting,)), mini_corpus=True)


def test_a_metric_that_does_not_exist_cannot_pick(inputs: ProbeInputs, tmp_path: Path) -> None:
    config = ProbeConfig(set=("steps=1", "evaluate_every=1", "pick=fluency"))
    with pytest.raises(InputError, match="no 'fluency'"):
        train_probe(inputs, config, tmp_path / "ks")


def test_predictions_come_in_the_order_of_the_examples(finished: Path, inputs: ProbeInputs) -> None:
    from speechstrata.superb.setting import Setting
    from speechstrata.superb.training import load_probe

    setting = Setting(inputs, CONFIG, Path(inputs.cache))
    dev = setting.split("dev")
    probe = load_probe(setting, finished)
    whole = predictions(probe, dev, setting.recipe)
    assert [row["id"] for row in whole] == dev.ids
    chosen = np.array([1, 5, 20])
    assert predictions(probe, dev, setting.recipe, chosen) == [whole[number] for number in chosen]
