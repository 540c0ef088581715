"""Where to draw the nodes of a directed acyclic graph: layers, few crossings, short arrows.

The method of Sugiyama, Tagawa and Toda (IEEE Trans. Systems, Man and Cybernetics 11:109, 1981):
assign layers, break long arrows at invisible points, order each layer by the barycentres of its
neighbours, then move everything as near to its neighbours as the order allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import attrs

Point: TypeAlias = tuple[float, float]
Vertex: TypeAlias = str | tuple[str, str, int]
"""A node by its name, or the place ``(parent, child, layer)`` where a long arrow passes a layer."""

Neighbours: TypeAlias = Mapping[Vertex, Sequence[Vertex]]

SWEEPS = 8


@attrs.frozen
class Layout:
    """Positions of nodes, one unit apart or more, and the points that each arrow passes.

    Attributes
    ----------
    nodes : mapping of name to (x, y)
        Parents above their children; layers are one unit apart.
    arrows : mapping of (parent, child) to points
        From the parent's position to the child's, with the bends between.
    """

    nodes: Mapping[str, Point]
    arrows: Mapping[tuple[str, str], Sequence[Point]]


def layered(parents: Mapping[str, Sequence[str]], stretch: float = 1.0) -> Layout:
    """Lay out a directed acyclic graph, given the parents of each node.

    ``stretch`` multiplies the horizontal distances.

    Examples
    --------
    >>> layered({"z": [], "x": ["z"]}).nodes
    {'z': (0.0, 0.0), 'x': (0.0, -1.0)}
    """
    depth = _depths(parents)
    arrows = {
        (parent, child): _through_layers(parent, child, depth)
        for child, given in parents.items()
        for parent in given
    }
    above: dict[Vertex, list[Vertex]] = {name: [] for name in parents}
    below: dict[Vertex, list[Vertex]] = {name: [] for name in parents}
    for vertices in arrows.values():
        for upper, lower in itertools.pairwise(vertices):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
            above.setdefault(upper, [])
            below.setdefault(lower, [])
    layers: list[list[Vertex]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for vertex in above:
        layers[depth[vertex] if isinstance(vertex, str) else vertex[2]].append(vertex)
    layers = _ordered(layers, above, below)
    x = _placed(layers, above, below)
    place = {v: (stretch * x[v], 0.0 - level) for level, layer in enumerate(layers) for v in layer}
    return Layout(
        {name: place[name] for name in parents},
        {ends: [place[v] for v in vertices] for ends, vertices in arrows.items()},
    )


def _depths(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the layer of each node: below all its parents, and just above its first child."""
    depth: dict[str, int] = {}

    def visit(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((visit(parent) for parent in parents[name]), default=-1)
        return depth[name]

    for name in parents:
        visit(name)
    children: dict[str, list[str]] = {name: [] for name in parents}
    for child, given in parents.items():
        for parent in given:
            children[parent].append(child)
    for name in sorted(depth, key=lambda n: -depth[n]):
        if children[name]:
            depth[name] = min(depth[child] for child in children[name]) - 1
    return depth


def _through_layers(parent: str, child: str, depth: Mapping[str, int]) -> list[Vertex]:
    bends: list[Vertex] = [(parent, child, d) for d in range(depth[parent] + 1, depth[child])]
    return [parent, *bends, child]


def _ordered(
    layers: list[list[Vertex]], above: Neighbours, below: Neighbours
) -> list[list[Vertex]]:
    """Order each layer by barycentres, down and up in turn; keep the order that crosses least."""
    best, fewest = layers, _crossings(layers, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        for level in range(len(layers)) if down else reversed(range(len(layers))):
            rank = {v: i for layer in layers for i, v in enumerate(layer)}
            near = above if down else below
            layers[level].sort(key=lambda v: _mean((rank[u] for u in near[v]), rank[v]))
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _crossings(layers: list[list[Vertex]], below: Neighbours) -> int:
    rank = {v: i for layer in layers for i, v in enumerate(layer)}
    count = 0
    for layer in layers:
        ends = [(rank[u], rank[v]) for u in layer for v in below[u]]
        count += sum(a[0] < b[0] and a[1] > b[1] for a in ends for b in ends)
    return count


def _placed(
    layers: list[list[Vertex]], above: Neighbours, below: Neighbours
) -> dict[Vertex, float]:
    """Move each vertex towards its neighbours, as far as the order and the unit gap allow."""
    x = {v: i - (len(layer) - 1) / 2 for layer in layers for i, v in enumerate(layer)}
    for sweep in range(SWEEPS):
        near = above if sweep % 2 == 0 else below
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_mean((x[u] for u in near[v]), x[v]) for v in layer]
            x.update(zip(layer, _with_gaps(wanted), strict=True))
    return x


def _with_gaps(wanted: Sequence[float]) -> list[float]:
    """Return the positions nearest to those wanted (least squares) that are one unit apart or more.

    Less the index, the positions must not decrease: pool adjacent violators.
    """
    pools: list[tuple[float, int]] = []  # mean of (wanted - index), members
    for index, position in enumerate(wanted):
        mean, size = position - index, 1
        while pools and pools[-1][0] > mean:
            before, members = pools.pop()
            mean = (mean * size + before * members) / (size + members)
            size += members
        pools.append((mean, size))
    flat = [mean for mean, size in pools for _ in range(size)]
    return [mean + index for index, mean in enumerate(flat)]


def _mean(values: Iterable[float], otherwise: float) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else otherwise
