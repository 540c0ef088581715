"""The laws of a distribution and of a model, run against anyone's.

`check_distribution` is what the library's own tests call for every family; a plug-in that passes
works in every graph and under every assignment rule. Both functions return quietly when all laws
hold and raise ``AssertionError``, as ``numpy.testing`` does, with a sentence for each that fails.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, stats

from latentem.distributions import Distribution
from latentem.distributions.base import LOG_ZERO, count_parameters, sampler
from latentem.errors import MissingMethodError

Array = NDArray[Any]
Subject = TypeVar("Subject")

# Relative difference of log-densities that must be equal but for rounding.
ROUNDING = 1e-8
# Error allowed in a density's total probability.
QUADRATURE = 1e-6
# Draws for each state when a sampler is compared with its density.
DRAWS = 3000
# Probability with which a right sampler is called wrong.
RARE = 1e-8
# Relative moves of a parameter that must not raise the weighted log-likelihood.
MOVES = (0.02, -0.02, 0.001, -0.001)


def check_distribution(dist: Distribution, value: ArrayLike, *, seed: int = 0) -> None:
    r"""Run the laws of a distribution against ``dist`` on the values ``value``.

    The parameters are those that ``dist.fit`` finds under random weights, so a template and a
    parameterised value are both accepted. The laws:

    - ``log_prob`` is ``(n, K)``, treats each row alone, and integrates (in one dimension) or sums
      (for integers) to one;
    - ``fit`` maximises :math:`\sum_{ik} w_{ik} \log p(x_i \mid k)` among its neighbours and the
      fits of other weights, and does not ignore the weights;
    - an integer weight equals repeated rows; scaling all weights, permuting rows and adding rows of
      zero weight change nothing; permuting states permutes the parameters;
    - the distribution, the values and the weights are left as they were;
    - ``n_parameters`` counts the directions in which fits move;
    - records of blocks of rows add up to the record of all rows;
    - draws of ``sample`` follow ``log_prob``, and a large sample is recovered.

    A law that needs an optional method which is absent is skipped, and so is the integral of an
    improper density (`Prototype`, `Choice`) or of one of several dimensions.

    Parameters
    ----------
    dist : Distribution
        Template or parameterised distribution.
    value : array_like, (n, *event)
        At least 8 values, typical of the family and not all equal.
    seed : int
        Seed of the random weights and draws.

    Raises
    ------
    AssertionError
        If a law fails; one line each.
    ValueError
        If ``value`` has fewer than 8 rows.

    Examples
    --------
    >>> import latentem as lem
    >>> lem.testing.check_distribution(lem.Poisson(), [0, 1, 1, 2, 3, 3, 4, 6, 9])
    """
    values = np.array(value)
    if values.ndim == 0 or len(values) < 8:
        raise ValueError(
            f"check_distribution: value must have at least 8 rows, got shape {values.shape}. "
            "Pass typical values of the family."
        )
    subject = type(dist).__name__
    # Whatever a plug-in raises is a finding to report, so every kind of exception is caught.
    try:
        case = _Case.of(dist, dist.check(values), np.random.default_rng(seed))
    except Exception as error:
        raise AssertionError(f"{subject}: fit {_raised(error)}") from error
    _report(subject, _failures(case, (_shapes,)))
    _report(subject, _failures(case, _LAWS))


# -- what the laws look at -----------------------------------------------------------------------


@attrs.frozen(eq=False)
class _Case:
    """A distribution, values ``(n, *event)``, weights ``(n, K)`` and the fit to both."""

    dist: Distribution
    value: Array
    weights: Array
    fitted: Distribution
    rng: np.random.Generator

    @classmethod
    def of(cls, dist: Distribution, value: Array, rng: np.random.Generator) -> _Case:
        flat, k = _one_parents_axis(dist, value)
        weights = _random_weights(len(value), k, rng)
        return cls(flat, value, weights, flat.fit(value.copy(), weights.copy()), rng)

    @property
    def n(self) -> int:
        return len(self.value)

    @property
    def k(self) -> int:
        return self.weights.shape[1]

    @functools.cached_property
    def moves(self) -> _Moves:
        return _Moves.of(self)

    def fit(self, weights: Array, value: Array | None = None) -> Distribution:
        rows = self.value if value is None else value
        return self.dist.fit(rows.copy(), weights.copy())

    def other_fits(self, count: int) -> list[Distribution]:
        """Fits to other random weights: points of the family known to be legal."""
        return [self.fit(_random_weights(self.n, self.k, self.rng)) for _ in range(count)]

    def log_prob(self, dist: Distribution, value: Array | None = None) -> Array:
        rows = self.value if value is None else value
        with np.errstate(all="ignore"):
            return np.asarray(dist.log_prob(rows.copy()), dtype=float)

    def objective(self, dist: Distribution) -> float:
        return _weighted_sum(self.weights, self.log_prob(dist))

    def same(self, other: Distribution, expected: Array | None = None) -> bool:
        """Whether ``other`` gives the values the fitted (or expected) log-densities."""
        target = self.log_prob(self.fitted) if expected is None else expected
        found = self.log_prob(other)
        return found.shape == target.shape and _close(found, target)


def _random_weights(n: int, k: int, rng: np.random.Generator) -> Array:
    return rng.gamma(2.0, size=(n, k))


def _one_parents_axis(dist: Distribution, value: Array) -> tuple[Distribution, int]:
    """Return the distribution with one parents' axis, and the length that this axis is to have."""
    if dist.is_parameterised:
        parents = np.shape(dist.log_prob(value.copy()))[1:]
        return (dist if len(parents) == 1 else dist.flatten(parents)), math.prod(parents)
    for k in (3, 2, 4, 1, 5, 6):
        try:
            dist.check_parents((k,))
        except ValueError:
            continue
        return dist, k
    raise ValueError(f"{type(dist).__name__} takes none of 1 to 6 states of its parent")


