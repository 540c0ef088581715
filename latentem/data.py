"""Binding data to a model: which array belongs to which node, checked before any work starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import attrs
import narwhals.stable.v2 as nw
import numpy as np
from narwhals.exceptions import DuplicateError

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution
from latentem.errors import DataError, Unsuitable
from latentem.graph import Model, Node


@attrs.frozen(eq=False)
class Data:
    """The rows of data, by node.

    Attributes
    ----------
    n : int
        Number of rows.
    values : dict of str to array, (n, *event)
        The values of the observed nodes.
    labels : dict of str to array, (n,)
        The known states of latents, -1 where unknown.
    weights : array, (n,), or None
        The weights of the rows, None for ones.
    """

    n: int
    values: dict[str, Array]
    labels: dict[str, Array]
    weights: Array | None = None

    def __getitem__(self, rows: slice | Array) -> Self:
        """Return these rows."""
        values = {name: value[rows] for name, value in self.values.items()}
        labels = {name: label[rows] for name, label in self.labels.items()}
        weights = None if self.weights is None else self.weights[rows]
        n = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        return attrs.evolve(self, n=n, values=values, labels=labels, weights=weights)

    @property
    def total_weight(self) -> float:
        """The sum of the weights."""
        return float(self.n) if self.weights is None else float(self.weights.sum())


def bind(model: Model, data: Any, weights: Any = None) -> Data:
    """Match data to the nodes of a model.

    Parameters
    ----------
    model : Model
    data : array, mapping or data frame
        An array (when one node is observed), a mapping from node names to arrays, or a data frame
        of any library that narwhals reads. Values given for a latent make it observed; NaN, -1,
        None and masked entries stand for unknown ones.
    weights : array, (n,), optional
        Row weights: an integer weight equals repeating the row.

    Raises
    ------
    DataError
        If anything does not fit. The message names the node.
    """
    if isinstance(data, Data):
        return data if weights is None else attrs.evolve(data, weights=_weights(weights, data.n))
    columns = _by_node(model, data)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"data must have the same number of rows for every node, got {lengths}. "
            "Pass arrays of equal length."
        )
    n = next(iter(lengths.values()), 0)
    if n == 0:
        raise DataError("data must have at least one row, got none. Pass some data.")
    values = {node.name: _checked(node, columns[node.name]) for node in model.observed}
    labels = {
        node.name: _states(node, columns[node.name], unknown=True)
        for node in model.latents
        if node.name in columns
    }
    return Data(n, values, labels, None if weights is None else _weights(weights, n))


def bind_given(model: Model, data: Any, n: int) -> dict[str, Array]:
    """Return the values of some nodes, latents included, in n rows.

    Parameters
    ----------
    model : Model
    data : mapping of str to array, (n, *event)
    n : int

    Raises
    ------
    DataError
        If anything does not fit. The message names the node.
    """
    if not isinstance(data, Mapping):
        raise DataError(
            f"data must be a mapping from node names to arrays, got {_describe(data)}. "
            "Pass {'z': ...} with the values of node 'z', and so on."
        )
    values = {}
    for name, column in _from_mapping(model, data).items():
        node = model.by_name[name]
        if len(column) != n:
            raise DataError(
                f"data['{name}'] must have a value for each of the {n} rows to draw, "
                f"got {len(column)}. Pass as many values as rows.",
                node=name,
            )
        if node.n_states is not None:
            column = _states(node, column, unknown=False)
        elif node.dist is not None:
            column = _checked(node, column)
        values[name] = column
    return values


def _by_node(model: Model, data: Any) -> dict[str, Array]:
    """Return the raw array of each node that has one."""
    try:
        frame = nw.from_native(data, eager_only=True, pass_through=True)
    except DuplicateError:
        name, count = Counter(data.columns).most_common(1)[0]
        raise DataError(
            f"data must have each column once, got {name!r} {count} times. Rename or drop one."
        ) from None
    if isinstance(frame, nw.DataFrame):
        return _from_frame(model, frame)
    if isinstance(data, Mapping):
        columns = _from_mapping(model, data)
        for node in model.observed:
            if node.name not in columns:
                raise DataError(
                    f"data must have an entry '{node.name}' because Node '{node.name}' is "
                    f"observed, got entries {list(data)}. Add it.",
                    node=node.name,
                )
        return columns
    if len(model.observed) != 1:
        names = [node.name for node in model.observed]
        raise DataError(
            f"data must be a mapping from node names to arrays because {len(names)} nodes are "
            f"observed, got {_describe(data)}. Pass {{{', '.join(f'{n!r}: ...' for n in names)}}}."
        )
    node = model.observed[0]
    return {node.name: _as_array(node, data)}


def _from_mapping(model: Model, data: Mapping[Any, Any]) -> dict[str, Array]:
    for name in data:
        if name not in model:
            raise DataError(
                f"data must have entries for nodes of the model ({', '.join(model.by_name)}), "
                f"got one for {name!r}. Rename or drop it."
            )
    return {name: _as_array(model.by_name[name], value) for name, value in data.items()}


def _from_frame(model: Model, frame: nw.DataFrame[Any]) -> dict[str, Array]:
    arrays = {}
    for node in model.order:
        wanted = node.columns or (node.name,)
        absent = [name for name in wanted if name not in frame.columns]
        if absent and node.columns is None and len(model.observed) == 1 and node.dist is not None:
            if node.is_latent:
                continue
            wanted = tuple(c for c in frame.columns if c not in model or c == node.name)
            absent = [] if wanted else list(absent)
        if absent and node.is_latent:
            continue
        if absent:
            raise DataError(
                f"data must have a column '{absent[0]}' because Node '{node.name}' is "
                f"{node.kind.value}, got columns {frame.columns}. Rename a column, or say "
                f"which with observed('{node.name}', ..., columns=[...]).",
                node=node.name,
            )
        for name in wanted:
            dtype = frame.schema[name]
            if not (dtype.is_numeric() or dtype == nw.Boolean or node.is_latent):
                raise DataError(
                    f"data['{name}'] must be numeric because it belongs to Node '{node.name}', "
                    f"got a column of type {dtype}. Encode it as numbers, or leave it out with "
                    "columns=[...].",
                    node=node.name,
                )
        parts = [_as_array(node, frame.get_column(name).to_numpy()) for name in wanted]
        arrays[node.name] = parts[0] if len(parts) == 1 else np.column_stack(parts)
    return arrays


def _as_array(node: Node, value: Any) -> Array:
    name = node.name
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        if mask.any() and not node.is_latent:
            row = int(np.argwhere(mask)[0][0])
            raise DataError(_missing_message(name, int(mask.sum()), row), node=name)
        value = np.where(mask, np.array(None), value.data) if mask.any() else value.data
    try:
        array = np.asarray(value)
        if array.dtype == object and not node.is_latent:
            array = array.astype(float)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"data['{name}'] must be an array of numbers, got {_describe(value)} ({error}). "
            "Give rows of equal length, as numbers.",
            node=name,
        ) from None
    if array.ndim == 0:
        raise DataError(
            f"data['{name}'] must be an array with a row for each observation, got a "
            f"{type(value).__name__}. Pass an array.",
            node=name,
        )
    return array


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return f"a {kind}" if shape is None else f"a {kind} of shape {shape}"


def _missing_message(name: str, count: int, row: int) -> str:
    return (
        f"data['{name}'] must have no missing entries, got {count} (the first in row {row}). "
        "Drop or fill in these rows."
    )


def _checked(node: Node, array: Array) -> Array:
    """Return the values of an observed node as its distribution wants them."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = ~np.isfinite(array)
        row = int(np.argwhere(bad)[0][0])
        if np.isnan(array).any():
            message = _missing_message(node.name, int(np.isnan(array).sum()), row)
        else:
            message = (
                f"data['{node.name}'] must be finite, got an infinite value in row {row}. "
                "Drop or correct it."
            )
        raise DataError(message, node=node.name)
    assert node.dist is not None
    try:
        value = node.dist.check(array)
    except Unsuitable as error:
        raise at_data(node.name, error) from None
    if len(value) != len(array):
        raise DataError(
            f"Node '{node.name}': check must keep the number of rows ({len(array)}), "
            f"got {len(value)}. Mend {type(node.dist).__name__}.check.",
            node=node.name,
        )
    return value


