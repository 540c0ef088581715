"""Maximisers of concave log-likelihoods of linear predictors, for all states at once."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from latentem.distributions.arrays import Array

#: Steps, and halvings of one, after which what is found is as good as it gets.
MOST_STEPS = 200
MOST_HALVINGS = 60


@attrs.frozen(eq=False)
class Curve:
    """Log-likelihoods of rows as functions of their predictors, ``(n, K)`` each.

    Attributes
    ----------
    value, slope : array
        Without constants of the data; the slope by the predictor.
    curvature : array
        Minus the second derivative, which is not negative.
    """

    value: Array
    slope: Array
    curvature: Array


def solve_singular(square: Array, right: Array) -> Array:
    """Return the smallest solutions x ``(K, q)`` of square x = right, matrices ``(K, q, q)``."""
    values, vectors = np.linalg.eigh(square)
    kept = values > values.shape[-1] * np.finfo(float).eps * values[..., -1:]
    inverse = np.where(kept, 1.0, 0.0) / np.where(kept, values, 1.0)
    within = (np.swapaxes(vectors, -1, -2) @ right[..., None])[..., 0]
    solution: Array = (vectors @ (inverse * within)[..., None])[..., 0]
    return solution


def smallest(design: Array, weights: Array, beta: Array) -> tuple[Array, Array]:
    """Return the smallest slopes with the same predictors, and for which states there are others.

    Parameters
    ----------
    design : array, (n, q)
        Ones, and standardised covariates.
    weights : array, (n, K)
        Predictors are to stay in the rows that have some.
    beta : array, (K, ..., q)
        An intercept, and slopes.

    Returns
    -------
    array, (K, ..., q)
    array, (K,)
    """
    made, collinear = np.array(beta), np.zeros(len(beta), dtype=bool)
    z, p = design[:, 1:], design.shape[1] - 1
    for k, weight in enumerate(weights.T):
        if not weight.any() or not p:
            continue
        share = weight / weight.sum()
        centre = share @ z
        apart = z - centre
        values, vectors = np.linalg.eigh(apart.T @ (share[:, None] * apart))
        # Moments of covariates, whose spread is 1, are rounded: smaller eigenvalues may be 0.
        kept = values > 4 * p * np.finfo(float).eps * max(1.0, values.sum() + centre @ centre)
        collinear[k] = not kept.all()
        slopes = beta[k, ..., 1:] @ vectors[:, kept] @ vectors[:, kept].T
        if collinear[k]:
            made[k, ..., 0] += (beta[k, ..., 1:] - slopes) @ centre
            made[k, ..., 1:] = slopes
    return made, collinear


def maximise_predictors(
    curve: Callable[[Array], Curve], design: Array, weights: Array, start: Array
) -> tuple[Array, Array]:
    r"""Return the coefficients of linear predictors that maximise weighted log-likelihoods.

    Newton's method, which for canonical links is iteratively reweighted least squares,

    .. math:: \beta \leftarrow \beta + t \, (D^\top W D)^{-1} D^\top (r \ell'), \qquad
              W = \mathrm{diag}(-r \ell'')

    with t = 1, halved until the log-likelihood does not fall: it never does. It ends where a step
    gains nothing but rounding, so also where the maximum is at infinity. Where covariates are
    collinear the smallest of all maxima is returned.

    Parameters
    ----------
    curve : callable
        The log-likelihoods at predictors ``(n, K)``, concave in each.
    design : array, (n, q)
    weights : array, (n, K)
    start : array, (K, q)

    Returns
    -------
    array, (K, q)
    array, (K,)
        Where covariates are collinear.

    References
    ----------
    McCullagh and Nelder, Generalized Linear Models, 2nd ed., 1989, section 2.5.
    """

    def total(at: Curve) -> Array:
        terms = np.multiply(weights, at.value, where=weights > 0, out=np.zeros(weights.shape))
        return np.asarray(terms.sum(axis=0))

    with np.errstate(over="ignore", invalid="ignore"):
        beta = _climbed(curve, total, design, weights, np.array(start, dtype=float))
        smaller, collinear = smallest(design, weights, beta)
        if collinear.any():
            before, after = (total(curve(design @ each.T)) for each in (beta, smaller))
            fine = after >= before - _rounding(weights, before)
            collinear &= fine
            beta = np.where(collinear[:, None], smaller, beta)
    return beta, collinear


def _rounding(weights: Array, objective: Array) -> Array:
    """Return by how much log-likelihoods may differ from rounding alone."""
    return np.asarray(4 * np.finfo(float).eps * (weights.sum(axis=0) + np.abs(objective)))


def _climbed(
    curve: Callable[[Array], Curve],
    total: Callable[[Curve], Array],
    design: Array,
    weights: Array,
    beta: Array,
) -> Array:
    """Return the coefficients at which Newton's method ends."""
    here = curve(design @ beta.T)
    objective = total(here)
    for _ in range(MOST_STEPS):
        gradient = (design.T @ (weights * here.slope)).T
        information = np.stack([design.T @ (w[:, None] * design)
                                for w in (weights * here.curvature).T])  # fmt: skip
        step = solve_singular(information, gradient)
        gain = 0.5 * np.einsum("kq,kq->k", gradient, step)
        allowed = _rounding(weights, objective)
        moving = gain > allowed
        if not moving.any():
            # What rounding hides from the likelihood the gradient still sees.
            last = beta + np.where(np.isfinite(step), step, 0.0)
            fine = total(curve(design @ last.T)) >= objective - allowed
            return np.where(fine[:, None], last, beta)
        t = np.where(moving, 1.0, 0.0)
        for _ in range(MOST_HALVINGS):
            trial = beta + t[:, None] * step
            there = curve(design @ trial.T)
            reached = total(there)
            worse = ~(reached >= objective) & (t > 0)
            if not worse.any():
                break
            t[worse] *= 0.5
        else:
            t[worse] = 0.0
            trial = beta + t[:, None] * step
            there = curve(design @ trial.T)
            reached = total(there)
        if not (t > 0).any():
            break
        beta, here, objective = trial, there, reached
    return beta
