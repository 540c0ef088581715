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
    Inputs,
    parameter,
    single_moves,
)
from latentem.distributions.checks import check_column, check_integers, naming
from latentem.distributions.formulas import Formulas
from latentem.distributions.priors import below_one, beta_counts, conjugate, log_beta
from latentem.distributions.records import Statistics
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

    .. math:: {log_density}, \qquad
              {update}

    (Johnson, Kemp and Kotz, Univariate Discrete Distributions, 3rd ed., 2005, chapter 3.) The
    statistics are (n - x, x), so probabilities of exactly 0 and 1 are allowed.

    Parameters
    ----------
    n : int or str
        Number of trials, or the covariate, a parent of the node, that holds it for each row.
    probs : array, (\*parents,), optional
        Probability of a success.
    prior : Beta, optional
        Of the probability; the estimate is (successes + a - 1) / (trials + a + b - 2).

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

    Trials that differ from row to row:

    >>> tosses = lem.covariate("tosses")
    >>> heads = lem.observed("heads", lem.Binomial("tosses"), given=tosses)
    >>> data = {"tosses": [10, 20], "heads": [4, 11]}
    >>> lem.fit(lem.Model([tosses, heads]), data).model["heads"].probs
    array(0.5)
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \log \binom{n}{x} + x \log \pi_k + (n - x) \log (1 - \pi_k)"
        ),
        statistics=r"T(x) = (n - x, x)",
        update=r"\hat\pi_k = \sum_i r_{ik} x_i / \sum_i r_{ik} n_i",
        symbols={r"\pi": "probs", "n": "n"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"probs": 0}
    reaches_zero: ClassVar[bool] = True

    n: int | str
    probs: Array | None = parameter(converter=_successes)
    prior: Distribution | None = attrs.field(
        default=None, kw_only=True, validator=conjugate(beta_counts)
    )

    def __attrs_post_init__(self) -> None:
        whole = isinstance(self.n, int | np.integer) and not isinstance(self.n, bool)
        if not isinstance(self.n, str) and (not whole or self.n < 1):
            raise ModelError(
                f"Binomial: n must be a whole number of at least 1, or the name of a covariate, "
                f"got {self.n!r}. Give the number of trials."
            )

    @property
    def takes_covariates(self) -> bool:  # type: ignore[override]
        """Whether the trials are a column of the data."""
        return isinstance(self.n, str)

    def with_inputs(self, inputs: Inputs) -> Self:
        if inputs.names != (self.n,):
            raise Unsuitable(
                f"be '{self.n}', which holds the number of trials, and nothing else",
                f"{list(inputs.names)}",
                f"Give it covariate({self.n!r}), or use Logistic(trials=...) for a regression.",
            )
        if inputs.width != 1:
            raise Unsuitable(
                "be the number of trials, and nothing else, because {node} is Binomial",
                f"{inputs.width} columns",
                "Use Logistic(trials=...) for a regression.",
            )
        return self

    def _counts(self, value: Array) -> tuple[Array | float, Array]:
        """Return trials and successes, of values or of rows of both."""
        if isinstance(self.n, str):
            return value[..., 0], value[..., 1]
        return float(self.n), value

    def __repr__(self) -> str:
        known = "" if self.probs is None else f", probs={self.probs!r}"
        return f"Binomial({self.n!r}{known})"

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
        return check_integers(value, 0, None if isinstance(self.n, str) else self.n, "Binomial")

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        n, x = self._counts(value)
        wrong = (x > n) | (n != np.floor(n))
        if wrong.any():
            row = int(wrong.argmax())
            raise Unsuitable(
                f"be at most the number of trials, whole numbers in '{self.n}'",
                f"{x[row]:g} of {np.broadcast_to(n, x.shape)[row]:g} in row {row}",
                "Correct the counts or the trials.",
            )
        return self

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
        (n, angle), (m, others) = (
            (np.maximum(trials, 1.0), np.arcsin(np.sqrt(x / np.maximum(trials, 1.0))))
            for trials, x in map(self._counts, (value, other))
        )
        precision = 8.0 / np.add.outer(np.atleast_1d(1.0 / n), np.atleast_1d(1.0 / m))
        return np.asarray(precision * (angle[:, None] - others) ** 2)

    def statistics(self, value: Array) -> Array:
        n, x = self._counts(np.asarray(value, dtype=float))
        return np.stack([n - x, x], axis=1)

    def natural_parameters(self) -> tuple[Array, Array]:
        probs = self.known()
        with np.errstate(divide="ignore"):
            return np.stack([np.log1p(-probs), np.log(probs)], axis=-1), np.zeros(probs.shape)

    def log_base_measure(self, value: Array) -> Array:
        n, x = self._counts(np.asarray(value, dtype=float))
        return np.asarray(_log_choose(n, x))

    def from_mean(self, mean: Array, weight: Array) -> Self:
        total = mean.sum(axis=-1)  # n, or the mean number of trials
        probs = mean[..., 1] / np.where(total > 0, total, 1.0)
        return attrs.evolve(self, probs=below_one(probs, mean[..., 0]))

    def pseudo_statistics(self, n_states: int) -> Statistics | None:
        if self.prior is None:
            return None
        successes, failures = beta_counts("Binomial", self.prior, (n_states,))
        return Statistics(successes + failures, np.stack([failures, successes], axis=1))

    @property
    def log_prior(self) -> float:
        if self.prior is None or self.probs is None:
            return 0.0
        return log_beta(*beta_counts("Binomial", self.prior, self.probs.shape), self.probs)

    def directions(self) -> list[dict[str, Array]]:
        probs = self.known()
        room = np.minimum(probs, 1.0 - probs)
        return [{"probs": move} for move in single_moves(np.where(room > BOUNDARY, room, 0.0))]

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for what is no such number."""
        probs = self.known()
        ones = (1,) * probs.ndim
        if isinstance(self.n, str):
            value = np.asarray(value, dtype=float)
            n, column = (part.reshape(-1, *ones) for part in (value[:, 0], value[:, 1]))
        else:
            n, column = np.full((1, *ones), float(self.n)), _in_states(value, probs, "Binomial")
        possible = (column >= 0) & (column <= n) & (column == np.floor(column))
        x = np.where(possible, column, 0)
        log_prob = xlogy(x, probs) + xlog1py(n - x, -probs) + _log_choose(n, x)
        return np.where(possible, log_prob, -np.inf)

    def expected_value(self, inputs: Array | None = None) -> Array:
        """Return the means, ``(*parents,)``, or of given trials, ``(n, *parents)``."""
        probs = self.known()
        if inputs is None:
            return np.asarray(float(self.n) * probs)
        return np.asarray(inputs.reshape(-1, *(1,) * probs.ndim) * probs)

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array | None = None) -> Array:
        """Draw one number of successes for each parent state, ``(n,)``."""
        trials = int(self.n) if inputs is None else inputs[:, 0].astype(np.int64)
        return np.asarray(rng.binomial(trials, self.known()[state]))


def _log_choose(n: Array | float, x: Array) -> Array:
    return np.asarray(gammaln(n + 1.0) - gammaln(x + 1.0) - gammaln(n - x + 1.0))


@attrs.frozen(eq=False, repr=False)
class Geometric(ExponentialFamily):
    r"""Distribution of the number of failures before the first success.

    .. math:: {log_density}, \qquad
              {update}

    the mean being that of the weighted counts 0, 1, 2, ... (Johnson, Kemp and Kotz,
    Univariate Discrete Distributions, 3rd ed., 2005, section 5.2). For trials up to and including
    the success, subtract 1.

    Parameters
    ----------
    probs : array, (\*parents,), optional
        Probability of a success, above 0.
    prior : Beta, optional
        Of the probability; the estimate is (rows + a - 1) / (rows + failures + a + b - 2).

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

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = x \log (1 - \pi_k) + \log \pi_k",
        statistics=r"T(x) = x",
        update=r"\hat\pi_k = 1 / (1 + \overline{x})",
        symbols={r"\pi": "probs"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"probs": 0}
    reaches_zero: ClassVar[bool] = True

    probs: Array | None = parameter(converter=_successes)

    prior: Distribution | None = attrs.field(
        default=None, kw_only=True, validator=conjugate(beta_counts)
    )

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
        return attrs.evolve(self, probs=below_one(1.0 / (1.0 + mean[..., 0]), mean[..., 0]))

    def pseudo_statistics(self, n_states: int) -> Statistics | None:
        if self.prior is None:
            return None
        successes, failures = beta_counts("Geometric", self.prior, (n_states,))
        return Statistics(successes, failures[:, None])

    @property
    def log_prior(self) -> float:
        if self.prior is None or self.probs is None:
            return 0.0
        return log_beta(*beta_counts("Geometric", self.prior, self.probs.shape), self.probs)

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
