"""A criterion over the models of a selection or a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentem.comparison import Comparison, Selection
from latentem.em.status import Status
from latentem.plot.canvas import AFTER_E, AFTER_M, axes_or_new, must_be

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def selection(selection: Selection | Comparison, ax: Axes | None = None) -> Axes:
    """Draw the criterion against k, or over the names of a comparison, the best marked.

    Fits that a constraint holds are drawn open: their criterion says little. A k without a fit is
    left out. Prototypes have a distortion in place of a criterion, and no best.

    Parameters
    ----------
    selection : Selection or Comparison
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    must_be(selection, (Selection, Comparison), "a Selection or a Comparison")
    comparison = selection.comparison if isinstance(selection, Selection) else selection
    ks = list(comparison.fits)
    # Anything but numbers stands at equal distances.
    is_number = all(isinstance(k, int | float | np.number) for k in ks)
    order = np.argsort(np.array(ks)) if is_number else np.arange(len(ks))
    place = np.array(ks, dtype=float)[order] if is_number else order
    criterion = comparison.criterion if comparison.has_likelihoods else "distortion"
    height = comparison.numbers[criterion][order]
    held = np.array([f.status is Status.DEGENERATE for f in comparison.fits.values()])[order]
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
    if comparison.has_likelihoods:
        best = list(order).index(ks.index(comparison.best))
        ax.plot(
            place[best],
            height[best],
            "o",
            markersize=14,
            markerfacecolor="none",
            markeredgecolor=AFTER_M,
            markeredgewidth=2,
            label=f"best: {comparison.best}, {criterion.upper()} {height[best]:.2f}",
        )
    if is_number:
        ax.locator_params(axis="x", integer=True)
    else:
        ax.set_xticks(place, [str(k) for k in ks])
        ax.margins(x=0.15)
    ax.set_xlabel("k" if isinstance(selection, Selection) else "")
    what = f"{criterion.upper()} (smaller is better)"
    ax.set_ylabel(what if comparison.has_likelihoods else "distortion J, total")
    ax.ticklabel_format(axis="y", useOffset=False)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)
    return ax
