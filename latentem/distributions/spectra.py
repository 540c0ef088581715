r"""Eigenvalues and axes of covariances that share some of their volume, shape and orientation.

Let :math:`\Sigma_k = D_k V_k D_k^\top` with :math:`V_k = \mathrm{diag}(v_{k1}, \dots, v_{kd})`, let
:math:`S_k` be the scatter of state k about its mean, and :math:`w_k` its share of the rows. Minus
the log-likelihood is, but for constants, the sum over states of

.. math:: w_k \bigl( \log|\Sigma_k| + \mathrm{tr} \, \Sigma_k^{-1} S_k \bigr)
          = w_k \sum_i \Bigl( \log v_{ki} + \frac{t_{ki}}{v_{ki}} \Bigr),
          \qquad t_{ki} = (D_k^\top S_k D_k)_{ii}

so that for known axes only the "spectra" t count. In :math:`u = \log v` this is convex, what the
states share is a linear subspace, and a floor under the eigenvalues is a bound on u: for known axes
every structure has one maximum, and `spectra` finds it. Scatters come as roots, S = R R', because a
matrix that is nearly singular has lost half of the digits that its root has.
"""

from __future__ import annotations

import functools

import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.special import increasing_root

#: A relative change of all eigenvalues, or an angle, below which an iteration has converged.
SMALL_CHANGE = 1e-13
#: More sweeps than any but a nearly singular state needs; every one of them is an ascent.
MOST_SWEEPS = 500
#: Of common axes, found afresh, and from the old ones: there each M-step takes them further.
FIRST_SWEEPS, NEXT_SWEEPS = 200, 30
#: Newton's step changes no logarithm of a variance by more.
LONGEST_STEP = 10.0


def spectra(
    kind: tuple[bool, bool], t: Array, share: Array, floor: float, start: Array | None = None
) -> Array:
    """Return the eigenvalues ``(K, d)``, none below the floor, that maximise the likelihood.

    Parameters
    ----------
    kind : tuple of bool
        Whether the states share their volume, and whether they share their shape.
    t : array, (K, d)
        The scatters' diagonals along the axes.
    share : array, (K,)
        Each state's share of the rows; they sum to 1.
    floor : float
        Smallest eigenvalue allowed.
    start : array, (K, d), optional
        Eigenvalues to start from, for shared shapes of varying volume.
    """
    match kind:
        case (True, True):
            return np.broadcast_to(np.maximum(share @ t, floor), t.shape)
        case (True, False):
            return _of_one_volume(t, share, floor)
        case (False, True):
            return _of_one_shape(t, share, floor, start)
        case _:
            return np.maximum(t, floor)


def _of_one_volume(t: Array, share: Array, floor: float) -> Array:
    r"""Return :math:`v_{ki} = \lambda t_{ki} / |t_k|^{1/d}`, where that is above the floor.

    The volume is :math:`\lambda = \sum_k w_k |t_k|^{1/d}` (Celeux and Govaert 1995, section 3). In
    logarithms x of t and u of v, a state whose log-volumes :math:`\sum_i u_{ki} = s` are given has
    its best shape at :math:`u_{ki} = \max(x_{ki} - m_k, \log f)`, and the common s is where
    :math:`\sum_k w_k e^{m_k} = 1`: its slope in s is :math:`\sum_k w_k (1 - e^{m_k})`, increasing.
    """
    d = t.shape[1]
    x = np.log(np.maximum(t, np.finfo(float).tiny))
    means = x.mean(axis=1, keepdims=True)
    top = means.max()
    values: Array = np.exp(top + np.log(share @ np.exp(means - top)) + x - means)
    if (values >= floor).all():
        return values
    low = np.log(floor)
    ordered = -np.sort(-x, axis=1)
    j = np.arange(1, d + 1)  # how many eigenvalues of a state are above the floor
    sums = np.cumsum(ordered, axis=1) + (d - j) * low

    def above(s: Array) -> tuple[Array, Array]:
        """Return m ``(K,)`` and the number of eigenvalues above the floor, at log-volume s."""
        m = (sums - s) / j
        count = np.maximum((ordered - m > low).sum(axis=1), 1)
        return np.take_along_axis(m, count[:, None] - 1, axis=1)[:, 0], count

    def slope(s: Array) -> tuple[Array, Array]:
        m, count = above(s)
        ratio = share * np.exp(m)
        return 1.0 - ratio.sum(keepdims=True), (ratio / count).sum(keepdims=True)

    bottom = np.array([d * low])
    most = np.maximum(np.maximum(x, low).sum(axis=1).max(keepdims=True), bottom)
    s = bottom if slope(bottom)[0] >= 0 else increasing_root(slope, bottom, most, most)
    return np.asarray(np.maximum(np.exp(x - above(s)[0][:, None]), floor))


