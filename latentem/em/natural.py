r"""EM of a mixture of exponential families, as arithmetic on two tables.

`latentem.em.mixture` makes coefficients C of θ, and adds up sums S = (N_k, S_k) of the statistics.
A step needs no more than these two tables, of a row for each state:

.. math::
    \text{M:} \quad C_k &= (\log \pi_k - A(\eta_k), \; \eta_k),
        && E_{\eta_k}[T(x)] = S_k / N_k, \quad \pi_k = N_k / N \\
    \text{E:} \quad S &= R \, T^\top, && R = \operatorname{softmax}(C \, T) \\
    Q(\theta, \theta_{old}) &= C \cdot S, && F = \log p(X), \quad H = F - Q .

On small data the making of distributions would take most of the time, and on large data keep other
threads waiting, so they are made only where somebody asks for them. A step that has more to it than
this, such as a constraint that holds a state, or an error to raise, is left to the general one.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.base import ExponentialFamily
from latentem.distributions.kernels import DistanceKernel, Distances, LinearKernel
from latentem.distributions.records import Counts, Record, StackRecord, Statistics
from latentem.em.assign import Assignment, Soft
from latentem.em.expectation import Term
from latentem.em.following import Following, distances_alone
from latentem.em.mixture import LEAST_WORK, Mixture, is_mixture
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.kernels.expected import (
    Standardised,
    expected_sums_and_likelihood,
    single_factors,
)
from latentem.kernels.steps import DIFFERENT, LEVELS, ClosedForm, EMSteps
from latentem.parallel import map_blocks

#: The most steps taken at once, and the work of them: some milliseconds'.
MOST_AT_ONCE, WORK_AT_ONCE = 512, 2**26
#: Methods of a family whose results `natural_from_mean` foretells.
FORETOLD = (
    "from_mean", "natural_parameters", "from_statistics", "update", "kernel",
    "feasible", "unflatten", "at_constraint", "events", "vacant",
)  # fmt: skip


#: The factors of statistics, their pairs, see `latentem.kernels.expected`, and the rows' weights.
_Block = tuple[Array | Standardised, Array | None, Array | None]


@attrs.frozen(eq=False, slots=False)
class Natural:
    """A mixture whose steps are arithmetic on tables.

    Attributes
    ----------
    problem, rows : Problem
        The problem, and that on distinct rows.
    theta : Theta
        Parameters of which distributions are made anew.
    mixture : Mixture
    prior : ExponentialFamily
        That of the latent.
    states, log_base : array, (K, q) and (K,)
        Its statistics and base measure of each state.
    families : list of ExponentialFamily
        Those of the observed nodes.
    total_base : float
        The log base measures of all rows.
    """

    problem: Problem
    rows: Problem
    theta: Theta
    mixture: Mixture
    prior: ExponentialFamily
    states: Array
    log_base: Array
    families: list[ExponentialFamily]
    total_base: float

    @classmethod
    def of(cls, problem: Problem, theta: Theta, rule: Assignment) -> Self | None:
        """Return the mixture that parameters are of; None if it is another model."""
        if not isinstance(rule, Soft) or problem.has_priors:
            return None
        known: Self | None = theta.ready.get(cls)
        if known is None or known.problem is not problem:
            known = cls._of(problem, theta, rule)
            theta.ready[cls] = known
        return known

    @classmethod
    def _of(cls, problem: Problem, theta: Theta, rule: Soft) -> Self | None:
        rows = problem.reduced_for(rule)
        if not is_mixture(problem.layout, rows.data) or problem.layout.incomplete:
            return None
        kernels = list(theta.kernels.values())
        (latent,) = problem.layout.latents
        prior = theta.dists[latent.names[0]]
        free = all(dist.free is dist for dist in theta.dists.values())
        tied = any(len(problem.model.tied(name)) > 1 for name in theta.dists)
        linear = all(type(kernel) is LinearKernel for kernel in kernels)
        if not (free and linear and isinstance(prior, ExponentialFamily)) or tied:
            return None
        if not all(foretells(type(dist)) for dist in theta.dists.values()):
            return None
        mixture = Mixture.of(theta, rule)
        if not mixture.is_linear or mixture.divided:
            return None
        k = mixture.n_states
        return cls(
            problem,
            rows,
            Theta(theta.layout, theta.dists),  # another, for it is kept in that one
            mixture,
            prior,
            prior.statistics(np.arange(k)),
            np.broadcast_to(prior.log_base_measure(np.arange(k)), k),
            [kernel.dist for kernel in kernels if isinstance(kernel, LinearKernel)],
            problem.base_total(theta),
        )

    def start(self) -> Step | None:
        """Return the E-step at the parameters given; None where a general one is due."""
        if self.first is None:
            return None
        coefficients, new, total = self.first
        q = float(np.vdot(coefficients, new))
        return self._step(Tables(self, None, new, self.theta), coefficients, q, q, total)

    @cached_property
    def first(self) -> tuple[Array, Array, float] | None:
        """C and S at the parameters given, and log p(X); None where a general E-step is due."""
        coefficients = self.mixture.stack.coefficients
        if coefficients is None or not coefficients.min() > LOG_ZERO:
            return None
        new, total = self.expected(coefficients)
        if not min(total, self.total_base) > LOG_ZERO / 10 or not total < np.inf:
            return None  # some row is impossible
        return coefficients, new, total

    def step(self, sums: Array | None) -> Step | None:
        """Return the step from expected sums ``(K, 1 + p)``; None where a general one is due."""
        if sums is None:
            return None
        found = self._next(sums)
        if found is None:
            return None
        coefficients, new, before, q, total = found
        return self._step(Tables(self, sums, new), coefficients, before, q, total)

    def _step(self, at: Tables, coefficients: Array, before: float, q: float, total: float) -> Step:
        """Return a step with the base measures."""
        base = self.total_base
        return Step(at, coefficients, before + base, q + base, total + base, total + base)

    def _next(self, sums: Array) -> tuple[Array, Array, float, float, float] | None:
        """Return C, S, C . S with the sums before and with these, and log p(X), without the base.

        None where a general step is due.
        """
        try:
            with np.errstate(all="ignore"):
                coefficients = self._coefficients(sums)
        except Exception:  # what is wrong is met again there, and said
            return None
        if coefficients is None:
            return None
        new, total = self.expected(coefficients)
        if not LOG_ZERO / 10 < total < np.inf:  # some row is impossible
            return None
        before, q = float(np.vdot(coefficients, sums)), float(np.vdot(coefficients, new))
        return coefficients, new, before, q, total

    @property
    def work(self) -> int:
        """Work of a step, as `Mixture.work` of a row."""
        return self.rows.data.n * self.mixture.work

    @cached_property
    def several(self) -> EMSteps | None:
        """Several steps at once, where rows are few and maxima of known form."""
        dists = [self.prior, *self.families]
        n = self.rows.data.n
        if not self.mixture.compiled or self.work > LEAST_WORK:
            return None
        known = all(knows_closed_form(type(dist)) for dist in dists)
        forms = [form for dist in self.families if (form := dist.closed_form) is not None]
        if not known or self.prior.closed_form != ClosedForm(LEVELS):
            return None
        if len(forms) < len(self.families):
            return None
        factors, pairs, weights = self._block(slice(0, n))
        factors = factors.factors() if isinstance(factors, Standardised) else factors
        if pairs is None:
            pairs = np.vstack([[0, 0], single_factors(len(factors) - 1)])
        widths = [end - start for _, start, end in self._columns]
        forms_and_widths = list(zip(forms, widths, strict=True))
        return EMSteps(forms_and_widths, factors, pairs, weights, self._root)

    def expected(self, coefficients: Array) -> tuple[Array, float]:
        """Return S, and log p(X) without the base measures."""

        def expect(rows: slice) -> tuple[Array, float]:
            factors, pairs, weights = self._block(rows)
            given = coefficients, factors, pairs, weights
            return expected_sums_and_likelihood(*given, compiled=self.mixture.compiled)

        parts = map_blocks(expect, self.rows.data.n, self.mixture.cells, self._largest_block)
        sums, total = next(parts)
        for further, more in parts:
            sums, total = sums + further, total + more
        return sums, total

    def _block(self, rows: slice) -> _Block:
        """Return the statistics of a block of rows, which are kept if they are few."""
        block = self._blocks.get((rows.start, rows.stop))
        if block is None:
            data, stack = self.rows.data[rows], self.mixture.stack
            (observed,) = self.rows.layout.observed
            attached = self.rows.attached(stack, observed, data, rows)
            assert attached.factors is not None
            block = attached.factors, attached.pairs, data.weights
            if attached.matrix is None or self.rows.keeps(stack):
                self._blocks[rows.start, rows.stop] = block
        return block

    @cached_property
    def _blocks(self) -> dict[tuple[int, int], _Block]:
        """Blocks of rows, by the first and the end."""
        return {}

    @cached_property
    def _largest_block(self) -> int | None:
        return self.mixture.largest_block(self.rows.data, *self.rows.layout.observed)

    def _coefficients(self, sums: Array) -> Array | None:
        """Return C, the maximum of Q; None if a state has no rows or lies at a boundary."""
        weight = sums[:, 0]
        if not weight.min() > 0:
            return None
        n = weight.sum(keepdims=True)
        found = self.prior.natural_from_mean((weight @ self.states / n)[None], n)
        if found is None:
            return None
        constant = self.states @ found[0][0] - found[1] + self.log_base
        mean = sums[:, 1:] / weight[:, None]
        coefficients = np.empty(sums.shape)
        for family, start, end in self._columns:
            found = family.natural_from_mean(mean[:, start - 1 : end - 1], weight)
            if found is None:
                return None
            coefficients[:, start:end], log_normaliser = found
            constant -= log_normaliser
        coefficients[:, 0] = constant
        return coefficients if coefficients.min() > LOG_ZERO else None

    @cached_property
    def _columns(self) -> list[tuple[ExponentialFamily, int, int]]:
        """The columns of each family's statistics."""
        kernels = [k for k in self.mixture.stack.kernels if isinstance(k, LinearKernel)]
        ends = np.cumsum([1, *(kernel.n_statistics for kernel in kernels)]).tolist()
        return list(zip(self.families, ends, ends[1:], strict=False))

    def distortion(self, objective: float) -> float | None:
        """Return nothing: there are no prototypes."""
        return None

    def records(self, sums: Array) -> dict[str, Record]:
        """Return the record of each node."""
        (latent,), (observed,) = self.problem.layout.latents, self.problem.layout.observed
        parts = self.mixture.stack.split(StackRecord(sums, ()))
        counts = Counts(sums[:, :1].copy())
        return dict(zip((*latent.names, *observed.names), (counts, *parts), strict=True))

    def vector(self, sums: Array) -> Array:
        """Return the sums in a row, for an accelerator, as the records have them.

        The record of each node has the numbers of rows anew. Here they stand once, times the root
        of how often that is, which leaves all products of vectors as they are.
        """
        vector = sums.copy()
        vector[:, 0] *= self._root
        return vector.ravel()

    def of_vector(self, vector: Array) -> Array:
        """Undo `vector`."""
        sums = vector.reshape(self.mixture.n_states, -1).copy()
        sums[:, 0] /= self._root
        return sums

    @cached_property
    def _root(self) -> float:
        return float(np.sqrt(1 + len(self.families)))

    def sums_at(self, at: Any) -> Array | None:
        """Return the sums of a point of the run."""
        return at.sums if isinstance(at, Tables) else self.sums(at.records)

    def sums(self, records: dict[str, Record]) -> Array | None:
        """Undo `records`; None if some are about other points of reference than these."""
        (latent,), (observed,) = self.problem.layout.latents, self.problem.layout.observed
        counts: Any = records[latent.names[0]]
        columns = [counts.counts]
        for name, family in zip(observed.names, self.families, strict=True):
            record: Any = records[name]
            if record.reference is not getattr(family, "reference", None):
                return None
            columns.append(record.total)
        return np.concatenate(columns, axis=1)


