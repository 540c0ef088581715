"""Ancestral sampling from a model with parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from latentem.data import as_columns, bind_given, with_inputs
from latentem.distributions.arrays import Array
from latentem.distributions.base import Inputs, drawn
from latentem.em.steps import check_probability
from latentem.errors import DataError, ModelError
from latentem.graph import Model, Node, check_model
from latentem.seeds import generator


def sample(
    model: Model, n: int, *, seed: int | np.random.Generator | None = None, data: Any = None
) -> dict[str, Array]:
    """Draw rows from the joint distribution, parents before children.

    Parameters
    ----------
    model : Model
        With parameters.
    n : int
        Number of rows.
    seed : int or numpy.random.Generator, optional
    data : mapping, optional
        Values ``(n, ...)`` of nodes that are not to be drawn.

    Returns
    -------
    dict of str to array, (n, *event)
        Latents included; labels where the states have some.

    Raises
    ------
    ModelError
        If a node has no parameters or is no probability distribution.
    DataError
        If the values given do not fit the model.
    MissingMethodError
        If a distribution has no method ``sample``.

    Examples
    --------
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    >>> x = lem.observed("x", lem.Normal(mean=[-5, 5], variance=[1, 1]), given=z)
    >>> draws = lem.sample(lem.Model([z, x]), 3, seed=0)
    >>> bool(((draws["x"] > 0) == draws["z"]).all())
    True
    """
    check_model(model)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise DataError(f"n must be a whole number of rows, got {n!r}. Give one of at least 0.")
    check_probability(model, "a sample")
    given = {} if data is None else bind_given(model, data, int(n))
    draws = draw(model, int(n), generator(seed), given)
    return {name: with_labels(model.by_name[name], values) for name, values in draws.items()}


def draw(
    model: Model, n: int, rng: np.random.Generator, given: Mapping[str, Array]
) -> dict[str, Array]:
    """Return a value of each node in n rows, states by their numbers."""
    draws: dict[str, Array] = {}
    for node in model.order:
        if node.name in given:
            draws[node.name] = given[node.name]
            continue
        if node.dist is None:
            raise ModelError(
                f"Node '{node.name}': a covariate must have its values in data=... to draw from "
                f"the model because it has no distribution, got none. Pass data={{'{node.name}': "
                "...}.",
                node=node.name,
            )
        if not node.dist.is_parameterised:
            raise ModelError(
                f"Node '{node.name}': sampling must have its parameters, or its values in "
                "data=..., got neither. Give one of them.",
                node=node.name,
            )
        shape = model.parents_shape(node.name)
        states = [draws[parent.name] for parent in model.discrete_parents(node.name)]
        state = np.zeros(n, dtype=np.intp)
        if states:
            state = np.ravel_multi_index(tuple(s.astype(np.intp) for s in states), shape)
        regressors = {
            p.name: as_columns(p.name, draws[p.name]) for p in model.regressors(node.name)
        }
        dist, inputs = node.dist, None
        if regressors:
            widths = tuple(columns.shape[1] for columns in regressors.values())
            dist = with_inputs(node, Inputs(tuple(regressors), widths))
            inputs = np.concatenate(list(regressors.values()), axis=1)
        draws[node.name] = drawn(dist.flatten(shape), rng, state, inputs)
    return {node.name: draws[node.name] for node in model.order}


def with_labels(node: Node, states: Array) -> Array:
    """Return states as the labels they have, if they have any."""
    levels = None if node.dist is None else node.dist.levels
    if levels is None:
        return states
    alike = len({type(level) for level in levels}) == 1
    return np.array(levels, dtype=None if alike else object)[states]
