"""Squared distances of rows to a few points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import loops

Array = npt.NDArray[np.float64]


def squared_distances(z: Array, points: Array, *, compiled: bool = False) -> Array:
    r"""Return the squared distances of rows to points.

    .. math:: d_{ji} = \textstyle\sum_a (z_{ai} - c_{aj})^2

    By differences, so that those of near points are as exact as those of far ones.

    Parameters
    ----------
    z : array, (d, rows)
    points : array, (d, m)
        c.
    compiled : bool
        Use the compiled kernel, which makes no arrays of differences.

    Returns
    -------
    array, (m, rows)
        NaN where a column of a row, or of the point, is.

    Examples
    --------
    >>> import numpy as np
    >>> squared_distances(np.array([[0.0, 1.0], [0.0, 2.0]]), np.array([[0.0], [2.0]]))
    array([[4., 1.]])
    """
    distances = np.zeros((points.shape[1], z.shape[1]))
    if compiled:
        given = (np.ascontiguousarray(table, dtype=float) for table in (z, points))
        loops().squared_distances(*given, distances)
        return distances
    for point, own in zip(points.T, distances, strict=True):
        difference = z - point[:, None]
        np.einsum("an,an->n", difference, difference, out=own)
    return distances
