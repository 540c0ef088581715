"""Distributions made of others: a family for each state, and fixed parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, count_parameters, sampler
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

    @property
    def requires_hard(self) -> bool:  # type: ignore[override]
        """Whether any case does."""
        return any(case.requires_hard for case in self.cases)

    def _of(self, cases: Sequence[Distribution]) -> Self:
        return attrs.evolve(self, cases=tuple(cases))

    @property
    def parameters(self) -> dict[str, Array | None]:
        return {
            f"cases[{i}].{name}": value
            for i, case in enumerate(self.cases)
            for name, value in case.parameters.items()
        }

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
            states = "no discrete parent" if not shape else f"its parent {{parent}} ({shape[0]})"
            raise Unsuitable(
                f"have one case per state of {states}",
                str(len(self.cases)),
                f"{'Drop' if shape and len(self.cases) > shape[0] else 'Add'} a case or use "
                f"Categorical({len(self.cases)}) for {{parent}}."
                if shape
                else "Give it a parent, such as latent('z', Categorical(2)).",
            )
        for case in self.cases:
            case.check_parents(shape[1:])

    def check_fit(self) -> None:
        for case in self.cases:
            case.check_fit()

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return self._of([case.bind(value, weights) for case in self.cases])

    def flatten(self, parents: tuple[int, ...]) -> Self:
        return self._of([case.flatten(parents[1:]) for case in self.cases])

    def unflatten(self, parents: tuple[int, ...]) -> Self:
        return self._of([case.unflatten(parents[1:]) for case in self.cases])

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

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, n_cases, *further parents)``."""
        return np.stack([case.log_prob(value) for case in self.cases], axis=1)

    def fit(self, value: Array, weights: Array) -> Self:
        pairs = enumerate(self.cases)
        return self._of([case.fit(value, weights[:, i]) for i, case in pairs])

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw from the case of each state index, ``(n, *event)``."""
        per_case = _states_per_case(self)
        draws = [sampler(case)(rng, state % per_case) for case in self.cases]
        stacked = np.stack(draws)
        chosen: Array = stacked[state // per_case, np.arange(len(state))]
        return chosen

    def kernel(self) -> Kernel:
        return _SwitchKernel(tuple(case.kernel() for case in self.cases))

    def update(self, record: Record) -> Self:
        pairs = zip(self.cases, record.split(len(self.cases)), strict=True)
        return self._of([case.update(part) for case, part in pairs])


def _states_per_case(switch: Switch) -> int:
    """Return how many parent states each case of a flattened switch has."""
    for case in switch.cases:
        for value in case.state_arrays.values():
            if value is not None:
                return len(value)
    return 1


@attrs.frozen(eq=False)
class _SwitchRecord(Record):
    records: tuple[Record, ...]

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

    def on(self, value: Array) -> Attached:
        return _AttachedSwitch(tuple(kernel.on(value) for kernel in self.kernels))

    def expected_log_prob(self, record: _SwitchRecord) -> tuple[float, float]:
        pairs = zip(self.kernels, record.records, strict=True)
        parts = [kernel.expected_log_prob(part) for kernel, part in pairs]
        return sum(p[0] for p in parts), sum(p[1] for p in parts)


@attrs.frozen(eq=False)
class _AttachedSwitch(Attached):
    cases: tuple[Attached, ...]

    def log_density(self) -> Array:
        return np.concatenate([case.log_density() for case in self.cases])

    def record(self, weights: Array) -> _SwitchRecord:
        per_case = np.split(weights, len(self.cases))
        pairs = zip(self.cases, per_case, strict=True)
        return _SwitchRecord(tuple(case.record(w) for case, w in pairs))


def fixed(dist: Distribution) -> Fixed:
    """Return a distribution whose parameters stay as they are.

    Parameters
    ----------
    dist : Distribution
        With parameters. They are read as before: ``fixed(Poisson(rate=2)).rate``.

    Raises
    ------
    ModelError
        If a parameter is not given.

    Examples
    --------
    >>> import latentem as lem
    >>> half = lem.fixed(lem.Categorical(probs=[0.5, 0.5]))
    >>> half.probs, half.n_parameters
    (array([0.5, 0.5]), 0)
    """
    return dist if isinstance(dist, Fixed) else Fixed(dist)


@attrs.frozen(eq=False, repr=False)
class Fixed(Distribution):
    """A distribution whose parameters stay as they are; see `fixed`."""

    dist: Distribution

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.dist, Distribution) or not self.dist.is_parameterised:
            raise ModelError(
                f"fixed must be given a distribution with its parameters, got {self.dist!r}. "
                "Give them by name, such as Poisson(rate=2.0)."
            )

    def __repr__(self) -> str:
        return f"fixed({self.dist!r})"

    def __getattr__(self, name: str) -> Any:
        # Only what is not found here: the parameters, read through.
        if name.startswith("__") or name == "dist":
            raise AttributeError(name)
        return getattr(self.dist, name)

    @property
    def requires_hard(self) -> bool:  # type: ignore[override]
        """As the distribution."""
        return self.dist.requires_hard

    @property
    def n_states(self) -> int | None:
        return self.dist.n_states

    @property
    def n_parameters(self) -> int:
        """None is free."""
        return 0

    @property
    def parameters(self) -> dict[str, Array | None]:
        return self.dist.parameters

    @property
    def has_dissimilarity(self) -> bool:
        return self.dist.has_dissimilarity

    def check(self, value: Array) -> Array:
        return self.dist.check(value)

    def check_parents(self, shape: tuple[int, ...]) -> None:
        self.dist.check_parents(shape)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return attrs.evolve(self, dist=self.dist.bind(value, weights))

    def dissimilarity(self, value: Array, other: Array) -> Array:
        return self.dist.dissimilarity(value, other)

    def flatten(self, parents: tuple[int, ...]) -> Self:
        return attrs.evolve(self, dist=self.dist.flatten(parents))

    def unflatten(self, parents: tuple[int, ...]) -> Self:
        return attrs.evolve(self, dist=self.dist.unflatten(parents))

    def log_prob(self, value: Array) -> Array:
        return self.dist.log_prob(value)

    @property
    def free(self) -> Distribution:
        return self.dist

    def started_from(self, other: Distribution) -> Self:
        return self

    def fit(self, value: Array, weights: Array) -> Self:
        return self

    def update(self, record: Record) -> Self:
        return self

    def kernel(self) -> Kernel:
        return self.dist.kernel()
