"""The contract between a distribution and the engine.

A distribution is an immutable value. It holds hyper-parameters and, once fitted, parameters whose
leading axes are the states of its discrete parents. Two methods, `Distribution.log_prob` and
`Distribution.fit`, join it to every graph and every assignment rule. An `ExponentialFamily` says
the same in the vocabulary of its sufficient statistics and gets both methods, and the fast path,
for nothing.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from latentem.distributions.arrays import LARGEST_VALUE, LOG_ZERO, Array
from latentem.distributions.formulas import AND, Formulas, displayed, equation
from latentem.distributions.kernels import Kernel, LinearKernel, RowKernel, TemplateKernel
from latentem.distributions.records import D, Record, Statistics, check_finite, nothing_to_fit
from latentem.errors import DegenerateError, MissingMethodError, ModelError, Unsuitable
from latentem.kernels.expected import Standardised
from latentem.kernels.steps import ClosedForm

#: Probabilities and rates this close to the end of their range count as being at it.
BOUNDARY = 1e-6


def parameter(default: Any = None, **kwargs: Any) -> Any:
    """Mark an attrs field as a parameter: an array whose leading axes are the parents' states.

    A class that marks none has as its parameters all the fields whose default is ``None``.

    Examples
    --------
    >>> import attrs
    >>> import latentem as lem
    >>> @attrs.frozen(eq=False)
    ... class Rayleigh(lem.Distribution):
    ...     scale: lem.Array | None = lem.parameter()
    ...
    ...     def log_prob(self, value): ...
    ...     def fit(self, value, weights): ...
    >>> Rayleigh().is_parameterised
    False
    """
    metadata = {**kwargs.pop("metadata", {}), "latentem.parameter": True}
    return attrs.field(default=default, metadata=metadata, **kwargs)


class _ReadOnlyArrays(abc.ABCMeta):
    """Makes the arrays of a new distribution read-only, however its class came by them."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        for field in getattr(cls, "__attrs_attrs__", ()):
            value = getattr(made, field.name, None)
            if isinstance(value, np.ndarray) and value.flags.writeable:
                view = value.view()  # the array itself may be somebody else's
                view.flags.writeable = False
                object.__setattr__(made, field.name, view)
        return made


