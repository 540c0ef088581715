"""Starts. A start is a posterior; the ordinary M-step makes θ of it.

A start is called with the problem and a random generator and returns the rows it speaks about (or
None for all) and a posterior of these rows, or something that gives one of any block of them: so
that labels need not be expanded to a table of all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np

from latentem.data import Data, at_data, bound
from latentem.distributions.arrays import Array
from latentem.distributions.records import Record, Rows
from latentem.em.assign import Soft
from latentem.em.problem import Beliefs, Problem
from latentem.em.theta import Theta
from latentem.errors import DataError, ModelError, Unsuitable
from latentem.graph import Model
from latentem.inference.elimination import Factor
from latentem.inference.posterior import Posterior, one_hot

Start = Callable[[Problem, np.random.Generator], tuple[Array | None, Beliefs]]
#: Gives probabilities ``(states, rows)`` of one latent for a block of rows.
Table = Callable[[slice], Array]

#: Rows for each state and column that a random start looks at: few, so that states begin apart,
#: and enough to determine a state.
ROWS_PER_STATE = 10
#: Weight of all other rows together, relative to these.
BACKGROUND = 0.1
#: Rows whose random responsibilities come from one stream.
DRAWN_TOGETHER = 256


@attrs.frozen(eq=False)
class Guess:
    """Independent beliefs about each latent, made for a block of rows when it is read.

    Attributes
    ----------
    tables : dict of str to callable
        For each latent, what gives its probabilities ``(states, rows)``.
    labels : dict of str to array, (n,)
        Known states of latents, -1 where unknown, which the data give.
    """

    tables: dict[str, Table]
    labels: dict[str, Array]

    def __getitem__(self, rows: slice) -> Posterior:
        """Return the posterior of a block of rows."""
        tables = {name: table(rows) for name, table in self.tables.items()}
        for name, labels in self.labels.items():
            known, k = labels[rows], len(tables[name])
            tables[name] = np.where(known == -1, tables[name], one_hot(known, k))
        return Posterior.independent(tables, rows.stop - rows.start)


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


def random(problem: Problem, rng: np.random.Generator) -> tuple[Array | None, Beliefs]:
    """Start from random responsibilities, uniform on the simplex, on a random subset of rows.

    With all of many rows, every state's average would begin at the overall one.
    """
    sizes = problem.layout.elimination.sizes
    n = problem.data.n
    width = max((value[0].size for value in problem.data.values.values()), default=1)
    largest = max(sizes.values(), default=1)
    count = n if largest == 1 else min(n, ROWS_PER_STATE * (1 + width) * largest)
    rows = some_rows(problem.data, count, rng)
    labels = {name: known[rows] for name, known in problem.data.labels.items()}
    return rows, Guess({name: _random_table(k, rng) for name, k in sizes.items()}, labels)


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
    seedable = _seedable(problem)
    if not seedable:
        raise ModelError(
            "plus_plus must have an observed node with a latent parent and a method "
            f"'dissimilarity(value, other)', got none in {problem.model}. Use lem.init.random."
        )
    for scope, names in seedable.items():
        shape = tuple(sizes[name] for name in scope)
        dists = problem.theta(renew=True).dists

        def dissimilarity(seed: int, names: list[str] = names, dists: Any = dists) -> Array:
            total = np.zeros(data.n)
            for name in names:
                value = data.values[name]
                total += dists[name].dissimilarity(value, value[seed : seed + 1])[:, 0]
            return total

        labels = _seed(dissimilarity, int(np.prod(shape)), data, rng)
        for name, state in zip(scope, np.unravel_index(labels, shape), strict=True):
            states.setdefault(name, state)
    tables = {
        name: _label_table(states[name], k, _share_for_others(problem, name))
        if name in states
        else _random_table(k, rng)
        for name, k in sizes.items()
    }
    return None, Guess(tables, data.labels)


def _share_for_others(problem: Problem, name: str) -> float:
    """Return how much of each row a start leaves to the states it was not assigned to.

    None, unless an observed parent divides the rows further: then some combination with its states
    might be left without any row.
    """
    families = problem.layout.observed + problem.layout.latents
    return 0.2 if any(f.observed for f in families if name in (*f.scope, *f.names)) else 0.0


def _seedable(problem: Problem) -> dict[tuple[str, ...], list[str]]:
    """Return the nodes with a dissimilarity, by their latent parents."""
    found: dict[tuple[str, ...], list[str]] = {}
    for family in problem.layout.observed:
        names = [n for n in family.names if problem.model[n].has_dissimilarity]
        if family.scope and names:
            found.setdefault(family.scope, []).extend(names)
    return found


def _seed(
    dissimilarity: Callable[[int], Array], k: int, data: Data, rng: np.random.Generator
) -> Array:
    """Return, for each row, the index of the nearest of k seeds."""
    weights = np.ones(data.n) if data.weights is None else data.weights
    trials = 2 + int(np.log(k))
    first = int(rng.choice(data.n, p=weights / weights.sum()))
    nearest = dissimilarity(first)
    labels = np.zeros(data.n, dtype=np.intp)
    for state in range(1, k):
        potential = nearest * weights
        total = potential.sum()
        if not total > 0:  # fewer distinct rows than states: the rest start on random rows
            labels[rng.integers(data.n)] = state
            continue
        candidates = rng.choice(data.n, size=trials, p=potential / total)
        distances = [dissimilarity(int(c)) for c in candidates]
        left = [float((np.minimum(d, nearest) * weights).sum()) for d in distances]
        best = distances[int(np.argmin(left))]
        labels[best < nearest] = state
        np.minimum(nearest, best, out=nearest)
    return labels


def from_labels(labels: Any) -> Start:
    """Start from known or guessed states.

    Parameters
    ----------
    labels : array, (n,), or mapping of str to array
        States of the latent, or of each latent by name.
    """

    def start(problem: Problem, rng: np.random.Generator) -> tuple[Array | None, Beliefs]:
        sizes = problem.layout.elimination.sizes
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
            tables[name] = _label_table(given, k)
        return None, Guess(tables, {})

    return start


def from_posterior(posterior: Any) -> Start:
    """Start from a posterior.

    Parameters
    ----------
    posterior : Posterior, array (n, states), or mapping of str to array
        Responsibilities of the latent, or of each latent by name.
    """

    def start(problem: Problem, rng: np.random.Generator) -> tuple[Array | None, Beliefs]:
        n, sizes = problem.data.n, problem.layout.elimination.sizes
        if isinstance(posterior, Posterior):
            if posterior.elimination.sizes != sizes or posterior.n != n:
                raise DataError(
                    f"The posterior to start from must be over {sizes} and {n} rows, got "
                    f"{posterior.elimination.sizes} and {posterior.n}. Use one of this model."
                )
            return None, posterior
        tables = {}
        for name, given in _by_latent(posterior, sizes, "responsibilities").items():
            table = np.asarray(given, dtype=float)
            shape = (n, sizes[name])
            if table.shape != shape or not np.all(table >= 0) or not np.allclose(table.sum(1), 1):
                raise DataError(
                    f"responsibilities of '{name}' must be probabilities of shape {shape} that sum "
                    f"to 1 in each row, got shape {table.shape}. Normalise the rows.",
                    node=name,
                )
            tables[name] = table.T
        return None, Posterior.independent(tables, n)

    return start


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
    """Return up to ``count`` rows drawn without repeats, among those with weight."""
    candidates = np.arange(data.n) if data.weights is None else np.flatnonzero(data.weights)
    if len(candidates) <= count:
        return candidates
    return np.sort(rng.choice(candidates, size=count, replace=False))


# -- from a start to θ -------------------------------------------------------------------------


def first_theta(problem: Problem, start: Start | Model | None, rng: np.random.Generator) -> Theta:
    """Return θ of a start: one M-step; nodes that have parameters keep them.

    Raises
    ------
    ModelError
        If all states of a latent are equal: EM would never tell them apart.
    """
    _check_fit(problem)
    if isinstance(start, Model):
        theta = problem.theta(_started(problem, start), renew=True)
        feasible = {name: dist.feasible() for name, dist in theta.dists.items()}
        theta = attrs.evolve(theta, dists=feasible)
    else:
        start = default_start(problem) if start is None else start
        rows, posterior = start(problem, rng)
        part = problem if rows is None else problem.take(rows)
        template = problem.theta(renew=True)
        if not template.is_parameterised:
            records = part.records(template, part.expectation(template, posterior))
            if rows is not None and len(rows) < problem.data.n:
                records = _with_background(problem, template, records, len(rows))
            known = {name for name, dist in template.dists.items() if dist.is_parameterised}
            template = problem.m_step(template, records, keep=known)
        theta = template
    _refuse_equal_states(problem, theta)
    return theta


def _with_background(
    problem: Problem, template: Theta, records: dict[str, Record], n_rows: int
) -> dict[str, Record]:
    """Add all rows, with little weight and all states alike, to the records of a few rows.

    So a level that none of these rows has keeps a probability above zero.
    """
    data = problem.data
    weights = np.ones(data.n) if data.weights is None else data.weights
    scaled = attrs.evolve(data, weights=weights * (BACKGROUND * n_rows / weights.sum()))
    sizes = problem.layout.elimination.sizes
    alike = {name: np.full((k, 1), 1.0 / k) for name, k in sizes.items()}  # 1 for all rows
    everywhere = attrs.evolve(problem, data=scaled)
    posterior = Posterior.independent(alike, data.n)
    background = everywhere.records(template, everywhere.expectation(template, posterior))
    return {
        name: record if isinstance(record, Rows) else record + background[name]
        for name, record in records.items()
    }


def _started(problem: Problem, start: Model) -> Model:
    """Return the declared model with the parameters of a start, which must fit it."""
    model = problem.model
    if not start.is_parameterised:
        raise ModelError("The model to start from must have parameters, got a template. Fit it.")
    if str(start) != str(model) or set(start.by_name) != set(model.by_name):
        raise ModelError(
            f"The model to start from must have the graph {model}, got {start}. "
            "Declare it with the same names and parents."
        )
    for node in model.nodes:
        theirs = start.by_name[node.name].n_states
        if node.n_states is not None and theirs != node.n_states:
            raise ModelError(
                f"Node '{node.name}' of the model to start from must have {node.n_states} states, "
                f"got {theirs}. Use the same numbers of states.",
                node=node.name,
            )
    for node in start.observed:
        value = problem.data.values[node.name]
        assert node.dist is not None
        try:
            suits = node.dist.check(value).shape == value.shape
        except Unsuitable:
            suits = False
        if not suits:
            raise ModelError(
                f"Node '{node.name}' of the model to start from must suit the data, of shape "
                f"{value.shape}, got {node.dist!r}. Use the family and dimension of the model.",
                node=node.name,
            )
    started = {}
    for name, dist in model.distributions.items():
        try:
            started[name] = dist.started_from(start[name])
        except Unsuitable as error:
            raise ModelError(f"Node '{name}' {error}", node=name) from None
    return model.replace(started)


def default_start(problem: Problem) -> Start:
    """Return k-means++ seeding where a node allows it, else random responsibilities."""
    return plus_plus if _seedable(problem) else random


def _check_fit(problem: Problem) -> None:
    """Raise if the data cannot determine the parameters, before any work starts."""
    n = problem.data.n
    for name, k in problem.layout.elimination.sizes.items():
        if k > n:
            raise DataError(
                f"data must have at least as many rows as Node '{name}' has states ({k}), got {n}. "
                "Use fewer states or more data.",
                node=name,
            )
    for node in problem.model.observed:
        assert node.dist is not None
        try:
            bound(node.name, node.dist, problem.whole).check_fit()
        except Unsuitable as error:
            raise at_data(node.name, error) from None


def _refuse_equal_states(problem: Problem, theta: Theta) -> None:
    """Raise if the posterior is the prior in every row: a stationary point of EM."""
    if not problem.model.observed or problem.model.requires_hard:
        return
    rows = np.unique(np.linspace(0, problem.data.n - 1, min(problem.data.n, 1000)).astype(int))
    posterior = problem.take(rows).posterior(theta, Soft())
    prior = _prior(problem, theta)
    unchanged = all(
        np.all(np.abs(after - before) < 1e-12)
        for after, before in zip(posterior.conditionals, prior.conditionals, strict=True)
    )
    sizes = problem.layout.elimination.sizes
    watched = [name for family in problem.layout.observed for name in family.scope]
    for name in watched:
        if unchanged and sizes[name] > 1:
            raise ModelError(
                f"Node '{name}': the states must differ at the start because EM never tells equal "
                "states apart, got the same density under all of them in every row. "
                "Start from lem.init.random, lem.init.plus_plus or other parameters.",
                node=name,
            )


def _prior(problem: Problem, theta: Theta) -> Posterior:
    """Return the distribution of the latents without data; observed parents count as unknown."""
    elimination = problem.layout.elimination
    factors = []
    for family in problem.layout.latents:
        (name,) = family.names
        table = theta.latent_tables[name]
        shaped = np.exp(table).reshape(*family.sizes, table.shape[1], 1)
        for axis, _ in reversed(family.observed):
            shaped = shaped.mean(axis=axis)
        with np.errstate(divide="ignore"):
            factors.append(Factor((*family.scope, name), np.log(shaped)))
    evidence, conditionals = elimination.sum_product(factors)
    return Posterior(elimination, conditionals, 1, evidence=evidence)
