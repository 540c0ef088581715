"""When a run has converged."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np

from latentem.em.loop import NEVER, State
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.errors import ModelError
from latentem.kernels.leaps import has_ended

#: Share of the tolerance that may be left to gain by Aitken's estimate, an extrapolation itself.
MARGIN = 0.01
#: The same without latents: what is missing then is values, and few steps lead to all digits.
MARGIN_WITHOUT_LATENTS = 1e-9
#: Objectives per unit of weight that differ by less are of one optimum.
SAME = 4e-6
#: Table cells (rows times states) up to which an iteration costs next to nothing.
SMALL = 100_000


@attrs.frozen
class Convergence:
    """When a run has converged.

    When the last gain in the objective, per unit of weight, is within the tolerance. (Of
    prototypes, whose objective has the data's unit: relative to the objective.)

    Where an iteration costs next to nothing, the gains to come count too. Near a fixed point they
    shrink by a factor a = d_t / d_{t-1}, so that d_t a / (1 - a) is left to gain (Aitken; Böhning
    et al., Ann. Inst. Stat. Math. 46, 1994); that must be within a hundredth of the tolerance.
    Hard assignments change by leaps, of which none tells the next, and soon stop changing.

    Attributes
    ----------
    tol : float
        Per unit of weight, in nats; 0 never converges.
    parameter_tol : float or None
        If given, the largest change of a parameter, relative to the largest magnitude in its array,
        must be below it too.
    thorough : bool
        Whether the gains to come count.
    relative : bool
        Whether the tolerance is relative to the objective.
    margin : float
        Share of the tolerance that may be left to gain.
    """

    tol: float
    parameter_tol: float | None = None
    thorough: bool = True
    relative: bool = False
    margin: float = MARGIN

    @classmethod
    def on(cls, problem: Problem, tol: Any, parameter_tol: Any = None) -> Convergence:
        """Return the criterion for a problem: thorough where its data are small."""
        return cls(
            nonnegative("tol", tol),
            None if parameter_tol is None else nonnegative("parameter_tol", parameter_tol),
            is_small(problem),
            bool(problem.model.requires_hard),
            MARGIN if problem.layout.elimination.sizes else MARGIN_WITHOUT_LATENTS,
        )

    def reached(self, before: State | None, state: State, weight: float) -> bool:
        """Return whether a state is converged, given the one before it."""
        rule = state.rule
        if before is None or not (rule.is_settled and rule.is_monotone):
            return False
        allowed, left = self.limits(abs(state.objective) if self.relative else weight)
        left = math.inf if rule.is_hard else left
        if not has_ended(*state.earlier, state.objective, state.rate, allowed, left):
            return False
        tol = self.parameter_tol
        return tol is None or parameter_change(before.theta, state.theta) < tol

    def limits(self, weight: float) -> tuple[float, float]:
        """Return by how much the objective may gain, and what may be left to gain."""
        if self.tol == 0:
            return NEVER
        allowed = self.tol * weight
        return allowed, self.margin * allowed if self.thorough else math.inf


def is_small(problem: Problem) -> bool:
    """Return whether an iteration costs next to nothing, so that thoroughness is free."""
    return problem.distinct.n * problem.layout.cells <= SMALL


def parameter_change(old: Theta, new: Theta) -> float:
    """Return the largest relative change of a parameter."""
    largest = 0.0
    for name, dist in new.dists.items():
        before = old.dists[name].parameters
        for field, value in dist.parameters.items():
            previous = before.get(field)
            if value is None or previous is None or not value.size:
                continue
            scale = np.abs(previous).max() or 1.0
            largest = max(largest, float(np.abs(value - previous).max() / scale))
    return largest


def nonnegative(name: str, value: Any) -> float:
    """Return an option that must be a number of at least 0."""
    if not isinstance(value, int | float | np.number) or not 0 <= value < np.inf:
        raise ModelError(f"{name} must be a number of at least 0, got {value!r}. Give one.")
    return float(value)


def whole(name: str, value: Any, least: int) -> int:
    """Return an option that must be a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ModelError(
            f"{name} must be a whole number of at least {least}, got {value!r}. Give one."
        )
    return int(value)


def same_objective(problem: Problem, a: float, b: float, tolerance: float = SAME) -> bool:
    """Return whether two objectives are equal, but for a little per unit of weight.

    A distortion has a unit: but for a share of it.
    """
    size = abs(a) if problem.model.requires_hard else problem.data.total_weight
    return abs(a - b) <= tolerance * size
