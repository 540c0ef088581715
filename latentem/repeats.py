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

    Rows without weight are left out.

    Parameters
    ----------
    data : Data

    Returns
    -------
    Data
        ``order`` has the first row, as given, of those that are equal.
    """
    if data.n < FEWEST or data.gapped:
        return data
    step = -(-data.n // SAMPLE)
    sample = data[np.arange(0, data.n, step)]
    if len(_first_rows(sample)[0]) > LARGEST_SHARE * sample.n:
        return data
    first, place = _first_rows(data)
    if len(first) > LARGEST_SHARE * data.n:
        return data
    weights = np.bincount(place, data.weights, len(first)).astype(float)  # (distinct,)
    first, weights = first[weights > 0], weights[weights > 0]
    return attrs.evolve(data[first], weights=weights, order=first)


def _first_rows(data: Data) -> tuple[Array, Array]:
    """Return the first row of each kind, in the order of the rows, and the kind of each row."""
    kind = np.zeros(data.n, dtype=np.int64)
    n_kinds = 1
    for column in _columns(data):
        codes, n_codes = _codes(column)
        # Kinds are fewer than rows, so that pairs are numbers below 2^63.
        kind, n_kinds = _codes(kind * n_codes + codes) if n_codes > 1 else (kind, n_kinds)
        if n_kinds == data.n:
            break
    first = np.empty(n_kinds, dtype=np.int64)
    first[kind[::-1]] = np.arange(data.n)[::-1]  # of several the last written stays
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(n_kinds)
    return first[order], rank[kind]


def _codes(column: Array) -> tuple[Array, int]:
    """Return numbers 0, 1, ... for the values of a column, and how many there are."""
    is_real = column.dtype.kind in "biuf"
    whole = column.astype(np.int64) if is_real and np.abs(column).max() < 2**52 else None
    if whole is not None and (column.dtype.kind != "f" or (whole == column).all()):
        low, high = int(whole.min()), int(whole.max())
        if high - low < 4 * len(column):  # a table of them is cheaper than sorting
            seen = np.zeros(high - low + 1, dtype=bool)
            seen[whole - low] = True
            numbers = np.cumsum(seen) - 1
            return numbers[whole - low], int(numbers[-1]) + 1
    values, codes = np.unique(column, return_inverse=True)
    return codes, len(values)


def _columns(data: Data) -> Iterator[Array]:
    """Yield each column of what is known of the rows, weights aside, once."""
    inputs = {id(array): array for array in data.inputs.values()}
    for arrays in (data.values, data.labels, data.missing, inputs):
        for array in arrays.values():
            yield from array.reshape(data.n, -1).T
