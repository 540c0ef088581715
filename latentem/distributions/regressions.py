"""Regressions with a linear predictor: what they share."""

from __future__ import annotations

import abc
from typing import ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, change_at
from latentem.distributions.base import Distribution, Inputs
from latentem.distributions.checks import naming
from latentem.distributions.linear_kernel import Lines
from latentem.distributions.newton import Curve, maximise_predictors
from latentem.errors import ModelError, Unsuitable


class Regression(Distribution):
    r"""A family with a linear predictor for each state, eta_k = a_k + B_k u, plus an offset.

    A subclass says how the log-likelihood of a row depends on its predictor (`curve`), where to
    start, and its density, mean and draws at given predictors.
    """

    __slots__ = ()
    takes_covariates: ClassVar[bool] = True
    #: Options that name a covariate which is not in the predictor with a coefficient.
    named: ClassVar[tuple[str, ...]] = ()

    intercept: Array | None
    coefficients: Array | None
    inputs: Inputs | None
    reference: Lines | None
    rounding: Array | None

    # -- what a subclass says ------------------------------------------------------------------

    @abc.abstractmethod
    def curve(self, y: Array, extra: Array | None, predictor: Array) -> Curve:
        """Return the log-likelihoods of y ``(n,)`` at predictors ``(n, K)``, but for constants.

        ``extra`` ``(n,)`` is the column that an option names, offset or trials.
        """

    @abc.abstractmethod
    def first_predictor(self, y: Array, extra: Array | None, weights: Array) -> Array:
        """Return a constant predictor to start from, ``(K,)``."""

    @abc.abstractmethod
    def log_density(self, y: Array, extra: Array | None, predictor: Array) -> Array:
        """Return log p(y) at predictors ``(n, *parents)``; y and extra are ``(n, *ones)``."""

    # -- parameters ----------------------------------------------------------------------------

    def check_given(self) -> None:
        """Raise `ModelError` unless what a user gave belongs together."""
        for option in self.named:
            name = getattr(self, option)
            if not (name is None or isinstance(name, str | int | np.integer)) or (
                option == "offset" and not isinstance(name, str | None)
            ):
                raise ModelError(
                    f"{type(self).__name__}: {option} must be the name of a covariate among the "
                    f"parents of its node, got {name!r}. Give its name."
                )
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
        return {**self.parameters, "rounding": self.rounding}

    @property
    def n_parameters(self) -> int:
        """Intercepts and coefficients."""
        a, b = self.known()
        return a.size + b.size

    # -- data ----------------------------------------------------------------------------------

    def with_inputs(self, inputs: Inputs) -> Self:
        for option in self.named:
            name = getattr(self, option)
            if not isinstance(name, str):
                continue
            if name not in inputs.names:
                raise Unsuitable(
                    f"be '{name}' because {type(self).__name__} has {option}={name!r}",
                    f"only {list(inputs.names)}",
                    f"Add covariate({name!r}) to its parents.",
                )
            columns = inputs.columns(name)
            if columns.stop - columns.start != 1:
                raise Unsuitable(
                    f"have one column '{name}'", f"{columns.stop - columns.start} of them"
                )
        made = self if self.inputs == inputs else attrs.evolve(self, inputs=inputs)  # type: ignore[misc]
        width = inputs.width - (made._named_column() is not None)
        if self.coefficients is not None and self.coefficients.shape[-1] != width:
            p = self.coefficients.shape[-1]
            raise Unsuitable(f"have {p} columns because there are {p} coefficients", f"{width}")
        return made

    def _named_column(self) -> int | None:
        """Return the column of the covariates that an option names."""
        for option in self.named:
            name = getattr(self, option)
            if isinstance(name, str) and self.inputs is not None:
                return int(self.inputs.columns(name).start)
        return None

    def split(self, inputs: Array) -> tuple[Array, Array | None]:
        """Return the covariates that have coefficients, ``(n, p)``, and the column named."""
        column = self._named_column()
        if column is None:
            for option in self.named:
                if isinstance(getattr(self, option), str):
                    raise ModelError(
                        f"{type(self).__name__}: {option}={getattr(self, option)!r} must be a "
                        "covariate of its node because it is a column among others, got a "
                        "distribution by itself. Use it in a model."
                    )
            return inputs, None
        return np.delete(inputs, column, axis=1), inputs[:, column]

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        u, _ = self.split(np.asarray(value)[:, :-1])
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

    def predictor(self, u: Array, offset: Array | float = 0.0) -> Array:
        """Return a + B u + offset, ``(n, *parents)``, of covariates ``(n, p)``."""
        a, b = self._standard(u.shape[1])
        lines, p = self._lines(u.shape[1]), u.shape[1]
        z = (u - lines.centre[:p]) / lines.scale[:p]
        plain = np.reshape(offset, (-1, *(1,) * a.ndim)) if np.ndim(offset) else offset
        return np.asarray(a + np.tensordot(z, b, axes=([1], [-1])) + plain)

    def log_prob(self, value: Array) -> Array:
        """Return log p(y | u, parents), ``(n, *parents)``, of rows (u, y)."""
        a, b = self.known()
        value = np.asarray(value, dtype=float)
        wanted = b.shape[-1] + (self._named_column() is not None) + 1
        if value.ndim != 2 or value.shape[1] != wanted:
            with naming(type(self).__name__):
                raise Unsuitable(f"have {wanted} columns, the last for y", f"shape {value.shape}")
        u, named = self.split(value[:, :-1])
        shape = (-1, *(1,) * a.ndim)
        y = value[:, -1].reshape(shape)
        column = None if named is None else named.reshape(shape)
        predictor = self.predictor(u)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self.log_density(y, column, predictor)

    def fit(self, value: Array, weights: Array) -> Self:
        value = np.asarray(value, dtype=float)
        shape = weights.shape[1:]
        flat = weights.reshape(len(weights), -1)
        bound = self if self.reference is not None else self.bind(value)
        u, column = self.split(value[:, :-1])
        y, lines, p = value[:, -1], bound._lines(u.shape[1]), u.shape[1]
        design = np.column_stack([np.ones(len(u)), (u - lines.centre[:p]) / lines.scale[:p]])
        if bound.is_parameterised:
            a, b = bound.flatten(shape)._standard(p)
            start = np.concatenate([a[:, None], b], axis=1)
        else:
            start = np.zeros((flat.shape[1], 1 + p))
            start[:, 0] = self.first_predictor(y, column, flat)
        beta = maximise_predictors(
            lambda eta: self.curve(y[:, None], None if column is None else column[:, None], eta),
            design, flat, start,
        )  # fmt: skip
        a, rounding, b = lines.lines(beta[:, :1], beta[:, None, 1:])
        new = attrs.evolve(  # type: ignore[misc]
            bound.flatten(shape) if bound.is_parameterised else bound,
            intercept=a[:, 0],
            coefficients=b[:, 0],
            rounding=rounding[:, 0],
            **self.others(y, design @ beta.T, column, flat),
        )
        return new.unflatten(shape)

    def others(
        self, y: Array, predictor: Array, extra: Array | None, weights: Array
    ) -> dict[str, Array]:
        """Return the maximisers of further parameters, by name, at the fitted predictors."""
        return {}

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


def offset_or_zero(column: Array | None) -> Array | float:
    """Return the offsets, 0 without any."""
    return 0.0 if column is None else column


def weighted_mean(y: Array, weights: Array) -> Array:
    """Return the weighted means of y, ``(K,)``; 0 for a state without weight."""
    total = weights.sum(axis=0)
    return np.asarray(y @ weights / np.where(total > 0, total, 1.0))


def listed(mask: Array) -> str:
    """Return the states of a mask, as text."""
    return ", ".join(map(str, np.flatnonzero(mask)))
