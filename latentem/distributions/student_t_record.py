"""The record of Student's t: expected statistics at the degrees of freedom, and at others to try.

EM moves large degrees of freedom very slowly: of an error in them, the share that a step leaves is
1 minus about the square of their inverse. The likelihood as a function of them is a sum over rows
at each, though, and so are its derivatives. So a step of Newton's method proposes degrees of
freedom, the next E-step takes the statistics there too, and the M-step starts from those that are
more likely (a conditional maximisation of the likelihood itself, as ECME's: Liu and Rubin, The ECME
algorithm, Biometrika 81, 1994). Statistics of both bound the likelihood from below; Q of what the
M-step makes of them is the larger bound, and Q elsewhere that of the parameters' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.records import D, Record, Statistics

if TYPE_CHECKING:
    from latentem.distributions.student_t import StudentT

#: How many times larger or smaller than the last a proposal is at most.
LONGEST = 10.0


@attrs.frozen(eq=False)
class StudentRecord(Record):
    """Expected statistics at C candidates of df, the first those of the parameters.

    Attributes
    ----------
    statistics : tuple of Statistics
        At each candidate.
    df : array, (C, K)
    base : array, (C, K)
        Expected log base measure, entropies included.
    log_likelihood, score, slope : array, (C, K)
        As a function of 2 / df: up to a constant, minus its derivative, and the derivative of that.
    """

    statistics: tuple[Statistics, ...]
    df: Array
    base: Array
    log_likelihood: Array
    score: Array
    slope: Array

    @property
    def weight(self) -> Array:
        """Expected number of rows in each state, ``(K,)``."""
        return self.statistics[0].weight

    @property
    def reference(self) -> Any:
        """The point and scale about which the statistics were taken."""
        return self.statistics[0].reference

    def __add__(self, other: StudentRecord) -> StudentRecord:
        pairs = zip(self.statistics, other.statistics, strict=True)
        return StudentRecord(
            tuple(a + b for a, b in pairs),
            self.df,
            self.base + other.base,
            self.log_likelihood + other.log_likelihood,
            self.score + other.score,
            self.slope + other.slope,
        )

    def maximise(self, dist: D) -> D:
        student: Any = dist  # only that family makes this record
        if not self.weight.any():
            return dist.keep(dist, np.ones(len(self.weight), dtype=bool))
        likelihood, score, slope = self.log_likelihood, self.score, self.slope
        if student.shared_df:
            sums = (a.sum(axis=1, keepdims=True) for a in (likelihood, score, slope))
            likelihood, score, slope = (np.broadcast_to(a, self.df.shape) for a in sums)
        best = (likelihood.argmax(axis=0), np.arange(len(self.weight)))
        total = np.stack([s.total for s in self.statistics])[best]
        new = student.from_statistics(Statistics(self.weight, total, 0.0, self.reference))
        df, score, slope = self.df[best], score[best], slope[best]
        low, high = student.smallest_df, student.largest_df
        # What rises towards the end that it is at stays there, and EM would but for rounding.
        end = (df == high) & (score >= 0) | (df == low) & (score <= 0)
        if student.shared_df:
            end = np.broadcast_to(end.all(), end.shape)
        t = 2.0 / df
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = t - score / slope
        newton = np.where(slope > 0, newton, np.where(score < 0, np.inf, 0.0))
        proposal = np.clip(2.0 / np.clip(newton, t / LONGEST, t * LONGEST), low, high)
        proposal = np.where(self.weight > 0, proposal, new.df)
        df = np.where(end & (self.weight > 0), df, new.df)
        evolved: D = attrs.evolve(new, df=df, proposal=proposal, tried=self.df.T)
        return evolved

    def expected_log_prob(self, student: StudentT) -> tuple[float, float]:
        """Return the bound of the likelihood at parameters, and the magnitude of its terms."""
        eta, log_normaliser = student.about(self.reference).natural_parameters()
        made_of_this = student.tried is not None and np.array_equal(student.tried.T, self.df)
        candidates = self.statistics if made_of_this else self.statistics[:1]
        linear = np.stack([eta * s.total for s in candidates])
        normaliser = log_normaliser * self.weight
        values = linear.sum(axis=-1) - normaliser + self.base[: len(candidates)]
        size = np.abs(linear[0]).sum() + np.abs(normaliser).sum() + np.abs(self.base[0]).sum()
        return float(values.max(axis=0).sum()), float(size)
