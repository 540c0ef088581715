"""Fixed parameters.

Like `latentem.distributions.switch`, it hands every hook of `Distribution` on to what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution
from latentem.distributions.kernels import Kernel
from latentem.distributions.records import Record
from latentem.errors import ModelError


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

    def check(self, value: Array) -> Array:
        return self.dist.check(value)

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

    def keep(self, old: Self, states: Array) -> Self:
        return self

    def directions(self) -> list[dict[str, Array]]:
        """None: nothing is free."""
        return []

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        return self
