"""The one loop: M-step, E-step, and the guard that watches both.

Every variant of EM here runs in `half_steps`; what differs is the assignment rule it is given.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from typing import Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.distributions.records import Record
from latentem.em.accelerate import Accelerator, Extrapolation, Records
from latentem.em.assign import Assignment
from latentem.em.expectation import Expectation, Term
from latentem.em.following import Following
from latentem.em.maximise import maximise
from latentem.em.natural import Natural, Nearest, Step, Tables, most_at_once
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.em.trace import HalfStep, Iterations
from latentem.errors import ObjectiveDecreasedError
from latentem.kernels.steps import ROUNDING

#: Limits of the gains of a run that never ends; see `latentem.kernels.leaps.has_ended`.
NEVER = -1.0, math.inf


@attrs.frozen(eq=False)
class Point:
    """θ, and what belongs to it after an E-step.

    Attributes
    ----------
    theta : Theta
    records : dict of str to Record
        Expected statistics, by node.
    terms : dict of str to Term
        Q(θ, θ), by node.
    log_priors : dict of str to float
        Log-densities of the parameters under their priors, by node that has one.
    """

    theta: Theta
    records: dict[str, Record]
    terms: dict[str, Term]
    log_priors: dict[str, float]

    @property
    def at_constraint(self) -> bool:
        """Whether a constraint holds some parameters."""
        return self.theta.at_constraint

    @property
    def comparable(self) -> Records:
        """The records that change θ, about points that stay the same from step to step."""
        pairs = ((name, self.theta.dists[name]) for name in self.records)
        free = {name: dist for name, dist in pairs if dist.free is dist}
        return {name: dist.comparable(self.records[name]) for name, dist in free.items()}


@attrs.frozen(eq=False)
class State:
    """Where the loop stands after an E-step: θ, the posterior's statistics and F belong together.

    Attributes
    ----------
    iteration : int
    at : Point or Tables
        θ with its records, terms of Q and log-priors.
    rule : Assignment
        The assignment rule of this E-step.
    objective : float
        F(θ), log-priors included.
    log_likelihood : float or None
    trace : iterable of HalfStep
        The M-step that led here and this E-step; of several iterations, if they were made at once.
    entropy : float
        That of the posterior.
    earlier : tuple of float
        F of the last but two and the last but one state under this rule, NaN if there was none.
    events : tuple of str
        What the maximisers had to do besides maximising.
    rate : float
        The factor by which an EM step shrinks the error, as an accelerator estimates it; 0 if none
        does.
    """

    iteration: int
    at: Point | Tables
    rule: Assignment
    objective: float
    log_likelihood: float | None
    trace: Iterable[HalfStep]
    entropy: float
    earlier: tuple[float, float] = (math.nan, math.nan)
    events: tuple[str, ...] = ()
    rate: float = 0.0

    def earlier_for(self, rule: Assignment) -> tuple[float, float]:
        """Return `earlier` for the next state."""
        same = rule is self.rule or rule == self.rule
        return (self.earlier[1], self.objective) if same else (math.nan, math.nan)

    @property
    def theta(self) -> Theta:
        """The parameters."""
        return self.at.theta

    @property
    def at_constraint(self) -> bool:
        """Whether a constraint holds some parameters."""
        return self.at.at_constraint

    @property
    def records(self) -> Records:
        """Expected statistics, by node."""
        return self.at.records

    @property
    def terms(self) -> dict[str, Term]:
        """Q(θ, θ), by node."""
        return self.at.terms

    @property
    def log_priors(self) -> dict[str, float]:
        """Log-densities of the parameters under their priors, by node that has one."""
        return self.at.log_priors


def half_steps(
    problem: Problem,
    theta: Theta,
    assign: Assignment,
    accelerate: Accelerator | None = None,
    limits: tuple[float, float] = NEVER,
) -> Generator[State, int | None, None]:
    r"""Run EM from theta for ever, yielding the state after each E-step.

    .. math::
        \text{M}: \theta_{t+1} = \arg\max_\theta Q(\theta, \theta_t) \qquad
        \text{E}: r_{t+1} = p(Z \mid X, \theta_{t+1})

    F = Q + T H + log p(θ), the last where parameters have a prior, never falls in either: the
    M-step maximises Q + log p(θ) at fixed posterior, the E-step maximises F over posteriors at
    fixed θ (Neal and Hinton, A view of the EM algorithm that
    justifies incremental, sparse, and other variants, 1998).

    An accelerator may propose to go further than EM's own step; that is done if F is at least as
    high there. What is refused costs an E-step, and is no iteration.

    Sent a number, it may make as many iterations before it yields the state after the last; it
    stops where the gains of F are within the limits, see `latentem.kernels.leaps.has_ended`.

    Raises
    ------
    ObjectiveDecreasedError
        If F falls by more than rounding; names the node whose term of Q fell.
    """
    rule = assign.at(0)
    following = Following(problem)
    # Hard assignments leap by themselves, and rules that change have no one limit.
    smooth = rule is assign and not rule.is_hard
    natural = Natural.of(problem, theta, rule) if smooth else None
    first = None if natural is None else natural.start()
    if first is None:
        state = _after_e_step(problem, 0, theta, rule, following.expectation(theta, rule))
    else:
        state = _short_state(0, first, rule)
    most = yield state
    ahead = accelerate.start() if accelerate is not None and smooth else None
    nearest = Nearest.of(following, theta, rule) if rule is assign and rule.is_hard else None
    while True:
        several = None if natural is None else _several(natural, state, ahead, most or 1, limits)
        if several is not None:
            state = several
            most = yield state
            continue
        iteration = state.iteration + 1
        proposal = None if ahead is None else _proposal(ahead, natural, state.at)
        if ahead is None or proposal is None:
            steps = natural or nearest
            short = None if steps is None else _short_step(steps, iteration, state)
            state = short or _step(following, iteration, state, assign.at(iteration))
        else:
            further = _leap(problem, natural, iteration, state, proposal, ahead.rate)
            ahead.judge(further is not None)
            if further is None:
                continue
            state = further
        most = yield state


def _several(
    natural: Natural,
    state: State,
    ahead: Extrapolation | None,
    most: int,
    limits: tuple[float, float],
) -> State | None:
    """Return the state some iterations further; None where there is more to the next one."""
    if natural.several is None or not isinstance(state.at, Tables):
        return None
    sums, base = state.at.sums, natural.total_base
    leaps = None if ahead is None else ahead.leaps(sums.size, (natural,))
    if leaps is None and ahead is not None:
        return None  # a rule that compiled loops do not know
    q = state.objective - state.entropy
    run = (q, state.objective, state.earlier[1], state.earlier[0], base, *limits, state.rate)
    steps = natural.several.take(sums, min(most, most_at_once(natural.work)), run, leaps)
    if not len(steps):
        return None
    q, objective, before, earlier, *_, rate = steps.run.tolist()
    return State(
        state.iteration + len(steps),
        Tables(natural, steps.before, steps.sums),
        state.rule,
        objective,
        objective,
        Iterations(state.iteration + 1, state.entropy, steps.values, base),
        objective - q,
        (earlier, before),
        rate=rate,
    )


def _step(following: Following, iteration: int, state: State, rule: Assignment) -> State:
    """Return the state an M-step and an E-step further."""
    problem = following.problem
    # M: each node's maximiser, on its expected statistics.
    maximum = maximise(
        problem,
        state.theta,
        state.records,
        state.rule,
        lambda finer: following.expectation(finer, state.rule),
    )
    theta = maximum.theta
    if maximum.records is not state.records:
        terms = problem.q(state.theta, maximum.records)
        at = Point(state.theta, maximum.records, terms, state.log_priors)
        state = attrs.evolve(state, at=at)
    terms = problem.q(theta, state.records)
    log_priors = problem.log_priors(theta)
    m_row = _m_row(problem, iteration, state, terms, log_priors)
    if state.rule.is_monotone:
        _guard(problem, iteration, state, m_row.objective, terms, log_priors)
    # E: the posterior at the new θ.
    expectation = following.expectation(theta, rule)
    new = _after_e_step(problem, iteration, theta, rule, expectation, m_row, maximum.events)
    if rule.is_monotone and rule == state.rule:
        _guard(problem, iteration, state, new.objective, terms, log_priors)
    return attrs.evolve(new, earlier=state.earlier_for(rule), rate=state.rate)


def _short_step(steps: Natural | Nearest, iteration: int, state: State) -> State | None:
    """Return the state an M-step and an E-step further; None where there is more to a step."""
    step = steps.step(steps.sums_at(state.at))
    if step is None:
        return None
    entropy = state.entropy
    after_m = step.q_before + entropy
    if not state.objective <= after_m <= step.objective:
        rounding = ROUNDING * (step.magnitude + abs(step.objective))
        if not state.objective - rounding <= after_m <= step.objective + rounding:
            return None
    distortion = steps.distortion(after_m)
    m_row = HalfStep(iteration, "M", after_m, step.q_before, entropy, None, distortion)
    earlier = state.earlier_for(state.rule)
    return _short_state(iteration, step, state.rule, (m_row,), earlier, state.rate)


def _short_state(
    iteration: int,
    step: Step,
    rule: Assignment,
    m_row: tuple[HalfStep, ...] = (),
    earlier: tuple[float, float] = (math.nan, math.nan),
    rate: float = 0.0,
) -> State:
    """Return the state after such a step."""
    objective, likelihood = step.objective, step.log_likelihood
    entropy, distortion = objective - step.q, step.at.steps.distortion(objective)
    row = HalfStep(iteration, "E", objective, step.q, entropy, likelihood, distortion)
    trace = (*m_row, row)
    return State(
        iteration, step.at, rule, objective, likelihood, trace, entropy, earlier, rate=rate
    )


def _proposal(
    ahead: Extrapolation, natural: Natural | None, at: Point | Tables
) -> Records | Array | None:
    """Return records to go to, or sums for a short step; None if a plain step is due."""
    sums = None if natural is None else natural.sums_at(at)
    if natural is None or sums is None:
        return ahead.propose(at.comparable)
    vector = ahead.ahead(natural.vector(sums), (natural,))
    return None if vector is None else natural.of_vector(vector)


def _leap(
    problem: Problem,
    natural: Natural | None,
    iteration: int,
    state: State,
    proposal: Records | Array,
    rate: float,
) -> State | None:
    """Return the state at the maximiser of a proposal; None unless F is at least as high."""
    if isinstance(proposal, dict):
        new = _landing(problem, iteration, state, proposal, rate)
    else:
        assert natural is not None
        step, new = natural.step(proposal), None
        if step is not None:
            earlier = state.earlier_for(state.rule)
            new = _short_state(iteration, step, state.rule, earlier=earlier, rate=rate)
        # Among short steps EM itself is to lead to where there is more to one.
        if new is None and not isinstance(state.at, Tables):
            new = _landing(problem, iteration, state, natural.records(proposal), rate)
    return new if new is not None and new.objective >= state.objective else None


def _landing(
    problem: Problem, iteration: int, state: State, records: Records, rate: float
) -> State | None:
    """Return the state at the maximiser of records ahead, None if there is none.

    Records ahead may be none that rows could have (a count below 0): a maximiser may do with them
    what it likes but give parameters at which F is high. A plug-in may raise any exception there;
    one that is wrong elsewhere too raises it in a plain step, where it is seen.
    """
    try:
        with np.errstate(all="ignore"):
            theta = _checked(problem.m_step(state.theta, records))
            if theta.finer(state.theta) is not None or constrained(theta) != constrained(
                state.theta
            ):
                return None  # EM itself is to decide whether a state collapses
        expectation = problem.expectation(theta, state.rule)
    except Exception:
        return None
    new = _after_e_step(problem, iteration, theta, state.rule, expectation)
    return attrs.evolve(new, earlier=state.earlier_for(state.rule), rate=rate)


def _checked(theta: Theta) -> Theta:
    """Return parameters made anew, which raises an error where they are outside their domain."""
    dists: dict[str, Any] = dict(theta.dists)
    made = {name: attrs.evolve(d) if attrs.has(type(d)) else d for name, d in dists.items()}
    return attrs.evolve(theta, dists=made)


def constrained(theta: Theta) -> set[str]:
    """Return the nodes whose parameters a constraint holds, or that have states without rows."""
    dists = theta.dists.items()
    return {name for name, d in dists if d.at_constraint or d.events or d.vacant is not None}


def _after_e_step(
    problem: Problem,
    iteration: int,
    theta: Theta,
    rule: Assignment,
    expectation: Expectation,
    m_row: HalfStep | None = None,
    events: tuple[str, ...] = (),
) -> State:
    records = problem.records(theta, expectation)
    terms = problem.q(theta, records)
    base = problem.base_total(theta)
    free_energy = expectation.objective + base  # Q + T H
    log_priors = problem.log_priors(theta)
    log_prior = sum(log_priors.values())
    evidence = None if expectation.evidence is None else expectation.evidence + base
    q = sum(term.value for term in terms.values())
    row = HalfStep(
        iteration,
        "E",
        free_energy + log_prior,
        q,
        # So that the entropy needs no pass of its own.
        0.0 if rule.is_hard else (free_energy - q) / rule.temperature,
        evidence,
        _distortion(problem, free_energy, terms),
        log_prior if problem.has_priors else None,
    )
    trace = (row,) if m_row is None else (m_row, row)
    objective = free_energy + log_prior
    at = Point(theta, records, terms, log_priors)
    return State(iteration, at, rule, objective, evidence, trace, row.entropy, events=events)


def _m_row(
    problem: Problem,
    iteration: int,
    state: State,
    terms: dict[str, Term],
    log_priors: dict[str, float],
) -> HalfStep:
    """Return the trace's row after an M-step: the posterior, and so its entropy, stay."""
    q = sum(term.value for term in terms.values())
    # Not what Q gained: of a last Q much lower, that would have its rounding error.
    objective = q if state.rule.is_hard else q + state.rule.temperature * state.entropy
    distortion = _distortion(problem, objective, terms)
    log_prior = sum(log_priors.values())
    return HalfStep(
        iteration,
        "M",
        objective + log_prior,
        q,
        state.entropy,
        None,
        distortion,
        log_prior if problem.has_priors else None,
    )


