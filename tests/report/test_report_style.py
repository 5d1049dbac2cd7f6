"""Models can be told apart: by normal and dichromatic eyes, on white and on dark."""

import itertools

import numpy as np
import pytest

from speechstrata.report.merge import Subject
from speechstrata.report.runs import ModelInfo
from speechstrata.report.style import CONTROL_COLOUR, MARKERS, PALETTE, look, mark_size, natural_key, shorten

#: Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
GROUNDS = ("#FFFFFF", "#16191E")


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(rgb: np.ndarray) -> np.ndarray:
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return to_lab @ np.cbrt(to_lms @ np.clip(rgb, 0, 1))


def contrast(one: str, other: str) -> float:
    light = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("mode", "least"), [(0, 0.10), (1, 0.08)])
def test_every_two_colours_differ_for_every_eye(sight: str, mode: int, least: float) -> None:
    seen = [oklab(SIGHT[sight] @ linear(pair[mode])) for pair in PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= least


@pytest.mark.parametrize("mode", [0, 1])
def test_every_colour_stands_out_from_its_ground(mode: int) -> None:
    for pair in (*PALETTE, CONTROL_COLOUR):
        assert contrast(pair[mode], GROUNDS[mode]) >= 3


def subject(slot: int | None, role: str = "encoder") -> Subject:
    info = ModelInfo("x", role, None, "", "", None, 16_000, None, ())  # type: ignore[arg-type]
    return Subject("x", info, None, slot, ())


def test_the_first_49_models_look_different() -> None:
    looks = {(look(subject(slot)).colour, look(subject(slot)).marker) for slot in range(49)}
    assert len(looks) == len(PALETTE) * len(MARKERS) == 49


def test_a_control_has_its_encoders_colour_and_a_dashed_line() -> None:
    assert look(subject(2, "control")).colour == look(subject(2)).colour
    assert look(subject(2, "control")).dashed
    assert look(subject(None, "control")).colour == CONTROL_COLOUR[0]


def test_a_lower_resolution_has_a_larger_mark() -> None:
    assert mark_size(5) == mark_size(20) < mark_size(40) < mark_size(80) == mark_size(160)


def test_a_long_name_keeps_its_end() -> None:
    assert shorten("hubert") == "hubert"
    assert shorten("/a/long/path/to/some/more/models/checkpoint-10000") == "to/some/more/models/checkpoint-10000"
    folders = [f"/somewhere/with/room/{name}/model" for name in ("tiny-b4-a-s1", "tiny-b5-a-s1")]
    assert [shorten(folder, 20) for folder in folders] == ["tiny-b4-a-s1/model", "tiny-b5-a-s1/model"]
    assert shorten("two\nlines") == "two lines"
    assert shorten("x" * 40 + "+random", 20) == "…" + "x" * 12 + "+random"


def test_numbers_in_names_sort_as_numbers() -> None:
    assert sorted(["T10", "T9", "D0", "T1", "10T"], key=natural_key) == ["10T", "D0", "T1", "T9", "T10"]
