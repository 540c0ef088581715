"""Parts of 1: what the Dirichlet and the Beta distribution share."""

from __future__ import annotations

import attrs
import numpy as np
from scipy.special import digamma

from latentem.distributions.arrays import Array
from latentem.distributions.reference import squared_distances
from latentem.distributions.special import (
    excess,
    increasing_root,
    inverse_digamma,
    log_minus_digamma,
    log_ratio,
    stirling,
    trigamma,
    trigamma_minus_inverse,
)


@attrs.frozen(eq=False)
class Composition:
    """What is taken once from data ``(n, d)`` whose rows are parts of 1.

    Attributes
    ----------
    centre : array, (d,)
        Their mean, about which statistics are taken.
    spread : float
        Their standard deviation on the scale on which seeds are compared, 0 if all are equal.
    """

    centre: Array
    spread: float

    @classmethod
    def of(cls, parts: Array, weights: Array | None = None) -> Composition:
        """Take the mean and the spread of square roots; missing parts count as their column's."""
        if np.isnan(parts).any():
            parts = _with_column_means(parts, weights)
        centre = np.average(parts, weights=weights, axis=0)
        if not np.ptp(parts, axis=0).any():
            return cls(centre / centre.sum(), 0.0)
        roots = np.sqrt(parts)
        mean = np.average(roots, weights=weights, axis=0)
        square = np.average(np.square(roots - mean), weights=weights, axis=0)
        return cls(centre / centre.sum(), float(np.sqrt(square.sum())))

    def statistics(self, parts: Array) -> Array:
        r"""Return w and u_1, ..., u_{d-1} of rows, ``(n, d)``.

        With the centre c, :math:`u_j = \log (x_j / c_j)` and :math:`w = -\sum_j c_j u_j`, a
        relative entropy, of which the differences x_j - c_j cancel.
        """
        u = log_ratio(parts[:, :-1], self.centre[:-1])
        w = excess(parts, self.centre) @ self.centre
        return np.concatenate([w[:, None], u], axis=1)

    def natural_parameters(self, alpha: Array) -> tuple[Array, Array]:
        """Return the coefficients of the statistics, ``(*parents, d)``, and the log-normaliser."""
        total = alpha.sum(axis=-1)
        last = alpha[..., -1:] / self.centre[-1]
        eta = np.concatenate([-last, alpha[..., :-1] - last * self.centre[:-1]], axis=-1)
        # As a sum of positive terms, of which states close to the centre lose nothing.
        divergence = excess(self.centre, alpha / total[..., None])
        return eta, (alpha * divergence - stirling(alpha)).sum(axis=-1) + stirling(total)

    def mean_logs(self, mean: Array) -> Array:
        """Return the means of log x_j, ``(*parents, d)``, of mean statistics."""
        return np.log(self.centre) + self._mean_ratios(mean)

    def _mean_ratios(self, mean: Array) -> Array:
        """Return the means of u_1, ..., u_d."""
        w, u = mean[..., 0], mean[..., 1:]
        last = -(w + u @ self.centre[:-1]) / self.centre[-1]
        return np.concatenate([u, last[..., None]], axis=-1)

    def maximum(self, mean: Array, largest: float) -> tuple[Array, Array]:
        r"""Return the concentrations whose mean statistics these are, and whether at the limit.

        With G_j the mean of log x_j and s the sum of the concentrations, the equations
        :math:`\psi(\alpha_j) - \psi(s) = G_j` give each concentration from s, and then

        .. math:: \sum_j e^{G_j} \left( e^{\varphi(\alpha_j) - \varphi(s)} - 1 \right) = 1
                  - \sum_j e^{G_j}, \qquad \varphi(a) = \log a - \psi(a)

        one equation for s, nearly a straight line in 1 / s where s is large. Its right side is
        small there, and made of w without loss. If the root is beyond the largest sum, the maximum
        is where the sum is the largest, with :math:`\psi(\alpha_j) = G_j + \lambda` for some λ.
        """
        w, u = mean[..., 0], self._mean_ratios(mean)
        weight = self.centre * np.exp(u)  # e^G
        deficit = w - (np.expm1(u) - u) @ self.centre
        logs = np.log(self.centre) + u

        def equation(t: Array) -> tuple[Array, Array]:
            s = 1.0 / t
            alpha = inverse_digamma(logs + digamma(s)[..., None])
            growth = log_minus_digamma(alpha) - log_minus_digamma(s)[..., None]
            change = trigamma_minus_inverse(s)[..., None] - trigamma_minus_inverse(alpha) * (
                trigamma(s)[..., None] / trigamma(alpha)
            )
            value = (weight * np.expm1(growth)).sum(axis=-1) - deficit
            return value, -np.square(s) * (weight * np.exp(growth) * change).sum(axis=-1)

        low = np.full(deficit.shape, 1.0 / largest)
        at_limit = np.asarray(equation(low)[0] >= 0)
        d = self.centre.size
        start = np.maximum(2 * deficit / (d - 1), low)
        high = start
        while (short := equation(high)[0] < 0).any():
            high = np.where(short, 2 * high, high)
        t = increasing_root(equation, low, high, np.where(at_limit, low, start))
        free = inverse_digamma(logs + digamma(1.0 / t)[..., None])
        return np.where(at_limit[..., None], _of_sum(logs, largest), free), at_limit

    def squared_distances(self, parts: Array, other: Array) -> Array:
        """Return squared distances of the square roots of parts, ``(n, m)``, over the spread.

        On this scale (Hellinger's) the spread of a state depends little on its mean.
        """
        distances = squared_distances(np.sqrt(parts).T, np.sqrt(other).T)
        return distances / (self.spread or 1.0) ** 2


