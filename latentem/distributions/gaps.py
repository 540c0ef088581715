r"""Gaussians on rows with gaps: marginal densities, and conditional moments of what is missing.

Of a row x let o be the columns observed and u the others. Then :math:`x_o` is Gaussian with the
rows and columns o of mean and covariance, and given it

.. math::
    x_u \mid x_o, k \sim N(\mu_u + B (x_o - \mu_o), \; C), \qquad
    B = \Sigma_{uo} \Sigma_{oo}^{-1}, \quad C = \Sigma_{uu} - B \Sigma_{ou}

(Anderson, An Introduction to Multivariate Statistical Analysis, 2003, theorem 2.5.1). Computed so,
a covariance that is nearly singular would lose its digits. With W'W its inverse, all of it follows
from one orthogonal factorisation of W, the missing columns first:

.. math::
    (W_u, W_o) = (Q_u, Q_o) \begin{pmatrix} R_{uu} & R_{uo} \\ 0 & R_{oo} \end{pmatrix}:
    \qquad \Sigma_{oo}^{-1} = R_{oo}^\top R_{oo}, \quad e = R_{oo} (x_o - \mu_o), \quad
    W (x - \mu) \mid x_o \sim N(Q_o e, \; Q_u Q_u^\top)

so that the expected moments of the whitened row y = W (x - mu) are sums over patterns of gaps,

.. math::
    E[y] = Q_o s_1, \qquad E[y y^\top] = Q_o S_2 Q_o^\top + N Q_u Q_u^\top,

of the moments :math:`N, s_1, S_2` of e alone (Little and Rubin, Statistical Analysis with Missing
Data, 2002, section 11.2, in whitened form).
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.kernels import (
    Attached,
    Kernel,
    LinearKernel,
    RecordingKernel,
    expected_under,
)
from latentem.distributions.records import Statistics
from latentem.distributions.reference import Reference
from latentem.distributions.whitening import LOG_2PI
from latentem.kernels.columns import packed

if TYPE_CHECKING:
    from latentem.distributions.gaussian import Gaussian

#: Cells of the matrices that are made at once, for a number of patterns.
PATTERN_CELLS = 400_000


@attrs.frozen(eq=False)
class Patterns:
    """The rows of a block in the order of their patterns of gaps.

    Attributes
    ----------
    order : array, (rows,)
        Rows with the same pattern stand together.
    in_order : bool
        Whether they do so already, and order leaves them as they are.
    start : array, (P + 1,)
        Where each pattern starts in that order, and the end.
    observed : array, (P, d)
        The columns that each pattern has.
    """

    order: Array
    in_order: bool
    start: Array
    observed: Array

    @classmethod
    def of(cls, value: Array) -> Patterns:
        """Find the patterns of values ``(rows, d)``, NaN where missing."""
        gaps = np.isnan(value)
        keys = packed(gaps)
        order, first = np.arange(len(value)), _starts(keys)
        in_order = len({key.tobytes() for key in keys[first]}) == len(first)
        if not in_order:
            order = np.lexsort(keys.T[::-1])
            first = _starts(keys[order])
        return cls(order, in_order, np.append(first, len(value)), ~gaps[order[first]])


def _starts(keys: Array) -> Array:
    """Return where runs of equal rows start."""
    changes = functools.reduce(np.logical_or, (key[1:] != key[:-1] for key in keys.T))
    return np.concatenate([[0], np.flatnonzero(changes) + 1])


@attrs.frozen(eq=False)
class Conditional:
    """Marginals of some patterns, and what is missing given what is not; P patterns, K states.

    Attributes
    ----------
    whitening : array, (P, K, d, d)
        R_oo, with its columns in the order of the data and 0 elsewhere.
    constant : array, (P, K)
        Minus the log-normaliser of the density of what is observed.
    seen, hidden : array, (P, K, d, d)
        Q_o and Q_u, with 0 in the columns of the other.
    entropy : array, (P, K)
        Of what is missing, in nats.
    """

    whitening: Array
    constant: Array
    seen: Array
    hidden: Array
    entropy: Array

    @classmethod
    def of(cls, whitening: Array, scale: Array, observed: Array) -> Conditional:
        """Condition Gaussians with W ``(K, d, d)`` in units of ``scale`` on columns ``(P, d)``."""
        n_patterns, d = observed.shape
        missing_first = np.argsort(observed, axis=1, kind="stable")
        columns = np.broadcast_to(whitening, (n_patterns, *whitening.shape))
        columns = np.take_along_axis(columns, missing_first[:, None, None, :], axis=-1)
        orthogonal, triangular = np.linalg.qr(columns)
        n_hidden = (~observed).sum(axis=1)
        is_hidden = (np.arange(d) < n_hidden[:, None])[:, None, :]  # (P, 1, d), in that order
        of_seen = np.where(is_hidden[..., :, None], 0.0, triangular)  # 0 below the diagonal too
        back = np.argsort(missing_first, axis=1)
        log_diagonal = np.log(np.abs(np.diagonal(triangular, axis1=-2, axis2=-1)))
        log_hidden = np.where(is_hidden, log_diagonal, 0.0).sum(axis=-1)
        log_seen = log_diagonal.sum(axis=-1) - log_hidden
        log_scale = np.log(scale)
        return cls(
            np.take_along_axis(of_seen, back[:, None, None, :], axis=-1),
            log_seen - (observed @ log_scale + 0.5 * (d - n_hidden) * LOG_2PI)[:, None],
            np.where(is_hidden[..., None, :], 0.0, orthogonal),
            np.where(is_hidden[..., None, :], orthogonal, 0.0),
            (~observed @ log_scale + 0.5 * n_hidden * (1.0 + LOG_2PI))[:, None] - log_hidden,
        )


class StatisticsOfGaps(Kernel):
    """A Gaussian on values with gaps that takes statistics, which of tight states lose digits."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def residual(self) -> GappedKernel:
        """The kernel of the same Gaussian that loses none."""


