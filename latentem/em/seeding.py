"""Seeds: rows far apart, of which each other row has a nearest (k-means++).

How far two rows are is a family's to say, by its `dissimilarity`; where it says that this is a
squared distance, by `euclidean`, compiled kernels take all passes over the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.em.apart import Far, eligible, how_far, over_blocks
from latentem.em.problem import Problem
from latentem.kernels import seeding
from latentem.kernels.compiled import pays
from latentem.kernels.expected import Standardised
from latentem.kernels.seeding import TIE, Nearest
from latentem.parallel import LARGEST_BLOCK, map_blocks

#: How often seeds are chosen as if there were no labels.
UNLABELLED = 2 / 3
#: Columns of a row that take a compiled kernel as long as one cell of other work.
COLUMNS = 8


def nearest_seeds(
    problem: Problem, names: Sequence[str], k: int, known: Array, rng: np.random.Generator
) -> Array:
    """Return, for each row, the index of the nearest of k seeds; none without weight is one.

    Parameters
    ----------
    problem : Problem
    names : sequence of str
        The nodes whose dissimilarities count.
    k : int
    known : array of int, (n,)
        The states that labels give, -1 where unknown.
    rng : Generator

    Returns
    -------
    array of int, (n,)
    """
    rows = _standardised(problem, names, k)

    def begin(free: Array) -> _Seeds:
        nearest = Nearest.unknown(problem.data.n)
        if rows is None:
            return _AnySeeds(free, nearest, how_far(problem, names))
        at = np.zeros((k, rows.rows.shape[1]))
        return _EuclideanSeeds(seeding.Rows.of(rows, free, nearest), at)

    return _seeded(begin, k, eligible(problem.data, names), known, rng)


def _seeded(
    begin: Callable[[Array], _Seeds],
    k: int,
    weights: Array,
    known: Array,
    rng: np.random.Generator,
) -> Array:
    """Choose seeds; return for each row the state of the nearest.

    States of which some rows are known have one of these for their seed, and others none of them;
    what counts is how near the other rows are to a seed. But where the known rows are few, and not
    typical, all such starts would be alike: so more often than not the seeds are chosen without
    them, and the states named by them afterwards.
    """
    n, trials = len(weights), 2 + int(np.log(k))
    labelled = np.unique(known[(known >= 0) & (weights > 0)]).tolist()
    if labelled and rng.random() < UNLABELLED:
        states = _seeded(begin, k, weights, np.full(n, -1), rng)
        named = _named(states, known, weights, k)[states]
        if np.bincount(np.where(known >= 0, known, named), weights, k).all():
            return named  # no state has but rows that are known to be of another
    free = np.where(known == -1, weights, 0.0)
    seeds, chosen = begin(free), list[int]()

    def choose(candidates: Sequence[int], state: int) -> None:
        row = seeds.choose(candidates, state)
        # Also where it coincides with another seed; else it is to be its own nearest anyway.
        seeds.nearest.label[row] = state
        chosen.append(row)

    for state in labelled:
        choose(_drawn(np.where(known == state, weights, 0.0), 1, rng), state)
    for state in range(k):
        if state in labelled:
            continue
        candidates = seeds.draw(trials, rng) if chosen else _drawn(free, 1, rng)
        if not candidates:  # fewer distinct rows than states: any row not taken yet
            others = free.copy()
            others[chosen] = 0.0
            candidates = _drawn(others, 1, rng)
        if candidates:
            choose(candidates, state)
    return seeds.settled()


def _drawn(chances: Array, count: int, rng: np.random.Generator) -> list[int]:
    """Return places drawn with probabilities proportional to chances ``(n,)``; none if all are 0.

    As `numpy.random.Generator.choice` does, but without its checks, which take longer than this.
    """
    cumulative = np.cumsum(chances)
    if not cumulative[-1] > 0:
        return []
    cumulative /= cumulative[-1]
    drawn: list[int] = cumulative.searchsorted(rng.random(count), side="right").tolist()
    return drawn


def _named(states: Array, known: Array, weights: Array, k: int) -> Array:
    """Return for each state what it is to be called, so that most known rows are called rightly."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    agreement = np.zeros((k, k))
    labelled = known >= 0
    np.add.at(agreement, (states[labelled], known[labelled]), weights[labelled])
    _, names = linear_sum_assignment(agreement, maximize=True)
    return np.asarray(names)


