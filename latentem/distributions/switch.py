"""A family for each state.

A wrapper hands every hook of `Distribution` on to what it holds. The defaults of the hooks speak of
a distribution's own fields, which a wrapper has none of: the few that are right for it are listed
in the tests, and a hook that is neither there nor here fails them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.base import (
    Distribution,
    Inputs,
    count_parameters,
    drawn,
    expected_value,
)
from latentem.distributions.formulas import Formulas, composed
from latentem.distributions.kernels import Attached, Kernel
from latentem.distributions.records import Choices, D, Record, cut_vector, joined_vector
from latentem.errors import ModelError, Unsuitable


def _as_tuple(cases: Sequence[Distribution]) -> tuple[Distribution, ...]:
    return tuple(cases)


@attrs.frozen(eq=False)
class Switch(Distribution):
    r"""A family for each state of the (first) discrete parent.

    .. math:: \log p(x \mid k) = \log p_k(x)

    Each case is fitted to the rows weighted by its state. Further discrete parents index the
    parameters of every case.

    Parameters
    ----------
    cases : sequence of Distribution
        One for each state of the first parent.

    Raises
    ------
    ModelError
        If a case is not a distribution.

    Examples
    --------
    Zero inflation: state 0 is always 0, state 1 is Poisson.

    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(2))
    >>> x = lem.observed("x", lem.Switch([lem.PointMass(0), lem.Poisson()]), given=z)
    >>> print(lem.Model([z, x]))
    p(z) p(x | z)
    """

    cases: tuple[Distribution, ...] = attrs.field(converter=_as_tuple)
    # Of a flattened switch: the combinations of the further parents' states, an axis of each case.
    n_further: int | None = attrs.field(default=None, kw_only=True, repr=False)
    # Of a switch of regressions: how many columns of the values are covariates, and which cases
    # take what follows them as vectors.
    n_inputs: int = attrs.field(default=0, kw_only=True, repr=False)
    vectors: tuple[bool, ...] | None = attrs.field(default=None, kw_only=True, repr=False)

    @cases.validator
    def _check_cases(self, attribute: Any, cases: Sequence[Any]) -> None:
        for case in cases:
            if not isinstance(case, Distribution):
                raise ModelError(
                    f"Switch: every case must be a distribution, got {case!r}. "
                    "Give one distribution for each state, such as Poisson()."
                )
        if not cases:
            raise ModelError("Switch must have one case for each state of its parent, got none.")
        for case in cases:
            if case.levels != cases[0].levels:
                raise ModelError(
                    "Switch: every case must have the same levels because they read one column, "
                    f"got {cases[0].levels} and {case.levels}. Give all the same levels=[...]."
                )

    @property
    def own_formulas(self) -> Formulas | None:
        """The choice of the case, and the density of each."""
        parts = {f"p_{k}(x)": case.own_formulas for k, case in enumerate(self.cases)}
        return composed(r"\log p(x \mid k) = \log p_k(x)", parts)

    @property
    def known_symbols(self) -> tuple[str, ...]:
        pairs = enumerate(self.cases)
        return tuple(rf"p_{k}: \quad {line}" for k, case in pairs for line in case.known_symbols)

    def _of(self, cases: Sequence[Distribution]) -> Self:
        return attrs.evolve(self, cases=tuple(cases))

    def _named(self, arrays: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what each case has by name as one mapping, with the case in the names."""
        return {
            f"cases[{i}].{name}": value
            for i, own in enumerate(arrays)
            for name, value in own.items()
        }

    # -- what it is, from what the cases are ---------------------------------------------------

    @property
    def requires_hard(self) -> bool:  # type: ignore[override]
        """Whether any case does."""
        return any(case.requires_hard for case in self.cases)

    @property
    def bounds_support(self) -> bool:  # type: ignore[override]
        """Whether any case does."""
        return any(case.bounds_support for case in self.cases)

    @property
    def reaches_zero(self) -> bool:  # type: ignore[override]
        """Whether any case does."""
        return any(case.reaches_zero for case in self.cases)

    @property
    def takes_gaps(self) -> bool:  # type: ignore[override]
        """Whether all cases do."""
        return all(case.takes_gaps for case in self.cases)

    @property
    def takes_covariates(self) -> bool:  # type: ignore[override]
        """Whether any case does; the others do without."""
        return any(case.takes_covariates for case in self.cases)

    @property
    def named_columns(self) -> dict[str, slice]:
        return self._named([case.named_columns for case in self.cases])

    @property
    def parameters(self) -> dict[str, Array | None]:
        return self._named([case.parameters for case in self.cases])

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        """Those of the cases: their leading axes are the further parents' states."""
        return self._named([case.state_arrays for case in self.cases])

    @property
    def is_parameterised(self) -> bool:
        return all(case.is_parameterised for case in self.cases)

    @property
    def n_states(self) -> int | None:
        states = {case.n_states for case in self.cases}
        return states.pop() if len(states) == 1 else None

    @property
    def n_parameters(self) -> int:
        """The sum over the cases."""
        return sum(count_parameters(case) for case in self.cases)

    @property
    def has_prior(self) -> bool:
        return any(case.has_prior for case in self.cases)

    @property
    def log_prior(self) -> float:
        return sum(case.log_prior for case in self.cases)

    @property
    def events(self) -> tuple[str, ...]:
        return tuple(
            f"case {i}: {event}" for i, case in enumerate(self.cases) for event in case.events
        )

    @property
    def at_constraint(self) -> bool:
        return any(case.at_constraint for case in self.cases)

    @property
    def vacant(self) -> Array | None:
        masks = [case.vacant for case in self.cases]
        if all(mask is None for mask in masks):
            return None
        none = np.zeros(self.n_further or 1, dtype=bool)
        return np.concatenate([none if mask is None else mask for mask in masks])

    def relocate(self, rows: Array) -> Self:
        cases = []
        for case in self.cases:
            count = 0 if case.vacant is None else np.count_nonzero(case.vacant)
            own, rows = rows[:count], rows[count:]
            cases.append(case.relocate(own) if len(own) else case)
        return self._of(cases)

    # -- data ----------------------------------------------------------------------------------

    @property
    def levels(self) -> tuple[Any, ...] | None:
        return self.cases[0].levels

    def with_levels(self, levels: tuple[Any, ...]) -> Self:
        return self._of([case.with_levels(levels) for case in self.cases])

    def with_inputs(self, inputs: Inputs) -> Self:
        cases = (c.with_inputs(inputs) if c.takes_covariates else c for c in self.cases)
        return attrs.evolve(self._of(tuple(cases)), n_inputs=inputs.width)

    def check(self, value: Array) -> Array:
        supported = [case.supports(value) for case in self.cases]
        anywhere = np.any(supported, axis=0)
        if not anywhere.all():
            row = int((~anywhere).argmax())
            raise Unsuitable(
                "be possible under some case of {node}",
                f"{value[row]} in row {row}, which none of them allows",
                "Drop the row, or use a case that does.",
            )
        pairs = zip(self.cases, supported, strict=True)
        checked = [
            case.check(value if own.all() else value[own]) for case, own in pairs if own.any()
        ]
        events = {array.shape[1:] for array in checked}
        if self.takes_covariates:
            events = {event or (1,) for event in events}
        if len(events) > 1:
            raise Unsuitable(
                "suit all cases of {node} alike",
                f"values that they read as shapes {sorted((len(value), *e) for e in events)}",
                "Use cases for scalars only, such as Normal(), or for vectors only.",
            )
        # The cases may ask for different number types; the widest serves all.
        kind = np.result_type(*(array.dtype for array in checked))
        return value.reshape(len(value), *events.pop()).astype(kind, copy=False)

    def fill_gaps(self, value: Array) -> Array:
        return self.cases[0].fill_gaps(value)

    def supports(self, value: Array) -> Array:
        return np.asarray(np.any([case.supports(value) for case in self.cases], axis=0))

    def part(self, i: int, value: Array) -> Array:
        """Return the values as case i takes them: without covariates, if it does without."""
        if not self.takes_covariates or self.cases[i].takes_covariates:
            return value
        own = value[:, self.n_inputs :] if self.n_inputs else value[:, -1:]
        vectors = self._takes_vectors(own) if self.vectors is None else self.vectors
        return own if vectors[i] else own[:, 0]

    def _takes_vectors(self, own: Array) -> tuple[bool, ...]:
        """Return which cases read values ``(n, 1)`` as vectors."""
        read = (case.check(own[case.supports(own).ravel()]) for case in self.cases)
        return tuple(array.ndim > 1 for array in read)

    def parts(self, value: Array) -> Iterator[tuple[Distribution, Array, Array]]:
        """Yield each case with the values as it takes them, and which of them it supports."""
        for i, case in enumerate(self.cases):
            part = self.part(i, value)
            own = part[:, self.n_inputs :] if case.takes_covariates and self.n_inputs else part
            yield case, part, case.supports(own)

    def check_parents(self, shape: tuple[int, ...]) -> None:
        if not shape or shape[0] != len(self.cases):
            if not shape:
                raise Unsuitable(
                    "have a discrete parent, whose state chooses the case",
                    "none",
                    f"Give it a parent, such as latent('z', Categorical({len(self.cases)})).",
                )
            raise Unsuitable(
                f"have one case per state of its parent {{parent}} ({shape[0]})",
                str(len(self.cases)),
                f"{'Drop' if len(self.cases) > shape[0] else 'Add'} a case or use "
                f"Categorical({len(self.cases)}) for {{parent}}.",
            )
        for case in self.cases:
            case.check_parents(shape[1:])

    def check_fit(self) -> None:
        for case in self.cases:
            case.check_fit()

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        whole = self
        if self.n_inputs:
            own = value[:, self.n_inputs :]
            whole = attrs.evolve(self, vectors=self._takes_vectors(own))
        cases = []
        for case, part, own in whole.parts(value):
            if not own.any() and case.is_parameterised:
                cases.append(case)
                continue
            if not own.any():
                raise Unsuitable(
                    f"have values that the case {case!r} of {{node}} is for",
                    "none",
                    "Drop that case.",
                )
            counted = None if weights is None else weights[own]
            if counted is not None and not counted.any():
                counted = None
            cases.append(case.bind(part if own.all() else part[own], counted))
        return whole._of(cases)

    # -- the states of the parents, and its own ------------------------------------------------

    def flatten(self, parents: tuple[int, ...]) -> Self:
        cases = tuple(case.flatten(parents[1:]) for case in self.cases)
        return attrs.evolve(self, cases=cases, n_further=math.prod(parents[1:]))

    def unflatten(self, parents: tuple[int, ...]) -> Self:
        cases = tuple(case.unflatten(parents[1:]) for case in self.cases)
        return attrs.evolve(self, cases=cases, n_further=None)

    def permuted(self, order: Array) -> Self:
        return self._of([case.permuted(order) for case in self.cases])

    def permuted_parents(self, orders: Sequence[Array]) -> Self:
        first, *rest = orders
        return self._of([self.cases[state].permuted_parents(rest) for state in first])

    def started_from(self, other: Distribution) -> Self:
        cases = getattr(other.free, "cases", ())
        if len(cases) != len(self.cases):
            raise Unsuitable(
                f"start from a Switch of {len(self.cases)} cases",
                repr(other),
                "Use the same cases.",
            )
        pairs = zip(self.cases, cases, strict=True)
        return self._of([case.started_from(start) for case, start in pairs])

    def feasible(self) -> Self:
        return self._of([case.feasible() for case in self.cases])

    def keep(self, old: Self, states: Array) -> Self:
        per_case = np.split(states, len(self.cases))
        triples = zip(self.cases, old.cases, per_case, strict=True)
        return self._of([case.keep(before, own) for case, before, own in triples])

    # -- densities, fits, draws ----------------------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, n_cases, *further parents)``."""
        join = np.stack if self.n_further is None else np.concatenate
        parts = (self.part(i, value) for i in range(len(self.cases)))
        pairs = zip(self.cases, parts, strict=True)
        return join([case.log_prob(part) for case, part in pairs], axis=1)

    def fit(self, value: Array, weights: Array) -> Self:
        if self.n_further is None:
            per_case = [weights[:, i] for i in range(len(self.cases))]
        else:
            per_case = np.split(weights, len(self.cases), axis=1)
        pairs = zip(self.parts(value), per_case, strict=True)
        fits = [case.fit(part[mask], own[mask]) for (case, part, mask), own in pairs]
        return self._of(fits)

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array | None = None) -> Array:
        """Draw from the case of each state index, ``(n, *event)``."""
        n_further = self.n_further or 1
        draws = [
            drawn(case, rng, state % n_further, inputs if case.takes_covariates else None)
            for case in self.cases
        ]
        if self.takes_covariates:
            draws = [draw.reshape(len(draw), -1) for draw in draws]
        return _of_case(draws, state // n_further)

    def expected_value(self, inputs: Array | None = None) -> Array:
        """Return the means of the cases, ``(n_cases, *further parents, *event)``.

        Given covariates, ``(n, n_cases, *further parents, *event)``.
        """
        join = np.stack if self.n_further is None else np.concatenate
        if inputs is None:
            return join([expected_value(case) for case in self.cases])
        means = []
        for case in self.cases:
            own = expected_value(case, inputs if case.takes_covariates else None)
            if not case.takes_covariates:
                own = np.broadcast_to(own, (len(inputs), *own.shape))
            scalar = own.ndim == 1 + (self.n_further is not None)
            means.append(own[..., None] if scalar else own)
        return join(means, axis=1)

    def completed(self, value: Array, weights: Array) -> Array:
        pairs = zip(self.cases, np.split(weights, len(self.cases)), strict=True)
        total = np.sum([case.completed(value, own) for case, own in pairs], axis=0)
        return np.where(np.isnan(value), total, value)

    def completed_by_draws(self, value: Array, state: Array, rng: np.random.Generator) -> Array:
        n_further = self.n_further or 1
        draws = [case.completed_by_draws(value, state % n_further, rng) for case in self.cases]
        return _of_case(draws, state // n_further)

    def directions(self) -> list[dict[str, Array]]:
        """Those of the cases."""
        return [
            {f"cases[{i}].{name}": change for name, change in direction.items()}
            for i, case in enumerate(self.cases)
            for direction in case.directions()
        ]

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        cases = []
        for i, case in enumerate(self.cases):
            prefix = f"cases[{i}]."
            own = {k.removeprefix(prefix): v for k, v in direction.items() if k.startswith(prefix)}
            cases.append(case.moved(own, step) if own else case)
        return self._of(cases)

    def kernel(self) -> Kernel:
        return _SwitchKernel(self, tuple(case.kernel() for case in self.cases))

    def gapped_kernel(self) -> Kernel:
        return _SwitchKernel(self, tuple(case.gapped_kernel() for case in self.cases))

    def update(self, record: Record) -> Self:
        cases = []
        for case, part in zip(self.cases, record.split(len(self.cases)), strict=True):
            alone = isinstance(part, Choices) and not case.takes_covariates
            cases.append(case.update(part.counts if alone else part))  # type: ignore[attr-defined]
        return self._of(cases)

    def comparable(self, record: Record) -> Record:
        if not isinstance(record, _SwitchRecord):
            return record
        pairs = zip(self.cases, record.records, strict=True)
        return _SwitchRecord(tuple(case.comparable(part) for case, part in pairs))


def _of_case(values: Sequence[Array], chosen: Array) -> Array:
    """Return for each row the value of the case that was chosen for it."""
    picked: Array = np.stack(values)[chosen, np.arange(len(chosen))]
    return picked


@attrs.frozen(eq=False)
class _SwitchRecord(Record):
    records: tuple[Record, ...]

    @property
    def holds_rows(self) -> bool:
        return any(record.holds_rows for record in self.records)

    def __add__(self, other: _SwitchRecord) -> _SwitchRecord:
        pairs = zip(self.records, other.records, strict=True)
        return _SwitchRecord(tuple(a + b for a, b in pairs))

    @property
    def vector(self) -> Array | None:
        return joined_vector(self.records)

    def of_vector(self, vector: Array) -> _SwitchRecord:
        return _SwitchRecord(cut_vector(self.records, vector))

    @property
    def units(self) -> tuple[object, ...]:
        return tuple(unit for record in self.records for unit in record.units)

    def maximise(self, dist: D) -> D:
        return dist.update(self)

    def split(self, n: int) -> tuple[Record, ...]:
        return self.records


@attrs.frozen(eq=False)
class _SwitchKernel(Kernel):
    switch: Switch
    kernels: tuple[Kernel, ...]

    @property
    def way(self) -> str:
        return "; ".join(dict.fromkeys(kernel.way for kernel in self.kernels)) + ", case by case"

    @property
    def n_columns(self) -> int:
        return max(kernel.n_columns for kernel in self.kernels)

    def on(self, value: Array) -> Attached:
        cases = []
        for kernel, (_, part, own) in zip(self.kernels, self.switch.parts(value), strict=True):
            attached = kernel.on(part if own.all() else part[own])
            cases.append(attached if own.all() else _AttachedSupported(attached, own))
        return _AttachedSwitch(tuple(cases))

    def expected_log_prob(self, record: _SwitchRecord) -> tuple[float, float]:
        pairs = zip(self.kernels, record.records, strict=True)
        parts = [kernel.expected_log_prob(part) for kernel, part in pairs]
        return sum(p[0] for p in parts), sum(p[1] for p in parts)

    def record_for(self, old: Kernel) -> Kernel | None:
        assert isinstance(old, _SwitchKernel)
        pairs = list(zip(self.kernels, old.kernels, strict=True))
        finer = [kernel.record_for(before) for kernel, before in pairs]
        if all(kernel is None for kernel in finer):
            return None
        return _SwitchKernel(
            self.switch, tuple(f or before for f, (_, before) in zip(finer, pairs, strict=True))
        )


@attrs.frozen(eq=False)
class _AttachedSwitch(Attached):
    cases: tuple[Attached, ...]

    def log_density(self) -> Array:
        return np.concatenate([case.log_density() for case in self.cases])

    def record(self, weights: Array) -> _SwitchRecord:
        per_case = np.split(weights, len(self.cases))
        pairs = zip(self.cases, per_case, strict=True)
        return _SwitchRecord(tuple(case.record(w) for case, w in pairs))


@attrs.frozen(eq=False)
class _AttachedSupported(Attached):
    """A case on the rows that it supports: of the others its density is 0."""

    attached: Attached
    own: Array  # (rows,), which rows

    def log_density(self) -> Array:
        within = self.attached.log_density()
        log_density = np.full((len(within), len(self.own)), LOG_ZERO)
        log_density[:, self.own] = within
        return log_density

    def record(self, weights: Array) -> Any:
        return self.attached.record(np.ascontiguousarray(weights[:, self.own]))
