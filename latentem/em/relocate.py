"""What becomes of states that lost all their rows, where their family asks for a new place."""

from __future__ import annotations

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.base import Distribution
from latentem.em.assign import Assignment
from latentem.em.problem import Problem, family_of
from latentem.em.theta import Theta


def relocate_vacant(
    problem: Problem, old: Theta, new: Theta, rule: Assignment
) -> tuple[Theta, tuple[str, ...]]:
    """Move vacant states to the rows represented worst, and collect what the maximisers report.

    The objective cannot fall by it: a vacant state has no weight in Q, and in the next E-step a
    further prototype can only shorten distances.
    """
    events = []
    moved: dict[str, Distribution] = {}
    for name, dist in new.dists.items():
        if dist.vacant is not None:
            count = int(np.count_nonzero(dist.vacant))
            rows = worst_rows(problem, old, name, rule, count)
            if len(rows) < count:
                events.append(f"node '{name}': {_too_few_rows(len(rows), count)}")
            if len(rows):
                dist = moved[name] = dist.relocate(rows)
        events += [f"node '{name}': {event}" for event in dist.events]
    theta = attrs.evolve(new, dists={**new.dists, **moved}) if moved else new
    return theta, tuple(events)


def _too_few_rows(found: int, wanted: int) -> str:
    return (
        f"{wanted} states had lost all their rows and only {found} distinct rows are not "
        "represented exactly; the others stay without rows"
    )


def worst_rows(problem: Problem, theta: Theta, name: str, rule: Assignment, count: int) -> Array:
    """Return up to ``count`` distinct values of a node with the lowest expected log-density."""
    family = family_of(problem.layout, name)
    posterior = problem.posterior(theta, rule)
    data = problem.data
    weights = family.over_parents(posterior.table(family.scope), data)
    log_density = theta.kernels[name].on(data.values[name]).log_density()
    represented = np.einsum("kn,kn->n", np.broadcast_to(weights, log_density.shape), log_density)
    if data.weights is not None:
        represented = np.where(data.weights > 0, represented, 0.0)
    order = np.argsort(represented, kind="stable")
    order = order[represented[order] < 0]
    values, first = np.unique(data.values[name][order], axis=0, return_index=True)
    return values[np.argsort(first)[:count]]
