"""All mass on one value."""

from __future__ import annotations

from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.base import Distribution, ExponentialFamily
from latentem.distributions.checks import check_column, naming
from latentem.distributions.formulas import Formulas
from latentem.errors import ModelError, Unsuitable


def _numbers(value: Any) -> Array:
    array = np.array(value)
    if array.dtype.kind not in "biuf":
        raise ModelError(
            f"PointMass: value must be a number, or one for each state, got {value!r}. Give one."
        )
    array.flags.writeable = False
    return array


@attrs.frozen(eq=False)
class PointMass(ExponentialFamily):
    r"""All mass on a known value: p(x) = [x = value].

    .. math:: {log_density}

    It has nothing to fit. Within a `Switch` it makes zero inflation and the like (Lambert,
    Zero-inflated Poisson regression, with an application to defects in manufacturing, Technometrics
    34, 1992).

    The statistics are the indicators of the values of all states, and of none of them.

    Parameters
    ----------
    value : float or array, (\*parents,)
        One value, or one for each combination of the parents' states.

    Raises
    ------
    ModelError
        If a value is no number.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.PointMass(0).log_prob(np.array([0, 3]))
    array([  0., -inf])
    """

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = \log [x = v_k]",
        statistics=r"T(x) = [x = v_k]",
        symbols={"v": "value"},
    )

    value: Array = attrs.field(converter=_numbers)

    @property
    def parameters(self) -> dict[str, Array | None]:
        return {}

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {"value": self.value}

    def check(self, value: Array) -> Array:
        return check_column(value, "a PointMass")

    def check_parents(self, shape: tuple[int, ...]) -> None:
        if self.value.shape not in ((), shape):
            each = f", or one for each of its parents' states {shape}" if shape else ""
            raise Unsuitable(
                f"have one 'value'{each}", f"shape {self.value.shape}", "Give as many values."
            )

    @property
    def n_parameters(self) -> int:
        """None."""
        return 0

    @property
    def reference(self) -> tuple[float, ...]:
        """The distinct values, whose indicators are the statistics."""
        return tuple(np.unique(self.value))

    def flatten(self, parents: tuple[int, ...]) -> Self:
        return attrs.evolve(self, value=np.broadcast_to(self.value, parents).reshape(-1))

    def unflatten(self, parents: tuple[int, ...]) -> Self:
        return attrs.evolve(self, value=self.value.reshape(parents))

    def started_from(self, other: Distribution) -> Self:
        return self

    def statistics(self, value: Array) -> Array:
        hits = np.array([value == v for v in self.reference], dtype=float)
        return np.concatenate([hits, 1.0 - hits.sum(axis=0, keepdims=True)]).T

    def natural_parameters(self) -> tuple[Array, Array]:
        return self._natural(self.reference)

    def _natural(self, values: tuple[float, ...]) -> tuple[Array, Array]:
        same = self.value[..., None] == np.append(np.asarray(values, dtype=float), np.nan)
        return np.where(same, 0.0, LOG_ZERO), np.zeros(self.value.shape)

    def about(self, reference: Any) -> Any:
        return self if reference == self.reference else _About(self, reference)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        return self

    def fit(self, value: Array, weights: Array) -> Self:
        return self

    def update(self, record: Any) -> Self:
        return self

    def log_prob(self, value: Array) -> Array:
        """Return 0 where the value is the one, else -inf: ``(n, *parents)``."""
        with naming("PointMass"):
            value = check_column(np.asarray(value), "a PointMass")
        same = value.reshape(-1, *(1,) * self.value.ndim) == self.value
        return np.where(same, 0.0, -np.inf)

    def expected_value(self) -> Array:
        """Return the values."""
        return self.value

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Return the value of each state, ``(n,)``."""
        return self.value[state]


@attrs.frozen(eq=False)
class _About:
    """A point mass seen through the statistics of another one."""

    dist: PointMass
    reference: tuple[float, ...]

    def natural_parameters(self) -> tuple[Array, Array]:
        return self.dist._natural(self.reference)
