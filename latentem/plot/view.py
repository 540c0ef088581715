"""One observed node of a model on data, as it was given: what the pictures of points draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentem.data import Data, bind
from latentem.em.assign import hard, soft
from latentem.em.result import Fit
from latentem.em.steps import e_step
from latentem.errors import DataError, ModelError
from latentem.graph import Model, Node
from latentem.inference.posterior import Posterior
from latentem.plot.canvas import must_be, palette
from latentem.tables import state_names

Array = NDArray[Any]


class View:
    """The values of one node, NaN where missing, and the states of its parents; rows as given.

    Attributes
    ----------
    value : array, (n, d)
    names : sequence of str
        Of the d columns.
    latents : list of Node
        The latent parents.
    n_states : int
        Number of combinations of their states, K: each has a colour.
    state_of_component : array
        For each combination of the states of all discrete parents that of the latent ones.
    has_density : bool
        Whether the parameters of a component alone say the density of a value.
    turn : (float, float), or None
        Of angles, the turn in which values and centres are drawn: from 0 if they are, or about 0.
    inputs : array, (n, p), or None
        The covariates of a regression.
    regressor : int
        The column of the first covariate that has a coefficient, if one has, and
        ``regressor_name`` its name.
    """

    def __init__(self, fitted: Model | Fit, data: Any, name: str | None) -> None:
        must_be(fitted, (Model, Fit), "a Model or a Fit")
        model, self.posterior = _inferred(fitted, data)
        model, bound = bind(model, data)
        self.node = _drawn(model, name)
        self.dist: Any = self.node.dist
        values = _as_given(bound, self.node.name)
        self.inputs = bound.inputs.get(self.node.name)
        if self.inputs is not None and bound.places is not None:
            self.inputs = self.inputs[bound.places]
        self.regressor, self.regressor_name = _first_regressor(model, bound, self.node)
        self.event_shape = values.shape[1:]
        self.value = values.reshape(len(values), math.prod(self.event_shape))
        self.turn = _turn(self.dist, self.value)
        self.value = self._within_turn(self.value)
        self.names = _column_names(self.node, data, self.value.shape[1])
        parents = model.discrete_parents(self.node.name)
        self.latents = [parent for parent in parents if parent.is_latent]
        if not model.latents:
            raise ModelError(
                f"A picture of states must be of a model with a latent, got {model}. "
                "Declare one, or draw the data by themselves."
            )
        self.n_states = math.prod(parent.n_states or 1 for parent in self.latents)
        # Parameters are indexed by all discrete parents, colours by the latent ones.
        shape = model.parents_shape(self.node.name)
        states = np.indices(shape).reshape(len(shape), -1)
        hidden = [axis for axis, parent in enumerate(parents) if parent.is_latent]
        self.state_of_component = (
            np.ravel_multi_index(tuple(states[hidden]), tuple(shape[axis] for axis in hidden))
            if hidden
            else np.zeros(math.prod(shape), dtype=int)
        )
        self.has_density = (
            self.node.name not in model.requires_hard
            and not model.regressors(self.node.name)
            and len(self.state_of_component) == self.n_states
        )

    @property
    def has_levels(self) -> bool:
        """Whether the values are states, and not numbers."""
        return self.node.n_states is not None

    @property
    def is_line(self) -> bool:
        """Whether the values are single numbers."""
        return self.value.shape[1] == 1

    def plane(self, columns: Any) -> list[int]:
        """Return the columns to draw, checked: two of them, or the only one."""
        d = self.value.shape[1]
        if self.is_line:
            return [0]
        chosen = list(columns) if isinstance(columns, Sequence | np.ndarray) else [columns]
        whole = all(
            isinstance(c, int | np.integer) and not isinstance(c, bool) and 0 <= c < d
            for c in chosen
        )
        if len(chosen) != 2 or not whole or len(set(chosen)) < 2:
            raise ModelError(
                f"columns must be two different numbers of the {d} columns of Node "
                f"'{self.node.name}', got {columns!r}. Count them from 0 to {d - 1}.",
                node=self.node.name,
            )
        return chosen

    def known(self, columns: Sequence[int]) -> Array:
        """Return the rows, as a mask, in which all of these columns have a value."""
        known = np.asarray(~np.isnan(self.value[:, list(columns)]).any(axis=1))
        if not known.any():
            what = "a value" if self.is_line else "both columns"
            raise DataError(
                f"data['{self.node.name}'] must have a row with {what} to draw, got none. "
                "Draw another node or other columns.",
                node=self.node.name,
            )
        return known

    def marginal(self) -> Array:
        """Return p(states of the latent parents | x), all combinations in C order, (n, K)."""
        if not self.latents:
            return np.ones((len(self.value), 1))
        table = self.posterior.marginal(*(latent.name for latent in self.latents))
        return np.asarray(table).reshape(len(self.value), -1)

    def curves(self, n: int) -> tuple[Array, Array]:
        """Return n values of the covariate drawn against, and the means of the components, (n, K).

        Other covariates stand at their means.
        """
        assert self.inputs is not None
        grid = np.tile(self.inputs.mean(axis=0), (n, 1))
        own = self.inputs[:, self.regressor]
        grid[:, self.regressor] = np.linspace(own.min(), own.max(), n)
        means = np.asarray(self.dist.expected_value(grid))
        return grid[:, self.regressor], means.reshape(n, -1)

    def state_names(self) -> list[str]:
        """Return what each combination of the latent parents' states is called, K strings."""
        if not self.latents:
            return []
        names = [[f"{latent.name} = {s}" for s in state_names(latent)] for latent in self.latents]
        shape = tuple(len(each) for each in names)
        return [
            ", ".join(names[axis][state] for axis, state in enumerate(states))
            for states in np.ndindex(shape)
        ]

    def centres(self) -> Array:
        """Return the prototypes, or else the means, of the components, (K, d)."""
        centres = getattr(self.dist, "prototypes", getattr(self.dist, "mean", None))
        if centres is None:
            return np.empty((0, self.value.shape[1]))
        return self._within_turn(np.asarray(centres, dtype=float).reshape(-1, self.value.shape[1]))

    def _within_turn(self, value: Array) -> Array:
        if self.turn is None:
            return value
        start, end = self.turn
        return start + (value - start) % (end - start)

    @property
    def centre_name(self) -> str:
        """What a centre is."""
        return "prototype" if hasattr(self.dist, "prototypes") else "mean"

    def component_colours(self) -> Array:
        """Return the colour of each component, (K, 3)."""
        return np.asarray(palette(self.n_states)[self.state_of_component])


