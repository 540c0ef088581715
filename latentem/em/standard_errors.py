r"""Standard errors from the observed information, by differences of Q.

Fisher's identity makes the score of the likelihood the gradient of Q where both arguments agree,

.. math:: \nabla \log p(X \mid \theta) = \nabla_{\theta'} Q(\theta', \theta) |_{\theta' = \theta}

because the posterior leaves nothing of the entropy's derivative. Differentiating once more, through
both arguments (Oakes 1999), gives the observed information

.. math:: I = -\nabla^2 \log p(X \mid \theta)
          = \underbrace{-\nabla_{\theta'} \nabla_{\theta'} Q}_{\text{complete}}
          - \underbrace{\nabla_\theta \nabla_{\theta'} Q}_{\text{missing}}

what complete data would tell, less what is missing with Z (Louis 1982). Q is a sum over nodes and
is read off the record of an E-step: the first term needs one E-step and is block-diagonal, the
second two E-steps for each free parameter, at θ moved a little forth and back in its direction,
of which the gradient of Q in the first argument, at θ' = θ, is taken.

The parameters move in the directions that their families allow (`Distribution.directions`), the
columns of B; so the covariance of the entries, which may be bound together, is
:math:`B (B^\top I B)^{-1} B^\top`. A step is as long as makes Q fall by a little that is well above
rounding: a small part of what the standard error would be with complete data.

References
----------
Louis, Finding the observed information matrix when using the EM algorithm, Journal of the Royal
Statistical Society B 44, 1982. Oakes, Direct calculation of the information matrix via the EM
algorithm, Journal of the Royal Statistical Society B 61, 1999.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import attrs
import numpy as np
from scipy.linalg import block_diag

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, count_parameters
from latentem.distributions.records import Choices, Counts, Record
from latentem.em.assign import soft
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.errors import (
    DegenerateError,
    DegenerateWarning,
    MissingMethodError,
    ModelError,
)

Direction = dict[str, Array]

#: How far Q falls when a parameter moves forth and back, over the root of its terms' magnitude.
FALL = 1e-6
#: Shares of the complete information below this, whatever the sign, are rounding.
SMALLEST_SHARE = 1e-5


def standard_errors(problem: Problem, theta: Theta) -> dict[str, dict[str, Array]]:
    """Return the standard error of each parameter, by node and name; see `Fit.standard_errors`.

    Parameters
    ----------
    problem : Problem
        Its model has the parameters θ, a maximum of the likelihood.
    theta : Theta
        The same, made ready.
    """
    records = _records(problem, theta)
    nodes = [_Node.of(theta, name, record) for name, record in records.items()]
    complete = block_diag(*(node.complete for node in nodes))
    inverse = _Inverse.of(complete - _missing(problem, theta, nodes), complete.diagonal())
    ends = np.cumsum([len(node.directions) for node in nodes])
    by_node = {
        node.name: node.standard_errors(inverse.rows(slice(end - len(node.directions), end)))
        for node, end in zip(nodes, ends, strict=True)
    }
    _warn(nodes, by_node)
    found = {}
    for name, dist in problem.model.distributions.items():
        shapes = _shapes(dist)
        errors = by_node[problem.model.tied(name)[0]]
        found[name] = {field: errors[field].reshape(shapes[field]) for field in shapes}
    return found


def _shapes(dist: Distribution) -> dict[str, tuple[int, ...]]:
    return {field: np.asarray(value).shape for field, value in dist.parameters.items()}


def _states(direction: Direction) -> set[int]:
    """Return the parents' states whose parameters a direction changes."""
    return {int(state) for change in direction.values() for state in np.argwhere(change)[:, 0]}


def _records(problem: Problem, theta: Theta) -> dict[str, Record]:
    """Return the expected statistics at θ; of nodes with one θ, theirs together."""
    return problem.by_theta(problem.records(theta, problem.expectation(theta, soft)))


def _missing(problem: Problem, theta: Theta, nodes: Sequence[_Node]) -> Array:
    """Return the derivative of the gradient of Q by the θ of the posterior, ``(p, p)``."""

    def gradient(name: str, moved: Distribution) -> Array:
        tied = dict.fromkeys(problem.model.tied(name), moved)
        other = attrs.evolve(theta, dists={**theta.dists, **tied})
        records = _records(problem, other)
        return np.concatenate([node.gradient(records[node.name]) for node in nodes])

    rows = [
        0.5 * (gradient(node.name, forth) - gradient(node.name, back))
        for node in nodes
        for forth, back in node.moved
    ]
    missing = np.reshape(rows, (len(rows), len(rows)))
    return 0.5 * (missing + missing.T)


