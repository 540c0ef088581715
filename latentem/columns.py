"""Reading data: from what was given to a column of numbers for each node.

Strings and categories become codes of levels, which the distribution of their node learns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import attrs
import narwhals.stable.v2 as nw
import numpy as np
from narwhals.exceptions import DuplicateError

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution
from latentem.errors import DataError, Unsuitable
from latentem.graph import Model, Node, NodeKind


@attrs.frozen(eq=False)
class Column:
    """What was given for one node: numbers, NaN where missing, or codes of levels."""

    values: Array
    levels: tuple[Any, ...] | None = None


def by_node(model: Model, data: Any) -> dict[str, Column]:
    """Return the raw column of each node that has one; observed ones must."""
    try:
        frame = _native(data, eager_only=True)
    except DuplicateError:
        name, count = Counter(data.columns).most_common(1)[0]
        raise DataError(
            f"data must have each column once, got {name!r} {count} times. Rename or drop one."
        ) from None
    if callable(getattr(data, "collect", None)):
        raise DataError(
            f"data must be in memory, got a lazy {type(data).__name__}. Pass what its collect() "
            "returns."
        )
    if isinstance(frame, nw.DataFrame):
        return _from_table(model, {name: frame.get_column(name) for name in frame.columns})
    if isinstance(data, np.ndarray) and data.dtype.names:
        return _from_table(model, {name: data[name] for name in data.dtype.names})
    if isinstance(data, Mapping):
        columns = from_mapping(model, data)
        for node in (*model.observed, *model.covariates):
            if node.name not in columns:
                # What is observed may be missing in every row; a covariate has nothing to say it.
                remedy = "Add it." if node.dist is None else "Add it, NaN where it is not known."
                raise DataError(
                    f"data must have an entry '{node.name}' because Node '{node.name}' is "
                    f"{_kind(node)}, got entries {list(data)}. {remedy}",
                    node=node.name,
                )
        return columns
    names = [node.name for node in (*model.observed, *model.covariates)]
    if len(names) != 1:
        raise DataError(
            f"data must be a mapping from node names to arrays because {len(names)} nodes are "
            f"observed, got {describe(data)}. Pass {{{', '.join(f'{n!r}: ...' for n in names)}}}."
        )
    name = model.observed[0].name
    return {name: _column(name, data)}


def _native(data: Any, **options: Any) -> Any:
    """Return a data frame or series as one of narwhals, anything else as it is."""
    plain = isinstance(data, np.ndarray)  # sparing it the look at all libraries that it knows
    return data if plain else nw.from_native(data, pass_through=True, **options)


def from_mapping(model: Model, data: Mapping[Any, Any]) -> dict[str, Column]:
    """Return the raw column of each node that a mapping names."""
    for name in data:
        if name not in model:
            raise DataError(
                f"data must have entries for nodes of the model ({', '.join(model.by_name)}), "
                f"got one for {name!r}. Rename it or leave it out; only a data frame may have "
                "further columns."
            )
    return {name: _column(name, value) for name, value in data.items()}


def _from_table(model: Model, table: Mapping[str, Any]) -> dict[str, Column]:
    columns = {}
    for node in model.order:
        wanted = node.columns or (node.name,)
        absent = [name for name in wanted if name not in table]
        if absent and node.is_latent:
            continue
        if absent and node.columns is None and len(model.observed) == 1 and node.dist is not None:
            wanted = tuple(c for c in table if c not in model or c == node.name)
            absent = [] if wanted else list(absent)
        if absent:
            raise DataError(
                f"data must have a column '{absent[0]}' because Node '{node.name}' is "
                f"{_kind(node)}, got columns {list(table)}. Rename a column, or say "
                f"which with observed('{node.name}', ..., columns=[...]).",
                node=node.name,
            )
        parts = [_column(node.name, table[name], name) for name in wanted]
        if len(parts) == 1:
            columns[node.name] = parts[0]
            continue
        if getattr(node.dist, "shares_levels", False) and all(part.levels for part in parts):
            levels = tuple(dict.fromkeys(level for part in parts for level in part.levels or ()))
            codes = np.column_stack([_recoded(part, levels) for part in parts])
            columns[node.name] = Column(codes, levels)
            continue
        for name, part in zip(wanted, parts, strict=True):
            if part.levels is not None:
                raise _not_alone(node.name, name, part.levels[0])
        columns[node.name] = Column(np.column_stack([part.values for part in parts]))
    return columns


def _kind(node: Node) -> str:
    return "a covariate" if node.kind is NodeKind.COVARIATE else node.kind.value


def _column(node: str, value: Any, name: str | None = None) -> Column:
    """Return what was given for a node (in a column of that name)."""
    name = node if name is None else name
    levels = None
    null = None
    value = _native(value, series_only=True, allow_series=True)
    if hasattr(value, "categories") and hasattr(value, "codes"):  # a pandas Categorical
        levels = tuple(value.categories)
    if isinstance(value, nw.Series):
        if isinstance(value.dtype, nw.Categorical | nw.Enum):
            levels = tuple(value.cat.get_categories().to_list())
        array = value.to_numpy()
    else:
        if isinstance(value, np.ma.MaskedArray):
            null, value = np.ma.getmaskarray(value), value.data
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise _no_array(name, value, error, node) from None
        if array.dtype.kind == "U" and isinstance(value, list | tuple) and array.ndim == 1:
            array = np.array(value, dtype=object)  # numbers among strings stay numbers
    if array.ndim == 0:
        raise DataError(
            f"data['{name}'] must be an array with a row for each observation, got a "
            f"{type(value).__name__}. Pass an array.",
            node=node,
        )
    if null is not None and null.any() and array.dtype != object:
        array = np.where(null, np.array(None), array)
    if array.dtype.kind in "US" or levels is not None:
        return _levels(name, array, levels, node)
    if array.dtype == object:
        return _of_objects(name, array, node)
    if array.dtype.kind in "mM":
        raise _dates(node, name, array.dtype)
    return Column(array)


def _of_objects(name: str, array: Array, node: str) -> Column:
    """Return an array of objects as numbers, or as codes if it holds strings."""
    if any(isinstance(entry, str) for entry in array.flat):
        return _levels(name, array, None, node)
    for entry in array.flat:
        if isinstance(entry, date | timedelta) and not _is_null(entry):
            raise _dates(node, name, type(entry).__name__)
    try:
        numbers = [np.nan if _is_null(entry) else float(entry) for entry in array.flat]
    except (ValueError, TypeError) as error:
        raise _no_array(name, array, error, node) from None
    return Column(np.array(numbers).reshape(array.shape))


def _is_null(entry: Any) -> bool:
    return entry is None or type(entry).__name__ in ("NAType", "NaTType")


def _levels(name: str, array: Array, levels: tuple[Any, ...] | None, node: str) -> Column:
    """Return codes of the levels, NaN where missing; by default of the sorted entries."""
    if array.ndim > 2:
        raise _not_one_column(name, array, node)
    flat = [str(e) if isinstance(e, str) else e for e in array.ravel().tolist()]
    nested = next((e for e in flat if isinstance(e, list | dict | set | np.ndarray)), None)
    if nested is not None:
        raise _no_array(name, array, TypeError(f"an entry is {nested!r}"), node)
    array = np.array(flat, dtype=object).reshape(array.shape)
    nulls = [_is_null(e) or e != e for e in array.flat]
    missing = np.array(nulls, dtype=bool).reshape(array.shape)  # of no entries: no numbers
    if levels is None:
        levels = tuple(sorted(set(array[~missing].tolist()), key=_sortable))
    code = {level: i for i, level in enumerate(levels)}
    codes = np.full(array.shape, np.nan)
    codes[~missing] = [code[entry] for entry in array[~missing].tolist()]
    return Column(codes, levels)


def _sortable(level: Any) -> tuple[str, Any]:
    return type(level).__name__, level


def _not_one_column(name: str, array: Array, node: str) -> DataError:
    return DataError(
        f"data['{name}'] must be one column where it holds strings, got {describe(array)}. "
        "Give a column of strings a node of its own with the same parents, declared Categorical(), "
        "or encode the strings as numbers 0, 1, 2 and so on.",
        node=node,
    )


def _not_alone(node: str, name: str, entry: Any) -> DataError:
    return DataError(
        f"data['{name}'] must be numeric because it stands beside other columns of Node '{node}', "
        f"got {entry!r}. Give it a node of its own with the same parents, declared Categorical(), "
        "encode it as numbers 0, 1, 2 and so on, or leave it out with columns=[...].",
        node=node,
    )


def _no_array(name: str, value: Any, error: Exception, node: str) -> DataError:
    return DataError(
        f"data['{name}'] must be an array of numbers, got {describe(value)} ({error}). "
        "Give rows of equal length, as numbers.",
        node=node,
    )


def _dates(node: str, name: str, kind: Any) -> DataError:
    return DataError(
        f"data['{name}'] must be numeric because it belongs to Node '{node}', got dates or times "
        f"({kind}). Encode them as numbers, (t - t[0]) / np.timedelta64(1, 'D') say, or leave the "
        "column out with columns=[...].",
        node=node,
    )


def _not_numeric(node: str, name: str, entry: Any) -> DataError:
    return DataError(
        f"data['{name}'] must be numeric because it belongs to Node '{node}', got {entry!r}. "
        "Encode it as numbers, declare the node Categorical(), or leave it out with columns=[...].",
        node=node,
    )


def describe(value: Any) -> str:
    """Return the type, and the shape if there is one, in words."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    return f"a {kind}" if shape is None else f"a {kind} of shape {shape}"


