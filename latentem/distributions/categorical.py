"""Distributions over a finite set of states: Categorical and Bernoulli."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import (
    BOUNDARY,
    Distribution,
    ExponentialFamily,
    parameter,
    renewed,
    single_moves,
)
from latentem.distributions.checks import check_column, check_integers, naming
from latentem.distributions.formulas import Formulas
from latentem.distributions.priors import (
    below_one,
    beta_counts,
    conjugate,
    dirichlet_counts,
    log_beta,
    log_dirichlet,
)
from latentem.distributions.records import Statistics
from latentem.errors import ModelError, Unsuitable
from latentem.kernels.expected import levels_of_one
from latentem.kernels.steps import LEVELS, ClosedForm


def _probabilities(value: Any) -> Array | None:
    """Convert to probabilities in [0, 1]."""
    probs = as_float_array(value)
    if probs is not None and not (probs.size and probs.min() >= 0 and probs.max() <= 1 + 1e-8):
        raise ModelError(
            f"probs must be probabilities between 0 and 1, got {probs}. Divide counts by their sum."
        )
    return probs if probs is None or probs.max() <= 1 else as_float_array(np.minimum(probs, 1.0))


def as_levels(value: Any) -> tuple[Any, ...] | None:
    """Return labels of states as a tuple, if there are any."""
    return None if value is None else tuple(value)


def states_declared(family: str, n_states: Any, levels: tuple[Any, ...] | None) -> int | None:
    """Return the number of states, of which there may be levels, or raise `ModelError`."""
    if levels is not None:
        n_states = len(levels) if n_states is None else n_states
        if len(set(levels)) != n_states:
            raise ModelError(
                f"{family}: levels must be {n_states} different labels, got {list(levels)}. "
                "Give one for each state."
            )
    if n_states is None:
        return None
    whole = isinstance(n_states, int | np.integer) and not isinstance(n_states, bool)
    if not whole or n_states < 1:
        raise ModelError(
            f"{family}: n_states must be a whole number of at least 1, got {n_states!r}. "
            "Give the number of states, or its parameters."
        )
    return int(n_states)


def check_states(family: str, value: Array, n_states: int | None) -> Array:
    """Return states as integers, or raise `Unsuitable`."""
    if n_states is None:
        return check_integers(value, 0, None, family)
    return check_integers(value, 0, n_states - 1, f"{family}({n_states})")


def states_in(family: str, value: Array) -> int:
    """Return the number of states that data have, or raise `Unsuitable`."""
    n_states = int(value.max(initial=0)) + 1
    if n_states > 1000 + 10 * len(value):
        raise Unsuitable(
            "be levels 0, 1, 2, ... because {node} takes their number from the data",
            f"{len(value)} values up to {n_states - 1}",
            f"Number the levels that occur, or say {family}(n_states).",
        )
    return n_states


def levels_of_states(
    family: str, n_states: int | None, known: bool, levels: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return labels of all states, or raise `Unsuitable`; ``known`` if there are parameters."""
    n_states = len(levels) if n_states is None else n_states
    if known:
        raise Unsuitable(
            f"be states from 0 to {n_states - 1} because {{node}} has probabilities for these "
            "and no labels",
            f"{levels[0]!r}",
            f"Encode them as 0 to {n_states - 1} and use NaN for unknown ones, or give "
            f"{family} its levels=[...].",
        )
    if len(levels) > n_states:
        raise Unsuitable(
            f"have at most {n_states} different levels because {{node}} has that many states",
            f"{len(levels)}: {list(levels)[: n_states + 1]}",
            "Declare more states, or merge levels.",
        )
    return (*levels, *(f"state {state}" for state in range(len(levels), n_states)))


def common_levels(own: tuple[Any, ...] | None, other: tuple[Any, ...] | None) -> Any:
    """Return the levels of a declaration and of what it starts from, or raise `Unsuitable`."""
    if own is not None and other is not None and own != other:
        raise Unsuitable(
            f"start from the levels {list(own)}",
            f"{list(other)}",
            "Declare the same levels in the same order.",
        )
    return own or other


def _known(family: str, probs: Array | None) -> Array:
    if probs is None:
        raise ModelError(
            f"{family} must have probs to be evaluated or sampled, got a template. Fit it."
        )
    return probs


