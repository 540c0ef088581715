"""The Gamma distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import parameter
from latentem.distributions.checks import as_names
from latentem.distributions.formulas import Formulas
from latentem.distributions.positive import (
    PositiveFamily,
    check_limit,
    single_state_moves,
)
from latentem.distributions.special import (
    excess,
    increasing_root,
    inverse_digamma,
    log_minus_digamma,
    stirling,
    trigamma_minus_inverse,
)


@attrs.frozen(eq=False, repr=False)
class Gamma(PositiveFamily):
    r"""Gamma distribution of positive values.

    .. math:: {log_density}

    The means being weighted by the responsibilities, the maximiser is

    .. math:: {update}

    (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, 1994, section 17.7),
    found by Newton's method in 1 / a, in which the left side is nearly a straight line (Minka,
    Estimating a Gamma distribution, 2002), within the bracket from 1 to 2 times the right side. A
    shape that is held leaves the first; of a rate b that is held the shape is the root of
    :math:`\psi(a) = \log b + \overline{\log x}`.

    The right side is small for large shapes. The statistics are therefore z = x / c and
    z - 1 - log z, c being the mean of the data, of which it is made without loss where a state is
    close to c; elsewhere a shape a is found to some 10 a machine precisions.

    Parameters
    ----------
    shape, rate : array, (\*parents,), optional
        The mean is shape / rate.
    largest_shape : float
        Largest allowed shape: that of a state whose values are all equal would grow without bound.
        The fit is the exact maximiser under this constraint, and says when it is active.

    held : tuple of str
        What is held at its value while the other is fitted, ``("shape",)`` or ``("rate",)``.
        Follows from giving only one of them, which may be one for all states.

    Raises
    ------
    ModelError
        If a parameter is not positive and finite, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> g = lem.Gamma().fit(np.array([1.0, 2.0, 6.0]), np.ones(3))
    >>> print(g.shape.round(4), g.rate.round(4))
    2.0004 0.6668
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = a_k \log b_k - \log \Gamma(a_k) + (a_k - 1) \log x - b_k x"
        ),
        statistics=r"T(x) = (x, \log x)",
        update=(
            r"\hat b_k = \hat a_k / \overline{x}, \qquad "
            r"\log \hat a_k - \psi(\hat a_k) = \log \overline{x} - \overline{\log x}"
        ),
        symbols={"a": "shape", "b": "rate"},
        held={"rate": r"\psi(\hat a_k) = \log b_k + \overline{\log x}"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"shape": 0, "rate": 0}
    holdable: ClassVar[tuple[str, ...]] = ("shape", "rate")
    limit: ClassVar[str] = "the shape is at its largest, {self.largest_shape:g}"

    shape: Array | None = parameter(converter=as_float_array)
    rate: Array | None = parameter(converter=as_float_array)
    largest_shape: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)

    def log_density(self, x: Array) -> Array:
        a, b = self.known()
        return np.asarray(stirling(a) - a * excess(x, a / b) - np.log(x))

    def statistics_within(self, value: Array) -> Sequence[Array]:
        return value / self.centre, excess(value, self.centre)

    def log_base_within(self, value: Array) -> Array:
        return -np.log(value)

    def natural_parameters(self) -> tuple[Array, Array]:
        a, b = self.known()
        # One rounded ratio in both, so that its rounding, times a large shape, cancels.
        ratio = b * self.centre / a
        return np.stack([a * (1.0 - ratio), -a], axis=-1), -(stirling(a) + a * np.log(ratio))

    def from_mean(self, mean: Array, weight: Array) -> Self:
        share, surplus = mean[..., 0], mean[..., 1]
        shape, rate = self._held_value("shape"), self._held_value("rate")
        if shape is not None:
            return attrs.evolve(self, rate=shape / (share * self.centre), at_limit=None)
        if rate is not None:
            # digamma(a) = log b + the mean of log x
            mean_log = np.log(self.centre) + share - 1.0 - surplus
            # Of more, the root is beyond the limit anyway.
            most = np.log(self.largest_shape) + 1.0
            a = inverse_digamma(np.minimum(np.log(rate) + mean_log, most))
            at_limit = a > self.largest_shape
            return attrs.evolve(self, shape=np.minimum(a, self.largest_shape), at_limit=at_limit)
        spread = surplus - excess(share, 1.0)  # log of the mean - mean of the logs
        smallest = log_minus_digamma(np.asarray(self.largest_shape))
        at_limit = spread < smallest
        a = np.minimum(shape_of_excess(np.maximum(spread, smallest)), self.largest_shape)
        return attrs.evolve(self, shape=a, rate=a / (share * self.centre), at_limit=at_limit)

    def feasible(self) -> Self:
        if not self.is_parameterised or "shape" in self.held:
            return self
        a, b = self.known()
        shape = np.minimum(a, self.largest_shape)
        rate = b if "rate" in self.held else np.where(shape < a, b * shape / a, b)
        return attrs.evolve(self, shape=shape, rate=rate)

    def directions(self) -> list[dict[str, Array]]:
        """Vary the rate by itself, and both together, keeping the mean."""
        a, b = self.known()
        held = np.zeros(a.shape, bool) if self.at_limit is None else self.at_limit
        if self.held:
            own = {"rate": b} if "shape" in self.held else {"shape": a}
            moves = single_state_moves(own)
            return [move for move, fixed in zip(moves, held.ravel(), strict=True) if not fixed]
        both = single_state_moves({"shape": a, "rate": b})
        free = [move for move, fixed in zip(both, held.ravel(), strict=True) if not fixed]
        return single_state_moves({"rate": b}) + free

    def expected_value(self) -> Array:
        """Return the means shape / rate, ``(*parents,)``."""
        a, b = self.known()
        return np.asarray(a / b)

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        a, b = self.known()
        draws = rng.gamma(a[state]) / b[state]
        return np.maximum(draws, np.finfo(float).tiny)  # of tiny shapes draws round to 0


def shape_of_excess(spread: Array) -> Array:
    """Return the root a of log a - digamma(a) = spread, by way of t = 1 / a."""

    def function(t: Array) -> tuple[Array, Array]:
        a = 1.0 / t
        return log_minus_digamma(a) - spread, np.square(a) * trigamma_minus_inverse(a)

    # The left side is between 1 / (2 a) and 1 / a.
    return 1.0 / increasing_root(function, spread, 2 * spread, 1.5 * spread)
