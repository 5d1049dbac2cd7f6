"""What a claim is tested by, stated before anything is measured: definitions, expectations and margins."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from speechstrata.experiments.curves import block_mean, early_peak
from speechstrata.experiments.grids import Grid, Need, Profile, Setting, probe_grid, score_grid
from speechstrata.experiments.published import published_metric
from speechstrata.experiments.verdicts import Expected

#: Differences of scores that count as none. The paper reads its curves by eye, where .03 is about two marks wide.
SCORE_MARGIN = 0.03
#: Spearman's rho over some hundred pairs spreads more.
STS_MARGIN = 0.05

#: (task, metric): (heading, log ratio instead of difference, margin, higher is better). The margins lie above what the
#: paper calls no difference (Table 2, base and B5-a) and, for WER, at half of what it calls an effect (B4-a).
TASK_METRICS: dict[tuple[str, str], tuple[str, bool, float, bool]] = {
    ("asr", "wer"): ("ASR word error rate", True, 0.04, False),
    ("sf", "slot_type_f1"): ("SF slot-type F1", False, 0.02, True),
    ("sf", "slot_value_cer"): ("SF slot-value CER", True, 0.10, False),
    ("se", "stoi"): ("SE STOI", False, 0.01, True),
    ("se", "pesq"): ("SE PESQ", False, 0.05, True),
    ("ic", "accuracy"): ("IC accuracy", False, 0.01, True),
    ("ks", "accuracy"): ("KS accuracy", False, 0.01, True),
    ("sd", "accuracy"): ("SD frame accuracy", False, 0.01, True),
}

BASE, B2A, B4A, B5A, NEITHER, HUBERT = "mrhubert-base", "b2-a", "b4-a", "b5-a", "neither", "hubert"
#: The sides of the 2 x 2: (name, cell, the cell that lacks it, in words).
DOWNSAMPLING = (
    ("aux", BASE, B5A, "downsampling, with the auxiliary loss"),
    ("no-aux", B4A, NEITHER, "downsampling, without the auxiliary loss"),
)
AUXILIARY_LOSS = (
    ("down", BASE, B4A, "auxiliary loss, with downsampling"),
    ("same", B5A, NEITHER, "auxiliary loss, without downsampling"),
)


@dataclass(frozen=True)
class Statement:
    """One statistic.

    Attributes:
        id: unique within the reproduction.
        name: for people.
        definition: what is computed, exactly.
        unit: of its value.
        expected: by the claim.
        margin: what counts as no difference; None where the claim is of a direction and smallness refutes nothing.
        measure: gives its values; raises ``NotMeasured``.
        decisive: whether the claim's verdict depends on it.
        by_corpus: computed from scores, and so on every corpus.
        exact: follows from the configurations; nothing varies.
        sensitivity: how far a trained model is from random weights, in the statistic's unit: where that is less than
            the margin, no difference between trained models means nothing.
        published: the same from the paper's own numbers.
        published_source: where they stand.
    """

    id: str
    name: str
    definition: str
    unit: str
    expected: Expected
    margin: float | None
    measure: Callable[[Setting], Grid]
    decisive: bool = True
    by_corpus: bool = False
    exact: bool = False
    sensitivity: Callable[[Setting], Grid] | None = None
    published: float | None = None
    published_source: str | None = None


@dataclass(frozen=True)
class Claim:
    """A claim of the paper (or of ours, where ``source`` says so) with the statistics that decide it."""

    id: str
    claim: str
    source: str
    statements: tuple[Statement, ...]


def margin_of(score: str) -> float:
    """What counts as no difference of a score."""
    return STS_MARGIN if score == "spoken-sts" else SCORE_MARGIN


def middle_of(profile: Profile) -> float:
    """The mean over the Transformer outputs of the middle block."""
    return block_mean(profile.curve, profile.blocks)


def peak_of(profile: Profile) -> float:
    """The height of the early peak."""
    return early_peak(profile.curve, profile.blocks)


def score_statement(
    id_: str,
    name: str,
    definition: str,
    score: str,
    needs: Sequence[Need],
    function: Callable[..., float],
    expected: Expected,
    *,
    margin: float | None = None,
    decisive: bool = False,
    sensitivity: Callable[[Setting], Grid] | None = None,
) -> Statement:
    """A statistic of one score's curves: ``function`` of the needed models' profiles, on every corpus."""
    return Statement(
        id=id_,
        name=name,
        definition=definition,
        unit=score,
        expected=expected,
        margin=margin,
        measure=lambda setting: score_grid(setting, score, needs, function),
        decisive=decisive,
        by_corpus=True,
        sensitivity=sensitivity,
    )


def middle_difference(
    id_: str, score: str, one: Need, other: Need, expected: Expected, *, decisive: bool, what: str
) -> Statement:
    """The middle block's mean score in one model less that in another."""

    def difference(first: Profile, second: Profile) -> float:
        return middle_of(first) - middle_of(second)

    return score_statement(
        id_,
        f"middle block, {score}: {what}",
        f"Mean {score} over the Transformer outputs of the middle block, {one} less {other}.",
        score,
        (one, other),
        difference,
        expected,
        margin=margin_of(score),
        decisive=decisive,
        sensitivity=lambda setting: score_grid(setting, score, (one, Need(one.cell, "random")), difference),
    )


