"""Data in the plane or on a line, coloured by the states of their latent parents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentem.errors import require
from latentem.plot.canvas import SHADED, STATES, axes_or_new, blend, palette
from latentem.plot.view import View
from latentem.tables import state_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Ellipse

    from latentem.em.result import Fit
    from latentem.graph import Model

Array = NDArray[Any]

#: The states that a legend lists, as many as there are colours; of more it says how many.
MOST_LISTED = len(STATES)

#: The levels that have their names on the axis.
MOST_NAMED = 40

#: What multiples of a quarter turn are called.
QUARTERS = {-2: "−π", -1: "−π/2", 0: "0", 1: "π/2", 2: "π", 3: "3π/2", 4: "2π"}


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
    component densities, each times its share of the data, and their sum. Levels: bars of their
    frequencies, divided among the states, and the probabilities under the model. A regression of
    one dimension: a scatter against its first covariate, with the mean of every component.

    A point of which a coordinate drawn is missing is left out; the title says how many are.

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

    Raises
    ------
    ModelError
        If the node is not one that is observed, or the columns are not two of its own.
    DataError
        If there is nothing to draw.
    """
    view = View(model_or_fit, data, node)
    plane = view.plane(columns)
    known = view.known(plane)
    value, shares = view.value[known], view.marginal()[known]  # (m, d), (m, K)
    ax = axes_or_new(ax)
    if view.has_levels:
        explained = _draw_frequencies(ax, view, value[:, 0], shares)
    elif view.is_line and view.inputs is not None:
        return _regression(ax, view, known, blend(shares))
    elif view.is_line:
        explained = _draw_density(ax, view, value[:, 0], shares)
        _draw_rug(ax, value[:, 0], blend(shares))
    else:
        x, y = value[:, plane].T
        ax.scatter(x, y, s=16, c=blend(shares), linewidths=0, alpha=0.85)
        explained = _draw_ellipses(ax, view, plane)
    return _labelled(ax, view, plane, known, explained)


def clusters(
    fit_or_model: Fit | Model,
    data: Any,
    ax: Axes | None = None,
    *,
    node: str | None = None,
    columns: tuple[int, int] = (0, 1),
) -> Axes:
    """Draw every observed point in the colour of its most probable state, and the prototypes.

    A point of which a coordinate drawn is missing is left out; the title says how many are.

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

    Raises
    ------
    ModelError
        If the node is not one that is observed, or the columns are not two of its own.
    DataError
        If there is nothing to draw.
    """
    view = View(fit_or_model, data, node)
    plane = view.plane(columns)
    known = view.known(plane)
    value, states = view.value[known], view.marginal()[known].argmax(axis=1)  # (m, d), (m,)
    ax = axes_or_new(ax)
    if view.has_levels:
        _draw_bars(ax, view, value[:, 0], np.eye(view.n_states)[states])
        ax.set_ylabel("rows")
        return _labelled(ax, view, plane, known, [])
    if view.is_line and view.inputs is not None:
        return _regression(ax, view, known, palette(view.n_states)[states])
    if view.is_line:
        _draw_histograms(ax, view, value[:, 0], states)
    else:
        x, y = value[:, plane].T
        ax.scatter(x, y, s=16, c=palette(view.n_states)[states], linewidths=0, alpha=0.7)
    return _labelled(ax, view, plane, known, _draw_centres(ax, view, plane))


# -- what the axes and colours mean ----------------------------------------------------------------


def _labelled(
    ax: Axes, view: View, plane: Sequence[int], known: Array, explained: Sequence[tuple[str, Any]]
) -> Axes:
    """Label the axes, say how many rows are left out, and add a legend."""
    ax.set_xlabel(view.names[plane[0]])
    if len(plane) == 2:
        ax.set_ylabel(view.names[plane[1]])
    if view.turn is not None:
        quarters = np.linspace(*view.turn, 5)
        ax.set_xlim(*view.turn)
        ax.set_xticks(quarters, [QUARTERS[round(2 * angle / np.pi)] for angle in quarters])
    n_missing = int(np.count_nonzero(~known))
    if n_missing:
        what = "a coordinate is missing" if len(plane) == 2 else "no value"
        text = f"{n_missing} of {len(known)} rows left out: {what}"
        ax.set_title(text, loc="right", fontsize="small", color="0.35")
    lines = require("matplotlib.lines", extra="plot")
    names, colours = view.state_names(), palette(view.n_states)
    n_listed = len(names) if len(names) <= MOST_LISTED else MOST_LISTED - 1
    entries = [
        (name, {"color": tuple(colour), "marker": "o", "linestyle": "none"})
        for name, colour in zip(names[:n_listed], colours, strict=False)
    ]
    if n_listed < len(names):
        entries.append((f"... {len(names)} states in all", {"linestyle": "none"}))
    entries += explained
    if entries:
        handles = [lines.Line2D([], [], **style) for _, style in entries]
        labels = [label for label, _ in entries]
        ax.legend(handles, labels, fontsize="small", framealpha=0.8)
    return ax


