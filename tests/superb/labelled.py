"""Cuts with labels, of recordings that are never read; and a grid to put frames on."""

from fractions import Fraction
from typing import Any

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from speechstrata.superb.task import FrameGrid

GRID = FrameGrid(0, Fraction(320), 16_000)


def cut(name: str, text: str = "", seconds: float = 1.0, custom: dict[str, Any] | None = None) -> MonoCut:
    """A cut with one supervision."""
    supervision = SupervisionSegment(name, name, 0.0, seconds, text=text, custom=custom)
    return bare_cut(name, seconds, [supervision])


def bare_cut(name: str, seconds: float, supervisions: list[SupervisionSegment]) -> MonoCut:
    """A cut with these supervisions."""
    recording = Recording(name, [], 16_000, round(seconds * 16_000), seconds)
    return MonoCut(name, 0.0, seconds, 0, supervisions=supervisions, recording=recording)


def cuts(*items: MonoCut) -> CutSet:
    """A set of them."""
    return CutSet.from_cuts(items)
