r"""The arithmetic of extrapolating a sequence of vectors, and of judging whether it has ended.

Of three vectors in a row, :math:`s_0, s_1, s_2`, let :math:`u = s_1 - s_0, w = s_2 - s_1`, and let
U and W have as columns these of the cycle before and of this one. A sequence whose steps change any
:math:`U \gamma` into :math:`W \gamma` comes to rest at

.. math:: s_2 + W \gamma, \qquad \gamma = \arg\min \| w - (U - W) \gamma \|,

and the squared step of length :math:`\alpha` is

.. math:: s_0 + 2 \alpha u + \alpha^2 (w - u), \qquad \alpha = \|u\| / \|w - u\|.

All but the vectors themselves follows from their inner products. The sources are named in
`latentem.em.accelerate`. These functions are called as they are, and compiled as they are into the
loops of `latentem.kernels.steps`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Plain steps before the next leap: at first, and at most after many refusals in a row.
SHORTEST_WAIT, LONGEST_WAIT = 2, 32
#: How the longest leap grows when it was good, and shrinks when it was refused.
GROWTH = 4.0
#: Leaps of which the slowest error tells how far there is to go.
REMEMBERED = 5
#: Changes this much smaller than the largest are taken for multiples of others.
INDEPENDENT = 1e-6
#: Relative to the objective a gain below this is rounding.
ROUNDING = 4 * float(np.finfo(float).eps)

#: What is remembered from leap to leap.
MEMORY = np.dtype(
    [
        ("steps", np.int64),  # since the last leap
        ("wait", np.int64),  # steps before the next
        ("is_due", np.bool_),  # whether the next step is to be plain, as has been found
        ("is_known", np.bool_),  # whether there was a cycle before
        ("has_squared", np.bool_),  # whether a squared step is to be proposed next
        ("is_squared", np.bool_),  # whether the last proposal was one
        ("length", np.float64),  # alpha of the last leap
        ("longest", np.float64),  # the largest alpha allowed
        ("leaps", np.int64),
        ("rates", np.float64, (REMEMBERED,)),
        ("rate", np.float64),  # the factor by which a step shrinks the error; 0 if unknown
    ]
)
#: The vectors remembered: the last three, u and w of the cycle before, and the squared step.
PLACES = 6
FIRST, SECOND, THIRD, U_BEFORE, W_BEFORE, SQUARED = range(PLACES)


class Leaps:
    """The extrapolation of one sequence of vectors.

    Parameters
    ----------
    size : int
        Length of a vector.

    Attributes
    ----------
    memory : record of `MEMORY`
    path : array, (PLACES, size)

    Examples
    --------
    Of a sequence that halves an error of one dimension it tells the limit, 0.

    >>> import numpy as np
    >>> leaps = Leaps(1)
    >>> [leaps.ahead(np.array([x])) for x in (8.0, 4.0, 2.0)]
    [None, None, array([0.])]
    """

    def __init__(self, size: int) -> None:
        self.memory: Any = np.zeros(1, MEMORY)[0]
        self.memory["wait"], self.memory["longest"] = SHORTEST_WAIT, GROWTH
        self.path = np.zeros((PLACES, size))

    def elsewhere(self, size: int) -> Leaps:
        """Return what is to be remembered where vectors do not compare with these."""
        new = Leaps(size)
        for name in ("wait", "longest", "leaps", "rates", "rate"):
            new.memory[name] = self.memory[name]
        return new

    def ahead(self, vector: Array) -> Array | None:
        """Return where to go from a vector; None if a plain step is due."""
        proposal = np.empty_like(vector)
        return proposal if leap(self.memory, self.path, vector, proposal) else None

    def judge(self, accepted: bool) -> None:
        """Hear whether what was proposed was good."""
        judge(self.memory, accepted)

    @property
    def rate(self) -> float:
        """Estimate of the factor by which a step shrinks the error, 0 while unknown."""
        return float(self.memory["rate"])


def leap(memory: Any, path: Array, vector: Array, proposal: Array) -> bool:
    """Write where to go from a vector; return False if a plain step is due.

    Parameters
    ----------
    memory : record of `MEMORY`
    path : array, (PLACES, n)
    vector, proposal : array, (n,)
    """
    if memory["is_due"]:
        memory["is_due"] = False
        return False
    if memory["has_squared"]:
        memory["has_squared"], memory["is_squared"] = False, True
        proposal[:] = path[SQUARED]
        return True
    path[FIRST], path[SECOND], path[THIRD] = path[SECOND].copy(), path[THIRD].copy(), vector
    memory["steps"] += 1
    if memory["steps"] <= memory["wait"]:
        return False
    memory["steps"] = 0
    u, w = path[SECOND] - path[FIRST], path[THIRD] - path[SECOND]
    is_first, memory["is_known"] = not memory["is_known"], True
    # Columns 0 and 1 of U, of W and of U - W; all that follows are their inner products.
    changes = np.zeros((6, len(vector)))
    if not is_first:
        changes[0], changes[2] = path[U_BEFORE], path[W_BEFORE]
    changes[1], changes[3] = u, w
    changes[4], changes[5] = changes[0] - changes[2], u - w
    w_before = changes[2].copy()
    path[U_BEFORE], path[W_BEFORE] = u, w
    largest = np.abs(changes).max()
    if not largest < np.inf:
        return False
    if largest > 0.0:
        changes /= largest
    gram = changes @ changes.T
    length = math.sqrt(ratio(gram[1, 1], gram[5, 5]))
    # A leap stirs up errors that EM is fast to correct, and for a while shows only these.
    rate = min(max(slowest_of_two(gram), 1.0 - 1.0 / max(length, 1.0)), 1.0)
    memory["rates"][memory["leaps"] % REMEMBERED] = rate
    memory["leaps"] += 1
    memory["rate"] = memory["rates"].max()
    length = min(length, memory["longest"])
    squared = path[FIRST] + 2 * length * u + length**2 * (w - u)
    memory["length"], memory["is_squared"] = length, is_first
    if is_first:
        proposal[:] = squared
        return bool(length > 1.0)
    memory["has_squared"] = True
    path[SQUARED] = squared
    first, second = least_squares(gram[4, 4], gram[4, 5], gram[5, 5], gram[4, 3], gram[5, 3])
    proposal[:] = path[THIRD] + first * w_before + second * w
    return True


def judge(memory: Any, accepted: bool) -> None:
    """Remember whether a proposal was good: those refused again and again become rarer."""
    if accepted:
        memory["has_squared"], memory["wait"] = False, SHORTEST_WAIT
        if memory["is_squared"] and memory["length"] == memory["longest"]:
            memory["longest"] *= GROWTH
    elif memory["is_squared"]:
        memory["wait"] = min(2 * memory["wait"], LONGEST_WAIT)
        memory["longest"] = max(memory["longest"] / GROWTH, GROWTH)


def ratio(a: float, b: float) -> float:
    """Return a / b, 1 if both are 0."""
    if b > 0.0:
        return a / b
    return math.inf if a > 0.0 else 1.0


def least_squares(aa: float, ab: float, bb: float, ac: float, bc: float) -> tuple[float, float]:
    """Return the multiples of vectors a and b that come nearest to c, given inner products.

    Of vectors that are nearly multiples of each other the shortest multiples.
    """
    trace, determinant = aa + bb, aa * bb - ab * ab
    if determinant > (INDEPENDENT * trace) ** 2:
        return (bb * ac - ab * bc) / determinant, (aa * bc - ab * ac) / determinant
    square = trace * trace
    if not square > 0.0:
        square = 1.0
    return (aa * ac + ab * bc) / square, (ab * ac + bb * bc) / square


def slowest_of_two(gram: Array) -> float:
    """Return the largest factor by which a step shrinks what spans U, of those seen so far.

    That is an eigenvalue of the A with U A = W in the sense of least squares, given a table whose
    first four columns are the inner products of all columns of U and W.
    """
    aa, ab, bb = gram[0, 0], gram[0, 1], gram[1, 1]
    p, q = least_squares(aa, ab, bb, gram[0, 2], gram[1, 2])
    r, s = least_squares(aa, ab, bb, gram[0, 3], gram[1, 3])
    # The eigenvalues of [[p, r], [q, s]].
    middle, determinant = (p + s) / 2, p * s - q * r
    spread = middle * middle - determinant
    largest = abs(middle) + math.sqrt(spread) if spread >= 0 else math.sqrt(determinant)
    return min(largest, 1.0)


def has_ended(
    earlier: float, before: float, now: float, rate: float, allowed: float, left: float
) -> bool:
    r"""Return whether the gains of an objective have ended.

    .. math:: d_t \le \text{allowed}, \qquad \frac{d_t a}{1 - a} \le \text{left},
              \qquad a = \max(d_t / d_{t-1}, \text{rate}^2) .

    The second is what is left to gain if the gains :math:`d_t` go on to shrink by the same factor
    (Aitken); the objective is quadratic in the error, which shrinks by the rate.

    Parameters
    ----------
    earlier, before, now : float
        The last objectives; NaN for those that there are not.
    rate : float
        Estimate of the factor by which a step shrinks the error; 0 if unknown.
    allowed, left : float
        Of infinity, ``left`` lets what is left to gain not count. Below 0, ``allowed`` lets the
        gains never end.
    """
    if allowed < 0.0:
        return False
    gain = now - before
    if abs(gain) <= ROUNDING * abs(now):
        return True
    if not gain <= allowed:
        return False
    if left == math.inf:
        return True
    gain_before = before - earlier
    if math.isnan(gain_before):
        return False
    if gain <= 0.0:
        return True
    a = gain / gain_before if gain_before > 0.0 else 1.0
    a = max(a, rate * rate)
    return a < 1.0 and gain * a / (1.0 - a) <= left
