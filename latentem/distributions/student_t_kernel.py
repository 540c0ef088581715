r"""Student's t on blocks of rows, some of which may have gaps.

Of a row let o be the d_o columns observed, and e their whitened residual
(see `latentem.distributions.gaps`). With :math:`a = \nu / 2` and :math:`\delta = |e|^2`,

.. math::
    \log p(x_o) = \log \Gamma(A) - \log \Gamma(a) - \tfrac12 d_o \log(2 \pi a)
    - \tfrac12 \log|\Sigma_{oo}| - A \log(1 + \delta / 2a), \qquad A = a + d_o / 2

is the integral over u of a Gaussian with covariance :math:`\Sigma / u`, u being Gamma(a, a). Given
the row, in any unit :math:`\alpha` of u,

.. math::
    u \mid x_o \sim \alpha \operatorname{Gamma}(A, \; a + \delta / 2)

and given u too the missing columns are Gaussian, with the conditional mean of a Gaussian and
:math:`\alpha / u` times its conditional covariance (Liu and Rubin, ML estimation of the t
distribution using EM and its extensions, ECM and ECME, Statistica Sinica 5, 1995).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.gaps import AttachedGaps, GappedKernel, Patterns
from latentem.distributions.kernels import expected_under
from latentem.distributions.records import Statistics
from latentem.distributions.special import excess, log_minus_digamma, stirling
from latentem.distributions.student_t_df import LikelihoodOfDf
from latentem.distributions.student_t_record import StudentRecord

if TYPE_CHECKING:
    from latentem.distributions.student_t import StudentT


@attrs.frozen(eq=False)
class StudentKernel(GappedKernel):
    """Student's t, with or without gaps in the values.

    Attributes
    ----------
    student : StudentT
    half_df, unit : array, (K,)
        Half the degrees of freedom, and the unit alpha of u.
    """

    student: StudentT
    half_df: Array
    unit: Array

    @property
    def way(self) -> str:
        return "whitened residuals of all states, and the scale expected of each row"

    @property
    def n_columns(self) -> int:
        return 2 * super().n_columns

    def on(self, value: Array) -> AttachedStudent:
        # By name: a field declared again comes last.
        return AttachedStudent(kernel=self, value=value, patterns=Patterns.of(value))

    def expected_log_prob(self, record: Statistics | StudentRecord) -> tuple[float, float]:
        if isinstance(record, StudentRecord):
            value, size = record.expected_log_prob(self.student)
        else:
            eta, log_normaliser = self.student.natural_parameters()
            value, size = expected_under(self.student, eta, log_normaliser, record)
        # A whitened residual has an error of eps |W| times the values it is made of.
        reach = self.reference.extent * np.linalg.norm(self.whitening, axis=(-2, -1))
        return value, size + float(record.weight @ reach)


@attrs.frozen(eq=False)
class _Rows:
    """The rows with one pattern of gaps.

    Attributes
    ----------
    rows : array, (rows,)
    residuals : array, (K, d, rows)
        e, with 0 for what is missing.
    half : float
        d_o / 2.
    surplus : array, (K, rows)
        (delta - d_o) / 2A: E[u] is the unit over 1 + this.
    posterior_shape : array, (K,)
        A.
    seen, hidden, constant, entropy : array
        Of the state's `Conditional`.
    """

    rows: Array
    residuals: Array
    half: float
    surplus: Array
    posterior_shape: Array
    seen: Array
    hidden: Array
    constant: Array
    entropy: Array

    def at(self, half_df: Array) -> _Rows:
        """Return the same with other degrees of freedom."""
        shape = half_df + self.half
        surplus = self.surplus * (self.posterior_shape / shape)[:, None]
        return attrs.evolve(self, surplus=surplus, posterior_shape=shape)


@attrs.frozen(eq=False, slots=False)
class AttachedStudent(AttachedGaps):
    """Student's t on a block of values."""

    kernel: StudentKernel

    @cached_property
    def _patterns(self) -> list[_Rows]:
        return list(self._by_pattern())

    def _by_pattern(self) -> Iterator[_Rows]:
        a, patterns = self.kernel.half_df, self.patterns
        for few, c in self._chunks():
            for i, p in enumerate(range(few.start, few.stop)):
                rows = slice(patterns.start[p], patterns.start[p + 1])
                residuals = c.whitening[i] @ self._deviations[:, :, rows]
                half = 0.5 * float(patterns.observed[p].sum())
                shape = a + half
                with np.errstate(over="ignore"):  # a density of 0, of what is that far off
                    square = np.einsum("kdr,kdr->kr", residuals, residuals)
                yield _Rows(
                    patterns.order[rows],
                    residuals,
                    half,
                    (0.5 * square - half) / shape[:, None],
                    shape,
                    c.seen[i],
                    c.hidden[i],
                    c.constant[i],
                    c.entropy[i],
                )

    def log_density(self) -> Array:
        a = self.kernel.half_df
        log_density = np.empty((len(a), len(self.value)))
        for part in self._patterns:
            shape = part.posterior_shape
            constant = part.constant - part.half + stirling(a) - stirling(shape)
            log_density[:, part.rows] = constant[:, None] - shape[:, None] * np.log1p(part.surplus)
        return log_density

    def record(self, weights: Array) -> Any:
        """Return the expected statistics of (u x, u xx', u, u - 1 - log u), x completed.

        The base measure takes the entropy of u and of what is missing; rows without any value do
        not count.
        """
        student, a = self.kernel.student, self.kernel.half_df
        own, base = self._statistics(self._patterns, weights)
        if not student.fit_df:
            return attrs.evolve(own, log_base=float(base.sum()))
        statistics, bases, halves = [own], [base], [a]
        if student.proposal is not None:
            halves.append(0.5 * student.proposal)
            tried = [part.at(halves[1]) for part in self._patterns]
            there, base = self._statistics(tried, weights)
            statistics.append(there)
            bases.append(base)
        likelihood = self.likelihood_of_df(weights)
        values = [(likelihood.value(1 / half), *likelihood.score(1 / half)) for half in halves]
        value, score, slope = (np.stack(each) for each in zip(*values, strict=True))
        df = 2.0 * np.stack(halves)
        return StudentRecord(tuple(statistics), df, np.stack(bases), value, score, slope)

    def _statistics(self, parts: Sequence[_Rows], weights: Array) -> tuple[Statistics, Array]:
        """Return the statistics at some degrees of freedom, and the base measure of each state."""
        k, d = len(weights), self.value.shape[1]
        unit = self.kernel.unit
        count, precision, surplus = np.zeros(k), np.zeros(k), np.zeros(k)
        first, second, base = np.zeros((k, d)), np.zeros((k, d, d)), np.zeros(k)
        for part in parts:
            if not part.half:
                continue
            r = weights[:, part.rows]
            own = r.sum(axis=1)
            u, surplus_of_u, base_of_u = self._of_u(part)
            weighted = (r * u)[:, None, :] * part.residuals
            seen, hidden = part.seen, np.sqrt(own * unit)[:, None, None] * part.hidden
            first += (seen @ weighted.sum(axis=-1)[..., None])[..., 0]
            products = weighted @ np.swapaxes(part.residuals, -1, -2)
            second += seen @ products @ np.swapaxes(seen, -1, -2)
            second += hidden @ np.swapaxes(hidden, -1, -2)
            count += own
            precision += np.einsum("kr,kr->k", r, u)
            counted = r > 0  # a density of 0 has an infinite surplus
            surplus += np.einsum("kr,kr->k", r, np.where(counted, surplus_of_u, 0.0))
            base += np.einsum("kr,kr->k", r, np.where(counted, base_of_u, 0.0))
        moments = self.kernel.dist.form.of_products(second)
        total = np.concatenate([first, moments, precision[:, None], surplus[:, None]], axis=1)
        return Statistics(count, total, 0.0, self.kernel.reference), base

    def _of_u(self, part: _Rows) -> tuple[Array, Array, Array]:
        """Return E[u], E[u - 1 - log u], and entropies with the base measure, ``(K, rows)`` each.

        The entropy is that of u, and of what is missing given u; log h is (d / 2 - 1) log u.
        """
        unit, shape, d = self.kernel.unit[:, None], part.posterior_shape[:, None], self._d
        u = unit / (1.0 + part.surplus)
        gap = log_minus_digamma(shape)  # of log E[u] over E[log u]
        log_u = np.log(unit) - np.log1p(part.surplus) - gap
        base = shape * gap - stirling(shape) + 0.5 * d * log_u
        n_hidden = d - 2 * part.half
        if n_hidden:
            base += part.entropy[:, None] - 0.5 * n_hidden * (log_u - np.log(unit))
        return u, excess(u, 1.0) + gap, base

    @property
    def _d(self) -> int:
        return int(self.value.shape[1])

    def expected(self) -> tuple[Array, Array]:
        """Return what `record` adds up, ``(n, K, p)`` and ``(n, K)``, of rows without gaps."""
        form = self.kernel.dist.form
        expected, bases = [], []
        for part in self._patterns:
            u, surplus, base = self._of_u(part)
            y = np.einsum("kij,kjr->rki", part.seen, part.residuals)
            moments = form.of_products(y[..., :, None] * y[..., None, :])
            ones = np.ones_like(u.T[..., None])
            statistics = np.concatenate([y, moments, ones], axis=-1) * u.T[..., None]
            expected.append(np.concatenate([statistics, surplus.T[..., None]], axis=-1))
            bases.append(base.T)
        order = np.argsort(self.patterns.order)
        return np.concatenate(expected)[order], np.concatenate(bases)[order]

    def drawn(self, state: Array, rng: np.random.Generator) -> Array:
        """Return the values with draws where missing, each row in its state ``(rows,)``."""
        reference = self.kernel.reference
        assert reference.centres is not None
        assert reference.root is not None
        draws = np.empty(self.value.shape)
        for part in self._patterns:
            own, each = state[part.rows], np.arange(len(part.rows))
            rate = part.posterior_shape[own] * (1.0 + part.surplus[own, each])
            u = rng.gamma(part.posterior_shape[own]) / rate
            noise = rng.standard_normal((len(own), self.value.shape[1])) / np.sqrt(u)[:, None]
            whole = part.seen[own] @ part.residuals[own, :, each][..., None]
            whole += part.hidden[own] @ noise[..., None]
            drawn = (reference.root[own] @ whole)[..., 0]
            draws[part.rows] = reference.centres[own] + reference.scale * drawn
        return self._filled(draws)

    def likelihood_of_df(self, weights: Array) -> LikelihoodOfDf:
        """Return the likelihood as a function of df, at fixed mean and scale."""
        half, excesses, r = [], [], []
        for part in self._patterns:
            half.append(np.full(len(part.rows), part.half))
            excesses.append(part.surplus * part.posterior_shape[:, None])  # (delta - d_o) / 2
            r.append(weights[:, part.rows])
        return LikelihoodOfDf(np.concatenate(half), np.hstack(excesses), np.hstack(r))
