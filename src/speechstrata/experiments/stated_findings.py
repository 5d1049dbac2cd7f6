"""The paper's three findings as statistics, stated beforehand."""

import numpy as np

from speechstrata.experiments.curves import prominence
from speechstrata.experiments.grids import Grid, Need, NotMeasured, Setting, probe_grid, score_grid
from speechstrata.experiments.statements import (
    B2A,
    B4A,
    B5A,
    BASE,
    NEITHER,
    SCORE_MARGIN,
    TASK_METRICS,
    Claim,
    Statement,
    early_peak_difference,
    margin_of,
    middle_difference,
    task_difference,
)

#: What decides the findings about content: phones, words, meaning, sentences.
DECISIVE_SCORES = ("cca-phone", "cca-word", "cca-glove", "spoken-sts")
#: Other measures of the same, and what readers will ask for.
FURTHER_SCORES = ("cca-agwe", "mi-phone", "mi-word", "cka-phone", "cka-word", "probe-phone", "abx-phone")
ALL = (*DECISIVE_SCORES, *FURTHER_SCORES)


def _content() -> tuple[Statement, ...]:
    pairs = (("aux", BASE, B5A, "with the auxiliary loss"), ("no-aux", B4A, NEITHER, "without the auxiliary loss"))
    compared = tuple(
        middle_difference(
            f"middle-{score}-{name}",
            score,
            Need(cell),
            Need(other),
            "zero",
            decisive=score in DECISIVE_SCORES,
            what=f"downsampling, {what}",
        )
        for name, cell, other, what in pairs
        for score in ALL
    )
    return (*compared, _meaning())


def _meaning() -> Statement:
    """Whether downsampling adds to what GloVe scores have beyond word identity."""
    needs = (Need(BASE), Need(BASE, "", "vectors-permuted"), Need(B5A), Need(B5A, "", "vectors-permuted"))

    def beyond(setting: Setting) -> Grid:
        from speechstrata.experiments.curves import block_mean

        return score_grid(
            setting,
            "cca-glove",
            needs,
            lambda a, a0, b, b0: (
                (block_mean(a.curve, a.blocks) - block_mean(a0.curve, a0.blocks))
                - (block_mean(b.curve, b.blocks) - block_mean(b0.curve, b0.blocks))
            ),
        )

    return Statement(
        id="middle-cca-glove-beyond-identity",
        name="middle block, cca-glove beyond word identity: downsampling, with the auxiliary loss",
        definition="cca-glove less the same with the vectors permuted over the word types, mean over the middle "
        f"block's Transformer outputs; {BASE} less {B5A}.",
        unit="cca-glove",
        expected="zero",
        margin=SCORE_MARGIN,
        measure=beyond,
        decisive=False,
        by_corpus=True,
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
            what=f"downsampling, {what}",
        )
        for name, cell, other, what in (
            ("aux", BASE, B5A, "with the auxiliary loss"),
            ("no-aux", B4A, NEITHER, "without the auxiliary loss"),
        )
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
    pairs = (("down", BASE, B4A, "with downsampling"), ("same", B5A, NEITHER, "without downsampling"))
    peaks = tuple(
        early_peak_difference(
            f"early-peak-{score}-{name}",
            score,
            cell,
            other,
            decisive=score == "cca-word",
            what=f"auxiliary loss, {what}",
        )
        for name, cell, other, what in pairs
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
            what=f"auxiliary loss, {what}",
        )
        for name, cell, other, what in pairs
        for task, metric in TASK_METRICS
    )
    return (
        *peaks,
        *tasks,
        *(_prominence(name, cell, other, what) for name, cell, other, what in pairs),
        _interaction(),
        _task_interaction(),
    )


def _prominence(name: str, cell: str, other: str, what: str) -> Statement:
    score = "cca-word"
    return Statement(
        id=f"prominence-{score}-{name}",
        name=f"prominence of the early peak, {score}: auxiliary loss, {what}",
        definition=f"How far {score} falls from its highest Transformer output in the first two thirds to the lowest "
        f"on the way to its highest in the last third; {cell} less {other}.",
        unit=score,
        expected="positive",
        margin=None,
        measure=lambda setting: score_grid(
            setting, score, (Need(cell), Need(other)), lambda a, b: prominence(a.curve) - prominence(b.curve)
        ),
        decisive=False,
        by_corpus=True,
    )


def _interaction() -> Statement:
    from speechstrata.experiments.curves import early_peak

    score = "cca-word"
    return Statement(
        id=f"interaction-early-peak-{score}",
        name=f"height of the early peak, {score}: auxiliary loss by downsampling",
        definition=f"What the auxiliary loss adds to the early peak with downsampling ({BASE} less {B4A}), less what "
        f"it adds without ({B5A} less {NEITHER}).",
        unit=score,
        expected="zero",
        margin=margin_of(score),
        measure=lambda setting: score_grid(
            setting,
            score,
            tuple(map(Need, (BASE, B4A, B5A, NEITHER))),
            lambda a, b, c, d: (
                early_peak(a.curve, a.blocks)
                - early_peak(b.curve, b.blocks)
                - early_peak(c.curve, c.blocks)
                + early_peak(d.curve, d.blocks)
            ),
        ),
        decisive=False,
        by_corpus=True,
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
