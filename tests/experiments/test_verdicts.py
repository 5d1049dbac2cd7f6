import pytest

from speechstrata.experiments.intervals import SEEDS, SETS, Interval
from speechstrata.experiments.verdicts import finding_verdict, statistic_verdict


def _interval(low: float, high: float, seeds: int = 4) -> Interval:
    lacks = (SEEDS,) if seeds == 1 else ()
    return Interval((low + high) / 2, low, high, 0.95, 0.1, 3.0, {SEEDS: seeds, SETS: 3}, lacks)


@pytest.mark.parametrize(
    ("low", "high", "expected", "margin", "verdict"),
    [
        (-0.01, 0.02, "zero", 0.03, "supported"),
        (0.01, 0.02, "zero", 0.03, "supported"),  # a difference, but none that counts
        (-0.01, 0.04, "zero", 0.03, "not resolved"),
        (0.02, 0.05, "zero", 0.03, "not resolved"),
        (0.04, 0.06, "zero", 0.03, "contradicted"),
        (-0.06, -0.04, "zero", 0.03, "contradicted"),
        (0.01, 0.2, "positive", 0.03, "supported"),
        (-0.2, -0.01, "positive", 0.03, "contradicted"),
        (-0.02, 0.02, "positive", 0.03, "contradicted"),
        (-0.02, 0.02, "positive", None, "not resolved"),
        (-0.02, 0.2, "positive", 0.03, "not resolved"),
        (-0.2, -0.01, "negative", 0.03, "supported"),
        (0.01, 0.2, "negative", 0.03, "contradicted"),
    ],
)
def test_rules(low, high, expected, margin, verdict):
    assert statistic_verdict(_interval(low, high), expected, margin)[0] == verdict


@pytest.mark.parametrize("expected", ["zero", "positive", "negative"])
def test_one_seed_decides_nothing(expected):
    verdict, reason = statistic_verdict(_interval(-0.001, 0.001, seeds=1), expected, 0.03)
    assert (verdict, "one training seed" in reason) == ("not resolved", True)


def test_no_difference_needs_a_margin():
    with pytest.raises(ValueError, match="margin"):
        statistic_verdict(_interval(-0.1, 0.1), "zero", None)


def test_support_needs_all():
    assert finding_verdict([("a", "supported", "supported"), ("b", "supported", "not resolved")])[0] == "supported"
    verdict, reason = finding_verdict([("a", "supported", "supported"), ("b", None, None)])
    assert (verdict, "1 could not be computed" in reason) == ("not resolved", True)


def test_contradiction_needs_one_that_survives_the_correction():
    assert (
        finding_verdict([("a", "supported", "supported"), ("b", "contradicted", "contradicted")])[0] == "contradicted"
    )
    verdict, reason = finding_verdict([("a", "supported", "supported"), ("b", "contradicted", "not resolved")])
    assert (verdict, "not when corrected" in reason) == ("not resolved", True)


def test_nothing_decides_nothing():
    assert finding_verdict([])[0] == "not resolved"
