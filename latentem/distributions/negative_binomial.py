"""The negative binomial distribution of counts that vary more than Poisson's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import (
    BOUNDARY,
    Distribution,
    free_entries,
    parameter,
    single_moves,
)
from latentem.distributions.checks import (
    as_names,
    check_column,
    check_held,
    check_integers,
    naming,
)
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

    For a mean m that is held the size solves

    .. math:: \overline{\psi(x + \hat s_k)} - \psi(\hat s_k) = \log (1 + m_k / \hat s_k)
              + \frac{\overline{x} - m_k}{m_k + \hat s_k}

    where the mean of :math:`(x - m_k)^2` exceeds that of x; else the best is the limit again.

    Parameters
    ----------
    mean : array, (\*parents,), optional
        A mean of zero gives all its mass to the count 0.
    size : array, (\*parents,), optional
    largest_size : float
        Largest allowed size. The fit is the exact maximiser under this constraint, and says when it
        is active: then a Poisson distribution would do.
    held : tuple of str
        What is held at its value while the other is fitted, ``("mean",)`` or ``("size",)``. Follows
        from giving only one of them, which may be one for all states.

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
        held={
            "mean": (
                r"\overline{\psi(x + \hat s_k)} - \psi(\hat s_k) = \log (1 + \mu_k / \hat s_k) "
                r"+ (\overline{x} - \mu_k) / (\mu_k + \hat s_k)"
            )
        },
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 0, "size": 0}
    reaches_zero: ClassVar[bool] = True

    holdable: ClassVar[tuple[str, ...]] = ("mean", "size")

    mean: Array | None = parameter(converter=as_float_array)
    size: Array | None = parameter(converter=as_float_array)
    largest_size: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)
    at_limit: Array | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_held(self)
        mean, size = self.mean, self.size
        if mean is not None and not (np.all(np.isfinite(mean)) and np.all(mean >= 0)):
            raise ModelError(
                f"NegativeBinomial: mean must be finite and not negative, got {mean}. Give a mean."
            )
        if size is not None and not (np.all(np.isfinite(size)) and np.all(size > 0)):
            raise ModelError(
                f"NegativeBinomial: size must be positive and finite, got {size}. "
                "Give a positive size, or Poisson() for its limit."
            )
        if mean is not None and size is not None and mean.shape != size.shape:
            raise ModelError(
                "NegativeBinomial: mean and size must have one entry each for each state, got "
                f"shapes {mean.shape} and {size.shape}. Repeat the one that is shared."
            )

    def __repr__(self) -> str:
        known = {name: array for name, array in self.parameters.items() if array is not None}
        return f"NegativeBinomial({', '.join(f'{name}={a!r}' for name, a in known.items())})"

    # -- parameters ----------------------------------------------------------------------------

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
        """All entries of all parameters, less what is held."""
        return free_entries(self)

    @property
    def at_constraint(self) -> bool:
        return False  # at the limit a state is Poisson, which is no collapse

    @property
    def events(self) -> tuple[str, ...]:
        found = []
        if self.at_limit is not None and self.at_limit.any():
            states = ", ".join(map(str, np.flatnonzero(self.at_limit)))
            found.append(
                f"the size is at its largest, {self.largest_size:g}, where the distribution is "
                f"Poisson's: the counts vary no more than that (state {states})"
            )
        if "mean" in self.held and self.size is not None and (self.size <= LEAST_SIZE).any():
            states = ", ".join(map(str, np.flatnonzero(self.size <= LEAST_SIZE)))
            found.append(
                f"the size is at its smallest, {LEAST_SIZE:g}: all counts are 0 (state {states})"
            )
        return tuple(found)

    def feasible(self) -> Self:
        if self.size is None or "size" in self.held:
            return self
        return attrs.evolve(self, size=np.minimum(self.size, self.largest_size))

    def directions(self) -> list[dict[str, Array]]:
        mean, size = self.known()
        held = np.zeros(size.shape, bool) if self.at_limit is None else self.at_limit
        sizes = {"mean": np.where(mean > BOUNDARY, mean, 0.0), "size": np.where(held, 0.0, size)}
        free = [name for name in sizes if name not in self.held]
        return [{name: move} for name in free for move in single_moves(sizes[name])]

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
        flat = self.flatten(parents) if self.held else self
        return flat._fit(value, weights.reshape(len(weights), -1)).unflatten(parents)

    def _fit(self, value: Array, weights: Array) -> Self:
        x, weight = tallied(value, weights.T)
        total = weight.sum(axis=1)
        share = weight / np.where(total > 0, total, 1.0)[:, None]  # (K, counts)
        held = self._held_value("mean")
        mean = share @ x if held is None else held
        if "size" in self.held:
            return attrs.evolve(self, mean=mean)
        size, at_limit = _size(x.astype(float), share, mean, self.largest_size)
        return attrs.evolve(self, mean=mean, size=size, at_limit=at_limit)

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``."""
        return self.known()[0]

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one count for each parent state, ``(n,)``."""
        mean, size = self.known()
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

    With :math:`L(a) = \log a - \psi(a)` and :math:`d = (x - \mu) / (s + \mu)` the slope of the
    log-likelihood of a row is, for any mean,

    .. math:: g(s) = L(s) - \overline{L(x + s)} - \overline{d - \log(1 + d)},

    a difference of small numbers and not, for large sizes, a small difference of large ones. The
    root of -s g is sought in log s. Below it g is positive, as it is, with :math:`\pi` the share of
    counts above 0 and :math:`c = \max(\bar x / \mu - 1, 0)`, 0 for the mean of the counts, at
    :math:`s = \pi / (2 \log(1 + \mu / \pi) + 2 + 2 c)`, because
    :math:`g \ge \pi / s - \log(1 + \mu / s) - c`. Counts of 0 alone leave, about a mean that is
    held above 0, no size that is best: the smallest is given. That there is no second root is known
    for the mean of the counts; for others, a search over counts, means and sizes found none.

    Parameters
    ----------
    x : array, (counts,)
    share : array, (K, counts)
        The weights of the counts, which sum to 1.
    mean : array, (K,)
    largest : float
    """
    shift = np.log(largest) + 1.0  # keeps log s - shift away from 0, for a relative tolerance
    variance, average = np.einsum("ku,ku->k", share, np.square(x - mean[:, None])), share @ x
    high = np.full(len(mean), np.log(largest) - shift)
    inside = (variance - average > np.square(mean) / largest) & (mean > 0) & (average > 0)
    size = np.where((average == 0) & (mean > 0), LEAST_SIZE, largest)
    if inside.any():
        share, mean, surplus = share[inside], mean[inside], (variance - average)[inside]
        positive = share @ (x > 0)
        beyond = np.maximum(average[inside] / mean - 1.0, 0.0)
        slope = 2.0 * np.log1p(mean / positive) + 2.0 + 2.0 * beyond
        low = np.log(positive) - np.log(slope) - shift
        low = np.maximum(low, np.log(LEAST_SIZE) - shift)
        by_moments = 2.0 * np.log(mean) - np.log(surplus) - shift
        root = increasing_root(
            lambda log_size: _falling(log_size, shift, x, share, mean),
            low,
            high[inside],
            by_moments,
        )
        size[inside] = np.minimum(np.exp(root + shift), largest)
    return size, size >= largest


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
