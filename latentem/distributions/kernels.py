"""Kernels: distributions made ready for passes over blocks of rows.

A kernel does once per step what need not be done once per block (factorising, stacking). Arrays
over rows are k-major here, ``(states, rows)``, because reductions over states are then long and
contiguous.
"""

from __future__ import annotations

import abc
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.records import (
    Record,
    Rows,
    StackRecord,
    Statistics,
    impossible,
    plug_in,
)
from latentem.errors import ModelError
from latentem.kernels.expected import Standardised, single_factors
from latentem.kernels.products import over_rows, sums_over_rows

if TYPE_CHECKING:
    from latentem.distributions.base import Distribution, ExponentialFamily


class Kernel(abc.ABC):
    """A distribution with one parents' axis, prepared for many blocks of rows."""

    __slots__ = ()

    @abc.abstractmethod
    def on(self, value: Array) -> Attached:
        """Attach a block of values."""

    @abc.abstractmethod
    def expected_log_prob(self, record: Any) -> tuple[float, float]:
        """Return E[log p] under the record, and the sum of its terms' magnitudes.

        The second bounds the rounding error of the first (in units of machine precision).
        """

    def record_for(self, old: Kernel) -> Kernel | None:
        """Return a kernel with the densities of ``old`` whose records are precise enough for this.

        None if those of ``old`` are. It is asked of the kernel that the M-step just made.
        """
        return None

    @property
    def way(self) -> str:
        """How it evaluates a block of rows, in words."""
        return "kernel of its own"

    @property
    def distances(self) -> Distances | None:
        """What the densities are distances to; None if they are something else."""
        return None

    @property
    def divided(self) -> Divided | None:
        """Its densities as what is alike in all states and what differs; None if nothing is."""
        return None

    @property
    def compiled(self) -> Kernel:
        """The kernel that does the same by compiled loops; itself if there is none."""
        return self

    @property
    def n_columns(self) -> int:
        """Columns of working arrays a row, for the size of a block."""
        return 0

    @property
    def is_at_once(self) -> bool:
        """Whether there is a compiled pass that makes no such arrays, see `Attached.at_once`."""
        return False


class Divided(Protocol):
    r"""Log-densities of which a part is the same in all states, :math:`g(x) + \log p_k(x)`.

    That part drops out of the posterior of a mixture. What it adds to the log-likelihood, and what
    the record needs of the rows whatever their states, are functions of sums over the rows that no
    parameter changes: the common sums.
    """

    @property
    def linear(self) -> LinearKernel:
        r"""What differs between states, :math:`\log p_k`."""

    @property
    def basis(self) -> object:
        """What the common sums depend on; they stay the same while it does."""

    def common_sums(self, value: Array, weights: Array | None) -> Array:
        """Return the common sums of rows, which add."""

    def log_common(self, sums: Array) -> float:
        r"""Return :math:`\sum_i w_i \, g(x_i)`, given the common sums."""

    def record_of(self, weight: Array, total: Array, sums: Array) -> Record:
        """Return the record, given the weights ``(K,)`` and totals of `linear`'s statistics."""


@attrs.frozen(eq=False)
class Distances:
    """Log-densities that are a multiple of -|x - m_k|^2, and how their records are taken.

    Under hard assignment the nearest m_k is all that counts, see `latentem.kernels.nearest`. The
    statistics are z = (x - centre) / scale and |z|^2; of the states in ``own``, those about their
    own centres in the reference.

    Attributes
    ----------
    at : array, (K, d)
        The m_k, in units of z.
    exact : tuple of two arrays, (K, d), or None
        The m_k in the units of x, and what their rounding lost, if z has too few digits of some.
    reference : object
    own : array, (K,), or None
    """

    at: Array
    exact: tuple[Array, Array] | None
    reference: Any
    own: Array | None


class Attached(abc.ABC):
    """A kernel on a block of rows: what the E-step reads and the M-step's record."""

    __slots__ = ()

    @abc.abstractmethod
    def log_density(self) -> Array:
        """Return log p(value | k), ``(K, rows)``; the caller may overwrite it."""

    @abc.abstractmethod
    def record(self, weights: Array) -> Any:
        """Return the record of the block under weights ``(K, rows)``."""

    def at_once(
        self, log_prior: Array, weights: Array | None
    ) -> tuple[Record, Array, Array] | None:
        """Return what a mixture with this alone expects, in one compiled pass, where there is one.

        With the log prior ``(K, 1)`` and weights of the rows: the record, the expected number of
        rows in each state ``(K,)``, and log p(value) ``(rows,)``.
        """
        return None


