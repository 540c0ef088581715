"""The Weibull distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np
from scipy.special import gamma

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import parameter
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

    Parameters
    ----------
    shape, scale : array, (\*parents,), optional
        The scale is in the unit of the data.
    largest_shape : float
        Largest allowed shape: that of a state whose values are all equal would grow without bound.
        The fit is the exact maximiser under this constraint, and says when it is active.

    Raises
    ------
    ModelError
        If a parameter is not positive and finite, only one is given, or shapes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> w = lem.Weibull().fit(np.array([1.0, 2.0, 6.0]), np.ones(3))
    >>> print(w.shape.round(4), w.scale.round(4))
    1.4569 3.3354
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
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"shape": 0, "scale": 0}
    limit: ClassVar[str] = "the shape is at its largest, {self.largest_shape:g}"

    shape: Array | None = parameter(converter=as_float_array)
    scale: Array | None = parameter(converter=as_float_array)
    largest_shape: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)

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
        w = weights.reshape(len(value), -1)
        w = np.where(w.any(axis=0), w, 1.0)  # a state without weight: its caller keeps the old one
        w = w / w.sum(axis=0)
        largest = value.max()
        logs = log_ratio(value, largest)[:, None]  # (n, 1)
        highest = np.where(w > 0, logs, -np.inf).max(axis=0)
        y = np.where(w > 0, logs - highest, 0.0)  # log(x / largest x of the state), (n, K)
        shape = self._shape(y, w)
        scale = np.exp(highest + np.log(_means(w, np.exp(shape * y))) / shape) * largest
        return attrs.evolve(
            self,
            shape=shape.reshape(parents),
            scale=scale.reshape(parents),
            at_limit=(shape >= self.largest_shape).reshape(parents),
        )

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

    def feasible(self) -> Self:
        if not self.is_parameterised:
            return self
        shape, _ = self.known()
        return attrs.evolve(self, shape=np.minimum(shape, self.largest_shape))

    def directions(self) -> list[dict[str, Array]]:
        shape, scale = self.known()
        held = np.zeros(shape.shape, bool) if self.at_limit is None else self.at_limit
        moves = single_state_moves({"shape": shape})
        free = [move for move, fixed in zip(moves, held.ravel(), strict=True) if not fixed]
        return single_state_moves({"scale": scale}) + free

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
