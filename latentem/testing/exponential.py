"""The laws of what an exponential family is written in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

from latentem.distributions import Array, AuxiliaryFamily, Distribution, ExponentialFamily
from latentem.testing.case import Case
from latentem.testing.probability import log_prob


def methods_of_rows(dist: Distribution) -> dict[str, Callable[[Array], Array]]:
    """Return the methods that map rows to rows, by name; the cause before what follows from it."""
    methods: dict[str, Callable[[Array], Array]] = {}
    plain = type(dist).kernel in (ExponentialFamily.kernel, AuxiliaryFamily.kernel)
    if isinstance(dist, ExponentialFamily) and plain:
        methods["statistics"] = dist.statistics
        methods["log_base_measure"] = lambda value: np.broadcast_to(
            dist.log_base_measure(value), len(value)
        )
    if isinstance(dist, AuxiliaryFamily) and plain:
        methods["expected_statistics"] = lambda value: dist.expected_statistics(value)[0]
    return methods | {"log_prob": functools.partial(log_prob, dist)}


def statistics_of_wrong_shape(dist: Distribution, value: Array) -> str:
    """Return what is wrong with the shape of a family's statistics, if that is."""
    if not isinstance(dist, ExponentialFamily):
        return ""
    # It is asked after an error, whose cause may be that it raises one itself.
    try:
        shape = np.shape(dist.statistics(value.copy()))
    except Exception:
        return ""
    if len(shape) == 2 and shape[0] == len(value):
        return ""
    return (
        f"; statistics must return a row for each value, shape (n, p) with n = {len(value)}, got "
        f"{shape}"
    )


def suspect(case: Case) -> str:
    """Return which method to look at if the density of an exponential family has a wrong total."""
    if not _is_exponential(case):
        return ""
    if list(natural_parameters_agree(case)):
        return "; look at natural_parameters first, which disagree with from_mean"
    return (
        "; look at log_base_measure first, as natural_parameters agree with from_mean (a constant "
        "factor may be missing in either)"
    )


def _is_exponential(case: Case) -> bool:
    """Return whether the family is exponential as it stands, by the four methods alone."""
    dist = case.fitted
    return (
        isinstance(dist, ExponentialFamily)
        and not isinstance(dist, AuxiliaryFamily)
        and not dist.requires_hard
        and type(dist).kernel is ExponentialFamily.kernel
    )


def natural_parameters_agree(case: Case) -> Iterator[str]:
    """Check that from_mean maximises eta . T - A, the log-likelihood in natural parameters."""
    dist = case.fitted
    if not _is_exponential(case) or dist.has_prior:
        return
    assert isinstance(dist, ExponentialFamily)
    weight = case.weights.sum(axis=0)
    total = case.weights.T @ dist.statistics(case.value.copy())

    def objective(moved: Distribution) -> float:
        assert isinstance(moved, ExponentialFamily)
        with np.errstate(all="ignore"):
            eta, log_normaliser = moved.natural_parameters()
            return float(np.sum(eta * total) - np.sum(log_normaliser * weight))

    best = objective(dist)
    gains = [(objective(moved) - best, words) for words, moved in case.moves.single()]
    gain, words = max(gains, default=(0.0, ""))
    if gain > 1e-9 * (1 + abs(best)):
        yield (
            f"natural_parameters and from_mean disagree: {words} raises eta . T - A at the mean "
            f"statistics that from_mean was given, by {gain:.2g}"
        )


def auxiliary_posterior_is_right(case: Case) -> Iterator[str]:
    r"""Check Fisher's identity: log p(x) and eta . E[T] - A have the same slope at theta.

    That is so if and only if the expectation is under p(u | x, theta).
    """
    dist = case.fitted
    if not isinstance(dist, AuxiliaryFamily) or type(dist).kernel is not AuxiliaryFamily.kernel:
        return
    expected, _ = dist.expected_statistics(case.value.copy())

    def complete(moved: Distribution) -> Array:
        assert isinstance(moved, AuxiliaryFamily)
        eta, log_normaliser = moved.natural_parameters()
        return np.asarray(np.einsum("nkp,kp->nk", expected, eta) - log_normaliser)

    for element, up, down, step in case.moves.tangents():
        slope = (case.log_prob(up) - case.log_prob(down)) / step
        found = (complete(up) - complete(down)) / step
        error = np.abs(found - slope)
        i, k = np.unravel_index(np.nanargmax(error), error.shape)
        if error[i, k] > 1e-4 * (1 + np.abs(slope).max()):
            yield (
                "expected_statistics must be expectations under p(u | x) at the parameters of the "
                f"distribution itself: moving {element}, eta . E[T] - A changes at a rate of "
                f"{found[i, k]:.4g} and log_prob of {slope[i, k]:.4g}, at value {case.value[i]} in "
                f"state {k}"
            )
            return