@attrs.frozen(eq=False)
class RowKernel(Kernel):
    """The third tier: the plain two methods."""

    dist: Distribution

    @property
    def way(self) -> str:
        return "log_prob and fit of the family itself, on rows"

    def on(self, value: Array) -> Attached:
        read_only = value.view()
        read_only.flags.writeable = False  # the data belong to the user
        return _AttachedRows(self.dist, read_only)

    def expected_log_prob(self, record: Rows) -> tuple[float, float]:
        total, size = 0.0, 0.0
        for value, weights in record.blocks:
            log_prob = self.on(value).log_density().T
            terms = np.multiply(weights, log_prob, where=weights > 0, out=np.zeros(weights.shape))
            total += float(terms.sum())
            size += float(np.abs(terms).sum())
        return total, size


@attrs.frozen(eq=False)
class _AttachedRows(Attached):
    dist: Distribution
    value: Array

    def log_density(self) -> Array:
        with np.errstate(divide="ignore"), plug_in(self.dist, "log_prob", value=self.value):
            log_prob = self.dist.log_prob(self.value)
        # A copy: the engine works in place and the array belongs to the plug-in.
        log_density = np.array(np.asarray(log_prob).T, dtype=float, order="C", ndmin=2)
        if log_density.ndim != 2 or log_density.shape[1] != len(self.value):
            raise ModelError(
                f"{type(self.dist).__name__}.log_prob must return an array (n, K), one row for "
                f"each of the {len(self.value)} values, got shape {np.shape(log_prob)}. "
                "Put the rows first and the parents' states last."
            )
        return log_density

    def record(self, weights: Array) -> Rows:
        return Rows(((self.value, weights.T.copy()),))


def expected_under(
    dist: ExponentialFamily, eta: Array, log_normaliser: Array, record: Statistics
) -> tuple[float, float]:
    """Return eta . total - A . weight + log_base, and the magnitude of its terms.

    This is Q of one node: for an exponential family it needs no row of data.
    """
    if record.reference is not getattr(dist, "reference", None):
        eta, log_normaliser = dist.about(record.reference).natural_parameters()
        eta = np.maximum(eta, LOG_ZERO)
    if eta.shape != record.total.shape:
        raise ModelError(
            f"{type(dist).__name__} must have the statistics that the record holds, "
            f"{record.total.shape}, got {eta.shape}. Use the same family, structure and states."
        )
    total = record.total
    if eta.min(initial=0.0) <= LOG_ZERO:
        total = np.where(impossible(eta, total, record.weight[:, None]), 0.0, total)
    value = np.vdot(eta, total) - log_normaliser @ record.weight
    size = np.vdot(np.abs(eta), np.abs(total)) + np.abs(log_normaliser) @ record.weight
    if not log_normaliser.any():  # logarithms of probabilities; almost 1, these are rounded too
        size += np.abs(total).sum()
    return float(value) + record.log_base, float(size) + abs(record.log_base)


@attrs.frozen(eq=False)
class LinearKernel(Kernel):
    """The first tier: log-densities are one matrix product with the statistics.

    Attributes
    ----------
    dist : ExponentialFamily
    eta : array, (K, p)
        Natural parameters.
    log_normaliser : array, (K,)
    is_free : bool
        Whether it is known that the parameters are well within all constraints.
    """

    dist: ExponentialFamily
    eta: Array
    log_normaliser: Array
    is_free: bool = attrs.field(default=False, kw_only=True)

    @classmethod
    def of(cls, dist: ExponentialFamily) -> LinearKernel:
        with np.errstate(divide="ignore"):
            eta, log_normaliser = dist.natural_parameters()
        return cls(dist, np.maximum(eta, LOG_ZERO), np.asarray(log_normaliser))

    @property
    def way(self) -> str:
        return f"matrix product of {self.n_statistics} statistics a row"

    @property
    def n_statistics(self) -> int:
        """The number of statistics that the rows are asked for, p."""
        return int(self.eta.shape[1])

    @property
    def coefficients(self) -> Array:
        """Those of 1 and of these statistics in log p, ``(K, 1 + p)``."""
        return np.concatenate([-self.log_normaliser[:, None], self.eta], axis=1)

    def statistics_into(self, out: Array, value: Array) -> None:
        """Write these statistics of each row, ``(p, rows)``."""
        self.dist.statistics_into(out, value)

    @property
    def pairs(self) -> Array:
        """Places of the factors of these statistics, ``(p, 2)``, see `latentem.kernels.expected`.

        Counted from 1; 0 is the factor 1, and below 0 stand levels.
        """
        pairs = self.dist.pairs
        return single_factors(self.n_statistics) if pairs is None else pairs

    def factors_into(self, out: Array, value: Array) -> None:
        """Write the factors of each row, ``(m, rows)``."""
        self.dist.factors_into(out, value)

    def standardised(self, value: Array) -> Standardised | None:
        """Return the rows whose standardised columns are the factors, if these are no others."""
        return self.dist.standardised(value)

    def record_of(self, weight: Array, total: Array) -> Statistics:
        """Return the record, given the weights ``(K,)`` and the total of these statistics."""
        return Statistics(weight, total, 0.0, getattr(self.dist, "reference", None))

    def on(self, value: Array) -> Attached:
        return AttachedLinear(self, value, Stack.of((self,)).on((value,)))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        return expected_under(self.dist, self.eta, self.log_normaliser, record)


