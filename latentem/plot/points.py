"""Data in the plane or on a line, coloured by the states of their latent parents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentem.data import bind
from latentem.em.assign import hard, soft
from latentem.em.result import Fit
from latentem.em.steps import e_step
from latentem.errors import require
from latentem.graph import Model, Node
from latentem.inference.posterior import Posterior
from latentem.plot.canvas import SHADED, axes_or_new, blend, palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Ellipse

Array = NDArray[Any]


def responsibilities(
    model_or_fit: Model | Fit,
    data: Any,
    ax: Axes | None = None,
    *,
    node: str | None = None,
    columns: tuple[int, int] = (0, 1),
) -> Axes:
    """Draw observed points in the blend of the states' colours by p(z | x), and the components.

    Two or more dimensions: a scatter, with the contours of one and two standard deviations of
    every component that has a mean and a covariance. One dimension: a histogram with the
    component densities, each times its share of the data, and their sum.

    Parameters
    ----------
    model_or_fit : Model or Fit
        Parameterised.
    data : array, DataFrame or mapping
        As for `latentem.fit`.
    ax : matplotlib.axes.Axes, optional
    node : str, optional
        The observed node to draw; the first one that has a latent parent if not given.
    columns : (int, int)
        The two dimensions of the node to draw.

    Returns
    -------
    matplotlib.axes.Axes
    """
    view = _View(model_or_fit, data, node)
    shares = view.marginal()  # (n, K)
    ax = axes_or_new(ax)
    if view.is_line:
        _draw_density(ax, view, shares)
        _draw_rug(ax, view.value[:, 0], blend(shares))
    else:
        plane = view.value[:, list(columns)]
        ax.scatter(plane[:, 0], plane[:, 1], s=16, c=blend(shares), linewidths=0, alpha=0.85)
        _draw_ellipses(ax, view, columns)
    return _labelled(ax, view, columns)


def clusters(
    fit_or_model: Fit | Model,
    data: Any,
    ax: Axes | None = None,
    *,
    node: str | None = None,
    columns: tuple[int, int] = (0, 1),
) -> Axes:
    """Draw every observed point in the colour of its most probable state, and the prototypes.

    Parameters
    ----------
    fit_or_model : Fit or Model
        Parameterised; its prototypes, or means, are drawn as crosses.
    data : array, DataFrame or mapping
        As for `latentem.fit`.
    ax : matplotlib.axes.Axes, optional
    node : str, optional
        The observed node to draw; the first one that has a latent parent if not given.
    columns : (int, int)
        The two dimensions of the node to draw.

    Returns
    -------
    matplotlib.axes.Axes
    """
    view = _View(fit_or_model, data, node)
    labels = view.marginal().argmax(axis=1)  # (n,)
    crosses = list(zip(view.centres(), view.component_colours(), strict=False))
    ax = axes_or_new(ax)
    if view.is_line:
        _draw_histograms(ax, view, labels)
        for centre, colour in crosses:
            ax.axvline(centre[0], color=colour, linewidth=2)
        return _labelled(ax, view, columns)
    plane = view.value[:, list(columns)]
    ax.scatter(
        plane[:, 0], plane[:, 1], s=16, c=palette(view.n_states)[labels], linewidths=0, alpha=0.7
    )
    for centre, colour in crosses:
        for paint, width in (("white", 5.0), (colour * 0.75, 2.5)):
            place = centre[list(columns)]
            ax.plot(*place, "x", color=paint, markersize=12, markeredgewidth=width, zorder=4)
    return _labelled(ax, view, columns)


class _View:
    """One observed node of a model on data: its values (n, d) and the states of its parents."""

    def __init__(self, fitted: Model | Fit, data: Any, name: str | None) -> None:
        model, self.posterior = _inferred(fitted, data)
        self.node = _drawn(model, name)
        self.dist: Any = self.node.dist
        bound = bind(model, data)[1].values[self.node.name]
        self.event_shape = bound.shape[1:]
        self.value = bound.reshape(len(bound), math.prod(self.event_shape)).astype(float)
        self.labels = _column_names(self.node, data, self.value.shape[1])
        parents = model.discrete_parents(self.node.name)
        self.latents = [parent for parent in parents if parent.is_latent]
        self.n_states = math.prod(parent.n_states or 1 for parent in self.latents)
        # Parameters are indexed by all discrete parents, colours by the latent ones.
        shape = model.parents_shape(self.node.name)
        states = np.indices(shape).reshape(len(shape), -1)
        hidden = [axis for axis, parent in enumerate(parents) if parent.is_latent]
        self.state_of_component = (
            np.ravel_multi_index(tuple(states[hidden]), tuple(shape[axis] for axis in hidden))
            if hidden
            else np.zeros(math.prod(shape), dtype=int)
        )

    @property
    def is_line(self) -> bool:
        return self.value.shape[1] == 1

    def marginal(self) -> Array:
        """Return p(states of the latent parents | x), all combinations in C order, (n, K)."""
        if not self.latents:
            return np.ones((len(self.value), 1))
        table = self.posterior.marginal(*(latent.name for latent in self.latents))
        return np.asarray(table).reshape(len(self.value), -1)

    def centres(self) -> Array:
        """Return the prototypes, or else the means, of the components, (K, d)."""
        centres = getattr(self.dist, "prototypes", getattr(self.dist, "mean", None))
        if centres is None:
            return np.empty((0, self.value.shape[1]))
        return np.asarray(centres, dtype=float).reshape(-1, self.value.shape[1])

    def component_colours(self) -> Array:
        """Return the colour of each component, (K, 3)."""
        return np.asarray(palette(self.n_states)[self.state_of_component])


def _inferred(fitted: Model | Fit, data: Any) -> tuple[Model, Posterior]:
    """Return the model, and its posterior on the data."""
    if isinstance(fitted, Model):
        assign = hard if fitted.requires_hard else soft
        return fitted, e_step(fitted, data, assign=assign)
    return fitted.model, fitted.posterior(data)


def _drawn(model: Model, name: str | None) -> Node:
    """Return the observed node asked for, or the first that has a latent parent."""
    if name is not None:
        return model.by_name[name]
    with_latents = [n for n in model.observed if any(parent.is_latent for parent in n.given)]
    return (with_latents or list(model.observed))[0]


def _column_names(node: Node, data: Any, d: int) -> Sequence[str]:
    """Return the names of a node's ``d`` columns: those of a data frame, or made from its own."""
    names = node.columns or tuple(getattr(data, "columns", ()))
    if len(names) == d:
        return [str(name) for name in names]
    return [node.name] if d == 1 else [f"{node.name}[{j}]" for j in range(d)]


