r"""Exact posteriors of discrete latents by variable elimination.

Given the data, the joint is a product of factors over the latents, one for each node. Eliminating
the latents one by one,

.. math:: m_v(s) = \log \sum_v \exp \sum_{f \ni v} \log f(v, s), \qquad
          \log p(v \mid s, x) = \sum_{f \ni v} \log f(v, s) - m_v(s),

where s, the separator of v, are the latents that share a factor with it (Koller and Friedman,
Probabilistic Graphical Models, 2009, chapter 9). What is left at the end is log p(x). The
conditionals p(v | s, x) are kept: their product *is* the posterior, a directed graph of its own, to
be read by `Posterior`. Everything is batched over rows, in log space, and costs as much as the
largest clique {v} + s of the moralised graph, whatever the number of latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import attrs
import networkx as nx
import numpy as np
from networkx.algorithms.approximation.treewidth import min_fill_in_heuristic

from latentem.distributions.arrays import Array
from latentem.graph import Structure, directed
from latentem.kernels.softmax import log_normalise


@attrs.frozen
class Factor:
    """A table ``(*states of scope, rows)`` of log-values; its last axis may have length 1."""

    scope: tuple[str, ...]
    table: Array


@attrs.frozen
class Bucket:
    """The elimination of one latent: its clique is the latent and its separator."""

    variable: str
    separator: tuple[str, ...]

    @property
    def clique(self) -> tuple[str, ...]:
        """The latent, then its separator."""
        return (self.variable, *self.separator)


@lru_cache(maxsize=1024)
def _buckets(structure: Structure, latents: tuple[str, ...]) -> tuple[Bucket, ...]:
    """Return the latents in a min-fill order, with their separators."""
    moral = nx.moral_graph(directed(structure)).subgraph(latents)
    neighbours = {name: set(moral[name]) - {name} for name in latents}
    buckets = []
    while neighbours:
        variable = min_fill_in_heuristic(neighbours)
        if variable is None:  # what is left is complete: any order will do
            variable = next(iter(neighbours))
        separator = neighbours.pop(variable)
        for name in separator:
            neighbours[name] |= separator - {name}
            neighbours[name] -= {variable}
        buckets.append(Bucket(variable, tuple(n for n in latents if n in separator)))
    return tuple(buckets)


@attrs.frozen
class Elimination:
    """An elimination order with its cliques.

    Attributes
    ----------
    sizes : dict of str to int
        Number of states of each latent.
    buckets : tuple of Bucket
        In the order of elimination.
    compiled : bool
        Whether to use compiled kernels.
    """

    sizes: dict[str, int]
    buckets: tuple[Bucket, ...]
    compiled: bool = False

    @classmethod
    def of(cls, structure: Structure, sizes: dict[str, int]) -> Elimination:
        """Find a min-fill order on the moralised graph.

        Parameters
        ----------
        structure : tuple of (str, tuple of str)
            The model's graph.
        sizes : dict of str to int
            The latents, and their numbers of states.
        """
        return cls(sizes, _buckets(structure, tuple(sizes)))

    @property
    def largest(self) -> tuple[tuple[str, ...], int]:
        """The largest clique, and the cells a row of its table."""
        cliques = [(bucket.clique, self.cells(bucket.clique)) for bucket in self.buckets]
        return max(cliques, key=lambda pair: pair[1], default=((), 1))

    def cells(self, names: Iterable[str]) -> int:
        """Return the number of joint states of these latents."""
        return math.prod(self.sizes[name] for name in names)

    def place(self, scope: Sequence[str]) -> int | None:
        """Return the bucket that takes a factor of this scope, None for a constant."""
        for i, bucket in enumerate(self.buckets):
            if bucket.variable in scope:
                return i
        return None

    # -- the passes ----------------------------------------------------------------------------

    def sum_product(self, factors: Iterable[Factor]) -> tuple[Array, tuple[Array, ...]]:
        """Return log p(x), ``(rows,)``, and the conditionals p(v | separator, x) in order."""
        conditionals = []

        def reduce(table: Array) -> Array:
            conditionals.append(table)
            return log_normalise(table, compiled=self.compiled)

        return self._eliminate(factors, reduce), tuple(conditionals)

    def max_product(self, factors: Iterable[Factor]) -> tuple[Array, dict[str, Array]]:
        """Return max_z log p(x, z) and the states that attain it, ``(rows,)`` each."""
        best: list[Array] = []

        def reduce(table: Array) -> Array:
            state, value = first_maximum(table)
            best.append(state)
            return value

        value = self._eliminate(factors, reduce)
        states: dict[str, Array] = {}
        for bucket, table in zip(reversed(self.buckets), reversed(best), strict=True):
            states[bucket.variable] = at_states(table, [states[n] for n in bucket.separator])
        n = len(value)
        return value, {name: np.broadcast_to(states[name], n) for name in self.sizes}

    def _eliminate(self, factors: Iterable[Factor], reduce: Callable[[Array], Array]) -> Array:
        pending: list[list[Factor]] = [[] for _ in self.buckets]
        left = np.zeros(1)  # what depends on no latent any more
        for factor in factors:
            place = self.place(factor.scope)
            if place is None:
                left = left + factor.table
            else:
                pending[place].append(factor)
        for bucket, parts in zip(self.buckets, pending, strict=True):
            message = reduce(self._combine(parts, bucket.clique))
            if bucket.separator:
                place = self.place(bucket.separator)
                assert place is not None
                pending[place].append(Factor(bucket.separator, message))
            else:
                left = left + message
        return left

    def _combine(self, factors: list[Factor], clique: tuple[str, ...]) -> Array:
        """Return the sum of the factors over a clique, in an array of its own."""
        tables = [aligned(factor, clique) for factor in factors]
        shape = (*(self.sizes[name] for name in clique), max(t.shape[-1] for t in tables))
        # Work in place in a full-size factor: factors are made for one elimination.
        full = next(
            (i for i, t in enumerate(tables) if t.shape == shape and t.flags.writeable), None
        )
        total = np.zeros(shape) if full is None else tables.pop(full)
        for table in tables:
            total += table
        return total


def aligned(factor: Factor, clique: tuple[str, ...]) -> Array:
    """Return a factor's table with the axes of a clique, in order; absent ones have length 1."""
    if factor.scope == clique:
        return factor.table
    present = [name for name in clique if name in factor.scope]
    axes = [factor.scope.index(name) for name in present]
    table = factor.table.transpose([*axes, len(axes)])
    index = tuple(slice(None) if name in factor.scope else None for name in clique)
    result: Array = table[index]
    return result


def first_maximum(table: Array) -> tuple[Array, Array]:
    """Return argmax and maximum over the first axis; ties go to the first state."""
    state = table.argmax(axis=0)
    return state, np.take_along_axis(table, state[None], axis=0)[0]


def at_states(table: Array, states: Sequence[Array]) -> Array:
    """Return ``table[states..., row]`` for each row; table ``(*states, rows or 1)``."""
    if not states:
        return table
    rows: Any = np.arange(len(states[0])) if table.shape[-1] > 1 else 0
    chosen: Array = table[(*states, rows)]
    return chosen
