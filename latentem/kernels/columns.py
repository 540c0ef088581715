"""Sums over the columns of a table, row by row as it lies in memory."""

from __future__ import annotations

import functools

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
    if len(flat) <= RUN:
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            return float(np.vecdot(flat, flat))
    whole = len(flat) - len(flat) % RUN
    runs, rest = flat[:whole].reshape(-1, RUN), flat[whole:]
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        sums = np.vecdot(runs, runs).sum(dtype=np.float64)
        return float(sums + np.vecdot(rest, rest))


def packed(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return a mask ``(n, d)`` as bits, eight columns a byte, ``(n, bytes)``; 0 fills up the last.

    Equal rows have equal bytes, of which there are few.

    Examples
    --------
    >>> import numpy as np
    >>> packed(np.array([[True, False], [True, True]]))
    array([[128],
           [192]], dtype=uint8)
    """
    n, d = mask.shape
    whole = -(-d // 8)
    if d < 8 * whole:
        filled = np.zeros((n, 8 * whole), dtype=bool)
        filled[:, :d] = mask
        mask = filled
    return np.packbits(mask).reshape(n, whole)  # which is slow row by row


def some_and_all(
    mask: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return in which rows of a mask ``(n, d)`` some entries are true, and in which all are.

    Examples
    --------
    >>> import numpy as np
    >>> some_and_all(np.array([[True, False], [True, True]]))
    (array([ True,  True]), array([False,  True]))
    """
    (whole,), parts = packed(np.ones((1, mask.shape[1]), dtype=bool)), packed(mask).T
    some = functools.reduce(np.logical_or, (part > 0 for part in parts))
    return some, functools.reduce(np.logical_and, map(np.equal, parts, whole))


def moments(values: npt.NDArray[np.floating], *, compiled: bool = False) -> Array:
    r"""Return what says where the numbers of each column lie, and how far apart.

    .. math:: m_j = \frac1{n_j} \sum_i x_{ij}, \qquad v_j = \frac1{n_j} \sum_i (x_{ij} - m_j)^2

    The sums are over the n_j numbers of a column; NaN is none.

    Parameters
    ----------
    values : array, (n, d)
        At least one row.
    compiled : bool
        Use the compiled kernel: two passes over numbers as they lie in memory.

    Returns
    -------
    array, (5, d)
        m, v, the largest and the least number, and n; of a column without numbers 0, 0,
        -infinity, infinity and 0.

    Examples
    --------
    >>> import numpy as np
    >>> moments(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([[2., 5.],
           [1., 0.],
           [3., 5.],
           [1., 5.],
           [2., 2.]])
    """
    if compiled:
        out: Array = np.empty((5, values.shape[1]))
        columns_loops().moments(np.ascontiguousarray(values), out)
        return out
    known = ~np.isnan(values)
    n = known.sum(axis=0, dtype=np.float64)
    share = 1.0 / np.maximum(n, 1.0)
    mean = share * values.sum(axis=0, dtype=np.float64, where=known)
    deviations = np.where(known, values - mean, 0.0)
    rest = share * deviations.sum(axis=0)  # what rounding lost of the mean
    square = np.maximum(share * np.square(deviations).sum(axis=0) - rest * rest, 0.0)
    high = values.max(axis=0, where=known, initial=-np.inf)
    low = values.min(axis=0, where=known, initial=np.inf)
    return np.stack([mean + rest, square, high, low, n])
