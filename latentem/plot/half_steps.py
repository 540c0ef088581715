"""The objective after every half-step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latentem.em.result import Fit
from latentem.em.trace import HalfStep, Trace
from latentem.errors import ModelError
from latentem.plot.canvas import AFTER_E, AFTER_M, axes_or_new, must_be

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def trace(fit_or_trace: Fit | Trace, ax: Axes | None = None) -> Axes:
    """Draw the objective after every half-step: blue after E, red after M.

    With a distortion in the trace (K-means) that is drawn instead, since it is the objective with
    its sign changed.

    Parameters
    ----------
    fit_or_trace : Fit or Trace
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ModelError
        If the trace is empty.
    """
    must_be(fit_or_trace, (Fit, Trace), "a Fit or a Trace")
    rows = (fit_or_trace if isinstance(fit_or_trace, Trace) else fit_or_trace.trace).rows
    if not rows:
        raise ModelError("A picture must be given a trace with half-steps, got none.")
    is_distortion = any(row.distortion is not None for row in rows)
    height = np.array([row.distortion if is_distortion else row.objective for row in rows])
    after_e = np.array([row.phase == "E" for row in rows])
    # The M-step of an iteration comes before its E-step, half a unit to the left.
    place = np.array([row.iteration for row in rows]) - np.where(after_e, 0.0, 0.5)
    ax = axes_or_new(ax)
    size = float(np.clip(300 / max(len(rows), 1), 2, 7))
    ax.plot(place, height, color="0.65", linewidth=1, zorder=1)
    ax.plot(place[after_e], height[after_e], "o", color=AFTER_E, markersize=size, label="after E")
    ax.plot(place[~after_e], height[~after_e], "o", color=AFTER_M, markersize=size, label="after M")
    ax.set_xlabel("iteration")
    ax.locator_params(axis="x", integer=True)
    objective = "objective F, total nats"
    if _is_likelihood(rows):
        objective += "\n(after E, ln p(X | θ))"
    ax.set_ylabel("distortion J, total" if is_distortion else objective)
    ax.ticklabel_format(axis="y", useOffset=False)
    ax.annotate(
        f"{height[-1]:.8g}",
        (place[-1], height[-1]),
        xytext=(0, 8 if is_distortion else -14),
        textcoords="offset points",
        ha="right",
    )
    ax.legend(frameon=False)
    return ax


def _is_likelihood(rows: Sequence[HalfStep]) -> bool:
    """Return whether the objective after every E-step is the log-likelihood: not with priors."""
    after_e = [row for row in rows if row.phase == "E"]
    return bool(after_e) and all(
        row.log_likelihood is not None and np.isclose(row.objective, row.log_likelihood)
        for row in after_e
    )
