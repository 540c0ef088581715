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
from latentem.graph import Model, Node

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
                axes = axis_names(dist, states, field, value)
                for index, number in np.ndenumerate(value):
                    place = ",".join(names[i] for names, i in zip(axes, index, strict=True))
                    row = [name, given, field, place, float(number)]
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


def axis_names(
    dist: Distribution, states: tuple[int, ...], field: str, value: Array
) -> list[list[str]]:
    """Return what the places along each axis of a parameter of these states are called.

    Their numbers; along the states of a node that has labels for them, these.
    """
    dist = dist.free
    if isinstance(dist, Switch):
        return axis_names(dist.cases[states[0]], states[1:], field, value)
    names = [[str(i) for i in range(size)] for size in value.shape]
    # Of columns of one family side by side, the axes are those of the family.
    trailing = getattr(dist, "dist", dist).trailing_axes.get(field, 0)
    levels = dist.levels
    if levels is not None and trailing and value.shape[-trailing] == len(levels):
        names[-trailing] = [str(level) for level in levels]
    return names


def checked_errors(model: Model, given: Any) -> StandardErrors:
    """Return standard errors as arrays, each of the shape of its parameter, or raise."""
    if not isinstance(given, Mapping):
        raise ModelError(
            "standard_errors must be True or arrays by node and parameter, got "
            f"{given!r}. Pass what fit.standard_errors() or a bootstrap gives."
        )
    checked: dict[str, dict[str, Array]] = {}
    for name, errors in given.items():
        if name not in model.distributions:
            names = ", ".join(model.distributions)
            raise ModelError(
                f"standard_errors must be of nodes of the model ({names}), got {name!r}. "
                "Rename or drop it."
            )
        if not isinstance(errors, Mapping):
            raise _unsuitable(
                name, "standard errors must be arrays by parameter", errors, "Name the parameters."
            )
        known = {f: v for f, v in model[name].parameters.items() if v is not None}
        for field in errors:
            if field not in known:
                names = ", ".join(known) or "(it has none)"
                what = f"standard errors must be of its parameters {names}"
                raise _unsuitable(name, what, field, "Rename or drop it.")
        checked[name] = {
            field: _checked_error(name, field, known[field].shape, error)
            for field, error in errors.items()
        }
    return checked


def _checked_error(name: str, field: str, shape: tuple[int, ...], given: Any) -> Array:
    what = f"standard errors of {field} must"
    try:
        error = np.asarray(given, dtype=float)
    except (ValueError, TypeError):
        raise _unsuitable(name, f"{what} be numbers", given, "Pass an array.") from None
    if error.shape != shape:
        raise ModelError(
            f"Node '{name}': {what} have its shape {shape}, got {error.shape}. "
            "Pass one for each number.",
            node=name,
        )
    return error


def _unsuitable(name: str, requirement: str, given: Any, remedy: str) -> ModelError:
    return ModelError(f"Node '{name}': {requirement}, got {given!r}. {remedy}", node=name)


def number_text(value: Any, *, decimals: int, threshold: int) -> str:
    """Return numbers with as many decimals; tiny and huge ones each with three digits."""
    value = np.asarray(value)
    size = np.abs(value) if value.dtype.kind == "f" else np.zeros(0)
    odd = (size != 0) & ((size < 1e-4) | (size >= 1e8)) & np.isfinite(size)
    if not odd.any():
        return np.array2string(
            value, precision=decimals, suppress_small=True, threshold=threshold, edgeitems=2
        )

    def text(number: Any) -> str:
        is_odd = np.isfinite(number) and number and not 1e-4 <= abs(number) < 1e8
        return f"{number:.3g}" if is_odd else f"{number:.{decimals}f}"

    return np.array2string(value, threshold=threshold, edgeitems=2, formatter={"float_kind": text})


def render(tables: Iterable[Any], *, width: int = 100) -> str:
    """Return rich tables as plain text."""
    console = require("rich.console", extra="cli")
    out = StringIO()
    printer = console.Console(file=out, width=width, color_system=None, force_terminal=False)
    for table in tables:
        printer.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().split("\n"))
