"""Maximisation by a general algorithm, over numbers without constraints: no EM in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy import optimize, special

Array = np.ndarray
Theta = Mapping[str, Array]
"""Parameters by node and name, as in ``"x.mean"``; the parents' axes first."""


def _log_ratios(probs: Array) -> Array:
    return np.log(probs[..., 1:] / probs[..., :1])


def _simplex(ratios: Array) -> Array:
    first = np.zeros((*ratios.shape[:-1], 1))
    return special.softmax(np.concatenate([first, ratios], axis=-1), axis=-1)


def _log_root(matrices: Array) -> Array:
    root = np.linalg.cholesky(matrices)
    i, j = np.tril_indices(matrices.shape[-1])
    entries = root[..., i, j]
    return np.where(i == j, np.log(np.where(i == j, entries, 1.0)), entries)


def _from_log_root(entries: Array) -> Array:
    d = int(np.sqrt(2 * entries.shape[-1]))
    i, j = np.tril_indices(d)
    root = np.zeros((*entries.shape[:-1], d, d))
    root[..., i, j] = np.where(i == j, np.exp(np.where(i == j, entries, 0.0)), entries)
    return root @ np.swapaxes(root, -1, -2)


def _same(value: Array) -> Array:
    return value


#: Kinds of parameters: to numbers without constraint, and back.
KINDS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "real": (_same, _same),
    "positive": (np.log, np.exp),
    "probability": (special.logit, special.expit),
    "simplex": (_log_ratios, _simplex),
    "matrix": (_log_root, _from_log_root),
}


def pack(theta: Theta, kinds: Mapping[str, str]) -> Array:
    """The parameters that have a kind, as one vector without constraints."""
    return np.concatenate([np.ravel(KINDS[k][0](np.asarray(theta[n]))) for n, k in kinds.items()])


def unpack(t: Array, like: Theta, kinds: Mapping[str, str]) -> dict[str, Array]:
    """The parameters of a vector, with the shapes of ``like`` and its values for the others."""
    theta = {name: np.asarray(value) for name, value in like.items()}
    start = 0
    for name, kind in kinds.items():
        free, back = KINDS[kind]
        shape = free(theta[name]).shape
        stop = start + int(np.prod(shape))
        theta[name] = back(t[start:stop].reshape(shape))
        start = stop
    return theta


def maximum(
    objective: Callable[[Theta], float], start: Theta, kinds: Mapping[str, str]
) -> tuple[float, dict[str, Array]]:
    """The highest value found from a start, and where."""

    def loss(t: Array) -> float:
        return -objective(unpack(t, start, kinds))

    t = pack(start, kinds)
    for _ in range(2):
        with np.errstate(all="ignore"):  # a step may be far too long at first
            found = optimize.minimize(loss, t, method="BFGS", tol=1e-9)
        t = found.x
    return float(-found.fun), unpack(t, start, kinds)
