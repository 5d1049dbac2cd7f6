"""The strokes of the architecture's drawing: boxes, wires, sums, on matplotlib axes measured in inches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path as Curve

from speechstrata.mrhubert.layout import BLOCK_HEIGHT, CELL_HEIGHT, Cell

INK, GREY = "#252B33", "#5E6670"
#: Of the cell that names the state behind a sum.
JOINED_HEIGHT = 1.14
Point = tuple[float, float]


@dataclass(frozen=True)
class Hue:
    """The colours of a resolution: of ink on white, of a block, of the lane behind it."""

    ink: str
    block: str
    band: str


#: Blue, orange, green, violet: dark enough for white text (4.5:1), and apart in lightness or hue for the dichromacies.
HUES = (
    Hue("#1664B0", "#CFE1F4", "#F1F6FC"),
    Hue("#A84500", "#FADFC8", "#FDF5EE"),
    Hue("#0A6F53", "#CDEDE0", "#EFF9F5"),
    Hue("#6B3FA0", "#E2D4F2", "#F7F2FC"),
)


def hue(lane: int) -> Hue:
    """The colours of a lane, the finest resolution's first; they repeat after the fourth."""
    return HUES[lane % len(HUES)]


class Pen:
    """Draws on axes whose units are inches."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float,
        weight: str = "normal",
        colour: str = INK,
        align: Literal["left", "center", "right"] = "center",
        rotation: float = 0,
    ) -> None:
        """Write ``text``, centred on ``y``."""
        self._axes.text(
            x, y, text, fontsize=size, fontweight=weight, color=colour, ha=align, va="center_baseline" if rotation == 0
            else "center", rotation=rotation, linespacing=1.1, zorder=6,
        )  # fmt: skip

    def box(
        self, x: float, y: float, width: float, height: float, *, face: str, edge: str, radius: float,
        dashed: bool = False,
    ) -> None:  # fmt: skip
        """A box with round corners, from its lower left corner."""
        style = f"round,pad=0,rounding_size={radius}"
        self._axes.add_patch(
            FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=face, edgecolor=edge, linewidth=1.0,
                           linestyle=(0, (3, 1.6)) if dashed else "-", zorder=1 if edge == "none" else 3)
        )  # fmt: skip

    def cell(self, x: float, y: float, width: float, height: float, *, face: str, edge: str) -> None:
        """A rectangle from its lower left corner."""
        self._axes.add_patch(Rectangle((x, y), width, height, facecolor=face, edgecolor=edge, linewidth=0.8, zorder=4))

    def block(self, left: float, right: float, wire: float, colour: Hue, name: str) -> None:
        """The body of a Transformer block, with its name above its cells."""
        bottom = wire - CELL_HEIGHT / 2 - 0.07
        self.box(left, bottom, right - left, BLOCK_HEIGHT, face=colour.block, edge=colour.ink, radius=0.07)
        self.text((left + right) / 2, bottom + BLOCK_HEIGHT - 0.13, name, size=8, weight="bold", colour=colour.ink)

    def layer(self, cell: Cell, wire: float, colour: Hue) -> None:
        """A Transformer layer, in the block's ink."""
        self.cell(cell.left, wire - CELL_HEIGHT / 2, cell.width, CELL_HEIGHT, face=colour.ink, edge=colour.block)
        upright, long = cell.width >= 0.25 and len(cell.text) <= 3, len(cell.text) > 4
        self.text(cell.left + cell.width / 2, wire, cell.text, size=6.2 if long else 7.2, weight="bold", colour="white",
                  rotation=0 if upright else 90)  # fmt: skip

    def state(self, cell: Cell, wire: float, colour: Hue) -> None:
        """A state that is no layer's output, outlined."""
        height = CELL_HEIGHT if len(cell.text) < 12 else JOINED_HEIGHT
        self.cell(cell.left, wire - height / 2, cell.width, height, face="white", edge=colour.ink)
        self.text(cell.left + cell.width / 2, wire, cell.text, size=7, weight="bold", colour=colour.ink, rotation=90)

    def operation(self, cell: Cell, wire: float, colour: Hue | None, dashed: bool = False) -> None:
        """A step that has no layer number: a norm, the projection, the mask."""
        ink = GREY if colour is None else colour.ink
        self._axes.add_patch(
            Rectangle((cell.left, wire - CELL_HEIGHT / 2), cell.width, CELL_HEIGHT, facecolor="#F4F5F7", edgecolor=ink,
                      linewidth=0.8, linestyle=(0, (3, 1.6)) if dashed else "-", zorder=4)
        )  # fmt: skip
        self.text(cell.left + cell.width / 2, wire, cell.text, size=6.8, colour=ink, rotation=90)

    def trapezoid(self, x: float, y: float, name: str) -> None:
        """A sampling module between two lanes: its wide side faces the finer one, which is above."""
        wide, narrow, half = 0.37, 0.26, 0.15
        corners = [(x - wide, y + half), (x + wide, y + half), (x + narrow, y - half), (x - narrow, y - half)]
        self._axes.add_patch(Polygon(corners, closed=True, facecolor=INK, edgecolor="white", linewidth=1, zorder=5))
        self.text(x, y, name, size=7.5, weight="bold", colour="white")

    def strip(self, x: float, y: float, text: str) -> None:
        """A sampling module that keeps the resolution."""
        style = "round,pad=0,rounding_size=0.04"
        self._axes.add_patch(
            FancyBboxPatch((x - 0.1, y - CELL_HEIGHT / 2), 0.2, CELL_HEIGHT, boxstyle=style, facecolor=INK,
                           edgecolor="none", zorder=5)
        )  # fmt: skip
        self.text(x, y, text, size=7, weight="bold", colour="white", rotation=90)

    def sum(self, x: float, y: float) -> None:
        """A sum."""
        self._axes.add_patch(Circle((x, y), 0.085, facecolor="white", edgecolor=INK, linewidth=1.1, zorder=5))
        for half in ([(x - 0.05, y), (x + 0.05, y)], [(x, y - 0.05), (x, y + 0.05)]):
            self.wire(half, arrow=False, over=True)

    def dot(self, x: float, y: float, colour: str) -> None:
        """Where a wire branches."""
        self._axes.add_patch(Circle((x, y), 0.028, facecolor=colour, edgecolor="none", zorder=5))

    def wire(
        self, points: Sequence[Point], *, arrow: bool, colour: str = INK, dashed: bool = False, round_: float = 0.06,
        over: bool = False,
    ) -> None:  # fmt: skip
        """A line through ``points``, its corners rounded, perhaps with an arrow's head."""
        vertices, codes = [points[0]], [Curve.MOVETO]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            vertices += [_towards(corner, before, round_), corner, _towards(corner, after, round_)]
            codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
        end = _towards(points[-1], points[-2], 0.05) if arrow else points[-1]
        vertices.append(end)
        codes.append(Curve.LINETO)
        self._axes.add_patch(
            PathPatch(Curve(vertices, codes), facecolor="none", edgecolor=colour, linewidth=1.1,
                      linestyle=(0, (3, 1.6)) if dashed else "-", capstyle="butt", zorder=6 if over else 2)
        )  # fmt: skip
        if arrow:
            tip, base = np.array(points[-1]), np.array(_towards(points[-1], points[-2], 0.085))
            across = np.array([base[1] - tip[1], tip[0] - base[0]]) * 0.42
            self._axes.add_patch(
                Polygon([tip, base + across, base - across], closed=True, facecolor=colour, edgecolor="none", zorder=5)
            )

    def waveform(self, left: float, right: float, y: float) -> None:
        """A voiced sound, as a picture of one."""
        x = np.linspace(left, right - 0.04, 240)
        phase = np.linspace(0, 1, 240)
        shape = np.sin(np.pi * phase) ** 0.7 * (0.62 + 0.38 * np.cos(2 * np.pi * 1.7 * phase))
        wave = shape * (np.sin(2 * np.pi * 13 * phase) + 0.4 * np.sin(2 * np.pi * 31 * phase + 1))
        self._axes.plot(x, y + 0.26 * wave, color=INK, linewidth=0.8, solid_joinstyle="round", zorder=4)

    def spectrogram(self, left: float, width: float, y: float, height: float) -> None:
        """Log-mel bands of a voiced sound, as a picture of them."""
        time, band = np.meshgrid(np.linspace(0, 1, 24), np.linspace(0, 1, 32))
        loud = np.sin(np.pi * time) ** 0.5
        formants = sum(
            np.exp(-(((band - centre - sweep * np.sin(5 * time)) / spread) ** 2))
            for centre, sweep, spread in ((0.16, 0.04, 0.08), (0.45, 0.11, 0.07), (0.74, -0.07, 0.06))
        )
        extent = (left, left + width, y - height / 2, y + height / 2)
        self._axes.imshow(loud * formants, cmap="Greys", vmin=-0.15, vmax=1.3, extent=extent, origin="lower",
                          aspect="auto", interpolation="nearest", zorder=4)  # fmt: skip
        self._axes.add_patch(
            Rectangle((left, y - height / 2), width, height, facecolor="none", edgecolor=GREY, linewidth=0.8, zorder=4)
        )


def _towards(start: Point, end: Point, distance: float) -> Point:
    """The point at ``distance`` from ``start`` on the way to ``end``, at most half of it."""
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    share = min(distance / length, 0.5) if length else 0.0
    return (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))
