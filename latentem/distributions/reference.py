"""The point and scale about which second moments are taken."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.covariance import Structure
from latentem.distributions.records import Statistics
from latentem.kernels import columns, distances
from latentem.kernels.compiled import is_loaded, pays
from latentem.kernels.expected import Standardised

EPSILON = float(np.finfo(float).eps)
# Squares of smaller deviations leave the range of float64.
SMALLEST_SCALE = 1e-150
#: The least deviation whose squares, and those of what is some digits smaller, are in that range;
#: and one over the largest.
SMALLEST_REACH = 1e-100
#: The types of numbers that are compiled for.
REAL = (np.float32, np.float64)
#: Numbers whose moments are taken at once, and rows: for sums over more than 10,000 OpenBLAS wakes
#: its threads, which would spin on next to those of the passes.
BLOCK, BLOCK_ROWS = 2**16, 2**13


@attrs.frozen(eq=False, slots=False)
class Reference:
    """The point and scale about which second moments are taken.

    Attributes
    ----------
    centre, scale : array, (d,)
        Standardised values are z = (x - centre) / scale.
    spread : array, (d,)
        Standard deviation of each column, 0 for a constant one.
    extent : float
        Largest absolute standardised value.
    centres, low : array, (K, d), or None
        A centre for each state, and what its rounding lost, for states so tight that moments about
        the common centre would lose digits.
    root : array, (K, d, d), or None
        A scale for each state likewise: (x - centre) / scale = root y, and the moments are of y.
    base : Reference or None
        The reference without these.
    """

    centre: Array
    scale: Array
    spread: Array
    extent: float
    centres: Array | None = None
    low: Array | None = None
    root: Array | None = None
    base: Reference | None = None

    @classmethod
    def of(cls, value: Array, structure: Structure, weights: Array | None = None) -> Reference:
        """Take centre and scale from weighted data ``(n, d)``; a constant column has scale 1.

        NaN is a gap. A column without entries stands where it likes.
        """
        whole = _Moments.of(value, weights)
        spread = whole.spread
        if not whole.is_plain:
            spread = np.where(whole.high > whole.low, spread, 0.0)
        scale = structure.common_scale(spread)
        if not whole.is_plain:
            scale = np.where(scale > SMALLEST_SCALE, scale, 1.0)
        extent = max((whole.reach / scale).tolist(), default=1.0)
        return cls(whole.mean, scale, spread, max(extent, 1.0))

    @cached_property
    def log_scale(self) -> float:
        """The logarithm of the product of the scales."""
        return float(np.log(self.scale).sum())

    def error(self, precision: Any) -> Any:
        """Return the rounding error of a log-density in moments about this point."""
        return EPSILON * self.extent**2 * precision

    def standardise(self, value: Array) -> Array:
        """Return z, k-major: ``(d, rows)``."""
        z = np.empty(value.shape[::-1])
        self.standardise_into(z, value)
        return z

    def standardise_into(self, z: Array, value: Array) -> None:
        """Write z, ``(d, rows)``."""
        np.subtract(value.T, self.centre[:, None], out=z)
        z /= self.scale[:, None]

    def standardised(self, value: Array, *, gapped: bool = False) -> Standardised | None:
        """Return values ``(n, d)`` with what standardises them; None unless they are plain floats.

        In single or double precision: what is computed of them is in double precision.
        """
        plain = value.dtype in (np.float32, np.float64) and value.flags.c_contiguous
        own = np.ascontiguousarray(self.centre), np.ascontiguousarray(self.scale)
        return Standardised(value, *own, gapped) if plain else None

    def standardise_means(self, mean: Array, rounding: Array | float) -> Array:
        """Return (mean + rounding - centre) / scale, for a mean ``(K, d)`` of each state."""
        difference = mean - (self.centre if self.centres is None else self.centres) + rounding
        if self.low is not None:
            difference = difference - self.low
        return difference / self.scale

    def means(self, standard: Array) -> tuple[Array, Array]:
        """Undo `standardise_means`: the means, and what their rounding lost."""
        centre = self.centre if self.centres is None else self.centres
        mean, rounding = two_sum(centre, self.scale * standard)
        return mean, rounding if self.low is None else rounding + self.low

    def common(self, record: Statistics, form: Structure) -> Statistics:
        """Return a record about the states' own centres and scales as one about the common ones.

        With z = c + R y, of y's sums over rows w, s and S: w c + R s, and
        w c c' + c (R s)' + (R s) c' + R S R'.
        """
        if self.base is None or self.centres is None or self.low is None:
            return record
        c = ((self.centres - self.centre) + self.low) / self.scale  # (K, d)
        first, moments = np.split(record.total, [c.shape[1]], axis=1)
        products = form.covariance(moments, np.zeros_like(c))
        if self.root is not None:
            first = (self.root @ first[..., None])[..., 0]
            products = self.root @ products @ np.swapaxes(self.root, -1, -2)
        cross = c[:, :, None] * (first + 0.5 * record.weight[:, None] * c)[:, None, :]
        products = products + cross + np.swapaxes(cross, -1, -2)
        total = np.concatenate(
            [first + record.weight[:, None] * c, form.of_products(products)], axis=1
        )
        return attrs.evolve(record, total=total, reference=self.base)

    def of_states(self, centres: Array, low: Array, root: Array | None = None) -> Reference:
        """Return the reference with a centre, and a scale if given, for each state."""
        return attrs.evolve(self, centres=centres, low=low, root=root, base=self)


@attrs.frozen(eq=False, slots=False)
class _Moments:
    """Weight, mean, standard deviation and range of columns, ``(d,)``; those of several blocks."""

    weight: Array
    mean: Array
    spread: Array
    high: Array
    low: Array

    @cached_property
    def reach(self) -> Array:
        """The largest distance from the mean."""
        reach: Array = np.maximum(self.high - self.mean, self.mean - self.low)
        return reach

    @cached_property
    def is_plain(self) -> bool:
        """Whether all columns vary, and squares of deviations are in the range of numbers.

        By their range, for of a constant column rounding may put the mean elsewhere; and by the
        spread, for of rows that vary all but one may weigh next to nothing.
        """
        columns = zip(self.low.tolist(), self.high.tolist(), self.spread.tolist(), strict=True)
        return all(
            SMALLEST_REACH < high - low < 1 / SMALLEST_REACH and spread > SMALLEST_SCALE
            for low, high, spread in columns
        )

    @classmethod
    def of(cls, value: Array, weights: Array | None) -> _Moments:
        """Return those of weighted rows ``(n, d)``, of which NaN do not count."""
        size = max(1, BLOCK // max(value.shape[1], 1))
        if weights is None and value.dtype in REAL and pays(*value.shape):
            return cls._joined([cls._compiled(value[b]) for b in _blocks(len(value), size)])
        blocks = _blocks(len(value), min(size, BLOCK_ROWS))
        given = ((value[b], None if weights is None else weights[b]) for b in blocks)
        return cls._joined([cls._of_block(*block) for block in given])

    @classmethod
    def _compiled(cls, value: Array) -> _Moments:
        mean, square, high, low, n = columns.moments(value, compiled=True)
        whole = cls(n, mean, np.sqrt(square), high, low)
        if whole.is_plain:
            return whole
        # Not if squares leave the range of numbers.
        reach = whole.reach
        within = (reach > SMALLEST_REACH) & (reach < 1 / SMALLEST_REACH)
        allowed = (within | (reach == 0) | (n == 0)).all()
        return whole if allowed else cls._of_block(value, None)

    @classmethod
    def _of_block(cls, value: Array, weights: Array | None) -> _Moments:
        z = value.T.astype(float, order="C")
        weights = np.ones(len(value)) if weights is None else weights
        low, high = z.min(axis=1), z.max(axis=1)
        gaps = np.isnan(z) if np.isnan(low).any() else None
        if gaps is not None:
            low = z.min(axis=1, where=~gaps, initial=np.inf)
            high = z.max(axis=1, where=~gaps, initial=-np.inf)
            z[gaps] = 0.0
            weights = np.where(gaps, 0.0, weights)  # of each entry
        weight = weights.sum(axis=-1)
        share = weights / _or_one(weight)[..., None]
        first = cls(np.full(len(z), weight), np.vecdot(z, share), np.zeros(len(z)), high, low)
        # Divided by the reach first, so that squares neither overflow nor underflow.
        unit = _or_one(first.reach)
        z -= first.mean[:, None]
        if gaps is not None:
            z[gaps] = 0.0
        z /= unit[:, None]
        return attrs.evolve(first, spread=unit * np.sqrt(np.vecdot(np.square(z, out=z), share)))

    @classmethod
    def _joined(cls, parts: list[_Moments]) -> _Moments:
        if len(parts) == 1:
            return parts[0]
        weight, mean, spread, high, low = (
            np.stack([getattr(part, name) for part in parts])
            for name in ("weight", "mean", "spread", "high", "low")
        )
        total = weight.sum(axis=0)
        share = weight / _or_one(total)
        centre = (share * mean).sum(axis=0)
        whole = cls(total, centre, spread[0], high.max(axis=0), low.min(axis=0))
        unit = _or_one(whole.reach)
        away = np.where(weight > 0, mean - centre, 0.0)
        square = share * (np.square(spread / unit) + np.square(away / unit))
        return attrs.evolve(whole, spread=unit * np.sqrt(square.sum(axis=0)))


def _blocks(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _or_one(array: Array) -> Array:
    """Return what is above 0, and 1 elsewhere."""
    return np.where(array > 0, array, 1.0)


def squared_distances(z: Array, centres: Array) -> Array:
    """Return squared Euclidean distances ``(rows, m)`` between columns of z and of centres."""
    total: Array = distances.squared_distances(z, centres, compiled=is_loaded()).T
    if not np.isnan(total).any():
        return total
    # With gaps, the mean over the columns that both have, times the number of all.
    squares = [np.square(z - c[:, None]) for c in centres.T]
    shared = np.stack([(~np.isnan(s)).sum(axis=0) for s in squares], axis=1)
    totals = np.stack([np.nansum(s, axis=0) for s in squares], axis=1)
    scaled: Array = totals * (len(z) / np.maximum(shared, 1))
    return scaled


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a + b rounded, and exactly what the rounding lost (Knuth, TAOCP 2, 4.2.2)."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)