def _distortion(problem: Problem, objective: float, terms: dict[str, Term]) -> float | None:
    """Return J, what is left of -F without the other nodes' terms of Q; None without prototypes.

    A sum of dissimilarities is not below 0, though its rounding error may be.
    """
    hard = problem.model.requires_hard
    if not hard:
        return None
    prototypes = {name for name in hard if not problem.model.by_name[name].is_latent}
    others = sum(term.value for name, term in terms.items() if name not in prototypes)
    return max(others - objective, 0.0)


def _guard(
    problem: Problem,
    iteration: int,
    state: State,
    objective: float,
    terms: dict[str, Term],
    log_priors: dict[str, float],
) -> None:
    """Raise unless the objective is at least the last one, to rounding."""
    magnitude = sum(max(t.magnitude, state.terms[name].magnitude) for name, t in terms.items())
    if objective >= state.objective - ROUNDING * (magnitude + abs(objective)):
        return
    falls: dict[str, float] = {}
    for name, term in terms.items():
        first = problem.model.tied(name)[0]  # one maximiser makes the parameters of tied nodes
        falls[first] = falls.get(first, 0.0) + state.terms[name].value - term.value
    for name, log_prior in log_priors.items():
        falls[name] = falls.get(name, 0.0) + state.log_priors.get(name, 0.0) - log_prior
    guilty = max(falls, key=falls.__getitem__)
    if falls[guilty] > 0:
        suspect = (
            f"the maximiser of node '{guilty}' is the suspect "
            f"(its term of Q fell by {falls[guilty]:.4g})"
        )
    else:
        suspect = "no term of Q fell, so a log_prob that changes between calls is the suspect"
    raise ObjectiveDecreasedError(
        f"F fell from {state.objective:.10g} to {objective:.10g} at iteration {iteration}. "
        f"Exact EM cannot decrease it: {suspect}.",
        node=guilty if falls[guilty] > 0 else None,
        iteration=iteration,
    )
