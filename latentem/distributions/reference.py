"""The point and scale about which second moments are taken."""

from __future__ import annotations

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.covariance import Structure
from latentem.distributions.records import Statistics

# Squares of smaller deviations leave the range of float64.
SMALLEST_SCALE = 1e-150
#: Rows whose moments are taken at once.
BLOCK = 4096


@attrs.frozen(eq=False)
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
        """Take centre and scale from weighted data ``(n, d)``; a constant column has scale 1."""
        observed = None if value.dtype.kind != "f" else ~np.isnan(value)
        if observed is not None and not observed.all():
            return cls._of_observed(value, observed, structure, weights)
        whole = _Moments.of(value, weights)
        varies, reach = whole.high > whole.low, whole.reach
        spread = np.where(varies, whole.spread, 0.0)
        scale = structure.common_scale(spread)
        scale = np.where(scale > SMALLEST_SCALE, scale, 1.0)
        return cls(whole.mean, scale, spread, float(np.max(reach / scale, initial=1.0)))

    @classmethod
    def _of_observed(
        cls, value: Array, observed: Array, structure: Structure, weights: Array | None
    ) -> Reference:
        """Take centre and scale of the observed entries of each column."""
        columns = []
        for column, seen in zip(value.T, observed.T, strict=True):
            w = None if weights is None else weights[seen]
            # A column without entries stands where it likes.
            entries = column[seen, None] if seen.any() else np.zeros((1, 1))
            columns.append(cls.of(entries, structure, w if seen.any() else None))
        centre, spread = (
            np.concatenate([getattr(c, n) for c in columns]) for n in ("centre", "spread")
        )
        scale = structure.common_scale(spread)
        scale = np.where(scale > SMALLEST_SCALE, scale, 1.0)
        extent = max(float(c.extent * c.scale[0] / s) for c, s in zip(columns, scale, strict=True))
        return cls(centre, scale, spread, max(extent, 1.0))

    def standardise(self, value: Array) -> Array:
        """Return z, k-major: ``(d, rows)``."""
        z = np.empty(value.shape[::-1])
        self.standardise_into(z, value)
        return z

    def standardise_into(self, z: Array, value: Array) -> None:
        """Write z, ``(d, rows)``."""
        np.subtract(value.T, self.centre[:, None], out=z)
        z /= self.scale[:, None]

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


@attrs.frozen(eq=False)
class _Moments:
    """Weight, mean, standard deviation and range of columns, ``(d,)``; those of several blocks."""

    weight: float
    mean: Array
    spread: Array
    high: Array
    low: Array

    @property
    def reach(self) -> Array:
        """The largest distance from the mean."""
        reach: Array = np.maximum(self.high - self.mean, self.mean - self.low)
        return reach

    @classmethod
    def of(cls, value: Array, weights: Array | None) -> _Moments:
        """Return those of weighted rows ``(n, d)``."""
        blocks = [slice(start, start + BLOCK) for start in range(0, len(value), BLOCK)]
        given = ((value[b], None if weights is None else weights[b]) for b in blocks)
        return cls._joined([cls._of_block(*block) for block in given])

    @classmethod
    def _of_block(cls, value: Array, weights: Array | None) -> _Moments:
        z = value.T.astype(float, order="C")
        weight = float(len(value) if weights is None else weights.sum())
        share = np.full(len(value), 1.0 / weight) if weights is None else weights / weight
        first = cls(weight, z @ share, np.zeros(len(z)), z.max(axis=1), z.min(axis=1))
        # Divided by the reach first, so that squares neither overflow nor underflow.
        unit = np.where(first.reach > 0, first.reach, 1.0)
        z -= first.mean[:, None]
        z /= unit[:, None]
        return attrs.evolve(first, spread=unit * np.sqrt(np.square(z, out=z) @ share))

    @classmethod
    def _joined(cls, parts: list[_Moments]) -> _Moments:
        weights = np.array([part.weight for part in parts])
        mean, spread, high, low = (
            np.stack([getattr(part, name) for part in parts])
            for name in ("mean", "spread", "high", "low")
        )
        share = weights / weights.sum()
        whole = cls(weights.sum(), share @ mean, spread[0], high.max(axis=0), low.min(axis=0))
        unit = np.where(whole.reach > 0, whole.reach, 1.0)
        square = share @ (np.square(spread / unit) + np.square((mean - whole.mean) / unit))
        return attrs.evolve(whole, spread=unit * np.sqrt(square))


def squared_distances(z: Array, centres: Array) -> Array:
    """Return squared Euclidean distances ``(rows, m)`` between columns of z and of centres."""
    squares = [np.square(z - c[:, None]) for c in centres.T]
    distances = np.stack([s.sum(axis=0) for s in squares], axis=1)
    if not np.isnan(distances).any():
        return distances
    # With gaps, the mean over the columns that both have, times the number of all.
    shared = np.stack([(~np.isnan(s)).sum(axis=0) for s in squares], axis=1)
    totals = np.stack([np.nansum(s, axis=0) for s in squares], axis=1)
    scaled: Array = totals * (len(z) / np.maximum(shared, 1))
    return scaled


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return a + b rounded, and exactly what the rounding lost (Knuth, TAOCP 2, 4.2.2)."""
    total = a + b
    b_seen = total - a
    return total, (a - (total - b_seen)) + (b - b_seen)