def split_rows(problem: Problem, latent: str, weights: Array, rng: np.random.Generator) -> Array:
    """Return one of two parts of the rows, a mask ``(n,)``: how a state might be made two.

    A row is with the nearer of two seeds, which are drawn far apart by the weights ``(n,)``, and
    with either by chance where they are equally near.
    """
    children = [f for f in problem.layout.observed if latent in f.scope]
    names = [name for family in children for name in family.names]
    far, n = how_far(problem, names), len(weights)
    chances = eligible(problem.data, names) * weights
    if not chances.any():
        return rng.random(problem.data.n) < 0.5

    def from_row(seed: int) -> Array:
        return np.concatenate(over_blocks(lambda rows: far([seed], rows)[0], n))

    to_first = from_row(*_drawn(chances, 1, rng))
    to_second = from_row(*(_drawn(chances * to_first, 1, rng) or _drawn(chances, 1, rng)))
    tie = np.abs(to_first - to_second) <= TIE * to_first
    nearer: Array = np.where(tie, rng.random(n) < 0.5, to_second < to_first)
    return nearer


# -- how far rows are ------------------------------------------------------------------------------


class _Seeds(Protocol):
    """The seeds chosen so far, among rows with weights: those that may still be seeds."""

    @property
    def nearest(self) -> Nearest:
        """Which of them is the nearest to each row."""

    def choose(self, candidates: Sequence[int], state: int) -> int:
        """Make the row that lowers the total most the seed of a state; return which it is."""

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        """Return rows drawn by weight and dissimilarity to the nearest; none if all are 0."""

    def settled(self) -> Array:
        """Return for each row the state of its nearest seed, once the latest is looked at too."""


@attrs.frozen(eq=False)
class _AnySeeds:
    """Seeds by any dissimilarity."""

    weights: Array
    nearest: Nearest
    far: Far

    def choose(self, candidates: Sequence[int], state: int) -> int:
        label, square = self.nearest.label, self.nearest.square

        def see(rows: slice) -> tuple[slice, Array, Array]:
            far = self.far(candidates, rows)
            return rows, far, np.minimum(far, square[rows]) @ self.weights[rows]

        blocks = over_blocks(see, len(self.weights))
        best = _first_of_least(np.sum([total for *_, total in blocks], axis=0))
        for rows, far, _ in blocks:
            label[rows][far[best] < square[rows] * (1 - TIE)] = state
            np.minimum(square[rows], far[best], out=square[rows])
        return candidates[best]

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        return _drawn(self.weights * self.nearest.square, count, rng)

    def settled(self) -> Array:
        return self.nearest.label


@attrs.define(eq=False)
class _EuclideanSeeds:
    """Seeds by squared distances of standardised rows.

    Attributes
    ----------
    rows : seeding.Rows
        Their nearest seeds do not take account of the latest yet: the next pass sees to that.
    at : array, (K, d)
        Where the seeds are; 0 of states without one, which are nobody's nearest.
    latest : int or None
        The state of the one chosen last.
    left : array, (parts,)
        The totals of parts of the rows, with the latest seed.
    """

    rows: seeding.Rows
    at: Array
    latest: int | None = None
    left: Array = attrs.field(init=False)

    @property
    def nearest(self) -> Nearest:
        return self.rows.nearest

    def choose(self, candidates: Sequence[int], state: int) -> int:
        points = self.rows.standard(candidates)
        totals = self._look(points)
        best = _first_of_least(totals.sum(axis=0))
        self.at[state], self.latest = points[best], state
        self.left = np.ascontiguousarray(totals[:, best])
        return candidates[best]

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        total = self.left.sum()
        if self.latest is None or not total > 0:
            return []
        point, targets = self.at[self.latest], total * rng.random(count)
        safe = seeding.safe_distances(self.at, point[None])
        return seeding.draw(self.rows, self.left, point, self.latest, safe, targets)

    def settled(self) -> Array:
        if self.latest is not None:
            self._look(self.at[:0])
        return self.nearest.label

    def _look(self, points: Array) -> Array:
        """Make the latest a seed of all rows; return parts' totals with points, ``(parts, m)``."""
        latest = self.at[:0] if self.latest is None else self.at[self.latest, None]
        given = np.concatenate([latest, points])
        safe = seeding.safe_distances(self.at, given)

        def look(parts: slice) -> Array:
            return seeding.look(self.rows, parts, given, self.latest, safe)

        cells_of_part = seeding.PART * -(-points.shape[1] // COLUMNS)
        parts_of_block = LARGEST_BLOCK // seeding.PART
        blocks = list(map_blocks(look, self.rows.n_parts, cells_of_part, parts_of_block))
        return np.concatenate(blocks)[:, len(latest) :]


def _first_of_least(totals: Array) -> int:
    """Return the first of equal ones, whatever their rounding in the units of the data."""
    return int(np.argmax(totals <= totals.min() * (1 + TIE)))


def _standardised(problem: Problem, names: Sequence[str], k: int) -> Standardised | None:
    """Return the rows whose squared distances are the dissimilarity, if compiled kernels pay."""
    name, *others = names
    data = problem.data
    value = data.argument(name)
    partial = name in data.missing or name in data.gapped
    if others or partial or not pays(len(value) * k, math.prod(value.shape[1:])):
        return None
    dist = problem.theta(renew=True).dists[name]
    return dist.euclidean(value) if dist.is_euclidean else None