def _weighted_sum(weights: Array, log_prob: Array) -> float:
    return float(
        np.sum(np.multiply(weights, log_prob, where=weights > 0, out=np.zeros_like(weights)))
    )


def _close(found: Array, expected: Array) -> bool:
    return bool(np.allclose(found, expected, rtol=ROUNDING, atol=ROUNDING))


# -- the laws: each yields a sentence for every way in which it fails ------------------------------


def _shapes(case: _Case) -> Iterator[str]:
    fields = _fields(case.fitted)
    for name, array in case.fitted.parameters.items():
        if array is None:
            yield f"fit must return all parameters, got none for `{name}`"
            return
        if name in fields and array.shape[:1] != (case.k,):
            yield (
                f"`{name}` must have the parents' states as its first axis, length {case.k}, got "
                f"shape {array.shape}; put the parents' axes first in parameters"
            )
            return
    shape = case.log_prob(case.fitted).shape
    if shape == (case.k, case.n):
        yield (
            f"log_prob must return rows first, shape (n, K) = {(case.n, case.k)}, got {shape}; "
            "transpose what it returns"
        )
    elif shape != (case.n, case.k):
        yield (
            f"log_prob must return shape (n, K) = {(case.n, case.k)} for {case.n} values and "
            f"{case.k} states, got {shape}"
        )


def _density_is_a_number(case: _Case) -> Iterator[str]:
    log_prob = case.log_prob(case.fitted)
    wrong = np.argwhere(np.isnan(log_prob) | (log_prob == np.inf))
    for i, k in wrong[:1]:
        yield (
            f"log_prob must be a number or -inf, got {log_prob[i, k]} at value {case.value[i]} "
            f"in state {k}"
        )


