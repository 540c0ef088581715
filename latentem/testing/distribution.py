"""The laws of a distribution."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from latentem.distributions import Array, Distribution
from latentem.distributions.arrays import LOG_ZERO
from latentem.distributions.base import Inputs, count_parameters
from latentem.distributions.checks import naming
from latentem.errors import DataError, MissingMethodError
from latentem.testing.case import DRAWS, MODERATE, SMALL, Case, weighted_sum
from latentem.testing.exponential import (
    auxiliary_posterior_is_right,
    methods_of_rows,
    natural_parameters_agree,
    statistics_of_wrong_shape,
    suspect,
)
from latentem.testing.neighbours import fields
from latentem.testing.probability import RARE
from latentem.testing.report import close, failures, raised, report

# Error allowed in a density's total probability.
QUADRATURE = 1e-6


def check_distribution(
    dist: Distribution,
    value: ArrayLike,
    *,
    inputs: ArrayLike | Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
) -> None:
    r"""Run the laws of a distribution against ``dist`` on the values ``value``.

    The parameters are those that ``dist.fit`` finds under random weights, so a template and a
    parameterised value are both accepted. The laws:

    - ``log_prob`` is ``(n, K)``, treats each row alone, and integrates (in one dimension) or sums
      (for integers) to one;
    - permuting the first axis of the parameters permutes the states of ``log_prob``;
    - in an exponential family ``natural_parameters`` and ``from_mean`` agree, and in an auxiliary
      one ``expected_statistics`` are those of p(u | x);
    - ``fit`` maximises :math:`\sum_{ik} w_{ik} \log p(x_i \mid k)` among its neighbours and the
      fits of other weights, does not ignore the weights, and gives each state its own;
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
    inputs : array_like, (n, p), or mapping of str to such, optional
        Covariates of a regression, by name if an option names one of them: an offset, say. Without
        them, all columns of ``value`` but the last are.
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
    given = None
    if dist.takes_covariates:
        given, values, names = _apart(values, inputs)
    try:
        if given is not None and getattr(dist, "inputs", None) is None:
            with naming(subject, "inputs"):
                dist = dist.with_inputs(names)
        with naming(subject):
            values = dist.check(values)
    except DataError as error:
        by_name = given is None or isinstance(inputs, Mapping)
        remedy = "" if by_name else " Here, pass inputs={name: array, ...}."
        raise AssertionError(f"{error}{remedy}") from error
    # Whatever a plug-in raises is a finding to report, so every kind of exception is caught.
    try:
        case = Case.of(dist, values, given, np.random.default_rng(seed))
    except Exception as error:
        cause = statistics_of_wrong_shape(dist, values)
        raise AssertionError(f"{subject}: fit {raised(error)}{cause}") from error
    # What breaks laws of an earlier group leaves the later ones without a meaning.
    for laws in (_LAWS_OF_SHAPE, _FIRST_LAWS, _LAWS):
        report(subject, failures(case, laws))


def _apart(
    values: Array, inputs: ArrayLike | Mapping[str, ArrayLike] | None
) -> tuple[Array, Array, Inputs]:
    """Return the covariates ``(n, p)`` and the values of a regression, and their names."""
    if inputs is None:
        if values.ndim != 2 or values.shape[1] < 2:
            raise ValueError(
                "check_distribution: value must have the covariates' columns before its own "
                f"because it is for a regression, got shape {values.shape}. Pass inputs=..."
            )
        inputs, values = values[:, :-1], values[:, -1]
    by_name = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    given = [np.array(own, dtype=float).reshape(len(values), -1) for own in by_name.values()]
    widths = tuple(own.shape[1] for own in given)
    return np.concatenate(given, axis=1), values, Inputs(tuple(by_name), widths)


# -- the laws --------------------------------------------------------------------------------


