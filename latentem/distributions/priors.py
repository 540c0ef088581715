r"""Prior distributions of parameters, for maximum a posteriori estimation.

A conjugate prior is worth pseudo-observations: its log-density is, but for a constant,
:math:`\eta \cdot \tau - \nu A(\eta)`, the log-likelihood of statistics :math:`\tau` of
:math:`\nu` rows (Diaconis and Ylvisaker, Conjugate priors for exponential families, Annals of
Statistics 1979). The M-step adds them to the record of the expected ones; what maximises Q plus
the log prior is then the ordinary maximiser of the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from scipy.special import gammaln, multigammaln, xlog1py, xlogy

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Distribution
from latentem.distributions.beta import Beta
from latentem.distributions.dirichlet import Dirichlet
from latentem.distributions.gamma import Gamma
from latentem.errors import ModelError

#: More observations than any data have: beyond, rounding of the data counts for more than they.
LARGEST_WEIGHT = 1e12
#: Squares of larger values leave the range of float64.
LARGEST_VALUE = 1e100


def refuse_prior(family: str, wanted: str, got: Any) -> ModelError:
    """Return the error of a prior that is not conjugate to a family."""
    return ModelError(
        f"{family}: prior must be a {wanted} because that is conjugate to it, got {got!r}. "
        f"Use {wanted}(...)."
    )


def conjugate(counts: Callable[[str, Any], Any]) -> Callable[[Any, Any, Any], None]:
    """Return the validator of a field that takes a prior whose counts these are."""

    def validate(instance: Any, attribute: Any, prior: Any) -> None:
        if prior is not None:
            counts(type(instance).__name__, prior)

    return validate


def dirichlet_counts(family: str, prior: Any, shape: tuple[int, ...] | None = None) -> Array:
    """Return the pseudo-counts alpha - 1 of a Dirichlet prior of probabilities of a shape."""
    (alpha,) = _parameters(family, prior, Dirichlet)
    if shape is None:
        shape = alpha.shape
    if alpha.ndim > len(shape):  # of several parents, where their states are folded into one axis
        alpha = alpha.reshape(-1, alpha.shape[-1])
    try:
        counts = np.broadcast_to(alpha - 1.0, shape)
    except ValueError:
        raise ModelError(
            f"{family}: prior must have one concentration, or one for each state, got shape "
            f"{alpha.shape} for probabilities of shape {shape}. Give one for each."
        ) from None
    if (counts < 0).any():
        raise ModelError(
            f"{family}: prior must have concentrations of at least 1, else it has no mode, got "
            f"{alpha}. Give 1 for no preference."
        )
    return counts


def log_dirichlet(counts: Array, probs: Array) -> float:
    """Return the log-density of probabilities, summed over rows, under alpha = counts + 1."""
    constant = gammaln((counts + 1.0).sum(axis=-1)) - gammaln(counts + 1.0).sum(axis=-1)
    return float((constant + xlogy(counts, probs).sum(axis=-1)).sum())


def beta_counts(
    family: str, prior: Any, shape: tuple[int, ...] | None = None
) -> tuple[Array, Array]:
    """Return the pseudo-successes a - 1 and pseudo-failures b - 1 of a Beta prior."""
    a, b = _parameters(family, prior, Beta)
    if (a < 1).any() or (b < 1).any():
        raise ModelError(
            f"{family}: prior must have a and b of at least 1, else it has no mode, got {a} and "
            f"{b}. Give 1 for no preference."
        )
    return _for_states(family, a - 1.0, shape), _for_states(family, b - 1.0, shape)


def log_beta(successes: Array, failures: Array, probs: Array) -> float:
    """Return the log-density of probabilities under a = successes + 1, b = failures + 1."""
    a, b = successes + 1.0, failures + 1.0
    constant = gammaln(a + b) - gammaln(a) - gammaln(b)
    return float((constant + xlogy(successes, probs) + xlog1py(failures, -probs)).sum())


def gamma_counts(
    family: str, prior: Any, shape: tuple[int, ...] | None = None
) -> tuple[Array, Array]:
    """Return the pseudo-events a - 1 and pseudo-exposure b of a Gamma prior of a rate."""
    a, b = _parameters(family, prior, Gamma)
    if (a < 1).any():
        raise ModelError(
            f"{family}: prior must have a shape of at least 1, else it has no mode, got {a}. "
            "Give 1 for an exponential prior."
        )
    return _for_states(family, a - 1.0, shape), _for_states(family, b, shape)


def log_gamma(events: Array, exposure: Array, rate: Array) -> float:
    """Return the log-density of rates under shape = events + 1, rate = exposure."""
    a = events + 1.0
    return float((a * np.log(exposure) - gammaln(a) + xlogy(events, rate) - exposure * rate).sum())


def below_one(probs: Array, failures: Array) -> Array:
    """Return probabilities below 1 where there are failures, however few beside the prior."""
    return np.where((probs >= 1.0) & (failures > 0), np.nextafter(1.0, 0.0), probs)


def _parameters(family: str, prior: Any, kind: type[Distribution]) -> tuple[Array, ...]:
    """Return the parameters of a prior of some family, or raise `ModelError`."""
    if not isinstance(prior, kind) or not prior.is_parameterised:
        raise refuse_prior(family, kind.__name__, prior)
    known = [(name, array) for name, array in prior.parameters.items() if array is not None]
    for name, array in known:
        if not (array < LARGEST_WEIGHT).all():
            raise ModelError(
                f"prior: {name} must be below {LARGEST_WEIGHT:g} because it counts observations, "
                f"got {array}. Give less."
            )
    return tuple(array for _, array in known)


def _for_states(family: str, value: Array, shape: tuple[int, ...] | None) -> Array:
    if shape is None:
        return value
    if value.ndim > len(shape):  # of several parents, where their states are folded into one axis
        value = value.ravel()
    try:
        return np.broadcast_to(value, shape)
    except ValueError:
        raise ModelError(
            f"{family}: prior must have one value, or one for each combination of the parents' "
            f"states, {shape}, got shape {value.shape}. Give one for each."
        ) from None


def _positive(instance: Any, attribute: Any, value: float) -> None:
    try:
        fine = 0 <= float(value) < LARGEST_WEIGHT
    except (ValueError, TypeError):
        fine = False
    if not fine:
        raise ModelError(
            f"{type(instance).__name__}: {attribute.name} must be a number from 0 to "
            f"{LARGEST_WEIGHT:g}, got {value!r}. Give what the prior is worth in observations."
        )


@attrs.frozen(eq=False)
class NormalInverseWishart:
    r"""Conjugate prior of the mean and covariance of a `Gaussian`.

    .. math:: \Sigma \sim W^{-1}(\Psi, \nu), \qquad \mu \mid \Sigma \sim N(m, \Sigma / \kappa)

    The mode, given N rows with mean :math:`\bar x` and scatter S about it, is

    .. math:: \hat\mu = \frac{N \bar x + \kappa m}{N + \kappa}, \qquad
              \hat\Sigma = \frac{S + \Psi + \frac{N \kappa}{N + \kappa} (\bar x - m)
              (\bar x - m)^\top}{N + \nu + d + 2}

    (Fraley and Raftery, Bayesian regularization for normal mixture estimation and model-based
    clustering, Journal of Classification 2007). With it no state can collapse.

    Parameters
    ----------
    mean : array, (d,)
        m, where the means are thought to be.
    weight : float
        :math:`\kappa`, the number of rows that this is worth; 0 for no opinion.
    df : float
        :math:`\nu`, degrees of freedom, above d - 1.
    scale : array, (d, d)
        :math:`\Psi`; the covariance is thought to be about :math:`\Psi / (\nu + d + 2)`.

    Raises
    ------
    ModelError
        If the scale is not symmetric and positive definite, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> prior = lem.NormalInverseWishart(mean=[0.0], weight=0, df=3, scale=[[1.0]])
    >>> x = lem.observed("x", lem.Gaussian(prior=prior))
    >>> fit = lem.fit(lem.Model([x]), [[1.0], [3.0]])
    >>> print(fit.model["x"].mean, fit.model["x"].covariance)  # (2 + 1) / (2 + 3 + 1 + 1)
    [2.] [[0.42857143]]
    """

    mean: Array = attrs.field(converter=as_float_array)
    weight: float = attrs.field(validator=_positive)
    df: float = attrs.field(validator=_positive)
    scale: Array = attrs.field(converter=as_float_array)

    def __attrs_post_init__(self) -> None:
        d = self.mean.size
        name = type(self).__name__
        if self.mean.ndim != 1 or self.scale.shape != (d, d):
            raise ModelError(
                f"{name}: mean must be a vector (d,) and scale a matrix (d, d), got shapes "
                f"{self.mean.shape} and {self.scale.shape}. Give both."
            )
        if not self.df > d - 1:
            raise ModelError(f"{name}: df must be above d - 1 = {d - 1}, got {self.df}. Give more.")
        symmetric = np.allclose(self.scale, self.scale.T, rtol=1e-8, atol=0.0)
        values = np.linalg.eigvalsh(self.scale) if np.isfinite(self.scale).all() else -np.ones(1)
        within = (np.abs(self.mean) < LARGEST_VALUE).all() and values.max() < LARGEST_VALUE
        if not symmetric or values.min() <= 0 or not within:
            raise ModelError(
                f"{name}: mean must be below {LARGEST_VALUE:g} and scale symmetric and positive "
                f"definite, got {self.mean.tolist()} and {self.scale.tolist()}. Correct them."
            )

    def log_density(self, mean: Array, covariance: Array, *, shared: bool) -> float:
        """Return the log-density of means ``(K, d)`` and covariances ``(K, d, d)``, summed.

        Of a covariance that the states share it counts once. Without opinion on the mean, it is
        that of the covariance alone.
        """
        d, nu = self.mean.size, self.df
        flat, matrices = mean.reshape(-1, d), covariance.reshape(-1, d, d)
        total = 0.0
        for matrix in matrices[:1] if shared else matrices:
            log_det = np.linalg.slogdet(matrix)[1]
            trace = np.trace(np.linalg.solve(matrix, self.scale))
            constant = 0.5 * nu * np.linalg.slogdet(self.scale)[1] - 0.5 * nu * d * np.log(2)
            total += constant - multigammaln(0.5 * nu, d) - 0.5 * (nu + d + 1) * log_det - trace / 2
        if self.weight:
            for mu, matrix in zip(flat, matrices, strict=True):
                deviation = mu - self.mean
                square = self.weight * deviation @ np.linalg.solve(matrix, deviation)
                log_det = np.linalg.slogdet(matrix)[1] - d * np.log(self.weight)
                total -= 0.5 * (square + log_det + d * np.log(2 * np.pi))
        return float(total)


@attrs.frozen(eq=False)
class NormalInverseGamma:
    r"""Conjugate prior of the mean and variance of a `Normal`.

    .. math:: \sigma^2 \sim \Gamma^{-1}(a, b), \qquad \mu \mid \sigma^2 \sim N(m, \sigma^2 / \kappa)

    with the mode :math:`\hat\sigma^2 = (S + 2 b + \frac{N \kappa}{N + \kappa} (\bar x - m)^2)
    / (N + 2 a + 3)` (see `NormalInverseWishart`, of which it is the case of one dimension).

    Parameters
    ----------
    mean : float
        m, where the means are thought to be.
    weight : float
        :math:`\kappa`, the number of rows that this is worth; 0 for no opinion.
    shape, scale : float
        a and b, positive; the variance is thought to be about b / (a + 3/2).

    Raises
    ------
    ModelError
        If shape or scale is not positive.

    Examples
    --------
    >>> import latentem as lem
    >>> prior = lem.NormalInverseGamma(mean=0.0, weight=0, shape=1.0, scale=1.0)
    >>> x = lem.observed("x", lem.Normal(prior=prior))
    >>> lem.fit(lem.Model([x]), [1.0, 3.0]).model["x"].variance  # (2 + 2) / (2 + 2 + 2)
    array(0.66666667)
    """

    mean: float
    weight: float = attrs.field(validator=_positive)
    shape: float = attrs.field(validator=_positive)
    scale: float

    def __attrs_post_init__(self) -> None:
        try:
            fine = self.shape > 0 and 0 < self.scale < LARGEST_VALUE
            fine = fine and abs(self.mean) < LARGEST_VALUE
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise ModelError(
                "NormalInverseGamma: shape and scale must be positive numbers, and mean and scale "
                f"below {LARGEST_VALUE:g}, got {self}. Correct them."
            )

    @property
    def wishart(self) -> NormalInverseWishart:
        """The same as a prior of vectors of dimension one."""
        return NormalInverseWishart([self.mean], self.weight, 2 * self.shape, [[2 * self.scale]])