@attrs.frozen(eq=False)
class DistanceKernel(LinearKernel):
    """A linear kernel whose log-densities are distances."""

    to: Distances

    @property
    def distances(self) -> Distances:
        return self.to


@attrs.frozen(eq=False)
class AttachedLinear(Attached):
    """A linear kernel by itself, base measure included."""

    kernel: LinearKernel
    value: Array
    stack: AttachedStack

    def log_density(self) -> Array:
        return self.stack.log_density() + self.kernel.dist.log_base_measure(self.value)

    def record(self, weights: Array) -> Statistics:
        (record,) = self.stack.stack.split(self.stack.record(weights))
        assert isinstance(record, Statistics)
        base = np.broadcast_to(self.kernel.dist.log_base_measure(self.value), weights.shape[1:])
        return attrs.evolve(record, log_base=record.log_base + float((weights @ base).sum()))


@attrs.frozen(eq=False)
class TemplateKernel(Kernel):
    """A family without parameters yet: it can only take statistics, for the first M-step."""

    dist: ExponentialFamily

    @property
    def way(self) -> str:
        return "statistics alone"

    def on(self, value: Array) -> Attached:
        return _AttachedTemplate(self.dist, value)

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        raise ModelError(not_parameterised(self.dist))


@attrs.frozen(eq=False)
class _AttachedTemplate(Attached):
    dist: ExponentialFamily
    value: Array

    def log_density(self) -> Array:
        raise ModelError(not_parameterised(self.dist))

    def record(self, weights: Array) -> Statistics:
        total = weights @ self.dist.statistics(self.value)
        return Statistics(weights.sum(axis=1), total, 0.0, getattr(self.dist, "reference", None))


@attrs.frozen(eq=False)
class RecordingKernel(Kernel):
    """The densities of one kernel with the records of another."""

    density: Kernel
    recorder: Kernel

    @property
    def way(self) -> str:
        return f"{self.density.way}; records by {self.recorder.way}"

    @property
    def distances(self) -> Distances | None:
        old, new = self.density.distances, self.recorder.distances
        if old is None or new is None:
            return None
        return attrs.evolve(old, reference=new.reference, own=new.own)

    def on(self, value: Array) -> Attached:
        return _AttachedRecording(self.density.on(value), self.recorder.on(value))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        return self.density.expected_log_prob(record)


@attrs.frozen(eq=False)
class _AttachedRecording(Attached):
    density: Attached
    recorder: Attached

    def log_density(self) -> Array:
        return self.density.log_density()

    def record(self, weights: Array) -> Any:
        return self.recorder.record(weights)


def not_parameterised(dist: Distribution) -> str:
    """Return the message for a template that was asked for a density."""
    name = type(dist).__name__
    return f"{name} must have parameters to be evaluated, got a template. Fit the model first."


@attrs.frozen(eq=False)
class _AttachedPresent(Attached):
    """A kernel on rows of which some have no value: their density is 1, their weight 0."""

    attached: Attached
    present: Array  # (rows,)

    def log_density(self) -> Array:
        log_density = self.attached.log_density()
        log_density[:, ~self.present] = 0.0
        return log_density

    def record(self, weights: Array) -> Any:
        return self.attached.record(weights * self.present)

    def at_once(
        self, log_prior: Array, weights: Array | None
    ) -> tuple[Record, Array, Array] | None:
        # Those that do so see for themselves where there is no value.
        return self.attached.at_once(log_prior, weights)


