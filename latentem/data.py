"""Binding data to a model: which array belongs to which node, checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self
from weakref import WeakKeyDictionary

import attrs
import numpy as np

from latentem.columns import at_data, by_node, describe, encoded, from_mapping
from latentem.distributions.arrays import LARGEST_VALUE, Array
from latentem.distributions.base import Distribution, Inputs, beside
from latentem.errors import DataError, Unsuitable
from latentem.graph import Model, Node, check_model
from latentem.kernels.columns import packed, some_and_all, sum_of_squares

#: Weights beyond it, or all below its inverse, overflow or underflow in sums.
LARGEST_WEIGHT = 1e100


@attrs.frozen(eq=False)
class Data:
    """The rows of data, by node.

    Attributes
    ----------
    n : int
        Number of rows.
    values : dict of str to array, (n, *event)
        The values of the observed nodes. A missing entry is NaN where the node is in ``gapped``;
        elsewhere it holds some valid value, which nothing may depend on.
    labels : dict of str to array, (n,) or (n, states)
        What is known of latents: a state, -1 where unknown, or a probability for each state. Also
        of observed parents with missing entries, which are latent in these rows.
    weights : array, (n,), or None
        The weights of the rows, None for ones.
    missing : dict of str to array, (n,)
        For nodes with missing entries the rows, as a mask, in which there is nothing of them.
    gapped : frozenset of str
        The nodes with values of which a part may be missing.
    covariates : dict of str to array, (n, width)
        The values of the covariates.
    inputs : dict of str to array, (n, p)
        What a regression is given, by its node: the values of its covariates side by side.
    order : array, (n,), or None
        The rows as given, in the order they stand here: where values have gaps, rows with the same
        gaps stand together; or those of a sample. None if they stand as given.
    """

    n: int
    values: dict[str, Array]
    labels: dict[str, Array]
    weights: Array | None = None
    missing: dict[str, Array] = attrs.field(factory=dict)
    gapped: frozenset[str] = frozenset()
    covariates: dict[str, Array] = attrs.field(factory=dict)
    inputs: dict[str, Array] = attrs.field(factory=dict)
    order: Array | None = None

    def __getitem__(self, rows: slice | Array) -> Self:
        """Return these rows."""
        if isinstance(rows, slice) and (rows.start, rows.stop) == (0, self.n):
            return self
        values, labels, missing, covariates, inputs = (
            {name: _taken(array, rows) for name, array in arrays.items()}
            for arrays in (self.values, self.labels, self.missing, self.covariates, self.inputs)
        )
        weights = None if self.weights is None else self.weights[rows]
        n = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        order = None if self.order is None else self.order[rows]
        return attrs.evolve(
            self,
            n=n,
            values=values,
            labels=labels,
            weights=weights,
            missing=missing,
            covariates=covariates,
            inputs=inputs,
            order=order,
        )

    def argument(self, name: str) -> Array:
        """Return the values of a node as the methods of its distribution take them.

        ``(n, *event)``, or after those of its covariates, ``(n, p + m)``.
        """
        value = self.values[name]
        if name not in self.inputs:
            return value
        return beside(self.inputs[name], value)

    def row(self, i: int) -> int:
        """Return the number of a row as given."""
        return i if self.order is None else int(self.order[i])

    def filled_from(self, whole: Data, rng: np.random.Generator) -> Self:
        """Return the data with missing parts of values drawn from the columns of ``whole``."""
        values, weights = dict(self.values), whole.row_weights
        for name in sorted(self.gapped):
            values[name] = values[name].copy()
            for column, entries in zip(values[name].T, whole.values[name].T, strict=True):
                gaps, seen = np.isnan(column), ~np.isnan(entries) & (weights > 0)
                share = weights[seen] / weights[seen].sum()
                column[gaps] = rng.choice(entries[seen], size=np.count_nonzero(gaps), p=share)
        return attrs.evolve(self, values=values, gapped=frozenset())

    @property
    def places(self) -> Array | None:
        """Where the rows as given stand here."""
        return None if self.order is None else np.argsort(self.order)

    @property
    def total_weight(self) -> float:
        """The sum of the weights."""
        return float(self.n) if self.weights is None else float(self.weights.sum())

    @property
    def row_weights(self) -> Array:
        """The weights of the rows, ``(n,)``."""
        return np.ones(self.n) if self.weights is None else self.weights

    @property
    def counted(self) -> Array:
        """The rows that have weight, as a mask ``(n,)``."""
        return np.ones(self.n, dtype=bool) if self.weights is None else self.weights > 0

    def present(self, name: str) -> Array | None:
        """Return the rows, as a mask, in which a node has a value; None for all."""
        missing = self.missing.get(name)
        return None if missing is None else ~missing


def bind(model: Model, data: Any, weights: Any = None) -> tuple[Model, Data]:
    """Match data to the nodes of a model.

    Parameters
    ----------
    model : Model
    data : array, mapping or data frame
        An array (when one node is observed), a mapping from node names to arrays, a structured
        array, or a data frame of any library that narwhals reads. NaN, None and masked entries are
        missing. Values given for a latent make it observed; NaN, -1, None and masked entries stand
        for unknown ones, and rows of probabilities for what is known in part.
    weights : array, (n,), optional
        Row weights: an integer weight equals repeating the row.

    Returns
    -------
    Model
        The same, with the levels of string and categorical columns.
    Data

    Raises
    ------
    DataError
        If anything does not fit. The message names the node.
    """
    check_model(model)
    if isinstance(data, Data):
        if weights is not None:
            weights = _weights(weights, data.n)
            weights = weights if data.order is None else weights[data.order]
            data = attrs.evolve(data, weights=weights)
        return model, data
    columns = by_node(model, data)
    lengths = {name: len(column.values) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"data must have the same number of rows for every node, got {lengths}. "
            "Pass arrays of equal length."
        )
    n = next(iter(lengths.values()), 0)
    if n == 0:
        raise DataError("data must have at least one row, got none. Pass some data.")
    model, arrays = encoded(model, columns)
    parents = {parent.name for node in model.nodes for parent in node.given}
    covariates = {c.name: as_columns(c.name, arrays[c.name]) for c in model.covariates}
    inputs = joined(model, arrays)
    model = _with_inputs(model, arrays)
    values, labels, missing, gapped = {}, {}, {}, set()
    for node in model.order:
        array = arrays.get(node.name)
        if array is None or node.dist is None:
            continue
        is_plain = array.dtype.kind == "f" and sum_of_squares(array) < np.inf
        absent = None if is_plain else _absent(array)
        if node.is_latent:
            labels[node.name] = _labels(node, array)
        elif node.name in parents and node.n_states is not None and absent is not None:
            labels[node.name] = _parent_states(node, array)
        elif absent is None:
            values[node.name] = _checked(node, array, is_finite=is_plain)
        elif not absent.all():  # a node without any value says nothing
            some, missing[node.name] = some_and_all(absent.reshape(n, -1))
            in_part = some & ~missing[node.name]
            if in_part.any():
                gapped.add(node.name)
                values[node.name] = _with_gaps(node, array, in_part)
            else:
                values[node.name] = _filled(node, array, missing[node.name])
    weights = None if weights is None else _weights(weights, n)
    weights = _without_empty_rows(n, values, labels, missing, weights)
    bound = Data(n, values, labels, weights, missing, frozenset(gapped), covariates, inputs)
    return model, bound if not gapped else _by_pattern(bound)


def joined(model: Model, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return what each regression is given, ``(n, p)`` by its node."""
    by_parents: dict[tuple[str, ...], Array] = {}
    inputs: dict[str, Array] = {}
    for node in model.nodes:
        names = tuple(parent.name for parent in model.regressors(node.name))
        if not names:
            continue
        if names not in by_parents:
            columns = [as_columns(name, arrays[name]) for name in names]
            by_parents[names] = np.ascontiguousarray(np.concatenate(columns, axis=1))
        inputs[node.name] = by_parents[names]
    return inputs


