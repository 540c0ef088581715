"""When a run has converged."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import numpy as np

from latentem.em.loop import State
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.errors import ModelError

#: Share of the tolerance that may be left to gain by Aitken's estimate, an extrapolation itself.
MARGIN = 0.01
#: The same without latents: what is missing then is values, and few steps lead to all digits.
MARGIN_WITHOUT_LATENTS = 1e-9
#: Objectives per unit of weight that differ by less are of one optimum.
SAME = 4e-6
#: Relative to the objective a gain below this is rounding.
ROUNDING = 4 * float(np.finfo(float).eps)
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

    def reached(self, states: list[State], weight: float) -> bool:
        """Return whether the last of the states is converged; they are consecutive."""
        if self.tol <= 0 or len(states) < 2:
            return False
        rule = states[-1].rule
        if not (rule.is_settled and rule.is_monotone):
            return False
        # Objectives of different temperatures do not compare.
        same = itertools.takewhile(lambda state: state.rule == rule, reversed(states))
        states = list(same)[::-1]
        if len(states) < 2:
            return False
        return self._objective_reached(states, weight) and self._parameters_reached(states)

    def _objective_reached(self, states: list[State], weight: float) -> bool:
        objective = states[-1].objective
        gain = objective - states[-2].objective
        if abs(gain) <= ROUNDING * abs(objective):
            return True
        allowed = self.tol * (abs(objective) if self.relative else weight)
        if gain > allowed:
            return False
        extrapolates = self.thorough and not states[-1].rule.is_hard
        return not extrapolates or self._left_to_gain(states) <= self.margin * allowed

    def _left_to_gain(self, states: list[State]) -> float:
        """Return Aitken's estimate of the gains to come."""
        if len(states) < 3:
            return np.inf
        first, second, third = (state.objective for state in states[-3:])
        before, gain = second - first, third - second
        if gain <= 0:
            return 0.0
        rate = gain / before if before > 0 else 1.0
        # After a leap a step gains much where EM is fast; what is left is where it is slow. The
        # objective is quadratic in the error.
        rate = max(rate, states[-1].rate ** 2)
        return float(gain * rate / (1.0 - rate)) if rate < 1.0 else np.inf

    def _parameters_reached(self, states: list[State]) -> bool:
        if self.parameter_tol is None:
            return True
        return parameter_change(states[-2].theta, states[-1].theta) < self.parameter_tol


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
