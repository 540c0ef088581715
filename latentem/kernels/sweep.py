r"""Sweeping of symmetric matrices: conditional and marginal distributions all at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def swept(precision: Array, missing: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    r"""Sweep precisions on the missing columns of each pattern (Beaton's operator).

    Columns u of a symmetric matrix with blocks oo, ou, uu are swept in any order to

    .. math::
        \begin{pmatrix} A_{oo} - A_{ou} A_{uu}^{-1} A_{uo} & A_{ou} A_{uu}^{-1} \\
        A_{uu}^{-1} A_{uo} & -A_{uu}^{-1} \end{pmatrix}

    Parameters
    ----------
    precision : array, (d, d, K)
        Of each state, positive definite.
    missing : array, (P, d)
        Of each pattern, as a mask.

    Returns
    -------
    array, (P, K, d, d)
    array, (P, K)
        log |A_uu|.

    Examples
    --------
    >>> import numpy as np
    >>> precision = np.array([[2.0, 1.0], [1.0, 4.0]])[:, :, None]
    >>> matrix, log_det = swept(precision, np.array([[False, True]]))
    >>> matrix[0, 0]
    array([[ 1.75,  0.25],
           [ 0.25, -0.25]])
    >>> np.exp(log_det).round(9)
    array([[4.]])
    """
    n, d = missing.shape
    matrix, log_det = precision[:, :, None].copy(), np.zeros((1, precision.shape[-1]))
    # Neighbours that agree in all columns so far share a matrix; with which, says place.
    differs = np.logical_or.accumulate(missing[1:] != missing[:-1], axis=1)
    place = np.zeros(n, dtype=int)
    for j in range(d):
        first = np.concatenate([[0], np.flatnonzero(differs[:, j]) + 1])
        if len(first) > len(log_det):
            matrix, log_det = matrix[:, :, place[first]], log_det[place[first]]
            place[1:] = np.cumsum(differs[:, j])
        own = np.flatnonzero(missing[first, j])
        if not len(own):
            continue
        part = matrix[:, :, own]
        pivot, column = part[j, j].copy(), part[j].copy()
        row = column / pivot
        part -= column[:, None] * row
        part[j] = part[:, j] = row
        part[j, j] = -1.0 / pivot
        matrix[:, :, own] = part
        log_det[own] += np.log(pivot)
    return matrix[:, :, place].transpose(2, 3, 0, 1).copy(), log_det[place]
