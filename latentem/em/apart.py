"""How far rows are, by the dissimilarities of their nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from latentem.data import Data
from latentem.distributions.arrays import Array
from latentem.em.problem import Problem
from latentem.errors import ModelError
from latentem.parallel import map_blocks

#: Dissimilarities of a slice of rows to some of all rows, ``(m, rows)``.
Far = Callable[[Sequence[int], slice], Array]
#: Rows whose dissimilarities to others are taken together: they stay in a core's cache.
BLOCK = 16_384

T = TypeVar("T")


def how_far(problem: Problem, names: Sequence[str]) -> Far:
    """Return the function that gives the dissimilarity of a block of rows to some rows.

    Of a node without a method of that name it is 1 for different values.
    """
    data, dists = problem.data, problem.theta(renew=True).dists
    values = {name: data.argument(name) for name in names}

    def of_block(name: str, value: Array, seeds: Array) -> Array:
        if dists[name].has_dissimilarity:
            far = dists[name].dissimilarity(value, seeds)
            if np.shape(far) != (len(value), len(seeds)):
                raise ModelError(
                    f"Node '{name}': {type(dists[name]).__name__}.dissimilarity must return a "
                    f"number for each of {len(value)} rows and {len(seeds)} others, shape "
                    f"{(len(value), len(seeds))}, got {np.shape(far)}. Compare every pair.",
                    node=name,
                )
            return far.T
        differs = [(value != seed).reshape(len(value), -1).mean(axis=1) for seed in seeds]
        return np.stack(differs)

    def to_seeds(seeds: Sequence[int], rows: slice) -> Array:
        total = np.zeros((len(seeds), rows.stop - rows.start))
        for name in names:
            value, missing = values[name], data.missing.get(name)
            known = np.ones(len(seeds), dtype=bool) if missing is None else ~missing[seeds]
            if not known.any():
                continue
            far = of_block(name, value[rows], value[np.asarray(seeds)[known]])
            total[known] += far if missing is None else np.where(missing[rows], 0.0, far)
        return total

    return to_seeds


def eligible(data: Data, names: Sequence[str]) -> Array:
    """Return the weights of rows that may be seeds, ``(n,)``: those with a value of every node."""
    weights = data.row_weights / data.row_weights.max()
    complete = weights.copy()
    for name in names:
        if name in data.missing:
            complete[data.missing[name]] = 0.0
    return np.asarray(complete if complete.any() else weights)


def over_blocks(function: Callable[[slice], T], n: int) -> list[T]:
    """Return what a function finds of the blocks of n rows."""
    return list(map_blocks(function, n, 1, BLOCK))
