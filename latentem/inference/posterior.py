"""The posterior p(Z | X, θ) of discrete latents, as something one can ask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.errors import ModelError
from latentem.inference.elimination import Bucket, Elimination, Factor, at_states
from latentem.seeds import generator


@attrs.frozen(eq=False, slots=False, repr=False)
class Posterior:
    r"""The exact posterior of the latents given each row of data.

    It is held as a directed graph of its own: conditionals of each latent given its separator,

    .. math:: p(z \mid x) = \prod_v p(z_v \mid z_{s(v)}, x)

    so that independent latents stay independent.

    Attributes
    ----------
    elimination : Elimination
        The latents in order, each with its separator.
    conditionals : tuple of array
        For each latent p(v | separator, x), ``(states of v, *states of separator, n)``; the last
        axis has length 1 where the conditional is the same for all rows.
    n : int
        Number of rows.
    weights : array, (n,), or None
        Weights of the rows.
    objective : array, (n,), or None
        The terms of the objective F, row by row: log p(x) for soft assignment.
    evidence : array, (n,), or None
        log p(x), row by row, where the assignment computes it.
    """

    elimination: Elimination
    conditionals: tuple[Array, ...]
    n: int
    weights: Array | None = None
    objective: Array | None = None
    evidence: Array | None = None

    @classmethod
    def independent(cls, tables: dict[str, Array], n: int) -> Self:
        """Return a posterior under which the latents are independent.

        Parameters
        ----------
        tables : dict of str to array, (states, n)
            Probabilities of the states of each latent.
        n : int
            Number of rows.
        """
        sizes = {name: len(table) for name, table in tables.items()}
        buckets = tuple(Bucket(name, ()) for name in tables)
        return cls(Elimination(sizes, buckets), tuple(tables.values()), n)

    @classmethod
    def certain(cls, states: dict[str, Array], sizes: dict[str, int], n: int) -> Self:
        """Return the posterior that is certain of the states ``(n,)`` of each latent."""
        return cls.independent({name: one_hot(states[name], sizes[name]) for name in sizes}, n)

    def __getitem__(self, rows: int | slice | Sequence[int] | Array) -> Self:
        """Return the posterior of some rows.

        Parameters
        ----------
        rows : int, slice, or array of int or of bool, (m,) or (n,)
            One row, a range of rows, rows by number, or a mask of rows.

        Raises
        ------
        ModelError
            If these are no rows.
        IndexError
            If a row is beyond the last.
        """
        if not isinstance(rows, slice):
            rows = _row_numbers(rows, self.n)

        def cut(array: Array | None) -> Array | None:
            return array if array is None or array.shape[-1] == 1 else array[..., rows]

        return attrs.evolve(
            self,
            conditionals=tuple(
                table if table.shape[-1] == 1 else table[..., rows] for table in self.conditionals
            ),
            n=len(range(*rows.indices(self.n))) if isinstance(rows, slice) else len(rows),
            weights=cut(self.weights),
            objective=cut(self.objective),
            evidence=cut(self.evidence),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The latents."""
        return tuple(self.elimination.sizes)

    @property
    def log_evidence(self) -> Array:
        """Log p(x | θ) of each row, ``(n,)``.

        Raises
        ------
        ModelError
            If the posterior does not come from a sum over the latents (hard assignment, a start).
        """
        if self.evidence is None:
            raise ModelError(
                "log_evidence must come from an exact sum over the latents, got a posterior of "
                "hard assignment or a start. Call e_step(model, data); prototypes have none."
            )
        return np.broadcast_to(self.evidence, self.n)

    @property
    def row_weights(self) -> Array:
        """The weights of the rows, ``(n,)``."""
        return np.ones(self.n) if self.weights is None else self.weights

    @cached_property
    def _beliefs(self) -> tuple[Array, ...]:
        """p(v, separator | x) for each latent, axes as in the conditionals."""
        beliefs: dict[int, Array] = {}
        buckets = self.elimination.buckets
        for i in reversed(range(len(buckets))):
            separator = buckets[i].separator
            if separator:
                parent = self.elimination.place(separator)
                assert parent is not None
                marginal = _marginalised(beliefs[parent], buckets[parent].clique, separator)
                beliefs[i] = self.conditionals[i] * marginal
            else:
                beliefs[i] = self.conditionals[i]
        return tuple(beliefs[i] for i in range(len(buckets)))

    def table(self, names: Sequence[str]) -> Array:
        """Return p(names | x), k-major: ``(*states, n)``, its last axis 1 if equal for all rows."""
        for bucket, belief in zip(self.elimination.buckets, self._beliefs, strict=True):
            if set(names) <= set(bucket.clique):
                return _marginalised(belief, bucket.clique, names)
        return self._contract(names)

    def _contract(self, names: Sequence[str]) -> Array:
        """Sum the product of the conditionals over all latents but ``names``."""
        if not names:
            return np.ones(1)
        needed = set(names)
        factors: list[tuple[tuple[str, ...], Array]] = []
        for bucket, table in zip(self.elimination.buckets, self.conditionals, strict=True):
            if bucket.variable in needed:  # its separator comes later in the order
                needed |= set(bucket.separator)
                factors.append((bucket.clique, table))
        for bucket in self.elimination.buckets:
            variable = bucket.variable
            if variable in needed and variable not in names:
                touched = [factor for factor in factors if variable in factor[0]]
                scopes = dict.fromkeys(name for scope, _ in touched for name in scope)
                scope = tuple(name for name in scopes if name != variable)
                factors = [factor for factor in factors if variable not in factor[0]]
                factors.append((scope, self._product(touched, scope)))
        return self._product(factors, tuple(names))

    def _product(
        self, factors: Sequence[tuple[tuple[str, ...], Array]], scope: tuple[str, ...]
    ) -> Array:
        """Return the product of factors, summed over all latents but those of a scope."""
        names = dict.fromkeys(name for factor, _ in factors for name in factor)
        letters = {name: i + 1 for i, name in enumerate(names)}  # 0 stands for the rows
        operands: list[Any] = []
        for clique, table in factors:
            operands.append(np.broadcast_to(table, (*table.shape[:-1], self.n)))
            operands.append([*(letters[name] for name in clique), 0])
        output = [*(letters[name] for name in scope), 0]
        result: Array = np.einsum(*operands, output, optimize=True)
        return result

    def marginal(self, *names: str) -> Array:
        """Return the posterior probabilities of one latent, or jointly of several.

        Parameters
        ----------
        *names : str
            Names of latents.

        Returns
        -------
        array, (n, *states)
            p(names | x) for each row: the responsibilities.

        Raises
        ------
        ModelError
            If a name is not one of a latent.
        """
        for name in names:
            if name not in self.elimination.sizes:
                raise ModelError(
                    f"marginal must be asked of latents, got '{name}'. "
                    f"The latents are {', '.join(map(repr, self.names))}."
                )
        if not names or len(set(names)) < len(names):
            raise ModelError(
                f"marginal must be asked of one or more different latents, got {names}."
            )
        table = self.table(names)
        full = np.broadcast_to(table, (*table.shape[:-1], self.n))
        return np.ascontiguousarray(np.moveaxis(full, -1, 0))

    def mode(self) -> dict[str, Array]:
        """Return the jointly most probable states, ``(n,)`` for each latent."""
        with np.errstate(divide="ignore"):
            factors = [
                Factor(bucket.clique, np.log(table))
                for bucket, table in zip(self.elimination.buckets, self.conditionals, strict=True)
            ]
        _, states = self.elimination.max_product(factors)
        return {name: np.broadcast_to(state, self.n).copy() for name, state in states.items()}

    def sample(self, n: int = 1, *, seed: Any = None) -> dict[str, Array]:
        """Draw states from the posterior.

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int or numpy.random.Generator, optional

        Returns
        -------
        dict of str to array, (n, rows)
        """
        rng = generator(seed)
        draws = [self.draw(rng) for _ in range(n)]
        empty = np.empty((0, self.n), dtype=np.intp)
        return {name: np.stack([d[name] for d in draws]) if draws else empty for name in self.names}

    def draw(self, rng: np.random.Generator) -> dict[str, Array]:
        """Draw the states of all latents once, ``(rows,)`` each."""
        states: dict[str, Array] = {}
        pairs = zip(self.elimination.buckets, self.conditionals, strict=True)
        for bucket, table in reversed(list(pairs)):
            chosen = [at_states(t, [states[n] for n in bucket.separator]) for t in table]
            cumulative = np.cumsum(np.broadcast_to(chosen, (len(table), self.n)), axis=0)
            level = rng.random(self.n) * cumulative[-1]
            states[bucket.variable] = (cumulative[:-1] <= level).sum(axis=0)
        return {name: states[name] for name in self.names}

    @property
    def entropy(self) -> float:
        r"""Entropy in nats, summed over rows (with their weights).

        .. math:: H = -\sum_i w_i \sum_v \sum_{v, s} p(v, s \mid x_i) \log p(v \mid s, x_i)
        """
        weights = self.row_weights
        total = 0.0
        for belief, conditional in zip(self._beliefs, self.conditionals, strict=True):
            log = np.log(conditional, where=conditional > 0, out=np.zeros(conditional.shape))
            rows = -(belief * log).reshape(-1, np.shape(belief * log)[-1]).sum(axis=0)
            total += float(np.broadcast_to(rows, self.n) @ weights)
        return total

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} ({k} states)" for name, k in self.elimination.sizes.items())
        return f"Posterior of {sizes} given {self.n} rows; entropy {self.entropy:.6g} nats (total)"


