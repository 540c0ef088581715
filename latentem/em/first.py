"""From a start to θ: one M-step under the posterior that the start gives."""

from __future__ import annotations

import attrs
import numpy as np

from latentem.columns import at_data
from latentem.data import Data, bound
from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.records import Record
from latentem.em.assign import Soft, soft
from latentem.em.expectation import Beliefs
from latentem.em.init import Start, default_start, plus_plus, random, seedable
from latentem.em.mixture import is_mixture
from latentem.em.natural import Natural, have_other_means
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.errors import DataError, DegenerateError, EqualStatesError, ModelError, Unsuitable
from latentem.graph import Model, same_parameters
from latentem.inference.elimination import Factor
from latentem.inference.posterior import Posterior

#: Weight of all rows together, relative to the few that a random start looks at.
BACKGROUND = 0.1
#: Rows in which a start is to tell the states apart; and fewer, in which most do, looked at first.
ROWS_LOOKED_AT, FIRST_ROWS = 1000, 50


def first_theta(problem: Problem, start: Start | Model | None, rng: np.random.Generator) -> Theta:
    """Return θ of a start: one M-step; nodes that have parameters keep them.

    Raises
    ------
    EqualStatesError
        If the posterior is the prior in every row: EM would stay there.
    """
    _check_rows(problem)
    model = _started(problem, start) if isinstance(start, Model) else problem.model
    _check_fit(problem, model)
    if isinstance(start, Model):
        theta = problem.theta(model, renew=True)
        feasible = {name: dist.feasible() for name, dist in theta.dists.items()}
        if any(dist is not theta.dists[name] for name, dist in feasible.items()):
            theta = attrs.evolve(theta, dists=feasible)
    else:
        _check_levels(problem)
        start = default_start(problem) if start is None else start
        rows, posterior = start(problem, rng)
        theta = problem.theta(renew=True)
        if not theta.is_parameterised:
            # Without parameters there is nothing to complete values with, but other rows.
            # Those drawn for a start that is given do not depend on the seed.
            given = start not in (random, plus_plus)
            complete = problem.filled(np.random.default_rng(0) if given else rng)
            template = attrs.evolve(theta, layout=complete.layout)
            theta = attrs.evolve(
                _first_m_step(complete, template, rows, posterior), layout=problem.layout
            )
    _refuse_equal_states(problem, theta, by_chance=start in (random, plus_plus))
    return theta


def _first_m_step(
    problem: Problem, template: Theta, rows: Array | None, posterior: Beliefs
) -> Theta:
    """Return the maximum of Q under the posterior of these rows; parameters that are known stay."""
    part = problem if rows is None else problem.take(rows)
    records = part.records(template, part.expectation(template, posterior))
    if rows is not None and len(rows) < problem.data.n:
        records = _with_background(problem, template, records, part.data.total_weight)
    known = {name for name, dist in template.dists.items() if dist.is_parameterised}
    return problem.m_step(template, records, keep=known)


def _with_background(
    problem: Problem, template: Theta, records: dict[str, Record], weight: float
) -> dict[str, Record]:
    """Add all rows, with little weight and all states alike, to the records of rows of a weight.

    So a level that none of these rows has keeps a probability above zero.
    """
    data = problem.data
    share = BACKGROUND * weight / data.total_weight
    scaled = attrs.evolve(data, weights=data.row_weights * share)
    sizes = problem.layout.elimination.sizes
    alike = {name: np.full((k, 1), 1.0 / k) for name, k in sizes.items()}  # 1 for all rows
    posterior = Posterior.independent(alike, data.n)
    # Records that hold rows need no background, and all rows would be many; but parameters that
    # bound the support would shut out the rows that they have not seen.
    dists = template.dists
    kept = {n for n, r in records.items() if not r.holds_rows or dists[n].bounds_support}
    layout = template.layout.of_nodes(kept)
    theta = attrs.evolve(template, layout=layout)
    everywhere = attrs.evolve(problem, data=scaled, layout=layout)
    background = everywhere.records(theta, everywhere.expectation(theta, posterior))
    return {
        name: record + background[name] if name in kept else record
        for name, record in records.items()
    }


