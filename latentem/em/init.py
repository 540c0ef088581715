"""Starts. A start is a posterior; the ordinary M-step makes θ of it.

A start is called with the problem and a random generator and returns the rows it speaks about (or
None for all) and a posterior of these rows, or something that gives one of any block of them: so
that labels need not be expanded to a table of all rows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from latentem.data import Data, has_label, label_weights
from latentem.distributions.arrays import Array
from latentem.em.expectation import Beliefs
from latentem.em.problem import Problem
from latentem.em.seeding import nearest_seeds
from latentem.errors import DataError, ModelError
from latentem.inference.posterior import Posterior, one_hot

Start = Callable[[Problem, np.random.Generator], tuple[Array | None, Beliefs]]
#: Gives probabilities ``(states, rows)`` of one latent for a block of rows.
Table = Callable[[slice], Array]

#: Rows for each state and column that a random start looks at: few, so that states begin apart,
#: and enough to determine a state.
ROWS_PER_STATE = 10
#: What a start that knows states by certainty leaves of each row to all states alike, where zeros
#: would last.
SHARE = 0.2
#: Rows whose random responsibilities come from one stream.
DRAWN_TOGETHER = 256


@attrs.frozen(eq=False)
class Guess:
    """Independent beliefs about each latent, made for a block of rows when it is read.

    Attributes
    ----------
    tables : dict of str to callable
        For each latent, what gives its probabilities ``(states, rows)``.
    labels : dict of str to array, (n,) or (n, states)
        What the data say of latents.
    """

    tables: dict[str, Table]
    labels: dict[str, Array]

    def __getitem__(self, rows: slice) -> Posterior:
        """Return the posterior of a block of rows."""
        tables = {name: table(rows) for name, table in self.tables.items()}
        for name, labels in self.labels.items():
            tables[name] = _given(tables[name], labels[rows])
        return Posterior.independent(tables, rows.stop - rows.start)


def _given(table: Array, labels: Array) -> Array:
    """Return the probabilities ``(states, rows)`` of a start, given what labels say.

    Where these are probabilities themselves, a start that is certain of a state is less so: it
    may be mistaken.
    """
    weights = label_weights(labels, len(table))
    if labels.ndim == 2:
        table = 0.9 * table + 0.1 / len(table)
    product = table * weights
    total = product.sum(axis=0)
    unknown = weights.min(axis=0) == 1
    with np.errstate(invalid="ignore"):
        known = np.where(total > 0, product / total, weights)
    return np.where(unknown, table, known)


def width(problem: Problem) -> int:
    """Return the number of columns of the widest node, and of the covariates it may depend on."""
    data = problem.data
    own = max((value[0].size for value in data.values.values()), default=1)
    return own + max((inputs.shape[1] for inputs in data.inputs.values()), default=0)


def _random_table(k: int, rng: np.random.Generator) -> Table:
    """Return responsibilities uniform on the simplex, the same in whatever blocks they are read."""
    key, alpha = int(rng.integers(2**63)), np.ones(k)

    def table(rows: slice) -> Array:
        first = rows.start // DRAWN_TOGETHER
        chunks = range(first, -(-rows.stop // DRAWN_TOGETHER))
        draws = [np.random.default_rng([key, c]).dirichlet(alpha, DRAWN_TOGETHER) for c in chunks]
        offset = first * DRAWN_TOGETHER
        drawn: Array = np.concatenate(draws)[rows.start - offset : rows.stop - offset].T
        return drawn

    return table


def _label_table(states: Array, k: int, share: float = 0.0) -> Table:
    """Return certainty of the states ``(n,)``, but for a share left to all alike."""
    return lambda rows: (1.0 - share) * one_hot(states[rows], k) + share / k


def _passed_uncalled(start: Start) -> Start:
    """Refuse a call of a start that says nothing of a problem: it is passed as it is."""

    @functools.wraps(start)
    def refusing(*given: Any, **named: Any) -> tuple[Array | None, Beliefs]:
        if len(given) != 2 or named or not isinstance(given[0], Problem):
            name = f"lem.init.{getattr(start, '__name__', start)}"
            raise ModelError(
                f"{name} must be passed as it is because it is a start and makes none, got a call. "
                f"Pass init={name}; it draws from the seed of fit, seed=..."
            )
        return start(*given)

    return refusing


@_passed_uncalled
def random(problem: Problem, rng: np.random.Generator) -> tuple[Array | None, Beliefs]:
    """Start from random responsibilities, uniform on the simplex, on a random subset of rows.

    With all of many rows, every state's average would begin at the overall one.
    """
    sizes = problem.layout.elimination.sizes
    n = problem.data.n
    largest = max(sizes.values(), default=1)
    count = n if largest == 1 else min(n, ROWS_PER_STATE * (1 + width(problem)) * largest)
    rows = some_rows(problem.data, count, rng)
    labels = {name: known[rows] for name, known in problem.data.labels.items()}
    return rows, Guess({name: _random_table(k, rng) for name, k in sizes.items()}, labels)


@_passed_uncalled
def plus_plus(problem: Problem, rng: np.random.Generator) -> tuple[Array | None, Beliefs]:
    """Start from seeds far apart, each row with its nearest seed (k-means++).

    For nodes that have a dissimilarity and latent parents. Each seed is a row drawn with
    probability proportional to its dissimilarity to the nearest seed so far; of a few draws the one
    that lowers the total most is kept. Latents without such a node start at random.

    References
    ----------
    Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.
    """
    data, sizes = problem.data, problem.layout.elimination.sizes
    states: dict[str, Array] = {}
    seeded = seedable(problem)
    if not seeded:
        raise ModelError(
            "plus_plus must have an observed node with a latent parent and a method "
            f"'dissimilarity(value, other)', got none in {problem.model}. Use lem.init.random."
        )
    for scope, names in seeded.items():
        shape = tuple(sizes[name] for name in scope)
        known = _known(data, scope, shape)
        labels = nearest_seeds(problem, names, math.prod(shape), known, rng)
        for name, state in zip(scope, np.unravel_index(labels, shape), strict=True):
            states.setdefault(name, state)
    tables = {
        name: _label_table(states[name], k, share_for_others(problem, name))
        if name in states
        else _random_table(k, rng)
        for name, k in sizes.items()
    }
    return None, Guess(tables, data.labels)


def share_for_others(problem: Problem, name: str) -> float:
    """Return how much of each row a start leaves to the states it was not assigned to.

    None, unless an observed parent divides the rows further: then some combination with its states
    might be left without any row. Or unless a child may have probabilities of 0: a state would
    never get a row whose level it has not begun with.
    """
    families = problem.layout.observed + problem.layout.latents
    near = [f for f in families if name in (*f.scope, *f.names)]
    children = [problem.model[child] for f in near if name in f.scope for child in f.names]
    may_lack = any(f.observed for f in near) or any(dist.reaches_zero for dist in children)
    return SHARE if may_lack and not problem.model.requires_hard else 0.0


def seedable(problem: Problem) -> dict[tuple[str, ...], list[str]]:
    """Return the nodes with a dissimilarity, by their latent parents."""
    found: dict[tuple[str, ...], list[str]] = {}
    for family in problem.layout.observed:
        names = [n for n in family.names if problem.model[n].has_dissimilarity]
        if family.scope and names:
            found.setdefault(family.scope, []).extend(names)
    return found


def _known(data: Data, scope: Sequence[str], shape: Sequence[int]) -> Array:
    """Return the joint state that labels give of some latents, ``(n,)``, -1 where unknown."""
    if not all(name in data.labels and data.labels[name].ndim == 1 for name in scope):
        return np.full(data.n, -1)
    labels = [data.labels[name] for name in scope]
    known = np.min(labels, axis=0) >= 0
    joint = np.ravel_multi_index([np.maximum(each, 0) for each in labels], shape)
    return np.where(known, joint, -1)


def from_labels(labels: Any) -> Start:
    """Start from known or guessed states.

    Parameters
    ----------
    labels : array, (n,), or mapping of str to array
        States of the latent, or of each latent by name.
    """

    def start(problem: Problem, rng: np.random.Generator) -> tuple[Array | None, Beliefs]:
        sizes = _declared(problem)
        states = _by_latent(labels, sizes, "labels")
        tables: dict[str, Table] = {}
        for name, k in sizes.items():
            given = np.asarray(states[name])
            valid = given.shape == (problem.data.n,) and given.dtype.kind in "biuf"
            if not valid or not np.all((given >= 0) & (given < k) & (given == np.floor(given))):
                raise DataError(
                    f"labels of '{name}' must be states from 0 to {k - 1}, one for each of the "
                    f"{problem.data.n} rows, got shape {given.shape} with values "
                    f"{np.unique(given)[:8]}. Encode them so.",
                    node=name,
                )
            tables[name] = _label_table(_in_order(given, problem.data), k)
        return None, _completed(tables, problem)

    return start


def from_posterior(posterior: Any) -> Start:
    """Start from a posterior.

    Parameters
    ----------
    posterior : Posterior, array (n, states), or mapping of str to array
        Responsibilities of the latent, or of each latent by name.
    """

    def start(problem: Problem, rng: np.random.Generator) -> tuple[Array | None, Beliefs]:
        n, sizes = problem.data.n, _declared(problem)
        if isinstance(posterior, Posterior):
            if posterior.elimination.sizes != problem.layout.elimination.sizes or posterior.n != n:
                raise DataError(
                    f"The posterior to start from must be over {sizes} and {n} rows, got "
                    f"{posterior.elimination.sizes} and {posterior.n}. Use one of this model."
                )
            return None, _in_order(posterior, problem.data)
        tables: dict[str, Table] = {}
        for name, given in _by_latent(posterior, sizes, "responsibilities").items():
            table = np.asarray(given, dtype=float)
            shape = (n, sizes[name])
            if table.shape != shape or not np.all(table >= 0) or not np.allclose(table.sum(1), 1):
                raise DataError(
                    f"responsibilities of '{name}' must be probabilities of shape {shape} that sum "
                    f"to 1 in each row, got shape {table.shape}. Normalise the rows.",
                    node=name,
                )
            tables[name] = _rows_of(_in_order(table, problem.data).T)
        return None, _completed(tables, problem)

    return start


def _in_order(rows: Any, data: Data) -> Any:
    """Return what is said of the rows as given, in the order of the data."""
    return rows if data.order is None else rows[data.order]


def _rows_of(table: Array) -> Table:
    """Return the blocks of rows of a table ``(states, n)``."""
    return lambda rows: table[:, rows]


def _declared(problem: Problem) -> dict[str, int]:
    """Return the latents that the model declares, without observed ones with missing entries."""
    sizes = problem.layout.elimination.sizes
    return {node.name: sizes[node.name] for node in problem.model.latents}


def _completed(tables: dict[str, Table], problem: Problem) -> Guess:
    """Return a guess of the declared latents, completed by what the data say of the others."""
    sizes = problem.layout.elimination.sizes
    others = {name: k for name, k in sizes.items() if name not in tables}
    alike = {name: _rows_of(np.full((k, problem.data.n), 1.0 / k)) for name, k in others.items()}
    return Guess({**tables, **alike}, {name: problem.data.labels[name] for name in others})


def _by_latent(given: Any, sizes: Mapping[str, int], what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        if len(sizes) != 1:
            raise DataError(
                f"{what} must be given by name for each of the latents {list(sizes)}, got one "
                "array. Pass a mapping."
            )
        given = {next(iter(sizes)): given}
    by_latent: Mapping[str, Any] = given
    if set(by_latent) != set(sizes):
        raise DataError(
            f"{what} must be given for the latents {list(sizes)}, got {list(by_latent)}. Give each."
        )
    return by_latent


def some_rows(data: Data, count: int, rng: np.random.Generator) -> Array:
    """Return up to ``count`` rows drawn without repeats, among those with weight.

    Rows that have a label come first, up to half: they may be few, and say which state is which.
    """
    candidates = np.arange(data.n) if data.weights is None else np.flatnonzero(data.weights)
    if len(candidates) <= count:
        return candidates
    labelled = np.zeros(data.n, dtype=bool)
    for labels in data.labels.values():
        labelled |= has_label(labels)
    first, others = candidates[labelled[candidates]], candidates[~labelled[candidates]]
    if len(first) > len(others):  # any rows will have some
        first, others = candidates[:0], candidates
    elif 2 * len(first) > count:
        first = rng.choice(first, size=count // 2, replace=False)
    others = rng.choice(others, size=count - len(first), replace=False)
    return np.sort(np.concatenate([first, others]))


def default_start(problem: Problem) -> Start:
    """Return k-means++ seeding where a node allows it, else random responsibilities."""
    return plus_plus if seedable(problem) else random
