"""The Exponential distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Distribution, parameter
from latentem.distributions.checks import check_floor
from latentem.distributions.formulas import Formulas
from latentem.distributions.positive import PositiveFamily, single_state_moves
from latentem.distributions.priors import conjugate, gamma_counts, log_gamma
from latentem.distributions.records import Statistics
from latentem.errors import Unsuitable


@attrs.frozen(eq=False, repr=False)
class Exponential(PositiveFamily):
    r"""Exponential distribution of waiting times and other values that are not negative.

    .. math:: {log_density}, \qquad
              {update}

    (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, 1994, chapter 19.)

    Parameters
    ----------
    rate : array, (\*parents,), optional
        The inverse of the mean, in the inverse unit of the data.
    floor : float
        Smallest allowed mean of a state, in units of the mean of the data: a state of zeros only
        would have none. The fit is the exact maximiser under this constraint.
    prior : Gamma, optional
        Of the rate; the estimate is (rows + shape - 1) / (total + rate).

    Raises
    ------
    ModelError
        If a rate is not positive and finite, or the floor is below machine precision.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Exponential().fit(np.array([1.0, 3.0]), np.ones(2)).rate
    array(0.5)
    """

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = \log \lambda_k - \lambda_k x",
        statistics=r"T(x) = x",
        update=r"\hat\lambda_k = \sum_i r_{ik} / \sum_i r_{ik} x_i",
        symbols={r"\lambda": "rate"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"rate": 0}
    limit: ClassVar[str] = "the mean is at its floor, {self.floor:g} of the mean of the data"
    needs_spread: ClassVar[bool] = False
    remedy: ClassVar[str] = "Drop or correct such rows."

    rate: Array | None = parameter(converter=as_float_array)
    floor: float = attrs.field(default=1e-13, kw_only=True, validator=check_floor)
    prior: Distribution | None = attrs.field(
        default=None, kw_only=True, validator=conjugate(gamma_counts)
    )

    @property
    def support(self) -> str:
        return "zero or positive"

    def supports(self, x: Array) -> Array:
        inside: Array = (x >= 0) & (x < np.inf)
        return inside

    def check_fit(self) -> None:
        if self.reference is not None and not self.reference.centre:
            raise Unsuitable(
                "have a value above 0 because the likelihood of {node} has no maximum without",
                "zeros only",
                "Drop that column, or fix its parameters.",
            )

    def even_scale(self, value: Array) -> Array:
        # Zeros have a place as well, and rows close to zero are not far from all others.
        return np.log(value / self.centre + 0.01)

    def log_density(self, x: Array) -> Array:
        (rate,) = self.known()
        return np.asarray(np.log(rate) - rate * x)

    def statistics_within(self, value: Array) -> Sequence[Array]:
        return (value / self.centre,)

    def natural_parameters(self) -> tuple[Array, Array]:
        (rate,) = self.known()
        return -rate[..., None] * self.centre, -np.log(rate)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        share = mean[..., 0]
        rate = 1.0 / (np.maximum(share, self.floor) * self.centre)
        return attrs.evolve(self, rate=rate, at_limit=share < self.floor)

    def pseudo_statistics(self, n_states: int) -> Statistics | None:
        if self.prior is None:
            return None
        events, exposure = gamma_counts("Exponential", self.prior, (n_states,))
        return Statistics(events, exposure[:, None] / self.centre)

    @property
    def log_prior(self) -> float:
        if self.prior is None or self.rate is None:
            return 0.0
        return log_gamma(*gamma_counts("Exponential", self.prior, self.rate.shape), self.rate)

    def feasible(self) -> Self:
        if self.rate is None or self.reference is None:
            return self
        return attrs.evolve(self, rate=np.minimum(self.rate, 1.0 / (self.floor * self.centre)))

    def directions(self) -> list[dict[str, Array]]:
        (rate,) = self.known()
        moves = single_state_moves({"rate": rate})
        held = np.zeros(rate.shape, bool) if self.at_limit is None else self.at_limit
        return [move for move, fixed in zip(moves, held.ravel(), strict=True) if not fixed]

    def expected_value(self) -> Array:
        """Return the means 1 / rate, ``(*parents,)``."""
        (rate,) = self.known()
        return np.asarray(1.0 / rate)

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        return rng.exponential(self.expected_value()[state])
