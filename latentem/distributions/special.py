"""Functions of gamma's kin that keep their digits for large arguments, and roots of equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import digamma, gammaln, zeta

from latentem.distributions.arrays import Array

#: Arguments from which the asymptotic series are exact to machine precision.
LARGE = 12.0
#: A step of Newton's method shorter than this, relatively, is followed by none: its square is lost.
SMALL_STEP = 1e-9
#: More steps than bisection needs to exhaust the digits of a bracket.
MOST_STEPS = 200


def log_ratio(x: Array, centre: Array | float) -> Array:
    """Return log(x / centre) of positive numbers, to full precision where x is close to centre."""
    difference = (x - centre) / centre
    near = np.abs(difference) < 0.5
    logs: Array = np.where(
        near, np.log1p(np.where(near, difference, 0.0)), np.log(x) - np.log(centre)
    )
    return logs


def excess(x: Array, centre: Array | float) -> Array:
    """Return x / centre - 1 - log(x / centre), which is never negative, to full precision."""
    surplus: Array = (x - centre) / centre - log_ratio(x, centre)
    return surplus


def log_minus_digamma(a: Array) -> Array:
    """Return log a - digamma(a), which falls from 1/a to 1/(2a) (Abramowitz and Stegun, 6.3.18)."""
    t = 1.0 / np.square(np.maximum(a, LARGE))
    tail = 1 / 240 - t * (1 / 132 - t * (691 / 32760 - t / 12))
    tail = t * (1 / 12 - t * (1 / 120 - t * (1 / 252 - t * tail)))
    small = np.minimum(a, LARGE)
    value: Array = np.where(a > LARGE, 0.5 / a + tail, np.log(small) - digamma(small))
    return value


def trigamma(a: Array) -> Array:
    """Return the slope of digamma (Abramowitz and Stegun, 6.4.10)."""
    slope: Array = zeta(2.0, a)
    return slope


def trigamma_minus_inverse(a: Array) -> Array:
    """Return trigamma(a) - 1/a, minus the slope of `log_minus_digamma` (ibid., 6.4.12)."""
    large = np.maximum(a, LARGE)
    t = 1.0 / np.square(large)
    tail = t * (0.5 + (1 / 6 - t * (1 / 30 - t * (1 / 42 - t * (1 / 30 - t * 5 / 66)))) / large)
    small = np.minimum(a, LARGE)
    value: Array = np.where(a > LARGE, tail, trigamma(small) - 1.0 / small)
    return value


def digamma_difference(b: Array, shift: Array) -> Array:
    """Return digamma(b + shift) - digamma(b), which falls from infinity to 0 in b."""
    difference: Array = np.log1p(shift / b) + log_minus_digamma(b) - log_minus_digamma(b + shift)
    return difference


def inverse_digamma_difference(y: Array, shift: Array) -> Array:
    r"""Return the positive b with digamma(b + shift) - digamma(b) = y, for positive y and shift.

    In t = 1 / b the left side rises, nearly on straight lines from 0 and to infinity. It is between
    :math:`\log(1 + s t)` and that plus the first term of its series, :math:`s t^2 / (1 + s t)`
    (Abramowitz and Stegun, 6.3.16), which is between half and all of :math:`\min(s t^2, t)`.
    """

    def function(t: Array) -> tuple[Array, Array]:
        b = 1.0 / t
        bend = trigamma_minus_inverse(b) - trigamma_minus_inverse(b + shift)
        return digamma_difference(b, shift) - y, b * (shift / (b + shift) + b * bend)

    with np.errstate(over="ignore"):
        high = np.minimum(np.expm1(y) / shift, np.maximum(2 * y, np.sqrt(2 * y / shift)))
        low = np.expm1(0.5 * y) / shift
    low = np.minimum(low, np.maximum(0.5 * y, np.sqrt(0.5 * y / shift)))
    return 1.0 / increasing_root(function, low, high, 0.5 * (low + high))


def stirling(a: Array) -> Array:
    """Return a log a - a - log Gamma(a), about log(a / 2 pi) / 2 (ibid., 6.1.40)."""
    large = np.maximum(a, LARGE)
    t = 1.0 / np.square(large)
    tail = (1 / 12 - t * (1 / 360 - t * (1 / 1260 - t * (1 / 1680 - t / 1188)))) / large
    small = np.minimum(a, LARGE)
    direct = small * np.log(small) - small - gammaln(small)
    value: Array = np.where(a > LARGE, 0.5 * np.log(large / (2 * np.pi)) - tail, direct)
    return value


def inverse_digamma(y: Array) -> Array:
    """Return the positive x with digamma(x) = y.

    Newton's method from a start on the near side, from which it is monotone.

    References
    ----------
    Minka, Estimating a Dirichlet distribution, 2000, appendix C.
    """
    x = np.where(y >= -2.22, np.exp(y) + 0.5, -1.0 / (np.minimum(y, -2.22) - digamma(1.0)))
    for _ in range(MOST_STEPS):
        step = (digamma(x) - y) / trigamma(x)
        x = x - step
        if np.all(np.abs(step) <= SMALL_STEP * x):
            break
    return x


def increasing_root(
    function: Callable[[Array], tuple[Array, Array]], low: Array, high: Array, start: Array
) -> Array:
    """Return the roots of increasing functions, each within its bracket, to machine precision.

    Newton's method, kept within a bracket that shrinks; a step out of it becomes a bisection.

    Parameters
    ----------
    function : callable
        Values and slopes at given points, all of one shape.
    low, high, start : array
        The brackets, and a first guess within.
    """
    x = np.clip(start, low, high)
    for _ in range(MOST_STEPS):
        value, slope = function(x)
        low, high = np.where(value < 0, x, low), np.where(value > 0, x, high)
        with np.errstate(all="ignore"):
            new = x - value / slope
        inside = (new >= low) & (new <= high)
        new = np.where(value == 0, x, np.where(inside, new, low + 0.5 * (high - low)))
        enough = np.where(inside, SMALL_STEP, 4 * np.finfo(float).eps)
        done = np.all(np.abs(new - x) <= enough * np.abs(x))
        x = new
        if done:
            break
    return x