def at_data(name: str, error: Unsuitable) -> DataError:
    """Return the error of a value that does not suit the distribution of a node."""
    return DataError(f"data['{name}'] {error}".replace("{node}", f"Node '{name}'"), node=name)


def _states(node: Node, array: Array, *, unknown: bool) -> Array:
    """Return the states ``(n,)`` of a discrete node; if some may be unknown, these as -1."""
    k = node.n_states or 0

    def refuse(actual: str) -> DataError:
        allowed = "; use -1 or NaN for unknown ones" if unknown else ""
        return DataError(
            f"data['{node.name}'] must be states from 0 to {k - 1}, one a row, because Node "
            f"'{node.name}' has {k} states, got {actual}. Encode them as 0 to {k - 1}{allowed}.",
            node=node.name,
        )

    if array.ndim != 1:
        raise refuse(_describe(array))
    if array.dtype.kind in "biuf":
        states = array.astype(float)
    else:
        states = np.array([_number(entry) for entry in array])
    if unknown:
        states[np.isnan(states)] = -1
    lowest = -1 if unknown else 0
    ok = (states >= lowest) & (states < k) & (states == np.floor(states))
    if not ok.all():
        row = int(np.argmin(ok))
        raise refuse(f"{array[row : row + 1].tolist()[0]!r} in row {row}")
    return states.astype(np.intp)


def _number(entry: Any) -> float:
    """Return an entry of an array of objects: NaN for None, infinity for what is no number."""
    if entry is None:
        return float("nan")
    real = int | float | np.integer | np.floating | np.bool_
    return float(entry) if isinstance(entry, real) else float("inf")


def _weights(weights: Any, n: int) -> Array:
    try:
        array = np.asarray(weights, dtype=float)
    except (ValueError, TypeError):
        raise DataError(
            f"weights must be numbers, got {_describe(weights)}. Pass one number for each row."
        ) from None
    if array.shape != (n,):
        raise DataError(
            f"weights must have one entry for each of the {n} rows, got shape {array.shape}. "
            "Pass one number for each row."
        )
    if not np.all(np.isfinite(array)) or array.min() < 0 or not 0 < array.sum() < np.inf:
        raise DataError(
            "weights must be finite and not negative, with a positive sum, got values from "
            f"{array.min():g} to {array.max():g}. Correct them."
        )
    return array


def bound(name: str, dist: Distribution, data: Data) -> Distribution:
    """Return a node's distribution with what it takes from the data once.

    Rows without weight do not count.
    """
    value, weights = data.values[name], data.weights
    if weights is not None and not weights.all():
        value, weights = value[weights > 0], weights[weights > 0]
    try:
        return dist.bind(value, weights)
    except Unsuitable as error:
        raise at_data(name, error) from None
