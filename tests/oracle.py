"""Exact inference by brute force: loop over every Z, scalar arithmetic, nothing shared.

A model is described in plain Python: the latent nodes with their numbers of states, and for every
node a function that returns its log-density given the values of its parents. Nothing here imports
``latentem``; everything is a sum over all combinations of the latent states, row by row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

LogDensity = Callable[..., float]
"""``f(value, *parents)``, every argument one scalar (or one event), the result one float."""

Row = Mapping[str, Any]
States = tuple[int, ...]


@dataclass(frozen=True)
class Factor:
    """The conditional ``p(name | parents)``: its log-density and the names of its parents."""

    log_density: LogDensity
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Oracle:
    """A joint ``p(X, Z)``: ``latents`` name -> number of states; ``factors`` name -> factor."""

    latents: Mapping[str, int]
    factors: Mapping[str, Factor]

    def states(self) -> Iterator[dict[str, int]]:
        """Every combination of latent states, the last latent running fastest."""
        for combination in itertools.product(*(range(k) for k in self.latents.values())):
            yield dict(zip(self.latents, combination, strict=True))

    def terms(self, row: Row, states: Mapping[str, int]) -> dict[str, float]:
        """Each node's ``log p(value | parents)`` at one complete row."""
        complete = {**row, **states}
        return {
            name: float(factor.log_density(complete[name], *(complete[p] for p in factor.parents)))
            for name, factor in self.factors.items()
        }

    def log_joint(self, row: Row, states: Mapping[str, int]) -> float:
        """``log p(x, z)`` of one row."""
        return math.fsum(_finite_or_minus_infinity(self.terms(row, states).values()))

    def joint(self, row: Row) -> dict[States, float]:
        """``log p(x, z)`` of one row for every ``z``."""
        return {tuple(states.values()): self.log_joint(row, states) for states in self.states()}

    def log_evidence(self, row: Row) -> float:
        """``log p(x)`` of one row."""
        joint = list(self.joint(row).values())
        largest = max(joint)
        if largest == -math.inf:
            return -math.inf
        return largest + math.log(math.fsum(math.exp(term - largest) for term in joint))

    def posterior(self, row: Row) -> dict[States, float]:
        """``p(z | x)`` of one row for every ``z``."""
        evidence = self.log_evidence(row)
        return {z: math.exp(term - evidence) for z, term in self.joint(row).items()}

    def marginal(self, row: Row, *names: str) -> np.ndarray:
        """``p(z_names | x)`` of one row, one axis a name."""
        order = list(self.latents)
        table = np.zeros([self.latents[name] for name in names])
        for z, probability in self.posterior(row).items():
            table[tuple(z[order.index(name)] for name in names)] += probability
        return table

    def mode(self, row: Row) -> dict[str, int]:
        """The jointly most probable states of one row."""
        joint = self.joint(row)
        return dict(zip(self.latents, max(joint, key=joint.__getitem__), strict=True))

    def entropy(self, row: Row) -> float:
        """``-sum_z p(z | x) log p(z | x)`` of one row."""
        return -math.fsum(p * math.log(p) for p in self.posterior(row).values() if p > 0)

    def expected_terms(self, row: Row, posterior: Mapping[States, float]) -> dict[str, float]:
        """Each node's ``sum_z posterior(z) log p(value | parents)`` at one row."""
        totals = dict.fromkeys(self.factors, 0.0)
        for states in self.states():
            probability = posterior[tuple(states.values())]
            if probability > 0:
                for name, term in self.terms(row, states).items():
                    totals[name] += probability * term
        return totals


