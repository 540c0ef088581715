"""The contract between a distribution and the engine.

A distribution is an immutable value. It holds hyper-parameters and, once fitted, parameters whose
leading axes are the states of its discrete parents. Two methods, `Distribution.log_prob` and
`Distribution.fit`, join it to every graph and every assignment rule. An `ExponentialFamily` says
the same in the vocabulary of its sufficient statistics and gets both methods, and the fast path,
for nothing.

Between the E-step and the M-step stands a `Record` of expected statistics. Records add: blocks of
rows, tied nodes and pseudo-observations are all sums of records.

A `Kernel` is a distribution made ready for passes over blocks of rows (factorised, stacked), so
that the work done once per step is not done once per block. Inside, arrays over rows are
k-major, ``(states, rows)``, because reductions over states are then long and contiguous.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from latentem.errors import DegenerateError, MissingMethodError, ModelError, Unsuitable

Array = NDArray[Any]
D = TypeVar("D", bound="Distribution")

# Stands for log 0 inside natural parameters, where a true -inf would turn 0 * -inf into NaN.
# Any sum below LOG_ZERO / 10 is a probability of exactly zero.
LOG_ZERO = -1e300


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


def as_float_array(value: Any) -> Array | None:
    """Convert a parameter to a float array; `None` (not yet known) stays `None`."""
    return None if value is None else np.asarray(value, dtype=float)


class Distribution(abc.ABC):
    """A conditional distribution p(value | states of the discrete parents).

    Subclasses are ``attrs.frozen(eq=False)`` values with two methods, `log_prob` and `fit`. The
    engine calls both with exactly one parents' axis, of length ``K``: all combinations of the
    parents' states in C order (``K = 1`` for a node without discrete parents). It folds and unfolds
    the parameters for it.

    Two more methods are optional. ``sample(rng, state)`` draws one value for each entry of the
    integer array ``state`` ``(n,)``, an index into the parents' axis, and returns ``(n, *event)``.
    ``n_parameters`` is the number of free parameters over all states.

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

    #: True for a node that only makes sense under hard assignment (see `Prototype`).
    requires_hard: ClassVar[bool] = False
    #: Number of axes of each parameter after the parents' ones, where the family knows it.
    trailing_axes: ClassVar[Mapping[str, int]] = {}
    #: True for a distribution that takes continuous parents as regressors.
    takes_covariates: ClassVar[bool] = False

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
    def parameters(self) -> dict[str, Array | None]:
        """The parameter fields by name, ``None`` while unknown."""
        fields = attrs.fields(type(self))  # type: ignore[arg-type]
        marked = [f for f in fields if f.metadata.get("latentem.parameter")]
        chosen = marked or [f for f in fields if f.default is None and f.init]
        values = {f.name: getattr(self, f.name) for f in chosen}
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

    def check_parents(self, shape: tuple[int, ...]) -> None:
        """Raise `Unsuitable` unless the parameters have the parents' axes ``shape`` first."""
        for name, value in self.parameters.items():
            if value is None:
                continue
            n_axes = self.trailing_axes.get(name, value.ndim - len(shape))
            if value.shape[: len(shape)] != shape or value.ndim != len(shape) + n_axes:
                more = f", with {n_axes} more" if name in self.trailing_axes else ""
                raise Unsuitable(
                    f"have the states of its discrete parents, {shape}, as leading axes of "
                    f"'{name}'{more}",
                    f"shape {value.shape}",
                    "Give one set of parameters for each combination of the parents' states.",
                )

    def bind(self, value: Array) -> Self:
        """Return this template with what it takes from the data once (reference point, levels)."""
        return self

    def check_fit(self) -> None:  # noqa: B027 (optional)
        """Raise `Unsuitable` if the bound data leave the distribution without a maximum."""

    def relocate(self, rows: Array) -> Self:
        """Return this distribution with its `vacant` states moved to these values."""
        raise NotImplementedError(type(self).__name__)

    def dissimilarity(self, value: Array, other: Array) -> Array:
        """Return the dissimilarity of each row to each of ``other``, ``(n, m)``, for seeding."""
        raise MissingMethodError(f"{type(self).__name__} has no method 'dissimilarity'.")

    @property
    def has_dissimilarity(self) -> bool:
        """Whether `dissimilarity` is provided."""
        return type(self).dissimilarity is not Distribution.dissimilarity

    def flatten(self, parents: tuple[int, ...]) -> Self:
        """Return the same distribution with its parents' axes ``parents`` folded into one."""
        return self._reshape(parents, (math.prod(parents),))

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
        return attrs.evolve(self, **changes) if changes else self  # type: ignore[misc]

    def keep(self, old: Self, states: Array) -> Self:
        """Return this distribution with the parameters of some states (a mask) taken from old."""
        before = old.state_arrays
        changes = {}
        for name, value in self.state_arrays.items():
            previous = before[name]
            if value is not None and previous is not None:
                mask = states.reshape(states.shape + (1,) * (value.ndim - states.ndim))
                changes[name] = np.where(mask, previous, value)
        return attrs.evolve(self, **changes) if changes else self  # type: ignore[misc]

    def kernel(self) -> Kernel:
        """Return the distribution made ready for passes over blocks; one parents' axis."""
        return RowKernel(self)

    def update(self, record: Record) -> Self:
        """Return the maximiser of the expected log-probability that the record holds."""
        return record.maximise(self)


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