def shapes(case: Case) -> Iterator[str]:
    """Check that log_prob is ``(n, K)`` and that parameters have the parents' axis first."""
    own = fields(case.fitted)
    for name, array in case.fitted.parameters.items():
        if array is None:
            yield f"fit must return all parameters, got none for `{name}`"
            return
        if name in own and array.shape[:1] != (case.k,):
            yield (
                f"`{name}` must have the parents' states as its first axis, length {case.k}, got "
                f"shape {array.shape}; put the parents' axes first in parameters"
            )
            return
    # Whatever a plug-in raises is a finding to report, so every kind of exception is caught.
    try:
        shape = case.log_prob(case.fitted).shape
    except Exception as error:
        known = case.fitted.parameters.items()
        found = ", ".join(f"`{name}` {a.shape}" for name, a in known if a is not None)
        yield (
            f"log_prob {raised(error)}; it was given {case.n} values, and the parameters that fit "
            f"returned for {case.k} states have these shapes: {found}"
        )
        return
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


def density_is_a_number(case: Case) -> Iterator[str]:
    """Check that log_prob is neither NaN nor infinite."""
    density = case.log_prob(case.fitted)
    wrong = np.argwhere(np.isnan(density) | (density == np.inf))
    for i, k in wrong[:1]:
        yield (
            f"log_prob must be a number or -inf, got {density[i, k]} at value {case.value[i]} "
            f"in state {k}"
        )


