"""Assignment rules: what the E-step makes of the exact posterior.

All run in the one loop. Soft assignment is EM; the others are transforms of the posterior before
its expected statistics are taken:

==========  =============================================  ===================================
rule        posterior used                                 objective F
==========  =============================================  ===================================
soft        p(z | x)                                       Q + H = log p(x)
hard        all mass on the most probable z                Q = log p(x, z)
tempered    proportional to p(z | x)^beta                  Q + H / beta
stochastic  all mass on one draw from p(z | x)             Q = log p(x, z); may fall
==========  =============================================  ===================================
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.errors import ModelError
from latentem.inference.elimination import Elimination, Factor, at_states
from latentem.inference.posterior import Posterior
from latentem.seeds import generator


class Assignment(abc.ABC):
    """A rule that turns the factors of a block of rows into the posterior used by the M-step."""

    #: Whether the entropy of its posteriors is zero because they are certain of one state.
    is_hard: bool = False
    #: Whether the objective can never fall.
    is_monotone: bool = True
    #: The weight of the entropy in the objective, 1 / beta.
    temperature: float = 1.0
    #: Whether later iterations use the same rule.
    is_settled: bool = True

    @abc.abstractmethod
    def __call__(
        self, elimination: Elimination, factors: Sequence[Factor], rows: slice
    ) -> Posterior:
        """Return the posterior of these rows; the factors may be overwritten."""

    def at(self, iteration: int) -> Assignment:
        """Return the rule of one iteration."""
        return self


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


@attrs.frozen
class Soft(Assignment):
    """The exact posterior: EM (Dempster, Laird and Rubin, 1977)."""

    def __call__(
        self, elimination: Elimination, factors: Sequence[Factor], rows: slice
    ) -> Posterior:
        evidence, conditionals = elimination.sum_product(factors)
        n = _length(rows)
        return Posterior(elimination, conditionals, n, objective=evidence, evidence=evidence)


@attrs.frozen
class Hard(Assignment):
    """All mass on the jointly most probable states: classification EM, K-means.

    References
    ----------
    Celeux and Govaert, A classification EM algorithm for clustering and two stochastic versions,
    Computational Statistics & Data Analysis 14, 1992.
    """

    is_hard = True

    def __call__(
        self, elimination: Elimination, factors: Sequence[Factor], rows: slice
    ) -> Posterior:
        value, states = elimination.max_product(factors)
        posterior = Posterior.certain(states, elimination.sizes, _length(rows))
        return attrs.evolve(posterior, objective=value)


@attrs.frozen
class Tempered(Assignment):
    """The posterior to the power beta; see `tempered`."""

    beta: float
    # Of one step of an annealing; rules of the same beta are the same rule.
    is_settled: bool = attrs.field(default=True, eq=False)

    @property
    def temperature(self) -> float:  # type: ignore[override]
        """1 / beta."""
        return 1.0 / self.beta

    def __call__(
        self, elimination: Elimination, factors: Sequence[Factor], rows: slice
    ) -> Posterior:
        scaled = [Factor(factor.scope, self.beta * factor.table) for factor in factors]
        log_sum, conditionals = elimination.sum_product(scaled)
        evidence = log_sum if self.beta == 1.0 else None
        objective = log_sum / self.beta
        return Posterior(elimination, conditionals, _length(rows), None, objective, evidence)


@attrs.frozen
class Annealed(Assignment):
    """The posterior to a power that depends on the iteration; see `tempered`."""

    is_settled = False

    schedule: tuple[float, ...] | Callable[[int], float]

    @property
    def temperature(self) -> float:  # type: ignore[override]
        """1 / beta of the start."""
        return self.at(0).temperature

    def at(self, iteration: int) -> Tempered:
        if callable(self.schedule):
            now, later = (
                _inverse_temperature(self.schedule(t)) for t in (iteration, iteration + 1)
            )
            return Tempered(now, is_settled=now == later == 1.0)
        last = len(self.schedule) - 1
        return Tempered(self.schedule[min(iteration, last)], is_settled=iteration >= last)

    def __call__(
        self, elimination: Elimination, factors: Sequence[Factor], rows: slice
    ) -> Posterior:
        return self.at(0)(elimination, factors, rows)


#: Beyond this, log-densities times beta leave the range of numbers.
LARGEST_BETA = 1e100


def _inverse_temperature(beta: Any) -> float:
    if not isinstance(beta, int | float | np.number) or not 0 < beta <= LARGEST_BETA:
        raise ModelError(
            f"tempered: beta must be a positive number up to {LARGEST_BETA:g}, got {beta!r}. "
            "Give one, or use hard."
        )
    return float(beta)


def tempered(beta: float | Sequence[float] | Callable[[int], float]) -> Assignment:
    r"""Return the rule that raises the posterior to the power beta.

    .. math:: r(z) \propto p(z \mid x)^\beta, \qquad F = Q + H / \beta

    Small beta flattens the posterior; raising it step by step to 1 is deterministic annealing,
    which avoids some local maxima. The objective is comparable between steps of equal beta.

    Parameters
    ----------
    beta : float, sequence of float, or callable
        A constant; one value for each iteration from 0 on (the last one stays); or a function of
        the iteration. A fit cannot converge before the rule is settled: a sequence is at its last
        value, a function where annealing has arrived at EM, that is, where it is 1.0 at this
        iteration and at the next. Under a function that never gets there a fit goes on to
        ``max_iter``; give a sequence to end at another value.

    Returns
    -------
    Assignment

    Raises
    ------
    ModelError
        If a value is not a positive number, or there is none.

    References
    ----------
    Ueda and Nakano, Deterministic annealing EM algorithm, Neural Networks 11, 1998.

    Examples
    --------
    >>> import latentem as lem
    >>> lem.tempered([0.1, 0.3, 1.0]).at(7).temperature
    1.0
    """
    if callable(beta):
        _inverse_temperature(beta(0))
        return Annealed(beta)
    if isinstance(beta, Sequence | np.ndarray):
        values = tuple(_inverse_temperature(b) for b in beta)
        if not values:
            raise ModelError("tempered: beta must have at least one value, got none. Give one.")
        return Annealed(values)
    return Tempered(_inverse_temperature(beta))


@attrs.frozen
class Stochastic(Assignment):
    """All mass on one draw; see `stochastic`."""

    is_hard = True
    is_monotone = False

    rng: np.random.Generator
    key: int | None = None

    def at(self, iteration: int) -> Assignment:
        return attrs.evolve(self, key=int(self.rng.integers(2**63)))

    def __call__(
        self, elimination: Elimination, factors: Sequence[Factor], rows: slice
    ) -> Posterior:
        evidence, conditionals = elimination.sum_product(factors)
        n = _length(rows)
        key = int(self.rng.integers(2**63)) if self.key is None else self.key
        # One stream for each block, so that threads cannot change the draws.
        rng = np.random.default_rng([key, rows.start])
        exact = Posterior(elimination, conditionals, n, evidence=evidence)
        states = exact.draw(rng)
        objective = evidence + log_probability(exact, states)
        certain = Posterior.certain(states, elimination.sizes, n)
        return attrs.evolve(certain, objective=objective, evidence=evidence)


def log_probability(posterior: Posterior, states: dict[str, Array]) -> Array:
    """Return log p(states | x), ``(rows,)``."""
    total = np.zeros(posterior.n)
    pairs = zip(posterior.elimination.buckets, posterior.conditionals, strict=True)
    for bucket, table in pairs:
        total += np.log(at_states(table, [states[name] for name in bucket.clique]))
    return total


def stochastic(rng: np.random.Generator | int | None = None) -> Assignment:
    """Return the rule that draws the latents from their posterior.

    The objective may fall; the best parameters seen are what a fit returns.

    Parameters
    ----------
    rng : numpy.random.Generator or int, optional
        The source of the draws; a generator is advanced.

    Returns
    -------
    Assignment

    References
    ----------
    Celeux and Diebolt, The SEM algorithm, Computational Statistics Quarterly 2, 1985.

    Examples
    --------
    >>> import latentem as lem
    >>> lem.stochastic(0).is_monotone
    False
    """
    return Stochastic(generator(rng))


soft = Soft()
hard = Hard()