@attrs.frozen(eq=False, slots=False)
class _Node:
    """A node, and the directions in which its parameters move.

    Attributes
    ----------
    theta : Theta
    name : str
    record : Record
        Its expected statistics at θ.
    directions : list of dict of str to array
        Those in which Q falls, each as long as one step.
    flat : list of dict of str to array
        Those in which it does not, because no row has weight there.
    n_held : int
        How many parameters cannot move both ways.
    """

    theta: Theta
    name: str
    record: Record
    directions: list[Direction] = attrs.field(factory=list)
    flat: list[Direction] = attrs.field(factory=list)
    n_held: int = 0

    @classmethod
    def of(cls, theta: Theta, name: str, record: Record) -> Self:
        node = cls(theta, name, record)
        free = node.dist.directions()
        directions, flat = [], []
        for direction in free:
            step, fall = node.step(direction)
            scaled = {field: step * change for field, change in direction.items()}
            if fall > 0:
                directions.append(scaled)
            elif step > 0:
                flat.append(scaled)
        n_free = node.n_parameters(len(free))
        n_held = n_free - len(directions) - len(flat)
        return attrs.evolve(node, directions=directions, flat=flat, n_held=n_held)

    def n_parameters(self, n_directions: int) -> int:
        """Return the number of free parameters: that of the directions, if the family is silent."""
        try:
            count = count_parameters(self.dist)
        except MissingMethodError:
            return n_directions
        if count < n_directions:
            family = type(self.dist).__name__
            raise ModelError(
                f"Node '{self.name}': {family} must have a direction for each of its {count} free "
                f"parameters, got {n_directions}. Say in {family}.directions() which parameters "
                "move together.",
                node=self.name,
            )
        return count

    @property
    def dist(self) -> Distribution:
        """Its distribution at θ."""
        return self.theta.dists[self.name]

    def term(self, dist: Distribution) -> Callable[[Any], tuple[float, float]]:
        """Return its term of Q at a distribution, with its magnitude, as a function of a record."""
        if isinstance(self.record, Counts):
            with np.errstate(divide="ignore"):
                table = dist.log_prob(self.record.states).reshape(len(self.record.counts), -1)
            log_prob = np.broadcast_to(table, self.record.counts.shape)
            return lambda record: record.expected_log_prob(log_prob)
        if isinstance(self.record, Choices):
            return lambda record: record.expected_log_prob(dist)
        gapped = self.name in self.theta.layout.gapped
        return (dist.gapped_kernel() if gapped else dist.kernel()).expected_log_prob

    def value(self, dist: Distribution) -> float:
        """Return its term of Q and of log p(θ) at a distribution, the posterior being that of θ."""
        return self.term(dist)(self.record)[0] + dist.log_prior

    def step(self, direction: Direction) -> tuple[float, float]:
        """Return how far to go in a direction and back for Q to fall a little, and by how much.

        The fall is 0 if Q is flat; the step is 0 if the parameters cannot move both ways.
        """
        centre, magnitude = self.term(self.dist)(self.record)
        centre += self.dist.log_prior
        wanted = FALL * np.sqrt(magnitude)
        rounding = 16 * np.finfo(float).eps * magnitude
        step, limit, fall = 1e-3, np.inf, 0.0
        for _ in range(60):
            fall = 2 * centre - self._both_ways(direction, step)
            if not np.isfinite(fall):
                limit, step = step, 0.1 * step
                if step < 1e-12:
                    return 0.0, 0.0
            elif 0.25 * wanted < fall < 4 * wanted or step >= 0.1 * limit or step > 1e12:
                break
            else:
                factor = np.sqrt(wanted / fall) if fall > rounding else 1e3
                step = float(min(step * np.clip(factor, 1e-3, 1e3), 0.1 * limit))
        return step, fall if fall > rounding else 0.0

    def _both_ways(self, direction: Direction, step: float) -> float:
        """Return the sum of the values a step forth and back; NaN outside the domain."""
        try:
            with np.errstate(all="ignore"):
                return sum(self.value(self.dist.moved(direction, s)) for s in (step, -step))
        except (ValueError, ArithmeticError):  # what families raise outside their domain
            return np.nan

    @cached_property
    def moved(self) -> list[tuple[Distribution, Distribution]]:
        """The distribution a step forth and a step back in each direction."""
        return [(self.dist.moved(d, 1.0), self.dist.moved(d, -1.0)) for d in self.directions]

    @cached_property
    def _terms(self) -> list[tuple[Callable[[Any], tuple[float, float]], ...]]:
        return [(self.term(forth), self.term(back)) for forth, back in self.moved]

    def gradient(self, record: Record) -> Array:
        """Return the derivatives of its term of Q at θ, the posterior being the record's."""
        slopes = [0.5 * (forth(record)[0] - back(record)[0]) for forth, back in self._terms]
        return np.array(slopes)

    @cached_property
    def complete(self) -> Array:
        """Minus the second derivatives of its term of Q, ``(p, p)``.

        By polarisation, from how far Q falls in each direction and in the sum of each two. Q is a
        sum over the parents' states too: directions of different states do not meet in it.
        """
        centre = 2 * self.value(self.dist)
        falls = [centre - self.value(forth) - self.value(back) for forth, back in self.moved]
        states = [_states(direction) for direction in self.directions]
        information = np.diag(falls)
        for i, (forth, back) in enumerate(self.moved):
            for j, other in enumerate(self.directions[:i]):
                if states[i] & states[j]:
                    ends = self.value(forth.moved(other, 1.0)) + self.value(back.moved(other, -1.0))
                    fall = 0.5 * (centre - ends - falls[i] - falls[j])
                    information[i, j] = information[j, i] = fall
        return information

    def standard_errors(self, inverse: _Inverse) -> dict[str, Array]:
        """Return the standard errors of its parameters, given its rows of the inverse."""
        found = {}
        for field, shape in _shapes(self.dist).items():
            none = np.zeros(shape)
            changes = [direction.get(field, none) for direction in self.directions]
            matrix = np.reshape(changes, (len(changes), none.size)).T
            found[field] = inverse.standard_errors(matrix).reshape(none.shape)
            for direction in self.flat:
                found[field][direction.get(field, none) != 0] = np.inf
        return found


