"""`fit` and `iterate`: the two ways into the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import attrs
import numpy as np

from latentem.em.accelerate import Accelerator, squarem
from latentem.em.assign import Assignment, soft
from latentem.em.convergence import Convergence, nonnegative
from latentem.em.first import first_theta
from latentem.em.init import Start
from latentem.em.loop import State
from latentem.em.problem import Problem
from latentem.em.progress import Progress
from latentem.em.result import Fit
from latentem.em.search import Run, Search, choose_max_iter, choose_starts, is_cheap
from latentem.em.steps import ExpectedLogJoint, check_assign, check_init, values_of
from latentem.em.straight import fit_straight
from latentem.em.trace import HalfStep
from latentem.errors import ModelError
from latentem.graph import Model, check_model
from latentem.inference.posterior import Posterior
from latentem.seeds import generator


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
    events : tuple of str
        What the maximisers had to do besides maximising: a constraint at work, a prototype moved.
    """

    iteration: int
    objective: float
    log_likelihood: float | None
    trace: tuple[HalfStep, ...]
    events: tuple[str, ...]
    _problem: Problem
    _state: State

    @classmethod
    def of(cls, problem: Problem, state: State) -> Step:
        """Show a state of the loop."""
        return cls(
            state.iteration,
            state.objective,
            state.log_likelihood,
            tuple(state.trace),
            state.events,
            problem,
            state,
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
        noted = "".join(f"; {event}" for event in self.events)
        reached = f"objective F {self.objective:.6f} nats (total)"
        if self._problem.model.requires_hard:
            reached = f"distortion J {-self.objective + 0.0:.6f} (total)"
        return f"Step {self.iteration}: {reached}{noted}"


def iterate(
    model: Model,
    data: Any,
    *,
    init: Start | Model | None = None,
    assign: Assignment = soft,
    tol: float = 1e-6,
    max_iter: int | None = None,
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
    max_iter : int, optional
        Number of iterations after the start, as in `fit`.
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
    check_model(model)
    check_assign(model, assign)
    check_init(init)
    problem = Problem.of(model, data, weights)
    theta = first_theta(problem, init, generator(seed))
    run = Run(problem, theta, assign, Convergence.on(problem, tol))
    for state in run.steps(choose_max_iter(assign, max_iter)):
        yield Step.of(problem, state)
    if run.error is not None:
        raise run.error


def fit(
    model: Model,
    data: Any,
    *,
    init: Start | Model | None = None,
    assign: Assignment = soft,
    accelerate: Accelerator | None = squarem,
    tol: float = 1e-6,
    parameter_tol: float | None = None,
    max_iter: int | None = None,
    restarts: int | None = None,
    weights: Any = None,
    lengths: Any = None,
    seed: int | np.random.Generator | None = None,
    on_step: Callable[[Step], object] | None = None,
    progress: bool = False,
) -> Fit:
    r"""Fit a model by expectation-maximisation.

    By default: short runs from many starts, of which the better half is followed on, twice as far,
    until few are left, and these to convergence (small EM: Biernacki, Celeux and Govaert,
    Computational Statistics & Data Analysis 41, 2003; sequential halving: Karnin, Koren and Somekh,
    ICML 2013). Where an iteration costs next to nothing (at most 100,000 rows times states, and
    20,000 rows) the best optimum is then left again and
    again by merging two states of a latent and splitting a third, until no such move leads higher
    (Ueda, Nakano, Ghahramani and Hinton, Neural Computation 12, 2000). Where data are many the
    choice is made on a sample of 5,000 to 20,000 rows, and the best continued on more and then on
    all. A model whose nodes all have parameters is the start.

    Parameters
    ----------
    model : Model
    data : array, mapping or data frame
        An array when one node is observed; a mapping from node names; or a data frame. Numbers in
        single precision stay so in memory, while all that is computed of them is in double
        precision: so their own rounding, 6e-8 of a number, is the only error.
    init : start or Model, optional
        One of `latentem.init`, or a model whose parameters to start from.
    assign : Assignment
        `soft` (EM), `hard`, `tempered` or `stochastic`.
    accelerate : Accelerator or None
        `squarem` follows the steps of EM further where that raises F, in a fraction of the steps to
        the same limit; None for plain EM.
    tol : float
        A fit has converged when the gain of an iteration in F, per unit of weight, is within it;
        on small data also only when the gains to come are estimated to be well within it. (Of
        prototypes the gain counts relative to J.) With 0 exactly ``max_iter`` iterations are made.
    parameter_tol : float, optional
        If given, parameters must change by less than this too, relative to the largest in their
        array.
    max_iter : int, optional
        Largest number of iterations, each an M-step and an E-step, from one start. By default
        10,000; 500 under an assignment that draws, which never converges.
    restarts : int, optional
        Number of starts, and no moves between states. By default 20 starts, and moves, where an
        iteration costs next to nothing, else 24 starts of seeds far apart, or 8 of random
        responsibilities if ``init`` says so or a model has no seeds; 1 for another given start, and
        under an assignment that draws. Without latents 1, or 4 where values have gaps.
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
    check_model(model)
    check_assign(model, assign)
    _check_options(accelerate, lengths, on_step)
    max_iter = choose_max_iter(assign, max_iter)
    tol = nonnegative("tol", tol)
    unseen = on_step is None and not progress
    # Options of other types are to be judged on the general way.
    one = restarts is None or (type(restarts) is int and restarts == 1)
    drawn = seed is None or (type(seed) is int and seed >= 0)
    plain = init is None and weights is None and parameter_tol is None and assign == soft
    if unseen and plain and one and drawn:
        straight = fit_straight(model, data, accelerate, tol, max_iter)
        if straight is not None:
            return straight
    problem = Problem.of(model, data, weights)
    convergence = Convergence.on(problem, tol, parameter_tol)
    rng = generator(seed)
    starts = choose_starts(problem, init, restarts, assign)
    with Progress(progress) as display:

        def show(run: Run, state: State) -> None:
            display.update(state.iteration, state.objective, run.name)
            if on_step is not None:
                on_step(Step.of(run.problem, state))

        watch = None if unseen else show

        # Moves begin at an optimum, where a rule that changes from step to step would not stay.
        explores = restarts is None and is_cheap(problem) and assign.at(0) == assign.at(max_iter)
        search = Search(problem, assign, convergence, max_iter, watch, explores, accelerate)
        search.run(starts, rng)
    return search.result()


def _check_options(accelerate: Any, lengths: Any, on_step: Any) -> None:
    if on_step is not None and not callable(on_step):
        raise ModelError(f"on_step must be a function of a Step, got {on_step!r}. Pass one.")
    if not (accelerate is None or isinstance(accelerate, Accelerator)):
        raise ModelError(
            f"accelerate must be squarem, or None for plain EM steps, got {accelerate!r}. "
            "Leave it out."
        )
    if lengths is not None:
        raise ModelError(
            "lengths must go with a chain over the rows, got a model without one. Leave it out."
        )
