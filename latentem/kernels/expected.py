r"""The E-step of a mixture on a block of rows: densities, posterior and expected statistics.

.. math::
    L &= C \, T, && C = (\log \pi_k - A(\eta_k), \; \eta_k), \quad T = (1, T(x_i)) \\
    r_{ki} &= \exp L_{ki} / \textstyle\sum_j \exp L_{ji}, &&
        \log p(x_i) = \log \textstyle\sum_j \exp L_{ji} \\
    S &= R \, T^\top, && R = (w_i \, r_{ki}).

Each statistic is a product of two factors, :math:`T_j = F_{a_j} F_{b_j}`, of which the first,
:math:`F_0`, is 1: so are the second moments of a Gaussian, and a statistic that is no product is
one with 1. Or it indicates a level of a factor, :math:`T_j = [F_{a_j} = l]`, where 1 is the first
level and 0 none. The compiled kernel is given the factors, which are fewer, and never stores T.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import expected_loops
from latentem.kernels.products import over_rows, sums_over_rows
from latentem.kernels.softmax import log_normalise

Array = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]


@attrs.frozen(eq=False)
class Standardised:
    """Rows of which each column, standardised, is a factor: F_j = (x_j - c_j) / s_j, and 1.

    Attributes
    ----------
    rows : array of float64 or float32, (rows, m)
        NaN stands for what makes a factor 0.
    centre, scale : array, (m,)
    gapped : bool
        Whether before these factors, after 1, there are m that say which are known: 1, or else 0.
    """

    rows: Array
    centre: Array
    scale: Array
    gapped: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def factors(self) -> Array:
        """Return F, ``(1 + m, rows)``, or ``(1 + 2 m, rows)`` if they are gapped."""
        z = (self.rows.T - self.centre[:, None]) / self.scale[:, None]
        unknown = np.isnan(z)
        known = [~unknown] if self.gapped else []
        return np.concatenate([np.ones((1, len(self.rows))), *known, np.where(unknown, 0.0, z)])


def statistics_of(factors: Array, pairs: Pairs) -> Array:
    r"""Return the statistics, T, ``(p, rows)``.

    Parameters
    ----------
    factors : array, (m, rows)
        The first row is 1.
    pairs : array of int, (p, 2)
        Places of the factors of each statistic; a second one below 0 is a level, -l.

    Examples
    --------
    >>> import numpy as np
    >>> statistics_of(np.array([[1.0, 1.0], [3.0, 4.0]]), np.array([[0, 0], [1, 0], [1, 1]]))
    array([[ 1.,  1.],
           [ 3.,  4.],
           [ 9., 16.]])
    """
    statistics: Array = factors[pairs[:, 0]]
    products, levels = np.flatnonzero(pairs[:, 1] > 0), np.flatnonzero(pairs[:, 1] < 0)
    statistics[products] *= factors[pairs[products, 1]]
    statistics[levels] = statistics[levels] == -pairs[levels, 1:]
    return statistics


def single_factors(p: int) -> Pairs:
    """Return the pairs of p statistics that are the factors themselves."""
    return np.column_stack([np.arange(1, p + 1), np.zeros(p, dtype=np.int64)])


def levels_of_one(n: int) -> Pairs:
    """Return the pairs of the indicators of n levels of one factor."""
    return np.column_stack([np.ones(n, dtype=np.int64), -np.arange(1, n + 1)])


def columns_and_products(d: int, columns: Pairs) -> Pairs:
    """Return the pairs of d factors by themselves and then of products of two of them.

    ``columns`` ``(q, 2)`` says, from 0, of which.
    """
    return np.concatenate([single_factors(d), columns + 1])


def expected_sums(
    coefficients: Array,
    factors: Array | Standardised,
    pairs: Pairs | None = None,
    weights: Array | None = None,
    *,
    compiled: bool = False,
) -> tuple[Array, Array]:
    """Return the expected statistics S of the rows, and log p(x) of each.

    Parameters
    ----------
    coefficients : array, (K, p)
        C.
    factors : array, (m, rows), or Standardised
        F.
    pairs : array of int, (p, 2), optional
        a and b; by default the factors are the statistics.
    weights : array, (rows,), optional
        The weights of the rows; ones by default.
    compiled : bool
        Use the compiled kernel, one pass over the factors.

    Returns
    -------
    array, (K, p)
    array, (rows,)

    Examples
    --------
    >>> import numpy as np
    >>> factors, pairs = np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([[0, 0], [1, 0]])
    >>> sums, evidence = expected_sums(np.log([[0.5, 1.0], [0.5, 3.0]]), factors, pairs)
    >>> sums, np.exp(evidence)
    (array([[0.6, 0.2],
           [1.4, 1.8]]), array([1., 5.]))
    """
    if compiled:
        n = len(factors) if isinstance(factors, Standardised) else factors.shape[1]
        evidence = np.empty(n)
        return _compiled_pass(coefficients, factors, pairs, weights, evidence)[0], evidence
    factors = factors.factors() if isinstance(factors, Standardised) else factors
    statistics = factors if pairs is None else statistics_of(factors, pairs)
    table = over_rows(coefficients, statistics)
    evidence = log_normalise(table)
    if weights is not None:
        table *= weights
    return sums_over_rows(table, statistics), evidence


def expected_sums_and_likelihood(
    coefficients: Array,
    factors: Array | Standardised,
    pairs: Pairs | None = None,
    weights: Array | None = None,
    *,
    compiled: bool = False,
) -> tuple[Array, float]:
    """Do the same, but return the sum of w log p(x) and not its terms, which costs less.

    Returns
    -------
    array, (K, p)
    float
    """
    if compiled:
        return _compiled_pass(coefficients, factors, pairs, weights, np.empty(0))
    sums, evidence = expected_sums(coefficients, factors, pairs, weights)
    return sums, float(evidence.sum() if weights is None else evidence @ weights)


def _compiled_pass(
    coefficients: Array,
    factors: Array | Standardised,
    pairs: Pairs | None,
    weights: Array | None,
    evidence: Array,
) -> tuple[Array, float]:
    k, p = coefficients.shape
    if pairs is None:
        pairs = np.column_stack([np.arange(p), np.zeros(p, dtype=np.int64)])
    # Filled up to multiples of four, which the kernel takes together.
    filled, sums = np.zeros((2, -(-k // 4) * 4, -(-p // 4) * 4))
    filled[:k, :p] = coefficients
    given = pairs, np.empty(0) if weights is None else weights, k
    if isinstance(factors, Standardised):
        of = factors.rows, factors.centre, factors.scale
        loop = expected_loops().expected_sums_of_rows
        likelihood = loop(filled, *of, factors.gapped, *given, evidence, sums)
    else:
        likelihood = expected_loops().expected_sums(filled, factors, *given, evidence, sums)
    return sums[:k, :p], likelihood