def _regression(ax: Axes, view: View, known: Array, colours: Array) -> Axes:
    """Draw values against a covariate, and the components' means given it."""
    assert view.inputs is not None
    ax.scatter(
        view.inputs[known, view.regressor], view.value[known, 0], s=16, c=colours, linewidths=0
    )
    explained: list[tuple[str, Any]] = []
    if hasattr(view.dist, "expected_value"):
        u, means = view.curves(200)
        for mean, colour in zip(means.T, view.component_colours(), strict=False):
            ax.plot(u, mean, color="white", linewidth=4)
            ax.plot(u, mean, color=colour * 0.75, linewidth=2)
        explained = [("mean", {"color": "0.25", "linewidth": 2})]
    ax = _labelled(ax, view, [0], known, explained)
    ax.set_xlabel(view.regressor_name)
    ax.set_ylabel(view.names[0])
    return ax


# -- points of the plane ---------------------------------------------------------------------------


def _draw_centres(ax: Axes, view: View, plane: Sequence[int]) -> list[tuple[str, Any]]:
    """Mark the prototypes or means: crosses, or on a line verticals."""
    centres = view.centres()
    for centre, colour in zip(centres, view.component_colours(), strict=False):
        if view.is_line:
            ax.axvline(centre[0], color=colour, linewidth=2)
            continue
        for paint, width in (("white", 5.0), (colour * 0.75, 2.5)):
            place = centre[list(plane)]
            ax.plot(*place, "x", color=paint, markersize=12, markeredgewidth=width, zorder=4)
    cross = {"marker": "x", "linestyle": "none", "markersize": 8, "markeredgewidth": 2}
    style = {"linewidth": 2} if view.is_line else cross
    return [(view.centre_name, {"color": "0.25", **style})] if len(centres) else []


def _draw_ellipses(ax: Axes, view: View, plane: Sequence[int]) -> list[tuple[str, Any]]:
    """Draw the contours of one and two standard deviations of each component."""
    covariance, d = getattr(view.dist, "covariance", None), view.value.shape[1]
    centres = view.centres()[:, list(plane)]
    if not isinstance(covariance, np.ndarray) or not len(centres):
        return []
    rows_and_columns = np.ix_(plane, plane)
    spreads = [matrix[rows_and_columns] for matrix in covariance.reshape(-1, d, d)]
    contours = ((1.0, "solid"), (2.0, "dashed"))
    for centre, spread, colour in zip(centres, spreads, view.component_colours(), strict=True):
        for deviations, line in contours if np.isfinite(spread).all() else ():
            ellipse = _ellipse(centre, spread, deviations)
            ellipse.set(fill=False, edgecolor=colour * 0.7, linewidth=1.6, linestyle=line)
            ax.add_patch(ellipse)
        ax.plot(*centre, "+", color=colour * 0.7, markersize=9, markeredgewidth=2)
    cross = {"marker": "+", "linestyle": "none", "markersize": 9, "markeredgewidth": 2}
    explained: list[tuple[str, Any]] = [(view.centre_name, {"color": "0.25", **cross})]
    for deviations, line in contours:
        label = f"{deviations:g} standard deviation{'' if deviations == 1 else 's'}"
        explained.append((label, {"color": "0.25", "linewidth": 1.6, "linestyle": line}))
    return explained


def _ellipse(centre: Array, covariance: Array, deviations: float) -> Ellipse:
    patches = require("matplotlib.patches", extra="plot")
    variances, axes = np.linalg.eigh(covariance)
    width, height = 2 * deviations * np.sqrt(np.maximum(variances, 0.0))
    angle = float(np.degrees(np.arctan2(axes[1, 0], axes[0, 0])))
    ellipse: Ellipse = patches.Ellipse(centre, width, height, angle=angle)
    return ellipse


# -- numbers on a line -----------------------------------------------------------------------------


