"""The second tier for Gaussians: states evaluated from their residuals."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

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
from latentem.kernels.expected import Standardised, single_factors
from latentem.kernels.products import over_rows, sums_over_rows
from latentem.kernels.whitened import second_moments, whitened_squares

if TYPE_CHECKING:
    from latentem.distributions.gaussian import Gaussian


@attrs.frozen(eq=False)
class ResidualKernel(Kernel):
    """The second tier for Gaussians: some states evaluated from whitened residuals.

    log p = constant - |W (z - m)|^2 / 2, and the moments of the whitened residuals W (z - m), lose
    no digits, however tight the state or close to singular its covariance; the price is a loop over
    these states.
    """

    linear: LinearKernel
    reference: Reference
    residual: Array  # (K,), which states
    whitening: Array  # (K, d, d)
    constant: Array  # (K,)

    @property
    def dist(self) -> Gaussian:
        """The distribution."""
        return self.linear.dist  # type: ignore[return-value]

    @property
    def way(self) -> str:
        return f"whitened residuals of {self.residual.sum()} of {len(self.residual)} states"

    @property
    def n_columns(self) -> int:
        linear = 0 if self.residual.all() else self.linear.eta.shape[1]
        return linear + 3 * len(self.reference.centre)

    def on(self, value: Array) -> Attached:
        attached = None if self.residual.all() else self.linear.on(value)
        return _AttachedResidual(self, value, attached)

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        linear = self.linear
        value, size = expected_under(linear.dist, linear.eta, linear.log_normaliser, record)
        # A whitened residual has an error of eps |W| times the values it is made of.
        reach = self.reference.extent * np.linalg.norm(self.whitening, axis=(-2, -1))
        return value, size + float((record.weight * reach)[self.residual].sum())

    def record_for(self, old: Kernel) -> Kernel | None:
        before = old.residual if isinstance(old, ResidualKernel) else np.zeros_like(self.residual)
        return RecordingKernel(old, self) if (self.residual & ~before).any() else None


@attrs.frozen(eq=False)
class _AttachedResidual(Attached):
    kernel: ResidualKernel
    value: Array  # (rows, d)
    linear: Attached | None

    def _white(self, state: Any) -> Array:
        """Return the whitened residuals W (z - m) of a state, ``(d, rows)``."""
        reference = self.kernel.reference
        assert reference.centres is not None
        assert reference.low is not None
        # From the values themselves: standardised ones have lost digits if the centre is far off.
        residuals = self.value - reference.centres[state]
        residuals -= reference.low[state]
        residuals /= reference.scale
        white: Array = self.kernel.whitening[state] @ residuals.T
        return white

    def log_density(self) -> Array:
        kernel = self.kernel
        if self.linear is None:
            log_density = np.empty((len(kernel.residual), len(self.value)))
        else:
            log_density = self.linear.log_density()
        for state in np.flatnonzero(kernel.residual):
            white = self._white(state)
            np.einsum("dr,dr->r", white, white, out=log_density[state])
            log_density[state] *= -0.5
            log_density[state] += kernel.constant[state]
        return log_density

    def record(self, weights: Array) -> Statistics:
        form, d = self.kernel.dist.form, self.value.shape[1]
        if self.linear is None:
            total = np.empty((len(weights), d + form.n_moments(d)))
        else:
            total = self.linear.record(weights).total.copy()
        for state in np.flatnonzero(self.kernel.residual):
            white = self._white(state)
            total[state, :d] = white @ weights[state]
            total[state, d:] = form.weighted_moments(white, weights[state])
        return Statistics(weights.sum(axis=1), total, 0.0, self.kernel.reference)


@attrs.frozen(eq=False)
class SharedKernel(Kernel):
    r"""The second tier for Gaussians with one covariance for all states.

    What is quadratic in a row is then the same for all states,

    .. math:: \log p(x \mid k) = b_k \cdot z - A_k - |W z|^2 / 2, \qquad b_k = W^\top W m_k,

    so that states differ in first moments only, and the second moments that the maximiser pools are
    those of the rows, whatever their states.
    """

    linear: LinearKernel
    reference: Reference
    whitening: Array  # W, (d, d)

    @property
    def dist(self) -> Gaussian:
        """The distribution."""
        return self.linear.dist  # type: ignore[return-value]

    @property
    def way(self) -> str:
        return "matrix product of the row, and one square for all states"

    @property
    def n_columns(self) -> int:
        return 3 * len(self.whitening) + 2

    def on(self, value: Array) -> Attached:
        d = len(self.whitening)
        rows = np.empty((d + 2, len(value)))
        rows[0] = 1.0
        z = rows[1:-1]
        self.reference.standardise_into(z, value)
        white = self.whitening @ z
        np.einsum("dr,dr->r", white, white, out=rows[-1])
        return _AttachedShared(self, rows)

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        return self.linear.expected_log_prob(record)

    @property
    def divided(self) -> DividedShared:
        return DividedShared(self)

    def record_of(self, weight: Array, first: Array, moments: Array) -> Statistics:
        """Return the record of first moments of states, and second moments of all their rows."""
        form = self.dist.form
        # Maximiser and Q take the sum over states, which is exact however the scatter within them
        # is shared out; each state gets the same, so that its moments are some that rows can have.
        some = np.where(weight > 0, weight, 1.0)
        between = form.of_products(first[:, :, None] * first[:, None, :] / some[:, None, None])
        within = (moments - between.sum(axis=0)) / (weight.sum() or 1.0)
        total = np.hstack([first, between + weight[:, None] * within])
        return Statistics(weight, total, 0.0, self.reference)


@attrs.frozen(eq=False)
class _AttachedShared(Attached):
    kernel: SharedKernel
    rows: Array  # (1 + d + 1, rows): ones, z and |W z|^2

    def log_density(self) -> Array:
        linear = self.kernel.linear
        halves = np.full((len(linear.eta), 1), -0.5)
        own = linear.eta[:, : len(self.rows) - 2]
        return over_rows(np.hstack([-linear.log_normaliser[:, None], own, halves]), self.rows)

    def record(self, weights: Array) -> Statistics:
        sums = sums_over_rows(weights, self.rows[:-1])
        form = self.kernel.dist.form
        moments = form.weighted_moments(self.rows[1:-1], weights.sum(axis=0))
        return self.kernel.record_of(sums[:, 0], sums[:, 1:], moments)


@attrs.frozen(eq=False)
class Coordinates(LinearKernel):
    """The part of a shared covariance's log-density that is linear in z; no density by itself."""

    reference: Reference

    @property
    def pairs(self) -> Array:
        return single_factors(self.n_statistics)

    def statistics_into(self, out: Array, value: Array) -> None:
        self.reference.standardise_into(out, value)

    factors_into = statistics_into

    def standardised(self, value: Array) -> Standardised | None:
        return self.reference.standardised(value)


