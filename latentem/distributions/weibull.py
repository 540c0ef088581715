"""The Weibull distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np
from scipy.special import gamma

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import parameter
from latentem.distributions.checks import as_names
from latentem.distributions.formulas import Formulas
from latentem.distributions.positive import (
    PositiveParameters,
    check_limit,
    single_state_moves,
)
from latentem.distributions.special import increasing_root, log_ratio


@attrs.frozen(eq=False, repr=False)
class Weibull(PositiveParameters):
    r"""Weibull distribution of lifetimes and strengths.

    .. math:: {log_density}

    For a given shape a the maximum over s is closed, the means being weighted by the
    responsibilities, and what is left is one increasing equation for a, solved by Newton's method
    within a bracket:

    .. math:: {update}

    (Cohen, Maximum likelihood estimation in the Weibull distribution, Technometrics 7, 1965.) It
    holds a power of x that is not known before it is solved, so no finite set of statistics stands
    for the rows: the maximiser needs all rows at once, and there is no fit in a stream.

    A shape that is held leaves the first equation; of a scale that is held the shape solves

    .. math:: \hat a_k \, \overline{(z^{\hat a_k} - 1) \log z} = 1, \qquad z = x / s_k

    whose left side rises with the shape in every row.

    Parameters
    ----------
    shape, scale : array, (\*parents,), optional
        The scale is in the unit of the data.
    largest_shape : float
        Largest allowed shape: that of a state whose values are all equal would grow without bound.
        The fit is the exact maximiser under this constraint, and says when it is active.
    held : tuple of str
        What is held at its value while the other is fitted, ``("shape",)`` or ``("scale",)``.
        Follows from giving only one of them, which may be one for all states.

    Raises
    ------
    ModelError
        If a parameter is not positive and finite, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> w = lem.Weibull().fit(np.array([1.0, 2.0, 6.0]), np.ones(3))
    >>> print(w.shape.round(4), w.scale.round(4))
    1.4569 3.3354
    >>> print(lem.Weibull(shape=1.0).fit(np.array([1.0, 2.0, 6.0]), np.ones(3)).scale.round(4))
    3.0
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \log \frac{a_k}{s_k} + (a_k - 1) \log \frac{x}{s_k} - "
            r"\left( \frac{x}{s_k} \right)^{a_k}"
        ),
        update=(
            r"\hat s_k^{\hat a_k} = \overline{x^{\hat a_k}}, \qquad "
            r"\overline{x^{\hat a_k} \log x} / \overline{x^{\hat a_k}} - 1 / \hat a_k "
            r"= \overline{\log x}"
        ),
        symbols={"a": "shape", "s": "scale"},
        held={
            "shape": r"\hat s_k^{a_k} = \overline{x^{a_k}}",
            "scale": (r"1 / \hat a_k = \overline{((x / s_k)^{\hat a_k} - 1) \log (x / s_k)}"),
        },
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"shape": 0, "scale": 0}
    holdable: ClassVar[tuple[str, ...]] = ("shape", "scale")
    limit: ClassVar[str] = "the shape is at its largest, {self.largest_shape:g}"

    shape: Array | None = parameter(converter=as_float_array)
    scale: Array | None = parameter(converter=as_float_array)
    largest_shape: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    held: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_names)

    def supports(self, x: Array) -> Array:
        inside: Array = (x > 0) & (x < np.inf)
        return inside

    @property
    def support(self) -> str:
        return "positive"

    def log_density(self, x: Array) -> Array:
        shape, scale = self.known()
        y = shape * log_ratio(x, scale)
        return np.asarray(np.log(shape) + y - np.exp(y) - np.log(x))

    def fit(self, value: Array, weights: Array) -> Self:
        parents = weights.shape[1:]
        flat = self.flatten(parents) if self.held else self
        return flat._fit(value, weights.reshape(len(value), -1)).unflatten(parents)

    def _fit(self, value: Array, w: Array) -> Self:
        w = np.where(w.any(axis=0), w, 1.0)  # a state without weight: its caller keeps the old one
        w = w / w.sum(axis=0)
        scale = self._held_value("scale")
        if scale is not None:
            with np.errstate(over="ignore"):  # of a ratio beyond the range; its logarithm is not
                y = log_ratio(value[:, None], scale)
            shape = self._shape_about(y, w)
            return attrs.evolve(self, shape=shape, at_limit=shape >= self.largest_shape)
        largest = value.max()
        logs = log_ratio(value, largest)[:, None]  # (n, 1)
        highest = np.where(w > 0, logs, -np.inf).max(axis=0)
        y = np.where(w > 0, logs - highest, 0.0)  # log(x / largest x of the state), (n, K)
        held = self._held_value("shape")
        shape = self._shape(y, w) if held is None else held
        scale = np.exp(highest + np.log(_means(w, np.exp(shape * y))) / shape) * largest
        if held is not None:
            return attrs.evolve(self, scale=scale)
        return attrs.evolve(self, shape=shape, scale=scale, at_limit=shape >= self.largest_shape)

    def _shape(self, y: Array, w: Array) -> Array:
        """Return the root of the profile equation for each state, or the largest shape."""
        mean = _means(w, y)

        def function(a: Array) -> tuple[Array, Array]:
            power = w * np.exp(a * y)
            total = power.sum(axis=0)
            tilted = _means(power, y) / total
            value = tilted - 1 / a - mean
            slope = _means(power, np.square(y - tilted)) / total + 1 / a**2
            return a * value, a * slope + value

        # At the root, 1 / a is between 0 and -mean, the distance of the mean from the largest.
        with np.errstate(divide="ignore"):
            low = np.minimum(-1 / np.minimum(mean, 0.0), self.largest_shape)
            spread = np.sqrt(_means(w, np.square(y - mean)))
            start = np.clip(np.pi / np.sqrt(6) / spread, low, self.largest_shape)
        high = np.full_like(low, self.largest_shape)
        beyond = function(high)[0] <= 0
        return increasing_root(function, low, high, np.where(beyond, high, start))

    def _shape_about(self, y: Array, w: Array) -> Array:
        r"""Return the shape for y = log(x / s) of each state's scale, or the largest shape.

        The root of the logarithm of :math:`a \, \overline{y (e^{a y} - 1)}` in log a, which rises
        by at least 1 for 1 and is nearly a straight line where a is small, a y where it is large.
        """
        y = np.where(w > 0, y, 0.0)
        with np.errstate(divide="ignore"):
            logs = np.log(w) + np.log(np.abs(y))
        highest = np.log(self.largest_shape)
        shift = highest + 1.0  # keeps log a - shift away from 0, for a relative tolerance

        def function(log_shape: Array) -> tuple[Array, Array]:
            a = np.exp(log_shape + shift)
            t = a * y
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = logs + np.maximum(t, 0.0) + np.log(-np.expm1(-np.abs(t)))
                growth = np.where(t == 0, 1.0, np.abs(t) / -np.expm1(-np.abs(t)))
            growth = np.where(t < 0, growth + t, growth)  # t / (1 - exp(-t))
            largest = terms.max(axis=0)
            share = np.exp(terms - np.where(np.isfinite(largest), largest, 0.0))
            total = share.sum(axis=0)
            with np.errstate(divide="ignore", invalid="ignore"):
                value = np.log(a) + np.where(total > 0, largest + np.log(total), -np.inf)
                slope = 1.0 + np.where(total > 0, (share * growth).sum(axis=0) / total, 0.0)
            return value, slope

        with np.errstate(divide="ignore"):
            low = np.minimum(-np.log(2.0 * np.abs(y).max(axis=0)), highest)
            # The mean of (a y)^2 is about 2 in a sample of this distribution.
            start = 0.5 * np.log(2.0 / _means(w, np.square(y)))
        high = np.full_like(low, highest) - shift
        beyond = function(high)[0] <= 0
        start = np.where(beyond, high, np.minimum(start, highest) - shift)
        log_shape = increasing_root(function, low - shift, high, start) + shift
        return np.where(beyond, self.largest_shape, np.exp(log_shape))

    def feasible(self) -> Self:
        if not self.is_parameterised or "shape" in self.held:
            return self
        shape, _ = self.known()
        return attrs.evolve(self, shape=np.minimum(shape, self.largest_shape))

    def directions(self) -> list[dict[str, Array]]:
        shape, scale = self.known()
        held = np.zeros(shape.shape, bool) if self.at_limit is None else self.at_limit
        moves = single_state_moves({"shape": shape})
        of_shape = [move for move, fixed in zip(moves, held.ravel(), strict=True) if not fixed]
        of_scale = single_state_moves({"scale": scale})
        found = {"shape": of_shape, "scale": of_scale}
        return [
            move for name in ("scale", "shape") if name not in self.held for move in found[name]
        ]

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``."""
        shape, scale = self.known()
        return np.asarray(scale * gamma(1 + 1 / shape))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        shape, scale = self.known()
        draws = scale[state] * rng.weibull(shape[state])
        return np.maximum(draws, np.finfo(float).tiny)  # of tiny shapes draws round to 0


def _means(w: Array, x: Array) -> Array:
    """Return sums over rows of w x, ``(K,)``."""
    sums: Array = np.einsum("nk,nk->k", w, np.broadcast_to(x, w.shape))
    return sums
