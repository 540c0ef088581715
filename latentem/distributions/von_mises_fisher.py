"""The von Mises-Fisher distribution of unit vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np
from scipy.special import gammaln

from latentem.distributions.arrays import LOG_ZERO, Array, as_float_array
from latentem.distributions.bessel import excess_normaliser, mean_length
from latentem.distributions.checks import check_real, naming
from latentem.distributions.directional import Directional
from latentem.distributions.formulas import Formulas
from latentem.errors import ModelError, Unsuitable

#: How far the length of a unit vector may be from 1; single precision keeps to it.
LENGTH_TOLERANCE = 1e-6


@attrs.frozen(eq=False, repr=False)
class VonMisesFisher(Directional):
    r"""Von Mises-Fisher distribution of unit vectors in d dimensions.

    .. math:: {log_density}

    the density on the sphere. With the weighted mean of x the maximiser is

    .. math:: {update}

    (Banerjee, Dhillon, Ghosh and Sra, Clustering on the unit hypersphere using von Mises-Fisher
    distributions, JMLR 6, 2005). The statistics are about the mean direction of the data, as those
    of `VonMises`, which it is in two dimensions.

    Parameters
    ----------
    mean : array, (\*parents, d), optional
        Mean direction, a unit vector.
    concentration : array, (\*parents,), optional
        0 is the uniform distribution, whose mean direction is any.
    largest_concentration : float
        Largest allowed concentration: that of a state whose rows are all equal would grow without
        bound. The fit is the exact maximiser under this constraint, and says when it is active.
    held : tuple of str
        What is held at its value while the other is fitted, ``("mean",)`` or
        ``("concentration",)``. Follows from giving only one of them, which may be one for all
        states. For a mean that is held the concentration solves the same equation, of the mean of
        the cosines about it; where that is not positive, the best is 0.

    Raises
    ------
    ModelError
        If a mean is no unit vector, a concentration is negative, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> x = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.8, 0.0, 0.6]])
    >>> d = lem.VonMisesFisher().fit(x, np.ones(3))
    >>> print(d.mean.round(4), d.concentration.round(4))
    [0.9507 0.2194 0.2194] 11.319
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \kappa_k \mu_k^\top x + \nu \log \kappa_k "
            r"- \tfrac{d}{2} \log 2 \pi - \log I_\nu(\kappa_k), \qquad "
            r"\nu = d / 2 - 1"
        ),
        statistics=r"T(x) = x",
        update=(
            r"\hat\mu_k = \overline{x} / |\overline{x}|, \qquad "
            r"I_{\nu+1}(\hat\kappa_k) / I_\nu(\hat\kappa_k) = |\overline{x}|"
        ),
        symbols={r"\mu": "mean", r"\kappa": "concentration"},
        held={"mean": r"I_{\nu+1}(\hat\kappa_k) / I_\nu(\hat\kappa_k) = \mu_k^\top \overline{x}"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"mean": 1, "concentration": 0}

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.mean is None:
            return
        if not self.mean.ndim or self.mean.shape[-1] < 2:
            raise ModelError(
                "VonMisesFisher: mean must have a last axis of at least 2 entries, got shape "
                f"{self.mean.shape}. Give unit vectors; VonMises takes angles."
            )
        if not _are_units(self.mean).all():
            raise ModelError(
                "VonMisesFisher: mean must be unit vectors, got lengths "
                f"{np.linalg.norm(self.mean, axis=-1)}. Divide by the lengths."
            )
        # To the last digit, but for those that are so already: what is held stays as it is.
        rounding = 4 * np.finfo(float).eps
        unit = np.abs(np.linalg.norm(self.mean, axis=-1, keepdims=True) - 1.0) <= rounding
        units = np.where(unit, self.mean, _units(self.mean))
        object.__setattr__(self, "mean", as_float_array(units))

    @property
    def n_parameters(self) -> int:
        """As many as there are dimensions for each combination of the parents' states.

        Of these the concentration is one; what is held does not count.
        """
        if not self.is_parameterised:
            return 0
        mean, kappa = self.known()
        if not self.held:
            return mean.size
        return kappa.size if "mean" in self.held else mean.size - kappa.size

    def check(self, value: Array) -> Array:
        because = "be unit vectors of at least 2 columns because {node} is VonMisesFisher"
        if value.ndim != 2 or value.shape[1] < 2:
            raise Unsuitable(because, f"shape {value.shape}", "Use VonMises() for angles.")
        value = check_real(value).astype(float, copy=False)
        if self.mean is not None and value.shape[1] != self.mean.shape[-1]:
            d = self.mean.shape[-1]
            raise Unsuitable(
                f"have {d} columns because {{node}} is a VonMisesFisher of {d} dimensions",
                f"shape {value.shape}",
            )
        wrong = ~_are_units(value)
        if wrong.any():
            row = int(wrong.argmax())
            raise Unsuitable(
                because,
                f"length {np.linalg.norm(value[row]):g} at row {row}",
                "Divide rows by their lengths, x / np.linalg.norm(x, axis=1, keepdims=True), and "
                "drop rows of zeros.",
            )
        return _units(value)

    def supports(self, value: Array) -> Array:
        return _are_units(value)

    def vectors(self, value: Array) -> Array:
        return value

    def direction(self, vector: Array) -> Array:
        return _units(vector) if vector.any() else vector

    def _centre(self, d: int) -> Array:
        return np.zeros(d) if self.reference is None else self.reference.centre

    def statistics(self, value: Array) -> Array:
        out = np.empty((1 + value.shape[1], len(value)))
        self.statistics_into(out, value)
        return out.T

    def statistics_into(self, out: Array, value: Array) -> None:
        # With y = x - c, that are |y|^2 / 2 and y.
        units = _are_units(value)
        some = value if units.all() else np.where(units[:, None], value, self._centre(len(out) - 1))
        np.subtract(some.T, self._centre(len(out) - 1)[:, None], out=out[1:])
        np.einsum("ji,ji->i", out[1:], out[1:], out=out[0])
        out[0] *= 0.5

    def log_base_measure(self, value: Array) -> Array:
        return np.where(_are_units(value), -_log_area(value.shape[1]), LOG_ZERO)

    def natural_parameters(self) -> tuple[Array, Array]:
        # |x - mu|^2 = |y|^2 - 2 y.(mu - c) + |mu - c|^2, of which concentrated states lose nothing.
        mean, kappa = self.known()
        d = mean.shape[-1]
        offset = mean - self._centre(d)
        eta = kappa[..., None] * np.concatenate([-np.ones((*kappa.shape, 1)), offset], axis=-1)
        shift = 0.5 * kappa * np.square(offset).sum(axis=-1)
        return eta, shift + excess_normaliser(kappa, d)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        half, first = mean[..., 0], mean[..., 1:]
        centre = self._centre(first.shape[-1])
        held = self._held_value("mean")
        if held is not None:
            offset = held - centre
            rest = half + 0.5 * np.square(offset).sum(axis=-1) - (first * offset).sum(axis=-1)
            return self.about_mean(held, 1.0 - rest, rest, len(centre))
        vector = centre + first
        length = np.linalg.norm(vector, axis=-1)
        square = 2.0 * half - np.square(first).sum(axis=-1)  # the variance, 1 - R^2
        any_direction = centre if centre.any() else np.eye(len(centre))[0]
        vector = np.where(length[..., None] > 0, vector, any_direction)
        return self.towards(_units(vector), length, square, len(centre))

    def directions(self) -> list[dict[str, Array]]:
        """Turn a mean by the width of its state, and vary a concentration; none of uniform ones."""
        mean, kappa = self.known()
        moves = []
        for state in map(tuple, np.argwhere((kappa > 0) & ("mean" not in self.held))):
            # The rows of the complement of the mean, from its reflection to the first axis.
            axis = mean[state].copy()
            axis[0] += np.copysign(1.0, axis[0])
            reflection = np.eye(len(axis)) - np.outer(axis, axis) * (2.0 / (axis @ axis))
            for tangent in reflection[1:]:
                move = np.zeros(mean.shape)
                move[state] = tangent / np.sqrt(max(float(kappa[state]), 1.0))
                moves.append({"mean": move})
        return moves + self.concentration_moves()

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        changes = {name: getattr(self, name) + step * change for name, change in direction.items()}
        if "mean" in changes:  # back to the sphere
            changes["mean"] = _units(changes["mean"])
        return attrs.evolve(self, **changes)

    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), ``(n, *parents)``; -inf for rows of another length."""
        mean, kappa = self.known()
        d = mean.shape[-1]
        with naming("VonMisesFisher"):
            value = np.asarray(value, dtype=float)
            if value.ndim != 2 or value.shape[1] != d:
                raise Unsuitable(f"have {d} columns", f"shape {value.shape}")
        units = _are_units(value)
        rows = _units(np.where(units[:, None], value, np.eye(d)[0]))
        squares = [np.square(rows - m).sum(axis=1) for m in mean.reshape(-1, d)]
        square = np.stack(squares, axis=1).reshape(-1, *kappa.shape)
        density = -0.5 * kappa * square - excess_normaliser(kappa, d) - _log_area(d)
        return np.where(units.reshape(-1, *(1,) * kappa.ndim), density, -np.inf)

    def expected_value(self) -> Array:
        """Return the mean vectors, ``(*parents, d)``, shorter than the unit ones of directions."""
        mean, kappa = self.known()
        length, _ = mean_length(kappa, mean.shape[-1])
        return np.asarray(length[..., None] * mean)

    def mixed_mean(self, weights: Array) -> Array:
        """Return the mean direction of each row over the states, with weights ``(K, n)``."""
        vectors = weights.T @ self.expected_value()
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        direction = self.known()[0][weights.argmax(axis=0)]  # where they cancel, of the likeliest
        return np.where(length > 0, vectors / np.where(length > 0, length, 1.0), direction)

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one unit vector for each parent state, ``(n, d)``.

        References
        ----------
        Wood, Simulation of the von Mises-Fisher distribution, Communications in Statistics 23,
        1994: the rejection of 1 - mu.x, in terms that keep its digits.
        """
        mean, kappa = self.known()
        mu, d = mean[state], mean.shape[-1]
        versine = _draw_versines(rng, kappa[state], d)[:, None]
        tangent = rng.standard_normal(mu.shape)
        tangent -= np.einsum("ij,ij->i", tangent, mu)[:, None] * mu
        return _units(mu - versine * mu + np.sqrt(versine * (2.0 - versine)) * _units(tangent))


