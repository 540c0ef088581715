r"""What is missing, filled in: conditional means, or draws from the conditional distribution.

.. math:: E[x_u \mid x_o] = \sum_z p(z \mid x_o) \, E[x_u \mid x_o, z]
"""

from __future__ import annotations

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution, drawn, mixed_mean
from latentem.em.assign import soft
from latentem.em.expectation import Block
from latentem.em.layout import Family
from latentem.em.problem import Problem
from latentem.em.sampling import with_labels
from latentem.em.theta import Theta
from latentem.errors import DataError
from latentem.parallel import map_blocks


def impute(problem: Problem, theta: Theta, rng: np.random.Generator | None) -> dict[str, Array]:
    """Return the values of the observed nodes, complete, in the order given; drawn if ``rng``."""
    key = None if rng is None else int(rng.integers(2**63))

    def fill(rows: slice) -> dict[str, Array]:
        block = problem.block(theta, rows, soft)
        filler = _Filler(problem, theta, block)
        if key is None:
            return filler.means()
        return filler.draws(np.random.default_rng([key, rows.start]))

    parts = list(map_blocks(fill, problem.data.n, theta.cells))
    places = problem.data.places
    filled = {}
    for node in problem.model.observed:
        if node.name not in parts[0]:
            raise DataError(
                f"data['{node.name}'] must have an observed entry to fill in others, got none. "
                "Draw it with sample(model, n, data=...).",
                node=node.name,
            )
        values = np.concatenate([part[node.name] for part in parts])
        values = values if places is None else values[places]
        filled[node.name] = with_labels(node, values)
    return filled


@attrs.frozen(eq=False)
class _Filler:
    """Fills a block of rows."""

    problem: Problem
    theta: Theta
    block: Block

    def _copies(self) -> dict[str, Array]:
        """Return the values, to be written into; of observed parents their known states."""
        data = self.block.data
        copies = {}
        for node in self.problem.model.observed:
            if node.name in data.values:
                copies[node.name] = data.values[node.name].copy()
            elif node.name in data.labels:
                copies[node.name] = data.labels[node.name].copy()
        return copies

    def _weights(self, family: Family) -> Array:
        """Return p(parents' states | x), ``(K, rows)``."""
        data = self.block.data
        weights = family.over_parents(self.block.posterior.table(family.scope), data)
        return np.broadcast_to(weights, (len(weights), data.n))

    def means(self) -> dict[str, Array]:
        """Return the values with conditional means, or most probable states, where missing."""
        data, filled = self.block.data, self._copies()
        for name, value in list(filled.items()):
            if name in data.labels:  # an observed parent
                unknown = value == -1
                value[unknown] = self._marginal(name).argmax(axis=0)[unknown]
                continue
            if name not in data.missing:
                continue
            family = self.problem.layout.family_of(name)
            weights, dist, missing = (
                self._weights(family),
                self.theta.dists[name],
                data.missing[name],
            )
            if name in data.gapped:
                value[...] = dist.completed(value, weights)
            elif missing.any() and dist.takes_gaps and not dist.requires_hard:
                value[missing] = np.nan  # of a product, whose parts know what they expect
                value[...] = dist.completed(value, weights)
            elif missing.any():
                inputs = data.inputs[name][missing] if name in data.inputs else None
                means = _expected(dist, weights[:, missing], inputs)
                value = filled[name] = value.astype(np.result_type(value, means))
                value[missing] = means
        return filled

    def _marginal(self, name: str) -> Array:
        table = self.block.posterior.table((name,))
        return np.broadcast_to(table, (len(table), self.block.data.n))

    def draws(self, rng: np.random.Generator) -> dict[str, Array]:
        """Return the values with draws from their conditional distribution where missing."""
        data, filled = self.block.data, self._copies()
        states = self.block.posterior.draw(rng)
        for name, value in filled.items():
            if name in data.labels:
                value[...] = states[name]
                continue
            if name not in data.missing:
                continue
            family = self.problem.layout.family_of(name)
            parents = [states[p] if p in states else data.values[p] for p in family.parents]
            state = np.zeros(data.n, dtype=np.intp)
            if parents:
                state = np.ravel_multi_index(parents, family.sizes)
            dist, missing = self.theta.dists[name], data.missing[name]
            if name in data.gapped:
                value[...] = dist.completed_by_draws(value, state, rng)
            elif missing.any():
                inputs = data.inputs[name][missing] if name in data.inputs else None
                value[missing] = drawn(dist, rng, state[missing], inputs)
        return filled


def _expected(dist: Distribution, weights: Array, inputs: Array | None) -> Array:
    """Return the mean, or over a finite set the mode, under weights of the states ``(K, rows)``."""
    if dist.n_states is None:
        return mixed_mean(dist, weights, inputs)
    if inputs is not None:
        by_state = np.einsum("kn,nks->ns", weights, np.exp(dist.state_log_probs(inputs)))
        return np.asarray(by_state.argmax(axis=1))
    log_prob = dist.log_prob(np.arange(dist.n_states))  # (states, K)
    mode: Array = (np.exp(log_prob) @ weights).argmax(axis=0)
    return mode
