"""The paper's smaller claims, and the controls that readers will ask for, as statistics stated beforehand."""

from collections.abc import Callable

import numpy as np
import polars as pl

from speechstrata.experiments.curves import block_mean, distance, evenness, share, transformer_outputs
from speechstrata.experiments.grids import (
    Need,
    NotMeasured,
    Profile,
    probe_grid,
    residual_grid,
    score_grid,
    weight_grid,
)
from speechstrata.experiments.published import published_metric, published_table
from speechstrata.experiments.statements import (
    B2A,
    B4A,
    B5A,
    BASE,
    HUBERT,
    NEITHER,
    Claim,
    Statement,
    many,
    margin_of,
    middle_difference,
)
from speechstrata.experiments.verdicts import Expected

#: "At least 66% on the first three layers", of 15; "over 40% on layers 8 and 9" (appendix D).
_SE_SHARE, _ASR_SHARE = 0.66, 0.40


def _middle_share(profile: Profile) -> float:
    """The weight on the middle block's states: the input of its first layer and every layer's output."""
    return share(profile.curve, [name for name in profile.curve if profile.blocks.get(name) == "middle"])


def _published_profile(cell: str, task: str) -> Profile | None:
    rows = published_table("figure2b").filter((pl.col("cell") == cell) & (pl.col("task") == task))
    if rows.is_empty():
        return None
    return Profile(dict(rows.select("layer", "weight").rows()), dict(rows.select("layer", "block").rows()))


def _share_difference(id_: str, task: str, cell: str, other: str, what: str) -> Statement:
    ours, theirs = _published_profile(cell, task), _published_profile(other, task)
    known = ours is not None and theirs is not None
    return Statement(
        id=id_,
        name=f"middle block's share of the {task.upper()} weights: {what}",
        definition=f"Softmax weight on the middle block's states (its input and its layers) in the {task.upper()} "
        f"probe, {cell} less {other}.",
        unit="share",
        expected="positive",
        margin=None,
        measure=lambda setting: weight_grid(
            setting, (task,), (cell, other), lambda a, b: _middle_share(a) - _middle_share(b)
        ),
        published=_middle_share(ours) - _middle_share(theirs) if known and ours and theirs else None,
        published_source="Figure 2b" if known else None,
    )


def _first_states(profile: Profile, count: int) -> float:
    return share(profile.curve, list(profile.curve)[:count])


def _se(cell: str, *, scaled: bool) -> Statement:
    def first(profile: Profile) -> float:
        count = max(1, round(len(profile.curve) / 5)) if scaled else 3
        return _first_states(profile, count) - _SE_SHARE

    which = "fifth of the states (3 of 15)" if scaled else "three states"
    return Statement(
        id=f"se-first-{'fifth' if scaled else 'three'}-{cell}",
        name=f"share of the first {which} in the SE weights, {cell}",
        definition=f"Softmax weight on the first {which} in the SE probe with {cell}, less {_SE_SHARE}.",
        unit="share",
        expected="positive",
        margin=None,
        measure=lambda setting: weight_grid(setting, ("se",), (cell,), first),
        decisive=not scaled,
    )


def _asr_middle() -> Statement:
    """States 8 and 9 of 15 are the middle block's two inner layers; where it has two layers in all, both count."""

    def inner(profile: Profile) -> float:
        names = [name for name in transformer_outputs(list(profile.curve)) if profile.blocks.get(name) == "middle"]
        return share(profile.curve, names[1:-1] if len(names) > 2 else names) - _ASR_SHARE

    ours = _published_profile(BASE, "asr")
    return Statement(
        id="asr-inner-middle",
        name=f"share of the middle block's inner layers in the ASR weights, {BASE}",
        definition="Softmax weight on the Transformer outputs of the middle block without its first and last (states 8 "
        f"and 9 of 15; of a block of two, both) in the ASR probe with {BASE}, less {_ASR_SHARE}.",
        unit="share",
        expected="positive",
        margin=None,
        measure=lambda setting: weight_grid(setting, ("asr",), (BASE,), inner),
        published=None if ours is None else inner(ours),
        published_source="Figure 2b",
    )


def _even(cell: str) -> Statement:
    def compared(*profiles: Profile) -> float:
        values = [evenness(list(profile.curve.values())) for profile in profiles]
        return float(np.mean(values[:2]) - np.mean(values[2:]))

    return Statement(
        id=f"even-{cell}",
        name=f"evenness of the SD and KS weights against those of ASR, SF and SE, {cell}",
        definition="Entropy of the layer weights over that of even ones, mean of SD and KS less mean of ASR, SF and "
        f"SE, with {cell}.",
        unit="share of the largest entropy",
        expected="positive",
        margin=None,
        measure=lambda setting: weight_grid(setting, ("sd", "ks", "asr", "sf", "se"), (cell,), compared),
    )


