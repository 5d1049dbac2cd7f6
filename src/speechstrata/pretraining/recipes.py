"""Recipes: YAML files that list what differs from the defaults (or from another recipe) of ``PretrainConfig``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from speechstrata.errors import InputError
from speechstrata.files import read_text
from speechstrata.pretraining.config import Intervals, PretrainConfig

_PACKAGED = resources.files("speechstrata.pretraining") / "recipes"
_BASE = "base"

#: What file systems take.
_LONGEST_NAME = 240
#: PyYAML's time grows with the square of the brackets that are open: texts with more are not read.
_LONGEST_TEXT, _MOST_BRACKETS = 1_000_000, 500


def recipe_names() -> tuple[str, ...]:
    """The packaged recipes, in alphabetical order."""
    return tuple(
        sorted(entry.name.removesuffix(".yaml") for entry in _PACKAGED.iterdir() if entry.name.endswith(".yaml"))
    )


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> PretrainConfig:
    """Read a recipe.

    A recipe may name another one under ``base``; its own values are laid over that one's.

    Args:
        name_or_path: a packaged recipe (``tiny-hubert``) or a YAML file.
        overrides: ``optimizer.steps=1000`` and the like; values are YAML.

    Raises:
        InputError: no such recipe, an unknown key, or a value of the wrong type.
    """
    values = _read(name_or_path, seen=())
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise InputError(f"cannot use the setting {override!r}", "write it as section.key=value")
        layer: Any = _parse(value, f"the setting {override[:80]!r}") if value else ""
        for part in reversed(key.split(".")):
            layer = {part: layer}
        values = _merged(values, layer)
    return config_from(values, source=str(name_or_path))


def config_from(values: Mapping[str, Any], source: str) -> PretrainConfig:
    """Build a checked ``PretrainConfig`` out of nested dictionaries.

    Raises:
        InputError: an unknown key, a value of the wrong type, or values that do not go together; names ``source``.
    """
    from jsonargparse import ArgumentParser, Namespace

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(PretrainConfig, "recipe")
    try:
        parsed: Namespace = parser.parse_object({"recipe": dict(values)})
        config: PretrainConfig = parser.instantiate_classes(parsed)["recipe"]
    except Exception as error:  # jsonargparse raises its own and argparse's errors
        raise InputError(
            f"the recipe {source} cannot be used: {error}", "see docs/pretraining.md for the keys"
        ) from error
    _check(config, source)
    return config


def recipe_text(config: PretrainConfig) -> str:
    """The whole configuration as YAML: a recipe that makes the same run again."""
    values = asdict(config)
    return str(yaml.safe_dump(_plain(values), sort_keys=False, allow_unicode=True))


def _read(name_or_path: str | Path, seen: tuple[str, ...]) -> dict[str, Any]:
    name = str(name_or_path)
    if name in seen:
        raise InputError(f"recipes build on each other in a circle: {' -> '.join([*seen, name])}", "remove one `base`")
    if len(name) > _LONGEST_NAME:
        raise InputError(f"{name[:80]!r}... is no name of a recipe", "give a packaged recipe or a YAML file")
    entry = _PACKAGED / f"{name}.yaml"
    path = Path(name)
    if entry.is_file():
        text = entry.read_text(encoding="utf-8")
    elif path.is_file():
        text = read_text(path)
    else:
        known = ", ".join(recipe_names())
        raise InputError(f"there is no recipe {name!r}", f"give a YAML file, or one of: {known}")
    values = _parse(text, name) or {}
    if not isinstance(values, dict):
        raise InputError(f"{name} holds {type(values).__name__}, not settings", "write one `key: value` a line")
    base = values.pop(_BASE, None)
    values.setdefault("name", path.stem)
    if base is None:
        return values
    return _merged(_read(base, (*seen, name)), values)


def _parse(text: str, name: str) -> Any:
    """What a YAML text says; ``name`` is for the message."""
    brackets = text.count("[") + text.count("{")
    if len(text) > _LONGEST_TEXT or brackets > _MOST_BRACKETS:
        raise InputError(
            f"{name} is no recipe: it has {len(text):,} characters and {brackets:,} opening brackets",
            f"mend it; {_LONGEST_TEXT:,} and {_MOST_BRACKETS:,} are read",
        )
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none, a huge number
        raise InputError(f"{name} is not valid YAML: {str(error)[:500]}", "mend it") from error


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``, section by section."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _plain(value: Any) -> Any:
    """Tuples as lists, which is all that YAML knows."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check(config: PretrainConfig, source: str) -> None:
    """Refuse values that do not go together."""
    run, optimizer, data = config.run, config.optimizer, config.data

    def refuse(setting: str, remedy: str) -> None:
        raise InputError(f"the recipe {source} cannot be used: {setting}", remedy)

    if "name" not in config.model:
        refuse("model.name is missing", "name one of the models of `speechstrata cost --list`")
    for value, name in [
        (run.checkpoint_every, "run.checkpoint_every"),
        (run.validate_every, "run.validate_every"),
        (run.log_every, "run.log_every"),
        (optimizer.steps, "optimizer.steps"),
        (data.batches_per_step, "data.batches_per_step"),
        (data.buckets, "data.buckets"),
        (data.batch_seconds, "data.batch_seconds"),
        (data.maximum_seconds, "data.maximum_seconds"),
    ]:
        if value <= 0:
            refuse(f"{name} = {value}", "give a positive number")
    every = Intervals.of(config)
    for value, name, unit, of in [
        (every.checkpoint, "run.checkpoint_every", every.log, "run.log_every"),
        (every.validate, "run.validate_every", every.checkpoint, "run.checkpoint_every"),
        (every.keep, "run.keep_every", every.checkpoint, "run.checkpoint_every"),
        (optimizer.steps, "optimizer.steps", every.validate, "run.validate_every"),
    ]:
        if value % unit:
            refuse(f"{name} = {value} is not a multiple of {of} = {unit}", "change one of them")
    if optimizer.warmup_steps > optimizer.steps:
        refuse(
            f"optimizer.warmup_steps = {optimizer.warmup_steps} exceeds optimizer.steps = {optimizer.steps}", "lower it"
        )
    if not 0 <= data.validation_share + data.test_share < 1:
        refuse("data.validation_share + data.test_share leave nothing to train on", "lower one of them")
    for low, high in [("minimum_seconds", "maximum_seconds"), ("maximum_seconds", "batch_seconds")]:
        if getattr(data, low) > getattr(data, high):
            refuse(f"data.{low} = {getattr(data, low)} exceeds data.{high} = {getattr(data, high)}", "lower it")
