"""Claims about which layers the probes draw on, as statistics stated beforehand."""

import numpy as np
import polars as pl

from speechstrata.experiments.curves import evenness, share, transformer_outputs
from speechstrata.experiments.grids import Profile, weight_grid
from speechstrata.experiments.published import published_table
from speechstrata.experiments.statements import AUXILIARY_LOSS, B4A, B5A, BASE, Claim, Statement

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


def weight_claims() -> tuple[Claim, ...]:
    """The claims of section 3.3 and appendix D about layer weights."""
    return (
        Claim(
            "middle-share-auxiliary",
            "With the auxiliary loss, ASR and slot filling draw more on the middle layers, downsampled or not.",
            "section 3.3, Figure 2b",
            tuple(
                _share_difference(f"middle-share-{task}-{name}", task, cell, other, what)
                for task in ("asr", "sf")
                for name, cell, other, what in AUXILIARY_LOSS
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
    )