def rows(data: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows of a table, each a mapping name -> one value."""
    n = len(next(iter(data.values())))
    return [{name: column[i] for name, column in data.items()} for i in range(n)]


def log_likelihood(
    oracle: Oracle, data: Mapping[str, np.ndarray], weights: Sequence[float] | None = None
) -> float:
    """``sum_i w_i log p(x_i)``."""
    every = rows(data)
    counts = [1.0] * len(every) if weights is None else list(weights)
    return math.fsum(w * oracle.log_evidence(row) for w, row in zip(counts, every, strict=True))


def expected_log_joint(
    oracle: Oracle, data: Mapping[str, np.ndarray], old: Oracle
) -> dict[str, float]:
    """``Q(theta, theta_old)`` node by node: ``oracle`` at theta, the posterior at theta_old."""
    every = rows(data)
    parts = [oracle.expected_terms(row, old.posterior(row)) for row in every]
    return {name: math.fsum(part[name] for part in parts) for name in oracle.factors}


# Densities: scalar formulas, parameters indexed by the parents' states.


def categorical(probs: np.ndarray) -> LogDensity:
    """``probs[parents][value]``."""
    return lambda value, *parents: _log(probs[(*_index(parents), int(value))])


def bernoulli(probs: np.ndarray) -> LogDensity:
    """``probs[parents]`` if value else its complement."""

    def log_density(value: Any, *parents: Any) -> float:
        p = float(probs[_index(parents)])
        return _log(p) if value else _log(1 - p)

    return log_density


def poisson(rate: np.ndarray) -> LogDensity:
    """``rate^x exp(-rate) / x!``."""

    def log_density(value: Any, *parents: Any) -> float:
        lam = float(rate[_index(parents)])
        if lam == 0:
            return 0.0 if value == 0 else -math.inf
        return float(value) * math.log(lam) - lam - math.lgamma(float(value) + 1)

    return log_density


def normal(mean: np.ndarray, variance: np.ndarray) -> LogDensity:
    """``N(x; mean[parents], variance[parents])``."""

    def log_density(value: Any, *parents: Any) -> float:
        m, v = float(mean[_index(parents)]), float(variance[_index(parents)])
        return -0.5 * (math.log(2 * math.pi * v) + (float(value) - m) ** 2 / v)

    return log_density


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> LogDensity:
    """``N(x; mean[parents], covariance[parents])`` as scipy computes it."""

    def log_density(value: Any, *parents: Any) -> float:
        index = _index(parents)
        density = stats.multivariate_normal(mean[index], covariance[index])
        return float(density.logpdf(value))

    return log_density


def rayleigh(scale: np.ndarray) -> LogDensity:
    """``x / s^2 exp(-x^2 / (2 s^2))``."""

    def log_density(value: Any, *parents: Any) -> float:
        s, x = float(scale[_index(parents)]), float(value)
        return math.log(x) - 2 * math.log(s) - x * x / (2 * s * s)

    return log_density


def exponential(rate: np.ndarray) -> LogDensity:
    """``rate exp(-rate x)``."""

    def log_density(value: Any, *parents: Any) -> float:
        lam = float(rate[_index(parents)])
        return math.log(lam) - lam * float(value)

    return log_density


def prototype(prototypes: np.ndarray) -> LogDensity:
    """Minus the squared Euclidean distance: no density, the term of K-means."""

    def log_density(value: Any, *parents: Any) -> float:
        centre = prototypes[_index(parents)]
        return -math.fsum((float(x) - float(m)) ** 2 for x, m in zip(value, centre, strict=True))

    return log_density


def point_mass(location: Any) -> LogDensity:
    """One at ``location``, nothing elsewhere."""
    return lambda value, *parents: 0.0 if np.all(np.asarray(value) == location) else -math.inf


def switch(cases: Sequence[LogDensity]) -> LogDensity:
    """The family of the first parent's state; the other parents index its parameters."""
    return lambda value, state, *others: cases[int(state)](value, *others)


def _index(parents: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(int(parent) for parent in parents)


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else -math.inf


def _finite_or_minus_infinity(terms: Any) -> list[float]:
    """Scalar sums with an impossible event are impossible (``fsum`` accepts one infinity)."""
    values = list(terms)
    return [-math.inf] if -math.inf in values else values
