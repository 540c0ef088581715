"""Regression of positive values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array, change_at
from latentem.distributions.base import Inputs, parameter
from latentem.distributions.checks import check_column, listed
from latentem.distributions.formulas import Formulas
from latentem.distributions.gamma import shape_of_excess
from latentem.distributions.linear_kernel import Lines
from latentem.distributions.newton import Curve
from latentem.distributions.positive import check_limit
from latentem.distributions.regressions import Columns, Regression
from latentem.distributions.special import log_minus_digamma, stirling
from latentem.errors import ModelError, Unsuitable


@attrs.frozen(eq=False)
class GammaRegression(Regression):
    r"""Regression of a positive variable: Gamma with a logarithmic link for the mean.

    .. math:: {log_density}

    The coefficients solve the first two equations, whatever the shape; the shape then solves the
    third,

    .. math:: {update}

    (McCullagh and Nelder, Generalized Linear Models, 2nd ed., 1989, section 8.3).

    Parameters
    ----------
    intercept : array, (\*parents,), optional
    coefficients : array, (\*parents, p), optional
    shape : array, (\*parents,), optional
        The coefficient of variation is one over its square root.
    offset : str, optional
        The covariate, a parent of the node, that is added to the predictor as it is.
    largest_shape : float
        Largest allowed shape: that of a state whose rows lie on a curve would grow without bound.
        The fit is the exact maximiser under this constraint, and says when it is active.

    Raises
    ------
    ModelError
        If not all of the parameters are given, shapes disagree, or a shape is not positive.

    Examples
    --------
    >>> import latentem as lem
    >>> u = lem.covariate("u")
    >>> y = lem.observed("y", lem.GammaRegression(), given=u)
    >>> fit = lem.fit(lem.Model([u, y]), {"u": [0, 0, 1, 1], "y": [1.0, 3.0, 2.0, 6.0]})
    >>> fit.model["y"].coefficients.round(4)  # log 2
    array([0.6931])
    """

    formulas = Formulas(
        log_density=(
            r"\log p(y \mid u, k) = \nu_k \log (\nu_k / \mu_k) - \log \Gamma(\nu_k) "
            r"+ (\nu_k - 1) \log y - \nu_k y / \mu_k, \qquad "
            r"\mu_k = e^{a_k + B_k u + o}"
        ),
        update=(
            r"\sum_i r_{ik} (y_i / \mu_{ik} - 1) = 0, \qquad "
            r"\sum_i r_{ik} (y_i / \mu_{ik} - 1) u_i = 0, \qquad "
            r"\log \hat\nu_k - \psi(\hat\nu_k) = \overline{y / \mu_k - 1 - \log (y / \mu_k)}"
        ),
        symbols={"a": "intercept", "B": "coefficients", r"\nu": "shape"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"intercept": 0, "coefficients": 1, "shape": 0}

    intercept: Array | None = parameter(converter=as_float_array)
    coefficients: Array | None = parameter(converter=as_float_array)
    shape: Array | None = parameter(converter=as_float_array)
    offset: str | None = attrs.field(default=None, kw_only=True)
    largest_shape: float = attrs.field(default=1e8, kw_only=True, validator=check_limit)
    inputs: Inputs | None = attrs.field(default=None, kw_only=True, repr=False)
    reference: Lines | None = attrs.field(default=None, kw_only=True, repr=False)
    rounding: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    collinear: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    at_limit: Array | None = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        self.check_given()
        if self.shape is not None and not np.all((self.shape > 0) & np.isfinite(self.shape)):
            raise ModelError(
                f"GammaRegression: shape must be positive and finite, got {self.shape}. "
                "Give positive shapes."
            )

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**super().state_arrays, "at_limit": self.at_limit}

    @property
    def n_parameters(self) -> int:
        """Intercepts, coefficients and shapes."""
        a, b = self.known()
        return 2 * a.size + b.size

    @property
    def at_constraint(self) -> bool:
        return self.at_limit is not None and bool(self.at_limit.any())

    @property
    def events(self) -> tuple[str, ...]:
        if not self.at_constraint:
            return super().events
        assert self.at_limit is not None
        states = listed(self.at_limit)
        limit = f"the shape of state {states} is at its largest, {self.largest_shape:g}"
        return (limit, *super().events)

    def check(self, value: Array) -> Array:
        column = check_column(value, "GammaRegression").astype(float)
        if not (column > 0).all():
            row = int((~(column > 0)).argmax())
            raise Unsuitable("be positive because {node} is GammaRegression",
                             f"{column[row]:g} at row {row}", "Drop or correct it.")  # fmt: skip
        return column

    def curve(self, y: Array, named: Columns, predictor: Array) -> Curve:
        ratio = y * np.exp(-predictor)
        return Curve(-ratio - predictor, ratio - 1.0, ratio)

    def first_predictor(self, y: Array, named: Columns, offset: Array, weights: Array) -> Array:
        logs = np.log(y) - offset
        # The largest keeps exp(-eta) y, of which Newton's steps are made, in range.
        largest = np.where(weights > 0, logs[:, None], -np.inf).max(axis=0)
        mean = np.where(np.isfinite(largest), largest, 0.0)
        return np.asarray(mean + np.log(_weighted_mean_exp(logs, mean, weights)))

    def others(
        self, y: Array, named: Columns, predictor: Array, weights: Array
    ) -> dict[str, Array]:
        total = weights.sum(axis=0)
        surplus = _excess_of_log(np.log(y) - predictor)
        surplus = np.where(weights > 0, surplus, 0.0)
        spread = (weights * surplus).sum(axis=0) / np.where(total > 0, total, 1.0)
        smallest = log_minus_digamma(np.asarray(self.largest_shape))
        shape = shape_of_excess(np.maximum(spread, smallest))
        at_limit = (spread < smallest) & (total > 0)
        return {"shape": np.minimum(shape, self.largest_shape), "at_limit": at_limit}

    def feasible(self) -> Self:
        if self.shape is None:
            return self
        return attrs.evolve(self, shape=np.minimum(self.shape, self.largest_shape))

    def log_density(self, y: Array, named: Columns, predictor: Array) -> Array:
        assert self.shape is not None
        possible = (y > 0) & np.isfinite(y)
        y = np.where(possible, y, 1.0)
        surplus = _excess_of_log(np.log(y) - predictor)
        return np.where(possible, stirling(self.shape) - self.shape * surplus - np.log(y), -np.inf)

    def directions(self) -> list[dict[str, Array]]:
        """Vary the predictor, and the shapes that are free."""
        assert self.shape is not None
        held = np.zeros(self.shape.shape, bool) if self.at_limit is None else self.at_limit
        shapes = [
            {"shape": change_at(self.shape.shape, state, float(self.shape[state]))}
            for state in np.ndindex(self.shape.shape)
            if not held[state]
        ]
        return super().directions() + shapes

    def expected_value(self, inputs: Array) -> Array:
        """Return the means given covariates, ``(n, *parents)``."""
        with np.errstate(over="ignore"):
            return np.exp(self.predictor(inputs))

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        """Draw a value for each parent state and covariates, ``(n,)``."""
        assert self.shape is not None
        mean = self.expected_value(inputs)[np.arange(len(state)), state]
        shape = self.shape[state]
        return np.maximum(mean * rng.gamma(shape) / shape, np.finfo(float).tiny)


def _excess_of_log(t: Array) -> Array:
    """Return e^t - 1 - t, which is never negative."""
    with np.errstate(over="ignore"):
        return np.expm1(t) - t


def _weighted_mean_exp(logs: Array, largest: Array, weights: Array) -> Array:
    """Return the weighted means of exp(logs - largest), ``(K,)``; 1 for a state without weight."""
    total = weights.sum(axis=0)
    terms = np.multiply(weights, np.exp(np.minimum(logs[:, None] - largest, 0.0)))
    return np.where(total > 0, terms.sum(axis=0) / np.where(total > 0, total, 1.0), 1.0)