# -- records: everything between the E-step and the M-step -------------------------------------


class Record(abc.ABC):
    """Expected statistics of one node: what its maximiser sees. Records add."""

    __slots__ = ()

    @abc.abstractmethod
    def __add__(self, other: Any) -> Self:
        """Return the record of both sets of rows."""

    @abc.abstractmethod
    def maximise(self, dist: D) -> D:
        """Return the distribution of ``dist``'s family that maximises the expected log-density."""

    def split(self, n: int) -> tuple[Record, ...]:
        """Return a record for each of n equal groups of parent states."""
        raise NotImplementedError(type(self).__name__)


def _maximise_rows(dist: D, value: Array, weights: Array) -> D:
    """Call a two-method maximiser, guarding states without weight and non-finite results."""
    empty = ~(weights.sum(axis=0) > 0)
    name = type(dist).__name__
    if empty.any() and not dist.is_parameterised:
        raise DegenerateError(_nothing_to_fit(empty))
    with np.errstate(all="ignore"):
        new = dist.fit(value, weights)
    if empty.any():
        new = new.keep(dist, empty)
    for field, array in new.parameters.items():
        if array is None or not np.all(np.isfinite(array)):
            raise DegenerateError(
                f"{name}.fit must return finite parameters, got {field} = {array}. "
                f"Check the maximiser, or whether the weighted values determine '{field}'."
            )
    return new


def _nothing_to_fit(empty: Array) -> str:
    states = ", ".join(map(str, np.flatnonzero(empty)))
    return (
        f"every state must have some weight to start from, got none for state {states}. "
        "Use fewer states or another start."
    )


@attrs.frozen(eq=False)
class Rows(Record):
    """Values ``(n, *event)`` with their expected weights ``(n, K)``: for the two-method plug-in."""

    value: Array
    weights: Array

    def __add__(self, other: Rows) -> Rows:
        return Rows(
            np.concatenate([self.value, other.value]),
            np.concatenate([self.weights, other.weights]),
        )

    def maximise(self, dist: D) -> D:
        return _maximise_rows(dist, self.value, self.weights)


@attrs.frozen(eq=False)
class Counts(Record):
    """Expected counts ``(n_states, K)`` of the states of a discrete node: for latent nodes."""

    counts: Array

    @property
    def states(self) -> Array:
        """The values 0, ..., n_states - 1."""
        return np.arange(len(self.counts))

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.counts + other.counts)

    def maximise(self, dist: D) -> D:
        return _maximise_rows(dist, self.states, self.counts)

    def split(self, n: int) -> tuple[Counts, ...]:
        return tuple(Counts(part) for part in np.split(self.counts, n, axis=1))

    def expected_log_prob(self, log_prob: Array) -> tuple[float, float]:
        """Return sum_zk counts[z, k] log p(z | k), where 0 log 0 = 0, and its terms' magnitude.

        ``log_prob`` is the table log p(z | k), ``(n_states, K)``.
        """
        seen = ~_impossible(log_prob, self.counts, self.counts.sum(axis=0)) & (self.counts > 0)
        terms = np.multiply(self.counts, log_prob, where=seen, out=np.zeros(self.counts.shape))
        return float(terms.sum()), float(np.abs(terms).sum())


