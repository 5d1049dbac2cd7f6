"""The recipe of one run: a task's own, scaled by the budget, with single settings changed."""

from dataclasses import fields, replace
from typing import Any, get_args

from speechstrata.errors import InputError
from speechstrata.superb.config import ProbeConfig
from speechstrata.superb.task import Optimizer, ProbeTask, Recipe


def recipe_of(task: ProbeTask, config: ProbeConfig, *, mini_corpus: bool) -> Recipe:
    """The recipe that a run with ``config`` follows.

    Raises:
        InputError: a setting that does not exist, cannot be read or makes no sense, or a budget that leaves no step.
    """
    mini = config.recipe == "mini" or (config.recipe == "auto" and mini_corpus)
    recipe = task.mini if mini else task.published
    for setting in config.set:
        recipe = _changed(recipe, setting)
    for name in ("steps", "evaluate_every", "batch_size", "accumulation", "width", "learning_rate"):
        if not getattr(recipe, name) > 0:
            raise InputError(f"{name} = {getattr(recipe, name)} makes no sense in a recipe", "give a positive number")
    if recipe.optimizer not in get_args(Optimizer):
        raise InputError(f"there is no optimizer {recipe.optimizer!r} here", f"one of {', '.join(get_args(Optimizer))}")
    if not config.budget > 0:
        raise InputError(f"budget = {config.budget} leaves no step", "give a share of the recipe's steps, such as 0.1")
    steps = max(1, round(recipe.steps * config.budget))
    every = min(steps, max(1, round(recipe.evaluate_every * config.budget)))
    return replace(recipe, steps=-(-steps // every) * every, evaluate_every=every)


def _changed(recipe: Recipe, setting: str) -> Recipe:
    name, _, text = setting.partition("=")
    kinds = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    if name not in kinds:
        raise InputError(f"a recipe has no setting {name!r}", f"one of {', '.join(kinds)}")
    value: Any
    try:
        value = {"true": True, "false": False}[text.lower()] if kinds[name] is bool else kinds[name](text)
    except (KeyError, ValueError) as error:
        raise InputError(f"{setting!r}: {text!r} is no {kinds[name].__name__}", "write NAME=VALUE") from error
    return replace(recipe, **{name: value})
