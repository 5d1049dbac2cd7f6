"""How a model looks wherever it is drawn: one colour and one mark each, on paper and on the page."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from speechstrata.report.merge import Subject

#: (on white, on the page's dark ground). The smallest distance between any two, for normal vision and the three
#: dichromacies (Machado et al. 2009), is 0.10 / 0.08 in Oklab (Okabe and Ito's palette: 0.08); each has a contrast
#: of at least 3:1 to its ground. `tests/report/test_style.py` holds them to it.
PALETTE: tuple[tuple[str, str], ...] = (
    ("#1664B0", "#4F97F0"),
    ("#D9600F", "#F0843C"),
    ("#159A73", "#78F5CB"),
    ("#AD74FF", "#9C6FA8"),
    ("#6E1C03", "#F2E45A"),
    ("#462E69", "#BFD4FF"),
    ("#794F60", "#E0ACA6"),
)

#: (matplotlib, plotly) names of the marks; with 7 colours, 49 models before two look alike.
MARKERS: tuple[tuple[str, str], ...] = (
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
)

#: Controls of all models (fbank) are drawn in a neutral grey.
CONTROL_COLOUR = ("#5E6670", "#A7B0BC")


@dataclass(frozen=True)
class Look:
    """A model's appearance.

    Attributes:
        colour, dark: on white and on the page's dark ground, ``#RRGGBB``.
        marker, symbol: the mark's name in matplotlib and in plotly.
        dashed: a control.
    """

    colour: str
    dark: str
    marker: str
    symbol: str
    dashed: bool


def look(subject: Subject) -> Look:
    """The look of a model: by its slot, so that it is the same in every figure of a report."""
    if subject.slot is None:
        return Look(*CONTROL_COLOUR, *MARKERS[0], dashed=True)
    round_, place = divmod(subject.slot, len(PALETTE))
    marker, symbol = MARKERS[(place + round_) % len(MARKERS)]
    colour, dark = PALETTE[place]
    return Look(colour, dark, marker, symbol, dashed=subject.is_control)


def mark_size(stride_ms: float) -> float:
    """The diameter of a mark in points: larger for a lower resolution (20, 40, 80 ms: 4, 5.25, 6.5)."""
    steps: Mapping[float, float] = {20.0: 4.0, 40.0: 5.25, 80.0: 6.5}
    if stride_ms in steps:
        return steps[stride_ms]
    return 4.0 if stride_ms < 30 else 5.25 if stride_ms < 60 else 6.5


#: What a time-averaged model's name begins with: it tells the model from the one that is averaged.
_AVERAGED = re.compile(r"averaged:[0-9.]+ms:")


def shorten(label: str, limit: int = 36) -> str:
    """A label that fits a figure: the end of a path or of a long name, which tells models apart best."""
    label = "".join(character if character.isprintable() else " " for character in label)
    if len(label) <= limit:
        return label
    if (averaged := _AVERAGED.match(label)) is not None:
        return averaged[0] + shorten(label[averaged.end() :], max(limit - averaged.end(), 12))
    # as many folders as fit: the last one is "model" for many models
    tail = next((label[at + 1 :] for at, sign in enumerate(label) if sign == "/" and len(label) - at - 1 <= limit), "")
    return tail or "\u2026" + label[1 - limit :]


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """A sort key that puts ``T9`` before ``T10``."""
    parts = re.split(r"(\d+)", text)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
