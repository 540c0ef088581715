"""The multinomial distribution of vectors of counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np
from scipy.special import gammaln

from latentem.distributions.arrays import LOG_ZERO, Array, as_float_array
from latentem.distributions.base import Distribution, ExponentialFamily, parameter
from latentem.distributions.categorical import Categorical
from latentem.distributions.checks import naming
from latentem.distributions.formulas import Formulas
from latentem.errors import MissingMethodError, ModelError, Unsuitable

#: Sums of larger counts are not exact in double precision.
LARGEST_TOTAL = 2**53


@attrs.frozen(eq=False, repr=False)
class Multinomial(ExponentialFamily):
    r"""Distribution of how many of the trials of a row fall into each of d categories.

    .. math:: {log_density}, \qquad
              {update}

    given the total N of each row, which may differ between rows and is not modelled (Johnson, Kotz
    and Balakrishnan, Discrete Multivariate Distributions, 1997, chapter 35). Documents as counts of
    words are rows; a mixture of them is that of Nigam, McCallum, Thrun and Mitchell, Text
    classification from labeled and unlabeled documents using EM, Machine Learning 39, 2000. The
    statistics are the counts, so probabilities of exactly zero are allowed, and stay zero.

    Parameters
    ----------
    probs : array, (\*parents, d), optional
        Probabilities, summing to 1 over the last axis. Of a state all of whose rows are zeros,
        which leave them open, they are equal.
    n : int, optional
        The total of every row, if it is one: what samples and expected values need, and the data
        are to have.

    Raises
    ------
    ModelError
        If the probabilities are negative or do not sum to 1, or n is not a whole number.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Multinomial().fit(np.array([[2, 1, 0], [0, 1, 0]]), np.ones(2)).probs
    array([0.5, 0.5, 0. ])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \log \frac{N!}{\prod_j x_j!} + \sum_j x_j \log \pi_{kj}, \qquad "
            r"N = \sum_j x_j"
        ),
        statistics=r"T(x) = x",
        update=r"\hat\pi_{kj} = \sum_i r_{ik} x_{ij} \Big/ \sum_i r_{ik} N_i",
        symbols={r"\pi": "probs"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"probs": 1}
    reaches_zero: ClassVar[bool] = True

    probs: Array | None = parameter(converter=as_float_array)
    n: int | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        whole = isinstance(self.n, int | np.integer) and not isinstance(self.n, bool)
        if self.n is not None and not (whole and 1 <= self.n <= LARGEST_TOTAL):
            raise ModelError(
                f"Multinomial: n must be a whole number from 1 to 2**53, got {self.n!r}. "
                "Give the total of every row, or none if they differ."
            )
        if self.probs is None:
            return
        if self.probs.ndim == 0 or self.probs.shape[-1] < 2:
            raise ModelError(
                "Multinomial: probs must have a last axis of at least 2 categories, got shape "
                f"{self.probs.shape}. Use Binomial() for two, or say n=... if it is the total."
            )
        if not (np.all(self.probs >= 0) and np.all(np.abs(self.probs.sum(axis=-1) - 1) < 1e-8)):
            raise ModelError(
                "Multinomial: probs must be at least 0 and sum to 1 over the last axis, got sums "
                f"{self.probs.sum(axis=-1)} of values from {self.probs.min()}. Divide by the sum."
            )

    def __repr__(self) -> str:
        given = {"probs": self.probs, "n": self.n}
        known = (f"{name}={value!r}" for name, value in given.items() if value is not None)
        return f"Multinomial({', '.join(known)})"

    def known(self) -> Array:
        """Return the probabilities, or raise `ModelError`."""
        if self.probs is None:
            raise ModelError(
                "Multinomial must have probs to be evaluated or sampled, got a template. Fit it."
            )
        return self.probs

    @property
    def n_parameters(self) -> int:
        """Free parameters: d - 1 for each combination of the parents' states."""
        return 0 if self.probs is None else self.probs.size - self.probs[..., 0].size

    # -- data ----------------------------------------------------------------------------------

    def check(self, value: Array) -> Array:
        because = "because {node} is Multinomial"
        if value.ndim != 2 or value.shape[1] < 2:
            raise Unsuitable(
                f"have rows of at least 2 counts {because}",
                f"shape {value.shape}",
                "Use Categorical() for the level of each row, or Binomial() for successes.",
            )
        if value.dtype.kind not in "fiub":
            raise Unsuitable(f"be counts {because}", f"an array of {value.dtype}", "Count first.")
        if self.probs is not None and value.shape[1] != self.probs.shape[-1]:
            d = self.probs.shape[-1]
            raise Unsuitable(f"have {d} columns {because} of {d} categories",
                             f"shape {value.shape}")  # fmt: skip
        wrong = ~_are_counts(value)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise Unsuitable(f"be integers >= 0 {because}",
                             f"{value[row, column]:g} at row {row}, column {column}")  # fmt: skip
        totals = value.sum(axis=1, dtype=float)
        if len(totals) and totals.max() > LARGEST_TOTAL:
            raise Unsuitable(f"have totals up to 2**53 {because}", f"{totals.max():g}")
        if self.n is not None and np.any(totals != self.n):
            row = int(np.flatnonzero(totals != self.n)[0])
            raise Unsuitable(
                f"have rows that sum to {self.n} {because} of n = {self.n}",
                f"{totals[row]:g} at row {row}",
                "Leave n out: the totals are then those of the rows.",
            )
        return value.astype(np.int64, copy=False)

    def started_from(self, other: Distribution) -> Self:
        started = super().started_from(other)
        n = getattr(other.free, "n", None) if self.n is None else self.n
        return attrs.evolve(started, n=n)

    def dissimilarity(self, value: Array, other: Array) -> Array:
        # On the scale of sqrt(x / N) the variance is nearly constant, 1 / 4 N.
        (roots, totals), (others, their) = _roots(value), _roots(other)
        affinity = roots @ others.T
        harmonic = 2.0 / (1.0 / totals[:, None] + 1.0 / their)
        distances: Array = 8.0 * harmonic * np.maximum(1.0 - affinity, 0.0)
        return distances

    def supports(self, value: Array) -> Array:
        counts: Array = np.all(_are_counts(value), axis=1)
        return counts if self.n is None else counts & (value.sum(axis=1) == self.n)

    # -- exponential family --------------------------------------------------------------------

    def statistics(self, value: Array) -> Array:
        return value.astype(float)

    def statistics_into(self, out: Array, value: Array) -> None:
        out[...] = value.T

    def log_base_measure(self, value: Array) -> Array:
        possible = self.supports(value)
        counts = np.where(possible[:, None], value, 0)
        log_ways = gammaln(counts.sum(axis=1) + 1.0) - gammaln(counts + 1.0).sum(axis=1)
        return np.where(possible, log_ways, LOG_ZERO)

    def natural_parameters(self) -> tuple[Array, Array]:
        probs = self.known()
        with np.errstate(divide="ignore"):
            return np.log(probs), np.zeros(probs.shape[:-1])

    def from_mean(self, mean: Array, weight: Array) -> Self:
        total = mean.sum(axis=-1, keepdims=True)
        probs = np.divide(mean, total, where=total > 0, out=np.full(mean.shape, 1 / mean.shape[-1]))
        return attrs.evolve(self, probs=probs)

    def directions(self) -> list[dict[str, Array]]:
        """Each probability against the largest of its row, which keeps the sum."""
        return Categorical(probs=self.known()).directions()

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for what are no such counts."""
        eta = np.maximum(self.natural_parameters()[0], LOG_ZERO)
        with naming("Multinomial"):
            value = np.asarray(value, dtype=float)
            if value.ndim != 2 or value.shape[1] != eta.shape[-1]:
                raise Unsuitable(f"have {eta.shape[-1]} columns", f"shape {value.shape}")
        possible = self.supports(value)
        counts = np.where(possible[:, None], value, 0.0)
        with np.errstate(over="ignore"):  # of impossible counts, to -inf
            product = np.tensordot(counts, eta, axes=([1], [-1]))  # (n, *parents)
        rows = (-1, *(1,) * (product.ndim - 1))
        seen = possible.reshape(rows) & (product > LOG_ZERO / 10)
        return np.where(seen, product + self.log_base_measure(counts).reshape(rows), -np.inf)

    # -- what needs a total --------------------------------------------------------------------

    def _total(self, what: str) -> int:
        if self.n is None:
            raise MissingMethodError(
                f"Multinomial must have n for {what} because the totals of rows are not modelled, "
                "got none. Give Multinomial(n=...)."
            )
        return self.n

    @property
    def expected_value(self) -> Callable[[], Array]:
        """The function that returns the means n probs, ``(*parents, d)``."""
        n = self._total("expected values")
        return lambda: n * self.known()

    @property
    def sample(self) -> Callable[[np.random.Generator, Array], Array]:
        """The function that draws one vector of counts for each parent state, ``(n, d)``."""
        n = self._total("samples")

        def draw(rng: np.random.Generator, state: Array) -> Array:
            probs = self.known() / self.known().sum(axis=-1, keepdims=True)
            return rng.multinomial(n, probs[state])

        return draw


def _are_counts(value: Array) -> Array:
    counts: Array = (value >= 0) & (value < np.inf)
    return counts & (value == np.floor(value)) if value.dtype.kind == "f" else counts


def _roots(value: Array) -> tuple[Any, Any]:
    """Return the roots of the shares of counts, of length 1, and the totals, at least 1."""
    totals = np.maximum(value.sum(axis=1, dtype=float), 1.0)
    return np.sqrt(value / totals[:, None]), totals
