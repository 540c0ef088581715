r"""Natural parameters of Gaussians from their moments.

With mean m and covariance :math:`\Sigma = E[z z^\top] - m m^\top = L L^\top`, W = L^-1 and
:math:`P = W^\top W`,

.. math:: \log p(z) = (P m) \cdot z - \tfrac12 \textstyle\sum_i P_{ii} z_i^2
          - \sum_{i < j} P_{ij} z_i z_j - A, \qquad
          A = \tfrac12 |W m|^2 + \log |L| + \tfrac d2 \log 2 \pi .
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import moments_loops

Array = npt.NDArray[np.float64]


def natural_of_moments(moments: Array) -> tuple[Array, Array, float] | None:
    """Return natural parameters of Gaussians, by the compiled kernel.

    Parameters
    ----------
    moments : array, (K, d + d (d + 1) / 2)
        The means of z, and of the products of its entries, the upper triangle by rows.

    Returns
    -------
    array, (K, d + d (d + 1) / 2)
        In the same order.
    array, (K,)
        A.
    float
        The largest entry on the diagonal of a precision P.

    None if a covariance is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> eta, log_normaliser, largest = natural_of_moments(np.array([[1.0, 3.0]]))
    >>> eta.round(9), round(largest, 9)
    (array([[ 0.5 , -0.25]]), 0.5)
    """
    k, p = moments.shape
    eta, log_normaliser = np.empty((k, p)), np.empty(k)
    largest = moments_loops().natural_of_moments(np.ascontiguousarray(moments), eta, log_normaliser)
    return (eta, log_normaliser, largest) if largest < np.inf else None


def natural_of_covariances(
    mean: Array, covariance: Array, scale: Array
) -> tuple[Array, Array, float] | None:
    """Do so from means of z ``(K, d)`` and covariances of ``scale * z``, ``(K, d, d)``.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> eta, log_normaliser, largest = natural_of_covariances(one, 8 * one[None], 2 * one[0])
    >>> eta.round(9), round(largest, 9)
    (array([[ 0.5 , -0.25]]), 0.5)
    """
    k, d = mean.shape
    eta, log_normaliser = np.empty((k, d + d * (d + 1) // 2)), np.empty(k)
    given = map(np.ascontiguousarray, (mean, covariance, scale))
    largest = moments_loops().natural_of_covariances(*given, eta, log_normaliser)
    return (eta, log_normaliser, largest) if largest < np.inf else None