@attrs.frozen(eq=False)
class _Inverse:
    """The inverse of an information in square roots, and the directions that it leaves open.

    Attributes
    ----------
    root : array, (p, r)
        Times its transpose, the inverse where there is one.
    null : array, (p, p - r)
        Directions without information.
    size : array, (p,)
        Standard errors with complete data.
    """

    root: Array
    null: Array
    size: Array

    @classmethod
    def of(cls, information: Array, complete: Array) -> Self:
        """Invert an information, given the diagonal that it would have with complete data."""
        size = 1 / np.sqrt(complete)
        share, vectors = np.linalg.eigh(size[:, None] * information * size)
        if share.min(initial=0.0) < -SMALLEST_SHARE:
            raise DegenerateError(
                "Standard errors must be taken at a maximum of the likelihood, got a point from "
                "which it rises in some direction: the observed information has a negative "
                f"eigenvalue ({share.min():.3g} of the complete one). Fit on, with a smaller tol, "
                "or from other starts."
            )
        known = share > SMALLEST_SHARE
        vectors = size[:, None] * vectors
        return cls(vectors[:, known] / np.sqrt(share[known]), vectors[:, ~known], size)

    def rows(self, which: slice) -> Self:
        """Return the part of some parameters."""
        return attrs.evolve(
            self, root=self.root[which], null=self.null[which], size=self.size[which]
        )

    def standard_errors(self, matrix: Array) -> Array:
        """Return those of linear combinations, the rows of a matrix ``(m, p)``."""
        errors = np.linalg.norm(matrix @ self.root, axis=1)
        lost = np.linalg.norm(matrix @ self.null, axis=1)
        return np.where(lost > 1e-3 * np.linalg.norm(matrix * self.size, axis=1), np.inf, errors)


def _warn(nodes: Sequence[_Node], found: dict[str, dict[str, Array]]) -> None:
    sentences = []
    for node in nodes:
        if node.n_held:
            sentences.append(
                f"Node '{node.name}': {node.n_held} of its parameters lie on the boundary of their "
                "range and are held there; their standard errors are given as 0."
            )
        open_ = [field for field, errors in found[node.name].items() if np.isinf(errors).any()]
        if open_:
            sentences.append(
                f"Node '{node.name}': the data do not determine {' and '.join(open_)}; where they "
                "are left open the standard errors are infinite."
            )
    if sentences:
        warnings.warn(" ".join(sentences), DegenerateWarning, stacklevel=4)
