"""Recipes: what is packaged, how they build on each other, and what is refused."""

from pathlib import Path

import pytest
import yaml

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.named import NAMED, named_config
from speechstrata.pretraining.recipes import config_from, load_recipe, recipe_names, recipe_text


@pytest.mark.parametrize("name", recipe_names())
def test_every_packaged_recipe_loads_and_names_a_network(name: str) -> None:
    config = load_recipe(name)
    assert config.name == name
    assert config.about
    settings = dict(config.model)
    NetworkConfig.from_dict(named_config(settings.pop("name")).to_dict() | settings)


def test_there_is_a_recipe_for_every_model_of_the_paper() -> None:
    published = {name for name in NAMED if not name.startswith("tiny")}
    assert published <= {load_recipe(name).model["name"] for name in recipe_names()}


@pytest.mark.parametrize(
    ("name", "batches", "seconds", "peak", "clip", "steps"),
    [
        ("mrhubert-base", 32, 62.5, 5e-4, 10.0, 400_000),
        ("hubert-base", 32, 87.5, 5e-4, 10.0, 400_000),
        ("hubert-base-it1", 32, 87.5, 5e-4, 10.0, 250_000),
        ("mrhubert-large", 384, 18.75, 1.5e-3, 1.0, 400_000),
        ("hubert-large", 128, 56.25, 1.5e-3, 1.0, 400_000),
        ("small-pre", 32, 62.5, 5e-4, 10.0, 40_000),
    ],
)
def test_published_values(name: str, batches: int, seconds: float, peak: float, clip: float, steps: int) -> None:
    config = load_recipe(name)
    assert (config.data.batches_per_step, config.data.batch_seconds) == (batches, seconds)
    assert (config.optimizer.learning_rate, config.optimizer.clip_norm, config.optimizer.steps) == (peak, clip, steps)
    assert (config.data.minimum_seconds, config.data.maximum_seconds) == (2.0, 250_000 / 16_000)
    assert config.optimizer.warmup_steps / config.optimizer.steps in (0.08, 32 / 250)


def test_a_file_lists_only_what_differs_and_overrides_come_last(tmp_path: Path) -> None:
    (tmp_path / "below.yaml").write_text("base: mrhubert-base\ndata: {batch_seconds: 30.0}\n")
    (tmp_path / "mine.yaml").write_text(f"base: {tmp_path / 'below.yaml'}\nmodel: {{dropout: 0.0}}\n")
    config = load_recipe(tmp_path / "mine.yaml", ["optimizer.learning_rate=1e-3", "data.targets=[a, b]", "seed=7"])
    assert config.name == "mine"
    assert config.model == {"name": "mrhubert-base", "dropout": 0.0}
    assert (config.data.batch_seconds, config.data.batches_per_step) == (30.0, 32)
    assert (config.optimizer.learning_rate, config.data.targets, config.seed) == (1e-3, ("a", "b"), 7)
    assert config_from(yaml.safe_load(recipe_text(config)), "again") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.steps=many", "optimizer.steps"),
        ("optimiser.steps=3", "optimiser"),
        ("optimizer.steps", "section.key=value"),
        ("run.checkpoint_every=250", "run.checkpoint_every = 250 is not a multiple of run.log_every = 100"),
        ("run.validate_every=1500", "not a multiple of run.checkpoint_every"),
        ("optimizer.steps=7000", "not a multiple of run.validate_every"),
        ("optimizer.warmup_steps=400001", "warmup_steps"),
        ("data.batch_seconds=0", "data.batch_seconds"),
        ("data.batch_seconds=3.0", "data.maximum_seconds"),
        ("data.validation_share=1.0", "leave nothing"),
        ("data.cache=ram", "data.cache"),
    ],
)
def test_values_that_cannot_be_used_are_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe("mrhubert-base", [override])


def test_files_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of: b1-a"):
        load_recipe("nothing")
    path = tmp_path / "circle.yaml"
    path.write_text(f"base: {path}\n")
    with pytest.raises(InputError, match="circle"):
        load_recipe(path)
    path.write_text("- a list\n")
    with pytest.raises(InputError, match="holds list"):
        load_recipe(path)
    path.write_text("a: [\n")
    with pytest.raises(InputError, match="not valid YAML"):
        load_recipe(path)
    path.write_text("seed: 1\n")
    with pytest.raises(InputError, match=r"model\.name"):
        load_recipe(path)
