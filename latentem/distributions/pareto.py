"""The Pareto distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import parameter
from latentem.distributions.formulas import Formulas
from latentem.distributions.positive import (
    PositiveFamily,
    check_limit,
    single_state_moves,
)
from latentem.distributions.special import log_ratio
from latentem.errors import ModelError


def _minimum(value: Any) -> float | None:
    if value is None:
        return None
    if np.ndim(value) or not 0 < value < np.inf:
        raise ModelError(
            "Pareto: minimum must be one positive and finite number because all states share it, "
            f"got {value}. Give the smallest value that can occur, or leave it out to take that of "
            "the data."
        )
    return float(value)


@attrs.frozen(eq=False, repr=False)
class Pareto(PositiveFamily):
    r"""Pareto distribution of values above a minimum m that all states share.

    .. math:: {log_density}, \qquad
              {update}

    (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, 1994, section 20.4; the
    estimator is also Hill's, A simple general approach to inference about the tail of a
    distribution, Annals of Statistics 3, 1975.)

    Parameters
    ----------
    minimum : float, optional
        Smallest value that can occur. If absent, the smallest value of the data, taken once: for
        one state that is the maximum-likelihood estimate. It is not counted as a parameter.
    exponent : array, (\*parents,), optional
        The mean is finite for exponents above 1.
    largest_exponent : float
        Largest allowed exponent: that of a state whose values are all the minimum would grow
        without bound. The fit is the exact maximiser under this constraint, and says when it is
        active.

    Raises
    ------
    ModelError
        If the minimum or an exponent is not positive and finite, or an exponent is given without a
        minimum.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> lem.Pareto().fit(np.array([1.0, np.e, np.e**2]), np.ones(3))
    Pareto(minimum=1.0, exponent=array(1.))
    """

    formulas = Formulas(
        log_density=(
            r"\log p(x \mid k) = \log \alpha_k - \alpha_k \log (x / m) - \log x, \qquad "
            r"x \ge m"
        ),
        statistics=r"T(x) = \log (x / m)",
        update=r"1 / \hat\alpha_k = \sum_i r_{ik} \log (x_i / m) \big/ \sum_i r_{ik}",
        symbols={r"\alpha": "exponent", "m": "minimum"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"exponent": 0}
    limit: ClassVar[str] = "the exponent is at its largest, {self.largest_exponent:g}"

    minimum: float | None = attrs.field(default=None, converter=_minimum)
    exponent: Array | None = parameter(converter=as_float_array)
    largest_exponent: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)

    def __attrs_post_init__(self) -> None:
        if self.exponent is not None and self.minimum is None:
            raise ModelError(
                "Pareto: minimum must be given with an exponent, got none. "
                "Give the smallest value that can occur."
            )
        super().__attrs_post_init__()

    def __repr__(self) -> str:
        minimum = "" if self.minimum is None else f"minimum={self.minimum!r}"
        if self.exponent is None:
            return f"Pareto({minimum})"
        return f"Pareto({minimum}, exponent={self.exponent!r})"

    @property
    def least(self) -> float:
        """The minimum, 0 before it is known."""
        return 0.0 if self.minimum is None else self.minimum

    def supports(self, x: Array) -> Array:
        inside: Array = (x > 0) & (x >= self.least) & (x < np.inf)
        return inside

    def check(self, value: Array) -> Array:
        # Below the minimum is no error: a state, or a case of a Switch, may have none of these.
        return super(Pareto, attrs.evolve(self, minimum=None, exponent=None)).check(value)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        bound = super().bind(value, weights)
        return bound if self.minimum is not None else attrs.evolve(bound, minimum=value.min())

    def check_fit(self) -> None:
        if self.reference is None or self.reference.centre == self.minimum:
            super().check_fit()

    def fit(self, value: Array, weights: Array) -> Self:
        counted = weights.reshape(len(weights), -1).any(axis=1)
        template = self if self.minimum is not None else self.bind(value[counted])
        return super(Pareto, template).fit(value, weights)

    @property
    def centre(self) -> float:
        return self.minimum or 1.0

    def log_density(self, x: Array) -> Array:
        (exponent,) = self.known()
        return np.asarray(np.log(exponent) - exponent * log_ratio(x, self.centre) - np.log(x))

    def statistics_within(self, value: Array) -> Sequence[Array]:
        return (log_ratio(value, self.centre),)

    def log_base_within(self, value: Array) -> Array:
        return -np.log(value)

    def natural_parameters(self) -> tuple[Array, Array]:
        (exponent,) = self.known()
        return -exponent[..., None], -np.log(exponent)

    def from_mean(self, mean: Array, weight: Array) -> Self:
        smallest = 1.0 / self.largest_exponent
        at_limit = mean[..., 0] < smallest
        exponent = 1.0 / np.maximum(mean[..., 0], smallest)
        return attrs.evolve(self, exponent=exponent, at_limit=at_limit)

    def feasible(self) -> Self:
        if self.exponent is None:
            return self
        return attrs.evolve(self, exponent=np.minimum(self.exponent, self.largest_exponent))

    def directions(self) -> list[dict[str, Array]]:
        (exponent,) = self.known()
        held = np.zeros(exponent.shape, bool) if self.at_limit is None else self.at_limit
        moves = single_state_moves({"exponent": exponent})
        return [move for move, fixed in zip(moves, held.ravel(), strict=True) if not fixed]

    def expected_value(self) -> Array:
        """Return the means, ``(*parents,)``; infinite for exponents up to 1."""
        (exponent,) = self.known()
        above = np.maximum(exponent - 1.0, 0.0)
        with np.errstate(divide="ignore"):
            return np.asarray(self.centre * (exponent / above))

    def sample(self, rng: np.random.Generator, state: Array) -> Array:
        """Draw one value for each parent state, ``(n,)``."""
        (exponent,) = self.known()
        draws: Array = self.centre * np.exp(rng.standard_exponential(len(state)) / exponent[state])
        return draws
