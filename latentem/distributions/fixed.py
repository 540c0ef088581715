"""Fixed parameters.

Like `latentem.distributions.switch`, it hands every hook of `Distribution` on to what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, Inputs
from latentem.distributions.formulas import Formulas
from latentem.distributions.kernels import Kernel
from latentem.distributions.records import Record
from latentem.errors import ModelError
from latentem.kernels.expected import Standardised


def fixed(dist: Distribution, *names: str) -> Distribution:
    """Return a distribution whose parameters, or some of them, stay as they are.

    Parameters
    ----------
    dist : Distribution
        With parameters. They are read as before: ``fixed(Poisson(rate=2)).rate``.
    *names : str
        The parameters to fix, for families that can fit the others by themselves: mean or
        covariance of a `Gaussian`, mean or variance of a `Normal`, ... All, if none is named.

    Raises
    ------
    ModelError
        If a parameter to be fixed is not given, or the family cannot fit the others alone.

    Examples
    --------
    >>> import latentem as lem
    >>> half = lem.fixed(lem.Categorical(probs=[0.5, 0.5]))
    >>> half.probs, half.n_parameters
    (array([0.5, 0.5]), 0)
    >>> known_means = lem.fixed(lem.Normal(mean=[0.0, 3.0], variance=[1.0, 1.0]), "mean")
    >>> known_means.n_parameters  # the variances
    2
    """
    if isinstance(dist, Fixed) or not names:
        return dist if isinstance(dist, Fixed) else Fixed(dist)
    if not isinstance(dist, Distribution):
        raise ModelError(
            f"fixed must be given a distribution, got {dist!r}. Give one, such as Poisson(rate=2)."
        )
    family, parameters = type(dist).__name__, dist.parameters
    for name in names:
        if name not in dist.holdable:
            some = f"some of {list(dist.holdable)}" if dist.holdable else "all parameters, unnamed"
            raise ModelError(
                f"fixed: a {family} must be held at {some}, got {name!r}. "
                "Name one of these, or fix the whole distribution."
            )
        if parameters[name] is None:
            raise ModelError(
                f"fixed: '{name}' of the {family} must be given, got none. "
                f"Give it: {family}({name}=...)."
            )
    if set(names) == set(parameters):
        return Fixed(dist)
    return attrs.evolve(dist, held=tuple(dict.fromkeys(names)))  # type: ignore[misc]


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
    def own_formulas(self) -> Formulas | None:
        """As the distribution, without the update."""
        formulas = self.dist.own_formulas
        return None if formulas is None else formulas.without_update(None)

    @property
    def known_symbols(self) -> tuple[str, ...]:
        return self.dist.known_symbols

    def _with(self, dist: Distribution) -> Self:
        return attrs.evolve(self, dist=dist)

    # -- as the distribution -------------------------------------------------------------------

    @property
    def requires_hard(self) -> bool:  # type: ignore[override]
        """As the distribution."""
        return self.dist.requires_hard

    @property
    def takes_gaps(self) -> bool:  # type: ignore[override]
        """As the distribution."""
        return self.dist.takes_gaps

    @property
    def has_prior(self) -> bool:
        """No: what is fixed is not estimated."""
        return False

    @property
    def log_prior(self) -> float:
        return 0.0

    @property
    def parameters(self) -> dict[str, Array | None]:
        return self.dist.parameters

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return self.dist.state_arrays

    @property
    def is_parameterised(self) -> bool:
        return self.dist.is_parameterised

    @property
    def n_states(self) -> int | None:
        return self.dist.n_states

    @property
    def levels(self) -> tuple[Any, ...] | None:
        return self.dist.levels

    @property
    def has_dissimilarity(self) -> bool:
        return self.dist.has_dissimilarity

    def dissimilarity(self, value: Array, other: Array) -> Array:
        return self.dist.dissimilarity(value, other)

    @property
    def is_euclidean(self) -> bool:
        return self.dist.is_euclidean

    def euclidean(self, value: Array) -> Standardised | None:
        return self.dist.euclidean(value)

    @property
    def takes_covariates(self) -> bool:  # type: ignore[override]
        """As the distribution."""
        return self.dist.takes_covariates

    @property
    def named_columns(self) -> dict[str, slice]:
        return self.dist.named_columns

    @property
    def log_prob_table(self) -> Array:
        return self.dist.log_prob_table

    def state_log_probs(self, inputs: Array) -> Array:
        return self.dist.state_log_probs(inputs)

    def fill_gaps(self, value: Array) -> Array:
        return self.dist.fill_gaps(value)

    def supports(self, value: Array) -> Array:
        return self.dist.supports(value)

    def check(self, value: Array) -> Array:
        return self.dist.check(value)

    def check_gapped(self, value: Array) -> Array:
        return self.dist.check_gapped(value)

    def check_parents(self, shape: tuple[int, ...]) -> None:
        self.dist.check_parents(shape)

    def log_prob(self, value: Array) -> Array:
        return self.dist.log_prob(value)

    def kernel(self) -> Kernel:
        return self.dist.kernel()

    def gapped_kernel(self) -> Kernel:
        return self.dist.gapped_kernel()

    def completed(self, value: Array, weights: Array) -> Array:
        return self.dist.completed(value, weights)

    def completed_by_draws(self, value: Array, state: Array, rng: np.random.Generator) -> Array:
        return self.dist.completed_by_draws(value, state, rng)

    # -- as the distribution, and fixed again --------------------------------------------------

    def with_levels(self, levels: tuple[Any, ...]) -> Self:
        return self._with(self.dist.with_levels(levels))

    def with_inputs(self, inputs: Inputs) -> Self:
        return self._with(self.dist.with_inputs(inputs))

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        return self._with(self.dist.bind(value, weights))

    def flatten(self, parents: tuple[int, ...]) -> Self:
        return self._with(self.dist.flatten(parents))

    def unflatten(self, parents: tuple[int, ...]) -> Self:
        return self._with(self.dist.unflatten(parents))

    def permuted(self, order: Array) -> Self:
        return self._with(self.dist.permuted(order))

    def permuted_parents(self, orders: Sequence[Array]) -> Self:
        return self._with(self.dist.permuted_parents(orders))

    # -- what being fixed means ----------------------------------------------------------------

    @property
    def free(self) -> Distribution:
        return self.dist

    @property
    def n_parameters(self) -> int:
        """None is free."""
        return 0

    def started_from(self, other: Distribution) -> Self:
        return self

    def fit(self, value: Array, weights: Array) -> Self:
        return self

    def update(self, record: Record) -> Self:
        return self

    def comparable(self, record: Record) -> Record:
        return self.dist.comparable(record)

    def keep(self, old: Self, states: Array) -> Self:
        return self

    def directions(self) -> list[dict[str, Array]]:
        """None: nothing is free."""
        return []

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        return self
