"""Matrix products of few states and many rows, in slices of rows of the size BLAS does best."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Multiplications of a slice: up to here OpenBLAS multiplies without first packing its operands,
#: which takes as long as the product itself where one side is this narrow.
MOST_MULTIPLICATIONS = 1_000_000
#: Rows of a slice below which the calls would cost more than that.
FEWEST_ROWS = 256


def over_rows(coefficients: Array, statistics: Array) -> Array:
    r"""Return C T.

    .. math:: L_{ki} = \sum_j C_{kj} T_{ji}

    Parameters
    ----------
    coefficients : array, (K, p)
    statistics : array, (p, rows)

    Returns
    -------
    array, (K, rows)

    Examples
    --------
    >>> import numpy as np
    >>> over_rows(np.ones((1, 2)), np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]))
    array([[11., 22., 33.]])
    """
    product = np.empty((len(coefficients), statistics.shape[1]))
    for rows in _slices(coefficients.size, statistics.shape[1]):
        np.matmul(coefficients, statistics[:, rows], out=product[:, rows])
    return product


def sums_over_rows(weights: Array, statistics: Array) -> Array:
    r"""Return R T'.

    .. math:: S_{kj} = \sum_i R_{ki} T_{ji}

    Parameters
    ----------
    weights : array, (K, rows)
    statistics : array, (p, rows)

    Returns
    -------
    array, (K, p)

    Examples
    --------
    >>> import numpy as np
    >>> sums_over_rows(np.array([[0.5, 1.0]]), np.array([[1.0, 1.0], [2.0, 3.0]]))
    array([[1.5, 4. ]])
    """
    first, *others = _slices(len(weights) * len(statistics), weights.shape[1])
    sums: Array = weights[:, first] @ statistics[:, first].T
    for rows in others:
        sums += weights[:, rows] @ statistics[:, rows].T
    return sums


def _slices(each: int, n: int) -> Iterator[slice]:
    """Yield slices of n rows, with so many multiplications for each."""
    rows = MOST_MULTIPLICATIONS // max(each, 1)
    if rows < FEWEST_ROWS or rows >= n:
        yield slice(0, n)
        return
    for start in range(0, n, rows):
        yield slice(start, start + rows)