def _row_numbers(rows: Any, n: int) -> Array:
    """Return rows that were asked for as their numbers, ``(m,)``."""
    array = np.asarray(None if isinstance(rows, tuple | bool) else rows)
    if array.dtype.kind == "b" and array.shape == (n,):
        return np.flatnonzero(array)
    if array.shape == (0,):
        array = array.astype(np.intp)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ModelError(
            f"posterior[rows] must be given a row, a slice, row numbers or a mask of the {n} rows, "
            f"got {rows!r}. Use marginal(name) for the states of a latent."
        )
    numbers = np.atleast_1d(array)
    beyond = (numbers < -n) | (numbers >= n)
    if beyond.any():
        raise IndexError(
            f"posterior[rows] must be given some of its {n} rows, got {numbers[beyond][0]}. "
            f"Count them from 0 to {n - 1}."
        )
    return numbers


def one_hot(states: Array, k: int) -> Array:
    """Return the indicators ``(k, n)`` of states ``(n,)``."""
    table = np.zeros((k, len(states)))
    table[np.asarray(states, dtype=np.intp), np.arange(len(states))] = 1.0
    return table


def _marginalised(table: Array, axes: Sequence[str], names: Sequence[str]) -> Array:
    """Sum a table ``(*axes, rows)`` to ``(*names, rows)``."""
    if tuple(axes) == tuple(names):
        return table
    drop = tuple(i for i, axis in enumerate(axes) if axis not in names)
    kept = [axis for axis in axes if axis in names]
    summed = table.sum(axis=drop) if drop else table
    return summed.transpose([*(kept.index(name) for name in names), len(kept)])


def concatenate(parts: Sequence[Posterior]) -> Posterior:
    """Return the posterior of all rows, of posteriors of blocks of rows."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def join(arrays: Sequence[Array | None]) -> Array | None:
        known = [array for array in arrays if array is not None]
        if not known:
            return None
        full = [np.broadcast_to(a, (*a.shape[:-1], p.n)) for a, p in zip(known, parts, strict=True)]
        return np.concatenate(full, axis=-1)

    conditionals = []
    for tables in zip(*(part.conditionals for part in parts), strict=True):
        # A last axis of length 1 stands for all rows, unless every block has just one.
        constant = all(table.shape[-1] == 1 for table in tables) and any(p.n > 1 for p in parts)
        joined = tables[0] if constant else join(tables)
        assert joined is not None
        conditionals.append(joined)
    return attrs.evolve(
        first,
        conditionals=tuple(conditionals),
        n=sum(part.n for part in parts),
        weights=join([part.weights for part in parts]),
        objective=join([part.objective for part in parts]),
        evidence=join([part.evidence for part in parts]),
    )
