"""Kernels of columns side by side: one matrix product for all that are linear."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.kernels import Attached, AttachedStack, Kernel, LinearKernel, Stack
from latentem.distributions.records import D, Record, Statistics, cut_vector, joined_vector

if TYPE_CHECKING:
    from latentem.distributions.side_by_side import SideBySide


@attrs.frozen(eq=False)
class ColumnsRecord(Record):
    """A record for each component: each has its own expected weight where entries are missing."""

    parts: tuple[Record, ...]

    @property
    def holds_rows(self) -> bool:
        return any(part.holds_rows for part in self.parts)

    def __add__(self, other: ColumnsRecord) -> ColumnsRecord:
        pairs = zip(self.parts, other.parts, strict=True)
        return ColumnsRecord(tuple(a + b for a, b in pairs))

    @property
    def vector(self) -> Array | None:
        return joined_vector(self.parts)

    def of_vector(self, vector: Array) -> ColumnsRecord:
        return ColumnsRecord(cut_vector(self.parts, vector))

    @property
    def units(self) -> tuple[object, ...]:
        return tuple(unit for part in self.parts for unit in part.units)

    def maximise(self, dist: D) -> D:
        return dist.update(self)


def joined(dist: SideBySide, kernels: Sequence[Kernel]) -> Kernel:
    """Return the kernel of complete rows: a linear one if those of all components are."""
    linear = [kernel for kernel in kernels if isinstance(kernel, LinearKernel)]
    if len(linear) < len(kernels):
        return ColumnsKernel.of(dist, kernels, gapped=False)
    eta = np.concatenate([kernel.eta for kernel in linear], axis=1)
    normaliser = np.sum([kernel.log_normaliser for kernel in linear], axis=0)
    return LinearColumns(dist, eta, normaliser, tuple(linear))


def _expected(kernels: Sequence[Kernel], parts: Sequence[Record]) -> tuple[float, float]:
    pairs = zip(kernels, parts, strict=True)
    terms = [kernel.expected_log_prob(part) for kernel, part in pairs]
    return sum(value for value, _ in terms), sum(size for _, size in terms)


def _parts(kernels: Sequence[Kernel], record: ColumnsRecord | Statistics) -> Sequence[Record]:
    """Return the record of each component; statistics that stand side by side are cut."""
    if isinstance(record, ColumnsRecord):
        return record.parts
    linear = [kernel for kernel in kernels if isinstance(kernel, LinearKernel)]
    return cut(record, [kernel.eta.shape[1] for kernel in linear])


def cut(record: Statistics, sizes: Sequence[int]) -> list[Statistics]:
    """Return the record of each component, which has so many statistics.

    The base measures, which are known of all together only, go to the first.
    """
    ends = np.cumsum(sizes)
    references = record.reference or (None,) * len(sizes)
    bases = [record.log_base, *(0.0 for _ in sizes[1:])]
    return [
        Statistics(record.weight, record.total[:, end - size : end], base, reference)
        for end, size, base, reference in zip(ends, sizes, bases, references, strict=True)
    ]


@attrs.frozen(eq=False)
class LinearColumns(LinearKernel):
    """Linear kernels of columns side by side, as one."""

    kernels: tuple[LinearKernel, ...]

    def expected_log_prob(self, record: Any) -> tuple[float, float]:
        return _expected(self.kernels, _parts(self.kernels, record))


@attrs.frozen(eq=False)
class ColumnsKernel(Kernel):
    """Kernels of columns side by side, of any kind, for rows with or without gaps.

    Attributes
    ----------
    dist : SideBySide
    kernels : tuple of Kernel
        One for each component.
    gapped : bool
        Whether entries may be missing.
    linear : Stack or None
        The linear ones among them.
    """

    dist: SideBySide
    kernels: tuple[Kernel, ...]
    gapped: bool
    linear: Stack | None

    @property
    def way(self) -> str:
        return ", ".join(dict.fromkeys(kernel.way for kernel in self.kernels))

    @classmethod
    def of(cls, dist: SideBySide, kernels: Sequence[Kernel], *, gapped: bool) -> ColumnsKernel:
        """Stack the linear kernels."""
        linear = tuple(kernel for kernel in kernels if isinstance(kernel, LinearKernel))
        stack = Stack.of(linear, (gapped,) * len(linear)) if linear else None
        return cls(dist, tuple(kernels), gapped, stack)

    @property
    def n_columns(self) -> int:
        own = 0 if self.linear is None else self.linear.n_columns
        return own + max(kernel.n_columns for kernel in self.kernels)

    def on(self, value: Array) -> Attached:
        values = self.dist.columns_of(value)
        present = [present_rows(column) if self.gapped else None for column in values]
        linear = {
            i: (kernel, _some_value(values[i], present[i]), present[i])
            for i, kernel in enumerate(self.kernels)
            if isinstance(kernel, LinearKernel)
        }
        attached = None
        if self.linear is not None:
            _, known, masks = zip(*linear.values(), strict=True)
            with np.errstate(invalid="ignore"):  # of a column that is missing in the whole block
                attached = self.linear.on(known, masks)
        others = tuple(
            _attach(kernel, values[i], present[i])
            for i, kernel in enumerate(self.kernels)
            if i not in linear
        )
        return _AttachedColumns(self, attached, others, tuple(linear.values()))

    def expected_log_prob(self, record: Any) -> tuple[float, float]:
        return _expected(self.kernels, _parts(self.kernels, record))

    def record_for(self, old: Kernel) -> Kernel | None:
        assert isinstance(old, ColumnsKernel | LinearColumns)
        pairs = list(zip(self.kernels, old.kernels, strict=True))
        finer = [kernel.record_for(before) for kernel, before in pairs]
        if all(kernel is None for kernel in finer):
            return None
        chosen = [f or before for f, (_, before) in zip(finer, pairs, strict=True)]
        return ColumnsKernel.of(self.dist, chosen, gapped=self.gapped)


def present_rows(column: Array) -> Array:
    """Return the rows, as a mask, in which there is something of a component."""
    if column.dtype.kind != "f":
        return np.ones(len(column), dtype=bool)
    missing = np.isnan(column)
    return np.logical_not(missing if missing.ndim == 1 else missing.all(axis=1))


def _some_value(column: Array, present: Array | None) -> Array:
    """Return a column with some valid value where it is missing, if it has any."""
    if present is None or present.all() or not present.any():
        return column
    filled = column.copy()
    filled[~present] = column[present.argmax()]
    return filled


@attrs.frozen(eq=False, slots=False)
class _AttachedColumns(Attached):
    """Columns side by side on a block of rows."""

    kernel: ColumnsKernel
    linear: AttachedStack | None
    others: tuple[Attached, ...]
    columns: tuple[tuple[Any, Array, Array | None], ...]  # kernel, values and mask of linear ones

    @cached_property
    def bases(self) -> list[Array | None]:
        """The log base measures of the linear components, ``(rows,)``, None where all are 0."""
        found: list[Array | None] = []
        for kernel, value, present in self.columns:
            base = np.asarray(kernel.dist.log_base_measure(value))
            if not base.any():
                found.append(None)
                continue
            base = np.broadcast_to(base, len(value))
            found.append(base if present is None else np.where(present, base, 0.0))
        return found

    def log_density(self) -> Array:
        terms = [other.log_density() for other in self.others]
        if self.linear is not None:
            terms.append(self.linear.log_density())
        terms += [base for base in self.bases if base is not None]
        total = terms[0]
        for term in terms[1:]:
            total += term
        return total

    def record(self, weights: Array) -> ColumnsRecord:
        others = iter(other.record(weights) for other in self.others)
        own: Any = iter(())
        if self.linear is not None:
            stack = self.linear.stack
            pairs = zip(stack.split(self.linear.record(weights)), self.bases, strict=True)
            own = (_with_base(record, weights, base) for record, base in pairs)
        kinds = [isinstance(kernel, LinearKernel) for kernel in self.kernel.kernels]
        return ColumnsRecord(tuple(next(own if linear else others) for linear in kinds))


def _with_base(record: Record, weights: Array, base: Array | None) -> Record:
    if base is None:
        return record
    assert isinstance(record, Statistics)
    return attrs.evolve(record, log_base=float((weights @ base).sum()))


def _attach(kernel: Kernel, value: Array, present: Array | None) -> Attached:
    if present is None or present.all():
        return kernel.on(value)
    return _AttachedSome(kernel.on(value[present]), present)


@attrs.frozen(eq=False)
class _AttachedSome(Attached):
    """A kernel on those rows that have a value: the density of the others is 1, their weight 0."""

    attached: Attached
    present: Array  # (rows,)

    def log_density(self) -> Array:
        part = self.attached.log_density()
        log_density = np.zeros((len(part), len(self.present)))
        log_density[:, self.present] = part
        return log_density

    def record(self, weights: Array) -> Any:
        return self.attached.record(np.ascontiguousarray(weights[:, self.present]))
