"""Records of expected statistics: everything between the E-step and the M-step.

Records add: blocks of rows, tied nodes and pseudo-observations are all sums of records.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.errors import DegenerateError, LatentemError, ModelError

if TYPE_CHECKING:
    from latentem.distributions.base import Distribution, ExponentialFamily

D = TypeVar("D", bound="Distribution")
R = TypeVar("R", bound="Record")


class Record(abc.ABC):
    """Expected statistics of one node: what its maximiser sees. Records add."""

    __slots__ = ()

    @property
    def holds_rows(self) -> bool:
        """Whether it grows with the number of rows."""
        return False

    @property
    def vector(self) -> Array | None:
        """All its numbers in a row, if they are sums over rows and nothing but; else None."""
        return None

    def of_vector(self, vector: Array) -> Self:
        """Return the record with other numbers in the place of its own."""
        raise NotImplementedError(type(self).__name__)

    @property
    def units(self) -> tuple[object, ...]:
        """What the sums are relative to: points of reference."""
        return ()

    @abc.abstractmethod
    def __add__(self, other: Any) -> Self:
        """Return the record of both sets of rows."""

    @abc.abstractmethod
    def maximise(self, dist: D) -> D:
        """Return the distribution of ``dist``'s family that maximises the expected log-density."""

    def split(self, n: int) -> tuple[Record, ...]:
        """Return a record for each of n equal groups of parent states."""
        raise NotImplementedError(type(self).__name__)


@contextlib.contextmanager
def plug_in(dist: Distribution, method: str, **arrays: Array) -> Iterator[None]:
    """Within a call of a plug-in, say whose error it is that comes out."""
    try:
        yield
    except LatentemError:
        raise
    except Exception as error:
        given = ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())
        raise ModelError(
            f"{type(dist).__name__}.{method} must work for {given}, got {type(error).__name__}: "
            f"{error}. Check the data's shape, or the method."
        ) from error


def maximise_rows(dist: D, value: Array, weights: Array) -> D:
    """Call a two-method maximiser, guarding states without weight and non-finite results."""
    empty = ~(weights.sum(axis=0) > 0)
    name = type(dist).__name__
    if empty.any() and not dist.is_parameterised:
        raise DegenerateError(nothing_to_fit(empty))
    with np.errstate(all="ignore"), plug_in(dist, "fit", value=value, weights=weights):
        new = dist.fit(value, weights)
    if not isinstance(new, type(dist)):
        raise ModelError(f"{name}.fit must return a {name}, got {new!r}. Return the fitted one.")
    if empty.any():
        new = new.keep(dist, empty)
    return check_finite(new)


def check_finite(dist: D) -> D:
    """Return a fitted distribution, or raise `DegenerateError` if a parameter is not finite."""
    for field, array in dist.parameters.items():
        if array is None or not np.isfinite(array).all():
            raise DegenerateError(
                f"{type(dist).__name__} must get finite parameters, got {field} = {array}. "
                f"Check the maximiser, or whether the weighted values determine '{field}'."
            )
    return dist


def nothing_to_fit(empty: Array) -> str:
    """Return the message for states (a mask) without weight and without parameters."""
    states = ", ".join(map(str, np.flatnonzero(empty)))
    return (
        f"every state must have some weight to start from, got none for state {states}. "
        "Use fewer states or another start."
    )


@attrs.frozen(eq=False, slots=False)
class Rows(Record):
    """Values ``(n, *event)`` with their expected weights ``(n, K)``: for the two-method plug-in.

    Attributes
    ----------
    blocks : tuple of pairs of array
        Values and weights of consecutive rows, joined when the maximiser needs them.
    """

    blocks: tuple[tuple[Array, Array], ...]

    @property
    def holds_rows(self) -> bool:
        return True

    @cached_property
    def value(self) -> Array:
        """The values."""
        return np.concatenate([value for value, _ in self.blocks])

    @cached_property
    def weights(self) -> Array:
        """The weights."""
        return np.concatenate([weights for _, weights in self.blocks])

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.blocks + other.blocks)

    def maximise(self, dist: D) -> D:
        return maximise_rows(dist, self.value, self.weights)


