r"""Gaussians on rows with gaps: marginal densities, and conditional moments of what is missing.

Of a row x let o be the columns observed and u the others. Then :math:`x_o` is Gaussian with the
rows and columns o of mean and covariance, and given it

.. math::
    x_u \mid x_o, k \sim N(\mu_u + B (x_o - \mu_o), \; C), \qquad
    B = \Sigma_{uo} \Sigma_{oo}^{-1}, \quad C = \Sigma_{uu} - B \Sigma_{ou}

(Anderson, An Introduction to Multivariate Statistical Analysis, 2003, theorem 2.5.1). With
:math:`G = (1; B)` the expected moments about the mean of a state are sums over patterns of gaps,

.. math::
    E[x - \mu] = G s_1, \qquad E[(x - \mu)(x - \mu)^\top] = G S_2 G^\top + N C,

of the moments :math:`N, s_1, S_2` of the observed parts alone (Little and Rubin, Statistical
Analysis with Missing Data, 2002, section 11.2). Moments are taken about each state's own mean, so
none is too tight for its digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.kernels import Attached, Kernel, LinearKernel, expected_under
from latentem.distributions.records import Statistics
from latentem.distributions.reference import Reference
from latentem.distributions.whitening import LOG_2PI, whiten

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
    start : array, (P + 1,)
        Where each pattern starts in that order, and the end.
    observed : array, (P, d)
        The columns that each pattern has.
    """

    order: Array
    start: Array
    observed: Array

    @classmethod
    def of(cls, value: Array) -> Patterns:
        """Find the patterns of values ``(rows, d)``, NaN where missing."""
        observed = ~np.isnan(value)
        code = np.packbits(observed, axis=1)
        if code.shape[1] <= 8:  # as one integer each, which sorts faster
            wide = np.zeros((len(code), 8), dtype=np.uint8)
            wide[:, : code.shape[1]] = code
            key = wide.view(np.uint64)[:, 0]
            order = np.argsort(key, kind="stable")
            changes = key[order][1:] != key[order][:-1]
        else:
            order = np.lexsort(code.T)
            changes = (code[order][1:] != code[order][:-1]).any(axis=1)
        first = np.concatenate([[0], np.flatnonzero(changes) + 1])
        return cls(order, np.append(first, len(value)), observed[order[first]])


@attrs.frozen(eq=False)
class Conditional:
    """Marginals of some patterns, and what is missing given what is not; P patterns, K states.

    Attributes
    ----------
    whitening : array, (P, K, d, d)
        W with W'W the inverse of the covariance of the observed columns, 0 elsewhere.
    constant : array, (P, K)
        Minus the log-normaliser of their density.
    completion : array, (P, K, d, d)
        G, with a row for each column and 0 in the columns of those missing.
    covariance : array, (P, K, d, d)
        C, 0 outside the columns missing.
    entropy : array, (P, K)
        Of what is missing, in nats.
    """

    whitening: Array
    constant: Array
    completion: Array
    covariance: Array
    entropy: Array

    @classmethod
    def of(cls, covariance: Array, scale: Array, observed: Array) -> Conditional:
        """Condition a covariance ``(K, d, d)`` in units of ``scale`` on ``observed`` ``(P, d)``."""
        d = covariance.shape[-1]
        seen = observed[:, None, :]  # (P, 1, d)
        both = seen[..., :, None] & seen[..., None, :]
        # With the identity in place of what is missing, all patterns have the same shape.
        whitening, log_root = whiten(np.where(both, covariance, np.eye(d)))
        whitening = np.where(both, whitening, 0.0)
        inverse = np.swapaxes(whitening, -1, -2) @ whitening
        slope = np.where(~seen[..., :, None], covariance @ inverse, 0.0)
        left = covariance - slope @ covariance
        hidden = ~seen[..., :, None] & ~seen[..., None, :]
        _, log_root_all = whiten(covariance)
        n_seen, n_hidden = observed.sum(axis=1)[:, None], (~observed).sum(axis=1)[:, None]
        log_scale = np.log(scale)
        constant = -log_root - (observed @ log_scale)[:, None] - 0.5 * n_seen * LOG_2PI
        entropy = log_root_all - log_root + (~observed @ log_scale)[:, None]
        return cls(
            whitening,
            constant,
            slope + seen[..., None, :] * np.eye(d),
            np.where(hidden, left, 0.0),
            entropy + 0.5 * n_hidden * (1.0 + LOG_2PI),
        )


