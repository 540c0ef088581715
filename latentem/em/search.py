"""Several starts: short runs, the best of which are continued."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from latentem.em.assign import Assignment
from latentem.em.convergence import Convergence, is_small, whole
from latentem.em.init import Start, default_start, first_theta, random
from latentem.em.loop import State, half_steps
from latentem.em.problem import Problem, Theta
from latentem.em.result import Ending, Fit
from latentem.em.status import Status
from latentem.em.trace import HalfStep, Trace
from latentem.errors import (
    ConvergenceWarning,
    DegenerateError,
    DegenerateWarning,
    LatentemError,
    ModelError,
)
from latentem.graph import Model

#: Rows and iterations of the short runs that choose a start.
SHORT_ROWS, SHORT_ITERATIONS = 20_000, 20


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
                    self.short.remove(run)  # it goes on, on all rows
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


def choose_starts(
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
    restarts = whole("restarts", restarts, 1)
    if init is not None:
        return [init] * restarts
    seeded = default_start(problem)
    # Seeds far apart and random responsibilities miss different optima.
    return [random if i % 3 == 2 else seeded for i in range(restarts)]
