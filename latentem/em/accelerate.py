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
import math

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.records import Record, cut_vector, joined_vector

#: Plain steps before the next leap: at first, and at most after many refusals in a row.
SHORTEST_WAIT, LONGEST_WAIT = 2, 32
#: How the longest leap grows when it was good, and shrinks when it was refused.
GROWTH = 4.0
#: Leaps of which the slowest error tells how far there is to go.
REMEMBERED = 5
#: Changes this much smaller than the largest are taken for multiples of others.
INDEPENDENT = 1e-6

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
        self._forget()
        self._wait = SHORTEST_WAIT
        self._longest = GROWTH
        self._rates: list[float] = []

    def _forget(self) -> None:
        self._path: list[Array] = []
        self._before: tuple[Array, Array] | None = None  # u and w of the last cycle
        self._squared: Array | None = None  # to propose next
        self._is_squared = False

    def ahead(self, vector: Array, units: tuple[object, ...]) -> Array | None:
        if not same_units(units, self._units):  # sums about another point do not compare
            self._forget()
            self._units = units
        if self._squared is not None:
            proposal, self._squared, self._is_squared = self._squared, None, True
            return proposal
        self._path.append(vector)
        if len(self._path) <= self._wait:
            return None
        s0, s1, s2 = self._path[-3:]
        self._path = []
        u, w = s1 - s0, s2 - s1
        before, self._before = self._before, (u, w)
        none = np.zeros_like(u)
        u_before, w_before = (none, none) if before is None else before
        # Columns 0 and 1 of U, of W and of U - W; all that follows are their inner products.
        changes = np.array([u_before, u, w_before, w, u_before - w_before, u - w])
        largest = float(np.abs(changes).max())
        if not largest < np.inf:
            return None
        changes /= largest or 1.0
        gram = (changes @ changes.T).tolist()
        length = math.sqrt(_ratio(gram[1][1], gram[5][5]))
        self._note_rate(_slowest_of_two(gram), 1.0 - 1.0 / max(length, 1.0))
        self._length = min(length, self._longest)
        squared = s0 + 2 * self._length * u + self._length**2 * (w - u)
        self._is_squared = before is None
        if self._is_squared:
            return squared if self._length > 1.0 else None
        self._squared = squared
        first, second = _least_squares(gram[4][4], gram[4][5], gram[5][5], gram[4][3], gram[5][3])
        ahead: Array = s2 + first * w_before + second * w
        return ahead

    def _note_rate(self, *rates: float) -> None:
        # A leap stirs up errors that EM is fast to correct, and for a while shows only these.
        self._rates = [*self._rates[1 - REMEMBERED :], min(max(rates), 1.0)]
        self.rate = max(self._rates)

    def judge(self, accepted: bool) -> None:
        if accepted:
            self._squared, self._wait = None, SHORTEST_WAIT
            if self._is_squared and self._length == self._longest:
                self._longest *= GROWTH
        elif self._is_squared:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            self._longest = max(self._longest / GROWTH, GROWTH)


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


def _ratio(a: float, b: float) -> float:
    """Return a / b, 1 if both are 0."""
    return a / b if b > 0 else np.inf if a > 0 else 1.0


def _least_squares(aa: float, ab: float, bb: float, ac: float, bc: float) -> tuple[float, float]:
    """Return the multiples of vectors a and b that come nearest to c, given inner products.

    Of vectors that are nearly multiples of each other the shortest multiples.
    """
    trace, determinant = aa + bb, aa * bb - ab * ab
    if determinant > (INDEPENDENT * trace) ** 2:
        return (bb * ac - ab * bc) / determinant, (aa * bc - ab * ac) / determinant
    square = trace * trace or 1.0
    return (aa * ac + ab * bc) / square, (ab * ac + bb * bc) / square


def _slowest_of_two(gram: list[list[float]]) -> float:
    """Return `slowest` of two columns each, given a table of the inner products of all four."""
    (aa, ab, ac, ad), (_, bb, bc, bd) = gram[0][:4], gram[1][:4]
    p, q = _least_squares(aa, ab, bb, ac, bc)
    r, s = _least_squares(aa, ab, bb, ad, bd)
    # The eigenvalues of [[p, r], [q, s]].
    middle, determinant = (p + s) / 2, p * s - q * r
    spread = middle * middle - determinant
    largest = abs(middle) + math.sqrt(spread) if spread >= 0 else math.sqrt(determinant)
    return min(largest, 1.0)


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
