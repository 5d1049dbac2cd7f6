"""The paper's smaller claims, and the controls that readers will ask for, as statistics stated beforehand."""

from collections.abc import Callable

import numpy as np

from speechstrata.experiments.curves import distance, transformer_outputs
from speechstrata.experiments.grids import Need, NotMeasured, Profile, probe_grid, residual_grid
from speechstrata.experiments.published import published_metric, published_table
from speechstrata.experiments.stated_weights import weight_claims
from speechstrata.experiments.statements import (
    B2A,
    B4A,
    B5A,
    BASE,
    HUBERT,
    Claim,
    Statement,
    many,
    margin_of,
    middle_difference,
    middle_of,
    same_layers_difference,
    score_statement,
)
from speechstrata.experiments.verdicts import Expected


def _nearer() -> tuple[Statement, ...]:
    scores = ("cca-word", "cca-phone", "cca-glove", "mi-word")
    curves = many(
        lambda score: score_statement(
            f"b4a-nearer-{score}",
            f"{B4A}'s distance to {HUBERT} against its distance to {BASE}, {score}",
            f"Root mean square difference of {score} over the Transformer outputs, {B4A} to {HUBERT} less {B4A} to "
            f"{BASE}.",
            score,
            tuple(map(Need, (B4A, HUBERT, BASE))),
            lambda a, h, b: distance(a.curve, h.curve) - distance(a.curve, b.curve),
            "negative",
            decisive=score == "cca-word",
        ),
        scores,
    )
    wers = [published_metric(cell, "asr", "wer") for cell in (B4A, HUBERT, BASE)]
    a, h, b = (value or float("nan") for value in wers)
    task = Statement(
        id="b4a-nearer-asr",
        name=f"{B4A}'s distance to {HUBERT} against its distance to {BASE}, ASR word error rate",
        definition=f"Absolute difference of the word error rates, {B4A} to {HUBERT} less {B4A} to {BASE}.",
        unit="wer",
        expected="negative",
        margin=None,
        measure=lambda setting: probe_grid(
            setting, "asr", "wer", tuple(map(Need, (B4A, HUBERT, BASE))), lambda a, h, b: abs(a - h) - abs(a - b)
        ),
        published=abs(a - h) - abs(a - b),
        published_source="Table 2",
    )
    return (*curves, task)


def _higher(score: str) -> Statement:
    def best(profile: Profile) -> float:
        return max(profile.curve[name] for name in transformer_outputs(list(profile.curve)))

    return score_statement(
        f"peak-{score}",
        f"highest {score}: {BASE} against {HUBERT}",
        f"Highest {score} of the Transformer outputs, {BASE} less {HUBERT}.",
        score,
        (Need(BASE), Need(HUBERT)),
        lambda a, b: best(a) - best(b),
        "positive",
        decisive=score in ("cca-word", "cca-phone"),
    )


def _convolutions(profile: Profile) -> list[float]:
    values = [value for name, value in profile.curve.items() if name.startswith("conv")]
    if len(values) < 2:
        raise NotMeasured("the front-end is log-mel: there are no convolutional layers")
    return values


def _rise(profile: Profile) -> float:
    values = _convolutions(profile)
    return values[-1] - values[0]


def _fall(profile: Profile) -> float:
    names = transformer_outputs(list(profile.curve))
    third = len(names) // 3
    middle = [profile.curve[name] for name in names[third : len(names) - third]]
    before = [value for name, value in profile.curve.items() if name.startswith("conv") or name == "projection"]
    return float(np.mean(middle)) - max(before) if middle and before else float("nan")


#: (name, statistic, what is claimed, in words) of the filterbank's course through a model.
_COURSE: tuple[tuple[str, Callable[[Profile], float], Expected, str], ...] = (
    ("rise", _rise, "positive", "last convolutional layer less the first"),
    ("fall", _fall, "negative",
     "mean of the middle third of the Transformer outputs less the highest layer before them"),
)  # fmt: skip


def _fbank() -> tuple[Statement, ...]:
    return tuple(
        score_statement(
            f"fbank-{name}-{cell}",
            f"cca-mel, {cell}: {words}",
            f"cca-mel of {cell}: {words}.",
            "cca-mel",
            (Need(cell),),
            function,
            expected,
            decisive=True,
        )
        for cell in (HUBERT, BASE)
        for name, function, expected, words in _COURSE
    )