def _draw_versines(rng: np.random.Generator, kappa: Array, d: int) -> Array:
    """Draw 1 - mu.x for concentrations ``(n,)``."""
    b = (d - 1) / (2 * kappa + np.hypot(2 * kappa, d - 1))
    q = 2 * b / (1 + b)
    versine, pending = np.empty(len(kappa)), np.arange(len(kappa))
    while len(pending):
        z = rng.beta((d - 1) / 2, (d - 1) / 2, size=len(pending))
        some, few = b[pending], q[pending]
        drawn = 2 * some * z / (1 - (1 - some) * z)
        ratio = (few + (1 - few) * drawn) / (few * (2 - few))
        log_accept = kappa[pending] * (few - drawn) + (d - 1) * np.log(ratio)
        accepted = log_accept >= -rng.standard_exponential(len(pending))
        versine[pending[accepted]] = drawn[accepted]
        pending = pending[~accepted]
    return versine


def _log_area(d: int) -> float:
    """Return the logarithm of the area of the unit sphere in d dimensions."""
    return float(np.log(2.0) + 0.5 * d * np.log(np.pi) - gammaln(0.5 * d))


def _are_units(rows: Array) -> Array:
    """Return which rows ``(..., d)`` have length one."""
    units: Array = np.abs(np.einsum("...j,...j->...", rows, rows) - 1.0) <= 2 * LENGTH_TOLERANCE
    return units


def _units(rows: Array) -> Array:
    """Return rows ``(..., d)`` scaled to length one."""
    scaled: Array = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return scaled
