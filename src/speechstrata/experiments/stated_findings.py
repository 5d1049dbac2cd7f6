"""The paper's three findings as statistics, stated beforehand."""

import numpy as np

from speechstrata.experiments.curves import prominence
from speechstrata.experiments.grids import Grid, Need, NotMeasured, Setting, probe_grid
from speechstrata.experiments.statements import (
    AUXILIARY_LOSS,
    B2A,
    B4A,
    B5A,
    BASE,
    DOWNSAMPLING,
    NEITHER,
    SCORE_MARGIN,
    TASK_METRICS,
    Claim,
    Statement,
    early_peak_difference,
    margin_of,
    middle_difference,
    middle_of,
    peak_of,
    score_statement,
    task_difference,
)

#: What decides the findings about content: phones, words, meaning, sentences.
DECISIVE_SCORES = ("cca-phone", "cca-word", "cca-glove", "spoken-sts")
#: Other measures of the same, and what readers will ask for.
FURTHER_SCORES = ("cca-agwe", "mi-phone", "mi-word", "cka-phone", "cka-word", "probe-phone", "abx-phone")
ALL = (*DECISIVE_SCORES, *FURTHER_SCORES)


def _content() -> tuple[Statement, ...]:
    compared = tuple(
        middle_difference(
            f"middle-{score}-{name}",
            score,
            Need(cell),
            Need(other),
            "zero",
            decisive=score in DECISIVE_SCORES,
            what=what,
        )
        for name, cell, other, what in DOWNSAMPLING
        for score in ALL
    )
    return (*compared, _meaning())


def _meaning() -> Statement:
    """Whether downsampling adds to what GloVe scores have beyond word identity."""
    return score_statement(
        "middle-cca-glove-beyond-identity",
        "middle block, cca-glove beyond word identity: downsampling, with the auxiliary loss",
        "cca-glove less the same with the vectors permuted over the word types, mean over the middle block's "
        f"Transformer outputs; {BASE} less {B5A}.",
        "cca-glove",
        [Need(cell, "", variant) for cell in (BASE, B5A) for variant in ("", "vectors-permuted")],
        lambda a, a0, b, b0: (middle_of(a) - middle_of(a0)) - (middle_of(b) - middle_of(b0)),
        "zero",
        margin=SCORE_MARGIN,
    )


def _efficiency() -> tuple[Statement, ...]:
    paired = tuple(
        task_difference(
            f"task-{task}-{metric.replace('_', '-')}-{name}",
            task,
            metric,
            cell,
            other,
            effect=False,
            decisive=name == "aux",
            what=what,
        )
        for name, cell, other, what in DOWNSAMPLING
        for task, metric in TASK_METRICS
    )
    costs = (
        _cost("cost-macs", BASE, B5A, "two resolutions against one", decisive=True),
        _cost("cost-macs-three", B2A, B5A, "three resolutions against one", decisive=False),
    )
    return (*costs, *paired)


def _cost(id_: str, cell: str, other: str, what: str, *, decisive: bool) -> Statement:
    def measure(setting: Setting) -> Grid:
        if cell not in setting.macs or other not in setting.macs:
            raise NotMeasured(f"no cost of {cell} and {other}")
        ratio = np.log(setting.macs[cell] / setting.macs[other])
        return Grid(np.array([ratio]), ("configurations",), (), (f"cost.csv: {cell}, {other}",))

    return Statement(
        id=id_,
        name=f"multiply-accumulates per second of audio: {what}",
        definition=f"Log of the ratio of MACs for ten seconds of audio, {cell} to {other}.",
        unit="log ratio",
        expected="negative",
        margin=None,
        measure=measure,
        decisive=decisive,
        exact=True,
    )


def _early_peak() -> tuple[Statement, ...]:
    peaks = tuple(
        early_peak_difference(
            f"early-peak-{score}-{name}",
            score,
            cell,
            other,
            decisive=score == "cca-word",
            what=what,
        )
        for name, cell, other, what in AUXILIARY_LOSS
        for score in ALL
    )
    tasks = tuple(
        task_difference(
            f"task-{task}-{metric.replace('_', '-')}-{name}",
            task,
            metric,
            cell,
            other,
            effect=True,
            decisive=task == "asr",
            what=what,
        )
        for name, cell, other, what in AUXILIARY_LOSS
        for task, metric in TASK_METRICS
    )
    return (
        *peaks,
        *tasks,
        *(_prominence(name, cell, other, what) for name, cell, other, what in AUXILIARY_LOSS),
        _interaction(),
        _task_interaction(),
    )


def _prominence(name: str, cell: str, other: str, what: str) -> Statement:
    score = "cca-word"
    return score_statement(
        f"prominence-{score}-{name}",
        f"prominence of the early peak, {score}: {what}",
        f"How far {score} falls from its highest Transformer output in the first two thirds to the lowest on the way "
        f"to its highest in the last third; {cell} less {other}.",
        score,
        (Need(cell), Need(other)),
        lambda a, b: prominence(a.curve) - prominence(b.curve),
        "positive",
    )


def _interaction() -> Statement:
    score = "cca-word"
    return score_statement(
        f"interaction-early-peak-{score}",
        f"height of the early peak, {score}: auxiliary loss by downsampling",
        f"What the auxiliary loss adds to the early peak with downsampling ({BASE} less {B4A}), less what it adds "
        f"without ({B5A} less {NEITHER}).",
        score,
        tuple(map(Need, (BASE, B4A, B5A, NEITHER))),
        lambda a, b, c, d: peak_of(a) - peak_of(b) - peak_of(c) + peak_of(d),
        "zero",
        margin=margin_of(score),
    )


def _task_interaction() -> Statement:
    def difference(a: float, b: float, c: float, d: float) -> float:
        return float(np.log(a / b) - np.log(c / d))

    return Statement(
        id="interaction-task-asr-wer",
        name="ASR word error rate: auxiliary loss by downsampling",
        definition=f"Log ratio of the test word error rates of {BASE} and {B4A}, less that of {B5A} and {NEITHER}.",
        unit="log ratio",
        expected="zero",
        margin=TASK_METRICS["asr", "wer"][2],
        measure=lambda setting: probe_grid(
            setting, "asr", "wer", tuple(map(Need, (BASE, B4A, B5A, NEITHER))), difference
        ),
        decisive=False,
    )


def findings() -> tuple[Claim, ...]:
    """The three findings, in the paper's order."""
    return (
        Claim(
            "1",
            "Layers that run at a lower resolution hold no more about phones, words, meaning or sentences than the "
            "same layers without downsampling.",
            "section 3.1",
            _content(),
        ),
        Claim(
            "2",
            "Downsampling makes the model cheaper and leaves downstream performance as it is.",
            "section 3.2",
            _efficiency(),
        ),
        Claim(
            "3",
            "The auxiliary loss, not downsampling, makes the early peak and the better speech recognition.",
            "section 3.3",
            _early_peak(),
        ),
    )