@attrs.frozen(eq=False)
class GappedKernel(Kernel):
    """A Gaussian on values with gaps.

    Attributes
    ----------
    dist : Gaussian
    reference : Reference
        With the mean of each state for its centre.
    covariance : array, (K, d, d)
        In units of the reference.
    """

    dist: Gaussian
    reference: Reference
    covariance: Array

    @property
    def n_columns(self) -> int:
        return 2 * self.covariance[..., 0].size

    def on(self, value: Array) -> AttachedGaps:
        return AttachedGaps(self, value, Patterns.of(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        linear = LinearKernel.of(self.dist)
        return expected_under(linear.dist, linear.eta, linear.log_normaliser, record)


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
        n, size = len(self.patterns.observed), PATTERN_CELLS // self.kernel.covariance.size
        if n <= size:
            yield slice(0, n), self._conditional
            return
        for start in range(0, n, max(1, size)):
            few = slice(start, min(start + max(1, size), n))
            yield few, self._condition(few)

    def _condition(self, few: slice) -> Conditional:
        kernel = self.kernel
        return Conditional.of(
            kernel.covariance, kernel.reference.scale, self.patterns.observed[few]
        )

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
                part = deviations[:, :, rows]
                weighted = weights[:, None, rows] * part
                count[i] = weights[:, rows].sum(axis=1)
                sums[i] = weighted.sum(axis=-1)
                products[i] = weighted @ np.swapaxes(part, -1, -2)
            complete = conditional.completion
            weight += count.sum(axis=0)
            first += (complete @ sums[..., None])[..., 0].sum(axis=0)
            second += (complete @ products @ np.swapaxes(complete, -1, -2)).sum(axis=0)
            second += (count[..., None, None] * conditional.covariance).sum(axis=0)
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
        means = np.empty(self.value.shape)
        for few, conditional in self._chunks():
            for i, p in enumerate(range(few.start, few.stop)):
                rows = slice(self.patterns.start[p], self.patterns.start[p + 1])
                expected = conditional.completion[i] @ self._deviations[:, :, rows]  # (K, d, rows)
                expected *= reference.scale[:, None]
                expected += reference.centres[:, :, None]
                share = weights[:, order[rows]]
                means[order[rows]] = np.einsum("kr,kdr->rd", share, expected)
        return self._filled(means)

    def drawn(self, state: Array, rng: np.random.Generator) -> Array:
        """Return the values with draws where missing, each row in its state ``(rows,)``."""
        reference, order = self.kernel.reference, self.patterns.order
        assert reference.centres is not None
        draws = np.empty(self.value.shape)
        for few, conditional in self._chunks():
            for i, p in enumerate(range(few.start, few.stop)):
                rows = slice(self.patterns.start[p], self.patterns.start[p + 1])
                own = state[order[rows]]
                deviation = self._deviations[own, :, np.arange(rows.start, rows.stop)]  # (rows, d)
                expected = (conditional.completion[i][own] @ deviation[..., None])[..., 0]
                values, vectors = np.linalg.eigh(conditional.covariance[i])
                root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
                noise = rng.standard_normal((len(own), deviation.shape[1], 1))
                expected += (root[own] @ noise)[..., 0]
                draws[order[rows]] = reference.centres[own] + reference.scale * expected
        return self._filled(draws)