@attrs.frozen(eq=False)
class Statistics(Record):
    """Expected sufficient statistics of an exponential family.

    Attributes
    ----------
    weight : array, (K,)
        Expected number of rows in each state, sum_i r_ik.
    total : array, (K, p)
        Expected total of the statistics, sum_i r_ik T(x_i).
    log_base : float
        Expected log base measure, sum_ik r_ik log h(x_i).
    reference : object or None
        The point and scale about which the statistics were taken, for families that use one.
    """

    weight: Array
    total: Array
    log_base: float = 0.0
    reference: Any = None

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.weight + other.weight,
            self.total + other.total,
            self.log_base + other.log_base,
            self.reference,
        )

    def maximise(self, dist: D) -> D:
        assert isinstance(dist, ExponentialFamily)
        return dist.from_statistics(self)


# -- kernels: a distribution made ready for passes over blocks ---------------------------------


class Kernel(abc.ABC):
    """A distribution with one parents' axis, prepared for many blocks of rows."""

    __slots__ = ()

    @abc.abstractmethod
    def on(self, value: Array) -> Attached:
        """Attach a block of values."""

    @abc.abstractmethod
    def expected_log_prob(self, record: Any) -> tuple[float, float]:
        """Return E[log p] under the record, and the sum of its terms' magnitudes.

        The second bounds the rounding error of the first (in units of machine precision).
        """


class Attached(abc.ABC):
    """A kernel on a block of rows: what the E-step reads and the M-step's record."""

    __slots__ = ()

    @abc.abstractmethod
    def log_density(self) -> Array:
        """Return log p(value | k), ``(K, rows)``; the caller may overwrite it."""

    @abc.abstractmethod
    def record(self, weights: Array) -> Any:
        """Return the record of the block under weights ``(K, rows)``."""


@attrs.frozen(eq=False)
class RowKernel(Kernel):
    """The third tier: the plain two methods."""

    dist: Distribution

    def on(self, value: Array) -> Attached:
        return _AttachedRows(self.dist, value)

    def expected_log_prob(self, record: Rows) -> tuple[float, float]:
        log_prob = self.dist.log_prob(record.value)
        terms = np.multiply(
            record.weights, log_prob, where=record.weights > 0, out=np.zeros_like(log_prob)
        )
        return float(terms.sum()), float(np.abs(terms).sum())


@attrs.frozen(eq=False)
class _AttachedRows(Attached):
    dist: Distribution
    value: Array

    def log_density(self) -> Array:
        with np.errstate(divide="ignore"):
            log_prob = self.dist.log_prob(self.value)
        # A copy: the engine works in place and the array belongs to the plug-in.
        log_density = np.array(np.asarray(log_prob).T, dtype=float, order="C", ndmin=2)
        if log_density.ndim != 2 or log_density.shape[1] != len(self.value):
            raise ModelError(
                f"{type(self.dist).__name__}.log_prob must return an array (n, K), one row for "
                f"each of the {len(self.value)} values, got shape {np.shape(log_prob)}. "
                "Put the rows first and the parents' states last."
            )
        return log_density

    def record(self, weights: Array) -> Rows:
        return Rows(self.value, weights.T.copy())


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
        """Return log h(x), ``(n,)``, or the constant 0."""
        return 0.0

    # -- what follows from the four ------------------------------------------------------------

    def log_prob(self, value: Array) -> Array:
        eta, log_normaliser = self.natural_parameters()
        product = np.tensordot(self.statistics(value), eta, axes=([1], [-1]))  # (n, *parents)
        product -= log_normaliser
        base = self.log_base_measure(value)
        if isinstance(base, np.ndarray):
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

    def from_statistics(self, record: Statistics) -> Self:
        """Return the maximiser; a state without any weight keeps the parameters it has."""
        empty = ~(record.weight > 0)
        if not empty.any():
            return self.from_mean(record.total / record.weight[:, None], record.weight)
        if not self.is_parameterised:
            raise DegenerateError(_nothing_to_fit(empty))
        if empty.all():
            return self.keep(self, empty)
        # Any point of the domain will do for the states that keep what they had.
        mean = np.empty_like(record.total)
        mean[~empty] = record.total[~empty] / record.weight[~empty, None]
        mean[empty] = mean[~empty].mean(axis=0)
        return self.from_mean(mean, record.weight).keep(self, empty)

    def about(self, reference: Any) -> Self:
        """Return the same distribution with statistics taken about another reference."""
        return self

    def statistics_into(self, out: Array, value: Array) -> None:
        """Write the statistics, k-major, into ``out`` ``(p, rows)``."""
        out[...] = self.statistics(value).T

    def kernel(self) -> Kernel:
        return LinearKernel.of(self) if self.is_parameterised else TemplateKernel(self)