def same_layers_difference(
    id_: str, score: str, cell: str, other: str, expected: Expected, *, decisive: bool, what: str
) -> Statement:
    """The score over one model's middle block less that of the layers of the same numbers in another."""

    def difference(one: Profile, second: Profile) -> float:
        names = [name for name in one.curve if one.blocks.get(name) == "middle" and name in second.curve]
        like = dict.fromkeys(names, "middle")
        return block_mean(one.curve, like) - block_mean(second.curve, like)

    return score_statement(
        id_,
        f"{what}, {score}",
        f"Mean {score} over the Transformer outputs of {cell}'s middle block, less the mean over the outputs of the "
        f"same numbers in {other}.",
        score,
        (Need(cell), Need(other)),
        difference,
        expected,
        margin=margin_of(score),
        decisive=decisive,
    )


def early_peak_difference(id_: str, score: str, cell: str, other: str, *, decisive: bool, what: str) -> Statement:
    """How much higher the early peak stands with the auxiliary loss."""
    return score_statement(
        id_,
        f"height of the early peak, {score}: {what}",
        f"Best {score} of the middle block's Transformer outputs less the best of the last block's; "
        f"{cell} less {other}.",
        score,
        (Need(cell), Need(other)),
        lambda a, b: peak_of(a) - peak_of(b),
        "positive",
        margin=margin_of(score),
        decisive=decisive,
    )


def task_difference(
    id_: str, task: str, metric: str, cell: str, other: str, *, effect: bool, decisive: bool, what: str
) -> Statement:
    """A task metric with one model against another: a log ratio of error rates, a difference of other metrics.

    Args:
        id_: of the statement.
        task: of SUPERB.
        metric: as in its results.
        cell: of the model that the claim is about.
        other: of the model that it is compared with.
        effect: the claim says that ``cell`` is better; else that there is no difference.
        decisive: see :class:`Statement`.
        what: differs between the two.
    """
    heading, ratio, margin, higher = TASK_METRICS[task, metric]
    expected: Expected = "zero" if not effect else "positive" if higher else "negative"

    def compare(one: float, second: float) -> float:
        return math.log(max(one, 1e-12) / max(second, 1e-12)) if ratio else one - second

    ours, theirs = published_metric(cell, task, metric), published_metric(other, task, metric)
    return Statement(
        id=id_,
        name=f"{heading}: {what}",
        definition=f"Log of the ratio of the test {heading}, {cell} to {other}."
        if ratio
        else f"Test {heading}, {cell} less {other}.",
        unit="log ratio" if ratio else metric,
        expected=expected,
        margin=margin,
        measure=lambda setting: probe_grid(setting, task, metric, (Need(cell), Need(other)), compare),
        decisive=decisive,
        sensitivity=lambda setting: probe_grid(
            setting,
            task,
            metric,
            (Need(cell), Need(BASE, "random")),
            lambda a, b: compare(a, b) * (1 if higher else -1),
        ),
        published=None if ours is None or theirs is None else compare(ours, theirs),
        published_source=None if ours is None or theirs is None else "Table 2",
    )


def many(build: Callable[[str], Statement], scores: Sequence[str]) -> tuple[Statement, ...]:
    """One statement for each of some scores."""
    return tuple(build(score) for score in scores)
