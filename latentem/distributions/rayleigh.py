"""The Rayleigh distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import parameter
from latentem.distributions.formulas import Formulas
from latentem.distributions.positive import PositiveFamily


@attrs.frozen(eq=False, repr=False)
class Rayleigh(PositiveFamily):
    r"""Rayleigh distribution: the length of a vector of two independent Normal coordinates.

    .. math:: {log_density}, \qquad
              {update}

    (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, 1994, chapter 18.)

    Parameters
    ----------
    scale : array, (\*parents,), optional
        Standard deviation of either coordinate, which is also the mode.

    Raises
    ------
    ModelError
        If a scale is not positive and finite.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> print(lem.Rayleigh().fit(np.array([1.0, 7.0]), np.ones(2)).scale.round(4))
    3.5355
    """

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = \log x - 2 \log \sigma_k - x^2 / 2 \sigma_k^2",
        statistics=r"T(x) = x^2",
        update=r"\hat\sigma_k^2 = \sum_i r_{ik} x_i^2 \big/ 2 \sum_i r_{ik}",
        symbols={r"\sigma": "scale"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"scale": 0}
    needs_spread: ClassVar[bool] = False

    scale: Array | None = parameter(converter=as_float_array)

    def log_density(self, x: Array) -> Array:
        (scale,) = self.known()
        return np.asarray(np.log(x) - 2 * np.log(scale) - 0.5 * np.square(x / scale))

    def statistics_within(self, value: Array) -> Sequence[Array]:
        return (np.square(value / self.centre),)

    def log_base_within(self, value: Array) -> Array:
        return np.log(value)

    def natural_parameters(self) -> tuple[Array, Array]:
        (scale,) = self.known()
        return -0.5 * np.square(self.centre / scale)[..., None], 2 * np.log(scale)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        return attrs.evolve(self, scale=self.centre * np.sqrt(0.5 * mean[..., 0]))

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``."""
        (scale,) = self.known()
        return np.asarray(scale * np.sqrt(0.5 * np.pi))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        (scale,) = self.known()
        return rng.rayleigh(scale[state])
