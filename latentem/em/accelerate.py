r"""Fewer steps: EM's own direction, followed further.

An M-step and an E-step make of the record s of expected statistics another one, G(s), and EM is the
iteration s ← G(s). Near its limit the error shrinks by the same factors every time, close to 1
where much is missing, so that a few records in a row tell where the sequence is going. An
`Accelerator` proposes a record further on; the loop goes there if F is at least as high, and else
takes a plain step. Nothing here knows a family: what is extrapolated are sums over rows, and the
M-step makes parameters of them.
"""

from __future__ import annotations

import abc

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.records import Record, cut_vector, joined_vector
from latentem.kernels.leaps import INDEPENDENT, Leaps

Records = dict[str, Record]


class Accelerator(abc.ABC):
    """A rule that proposes records ahead of EM's."""

    @abc.abstractmethod
    def start(self) -> Extrapolation:
        """Return its memory for one run."""


class Extrapolation(abc.ABC):
    """The memory of an accelerator in one run."""

    #: Estimate of the factor by which an EM step shrinks the error, 0 while unknown.
    rate: float = 0.0

    def propose(self, records: Records) -> Records | None:
        """Return records to go to from those of the state; None if a plain step is due."""
        parts = list(records.values())
        vector = joined_vector(parts)
        if vector is None:
            return None
        ahead = self.ahead(vector, tuple(unit for record in parts for unit in record.units))
        return None if ahead is None else dict(zip(records, cut_vector(parts, ahead), strict=True))

    @abc.abstractmethod
    def ahead(self, vector: Array, units: tuple[object, ...]) -> Array | None:
        """Return the numbers of the records to go to."""

    @abc.abstractmethod
    def judge(self, accepted: bool) -> None:
        """Hear whether F was at least as high at what was proposed."""

    def leaps(self, size: int, units: tuple[object, ...]) -> Leaps | None:
        """Return the memory of a rule that compiled loops know, for numbers of a record."""
        return None


@attrs.frozen
class Squarem(Accelerator):
    r"""Extrapolation of three records in a row: s_0, s_1 = G(s_0), s_2 = G(s_1).

    With :math:`u = s_1 - s_0` and :math:`w = s_2 - s_1` of this and of the cycle before as the
    columns of U and W, the error is taken to be such that EM changes any combination
    :math:`U \gamma` into :math:`W \gamma`. The first proposal is where a step then comes to rest,

    .. math:: s_2 + W \gamma, \qquad \gamma = \arg\min \| w - (U - W) \gamma \|,

    a step of the quasi-Newton method of Zhou, Alexander and Lange. If it is refused, the second is
    the squared step of Varadhan and Roland's scheme S3,

    .. math:: s_0 + 2 \alpha u + \alpha^2 (w - u), \qquad \alpha = \|u\| / \|w - u\|.

    Both are applied to expected statistics here, and in the papers to parameters. When proposals
    are refused again and again they become rarer, so that EM's own steps prevail.

    References
    ----------
    R. Varadhan and C. Roland, "Simple and globally convergent methods for accelerating the
    convergence of any EM algorithm", Scandinavian Journal of Statistics 35 (2008), 335-353.

    H. Zhou, D. Alexander and K. Lange, "A quasi-Newton acceleration for high-dimensional
    optimization algorithms", Statistics and Computing 21 (2011), 261-273.

    Examples
    --------
    >>> import latentem as lem
    >>> notices = lem.datasets.death_notices().table
    >>> z = lem.latent("z", lem.Categorical(2))
    >>> model = lem.Model([z, lem.observed("deaths", lem.Poisson(), given=z)])
    >>> data, options = {"deaths": notices["deaths"]}, {"restarts": 1, "seed": 2}
    >>> plain = lem.fit(model, data, weights=notices["freq"], accelerate=None, **options)
    >>> fast = lem.fit(model, data, weights=notices["freq"], **options)
    >>> fast.iterations < plain.iterations / 10
    True
    """

    def start(self) -> Extrapolation:
        return _SquaredSteps()


