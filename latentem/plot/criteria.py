"""A criterion over the models of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentem.em.status import Status
from latentem.plot.canvas import AFTER_E, AFTER_M, axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latentem.comparison import Selection


def selection(selection: Selection, ax: Axes | None = None) -> Axes:
    """Draw the criterion against k, the best marked.

    Fits that a constraint holds are drawn open: their criterion says little. A k without a fit is
    left out.

    Parameters
    ----------
    selection : Selection
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    comparison = selection.comparison
    ks = list(comparison.fits)
    # Anything but numbers stands at equal distances.
    is_number = all(isinstance(k, int | float) for k in ks)
    order = np.argsort(np.array(ks)) if is_number else np.arange(len(ks))
    place = np.array(ks, dtype=float)[order] if is_number else order
    height = comparison.numbers[comparison.criterion][order]
    held = np.array([f.status is Status.DEGENERATE for f in comparison.fits.values()])[order]
    name = comparison.criterion.upper()
    ax = axes_or_new(ax)
    if is_number:
        ax.plot(place, height, color="0.65", linewidth=1, zorder=1)
    for chosen, fill, label in ((~held, AFTER_E, None), (held, "white", "held by a constraint")):
        if chosen.any():
            ax.plot(
                place[chosen],
                height[chosen],
                "o",
                markersize=6,
                markerfacecolor=fill,
                markeredgecolor=AFTER_E,
                label=label,
            )
    best = list(order).index(ks.index(comparison.best))
    ax.plot(
        place[best],
        height[best],
        "o",
        markersize=14,
        markerfacecolor="none",
        markeredgecolor=AFTER_M,
        markeredgewidth=2,
        label=f"best: {comparison.best}, {name} {height[best]:.2f}",
    )
    if is_number:
        ax.locator_params(axis="x", integer=True)
    else:
        ax.set_xticks(place, [str(k) for k in ks])
    ax.set_xlabel("k")
    ax.set_ylabel(f"{name} (smaller is better)")
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.legend(frameon=False)
    return ax
