r"""Dirichlet distributions on rows with gaps: exact marginals, and moments of what is missing.

Of a row x let o be the parts observed, u the others, and :math:`t = 1 - \sum_o x_j` what these
share. Then :math:`(x_o, t)` is Dirichlet with concentration :math:`(\alpha_o, a)`,
:math:`a = \sum_u \alpha_j`, and given it

.. math:: x_u / t \sim \mathrm{Dirichlet}(\alpha_u), \qquad
          E[\log x_j] = \log t + \psi(\alpha_j) - \psi(a)

(Kotz, Balakrishnan and Johnson, Continuous Multivariate Distributions 1, 2000, section 49.2). With
:math:`\varphi(a) = \log a - \psi(a)` this is the logarithm of the mean :math:`t \alpha_j / a` less
:math:`\varphi(\alpha_j) - \varphi(a)`, so that the expected statistics about a centre c are
those of the parts (x_o, t) about (c_o, sum of c_u), and terms that rows with the same gaps share.
All terms of w are positive: nothing cancels. A single missing part is what the others leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.gaps import Patterns
from latentem.distributions.kernels import Attached, Kernel, LinearKernel
from latentem.distributions.records import Statistics
from latentem.distributions.special import excess, log_minus_digamma, log_ratio, stirling

if TYPE_CHECKING:
    from latentem.distributions.dirichlet import Dirichlet


def fill_gaps(value: Array) -> Array:
    """Return rows with missing parts that share equally what the others leave."""
    gaps = np.isnan(value)
    rest = 1.0 - np.where(gaps, 0.0, value).sum(axis=1, keepdims=True)
    equal = rest / np.maximum(gaps.sum(axis=1, keepdims=True), 1)
    filled: Array = np.where(gaps, equal, value)
    return filled


@attrs.frozen(eq=False)
class GappedDirichlet(Kernel):
    """A Dirichlet distribution, one parents' axis, on values with gaps."""

    dist: Dirichlet
    linear: LinearKernel

    def on(self, value: Array) -> AttachedParts:
        return AttachedParts(self.dist, value, Patterns.of(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        return self.linear.expected_log_prob(record)

    @property
    def n_columns(self) -> int:
        return 4 * int(self.linear.eta.shape[1])


@attrs.frozen(eq=False)
class _Pattern:
    """Some rows with the same gaps, and the statistics of what they have.

    Attributes
    ----------
    rows : array, (m,)
    seen, hidden : array, (|o|,) and (|u|,)
        The columns observed, and those that are not.
    centre : array, (|o| + 1,), or (d,) if no part is missing
        The centre, the parts that are missing as one.
    logs : array, (m, |o| + 1)
        log (x / c) of the parts, and of what is left for the missing ones.
    relative : array, (m,)
        Their w, sum of c (x / c - 1 - log (x / c)).
    """

    rows: Array
    seen: Array
    hidden: Array
    centre: Array
    logs: Array
    relative: Array

    def merged(self, alpha: Array) -> Array:
        """Return concentrations with those of the missing parts as one, ``(K, |o| + 1)``."""
        observed, missing = alpha[:, self.seen], alpha[:, self.hidden]
        if not len(self.hidden):
            return observed
        return np.concatenate([observed, missing.sum(axis=1, keepdims=True)], axis=1)


@attrs.frozen(eq=False)
class AttachedParts(Attached):
    """A Dirichlet distribution on a block of values with gaps."""

    dist: Dirichlet
    value: Array  # (rows, d)
    patterns: Patterns

    def _patterns(self) -> Iterator[_Pattern]:
        """Yield the patterns of rows that have some part."""
        whole = self.dist.composition(self.value.shape[1]).centre
        for p, observed in enumerate(self.patterns.observed):
            if not observed.any():
                continue
            rows = self.patterns.order[self.patterns.start[p] : self.patterns.start[p + 1]]
            seen, hidden = np.flatnonzero(observed), np.flatnonzero(~observed)
            parts, centre = self.value[np.ix_(rows, seen)], whole[seen]
            if len(hidden):
                parts = np.concatenate([parts, _rest(parts)], axis=1)
                centre = np.append(centre, whole[hidden].sum())
            logs = log_ratio(parts, centre)
            yield _Pattern(rows, seen, hidden, centre, logs, excess(parts, centre) @ centre)

    def log_density(self) -> Array:
        (alpha,) = self.dist.known()
        log_density = np.zeros((len(alpha), len(self.value)))
        for pattern in self._patterns():
            composition = attrs.evolve(
                self.dist.composition(self.value.shape[1]), centre=pattern.centre
            )
            eta, log_normaliser = composition.natural_parameters(pattern.merged(alpha))
            density = np.outer(eta[:, 0], pattern.relative) + eta[:, 1:] @ pattern.logs[:, :-1].T
            base = pattern.logs.sum(axis=1) + np.log(pattern.centre).sum()
            log_density[:, pattern.rows] = density - log_normaliser[:, None] - base
        return log_density

    def record(self, weights: Array) -> Statistics:
        """Return the expected statistics, completed; rows without any part do not count.

        The base measure takes the entropy of what is missing given the states, so that Q + H is
        the log-likelihood with H the entropy of the latents alone.
        """
        (alpha,) = self.dist.known()
        d = self.value.shape[1]
        centre = self.dist.composition(d).centre
        weight, relative, logs = np.zeros(len(alpha)), np.zeros(len(alpha)), np.zeros(alpha.shape)
        log_base = 0.0
        for pattern in self._patterns():
            own = weights[:, pattern.rows]
            count, sums = own.sum(axis=1), own @ pattern.logs
            weight += count
            relative += own @ pattern.relative
            logs[:, pattern.seen] += sums[:, : len(pattern.seen)]
            if len(pattern.hidden):
                missing, missing_centre = alpha[:, pattern.hidden], centre[pattern.hidden]
                share = missing / missing.sum(axis=1, keepdims=True)
                of_rest = missing_centre / pattern.centre[-1]
                lost = _lost(missing)
                each = log_ratio(share, of_rest) - lost
                constant = (excess(share, of_rest) + lost) @ missing_centre
                relative += count * constant
                logs[:, pattern.hidden] += sums[:, -1:] + count[:, None] * each
                log_rest = sums[:, -1] + count * np.log(pattern.centre[-1])
                log_base += float(count @ _entropy(missing))
                log_base += (len(pattern.hidden) - 1) * float(log_rest.sum())
        log_base -= float(logs.sum() + weight.sum() * np.log(centre).sum())
        total = np.concatenate([relative[:, None], logs[:, :-1]], axis=1)
        return Statistics(weight, total, log_base, self.dist.reference)

    # -- what is missing, filled in ------------------------------------------------------------

    def completed(self, weights: Array) -> Array:
        """Return the values with conditional means where missing, states having these weights."""
        (alpha,) = self.dist.known()
        value = self.value.copy()
        for rows, hidden, rest in self._gaps():
            missing = alpha[:, hidden]
            share = missing / missing.sum(axis=1, keepdims=True)
            value[np.ix_(rows, hidden)] = rest * (weights[:, rows].T @ share)
        return value

    def drawn(self, state: Array, rng: np.random.Generator) -> Array:
        """Return the values with draws where missing, each row in its state ``(rows,)``."""
        (alpha,) = self.dist.known()
        value = self.value.copy()
        for rows, hidden, rest in self._gaps():
            draws = rng.standard_gamma(alpha[np.ix_(state[rows], hidden)])
            draws = np.maximum(draws, np.finfo(float).tiny)  # of tiny concentrations they are 0
            value[np.ix_(rows, hidden)] = rest * draws / draws.sum(axis=1, keepdims=True)
        return value

    def _gaps(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield rows, the parts that they lack, and what is left for these ``(m, 1)``."""
        for p, observed in enumerate(self.patterns.observed):
            if not observed.all():
                rows = self.patterns.order[self.patterns.start[p] : self.patterns.start[p + 1]]
                hidden = np.flatnonzero(~observed)
                yield rows, hidden, _rest(self.value[np.ix_(rows, np.flatnonzero(observed))])


def _rest(parts: Array) -> Array:
    """Return what parts ``(m, |o|)`` leave of 1, ``(m, 1)``.

    It is positive but for the order of the sum, on which its last digit depends.
    """
    rest: Array = np.maximum(1.0 - parts.sum(axis=1, keepdims=True), 0.5 * np.finfo(float).eps)
    return rest


def _lost(missing: Array) -> Array:
    """Return the logarithms of the means of missing parts less the means of their logarithms."""
    total = missing.sum(axis=1, keepdims=True)
    lost: Array = log_minus_digamma(missing) - log_minus_digamma(total)
    return lost


def _entropy(missing: Array) -> Array:
    """Return the entropies of Dirichlet distributions ``(K, |u|)``, in nats.

    In Stirling's terms, of which the large ones are taken out.
    """
    total, n = missing.sum(axis=1), missing.shape[1]
    terms = np.log(missing) - stirling(missing) + (missing - 1.0) * log_minus_digamma(missing)
    rest = stirling(total) - n * np.log(total) - (total - n) * log_minus_digamma(total)
    entropy: Array = terms.sum(axis=1) + rest
    return entropy if n > 1 else np.zeros(len(missing))
