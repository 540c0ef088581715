r"""Steps of EM of a mixture on few rows, one after another without coming back in between.

With the sums S of `latentem.kernels.expected`, their first column :math:`N_k` and N their total,

.. math:: C_k = (\log (N_k / N) - A_k, \; \eta_k), \qquad
          S^{new} = R \, T^\top, \quad R = \operatorname{softmax}(C \, T),

where a family's share of :math:`\eta_k` and :math:`A_k` follows from its mean statistics
:math:`m = S_k / N_k` by one of the closed forms

.. math::
    \text{moments, the upper triangle of the second:} \quad & P = (E[zz^\top] - E[z]E[z]^\top)^{-1}
        \text{ as in } \texttt{latentem.kernels.moments} \\
    \text{moments, the diagonal of the second:} \quad & p_j = 1 / (E[z_j^2] - E[z_j]^2), \;
        \eta = (p_j E[z_j], -p_j / 2), \;
        A = \tfrac12 \textstyle\sum_j (p_j E[z_j]^2 - \log p_j + \log 2 \pi) \\
    \text{indicators of levels:} \quad & \eta = \log (m / \textstyle\sum_l m_l), \; A = 0 \\
    \text{counts:} \quad & \eta = \log m, \; A = m .
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import steps_loops
from latentem.kernels.leaps import Leaps

Array = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]

#: The closed forms, in the order of the formulas above.
FULL, DIAGONAL, LEVELS, COUNTS = range(4)


@attrs.frozen
class ClosedForm:
    """How the maximum of a family follows from its mean statistics.

    Attributes
    ----------
    kind : int
        `FULL`, `DIAGONAL`, `LEVELS` or `COUNTS`.
    constant : float
        To be added to A.
    largest : float
        Where some precision P_jj is above it, there is more to the maximum.
    """

    kind: int
    constant: float = 0.0
    largest: float = np.inf


#: Where a run of steps stands: Q and the objective, and the two objectives before; the constant of
#: them all; how much a step may gain, and what be left to gain, where it has ended, of which the
#: first is -1 if it is to go on; and the factor by which a step shrinks the error. See
#: `latentem.kernels.leaps.has_ended`.
Q, OBJECTIVE, BEFORE, EARLIER, CONSTANT, ALLOWED, LEFT, RATE = range(8)
#: Rows of what is written of each step.
Q_BEFORE, Q_AFTER, LIKELIHOOD = range(3)
#: Relative to the largest, means of statistics that differ by more do so by more than rounding.
DIFFERENT = 1e-9
#: A fall of the objective below this many times the rounding error of its terms is not a fall.
ROUNDING = 64 * float(np.finfo(float).eps)


@attrs.frozen(eq=False)
class Steps:
    """Some steps in a row.

    Attributes
    ----------
    before, sums : array, (K, p)
        The S of which the last C is the maximum, and those that it leads to.
    values : array, (3, steps)
        Of each step: C . S with the S before it, NaN for a leap, and with those that it leads to;
        and the sum of w log p(x).
    run : array, (8,)
        Where the run stands after them: Q, the objective and so on.
    """

    before: Array
    sums: Array
    values: Array
    run: Array

    def __len__(self) -> int:
        return len(self.values[0])


@functools.lru_cache
def _kinds_and_ends(kinds: tuple[tuple[int, int], ...]) -> tuple[Array, Array]:
    """Return the kinds of forms as an array, and where the statistics of each begin and end."""
    ends = itertools.accumulate((width for _, width in kinds), initial=1)
    return np.array([kind for kind, _ in kinds]), np.array(list(ends))


class EMSteps:
    """The steps of a mixture on some rows, by the compiled kernel.

    Parameters
    ----------
    forms : sequence of (ClosedForm, int)
        Those of the families, with the number of their statistics; there are p - 1 in all.
    factors : array, (m, rows)
    pairs : array of int, (p, 2)
        As in `latentem.kernels.expected`.
    weights : array, (rows,), optional
    root : float
        How much the numbers of rows count in the length of a vector of sums.

    Examples
    --------
    >>> import numpy as np
    >>> factors, pairs = np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([[0, 0], [1, 0]])
    >>> em = EMSteps([(ClosedForm(COUNTS), 1)], factors, pairs)
    >>> steps = em.take(np.array([[0.6, 0.2], [1.4, 1.8]]), 2)
    >>> len(steps), steps.sums.sum(axis=0)
    (2, array([2., 2.]))
    """

    def __init__(
        self,
        forms: Sequence[tuple[ClosedForm, int]],
        factors: Array,
        pairs: Pairs,
        weights: Array | None = None,
        root: float = 1.0,
    ) -> None:
        kinds, ends = _kinds_and_ends(tuple((form.kind, width) for form, width in forms))
        numbers = np.array([(form.constant, form.largest) for form, _ in forms])
        weights = np.empty(0) if weights is None else weights
        self._given = kinds, numbers, ends, np.ascontiguousarray(factors), pairs, weights, root
        self._loop = steps_loops().em_steps

    def take(
        self,
        sums: Array,
        count: int,
        run: Sequence[float] = (0.0, -np.inf, np.nan, np.nan, 0.0, -1.0, np.inf, 0.0),
        leaps: Leaps | None = None,
    ) -> Steps:
        """Return the next steps from S ``(K, p)``, at most so many.

        Fewer, or none, if the objective has ended to gain, or where there is more to the next one
        than these formulas.

        Parameters
        ----------
        run : sequence of float
            Q, the objective and so on; by default any are allowed, and none is the last.
        leaps : Leaps, optional
            The extrapolation of the sums, to be used.
        """
        return self._take(sums, False, count, run, leaps)

    def begin(
        self, coefficients: Array, count: int, run: Sequence[float], leaps: Leaps | None = None
    ) -> Steps:
        """Do so from C ``(K, p)``, the E-step at which is the first step.

        No steps at all, if states have the same means of the statistics after it, or some row is
        impossible.
        """
        return self._take(coefficients, True, count, run, leaps)

    def _take(
        self, table: Array, is_first: bool, count: int, run: Sequence[float], leaps: Leaps | None
    ) -> Steps:
        k, p = table.shape
        # Filled up to multiples of four, which the pass takes together.
        tables = np.zeros((2, -(-k // 4) * 4, -(-p // 4) * 4))
        tables[0 if is_first else 1, :k, :p] = table
        values, where = np.empty((3, count)), np.array(run)
        leaping, leaps = leaps is not None, leaps or NO_LEAPS
        given = *self._given, leaping, leaps.memory, leaps.path
        made = self._loop(tables, is_first, k, p, *given, where, values)
        before, after = tables[:, :k, :p]
        # A copy, for a trace keeps it, and it may be a small part.
        return Steps(before, after, values[:, :made].copy(), where)


NO_LEAPS = Leaps(0)
