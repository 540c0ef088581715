"""Degrees of freedom of Student's t: roots of the equations that their maximisers solve."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.special import (
    excess,
    increasing_root,
    log_minus_digamma,
    stirling,
    trigamma_minus_inverse,
)


def df_of_spread(spread: Array, low: float, high: float) -> Array:
    r"""Return the df with :math:`\log(\nu / 2) - \psi(\nu / 2)` equal to the spread.

    The end of the range from ``low`` to ``high`` that is nearer, where there is none within.
    """
    least, most = log_minus_digamma(np.array([0.5 * high, 0.5 * low]))
    inside = np.clip(spread, least, most)

    def function(t: Array) -> tuple[Array, Array]:
        a = 1.0 / t
        return log_minus_digamma(a) - inside, np.square(a) * trigamma_minus_inverse(a)

    # The left side is between 1 / (2 a) and 1 / a.
    df = np.clip(2.0 / increasing_root(function, inside, 2 * inside, 1.5 * inside), low, high)
    return np.asarray(np.where(spread <= least, high, np.where(spread >= most, low, df)))


@attrs.frozen(eq=False, slots=False)
class LikelihoodOfDf:
    r"""The weighted log-likelihood as a function of t = 1 / a, its constant left out.

    Half its derivative by the degrees of freedom 2 a is, for each state,

    .. math:: \sum_i r_i \left( \log a - \psi(a) - (\log A_i - \psi(A_i))
              - (\bar u_i - 1 - \log \bar u_i) \right), \qquad A_i = a + d_o / 2

    (Liu and Rubin, 1995, section 5, where it is the last step of ECME). In 1 / a it is nearly a
    straight line where a is large.

    Attributes
    ----------
    half : array, (n,)
        d_o / 2.
    excess : array, (K, n)
        (delta - d_o) / 2.
    weights : array, (K, n)
    """

    half: Array
    excess: Array
    weights: Array

    def _sum(self, terms: Array) -> Array:
        terms = np.where(self.weights > 0, terms, 0.0)  # what is -inf there does not count
        return np.asarray(np.einsum("kn,kn->k", self.weights, terms))

    @cached_property
    def _sizes(self) -> tuple[Array, Array]:
        """The different halves, which are few, and which of them each row has."""
        sizes, which = np.unique(self.half, return_inverse=True)
        return sizes, which

    def _of_shape(self, function: Callable[[Array], Array], a: Array) -> Array:
        """Return f(A) for each row, ``(K, n)``, or ``(K, 1)`` if it is the same for all."""
        sizes, which = self._sizes
        values = function(a + sizes)
        return values if len(sizes) == 1 else values[:, which]

    def value(self, t: Array) -> Array:
        a = 1.0 / t[:, None]
        terms = stirling(a) - self._of_shape(stirling, a)
        shape = a + self.half
        return self._sum(terms - shape * np.log1p(self.excess / shape))

    def score(self, t: Array) -> tuple[Array, Array]:
        """Return minus the slope by t, and minus the slope of that."""
        a = 1.0 / t[:, None]
        shape = a + self.half
        u = 1.0 / (1.0 + self.excess / shape)
        slope = log_minus_digamma(a) - self._of_shape(log_minus_digamma, a) - excess(u, 1.0)
        bend = self._of_shape(trigamma_minus_inverse, a) - trigamma_minus_inverse(a)
        bend = bend + np.square(1.0 - u) / shape
        a = 1.0 / t
        first, second = self._sum(slope), self._sum(bend)
        return a**2 * first, -(a**3) * (2.0 * first + a * second)
