"""The second tier for prototypes: distances from residuals, and rows with one label each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.kernels import (
    Attached,
    Distances,
    Kernel,
    LinearKernel,
    RecordingKernel,
    RowKernel,
    expected_under,
)
from latentem.distributions.records import D, Record, Statistics, nothing_to_fit
from latentem.distributions.reference import Reference
from latentem.errors import DegenerateError

if TYPE_CHECKING:
    from latentem.distributions.prototype import Prototype


@attrs.frozen(eq=False)
class Members(Record):
    """Rows, each with its one state and its weight, for prototypes that need to see them."""

    blocks: tuple[tuple[Array, Array, Array], ...]
    n_states: int

    @property
    def holds_rows(self) -> bool:
        return True

    def __add__(self, other: Members) -> Members:
        return Members(self.blocks + other.blocks, self.n_states)

    def maximise(self, dist: D) -> D:
        prototype = cast("Prototype", dist)  # only prototypes make this record
        members = [self._of(state) for state in range(self.n_states)]
        empty = np.array([not len(value) for value, _ in members])
        if empty.any() and not dist.is_parameterised:
            raise DegenerateError(nothing_to_fit(empty))
        new = cast("D", prototype.of_members(members))
        return new.keep(dist, empty) if empty.any() else new

    def _of(self, state: int) -> tuple[Array, Array]:
        chosen = [(v, w, (s == state) & (w > 0)) for v, s, w in self.blocks]
        values, weights = ([pair[i][pair[2]] for pair in chosen] for i in (0, 1))
        return np.concatenate(values), np.concatenate(weights)


@attrs.frozen(eq=False)
class MemberKernel(RowKernel):
    """Prototypes that need to see their rows: under hard assignment one label a row is enough."""

    def on(self, value: Array) -> Attached:
        return _AttachedMembers(super().on(value), value)

    def expected_log_prob(self, record: Any) -> tuple[float, float]:
        if not isinstance(record, Members):
            return super().expected_log_prob(record)
        total = 0.0
        for value, state, weight in record.blocks:
            log_prob = self.dist.log_prob(value)
            total += float(weight @ log_prob[np.arange(len(value)), state])
        return total, abs(total)


@attrs.frozen(eq=False)
class _AttachedMembers(Attached):
    rows: Attached
    value: Array

    def log_density(self) -> Array:
        return self.rows.log_density()

    def record(self, weights: Array) -> Any:
        if (np.count_nonzero(weights, axis=0) > 1).any():
            return self.rows.record(weights)  # a start may leave rows between states
        state = weights.argmax(axis=0)
        return Members(((self.value, state, weights.max(axis=0)),), len(weights))


@attrs.frozen(eq=False)
class ResidualPrototypes(Kernel):
    """The second tier for prototypes: squared distances of some states from residuals x - m.

    z.z - 2 m.z + m.m loses the digits of a distance that is small beside the extent of the data;
    residuals do not, and their moments make the next prototypes. The price is a loop over these
    states.
    """

    linear: LinearKernel
    reference: Reference  # centred at the prototypes of these states
    residual: Array  # (K,), which states
    to: Distances | None  # None for angles

    @property
    def distances(self) -> Distances | None:
        return self.to

    @property
    def way(self) -> str:
        return f"distances from residuals for {self.residual.sum()} of {len(self.residual)} states"

    @property
    def dist(self) -> Prototype:
        """The distribution."""
        return self.linear.dist  # type: ignore[return-value]

    def on(self, value: Array) -> Attached:
        return _AttachedPrototypes(self, self.dist.points(value), self.linear.on(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        linear = self.linear
        value, size = expected_under(linear.dist, linear.eta, linear.log_normaliser, record)
        # A residual has an error of eps times the values it is made of; it enters twice.
        reach = self.reference.extent * float(self.reference.scale[0])
        spread = np.sqrt(np.abs(record.total[:, -1]) * record.weight) * self.reference.scale[0]
        return value, size + 2 * reach * float(spread[self.residual].sum())

    def record_for(self, old: Kernel) -> Kernel | None:
        before = getattr(old, "residual", np.zeros_like(self.residual))
        return RecordingKernel(old, self) if (self.residual & ~before).any() else None


@attrs.frozen(eq=False)
class _AttachedPrototypes(Attached):
    kernel: ResidualPrototypes
    value: Array  # (rows, d)
    linear: Attached

    def _residuals(self) -> Iterator[tuple[Any, Array]]:
        """Yield each state in residual form with x - m, ``(rows, d)``."""
        reference = self.kernel.reference
        assert reference.centres is not None
        assert reference.low is not None
        for state in np.flatnonzero(self.kernel.residual):
            yield state, (self.value - reference.centres[state]) - reference.low[state]

    def log_density(self) -> Array:
        log_density = self.linear.log_density()
        factor = self.kernel.dist.unit_square / float(self.kernel.reference.scale[0] ** 2)
        for state, residuals in self._residuals():
            np.einsum("nd,nd->n", residuals, residuals, out=log_density[state])
            log_density[state] *= -factor
        return log_density

    def record(self, weights: Array) -> Statistics:
        total = self.linear.record(weights).total.copy()
        for state, residuals in self._residuals():
            residuals /= self.kernel.reference.scale
            total[state, :-1] = weights[state] @ residuals
            total[state, -1] = weights[state] @ np.einsum("nd,nd->n", residuals, residuals)
        return Statistics(weights.sum(axis=1), total, 0.0, self.kernel.reference)
