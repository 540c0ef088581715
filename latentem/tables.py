"""What a fit has found, as rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from latentem.distributions import Distribution, Switch
from latentem.distributions.arrays import Array
from latentem.em.trace import to_frame
from latentem.errors import ModelError, require
from latentem.graph import Node

if TYPE_CHECKING:
    from latentem.em.result import Fit

#: By node and parameter, in the shape of the parameter.
StandardErrors = Mapping[str, Mapping[str, Array]]


def frame_of(fit: Fit, what: str, backend: Any, standard_errors: StandardErrors) -> Any:
    """Return a data frame of the parameters, responsibilities or trace of a fit."""
    match what:
        case "parameters":
            return to_frame(parameter_columns(fit, standard_errors), backend)
        case "responsibilities":
            return to_frame(responsibility_columns(fit), backend)
        case "trace":
            return fit.trace.to_dataframe(backend)
    raise ModelError(
        "what must be 'parameters', 'responsibilities' or 'trace', "
        f"got {what!r}. Choose one of these."
    )


def parameter_columns(fit: Fit, standard_errors: StandardErrors) -> dict[str, list[Any]]:
    """Return a row for each number among the parameters: where it stands, and the number."""
    names = ["node", "states", "parameter", "index", "value"]
    if standard_errors:
        names.append("standard_error")
    rows = []
    for name, dist in fit.model.distributions.items():
        errors = standard_errors.get(name, {})
        parents = [(p.name, state_names(p)) for p in fit.model.discrete_parents(name)]
        for states in product(*map(range, fit.model.parents_shape(name))):
            pairs = zip(parents, states, strict=True)
            given = ", ".join(f"{parent}={labels[state]}" for (parent, labels), state in pairs)
            for field, value, error in parameters_at(dist, states, errors):
                for index, number in np.ndenumerate(value):
                    row = [name, given, field, ",".join(map(str, index)), float(number)]
                    rows.append([*row, np.nan if error is None else float(error[index])])
    return {name: [row[column] for row in rows] for column, name in enumerate(names)}


def responsibility_columns(fit: Fit) -> dict[str, Array]:
    """Return p(state | x) of each row, a column for each state of each latent."""
    posterior = fit.posterior()
    return {
        f"{name}={state}": column
        for name in (node.name for node in fit.model.latents)
        for state, column in zip(
            state_names(fit.model.by_name[name]), posterior.marginal(name).T, strict=True
        )
    }


def state_names(node: Node) -> list[str]:
    """Return the labels of the states of a node, or their numbers if they have none."""
    levels = None if node.dist is None else node.dist.levels
    return [str(state) for state in levels or range(node.n_states or 0)]


def parameters_at(
    dist: Distribution, states: tuple[int, ...], errors: Mapping[str, Array]
) -> Iterator[tuple[str, Array, Array | None]]:
    """Yield name, value and standard error of each parameter for given states of the parents."""
    dist = dist.free
    if isinstance(dist, Switch):
        prefix = f"cases[{states[0]}]."
        within = {f.removeprefix(prefix): e for f, e in errors.items() if f.startswith(prefix)}
        yield from parameters_at(dist.cases[states[0]], states[1:], within)
        return
    for field, value in dist.parameters.items():
        if value is not None:
            error = errors.get(field)
            yield field, value[states], None if error is None else np.asarray(error)[states]


def render(tables: Iterable[Any], *, width: int = 100) -> str:
    """Return rich tables as plain text."""
    console = require("rich.console", extra="cli")
    out = StringIO()
    printer = console.Console(file=out, width=width, color_system=None, force_terminal=False)
    for table in tables:
        printer.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().split("\n"))
