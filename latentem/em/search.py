"""Several starts: short runs, the best of which are continued."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import attrs
import numpy as np

from latentem.data import is_certain
from latentem.distributions.records import Choices, Counts
from latentem.em.accelerate import Accelerator
from latentem.em.align import same_solution
from latentem.em.assign import Assignment
from latentem.em.convergence import SAME, Convergence, is_small, same_objective, whole
from latentem.em.first import first_theta
from latentem.em.init import Start, default_start, plus_plus, random, some_rows, width
from latentem.em.loop import State, half_steps
from latentem.em.problem import Problem
from latentem.em.result import Ending, Fit
from latentem.em.split_merge import Optimum, moved, moves, some_of
from latentem.em.status import Status
from latentem.em.steps import check_init
from latentem.em.theta import Theta
from latentem.em.trace import HalfStep, Trace
from latentem.errors import (
    ConvergenceWarning,
    DataError,
    DegenerateError,
    DegenerateWarning,
    EqualStatesError,
    LatentemError,
    ObjectiveDecreasedError,
)
from latentem.graph import Model
from latentem.parallel import blas_alone

#: Iterations before the first choice among starts.
SHORT_ITERATIONS = 40
#: The same where all are seeds far apart, on a sample: those near a good optimum come to it at
#: once, and the others need not be followed to theirs.
SEEDED_ITERATIONS = 5
#: Rows on which every start is followed; of more a sample, of so many for each state and column,
#: and the fewest.
MOST_ROWS, SHORT_ROWS_PER_STATE, SHORT_ROWS = 20_000, 30, 5_000
#: The best goes on on so many times as many rows each time: steps there are cheaper than on all.
MORE_ROWS = 8
#: Starts where an iteration costs next to nothing, and how many of them are continued to the end.
MANY_STARTS, KEPT = 20, 4
#: Starts of a sample that go on on more rows.
FINALISTS = 2
#: Starts elsewhere: seeds far apart, of which only a share is good and most are soon given up; or
#: others.
SEEDED_STARTS, FEW_STARTS = 24, 8
#: Starts without latents, where there is one maximum, but with gaps there are a few.
WITHOUT_LATENTS = 4
#: Objectives per unit of weight that differ by less are equal: more than rounding, and far less
#: than what a converged run leaves open.
EQUAL = 1e-11
#: Moves of states tried together, iterations before the first choice among them, and how often in
#: a row they may all fail: in general, and where most starts came to the same optimum.
MOVES, MOVE_ITERATIONS, PATIENCE, SHORT_PATIENCE = 24, 5, 6, 2
#: Starts that came to the best objective whose parameters are compared with the best's.
COMPARED = 5
#: Columns of matrices that BLAS factorises on several threads, waking them for next to nothing.
FACTORISED = 32
#: Share of the rows up to which a state counts as without any.
VACANT = 1e-12
#: Largest number of iterations, and for rules that draw the number of them, unless it is given.
MANY_ITERATIONS, DRAWN_ITERATIONS = 10_000, 500


def _is_wide(theta: Theta) -> bool:
    """Return whether parameters are so wide that BLAS would wake its threads for them."""
    arrays = (a for dist in theta.dists.values() for a in dist.parameters.values())
    return any(a is not None and a.ndim and a.shape[-1] >= FACTORISED for a in arrays)


class Run:
    """One start followed to its end; can be stopped and continued."""

    def __init__(
        self,
        problem: Problem,
        theta: Theta,
        assign: Assignment,
        convergence: Convergence,
        name: str = "start",
        number: int = 0,
        is_move: bool = False,
        accelerate: Accelerator | None = None,
    ) -> None:
        self.problem = problem
        self.name = name
        self.number = number
        self.is_move = is_move
        self.state: State | None = None
        self.holds_rows = False  # whether there is to be an M-step of rows, and not of sums
        self.parts: list[Iterable[HalfStep]] = []  # of the trace
        self.events: list[str] = []
        self.status = Status.ITERATION_LIMIT
        self.best: State | None = None
        self.error: DegenerateError | DataError | None = None
        self._weight = problem.data.total_weight
        self._is_wide = _is_wide(theta)
        limits = convergence.limits(self._weight)
        self._steps = half_steps(problem, theta, assign, accelerate, limits)
        self._convergence = convergence

    @property
    def last(self) -> State:
        """The state to report: the last one, or under a rule that may fall the best one."""
        assert self.state is not None
        assert self.best is not None
        return self.state if self.state.rule.is_monotone else self.best

    def steps(self, max_iter: int, *, unseen: bool = False) -> Iterator[State]:
        """Go on until converged or at iteration ``max_iter``, yielding each state.

        If they may go unseen, several steps are taken at once where that is quicker, and only the
        last of their states is made.
        """
        several = unseen and self._convergence.parameter_tol is None
        while self.status is Status.ITERATION_LIMIT:
            before = self.state
            if before is not None and before.iteration >= max_iter:
                return
            most = max_iter - before.iteration if several and before is not None else None
            try:
                with self._blas_alone():
                    state = self._steps.send(most)
            except (DegenerateError, DataError) as error:
                self.status, self.error = Status.DEGENERATE, error
                return
            except ObjectiveDecreasedError as error:
                self.status = Status.DECREASED
                error.add_note(self.status.value)
                raise
            if before is None and self._is_wide:
                self.holds_rows = any(record.holds_rows for record in state.records.values())
            self.state = state
            self.parts.append(state.trace)
            for event in state.events:
                self.events.append(f"iteration {state.iteration}: {event}")
            if self.best is None or state.objective > self.best.objective:
                self.best = state
            if self._convergence.reached(before, state, self._weight):
                self.status = Status.CONVERGED
                if state.at_constraint:
                    self.status = Status.DEGENERATE
            yield state

    def _blas_alone(self) -> AbstractContextManager[object]:
        """Hold BLAS to one thread for a step over matrices of some size, unless M is of rows.

        It would wake its threads for these, and they spin on next to those of the passes.
        """
        return blas_alone() if self._is_wide and not self.holds_rows else nullcontext()

    @property
    def ending(self) -> Ending:
        """How the run stands."""
        n = self.problem.data.n
        if self.state is None:
            return Ending(self.status, None, 0, n, self.is_move)
        return Ending(self.status, self.last.objective, self.state.iteration, n, self.is_move)

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """For sorting: runs that failed last, then those at a constraint, then by objective."""
        return (self.error is None, not self.last.at_constraint, self.last.objective)


@attrs.frozen
class Failure:
    """A start that could not be made of so many rows."""

    error: LatentemError
    n_rows: int
    is_move: bool = False


class Search:
    """Several starts: short runs, the best continued."""

    def __init__(
        self,
        problem: Problem,
        assign: Assignment,
        convergence: Convergence,
        max_iter: int,
        watch: Callable[[Run, State], None] | None,
        explores: bool,
        accelerate: Accelerator | None,
    ) -> None:
        self.problem = problem
        self.assign = assign
        self.convergence = convergence
        self.max_iter = max_iter
        self.watch = watch
        self.explores = explores
        self.accelerate = accelerate
        self.runs: list[Run] = []
        self.failed: list[Failure] = []
        self.interrupted = False

    def run(self, starts: list[Start | Model | None], rng: np.random.Generator) -> None:
        """Follow the starts; an interrupt keeps what has been found."""
        try:
            if len(starts) == 1:
                self._advance([self._begin(self.problem, starts[0], rng)], self.max_iter)
            else:
                self._search(starts, rng)
        except KeyboardInterrupt:
            if all(run.state is None for run in self.runs):
                raise
            self.interrupted = True

    def _begin(
        self,
        problem: Problem,
        start: Start | Model | None,
        rng: np.random.Generator,
        name: str = "start",
        is_move: bool = False,
    ) -> Run:
        return self._go_on(problem, first_theta(problem, start, rng), name, is_move)

    def _go_on(self, problem: Problem, theta: Theta, name: str, is_move: bool = False) -> Run:
        """Return a new run from parameters that are bound to the data."""
        given = self.assign, self.convergence, name, len(self.runs), is_move, self.accelerate
        run = Run(problem, theta, *given)
        self.runs.append(run)
        return run

    def _advance(self, runs: list[Run], max_iter: int) -> None:
        for run in runs:
            for state in run.steps(max_iter, unseen=self.watch is None):
                if self.watch is not None:
                    self.watch(run, state)

    def _search(self, starts: list[Start | Model | None], rng: np.random.Generator) -> None:
        """Follow all starts for a while; then again and again the best of them, twice as far."""
        n = self.problem.data.n
        part, rows = self.problem, short_rows(self.problem)
        if rows < n and all(start in (random, plus_plus) for start in starts):
            part = self.problem.take(some_rows(self.problem.data, rows, rng))
        for i, start in enumerate(starts):
            try:
                self._begin(part, start, rng, f"start {i + 1} of {len(starts)}")
            except (DegenerateError, DataError, EqualStatesError) as error:
                self.failed.append(Failure(error, part.data.n))
        if part is not self.problem and all(start is plus_plus for start in starts):
            runs = self._best_of(self.runs, FINALISTS, SEEDED_ITERATIONS, share=4)
        else:
            keep = FINALISTS if part is not self.problem else KEPT if is_cheap(part) else 1
            runs = self._best_of(self.runs, keep, SHORT_ITERATIONS)
        if part is self.problem or not runs:
            self._finish(runs, self.runs)
            if self.explores and runs:
                self._explore(rng)
            return
        # The best go on, on more rows, and the best of these on all.
        leaders = runs[:FINALISTS]
        while leaders[0].problem is not self.problem:
            rows *= MORE_ROWS
            larger, name = self.problem, "all rows"
            if 4 * rows <= n:  # or it would not be worth the while
                larger, name = self.problem.take(some_rows(self.problem.data, rows, rng)), "more"
            further = [run for leader in leaders if (run := self._on_more(larger, leader, name))]
            if not further:
                further = [self._begin(self.problem, starts[0], rng)]
            self._finish(self._best_of(further, 1, 2 * SEEDED_ITERATIONS), further)
            leaders = ranked(further)[:1] or further

    def _on_more(self, larger: Problem, run: Run, name: str) -> Run | None:
        """Return a run that goes on on more rows, None if some are impossible there.

        Until its first state the first stands for it.
        """
        further = self._go_on(larger, run.last.theta, name)
        self._advance([further], 0)
        self.runs.remove(further if further.state is None else run)
        return None if further.state is None else further

    def _finish(self, leaders: list[Run], among: list[Run]) -> None:
        """Follow the best of some runs to their end, and so on until the best is finished."""
        self._advance(leaders, self.max_iter)
        # Those followed may have come to a constraint: then another is best, and goes on.
        while (best := ranked(among)[:1]) and self._is_unfinished(best[0]):
            self._advance(best, self.max_iter)

    def _is_unfinished(self, run: Run) -> bool:
        """Return whether a run is to go on."""
        limit = run.status is Status.ITERATION_LIMIT
        return limit and run.state is not None and run.state.iteration < self.max_iter

    def _best_of(self, runs: list[Run], keep: int, limit: int, share: int = 2) -> list[Run]:
        """Return the best few runs: all are followed a little, the better half twice as far, ...

        With a share of 4 the best fourth, and so on.
        """
        while True:
            self._advance(runs, min(limit, self.max_iter))
            runs = ranked(runs)
            if len(runs) <= keep:
                return runs
            runs, limit = runs[: max(keep, len(runs) // share)], 2 * limit

    def _explore(self, rng: np.random.Generator) -> None:
        """Leave the best optimum by moves of its states, until all of several rounds fail.

        In each round the moves are followed for a while, and the best of them to its end.
        """
        every = moves(self.problem)
        best, failures = ranked(self.runs)[0], 0
        agreeing = sum(r.status is Status.CONVERGED and alike(r, best) for r in self.runs)
        patience = SHORT_PATIENCE if 2 * agreeing > len(self.runs) else PATIENCE
        while every and failures < patience and best.status is Status.CONVERGED:
            tried, optimum = [], Optimum(self.problem, best.last.theta, best.last.rule)
            for move in some_of(every, MOVES, rng):
                start = moved(optimum, move)
                try:
                    tried.append(self._begin(self.problem, start, rng, "move", is_move=True))
                except (DegenerateError, DataError, EqualStatesError) as error:
                    self.failed.append(Failure(error, self.problem.data.n, is_move=True))
            leaders = self._best_of(tried, 1, MOVE_ITERATIONS)
            self._advance(leaders, self.max_iter)
            higher = [r for r in leaders if r.rank > best.rank and not alike(r, best)]
            best, failures = (higher[0], 0) if higher else (best, failures + 1)
            patience = PATIENCE if higher else patience

    def result(self) -> Fit:
        """Return the best run as a `Fit`, with the warnings that belong to it.

        Raises
        ------
        DegenerateError
            If every start degenerated.
        """
        best = self._best()
        endings = [run.ending for run in self.runs]
        endings += [
            Ending(Status.DEGENERATE, None, 0, failed.n_rows, failed.is_move)
            for failed in self.failed
        ]
        self._warn(best)
        return Fit.of(
            best.problem,
            best.last,
            Trace(best.parts),
            best.status,
            tuple(endings),
            [
                *best.events,
                *self._vacant(best),
                *self._set_aside(best),
                *self._other_solutions(best),
            ],
            interrupted=self.interrupted,
        )

    def _best(self) -> Run:
        """Return the best run on all rows, or if there is none the best of others, on all rows."""
        on_all_rows = ranked([run for run in self.runs if run.problem is self.problem])
        errors = [failed.error for failed in self.failed]
        errors += [run.error for run in self.runs if run.error is not None]
        if on_all_rows:
            if on_all_rows[0].error is not None:
                raise on_all_rows[0].error
            return on_all_rows[0]
        # Interrupted before any run on all rows: those on most rows are the best of the others.
        for run in sorted(ranked(self.runs), key=lambda run: -run.problem.data.n):
            theta = self.problem.theta(run.problem.to_model(run.last.theta), renew=True)
            best = Run(self.problem, theta, self.assign, self.convergence)
            if next(best.steps(0), None) is not None:
                return best
            assert best.error is not None
            errors.append(best.error)
        raise errors[0]

    def _vacant(self, best: Run) -> list[str]:
        """Say which states of the latents have no weight left."""
        events = []
        for node in self.problem.model.latents:
            record = best.last.records[node.name]
            assert isinstance(record, Counts | Choices)
            expected = record.per_state
            for state in np.flatnonzero(expected <= VACANT * expected.sum()):
                events.append(
                    f"node '{node.name}': state {state} has no rows, so what depends on it says "
                    "nothing of the data"
                )
        return events

    def _set_aside(self, best: Run) -> list[str]:
        """Say if a run that a constraint holds has a higher objective than the best of the free."""
        held = [
            run.last.objective
            for run in self.runs
            if run.state and run.problem is best.problem and run.rank[:2] < best.rank[:2]
        ]
        if not held or max(held) <= best.last.objective:
            return []
        return [
            f"a start came to a higher objective, {max(held):.6g}, with a state held by a "
            "constraint; it was set aside"
        ]

    def _other_solutions(self, best: Run) -> list[str]:
        """Say if starts came to the same objective with other parameters, states aligned."""
        others = [
            run
            for run in self.runs
            if run.problem is self.problem and run is not best and not run.is_move
            if run.status is best.status is Status.CONVERGED and alike(run, best)
        ]
        to_model, data = self.problem.to_model, self.problem.data
        for run in others[:COMPARED]:
            if not same_solution(to_model(best.last.theta), to_model(run.last.theta), data):
                return [
                    f"{len(others) + 1} starts came to this objective, not all with the same "
                    "parameters: the data do not tell these apart"
                ]
        return []

    def _warn(self, best: Run) -> None:
        if self.interrupted:
            iteration = best.ending.iterations
            message = f"Interrupted at iteration {iteration}; the best fit so far is returned."
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
        elif best.status is Status.ITERATION_LIMIT and self.convergence.tol > 0:
            if not self.assign.is_monotone:
                return  # draws never settle: the limit is how such a fit is meant to end
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


def ranked(runs: list[Run]) -> list[Run]:
    """Return the runs that have a state, best first; of several at one optimum only the first.

    Of runs that differ by next to nothing the earlier is better, so that other units
    or another origin of the data, which change rounding, do not decide. A run that has not
    converged may still be on its way elsewhere, so it counts for itself.
    """
    groups: list[list[Run]] = []
    for run in sorted((r for r in runs if r.state), key=lambda r: r.rank, reverse=True):
        if groups and groups[-1][0].rank[:2] == run.rank[:2] and alike(groups[-1][0], run, EQUAL):
            groups[-1].append(run)
        else:
            groups.append([run])
    distinct: list[Run] = []
    for group in groups:
        for run in sorted(group, key=lambda r: (r.status is not Status.CONVERGED, r.number)):
            twins = (
                other.status is run.status is Status.CONVERGED and alike(other, run)
                for other in distinct
            )
            if not any(twins):
                distinct.append(run)
    return distinct


def alike(a: Run, b: Run, tolerance: float = SAME) -> bool:
    """Return whether two runs have the same objective, but for a little per unit of weight.

    Of a distortion, which has a unit, but for a share of it.
    """
    return same_objective(a.problem, a.last.objective, b.last.objective, tolerance)


def is_cheap(problem: Problem) -> bool:
    """Return whether every start is followed on all rows, since that costs next to nothing."""
    return is_small(problem) and problem.data.n <= MOST_ROWS


def short_rows(problem: Problem) -> int:
    """Return the number of rows on which a start is chosen."""
    n = problem.data.n
    if is_cheap(problem):
        return n
    states = max(problem.layout.elimination.sizes.values(), default=1)
    enough = SHORT_ROWS_PER_STATE * (1 + width(problem)) * states
    return min(n, MOST_ROWS, max(SHORT_ROWS, enough))


def choose_max_iter(assign: Assignment, max_iter: int | None) -> int:
    """Return the largest number of iterations; fewer by default for a rule that never settles."""
    if max_iter is None:
        return MANY_ITERATIONS if assign.is_monotone else DRAWN_ITERATIONS
    return whole("max_iter", max_iter, 0)


def choose_starts(
    problem: Problem, init: Start | Model | None, restarts: int | None, assign: Assignment
) -> list[Start | Model | None]:
    """Return the starts to try, in order."""
    if init is None and problem.model.is_parameterised:
        init = problem.model
    check_init(init)
    labels = problem.data.labels
    hidden = [
        name
        for name, k in problem.layout.elimination.sizes.items()
        if k > 1 and not (name in labels and is_certain(labels[name]))
    ]
    first = default_start(problem) if init is None else init
    alike = init is not None
    if restarts is None:
        if first not in (random, default_start(problem)) or not assign.is_monotone:
            restarts = 1  # a rule that draws leaves a poor optimum by itself
        elif not hidden:
            restarts = WITHOUT_LATENTS if problem.data.gapped else 1
        elif is_cheap(problem):
            restarts = MANY_STARTS
        else:
            alike = True
            restarts = SEEDED_STARTS if first is plus_plus else FEW_STARTS
    restarts = whole("restarts", restarts, 1)
    # Seeds far apart and random responsibilities miss different optima.
    return [first if alike or i % 3 < 2 else random for i in range(restarts)]
