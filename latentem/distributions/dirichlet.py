"""The Dirichlet distribution, and what the Beta distribution shares with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np
from scipy.special import digamma

from latentem.distributions.arrays import LOG_ZERO, Array, as_float_array
from latentem.distributions.base import ExponentialFamily, parameter
from latentem.distributions.checks import naming
from latentem.distributions.positive import (
    PositiveParameters,
    check_limit,
)
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
from latentem.errors import ModelError, Unsuitable

#: How far the parts of a row may be from summing to 1.
SUM_TOLERANCE = 1e-8


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
        """Take the mean and the spread of square roots."""
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
        ratio = log_ratio(alpha / total[..., None], self.centre)
        return eta, (alpha * ratio - stirling(alpha)).sum(axis=-1) + stirling(total)

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
        w, u = mean[..., 0], mean[..., 1:]
        last = -(w + u @ self.centre[:-1]) / self.centre[-1]
        u = np.concatenate([u, last[..., None]], axis=-1)
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
        roots, others = np.sqrt(parts), np.sqrt(other)
        squares = [np.square(roots - row).sum(axis=1) for row in others]
        distances: Array = np.stack(squares, axis=1) / (self.spread or 1.0) ** 2
        return distances


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


@attrs.frozen(eq=False, repr=False)
class Dirichlet(PositiveParameters, ExponentialFamily):
    r"""Dirichlet distribution of proportions, rows of positive numbers that sum to 1.

    .. math:: \log p(x \mid k) = \log \Gamma\left( \textstyle\sum_j \alpha_{kj} \right)
              - \sum_j \log \Gamma(\alpha_{kj}) + \sum_j (\alpha_{kj} - 1) \log x_j

    the density of the first d - 1 entries. The maximiser solves
    :math:`\psi(\alpha_j) - \psi(\sum_l \alpha_l) = \overline{\log x_j}`, the mean being weighted by
    the responsibilities (Minka, Estimating a Dirichlet distribution, 2000), as one equation for the
    sum of the concentrations, by Newton's method within a bracket. Its statistics are about the
    mean of the data, which keeps the digits of states close to it; elsewhere a sum s is found to
    about s machine precisions.

    Parameters
    ----------
    concentration : array, (\*parents, d), optional
        The mean is the concentration divided by its sum.
    largest_sum : float
        Largest allowed sum of a concentration: that of a state whose rows are all equal would grow
        without bound. The fit is the exact maximiser under this constraint, and says when it is
        active.

    Raises
    ------
    ModelError
        If a concentration is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> x = np.array([[0.2, 0.3, 0.5], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4]])
    >>> lem.Dirichlet().fit(x, np.ones(3)).concentration.round(3)
    array([ 6.149, 11.568, 13.91 ])
    """

    trailing_axes: ClassVar[Mapping[str, int]] = {"concentration": 1}
    limit: ClassVar[str] = "the sum of the concentration is at its largest, {self.largest_sum:g}"

    concentration: Array | None = parameter(converter=as_float_array)
    largest_sum: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    reference: Composition | None = attrs.field(default=None, kw_only=True)  # type: ignore[assignment]

    def known(self) -> tuple[Array]:
        """Return the concentration, or raise `ModelError`."""
        (alpha,) = super().known()
        if not alpha.ndim or alpha.shape[-1] < 2:
            raise ModelError(
                "Dirichlet: concentration must have a last axis of at least 2 entries, got shape "
                f"{alpha.shape}. Give one for each part."
            )
        return (alpha,)

    # -- data ----------------------------------------------------------------------------------

    @property
    def support(self) -> str:
        return "rows of at least 2 positive numbers that sum to 1"

    def supports(self, x: Array) -> Array:
        inside: Array = (x > 0).all(axis=-1) & (np.abs(x.sum(axis=-1) - 1) <= SUM_TOLERANCE)
        return inside

    def check(self, value: Array) -> Array:
        because = f"be {self.support} because {{node}} is Dirichlet"
        if value.ndim != 2 or value.shape[1] < 2:
            raise Unsuitable(because, f"shape {value.shape}", "Use Beta() for a single proportion.")
        if value.dtype.kind not in "fiub":
            raise Unsuitable(because, f"an array of {value.dtype}", "Convert it to numbers.")
        value = value.astype(float, copy=False)
        if self.concentration is not None and value.shape[1] != self.concentration.shape[-1]:
            d = self.concentration.shape[-1]
            raise Unsuitable(
                f"have {d} columns because {{node}} is a Dirichlet of {d} parts",
                f"shape {value.shape}",
            )
        outside = ~self.supports(value)
        if outside.any():
            row = int(outside.argmax())
            raise Unsuitable(
                because,
                f"{value[row].tolist()} at row {row}",
                "Divide rows by their sums; drop rows with zeros.",
            )
        return value

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return attrs.evolve(self, reference=Composition.of(value, weights))

    def dissimilarity(self, value: Array, other: Array) -> Array:
        reference = self.reference or Composition.of(value)
        return reference.squared_distances(value, other)

    # -- exponential family --------------------------------------------------------------------

    def _composition(self, d: int) -> Composition:
        return self.reference or Composition(np.full(d, 1 / d), 0.0)

    def statistics(self, value: Array) -> Array:
        inside = self.supports(value)
        composition = self._composition(value.shape[1])
        return composition.statistics(
            value if inside.all() else np.where(inside[:, None], value, composition.centre)
        )

    def log_base_measure(self, value: Array) -> Array:
        inside = self.supports(value)
        logs = np.log(np.where(inside[:, None], value, 1.0))
        return np.where(inside, -logs.sum(axis=1), LOG_ZERO)

    def natural_parameters(self) -> tuple[Array, Array]:
        (alpha,) = self.known()
        return self._composition(alpha.shape[-1]).natural_parameters(alpha)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        composition = self._composition(mean.shape[-1])
        alpha, at_limit = composition.maximum(mean, self.largest_sum)
        return attrs.evolve(self, concentration=alpha, at_limit=at_limit)

    def feasible(self) -> Self:
        if self.concentration is None:
            return self
        return attrs.evolve(self, concentration=limited(self.concentration, self.largest_sum))

    def directions(self) -> list[dict[str, Array]]:
        """Vary the sum of a concentration, and its entries against the largest, keeping the sum."""
        (alpha,) = self.known()
        return [{"concentration": move} for move in concentration_moves(alpha, self.at_limit)]

    def log_density(self, x: Array) -> Array:
        (alpha,) = self.known()
        return log_density(alpha, x)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for rows off the simplex."""
        (alpha,) = self.known()
        with naming("Dirichlet"):
            value = np.asarray(value, dtype=float)
            if value.ndim != 2 or value.shape[1] != alpha.shape[-1]:
                raise Unsuitable(f"have {alpha.shape[-1]} columns", f"shape {value.shape}")
        inside = self.supports(value)
        parts = np.where(inside[:, None], value, 1 / value.shape[1])
        parents = (1,) * (alpha.ndim - 1)
        density = self.log_density(parts.reshape(len(value), *parents, -1))
        return np.where(inside.reshape(-1, *parents), density, -np.inf)

    def expected_value(self) -> Array:
        """Return the means, ``(*parents, d)``."""
        (alpha,) = self.known()
        return np.asarray(alpha / alpha.sum(axis=-1, keepdims=True))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one row for each parent state, ``(n, d)``."""
        (alpha,) = self.known()
        draws = np.maximum(rng.standard_gamma(alpha[state]), np.finfo(float).tiny)
        parts: Array = draws / draws.sum(axis=-1, keepdims=True)
        return parts