@attrs.frozen(eq=False)
class DividedShared:
    r"""A `SharedKernel` as :math:`-|W z|^2 / 2` and what is linear in z; see `Divided`."""

    kernel: SharedKernel

    @property
    def linear(self) -> Coordinates:
        whole, d = self.kernel.linear, len(self.kernel.whitening)
        return Coordinates(
            whole.dist, whole.eta[:, :d], whole.log_normaliser, self.kernel.reference
        )

    @property
    def basis(self) -> Reference:
        """The point about which moments are taken."""
        return self.kernel.reference

    def common_sums(self, value: Array, weights: Array | None) -> Array:
        """Return the second moments of z."""
        z = self.kernel.reference.standardise(value)
        given = np.ones(len(value)) if weights is None else weights
        return self.kernel.dist.form.weighted_moments(z, given)

    def log_common(self, sums: Array) -> float:
        precision = self.kernel.whitening.T @ self.kernel.whitening
        return float(self.kernel.dist.form.coefficients(precision) @ sums)

    def record_of(self, weight: Array, total: Array, sums: Array) -> Statistics:
        return self.kernel.record_of(weight, total, sums)


@attrs.frozen(eq=False, slots=False)
class WhiteningKernel(Kernel):
    r"""The second tier for Gaussians of many columns: each state is whitened by itself.

    .. math:: \log p(x \mid k) = c_k - |W_k (z - m_k)|^2 / 2

    With W lower triangular this takes no more operations than the product with all d (d + 1) / 2
    second moments of a row, which need not be written; those of a state are a symmetric product.
    """

    dist: Gaussian
    reference: Reference
    mean: Array  # (K, d), standardised
    whitening: Array  # (K, d, d)
    constant: Array  # (K,)
    is_compiled: bool = False

    @property
    def way(self) -> str:
        return "whitened state by state"

    @property
    def n_columns(self) -> int:
        return (1 if self.is_compiled else 3) * int(self.mean.shape[1])

    @property
    def compiled(self) -> WhiteningKernel:
        return attrs.evolve(self, is_compiled=True)

    @cached_property
    def white_mean(self) -> Array:
        """The means, whitened: W m, ``(K, d)``."""
        white: Array = (self.whitening @ self.mean[..., None])[..., 0]
        return white

    def on(self, value: Array) -> Attached:
        return _AttachedWhitening(self, self.reference.standardise(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        eta, log_normaliser = self.natural
        return expected_under(self.dist, eta, log_normaliser, record)

    @cached_property
    def natural(self) -> tuple[Array, Array]:
        """Natural parameters and log-normalisers, which Q alone needs."""
        transposed = np.swapaxes(self.whitening, -1, -2)
        first = (transposed @ self.white_mean[..., None])[..., 0]
        second = self.dist.form.coefficients(transposed @ self.whitening)
        log_normaliser = 0.5 * np.square(self.white_mean).sum(axis=-1) - self.constant
        return np.concatenate([first, second], axis=-1), log_normaliser


@attrs.frozen(eq=False)
class _AttachedWhitening(Attached):
    kernel: WhiteningKernel
    z: Array  # (d, rows)

    def log_density(self) -> Array:
        kernel = self.kernel
        given = self.z, kernel.whitening, kernel.white_mean
        log_density = whitened_squares(*given, compiled=kernel.is_compiled)
        log_density *= -0.5
        log_density += kernel.constant[:, None]
        return log_density

    def record(self, weights: Array) -> Statistics:
        kernel = self.kernel
        products = second_moments(self.z, weights, compiled=kernel.is_compiled)
        total = np.hstack([weights @ self.z.T, kernel.dist.form.of_products(products)])
        return Statistics(weights.sum(axis=1), total, 0.0, kernel.reference)


@attrs.frozen(eq=False)
class WideLinearKernel(LinearKernel):
    """A linear kernel of so many statistics that compiled loops had better whiten the states."""

    whitened: WhiteningKernel

    @property
    def compiled(self) -> WhiteningKernel:
        return self.whitened.compiled