@attrs.frozen(eq=False, slots=False)
class Nearest:
    r"""A mixture of prototypes under hard assignment, whose steps are likewise.

    With all mass on one state each, F is Q, and S are sums over the rows nearest to each prototype:

    .. math:: F = C \cdot S = -J + \text{the constant log prior of all rows.}

    Attributes
    ----------
    following : Following
        The E-steps of the run.
    theta : Theta
        Parameters of which distributions are made anew.
    prototypes : ExponentialFamily
    reference : object
        About which the statistics are.
    log_prior : float
        That of every state.
    """

    following: Following
    theta: Theta
    prototypes: ExponentialFamily
    reference: Any
    log_prior: float
    total_base: ClassVar[float] = 0.0

    @classmethod
    def of(cls, following: Following, theta: Theta, rule: Assignment) -> Self | None:
        """Return the mixture that parameters are of; None if it is another model."""
        problem = following.problem
        kernel = distances_alone(problem.reduced_for(rule), theta, rule)
        free = all(dist.free is dist for dist in theta.dists.values())
        if not free or problem.has_priors or type(kernel) is not DistanceKernel:
            return None
        (latent,), (observed,) = problem.layout.latents, problem.layout.observed
        dist = theta.dists[observed.names[0]]
        if theta.dists[latent.names[0]].parameters or not foretells(type(dist)):
            return None
        log_prior = float(theta.latent_tables[latent.names[0]][0, 0])
        return cls(following, theta, kernel.dist, kernel.to.reference, log_prior)

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.following.problem

    def step(self, sums: Array | None) -> Step | None:
        """Return the step from sums ``(K, 1 + p)``; None where the general one is to be taken."""
        if sums is None or not sums[:, 0].min() > 0:
            return None
        weight = sums[:, 0]
        found = self.prototypes.natural_from_mean(sums[:, 1:] / weight[:, None], weight)
        if found is None:
            return None
        eta, log_normaliser = found
        at = eta[:, :-1] / (-2.0 * eta[:, -1:])  # eta = s^2 (2 m, -1)
        record = self.following.nearest(Distances(at, None, self.reference, None))
        if record is None:
            return None
        coefficients = np.concatenate([(self.log_prior - log_normaliser)[:, None], eta], axis=1)
        new = np.concatenate([record.weight[:, None], record.total], axis=1)
        before, q = float(np.vdot(coefficients, sums)), float(np.vdot(coefficients, new))
        return Step(Tables(self, sums, new), coefficients, before, q, q, None)

    def distortion(self, objective: float) -> float | None:
        """Return J at some F, None without prototypes; a sum of them is not below 0."""
        if not self.problem.model.requires_hard:
            return None
        return max(self.log_prior * self.problem.data.total_weight - objective, 0.0)

    def records(self, sums: Array) -> dict[str, Record]:
        """Return the record of each node."""
        (latent,), (observed,) = self.problem.layout.latents, self.problem.layout.observed
        own = Statistics(sums[:, 0].copy(), sums[:, 1:].copy(), 0.0, self.reference)
        return {latent.names[0]: Counts(sums[:, :1].copy()), observed.names[0]: own}

    def sums_at(self, at: Any) -> Array | None:
        """Return the sums of a point of the run, None if they are about other points."""
        if isinstance(at, Tables):
            return at.sums
        (observed,) = self.problem.layout.observed
        record = at.records[observed.names[0]]
        if record.reference is not self.reference:
            return None
        return np.concatenate([record.weight[:, None], record.total], axis=1)


