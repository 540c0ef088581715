r"""How near the rows are to the nearest of some seeds, and would be with one more: k-means++.

With rows standardised, :math:`z_i = (x_i - c) / s`, and seeds at :math:`m_k`, row i has a nearest
seed, :math:`a_i`, at the squared distance :math:`n_i = \min_k |z_i - m_k|^2`. A candidate at
:math:`m` would make the total

.. math:: V(m) = \sum_i w_i \min \left( n_i, |z_i - m|^2 \right).

By the triangle inequality it is no nearer to a row than the row's seed if
:math:`|m - m_{a_i}| \ge 2 \sqrt{n_i}`, so that such rows need not be looked at (E. Raff, "Exact
acceleration of k-means++ and k-means||", IJCAI 2021). That leaves fewer of them with each seed.

A pass over the rows makes the candidate chosen last a seed and weighs up the next ones. It sums V
over parts of the rows, which is all that is needed to draw from these by n, once it is known which
candidate is the seed: a part first, and of its rows, brought up to date, one.

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

#: The part of n by which a seed must be nearer than another to be the nearest.
TIE = 1e-9
#: The part of a squared distance that is more than its rounding, and more than what `TIE` lets n
#: lose with each of thousands of seeds.
MARGIN = 4e-6
#: More than any squared distance of rows that count; those that do not may be infinitely far.
FARTHEST = float(np.finfo(float).max)
#: Rows of a part.
PART = 512


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
    nearest : Nearest
    """

    values: Array
    frame: Array
    weights: Array
    nearest: Nearest

    @classmethod
    def of(cls, rows: Standardised, weights: Array, nearest: Nearest) -> Rows:
        """Take standardised rows."""
        return cls(rows.rows, np.stack([rows.centre, 1.0 / rows.scale]), weights, nearest)

    @property
    def n_parts(self) -> int:
        """In how many parts they are, each of `PART` rows but for the last."""
        return -(-len(self.values) // PART)

    def standard(self, places: npt.ArrayLike) -> Array:
        """Return some of the rows, standardised to the last digit as the loops do."""
        centre, inverse = self.frame
        z: Array = (self.values[np.asarray(places)] - centre) * inverse
        return z


def safe_distances(seeds: Array, points: Array) -> Array:
    r"""Return for each seed up to which n a row keeps it, whichever of some points are seeds too.

    .. math:: \min_m |m_k - m|^2 / 4

    Parameters
    ----------
    seeds : array, (K, d)
    points : array, (m, d)

    Returns
    -------
    array, (K,)
        Squared distances.

    Examples
    --------
    >>> import numpy as np
    >>> safe_distances(np.array([[0.0, 0.0], [0.0, 3.0]]), np.array([[0.0, 4.0]])).round(3)
    array([4.  , 0.25])
    """
    squares: Array = squared_distances(seeds.T, points.T, compiled=True).min(axis=0)
    return (1.0 - MARGIN) / 4.0 * squares


def look(rows: Rows, parts: slice, points: Array, state: int | None, safe: Array) -> Array:
    """Make the first point the seed of a state, if one is given; weigh up the others.

    Parameters
    ----------
    rows : Rows
        What is known of the nearest seeds is brought up to date.
    parts : slice
        The parts to look at.
    points : array, (m, d)
        Standardised as the rows are.
    state : int or None
    safe : array, (K,)
        The `safe_distances` of the seeds from the points.

    Returns
    -------
    array, (parts, m)
        The total V of each part with each of the points, of the rows as they are then; with the
        first, if that is a seed, n as it is.

    Examples
    --------
    >>> import numpy as np
    >>> x = Standardised(np.array([[0.0], [1.0], [5.0]]), np.zeros(1), np.ones(1))
    >>> rows, parts = Rows.of(x, np.ones(3), Nearest.unknown(3)), slice(0, 1)
    >>> look(rows, parts, np.array([[0.0]]), 0, np.zeros(2))
    array([[26.]])
    >>> look(rows, parts, np.array([[1.0], [5.0]]), None, np.zeros(2))
    array([[16.,  1.]])
    """
    totals = np.empty((parts.stop - parts.start, len(points)))
    latest = -1 if state is None else state
    known = safe, rows.nearest.label, rows.nearest.square
    given = rows.values, rows.frame, rows.weights, parts.start, _in_fours(points), latest, known
    seeding_loops().look(*given, totals)
    return totals


def draw(
    rows: Rows, left: Array, point: Array, state: int, safe: Array, targets: Array
) -> list[int]:
    """Return rows where w n, summed over the rows before, passes targets.

    Parameters
    ----------
    rows : Rows
        Those of the parts drawn from are brought up to date.
    left : array, (parts,)
        The totals of w n over parts, with the latest seed. Not all 0.
    point : array, (d,)
        The latest seed.
    state : int
        Whose it is.
    safe : array, (K,)
        The `safe_distances` of the seeds from the point.
    targets : array, (m,)
        From 0 to the sum of ``left``.

    Returns
    -------
    list of int
        Of rows with w n above 0.
    """
    places = np.zeros(len(targets), dtype=np.int64)
    known = safe, rows.nearest.label, rows.nearest.square
    given = rows.values, rows.frame, rows.weights, left, _in_fours(point[None]), state, known
    seeding_loops().draw(*given, targets, places)
    drawn: list[int] = places.tolist()
    return drawn


def _in_fours(points: Array) -> Array:
    """Return points filled up with zeros to multiples of four, and columns likewise."""
    m, d = points.shape
    filled = np.zeros((-(-m // 4) * 4, -(-d // 4) * 4))
    filled[:m, :d] = points
    return filled
