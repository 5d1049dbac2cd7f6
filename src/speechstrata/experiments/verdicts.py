"""From an interval to a verdict, by rules that are fixed before anything is measured.

What a claim expects of a statistic:

``zero``: no difference. Supported where the interval lies within the margin (two one-sided tests), contradicted where
it lies beyond it, else not resolved: "no significant difference" supports nothing.
``positive`` / ``negative``: supported where the interval lies on that side of zero; contradicted where it lies on the
other, or within the margin (whatever effect there is, is smaller than what would count); else not resolved.

An interval that lacks the variance between trainings decides nothing: not resolved.
"""

from collections.abc import Sequence
from typing import Literal

from speechstrata.experiments.intervals import SEEDS, Interval

Verdict = Literal["supported", "contradicted", "not resolved"]
Expected = Literal["zero", "positive", "negative"]

VERDICT_RULES = (
    "zero: supported if the interval lies within the margin, contradicted if beyond it. positive or negative: "
    "supported if the interval lies on that side of 0, contradicted if on the other or within the margin. Otherwise, "
    "and with one training seed, not resolved. A finding is supported if all its decisive statistics are, and "
    "contradicted if any is at a level corrected for their number (Bonferroni); a replication decides nothing."
)


def statistic_verdict(interval: Interval, expected: Expected, margin: float | None) -> tuple[Verdict, str]:
    """The verdict on one statistic, and why in a few words.

    Args:
        interval: of the statistic.
        expected: by the claim.
        margin: what counts as no difference; positive; needed for ``zero``.

    Raises:
        ValueError: ``zero`` without a margin.
    """
    if SEEDS in interval.lacks:
        return "not resolved", "one training seed: the interval does not cover the spread between trainings"
    low, high = interval.low, interval.high
    if expected == "zero":
        if margin is None or margin <= 0:
            raise ValueError("the expectation 'zero' needs a positive margin")
        if -margin < low and high < margin:
            return "supported", f"the interval lies within ±{margin:g}"
        if low > margin or high < -margin:
            return "contradicted", f"the interval lies {'above' if low > margin else 'below'} ±{margin:g}"
        return "not resolved", f"the interval reaches beyond ±{margin:g}"
    ahead, behind = (low > 0, high < 0) if expected == "positive" else (high < 0, low > 0)
    side, other = ("above", "below") if expected == "positive" else ("below", "above")
    if ahead:
        return "supported", f"the interval lies {side} 0"
    if behind:
        return "contradicted", f"the interval lies {other} 0"
    if margin is not None and -margin < low and high < margin:
        return "contradicted", f"the interval lies within ±{margin:g}: no effect that would count"
    return "not resolved", "the interval holds 0"


def finding_verdict(
    decisive: Sequence[tuple[str, Verdict | None, Verdict | None]],
) -> tuple[Verdict, str]:
    """The verdict on a finding from its decisive statistics.

    Support needs every one of them, which needs no correction; a contradiction needs one, and with many of them one is
    soon there by chance: it counts at the level corrected for their number (Bonferroni).

    Args:
        decisive: for each its id, its verdict, and its verdict at the corrected level; None where it could not be
            computed.

    Returns:
        The verdict, and the reason in a sentence.
    """
    if not decisive:
        return "not resolved", "none of its statistics could be computed"
    against = [name for name, _, corrected in decisive if corrected == "contradicted"]
    if against:
        return "contradicted", f"{', '.join(against)}: contradicted, corrected for {len(decisive)} statistics"
    supported = [name for name, verdict, _ in decisive if verdict == "supported"]
    if len(supported) == len(decisive):
        every = f"all {len(decisive)} decisive statistics are supported"
        return "supported", every if len(decisive) > 1 else "its decisive statistic is supported"
    missing = sum(verdict is None for _, verdict, _ in decisive)
    leaning = sum(verdict == "contradicted" for _, verdict, _ in decisive)
    parts = [f"{len(supported)} of {len(decisive)} decisive statistics supported"]
    if leaning:
        parts.append(f"{leaning} contradicted, but not when corrected for their number")
    if missing:
        parts.append(f"{missing} could not be computed")
    return "not resolved", ", ".join(parts)