class Distribution(metaclass=_ReadOnlyArrays):
    """A conditional distribution p(value | states of the discrete parents).

    Subclasses are ``attrs.frozen(eq=False)`` values with two methods, `log_prob` and `fit`. The
    engine calls both with exactly one parents' axis, of length ``K``: all combinations of the
    parents' states in C order (``K = 1`` for a node without discrete parents). It folds and unfolds
    the parameters for it.

    More is optional. ``sample(rng, state)`` draws one value for each entry of the integer array
    ``state`` ``(n,)``, an index into the parents' axis, and returns ``(n, *event)``.
    ``n_parameters`` is the number of free parameters over all states. ``expected_value()`` returns
    the means, ``(K, *event)``, which fill in what is missing.

    A regression sets ``takes_covariates``. Its values are then rows of the covariates and the
    variable itself, side by side, ``(n, p + m)``, and the two optional methods get the covariates
    as a further argument: ``sample(rng, state, inputs)``, ``expected_value(inputs)``, which is
    ``(n, K, *event)``.

    Examples
    --------
    >>> import attrs, numpy as np
    >>> import latentem as lem
    >>> @attrs.frozen(eq=False)
    ... class Rayleigh(lem.Distribution):
    ...     scale: lem.Array | None = None
    ...
    ...     def log_prob(self, value):
    ...         x = value[:, None]
    ...         return np.log(x) - 2 * np.log(self.scale) - x**2 / (2 * self.scale**2)
    ...
    ...     def fit(self, value, weights):
    ...         return Rayleigh(np.sqrt(weights.T @ value**2 / weights.sum(0) / 2))
    >>> Rayleigh().fit(np.array([1.0, 2.0]), np.ones((2, 1))).scale.round(4)
    array([1.118])
    """

    __slots__ = ("__weakref__",)

    #: Parameters that may be held at a value while the others are fitted (see `fixed`).
    holdable: ClassVar[tuple[str, ...]] = ()
    #: Those that are: a field of the families that have some.
    held: Any = ()
    #: True for a node that only makes sense under hard assignment (see `Prototype`).
    requires_hard: ClassVar[bool] = False
    #: True for a distribution of vectors that marginalises missing parts of them.
    takes_gaps: ClassVar[bool] = False
    #: True for a regression: its values are given after those of the covariates, ``(n, p + m)``.
    takes_covariates: ClassVar[bool] = False
    #: True if parameters bound the support: what a start does not see would be shut out for ever.
    bounds_support: ClassVar[bool] = False
    #: True if a probability or a rate may come out as 0: EM never raises it again, so a state that
    #: starts without some values would stay without them.
    reaches_zero: ClassVar[bool] = False
    #: Number of axes of each parameter after the parents' ones, where the family knows it.
    trailing_axes: ClassVar[Mapping[str, int]] = {}
    #: The formulas of the family. A class states its own: those of another class are not inherited.
    formulas: ClassVar[Formulas | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.formulas = cls.__dict__.get("formulas")
        if cls.formulas is not None and cls.__doc__ is not None:
            cls.__doc__ = cls.formulas.written_into(cls.__doc__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        kind: Any = type(self)
        if not attrs.has(kind):
            return super().__reduce_ex__(protocol)
        # Through the constructor: numpy forgets in a copy that an array was read-only.
        fields = {f.alias: getattr(self, f.name) for f in attrs.fields(kind) if f.init}
        return functools.partial(kind, **fields), ()

    # -- the contract --------------------------------------------------------------------------

    @abc.abstractmethod
    def log_prob(self, value: Array) -> Array:
        """Return log p(value | parents), shape ``(n, *parents)``, for values ``(n, *event)``."""

    @abc.abstractmethod
    def fit(self, value: Array, weights: Array) -> Self:
        """Return the distribution that maximises the weighted log-likelihood.

        ``sum_ik weights[i, k] log p(value[i] | k)``, with weights ``(n, *parents)``.
        """

    # -- what the engine asks of any distribution, answered for the two-method plug-in ---------

    @property
    def n_states(self) -> int | None:
        """Number of states, if the distribution is over a finite set 0, ..., n_states - 1."""
        return None

    @property
    def levels(self) -> tuple[Any, ...] | None:
        """The labels of the states, if they have any."""
        return None

    def with_levels(self, levels: tuple[Any, ...]) -> Self:
        """Return this declaration with labels for its states, or raise `Unsuitable`."""
        raise Unsuitable(
            f"be numeric because {{node}} is a {type(self).__name__}",
            f"{levels[0]!r}",
            "Encode it as numbers, declare the node Categorical(), or leave it out.",
        )

    @property
    def parameters(self) -> dict[str, Array | None]:
        """The parameter fields by name, ``None`` while unknown."""
        values = {name: getattr(self, name) for name in _parameter_names(type(self))}
        return {
            name: np.asarray(v) if isinstance(v, np.ndarray | list | tuple | float | int) else None
            for name, v in values.items()
        }

    @property
    def state_arrays(self) -> dict[str, Array | None]:
        """The arrays whose leading axes are the parents' states: parameters and what goes along."""
        return self.parameters

    @property
    def is_parameterised(self) -> bool:
        """Whether all parameters are known."""
        return all(value is not None for value in self.parameters.values())

    @property
    def own_formulas(self) -> Formulas | None:
        """The formulas of this very declaration.

        Those of its class, without the update of what is held, and of all if there is a prior.
        """
        formulas = self.formulas
        if formulas is None:
            return None
        return formulas.without_update(None) if self.has_prior else formulas.holding(self.held)

    @property
    def known_symbols(self) -> tuple[str, ...]:
        """The parameters that are known, by their symbols, as LaTeX."""
        formulas = self.own_formulas
        if formulas is None:
            return ()
        known = ((symbol, getattr(self, name)) for symbol, name in formulas.symbols.items())
        return tuple(
            equation(symbol, np.asarray(value))
            for symbol, value in known
            if isinstance(value, np.ndarray | float | int)
        )

    def _repr_latex_(self) -> str | None:
        formulas = self.own_formulas
        if formulas is None:
            return None
        updates = formulas.update.split(AND)
        return displayed([formulas.log_density, *updates, *self.known_symbols])

    @property
    def has_prior(self) -> bool:
        """Whether the parameters have a prior."""
        return getattr(self, "prior", None) is not None

    @property
    def log_prior(self) -> float:
        """The log-density of the parameters under their prior, 0 without one."""
        return 0.0

    @property
    def events(self) -> tuple[str, ...]:
        """What the maximiser had to do besides maximising, as sentences (an active constraint)."""
        return ()

    @property
    def vacant(self) -> Array | None:
        """The states (a mask) that got no weight and ask to be moved to badly represented rows."""
        return None

    @property
    def at_constraint(self) -> bool:
        """Whether a constraint that keeps the likelihood bounded is active."""
        return False

    def check(self, value: Array) -> Array:
        """Return the values as the array that the methods expect, or raise `Unsuitable`."""
        if value.dtype == object:
            raise Unsuitable("be numeric", "an array of objects", "Convert it to numbers.")
        return value

    def fill_gaps(self, value: Array) -> Array:
        """Return values with missing entries filled in such that `check` takes what is observed.

        By default with the first entry of their column; 0 in one without any.
        """
        gaps = np.isnan(value) if value.dtype.kind == "f" else np.zeros(value.shape, dtype=bool)
        if not gaps.any():
            return value
        flat, absent = value.reshape(len(value), -1), gaps.reshape(len(value), -1)
        example = np.nan_to_num(flat[absent.argmin(axis=0), np.arange(flat.shape[1])])
        return np.where(gaps, example.reshape(value.shape[1:]), value)

    def check_gapped(self, value: Array) -> Array:
        """Return values of which entries are missing, NaN, as `check` does others."""
        gaps = np.isnan(value)
        checked = np.asarray(self.check(self.fill_gaps(value)))
        own = checked.dtype == float and checked.flags.writeable
        if not own or np.may_share_memory(checked, value):
            checked = checked.astype(float)
        if len(checked) == len(gaps):  # otherwise `check` is wrong
            checked[gaps] = np.nan
        return checked

    def supports(self, value: Array) -> Array:
        """Return which values have a density under some parameters, as a mask ``(n,)``.

        A case of a `Switch` is asked to check and fit these only: there may be others that another
        case is for.
        """
        return np.ones(len(value), dtype=bool)

    def check_parents(self, shape: tuple[int, ...]) -> None:
        """Raise `Unsuitable` unless the parameters have the parents' axes ``shape`` first."""
        for name, value in self.parameters.items():
            if value is None or self._is_for_all(name, value):
                continue
            n_axes = self.trailing_axes.get(name, value.ndim - len(shape))
            if value.shape[: len(shape)] != shape or value.ndim != len(shape) + n_axes:
                more = (
                    f" and {n_axes} more after them"
                    if n_axes and name in self.trailing_axes
                    else ""
                )
                raise Unsuitable(
                    f"have the states of its discrete parents, {shape}, as leading axes of "
                    f"'{name}'{more}",
                    f"shape {value.shape}",
                    "Give one set of parameters for each combination of the parents' states.",
                )

    @property
    def log_prob_table(self) -> Array:
        """Log p of each state given the parents' states, ``(K, n_states)``."""
        with np.errstate(divide="ignore"):
            log_prob = self.log_prob(np.arange(self.n_states or 0))
        table: Array = log_prob.reshape(len(log_prob), -1).T
        return table

    def state_log_probs(self, inputs: Array) -> Array:
        """Return log p of each state given covariates ``(n, p)``, ``(n, K, n_states)``."""
        states = range(self.n_states or 0)
        values = (np.column_stack([inputs, np.full(len(inputs), state)]) for state in states)
        return np.stack([self.log_prob(value) for value in values], axis=-1)

    def with_inputs(self, inputs: Inputs) -> Self:
        """Return this declaration for the covariates of its node, or raise `Unsuitable`."""
        return self

    @property
    def named_columns(self) -> dict[str, slice]:
        """The columns of the covariates that options name, by option: they have no coefficients."""
        return {}

    def bind(self, value: Array, weights: Array | None = None) -> Self:
        """Return this template with what it takes from the data once (reference point, levels).

        ``weights`` ``(n,)`` are the rows' own, None for ones.
        """
        return self

    def check_fit(self) -> None:
        """Raise `Unsuitable` if the bound data leave the distribution without a maximum."""

    @property
    def checks_fit(self) -> bool:
        """Whether `check_fit` looks at anything: binding to the data is a pass over them."""
        return type(self).check_fit is not Distribution.check_fit

    def relocate(self, rows: Array) -> Self:
        """Return this distribution with its `vacant` states moved to these values."""
        raise NotImplementedError(type(self).__name__)

    def dissimilarity(self, value: Array, other: Array) -> Array:
        """Return the dissimilarity of each row to each of ``other``, ``(n, m)``, for seeding."""
        raise MissingMethodError(f"{type(self).__name__} has no method 'dissimilarity'.")

    def euclidean(self, value: Array) -> Standardised | None:
        """Return values as rows whose squared distances are the dissimilarity, if there are such.

        Up to a factor, for seeds are chosen by ratios. Compiled kernels take these distances, where
        otherwise `dissimilarity` is asked, which takes longer.

        Parameters
        ----------
        value : array, (n, ...)

        Returns
        -------
        Standardised, (n, m), or None
        """
        return None

    @property
    def is_euclidean(self) -> bool:
        """Whether `euclidean` is about its `dissimilarity`, not that of what it is derived from."""
        return _defines_last(type(self), "euclidean", "dissimilarity")

    @property
    def has_dissimilarity(self) -> bool:
        """Whether `dissimilarity` is provided."""
        return type(self).dissimilarity is not Distribution.dissimilarity

    def _held_value(self, name: str) -> Array | None:
        """Return a parameter that is held, None if it is free."""
        value: Array | None = getattr(self, name) if name in self.held else None
        return value

    def _is_for_all(self, name: str, value: Array) -> bool:
        """Return whether a parameter that is held has one value for all states."""
        return name in self.held and value.ndim == self.trailing_axes.get(name)

    def flatten(self, parents: tuple[int, ...]) -> Self:
        """Return the same distribution with its parents' axes ``parents`` folded into one."""
        repeated = {
            name: np.broadcast_to(value, (*parents, *value.shape))
            for name, value in self.parameters.items()
            if value is not None and parents and self._is_for_all(name, value)
        }
        whole = attrs.evolve(self, **repeated) if repeated else self  # type: ignore[misc]
        return whole._reshape(parents, (math.prod(parents),))

    def unflatten(self, parents: tuple[int, ...]) -> Self:
        """Undo `flatten`."""
        return self._reshape((math.prod(parents),), parents)

    def _reshape(self, old: tuple[int, ...], new: tuple[int, ...]) -> Self:
        if old == new:
            return self
        changes = {
            name: value.reshape(new + value.shape[len(old) :])
            for name, value in self.state_arrays.items()
            if value is not None
        }
        if not changes:
            return self
        own = type(self).__module__.startswith("latentem.")  # of which nothing follows from shapes
        return renewed(self, **changes) if own else attrs.evolve(self, **changes)  # type: ignore[misc]

    def permuted(self, order: Array) -> Self:
        """Return the distribution over renumbered states of its own: state i was ``order[i]``."""
        name = type(self).__name__
        raise MissingMethodError(
            f"{name} must have 'permuted(order)' because its states were to be renumbered, "
            f"got none. Add such a method to {name}."
        )

    def permuted_parents(self, orders: Sequence[Array]) -> Self:
        """Return the same with the states of each discrete parent renumbered.

        State i of parent j was ``orders[j][i]``.
        """
        changes: dict[str, Any] = {
            name: value[np.ix_(*orders)]
            for name, value in self.state_arrays.items()
            if value is not None
            and value.ndim >= len(orders) > 0
            and not self._is_for_all(name, value)
        }
        prior = getattr(self, "prior", None)
        if prior is not None:
            changes["prior"] = _renumbered(prior, orders)
        return attrs.evolve(self, **changes) if changes else self  # type: ignore[misc]

    @property
    def free(self) -> Distribution:
        """The distribution itself, or the one that a wrapper holds fixed."""
        return self

    def started_from(self, other: Distribution) -> Self:
        """Return this declaration with the parameters of another distribution of its family."""
        other = other.free
        if type(other) is not type(self):
            raise Unsuitable(
                f"start from a {type(self).__name__}",
                f"a {type(other).__name__}",
                "Use the same family.",
            )
        mean = other.state_arrays.get("mean")
        if mean is not None and not np.abs(mean).max(initial=0.0) < LARGEST_VALUE:
            raise Unsuitable(
                f"start from a mean below {LARGEST_VALUE:g} in magnitude because squares would "
                "overflow",
                f"{np.asarray(mean).tolist()}",
                "Start among the data.",
            )
        given = other.state_arrays
        # A plug-in may have been given lists, of which the parameters are arrays.
        if other is self and all(v is getattr(self, name, None) for name, v in given.items()):
            return self
        arrays = {
            name: value
            for name, value in given.items()
            if value is not None and name not in self.held
        }
        for name in self.held:
            own, theirs = self.parameters[name], other.parameters[name]
            if own is not None and theirs is not None and self._is_for_all(name, own):
                arrays[name] = np.broadcast_to(
                    own, theirs.shape[: theirs.ndim - own.ndim] + own.shape
                )
        return attrs.evolve(self, **arrays) if arrays else self  # type: ignore[misc]

    def feasible(self) -> Self:
        """Return the nearest distribution that keeps the constraints on its maximiser."""
        return self

    def keep(self, old: Self, states: Array) -> Self:
        """Return this distribution with the parameters of some states (a mask) taken from old."""
        before = old.state_arrays
        changes = {}
        for name, value in self.state_arrays.items():
            previous = before[name]
            if previous is None and value is not None and value.dtype == bool:
                previous = np.zeros_like(
                    value
                )  # a mask of states at a constraint: not the old ones
            if value is not None and previous is not None:
                mask = states.reshape(states.shape + (1,) * (value.ndim - states.ndim))
                changes[name] = np.where(mask, previous, value)
        return attrs.evolve(self, **changes) if changes else self  # type: ignore[misc]

    def kernel(self) -> Kernel:
        """Return the distribution made ready for passes over blocks; one parents' axis."""
        return RowKernel(self)

    def completed(self, value: Array, weights: Array) -> Array:
        """Return values with conditional means of missing parts, if the distribution takes gaps.

        ``weights`` ``(K, rows)`` are the probabilities of the parents' states.
        """
        raise NotImplementedError(type(self).__name__)

    def completed_by_draws(self, value: Array, state: Array, rng: np.random.Generator) -> Array:
        """Return values with draws of missing parts under the parents' states ``(rows,)``."""
        raise NotImplementedError(type(self).__name__)

    def gapped_kernel(self) -> Kernel:
        """Return the kernel for values with missing parts, if the distribution takes gaps."""
        raise NotImplementedError(type(self).__name__)

    def update(self, record: Record) -> Self:
        """Return the maximiser of the expected log-probability that the record holds."""
        return record.maximise(self)

    def comparable(self, record: Record) -> Record:
        """Return the record about points that stay the same from step to step."""
        return record

    def directions(self) -> list[dict[str, Array]]:
        """Return the directions in which the parameters can move, one for each free parameter.

        Each is a change of some parameter arrays, by name and in their shape, of the order of the
        parameters themselves. By default every entry moves by itself; a family whose entries are
        bound together (to sum to one, to be symmetric, shared by the states) says here how they
        move. Parameters at the boundary of their domain cannot move both ways: they are left out.

        Raises
        ------
        ModelError
            If this is no probability distribution.
        """
        if self.requires_hard:
            raise ModelError(
                f"{type(self).__name__} must be a probability distribution for its parameters to "
                "have directions of a likelihood, got one for hard assignment. Use a density."
            )
        return [
            {name: move}
            for name, value in self.parameters.items()
            if value is not None
            for move in single_moves(np.where(value == 0, 1.0, np.abs(value)))
        ]

    def moved(self, direction: Mapping[str, Array], step: float) -> Self:
        """Return the distribution a step further in a direction of its parameters."""
        changes = {name: getattr(self, name) + step * change for name, change in direction.items()}
        return attrs.evolve(self, **changes)  # type: ignore[misc]


def renewed(dist: D, **changes: Any) -> D:
    """Return a distribution with other arrays, without checking or copying them again.

    For maximisers, whose results are right, in the place of ``attrs.evolve``.
    """
    kind = type(dist)
    new = object.__new__(kind)
    for name in _field_names(kind):
        value = changes[name] if name in changes else getattr(dist, name)
        if isinstance(value, np.ndarray) and value.flags.writeable:
            value.flags.writeable = False
        object.__setattr__(new, name, value)
    return new


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind))


