"""The laws of a model."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np

from latentem.data import Data, bind
from latentem.distributions import Array
from latentem.em.assign import Assignment, soft
from latentem.em.fit import fit
from latentem.em.steps import (
    e_step,
    expected_log_joint,
    initialize,
    log_joint,
    log_likelihood,
    m_step,
)
from latentem.errors import DataError
from latentem.graph import Model
from latentem.inference.posterior import Posterior
from latentem.testing.distribution import check_distribution
from latentem.testing.report import ROUNDING, close, failures, report


def check_model(model: Model, data: Any, *, assign: Assignment = soft, seed: int = 0) -> None:
    r"""Run the laws of a model against ``model`` on ``data``.

    From one start, the laws are:

    - every node's distribution keeps the laws of `check_distribution` on its values;
    - the posterior and log p(x) of a few rows equal the sum over all joint states, term by term
      from `log_joint`; under hard assignment the states are the ones of largest term;
    - F = Q + T H, and for soft assignment it is log p(X);
    - the M-step is the maximum of every node's term of Q, among other parameters;
    - no half-step of F is below the last;
    - permuting rows and adding rows of zero weight change nothing, an integer weight equals
      repeated rows, and the same seed gives the same start.

    Parameters
    ----------
    model : Model
        Template or parameterised.
    data : array, mapping or data frame
        At least 8 rows.
    assign : Assignment
        The rule to run; ``lem.hard`` for prototypes.
    seed : int
        Seed of the starts.

    Raises
    ------
    AssertionError
        If a law fails; one line each.
    DataError
        If the data do not fit the model.

    Examples
    --------
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(2))
    >>> model = lem.Model([z, lem.observed("x", lem.Poisson(), given=z)])
    >>> lem.testing.check_model(model, [0, 1, 1, 2, 0, 3, 9, 11, 8, 12])
    """
    model, bound = bind(model, data)
    if bound.missing:
        raise DataError(
            f"data must be complete for check_model, got missing entries of {list(bound.missing)}. "
            "Drop these rows."
        )
    start = initialize(model, bound, seed=seed)
    run = _Run(model, bound, start, assign, seed)
    report(f"The model {model}", failures(run, _LAWS))


@attrs.frozen(eq=False)
class _Run:
    """A model, its data, one start and the rule that the laws run under."""

    model: Model
    data: Data
    start: Model
    assign: Assignment
    seed: int

    @functools.cached_property
    def posterior(self) -> Posterior:
        return e_step(self.start, self.data, assign=self.assign.at(0))

    @functools.cached_property
    def next(self) -> Model:
        return m_step(self.start, self.data, self.posterior)

    def step(self, data: Data, weights: Array | None = None) -> Model:
        """Return the parameters after an E- and an M-step on other rows."""
        posterior = e_step(self.start, data, assign=self.assign.at(0), weights=weights)
        return m_step(self.start, data, posterior)

    @property
    def is_random(self) -> bool:
        return not self.assign.is_monotone


def nodes_keep_their_laws(run: _Run) -> Iterator[str]:
    """Check the distribution of every observed node on its values."""
    for node in run.model.observed:
        assert node.dist is not None
        try:
            inputs = run.data.inputs.get(node.name)
            check_distribution(node.dist, run.data.values[node.name], inputs=inputs, seed=run.seed)
        except AssertionError as error:
            yield f"node '{node.name}': {error}"


def posterior_is_exact(run: _Run) -> Iterator[str]:
    """Check posterior, evidence and mode of a few rows by enumeration of all joint states."""
    sizes = [node.n_states or 0 for node in run.model.latents]
    names = [node.name for node in run.model.latents]
    if not names or math.prod(sizes) > 4096 or run.model.requires_hard:
        return
    rows = np.unique(np.linspace(0, run.data.n - 1, 5).astype(int))
    exact = e_step(run.start, run.data[rows])
    table = exact.marginal(*names)
    for i, row in enumerate(rows):
        one = run.data[np.array([row])]
        joint = np.empty(sizes)
        for states in np.ndindex(*sizes):
            labels = {name: np.array([z]) for name, z in zip(names, states, strict=True)}
            known = all(one.labels.get(n, -1) in (-1, z) for n, z in labels.items())
            complete = attrs.evolve(one, labels=labels)
            joint[states] = log_joint(run.start, complete) if known else -math.inf
        evidence = float(np.logaddexp.reduce(joint, axis=None))
        if not close(exact.log_evidence[i], evidence):
            yield (
                f"log p(x) of row {row} must be the sum over all joint states, {evidence:.10g}, "
                f"got {exact.log_evidence[i]:.10g}"
            )
        elif not close(table[i], np.exp(joint - evidence)):
            yield f"the posterior of row {row} must be p(x, z) / p(x) for all joint states"
        mode = tuple(int(exact.mode()[name][i]) for name in names)
        if not close(joint[mode], joint.max()):
            yield f"the mode of row {row} must be the joint state of largest p(x, z)"


def objective_is_q_plus_entropy(run: _Run) -> Iterator[str]:
    """Check that log p(X) is Q + H."""
    if run.model.requires_hard or not isinstance(run.assign, type(soft)):
        return
    q = expected_log_joint(run.start, run.data, run.posterior).total
    expected = log_likelihood(run.start, run.data)
    if not close(q + run.posterior.entropy, expected):
        yield (
            f"log p(X) must be Q + H, got log p(X) = {expected:.10g}, Q = {q:.10g}, "
            f"H = {run.posterior.entropy:.10g}"
        )


def m_step_maximises(run: _Run) -> Iterator[str]:
    """Check that no other parameters have a larger term of Q, plus that of their prior."""
    q = expected_log_joint(run.next, run.data, run.posterior)
    template = run.model
    others = [run.start, *(initialize(template, run.data, seed=run.seed + i) for i in (1, 2, 3))]
    values = [q.by_node, *(q.at(other).by_node for other in others)]
    models = [run.next, *others]
    for name in q.by_node:
        tied = template.tied(name)
        if name != tied[0]:
            continue
        # Of nodes with one θ, the sum of their terms.
        best, *rest = (
            sum(terms[each] for each in tied if each in terms) + model[name].log_prior
            for terms, model in zip(values, models, strict=True)
        )
        if max(rest) > best + ROUNDING * (1 + abs(best)):
            yield (
                f"the M-step must maximise Q, but other parameters raise the term of node "
                f"'{name}' from {best:.10g} to {max(rest):.10g}; mend its fit"
            )


def half_steps_do_not_fall(run: _Run) -> Iterator[str]:
    """Check every half-step of F."""
    if run.is_random:
        return
    result = fit(run.start, run.data, assign=run.assign, restarts=1, tol=0.0, max_iter=15)
    objective = result.trace["objective"]
    falls = np.diff(objective) < -ROUNDING * (1 + np.abs(objective[1:]))
    for i in np.flatnonzero(falls)[:1]:
        row = result.trace.rows[i + 1]
        yield (
            f"F must not fall, but the {row.phase}-step of iteration {row.iteration} takes it from "
            f"{objective[i]:.10g} to {objective[i + 1]:.10g}"
        )


def rows_have_no_order(run: _Run) -> Iterator[str]:
    """Check that permuting the rows changes nothing."""
    if not run.is_random:
        order = np.random.default_rng(run.seed).permutation(run.data.n)
        yield from _differences("permuting the rows", run.step(run.data[order]), run.next)


def weights_count_rows(run: _Run) -> Iterator[str]:
    """Check that integer weights repeat rows and zero weights remove them."""
    if run.is_random:
        return
    counts = 1 + np.arange(run.data.n) % 3
    repeated = run.step(run.data[np.repeat(np.arange(run.data.n), counts)])
    weighted = run.step(run.data, counts)
    yield from _differences("writing repeated rows as integer weights", weighted, repeated)
    kept = np.arange(run.data.n) % 4 > 0
    without = run.step(run.data[np.flatnonzero(kept)])
    yield from _differences("adding rows of zero weight", run.step(run.data, 1.0 * kept), without)


def seeds_decide(run: _Run) -> Iterator[str]:
    """Check that one seed gives one start."""
    again = initialize(run.model, run.data, seed=run.seed)
    yield from _differences("starting again with the same seed", again, run.start)


def _differences(what: str, found: Model, expected: Model) -> Iterator[str]:
    for name, dist in expected.distributions.items():
        for field, array in dist.parameters.items():
            other = found[name].parameters[field]
            if array is not None and not (other is not None and close(other, array)):
                yield f"{what} must change nothing, but changes `{field}` of node '{name}'"


_LAWS: tuple[Callable[[_Run], Iterator[str]], ...] = (
    nodes_keep_their_laws,
    posterior_is_exact,
    objective_is_q_plus_entropy,
    m_step_maximises,
    half_steps_do_not_fall,
    rows_have_no_order,
    weights_count_rows,
    seeds_decide,
)
