r"""Gaussians on rows with gaps, from statistics of what is observed.

Of a row let o be the columns observed and u the others, z the row in units of a common reference,
0 where missing, as its squares and products are. With P the precision of :math:`z_o`, 0 in rows and
columns u,

.. math::
    \log p(z_o) = m^\top P z - \tfrac12 z^\top P z - A, \qquad
    A = \tfrac12 \left( m^\top P m - \log |P_{oo}| + d_o \log 2\pi \right)

is linear in the statistics (1, z, zz'), and the expected statistics of completed rows are a linear
image of the sums of those. Let C be the covariance of :math:`z_u` given :math:`z_o`, and

.. math::
    E[(1, z) \mid z_o] = G \, (1, z), \qquad G = \begin{pmatrix}
    1 & 0 & 0 \\ 0 & I & 0 \\ m_u - B m_o & B & 0 \end{pmatrix}:

then, summed over N rows with the same columns,

.. math::
    \sum E\big[(1, z) (1, z)^\top\big] = G \Big( \sum (1, z) (1, z)^\top \Big) G^\top + N C

(Little and Rubin, Statistical Analysis with Missing Data, 2002, section 11.2). P, B and C come all
at once from sweeping the precision of whole rows on the columns u (there, section 7.4). For states
so tight that this would lose digits there is `latentem.distributions.gaps`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.gaps import GappedKernel, Patterns, StatisticsOfGaps
from latentem.distributions.kernels import Attached, AttachedLinear, LinearKernel, Stack
from latentem.distributions.records import Record, Statistics
from latentem.distributions.reference import Reference
from latentem.distributions.structure import Structure
from latentem.distributions.whitening import LOG_2PI
from latentem.kernels.expected import (
    Standardised,
    columns_and_products,
    single_factors,
)
from latentem.kernels.gapped import expected_products
from latentem.kernels.sweep import swept

if TYPE_CHECKING:
    from latentem.distributions.gaussian import Gaussian

#: Cells of the matrices that are swept at once, for a number of patterns.
SWEPT_CELLS = 2**17


def _observed_into(z: Array, value: Array, reference: Reference) -> Array:
    """Write z ``(d, rows)`` with 0 where missing; return where that is."""
    reference.standardise_into(z, value)
    missing: Array = np.isnan(z)
    np.copyto(z, 0.0, where=missing)
    return missing


# -- independent columns ---------------------------------------------------------------------------


@attrs.frozen(eq=False)
class GappedColumns(LinearKernel, StatisticsOfGaps):
    r"""A Gaussian with independent columns: those that are missing drop out.

    .. math::
        \log p(z_o \mid k) = \sum_j \left( p_{kj} m_{kj} z_j - \tfrac12 p_{kj} z_j^2
        - A_{kj} o_j \right)

    is linear in the statistics (o, z, z^2), o being 1 where a column is observed and 0 where not.

    Attributes
    ----------
    reference : Reference
    constants : array, (K, d)
        A.
    mean, variance, entropy : array, (K, d)
        The first two in units of the reference, the last that of each column in nats.
    """

    reference: Reference
    constants: Array
    mean: Array
    variance: Array
    entropy: Array

    @classmethod
    def of_linear(
        cls, linear: LinearKernel, reference: Reference, mean: Array, whitening: Array
    ) -> GappedColumns:
        """Return the kernel of a Gaussian about its reference, given that for whole rows."""
        precision = np.square(whitening).sum(axis=-2)
        log_root = np.log(reference.scale) - 0.5 * np.log(precision) + 0.5 * LOG_2PI
        return cls(
            linear.dist,
            linear.eta,
            linear.log_normaliser,
            reference,
            log_root + 0.5 * precision * np.square(mean),
            mean,
            1.0 / precision,
            log_root + 0.5,
        )

    @property
    def residual(self) -> GappedKernel:
        return self.dist.residual_gapped_kernel()  # type: ignore[attr-defined, no-any-return]

    @property
    def n_statistics(self) -> int:
        return int(self.mean.shape[1] + self.eta.shape[1])

    @property
    def coefficients(self) -> Array:
        return np.concatenate([np.zeros((len(self.mean), 1)), -self.constants, self.eta], axis=1)

    def statistics_into(self, out: Array, value: Array) -> None:
        d = value.shape[1]
        self._observed_into(out[: 2 * d], value)
        self._form.moments_into(out[2 * d :], out[d : 2 * d])

    def _observed_into(self, out: Array, value: Array) -> None:
        """Write which entries are observed, and then these."""
        d = value.shape[1]
        np.logical_not(_observed_into(out[d:], value, self.reference), out=out[:d])

    def standardised(self, value: Array) -> Standardised | None:
        if self._form.pairs(value.shape[1]) is None:
            return None
        return self.reference.standardised(value, gapped=True)

    @property
    def pairs(self) -> Array:
        d = self.mean.shape[1]
        columns = self._form.pairs(d)
        if columns is None:
            return single_factors(self.n_statistics)
        return columns_and_products(2 * d, columns + d)

    def factors_into(self, out: Array, value: Array) -> None:
        d = value.shape[1]
        self._observed_into(out[: 2 * d], value)
        if len(out) > 2 * d:  # the moments are no products
            self._form.moments_into(out[2 * d :], out[d : 2 * d])

    @property
    def _form(self) -> Structure:
        return self.dist.form  # type: ignore[attr-defined, no-any-return]

    def record_of(self, weight: Array, total: Array) -> Statistics:
        """Return the record, with the expected statistics of what is missing.

        The base measure takes the entropy of what is missing given the states, so that Q + H is
        the log-likelihood with H the entropy of the latents alone.
        """
        d, form = self.mean.shape[1], self._form
        missing = np.maximum(weight[:, None] - total[:, :d], 0.0)
        first = total[:, d : 2 * d] + missing * self.mean
        squares = missing * (np.square(self.mean) + self.variance)
        moments = total[:, 2 * d :] + form.of_products(squares[..., None] * np.eye(d))
        entropy = float((missing * self.entropy).sum())
        completed = np.concatenate([first, moments], axis=1)
        return Statistics(weight, completed, entropy, self.reference)

    def on(self, value: Array) -> Attached:
        # Rows of nothing but gaps do not count.
        present: Array = np.logical_not(np.isnan(value).all(axis=1))
        return AttachedLinear(self, value, Stack.of((self,), (True,)).on((value,), (present,)))


# -- columns that depend on one another ------------------------------------------------------------


@attrs.frozen(eq=False)
class GappedStatistics(StatisticsOfGaps):
    """A Gaussian on values with gaps, for each pattern of gaps from the statistics of its rows.

    Attributes
    ----------
    linear : LinearKernel
        That of whole rows.
    reference : Reference
    mean : array, (K, d)
    precision : array, (d, d, K)
        Both in units of the reference.
    log_root : array, (K,)
        Half the logarithm of the determinant of the precision.
    """

    linear: LinearKernel
    reference: Reference
    mean: Array
    precision: Array
    log_root: Array

    @classmethod
    def of(
        cls,
        linear: LinearKernel,
        reference: Reference,
        mean: Array,
        whitening: Array,
        log_root: Array,
    ) -> GappedStatistics:
        """Return the kernel of a Gaussian about its reference, given that for whole rows."""
        precision = np.swapaxes(whitening, -1, -2) @ whitening
        return cls(
            linear,
            reference,
            mean,
            np.ascontiguousarray(precision.transpose(1, 2, 0)),
            reference.log_scale - log_root,
        )

    @property
    def dist(self) -> Gaussian:
        """The distribution."""
        return self.linear.dist  # type: ignore[return-value]

    @property
    def residual(self) -> GappedKernel:
        return self.dist.residual_gapped_kernel()

    @property
    def way(self) -> str:
        return "matrix product of what is observed for each pattern of gaps"

    @property
    def n_columns(self) -> int:
        return 1 + self.linear.n_statistics

    @property
    def is_at_once(self) -> bool:
        return True

    def on(self, value: Array) -> Attached:
        return AttachedGappedStatistics(self, value, Patterns.of(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        return self.linear.expected_log_prob(record)


@attrs.frozen(eq=False, slots=False)
class Completion:
    """Marginals of some patterns, and what is missing given what is not; P patterns, K states.

    Attributes
    ----------
    kernel : GappedStatistics
    observed : array, (P, d)
        The columns that each pattern has.
    matrix : array, (P, K, d, d)
        The precision, swept on the others.
    log_det : array, (P, K)
        The logarithm of the determinant of the precision's block in the others.
    """

    kernel: GappedStatistics
    observed: Array
    matrix: Array
    log_det: Array

    @classmethod
    def of(cls, kernel: GappedStatistics, observed: Array) -> Completion:
        """Sweep for each pattern."""
        return cls(kernel, observed, *swept(kernel.precision, ~observed))

    @cached_property
    def coefficients(self) -> Array:
        """Those of the statistics in log p, ``(P, K, 1 + p)``; 0 for those of what is missing."""
        kernel, observed, d = self.kernel, self.observed, self.observed.shape[1]
        own = np.where(self._rows & self._columns, self.matrix, 0.0)  # P
        linear = (own @ kernel.mean[..., None])[..., 0]
        units = observed @ (np.log(kernel.reference.scale) + 0.5 * LOG_2PI)
        square = np.einsum("pki,ki->pk", linear, kernel.mean)
        coefficients = np.empty((*self.log_det.shape, kernel.n_columns))
        coefficients[..., 0] = kernel.log_root - 0.5 * (self.log_det + square) - units[:, None]
        coefficients[..., 1 : 1 + d] = linear
        coefficients[..., 1 + d :] = kernel.dist.form.coefficients(own)
        return coefficients

    @cached_property
    def image(self) -> Array:
        """What completes (1, z), G, ``(P, K, 1 + d, 1 + d)``."""
        mean, d = self.kernel.mean, self.observed.shape[1]
        own = np.where(self._columns, np.where(self._rows, np.eye(d), -self.matrix), 0.0)
        image = np.zeros((*self.log_det.shape, 1 + d, 1 + d))
        image[..., 0, 0] = 1.0
        image[..., 1:, 1:] = own
        image[..., 1:, 0] = mean - (own @ mean[..., None])[..., 0]
        return image

    @cached_property
    def spread(self) -> Array:
        """The covariance of what is missing, C, ``(P, K, d, d)``; 0 elsewhere."""
        return np.where(self._rows | self._columns, 0.0, -self.matrix)

    @cached_property
    def entropy(self) -> Array:
        """The entropy of what is missing, ``(P, K)``, in nats."""
        units = ~self.observed @ (np.log(self.kernel.reference.scale) + 0.5 * (1.0 + LOG_2PI))
        entropy: Array = units[:, None] - 0.5 * self.log_det
        return entropy

    def completed(self, sums: Array) -> tuple[Array, float]:
        """Return sums of completed (1, z) (1, z)', ``(K, 1 + d, 1 + d)``, and of the entropy.

        Given the sums of the statistics ``(P, K, 1 + p)``; rows without any value do not count.
        """
        d = self.observed.shape[1]
        known = np.count_nonzero(self.observed, axis=1) > 0
        sums = np.where(known[:, None, None], sums, 0.0)
        count = sums[..., 0]
        whole = np.empty((*count.shape, 1 + d, 1 + d))
        whole[..., 0, 0] = count
        whole[..., 0, 1:] = whole[..., 1:, 0] = sums[..., 1 : 1 + d]
        whole[..., 1:, 1:] = self.kernel.dist.form.covariance(sums[..., 1 + d :], np.zeros(d))
        products = (self.image @ whole @ np.swapaxes(self.image, -1, -2)).sum(axis=0)
        products[:, 1:, 1:] += np.einsum("pk,pkij->kij", count, self.spread)
        return products, float((count * self.entropy).sum())

    @property
    def _rows(self) -> Array:
        return self.observed[:, None, :, None]

    @property
    def _columns(self) -> Array:
        return self.observed[:, None, None, :]


@attrs.frozen(eq=False, slots=False)
class AttachedGappedStatistics(Attached):
    """A Gaussian on a block of values with gaps, the rows with the same gaps together."""

    kernel: GappedStatistics
    value: Array  # (rows, d)
    patterns: Patterns

    @cached_property
    def _matrix(self) -> Array:
        """The statistics, ``(1 + p, rows)``."""
        kernel, d = self.kernel, self.value.shape[1]
        value = self.value if self.patterns.in_order else self.value[self.patterns.order]
        matrix = np.empty((kernel.n_columns, len(value)))
        matrix[0] = 1.0
        z = matrix[1 : 1 + d]
        _observed_into(z, value, kernel.reference)
        kernel.dist.form.moments_into(matrix[1 + d :], z)
        return matrix

    def _chunks(self) -> Iterator[tuple[slice, Completion]]:
        """Yield patterns, a few at a time, with what is to be known of them."""
        n, size = len(self.patterns.observed), max(1, SWEPT_CELLS // self.kernel.precision.size)
        if n <= size:
            yield slice(0, n), self._completion
            return
        for start in range(0, n, size):
            few = slice(start, min(start + size, n))
            yield few, Completion.of(self.kernel, self.patterns.observed[few])

    @cached_property
    def _completion(self) -> Completion:
        """For all patterns, where they are few: what the E-step needs serves its record too."""
        return Completion.of(self.kernel, self.patterns.observed)

    def _rows(self, few: slice) -> Iterator[slice]:
        start = self.patterns.start[few.start : few.stop + 1].tolist()
        return (slice(a, b) for a, b in itertools.pairwise(start))

    def log_density(self) -> Array:
        matrix = self._matrix
        log_density = np.empty((len(self.kernel.mean), len(self.value)))
        for few, completion in self._chunks():
            for rows, own in zip(self._rows(few), completion.coefficients, strict=True):
                np.matmul(own, matrix[:, rows], out=log_density[:, rows])
        if self.patterns.in_order:
            return log_density
        given = np.empty_like(log_density)
        given[:, self.patterns.order] = log_density
        return given

    def record(self, weights: Array) -> Statistics:
        """Return the expected statistics, completed; rows without any value do not count.

        The base measure takes the entropy of what is missing given the states, so that Q + H is
        the log-likelihood with H the entropy of the latents alone.
        """
        matrix, k = self._matrix, len(weights)
        if not self.patterns.in_order:
            weights = weights[:, self.patterns.order]
        completed = []
        for few, completion in self._chunks():
            sums = np.empty((len(completion.observed), k, len(matrix)))
            for rows, own in zip(self._rows(few), sums, strict=True):
                np.matmul(weights[:, rows], matrix[:, rows].T, out=own)
            completed.append(completion.completed(sums))
        return self._record(completed)

    def _record(self, parts: list[tuple[Array, float]]) -> Statistics:
        products = functools.reduce(np.add, (part for part, _ in parts))
        moments = self.kernel.dist.form.of_products(products[:, 1:, 1:])
        total = np.concatenate([products[:, 0, 1:], moments], axis=1)
        entropy = math.fsum(entropy for _, entropy in parts)
        return Statistics(products[:, 0, 0], total, entropy, self.kernel.reference)

    def at_once(
        self, log_prior: Array, weights: Array | None
    ) -> tuple[Record, Array, Array] | None:
        kernel, patterns = self.kernel, self.patterns
        rows = kernel.reference.standardised(self.value)
        if rows is None or not patterns.in_order:
            return None
        products, counts, entropy, evidence = expected_products(
            kernel.log_root + log_prior[:, 0],
            kernel.mean,
            kernel.precision,
            np.log(kernel.reference.scale) + 0.5 * LOG_2PI,
            patterns.observed,
            patterns.start,
            rows,
            weights,
            compiled=True,
        )
        return self._record([(products, entropy)]), counts, evidence