def _with_inputs(model: Model, arrays: Mapping[str, Array]) -> Model:
    """Return the model with regressions that know their covariates."""
    widened: dict[str, Distribution] = {}
    for node in model.nodes:
        names = tuple(parent.name for parent in model.regressors(node.name))
        if not names or node.dist is None:
            continue
        widths = tuple(as_columns(name, arrays[name]).shape[1] for name in names)
        widened[node.name] = with_inputs(node, Inputs(names, widths))
    for node in model.nodes:
        if node.tie in widened:
            _check_tied_columns(node, widened[node.name], widened[node.tie])
    return model.replace(widened) if widened else model


def with_inputs(node: Node, inputs: Inputs) -> Distribution:
    """Return the distribution of a node for its covariates, or raise `DataError`."""
    assert node.dist is not None
    try:
        return node.dist.with_inputs(inputs)
    except Unsuitable as error:
        text = f"Node '{node.name}': its covariates {error}".replace("{node}", "it")
        raise DataError(text, node=node.name) from None


def _check_tied_columns(node: Node, dist: Distribution, other: Distribution) -> None:
    """Raise `DataError` unless tied regressions read their covariates alike."""
    if dist.named_columns != other.named_columns:
        columns = {option: place.start for option, place in dist.named_columns.items()}
        theirs = {option: place.start for option, place in other.named_columns.items()}
        raise DataError(
            f"Node '{node.name}': its covariates must be in the order of those of '{node.tie}' "
            f"because the two are tied, got {columns} and {theirs} for the columns of what has no "
            "coefficient. Give them in the same order in given=[...].",
            node=node.name,
        )