def _rows_stand_alone(case: _Case) -> Iterator[str]:
    log_prob = case.log_prob(case.fitted)
    for rows in (np.arange(1), np.arange(case.n // 2, case.n)):
        if not _close(case.log_prob(case.fitted, case.value[rows]), log_prob[rows]):
            yield "log_prob must treat each row alone, but its answer depends on the other rows"
            return


def _density_is_normalised(case: _Case) -> Iterator[str]:
    total = _total_probability(case, case.fitted)
    if total is None:
        return
    for k in np.flatnonzero(np.abs(total - 1) > QUADRATURE)[:1]:
        yield f"the density must integrate (or sum) to 1, got {total[k]:.6g} in state {k}"


def _fit_maximises(case: _Case) -> Iterator[str]:
    best = case.objective(case.fitted)
    tolerance = 1e-9 * (1 + _weighted_sum(case.weights, np.abs(case.log_prob(case.fitted))))
    for neighbours in (_single_moves(case), _joint_moves(case), _other_fits(case)):
        gains = [(case.objective(new) - best, words, new) for words, new in neighbours]
        for gain, words, new in sorted(gains, key=lambda found: -found[0])[:10]:
            if gain > tolerance and _equally_normalised(case, new):
                yield (
                    f"fit is not the maximiser: {words} raises the weighted log-likelihood by "
                    f"{gain:.2g}"
                )
                return


def _weights_count(case: _Case) -> Iterator[str]:
    if not _learns(case):
        return
    if all(case.same(other) for other in case.other_fits(3)):
        yield "fit ignores the weights: other weights give the same parameters"
        return
    log_prob = case.log_prob(case.fitted)
    if case.k > 1 and _close(log_prob, log_prob[:, :1]):
        yield (
            "fit ignores which state the weights are for: all states get the same parameters "
            "although their columns of the weights differ"
        )


def _integer_weights_repeat_rows(case: _Case) -> Iterator[str]:
    counts = 1 + np.arange(case.n) % 3
    repeated = case.fit(case.weights.repeat(counts, axis=0), case.value.repeat(counts, axis=0))
    if not case.same(repeated, case.log_prob(case.fit(case.weights * counts[:, None]))):
        yield "an integer weight must equal repeating the row, but fit gives another answer"


def _weights_have_no_unit(case: _Case) -> Iterator[str]:
    for factor in (1e-3, 1e3):
        if not case.same(case.fit(case.weights * factor)):
            yield f"multiplying all weights by {factor:g} must change nothing, but changes the fit"
            return


def _rows_have_no_order(case: _Case) -> Iterator[str]:
    order = case.rng.permutation(case.n)
    if not case.same(case.fit(case.weights[order], case.value[order])):
        yield "permuting the rows must change nothing, but changes the fit"


def _rows_of_zero_weight_do_not_count(case: _Case) -> Iterator[str]:
    rows = np.arange(case.n) % 4 > 0
    without = case.fit(case.weights[rows], case.value[rows])
    if not case.same(case.fit(case.weights * rows[:, None]), case.log_prob(without)):
        yield "rows of zero weight must change nothing, but change the fit"


def _states_have_no_order(case: _Case) -> Iterator[str]:
    given = any(array is not None for array in case.dist.parameters.values())
    if given or not _fields(case.fitted).issuperset(case.fitted.parameters):
        return  # parameters, or families, that are given belong to their states
    order = np.roll(np.arange(case.k), 1)
    try:
        permuted = case.fit(case.weights[:, order])
    except ValueError:
        return
    if not case.same(permuted, case.log_prob(case.fitted)[:, order]):
        yield "permuting the states' weights must permute the parameters, but fit mixes states up"


def _inputs_are_left_alone(case: _Case) -> Iterator[str]:
    value, weights = case.value.copy(), case.weights.copy()
    before = {name: np.copy(a) for name, a in case.fitted.parameters.items() if a is not None}
    with np.errstate(all="ignore"):
        case.fitted.log_prob(value)
    if not np.array_equal(value, case.value):
        yield "log_prob changes its input: the array of values differs afterwards"
        value = case.value.copy()
    case.fitted.fit(value, weights)
    if not np.array_equal(value, case.value):
        yield "fit changes its input: the array of values differs afterwards"
    if not np.array_equal(weights, case.weights):
        yield "fit changes its input: the array of weights differs afterwards"
    for name, array in before.items():
        if not np.array_equal(array, case.fitted.parameters[name]):
            yield f"fit changes `{name}` in place; return a new distribution instead"


def _parameters_are_counted(case: _Case) -> Iterator[str]:
    if not hasattr(case.fitted, "n_parameters") or case.dist.requires_hard:
        return
    count = count_parameters(case.fitted)
    directions = len(case.moves.basis)
    if count != directions and case.fitted.parameters:
        yield (
            f"n_parameters must be the number of free parameters over all {case.k} states, got "
            f"{count} where fits move in {directions} directions"
        )


def _records_add(case: _Case) -> Iterator[str]:
    flat = case.fitted.flatten((case.k,))
    kernel = flat.kernel()
    parts = [
        kernel.on(case.value[start:end].copy()).record(case.weights[start:end].T.copy())
        for start, end in itertools.pairwise([0, 1, case.n // 3, case.n])
    ]
    record = functools.reduce(operator.add, parts)
    if not case.same(flat.update(record).unflatten((case.k,))):
        yield "statistics of blocks of rows must add up to one pass, but give another fit"
    expected, _ = kernel.expected_log_prob(record)
    expected = -math.inf if expected < LOG_ZERO / 10 else expected
    if not _close(np.asarray(expected), np.asarray(case.objective(case.fitted))):
        yield (
            f"statistics and natural parameters must give the weighted log-likelihood "
            f"{case.objective(case.fitted):.10g}, got {expected:.10g}"
        )


def _sampler_agrees(case: _Case) -> Iterator[str]:
    try:
        draw = sampler(case.fitted.flatten((case.k,)))
    except MissingMethodError:
        return
    state = np.arange(DRAWS * case.k) % case.k
    value = np.asarray(draw(np.random.default_rng(0), state))
    shape = (len(state), *case.value.shape[1:])
    if value.shape != shape:
        yield f"sample(rng, state) must return shape (n, *event) = {shape}, got {value.shape}"
        return
    if not np.array_equal(value, draw(np.random.default_rng(0), state)):
        yield "sample must draw from the generator it is given: one seed gave two answers"
    weights = np.equal.outer(state, np.arange(case.k)).astype(float)
    true = _weighted_sum(weights, case.log_prob(case.fitted, value))
    refitted = case.fit(weights, value)
    gain = 2 * (_weighted_sum(weights, case.log_prob(refitted, value)) - true)
    freedom = max(1, len(case.moves.basis))
    if not gain < stats.chi2.isf(RARE, freedom):
        yield (
            f"sample disagrees with log_prob: parameters fitted to {len(state)} draws raise their "
            f"log-likelihood by {gain / 2:.4g}, far more than chance allows"
        )
    elif _frequencies_differ(case, value, state):
        yield (
            "sample disagrees with log_prob: the frequencies of its draws are not the "
            "probabilities that log_prob gives"
        )


_LAWS: tuple[Callable[[_Case], Iterator[str]], ...] = (
    _density_is_a_number,
    _rows_stand_alone,
    _density_is_normalised,
    _fit_maximises,
    _weights_count,
    _integer_weights_repeat_rows,
    _weights_have_no_unit,
    _rows_have_no_order,
    _rows_of_zero_weight_do_not_count,
    _states_have_no_order,
    _inputs_are_left_alone,
    _parameters_are_counted,
    _records_add,
    _sampler_agrees,
)


def _failures(subject: Subject, laws: Sequence[Callable[[Subject], Iterator[str]]]) -> list[str]:
    found = []
    for law in laws:
        try:
            found += list(law(subject))
        except Exception as error:
            found.append(f"{law.__name__.strip('_').replace('_', ' ')}: {_raised(error)}")
    return found


def _raised(error: Exception) -> str:
    return f"raised {type(error).__name__}: {error}"


def _report(subject: str, failures: list[str]) -> None:
    if failures:
        lines = "".join(f"\n  - {failure}." for failure in failures)
        raise AssertionError(f"{subject} breaks {len(failures)} of its laws:{lines}")


# -- the neighbourhood of a fit ------------------------------------------------------------------


@attrs.frozen(eq=False)
class _Moves:
    """The directions in which fits to other weights move the parameters.

    Simplices, symmetric matrices, diagonals and parameters shared between states are linear
    constraints, so a move within the span of these directions keeps to them, whatever they are.

    Attributes
    ----------
    names : tuple of (str, tuple of int)
        Parameter and index of every number.
    centre : array, (p,)
        The parameters of the fit.
    scale : array, (p,)
        How far fits to other weights move each number.
    differences : array, (m, p)
        Other fits minus the fit, in units of ``scale``.
    basis : array, (r, p)
        Orthonormal basis of their span.
    """

    names: tuple[tuple[str, tuple[int, ...]], ...]
    centre: Array
    scale: Array
    differences: Array
    basis: Array

    @classmethod
    def of(cls, case: _Case) -> _Moves:
        parameters = _float_parameters(case.fitted)
        names = tuple(
            (name, i) for name, array in parameters.items() for i in np.ndindex(array.shape)
        )
        centre = _flat(case.fitted)
        others = case.other_fits(min(len(centre) + 3, 100))
        differences = np.array([_flat(other) - centre for other in others])
        scale = np.abs(differences).max(axis=0, initial=0.0)
        moved = scale > 1e-12 * np.abs(centre)
        scaled = np.divide(differences, scale, where=moved, out=np.zeros_like(differences))
        _, size, rows = np.linalg.svd(scaled, full_matrices=False)
        basis = rows[size > 1e-6 * size.max(initial=0.0)]
        return cls(names, centre, np.where(moved, scale, 0.0), scaled, basis)

    def contains(self, direction: Array) -> bool:
        rest = direction - (direction @ self.basis.T) @ self.basis
        return bool(np.linalg.norm(rest) < 1e-6 * np.linalg.norm(direction))


Neighbours = Iterator[tuple[str, Distribution]]


def _single_moves(case: _Case) -> Neighbours:
    """Move one number at a time, where that stays within the family."""
    moves = case.moves
    for i, (name, index) in enumerate(moves.names):
        direction = np.zeros_like(moves.centre)
        direction[i] = 1.0
        if moves.scale[i] and moves.contains(direction):
            size = abs(moves.centre[i]) or moves.scale[i]
            yield from _along(case, f"moving {_element(name, index)} by", direction * size)


def _joint_moves(case: _Case) -> Neighbours:
    """Move the parameters of one state, or all, some of the way to the fit of other weights."""
    moves = case.moves
    states = sorted({(name, index[:1]) for name, index in moves.names})
    for difference in moves.differences[:8]:
        for name, state in states:
            mask = np.array([(n, i[:1]) == (name, state) for n, i in moves.names])
            direction = difference * mask
            if direction.any() and moves.contains(direction):
                words = f"moving {_element(name, state)} towards its value for other weights by"
                yield from _along(case, words, direction * moves.scale)
        words = "moving all parameters towards their values for other weights by"
        yield from _along(case, words, difference * moves.scale)


def _other_fits(case: _Case) -> Neighbours:
    """Take the fit of other weights."""
    for other in case.other_fits(5):
        yield "taking the parameters that fit returns for other weights", other


def _element(name: str, index: tuple[int, ...]) -> str:
    return f"`{name}[{', '.join(map(str, index))}]`" if index else f"`{name}`"


def _along(case: _Case, words: str, direction: Array) -> Neighbours:
    if case.dist.requires_hard:
        return  # prototypes may be confined to rows or levels, so nothing lies close by
    for step in MOVES:
        try:
            moved = _with(case.fitted, case.moves.centre + step * direction)
            legal = not np.isnan(case.log_prob(moved)).any()
        except ValueError:  # outside the domain
            legal = False
        if legal:
            yield f"{words} {100 * step:+g}%", moved


def _fields(dist: Distribution) -> set[str]:
    return {field.name for field in attrs.fields(type(dist))}


def _float_parameters(dist: Distribution) -> dict[str, Array]:
    return {
        name: array
        for name, array in dist.parameters.items()
        if array is not None and array.dtype.kind == "f"
    }


def _flat(dist: Distribution) -> Array:
    return np.concatenate([np.zeros(0), *(a.ravel() for a in _float_parameters(dist).values())])


def _with(dist: Distribution, numbers: Array) -> Distribution:
    """Return the distribution with its parameters, in order, replaced by ``numbers``."""
    parameters = _float_parameters(dist)
    cuts = np.cumsum([array.size for array in parameters.values()])[:-1]
    parts = np.split(numbers, cuts)
    return _replaced(
        dist,
        {
            name: part.reshape(array.shape)
            for (name, array), part in zip(parameters.items(), parts, strict=True)
        },
    )


def _replaced(dist: Distribution, parameters: dict[str, Array]) -> Distribution:
    """Return the distribution with other parameters, those of its cases (`Switch`) included."""
    changes: dict[str, Any] = {}
    for field in attrs.fields(type(dist)):
        inner = getattr(dist, field.name)
        if field.name in parameters:
            changes[field.name] = parameters[field.name]
        elif isinstance(inner, tuple) and inner and isinstance(inner[0], Distribution):
            changes[field.name] = tuple(
                _replaced(case, _below(f"{field.name}[{i}].", parameters))
                for i, case in enumerate(inner)
            )
    return attrs.evolve(dist, **changes)  # type: ignore[misc]


def _below(prefix: str, parameters: dict[str, Array]) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): array
        for name, array in parameters.items()
        if name.startswith(prefix)
    }


def _learns(case: _Case) -> bool:
    if hasattr(case.fitted, "n_parameters"):
        return count_parameters(case.fitted) > 0
    return bool(case.fitted.parameters)


# -- total probability ---------------------------------------------------------------------------


def _total_probability(case: _Case, dist: Distribution) -> Array | None:
    """Return the sum or integral of each state's density, ``(K,)``; None where not feasible."""
    if _is_improper(dist) or math.prod(case.value.shape[1:]) != 1:
        return None
    if not _is_discrete(case.value):
        return _integral(case, dist, -math.inf, math.inf)
    total = _sum(case, dist)
    if case.value.dtype.kind == "f" and np.abs(total - 1).max() > QUADRATURE:
        # Integers may be rounded observations of a continuous variable.
        integral = _integral(case, dist, -math.inf, math.inf)
        return integral if np.abs(integral - 1).max() < np.abs(total - 1).max() else total
    return total


def _equally_normalised(case: _Case, moved: Distribution) -> bool:
    """Whether a neighbour's density has the total of the fit's: else it is not of the family."""
    before, after = _total_probability(case, case.fitted), _total_probability(case, moved)
    return before is None or after is None or bool(np.abs(after - before).max() < QUADRATURE)


def _is_improper(dist: Distribution) -> bool:
    return bool(getattr(dist, "is_improper", False)) or dist.requires_hard


def _is_discrete(value: Array) -> bool:
    return value.dtype.kind in "biu" or bool(np.all(value == np.rint(value)))


def _density(case: _Case, dist: Distribution, value: Array) -> Array:
    """Return the densities of scalar values, ``(n, K)``; zero where there is none."""
    rows = value.reshape(len(value), *case.value.shape[1:])
    return np.nan_to_num(np.exp(case.log_prob(dist, rows)), nan=0.0)


def _integral(case: _Case, dist: Distribution, low: float, high: float) -> Array:
    # Where the mass is, where a support may end, and how far the tails may reach.
    inner = np.quantile(case.value, np.linspace(0, 1, 5))
    reach = np.outer([-1, 1], [0.3, 1, 3, 10]).ravel() * np.ptp(inner)
    breaks = np.unique([0.0, *inner, *(np.median(inner) + reach)])
    points = [point for point in breaks if low < point < high]
    result = integrate.quad_vec(
        lambda x: _density(case, dist, np.array([x]))[0], low, high, points=points, epsabs=1e-9
    )
    return np.asarray(result[0])


def _sum(case: _Case, dist: Distribution) -> Array:
    """Sum over the integers, outwards from the values until nothing is added."""
    if case.value.dtype.kind == "b":
        return _density(case, dist, np.array([False, True])).sum(axis=0)
    low, high = int(case.value.min()), int(case.value.max())
    total = _mass(case, dist, np.arange(low, high + 1))
    for start, sign in ((high + 1, 1), (low - 1, -1)):
        reach = 16
        while reach < 1 << 16:
            added = _mass(case, dist, start + sign * np.arange(reach))
            total += added
            if added.max() < 1e-12:
                break
            start, reach = start + sign * reach, 2 * reach
    return total


def _mass(case: _Case, dist: Distribution, value: Array) -> Array:
    dtype = float if case.value.dtype.kind == "f" else np.int64
    try:
        return _density(case, dist, value.astype(dtype)).sum(axis=0)
    except (ValueError, IndexError):  # some of them are no states of the distribution
        if len(value) == 1:
            return np.zeros(case.k)
        half = len(value) // 2
        return _mass(case, dist, value[:half]) + _mass(case, dist, value[half:])


def _frequencies_differ(case: _Case, value: Array, state: Array) -> bool:
    """Chi-square test of draws ``(n,)`` against the density, for scalars."""
    if _is_improper(case.fitted) or math.prod(case.value.shape[1:]) != 1:
        return False
    flat = value.reshape(-1).astype(float)
    if _is_discrete(case.value) and _is_discrete(value):
        cells = np.unique(flat)
        probability = _density(case, case.fitted, cells.astype(case.value.dtype))  # (m, K)
        cell = np.searchsorted(cells, flat)
    else:
        edges = np.quantile(flat, np.linspace(0, 1, 12)[1:-1])
        bounds = [-math.inf, *edges, math.inf]
        probability = np.array(
            [_integral(case, case.fitted, a, b) for a, b in itertools.pairwise(bounds)]
        )
        cell = np.searchsorted(edges, flat)
    for k in range(case.k):
        count = np.bincount(cell[state == k], minlength=len(probability))
        expected = probability[:, k] * count.sum()
        usual = expected >= 5
        observed = np.append(count[usual], count[~usual].sum())
        predicted = np.append(expected[usual], max(count.sum() - expected[usual].sum(), 1.0))
        excess = np.sum((observed - predicted) ** 2 / predicted)
        if excess > stats.chi2.isf(RARE, max(1, len(observed) - 1)) + 5:
            return True
    return False