def _pick(family: str, log_probs: Array, value: Array) -> Array:
    """Return the log-probability of each value, ``(n, *parents)``, from a table over states."""
    with naming(family):
        value = check_column(np.asarray(value), family)
    possible = (value >= 0) & (value < log_probs.shape[-1]) & (value == np.floor(value))
    if possible.all():
        return np.moveaxis(log_probs[..., value.astype(np.intp)], -1, 0)
    states = np.where(possible, value, 0).astype(np.intp)
    picked = np.moveaxis(log_probs[..., states], -1, 0)
    return np.where(possible.reshape(-1, *(1,) * (picked.ndim - 1)), picked, -np.inf)


@attrs.frozen(eq=False, repr=False)
class Categorical(ExponentialFamily):
    r"""Distribution over states 0, ..., n_states - 1, observed or latent.

    .. math:: {log_density}, \qquad
              {update}

    (Bishop, Pattern Recognition and Machine Learning, 2006, section 2.2.) The statistics are the
    indicators of the states, so probabilities of exactly zero are allowed, and stay zero.

    Parameters
    ----------
    n_states : int, optional
        Number of states; taken from ``probs``, or for an observed node from the data, if absent.
    probs : array, (\*parents, n_states), optional
        Probabilities, summing to 1 over the last axis.
    levels : sequence, optional
        Labels of the states, strings or numbers, in order; taken from a column of strings or
        categories if absent.
    prior : Dirichlet, optional
        Of the probabilities; with concentrations alpha the estimates are
        (counts + alpha - 1) / (their sum).

    Raises
    ------
    ModelError
        If the probabilities are negative, do not sum to 1 or do not match ``n_states``.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Categorical(3).fit(np.array([0, 1, 1, 2]), np.ones(4)).probs
    array([0.25, 0.5 , 0.25])
    """

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = \sum_j [x = j] \log \pi_{kj}",
        statistics=r"T_j(x) = [x = j]",
        update=r"\hat\pi_{kj} = \sum_i r_{ik} [x_i = j] / \sum_i r_{ik}",
        symbols={r"\pi": "probs"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"probs": 1}
    reaches_zero: ClassVar[bool] = True

    n_states: int | None = attrs.field(default=None)
    probs: Array | None = parameter(converter=_probabilities)
    levels: tuple[Any, ...] | None = attrs.field(default=None, kw_only=True, converter=as_levels)
    prior: Distribution | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.prior is not None:
            shape = None if self.probs is None else self.probs.shape
            counts = dirichlet_counts("Categorical", self.prior, shape)
            if self.n_states is not None and counts.shape[-1:] not in ((), (1,), (self.n_states,)):
                raise ModelError(
                    f"Categorical: prior must have one concentration, or one for each of "
                    f"{self.n_states} states, got {counts.shape[-1]}. Give one for each."
                )
        n_states = states_declared("Categorical", self.n_states, self.levels)
        object.__setattr__(self, "n_states", n_states)
        if self.probs is None:
            return
        if self.probs.ndim == 0:
            raise ModelError(
                "Categorical: probs must have a last axis over the states, got a scalar. "
                "Use Bernoulli(probs=...) for one probability."
            )
        if self.n_states is None:
            object.__setattr__(self, "n_states", self.probs.shape[-1])
        if self.probs.shape[-1] != self.n_states:
            raise ModelError(
                f"Categorical: probs must have {self.n_states} states on its last axis, "
                f"got shape {self.probs.shape}. Put the parents' axes first."
            )
        if not np.all(np.abs(self.probs.sum(axis=-1) - 1) < 1e-8):
            raise ModelError(
                f"Categorical: probs must sum to 1 over the last axis, got sums "
                f"{self.probs.sum(axis=-1)}. Divide by the sum."
            )

    def __repr__(self) -> str:
        if self.probs is None:
            prior = "" if self.prior is None else f", prior={self.prior!r}"
            return f"Categorical({'' if self.n_states is None else self.n_states}{prior})"
        levels = "" if self.levels is None else f", levels={list(self.levels)!r}"
        return f"Categorical(probs={self.probs!r}{levels})"

    @property
    def n_parameters(self) -> int:
        """Free parameters: n_states - 1 for each combination of the parents' states."""
        return 0 if self.probs is None else self.probs.size - self.probs[..., 0].size

    def with_levels(self, levels: tuple[Any, ...]) -> Self:
        if self.levels is not None:
            return self
        known = self.probs is not None
        levels = levels_of_states("Categorical", self.n_states, known, levels)
        return attrs.evolve(self, n_states=len(levels), levels=levels)

    def started_from(self, other: Distribution) -> Self:
        if other is self:
            return self
        levels = common_levels(self.levels, other.levels)
        return attrs.evolve(super().started_from(other), levels=levels)

    def check(self, value: Array) -> Array:
        return check_states("Categorical", value, self.n_states)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        if self.n_states is not None:
            return self
        return attrs.evolve(self, n_states=states_in("Categorical", value))

    def dissimilarity(self, value: Array, other: Array) -> Array:
        differs: Array = value[:, None] != other
        return differs.astype(float)

    def statistics(self, value: Array) -> Array:
        assert self.n_states is not None
        indicators: Array = (np.arange(self.n_states)[:, None] == value).T.astype(float)
        return indicators

    def statistics_into(self, out: Array, value: Array) -> None:
        np.equal(np.arange(len(out))[:, None], value, out=out, casting="unsafe")

    @property
    def pairs(self) -> Array:
        assert self.n_states is not None
        return levels_of_one(self.n_states)

    def factors_into(self, out: Array, value: Array) -> None:
        np.add(value, 1.0, out=out[0])

    def natural_parameters(self) -> tuple[Array, Array]:
        probs = _known("Categorical", self.probs)
        with np.errstate(divide="ignore"):
            return np.log(probs), np.zeros(probs.shape[:-1])

    def from_mean(self, mean: Array, weight: Array) -> Self:
        return renewed(self, probs=mean / mean.sum(axis=-1, keepdims=True))

    def natural_from_mean(self, mean: Array, weight: Array) -> tuple[Array, Array] | None:
        return None if self.held or self.prior is not None else _natural_of_levels(mean)

    @property
    def closed_form(self) -> ClosedForm | None:
        return None if self.held or self.prior is not None else ClosedForm(LEVELS)

    @property
    def log_prob_table(self) -> Array:
        return self.natural_parameters()[0]

    def pseudo_statistics(self, n_states: int) -> Statistics | None:
        if self.prior is None or self.n_states is None:
            return None
        counts = dirichlet_counts("Categorical", self.prior, (n_states, self.n_states))
        return Statistics(counts.sum(axis=1), counts)

    @property
    def log_prior(self) -> float:
        if self.prior is None or self.probs is None:
            return 0.0
        counts = dirichlet_counts("Categorical", self.prior, self.probs.shape)
        return log_dirichlet(counts, self.probs)

    def directions(self) -> list[dict[str, Array]]:
        """Each probability against the largest of its row, which keeps the sum."""
        probs = _known("Categorical", self.probs)
        found = []
        for move in single_moves(np.where(probs > BOUNDARY, probs, 0.0)):
            (*row, state) = np.argwhere(move)[0]
            largest = probs[*row].argmax()
            if state != largest:
                move[*row, largest] = -move[*row, state]
                found.append({"probs": move})
        return found

    def permuted(self, order: Array) -> Self:
        probs = None if self.probs is None else self.probs[..., order]
        levels = None if self.levels is None else tuple(self.levels[state] for state in order)
        prior: Any = self.prior
        if prior is not None and np.shape(prior.concentration)[-1:] == (len(order),):
            prior = attrs.evolve(prior, concentration=prior.concentration[..., order])
        return attrs.evolve(self, probs=probs, levels=levels, prior=prior)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf outside the states."""
        eta, _ = self.natural_parameters()
        return _pick("Categorical", eta, value)

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one state for each parent state, ``(n,)``."""
        cumulative = np.cumsum(_known("Categorical", self.probs), axis=-1)
        # Scaled by the last sum, so that rounding cannot reach past the last possible state.
        draws = rng.random(len(state)) * cumulative[state, -1]
        state_drawn: Array = (draws[:, None] >= cumulative[state]).sum(axis=1)
        return state_drawn


