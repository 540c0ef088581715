"""The inverse Gaussian distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import parameter
from latentem.distributions.checks import as_names
from latentem.distributions.formulas import Formulas
from latentem.distributions.positive import (
    PositiveFamily,
    check_limit,
    single_state_moves,
)

LOG_2PI = float(np.log(2 * np.pi))


@attrs.frozen(eq=False, repr=False)
class InverseGaussian(PositiveFamily):
    r"""Inverse Gaussian (Wald) distribution: the time at which a Brownian motion reaches a level.

    .. math:: {log_density}, \qquad
              {update}

    the means being weighted by the responsibilities (Tweedie, Statistical properties of inverse
    Gaussian distributions I, Annals of Mathematical Statistics 28, 1957). A shape that is held
    leaves the first; about a mean m that is held the shape is the inverse of the mean of
    :math:`(x - m)^2 / (m^2 x)`.

    The statistics are z = x / c and (z - 1)^2 / z, c being the mean of the data, which keeps the
    digits of states close to c; elsewhere a ratio shape / mean of s is found to about s machine
    precisions.

    Parameters
    ----------
    mean, shape : array, (\*parents,), optional
        In the unit of the data; the variance is mean^3 / shape.
    largest_shape : float
        Largest allowed ratio of shape to mean: that of a state whose values are all equal would
        grow without bound. The fit is the exact maximiser under this constraint, and says when it
        is active.
    held : tuple of str
        What is held at its value while the other is fitted, ``("mean",)`` or ``("shape",)``.
        Follows from giving only one of them, which may be one for all states. A shape that is held
        has no largest value.

    Raises
    ------
    ModelError
        If a parameter is not positive and finite, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> g = lem.InverseGaussian().fit(np.array([1.0, 2.0, 6.0]), np.ones(3))
    >>> print(g.mean.round(4), g.shape.round(4))
    3.0 4.5

    About a mean that is known:

    >>> about_2 = lem.InverseGaussian(mean=2.0).fit(np.array([1.0, 2.0, 6.0]), np.ones(3))
    >>> print(about_2.shape.round(4))
    3.2727
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \tfrac12 \log \frac{\lambda_k}{2 \pi x^3} "
            r"- \frac{\lambda_k (x - \mu_k)^2}{2 \mu_k^2 x}"
        ),
        statistics=r"T(x) = (x, 1 / x)",
        update=(
            r"\hat\mu_k = \overline{x}, \qquad "
            r"1 / \hat\lambda_k = \overline{1 / x} - 1 / \overline{x}"
        ),
        symbols={r"\mu": "mean", r"\lambda": "shape"},
        held={"mean": r"1 / \hat\lambda_k = \overline{(x - \mu_k)^2 / (\mu_k^2 x)}"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 0, "shape": 0}
    holdable: ClassVar[tuple[str, ...]] = ("mean", "shape")
    limit: ClassVar[str] = "the ratio of shape to mean is at its largest, {self.largest_shape:g}"

    mean: Array | None = parameter(converter=as_float_array)
    shape: Array | None = parameter(converter=as_float_array)
    largest_shape: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)

    def log_density(self, x: Array) -> Array:
        mean, shape = self.known()
        distance = np.square((x - mean) / mean) * (shape / x)
        return 0.5 * (np.log(shape) - LOG_2PI - distance) - 1.5 * np.log(x)

    def statistics_within(self, value: Array) -> Sequence[Array]:
        z = value / self.centre
        return z, np.square((value - self.centre) / self.centre) / z

    def log_base_within(self, value: Array) -> Array:
        return -1.5 * np.log(value)

    def natural_parameters(self) -> tuple[Array, Array]:
        mean, shape = self.known()
        m, ratio = mean / self.centre, shape / self.centre  # both in units of the centre
        # (z - m)^2 / (m^2 z) = (z - 1)^2 / z + z (1 / m^2 - 1) + 2 - 2 / m
        eta = np.stack([0.5 * ratio * (m - 1) * (m + 1) / m**2, -0.5 * ratio], axis=-1)
        return eta, ratio * (m - 1) / m - 0.5 * (np.log(shape) - LOG_2PI)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        m, distance = mean[..., 0], mean[..., 1]
        if "shape" in self.held:
            return attrs.evolve(self, mean=m * self.centre)
        held = self._held_value("mean")
        if held is not None:
            return attrs.evolve(self, **self._shape_about(held, m, distance))
        spread = m * distance - np.square(m - 1)  # mean / shape
        at_limit = spread < 1 / self.largest_shape
        largest, inverse = self.largest_shape, distance + 2 - m  # the mean of 1 / z
        # Under shape = largest * mean, the maximum is where inverse m^2 - m / largest = mean of z.
        m_limit = (1 / largest + np.sqrt(1 / largest**2 + 4 * inverse * m)) / (2 * inverse)
        m = np.where(at_limit, m_limit, m)
        shape = np.where(at_limit, largest * m, m / np.maximum(spread, 1 / largest))
        return attrs.evolve(
            self, mean=m * self.centre, shape=shape * self.centre, at_limit=at_limit
        )

    def _shape_about(self, mean: Array, m: Array, distance: Array) -> dict[str, Any]:
        """Return the shapes of means that are held, and where they are the largest.

        With e the relative distance of a mean from the centre, the mean of (z - 1 - e)^2 / z is
        made of small numbers where states are close to it.
        """
        unit = mean / self.centre
        e = (mean - self.centre) / self.centre
        square = np.square(unit) * distance + e * (e * (2 - m) - 2 * (m - 1))
        spread = square / unit  # mean / shape
        least = 1 / self.largest_shape
        return {"shape": mean / np.maximum(spread, least), "at_limit": spread < least}

    def feasible(self) -> Self:
        if not self.is_parameterised or "shape" in self.held:
            return self
        mean, shape = self.known()
        return attrs.evolve(self, shape=np.minimum(shape, self.largest_shape * mean))

    def directions(self) -> list[dict[str, Array]]:
        """Vary mean and shape by themselves; together where their ratio is at its largest.

        What is held stays.
        """
        mean, shape = self.known()
        if "shape" in self.held:
            return single_state_moves({"mean": mean})
        held = np.zeros(mean.shape, bool) if self.at_limit is None else self.at_limit
        found = []
        for both, one, other, fixed in zip(
            single_state_moves({"mean": mean, "shape": shape}),
            single_state_moves({"mean": mean}),
            single_state_moves({"shape": shape}),
            held.ravel(),
            strict=True,
        ):
            if "mean" in self.held:
                found += [] if fixed else [other]
            else:
                found += [both] if fixed else [one, other]
        return found

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``."""
        mean, _ = self.known()
        return mean

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        mean, shape = self.known()
        return rng.wald(mean[state], shape[state])
