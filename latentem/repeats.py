"""Equal rows made one row of more weight, before any pass over them.

Counts, categories and rounded measurements repeat: a million counts are some dozens of distinct
ones. A row of weight w equals w rows, so that nothing changes but the cost of a pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from latentem.data import Data
from latentem.distributions.arrays import Array

#: Rows below which a pass costs too little to be worth it, and rows looked at first.
FEWEST, SAMPLE = 1_000, 4_096
#: Largest share of distinct rows at which merging pays.
LARGEST_SHARE = 0.5


def merged(data: Data) -> Data:
    """Return the distinct rows with the sums of their weights; the data where few rows repeat.

    Rows without weight are left out, and so they are where values have gaps, which few rows share.

    Parameters
    ----------
    data : Data

    Returns
    -------
    Data
        ``order`` has the first row, as given, of those that are equal.
    """
    if data.gapped:
        return _counted(data)
    if data.n < FEWEST:
        return data
    step = -(-data.n // SAMPLE)
    kind = None if _kinds(data[np.arange(0, data.n, step)]) is None else _kinds(data)
    if kind is None:
        return data
    weights = np.bincount(kind, data.weights).astype(float)
    first = _first_rows(kind, len(weights))
    order = np.argsort(first)
    order = order[weights[order] > 0]
    rows = first[order]
    given = rows if data.order is None else data.order[rows]
    return attrs.evolve(data[rows], weights=weights[order], order=given)


def _counted(data: Data) -> Data:
    """Return the rows that have weight, in the order they stand; no weights if all are 1."""
    counted = data.counted
    n = int(np.count_nonzero(counted))
    if n in (0, data.n):
        return data
    # Rows of nothing but gaps stand last, and what is before them need not be copied.
    part = data[slice(0, n) if counted[:n].all() else np.flatnonzero(counted)]
    assert part.weights is not None
    order = np.flatnonzero(counted) if part.order is None else part.order
    weights = None if (part.weights == 1).all() else part.weights
    return attrs.evolve(part, weights=weights, order=order)


def _kinds(data: Data) -> Array | None:
    """Return a number of each row, the same for equal ones; None if few of them are equal."""
    kind, size = np.zeros(data.n, dtype=np.int64), 1
    for column in _columns(data):
        codes, n_codes = _codes(column)
        if size == 1:
            kind, size = codes, n_codes
        elif n_codes > 1:
            # Sizes are no larger than the number of rows: pairs are numbers below 2^63.
            kind, size = _codes(kind * n_codes + codes)
        if size > LARGEST_SHARE * data.n and _n_kinds(kind) > LARGEST_SHARE * data.n:
            return None  # further columns make none of them equal
    return kind


def _n_kinds(kind: Array) -> int:
    return int(np.count_nonzero(np.bincount(kind)))


def _first_rows(kind: Array, n_kinds: int) -> Array:
    """Return the first row of each kind, -1 of those that have none."""
    first = np.full(n_kinds, -1)
    head = np.arange(min(len(kind), 8 * SAMPLE))[::-1]
    first[kind[head]] = head  # of several the last written stays
    rest = np.flatnonzero((first < 0)[kind])[::-1]  # few kinds have no row among the head
    first[kind[rest]] = rest
    return first


def _codes(column: Array) -> tuple[Array, int]:
    """Return numbers from 0 for the values of a column, and one that is above them all.

    That is at most the number of rows; not every number need occur.
    """
    whole = None
    if column.dtype.kind in "biuf":
        low, high = column.min().item(), column.max().item()
        if low > -(2**52) and high < 2**52:  # not if one is NaN
            whole = column.astype(np.int64, copy=False)
    if whole is not None and (column.dtype.kind != "f" or (whole == column).all()):
        size = int(high) - int(low) + 1
        if size <= len(column):
            return whole - int(low) if low else whole, size
    values, codes = np.unique(column, return_inverse=True)
    return codes, len(values)


def _columns(data: Data) -> Iterator[Array]:
    """Yield each column of what is known of the rows, weights aside, once."""
    inputs = {id(array): array for array in data.inputs.values()}
    for arrays in (data.values, data.labels, data.missing, inputs):
        for array in arrays.values():
            yield from array.reshape(data.n, -1).T