def _of_one_shape(
    t: Array, share: Array, floor: float, start: Array | None, most: int = MOST_SWEEPS
) -> Array:
    r"""Return :math:`v_{ki} = c_k b_i`, each factor being in turn the best for the other.

    .. math:: c_k = \frac1d \sum_i \frac{t_{ki}}{b_i}, \qquad b_i = \sum_k w_k \frac{t_{ki}}{c_k}

    (Celeux and Govaert 1995, section 3.) With :math:`c_k \ge 1` and :math:`b_i \ge f` these are
    bounds on each factor by itself, and no loss: c may be multiplied and b divided by a number. So
    going in turn leads to the one maximum. Newton's step in log b, where it is better, is quicker.
    """
    first = np.broadcast_to(np.maximum(share @ t, floor), t.shape) if start is None else start
    c, b = _balanced(first[:, 0] / first[0, 0], first[0], floor)
    for _ in range(most):
        before = c[:, None] * b
        c, b = _balanced(c, np.maximum(share @ (t / c[:, None]), floor), floor)
        c, b = _balanced(_volumes(t, b, 1.0), b, floor)
        c, b = _newton(t, share, floor, c, b)
        change = np.abs(c[:, None] * b / before - 1.0).max()
        if change <= SMALL_CHANGE:
            break
    values: Array = np.maximum(c[:, None] * b, floor)
    return values


def _volumes(t: Array, b: Array, smallest: float) -> Array:
    volumes: Array = np.maximum((t / b).mean(axis=1), smallest)
    return volumes


def _balanced(c: Array, b: Array, floor: float) -> tuple[Array, Array]:
    """Return the same products c b, both factors equally far from their bounds, 1 and the floor."""
    factor = np.sqrt(b.min() / floor / c.min())
    return c * factor, b / factor


def _newton(t: Array, share: Array, floor: float, c: Array, b: Array) -> tuple[Array, Array]:
    """Return Newton's step in log b, the best c for each b understood; or what was, if better.

    The step leaves what is at a bound there.
    """
    m = t / c[:, None] / b  # 1 on average over the columns where c is free
    total = np.where((c > 1.0) & (t > 0).any(axis=1), m.sum(axis=1), np.inf)
    gradient = 1.0 - share @ m
    free = (b > floor) | (gradient < 0)
    weighted = share[:, None] * m
    curvature = np.diag(weighted.sum(axis=0)) - weighted.T @ (m / total[:, None])
    step = np.zeros(len(b))
    # Of a matrix that is singular in the direction in which b is multiplied by a number.
    step[free] = np.linalg.lstsq(curvature[np.ix_(free, free)], gradient[free], rcond=None)[0]
    before = cost(t, share, c[:, None] * b)
    rounding = 1e-15 * (abs(before) + len(b))  # or the last digits would choose
    step *= min(1.0, LONGEST_STEP / max(np.abs(step).max(), 1e-300))
    for length in (1.0, 0.25, 0.0625):
        new_b = np.maximum(b * np.exp(-length * step), floor)
        new_c = _volumes(t, new_b, 1.0)
        if cost(t, share, new_c[:, None] * new_b) <= before + rounding:
            return _balanced(new_c, new_b, floor)
    return c, b


def cost(t: Array, share: Array, values: Array) -> float:
    """Return the sum over states of w (log v + t / v), to be minimised."""
    return float(share @ (np.log(values) + t / values).sum(axis=1))


# -- common axes -----------------------------------------------------------------------------------


