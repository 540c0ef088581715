"""Sums over the columns of a table, row by row as it lies in memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import columns_loops

Array = npt.NDArray[np.float64]

#: Numbers whose squares are added in one call: for more than 10,000 OpenBLAS wakes its threads.
RUN = 2**13


def sum_of_squares(values: npt.NDArray[np.floating]) -> float:
    """Return the sum of the squares of all numbers, which is finite only if all of them are.

    One pass says that there is no NaN and no infinity, and bounds what there is. Squares or sums
    may overflow, so that not all that is finite has a finite one.

    Examples
    --------
    >>> import numpy as np
    >>> sum_of_squares(np.array([[3.0, 4.0]])), sum_of_squares(np.array([1.0, np.inf]))
    (25.0, inf)
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    whole = len(flat) - len(flat) % RUN
    runs, rest = flat[:whole].reshape(-1, RUN), flat[whole:]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        sums = np.vecdot(runs, runs).sum(dtype=np.float64)
        return float(sums + np.vecdot(rest, rest))


def moments(values: npt.NDArray[np.floating], *, compiled: bool = False) -> Array:
    r"""Return what says where the numbers of each column lie, and how far apart.

    .. math:: m_j = \frac1n \sum_i x_{ij}, \qquad v_j = \frac1n \sum_i (x_{ij} - m_j)^2

    Parameters
    ----------
    values : array, (n, d)
        At least one row.
    compiled : bool
        Use the compiled kernel: two passes over numbers as they lie in memory.

    Returns
    -------
    array, (4, d)
        m, v, the largest and the least number.

    Examples
    --------
    >>> import numpy as np
    >>> moments(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([[2., 5.],
           [1., 0.],
           [3., 5.],
           [1., 5.]])
    """
    if compiled:
        out: Array = np.empty((4, values.shape[1]))
        columns_loops().moments(np.ascontiguousarray(values), out)
        return out
    mean = values.mean(axis=0, dtype=np.float64)
    deviations = values - mean
    rest = deviations.mean(axis=0)  # what rounding lost of the mean
    square = np.maximum(np.square(deviations).mean(axis=0) - rest * rest, 0.0)
    return np.stack([mean + rest, square, values.max(axis=0), values.min(axis=0)])
