"""Columns that are independent given the parents: what products of distributions share.

Like `latentem.distributions.switch`, it hands every hook of `Distribution` on to what it holds.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import (
    Distribution,
    ExponentialFamily,
    count_parameters,
    expected_value,
    mixed_mean,
    sampler,
)
from latentem.distributions.checks import counted
from latentem.distributions.kernels import Kernel, not_parameterised
from latentem.distributions.product_kernel import (
    ColumnsKernel,
    ColumnsRecord,
    cut,
    joined,
    present_rows,
)
from latentem.distributions.records import Record, Statistics
from latentem.errors import ModelError, Unsuitable


@attrs.frozen(eq=False, repr=False)
class SideBySide(ExponentialFamily):
    r"""Columns that are independent given the parents.

    .. math:: \log p(x \mid k) = \sum_j \log p_j(x_j \mid k)

    It is an exponential family where all components are: their statistics stand side by side. The
    kernel of any other has one of each component. A subclass says what the components are.
    """

    @property
    @abc.abstractmethod
    def components(self) -> tuple[Distribution, ...]:
        """The distributions, in the order of their columns."""

    @property
    @abc.abstractmethod
    def widths(self) -> tuple[int, ...]:
        """The number of columns of each that takes vectors, 0 for one that takes scalars."""

    @abc.abstractmethod
    def of_components(self, components: Sequence[Distribution]) -> Self:
        """Return the same with other components."""

    @abc.abstractmethod
    def where(self, component: int) -> str:
        """Return how a component is called in names and messages."""

    def of_width(self, n_columns: int) -> Self:
        """Return the same for so many columns, if their number was left to the data."""
        return self

    def _check_components(self) -> None:
        """Raise `ModelError` unless all components are densities of their columns alone."""
        name = type(self).__name__
        for i, dist in enumerate(self.components):
            if not isinstance(dist, Distribution):
                raise ModelError(
                    f"{name}: every component must be a distribution, got {dist!r}. "
                    "Give one for each column, such as Poisson()."
                )
            if dist.requires_hard or dist.takes_covariates:
                what = "covariates" if dist.takes_covariates else "hard assignment"
                raise ModelError(
                    f"{name}: {self.where(i)} must be a density of its columns alone, got "
                    f"a {type(dist).__name__}, which needs {what}. Give it a node of its own."
                )

    @property
    def n_columns(self) -> int:
        """The number of columns of all."""
        return sum(width or 1 for width in self.widths)

    def columns_of(self, value: Array) -> list[Array]:
        """Return the values of each component, ``(n,)`` or ``(n, width)``."""
        if not any(self.widths):
            return list(np.ascontiguousarray(value.T))  # which are read one by one
        ends = np.cumsum([width or 1 for width in self.widths])
        return [
            value[:, end - width : end] if width else value[:, end - 1]
            for end, width in zip(ends, self.widths, strict=True)
        ]

    def _each(self, change: Callable[..., Any], *others: Sequence[Any]) -> Self:
        """Return the same with each component changed, given what others have at its place."""
        triples = zip(self.components, *others, strict=True)
        return self.of_components([change(*each) for each in triples])

    # -- what it is, from what the components are ----------------------------------------------

    @property
    def bounds_support(self) -> bool:  # type: ignore[override]
        """Whether any component does."""
        return any(dist.bounds_support for dist in self.components)

    @property
    def reaches_zero(self) -> bool:  # type: ignore[override]
        """Whether any component does."""
        return any(dist.reaches_zero for dist in self.components)

    @property
    def takes_gaps(self) -> bool:  # type: ignore[override]
        """Whether all components that take vectors do; those of scalars need not."""
        pairs = zip(self.components, self.widths, strict=True)
        return all(not width or dist.takes_gaps for dist, width in pairs)

    @property
    def parameters(self) -> dict[str, Array | None]:
        return self._named([dist.parameters for dist in self.components])

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return self._named([dist.state_arrays for dist in self.components])

    def _named(self, arrays: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what each component has by name as one mapping, its place in the names."""
        return {
            f"{self.where(i)}.{name}": value
            for i, own in enumerate(arrays)
            for name, value in own.items()
        }

    @property
    def is_parameterised(self) -> bool:
        return all(dist.is_parameterised for dist in self.components)

    @property
    def n_parameters(self) -> int:
        """The sum over the components."""
        return sum(count_parameters(dist) for dist in self.components)

    @property
    def has_prior(self) -> bool:
        return any(dist.has_prior for dist in self.components)

    @property
    def log_prior(self) -> float:
        return sum(dist.log_prior for dist in self.components)

    @property
    def events(self) -> tuple[str, ...]:
        return tuple(
            f"{self.where(i)}: {event}"
            for i, dist in enumerate(self.components)
            for event in dist.events
        )

    @property
    def at_constraint(self) -> bool:
        return any(dist.at_constraint for dist in self.components)

    @property
    def reference(self) -> tuple[Any, ...] | None:
        """What each component has taken from the data; None if none has."""
        own = tuple(getattr(dist, "reference", None) for dist in self.components)
        return None if all(each is None for each in own) else own

    # -- data ----------------------------------------------------------------------------------

    def check(self, value: Array) -> Array:
        if value.ndim == 1:
            value = value[:, None]
        width = self.n_columns
        if value.ndim != 2 or value.shape[1] != width:
            raise Unsuitable(
                f"have {counted(width, 'column')} because {{node}} is {self!r}",
                f"shape {value.shape}",
                "Give a column for each component.",
            )
        checked = []
        for i, column in enumerate(self.columns_of(value)):
            try:
                suited = self.components[i].check(column)
            except Unsuitable as error:
                requirement = f"{error.requirement} ({self.where(i)})"
                raise Unsuitable(requirement, error.actual, error.remedy) from None
            if suited.ndim != column.ndim:
                name = type(self.components[i]).__name__
                raise Unsuitable(
                    f"be given to a family of scalars ({self.where(i)})",
                    f"a {name}, which takes vectors",
                    f"Use one of scalars, such as Normal(), or Product([({name}(), 1), ...]).",
                )
            checked.append(suited.reshape(len(value), -1))
        return np.concatenate(checked, axis=1)

    def check_parents(self, shape: tuple[int, ...]) -> None:
        for dist in self.components:
            dist.check_parents(shape)

    def check_fit(self) -> None:
        for dist in self.components:
            dist.check_fit()

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        def bound(dist: Distribution, column: Array) -> Distribution:
            # A component that takes gaps reads what there is of each row by itself.
            if column.ndim == 2 or column.dtype.kind != "f":
                return dist.bind(column, weights)
            seen = ~np.isnan(column)
            if not seen.any():
                return dist
            return dist.bind(column[seen], None if weights is None else weights[seen])

        return self._each(bound, self.columns_of(value))

    @property
    def has_dissimilarity(self) -> bool:
        return any(dist.has_dissimilarity for dist in self.components)

    def dissimilarity(self, value: Array, other: Array) -> Array:
        """Return the sum over the components; with gaps, in proportion to those that both have."""
        total, shared = np.zeros((len(value), len(other))), np.zeros((len(value), len(other)))
        triples = zip(self.components, self.columns_of(value), self.columns_of(other), strict=True)
        for dist, left, right in triples:
            if dist.has_dissimilarity:
                far = dist.dissimilarity(left, right)
            else:
                far = (left[:, None] != right).reshape(*total.shape, -1).any(axis=-1)
            seen = present_rows(left)[:, None] & present_rows(right)
            total += np.where(seen, far, 0.0)
            shared += seen
        scaled: Array = total * (len(self.components) / np.maximum(shared, 1))
        return scaled

    # -- the states of the parents -------------------------------------------------------------

    def flatten(self, parents: tuple[int, ...]) -> Self:
        return self._each(lambda dist: dist.flatten(parents))

    def unflatten(self, parents: tuple[int, ...]) -> Self:
        return self._each(lambda dist: dist.unflatten(parents))

    def permuted_parents(self, orders: Sequence[Array]) -> Self:
        return self._each(lambda dist: dist.permuted_parents(orders))

    def started_from(self, other: Distribution) -> Self:
        other = other.free
        theirs = other.components if isinstance(other, SideBySide) else ()
        same = self.of_width(len(theirs))
        if len(theirs) != len(same.components):
            raise Unsuitable(
                f"start from {len(same.components)} components",
                repr(other),
                "Use the same components.",
            )
        return same._each(lambda dist, start: dist.started_from(start), theirs)

    def feasible(self) -> Self:
        return self._each(lambda dist: dist.feasible())

    def keep(self, old: Self, states: Array) -> Self:
        return self._each(lambda dist, before: dist.keep(before, states), old.components)

    # -- densities, fits, draws ----------------------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``."""
        value = np.asarray(value)
        pairs = zip(self.components, self.columns_of(value), strict=True)
        return np.asarray(sum(dist.log_prob(column) for dist, column in pairs))

    def fit(self, value: Array, weights: Array) -> Self:
        bound = self.bind(value)
        return bound._each(lambda dist, x: dist.fit(x, weights), bound.columns_of(value))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one row for each parent state, ``(n, columns)``."""
        draws = [sampler(dist)(rng, state) for dist in self.components]
        return np.concatenate([draw.reshape(len(state), -1) for draw in draws], axis=1)

    def expected_value(self) -> Array:
        """Return the means, ``(*parents, columns)``."""
        means = [expected_value(dist) for dist in self.components]
        columns = [
            mean if width else mean[..., None]
            for mean, width in zip(means, self.widths, strict=True)
        ]
        return np.concatenate(columns, axis=-1)

    def completed(self, value: Array, weights: Array) -> Array:
        return self._completed(value, lambda dist, rows: _means(dist, weights[:, rows]),
                               lambda dist, x: dist.completed(x, weights))  # fmt: skip

    def completed_by_draws(self, value: Array, state: Array, rng: np.random.Generator) -> Array:
        return self._completed(value, lambda dist, rows: sampler(dist)(rng, state[rows]),
                               lambda dist, x: dist.completed_by_draws(x, state, rng))  # fmt: skip

    def _completed(
        self,
        value: Array,
        fill: Callable[[Distribution, Array], Array],
        complete: Callable[[Distribution, Array], Array],
    ) -> Array:
        """Return values with single columns filled, vectors completed, where missing."""
        filled = []
        for dist, column in zip(self.components, self.columns_of(value), strict=True):
            missing = np.isnan(column)
            if column.ndim == 2:
                column = complete(dist, column) if missing.any() else column
            elif missing.any():
                column = column.copy()
                column[missing] = fill(dist, missing)
            filled.append(column.reshape(len(value), -1))
        return np.concatenate(filled, axis=1)

    def directions(self) -> list[dict[str, Array]]:
        """Those of the components."""
        return [
            {f"{self.where(i)}.{name}": change for name, change in direction.items()}
            for i, dist in enumerate(self.components)
            for direction in dist.directions()
        ]

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        components = list(self.components)
        for i in {int(name[name.index("[") + 1 : name.index("]")]) for name in direction}:
            prefix = f"{self.where(i)}."
            own = {k.removeprefix(prefix): v for k, v in direction.items() if k.startswith(prefix)}
            components[i] = components[i].moved(own, step)
        return self.of_components(components)

    # -- exponential family --------------------------------------------------------------------

    def _families(self) -> list[ExponentialFamily]:
        families = [dist.free for dist in self.components]
        for i, dist in enumerate(families):
            if not isinstance(dist, ExponentialFamily):
                raise ModelError(
                    f"{type(self).__name__}: {self.where(i)} must be an exponential family to have "
                    f"statistics, got a {type(dist).__name__}. Use fit, or log_prob."
                )
        return families  # type: ignore[return-value]

    def _sizes(self) -> list[int]:
        """Return the number of statistics of each component."""
        if not self.is_parameterised:
            raise ModelError(not_parameterised(self))
        return [dist.natural_parameters()[0].shape[-1] for dist in self._families()]

    def statistics(self, value: Array) -> Array:
        pairs = zip(self._families(), self.columns_of(value), strict=True)
        return np.concatenate([dist.statistics(column) for dist, column in pairs], axis=1)

    def statistics_into(self, out: Array, value: Array) -> None:
        parts = np.split(out, np.cumsum(self._sizes())[:-1])
        triples = zip(self._families(), parts, self.columns_of(value), strict=True)
        for dist, part, column in triples:
            dist.statistics_into(part, column)

    def natural_parameters(self) -> tuple[Array, Array]:
        etas, normalisers = zip(*(d.natural_parameters() for d in self._families()), strict=True)
        return np.concatenate(etas, axis=-1), np.sum(normalisers, axis=0)

    def log_base_measure(self, value: Array) -> Array | float:
        """Return log h(x), ``(n,)``, of those components that have such a measure."""
        same = self.of_width(value.shape[1])
        return sum(
            dist.free.log_base_measure(column)
            for dist, column in zip(same.components, same.columns_of(value), strict=True)
            if isinstance(dist.free, ExponentialFamily)
        )

    def from_mean(self, mean: Array, weight: Array) -> Self:
        parts = np.split(mean, np.cumsum(self._sizes())[:-1], axis=-1)
        self._families()
        return self._each(lambda dist, part: dist.from_mean(part, weight), parts)

    # -- kernels -------------------------------------------------------------------------------

    def kernel(self) -> Kernel:
        """Return one linear kernel if all components have such, else one for each."""
        return joined(self, [dist.kernel() for dist in self.components])

    def gapped_kernel(self) -> Kernel:
        """Return the kernel for values of which some columns are missing."""
        kernels = [
            dist.gapped_kernel() if width else dist.kernel()
            for dist, width in zip(self.components, self.widths, strict=True)
        ]
        return ColumnsKernel.of(self, kernels, gapped=True)

    def update(self, record: Record) -> Self:
        parts: Sequence[Record]
        if isinstance(record, ColumnsRecord):
            parts = record.parts
        else:
            assert isinstance(record, Statistics)
            parts = cut(record, self._sizes())
        return self._each(lambda dist, part: dist.update(part), parts)

    def comparable(self, record: Record) -> Record:
        if not isinstance(record, ColumnsRecord):
            return record
        pairs = zip(self.components, record.parts, strict=True)
        return ColumnsRecord(tuple(dist.comparable(part) for dist, part in pairs))


def _means(dist: Distribution, weights: Array) -> Array:
    """Return the mean, or over a finite set the mode, under weights of the states ``(K, rows)``."""
    if dist.n_states is None:
        return mixed_mean(dist, weights)
    states = np.exp(dist.log_prob(np.arange(dist.n_states)))  # (states, K)
    mode: Array = (states @ weights).argmax(axis=0)
    return mode