@functools.cache
def _defines_last(kind: type, method: str, other: str) -> bool:
    """Return whether the class that last defined one of two methods defined this one."""
    latest = next(each for each in kind.__mro__ if {method, other} & vars(each).keys())
    return method in vars(latest)


def _renumbered(prior: Any, orders: Sequence[Array]) -> Any:
    """Return a prior of parameters whose discrete parents' states are renumbered."""
    changes = {}
    for name, value in getattr(prior, "parameters", {}).items():
        n_axes = value.ndim - prior.trailing_axes.get(name, 0)  # those of the last parents
        if n_axes > 0:
            pairs = zip(orders[-n_axes:], value.shape, strict=False)
            changes[name] = value[np.ix_(*(o if size > 1 else [0] for o, size in pairs))]
    return attrs.evolve(prior, **changes) if changes else prior


@attrs.frozen
class Inputs:
    """The covariates of a node, in the order of its parents.

    Attributes
    ----------
    names : tuple of str
    widths : tuple of int
        Number of columns of each.
    """

    names: tuple[str, ...]
    widths: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of columns of all, p."""
        return sum(self.widths)

    def columns(self, name: str) -> slice:
        """Return the columns of one of them."""
        place = self.names.index(name)
        start = sum(self.widths[:place])
        return slice(start, start + self.widths[place])


def beside(inputs: Array, value: Array) -> Array:
    """Return covariates ``(n, p)`` and values ``(n, *event)`` side by side, ``(n, p + m)``."""
    return np.concatenate([inputs, value.reshape(len(value), -1)], axis=1)


def single_moves(sizes: Array) -> Iterator[Array]:
    """Yield, for each entry of an array that is not 0, the array with only that entry."""
    for index in map(tuple, np.argwhere(sizes)):
        move = np.zeros(sizes.shape)
        move[index] = sizes[index]
        yield move


def count_parameters(dist: Distribution) -> int:
    """Return the number of free parameters of a distribution.

    Raises
    ------
    MissingMethodError
        If the distribution does not say.
    """
    count = getattr(dist, "n_parameters", None)
    if count is None:
        name = type(dist).__name__
        raise MissingMethodError(
            f"{name} must have 'n_parameters' because AIC, BIC and ICL count free parameters, "
            f"got none. Add a property 'n_parameters' to {name}."
        )
    return int(count() if callable(count) else count)


def free_entries(dist: Distribution) -> int:
    """Return the number of entries of the parameters that are known and not held."""
    known = dist.parameters.items()
    return sum(array.size for name, array in known if array is not None and name not in dist.held)


def sampler(dist: Distribution) -> Callable[[np.random.Generator, Array], Array]:
    """Return the ``sample`` method of a distribution, or raise `MissingMethodError`."""
    method = getattr(dist, "sample", None)
    if method is None:
        name = type(dist).__name__
        raise MissingMethodError(
            f"{name} must have a method 'sample(rng, state)' because sampling was asked for, "
            f"got none. Add it to {name}."
        )
    return method  # type: ignore[no-any-return]


def drawn(
    dist: Distribution, rng: np.random.Generator, state: Array, inputs: Array | None = None
) -> Array:
    """Return a draw for each parents' state ``(n,)`` and covariates ``(n, p)``, if it has some."""
    draw: Callable[..., Any] = sampler(dist)
    return np.asarray(draw(rng, state) if inputs is None else draw(rng, state, inputs))


