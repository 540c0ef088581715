"""Counts of successes and failures: binomial and geometric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np
from scipy.special import gammaln, xlog1py, xlogy

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import (
    BOUNDARY,
    Distribution,
    ExponentialFamily,
    parameter,
    single_moves,
)
from latentem.distributions.checks import check_column, check_integers, naming
from latentem.errors import ModelError, Unsuitable


def _successes(value: Any) -> Array | None:
    probs = as_float_array(value)
    if probs is not None and not np.all((probs >= 0) & (probs <= 1)):
        raise ModelError(f"probs must be between 0 and 1, got {probs}. Give probabilities.")
    return probs


def _in_states(value: Array, probs: Array, name: str) -> Array:
    """Return a column of values, ``(n, *ones)``, to be set against probabilities of the states."""
    with naming(name):
        column = check_column(np.asarray(value), name)
    return column.reshape(-1, *(1,) * probs.ndim)


@attrs.frozen(eq=False, repr=False)
class Binomial(ExponentialFamily):
    r"""Distribution of the number of successes in n trials.

    .. math:: \log p(x \mid k) = \log \binom{n}{x} + x \log \pi_k + (n - x) \log (1 - \pi_k),
              \qquad \hat\pi_k = \sum_i r_{ik} x_i / (n \sum_i r_{ik})

    (Johnson, Kemp and Kotz, Univariate Discrete Distributions, 3rd ed., 2005, chapter 3.) The
    statistics are (n - x, x), so probabilities of exactly 0 and 1 are allowed.

    Parameters
    ----------
    n : int
        Number of trials.
    probs : array, (\*parents,), optional
        Probability of a success.

    Raises
    ------
    ModelError
        If n is not a whole number of at least 1, or a probability is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Binomial(10).fit(np.array([9, 8, 7]), np.ones(3)).probs
    array(0.8)
    """

    trailing_axes: ClassVar[Mapping[str, int]] = {"probs": 0}

    n: int
    probs: Array | None = parameter(converter=_successes)

    def __attrs_post_init__(self) -> None:
        whole = isinstance(self.n, int | np.integer) and not isinstance(self.n, bool)
        if not whole or self.n < 1:
            raise ModelError(
                f"Binomial: n must be a whole number of at least 1, got {self.n!r}. "
                "Give the number of trials."
            )

    def __repr__(self) -> str:
        known = "" if self.probs is None else f", probs={self.probs!r}"
        return f"Binomial({self.n}{known})"

    def known(self) -> Array:
        """Return the probabilities, or raise `ModelError`."""
        if self.probs is None:
            raise ModelError(
                "Binomial must have probs to be evaluated or sampled, got a template. Fit it."
            )
        return self.probs

    @property
    def n_parameters(self) -> int:
        """One for each combination of the parents' states."""
        return 0 if self.probs is None else self.probs.size

    def check(self, value: Array) -> Array:
        return check_integers(value, 0, int(self.n), "Binomial")

    def started_from(self, other: Distribution) -> Self:
        started = super().started_from(other)
        theirs = getattr(other.free, "n", self.n)
        if theirs != self.n:
            raise Unsuitable(
                f"start from {self.n} trials", f"{theirs}", "Use the same number of trials."
            )
        return started

    def dissimilarity(self, value: Array, other: Array) -> Array:
        # On the scale of arcsin sqrt(x / n) the variance is nearly constant, 1 / 4 n.
        angle, others = (np.arcsin(np.sqrt(x / self.n)) for x in (value, other))
        return 4.0 * self.n * (angle[:, None] - others) ** 2

    def statistics(self, value: Array) -> Array:
        x = np.asarray(value, dtype=float)
        return np.stack([self.n - x, x], axis=1)

    def natural_parameters(self) -> tuple[Array, Array]:
        probs = self.known()
        with np.errstate(divide="ignore"):
            return np.stack([np.log1p(-probs), np.log(probs)], axis=-1), np.zeros(probs.shape)

    def log_base_measure(self, value: Array) -> Array:
        log_choose: Array = gammaln(self.n + 1.0) - gammaln(value + 1.0)
        return log_choose - gammaln(self.n - value + 1.0)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        return attrs.evolve(self, probs=np.clip(mean[..., 1] / self.n, 0.0, 1.0))

    def directions(self) -> list[dict[str, Array]]:
        probs = self.known()
        room = np.minimum(probs, 1.0 - probs)
        return [{"probs": move} for move in single_moves(np.where(room > BOUNDARY, room, 0.0))]

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for what is no such number."""
        probs = self.known()
        column = _in_states(value, probs, "Binomial")
        possible = (column >= 0) & (column <= self.n) & (column == np.floor(column))
        x = np.where(possible, column, 0)
        log_prob = xlogy(x, probs) + xlog1py(self.n - x, -probs) + self.log_base_measure(x)
        return np.where(possible, log_prob, -np.inf)

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``."""
        return self.n * self.known()

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one number of successes for each parent state, ``(n,)``."""
        return rng.binomial(self.n, self.known()[state])


@attrs.frozen(eq=False, repr=False)
class Geometric(ExponentialFamily):
    r"""Distribution of the number of failures before the first success.

    .. math:: \log p(x \mid k) = x \log (1 - \pi_k) + \log \pi_k, \qquad
              \hat\pi_k = 1 / (1 + \bar x_k)

    with :math:`\bar x_k` the weighted mean of the counts 0, 1, 2, ... (Johnson, Kemp and Kotz,
    Univariate Discrete Distributions, 3rd ed., 2005, section 5.2). For trials up to and including
    the success, subtract 1.

    Parameters
    ----------
    probs : array, (\*parents,), optional
        Probability of a success, above 0.

    Raises
    ------
    ModelError
        If a probability is not between 0 and 1, or is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Geometric().fit(np.array([0, 1, 5]), np.ones(3)).probs.item()
    0.3333333333333333
    """

    trailing_axes: ClassVar[Mapping[str, int]] = {"probs": 0}

    probs: Array | None = parameter(converter=_successes)

    def __attrs_post_init__(self) -> None:
        if self.probs is not None and not np.all(self.probs > 0):
            raise ModelError(
                f"Geometric: probs must be above 0, got {self.probs}. A success must be possible."
            )

    def __repr__(self) -> str:
        return "Geometric()" if self.probs is None else f"Geometric(probs={self.probs!r})"

    def known(self) -> Array:
        """Return the probabilities, or raise `ModelError`."""
        if self.probs is None:
            raise ModelError(
                "Geometric must have probs to be evaluated or sampled, got a template. Fit it."
            )
        return self.probs

    @property
    def n_parameters(self) -> int:
        """One for each combination of the parents' states."""
        return 0 if self.probs is None else self.probs.size

    def check(self, value: Array) -> Array:
        return check_integers(value, 0, None, "Geometric")

    def dissimilarity(self, value: Array, other: Array) -> Array:
        # The standard deviation is about proportional to 1 + x, so logarithms are of one spread.
        return (np.log1p(value)[:, None] - np.log1p(other)) ** 2

    def statistics(self, value: Array) -> Array:
        return value[:, None].astype(float)

    def natural_parameters(self) -> tuple[Array, Array]:
        probs = self.known()
        with np.errstate(divide="ignore"):
            return np.log1p(-probs)[..., None], -np.log(probs)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        return attrs.evolve(self, probs=1.0 / (1.0 + mean[..., 0]))

    def directions(self) -> list[dict[str, Array]]:
        probs = self.known()
        room = np.minimum(probs, 1.0 - probs)
        return [{"probs": move} for move in single_moves(np.where(room > BOUNDARY, room, 0.0))]

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for what is no count."""
        probs = self.known()
        column = _in_states(value, probs, "Geometric")
        possible = (column >= 0) & (column < np.inf) & (column == np.floor(column))
        x = np.where(possible, column, 0)
        return np.where(possible, xlog1py(x, -probs) + np.log(probs), -np.inf)

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``."""
        probs = self.known()
        return (1.0 - probs) / probs

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one count for each parent state, ``(n,)``."""
        draws: Array = rng.geometric(self.known()[state]) - 1
        return draws