@attrs.frozen(eq=False)
class Step:
    """An M-step and an E-step.

    Attributes
    ----------
    at : Tables
        Where it leads.
    coefficients : array, (K, 1 + p)
        C, the maximum of Q.
    q_before, q : float
        Q after the M-step, and after the E-step.
    objective : float
        F.
    log_likelihood : float or None
        log p(X), where the assignment gives it.
    """

    at: Tables
    coefficients: Array
    q_before: float
    q: float
    objective: float
    log_likelihood: float | None

    @property
    def magnitude(self) -> float:
        """That of the terms of Q, for their rounding error."""
        before = self.at.sums if self.at.before is None else self.at.before
        sums = np.maximum(np.abs(before), np.abs(self.at.sums))
        return float(np.vdot(np.abs(self.coefficients), sums)) + abs(self.at.steps.total_base)


@attrs.frozen(eq=False, slots=False)
class Tables:
    """θ and what belongs to it after an E-step, made of sums where it is asked for.

    Attributes
    ----------
    steps : Natural or Nearest
    before, sums : array, (K, 1 + p)
        The expected sums of which θ is the maximum, and those under the posterior at θ.
    start : Theta or None
        θ, where it is the maximum of none.
    """

    steps: Natural | Nearest
    before: Array | None
    sums: Array
    start: Theta | None = None

    @cached_property
    def theta(self) -> Theta:
        """The parameters."""
        if self.before is None:
            assert self.start is not None
            return self.start
        steps = self.steps
        return steps.problem.m_step(steps.theta, steps.records(self.before))

    @property
    def at_constraint(self) -> bool:
        """Whether a constraint holds some parameters: at most at the start."""
        return self.start is not None and self.start.at_constraint

    @cached_property
    def records(self) -> dict[str, Record]:
        """Expected statistics, by node."""
        return self.steps.records(self.sums)

    @property
    def comparable(self) -> dict[str, Record]:
        """The records that change θ, about points that stay the same from step to step."""
        return self.records

    @cached_property
    def terms(self) -> dict[str, Term]:
        """Q(θ, θ), by node."""
        return self.steps.problem.q(self.theta, self.records)

    @property
    def log_priors(self) -> dict[str, float]:
        """Log-densities of the parameters under their priors: there are none."""
        return {}