def _labelled(ax: Axes, view: _View, columns: tuple[int, int]) -> Axes:
    if view.is_line:
        ax.set_xlabel(view.labels[0])
    else:
        ax.set_xlabel(view.labels[columns[0]])
        ax.set_ylabel(view.labels[columns[1]])
    return ax


def _draw_ellipses(ax: Axes, view: _View, columns: tuple[int, int]) -> None:
    """Draw the contours of one and two standard deviations of each component."""
    covariance, d = getattr(view.dist, "covariance", None), view.value.shape[1]
    if not isinstance(covariance, np.ndarray):
        return
    plane = np.ix_(columns, columns)
    spreads = [matrix[plane] for matrix in covariance.reshape(-1, d, d)]
    centres = view.centres()[:, list(columns)]
    for centre, spread, colour in zip(centres, spreads, view.component_colours(), strict=True):
        for deviations, line in ((1.0, "solid"), (2.0, "dashed")):
            ellipse = _ellipse(centre, spread, deviations)
            ellipse.set(fill=False, edgecolor=colour * 0.7, linewidth=1.6, linestyle=line)
            ax.add_patch(ellipse)
        ax.plot(*centre, "+", color=colour * 0.7, markersize=9, markeredgewidth=2)


def _ellipse(centre: Array, covariance: Array, deviations: float) -> Ellipse:
    patches = require("matplotlib.patches", extra="plot")
    variances, axes = np.linalg.eigh(covariance)
    width, height = 2 * deviations * np.sqrt(np.maximum(variances, 0.0))
    angle = float(np.degrees(np.arctan2(axes[1, 0], axes[0, 0])))
    ellipse: Ellipse = patches.Ellipse(centre, width, height, angle=angle)
    return ellipse


def _draw_density(ax: Axes, view: _View, responsibilities: Array) -> None:
    """Draw a histogram, each state's share times its density, and their sum."""
    values, edges = view.value[:, 0], _bins(view.value[:, 0])
    ax.hist(values, bins=list(edges), density=True, color=SHADED, edgecolor="white", linewidth=0.5)
    ax.set_ylabel("density")
    shares = responsibilities.mean(axis=0)
    if view.dist.requires_hard or len(view.state_of_component) != len(shares):
        return  # no density, or one that depends on observed states as well
    counted = _is_integer(values)
    low, high = (values.min(), values.max()) if counted else (edges[0], edges[-1])
    grid = np.arange(low, high + 1) if counted else np.linspace(low, high, 400)
    log_density = np.asarray(view.dist.log_prob(grid.reshape(-1, *view.event_shape)))
    log_density = log_density.reshape(len(grid), -1)  # (grid, K)
    style = "o-" if counted and len(grid) < 40 else "-"
    parts = np.exp(log_density) * shares
    for part, colour in zip(parts.T, view.component_colours(), strict=True):
        ax.plot(grid, part, style, color=colour, linewidth=2, markersize=4)
    ax.plot(grid, parts.sum(axis=1), color="black", linewidth=1, linestyle="dashed")


def _draw_histograms(ax: Axes, view: _View, labels: Array) -> None:
    values = view.value[:, 0]
    groups = [values[labels == state] for state in range(view.n_states)]
    colours = [tuple(colour) for colour in palette(view.n_states)]
    ax.hist(groups, bins=_bins(values).tolist(), color=colours, stacked=True, alpha=0.7)
    ax.set_ylabel("rows")


def _draw_rug(ax: Axes, values: Array, colours: Array) -> None:
    """Mark each value below the histogram."""
    height = -0.03 * ax.get_ylim()[1]
    ax.scatter(values, np.full(len(values), height), s=60, c=colours, marker="|", linewidths=0.8)


def _is_integer(values: Array) -> bool:
    return bool(np.all(values == np.round(values)))


def _bins(values: Array) -> Array:
    """Return bin edges; whole numbers are never split, nor bins given unequal numbers of them."""
    if not _is_integer(values):
        return np.histogram_bin_edges(values, bins=int(np.clip(2 * np.sqrt(len(values)), 5, 60)))
    width = max(1, round((values.max() - values.min()) / 30))
    return np.asarray(np.arange(values.min(), values.max() + 1 + width, width) - 0.5)
