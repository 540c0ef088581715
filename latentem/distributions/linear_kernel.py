"""Lines about which second moments of regressions are taken, and the kernel that does so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.covariance import Full, Structure
from latentem.distributions.kernels import (
    Attached,
    Kernel,
    LinearKernel,
    RecordingKernel,
    expected_under,
)
from latentem.distributions.records import Statistics
from latentem.distributions.reference import Reference

if TYPE_CHECKING:
    from latentem.distributions.linear_gaussian import LinearGaussian


@attrs.frozen(eq=False)
class Lines:
    """Centre, scale and, for each state, a line, about which moments of (u, y) are taken.

    Attributes
    ----------
    centre, scale : array, (p + m,)
        Standardised values are z = ((u, y) - centre) / scale.
    width : int
        Number of covariates, p.
    spread : array, (m,)
        Standard deviation of each column of y.
    extent : float
        Largest absolute standardised value.
    intercept : array, (K, m), or None
    slopes : array, (K, m, p), or None
        Moments are of (z_u, z_y - intercept - slopes z_u).
    base : Lines or None
        The reference without lines of the states.
    """

    centre: Array
    scale: Array
    width: int
    spread: Array
    extent: float
    intercept: Array | None = None
    slopes: Array | None = None
    base: Lines | None = None

    @classmethod
    def of(cls, value: Array, width: int, noise: Structure, weights: Array | None) -> Lines:
        """Take centre and scale from weighted rows (u, y), ``(n, p + m)``."""
        u = Reference.of(value[:, :width], Full(), weights)
        y = Reference.of(value[:, width:], noise, weights)
        centre, scale = (
            np.concatenate([getattr(part, name) for part in (u, y)]) for name in ("centre", "scale")
        )
        return cls(centre, scale, width, y.spread, max(u.extent, y.extent))

    @classmethod
    def of_predictors(cls, inputs: Array, weights: Array | None) -> Lines:
        """Take centre and scale from covariates ``(n, p)``, for a linear predictor of them."""
        u = Reference.of(inputs, Full(), weights)
        one = np.ones(1)
        centre, scale = np.append(u.centre, 0.0), np.append(u.scale, 1.0)
        return cls(centre, scale, inputs.shape[1], one, u.extent)

    @classmethod
    def at_origin(cls, columns: int, width: int) -> Lines:
        """Return the reference that changes nothing."""
        ones = np.ones(columns)
        return cls(np.zeros(columns), ones, width, ones[width:], 10.0)

    @property
    def y_scale(self) -> Array:
        """The scale of y, ``(m,)``."""
        return self.scale[self.width :]

    def about(self, intercept: Array, slopes: Array) -> Lines:
        """Return the reference with a line for each state."""
        return attrs.evolve(self, intercept=intercept, slopes=slopes, base=self.base or self)

    def standardise(self, value: Array) -> Array:
        """Return z, k-major: ``(p + m, rows)``."""
        z = np.empty(value.shape[::-1])
        self.standardise_into(z, value)
        return z

    def standardise_into(self, z: Array, value: Array) -> None:
        """Write z, ``(p + m, rows)``."""
        np.subtract(value.T, self.centre[:, None], out=z)
        z /= self.scale[:, None]

    def standardise_lines(self, a: Array, b: Array, rounding: Array) -> tuple[Array, Array]:
        """Return intercepts and coefficients about the reference."""
        p, scale = self.width, self.y_scale
        terms = [a, rounding, np.broadcast_to(-self.centre[p:], a.shape)]
        terms += _products(b, self.centre[:p])
        intercept, _ = _exact_sum(terms)
        intercept, slopes = intercept / scale, b * self.scale[:p] / scale[:, None]
        if self.intercept is not None and self.slopes is not None:
            return intercept - self.intercept, slopes - self.slopes
        return intercept, slopes

    def lines(self, intercept: Array, slopes: Array) -> tuple[Array, Array, Array]:
        """Undo `standardise_lines`: intercepts, what their rounding lost, and coefficients."""
        if self.intercept is not None and self.slopes is not None:
            intercept, slopes = intercept + self.intercept, slopes + self.slopes
        p, scale = self.width, self.y_scale
        b = slopes * scale[:, None] / self.scale[:p]
        terms = [np.broadcast_to(self.centre[p:], intercept.shape), intercept * scale]
        terms += _products(-b, self.centre[:p])
        a, rounding = _exact_sum(terms)
        return a, rounding, b


def _products(b: Array, centre: Array) -> list[Array]:
    """Return terms ``(..., m)`` whose sum is exactly b . centre (Dekker's products)."""
    high = b * centre
    b_high, c_high = _upper_half(b), _upper_half(centre)
    b_low, c_low = b - b_high, centre - c_high
    low = ((b_high * c_high - high) + b_high * c_low + b_low * c_high) + b_low * c_low
    return [*np.moveaxis(high, -1, 0), *np.moveaxis(low, -1, 0)]


def _upper_half(a: Array) -> Array:
    """Return numbers with the upper half of their digits (Veltkamp's split)."""
    scaled = 134217729.0 * a  # 2^27 + 1
    upper: Array = scaled - (scaled - a)
    return upper


def _exact_sum(terms: list[Array]) -> tuple[Array, Array]:
    """Return the sum of arrays of one shape, correctly rounded, and what the rounding lost."""
    rows = np.stack(terms, axis=-1)
    flat = rows.reshape(-1, len(terms)).tolist()
    high = [math.fsum(row) for row in flat]
    low = [math.fsum([*row, -total]) for row, total in zip(flat, high, strict=True)]
    return np.reshape(high, rows.shape[:-1]), np.reshape(low, rows.shape[:-1])


@attrs.frozen(eq=False)
class ResidualLinesKernel(Kernel):
    """A linear regression evaluated from its residuals: no digits lost, however little the noise.

    Attributes
    ----------
    linear : LinearKernel
    reference : Lines
        With the line of each state.
    whitening : array, (K, m, m)
    constant : array, (K,)
    """

    linear: LinearKernel
    reference: Lines
    whitening: Array
    constant: Array

    @property
    def dist(self) -> LinearGaussian:
        """The distribution."""
        return self.linear.dist  # type: ignore[return-value]

    @property
    def way(self) -> str:
        return "residuals of the regressions of all states"

    @property
    def n_columns(self) -> int:
        return self.reference.centre.size * len(self.constant)

    def on(self, value: Array) -> Attached:
        z = self.reference.standardise(self.dist.without_offset(value))
        p = self.reference.width
        assert self.reference.intercept is not None
        residual = z[p:] - self.reference.intercept[..., None] - self.reference.slopes @ z[:p]
        return _AttachedResidual(self, z[:p], residual)

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        linear = self.linear
        value, size = expected_under(linear.dist, linear.eta, linear.log_normaliser, record)
        # A whitened residual has an error of eps |W| times the values it is made of.
        reach = self.reference.extent * np.linalg.norm(self.whitening, axis=(-2, -1))
        return value, size + float(record.weight @ reach)

    def record_for(self, old: Kernel) -> Kernel | None:
        return None if isinstance(old, ResidualLinesKernel) else RecordingKernel(old, self)


@attrs.frozen(eq=False)
class _AttachedResidual(Attached):
    kernel: ResidualLinesKernel
    u: Array  # (p, rows)
    residual: Array  # (K, m, rows)

    def log_density(self) -> Array:
        white = self.kernel.whitening @ self.residual
        square = np.einsum("kmr,kmr->kr", white, white)
        return np.asarray(self.kernel.constant[:, None] - 0.5 * square)

    def record(self, weights: Array) -> Statistics:
        form, totals = Full(), []
        for residual, weight in zip(self.residual, weights, strict=True):
            v = np.concatenate([self.u, residual])
            totals.append(np.concatenate([v @ weight, form.weighted_moments(v, weight)]))
        return Statistics(weights.sum(axis=1), np.array(totals), 0.0, self.kernel.reference)
