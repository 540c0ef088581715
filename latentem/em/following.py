r"""E-steps one after another: what one finds out about a row spares the next from looking again.

That is so for mixtures of prototypes, where θ moves less and less, and most rows stay with the
state they have (see `latentem.kernels.nearest`). The sums over the rows of each state then change
only by the rows that go from one to another; and with all mass on one state each, F is Q, which is
a function of these sums,

.. math:: F = \sum_k \sum_{i : z_i = k} w_i \log p(x_i, k)
            = \sum_k C_k \cdot S_k, \qquad S_k = \sum_{i : z_i = k} w_i \, (1, T(x_i)),

with the coefficients C of `latentem.em.mixture`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.kernels import Distances, Kernel
from latentem.distributions.records import Counts, StackRecord, Statistics
from latentem.em.assign import Assignment, Hard
from latentem.em.expectation import Expectation
from latentem.em.mixture import is_mixture
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.kernels.nearest import Places, Points, own_squares, reassign, residual_sums
from latentem.parallel import map_blocks

#: The sums of a state are taken afresh when its weight is this much less than it was since they
#: were: what is left of many rows has their rounding error.
LARGEST_FALL = 16.0
#: Rows of a block for the compiled kernel, which keeps no tables of them: so many, or more with so
#: few points and columns that they come to so many products; but no more than the most. A pass
#: looks at few rows, and to hand a block to a thread costs as much as to pass over some 100,000.
COMPILED_BLOCK, MOST_ROWS, COMPILED_PRODUCTS = 32_768, 500_000, 12_000_000

T = TypeVar("T")


class Following:
    """The E-steps of one run; each is exactly what `Problem.expectation` finds by itself.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._assigned: _Assigned | None = None

    def expectation(self, theta: Theta, rule: Assignment) -> Expectation:
        """Return the expected statistics under the posterior at theta."""
        problem = self.problem.reduced_for(rule)
        kernel = distances_alone(problem, theta, rule)
        if kernel is None or kernel.distances is None:
            self._assigned = None
            return problem.expectation(theta, rule)
        if self._assigned is None:
            self._assigned = _Assigned(problem, kernel.distances)
        record = self._assigned.record(kernel.distances)
        (log_prior,) = theta.latent_tables.values()
        objective, _ = kernel.expected_log_prob(record)
        objective += float(log_prior[0] @ record.weight)
        stack = StackRecord(None, (record,))
        return Expectation((stack,), (Counts(record.weight[:, None]),), objective, None)

    def nearest(self, to: Distances) -> Statistics | None:
        """Return the statistics of the rows nearest to each point; None if none were before."""
        return None if self._assigned is None else self._assigned.record(to)


def distances_alone(problem: Problem, theta: Theta, rule: Assignment) -> Kernel | None:
    """Return the kernel of a mixture whose rows go to the nearest of some points, else None."""
    if not isinstance(rule, Hard) or not is_mixture(problem.layout, problem.data):
        return None
    (kernel, *others), (log_prior,) = theta.kernels.values(), theta.latent_tables.values()
    alike = (log_prior == log_prior[0, 0]).all() and log_prior[0, 0] > LOG_ZERO
    return kernel if alike and not others and not problem.layout.incomplete else None


class _Assigned:
    """The state of each row, as far as it is known, and the sums over the rows of each state.

    The sums of a state are taken afresh, from its rows, when it has lost most of its weight, and
    all of them when as many rows have changed their states as there are: so their rounding error
    stays what it is in one pass, but for a small factor. Those about centres of their own are taken
    every time.
    """

    def __init__(self, problem: Problem, to: Distances) -> None:
        self._problem, self._data = problem, problem.data
        self._compiled = problem.layout.elimination.compiled
        (self._value,) = problem.data.values.values()
        self._points = Points.of(to.at, to.reference.centre, to.reference.scale)
        self._places = Places.unknown(self._data.n)
        self._sums = np.zeros((len(to.at), to.at.shape[1] + 3))
        self._changes = -self._data.n  # by which all rows get their first state
        self._largest = np.zeros(len(to.at))

    def record(self, to: Distances) -> Statistics:
        """Return the statistics of the rows nearest to each point."""
        own = self._update(to)
        worn = LARGEST_FALL * self._sums[:, 1] < self._largest
        if self._changes > self._data.n:
            self._changes, worn[:] = 0, True
        if worn.any():
            self._forget(worn)
            own = self._update(to)
        self._largest = np.maximum(self._largest, self._sums[:, 1])
        total = self._sums[:, 2:]
        if to.own is not None:
            total = np.where(to.own[:, None], own, total)
        return Statistics(self._sums[:, 1], total, 0.0, to.reference)

    def _forget(self, states: npt.NDArray[np.bool_]) -> None:
        """Forget the sums of some states, and the rows they are of."""
        rows = states[self._places.label]
        self._places.forget(rows)
        self._changes -= int(np.count_nonzero(rows))  # these are no changes
        self._sums[states] = 0.0
        self._largest[states] = 0.0

    def _update(self, to: Distances) -> Array | float:
        """Bring states and sums up to date; return the sums about the states' own centres, or 0."""
        self._points = self._points.moved(to.at, to.exact)
        points, places, weights = self._points, self._places, self._data.weights

        def change(rows: slice) -> tuple[Array, int, Array | float]:
            given = self._value[rows], None if weights is None else weights[rows]
            part, n_changed = reassign(*given, points, places[rows], compiled=self._compiled)
            if to.own is None:
                return part, n_changed, 0.0
            about = to.reference.centres, to.reference.low, to.reference.scale
            return part, n_changed, residual_sums(*given, places.label[rows], to.own, about)

        own: Array | float = 0.0
        for part, n_changed, about_own in _blocks(self._problem, change, to):
            self._changes += n_changed
            self._sums = self._sums + part
            own = own + about_own
        empty = self._sums[:, 0] == 0  # the rows of each state are counted exactly
        if empty.any():
            self._sums[empty, 1:] = 0.0
        return own


def represented_by_nearest(problem: Problem, kernel: Kernel) -> Array | None:
    """Return -|x - m|^2 of each row and the point nearest to it; None if that is not log p."""
    to = kernel.distances
    if to is None:
        return None
    points = Points.of(to.at, to.reference.centre, to.reference.scale).moved(to.at, to.exact)
    (value,), compiled = problem.data.values.values(), problem.layout.elimination.compiled

    def represented(rows: slice) -> Array:
        given, places = value[rows], Places.unknown(len(value[rows]))
        reassign(given, None, points, places, compiled=compiled)
        return -own_squares(given, places.label, points, compiled=compiled)

    return np.concatenate(list(_blocks(problem, represented, to)))


def _blocks(problem: Problem, function: Callable[[slice], T], to: Distances) -> Iterable[T]:
    """Return what a function finds of each block of rows."""
    n, largest = problem.data.n, None
    if problem.layout.elimination.compiled:
        largest = max(COMPILED_BLOCK, min(MOST_ROWS, COMPILED_PRODUCTS // to.at.size))
        if n <= largest:  # nothing to share, and no BLAS in it
            return (function(slice(0, n)),)
    return map_blocks(function, n, len(to.at) + 3 * to.at.shape[1], largest)