def most_at_once(work: int) -> int:
    """Return the most steps of some work to take at once."""
    return min(MOST_AT_ONCE, WORK_AT_ONCE // work)


def have_other_means(sums: Array) -> bool:
    """Return whether the states of sums ``(K, 1 + p)`` have other means of the statistics."""
    if not sums[:, 0].min() > 0.0:
        return False
    mean = sums[:, 1:] / sums[:, :1]
    return bool(np.abs(mean - mean[0]).max() > DIFFERENT * np.abs(mean).max())


@cache
def knows_closed_form(kind: type) -> bool:
    """Return whether the closed form of a family is that of `natural_from_mean`."""
    names = "closed_form", "natural_from_mean"
    latest = next(each for each in kind.__mro__ if set(names) & vars(each).keys())
    return vars(latest).keys() >= set(names)


@cache
def foretells(kind: type) -> bool:
    """Return whether `natural_from_mean` is that of all other methods, whatever the last θ.

    So it is not if a subclass changed them. And that of `ExponentialFamily` asks `from_mean`, which
    in a plug-in may go from the last θ only a part of the way: that is generalised EM.
    """
    names = {"natural_from_mean", *FORETOLD}
    latest = next(each for each in kind.__mro__ if names & vars(each).keys())
    own = next(each for each in kind.__mro__ if "natural_from_mean" in vars(each))
    ours = latest.__module__.startswith("latentem.")
    return own is latest or (own is ExponentialFamily and ours)
