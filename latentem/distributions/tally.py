"""Records of counts: distinct ones with their weights, for families that need the whole of them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution
from latentem.distributions.kernels import Attached, Kernel, not_parameterised
from latentem.distributions.records import D, Record, maximise_rows
from latentem.errors import ModelError


def distinct(value: Array) -> tuple[Array, Array]:
    """Return the distinct counts, in order, and which of them each row has.

    Where they are close together, all between the smallest and the largest.
    """
    value = value.astype(np.int64, copy=False)
    low, high = (int(value.min()), int(value.max())) if len(value) else (0, -1)
    if high - low <= 2 * len(value):  # no need to sort
        return np.arange(low, high + 1), value - low
    counts, place = np.unique(value, return_inverse=True)
    return counts, place.reshape(-1)


def tallied(value: Array, weights: Array) -> tuple[Array, Array]:
    """Return the counts that occur, and the weights ``(K, rows)`` of each, ``(K, counts)``."""
    counts, place = distinct(value)
    sums = np.stack([np.bincount(place, own, minlength=len(counts)) for own in weights])
    seen = sums.any(axis=0)
    return counts[seen], sums[:, seen]


@attrs.frozen(eq=False)
class Tally(Record):
    """Distinct counts ``(counts,)`` with their expected weights ``(K, counts)``.

    It grows with the number of distinct counts, and not with the rows.
    """

    value: Array
    weights: Array

    def __add__(self, other: Tally) -> Tally:
        both = np.concatenate([self.weights, other.weights], axis=1)
        return Tally(*tallied(np.concatenate([self.value, other.value]), both))

    def maximise(self, dist: D) -> D:
        return maximise_rows(dist, self.value, self.weights.T)


@attrs.frozen(eq=False)
class TallyKernel(Kernel):
    """A distribution of counts, of which only the distinct ones are evaluated."""

    dist: Distribution

    @property
    def way(self) -> str:
        return "log_prob of each distinct value"

    def on(self, value: Array) -> Attached:
        return _AttachedTally(self.dist, value)

    def expected_log_prob(self, record: Tally) -> tuple[float, float]:
        if not self.dist.is_parameterised:
            raise ModelError(not_parameterised(self.dist))
        log_prob = self.dist.log_prob(record.value).T
        terms = np.multiply(
            record.weights, log_prob, where=record.weights > 0, out=np.zeros(record.weights.shape)
        )
        return float(terms.sum()), float(np.abs(terms).sum())


@attrs.frozen(eq=False, slots=False)
class _AttachedTally(Attached):
    dist: Distribution
    value: Array

    @cached_property
    def _distinct(self) -> tuple[Array, Array]:
        return distinct(self.value)

    def log_density(self) -> Array:
        if not self.dist.is_parameterised:
            raise ModelError(not_parameterised(self.dist))
        counts, place = self._distinct
        by_count: Any = self.dist.log_prob(counts)
        return np.ascontiguousarray(by_count[place].T)

    def record(self, weights: Array) -> Tally:
        counts, place = self._distinct
        sums = np.stack([np.bincount(place, own, minlength=len(counts)) for own in weights])
        seen = sums.any(axis=0)
        return Tally(counts[seen], sums[:, seen])
