"""A reference point and scale that outliers do not move."""

from __future__ import annotations

import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.covariance import Structure
from latentem.distributions.reference import SMALLEST_SCALE, Reference


def robust_reference(value: Array, form: Structure, weights: Array | None) -> Reference:
    """Return a reference with medians for its centre and interquartile ranges for its scale.

    Outliers are what this family is for: they shall neither cost the other rows their digits nor
    raise the floor. The standard deviation stands in where half of a column is one value.
    """
    plain = Reference.of(value, form, weights)
    centre, spread, reach = plain.centre.copy(), plain.spread.copy(), np.zeros(value.shape[1])
    for j, column in enumerate(value.T):
        seen = ~np.isnan(column) if weights is None else ~np.isnan(column) & (weights > 0)
        if not seen.any():
            continue
        order = np.argsort(column[seen], kind="stable")
        entries = column[seen][order].astype(float)
        share = np.cumsum(np.ones(len(order)) if weights is None else weights[seen][order])
        low, centre[j], high = entries[np.searchsorted(share, share[-1] * np.array([1, 2, 3]) / 4)]
        reach[j] = max(entries[-1] - centre[j], centre[j] - entries[0])
        range_ = (high - low) / 1.349
        spread[j] = range_ if range_ > SMALLEST_SCALE else plain.spread[j]
    scale = form.common_scale(spread)
    scale = np.where(scale > SMALLEST_SCALE, scale, 1.0)
    return Reference(centre, scale, spread, max(1.0, float(np.max(reach / scale))))