def _started(problem: Problem, start: Model) -> Model:
    """Return the declared model with the parameters of a start, which must fit it."""
    model = problem.model
    if start is not model:
        _check_start(problem, start)
    started = {}
    for name, dist in model.distributions.items():
        try:
            started[name] = dist.started_from(start[model.tied(name)[0]])
        except Unsuitable as error:
            raise ModelError(f"Node '{name}' {error}", node=name) from None
    return model.replace(started)


def _check_start(problem: Problem, start: Model) -> None:
    """Raise unless a model to start from fits the declared one."""
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
        value = problem.data.values.get(node.name)
        if value is None or node.dist is model[node.name]:  # which the data were checked for
            continue
        assert node.dist is not None
        value = node.dist.fill_gaps(value)
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
    for node in model.nodes:
        if node.tie is not None and not same_parameters(start[node.name], start[node.tie]):
            raise ModelError(
                f"Node '{node.name}' of the model to start from must have the parameters of "
                f"'{node.tie}' because the two are tied, got others. Declare the tie there too.",
                node=node.name,
            )


def _check_rows(problem: Problem) -> None:
    """Raise if there are too few rows or entries to determine the parameters."""
    data = problem.whole
    counted = data.counted
    n = int(counted.sum())
    for node in problem.model.observed:
        tied = any(other != node.name for other in problem.tied_values(node.name))
        if node.name not in data.labels and not (tied and node.name not in data.values):
            _check_entries(node.name, data, counted)
    for node in problem.model.latents:
        if (node.n_states or 0) > n:
            raise DataError(
                f"data must have at least as many rows as Node '{node.name}' has states "
                f"({node.n_states}), got {n}. Use fewer states or more data.",
                node=node.name,
            )


def _check_fit(problem: Problem, model: Model) -> None:
    """Raise if the data leave a node, as it is to be fitted, without a maximum."""
    for node in model.observed:
        dist = model[node.name]
        if node.name not in problem.data.values or not dist.checks_fit:
            continue
        try:
            bound(problem.tied_values(node.name), dist, problem.whole).check_fit()
        except Unsuitable as error:
            raise at_data(node.name, error) from None


def _check_levels(problem: Problem) -> None:
    """Raise unless each state of observed parents occurs where parameters are to be found for it.

    Those of a state that no row is in would have none; but a node may have them from one it is tied
    to.
    """
    data = problem.whole
    counted = data.counted
    for family in (*problem.layout.observed, *problem.layout.latents):
        templates = [
            name
            for name in family.names
            if not problem.model[name].is_parameterised and len(problem.model.tied(name)) == 1
        ]
        if not templates or not family.observed:
            continue
        shape = tuple(family.sizes[axis] for axis, _ in family.observed)
        states = [data.values[name][counted] for _, name in family.observed]
        seen = np.zeros(shape, dtype=bool)
        seen[tuple(states)] = True
        if not seen.all():
            lacking = [int(i) for i in np.argwhere(~seen)[0]]
            names = [name for _, name in family.observed]
            combination = " and ".join(f"'{n}' = {i}" for n, i in zip(names, lacking, strict=True))
            raise DegenerateError(
                f"Node '{templates[0]}': every state of its observed parents must occur in a row "
                f"because it has parameters for each, got no row with {combination}. Declare "
                "fewer states, start from a model with parameters, or give more data.",
                node=templates[0],
            )


def _check_entries(name: str, data: Data, counted: Array) -> None:
    """Raise unless every column of a node has an entry in a row that counts."""
    value, present = data.values.get(name), data.present(name)
    column = ""
    if value is not None:
        seen = counted if present is None else counted & present
        if name in data.gapped:
            empty = np.ones(value.shape[1], dtype=bool)
            for start in range(0, len(value), ROWS_LOOKED_AT):  # mostly the first have some of all
                rows = slice(start, start + ROWS_LOOKED_AT)
                empty &= np.isnan(value[rows][counted[rows]]).all(axis=0)
                if not empty.any():
                    return
            column = f" (column {empty.argmax()})"
        elif seen.any():
            return
    raise DataError(
        f"data['{name}'] must have an observed entry in every column, got none{column}. "
        "Leave it out of the data and the model.",
        node=name,
    )


