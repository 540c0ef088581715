"""`fit` and `iterate`: starts, convergence, endings, and the result."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import attrs
import numpy as np

from latentem.em.assign import Assignment, soft
from latentem.em.init import Start, default_start, first_theta, random
from latentem.em.loop import State, half_steps
from latentem.em.problem import Problem, Theta
from latentem.em.progress import Progress
from latentem.em.result import Ending, Fit
from latentem.em.status import Status
from latentem.em.steps import ExpectedLogJoint, check_assign, values_of
from latentem.em.trace import HalfStep, Trace
from latentem.errors import (
    ConvergenceWarning,
    DegenerateError,
    DegenerateWarning,
    LatentemError,
    ModelError,
)
from latentem.graph import Model
from latentem.inference.posterior import Posterior

#: Share of the tolerance that may be left to gain by Aitken's estimate, an extrapolation itself.
MARGIN = 0.01
#: Rows and iterations of the short runs that choose a start.
SHORT_ROWS, SHORT_ITERATIONS = 20_000, 20
#: Table cells (rows times states) up to which an iteration costs next to nothing.
SMALL = 500_000
DEFAULT_MAX_ITER = 10_000


@attrs.frozen(eq=False, slots=False, repr=False)
class Step:
    """One iteration: θ, its posterior and its objective, which belong together.

    Attributes
    ----------
    iteration : int
        0 is the start.
    objective : float
        F(θ), in nats.
    log_likelihood : float or None
        log p(X | θ), where the assignment rule computes it.
    trace : tuple of HalfStep
        The half-steps since the last one.
    """

    iteration: int
    objective: float
    log_likelihood: float | None
    trace: tuple[HalfStep, ...]
    _problem: Problem
    _state: State

    @classmethod
    def of(cls, problem: Problem, state: State) -> Step:
        """Show a state of the loop."""
        return cls(
            state.iteration, state.objective, state.log_likelihood, state.trace, problem, state
        )

    @cached_property
    def model(self) -> Model:
        """θ, as a parameterised model."""
        return self._problem.to_model(self._state.theta)

    @cached_property
    def posterior(self) -> Posterior:
        """The posterior at θ, of every row."""
        return self._problem.posterior(self._state.theta, self._state.rule)

    @cached_property
    def Q(self) -> ExpectedLogJoint:
        """Q(θ, θ), node by node."""
        by_node = values_of(self._state.terms)
        problem = attrs.evolve(self._problem, model=self.model)
        return ExpectedLogJoint(problem, self._state.records, by_node)

    def __repr__(self) -> str:
        return f"Step {self.iteration}: objective {self.objective:.6f} nats"


@attrs.frozen
class Convergence:
    """When a run has converged.

    When the last gain in the objective, per unit of weight, is within the tolerance. (Under hard
    assignment, whose objective has the data's unit: relative to the objective.)

    Where an iteration costs next to nothing, the gains to come count too. Near a fixed point they
    shrink by a factor a = d_t / d_{t-1}, so that d_t a / (1 - a) is left to gain (Aitken; Böhning
    et al., Ann. Inst. Stat. Math. 46, 1994); that must be within a hundredth of the tolerance, and
    hard assignments must have stopped changing.

    Attributes
    ----------
    tol : float
        Per unit of weight, in nats; 0 never converges.
    parameter_tol : float or None
        If given, the largest change of a parameter, relative to the largest magnitude in its array,
        must be below it too.
    thorough : bool
        Whether the gains to come count.
    """

    tol: float
    parameter_tol: float | None = None
    thorough: bool = True

    @classmethod
    def on(cls, problem: Problem, tol: Any, parameter_tol: Any = None) -> Convergence:
        """Return the criterion for a problem: thorough where its data are small."""
        return cls(
            _nonnegative("tol", tol),
            None if parameter_tol is None else _nonnegative("parameter_tol", parameter_tol),
            is_small(problem),
        )

    def reached(self, states: list[State], weight: float) -> bool:
        """Return whether the last of the states is converged; they are consecutive."""
        if self.tol <= 0 or len(states) < 2:
            return False
        rule = states[-1].rule
        if not (rule.is_settled and rule.is_monotone):
            return False
        return self._objective_reached(states, weight) and self._parameters_reached(states)

    def _objective_reached(self, states: list[State], weight: float) -> bool:
        objective = states[-1].objective
        gain = objective - states[-2].objective
        if abs(gain) <= 4 * np.finfo(float).eps * abs(objective):
            return True
        if states[-1].rule.is_hard:
            return not self.thorough and gain <= self.tol * abs(objective)
        if gain > self.tol * weight:
            return False
        return not self.thorough or self._left_to_gain(states) <= MARGIN * self.tol * weight

    def _left_to_gain(self, states: list[State]) -> float:
        """Return Aitken's estimate of the gains to come."""
        if len(states) < 3:
            return np.inf
        before, gain = np.diff([state.objective for state in states[-3:]])
        if gain <= 0:
            return 0.0
        rate = gain / before if before > 0 else 1.0
        return float(gain * rate / (1.0 - rate)) if rate < 1.0 else np.inf

    def _parameters_reached(self, states: list[State]) -> bool:
        if self.parameter_tol is None:
            return True
        return parameter_change(states[-2].theta, states[-1].theta) < self.parameter_tol


def is_small(problem: Problem) -> bool:
    """Return whether an iteration costs next to nothing, so that thoroughness is free."""
    return problem.data.n * problem.layout.cells <= SMALL


def parameter_change(old: Theta, new: Theta) -> float:
    """Return the largest relative change of a parameter."""
    largest = 0.0
    for name, dist in new.dists.items():
        before = old.dists[name].parameters
        for field, value in dist.parameters.items():
            previous = before.get(field)
            if value is None or previous is None or not value.size:
                continue
            scale = np.abs(previous).max() or 1.0
            largest = max(largest, float(np.abs(value - previous).max() / scale))
    return largest


class Run:
    """One start followed to its end; can be stopped and continued."""

    def __init__(
        self, problem: Problem, theta: Theta, assign: Assignment, convergence: Convergence
    ) -> None:
        self.problem = problem
        self.states: list[State] = []  # the last few
        self.rows: list[HalfStep] = []
        self.events: list[str] = []
        self.status = Status.ITERATION_LIMIT
        self.best: State | None = None
        self._steps = half_steps(problem, theta, assign)
        self._convergence = convergence

    @property
    def last(self) -> State:
        """The state to report: the last one, or under a rule that may fall the best one."""
        assert self.best is not None
        state = self.states[-1]
        return state if state.rule.is_monotone else self.best

    def steps(self, max_iter: int) -> Iterator[State]:
        """Go on until converged or at iteration ``max_iter``, yielding each state."""
        while self.status is Status.ITERATION_LIMIT:
            if self.states and self.states[-1].iteration >= max_iter:
                return
            state = next(self._steps)
            self.states = [*self.states[-2:], state]
            self.rows += state.trace
            self.events += [f"iteration {state.iteration}: {e}" for e in state.events]
            if self.best is None or state.objective > self.best.objective:
                self.best = state
            if self._convergence.reached(self.states, self.problem.data.total_weight):
                self.status = Status.CONVERGED
                if any(dist.at_constraint for dist in state.theta.dists.values()):
                    self.status = Status.DEGENERATE
            yield state

    def ending(self, *, continued: bool = True) -> Ending:
        """Return how the run stands."""
        return Ending(self.status, self.last.objective, self.states[-1].iteration, continued)

    @property
    def rank(self) -> tuple[bool, float]:
        """For sorting: runs without an active constraint first, then by objective."""
        at_constraint = any(dist.at_constraint for dist in self.last.theta.dists.values())
        return (not at_constraint, self.last.objective)


def iterate(
    model: Model,
    data: Any,
    *,
    init: Start | Model | None = None,
    assign: Assignment = soft,
    tol: float = 1e-6,
    max_iter: int = DEFAULT_MAX_ITER,
    weights: Any = None,
    seed: int | np.random.Generator | None = None,
) -> Iterator[Step]:
    """Run EM from one start, yielding every iteration: own the loop if you like.

    Parameters
    ----------
    model : Model
        Nodes that have parameters start from them.
    data : array, mapping or data frame
    init : start or Model, optional
        As in `fit`.
    assign : Assignment
        The assignment rule.
    tol : float
        As in `fit`; 0 goes on to ``max_iter``.
    max_iter : int
        Number of iterations after the start.
    weights : array, (n,), optional
        Row weights.
    seed : int or numpy.random.Generator, optional

    Yields
    ------
    Step
        ``step.model`` is θ, ``step.posterior`` is p(Z | X, θ) and ``step.log_likelihood`` is
        log p(X | θ), all of the same θ. The first is the start, iteration 0.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> x = np.array([0.0, 1.0, 8.0, 9.0])
    >>> z = lem.latent("z", lem.Categorical(2))
    >>> model = lem.Model([z, lem.observed("x", lem.Normal(), given=z)])
    >>> steps = list(lem.iterate(model, x, seed=0))
    >>> all(b.objective >= a.objective - 1e-12 for a, b in zip(steps, steps[1:]))
    True
    """
    check_assign(model, assign)
    problem = Problem.of(model, data, weights)
    theta = first_theta(problem, init, np.random.default_rng(seed))
    run = Run(problem, theta, assign, Convergence.on(problem, tol))
    for state in run.steps(_whole("max_iter", max_iter, 0)):
        yield Step.of(problem, state)


def fit(
    model: Model,
    data: Any,
    *,
    init: Start | Model | None = None,
    assign: Assignment = soft,
    accelerate: None = None,
    tol: float = 1e-6,
    parameter_tol: float | None = None,
    max_iter: int = DEFAULT_MAX_ITER,
    restarts: int | None = None,
    weights: Any = None,
    lengths: Any = None,
    seed: int | np.random.Generator | None = None,
    on_step: Callable[[Step], object] | None = None,
    progress: bool = False,
) -> Fit:
    r"""Fit a model by expectation-maximisation.

    By default: several short runs from different starts (on a subsample where data are many), the
    best of which are continued to convergence (Biernacki, Celeux and Govaert, Computational
    Statistics & Data Analysis 41, 2003). A model whose nodes all have parameters is the start.

    Parameters
    ----------
    model : Model
    data : array, mapping or data frame
        An array when one node is observed; a mapping from node names; or a data frame.
    init : start or Model, optional
        One of `latentem.init`, or a model whose parameters to start from.
    assign : Assignment
        `soft` (EM), `hard`, `tempered` or `stochastic`.
    accelerate : None
        Plain EM steps.
    tol : float
        A fit has converged when the gain of an iteration in F, per unit of weight, is within it;
        on small data also only when the gains to come are estimated to be well within it. With 0
        exactly ``max_iter`` iterations are made.
    parameter_tol : float, optional
        If given, parameters must change by less than this too, relative to the largest in their
        array.
    max_iter : int
        Largest number of iterations, each an M-step and an E-step, from one start.
    restarts : int, optional
        Number of starts. By default as many as an expert would take, 1 for a given start.
    weights : array, (n,), optional
        Row weights: an integer weight equals repeating the row.
    lengths : None
        Lengths of sequences, for models with a chain over rows.
    seed : int or numpy.random.Generator, optional
    on_step : callable, optional
        Called with each `Step`.
    progress : bool
        Show iteration, objective and its change while fitting (needs the extra ``cli``).

    Returns
    -------
    Fit

    Raises
    ------
    ModelError
        If the model and the options do not go together.
    DataError
        If the data do not fit the model.
    DegenerateError
        If no start has a maximum to go to.
    ObjectiveDecreasedError
        If a maximiser is wrong; the message names its node.

    Warns
    -----
    ConvergenceWarning
        If the iteration limit, or an interrupt, came before convergence.
    DegenerateWarning
        If a constraint holds a state that would collapse.

    Examples
    --------
    >>> import latentem as lem
    >>> geyser = lem.datasets.old_faithful()
    >>> fit = lem.fit(lem.models.gaussian_mixture(2), geyser.data, seed=0)
    >>> round(fit.log_likelihood, 3)
    -1130.264
    """
    check_assign(model, assign)
    _check_options(accelerate, lengths)
    max_iter = _whole("max_iter", max_iter, 0)
    problem = Problem.of(model, data, weights)
    convergence = Convergence.on(problem, tol, parameter_tol)
    rng = np.random.default_rng(seed)
    starts = _starts(problem, init, restarts)
    with Progress(progress, len(starts)) as display:

        def watch(run: Run, state: State) -> None:
            display.update(state.iteration, state.objective)
            if on_step is not None:
                on_step(Step.of(run.problem, state))

        search = Search(problem, assign, convergence, max_iter, watch)
        search.run(starts, rng)
    return search.result()


class Search:
    """Several starts: short runs, the best continued."""

    def __init__(
        self,
        problem: Problem,
        assign: Assignment,
        convergence: Convergence,
        max_iter: int,
        watch: Callable[[Run, State], None],
    ) -> None:
        self.problem = problem
        self.assign = assign
        self.convergence = convergence
        self.max_iter = max_iter
        self.watch = watch
        self.finished: list[Run] = []
        self.short: list[Run] = []
        self.failed: list[LatentemError] = []
        self.interrupted = False

    def run(self, starts: list[Start | Model | None], rng: np.random.Generator) -> None:
        """Follow the starts; an interrupt keeps what has been found."""
        try:
            if len(starts) == 1:
                theta = first_theta(self.problem, starts[0], rng)
                self._follow(self.problem, theta)
            else:
                self._search(starts, rng)
        except KeyboardInterrupt:
            if not any(run.states for run in [*self.finished, *self.short]):
                raise
            self.interrupted = True

    def _follow(self, problem: Problem, theta: Theta) -> None:
        run = Run(problem, theta, self.assign, self.convergence)
        self.finished.append(run)
        self._advance(run, self.max_iter)

    def _advance(self, run: Run, max_iter: int) -> None:
        for state in run.steps(max_iter):
            self.watch(run, state)

    def _search(self, starts: list[Start | Model | None], rng: np.random.Generator) -> None:
        n = self.problem.data.n
        part = self.problem
        if n > SHORT_ROWS:
            part = self.problem.take(np.sort(rng.choice(n, SHORT_ROWS, replace=False)))
        for start in starts:
            try:
                theta = first_theta(part, start, rng)
                run = Run(part, theta, self.assign, self.convergence)
                self.short.append(run)
                self._advance(run, min(SHORT_ITERATIONS, self.max_iter))
            except DegenerateError as error:
                self.failed.append(error)
                if self.short and not self.short[-1].states:
                    self.short.pop()
        ranked = sorted((r for r in self.short if r.states), key=lambda r: r.rank, reverse=True)
        for run in ranked[: math.ceil(len(starts) / 3) if is_small(self.problem) else 1]:
            try:
                if part is self.problem:
                    self.finished.append(run)
                    self._advance(run, self.max_iter)
                else:
                    model = part.to_model(run.last.theta)
                    self._follow(self.problem, self.problem.theta(model, renew=True))
            except DegenerateError as error:
                self.failed.append(error)

    def result(self) -> Fit:
        """Return the best run as a `Fit`, with the warnings that belong to it.

        Raises
        ------
        DegenerateError
            If every start degenerated.
        """
        runs = [run for run in self.finished if run.states] or [r for r in self.short if r.states]
        if not runs:
            raise self.failed[0]
        best = max(runs, key=lambda run: run.rank)
        if best.problem is not self.problem:  # interrupted before any run on all rows
            theta = self.problem.theta(best.problem.to_model(best.last.theta), renew=True)
            best = Run(self.problem, theta, self.assign, self.convergence)
            next(best.steps(0))
        continued = set(map(id, self.finished))
        endings = [run.ending() for run in self.finished if run.states]
        endings += [
            run.ending(continued=run.status is Status.CONVERGED)
            for run in self.short
            if id(run) not in continued and run.states
        ]
        endings += [Ending(Status.DEGENERATE, None, 0) for _ in self.failed]
        fit = Fit.of(
            best.problem,
            best.last,
            Trace(tuple(best.rows)),
            best.status,
            tuple(endings),
            best.events,
        )
        self._warn(best)
        return fit

    def _warn(self, best: Run) -> None:
        if self.interrupted:
            iteration = best.states[-1].iteration
            message = f"Interrupted at iteration {iteration}; the best fit so far is returned."
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
        elif best.status is Status.ITERATION_LIMIT and self.convergence.tol > 0:
            message = f"After {self.max_iter} iterations: {best.status.value}"
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
        elif best.status is Status.DEGENERATE:
            events = [
                f"Node '{name}': {event}."
                for name, dist in best.last.theta.dists.items()
                for event in dist.events
            ]
            message = f"{' '.join(events)} {best.status.value}"
            warnings.warn(message, DegenerateWarning, stacklevel=4)


def _starts(
    problem: Problem, init: Start | Model | None, restarts: int | None
) -> list[Start | Model | None]:
    """Return the starts to try, in order."""
    if init is None and problem.model.is_parameterised:
        init = problem.model
    if init is not None and not isinstance(init, Model) and not callable(init):
        raise ModelError(
            f"init must be a start or a model with parameters, got {init!r}. "
            "Pass lem.init.plus_plus, lem.init.random, lem.init.from_labels(...) or a Model."
        )
    hidden = [
        name
        for name, k in problem.layout.elimination.sizes.items()
        if k > 1 and np.any(problem.data.labels.get(name, np.array([-1])) == -1)
    ]
    if restarts is None:
        given = init is not None and init not in (random, default_start(problem))
        restarts = 1 if given or not hidden else 20 if is_small(problem) else 4
    restarts = _whole("restarts", restarts, 1)
    if init is not None:
        return [init] * restarts
    seeded = default_start(problem)
    # Seeds far apart and random responsibilities miss different optima.
    return [random if i % 3 == 2 else seeded for i in range(restarts)]


def _check_options(accelerate: Any, lengths: Any) -> None:
    if accelerate is not None:
        raise ModelError(
            f"accelerate must be None, plain EM steps, got {accelerate!r}. Leave it out."
        )
    if lengths is not None:
        raise ModelError(
            "lengths must go with a chain over the rows, got a model without one. Leave it out."
        )


def _nonnegative(name: str, value: Any) -> float:
    if not isinstance(value, int | float | np.number) or not 0 <= value < np.inf:
        raise ModelError(f"{name} must be a number of at least 0, got {value!r}. Give one.")
    return float(value)


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ModelError(
            f"{name} must be a whole number of at least {least}, got {value!r}. Give one."
        )
    return int(value)
