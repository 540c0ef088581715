"""Moves out of a local optimum: two states of a latent made one, and a third made two.

Starts that differ from a fit where it matters: most of what EM has found stays, and the state that
became free is tried elsewhere (Ueda, Nakano, Ghahramani and Hinton, SMEM algorithm for mixture
models, Neural Computation 12, 2000).
"""

from __future__ import annotations

from itertools import combinations

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.em.assign import Assignment
from latentem.em.expectation import Beliefs
from latentem.em.init import Start, share_for_others
from latentem.em.problem import Problem
from latentem.em.seeding import split_rows
from latentem.em.theta import Theta
from latentem.inference.posterior import Posterior
from latentem.parallel import map_blocks


@attrs.frozen
class Move:
    """States ``into`` and ``from_`` of a latent become one; ``split`` becomes two.

    The half of it that leaves takes the place of ``from_``.
    """

    latent: str
    into: int
    from_: int
    split: int


def moves(problem: Problem) -> list[Move]:
    """Return all moves of the latents of which nothing is known and that have three states."""
    return [
        Move(name, into, from_, split)
        for name, k in problem.layout.elimination.sizes.items()
        if name not in problem.data.labels
        for into, from_ in combinations(range(k), 2)
        for split in range(k)
        if split not in (into, from_)
    ]


def some_of(every: list[Move], count: int, rng: np.random.Generator) -> list[Move]:
    """Return so many of the moves by chance, each as often as the others to one.

    A state is split by chance, so that a move tried again need not lead to the same.
    """
    times, further = divmod(count, len(every))
    return times * every + [every[i] for i in rng.permutation(len(every))[:further]]


@attrs.frozen(eq=False)
class Optimum:
    """The posterior at θ under an assignment rule, of few rows: it is kept for all moves.

    Attributes
    ----------
    problem : Problem
    theta : Theta
    rule : Assignment
    """

    problem: Problem
    theta: Theta
    rule: Assignment
    _known: dict[tuple[int, int], Posterior] = attrs.field(factory=dict, init=False)

    def __getitem__(self, rows: slice) -> Posterior:
        """Return that of a block of rows."""
        place = rows.start, rows.stop
        if place not in self._known:
            self._known[place] = self.problem.block(self.theta, rows, self.rule).posterior
        return self._known[place]


@attrs.frozen(eq=False)
class _Moved:
    """The posterior at an optimum after a move, made for a block of rows when it is read."""

    optimum: Optimum
    move: Move
    leaves: Array  # (n,): whether a row leaves the state that is split

    def __getitem__(self, rows: slice) -> Posterior:
        posterior = self.optimum[rows]
        n = rows.stop - rows.start
        tables = {
            name: np.array(np.broadcast_to(posterior.table((name,)), (k, n)))
            for name, k in posterior.elimination.sizes.items()
        }
        move, table = self.move, tables[self.move.latent]
        share = share_for_others(self.optimum.problem, move.latent) / 2
        leaving = np.where(self.leaves[rows], 1.0 - share, share) * table[move.split]
        table[move.into] += table[move.from_]
        table[move.from_] = leaving
        table[move.split] -= leaving
        return Posterior.independent(tables, n)


def moved(optimum: Optimum, move: Move) -> Start:
    """Return the start that a move makes of the posterior at an optimum."""

    def start(problem: Problem, rng: np.random.Generator) -> tuple[Array | None, Beliefs]:
        def split(rows: slice) -> Array:
            table = optimum[rows].table((move.latent,))
            return np.broadcast_to(table[move.split], rows.stop - rows.start)

        shares = np.concatenate(list(map_blocks(split, problem.data.n, optimum.theta.cells)))
        leaves = split_rows(problem, move.latent, shares * problem.data.row_weights, rng)
        return None, _Moved(optimum, move, leaves)

    return start
