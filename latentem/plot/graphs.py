"""The directed graph of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from latentem.errors import require
from latentem.graph import Model
from latentem.plot.canvas import SHADED, axes_or_new, must_be
from latentem.plot.layout import layered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latentem.graph import Node

Array = NDArray[Any]

RADIUS = 0.2
"""Radius of a node, where layers are one unit apart."""
CHARACTER = 0.55
"""Width of an average character, in units of the size of the font."""


def graph(model: Model, ax: Axes | None = None) -> Axes:
    """Draw the directed graph: latent nodes open, observed ones shaded, covariates small and solid.

    The plate around them stands for the n rows; a dashed line joins tied nodes.

    Parameters
    ----------
    model : Model
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    must_be(model, Model, "a Model")
    parents = {parent.name for node in model.nodes for parent in node.given}
    # A node between others has its distribution's name beside it: that takes room.
    stretch = 1.4 if any(n.given and n.name in parents for n in model.nodes) else 1.0
    places = layered({n.name: [p.name for p in n.given] for n in model.nodes}, stretch)
    x, y = np.array([places.nodes[n.name] for n in model.nodes]).T
    to_left, to_right = np.array([_room(n, is_parent=n.name in parents) for n in model.nodes]).T
    left, right = (x - to_left).min(), (x + to_right).max()
    bottom, top = y.min() - 0.6, y.max() + 0.5
    ax = axes_or_new(ax, (1.3 * (right - left) + 0.4, 1.3 * (top - bottom) + 0.6))
    ax.set(xlim=(left - 0.1, right + 0.1), ylim=(bottom - 0.1, top + 0.1), aspect="equal")
    ax.axis("off")
    font = _font_size(ax)
    _draw_plate(ax, (left, bottom, right - left, top - bottom), font)
    radius = {n.name: RADIUS / 4 if n.dist is None else RADIUS for n in model.nodes}
    for (parent, child), points in places.arrows.items():
        _draw_arrow(ax, points, (radius[parent], radius[child]), font)
    for node in model.nodes:
        if node.tie is not None:
            _draw_tie(ax, places.nodes[node.name], places.nodes[node.tie])
        _draw_node(ax, node, places.nodes[node.name], font, is_parent=node.name in parents)
    ax.set_title(_title(ax, model, font + 1), fontsize=font + 1)
    return ax


def _title(ax: Axes, model: Model, font: float) -> str:
    """Return the joint as a product, broken between factors where a line would leave the axes."""
    most = ax.get_window_extent().width * 72 / ax.figure.dpi / (CHARACTER * font)
    lines = [""]
    for factor in (str(node) for node in model.order if node.dist is not None):
        longer = f"{lines[-1]} {factor}".strip()
        if len(longer) <= most or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(factor)
    return "\n".join(lines)


def _font_size(ax: Axes) -> float:
    """Return the font size, in points, at which names fit the space between nodes."""
    box = ax.get_window_extent()
    points = 72 / ax.figure.dpi
    width, height = (abs(a - b) for a, b in (ax.get_xlim(), ax.get_ylim()))
    per_unit = min(box.width / width, box.height / height) * points
    return float(np.clip(0.11 * per_unit, 4, 11))


def _draw_plate(ax: Axes, box: tuple[float, float, float, float], font: float) -> None:
    patches = require("matplotlib.patches", extra="plot")
    x, y, width, height = box
    style = patches.BoxStyle("Round", pad=0, rounding_size=0.12)
    ax.add_patch(patches.FancyBboxPatch((x, y), width, height, style, fill=False, edgecolor="0.45"))
    ax.text(x + width - 0.1, y + 0.08, "n", style="italic", ha="right", fontsize=font + 1)


def _draw_tie(ax: Axes, place: tuple[float, float], other: tuple[float, float]) -> None:
    """Draw a dashed line between two nodes with one θ, bent so as not to run through others."""
    patches = require("matplotlib.patches", extra="plot")
    bend = 0.0 if abs(place[0] - other[0]) <= 1 and place[1] == other[1] else 0.25
    line = patches.FancyArrowPatch(
        place,
        other,
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-",
        linestyle=(0, (3, 3)),
        color="0.45",
        zorder=0,
    )
    ax.add_patch(line)


def _draw_arrow(
    ax: Axes, points: Sequence[tuple[float, float]], radii: tuple[float, float], font: float
) -> None:
    """Draw an arrow from the rim of one node to the rim of another, smoothly past its bends."""
    patches, paths = (require(f"matplotlib.{m}", extra="plot") for m in ("patches", "path"))
    way = np.array(points)
    way[0] += radii[0] * _direction(way[0], way[1])
    way[-1] += radii[1] * _direction(way[-1], way[-2])
    # Bends pull on quadratic curves that join half-way between them.
    bends, start, end = way[1:-1], way[0], way[-1]
    joints = [*(bends[:-1] + bends[1:]) / 2, end]
    curves = [point for pair in zip(bends, joints, strict=False) for point in pair]
    code = paths.Path.CURVE3 if curves else paths.Path.LINETO
    vertices = [start, *(curves or [end])]
    codes = [paths.Path.MOVETO] + [code] * (len(vertices) - 1)
    ax.add_patch(
        patches.FancyArrowPatch(
            path=paths.Path(vertices, codes),
            arrowstyle="-|>",
            mutation_scale=1.3 * font,
            color="0.25",
            linewidth=0.12 * font,
        )
    )


def _direction(start: Array, end: Array) -> Array:
    difference = end - start
    return np.asarray(difference / np.hypot(*difference))


def _family(node: Node) -> str:
    """Return the name of a node's family, with its number of states if that is declared."""
    if node.dist is None:
        return ""
    family = type(node.dist.free)
    name = family.__name__
    if node.n_states and attrs.has(family) and hasattr(attrs.fields(family), "n_states"):
        name = f"{name}({node.n_states})"
    return name if node.dist.free is node.dist else f"{name}, fixed"


def _room(node: Node, *, is_parent: bool) -> tuple[float, float]:
    """Return how far from its centre a node and its words reach to the left and to the right."""
    length = len(_family(node))
    if is_parent and node.given:
        return 0.6, max(0.6, 1.4 * RADIUS + 0.08 * length)
    return (max(0.6, 0.1 + 0.035 * length),) * 2


def _draw_node(
    ax: Axes, node: Node, place: tuple[float, float], font: float, *, is_parent: bool
) -> None:
    patches = require("matplotlib.patches", extra="plot")
    x, y = place
    if node.dist is None:
        ax.add_patch(patches.Circle(place, RADIUS / 4, color="black", zorder=3))
        ax.text(x, y + RADIUS / 2, node.name, ha="center", va="bottom", fontsize=font)
        return
    fill = "white" if node.is_latent else SHADED
    ax.add_patch(patches.Circle(place, RADIUS, facecolor=fill, edgecolor="black", zorder=3))
    shrink = min(1.0, 4.5 / len(node.name))
    ax.text(x, y, node.name, ha="center", va="center", fontsize=1.2 * font * shrink, zorder=4)
    name = _family(node)
    # Where no arrow is: below a leaf, above a root, beside what is neither.
    if not is_parent:
        ax.text(x, y - 1.2 * RADIUS, name, ha="center", va="top", fontsize=font)
    elif not node.given:
        ax.text(x, y + 1.2 * RADIUS, name, ha="center", va="bottom", fontsize=font)
    else:
        ax.text(x + 1.2 * RADIUS, y, name, ha="left", va="center", fontsize=font)
