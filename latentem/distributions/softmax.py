"""Multinomial logistic regression, of an observed variable or of a latent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array, as_float_array, change_at
from latentem.distributions.base import Distribution, Inputs, parameter
from latentem.distributions.categorical import (
    as_levels,
    check_states,
    common_levels,
    levels_of_states,
    states_declared,
    states_in,
)
from latentem.distributions.checks import counted, naming
from latentem.distributions.formulas import Formulas
from latentem.distributions.linear_kernel import Lines
from latentem.distributions.named import NamesCovariates
from latentem.distributions.newton import MOST_HALVINGS, MOST_STEPS, smallest, solve_singular
from latentem.distributions.records import Choices, Record, check_finite
from latentem.errors import ModelError, Unsuitable

#: Log-odds beyond it in every row mean that the covariates separate the states.
FARTHEST = 30.0


@attrs.frozen(eq=False)
class Softmax(NamesCovariates):
    r"""Multinomial logistic regression: states whose probabilities depend on covariates.

    .. math:: {log_density}

    with state 0 for reference, :math:`a_{k0} = 0, B_{k0} = 0`. As the node of a latent it makes a
    mixture of experts, or a mixture with concomitant variables (Jacobs, Jordan, Nowlan and Hinton,
    Adaptive mixtures of local experts, Neural Computation 1991; Dayton and Macready,
    Concomitant-variable latent-class models, JASA 1988). The maximiser solves

    .. math:: {update}

    by Newton's method with steps that never lower the likelihood. Where covariates separate the
    states of all rows the likelihood rises without end; the fit stops where it gains nothing but
    rounding, and says so.

    Parameters
    ----------
    n_states : int, optional
        Number of states; taken from the parameters, if these are given.
    intercept : array, (\*parents, n_states), optional
    coefficients : array, (\*parents, n_states, p), optional
        The same may be added to those of all states: what matters are differences.
    offset : str, optional
        The covariate, a parent of the node, that is added to the predictors as it is: known
        log-odds, or the logarithms of prior probabilities. It has a column for each state, the
        reference included.
    levels : sequence, optional
        Labels of the states.

    Raises
    ------
    ModelError
        If there are no two states, only one of the parameters is given, or shapes disagree.

    Examples
    --------
    >>> import latentem as lem
    >>> u = lem.covariate("u")
    >>> z = lem.latent("z", lem.Softmax(2), given=u)
    >>> y = lem.observed("y", lem.LinearGaussian(), given=[z, u])
    >>> print(lem.Model([u, z, y]))
    p(z | u) p(y | z, u)
    """

    formulas = Formulas(
        log_density=(
            r"\log p(z \mid u, k) = \sum_j [z = j] \log \pi_{kj}, \qquad "
            r"\pi_{kj} = e^{\eta_{kj}} / \sum_l e^{\eta_{kl}}, \qquad "
            r"\eta_{kj} = a_{kj} + B_{kj} u + o_j"
        ),
        update=(
            r"\sum_i r_{ik} ([z_i = j] - \pi_{ikj}) = 0, \qquad "
            r"\sum_i r_{ik} ([z_i = j] - \pi_{ikj}) u_i = 0"
        ),
        symbols={"a": "intercept", "B": "coefficients"},
    )

    trailing_axes: ClassVar[Mapping[str, int]] = {"intercept": 1, "coefficients": 2}

    n_states: int | None = attrs.field(default=None)
    intercept: Array | None = parameter(converter=as_float_array)
    coefficients: Array | None = parameter(converter=as_float_array)
    offset: str | None = attrs.field(default=None, kw_only=True)
    levels: tuple[Any, ...] | None = attrs.field(default=None, kw_only=True, converter=as_levels)
    inputs: Inputs | None = attrs.field(default=None, kw_only=True, repr=False)
    reference: Lines | None = attrs.field(default=None, kw_only=True, repr=False)
    rounding: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    collinear: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    separated: Array | None = attrs.field(default=None, kw_only=True, repr=False)
    # Of renumbered states: which column of the offset is whose.
    places: tuple[int, ...] | None = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        self.check_named()
        a, b = self.intercept, self.coefficients
        if (a is None) is not (b is None):
            raise ModelError(
                "Softmax: intercept and coefficients must be given both or neither, got only "
                f"{'intercept' if b is None else 'coefficients'}. Give both."
            )
        if a is not None and b is not None:
            if (
                a.ndim < 1
                or b.shape[:-1] != a.shape
                or not (np.isfinite(a).all() and np.isfinite(b).all())
            ):
                raise ModelError(
                    "Softmax: coefficients must be finite, a row of them for each state, got "
                    f"shapes {a.shape} and {b.shape}. Give coefficients (*parents, n_states, p)."
                )
            if self.n_states is None:
                object.__setattr__(self, "n_states", a.shape[-1])
        n_states = states_declared("Softmax", self.n_states, self.levels)
        object.__setattr__(self, "n_states", n_states)
        if n_states == 1 or (a is not None and a.shape[-1] != n_states):
            raise ModelError(
                "Softmax: n_states must be at least 2, and the last axis of intercept, got "
                f"{n_states}. Give parameters for each state."
            )

    # -- parameters ----------------------------------------------------------------------------

    def known(self) -> tuple[Array, Array]:
        """Return intercept and coefficients, or raise `ModelError`."""
        if self.intercept is None or self.coefficients is None:
            raise ModelError(
                "Softmax must have its parameters to be evaluated or sampled, got a template. "
                "Fit it."
            )
        return self.intercept, self.coefficients

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        masks = {"separated": self.separated, "collinear": self.collinear}
        return {**self.parameters, "rounding": self.rounding, **masks}

    @property
    def n_parameters(self) -> int:
        """Intercepts and coefficients of all states but the reference."""
        a, b = self.known()
        return int((a.size + b.size) * (a.shape[-1] - 1) // a.shape[-1])

    @property
    def events(self) -> tuple[str, ...]:
        if self.separated is None or not self.separated.any():
            return super().events
        separated = (
            "the covariates separate the states: the coefficients grow without end, and stop "
            "where the likelihood gains nothing more"
        )
        return (separated, *super().events)

    def with_levels(self, levels: tuple[Any, ...]) -> Self:
        if self.levels is not None:
            return self
        levels = levels_of_states("Softmax", self.n_states, self.is_parameterised, levels)
        return attrs.evolve(self, n_states=len(levels), levels=levels)

    @property
    def named_widths(self) -> dict[str, tuple[int | None, str]]:
        return {"offset": (self.n_states, "there is one for each state, the first included")}

    def with_inputs(self, inputs: Inputs) -> Self:
        made = super().with_inputs(inputs)
        if made.n_states is not None or "offset" not in made.named_columns:
            return made
        place = made.named_columns["offset"]
        if place.stop - place.start == 1:
            raise Unsuitable(
                f"have 2 columns '{self.offset}' or more, its offset, because there is one for "
                "each state, the first included",
                "1",
                "Add a column of zeros for the first state.",
            )
        return attrs.evolve(made, n_states=place.stop - place.start)

    def parts(self, inputs: Array) -> tuple[Array, Array]:
        """Return covariates ``(n, p)`` and the offsets of the states, ``(n, n_states or 1)``."""
        u, named = self.split(inputs)
        offset = named.get("offset", np.zeros((1, 1)))
        return u, offset if self.places is None else offset[:, self.places]

    def started_from(self, other: Distribution) -> Self:
        levels = common_levels(self.levels, other.levels)
        started = super().started_from(other)
        return attrs.evolve(started, levels=levels, places=getattr(other.free, "places", None))

    def check(self, value: Array) -> Array:
        return check_states("Softmax", value, self.n_states)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        n_states = self.n_states or states_in("Softmax", value[:, -1])
        u, _ = self.parts(np.asarray(value, dtype=float)[:, :-1])
        return attrs.evolve(self, n_states=n_states, reference=Lines.of_predictors(u, weights))

    def permuted(self, order: Array) -> Self:
        """Return the same over renumbered states; the first of them is the reference."""
        levels = None if self.levels is None else tuple(self.levels[state] for state in order)
        made = attrs.evolve(self, levels=levels)
        if self.offset is not None:
            old = range(len(order)) if self.places is None else self.places
            made = attrs.evolve(made, places=tuple(old[state] for state in order))
        if self.intercept is None or self.coefficients is None:
            return made
        a, b = self.intercept[..., order], self.coefficients[..., order, :]
        low = None if self.rounding is None else self.rounding[..., order]
        return attrs.evolve(
            made,
            intercept=a - a[..., :1],
            coefficients=b - b[..., :1, :],
            rounding=None if low is None else low - low[..., :1],
        )

    def directions(self) -> list[dict[str, Array]]:
        """Vary each state against the reference; slopes about the centre of the covariates."""
        a, b = self.known()
        p = b.shape[-1]
        lines = self.reference or Lines.at_origin(p + 1, p)
        found = []
        for place in np.ndindex(a.shape):
            if place[-1] == 0:
                continue
            found.append({"intercept": change_at(a.shape, place, 1.0)})
            for j in range(p):
                slope = np.zeros(p)
                slope[j] = 1.0 / lines.scale[j]
                shift = change_at(a.shape, place, -lines.centre[j] * slope[j])
                found.append({"intercept": shift, "coefficients": change_at(b.shape, place, slope)})
        return found

    # -- densities, fits, draws ----------------------------------------------------------------

    def _standard(self) -> tuple[Array, Array]:
        """Return intercepts and coefficients about the centre of the covariates."""
        a, b = self.known()
        p = b.shape[-1]
        lines = self.reference or Lines.at_origin(p + 1, p)
        rounding = np.zeros_like(a) if self.rounding is None else self.rounding
        a, b = lines.standardise_lines(a[..., None], b[..., None, :], rounding[..., None])
        return a[..., 0], b[..., 0, :]

    def state_log_probs(self, inputs: Array) -> Array:
        """Return log p of each state given covariates ``(n, p)``, ``(n, *parents, n_states)``."""
        a, b = self._standard()
        width = b.shape[-1] if self.inputs is None else self.inputs.width
        if inputs.ndim != 2 or inputs.shape[1] != width:
            with naming("Softmax"):
                raise Unsuitable(
                    f"have {counted(width, 'covariate')}",
                    f"shape {inputs.shape}",
                    "Pass rows of the covariates, and of the state.",
                )
        u, offset = self.parts(inputs)
        predictor = a + np.tensordot(self._design(u)[:, 1:], b, axes=([1], [-1]))
        predictor += offset.reshape(len(offset), *(1,) * (a.ndim - 1), -1)
        return np.asarray(log_softmax(predictor))

    def _design(self, u: Array) -> Array:
        p = u.shape[1]
        lines = self.reference or Lines.at_origin(p + 1, p)
        return np.column_stack([np.ones(len(u)), (u - lines.centre[:p]) / lines.scale[:p]])

    def log_prob(self, value: Array) -> Array:
        """Return log p(z | u, parents), ``(n, *parents)``, of rows (u, z); -inf if no state."""
        value = np.asarray(value, dtype=float)
        log_prob = self.state_log_probs(value[:, :-1])
        n, k = len(value), log_prob.shape[-1]
        state = value[:, -1]
        possible = (state >= 0) & (state < k) & (state == np.floor(state))
        picked = log_prob[np.arange(n), ..., np.where(possible, state, 0).astype(np.intp)]
        return np.where(possible.reshape(-1, *(1,) * (picked.ndim - 1)), picked, -np.inf)

    def fit(self, value: Array, weights: Array) -> Self:
        value = np.asarray(value, dtype=float)
        bound = self if self.reference is not None else self.bind(value)
        shape = weights.shape[1:]
        indicator = value[:, -1:] == np.arange(bound.n_states or 0)  # (n, n_states)
        expected = weights.reshape(len(value), -1, 1) * indicator[:, None, :]
        known = bound.flatten(shape) if bound.is_parameterised else bound
        return known.fit_states(value[:, :-1], expected).unflatten(shape)

    def update(self, record: Record) -> Self:
        if not isinstance(record, Choices):
            return super().update(record)
        bound = self
        if self.reference is None:
            u, _ = self.parts(record.inputs)
            bound = attrs.evolve(self, reference=Lines.of_predictors(u, None))
        return check_finite(bound.fit_states(record.inputs, record.weights))

    def fit_states(self, inputs: Array, expected: Array) -> Self:
        """Return the maximiser for expected states ``(n, K, n_states)``."""
        u, offset = self.parts(inputs)
        design = self._design(u)
        q, k = design.shape[1], expected.shape[2]
        if self.is_parameterised:
            a, b = self._standard()
            start = np.concatenate([a[..., None], b], axis=-1)
        else:
            start = np.zeros((expected.shape[1], k, q))
        start = start - start[:, :1]
        by_parents = np.moveaxis(expected, 1, 0)
        pairs = zip(by_parents, start, strict=True)
        beta = np.stack([_maximum(design, offset, own, begin) for own, begin in pairs])
        smaller, collinear = smallest(design, expected.sum(axis=2), beta)
        for state in np.flatnonzero(collinear):
            before, after = (
                _log_likelihood(design, offset, by_parents[state], each[state])[0]
                for each in (beta, smaller)
            )
            collinear[state] = after >= before - _rounding(by_parents[state], before)
            beta[state] = smaller[state] if collinear[state] else beta[state]
        p = q - 1
        lines = self.reference or Lines.at_origin(p + 1, p)
        a, rounding, b = lines.lines(beta[..., :1], beta[..., None, 1:])
        predictor = np.moveaxis(beta @ design.T, -1, 0) + offset[:, None]  # (n, K, states)
        odds = predictor - predictor.max(axis=-1, keepdims=True)
        second = np.partition(odds, -2, axis=-1)[..., -2]
        return attrs.evolve(
            self,
            intercept=a[..., 0],
            coefficients=b[..., 0, :],
            rounding=rounding[..., 0],
            collinear=collinear,
            separated=np.asarray((second < -0.5 * FARTHEST).all(axis=0)),
        )

    def sample(self, rng: np.random.Generator, state: Array, inputs: Array) -> Array:
        """Draw a state for each parent state and covariates, ``(n,)``."""
        probs = np.exp(self.state_log_probs(inputs)[np.arange(len(state)), state])
        cumulative = np.cumsum(probs, axis=-1)
        draws = rng.random(len(state)) * cumulative[:, -1]
        drawn: Array = (draws[:, None] >= cumulative).sum(axis=1)
        return drawn


def log_softmax(predictor: Array) -> Array:
    """Return log(exp(x) / sum(exp(x))) along the last axis; SciPy's takes five times as long."""
    odds = predictor - predictor.max(axis=-1, keepdims=True)
    return np.asarray(odds - np.log(np.exp(odds).sum(axis=-1, keepdims=True)))