@attrs.frozen(eq=False)
class Counts(Record):
    """Expected counts ``(n_states, K)`` of the states of a discrete node: for latent nodes."""

    counts: Array

    @property
    def states(self) -> Array:
        """The values 0, ..., n_states - 1."""
        return np.arange(len(self.counts))

    @property
    def vector(self) -> Array:
        return self.counts.ravel()

    def of_vector(self, vector: Array) -> Counts:
        return Counts(vector.reshape(self.counts.shape))

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.counts + other.counts)

    def maximise(self, dist: D) -> D:
        if hasattr(dist, "from_statistics"):  # an exponential family
            return dist.update(self.as_statistics(dist))
        return maximise_rows(dist, self.states, self.counts)

    def as_statistics(self, dist: Any) -> Statistics:
        """Return the record that an observed node of an exponential family would have."""
        return Statistics(self.counts.sum(axis=0), self.counts.T @ dist.statistics(self.states))

    @property
    def per_state(self) -> Array:
        """The expected number of rows in each state, ``(n_states,)``."""
        return np.asarray(self.counts.sum(axis=1))

    def split(self, n: int) -> tuple[Counts, ...]:
        return tuple(Counts(part) for part in np.split(self.counts, n, axis=1))

    def expected_log_prob(self, log_prob: Array) -> tuple[float, float]:
        """Return sum_zk counts[z, k] log p(z | k), where 0 log 0 = 0, and its terms' magnitude.

        ``log_prob`` is the table log p(z | k), ``(n_states, K)``. A probability of almost 1 is
        rounded too, by what may be more than its logarithm.
        """
        if log_prob.min() > LOG_ZERO:
            terms = self.counts * log_prob
        else:
            weight = self.counts.sum(axis=0)
            seen = ~impossible(log_prob, self.counts, weight) & (self.counts > 0)
            terms = np.multiply(self.counts, log_prob, where=seen, out=np.zeros(self.counts.shape))
        return float(terms.sum()), float(np.abs(terms).sum() + self.counts.sum())


@attrs.frozen(eq=False, slots=False)
class Choices(Record):
    """Covariates ``(n, p)`` with expected states: for latents whose probabilities depend on them.

    Attributes
    ----------
    blocks : tuple of pairs of array
        Covariates, and the weights ``(n, K, states)``, of consecutive rows.
    """

    blocks: tuple[tuple[Array, Array], ...]

    @classmethod
    def of(cls, inputs: Array, by_state: Array, weights: Array | None) -> Choices:
        """Take expected states ``(states, K, rows or 1)`` of weighted rows."""
        shape = (*by_state.shape[:2], len(inputs))
        table = np.broadcast_to(by_state if weights is None else by_state * weights, shape)
        return cls(((inputs, np.ascontiguousarray(table.transpose(2, 1, 0))),))

    @property
    def holds_rows(self) -> bool:
        return True

    @cached_property
    def inputs(self) -> Array:
        """The covariates."""
        return np.concatenate([inputs for inputs, _ in self.blocks])

    @cached_property
    def weights(self) -> Array:
        """The expected states."""
        return np.concatenate([weights for _, weights in self.blocks])

    @property
    def per_state(self) -> Array:
        """The expected number of rows in each state, ``(n_states,)``."""
        return np.asarray(self.weights.sum(axis=(0, 1)))

    @property
    def rows(self) -> Rows:
        """The same as an observed node would have it: each row in each state."""
        states = self.weights.shape[2]
        value = [
            np.column_stack([self.inputs, np.full(len(self.inputs), s)]) for s in range(states)
        ]
        weights = np.concatenate(np.moveaxis(self.weights, 2, 0))
        return Rows(((np.concatenate(value), weights),))

    def split(self, n: int) -> tuple[Choices, ...]:
        per_block = [np.split(weights, n, axis=1) for _, weights in self.blocks]
        inputs = [inputs for inputs, _ in self.blocks]
        return tuple(
            Choices(tuple((u, parts[i]) for u, parts in zip(inputs, per_block, strict=True)))
            for i in range(n)
        )

    @property
    def counts(self) -> Counts:
        """The same for a distribution that takes no covariates."""
        return Counts(self.weights.sum(axis=0).T)

    def __add__(self, other: Choices) -> Choices:
        return Choices(self.blocks + other.blocks)

    def maximise(self, dist: D) -> D:
        return self.rows.maximise(dist)

    def expected_log_prob(self, dist: Distribution) -> tuple[float, float]:
        """Return sum_iks weights[i, k, s] log p(s | k, inputs[i]), and its terms' magnitude."""
        total, size = 0.0, 0.0
        for inputs, weights in self.blocks:
            log_prob = dist.state_log_probs(inputs)
            terms = np.multiply(weights, log_prob, where=weights > 0, out=np.zeros(weights.shape))
            total += float(terms.sum())
            size += float(np.abs(terms).sum())
        return total, size