def _nearer() -> tuple[Statement, ...]:
    scores = ("cca-word", "cca-phone", "cca-glove", "mi-word")
    curves = many(
        lambda score: Statement(
            id=f"b4a-nearer-{score}",
            name=f"{B4A}'s distance to {HUBERT} against its distance to {BASE}, {score}",
            definition=f"Root mean square difference of {score} over the Transformer outputs, "
            f"{B4A} to {HUBERT} less {B4A} to {BASE}.",
            unit=score,
            expected="negative",
            margin=None,
            measure=lambda setting: score_grid(
                setting,
                score,
                tuple(map(Need, (B4A, HUBERT, BASE))),
                lambda a, h, b: distance(a.curve, h.curve) - distance(a.curve, b.curve),
            ),
            decisive=score == "cca-word",
            by_corpus=True,
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

    return Statement(
        id=f"peak-{score}",
        name=f"highest {score}: {BASE} against {HUBERT}",
        definition=f"Highest {score} of the Transformer outputs, {BASE} less {HUBERT}.",
        unit=score,
        expected="positive",
        margin=None,
        measure=lambda setting: score_grid(setting, score, (Need(BASE), Need(HUBERT)), lambda a, b: best(a) - best(b)),
        decisive=score in ("cca-word", "cca-phone"),
        by_corpus=True,
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
    return float(np.mean(middle)) - max(before)


def _fbank() -> tuple[Statement, ...]:
    rise = "last convolutional layer less the first"
    fall = "mean of the middle third of the Transformer outputs less the highest layer before them"
    return tuple(
        statement
        for cell in (HUBERT, BASE)
        for statement in (
            _on_one(f"fbank-rise-{cell}", "cca-mel", cell, _rise, "positive", rise),
            _on_one(f"fbank-fall-{cell}", "cca-mel", cell, _fall, "negative", fall),
        )
    )


def _on_one(
    id_: str, score: str, cell: str, function: Callable[[Profile], float], expected: Expected, words: str
) -> Statement:
    return Statement(
        id=id_,
        name=f"{score}, {cell}: {words}",
        definition=f"{score} of {cell}: {words}.",
        unit=score,
        expected=expected,
        margin=None,
        measure=lambda setting: score_grid(setting, score, (Need(cell),), function),
        by_corpus=True,
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


def _learned() -> tuple[Statement, ...]:
    controls = (("random", "the same with random weights"), ("fbank", "that of the filterbank"))
    scores = ("cca-phone", "cca-word", "mi-phone", "mi-word", "probe-phone", "abx-phone")
    return tuple(_above(score, control, words) for control, words in controls for score in scores)


def _above(score: str, control: str, words: str) -> Statement:
    """The filterbank is one layer, and no block."""
    other = Need("", "fbank") if control == "fbank" else Need(BASE, control)

    def above(one: Profile, second: Profile) -> float:
        level = block_mean(second.curve, second.blocks) if second.blocks else next(iter(second.curve.values()))
        return block_mean(one.curve, one.blocks) - level

    return Statement(
        id=f"above-{control}-{score}",
        name=f"middle block, {score}: {BASE} above {words}",
        definition=f"Mean {score} over the Transformer outputs of {BASE}'s middle block, less {words}.",
        unit=score,
        expected="positive",
        margin=margin_of(score),
        measure=lambda setting: score_grid(setting, score, (Need(BASE), other), above),
        decisive=score in ("cca-phone", "cca-word"),
        by_corpus=True,
    )


def claims() -> tuple[Claim, ...]:
    """The smaller claims, and our controls."""
    table = published_table("table3")
    losses = dict(table.select("variant", "loss_bits").rows())
    return (
        Claim(
            "middle-share-auxiliary",
            "With the auxiliary loss, ASR and slot filling draw more on the middle layers, downsampled or not.",
            "section 3.3, Figure 2b",
            tuple(
                _share_difference(f"middle-share-{task}-{name}", task, cell, other, f"auxiliary loss, {what}")
                for task in ("asr", "sf")
                for name, cell, other, what in (
                    ("down", BASE, B4A, "with downsampling"),
                    ("same", B5A, NEITHER, "without downsampling"),
                )
            ),
        ),
        Claim(
            "middle-share-downsampling",
            "Without downsampling, ASR and slot filling draw less on the middle layers.",
            "appendix D, Figure 6",
            tuple(
                _share_difference(f"middle-share-{task}-resolution", task, BASE, B5A, "downsampling, with the loss")
                for task in ("asr", "sf")
            ),
        ),
        Claim(
            "asr-middle-layers",
            "MR-HuBERT puts over 40% of its ASR weight on low-resolution layers 8 and 9.",
            "appendix D, Figure 6a",
            (_asr_middle(),),
        ),
        Claim(
            "se-first-layers",
            "Speech enhancement puts at least 66% of its weight on the first three layers in all models.",
            "appendix D, Figure 6",
            tuple(_se(cell, scaled=scaled) for scaled in (False, True) for cell in (BASE, B4A, B5A)),
        ),
        Claim(
            "even-sd-ks",
            "Speaker diarisation and keyword spotting use all layers relatively evenly.",
            "appendix D, Figure 6",
            tuple(_even(cell) for cell in (BASE, B4A, B5A)),
        ),
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