def as_columns(name: str, array: Array) -> Array:
    """Return the values of a covariate, ``(n, width)``, or raise `DataError`."""

    def refuse(requirement: str, actual: str, remedy: str) -> DataError:
        text = f"data['{name}'] must {requirement} because others are regressed on it"
        return DataError(f"{text}, got {actual}. {remedy}", node=name)

    if array.dtype.kind not in "biuf":
        raise refuse("be numeric", f"an array of {array.dtype}", "Encode it as numbers.")
    if array.ndim not in (1, 2):
        raise refuse("have a row of numbers each", f"shape {array.shape}", "Pass (n, width).")
    columns: Array = array.astype(float).reshape(len(array), -1)
    if not (np.abs(columns) < LARGEST_VALUE).all() and np.isfinite(columns).all():
        row = int(np.argwhere(~(np.abs(columns) < LARGEST_VALUE))[0][0])
        raise refuse(
            f"be below {LARGEST_VALUE:g} in magnitude",
            f"{columns[row].tolist()} in row {row}",
            "Change the unit.",
        )
    if not np.isfinite(columns).all():
        row = int(np.argwhere(~np.isfinite(columns))[0][0])
        raise refuse(
            "be known and finite in every row",
            f"{columns[row].tolist()} in row {row}",
            "Fill it in, or drop the row.",
        )
    return columns


def _without_empty_rows(
    n: int,
    values: Mapping[str, Array],
    labels: Mapping[str, Array],
    missing: Mapping[str, Array],
    weights: Array | None,
) -> Array | None:
    """Return the weights with 0 for rows of nothing but gaps: they say nothing."""
    if not labels and len(missing) < len(values):
        return weights
    empty = np.ones(n, dtype=bool)
    for name in values:
        empty &= missing.get(name, False)
    for known in labels.values():
        empty &= np.isnan(known).any(axis=1) if known.ndim == 2 else known == -1
    if not empty.any():
        return weights
    return np.where(empty, 0.0, 1.0 if weights is None else weights)


def _by_pattern(data: Data) -> Data:
    """Return the data with the rows that have the same gaps together."""
    gaps = [packed(np.isnan(data.values[name])) for name in sorted(data.gapped)]
    *others, last = np.concatenate(gaps, axis=1).T
    order = np.argsort(last, kind="stable")
    for key in others[::-1]:  # by the first columns first
        order = order[np.argsort(key[order], kind="stable")]
    return attrs.evolve(data[order], order=order)


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
            f"data must be a mapping from node names to arrays, got {describe(data)}. "
            "Pass {'z': ...} with the values of node 'z', and so on."
        )
    values = {}
    for name, array in encoded(model, from_mapping(model, data))[1].items():
        node = model.by_name[name]
        if len(array) != n:
            raise DataError(
                f"data['{name}'] must have a value for each of the {n} rows to draw, "
                f"got {len(array)}. Pass as many values as rows.",
                node=name,
            )
        absent = _absent(array)
        if absent is not None:
            row = int(np.argwhere(absent)[0][0])
            raise DataError(
                f"data['{name}'] must have no missing entries to draw the others from, got one "
                f"in row {row}. Fill it in, or leave '{name}' out to draw it too.",
                node=name,
            )
        if node.n_states is not None:
            array = _states(node, array, unknown=False)
        elif node.dist is not None:
            array = _checked(node, array)
        else:
            as_columns(name, array)  # which checks it
        values[name] = array
    return values


# -- checks ------------------------------------------------------------------------------------


def _absent(array: Array) -> Array | None:
    """Return where entries are missing, None if nowhere."""
    if array.dtype.kind != "f":
        return None
    absent: Array = np.isnan(array)
    return absent if absent.any() else None