def mixed_mean(dist: Distribution, weights: Array, inputs: Array | None = None) -> Array:
    """Return the mean of each row over the states, ``(n, *event)``, with weights ``(K, n)``.

    Or what a family has for it, where a mean of values is none (`mixed_mean` of angles).
    """
    if inputs is not None:
        return np.asarray(np.einsum("kn,nk...->n...", weights, expected_value(dist, inputs)))
    own = getattr(dist, "mixed_mean", None)
    if own is not None:
        return np.asarray(own(weights))
    return np.asarray(np.tensordot(weights.T, expected_value(dist), axes=1))


def expected_value(dist: Distribution, inputs: Array | None = None) -> Array:
    """Return the ``expected_value`` of a distribution, ``(K, *event)``.

    Given covariates ``(n, p)`` it is ``(n, K, *event)``.
    """
    method = getattr(dist, "expected_value", None)
    if method is None:
        name = type(dist).__name__
        raise MissingMethodError(
            f"{name} must have a method 'expected_value()' because missing values are to be filled "
            f"in by their mean, got none. Add it to {name}, or fill them in by draws."
        )
    return np.asarray(method() if inputs is None else method(inputs))


class ExponentialFamily(Distribution):
    r"""A family log p(x | k) = eta_k . T(x) - A(eta_k) + log h(x).

    A subclass writes four things: the statistics T, the natural parameters eta with the
    log-normaliser A, the base measure h where it is not constant, and the map from mean statistics
    to parameters. From them follow `log_prob` and `fit`: for states k with weights r,

    .. math:: \hat\eta_k : \quad E_{\eta_k}[T(x)] = \sum_i r_{ik} T(x_i) / \sum_i r_{ik}

    is the maximum of the weighted log-likelihood (Brown, Fundamentals of Statistical Exponential
    Families, 1986, theorem 5.5). An E-step is one matrix product, eta T', and so is an M-step, r T.

    Examples
    --------
    >>> import attrs, numpy as np
    >>> import latentem as lem
    >>> @attrs.frozen(eq=False)
    ... class Exponential(lem.ExponentialFamily):
    ...     rate: lem.Array | None = lem.parameter()
    ...
    ...     def statistics(self, value):
    ...         return value[:, None]
    ...
    ...     def natural_parameters(self):
    ...         return -self.rate[..., None], -np.log(self.rate)
    ...
    ...     def from_mean(self, mean, weight):
    ...         return Exponential(1 / mean[..., 0])
    >>> Exponential().fit(np.array([1.0, 3.0]), np.ones(2)).rate
    array(0.5)
    """

    __slots__ = ()

    @abc.abstractmethod
    def statistics(self, value: Array) -> Array:
        """Return T(x), ``(n, p)``."""

    @abc.abstractmethod
    def natural_parameters(self) -> tuple[Array, Array]:
        """Return eta, ``(*parents, p)``, and the log-normaliser A, ``(*parents,)``."""

    @abc.abstractmethod
    def from_mean(self, mean: Array, weight: Array) -> Self:
        """Return the member whose mean statistics are ``mean`` ``(*parents, p)``.

        ``weight`` ``(*parents,)`` is the expected number of rows behind each: what a parameter
        shared between states needs to pool them, and others ignore.
        """

    def log_base_measure(self, value: Array) -> Array | float:
        """Return log h(x), ``(n,)``, or a number if it is the same for all values."""
        return 0.0

    # -- what follows from the four ------------------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        eta, log_normaliser = self.natural_parameters()
        product = np.tensordot(self.statistics(value), eta, axes=([1], [-1]))  # (n, *parents)
        product -= log_normaliser
        base = np.asarray(self.log_base_measure(value))
        product += base.reshape(base.shape + (1,) * (product.ndim - 1))
        return np.where(product < LOG_ZERO / 10, -np.inf, product)

    def fit(self, value: Array, weights: Array) -> Self:
        template = self.bind(value)
        shape = weights.shape[1:]
        flat = weights.reshape(len(weights), -1)  # (n, K)
        total = flat.T @ template.statistics(value)
        reference = getattr(template, "reference", None)
        record = Statistics(flat.sum(axis=0), total, 0.0, reference)
        return template.flatten(shape).from_statistics(record).unflatten(shape)

    def update(self, record: Record) -> Self:
        if (
            isinstance(record, Statistics)
            and not record.weight.any()
            and self.is_parameterised
            and not self.has_prior  # whose mode is the maximum
        ):
            # As it is, and not about the record's reference: that may be of one pass only.
            return self.keep(self, np.ones(len(record.weight), dtype=bool))
        return super().update(record)

    def pseudo_statistics(self, n_states: int) -> Statistics | None:
        """Return what a prior is worth in statistics, for each of K states; None without one."""
        return None

    def from_statistics(self, record: Statistics) -> Self:
        """Return the maximiser; a state without any weight keeps the parameters it has."""
        pseudo = self.pseudo_statistics(len(record.weight))
        if pseudo is not None:
            record = record + pseudo
        seen = record.weight > 0
        if seen.all():
            mean = record.total / record.weight[:, None]
            return check_finite(self.from_mean(mean, record.weight))
        empty = ~seen
        if not self.is_parameterised:
            raise DegenerateError(nothing_to_fit(empty))
        if empty.all():
            return self.keep(self, empty)
        # Any point of the domain will do for the states that keep what they had.
        mean = np.empty_like(record.total)
        mean[~empty] = record.total[~empty] / record.weight[~empty, None]
        mean[empty] = mean[~empty].mean(axis=0)
        return check_finite(self.from_mean(mean, record.weight).keep(self, empty))

    def natural_from_mean(self, mean: Array, weight: Array) -> tuple[Array, Array] | None:
        """Return the natural parameters of `from_mean`, and A, as `natural_parameters` does.

        For steps that need no more of it. None where there is more to the maximum than these: a
        prior, a constraint, a state that needs another form.
        """
        if not _is_plain(type(self)) or self.held or self.has_prior:
            return None
        new = self.from_mean(mean, weight)
        if new.at_constraint or new.events or new.vacant is not None:
            return None
        return new.natural_parameters()

    @property
    def closed_form(self) -> ClosedForm | None:
        """The formula by which `natural_from_mean` goes, if compiled kernels know it."""
        return None

    def about(self, reference: Any) -> Self:
        """Return the same distribution with statistics taken about another reference."""
        return self

    def statistics_into(self, out: Array, value: Array) -> None:
        """Write the statistics, k-major, into ``out`` ``(p, rows)``."""
        out[...] = self.statistics(value).T

    @property
    def pairs(self) -> Array | None:
        """Places of two factors, ``(p, 2)``, whose product each statistic is; 0 is the factor 1.

        A second one below 0 is a level, -l: the statistic is 1 where the factor is l, else 0. None
        if the statistics are the factors.
        """
        return None

    def factors_into(self, out: Array, value: Array) -> None:
        """Write the factors but 1, k-major, into ``out`` ``(m, rows)``."""
        self.statistics_into(out, value)

    def standardised(self, value: Array) -> Standardised | None:
        """Return the rows whose standardised columns are the factors; None if these are others."""
        return None

    def kernel(self) -> Kernel:
        return LinearKernel.of(self) if self.is_parameterised else TemplateKernel(self)


@functools.cache
def _parameter_names(kind: type) -> tuple[str, ...]:
    """Return the fields of a class that are its parameters; see `parameter`."""
    fields = attrs.fields(kind)
    marked = [f.name for f in fields if f.metadata.get("latentem.parameter")]
    return tuple(marked or [f.name for f in fields if f.default is None and f.init])


@functools.cache
def _is_plain(kind: type[ExponentialFamily]) -> bool:
    """Return whether a family's maximum is that of mean statistics, and its kernel linear."""
    names = ("kernel", "update", "from_statistics")
    return all(getattr(kind, name) is getattr(ExponentialFamily, name) for name in names)
