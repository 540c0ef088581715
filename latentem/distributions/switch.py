"""A family for each state.

A wrapper hands every hook of `Distribution` on to what it holds. The defaults of the hooks speak of
a distribution's own fields, which a wrapper has none of: the few that are right for it are listed
in the tests, and a hook that is neither there nor here fails them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, count_parameters, expected_value, sampler
from latentem.distributions.kernels import Attached, Kernel
from latentem.distributions.records import D, Record
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
    def takes_gaps(self) -> bool:  # type: ignore[override]
        """Whether all cases do."""
        return all(case.takes_gaps for case in self.cases)

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

    def check(self, value: Array) -> Array:
        checked = [case.check(value) for case in self.cases]
        shapes = {array.shape for array in checked}
        if len(shapes) > 1:
            raise Unsuitable(
                "suit all cases of {node} alike",
                f"values that they read as shapes {sorted(shapes)}",
                "Use cases for scalars only, such as Normal(), or for vectors only.",
            )
        # The cases may ask for different number types; the widest serves all.
        return max(checked, key=lambda array: array.dtype.kind == "f")

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
        return self._of([case.bind(value, weights) for case in self.cases])

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
        return join([case.log_prob(value) for case in self.cases], axis=1)

    def fit(self, value: Array, weights: Array) -> Self:
        if self.n_further is None:
            per_case = [weights[:, i] for i in range(len(self.cases))]
        else:
            per_case = np.split(weights, len(self.cases), axis=1)
        pairs = zip(self.cases, per_case, strict=True)
        return self._of([case.fit(value, own) for case, own in pairs])

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw from the case of each state index, ``(n, *event)``."""
        n_further = self.n_further or 1
        draws = [sampler(case)(rng, state % n_further) for case in self.cases]
        return _of_case(draws, state // n_further)

    def expected_value(self) -> Array:
        """Return the means of the cases, ``(n_cases, *further parents, *event)``."""
        join = np.stack if self.n_further is None else np.concatenate
        return join([expected_value(case) for case in self.cases])

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
        return _SwitchKernel(tuple(case.kernel() for case in self.cases))

    def gapped_kernel(self) -> Kernel:
        return _SwitchKernel(tuple(case.gapped_kernel() for case in self.cases))

    def update(self, record: Record) -> Self:
        pairs = zip(self.cases, record.split(len(self.cases)), strict=True)
        return self._of([case.update(part) for case, part in pairs])


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

    def maximise(self, dist: D) -> D:
        return dist.update(self)

    def split(self, n: int) -> tuple[Record, ...]:
        return self.records


@attrs.frozen(eq=False)
class _SwitchKernel(Kernel):
    kernels: tuple[Kernel, ...]

    @property
    def n_columns(self) -> int:
        return max(kernel.n_columns for kernel in self.kernels)

    def on(self, value: Array) -> Attached:
        return _AttachedSwitch(tuple(kernel.on(value) for kernel in self.kernels))

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
            tuple(f or before for f, (_, before) in zip(finer, pairs, strict=True))
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