def _inferred(fitted: Model | Fit, data: Any) -> tuple[Model, Posterior]:
    """Return the model, and its posterior on the data."""
    if isinstance(fitted, Model):
        assign = hard if fitted.requires_hard else soft
        return fitted, e_step(fitted, data, assign=assign)
    return fitted.model, fitted.posterior(data)


def _turn(dist: Any, value: Array) -> tuple[float, float] | None:
    """Return the turn that angles are drawn in, or None where values do not come round."""
    period = getattr(dist.free, "period", None)
    if period is None:
        return None
    is_from_0 = bool(np.all((value >= 0) | np.isnan(value)))
    return (0.0, period) if is_from_0 else (-0.5 * period, 0.5 * period)


def _first_regressor(model: Model, bound: Data, node: Node) -> tuple[int, str]:
    """Return the first column of the covariates that is no offset or the like, and its name."""
    names = []
    for parent in model.regressors(node.name):
        values = bound.covariates.get(parent.name, bound.values.get(parent.name, np.empty((1, 1))))
        names += [parent.name] * math.prod(values.shape[1:])
    assert node.dist is not None
    named = {
        i for place in node.dist.named_columns.values() for i in range(*place.indices(len(names)))
    }
    column = next((i for i in range(len(names)) if i not in named), 0)
    return column, names[column] if names else ""


def _drawn(model: Model, name: str | None) -> Node:
    """Return the observed node asked for, or the first that has a latent parent."""
    observed = {node.name: node for node in model.observed}
    if name is not None and name not in observed:
        raise ModelError(
            f"node must be one of the observed nodes {', '.join(map(repr, observed))}, "
            f"got {name!r}. Name one of these."
        )
    if name is not None:
        return observed[name]
    with_latents = [n for n in model.observed if any(parent.is_latent for parent in n.given)]
    return (with_latents or list(model.observed))[0]


def _as_given(bound: Data, name: str) -> Array:
    """Return the values of a node in the order of the rows as given, NaN where missing."""
    if name in bound.labels:  # an observed parent with missing entries
        states = bound.labels[name]
        values = np.where(states == -1, np.nan, states)
    elif name in bound.values:
        values = bound.values[name].astype(float)
        if name in bound.missing:
            # Where nothing is known there stands some other row's value.
            values[bound.missing[name]] = np.nan
    else:
        raise DataError(
            f"data['{name}'] must have a value to draw, got none. Draw another node with node=...",
            node=name,
        )
    places = bound.places
    return values if places is None else values[places]


def _column_names(node: Node, data: Any, d: int) -> Sequence[str]:
    """Return the names of a node's ``d`` columns: those of a data frame, or made from its own."""
    names = node.columns or tuple(getattr(data, "columns", ()))
    if len(names) == d:
        return [str(name) for name in names]
    return [node.name] if d == 1 else [f"{node.name}[{j}]" for j in range(d)]