# -- levels ------------------------------------------------------------------------------------


def encoded(model: Model, columns: Mapping[str, Column]) -> tuple[Model, dict[str, Array]]:
    """Return the model with the levels of string columns, and the columns as numbers."""
    learned: dict[str, Distribution] = {}
    arrays = {}
    columns = _with_common_levels(model, columns)
    for name, column in columns.items():
        dist = model.by_name[name].dist
        array = column.values
        if column.levels is not None and column.levels:
            if dist is None:
                raise _not_numeric(name, name, column.levels[0])
            if array.ndim > 1 and not getattr(dist, "shares_levels", False):
                raise _not_one_column(name, array, name)
            try:
                dist = learned[name] = dist.with_levels(column.levels)
            except Unsuitable as error:
                raise at_data(name, error) from None
            present = ~np.isnan(array)
            occurring, which = np.unique(array[present].astype(int), return_inverse=True)
            codes = _codes(name, [column.levels[i] for i in occurring], dist.levels or ())
            array = np.full(array.shape, np.nan)
            array[present] = codes[which]
        elif dist is not None and dist.levels is not None and array.dtype.kind in "biuf":
            if model.by_name[name].is_latent and -1 not in dist.levels:
                array = np.where(array == -1, np.nan, array)  # unknown
            array = _numeric_levels(name, array, dist.levels)
        arrays[name] = array
    return (model.replace(learned) if learned else model), arrays