def _resolution() -> tuple[Statement, ...]:
    """Whether what a slower block has less (or more) is what averaging a 20 ms model's states does to it."""
    pairs = (("40ms", BASE, "averaged-40ms"), ("80ms", B2A, "averaged-80ms"))
    return tuple(
        middle_difference(
            f"averaged-{name}-{score}",
            score,
            Need(cell),
            Need(B5A, control),
            "zero",
            decisive=score in ("cca-phone", "cca-word"),
            what=f"computed at {name[:-2]} ms against averaged to it",
        )
        for name, cell, control in pairs
        for score in ("cca-phone", "cca-word", "mi-phone", "probe-phone")
    )


def _three() -> tuple[Statement, ...]:
    """Three resolutions against two, on the layers of the same numbers."""
    same = many(
        lambda score: same_layers_difference(
            f"three-resolutions-{score}",
            score,
            B2A,
            BASE,
            "zero",
            decisive=score in ("cca-word", "spoken-sts"),
            what="three resolutions against two",
        ),
        ("cca-word", "cca-glove", "mi-word", "spoken-sts", "cca-mel"),
    )
    drop = many(
        lambda score: same_layers_difference(
            f"drop-80ms-{score}", score, B2A, BASE, "negative", decisive=score == "cca-phone", what="drop at 80 ms"
        ),
        ("cca-phone", "mi-phone", "cka-phone", "probe-phone", "abx-phone"),
    )
    return (*same, *drop)


def _learned() -> tuple[Statement, ...]:
    controls = (("random", "the same with random weights"), ("fbank", "that of the filterbank"))
    scores = ("cca-phone", "cca-word", "mi-phone", "mi-word", "probe-phone", "abx-phone")
    return tuple(_above(score, control, words) for control, words in controls for score in scores)


def _above(score: str, control: str, words: str) -> Statement:
    """The filterbank is one layer, and no block."""
    other = Need("", "fbank") if control == "fbank" else Need(BASE, control)

    def above(one: Profile, second: Profile) -> float:
        return middle_of(one) - (middle_of(second) if second.blocks else next(iter(second.curve.values())))

    return score_statement(
        f"above-{control}-{score}",
        f"middle block, {score}: {BASE} above {words}",
        f"Mean {score} over the Transformer outputs of {BASE}'s middle block, less {words}.",
        score,
        (Need(BASE), other),
        above,
        "positive",
        margin=margin_of(score),
        decisive=score in ("cca-phone", "cca-word"),
    )


def claims() -> tuple[Claim, ...]:
    """The smaller claims, and our controls."""
    table = published_table("table3")
    losses = dict(table.select("variant", "loss_bits").rows())
    return (
        Claim(
            "three-resolutions",
            "A third resolution changes nothing about words and sentences, and costs phones at 80 ms.",
            "section 3.1, appendix B",
            _three(),
        ),
        *weight_claims(),
        Claim(
            "b4a-like-hubert",
            "Without the auxiliary loss, MR-HuBERT is nearer to HuBERT than to MR-HuBERT, in scores and in ASR.",
            "section 3.3",
            _nearer(),
        ),
        Claim(
            "higher-peaks",
            "MR-HuBERT's highest scores are above HuBERT's for most measures.",
            "section 3.3, footnote 7",
            many(_higher, ("cca-word", "cca-phone", "cca-glove", "mi-word", "mi-phone")),
        ),
        Claim(
            "fbank-rises-then-falls",
            "Correlation with the filterbank rises through the convolutional layers, then falls to the middle ones.",
            "appendix B, Figure 4",
            _fbank(),
        ),
        Claim(
            "residual",
            "Adding the residual before the decoder lowers the pre-training loss.",
            "appendix C, Table 3",
            (
                Statement(
                    id="residual-loss",
                    name="validation loss: residual before against after the decoder",
                    definition="Final validation loss in bits per high-resolution masked frame, before less after.",
                    unit="bits",
                    expected="negative",
                    margin=None,
                    measure=lambda setting: residual_grid(setting, lambda pre, post: pre - post),
                    published=losses["pre"] - losses["post"],
                    published_source="Table 3",
                ),
            ),
        ),
        Claim(
            "resolution-is-averaging",
            "A block computed at 40 or 80 ms scores like a 20 ms model's states averaged to that.",
            "control (ours)",
            _resolution(),
        ),
        Claim(
            "learned",
            "What the middle block knows of phones and words is learned: random weights or the filterbank give less.",
            "control (ours)",
            _learned(),
        ),
    )
