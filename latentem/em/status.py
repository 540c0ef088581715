"""How a fit ends."""

from __future__ import annotations

import enum


class Status(enum.Enum):
    """The four endings of a fit; each value is a sentence that names the remedy."""

    CONVERGED = "Converged: the objective is within the tolerance of its limit; nothing to do."
    ITERATION_LIMIT = (
        "Stopped before convergence, by the iteration limit or an interrupt: raise max_iter, "
        "or go on from fit.model."
    )
    DECREASED = (
        "The objective fell, which exact EM cannot do: mend the maximiser of the node named."
    )
    DEGENERATE = (
        "Degenerate: a state has collapsed and a constraint holds it; use fewer states, a shared "
        "or simpler covariance, or more data."
    )