def _checked(
    node: Node, array: Array, *, is_finite: bool = False, is_gapped: bool = False
) -> Array:
    """Return the values of an observed node as its distribution wants them."""
    if not is_finite and array.dtype.kind == "f" and np.isinf(array).any():
        row = int(np.argwhere(np.isinf(array))[0][0])
        raise DataError(
            f"data['{node.name}'] must be finite, got an infinite value in row {row}. "
            "Drop or correct it.",
            node=node.name,
        )
    assert node.dist is not None
    try:
        check = node.dist.check_gapped if is_gapped else node.dist.check
        value = check(np.ascontiguousarray(array))
    except Unsuitable as error:
        raise at_data(node.name, error) from None
    if len(value) != len(array):
        raise DataError(
            f"Node '{node.name}': check must keep the number of rows ({len(array)}), "
            f"got {len(value)}. Mend {type(node.dist).__name__}.check.",
            node=node.name,
        )
    # Matrix products round by the order in memory: one order for all that may be passed.
    return np.ascontiguousarray(value)


def _filled(node: Node, array: Array, missing: Array) -> Array:
    """Return values that are missing in whole rows, of a mask ``(n,)``.

    These get those of another row, so that they pass all checks.
    """
    filled = array.copy()
    filled[missing] = array[int(missing.argmin())]
    return _checked(node, filled)


def _with_gaps(node: Node, array: Array, in_part: Array) -> Array:
    """Return values of which parts are missing, in rows of a mask ``(n,)``, as NaN."""
    assert node.dist is not None
    if not node.dist.takes_gaps:
        row = int(in_part.argmax())
        raise DataError(
            f"data['{node.name}'] must be wholly present or wholly missing in each row because "
            f"{type(node.dist).__name__} cannot marginalise a part of its value, got a part in "
            f"row {row}. Use Gaussian(), declare a node for each column, or drop the row.",
            node=node.name,
        )
    return _checked(node, array, is_gapped=True)


def _labels(node: Node, array: Array) -> Array:
    """Return what is known of a latent: states ``(n,)``, or probabilities ``(n, states)``."""
    if array.ndim != 2 or array.shape[1] != node.n_states or node.n_states == 1:
        return _states(node, array, unknown=True)
    absent = np.isnan(array)
    known = ~absent.any(axis=1)
    in_part = absent.any(axis=1) & ~absent.all(axis=1)
    if in_part.any():
        row = int(in_part.argmax())
        raise DataError(
            f"data['{node.name}'] must have the probabilities of all {node.n_states} states in a "
            f"row, or of none, got {array[row]} in row {row}. Fill in the others, or use NaN in "
            "the whole row.",
            node=node.name,
        )
    sums = array[known].sum(axis=1)
    if np.any(array[known] < 0) or np.any(np.abs(sums - 1) > 1e-6):
        row = int(np.flatnonzero(known)[(array[known].min(1) < 0) | (np.abs(sums - 1) > 1e-6)][0])
        raise DataError(
            f"data['{node.name}'] must be a state a row, or probabilities of the {node.n_states} "
            f"states that sum to 1, got {array[row]} in row {row}. Divide by the sum; use NaN "
            "for rows of which nothing is known.",
            node=node.name,
        )
    return array.astype(float)


def label_weights(labels: Array, k: int) -> Array:
    """Return what labels say of each state, ``(k, rows)``: 1 for each where nothing is known."""
    if labels.ndim == 2:
        return np.where(np.isnan(labels), 1.0, labels).T
    possible: Array = (labels == np.arange(k)[:, None]) | (labels == -1)
    return possible.astype(float)


def is_certain(labels: Array) -> bool:
    """Return whether labels say the state in every row."""
    if labels.ndim == 2:
        return bool((labels.max(axis=1) == 1.0).all())
    return bool((labels != -1).all())


def has_label(labels: Array) -> Array:
    """Return which rows have a label, ``(n,)``; equal probabilities of all states are none."""
    if labels.ndim == 2:
        return np.asarray(labels.min(axis=1) < labels.max(axis=1))  # not if they are NaN
    return np.asarray(labels != -1)


def _parent_states(node: Node, array: Array) -> Array:
    """Return the states of an observed parent, -1 where missing."""
    missing = np.isnan(array)
    states = np.full(array.shape, -1, dtype=np.intp)
    states[~missing] = _states(node, array[~missing], unknown=False)
    return states


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

    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise refuse(describe(array))
    if array.dtype.kind not in "biuf":
        raise refuse(f"an array of {array.dtype}")
    states = array.astype(float)
    if unknown:
        states[np.isnan(states)] = -1
    lowest = -1 if unknown else 0
    ok = (states >= lowest) & (states < k) & (states == np.floor(states))
    if not ok.all():
        row = int(np.argmin(ok))
        raise refuse(f"{array[row : row + 1].tolist()[0]!r} in row {row}")
    return states.astype(np.intp)