@attrs.frozen(eq=False)
class GappedKernel(Kernel):
    """A Gaussian on values with gaps, from whitened residuals, which lose no digits.

    Attributes
    ----------
    dist : Gaussian
    reference : Reference
        With the mean of each state for its centre, and the inverse of W for its scale.
    whitening : array, (K, d, d)
        W with W'W the inverse of the covariance, in units of the reference.
    """

    dist: Gaussian
    reference: Reference
    whitening: Array

    @property
    def way(self) -> str:
        return "densities of what each pattern of gaps leaves"

    @property
    def n_columns(self) -> int:
        return 2 * self.whitening[..., 0].size

    def on(self, value: Array) -> AttachedGaps:
        return AttachedGaps(self, value, Patterns.of(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        linear = LinearKernel.of(self.dist)
        value, size = expected_under(linear.dist, linear.eta, linear.log_normaliser, record)
        # A whitened residual has an error of eps |W| times the values it is made of.
        reach = self.reference.extent * np.linalg.norm(self.whitening, axis=(-2, -1))
        return value, size + float(record.weight @ reach)

    def record_for(self, old: Kernel) -> Kernel | None:
        if not isinstance(old, StatisticsOfGaps):
            return None
        # What is missing is completed at the parameters of the E-step.
        return RecordingKernel(old, old.residual)


@attrs.frozen(eq=False, slots=False)
class AttachedGaps(Attached):
    """A Gaussian on a block of values with gaps."""

    kernel: GappedKernel
    value: Array  # (rows, d)
    patterns: Patterns

    @cached_property
    def _deviations(self) -> Array:
        """Deviations from the mean in units of the reference, ``(K, d, rows)``; 0 where missing."""
        reference = self.kernel.reference
        assert reference.centres is not None
        assert reference.low is not None
        value = self.value[self.patterns.order].T
        deviations = value - reference.centres[:, :, None]
        deviations -= reference.low[:, :, None]
        deviations /= reference.scale[:, None]
        deviations[np.isnan(deviations)] = 0.0
        return np.asarray(deviations)

    def _chunks(self) -> Iterator[tuple[slice, Conditional]]:
        """Yield patterns, a few at a time, with what is to be known of them."""
        n, size = len(self.patterns.observed), PATTERN_CELLS // self.kernel.whitening.size
        if n <= size:
            yield slice(0, n), self._conditional
            return
        for start in range(0, n, max(1, size)):
            few = slice(start, min(start + max(1, size), n))
            yield few, self._condition(few)

    def _condition(self, few: slice) -> Conditional:
        kernel = self.kernel
        return Conditional.of(kernel.whitening, kernel.reference.scale, self.patterns.observed[few])

    @cached_property
    def _conditional(self) -> Conditional:
        """For all patterns, where they are few: what the E-step needs serves its record too."""
        return self._condition(slice(None))

    def log_density(self) -> Array:
        deviations, start = self._deviations, self.patterns.start
        log_density = np.empty((len(deviations), len(self.value)))
        for few, conditional in self._chunks():
            for p, white, constant in zip(
                range(few.start, few.stop), conditional.whitening, conditional.constant, strict=True
            ):
                rows = slice(start[p], start[p + 1])
                residuals = white @ deviations[:, :, rows]
                square = np.einsum("kdr,kdr->kr", residuals, residuals)
                log_density[:, self.patterns.order[rows]] = constant[:, None] - 0.5 * square
        return log_density

    def record(self, weights: Array) -> Statistics:
        """Return the expected statistics, completed; rows without any value do not count.

        The base measure takes the entropy of what is missing given the states, so that Q + H is
        the log-likelihood with H the entropy of the latents alone.
        """
        k, d = len(weights), self.value.shape[1]
        deviations, start = self._deviations, self.patterns.start
        weights = weights[:, self.patterns.order]
        weight, first, second, entropy = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d)), 0.0
        for few, conditional in self._chunks():
            count = np.zeros((few.stop - few.start, k))
            sums, products = np.zeros((*count.shape, d)), np.zeros((*count.shape, d, d))
            for i, p in enumerate(range(few.start, few.stop)):
                if not self.patterns.observed[p].any():
                    continue
                rows = slice(start[p], start[p + 1])
                part = conditional.whitening[i] @ deviations[:, :, rows]
                weighted = weights[:, None, rows] * part
                count[i] = weights[:, rows].sum(axis=1)
                sums[i] = weighted.sum(axis=-1)
                products[i] = weighted @ np.swapaxes(part, -1, -2)
            seen, hidden = conditional.seen, conditional.hidden
            weight += count.sum(axis=0)
            first += (seen @ sums[..., None])[..., 0].sum(axis=0)
            second += (seen @ products @ np.swapaxes(seen, -1, -2)).sum(axis=0)
            hidden = np.sqrt(count)[..., None, None] * hidden
            second += (hidden @ np.swapaxes(hidden, -1, -2)).sum(axis=0)
            entropy += float((count * conditional.entropy).sum())
        total = np.concatenate([first, self.kernel.dist.form.of_products(second)], axis=1)
        return Statistics(weight, total, entropy, self.kernel.reference)

    # -- what is missing, filled in ------------------------------------------------------------

    def _filled(self, deviation: Array) -> Array:
        """Return the values with what deviates so from the means, ``(rows, d)``, where missing."""
        value = self.value.copy()
        gaps = np.isnan(value)
        value[gaps] = deviation[gaps]
        return value

    def completed(self, weights: Array) -> Array:
        """Return the values with conditional means where missing, states having these weights."""
        reference, order = self.kernel.reference, self.patterns.order
        assert reference.centres is not None
        assert reference.root is not None
        means = np.empty(self.value.shape)
        for few, conditional in self._chunks():
            for i, p in enumerate(range(few.start, few.stop)):
                rows = slice(self.patterns.start[p], self.patterns.start[p + 1])
                white = conditional.whitening[i] @ self._deviations[:, :, rows]
                expected = reference.root @ (conditional.seen[i] @ white)  # (K, d, rows)
                expected *= reference.scale[:, None]
                expected += reference.centres[:, :, None]
                share = weights[:, order[rows]]
                means[order[rows]] = np.einsum("kr,kdr->rd", share, expected)
        return self._filled(means)

    def drawn(self, state: Array, rng: np.random.Generator) -> Array:
        """Return the values with draws where missing, each row in its state ``(rows,)``."""
        reference, order = self.kernel.reference, self.patterns.order
        assert reference.centres is not None
        assert reference.root is not None
        draws = np.empty(self.value.shape)
        for few, conditional in self._chunks():
            for i, p in enumerate(range(few.start, few.stop)):
                rows = slice(self.patterns.start[p], self.patterns.start[p + 1])
                own = state[order[rows]]
                deviation = self._deviations[own, :, np.arange(rows.start, rows.stop)]  # (rows, d)
                white = conditional.seen[i][own] @ conditional.whitening[i][own]
                noise = rng.standard_normal((len(own), deviation.shape[1], 1))
                whole = white @ deviation[..., None] + conditional.hidden[i][own] @ noise
                drawn = (reference.root[own] @ whole)[..., 0]
                draws[order[rows]] = reference.centres[own] + reference.scale * drawn
        return self._filled(draws)