def _draw_density(
    ax: Axes, view: View, values: Array, responsibilities: Array
) -> list[tuple[str, Any]]:
    """Draw a histogram, each state's share times its density, and their sum."""
    edges = _bins(values, view.turn)
    ax.hist(values, bins=list(edges), density=True, color=SHADED, edgecolor="white", linewidth=0.5)
    counted = view.turn is None and _is_integer(values)
    ax.set_ylabel("share of rows" if counted and edges[1] - edges[0] == 1 else "density")
    if not view.has_density:
        return []
    shares = responsibilities.mean(axis=0)
    low, high = (values.min(), values.max()) if counted else (edges[0], edges[-1])
    grid = np.arange(low, high + 1) if counted else np.linspace(low, high, 400)
    log_density = np.asarray(view.dist.log_prob(grid.reshape(-1, *view.event_shape)))
    log_density = log_density.reshape(len(grid), -1)  # (grid, K)
    style = "o-" if counted and len(grid) < 40 else "-"
    parts = np.exp(log_density) * shares
    for part, colour in zip(parts.T, view.component_colours(), strict=True):
        ax.plot(grid, part, style, color=colour, linewidth=2, markersize=4)
    total: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": "dashed"}
    ax.plot(grid, parts.sum(axis=1), **total)
    return [("share x density", {"color": "0.5", "linewidth": 2}), ("their sum", total)]


def _draw_histograms(ax: Axes, view: View, values: Array, states: Array) -> None:
    groups = [values[states == state] for state in range(view.n_states)]
    colours = [tuple(colour) for colour in palette(view.n_states)]
    ax.hist(groups, bins=_bins(values, view.turn).tolist(), color=colours, stacked=True, alpha=0.7)
    ax.set_ylabel("rows")


def _draw_rug(ax: Axes, values: Array, colours: Array) -> None:
    """Mark each value below the histogram."""
    height = -0.03 * ax.get_ylim()[1]
    ax.scatter(values, np.full(len(values), height), s=60, c=colours, marker="|", linewidths=0.8)


def _is_integer(values: Array) -> bool:
    return bool(np.all(values == np.round(values)))


def _bins(values: Array, turn: tuple[float, float] | None) -> Array:
    """Return bin edges; whole numbers are never split, nor bins given unequal numbers of them.

    A turn is divided into 24, 15° each: its ends are one place, where no bin may be cut.
    """
    if turn is not None:
        return np.linspace(*turn, 25)
    if not _is_integer(values):
        return np.histogram_bin_edges(values, bins=int(np.clip(2 * np.sqrt(len(values)), 5, 60)))
    width = max(1, round((values.max() - values.min()) / 30))
    return np.asarray(np.arange(values.min(), values.max() + 1 + width, width) - 0.5)


# -- levels ----------------------------------------------------------------------------------------


def _draw_frequencies(
    ax: Axes, view: View, values: Array, responsibilities: Array
) -> list[tuple[str, Any]]:
    """Draw the frequency of each level, divided among the states, and its probability."""
    _draw_bars(ax, view, values, responsibilities / len(values))
    ax.set_ylabel("share of rows")
    if not view.has_density:
        return []
    levels = np.arange(view.node.n_states or 0)
    by_state = np.exp(np.asarray(view.dist.log_prob(levels)).reshape(len(levels), -1))
    mark: dict[str, Any] = {
        "color": "black",
        "marker": "_",
        "linestyle": "none",
        "markersize": 16,
        "markeredgewidth": 2,
    }
    ax.plot(levels, by_state @ responsibilities.mean(axis=0), **mark)
    return [("probability under the model", {**mark, "markersize": 10})]


def _draw_bars(ax: Axes, view: View, values: Array, by_row: Array) -> None:
    """Draw a bar for each level, stacked by state; ``by_row`` is what a row adds, (m, K)."""
    names = state_names(view.node)
    levels = np.arange(len(names))
    bottom = np.zeros(len(names))
    for amount, colour in zip(by_row.T, palette(view.n_states), strict=True):
        height = np.bincount(values.astype(np.intp), weights=amount, minlength=len(names))
        ax.bar(levels, height, bottom=bottom, color=tuple(colour), alpha=0.7)
        bottom += height
    ax.set_ylim(0, 1.3 * bottom.max())  # with room for the legend
    if len(names) <= MOST_NAMED:
        is_long = sum(len(name) + 2 for name in names) > 70
        ax.set_xticks(levels, names, rotation=90 if is_long else 0)