def _impossible(eta: Array, total: Array, weight: Array) -> Array:
    """Return where log 0 meets an expected count that is 0 but for rounding: 0 log 0 = 0.

    A probability within rounding of 1 leaves nothing to its complement, whose expected count may
    still be some 1e-17 of a row.
    """
    mask: Array = (eta <= LOG_ZERO) & (total <= 4 * np.finfo(float).eps * weight)
    return mask


def expected_under(
    dist: ExponentialFamily, eta: Array, log_normaliser: Array, record: Statistics
) -> tuple[float, float]:
    """Return eta . total - A . weight + log_base, and the magnitude of its terms.

    This is Q of one node: for an exponential family it needs no row of data.
    """
    if record.reference is not getattr(dist, "reference", None):
        eta, log_normaliser = dist.about(record.reference).natural_parameters()
        eta = np.maximum(eta, LOG_ZERO)
    linear = eta * record.total
    linear[_impossible(eta, record.total, record.weight[:, None])] = 0.0
    normaliser = log_normaliser * record.weight
    size = np.abs(linear).sum() + np.abs(normaliser).sum() + abs(record.log_base)
    return float(linear.sum() - normaliser.sum()) + record.log_base, float(size)


@attrs.frozen(eq=False)
class LinearKernel(Kernel):
    """The first tier: log-densities are one matrix product with the statistics.

    Attributes
    ----------
    dist : ExponentialFamily
    eta : array, (K, p)
        Natural parameters.
    log_normaliser : array, (K,)
    """

    dist: ExponentialFamily
    eta: Array
    log_normaliser: Array

    @classmethod
    def of(cls, dist: ExponentialFamily) -> LinearKernel:
        with np.errstate(divide="ignore"):
            eta, log_normaliser = dist.natural_parameters()
        return cls(dist, np.maximum(eta, LOG_ZERO), np.asarray(log_normaliser))

    def on(self, value: Array) -> Attached:
        return _AttachedLinear(self, value, Stack.of((self,)).on((value,)))

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        return expected_under(self.dist, self.eta, self.log_normaliser, record)


@attrs.frozen(eq=False)
class _AttachedLinear(Attached):
    """A linear kernel by itself, base measure included."""

    kernel: LinearKernel
    value: Array
    stack: AttachedStack

    def log_density(self) -> Array:
        return self.stack.log_density() + self.kernel.dist.log_base_measure(self.value)

    def record(self, weights: Array) -> Statistics:
        (record,) = self.stack.stack.split(self.stack.record(weights))
        assert isinstance(record, Statistics)
        base = np.broadcast_to(self.kernel.dist.log_base_measure(self.value), weights.shape[1:])
        return attrs.evolve(record, log_base=float((weights @ base).sum()))


@attrs.frozen(eq=False)
class TemplateKernel(Kernel):
    """A family without parameters yet: it can only take statistics, for the first M-step."""

    dist: ExponentialFamily

    def on(self, value: Array) -> Attached:
        return _AttachedTemplate(self.dist, value)

    def expected_log_prob(self, record: Statistics) -> tuple[float, float]:
        raise ModelError(_not_parameterised(self.dist))


