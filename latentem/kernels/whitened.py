r"""Squares of whitened rows, and second moments of states: what Gaussians of many columns need.

.. math::
    q_{ki} = | W_k z_i - b_k |^2, \qquad S_k = \sum_i r_{ki} \, z_i z_i^\top

Where W is triangular, half of its numbers are 0 and are left out, as is the half of the symmetric S
that mirrors the other. So are rows of no weight: of states well apart a row has one, and the S of
all take as long as one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import whitened_loops

Array = npt.NDArray[np.float64]

#: A row counts for a state from this part of its largest weight on, the square of the machine's
#: precision: what lighter ones add to S is far below what its numbers are rounded by.
LEAST_PART = float(np.finfo(float).eps) ** 2
#: Rows of W that are multiplied together; what is beyond the last number of them is left out.
STRIPE = 32


def stripe_ends(whitening: Array, stripe: int = STRIPE) -> npt.NDArray[np.int64]:
    """Return how many columns each stripe of rows needs for its numbers that are not 0.

    Examples
    --------
    >>> import numpy as np
    >>> stripe_ends(np.tri(5)[None], stripe=2)
    array([2, 4, 5])
    """
    some = np.any(whitening != 0.0, axis=0)
    d = some.shape[1]
    last = np.where(some.any(axis=1), d - some[:, ::-1].argmax(axis=1), 0)
    ends: npt.NDArray[np.int64] = np.maximum.reduceat(last, np.arange(0, len(last), stripe))
    return ends


def whitened_squares(z: Array, whitening: Array, shift: Array, *, compiled: bool = False) -> Array:
    """Return the squares q.

    Parameters
    ----------
    z : array, (d, rows)
    whitening : array, (K, d, d)
        W.
    shift : array, (K, d)
        b.
    compiled : bool
        Use the compiled kernel.

    Returns
    -------
    array, (K, rows)

    Examples
    --------
    >>> import numpy as np
    >>> z = np.array([[1.0, 2.0], [1.0, 0.0]])
    >>> whitened_squares(z, np.array([[[1.0, 0.0], [1.0, 2.0]]]), np.array([[1.0, 0.0]]))
    array([[9., 5.]])
    """
    (k, d), n = shift.shape, z.shape[1]
    squares = np.zeros((k, n))
    if compiled:
        # Filled up to multiples of four, which the kernel takes together.
        d4 = -(-d // 4) * 4
        filled = np.zeros((k, d4, d4)), np.zeros((k, d4))
        filled[0][:, :d, :d], filled[1][:, :d] = whitening, shift
        ends = -(-stripe_ends(filled[0], 4) // 4) * 4
        whitened_loops().squares(np.ascontiguousarray(z), *filled, ends, squares)
        return squares
    ends = stripe_ends(whitening)
    for one, low, square in zip(whitening, shift, squares, strict=True):
        for i, end in enumerate(ends):
            rows = slice(i * STRIPE, (i + 1) * STRIPE)
            white = one[rows, :end] @ z[:end]
            white -= low[rows, None]
            square += np.einsum("dr,dr->r", white, white)
    return squares


def second_moments(z: Array, weights: Array, *, compiled: bool = False) -> Array:
    """Return the second moments S.

    Parameters
    ----------
    z : array, (d, rows)
    weights : array, (K, rows)
        r, at least 0.
    compiled : bool
        Use the compiled kernel.

    Returns
    -------
    array, (K, d, d)

    Examples
    --------
    >>> import numpy as np
    >>> second_moments(np.array([[1.0, 2.0], [1.0, 0.0]]), np.array([[0.5, 0.25]]))
    array([[[1.5, 0.5],
            [0.5, 0.5]]])
    """
    k, d = len(weights), len(z)
    least = LEAST_PART * weights.max(axis=1, initial=0.0)
    if compiled:
        d4 = -(-d // 4) * 4
        moments = np.zeros((k, d4, d4))
        given = np.ascontiguousarray(z), np.ascontiguousarray(weights)
        whitened_loops().second_moments(*given, least, moments)
        return moments[:, :d, :d]
    moments = np.empty((k, d, d))
    for weight, low, moment in zip(weights, least, moments, strict=True):
        counted = np.flatnonzero(weight > low)
        if 2 * len(counted) < len(weight):  # else it would cost more to cut them out
            scaled = z[:, counted] * np.sqrt(weight[counted])
        else:
            scaled = z * np.sqrt(weight)
        np.matmul(scaled, scaled.T, out=moment)
    return moments
