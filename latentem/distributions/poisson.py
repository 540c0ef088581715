"""The Poisson distribution of counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np
from scipy.special import gammaln

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
from latentem.distributions.priors import conjugate, gamma_counts, log_gamma
from latentem.distributions.records import Statistics
from latentem.errors import ModelError
from latentem.kernels.steps import COUNTS, ClosedForm


def _rates(value: Any) -> Array | None:
    rate = as_float_array(value)
    if rate is not None and not (np.all(np.isfinite(rate)) and np.all(rate >= 0)):
        raise ModelError(f"Poisson: rate must be finite and not negative, got {rate}. Give a mean.")
    return rate


@attrs.frozen(eq=False, repr=False)
class Poisson(ExponentialFamily):
    r"""Distribution of counts.

    .. math:: {log_density}, \qquad
              {update}

    (Johnson, Kemp and Kotz, Univariate Discrete Distributions, 3rd ed., 2005, chapter 4.)

    Parameters
    ----------
    rate : array, (\*parents,), optional
        Mean count; a rate of zero gives all its mass to the count 0.
    prior : Gamma, optional
        Of the rate; the estimate is (total + shape - 1) / (rows + rate).

    Raises
    ------
    ModelError
        If a rate is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Poisson().fit(np.array([0, 1, 5]), np.ones(3)).rate
    array(2.)
    """

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = x \log \lambda_k - \lambda_k - \log x!",
        statistics=r"T(x) = x",
        update=r"\hat\lambda_k = \sum_i r_{ik} x_i / \sum_i r_{ik}",
        symbols={r"\lambda": "rate"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"rate": 0}
    reaches_zero: ClassVar[bool] = True

    rate: Array | None = parameter(converter=_rates)
    prior: Distribution | None = attrs.field(
        default=None, kw_only=True, validator=conjugate(gamma_counts)
    )

    def __repr__(self) -> str:
        if self.rate is not None:
            return f"Poisson(rate={self.rate!r})"
        return "Poisson()" if self.prior is None else f"Poisson(prior={self.prior!r})"

    @property
    def n_parameters(self) -> int:
        """One for each combination of the parents' states."""
        return 0 if self.rate is None else self.rate.size

    def check(self, value: Array) -> Array:
        return check_integers(value, 0, None, "Poisson")

    def dissimilarity(self, value: Array, other: Array) -> Array:
        # The square root makes the variance of a Poisson count nearly constant (1/4).
        return 4.0 * (np.sqrt(value)[:, None] - np.sqrt(other)) ** 2

    def statistics(self, value: Array) -> Array:
        return value[:, None].astype(float)

    def known(self) -> Array:
        """Return the rate, or raise `ModelError`."""
        if self.rate is None:
            raise ModelError(
                "Poisson must have a rate to be evaluated or sampled, got a template. Fit it."
            )
        return self.rate

    def natural_parameters(self) -> tuple[Array, Array]:
        rate = self.known()
        with np.errstate(divide="ignore"):
            return np.log(rate)[..., None], rate

    def log_base_measure(self, value: Array) -> Array:
        return -gammaln(value + 1.0)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        rate = mean[..., 0]
        if rate.min(initial=0.0) < 0:  # of values off the support, which nobody has looked at yet
            return attrs.evolve(self, rate=rate)
        return renewed(self, rate=rate)

    def natural_from_mean(self, mean: Array, weight: Array) -> tuple[Array, Array] | None:
        if self.held or self.prior is not None or not mean.min() >= 0:
            return None
        with np.errstate(divide="ignore"):
            return np.log(mean), mean[..., 0]

    @property
    def closed_form(self) -> ClosedForm | None:
        return None if self.held or self.prior is not None else ClosedForm(COUNTS)

    def pseudo_statistics(self, n_states: int) -> Statistics | None:
        if self.prior is None:
            return None
        events, exposure = gamma_counts("Poisson", self.prior, (n_states,))
        return Statistics(exposure, events[:, None])

    @property
    def log_prior(self) -> float:
        if self.prior is None or self.rate is None:
            return 0.0
        return log_gamma(*gamma_counts("Poisson", self.prior, self.rate.shape), self.rate)

    def directions(self) -> list[dict[str, Array]]:
        rate = self.known()
        return [{"rate": move} for move in single_moves(np.where(rate > BOUNDARY, rate, 0.0))]

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for what is no count."""
        eta, rate = self.natural_parameters()
        with naming("Poisson"):
            value = check_column(np.asarray(value), "Poisson")
        value = value.reshape(-1, *(1,) * rate.ndim)
        possible = (value >= 0) & (value < np.inf) & (value == np.floor(value))
        x = np.where(possible, value, 0)
        # A rate of 0 has eta = -inf, and 0 * -inf stands for log 0^0 = 0.
        linear = np.zeros((len(x), *rate.shape))
        np.multiply(x, eta[..., 0], where=np.broadcast_to(x > 0, linear.shape), out=linear)
        return np.where(possible, linear - rate - gammaln(x + 1.0), -np.inf)

    def expected_value(self) -> Array:
        """Return the rates, ``(*parents,)``."""
        _, rate = self.natural_parameters()
        return rate

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one count for each parent state, ``(n,)``."""
        return rng.poisson(self.known()[state])