class _SquaredSteps(Extrapolation):
    def __init__(self) -> None:
        self._units: tuple[object, ...] = ()
        self._leaps: Leaps | None = None

    def ahead(self, vector: Array, units: tuple[object, ...]) -> Array | None:
        leaps = self.leaps(len(vector), units)
        proposal = leaps.ahead(vector)
        self.rate = leaps.rate
        return proposal

    def judge(self, accepted: bool) -> None:
        if self._leaps is not None:
            self._leaps.judge(accepted)

    def leaps(self, size: int, units: tuple[object, ...]) -> Leaps:
        if self._leaps is None:
            self._leaps, self._units = Leaps(size), units
        elif not same_units(units, self._units):  # sums about another point do not compare
            self._leaps, self._units = self._leaps.elsewhere(size), units
        return self._leaps


@attrs.frozen
class Anderson(Accelerator):
    r"""Anderson's extrapolation of the last few records.

    Of the records x_i and what EM makes of them, G(x_i), with f_i = G(x_i) - x_i, the differences
    of successive ones are the columns of X and F, and the proposal is

    .. math:: G(x) - (X + F) \gamma, \qquad \gamma = \arg\min \|f - F \gamma\|.

    It needs no plain steps in between, and begins anew when its memory is full. Often the faster
    where many errors are slow to shrink; where leaps are refused often, `squarem` is better.

    Attributes
    ----------
    memory : int
        Largest number of columns.

    References
    ----------
    D. G. Anderson, "Iterative procedures for nonlinear integral equations", Journal of the ACM 12
    (1965), 547-560.

    N. C. Henderson and R. Varadhan, "Damped Anderson acceleration with restarts and monotonicity
    control for accelerating EM and EM-like algorithms", Journal of Computational and Graphical
    Statistics 28 (2019), 834-846.
    """

    memory: int = 10

    def start(self) -> Extrapolation:
        return _AndersonSteps(self.memory)


class _AndersonSteps(Extrapolation):
    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._units: tuple[object, ...] = ()
        self._forget()

    def _forget(self) -> None:
        self._x: Array | None = None  # what the last M-step was made of
        self._proposal: Array | None = None
        self._last: tuple[Array, Array] | None = None
        self._changes: list[tuple[Array, Array]] = []  # the columns of X and F
        self._refused = False

    def ahead(self, vector: Array, units: tuple[object, ...]) -> Array | None:
        if not same_units(units, self._units):
            self._forget()
            self._units = units
        x, self._x = self._x, vector
        if x is None or self._refused:
            self._refused = False
            return None
        f = vector - x
        if self._last is not None:
            if len(self._changes) >= self._memory:
                self._changes = []
            self._changes.append((x - self._last[0], f - self._last[1]))
        self._last = (x, f)
        if not self._changes:
            return None
        X, F = (np.stack(columns, axis=1) for columns in zip(*self._changes, strict=True))
        self.rate = max(slowest(X, X + F), 0.9 * self.rate)
        self._proposal = vector - (X + F) @ np.linalg.lstsq(F, f, rcond=INDEPENDENT)[0]
        return self._proposal

    def judge(self, accepted: bool) -> None:
        if accepted:
            self._x = self._proposal
        self._refused = not accepted


def slowest(before: Array, after: Array) -> float:
    """Return the largest factor by which EM shrinks what spans the columns, of those seen so far.

    The eigenvalues of the matrix A with before A = after, in the sense of least squares.
    """
    if not (before.any() and np.isfinite(before).all() and np.isfinite(after).all()):
        return 0.0
    factors = np.linalg.eigvals(np.linalg.lstsq(before, after, rcond=INDEPENDENT)[0])
    return min(float(np.abs(factors).max()), 1.0)


def same_units(a: tuple[object, ...], b: tuple[object, ...]) -> bool:
    """Return whether two records are about the same points, in the same units."""
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


squarem = Squarem()
anderson = Anderson()