def _with_column_means(parts: Array, weights: Array | None) -> Array:
    """Return parts with the mean of their column where missing."""
    seen = ~np.isnan(parts)
    counted = seen * (np.ones(len(parts)) if weights is None else weights)[:, None]
    total = counted.sum(axis=0)
    sums = (counted * np.where(seen, parts, 0.0)).sum(axis=0)
    means = np.divide(sums, total, where=total > 0, out=np.full(len(total), 1 / len(total)))
    return np.where(seen, parts, means)


def _of_sum(logs: Array, total: float) -> Array:
    """Return alpha, which sums to the total, with digamma(alpha_j) = logs_j + lambda."""

    def excess_sum(shift: Array) -> tuple[Array, Array]:
        alpha = inverse_digamma(logs + shift[..., None])
        return alpha.sum(axis=-1) / total - 1, (1 / trigamma(alpha)).sum(axis=-1) / total

    # digamma(a) < log a < digamma(a + 1 / 2): the largest entry is between total / d and total.
    largest = logs.max(axis=-1)
    low = np.log(total / logs.shape[-1]) - 1.0 - largest
    high = np.log(total) - largest
    shift = increasing_root(excess_sum, low, high, high)
    alpha = inverse_digamma(logs + shift[..., None])
    scaled: Array = alpha * (total / alpha.sum(axis=-1, keepdims=True))
    return scaled


def log_density(alpha: Array, parts: Array) -> Array:
    """Return the log-density of parts ``(..., d)`` about the means of the states."""
    total = alpha.sum(axis=-1, keepdims=True)
    terms = stirling(alpha) - alpha * excess(parts, alpha / total) - np.log(parts)
    density: Array = terms.sum(axis=-1) - stirling(total[..., 0])
    return density


def limited(alpha: Array, largest: float) -> Array:
    """Return concentrations scaled down to the largest sum, where it is exceeded."""
    scaled: Array = alpha * np.minimum(1.0, largest / alpha.sum(axis=-1, keepdims=True))
    return scaled


def concentration_moves(alpha: Array, held: Array | None) -> list[Array]:
    """Return the directions of concentrations: all of a state together, and shares against another.

    The sum of a state in ``held``, a mask, stays as it is.
    """
    found = []
    for state in np.ndindex(alpha.shape[:-1]):
        own = alpha[state]
        largest = own.argmax()
        moves = [] if held is not None and held[state] else [own]
        for j in np.flatnonzero(np.arange(len(own)) != largest):
            move = np.zeros(len(own))
            move[j], move[largest] = own[j], -own[j]
            moves.append(move)
        for move in moves:
            array = np.zeros(alpha.shape)
            array[state] = move
            found.append(array)
    return found
