r"""How much nearer the rows are to the nearest of some seeds with one more of them: k-means++.

With rows standardised, :math:`z_i = (x_i - c) / s`, and seeds at :math:`m_k`, row i has a nearest
seed, :math:`a_i`, at the squared distance :math:`n_i = \min_k |z_i - m_k|^2`. A candidate at
:math:`m` would make the total

.. math:: V(m) = \sum_i w_i \min \left( n_i, |z_i - m|^2 \right).

By the triangle inequality it is no nearer to a row than the row's seed if
:math:`|m - m_{a_i}| \ge 2 \sqrt{n_i}`, so that such rows need not be looked at (E. Raff, "Exact
acceleration of k-means++ and k-means||", IJCAI 2021). That leaves fewer of them with each seed.

Compiled only: without, seeds are chosen by the dissimilarity of a family, whatever it is.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import seeding_loops
from latentem.kernels.distances import squared_distances
from latentem.kernels.expected import Standardised

Array = npt.NDArray[np.float64]

#: A part of n that is more than its rounding, in this and in the distance of two seeds.
MARGIN = 1e-6
#: More than any squared distance of rows that count; those that do not may be infinitely far.
FARTHEST = 1e300
#: Rows over which what is left is summed.
PART = 1024


@attrs.frozen(eq=False)
class Nearest:
    """The nearest seed of each row; it is brought up to date in place.

    Attributes
    ----------
    square : array, (n,)
        The squared distance; `FARTHEST` before there are seeds.
    label : array of int32, (n,)
        Which seed.
    """

    square: Array
    label: npt.NDArray[np.int32]

    @classmethod
    def unknown(cls, n: int) -> Nearest:
        """Return that of rows before there are seeds."""
        return cls(np.full(n, FARTHEST), np.zeros(n, dtype=np.int32))


@attrs.frozen(eq=False)
class Rows:
    """The rows among which seeds are chosen.

    Attributes
    ----------
    values : array of float64 or float32, (n, d)
    frame : array, (2, d)
        The centre, and one over the scale: z is (x - centre) times that.
    weights : array, (n,)
    free : array, (n,)
        The weights of those that may still be seeds.
    nearest : Nearest
    """

    values: Array
    frame: Array
    weights: Array
    free: Array
    nearest: Nearest

    @classmethod
    def of(cls, rows: Standardised, weights: Array, free: Array, nearest: Nearest) -> Rows:
        """Take standardised rows."""
        return cls(rows.rows, np.stack([rows.centre, 1.0 / rows.scale]), weights, free, nearest)

    def standard(self, places: npt.ArrayLike) -> Array:
        """Return some of the rows, standardised to the last digit as the loops do."""
        centre, inverse = self.frame
        z: Array = (self.values[np.asarray(places)] - centre) * inverse
        return z


def reaches(seeds: Array, points: Array) -> Array:
    r"""Return up to which n a row keeps its seed, whichever other point is one too.

    .. math:: |m_k - m|^2 / 4

    Parameters
    ----------
    seeds : array, (K, d)
    points : array, (m, d)

    Returns
    -------
    array, (m, K)
        For each of the points.

    Examples
    --------
    >>> import numpy as np
    >>> reaches(np.array([[0.0, 0.0], [0.0, 3.0]]), np.array([[0.0, 4.0]])).round(3)
    array([[4.  , 0.25]])
    """
    squares = squared_distances(seeds.T, points.T, compiled=True)
    return (0.25 - MARGIN) * squares


def totals(rows: Rows, block: slice, points: Array, reach: Array) -> Array:
    """Return the total V of a block of rows with each of some points.

    Parameters
    ----------
    rows : Rows
    block : slice
    points : array, (m, d)
        Standardised as the rows are.
    reach : array, (K,)
        The least of the points' `reaches`.

    Returns
    -------
    array, (m,)
    """
    total = np.zeros(len(points))
    place, known = (block.start, block.stop), (reach, rows.nearest.label, rows.nearest.square)
    given = rows.values, rows.frame, rows.weights
    seeding_loops().totals(*given, place, _in_fours(points), known, total)
    return total


def approach(rows: Rows, block: slice, point: Array, state: int, reach: Array, tie: float) -> Array:
    """Make a point the seed of a state: bring up to date which is the nearest to a block of rows.

    Parameters
    ----------
    rows : Rows
    block : slice
    point : array, (d,)
    state : int
    reach : array, (K,)
        The point's `reaches`.
    tie : float
        The part of n by which it must be nearer than the seed of a row to be its seed.

    Returns
    -------
    array, (parts,)
        The sums of n, by the weights of those that may still be seeds, over the `parts`.
    """
    place, known = (block.start, block.stop), (reach, rows.nearest.label, rows.nearest.square)
    given = rows.values, rows.frame, rows.free, place, _in_fours(point[None]), state, known
    left = np.empty(len(parts(block)))
    seeding_loops().approach(*given, 1.0 - tie, left)
    return left


def parts(block: slice) -> Array:
    """Return where parts of a block of rows start."""
    starts: Array = np.arange(block.start, block.stop, PART)
    return starts


def _in_fours(points: Array) -> Array:
    """Return points filled up with zeros to multiples of four, and columns likewise."""
    m, d = points.shape
    filled = np.zeros((-(-m // 4) * 4, -(-d // 4) * 4))
    filled[:m, :d] = points
    return filled
