r"""E-steps one after another: what one finds out about a row spares the next from looking again.

That is so for mixtures of prototypes, where θ moves less and less, and most rows stay with the
state they have (see `latentem.kernels.nearest`). The sums over the rows of each state then change
only by the rows that go from one to another; and with all mass on one state each, F is Q, which is
a function of these sums,

.. math:: F = \sum_k C_k \cdot S_k, \qquad S_k = \sum_{i : z_i = k} w_i \, (1, T(x_i)),

with the coefficients C of `latentem.em.mixture`.
"""

from __future__ import annotations

import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.kernels import DistanceKernel
from latentem.distributions.records import Counts, StackRecord
from latentem.em.assign import Assignment, Hard
from latentem.em.expectation import Expectation
from latentem.em.mixture import Mixture, is_mixture
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.kernels.nearest import Places, Points, reassign
from latentem.parallel import map_blocks

#: Sums are taken afresh when the weight of a state is this much less than it was since they were:
#: what is left of many rows has their rounding error.
LARGEST_FALL = 16.0
#: Rows of a block for the compiled kernel, which keeps no tables of them.
COMPILED_BLOCK = 32_768


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
        kernel = _nearest(problem, theta, rule)
        if kernel is None:
            self._assigned = None
            return problem.expectation(theta, rule)
        if self._assigned is None:
            self._assigned = _Assigned(problem, kernel)
        sums = self._assigned.sums(kernel)  # (K, 1 + p)
        coefficients = Mixture.of(theta).stack.coefficients
        counts = Counts(sums[:, :1])
        objective = float((coefficients * sums).sum())
        return Expectation((StackRecord(sums, ()),), (counts,), objective, None)


def _nearest(problem: Problem, theta: Theta, rule: Assignment) -> DistanceKernel | None:
    """Return the kernel of a mixture whose rows go to the nearest of some points, else None."""
    if not isinstance(rule, Hard) or not is_mixture(problem.layout, problem.data):
        return None
    (kernel, *others), (log_prior,) = theta.kernels.values(), theta.latent_tables.values()
    alike = (log_prior == log_prior[0, 0]).all() and log_prior[0, 0] > LOG_ZERO
    if others or not isinstance(kernel, DistanceKernel) or problem.layout.incomplete or not alike:
        return None
    return kernel


class _Assigned:
    """The state of each row, as far as it is known, and the sums over the rows of each state.

    The sums are taken afresh, from all rows, when as many rows have changed their states as there
    are, or a state has lost most of its weight: so their rounding error stays what it is in one
    pass, but for a small factor.
    """

    def __init__(self, problem: Problem, kernel: DistanceKernel) -> None:
        self._data = problem.data
        self._compiled = problem.layout.elimination.compiled
        (self._value,) = problem.data.values.values()
        self._begin(kernel)

    def _begin(self, kernel: DistanceKernel) -> None:
        self._points = Points.of(kernel.points, kernel.centre, kernel.scale)
        self._places = Places.unknown(self._data.n)
        self._sums = np.zeros((len(kernel.points), kernel.points.shape[1] + 3))
        self._changes = -self._data.n  # by which all rows get their first state
        self._largest = np.zeros(len(kernel.points))

    def sums(self, kernel: DistanceKernel) -> Array:
        """Return the sums of each state at other parameters, ``(K, 1 + p)``."""
        self._points = self._points.moved(kernel.points)
        self._update()
        weight = self._sums[:, 1]
        if self._changes > self._data.n or (LARGEST_FALL * weight < self._largest).any():
            self._begin(kernel)
            self._update()
        self._largest = np.maximum(self._largest, self._sums[:, 1])
        return self._sums[:, 1:]

    def _update(self) -> None:
        points, places, weights = self._points, self._places, self._data.weights

        def change(rows: slice) -> tuple[Array, int]:
            return reassign(
                self._value[rows],
                None if weights is None else weights[rows],
                points,
                places[rows],
                compiled=self._compiled,
            )

        cells = len(points.at) + 3 * points.at.shape[1]
        block = COMPILED_BLOCK if self._compiled else None
        for part, n_changed in map_blocks(change, self._data.n, cells, block):
            self._changes += n_changed
            self._sums = self._sums + part
        self._sums[~(self._sums[:, 0] > 0), 1:] = 0.0
