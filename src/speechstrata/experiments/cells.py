"""The models under study: the paper's Table 1, the cell that it lacks, and their small counterparts.

A cell is a place in the design {auxiliary loss} x {downsampling}, with HuBERT and three resolutions beside it; it has
one model for each training seed. Cells keep their names across scales, so that statistics are stated once.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from speechstrata.errors import InputError
from speechstrata.mrhubert.config import NetworkConfig
from speechstrata.mrhubert.named import named_config

Scale = Literal["tiny", "small", "paper"]
SCALES: tuple[Scale, ...] = ("tiny", "small", "paper")

#: The training seed of the models that are packaged.
PACKAGED_SEED = 1


@dataclass(frozen=True)
class Cell:
    """One model of the design, at one scale.

    Attributes:
        name: the same at every scale: ``mrhubert-base``, ``b5-a``, ...
        label: as in the paper's tables.
        auxiliary: whether the lower resolutions predict units too.
        downsampling: whether they are lower.
        resolutions_ms: milliseconds per frame, the finest first.
        layers: Transformer layers of each block, in order of execution.
        network: name of the network (``speechstrata.mrhubert.named``).
        recipe: of pre-training; "" where there is none packaged: then it is written.
        encoder: the packaged model's name, or the released checkpoint's file; "" where there is none.
        comparison: cells are compared within one: ``base`` or ``large``.
        overrides: of a cell without a packaged recipe: settings of the network that differ from the named one's.
    """

    name: str
    label: str
    auxiliary: bool
    downsampling: bool
    resolutions_ms: tuple[int, ...]
    layers: tuple[int, ...]
    network: str
    recipe: str
    encoder: str = ""
    comparison: Literal["base", "large"] = "base"
    overrides: tuple[tuple[str, object], ...] = ()


#: name -> (label, auxiliary loss, downsampling, resolutions)
_DESIGN: dict[str, tuple[str, bool, bool, tuple[int, ...]]] = {
    "hubert": ("HuBERT-base", False, False, (20,)),
    "mrhubert-base": ("MR-HuBERT-base", True, True, (20, 40)),
    "b2-a": ("MR-HuBERT B2-a", True, True, (20, 40, 80)),
    "b2-b": ("MR-HuBERT B2-b", True, True, (20, 40, 80)),
    "b4-a": ("MR-HuBERT B4-a", False, True, (20, 40)),
    "b5-a": ("MR-HuBERT B5-a", True, False, (20,)),
    "neither": ("no auxiliary loss, no downsampling", False, False, (20,)),
    "large-hubert": ("HuBERT-large", False, False, (20,)),
    "large-mrhubert": ("MR-HuBERT-large", True, True, (20, 40)),
}


def _cell(
    name: str,
    layers: tuple[int, ...],
    network: str,
    recipe: str,
    encoder: str = "",
    overrides: tuple[tuple[str, object], ...] = (),
) -> Cell:
    label, auxiliary, downsampling, resolutions = _DESIGN[name]
    comparison: Literal["base", "large"] = "large" if name.startswith("large-") else "base"
    return Cell(
        name, label, auxiliary, downsampling, resolutions, layers, network, recipe, encoder, comparison, overrides
    )


_SAME_RATE = ("ratios", ((1, 1),))
_NO_LOSS = ("auxiliary_heads", False)

CELLS: dict[Scale, tuple[Cell, ...]] = {
    "tiny": (
        _cell("hubert", (6,), "tiny-hubert", "tiny-hubert", "tiny-hubert"),
        _cell("mrhubert-base", (2, 2, 2), "tiny", "tiny-mrhubert-base", "tiny-mrhubert-base"),
        _cell("b2-a", (1, 1, 2, 1, 1), "tiny-3res", "tiny-b2-a", "tiny-b2-a"),
        _cell("b4-a", (2, 2, 2), "tiny-b4-a", "tiny-b4-a", "tiny-b4-a"),
        _cell("b5-a", (2, 2, 2), "tiny-b5-a", "tiny-b5-a", "tiny-b5-a"),
        _cell("neither", (2, 2, 2), "tiny-b5-a-single", "tiny-neither", "tiny-neither"),
        _cell("large-hubert", (6,), "tiny-large-hubert", "tiny-large-hubert", "tiny-large-hubert"),
        _cell("large-mrhubert", (2, 2, 2), "tiny-large", "tiny-large-mrhubert", "tiny-large-mrhubert"),
    ),
    "small": (
        _cell("hubert", (6,), "small-post", "", overrides=(("layers", (6,)), ("ratios", ()))),
        _cell("mrhubert-base", (2, 2, 2), "small-post", "small-post"),
        _cell(
            "b2-a",
            (1, 1, 2, 1, 1),
            "small-post",
            "",
            overrides=(("layers", (1, 1, 2, 1, 1)), ("ratios", ((1, 2), (1, 2)))),
        ),
        _cell("b4-a", (2, 2, 2), "small-post", "", overrides=(_NO_LOSS,)),
        _cell("b5-a", (2, 2, 2), "small-post", "", overrides=(_SAME_RATE,)),
        _cell("neither", (2, 2, 2), "small-post", "", overrides=(_SAME_RATE, _NO_LOSS)),
    ),
    "paper": (
        _cell("hubert", (12,), "hubert-base", "hubert-base", "hubert_base_ls960.pt"),
        _cell("mrhubert-base", (4, 4, 4), "mrhubert-base", "mrhubert-base", "mrhubert_mono_base.pt"),
        _cell("b2-a", (3, 2, 2, 3, 2), "b2-a", "b2-a", "b2-a.pt"),
        _cell("b2-b", (2, 2, 4, 2, 2), "b2-b", "b2-b", "b2-b.pt"),
        _cell("b4-a", (4, 4, 4), "b4-a", "b4-a", "b4-a.pt"),
        _cell("b5-a", (4, 4, 4), "b5-a", "b5-a", "b5-a.pt"),
        _cell("neither", (4, 4, 4), "b5-a-single", "b5-a-single"),
        _cell("large-hubert", (24,), "hubert-large", "hubert-large", "hubert_large_ll60k.pt"),
        _cell("large-mrhubert", (8, 8, 8), "mrhubert-large", "mrhubert-large", "mrhubert_mono_large.pt"),
    ),
}

#: Appendix C: where the residual is added, and the recipes that train it at each scale.
RESIDUAL_RECIPES: dict[Scale, dict[str, str]] = {
    "tiny": {"post": "tiny-mrhubert-base", "pre": "tiny-pre"},
    "small": {"post": "small-post", "pre": "small-pre"},
    "paper": {"post": "small-post", "pre": "small-pre"},
}


def cells_of(scale: str) -> tuple[Cell, ...]:
    """The cells of a scale.

    Raises:
        InputError: no such scale.
    """
    for known in SCALES:
        if known == scale:
            return CELLS[known]
    raise InputError(f"there is no scale {scale!r}", f"one of {', '.join(SCALES)}")


def model_names(scale: str, cell: Cell) -> tuple[str, ...]:
    """What a model of the cell may be called: after its recipe, as packaged or released."""
    return tuple(dict.fromkeys(name for name in (cell.recipe or f"{scale}-{cell.name}", cell.encoder) if name))


def cell_of_recipe(recipe: str) -> tuple[Scale, Cell] | None:
    """The scale and the cell that a recipe of that name trains; None if it is none of theirs."""
    for scale, cells in CELLS.items():
        for cell in cells:
            if recipe in (cell.recipe, f"{scale}-{cell.name}"):
                return scale, cell
    return None


@cache
def layer_blocks(cell: Cell) -> dict[str, str]:
    """The block that each layer of the cell's models belongs to: layer name -> ``encoder0``, ``middle``, ...

    Sampling taps belong to the block that they feed; layers before the first block are not listed.
    """
    from speechstrata.mrhubert.taps import tap_plan

    return {tap.name: tap.block for tap in tap_plan(network_of(cell)) if tap.block is not None}


@cache
def network_of(cell: Cell) -> NetworkConfig:
    """The configuration of the cell's network, as its recipe has it; without the classes that its targets bring."""
    settings: dict[str, Any] = {"name": cell.network} | dict(cell.overrides)
    if cell.recipe:
        from speechstrata.pretraining.recipes import load_recipe

        settings = dict(load_recipe(cell.recipe).model)
    return NetworkConfig.from_dict(named_config(settings.pop("name")).to_dict() | settings)
