"""Columns of one family, independent given the parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution
from latentem.distributions.checks import counted
from latentem.distributions.formulas import Formulas, composed
from latentem.distributions.side_by_side import SideBySide
from latentem.errors import ModelError, Unsuitable


@attrs.frozen(eq=False, repr=False)
class Independent(SideBySide):
    r"""Columns of one family, independent given the parents, each with its own parameters.

    .. math:: \log p(x \mid k) = \sum_{j=1}^m \log p(x_j \mid \theta_{kj})

    With categorical or binary items this is the latent class model (Lazarsfeld and Henry, Latent
    Structure Analysis, 1968; Bishop, Pattern Recognition and Machine Learning, 2006, section
    9.3.3), with one matrix product for all items. An entry that is missing is left out, column by
    column. Parameters are read from ``dist``, or by their names: the columns are an axis after
    those of the parents.

    Parameters
    ----------
    dist : Distribution
        The family of every column; with parameters ``(*parents, m, ...)`` if they are known.
    m : int, optional
        Number of columns; taken from the parameters or the data if absent.

    Raises
    ------
    ModelError
        If ``dist`` is not a density of a scalar, or its parameters are not for m columns.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> items = np.array([[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 0, 1]])
    >>> fitted = lem.Independent(lem.Bernoulli(), 3).fit(items, np.ones((4, 1)))
    >>> fitted.dist.probs
    array([[0.25, 0.5 , 1.  ]])
    """

    #: The levels of a data frame's columns are those of all of them.
    shares_levels: ClassVar[bool] = True

    dist: Distribution
    m: int | None = None
    # What `dist` holds, a distribution for each column: the truth where there are any.
    columns: tuple[Distribution, ...] | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        m, columns = self.m, self.columns
        if m is not None and (isinstance(m, bool) or not isinstance(m, int | np.integer) or m < 1):
            raise ModelError(
                f"Independent: m must be a whole number of at least 1, got {m!r}. "
                "Give the number of columns, or leave it to the data."
            )
        self._check_components()
        if columns is None and any(each is not None for each in self.dist.parameters.values()):
            columns = _cut(self.dist, m)
        elif columns is None and m is not None:
            columns = (self.dist,) * m
        if columns is not None:
            object.__setattr__(self, "columns", columns)
            object.__setattr__(self, "m", len(columns))
            object.__setattr__(self, "dist", _stacked(columns))

    def __repr__(self) -> str:
        return f"Independent({self.dist!r}{'' if self.m is None else f', {self.m}'})"

    @property
    def own_formulas(self) -> Formulas | None:
        """The sum over the columns, and the density of one."""
        total = r"\log p(x \mid k) = \sum_{j=1}^m \log p(x_j \mid \theta_{kj})"
        return composed(total, {r"p(x \mid \theta_k)": self.dist.own_formulas})

    @property
    def known_symbols(self) -> tuple[str, ...]:
        return self.dist.known_symbols

    def __getattr__(self, name: str) -> Any:
        # Only what is not found here: the parameters, read through.
        if name.startswith("_") or name not in self.dist.parameters:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.dist, name)

    # -- the components ------------------------------------------------------------------------

    @property
    def components(self) -> tuple[Distribution, ...]:
        """The distribution of each column; as long as their number is unknown, of one."""
        return (self.dist,) if self.columns is None else self.columns

    @property
    def widths(self) -> tuple[int, ...]:
        """All take scalars."""
        return (0,) * len(self.components)

    def of_components(self, components: Sequence[Distribution]) -> Self:
        if self.columns is None and components[0] is self.dist:
            return self
        if self.columns is None:
            return attrs.evolve(self, dist=components[0])
        return attrs.evolve(self, columns=tuple(components))

    def where(self, component: int) -> str:
        return f"columns[{component}]"

    @property
    def is_parameterised(self) -> bool:
        return self.dist.is_parameterised  # the columns are alike

    def of_width(self, n_columns: int) -> Self:
        if self.columns is not None:
            return self
        return attrs.evolve(self, columns=(self.dist,) * n_columns)

    # -- parameters, those of all columns as one -----------------------------------------------

    def _named(self, arrays: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if not _is_plain(self.dist):
            return super()._named(arrays)
        joint = self.dist.parameters
        rest = [{name: array for name, array in own.items() if name not in joint} for own in arrays]
        return {**joint, **super()._named(rest)}

    def directions(self) -> list[dict[str, Array]]:
        """Those of the columns."""
        if not _is_plain(self.dist):
            return super().directions()
        found = []
        for i, dist in enumerate(self.components):
            for direction in dist.directions():
                whole = {}
                for name, change in direction.items():
                    whole[name] = np.zeros(self.dist.parameters[name].shape)  # type: ignore[union-attr]
                    _column(dist, name, whole[name], i)[...] = change
                found.append(whole)
        return found

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        if not _is_plain(self.dist):
            return super().moved(direction, step)
        components = []
        for i, dist in enumerate(self.components):
            own = {name: _column(dist, name, change, i) for name, change in direction.items()}
            changed = any(change.any() for change in own.values())
            components.append(dist.moved(own, step) if changed else dist)
        return self.of_components(components)

    # -- data ----------------------------------------------------------------------------------

    @property
    def levels(self) -> tuple[Any, ...] | None:
        return self.dist.levels

    def with_levels(self, levels: tuple[Any, ...]) -> Self:
        return self._each(lambda dist: dist.with_levels(levels))

    def check(self, value: Array) -> Array:
        if self.columns is not None or value.ndim != 2:
            return super().check(value)
        if not value.shape[1]:
            raise Unsuitable("have at least one column", f"shape {value.shape}")
        return self.of_width(value.shape[1]).check(value)

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        same = self.of_width(value.shape[1])
        if not self.is_parameterised:
            # The states are those of all columns together; reference points are each one's own.
            entries = value[~np.isnan(value)] if value.dtype.kind == "f" else value.reshape(-1)
            states = self.dist.bind(entries) if len(entries) else self.dist
            if states.n_states != self.dist.n_states:
                same = same.of_components((states,) * value.shape[1])
        return super(Independent, same).bind(value, weights)

    def _sizes(self) -> list[int]:
        # The columns are alike, so one tells for all.
        if not self.is_parameterised:
            return super()._sizes()
        first = self._families()[0]
        return [first.natural_parameters()[0].shape[-1]] * len(self.components)


def _is_plain(dist: Distribution) -> bool:
    """Return whether the parameters are fields of the distribution itself, which can be stacked."""
    kind: Any = type(dist)
    return {field.name for field in attrs.fields(kind)}.issuperset(dist.parameters)


def _axis(dist: Distribution, name: str, array: Array) -> int:
    """Return the axis of an array of all columns, ``(*parents, m, ...)``, that they are on."""
    return array.ndim - 1 - dist.trailing_axes.get(name, 0)


def _column(dist: Distribution, name: str, array: Array, i: int) -> Array:
    """Return a view of the part of one column."""
    part: Array = np.moveaxis(array, _axis(dist, name, array), 0)[i, ...]  # a view of scalars too
    return part


def _cut(dist: Distribution, m: int | None) -> tuple[Distribution, ...]:
    """Return the distribution of each column, given that of all with its parameters."""
    known = {name: array for name, array in dist.parameters.items() if array is not None}
    if not _is_plain(dist):
        raise ModelError(
            f"Independent must be given a template or parameters of its own family, got {dist!r}. "
            "Use Product([...]) for known columns of this kind, or fixed(Independent(...))."
        )
    lengths = {
        array.shape[_axis(dist, name, array)] if _axis(dist, name, array) >= 0 else 0
        for name, array in known.items()
    }
    if len(lengths) > 1 or 0 in lengths or (m is not None and lengths != {m}):
        wanted = "the columns" if m is None else counted(m, "column")
        shapes = {name: array.shape for name, array in known.items()}
        raise ModelError(
            f"Independent: parameters must have {wanted} as an axis after the parents' ones, got "
            f"shapes {shapes}. Repeat what the columns share."
        )
    return tuple(
        attrs.evolve(dist, **{name: _column(dist, name, a, i) for name, a in known.items()})  # type: ignore[misc]
        for i in range(lengths.pop())
    )


def _stacked(columns: Sequence[Distribution]) -> Distribution:
    """Return the family with the parameters of all columns, for reading."""
    first = columns[0]
    if all(dist is first for dist in columns[1:]) and not first.is_parameterised:
        return first
    if not _is_plain(first) or not first.is_parameterised:
        return first
    every = [dist.parameters for dist in columns]
    arrays = {}
    for name in first.parameters:
        own = [np.asarray(parameters[name]) for parameters in every]
        arrays[name] = np.stack(own, axis=-1 - first.trailing_axes.get(name, 0))
    # What goes along with the parameters of a column, such as its reference point, stays with it.
    kind: Any = type(first)
    along = {"reference", *first.state_arrays} - set(arrays)
    dropped = {f.name: None for f in attrs.fields(kind) if f.name in along and f.default is None}
    return attrs.evolve(first, **arrays, **dropped)  # type: ignore[misc]