def rows_stand_alone(case: Case) -> Iterator[str]:
    """Check that what is computed of a row does not depend on other rows."""
    for name, method in methods_of_rows(case.fitted).items():
        whole = method(case.value.copy())
        for rows in (np.arange(1), np.arange(case.n // 2, case.n)):
            if not close(method(case.value[rows]), whole[rows]):
                yield (
                    f"{name} must treat each row alone, but its answer depends on the other rows; "
                    "take nothing from them, such as their mean"
                )
                break


def parents_come_first(case: Case) -> Iterator[str]:
    """Check that the first axis of the parameters is the one of the states in log_prob."""
    order = np.roll(np.arange(case.k), 1)
    expected = case.log_prob(case.fitted)[:, order]
    if not case.same(case.fitted.permuted_parents([order]), expected):
        yield (
            "permuting the first axis of the parameters must permute the columns of log_prob, but "
            "does not; put the parents' axes first in parameters"
        )


def density_is_normalised(case: Case) -> Iterator[str]:
    """Check that the density integrates or sums to one."""
    total = case.total_probability(case.fitted)
    if total is None:
        return
    for k in np.flatnonzero(~(np.abs(total - 1) <= QUADRATURE))[:1]:
        yield (
            f"the density must integrate (or sum) to 1, got {total[k]:.6g} in state {k}"
            + suspect(case)
        )


def fit_maximises(case: Case) -> Iterator[str]:
    """Check that no legal parameters nearby have a larger weighted log-likelihood."""
    best = case.objective(case.fitted)
    tolerance = 1e-9 * (1 + weighted_sum(case.weights, np.abs(case.log_prob(case.fitted))))
    words = "taking the parameters that fit returns for other weights"
    nearby = [case.nearby_fits(size) for size in (MODERATE, MODERATE, SMALL)]
    others = itertools.chain(case.others, *nearby)
    neighbourhoods = [iter([(words, other) for other in others])]
    if not case.dist.requires_hard:  # prototypes may be confined to rows or levels
        neighbourhoods = [case.moves.single(), case.moves.joint(), *neighbourhoods]
    for neighbours in neighbourhoods:
        gains = [(_gain(case, new, best), words, new) for words, new in neighbours]
        for gain, words, new in sorted(gains, key=lambda found: -found[0])[:10]:
            if gain > tolerance and _equally_normalised(case, new):
                yield (
                    f"fit is not the maximiser: {words} raises the weighted log-likelihood by "
                    f"{gain:.2g}"
                )
                return


def _gain(case: Case, moved: Distribution, best: float) -> float:
    try:
        gain = case.objective(moved) - best
    except ValueError:  # outside the domain
        return -math.inf
    return -math.inf if math.isnan(gain) else gain


def _equally_normalised(case: Case, moved: Distribution) -> bool:
    """Return whether the density keeps its total: a neighbour that does not is no member."""
    before = case.total_probability(case.fitted)
    after = case.total_probability(moved)
    return before is None or after is None or bool(np.abs(after - before).max() < QUADRATURE)


def _learns(case: Case) -> bool:
    if hasattr(case.fitted, "n_parameters"):
        return count_parameters(case.fitted) > 0
    return bool(case.fitted.parameters)


def weights_count(case: Case) -> Iterator[str]:
    """Check that the weights, and the state that they are for, are not ignored."""
    if not _learns(case):
        return
    others = case.others
    if all(case.same(other) for other in others):  # as extremes that many rows share
        others = case.fits_to_few
    if all(case.same(other) for other in others):
        yield "fit ignores the weights: other weights give the same parameters"
        return
    densities = [case.log_prob(dist) for dist in (case.fitted, *others)]
    if case.k > 1 and all(close(density, density[:, :1]) for density in densities):
        yield (
            "fit ignores which state the weights are for: all states get the same parameters "
            "although their columns of the weights differ"
        )
        return
    yield from _weights_are_of_their_state(case)


def _weights_are_of_their_state(case: Case) -> Iterator[str]:
    """Check that other weights of one state are not taken for another state's."""
    before = case.log_prob(case.fitted)
    for k in range(case.k):
        weights = case.weights.copy()
        weights[:, k] *= case.rng.random(case.n) < 0.5
        try:
            density = case.log_prob(case.fit(weights))
        except (ValueError, ArithmeticError):  # too few rows are left
            continue
        changed = np.array([not close(*pair) for pair in zip(density.T, before.T, strict=True)])
        if changed.any() and not changed[k]:
            yield (
                f"fit takes the weights of state {k} for those of state {changed.argmax()}: "
                "changing them changes that state's parameters and not its own; column k of the "
                "weights belongs to state k"
            )
            return


def integer_weights_repeat_rows(case: Case) -> Iterator[str]:
    """Check that an integer weight equals repeated rows."""
    counts = 1 + np.arange(case.n) % 3
    repeated = case.fit(case.weights.repeat(counts, axis=0), case.value.repeat(counts, axis=0))
    if not case.same(repeated, case.log_prob(case.fit(case.weights * counts[:, None]))):
        yield "an integer weight must equal repeating the row, but fit gives another answer"


def weights_have_no_unit(case: Case) -> Iterator[str]:
    """Check that scaling all weights changes nothing."""
    if case.dist.has_prior:
        return  # which is worth a number of rows
    for factor in (1e-3, 1e3):
        if not case.same(case.fit(case.weights * factor)):
            yield f"multiplying all weights by {factor:g} must change nothing, but changes the fit"
            return


def rows_have_no_order(case: Case) -> Iterator[str]:
    """Check that permuting the rows changes nothing."""
    order = case.rng.permutation(case.n)
    if not case.same(case.fit(case.weights[order], case.value[order])):
        yield "permuting the rows must change nothing, but changes the fit"


def rows_of_zero_weight_do_not_count(case: Case) -> Iterator[str]:
    """Check that rows of zero weight change nothing."""
    rows = np.arange(case.n) % 4 > 0
    without = case.fit(case.weights[rows], case.value[rows])
    if not case.same(case.fit(case.weights * rows[:, None]), case.log_prob(without)):
        yield "rows of zero weight must change nothing, but change the fit"


def states_have_no_order(case: Case) -> Iterator[str]:
    """Check that permuting the states permutes the parameters."""
    given = any(array is not None for array in case.dist.parameters.values())
    if given or not fields(case.fitted).issuperset(case.fitted.parameters):
        return  # parameters, or families, that are given belong to their states
    order = np.roll(np.arange(case.k), 1)
    try:
        permuted = case.fit(case.weights[:, order])
    except ValueError:
        return
    if not case.same(permuted, case.log_prob(case.fitted)[:, order]):
        yield "permuting the states' weights must permute the parameters, but fit mixes states up"


def inputs_are_left_alone(case: Case) -> Iterator[str]:
    """Check that values, weights and the distribution stay as they were."""
    value = case.value.copy()
    before = {name: np.copy(a) for name, a in case.fitted.parameters.items() if a is not None}
    with np.errstate(all="ignore"):
        case.fitted.log_prob(value)
    if not np.array_equal(value, case.value):
        yield "log_prob changes its input: the array of values differs afterwards"
        value = case.value.copy()
    weights = case.weights[::-1].copy()  # such that the parameters are others
    case.fitted.fit(value, weights)
    if not np.array_equal(value, case.value):
        yield "fit changes its input: the array of values differs afterwards"
    if not np.array_equal(weights, case.weights[::-1]):
        yield "fit changes its input: the array of weights differs afterwards"
    for name, array in before.items():
        if not np.array_equal(array, np.asarray(case.fitted.parameters[name])):
            yield f"fit changes `{name}` in place; return a new distribution instead"


def parameters_are_counted(case: Case) -> Iterator[str]:
    """Check that n_parameters is the dimension of the set of fits."""
    if not hasattr(case.fitted, "n_parameters") or case.dist.requires_hard:
        return
    count = count_parameters(case.fitted)
    directions = len(case.moves.basis)
    if count != directions and case.moves.is_counted and case.fitted.parameters:
        yield (
            f"n_parameters must be the number of free parameters over all {case.k} states, got "
            f"{count} where fits move in {directions} directions"
        )


def records_add(case: Case) -> Iterator[str]:
    """Check that records of blocks add up to one pass, and hold the log-likelihood."""
    kernel = case.fitted.kernel()
    parts = [
        kernel.on(case.value[start:end].copy()).record(case.weights[start:end].T.copy())
        for start, end in itertools.pairwise([0, 1, case.n // 3, case.n])
    ]
    record = functools.reduce(operator.add, parts)
    if not case.same(case.fitted.update(record)):
        yield "statistics of blocks of rows must add up to one pass, but give another fit"
    expected, _ = kernel.expected_log_prob(record)
    expected = -math.inf if expected < LOG_ZERO / 10 else expected
    log_likelihood = case.log_likelihood(case.fitted)
    if not close(expected, log_likelihood):
        yield (
            f"statistics and natural parameters must give the weighted log-likelihood "
            f"{log_likelihood:.10g}, got {expected:.10g}"
        )


def sampler_agrees(case: Case) -> Iterator[str]:
    """Check that draws follow log_prob, and that a large sample is recovered."""
    try:
        state, value = case.draw(DRAWS)
    except MissingMethodError:
        return
    shape, found = (len(state), *case.own(case.value).shape[1:]), case.own(value).shape
    if found != shape:
        arguments = "rng, state" if case.inputs is None else "rng, state, inputs"
        yield f"sample({arguments}) must return shape (n, *event) = {shape}, got {found}"
        return
    if not np.array_equal(value, case.draw(DRAWS)[1]):
        yield "sample must draw from the generator it is given: one seed gave two answers"
    weights = np.equal.outer(state, np.arange(case.k)).astype(float)
    true = weighted_sum(weights, case.log_prob(case.apart, value))
    refitted = case.fit(weights, value)
    gain = 2 * (weighted_sum(weights, case.log_prob(refitted, value)) - true)
    freedom = max(1, len(case.moves.basis))
    if not gain < stats.chi2.isf(RARE, freedom):
        yield (
            f"sample disagrees with log_prob: parameters fitted to {len(state)} draws raise their "
            f"log-likelihood by {gain / 2:.4g}, far more than chance allows"
        )
    elif case.frequencies_differ():
        yield (
            "sample disagrees with log_prob: the frequencies of its draws are not the "
            "probabilities that log_prob gives"
        )


_LAWS_OF_SHAPE: tuple[Callable[[Case], Iterator[str]], ...] = (shapes,)
_FIRST_LAWS: tuple[Callable[[Case], Iterator[str]], ...] = (
    inputs_are_left_alone,
    density_is_a_number,
    rows_stand_alone,
    parents_come_first,
)
_LAWS: tuple[Callable[[Case], Iterator[str]], ...] = (
    density_is_normalised,
    natural_parameters_agree,
    auxiliary_posterior_is_right,
    fit_maximises,
    weights_count,
    integer_weights_repeat_rows,
    weights_have_no_unit,
    rows_have_no_order,
    rows_of_zero_weight_do_not_count,
    states_have_no_order,
    parameters_are_counted,
    records_add,
    sampler_agrees,
)
