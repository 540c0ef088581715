"""How a model is laid out for the E- and M-step: what depends on the graph alone."""

from __future__ import annotations

import math
from collections.abc import Container

import attrs
import numpy as np

from latentem.data import Data
from latentem.distributions.arrays import Array
from latentem.errors import ModelError
from latentem.graph import Model
from latentem.inference.cost import Cost
from latentem.inference.elimination import Elimination
from latentem.kernels.compiled import pays


@attrs.frozen
class Family:
    """One latent, or all observed nodes with the same discrete parents.

    Attributes
    ----------
    names : tuple of str
        The nodes.
    parents : tuple of str
        Their discrete parents, in the order of the parameters' axes.
    sizes : tuple of int
        The parents' numbers of states.
    scope : tuple of str
        The latent ones among the parents.
    """

    names: tuple[str, ...]
    parents: tuple[str, ...]
    sizes: tuple[int, ...]
    scope: tuple[str, ...]

    @property
    def n_combinations(self) -> int:
        """Number of combinations of the parents' states, K."""
        return math.prod(self.sizes)

    @property
    def observed(self) -> tuple[tuple[int, str], ...]:
        """Axis and name of each observed parent."""
        return tuple((i, p) for i, p in enumerate(self.parents) if p not in self.scope)

    def check(self, log_density: Array) -> None:
        """Raise unless a node's log-densities ``(K, rows)`` are of all combinations."""
        if len(log_density) != self.n_combinations:
            raise ModelError(
                f"Node '{self.names[0]}': log_prob must return one column for each of the "
                f"{self.n_combinations} combinations of the parents' states, got "
                f"{len(log_density)}. Broadcast it to (n, K).",
                node=self.names[0],
            )

    def at_observed(self, table: Array, data: Data) -> Array:
        """Pick, for each row, the observed parents' states: ``(K, rows)`` to ``(*scope, rows)``."""
        table = table.reshape(*self.sizes, table.shape[-1])
        for axis, name in reversed(self.observed):
            index = data.values[name].reshape((1,) * (table.ndim - 1) + (-1,))
            table = np.take_along_axis(table, index, axis).squeeze(axis)
        return table

    def over_parents(self, table: Array, data: Data) -> Array:
        """Undo `at_observed` for weights: ``(*scope, rows)`` to ``(K, rows)``, zero elsewhere."""
        for axis, name in self.observed:
            table = np.expand_dims(table, axis)
            states = np.arange(self.sizes[axis])
            indicator = states[:, None] == data.values[name]  # (states, rows)
            shape = (-1,) + (1,) * (table.ndim - axis - 2) + (data.n,)
            table = table * indicator.reshape(shape)
        return table.reshape(self.n_combinations, table.shape[-1])


@attrs.frozen
class Layout:
    """The families of a model and the elimination of its latents.

    Attributes
    ----------
    latents : tuple of Family
        One for each latent node.
    observed : tuple of Family
        The observed nodes, those with the same discrete parents together.
    elimination : Elimination
    incomplete : frozenset of str
        The observed nodes that have no value in some rows and do not see this for themselves,
        as those do whose values may be missing in part; of these, if the rows count.
    gapped : frozenset of str
        Those among them with values of which a part may be missing.
    regressed : frozenset of str
        The latents whose probabilities depend on covariates.
    """

    latents: tuple[Family, ...]
    observed: tuple[Family, ...]
    elimination: Elimination
    incomplete: frozenset[str]
    gapped: frozenset[str]
    regressed: frozenset[str]

    @classmethod
    def of(cls, model: Model, data: Data) -> Layout:
        """Lay out a model for data. An observed parent with missing entries is a latent.

        Raises
        ------
        TooLargeError
            If exact inference needs too large a table.
        """
        latents = {node.name for node in model.latents} | set(data.labels)
        observed = [node for node in model.observed if node.name in data.values]

        def family(names: tuple[str, ...]) -> Family:
            parents = model.discrete_parents(names[0])
            scope = tuple(p.name for p in parents if p.name in latents)
            shape = model.parents_shape(names[0])
            return Family(names, tuple(p.name for p in parents), shape, scope)

        together: dict[tuple[str, ...], list[str]] = {}
        for node in observed:
            key = tuple(parent.name for parent in model.discrete_parents(node.name))
            together.setdefault(key, []).append(node.name)
        sizes = {n.name: n.n_states or 0 for n in model.order if n.name in latents}
        elimination = Elimination.of(model.structure, sizes)
        Cost.of(model, elimination, data.n).check()
        columns = max((value[:1].size for value in data.values.values()), default=1)
        compiled = pays(data.n * elimination.largest[1], columns)
        elimination = attrs.evolve(elimination, compiled=compiled)
        return cls(
            tuple(family((name,)) for name in sizes),
            tuple(family(tuple(names)) for names in together.values()),
            elimination,
            frozenset(name for name in data.missing if _is_incomplete(name, data)),
            # The records of nodes with one θ are added, so they must be of one kind.
            frozenset(t for name in data.gapped for t in model.tied(name) if t in data.values),
            frozenset(name for name in sizes if name in data.inputs),
        )

    def of_nodes(self, names: Container[str]) -> Layout:
        """Return the layout without other observed nodes than these."""
        families = (
            attrs.evolve(family, names=tuple(name for name in family.names if name in names))
            for family in self.observed
        )
        return attrs.evolve(self, observed=tuple(family for family in families if family.names))

    def family_of(self, name: str) -> Family:
        """Return the family an observed node belongs to."""
        return next(family for family in self.observed if name in family.names)

    @property
    def cells(self) -> int:
        """Cells a row of the tables of states."""
        combinations = [family.n_combinations for family in self.observed]
        return max([self.elimination.largest[1], *combinations])


def _is_incomplete(name: str, data: Data) -> bool:
    """Return whether rows without a value of a node are to be told from the others."""
    missing = data.missing[name]
    if name in data.gapped and data.weights is not None:
        # Such a row has density 1 where parts may be missing, and without weight it adds nothing.
        missing = missing & (data.weights > 0)
    return bool(missing.any())