# -- stacks: kernels with the same parents, one matrix product for all -------------------------


@attrs.frozen(eq=False, slots=False)
class Stack:
    """Kernels with the same parents. The statistics of the linear ones stand in one matrix.

    The first row of that matrix is 1, so that its product with the responsibilities also counts
    the rows of each state, and its coefficient carries the log-normalisers. A kernel some of whose
    values are missing has such a row of its own, with 0 where they are, as in its statistics. Base
    measures are left out: they are constants of the data.

    Attributes
    ----------
    kernels : tuple of Kernel
    incomplete : tuple of bool
        Whether values of a kernel may be missing.
    factored : bool
        Whether the matrix is one of the factors of the statistics, which are fewer, see
        `latentem.kernels.expected`.
    log_prior : array, (K, 1), or None
        What the coefficients hold besides the log-densities.
    """

    kernels: tuple[Kernel, ...]
    incomplete: tuple[bool, ...]
    factored: bool = False
    log_prior: Array | None = None

    @classmethod
    def of(cls, kernels: tuple[Kernel, ...], incomplete: tuple[bool, ...] | None = None) -> Stack:
        """Join kernels; by default no value is missing."""
        return cls(kernels, (False,) * len(kernels) if incomplete is None else incomplete)

    @cached_property
    def coefficients(self) -> Array | None:
        """Those of the matrix in the log-densities, ``(K, 1 + p)``; None if no kernel is linear."""
        pairs = zip(self.kernels, self.incomplete, strict=True)
        linear = [(k, gaps) for k, gaps in pairs if isinstance(k, LinearKernel)]
        if not linear:
            return None
        columns = [np.zeros((len(linear[0][0].eta), 1))]
        for kernel, gaps in linear:
            own = kernel.coefficients
            if gaps:
                columns.append(own)
            else:
                columns[0] = columns[0] + own[:, :1]
                columns.append(own[:, 1:])
        if self.log_prior is not None:
            columns[0] = columns[0] + self.log_prior
        return np.concatenate(columns, axis=1)

    @property
    def n_columns(self) -> int:
        """Columns of working arrays a row, for the size of a block."""
        own = max(kernel.n_columns for kernel in self.kernels)
        return 1 + sum(self._heights) + own

    @cached_property
    def _heights(self) -> tuple[int, ...]:
        """Rows of each linear kernel in the matrix of a block."""
        heights = []
        for kernel, gaps in zip(self.kernels, self.incomplete, strict=True):
            if isinstance(kernel, LinearKernel):
                own = int(kernel.pairs.max()) if self.factored else kernel.n_statistics
                heights.append(own + gaps)
        return tuple(heights)

    def on(
        self,
        values: tuple[Array, ...],
        present: tuple[Array | None, ...] | None = None,
        matrix: Array | None = None,
    ) -> AttachedStack:
        """Attach a block of values, one array for each kernel, and masks of those present.

        The matrix of their statistics, or factors, may be given, if it is known.
        """
        present = (None,) * len(values) if present is None else present
        others: list[Attached] = []
        for kernel, value, rows in zip(self.kernels, values, present, strict=True):
            if not isinstance(kernel, LinearKernel):
                attached = kernel.on(value)
                others.append(attached if rows is None else _AttachedPresent(attached, rows))
        standardised = self.standardised(values)
        if standardised is not None:
            return AttachedStack(self, None, (), standardised)
        if matrix is None:
            matrix = self._matrix(values, present)
        return AttachedStack(self, matrix, tuple(others))

    def standardised(self, values: tuple[Array, ...]) -> Standardised | None:
        """Return the rows that stand for the matrix of factors, if there are such."""
        (kernel, *more), (value, *_) = self.kernels, values
        alone = self.factored and not more and not self.incomplete[0]
        return kernel.standardised(value) if alone and isinstance(kernel, LinearKernel) else None

    def _matrix(self, values: tuple[Array, ...], present: tuple[Array | None, ...]) -> Array | None:
        """Return the matrix of the linear kernels' statistics, or of their factors."""
        if self.coefficients is None:
            return None
        matrix = np.empty((1 + sum(self._heights), len(values[0])))
        matrix[0] = 1.0
        row, heights = 1, iter(self._heights)
        for kernel, value, rows in zip(self.kernels, values, present, strict=True):
            if not isinstance(kernel, LinearKernel):
                continue
            end = row + next(heights)
            if rows is not None:
                matrix[row] = rows
                row += 1
            write = kernel.factors_into if self.factored else kernel.statistics_into
            write(matrix[row:end], value)
            if rows is not None:
                matrix[row:end, ~rows] = 0.0
            row = end
        return matrix

    @cached_property
    def pairs(self) -> Array | None:
        """Places of the factors of all statistics, ``(1 + p, 2)``; None if not all are linear."""
        pairs, row = [np.zeros((1, 2), dtype=np.int64)], 1
        for kernel, gaps in zip(self.kernels, self.incomplete, strict=True):
            if not isinstance(kernel, LinearKernel):
                return None
            if gaps:
                pairs.append(np.array([[row, 0]]))
                row += 1
            own = kernel.pairs
            pairs.append(own if row == 1 else np.where(own > 0, own + row - 1, own))
            row += int(own.max())
        return np.concatenate(pairs)

    @property
    def divided(self) -> Divided | None:
        """The densities divided into what is alike in all states and what differs, if they are."""
        alone = len(self.kernels) == 1 and not any(self.incomplete)
        return self.kernels[0].divided if alone else None

    def split(self, record: StackRecord) -> list[Record]:
        """Return the record of each kernel."""
        others = iter(record.others)
        records: list[Record] = []
        row = 1
        for kernel, gaps in zip(self.kernels, self.incomplete, strict=True):
            if record.sums is None or not isinstance(kernel, LinearKernel):
                records.append(next(others))
                continue
            weight = record.sums[:, row if gaps else 0]
            row += gaps
            end = row + kernel.n_statistics
            records.append(kernel.record_of(weight, record.sums[:, row:end]))
            row = end
        return records

    def same_statistics(self, other: Stack) -> bool:
        """Return whether the statistics of two steps of one fit are the same.

        Those of a family are about a point of reference, and depend on no other parameters.
        """
        pairs = zip(self.kernels, other.kernels, strict=True)
        return all(
            type(a) is type(b)
            and (
                not isinstance(a, LinearKernel)
                or not isinstance(b, LinearKernel)
                or _is_same(getattr(a.dist, "reference", None), getattr(b.dist, "reference", None))
            )
            for a, b in pairs
        )


