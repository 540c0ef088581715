"""Regression of counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array
from latentem.distributions.base import Inputs, parameter
from latentem.distributions.checks import check_integers, listed
from latentem.distributions.formulas import Formulas
from latentem.distributions.linear_kernel import Lines
from latentem.distributions.newton import Curve
from latentem.distributions.regressions import Columns, Regression, weighted_mean
from latentem.distributions.special import stirling


@attrs.frozen(eq=False)
class PoissonRegression(Regression):
    r"""Poisson regression with a logarithmic link.

    .. math:: {log_density}

    The maximiser solves

    .. math:: {update}

    by Newton's method with steps that never lower the likelihood (McCullagh and Nelder, Generalized
    Linear Models, 2nd ed., 1989, chapter 6).

    Parameters
    ----------
    intercept : array, (\*parents,), optional
    coefficients : array, (\*parents, p), optional
    offset : str, optional
        The covariate, a parent of the node, that is added to the predictor as it is: the logarithm
        of an exposure.

    Raises
    ------
    ModelError
        If only one of the parameters is given, or shapes disagree.

    Examples
    --------
    >>> import latentem as lem
    >>> u = lem.covariate("u")
    >>> y = lem.observed("y", lem.PoissonRegression(), given=u)
    >>> fit = lem.fit(lem.Model([u, y]), {"u": [0, 1, 2, 3], "y": [1, 2, 4, 8]})
    >>> fit.model["y"].coefficients.round(4)  # log 2
    array([0.6931])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(y \mid u, k) = y \eta_k - e^{\eta_k} - \log y!, \qquad "
            r"\eta_k = a_k + B_k u + o"
        ),
        update=(
            r"\sum_i r_{ik} (y_i - e^{\eta_{ik}}) = 0, \qquad "
            r"\sum_i r_{ik} (y_i - e^{\eta_{ik}}) u_i = 0"
        ),
        symbols={"a": "intercept", "B": "coefficients"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"intercept": 0, "coefficients": 1}

    intercept: Array | None = parameter(converter=as_float_array)
    coefficients: Array | None = parameter(converter=as_float_array)
    offset: str | None = attrs.field(default=None, kw_only=True)
    inputs: Inputs | None = attrs.field(default=None, kw_only=True, repr=False)
    reference: Lines | None = attrs.field(default=None, kw_only=True, repr=False)
    rounding: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    collinear: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    empty: Array | None = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        self.check_given()

    def check(self, value: Array) -> Array:
        return check_integers(value, 0, None, "PoissonRegression")

    @property
    def events(self) -> tuple[str, ...]:
        if self.empty is None or not self.empty.any():
            return super().events
        empty = f"all counts of state {listed(self.empty)} are 0: its rate tends to 0"
        return (empty, *super().events)

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**super().state_arrays, "empty": self.empty}

    def others(
        self, y: Array, named: Columns, predictor: Array, weights: Array
    ) -> dict[str, Array]:
        return {"empty": (weights.sum(axis=0) > 0) & ~((weights > 0) & (y > 0)).any(axis=0)}

    def curve(self, y: Array, named: Columns, predictor: Array) -> Curve:
        rate = np.exp(predictor)
        return Curve(_poisson(y, predictor, rate), y - rate, rate)

    def first_predictor(self, y: Array, named: Columns, offset: Array, weights: Array) -> Array:
        largest = offset.max()
        exposure = np.exp(offset - largest)
        mean = weighted_mean(y, weights) / weighted_mean(exposure, weights)
        return np.asarray(np.log(np.maximum(mean, 1e-3 * max(y.mean(), 1e-3))) - largest)

    def log_density(self, y: Array, named: Columns, predictor: Array) -> Array:
        possible = (y >= 0) & (y == np.floor(y))
        y = np.where(possible, y, 0.0)
        positive = np.where(y > 0, y, 1.0)
        base = np.where(y > 0, stirling(positive) - np.log(positive), 0.0)
        return np.where(possible, _poisson(y, predictor, np.exp(predictor)) + base, -np.inf)

    def expected_value(self, inputs: Array) -> Array:
        """Return the means given covariates, ``(n, *parents)``."""
        with np.errstate(over="ignore"):
            return np.exp(self.predictor(inputs))

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        """Draw a count for each parent state and covariates, ``(n,)``."""
        rate = self.expected_value(inputs)[np.arange(len(state)), state]
        return rng.poisson(np.minimum(rate, 1e18))


def _poisson(y: Array, eta: Array, rate: Array) -> Array:
    """Return y eta - rate, less its maximum y log y - y: large counts lose no digits."""
    positive = np.where(y > 0, y, 1.0)
    near = np.abs(rate / positive - 1.0) < 0.5
    ratio = np.where(near, rate / positive, 1.0)
    close = positive * (np.log1p(ratio - 1.0) - (ratio - 1.0))
    far = positive * (eta - np.log(positive) + 1.0) - rate
    return np.where(y > 0, np.where(near, close, far), -rate)