def _natural_of_levels(mean: Array) -> tuple[Array, Array]:
    """Return the natural parameters, and A, of the maximum of mean indicators ``(K, levels)``."""
    return np.log(mean / mean.sum(axis=-1, keepdims=True)), np.zeros(mean.shape[:-1])


@attrs.frozen(eq=False, repr=False)
class Bernoulli(ExponentialFamily):
    r"""Distribution of a binary value.

    .. math:: {log_density}, \qquad
              {update}

    (Bishop, Pattern Recognition and Machine Learning, 2006, section 9.3.3.) The statistics are
    (1 - x, x), so probabilities of exactly 0 and 1 are allowed.

    Parameters
    ----------
    probs : array, (\*parents,), optional
        Probability of a 1.
    prior : Beta, optional
        Of the probability; the estimate is (ones + a - 1) / (rows + a + b - 2).

    Raises
    ------
    ModelError
        If a probability is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Bernoulli().fit(np.array([0, 1, 1, 1]), np.ones(4)).probs
    array(0.75)
    """

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = x \log \mu_k + (1 - x) \log (1 - \mu_k)",
        statistics=r"T(x) = x",
        update=r"\hat\mu_k = \sum_i r_{ik} x_i / \sum_i r_{ik}",
        symbols={r"\mu": "probs"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"probs": 0}
    reaches_zero: ClassVar[bool] = True

    probs: Array | None = parameter(converter=_probabilities)
    prior: Distribution | None = attrs.field(
        default=None, kw_only=True, validator=conjugate(beta_counts)
    )

    def __repr__(self) -> str:
        if self.probs is not None:
            return f"Bernoulli(probs={self.probs!r})"
        return "Bernoulli()" if self.prior is None else f"Bernoulli(prior={self.prior!r})"

    @property
    def n_states(self) -> int:
        """Two."""
        return 2

    @property
    def n_parameters(self) -> int:
        """One for each combination of the parents' states."""
        return 0 if self.probs is None else self.probs.size

    def check(self, value: Array) -> Array:
        return check_integers(value, 0, 1, "Bernoulli")

    def dissimilarity(self, value: Array, other: Array) -> Array:
        differs: Array = value[:, None] != other
        return differs.astype(float)

    def statistics(self, value: Array) -> Array:
        return np.stack([1.0 - value, np.asarray(value, dtype=float)]).T

    def natural_parameters(self) -> tuple[Array, Array]:
        probs = _known("Bernoulli", self.probs)
        with np.errstate(divide="ignore"):
            eta = np.stack([np.log1p(-probs), np.log(probs)], axis=-1)
        return eta, np.zeros(probs.shape)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        probs = np.clip(mean[..., 1], 0.0, 1.0)
        return renewed(self, probs=below_one(probs, mean[..., 0]))

    def natural_from_mean(self, mean: Array, weight: Array) -> tuple[Array, Array] | None:
        return None if self.prior is not None else _natural_of_levels(mean)

    @property
    def closed_form(self) -> ClosedForm | None:
        return None if self.prior is not None else ClosedForm(LEVELS)

    def pseudo_statistics(self, n_states: int) -> Statistics | None:
        if self.prior is None:
            return None
        ones, zeros = beta_counts("Bernoulli", self.prior, (n_states,))
        return Statistics(ones + zeros, np.stack([zeros, ones], axis=1))

    @property
    def log_prior(self) -> float:
        if self.prior is None or self.probs is None:
            return 0.0
        return log_beta(*beta_counts("Bernoulli", self.prior, self.probs.shape), self.probs)

    def directions(self) -> list[dict[str, Array]]:
        probs = _known("Bernoulli", self.probs)
        room = np.minimum(probs, 1.0 - probs)
        return [{"probs": move} for move in single_moves(np.where(room > BOUNDARY, room, 0.0))]

    def permuted(self, order: Array) -> Self:
        if order[0] == 0:
            return self
        probs = None if self.probs is None else 1.0 - self.probs
        prior: Any = self.prior
        if prior is not None:
            prior = attrs.evolve(prior, a=prior.b, b=prior.a)
        return attrs.evolve(self, probs=probs, prior=prior)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf outside the states."""
        eta, _ = self.natural_parameters()
        return _pick("Bernoulli", eta, value)

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        probs = _known("Bernoulli", self.probs)
        draws: Array = (rng.random(len(state)) < probs[state]).astype(np.int64)
        return draws
