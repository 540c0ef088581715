"""Binding data to a model: which array belongs to which node, checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs
import narwhals.stable.v2 as nw
import numpy as np

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
        of any library that narwhals reads. Values given for a latent make it observed; NaN and -1
        stand for unknown ones.
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
        node.name: _labels(node, columns[node.name])
        for node in model.latents
        if node.name in columns
    }
    return Data(n, values, labels, None if weights is None else _weights(weights, n))


def _by_node(model: Model, data: Any) -> dict[str, Array]:
    """Return the raw array of each node that has one."""
    frame = nw.from_native(data, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        return _from_frame(model, frame)
    if isinstance(data, Mapping):
        return _from_mapping(model, data)
    if len(model.observed) != 1:
        names = [node.name for node in model.observed]
        raise DataError(
            f"data must be a mapping from node names to arrays because {len(names)} nodes are "
            f"observed, got {_describe(data)}. Pass {{{', '.join(f'{n!r}: ...' for n in names)}}}."
        )
    node = model.observed[0]
    return {node.name: _as_array(node.name, data)}


def _from_mapping(model: Model, data: Mapping[Any, Any]) -> dict[str, Array]:
    for name in data:
        if name not in model:
            raise DataError(
                f"data must have entries for nodes of the model ({', '.join(model.by_name)}), "
                f"got one for {name!r}. Rename or drop it."
            )
    for node in model.observed:
        if node.name not in data:
            raise DataError(
                f"data must have an entry '{node.name}' because Node '{node.name}' is observed, "
                f"got entries {list(data)}. Add it.",
                node=node.name,
            )
    return {name: _as_array(name, value) for name, value in data.items()}


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
            if not (dtype.is_numeric() or dtype == nw.Boolean):
                raise DataError(
                    f"data['{name}'] must be numeric because it belongs to Node '{node.name}', "
                    f"got a column of type {dtype}. Encode it as numbers, or leave it out with "
                    "columns=[...].",
                    node=node.name,
                )
        parts = [_as_array(node.name, frame.get_column(name).to_numpy()) for name in wanted]
        single = len(parts) == 1 and node.columns is None
        arrays[node.name] = parts[0] if single else np.column_stack(parts)
    return arrays


def _as_array(name: str, value: Any) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        if value.mask.any():
            row = int(np.argwhere(value.mask)[0][0])
            raise DataError(_missing_message(name, int(value.mask.sum()), row), node=name)
        value = value.data
    try:
        array = np.asarray(value)
        if array.dtype == object:
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


def _labels(node: Node, array: Array) -> Array:
    """Return the known states of a latent, -1 where unknown."""
    k = node.n_states or 0
    unknown = np.isnan(array) if array.dtype.kind == "f" else array == -1
    array = np.where(unknown, -1, array)
    ok = array.ndim == 1 and array.dtype.kind in "biuf"
    if not ok or not np.all((array >= -1) & (array < k) & (array == np.floor(array))):
        raise DataError(
            f"data['{node.name}'] must be states from 0 to {k - 1}, one a row, because Node "
            f"'{node.name}' is a latent of {k} states, got {_describe(array)} with values "
            f"{np.unique(array)[:8]}. Encode the labels; use -1 or NaN for unknown ones.",
            node=node.name,
        )
    return array.astype(np.intp)


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