@attrs.frozen(eq=False)
class Statistics(Record):
    """Expected sufficient statistics of an exponential family.

    Attributes
    ----------
    weight : array, (K,)
        Expected number of rows in each state, sum_i r_ik.
    total : array, (K, p)
        Expected total of the statistics, sum_i r_ik T(x_i).
    log_base : float
        Expected log base measure, sum_ik r_ik log h(x_i).
    reference : object or None
        The point and scale about which the statistics were taken, for families that use one.
    """

    weight: Array
    total: Array
    log_base: float = 0.0
    reference: Any = None

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.weight + other.weight,
            self.total + other.total,
            self.log_base + other.log_base,
            self.reference,
        )

    @property
    def vector(self) -> Array:
        return np.concatenate([self.weight, self.total.ravel(), [self.log_base]])

    def of_vector(self, vector: Array) -> Statistics:
        weight, total = np.split(vector[:-1], [self.weight.size])
        shaped = total.reshape(self.total.shape)
        return Statistics(weight, shaped, float(vector[-1]), self.reference)

    @property
    def units(self) -> tuple[object, ...]:
        return (self.reference,)

    def maximise(self, dist: D) -> D:
        family = cast("ExponentialFamily", dist)  # only such families make this record
        return cast("D", family.from_statistics(self))


@attrs.frozen(eq=False)
class StackRecord:
    """What a stack accumulates: one matrix for all its linear kernels, a record for each other."""

    sums: Array | None  # (K, 1 + p)
    others: tuple[Record, ...]

    def __add__(self, other: StackRecord) -> StackRecord:
        sums = None if self.sums is None or other.sums is None else self.sums + other.sums
        pairs = zip(self.others, other.others, strict=True)
        return StackRecord(sums, tuple(a + b for a, b in pairs))


def joined_vector(records: Sequence[Record]) -> Array | None:
    """Return the numbers of several records in a row; None if some are more than sums."""
    vectors = [record.vector for record in records]
    known = [vector for vector in vectors if vector is not None]
    return np.concatenate(known) if known and len(known) == len(vectors) else None


def cut_vector(records: Sequence[R], vector: Array) -> tuple[R, ...]:
    """Undo `joined_vector`."""
    sizes = [0 if record.vector is None else record.vector.size for record in records]
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return tuple(record.of_vector(part) for record, part in zip(records, parts, strict=True))


def impossible(eta: Array, total: Array, weight: Array) -> Array:
    """Return where log 0 meets an expected count that is 0 but for rounding: 0 log 0 = 0.

    A probability within rounding of 1 leaves nothing to its complement, whose expected count may
    still be some 1e-17 of a row.
    """
    mask: Array = eta <= LOG_ZERO
    if not mask.any():
        return mask
    mask &= total <= 4 * np.finfo(float).eps * weight
    return mask
