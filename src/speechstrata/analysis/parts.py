"""How rows are split into the ten parts of cross-validation, and which parts a trial tests on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechstrata.analysis.moments import as_labels
from speechstrata.errors import InputError, TooFewSamplesError

#: The published grid of ridge terms (eps_x, eps_y), and the one for data on which it does not factorise.
RIDGES = (1e-10, 1e-11, 1e-9)
LARGER_RIDGES = (1e-8, 1e-7, 1e-6, 1e-5)


@dataclass(frozen=True)
class TrialPlan:
    """One trial: the parts held out, and the ridge terms to try, in order.

    Attributes:
        dev: the part that selects the ridge terms.
        test: the part that gives the score; all other parts are for training.
        ridges: (eps_x, eps_y) candidates; the first few that factorise are tried.
    """

    dev: int
    test: int
    ridges: tuple[tuple[float, float], ...]


def plan_trials(rng: np.random.Generator, *, n_parts: int = 10, n_trials: int = 3) -> tuple[TrialPlan, ...]:
    """Trials with disjoint development and test parts, and the published grids in a random order.

    Raises:
        InputError: there are fewer than ``2 x n_trials`` + 1 parts.
    """
    if n_parts < 2 * n_trials + 1 or n_trials < 1:
        raise InputError(
            f"{n_trials} trials with parts of their own cannot be made of {n_parts} parts",
            "use at least one trial, and more than twice as many parts as trials",
        )
    order = rng.permutation(n_parts)
    plans = []
    for trial in range(n_trials):
        ridges: list[tuple[float, float]] = []
        for grid in (RIDGES, LARGER_RIDGES):
            pairs = list(product(grid, grid))
            ridges += [pairs[i] for i in rng.permutation(len(pairs))]
        plans.append(TrialPlan(int(order[2 * trial]), int(order[2 * trial + 1]), tuple(ridges)))
    return tuple(plans)


def random_parts(n: int, rng: np.random.Generator, *, n_parts: int = 10) -> NDArray[np.intp]:
    """The part of each of n rows, (n,); sizes differ by at most one."""
    return rng.permutation(np.arange(n) % n_parts)


def stratified_parts(labels: ArrayLike, rng: np.random.Generator, *, n_parts: int = 10) -> NDArray[np.intp]:
    """The part of each row, so that the rows of every label are spread evenly over the parts.

    Any two parts differ by at most one row in every label, and by at most one row in all.

    Args:
        labels: (n,) integers.
        rng: for the order of the rows within a label, and of the parts.
        n_parts: number of parts.
    """
    values, _ = as_labels(labels)
    # Sorted by label (at random within it), rows are dealt to the parts like cards, round and round.
    order = np.lexsort((rng.random(len(values)), values))
    parts = np.empty(len(values), dtype=np.intp)
    parts[order] = rng.permutation(n_parts)[np.arange(len(values)) % n_parts]
    return parts


def grouped_parts(groups: ArrayLike, rng: np.random.Generator, *, n_parts: int = 10) -> NDArray[np.intp]:
    """The part of each row, so that no group (a word type, a speaker) is in two parts.

    Groups are dealt in order of size, the largest first, each to the part that has the fewest rows so far.

    Args:
        groups: (n,) integers.
        rng: for the order of groups of one size, and of the parts.
        n_parts: number of parts.

    Raises:
        TooFewSamplesError: there are fewer groups than parts.
    """
    values, n_groups = as_labels(groups)
    sizes = np.bincount(values, minlength=n_groups)
    present = np.flatnonzero(sizes)
    if len(present) < n_parts:
        raise TooFewSamplesError(
            f"{len(present)} groups cannot be split into {n_parts} parts", "use more groups or fewer parts"
        )
    order = present[np.lexsort((rng.random(len(present)), -sizes[present]))]
    part_of = np.empty(n_groups, dtype=np.intp)
    filled = np.zeros(n_parts, dtype=np.int64)
    names = rng.permutation(n_parts)
    for group in order:
        lightest = int(filled.argmin())
        part_of[group] = names[lightest]
        filled[lightest] += sizes[group]
    return part_of[values]
