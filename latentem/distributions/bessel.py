r"""Normalisers of directions: Bessel functions of any order and argument, to full precision.

The mean of :math:`e^{\kappa \mu^\top x}` over the unit sphere in d dimensions is

.. math:: M(\kappa) = {}_0F_1(; d/2; \kappa^2/4)
          = \Gamma(\nu + 1) (2/\kappa)^\nu I_\nu(\kappa), \qquad \nu = d/2 - 1

(Mardia and Jupp, Directional Statistics, 2000, section 9.3.2), and the slope of its logarithm the
length of the mean vector, :math:`A(\kappa) = I_{\nu+1}(\kappa) / I_\nu(\kappa)`. With
:math:`s = \sqrt{\nu^2 + \kappa^2}`, Debye's expansion (DLMF 10.41.3) is one in 1 / s for all orders
and arguments; below `SMALL` the power series has few terms, all of one sign. Nothing overflows.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.special import gammaln

from latentem.distributions.arrays import Array
from latentem.distributions.special import increasing_root

#: Lengths s from which Debye's expansion is exact to machine precision.
SMALL = 50.0
#: Terms of the power series that exhaust double precision below it, and of Debye's expansion.
SERIES_TERMS, DEBYE_TERMS = 160, 13


def _series(kappa: Array, d: int) -> Array:
    """Return 0F1(; d/2; kappa^2/4) - 1, for arguments below `SMALL`."""
    j = np.arange(1, SERIES_TERMS)
    terms = np.cumprod(np.square(kappa[..., None] / 2) / (j * (d / 2 - 1 + j)), axis=-1)
    total: Array = terms[..., ::-1].sum(axis=-1)
    return total


@functools.cache
def _coefficients() -> tuple[Array, Array]:
    """Return c[k, j], u_k(p) = p^k sum_j c[k, j] p^2j (DLMF 10.41.9), and of u_k/2 + p u_k'."""
    c = np.zeros((DEBYE_TERMS, DEBYE_TERMS))
    c[0, 0] = 1.0
    for k in range(DEBYE_TERMS - 1):
        power = k + 2 * np.arange(k + 1)
        own = c[k, : k + 1]
        c[k + 1, : k + 1] += own * (power / 2 + 1 / (8 * (power + 1)))
        c[k + 1, 1 : k + 2] -= own * (power / 2 + 5 / (8 * (power + 3)))
    powers = np.arange(DEBYE_TERMS)[:, None] + 2 * np.arange(DEBYE_TERMS)
    return c, c * (0.5 + powers)


def _debye(s: Array, nu: float) -> tuple[Array, Array]:
    """Return the sum of u_k(p) / nu^k for k from 1, p = nu / s, and W: see `mean_length`."""
    u, w = _coefficients()
    square = np.square(nu / s)[..., None] ** np.arange(DEBYE_TERMS)
    inverse = (1.0 / s)[..., None] ** np.arange(DEBYE_TERMS)
    tail = np.einsum("...k,kj,...j->...", inverse[..., 1:], u[1:], square)
    slope = np.einsum("...k,kj,...j->...", inverse, w, square) / s
    return tail, slope / (1.0 + tail)


def _split(kappa: Array, d: int) -> tuple[Array, Array, Array]:
    """Return s, whether it is small, and arguments that suit the series where it is not."""
    s = np.hypot(kappa, d / 2 - 1)
    small = s < SMALL
    return np.maximum(s, SMALL), small, np.where(small, kappa, 1.0)


def excess_normaliser(kappa: Array, d: int) -> Array:
    r"""Return :math:`\log M(\kappa) - \kappa`, minus the log-density at the mode of d dimensions.

    The density is that with respect to the uniform distribution.
    """
    s, small, few = _split(kappa, d)
    nu = d / 2 - 1
    tail, _ = _debye(s, nu)
    shift = np.square(nu) / (kappa + s) - nu * np.log(0.5 * (nu + s))  # s - kappa - ...
    large = gammaln(nu + 1) + shift - 0.5 * np.log(2 * np.pi * s) + np.log1p(tail)
    value: Array = np.where(small, np.log1p(_series(few, d)) - kappa, large)
    return value


def mean_length(kappa: Array, d: int) -> tuple[Array, Array]:
    r"""Return A(kappa) and 1 - A(kappa), each to full relative precision.

    From DLMF 10.41.5 and 10.41.10, with W the ratio of the sums of
    :math:`\nu^{-k} p (u_{k-1}/2 + p u_{k-1}')` and :math:`\nu^{-k} u_k`,

    .. math:: A = \frac{\kappa}{s + \nu} - \frac{\kappa W}{s}, \qquad
              1 - A = \frac{\nu}{\kappa + s} \left( 1 + \frac{\kappa}{s + \nu} \right)
              + \frac{\kappa W}{s}
    """
    s, small, few = _split(kappa, d)
    nu = d / 2 - 1
    _, w = _debye(s, nu)
    ratio = (1.0 + _series(few, d + 2)) / (1.0 + _series(few, d))
    length = np.where(small, kappa * (ratio / d), kappa * (1.0 / (s + nu) - w / s))
    rest = nu / (kappa + s) * (1.0 + kappa / (s + nu)) + kappa * (w / s)
    return length, np.where(small, 1.0 - length, rest)


def concentration_of(length: Array, rest: Array, d: int) -> Array:
    r"""Return the root of A(kappa) = length, with rest = 1 - length > 0.

    Newton's method (Sra, A short note on parameter approximation for von Mises-Fisher
    distributions, 2012) from the start of Banerjee et al. (2005), in the bracket of Tanabe et al.
    (2007),

    .. math:: \frac{R (d - 2)}{1 - R^2} \le \kappa \le \frac{R d}{1 - R^2}
    """
    some = np.maximum(length, np.finfo(float).tiny)  # of no length the root is 0

    def equation(kappa: Array) -> tuple[Array, Array]:
        a, b = mean_length(kappa, d)
        difference = np.where(some < 0.5, a - some, rest - b)
        return difference, b * (1.0 + a) - (d - 1) * (a / kappa)

    unit = some / (rest * (1.0 + some))
    low, high = unit * (d - 2), unit * d
    root = increasing_root(equation, low, high, unit * (d - np.square(some)))
    return np.where(length > 0, root, 0.0)
