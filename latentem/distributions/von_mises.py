"""The von Mises distribution of angles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.base import single_moves
from latentem.distributions.bessel import excess_normaliser, mean_length
from latentem.distributions.checks import check_column, check_real, naming
from latentem.distributions.directional import Directional
from latentem.distributions.formulas import Formulas

TURN = 2 * np.pi


@attrs.frozen(eq=False, repr=False)
class VonMises(Directional):
    r"""Von Mises distribution of angles, in radians.

    .. math:: {log_density}

    a density on any interval of one turn; angles that differ by whole turns are the same. The
    maximiser solves, with the means weighted by the responsibilities,

    .. math:: {update}

    (Mardia and Jupp, Directional Statistics, 2000, section 5.3.1), by Newton's method within a
    bracket. The statistics are 1 - cos and sin of the angle to the mean direction of the data,
    which keeps the digits of concentrated states close to it; elsewhere a concentration is found to
    about as many machine precisions. A concentration of 0 is the uniform distribution: its mean
    direction is any, and that of the data is given.

    Parameters
    ----------
    mean : array, (\*parents,), optional
        Mean direction in radians; of a fit between -pi (excluded) and pi.
    concentration : array, (\*parents,), optional
        About the inverse of the variance, where it is large.
    largest_concentration : float
        Largest allowed concentration: that of a state whose angles are all equal would grow without
        bound. The fit is the exact maximiser under this constraint, and says when it is active.
    held : tuple of str
        What is held at its value while the other is fitted, ``("mean",)`` or
        ``("concentration",)``. Follows from giving only one of them, which may be one for all
        states. For a mean that is held the concentration solves the same equation, of the mean of
        the cosines about it; where that is not positive, the best is 0.

    Raises
    ------
    ModelError
        If a concentration is negative, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> d = lem.VonMises().fit(np.array([-3.0, 3.0, 2.5]), np.ones(3))
    >>> print(d.mean.round(4), d.concentration.round(4))
    2.9296 9.9371
    >>> about_0 = lem.VonMises(mean=0.0).fit(np.array([-0.4, 0.1, 0.6]), np.ones(3))
    >>> print(about_0.concentration.round(4))
    6.0943
    """

    formulas = Formulas(
        log_density=r"\log p(x \mid k) = \kappa_k \cos (x - \mu_k) - \log (2 \pi I_0(\kappa_k))",
        statistics=r"T(x) = (\cos x, \sin x)",
        update=(
            r"\overline{\sin (x - \hat\mu_k)} = 0, \qquad "
            r"I_1(\hat\kappa_k) / I_0(\hat\kappa_k) = \overline{\cos (x - \hat\mu_k)}"
        ),
        symbols={r"\mu": "mean", r"\kappa": "concentration"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 0, "concentration": 0}
    #: Values that differ by it are the same.
    period: ClassVar[float] = TURN

    @property
    def n_parameters(self) -> int:
        """Two for each combination of the parents' states, less what is held."""
        if not self.is_parameterised:
            return 0
        return (2 - len(self.held)) * self.known()[1].size

    def check(self, value: Array) -> Array:
        return check_real(check_column(value, "VonMises")).astype(float, copy=False)

    def supports(self, value: Array) -> Array:
        return np.isfinite(value)

    def vectors(self, value: Array) -> Array:
        return np.stack([np.cos(value), np.sin(value)], axis=1)

    def direction(self, vector: Array) -> Array:
        return np.asarray(np.arctan2(vector[1], vector[0]))

    @property
    def _centre(self) -> float:
        return 0.0 if self.reference is None else float(self.reference.centre)

    def statistics(self, value: Array) -> Array:
        out = np.empty((2, len(value)))
        self.statistics_into(out, value)
        return out.T

    def statistics_into(self, out: Array, value: Array) -> None:
        angle = np.where(np.isfinite(value), value, 0.0) - self._centre
        np.multiply(2.0, np.square(np.sin(0.5 * angle)), out=out[0])  # 1 - cos
        np.sin(angle, out=out[1])

    def log_base_measure(self, value: Array) -> Array:
        return np.where(self.supports(value), -np.log(TURN), LOG_ZERO)

    def natural_parameters(self) -> tuple[Array, Array]:
        mean, kappa = self.known()
        angle = mean - self._centre
        eta = kappa[..., None] * np.stack([-np.cos(angle), np.sin(angle)], axis=-1)
        shift = 2.0 * kappa * np.square(np.sin(0.5 * angle))
        return eta, shift + excess_normaliser(kappa, 2)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        versine, sine = mean[..., 0], mean[..., 1]
        cosine = 1.0 - versine
        square = 2.0 * versine - np.square(versine) - np.square(sine)
        held = self._held_value("mean")
        if held is not None:
            turn = held - self._centre
            rest = 2.0 * np.square(np.sin(0.5 * turn)) + np.cos(turn) * versine
            rest = rest - np.sin(turn) * sine  # the mean of 1 - cos(x - mu)
            return self.about_mean(held, 1.0 - rest, rest, 2)
        angle = _within_a_turn(self._centre + np.arctan2(sine, cosine))
        return self.towards(angle, np.hypot(cosine, sine), square, 2)

    def directions(self) -> list[dict[str, Array]]:
        """Vary a mean by the width of its state, and a concentration; none of uniform states."""
        _, kappa = self.known()
        if "mean" in self.held:
            return self.concentration_moves()
        width = np.where(kappa > 0, 1.0 / np.sqrt(np.maximum(kappa, 1.0)), 0.0)
        return [{"mean": move} for move in single_moves(width)] + self.concentration_moves()

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; angles of any size."""
        mean, kappa = self.known()
        with naming("VonMises"):
            value = check_column(np.asarray(value), "VonMises")
        x = value.reshape(-1, *(1,) * mean.ndim)
        finite = np.isfinite(x)
        versine = 2.0 * np.square(np.sin(0.5 * (np.where(finite, x, 0.0) - mean)))
        density = -kappa * versine - excess_normaliser(kappa, 2) - np.log(TURN)
        return np.where(finite, density, -np.inf)

    def expected_value(self) -> Array:
        """Return the mean directions, ``(*parents,)``."""
        return self.known()[0]

    def mixed_mean(self, weights: Array) -> Array:
        """Return the mean direction of each row over the states, with weights ``(K, n)``."""
        mean, kappa = self.known()
        length, _ = mean_length(kappa, 2)
        sine, cosine = (weights.T @ (length * part) for part in (np.sin(mean), np.cos(mean)))
        return np.asarray(np.arctan2(sine, cosine))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one angle between -pi and pi for each parent state, ``(n,)``."""
        mean, kappa = self.known()
        return rng.vonmises(_within_a_turn(mean)[state], kappa[state])


def _within_a_turn(angle: Array) -> Array:
    """Return angles between -pi (excluded) and pi; those that are stay as they are."""
    turned: Array = angle - TURN * np.ceil((angle - np.pi) / TURN)
    return turned