@attrs.frozen(eq=False)
class _AttachedTemplate(Attached):
    dist: ExponentialFamily
    value: Array

    def log_density(self) -> Array:
        raise ModelError(_not_parameterised(self.dist))

    def record(self, weights: Array) -> Statistics:
        total = weights @ self.dist.statistics(self.value)
        return Statistics(weights.sum(axis=1), total, 0.0, getattr(self.dist, "reference", None))


def _not_parameterised(dist: Distribution) -> str:
    name = type(dist).__name__
    return f"{name} must have parameters to be evaluated, got a template. Fit the model first."


# -- stacks: kernels with the same parents, one matrix product for all -------------------------


@attrs.frozen(eq=False)
class StackRecord:
    """What a stack accumulates: one matrix for all its linear kernels, a record for each other."""

    sums: Array | None  # (K, 1 + p)
    others: tuple[Record, ...]

    def __add__(self, other: StackRecord) -> StackRecord:
        sums = None if self.sums is None or other.sums is None else self.sums + other.sums
        pairs = zip(self.others, other.others, strict=True)
        return StackRecord(sums, tuple(a + b for a, b in pairs))


@attrs.frozen(eq=False)
class Stack:
    """Kernels with the same parents. The statistics of the linear ones stand in one matrix.

    The first row of that matrix is 1, so that its product with the responsibilities also counts
    the rows of each state, and its coefficient carries the log-normalisers. Base measures are left
    out: they are constants of the data.
    """

    kernels: tuple[Kernel, ...]
    coefficients: Array | None  # (K, 1 + p)

    @classmethod
    def of(cls, kernels: tuple[Kernel, ...]) -> Stack:
        linear = [kernel for kernel in kernels if isinstance(kernel, LinearKernel)]
        if not linear:
            return cls(kernels, None)
        normaliser = -np.sum([kernel.log_normaliser for kernel in linear], axis=0)[:, None]
        return cls(kernels, np.concatenate([normaliser, *(k.eta for k in linear)], axis=1))

    @property
    def n_columns(self) -> int:
        """Columns of statistics a row, for the size of a block."""
        return 1 if self.coefficients is None else self.coefficients.shape[1]

    def on(self, values: tuple[Array, ...]) -> AttachedStack:
        """Attach a block of values, one array for each kernel."""
        others = []
        matrix = None
        if self.coefficients is not None:
            matrix = np.empty((self.coefficients.shape[1], len(values[0])))
            matrix[0] = 1.0
        row = 1
        for kernel, value in zip(self.kernels, values, strict=True):
            if matrix is not None and isinstance(kernel, LinearKernel):
                end = row + kernel.eta.shape[1]
                kernel.dist.statistics_into(matrix[row:end], value)
                row = end
            else:
                others.append(kernel.on(value))
        return AttachedStack(self, matrix, tuple(others))

    def split(self, record: StackRecord) -> list[Record]:
        """Return the record of each kernel."""
        others = iter(record.others)
        records: list[Record] = []
        row = 1
        for kernel in self.kernels:
            if record.sums is not None and isinstance(kernel, LinearKernel):
                end = row + kernel.eta.shape[1]
                reference = getattr(kernel.dist, "reference", None)
                total = record.sums[:, row:end]
                records.append(Statistics(record.sums[:, 0], total, 0.0, reference))
                row = end
            else:
                records.append(next(others))
        return records


@attrs.frozen(eq=False)
class AttachedStack:
    """A stack on a block of rows."""

    stack: Stack
    matrix: Array | None  # (1 + p, rows)
    others: tuple[Attached, ...]

    def log_density(self) -> Array:
        """Return the sum of the log-densities, ``(K, rows)``, base measures left out."""
        terms = [other.log_density() for other in self.others]
        if self.matrix is not None:
            assert self.stack.coefficients is not None
            total = self.stack.coefficients @ self.matrix
        else:
            total = terms.pop()
        for term in terms:
            total += term
        return total

    def record(self, weights: Array) -> StackRecord:
        """Return the record under weights ``(K, rows)``."""
        sums = None if self.matrix is None else weights @ self.matrix.T
        return StackRecord(sums, tuple(other.record(weights) for other in self.others))