def _log_likelihood(
    design: Array, offset: Array, expected: Array, beta: Array
) -> tuple[float, Array]:
    """Return the log-likelihood of expected states, and the probabilities ``(n, n_states)``."""
    log_prob = log_softmax(design @ beta.T + offset)
    terms = np.multiply(expected, log_prob, where=expected > 0, out=np.zeros(expected.shape))
    return float(terms.sum()), np.exp(log_prob)


def _rounding(expected: Array, objective: float) -> float:
    """Return by how much log-likelihoods may differ from rounding alone."""
    return float(4 * np.finfo(float).eps * (expected.sum() + abs(objective)))


def _maximum(design: Array, offset: Array, expected: Array, start: Array) -> Array:
    """Return the coefficients ``(n_states, q)`` for expected states ``(n, n_states)``."""
    k, q = start.shape
    beta, weight = start.copy(), expected.sum(axis=1)
    if not weight.any():
        return beta

    def objective(at: Array) -> tuple[float, Array]:
        return _log_likelihood(design, offset, expected, at)

    best, probs = objective(beta)
    for _ in range(MOST_STEPS):
        gradient = ((expected - weight[:, None] * probs)[:, 1:].T @ design).ravel()
        information = np.empty((k - 1, q, k - 1, q))
        for i in range(1, k):
            for j in range(1, i + 1):
                w = weight * probs[:, i] * ((i == j) - probs[:, j])
                part = design.T @ (w[:, None] * design)
                information[i - 1, :, j - 1] = information[j - 1, :, i - 1] = part
        step = solve_singular(information.reshape(len(gradient), -1), gradient)
        gain = 0.5 * float(gradient @ step)
        move = np.concatenate([np.zeros((1, q)), step.reshape(k - 1, q)])
        allowed = _rounding(expected, best)
        if not gain > allowed:
            # What rounding hides from the likelihood the gradient still sees.
            fine = np.isfinite(move).all() and objective(beta + move)[0] >= best - allowed
            return beta + move if fine else beta
        for _ in range(MOST_HALVINGS):
            reached, there = objective(beta + move)
            if reached >= best:
                break
            move = 0.5 * move
        else:
            return beta
        beta, best, probs = beta + move, reached, there
    return beta
