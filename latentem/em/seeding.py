"""Seeds: rows far apart, of which each other row has a nearest (k-means++).

How far two rows are is a family's to say, by its `dissimilarity`; where it says that this is a
squared distance, by `euclidean`, compiled kernels take all passes over the rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import attrs
import numpy as np

from latentem.data import Data
from latentem.distributions.arrays import Array
from latentem.em.problem import Problem
from latentem.errors import ModelError
from latentem.kernels import seeding
from latentem.kernels.compiled import pays
from latentem.kernels.expected import Standardised
from latentem.kernels.seeding import TIE, Nearest
from latentem.parallel import LARGEST_BLOCK, map_blocks

#: How often seeds are chosen as if there were no labels.
UNLABELLED = 2 / 3
#: Rows whose dissimilarities to seeds are taken together: they stay in a core's cache.
BLOCK = 16_384
#: Columns of a row that compiled kernels are through with as soon as with a cell of other work.
COLUMNS = 8

T = TypeVar("T")


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

    def begin(free: Array) -> _Seeds:
        nearest, rows = Nearest.unknown(problem.data.n), _standardised(problem, names)
        if rows is None or not pays(len(rows) * k, rows.rows.shape[1]):
            return _AnySeeds(free, nearest, _dissimilarity(problem, names))
        at = np.zeros((k, rows.rows.shape[1]))
        return _EuclideanSeeds(seeding.Rows.of(rows, free, nearest), at)

    return _labels(begin, k, _eligible(problem.data, names), known, rng)


def _labels(
    begin: Callable[[Array], _Seeds],
    k: int,
    weights: Array,
    known: Array,
    rng: np.random.Generator,
) -> Array:
    """Choose seeds.

    States of which some rows are known have one of these for their seed, and others none of them.
    But where they are few, and not typical, all such starts would be alike: so more often than not
    the seeds are chosen without them, and the states named by them afterwards.
    """
    n, trials = len(weights), 2 + int(np.log(k))
    labelled = np.unique(known[(known >= 0) & (weights > 0)]).tolist()
    if labelled and rng.random() < UNLABELLED:
        states = _labels(begin, k, weights, np.full(n, -1), rng)
        named = _named(states, known, weights, k)[states]
        if np.bincount(np.where(known >= 0, known, named), weights, k).all():
            return named  # no state has but rows that are known to be of another
    free = np.where(known == -1, weights, 0.0)
    seeds, chosen = begin(free), list[int]()

    def choose(candidates: Sequence[int], state: int) -> None:
        row = seeds.choose(candidates, state)
        seeds.nearest.label[row] = state  # also where it coincides with another seed
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
    return seeds.labels()


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


def _eligible(data: Data, names: Sequence[str]) -> Array:
    """Return the weights of rows that may be seeds, ``(n,)``: those with a value of every node."""
    weights = data.row_weights / data.row_weights.max()
    complete = weights.copy()
    for name in names:
        if name in data.missing:
            complete[data.missing[name]] = 0.0
    return np.asarray(complete if complete.any() else weights)


def split_rows(problem: Problem, latent: str, weights: Array, rng: np.random.Generator) -> Array:
    """Return one of two parts of the rows, a mask ``(n,)``: how a state might be made two.

    A row is with the nearer of two seeds, which are drawn far apart by the weights ``(n,)``, and
    with either by chance where they are equally near.
    """
    children = [f for f in problem.layout.observed if latent in f.scope]
    names = [name for family in children for name in family.names]
    far, n = _dissimilarity(problem, names), len(weights)
    eligible = _eligible(problem.data, names) * weights
    if not eligible.any():
        return rng.random(problem.data.n) < 0.5

    def from_row(seed: int) -> Array:
        return np.concatenate(_over_blocks(lambda rows: far([seed], rows)[0], n))

    to_first = from_row(*_drawn(eligible, 1, rng))
    chances = eligible * to_first if (eligible * to_first).any() else eligible
    to_second = from_row(*_drawn(chances, 1, rng))
    tie = np.abs(to_first - to_second) <= TIE * to_first
    nearer: Array = np.where(tie, rng.random(n) < 0.5, to_second < to_first)
    return nearer


# -- how far rows are ------------------------------------------------------------------------------

#: Dissimilarities of a slice of rows to some of all rows, ``(m, rows)``.
_Far = Callable[[Sequence[int], slice], Array]


class _Seeds(Protocol):
    """The seeds chosen so far, among rows with weights: those that may still be seeds."""

    @property
    def nearest(self) -> Nearest:
        """Which of them is the nearest to each row."""

    def choose(self, candidates: Sequence[int], state: int) -> int:
        """Make the row that lowers the total most the seed of a state; return which it is."""

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        """Return rows drawn by weight and dissimilarity to the nearest; none if all are 0."""

    def labels(self) -> Array:
        """Return the states of the nearest seeds."""


@attrs.frozen(eq=False)
class _AnySeeds:
    """Seeds by any dissimilarity."""

    weights: Array
    nearest: Nearest
    far: _Far

    def choose(self, candidates: Sequence[int], state: int) -> int:
        label, square = self.nearest.label, self.nearest.square

        def see(rows: slice) -> tuple[slice, Array, Array]:
            far = self.far(candidates, rows)
            return rows, far, np.minimum(far, square[rows]) @ self.weights[rows]

        blocks = _over_blocks(see, len(self.weights))
        best = _first_of_least(np.sum([total for *_, total in blocks], axis=0))
        for rows, far, _ in blocks:
            label[rows][far[best] < square[rows] * (1 - TIE)] = state
            np.minimum(square[rows], far[best], out=square[rows])
        return candidates[best]

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        return _drawn(self.weights * self.nearest.square, count, rng)

    def labels(self) -> Array:
        return self.nearest.label


@attrs.define(eq=False)
class _EuclideanSeeds:
    """Seeds by squared distances of standardised rows.

    Attributes
    ----------
    rows : seeding.Rows
        Of which the nearest seed is the one before the latest.
    at : array, (K, d)
        Where the seeds are.
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
        reach = seeding.reach(self.at, point[None])
        return seeding.draw(self.rows, self.left, point, self.latest, reach, targets)

    def labels(self) -> Array:
        if self.latest is not None:
            self._look(self.at[:0])
        return self.nearest.label

    def _look(self, points: Array) -> Array:
        """Make the latest a seed of all rows; return parts' totals with points, ``(parts, m)``."""
        latest = self.at[:0] if self.latest is None else self.at[self.latest, None]
        given = np.concatenate([latest, points])
        reach = seeding.reach(self.at, given)

        def look(parts: slice) -> Array:
            return seeding.look(self.rows, parts, given, self.latest, reach)

        cells, largest = (
            seeding.PART * -(-points.shape[1] // COLUMNS),
            LARGEST_BLOCK // seeding.PART,
        )
        blocks = map_blocks(look, self.rows.n_parts, cells, largest)
        return np.concatenate(list(blocks))[:, len(latest) :]


def _first_of_least(totals: Array) -> int:
    """Return the first of equal ones, whatever their rounding in the units of the data."""
    return int(np.argmax(totals <= totals.min() * (1 + TIE)))


def _standardised(problem: Problem, names: Sequence[str]) -> Standardised | None:
    """Return the rows whose squared distances are the dissimilarity, if there are any such."""
    name, *others = names
    data, dist = problem.data, problem.theta(renew=True).dists[name]
    partial = name in data.missing or name in data.gapped
    if others or partial or not _is_euclidean(type(dist)):
        return None
    return dist.euclidean(data.argument(name))


@functools.cache
def _is_euclidean(kind: type) -> bool:
    """Return whether `euclidean` is about the `dissimilarity` of a family, not of its base."""
    methods = {"dissimilarity", "euclidean"}
    latest = next(each for each in kind.__mro__ if methods & vars(each).keys())
    return "euclidean" in vars(latest)


def _dissimilarity(problem: Problem, names: Sequence[str]) -> _Far:
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


def _over_blocks(function: Callable[[slice], T], n: int) -> list[T]:
    """Return what a function finds of the blocks of n rows."""
    return list(map_blocks(function, n, 1, BLOCK))
