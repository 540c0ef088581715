"""The negative binomial distribution of counts that vary more than Poisson's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import BOUNDARY, Distribution, parameter, single_moves
from latentem.distributions.checks import check_column, check_integers, naming
from latentem.distributions.formulas import Formulas
from latentem.distributions.kernels import Kernel
from latentem.distributions.positive import check_limit
from latentem.distributions.special import (
    increasing_root,
    log_minus_digamma,
    stirling,
    trigamma_minus_inverse,
)
from latentem.distributions.tally import TallyKernel, tallied
from latentem.errors import ModelError

#: Draws of a rate beyond it leave the range of integers.
LARGEST_RATE = 2.0**62
#: Slopes at smaller sizes are those of the limit 0, and their squares would underflow.
SMALLEST_SIZE = 1e-150
#: No size is sought below: only a share of counts above 0 that is smaller still would ask for it.
LEAST_SIZE = 1e-280
#: Of smaller numbers d the series of d - log(1 + d) is exact to machine precision.
SMALL = 3e-3


@attrs.frozen(eq=False, repr=False)
class NegativeBinomial(Distribution):
    r"""Distribution of counts with a variance above the mean.

    .. math:: {log_density}, \qquad \mathrm{var}(x \mid k) = \mu_k + \mu_k^2 / s_k

    A Poisson count whose rate varies like a Gamma variable of shape s; the Poisson distribution is
    its limit for large sizes. The maximiser is the weighted mean and the root s of an equation,

    .. math:: {update}

    (Fisher, The negative binomial distribution, Annals of Eugenics 11, 1941; Johnson, Kemp and
    Kotz, Univariate Discrete Distributions, 3rd ed., 2005, section 5.8.3). There is one if the
    variance of the counts exceeds their mean, and only one (Levin and Reeds, Compound multinomial
    likelihood functions are unimodal, Annals of Statistics 5, 1977); else the likelihood rises with
    s to the limit. With probability of a success :math:`\pi`, the failures before the s-th success
    have mean :math:`s (1 - \pi) / \pi`.

    Parameters
    ----------
    mean : array, (\*parents,), optional
        A mean of zero gives all its mass to the count 0.
    size : array, (\*parents,), or float, optional
        If it is given without a mean, one number that is known for all states and stays.
    largest_size : float
        Largest allowed size. The fit is the exact maximiser under this constraint, and says when it
        is active: then a Poisson distribution would do.
    size_known : bool, optional
        Whether the size stays; by default if it is given without a mean.

    Raises
    ------
    ModelError
        If a mean is negative, a size not positive, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> counts = np.repeat([0, 1, 2, 3, 7], [9, 4, 3, 2, 1])
    >>> fitted = lem.NegativeBinomial().fit(counts, np.ones(19))
    >>> print(fitted.mean.round(4), fitted.size.round(4))
    1.2105 0.8565
    >>> lem.NegativeBinomial(size=2.0).fit(counts, np.ones(19)).size
    array(2.)
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \log \frac{\Gamma(x + s_k)}{\Gamma(s_k) \, x!} "
            r"+ s_k \log \frac{s_k}{s_k + \mu_k} + x \log \frac{\mu_k}{s_k + \mu_k}"
        ),
        update=(
            r"\hat\mu_k = \overline{x}, \qquad "
            r"\overline{\psi(x + \hat s_k)} - \psi(\hat s_k) = \log (1 + \hat\mu_k / \hat s_k)"
        ),
        symbols={r"\mu": "mean", "s": "size"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 0, "size": 0}

    mean: Array | None = parameter(converter=as_float_array)
    size: Array | None = parameter(converter=as_float_array)
    largest_size: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    size_known: bool | None = attrs.field(default=None, kw_only=True)
    at_limit: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        mean, size = self.mean, self.size
        if self.size_known is None:
            object.__setattr__(self, "size_known", size is not None and mean is None)
        if mean is not None and not (np.all(np.isfinite(mean)) and np.all(mean >= 0)):
            raise ModelError(
                f"NegativeBinomial: mean must be finite and not negative, got {mean}. Give a mean."
            )
        if size is not None and not (np.all(np.isfinite(size)) and np.all(size > 0)):
            raise ModelError(
                f"NegativeBinomial: size must be positive and finite, got {size}. "
                "Give a positive size, or Poisson() for its limit."
            )
        if self.size_known and (size is None or size.ndim):
            raise ModelError(
                "NegativeBinomial: a known size must be one number for all states, got "
                f"{size}. Give one, or a mean for each state too."
            )
        if not self.size_known and (mean is None) != (size is None):
            raise ModelError(
                "NegativeBinomial: mean must be given with a size, got only a mean. "
                "Give both, only a size, or neither to fit them."
            )
        if not self.size_known and mean is not None and mean.shape != size.shape:  # type: ignore[union-attr]
            raise ModelError(
                "NegativeBinomial: mean and size must have one entry each for each state, got "
                f"shapes {mean.shape} and {size.shape}. "  # type: ignore[union-attr]
                "Repeat the one that is shared."
            )

    @property
    def own_formulas(self) -> Formulas | None:
        formulas = super().own_formulas
        return formulas.without_update(["size"]) if formulas and self.size_known else formulas

    def __repr__(self) -> str:
        known = {"mean": self.mean, "size": self.size}
        parts = [f"{name}={array!r}" for name, array in known.items() if array is not None]
        if self.size_known and self.mean is not None:
            parts.append("size_known=True")
        return f"NegativeBinomial({', '.join(parts)})"

    # -- parameters ----------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Array | None]:
        return {"mean": self.mean} if self.size_known else {"mean": self.mean, "size": self.size}

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**self.parameters, "at_limit": self.at_limit}

    def known(self) -> tuple[Array, Array]:
        """Return mean and size, or raise `ModelError`."""
        if self.mean is None or self.size is None:
            raise ModelError(
                "NegativeBinomial must have a mean and a size to be evaluated or sampled, got a "
                "template. Fit it, or give both."
            )
        return self.mean, self.size

    @property
    def n_parameters(self) -> int:
        """All entries of all parameters; a known size is none."""
        return sum(array.size for array in self.parameters.values() if array is not None)

    @property
    def at_constraint(self) -> bool:
        return False  # at the limit a state is Poisson, which is no collapse

    @property
    def events(self) -> tuple[str, ...]:
        if self.at_limit is None or not self.at_limit.any():
            return ()
        states = ", ".join(map(str, np.flatnonzero(self.at_limit)))
        return (
            f"the size is at its largest, {self.largest_size:g}, where the distribution is "
            f"Poisson's: the counts vary no more than that (state {states})",
        )

    def feasible(self) -> Self:
        if self.size_known or self.size is None:
            return self
        return attrs.evolve(self, size=np.minimum(self.size, self.largest_size))

    def directions(self) -> list[dict[str, Array]]:
        mean, size = self.known()
        moves = [{"mean": move} for move in single_moves(np.where(mean > BOUNDARY, mean, 0.0))]
        if self.size_known:
            return moves
        held = np.zeros(size.shape, bool) if self.at_limit is None else self.at_limit
        return moves + [{"size": move} for move in single_moves(np.where(held, 0.0, size))]

    # -- data ----------------------------------------------------------------------------------

    def check(self, value: Array) -> Array:
        return check_integers(value, 0, None, "NegativeBinomial")

    def dissimilarity(self, value: Array, other: Array) -> Array:
        # The standard deviation is about proportional to 1 + x, so logarithms are of one spread.
        return (np.log1p(value)[:, None] - np.log1p(other)) ** 2

    # -- densities, fits, draws ----------------------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for what is no count.

        As deviances, in which large terms do not cancel (Loader, Fast and accurate computation of
        binomial probabilities, 2000).
        """
        mean, size = self.known()
        with naming("NegativeBinomial"):
            column = check_column(np.asarray(value), "NegativeBinomial").astype(float)
        column = column.reshape(-1, *(1,) * mean.ndim)
        possible = (column >= 0) & (column < np.inf) & (column == np.floor(column))
        x = np.where(possible & (column > 0), column, 1.0)
        share = size / (size + mean)
        with np.errstate(divide="ignore", over="ignore"):  # a mean of 0, or a count of 1e300
            none = -size * np.log1p(mean / size)
            deviance = size * _surplus((x - mean) / (size + mean), (x + size) / (size + mean))
            ratio = (x + size) / x * (mean / (size + mean))
            deviance = deviance + x * _surplus(share * (mean - x) / x, ratio)
            choices = stirling(size) + stirling(x) - stirling(x + size)
        log_prob = choices - np.log(x) - deviance
        return np.where(possible, np.where(column == 0, none, log_prob), -np.inf)

    def fit(self, value: Array, weights: Array) -> Self:
        parents = weights.shape[1:]
        x, weight = tallied(value, weights.reshape(len(weights), -1).T)
        total = weight.sum(axis=1)
        share = weight / np.where(total > 0, total, 1.0)[:, None]  # (K, counts)
        mean = share @ x
        if self.size_known:
            return attrs.evolve(self, mean=mean.reshape(parents))
        size, at_limit = _size(x.astype(float), share, mean, self.largest_size)
        return attrs.evolve(
            self,
            mean=mean.reshape(parents),
            size=size.reshape(parents),
            at_limit=at_limit.reshape(parents),
        )

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``."""
        return self.known()[0]

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one count for each parent state, ``(n,)``."""
        mean, size = self.known()
        size = np.broadcast_to(size, mean.shape)
        rate = rng.gamma(size[state]) * (mean / size)[state]
        return rng.poisson(np.minimum(rate, LARGEST_RATE))

    def kernel(self) -> Kernel:
        return TallyKernel(self)


def _surplus(d: Array, whole: Array) -> Array:
    """Return d - log(1 + d), never negative, to full precision; 1 + d is given as ``whole``."""
    near = np.abs(d) < SMALL
    small = np.where(near, d, 0.0)
    series = 1 / 2 - small * (
        1 / 3 - small * (1 / 4 - small * (1 / 5 - small * (1 / 6 - small / 7)))
    )
    surplus: Array = np.where(
        near, np.square(small) * series, d - np.log(np.where(near, 1.0, whole))
    )
    return surplus


def _size(x: Array, share: Array, mean: Array, largest: float) -> tuple[Array, Array]:
    r"""Return the sizes of greatest likelihood, ``(K,)``, and where they are at the largest.

    With :math:`L(a) = \log a - \psi(a)` and :math:`d = (x - \mu) / (s + \mu)`, whose mean is 0, the
    slope of the log-likelihood of a row is

    .. math:: g(s) = L(s) - \overline{L(x + s)} - \overline{d - \log(1 + d)},

    a difference of small numbers and not, for large sizes, a small difference of large ones. The
    root of -s g is sought in log s. Below it g is positive, as it is, with :math:`\pi` the share of
    counts above 0, at :math:`s = \pi / (2 \log(1 + \mu / \pi) + 2)`, because
    :math:`g \ge \pi / s - \log(1 + \mu / s)`.

    Parameters
    ----------
    x : array, (counts,)
    share : array, (K, counts)
        The weights of the counts, which sum to 1.
    mean : array, (K,)
    largest : float
    """
    shift = np.log(largest) + 1.0  # keeps log s - shift away from 0, for a relative tolerance
    variance = np.einsum("ku,ku->k", share, np.square(x - mean[:, None]))
    high = np.full(len(mean), np.log(largest) - shift)
    inside = variance - mean > np.square(mean) / largest
    size = np.full(len(mean), largest)
    if inside.any():
        share, mean, variance = share[inside], mean[inside], variance[inside]
        positive = share @ (x > 0)
        low = np.log(positive) - np.log(2.0 * np.log1p(mean / positive) + 2.0) - shift
        low = np.maximum(low, np.log(LEAST_SIZE) - shift)
        by_moments = 2.0 * np.log(mean) - np.log(variance - mean) - shift
        root = increasing_root(
            lambda log_size: _falling(log_size, shift, x, share, mean),
            low,
            high[inside],
            by_moments,
        )
        size[inside] = np.minimum(np.exp(root + shift), largest)
    return size, ~inside


def _falling(
    log_size: Array, shift: float, x: Array, share: Array, mean: Array
) -> tuple[Array, Array]:
    """Return -s g(s), see `_size`, and its slope in log s, at log s = log_size + shift."""
    s = np.exp(log_size + shift)[:, None]  # (K, 1)
    d = (x - mean[:, None]) / (s + mean[:, None])  # (K, counts)
    a = x + s
    small, curved = np.maximum(s, SMALLEST_SIZE), np.maximum(a, SMALLEST_SIZE)
    # Count by count, so that a count of 0 adds nothing where it has nearly all the weight.
    gain = s * (log_minus_digamma(s) - log_minus_digamma(a) - _surplus(d, a / (s + mean[:, None])))
    value = -(share * gain).sum(axis=1)
    slope = np.square(s / a * curved) * trigamma_minus_inverse(curved) + np.square(s * d) / a
    bend = np.square(small) * trigamma_minus_inverse(small)
    return value, value + (share * (bend - slope)).sum(axis=1)
