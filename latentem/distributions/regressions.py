"""Regressions with a linear predictor: what they share."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, change_at
from latentem.distributions.checks import counted, naming
from latentem.distributions.linear_kernel import Lines
from latentem.distributions.named import NamesCovariates
from latentem.distributions.newton import Curve, maximise_predictors
from latentem.errors import ModelError, Unsuitable

Columns = Mapping[str, Array]


class Regression(NamesCovariates):
    r"""A family with a linear predictor for each state, eta_k = a_k + B_k u, plus an offset.

    A subclass says how the log-likelihood of a row depends on its predictor (`curve`), where to
    start, and its density, mean and draws at given predictors. ``named`` are the columns that its
    options name, but for the offset: that is in the predictor.
    """

    __slots__ = ()

    intercept: Array | None
    reference: Lines | None
    rounding: Array | None

    # -- what a subclass says ------------------------------------------------------------------

    @abc.abstractmethod
    def curve(self, y: Array, named: Columns, predictor: Array) -> Curve:
        """Return the log-likelihoods of y ``(n, 1)`` at predictors ``(n, K)``, but for constants.

        The columns named are ``(n, 1)`` too.
        """

    @abc.abstractmethod
    def first_predictor(self, y: Array, named: Columns, offset: Array, weights: Array) -> Array:
        """Return a constant to start from, ``(K,)``, which the offsets ``(n,)`` add to."""

    @abc.abstractmethod
    def log_density(self, y: Array, named: Columns, predictor: Array) -> Array:
        """Return log p(y) at predictors ``(n, *parents)``; y and columns are ``(n, *ones)``."""

    def others(
        self, y: Array, named: Columns, predictor: Array, weights: Array
    ) -> dict[str, Array]:
        """Return the maximisers of further parameters, by name, at the fitted predictors."""
        return {}

    # -- parameters ----------------------------------------------------------------------------

    def check_given(self) -> None:
        """Raise `ModelError` unless what a user gave belongs together."""
        self.check_named()
        given = {name: value for name, value in self.parameters.items() if value is not None}
        if not given:
            return
        name = type(self).__name__
        if len(given) < len(self.parameters):
            raise ModelError(
                f"{name}: {' and '.join(self.parameters)} must be given all or none, "
                f"got only {list(given)}. Give all, or none to fit them."
            )
        a, b = given["intercept"], given["coefficients"]
        if b.shape[:-1] != a.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ModelError(
                f"{name}: coefficients must be finite, a row of them for each intercept, got "
                f"shapes {a.shape} and {b.shape}. Give coefficients (*parents, p)."
            )

    def known(self) -> tuple[Array, Array]:
        """Return intercept and coefficients, or raise `ModelError`."""
        if self.intercept is None or self.coefficients is None:
            raise ModelError(
                f"{type(self).__name__} must have its parameters to be evaluated or sampled, "
                "got a template. Fit it."
            )
        return self.intercept, self.coefficients

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        return {**self.parameters, "rounding": self.rounding, "collinear": self.collinear}

    @property
    def n_parameters(self) -> int:
        """Intercepts and coefficients."""
        a, b = self.known()
        return a.size + b.size

    # -- data ----------------------------------------------------------------------------------

    def parts(self, inputs: Array) -> tuple[Array, Array, Columns]:
        """Return covariates ``(n, p)``, the offsets ``(n,)`` and the other columns named."""
        u, named = self.split(inputs)
        columns = {option: values[:, 0] for option, values in named.items()}
        return u, columns.pop("offset", np.zeros(len(u))), columns

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        u, _, _ = self.parts(np.asarray(value)[:, :-1])
        return attrs.evolve(self, reference=Lines.of_predictors(u, weights))  # type: ignore[misc]

    # -- the predictor -------------------------------------------------------------------------

    def _lines(self, width: int) -> Lines:
        return self.reference or Lines.at_origin(width + 1, width)

    def _standard(self, width: int) -> tuple[Array, Array]:
        """Return intercepts and coefficients about the centre of the covariates."""
        a, b = self.known()
        rounding = np.zeros_like(a) if self.rounding is None else self.rounding
        a, b = self._lines(width).standardise_lines(
            a[..., None], b[..., None, :], rounding[..., None]
        )
        return a[..., 0], b[..., 0, :]

    def predictor(self, inputs: Array) -> Array:
        """Return a + B u + offset, ``(n, *parents)``, of all covariates."""
        u, offset, _ = self.parts(inputs)
        a, b = self._standard(u.shape[1])
        z = self._design(u)[:, 1:]
        return np.asarray(a + np.tensordot(z, b, axes=([1], [-1])) + beside_parents(offset, a))

    def _design(self, u: Array) -> Array:
        lines, p = self._lines(u.shape[1]), u.shape[1]
        return np.column_stack([np.ones(len(u)), (u - lines.centre[:p]) / lines.scale[:p]])

    def log_prob(self, value: Array) -> Array:
        """Return log p(y | u, parents), ``(n, *parents)``, of rows (u, y)."""
        a, b = self.known()
        value = np.asarray(value, dtype=float)
        wanted = 1 + (b.shape[-1] if self.inputs is None else self.inputs.width)
        if value.ndim != 2 or value.shape[1] != wanted:
            with naming(type(self).__name__):
                raise Unsuitable(
                    f"have {counted(wanted, 'column')}, the last for y",
                    f"shape {value.shape}",
                    "Pass rows of the covariates and y.",
                )
        _, _, named = self.parts(value[:, :-1])
        columns = {option: beside_parents(column, a) for option, column in named.items()}
        predictor = self.predictor(value[:, :-1])
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self.log_density(beside_parents(value[:, -1], a), columns, predictor)

    def fit(self, value: Array, weights: Array) -> Self:
        value = np.asarray(value, dtype=float)
        shape = weights.shape[1:]
        flat = weights.reshape(len(weights), -1)
        bound = self if self.reference is not None else self.bind(value)
        u, offset, named = self.parts(value[:, :-1])
        y, design = value[:, -1], bound._design(u)
        if bound.is_parameterised:
            a, b = bound.flatten(shape)._standard(u.shape[1])
            start = np.concatenate([a[:, None], b], axis=1)
        else:
            start = np.zeros((flat.shape[1], design.shape[1]))
            start[:, 0] = self.first_predictor(y, named, offset, flat)
        columns = {option: column[:, None] for option, column in named.items()}
        beta, collinear = maximise_predictors(
            lambda eta: self.curve(y[:, None], columns, eta + offset[:, None]), design, flat, start
        )
        a, rounding, b = bound._lines(u.shape[1]).lines(beta[:, :1], beta[:, None, 1:])
        new = attrs.evolve(  # type: ignore[misc]
            bound.flatten(shape) if bound.is_parameterised else bound,
            intercept=a[:, 0],
            coefficients=b[:, 0],
            rounding=rounding[:, 0],
            collinear=collinear,
            **self.others(y[:, None], columns, design @ beta.T + offset[:, None], flat),
        )
        return new.unflatten(shape)

    def directions(self) -> list[dict[str, Array]]:
        """Vary intercepts, and slopes about the centre of the covariates by their spread."""
        a, b = self.known()
        p = b.shape[-1]
        lines = self._lines(p)
        found = []
        for state in np.ndindex(a.shape):
            found.append({"intercept": change_at(a.shape, state, 1.0)})
            for j in range(p):
                slope = np.zeros(p)
                slope[j] = 1.0 / lines.scale[j]
                shift = change_at(a.shape, state, -lines.centre[j] * slope[j])
                found.append({"intercept": shift, "coefficients": change_at(b.shape, state, slope)})
        return found


def beside_parents(column: Array, parameter: Array) -> Array:
    """Return a column ``(n,)`` with axes of one for those of a parameter, ``(n, *ones)``."""
    return column.reshape(-1, *(1,) * parameter.ndim)


def weighted_mean(y: Array, weights: Array) -> Array:
    """Return the weighted means of y, ``(K,)``; 0 for a state without weight."""
    total = weights.sum(axis=0)
    return np.asarray(y @ weights / np.where(total > 0, total, 1.0))
