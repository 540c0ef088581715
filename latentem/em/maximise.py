"""The M-step: each node's maximiser, and what becomes of states that lost all their rows."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.base import Distribution
from latentem.distributions.records import Record
from latentem.em.assign import Assignment, Hard
from latentem.em.expectation import Beliefs, Expectation
from latentem.em.following import distances_alone, represented_by_nearest
from latentem.em.mixture import Mixture, is_mixture
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.parallel import map_blocks


@attrs.frozen(eq=False)
class Maximum:
    """What an M-step finds.

    Attributes
    ----------
    theta : Theta
        The parameters that maximise Q.
    records : dict of str to Record
        Those it was made of: the ones given, or finer ones.
    events : tuple of str
        What the maximisers had to do besides maximising.
    """

    theta: Theta
    records: dict[str, Record]
    events: tuple[str, ...]


def maximise(
    problem: Problem,
    theta: Theta,
    records: dict[str, Record],
    source: Assignment | Beliefs,
    expect: Callable[[Theta], Expectation] | None = None,
) -> Maximum:
    """Return the maximum of Q under the posterior that ``source`` gives at ``theta``.

    Where a state has become too tight for its records they are taken again, to more digits, by
    ``expect`` if that is given.
    """
    new = problem.m_step(theta, records)
    finer = new.finer(theta)
    if finer is not None:
        again = problem.expectation(finer, source) if expect is None else expect(finer)
        records = problem.records(finer, again)
        new = problem.m_step(finer, records)
    new, events = _relocated(problem, theta, new, source)
    return Maximum(new, records, events)


def _relocated(
    problem: Problem, old: Theta, new: Theta, source: Assignment | Beliefs
) -> tuple[Theta, tuple[str, ...]]:
    """Move vacant states to the rows represented worst, and collect what the maximisers report.

    The objective cannot fall by it: a vacant state has no weight in Q, and in the next E-step a
    further prototype can only shorten distances.
    """
    events = []
    moved: dict[str, Distribution] = {}
    for name, dist in new.dists.items():
        if problem.model.tied(name)[0] != name:
            continue
        if dist.vacant is not None:
            count = int(np.count_nonzero(dist.vacant))
            rows = worst_rows(problem, old, name, source, count)
            if len(rows) < count:
                events.append(
                    f"node '{name}': states without rows: {count}, but distinct rows that are not "
                    f"represented exactly: {len(rows)}; the other states stay without rows"
                )
            if len(rows):
                dist = dist.relocate(rows)
                moved.update(dict.fromkeys(problem.model.tied(name), dist))
        events += [f"node '{name}': {event}" for event in dist.events]
    if moved:
        new = attrs.evolve(new, dists={**new.dists, **moved})
    return new, tuple(events)


def worst_rows(
    problem: Problem, theta: Theta, name: str, source: Assignment | Beliefs, count: int
) -> Array:
    """Return up to ``count`` distinct values with the lowest expected log-density.

    Of a node, or of all that have one θ with it.
    """
    tied = problem.tied_values(name)
    represented = np.concatenate([_represented(problem, theta, each, source) for each in tied])
    values = problem.data.values[name]
    if len(tied) > 1:  # else that would be a copy
        values = np.concatenate([problem.data.values[each] for each in tied])
    chosen: list[int] = []
    while len(chosen) < count and represented.min() < 0:
        worst = int(represented.argmin())
        chosen.append(worst)
        if len(chosen) == count:
            break
        same = (values == values[worst]) | (np.isnan(values) & np.isnan(values[worst]))
        represented[same.reshape(len(values), -1).all(axis=1)] = 0.0
    return values[chosen]


def _represented(problem: Problem, theta: Theta, name: str, source: Assignment | Beliefs) -> Array:
    """Return the expected log-density of each row's value of a node, 0 for one without weight."""
    family = problem.layout.family_of(name)
    alone = is_mixture(problem.layout, problem.data) and len(family.names) == 1
    if alone and isinstance(source, Hard) and not problem.layout.incomplete:
        return _represented_by_best(problem, theta, source)

    def block(rows: slice) -> Array:
        part = problem.block(theta, rows, source)
        data = part.data
        weights = family.over_parents(part.posterior.table(family.scope), data)
        log_density = theta.kernels[name].on(data.argument(name)).log_density()
        weights = np.broadcast_to(weights, log_density.shape)
        represented: Array = np.einsum("kn,kn->n", weights, log_density)
        counted = data.present(name)
        if data.weights is not None:
            counted = (data.weights > 0) if counted is None else counted & (data.weights > 0)
        return represented if counted is None else represented * counted

    return np.concatenate(list(map_blocks(block, problem.data.n, theta.cells)))


def _represented_by_best(problem: Problem, theta: Theta, rule: Hard) -> Array:
    """Do so for the one node of a mixture, whose rows have one state each: by one product."""
    kernel = distances_alone(problem, theta, rule)
    nearest = None if kernel is None else represented_by_nearest(problem, kernel)
    if nearest is not None:
        return nearest if problem.data.weights is None else nearest * (problem.data.weights > 0)
    mixture = Mixture.of(theta, rule)
    (family,), (log_prior,) = problem.layout.observed, theta.latent_tables.values()

    def block(rows: slice) -> Array:
        data = problem.data[rows]
        attached = problem.attached(mixture.stack, family, data, rows)
        state, log_joint = mixture.best(family, attached)
        represented: Array = log_joint - np.maximum(log_prior[0], LOG_ZERO)[state]
        return represented if data.weights is None else represented * (data.weights > 0)

    return np.concatenate(list(map_blocks(block, problem.data.n, mixture.cells)))
