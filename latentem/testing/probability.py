"""Total probability of a density, and the frequencies it foretells; for scalar values."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from scipy import integrate, stats

from latentem.distributions import Array, Distribution

# Probability with which a right sampler is called wrong.
RARE = 1e-8
# Integers beyond the values at which summing gives up.
FARTHEST = 1 << 16


def log_prob(dist: Distribution, value: Array) -> Array:
    """Return log p(value | k) ``(n, K)``, of a copy, without warnings."""
    with np.errstate(all="ignore"):
        return np.asarray(dist.log_prob(value.copy()), dtype=float)


def is_summable(dist: Distribution, value: Array) -> bool:
    """Return whether the values are scalars and the density is not known to be improper."""
    return not dist.requires_hard and math.prod(value.shape[1:]) == 1


def total_probability(dist: Distribution, value: Array) -> Array | None:
    """Return the sum or integral of each state's density, ``(K,)``; None where not feasible."""
    if not is_summable(dist, value):
        return None
    if not _are_integers(value):
        total = _integral(dist, value, -math.inf, math.inf)
        # A state may be all in single points, such as a case of zeros among positive values.
        atoms = _atoms(value)
        if not len(atoms):
            return total
        masses = _density(dist, value, atoms).sum(axis=0)
        return np.where(np.abs(total + masses - 1) < np.abs(total - 1), total + masses, total)
    total = _sum(dist, value)
    error = np.abs(total - 1).max()
    if error > 1e-6:  # integers may be rounded observations of a continuous variable
        try:
            integral = _integral(dist, value.astype(float), -math.inf, math.inf)
        except ValueError:  # not defined in between
            return total
        return integral if np.abs(integral - 1).max() < error else total
    return total


def frequencies_differ(dist: Distribution, value: Array, draws: Array, state: Array) -> bool:
    """Return whether draws ``(m,)`` of the states are not distributed as the density says.

    A chi-square test, on cells that are the integers or lie between quantiles of the draws.
    """
    if not is_summable(dist, value):
        return False
    flat = draws.reshape(-1).astype(float)
    if not _are_integers(draws) and len(_atoms(draws)):
        return False  # partly in single points, partly continuous
    if _are_integers(value) and _are_integers(draws):
        cells = np.unique(flat)
        probability = _density(dist, value, cells.astype(value.dtype))  # (cells, K)
        cell = np.searchsorted(cells, flat)
    else:
        edges = np.quantile(flat, np.linspace(0, 1, 12)[1:-1])
        bounds = itertools.pairwise([-math.inf, *edges, math.inf])
        probability = np.array([_integral(dist, value, low, high) for low, high in bounds])
        cell = np.searchsorted(edges, flat)
    return any(
        _differ(np.bincount(cell[state == k], minlength=len(column)), column)
        for k, column in enumerate(probability.T)
    )


def _differ(count: Array, probability: Array) -> bool:
    expected = probability * count.sum()
    usual = expected >= 5
    observed = np.append(count[usual], count[~usual].sum())
    predicted = np.append(expected[usual], max(count.sum() - expected[usual].sum(), 1.0))
    excess = float(np.sum((observed - predicted) ** 2 / predicted))
    return excess > 5 + float(stats.chi2.isf(RARE, max(1, len(observed) - 1)))


def _atoms(value: Array) -> Array:
    """Return the values that occur more than once."""
    flat, counts = np.unique(value.reshape(-1), return_counts=True)
    return flat[counts > 1]


def _are_integers(value: Array) -> bool:
    return value.dtype.kind in "biu" or bool(np.all(value == np.rint(value)))


def _density(dist: Distribution, like: Array, value: Array) -> Array:
    """Return the densities of scalars ``(n,)``, ``(n, K)``; zero where there is none."""
    rows = value.reshape(len(value), *like.shape[1:])
    with np.errstate(over="ignore"):  # of what is no density
        return np.nan_to_num(np.exp(log_prob(dist, rows)), nan=0.0)


def _integral(dist: Distribution, value: Array, low: float, high: float) -> Array:
    # A density on a circle is one on any interval of a period; draws are in that about 0.
    half = 0.5 * getattr(dist, "period", math.inf)
    low, high = min(max(low, -half), half), min(max(high, -half), half)
    # Where the mass is, where a support may end, and how far the tails may reach.
    inner = np.quantile(value, np.linspace(0, 1, 5))
    reach = np.outer([-1, 1], [0.3, 1, 3, 10]).ravel() * np.ptp(inner)
    breaks = np.unique([0.0, *inner, *(np.median(inner) + reach)])
    points = [point for point in breaks if low < point < high]

    def density(x: float) -> Array:
        row: Array = _density(dist, value, np.array([x]))[0]
        return row

    with np.errstate(all="ignore"):  # what has no integral is found out by its value
        result: Any = integrate.quad_vec(density, low, high, points=points, epsabs=1e-9)
    return np.asarray(result[0])


def _sum(dist: Distribution, value: Array) -> Array:
    """Return the sum over the integers, outwards from the values until nothing is added."""
    if value.dtype.kind == "b":
        both: Array = _density(dist, value, np.array([False, True])).sum(axis=0)
        return both
    low, high = int(value.min()), int(value.max())
    total = _mass(dist, value, np.arange(low, high + 1))
    for start, sign in ((high + 1, 1), (low - 1, -1)):
        reach = 16
        while reach < FARTHEST:
            added = _mass(dist, value, start + sign * np.arange(reach))
            total = total + added
            if np.max(added) < 1e-12:
                break
            start, reach = start + sign * reach, 2 * reach
    return total


def _mass(dist: Distribution, like: Array, value: Array) -> Array:
    dtype = float if like.dtype.kind == "f" else np.int64
    try:
        total: Array = _density(dist, like, value.astype(dtype)).sum(axis=0)
    except (ValueError, IndexError):  # some of them are no states of the distribution
        if len(value) == 1:
            return np.zeros(1)
        half = len(value) // 2
        total = _mass(dist, like, value[:half]) + _mass(dist, like, value[half:])
    return total