def _refuse_equal_states(problem: Problem, theta: Theta, *, by_chance: bool) -> None:
    """Raise if the data say nothing about some latent: its states are equal, and would stay so.

    A start that was drawn has told them apart as far as the data let it.
    """
    if not problem.model.observed or problem.model.requires_hard:
        return
    if _told_apart_at_once(problem, theta):
        return
    stuck = _stuck(problem, theta)
    drawn = "lem.init.plus_plus" if seedable(problem) else "lem.init.from_labels(...)"
    remedy = f"Start from lem.init.random, {drawn} or other parameters."
    if by_chance:
        remedy = (
            "One state may be all that these rows show: declare fewer, or start from parameters "
            "that differ."
        )
    for name in stuck:
        raise EqualStatesError(
            f"Node '{name}': the states must differ at the start because EM never tells equal "
            f"states apart, got the same density under all of them in every row. {remedy}",
            node=name,
        )


def _told_apart_at_once(problem: Problem, theta: Theta) -> bool:
    """Return whether the first rows tell the states of a mixture apart, as they mostly do."""
    if not is_mixture(problem.layout, problem.data) or problem.layout.incomplete:
        return False
    (family,), (stack,) = problem.layout.observed, theta.stacks
    if problem.data.n <= ROWS_LOOKED_AT:
        if _told_apart_by_first_step(problem, theta):
            return True
        if stack.pairs is None:  # densities of a plug-in are asked for all rows at once
            return False
    (log_prior,) = theta.latent_tables.values()
    first = tuple(problem.data.argument(name)[:FIRST_ROWS] for name in family.names)
    table = stack.on(first).log_density()
    family.check(table)
    # If they differ, and all have a part in it, the posterior differs from the prior.
    return not _alike(table) and bool(log_prior.min() > LOG_ZERO)


def _told_apart_by_first_step(problem: Problem, theta: Theta) -> bool:
    """Return whether the first E-step gives the states other means of the statistics."""
    natural = Natural.of(problem, theta, soft)
    if natural is None or natural.first is None:
        return False
    return have_other_means(natural.first[1])


def _stuck(problem: Problem, theta: Theta) -> list[str]:
    """Return the latents whose states are equal, as far as the rows looked at say."""
    n = problem.data.n
    part = problem
    if n > ROWS_LOOKED_AT:
        part = problem.take(np.linspace(0, n - 1, ROWS_LOOKED_AT).astype(int))
    watched = {name for family in problem.layout.observed for name in family.scope}
    hidden = {name for name, k in problem.layout.elimination.sizes.items() if k > 1} & watched
    alone = [name for name in _alone(problem) if name in hidden]
    densities = part.log_densities(theta) if alone else []
    stuck = [name for name in alone if _states_alike(densities, name)]
    # If they differ, and all have a part in it, the posterior differs from the prior.
    differ = hidden == set(alone) and all(
        theta.latent_tables[name].min() > LOG_ZERO for name in alone
    )
    regressed = problem.layout.regressed
    if not stuck and hidden and not regressed and not differ and _posterior_is_prior(part, theta):
        stuck = [name for name in problem.layout.elimination.sizes if name in hidden]
    return stuck


def _alone(problem: Problem) -> list[str]:
    """Return the latents that have neither latent parents nor latent children, nor labels."""
    linked = {name for family in problem.layout.latents if family.scope for name in family.names}
    linked |= {name for family in problem.layout.latents for name in family.scope}
    sizes = problem.layout.elimination.sizes
    linked |= problem.layout.regressed  # their prior tells the states apart by itself
    return [name for name in sizes if name not in linked and name not in problem.data.labels]


def _states_alike(densities: list[tuple[tuple[str, ...], Array]], name: str) -> bool:
    """Return whether no observed node has another density under another state of a latent."""
    for scope, table in densities:
        if name in scope and not _alike(np.moveaxis(table, scope.index(name), 0)):
            return False
    return True


def _alike(table: Array) -> bool:
    """Return whether log-densities are the same along the first axis."""
    table = np.maximum(table, LOG_ZERO)  # two zeros are alike
    return bool(np.all(np.abs(table - table[:1]) < 1e-12))


def _posterior_is_prior(problem: Problem, theta: Theta) -> bool:
    posterior = problem.posterior(theta, Soft())
    prior = _prior(problem, theta)
    return all(
        bool(np.all(np.abs(after - before) < 1e-12))
        for after, before in zip(posterior.conditionals, prior.conditionals, strict=True)
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