def _weights(weights: Any, n: int) -> Array:
    if np.ma.is_masked(weights):
        raise DataError(
            "weights must be known for every row, got masked ones. Give 0 to drop rows."
        )
    try:
        array = np.asarray(weights)
        is_complex = array.dtype.kind == "c"
        array = array if is_complex else np.asarray(array, dtype=float, order="C")
    except (ValueError, TypeError):
        raise DataError(
            f"weights must be numbers, got {describe(weights)}. Pass one number for each row."
        ) from None
    if is_complex:
        raise DataError(f"weights must be real numbers, got {array.dtype}. Pass their real part.")
    if array.shape != (n,):
        raise DataError(
            f"weights must have one entry for each of the {n} rows, got shape {array.shape}. "
            "Pass one number for each row."
        )
    unknown = np.isnan(array)
    if unknown.any():
        count = int(unknown.sum())
        raise DataError(
            f"weights must be known for every row, got NaN in {count} row{'s' * (count > 1)}, the "
            f"first of them row {unknown.argmax()}. Give 0 to drop rows."
        )
    if LARGEST_WEIGHT < array.max() < np.inf or 0 < array.max() < 1 / LARGEST_WEIGHT:
        raise DataError(
            f"weights must be below {LARGEST_WEIGHT:g}, and the largest above its inverse, because "
            f"sums would leave the range of numbers, got {array.max():g}. Change their unit."
        )
    if not np.all(np.isfinite(array)) or array.min() < 0 or not 0 < array.sum() < np.inf:
        raise DataError(
            "weights must be finite and not negative, with a positive sum, got values from "
            f"{array.min():g} to {array.max():g}. Correct them."
        )
    return array


def bound(names: Sequence[str], dist: Distribution, data: Data) -> Distribution:
    """Return the distribution of one node, or of tied ones, with what it takes from data once.

    Rows without weight do not count. A declaration is bound to the same data at every start of a
    fit: what was found is remembered.
    """
    known = _bound.setdefault(data, {})
    key = (*names, id(dist))
    if key not in known:
        known[key] = dist, _bind(names, dist, data)  # which keeps the identity of dist its own
    return known[key][1]


_bound: WeakKeyDictionary[Data, dict[tuple[Any, ...], tuple[Distribution, Distribution]]] = (
    WeakKeyDictionary()
)


def _bind(names: Sequence[str], dist: Distribution, data: Data) -> Distribution:
    counted = [_counted(name, data) for name in names]
    if not any(mask.any() for mask in counted):
        counted = [np.ones(data.n, dtype=bool)] * len(names)
    values = [_rows(data.argument(name), mask) for name, mask in zip(names, counted, strict=True)]
    if len({value.shape[1:] for value in values}) > 1:
        raise DataError(
            f"data must have values of one shape for the tied nodes {list(names)}, got rows of "
            f"shape {[value.shape[1:] for value in values]}. Pass as many columns.",
            node=names[-1],
        )
    weights = None
    if data.weights is not None:
        weights = np.concatenate([_rows(data.weights, mask) for mask in counted])
        weights = None if (weights == 1).all() else weights  # those left out had none
    try:
        return dist.bind(values[0] if len(names) == 1 else np.concatenate(values), weights)
    except Unsuitable as error:
        raise at_data(names[0], error) from None


def _taken(array: Array, rows: slice | Array) -> Array:
    return array[rows] if isinstance(rows, slice) else array.take(rows, axis=0)


def _rows(array: Array, mask: Array) -> Array:
    """Return the rows of a mask; without a copy where these are all, or the first ones."""
    first = int(np.count_nonzero(mask))
    return array[:first] if mask[:first].all() else array[mask]


def _counted(name: str, data: Data) -> Array:
    """Return the rows, as a mask, that have weight and a value of a node."""
    present = data.present(name)
    return data.counted if present is None else data.counted & present


def weighted_sum(values: Array, data: Data) -> float:
    """Return the sum over rows with their weights; a row without weight may be -inf."""
    if values.shape[-1] != data.n:
        return float(values[0]) * data.total_weight
    if data.weights is None:
        return float(values.sum())
    counted = data.weights > 0
    return float(values[counted] @ data.weights[counted])