def _with_common_levels(model: Model, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns, those of tied nodes with the levels of all of them."""
    common = dict(columns)
    for name, column in columns.items():
        tied = [columns[other] for other in model.tied(name) if other in columns]
        if len(tied) == 1 or not column.levels:
            continue
        levels = tuple(dict.fromkeys(level for each in tied for level in each.levels or ()))
        common[name] = attrs.evolve(column, values=_recoded(column, levels), levels=levels)
    return common


def _recoded(column: Column, levels: tuple[Any, ...]) -> Array:
    """Return the codes of a column among more levels than it has."""
    own = column.levels or ()
    place = np.array([levels.index(level) for level in own] + [np.nan])
    codes = np.where(np.isnan(column.values), len(own), column.values).astype(int)
    recoded: Array = place[codes]
    return recoded


def _codes(name: str, given: Sequence[Any], known: Sequence[Any]) -> Array:
    """Return the code of each level that occurs in a column among those of the node."""
    code = {level: float(i) for i, level in enumerate(known)}
    unknown = [level for level in given if level not in code]
    if unknown:
        raise DataError(
            f"data['{name}'] must have levels among {list(known)}, got {unknown[0]!r}. "
            "Correct it, or make it missing.",
            node=name,
        )
    return np.array([code[level] for level in given])


def _numeric_levels(name: str, array: Array, levels: Sequence[Any]) -> Array:
    """Return codes of numbers that are levels themselves; numbers are codes of other levels."""
    if any(isinstance(level, str) for level in levels):
        return array
    present = ~np.isnan(array) if array.dtype.kind == "f" else np.ones(array.shape, dtype=bool)
    occurring, which = np.unique(array[present], return_inverse=True)
    result = np.full(array.shape, np.nan)
    result[present] = _codes(name, occurring.tolist(), levels)[which]
    return result


def at_data(name: str, error: Unsuitable) -> DataError:
    """Return the error of a value that does not suit the distribution of a node."""
    return DataError(f"data['{name}'] {error}".replace("{node}", f"Node '{name}'"), node=name)