def common_axes(
    kind: tuple[bool, bool],
    root: Array,
    share: Array,
    floor: float,
    old: tuple[Array, Array] | None,
) -> tuple[Array, Array]:
    r"""Return the axes ``(d, d)`` that all states share, in columns, and eigenvalues ``(K, d)``.

    Axes and eigenvalues are in turn the best for the other, from the old ones on, so that the
    likelihood never falls. For given eigenvalues the axes minimise :math:`\sum_k w_k \,
    \mathrm{tr} \, V_k^{-1} D^\top S_k D`. If the shape is shared these are the eigenvectors of
    :math:`\sum_k w_k S_k / \lambda_k`; if not, each two axes are turned in their plane (Flury and
    Gautschi, An algorithm for simultaneous orthogonal transformation of several positive definite
    symmetric matrices to nearly diagonal form, SIAM Journal on Scientific and Statistical Computing
    7, 1986; with the turn that is exact for given eigenvalues, as Browne and McNicholas 2014 do).

    Parameters
    ----------
    kind, share, floor
        As for `spectra`.
    root : array, (K, d, r)
        Of the scatters, R R'.
    old : tuple of array, or None
        Axes and eigenvalues to start from; by default the best of the pooled scatter's axes and
        each state's.
    """
    _, shape_is_shared = kind
    if old is None:
        starts = [np.linalg.svd(pooled(root, share))[0]]
        if not shape_is_shared:  # else there is but one maximum
            starts += list(np.linalg.svd(root)[0])
        found = [(axes, spectra(kind, _along(axes, root)[1], share, floor)) for axes in starts]
        costs = [cost(_along(axes, root)[1], share, values) for axes, values in found]
        axes, values = found[int(np.argmin(costs))]
    else:
        axes, values = old
        if not shape_is_shared:
            values = spectra(kind, _along(axes, root)[1], share, floor)
    for _ in range(FIRST_SWEEPS if old is None else NEXT_SWEEPS):
        if shape_is_shared:
            volume = values[:, 0] / values[0, 0]
            axes, angle = np.linalg.svd(pooled(root, share / volume))[0], 0.0
            ordered = -np.sort(-values, axis=1)  # as the axes are, largest first
            new = _of_one_shape(_along(axes, root)[1], share, floor, ordered, most=1)
        else:
            axes, angle = _turned(axes, _along(axes, root)[0], share, values)
            new = spectra(kind, _along(axes, root)[1], share, floor)
        change = max(np.abs(new / values - 1.0).max(), angle)
        values = new
        if change <= SMALL_CHANGE:
            break
    return axes, values


def pooled(root: Array, share: Array) -> Array:
    """Return a root ``(d, K r)`` of the sum over states of share R R'."""
    return np.concatenate(list(np.sqrt(share)[:, None, None] * root), axis=-1)


def _along(axes: Array, root: Array) -> tuple[Array, Array]:
    """Return the roots along the axes, D'R, and the scatters' diagonals there."""
    turned = axes.T @ root
    return turned, np.square(turned).sum(axis=-1)


def _turned(axes: Array, rows: Array, share: Array, values: Array) -> tuple[Array, float]:
    r"""Return axes turned once in the plane of each two, and the largest angle.

    Turned by an angle a, two axes i and j have

    .. math:: \sum_k w_k \Bigl( \frac{t_{ki}}{v_{ki}} + \frac{t_{kj}}{v_{kj}} \Bigr)
              = \text{const} + \frac{p_i - p_j}{2} \cos 2a + q \sin 2a

    with :math:`p_i = \sum_k g_k t_{ki}`, :math:`q = \sum_k g_k (D^\top S_k D)_{ij}` and
    :math:`g_k = w_k (1 / v_{ki} - 1 / v_{kj})`.
    """
    axes, rows, largest = axes.copy(), rows.copy(), 0.0
    for i, j in rounds(len(axes)):
        g = share[:, None] * (1.0 / values[:, i] - 1.0 / values[:, j])  # (K, pairs)
        one, other = rows[:, i], rows[:, j]  # (K, pairs, r)
        squares = np.square(one).sum(axis=-1), np.square(other).sum(axis=-1)
        q = (g * (one * other).sum(axis=-1)).sum(axis=0)
        # What is not more than its rounding error is no reason to turn.
        rounding = np.finfo(float).eps * (np.abs(g) * np.sqrt(squares[0] * squares[1])).sum(axis=0)
        q = np.where(np.abs(q) > 4 * rounding, q, 0.0)
        p = (g * (squares[0] - squares[1])).sum(axis=0)
        angle = 0.5 * np.arctan2(-2.0 * q, -p)
        angle = np.where((q == 0) & (p <= 0), 0.0, angle)
        largest = max(largest, float(np.abs(angle).max()))
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        rows[:, i], rows[:, j] = cos * one + sin * other, cos * other - sin * one
        first, second = axes[:, i], axes[:, j]
        axes[:, i] = cos[:, 0] * first + sin[:, 0] * second
        axes[:, j] = cos[:, 0] * second - sin[:, 0] * first
    return axes, largest


@functools.cache
def rounds(d: int) -> tuple[tuple[Array, Array], ...]:
    """Return all pairs of d columns in rounds, as teams play: no column twice in one."""
    if d < 2:
        return ()
    even = d + d % 2
    circle = list(range(even))
    found = []
    for _ in range(even - 1):
        pairs = [(circle[n], circle[-1 - n]) for n in range(even // 2)]
        kept = np.array([pair for pair in pairs if max(pair) < d])
        found.append((kept[:, 0], kept[:, 1]))
        circle = [circle[0], circle[-1], *circle[1:-1]]
    return tuple(found)
