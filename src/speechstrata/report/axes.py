"""Where a layer stands on the horizontal axis: by name for one architecture, by depth for several."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from speechstrata.report.merge import Merged, Subject

#: How far the states between two Transformer layers (sampling modules, skips) spread over the gap between them.
_GAP = 0.8

#: Name, kind, index and depth of a layer.
Place = tuple[str, str, int, float]

Scale = Literal["names", "number", "depth"]


@dataclass(frozen=True)
class LayerAxis:
    """A horizontal axis for the layers of some models.

    Attributes:
        scale: "names" (one architecture: every layer has its tick), "number" (as many Transformer layers in
            each) or "depth" (the share of the Transformer layers passed).
        label: for the axis.
        ticks: (position, text).
        positions: (model label, layer name) -> position.
        step: the distance of two Transformer layers.
    """

    scale: Scale
    label: str
    ticks: tuple[tuple[float, str], ...]
    positions: dict[tuple[str, str], float]
    step: float


def taps_between(layers: Iterable[Place]) -> dict[str, float]:
    """The states between two Transformer layers -> how much of the gap to the next layer lies before them, in (0, 1).

    Such a state comes after a Transformer layer and has its depth: what a sampling module gives (``down0``), the input
    of the block behind it (``D0``, ``U0``), what a skip connection makes (``middle.post_skip``).

    Args:
        layers: all layers of one model.
    """
    deep = sorted((layer for layer in layers if layer[3] >= 0), key=lambda layer: layer[2])
    if not any(kind == "transformer" for _, kind, _, _ in deep):
        return {}
    at_depth: dict[float, list[str]] = defaultdict(list)
    passed: set[float] = set()
    for name, kind, _, depth in deep:
        if kind == "sampling" or depth in passed:
            at_depth[depth].append(name)
        else:
            passed.add(depth)
    return {name: rank / (len(names) + 1) for names in at_depth.values() for rank, name in enumerate(names, start=1)}


def places(subject: Subject) -> dict[str, float]:
    """Layer name -> depth, with the states between two Transformer layers spread over the gap between those.

    They share the depth of the state that they come from; drawn there, they would hide each other.
    """
    layers = subject.info.layers
    step = 1 / (transformer_count(subject) or 1)
    shares = taps_between((layer.name, layer.kind, layer.index, layer.depth) for layer in layers)
    return {layer.name: layer.depth + step * _GAP * shares.get(layer.name, 0.0) for layer in layers}


def transformer_count(subject: Subject) -> int | None:
    """How many Transformer layers the encoder has; None if the depths of those listed do not say."""
    depths = {layer.depth for layer in subject.info.layers if layer.kind == "transformer" and layer.depth > 0}
    if not depths:
        return None
    total = round(1 / min(abs(b - a) for a, b in zip([0.0, *sorted(depths)], sorted(depths), strict=False)))
    return total if all(abs(depth * total - round(depth * total)) < 1e-6 for depth in depths) else None


def layer_axis(merged: Merged, rows: pl.DataFrame) -> LayerAxis:
    """The axis for the models and layers in ``rows`` (of a summary). One-layer controls do not count."""
    drawn = [subject for subject in merged.subjects if subject.label in rows["model"] and len(subject.info.layers) > 1]
    present = set(rows.select("model", "layer").rows())
    lists = {
        tuple(layer.name for layer in subject.info.layers if (subject.label, layer.name) in present)
        for subject in drawn
    }
    families = {tuple(layer.name for layer in subject.info.layers) for subject in drawn}
    if len(families) <= 1:
        return _by_name(drawn, lists)
    counts = {transformer_count(subject) for subject in drawn}
    if len(counts) == 1 and None not in counts:
        return _by_depth(drawn, present, counts.pop() or 1, "number")
    return _by_depth(drawn, present, 1, "depth")


def _by_name(drawn: Sequence[Subject], lists: set[tuple[str, ...]]) -> LayerAxis:
    order = [layer.name for subject in drawn[:1] for layer in subject.info.layers]
    shown = [name for name in order if any(name in names for names in lists)]
    ticks = tuple((float(position), name) for position, name in enumerate(shown))
    where = {name: position for position, name in ticks}
    positions = {(subject.label, name): where[name] for subject in drawn for name in shown}
    return LayerAxis("names", "Layer", ticks, positions, 1.0)


def _by_depth(drawn: Sequence[Subject], present: set[tuple[str, str]], total: int, scale: Scale) -> LayerAxis:
    positions = {
        (subject.label, name): place * total
        for subject in drawn
        for name, place in places(subject).items()
        if (subject.label, name) in present
    }
    if scale == "depth":
        ticks = tuple((fraction, f"{fraction:g}") for fraction in (0.0, 0.25, 0.5, 0.75, 1.0))
        label = "Depth (share of the Transformer layers passed)"
        if min(positions.values(), default=0.0) < 0:
            label += "; before 0: the layers in front of them"
        return LayerAxis(scale, label, ticks, positions, min(1 / (transformer_count(s) or 1) for s in drawn))
    every = 1 if total <= 16 else 2
    names = [(float(number), f"T{number}") for number in range(0, total + 1, every)]
    return LayerAxis(scale, "Layer", (*_front_ticks(drawn, positions), *names), positions, 1.0)


def _front_ticks(drawn: Sequence[Subject], positions: dict[tuple[str, str], float]) -> list[tuple[float, str]]:
    """Ticks for the layers before the first Transformer layer, where all models call them alike."""
    names: dict[float, set[str]] = {}
    for (_, name), position in positions.items():
        if position < 0:
            names.setdefault(round(position, 6), set()).add(name)
    if any(len(alike) > 1 for alike in names.values()):
        return []
    return [(position, next(iter(alike))) for position, alike in sorted(names.items())]