def _is_same(a: Any, b: Any) -> bool:
    """Return whether two points of reference are one; of families side by side each has its own."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_is_same, a, b))
    return a is b


@attrs.frozen(eq=False)
class AttachedStack:
    """A stack on a block of rows."""

    stack: Stack
    matrix: Array | None  # (1 + p, rows), or of factors
    others: tuple[Attached, ...]
    standardised: Standardised | None = None  # in place of a matrix of factors

    @property
    def factors(self) -> Array | Standardised | None:
        """The statistics, or their factors, in whatever form they are; None if not linear."""
        return self.matrix if self.standardised is None else self.standardised

    @property
    def pairs(self) -> Array | None:
        """Places of the factors of the statistics, None if the matrix is one of statistics."""
        return self.stack.pairs if self.stack.factored else None

    def log_density(self) -> Array:
        """Return the sum of the log-densities, ``(K, rows)``, base measures left out."""
        terms = [other.log_density() for other in self.others]
        if self.matrix is not None:
            assert self.stack.coefficients is not None
            assert not self.stack.factored
            total = over_rows(self.stack.coefficients, self.matrix)
        else:
            total = terms.pop()
        for term in terms:
            if term.shape != total.shape:
                raise ModelError(
                    "log_prob must return one column for each combination of the parents' states: "
                    f"nodes with the same parents must agree, got {total.shape[0]} and "
                    f"{term.shape[0]}. Broadcast it to (n, K)."
                )
            total += term
        return total

    def record(self, weights: Array) -> StackRecord:
        """Return the record under weights ``(K, rows)``."""
        sums = None if self.matrix is None else sums_over_rows(weights, self.matrix)
        return StackRecord(sums, tuple(other.record(weights) for other in self.others))

    def record_of_states(self, state: Array, weights: Array, n_states: int) -> StackRecord:
        """Return the record of rows of these weights, each in one state; both ``(rows,)``."""
        sums = None
        if self.matrix is not None:
            columns = [np.bincount(state, weights * row, n_states) for row in self.matrix]
            sums = np.stack(columns, axis=1)
        if not self.others:
            return StackRecord(sums, ())
        table = np.zeros((n_states, len(state)))
        table[state, np.arange(len(state))] = weights
        return StackRecord(sums, tuple(other.record(table) for other in self.others))
