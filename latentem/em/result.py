"""The result of a fit."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.em.assign import Assignment, Hard, soft
from latentem.em.convergence import same_objective
from latentem.em.imputation import impute
from latentem.em.loop import State
from latentem.em.problem import Problem
from latentem.em.sampling import sample, with_labels
from latentem.em.status import Status
from latentem.em.steps import check_probability, e_step, known_theta, total_evidence
from latentem.em.trace import Trace
from latentem.errors import ModelError
from latentem.graph import Model
from latentem.inference.posterior import Posterior
from latentem.seeds import generator

if TYPE_CHECKING:
    from latentem.em.bootstrap import Bootstrap
    from latentem.summary import Summary
    from latentem.tables import StandardErrors


#: How many events are shown at most.
MOST_NOTED = 5


@attrs.frozen
class Ending:
    """How one start ended.

    Attributes
    ----------
    status : Status
    objective : float or None
        F at its end; None if it never had one.
    iterations : int
    n_rows : int
        Number of rows that the objective is of: short runs on many data see a part of them.
    is_move : bool
        Whether it began at the best optimum so far with some states moved (split and merge), and
        not afresh.
    """

    status: Status
    objective: float | None
    iterations: int
    n_rows: int
    is_move: bool = False


class Outcome(Protocol):
    """What a fit came to: θ, and the problem it is of."""

    @property
    def model(self) -> Model:
        """θ."""

    @property
    def problem(self) -> Problem:
        """The model as declared, bound to the data."""


@attrs.frozen(eq=False)
class _Known:
    model: Model
    problem: Problem


@attrs.frozen(eq=False, slots=False, repr=False)
class Fit:
    """A fitted model, and how it came about.

    Attributes
    ----------
    objective : float
        F of the θ returned, in nats.
    trace : Trace
        One row for every half-step of the run that won.
    status : Status
        How that run ended.
    starts : tuple of Ending
        How each start ended: ITERATION_LIMIT also for a short run that others outdid, which was
        left as it stood.
    events : tuple of str
        What maximisers had to do besides maximising, with the iteration.
    interrupted : bool
        Whether an interrupt ended the search for a better one.
    """

    _outcome: Outcome
    objective: float
    trace: Trace
    status: Status
    starts: tuple[Ending, ...]
    events: tuple[str, ...]
    _assign: Assignment
    _log_likelihood: float | None
    interrupted: bool = False

    @classmethod
    def of(
        cls,
        problem: Problem,
        state: State,
        trace: Trace,
        status: Status,
        starts: tuple[Ending, ...],
        events: Sequence[str],
        *,
        interrupted: bool = False,
    ) -> Fit:
        """Make the result of the state that a run ended in."""
        model = problem.to_model(state.theta)
        known = state.log_likelihood
        if known is None and not model.requires_hard:
            known = total_evidence(problem, state.theta)
        return cls(
            # The problem without what its steps have kept, which is of no more use.
            _Known(model, attrs.evolve(problem)),
            state.objective,
            trace,
            status,
            starts,
            tuple(events),
            state.rule,
            known,
            interrupted,
        )

    @property
    def model(self) -> Model:
        """θ reads like the model: ``fit.model["x"].mean``."""
        return self._outcome.model

    @property
    def _problem(self) -> Problem:
        return self._outcome.problem

    # -- numbers -------------------------------------------------------------------------------

    @property
    def log_likelihood(self) -> float:
        """Log p(X | θ) of the θ returned, in nats: a total over rows, not a mean.

        Raises
        ------
        ModelError
            For prototypes, which have no likelihood.
        """
        if self._log_likelihood is None:
            raise ModelError(
                f"log_likelihood must come from probability distributions, got {self.model} with "
                f"{type(self.model[self.model.requires_hard[0]]).__name__}. "
                "Read fit.distortion or fit.objective."
            )
        return self._log_likelihood

    @property
    def has_priors(self) -> bool:
        """Whether parameters have priors: the estimates are then maximum a posteriori (MAP)."""
        return self._problem.has_priors

    @property
    def log_prior(self) -> float:
        """Log-density of the parameters under their priors, 0 without any; a term of F."""
        return self.trace.rows[-1].log_prior or 0.0

    @property
    def distortion(self) -> float:
        """J, the total dissimilarity to the prototypes.

        Raises
        ------
        ModelError
            For a model without prototypes.
        """
        if not self.model.requires_hard:
            raise ModelError(
                f"distortion must come from prototypes, got {self.model} with probability "
                "distributions. Read fit.log_likelihood."
            )
        return self.trace.rows[-1].distortion or 0.0

    @property
    def entropy(self) -> float:
        """H of the last E-step, in nats: a total over the rows of the training data.

        Of the posterior as the assignment rule makes it, so 0 under `hard`.
        """
        return self.trace.rows[-1].entropy

    @property
    def n_rows(self) -> int:
        """Number of rows of the training data."""
        return self._problem.data.n

    @property
    def total_weight(self) -> float:
        """Sum of the weights of the rows; their number if they have none."""
        return self._problem.data.total_weight

    @property
    def iterations(self) -> int:
        """Number of iterations of the run that won."""
        return self.trace.rows[-1].iteration

    @property
    def _on_all_rows(self) -> list[Ending]:
        """The starts whose objectives may be compared with the fit's."""
        return [start for start in self.starts if start.n_rows == self._problem.data.n]

    @property
    def agreement(self) -> int:
        """Number of starts and moves that came to the best objective, to 4e-6 per unit of weight.

        Of those that were followed to their end on all rows.
        """
        ends = [s.objective for s in self._on_all_rows if s.status is self.status]
        return sum(
            end is not None and same_objective(self._problem, self.objective, end) for end in ends
        )

    @property
    def starts_line(self) -> str:
        """How far the starts agree, in words."""
        whole = self._on_all_rows
        counts = {status: sum(start.status is status for start in whole) for status in Status}
        parts = [
            f"{counts[Status.CONVERGED]} converged",
            f"{counts[Status.DEGENERATE]} degenerated",
            f"{counts[Status.ITERATION_LIMIT]} left unfinished",
        ]
        shown = [part for part in parts if not part.startswith("0")]
        if len(whole) < len(self.starts):
            rows = min(start.n_rows for start in self.starts)
            shown.insert(0, f"chosen on {rows:,} rows, {len(whole)} followed on all")
        n_moves = sum(start.is_move for start in self.starts)
        afresh = f"{len(self.starts) - n_moves}"
        if n_moves:
            afresh += f" and {n_moves} moves of states"
        return f"{afresh}: {', '.join(shown)}; {self.agreement} at this optimum"

    @property
    def noted(self) -> tuple[str, ...]:
        """The events to show: each once; of many the last few, after a line that says so."""
        # A constraint is at work in every iteration from some on: without their numbers.
        texts = [
            event.partition(": ")[2] if event.startswith("iteration ") else event
            for event in self.events
        ]
        distinct = tuple(dict.fromkeys(reversed(texts)))[::-1]
        if len(distinct) <= MOST_NOTED:
            return distinct
        return (f"{len(distinct)} events, all in fit.events; the last:", *distinct[-MOST_NOTED:])

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return self.model.n_parameters

    @property
    def aic(self) -> float:
        """Akaike's criterion, -2 log L + 2 df: smaller is better."""
        return -2 * self.log_likelihood + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """The Bayesian criterion, -2 log L + df log n: smaller is better; n is the total weight."""
        return -2 * self.log_likelihood + self.n_parameters * math.log(
            self._problem.data.total_weight
        )

    @property
    def icl(self) -> float:
        """The integrated classification likelihood: smaller is better.

        -2 log p(X, Z* | θ) + df log n with Z* the most probable states (Biernacki, Celeux and
        Govaert, IEEE PAMI 22, 2000).
        """
        _ = self.log_likelihood  # raises for prototypes, saying why
        problem = attrs.evolve(self._problem, model=self.model)
        theta = known_theta(problem)
        expectation = problem.expectation(theta, Hard())
        joint = expectation.objective + problem.base_total(theta)
        return -2 * joint + self.n_parameters * math.log(self._problem.data.total_weight)

    @property
    def assignment(self) -> str:
        """The name of the assignment rule: soft, hard, stochastic, or tempered at some beta."""
        name = type(self._assign).__name__.lower()
        temperature = self._assign.temperature
        return name if temperature == 1.0 else f"{name} at beta {1 / temperature:g}"

    @property
    def is_assigned_whole(self) -> bool:
        """Whether the rule puts each row wholly into one state of each latent."""
        return self._assign.is_hard

    # -- asking it -----------------------------------------------------------------------------

    def posterior(self, data: Any = None) -> Posterior:
        """Return the posterior of the latents, on the training data by default.

        Parameters
        ----------
        data : array, mapping or data frame, optional
            New rows.
        """
        assign = self._assign if self.model.requires_hard else soft
        return e_step(
            self.model,
            self._problem.data if data is None else data,
            assign=assign,
        )

    def assigned(self) -> Posterior:
        """Return what the M-step saw of the training data: the posterior as the rule makes it."""
        problem = attrs.evolve(self._problem, model=self.model)
        return problem.posterior(known_theta(problem), self._assign)

    def predict(self, data: Any = None) -> Any:
        """Return the jointly most probable states, as labels where the latents have some.

        Parameters
        ----------
        data : array, mapping or data frame, optional
            New rows; the training data by default.

        Returns
        -------
        array, (n,), or dict of str to array
            An array if there is one latent, else by name.
        """
        states = self.posterior(data).mode()
        mode = {node.name: with_labels(node, states[node.name]) for node in self.model.latents}
        return next(iter(mode.values())) if len(mode) == 1 else mode

    def impute(
        self, data: Any = None, *, draw: bool = False, seed: int | np.random.Generator | None = None
    ) -> dict[str, Array]:
        """Return the values of the observed nodes with missing entries filled in.

        Parameters
        ----------
        data : array, mapping or data frame, optional
            New rows; the training data by default.
        draw : bool
            Draw missing entries from their conditional distribution given the observed ones,
            jointly in each row. By default they get their conditional mean, or where the values are
            a finite set, the most probable one.
        seed : int or numpy.random.Generator, optional
            For the draws.

        Returns
        -------
        dict of str to array, (n, *event)
            Labels where the data had some.

        Raises
        ------
        MissingMethodError
            If a plug-in has no method ``expected_value``, or to draw no ``sample``.

        Examples
        --------
        >>> import numpy as np
        >>> import latentem as lem
        >>> x = np.array([[0.0, 0.0], [1.0, 1.1], [2.0, 1.9], [3.0, np.nan]])
        >>> fit = lem.fit(lem.Model([lem.observed("x", lem.Gaussian())]), x, seed=0)
        >>> fit.impute()["x"][3].round(1)
        array([3. , 2.9])
        """
        check_probability(self.model, "imputed values")
        problem = Problem.of(self.model, self._problem.data if data is None else data)
        filled = impute(problem, known_theta(problem), generator(seed) if draw else None)
        # Labels as they were given, and not as numpy's strings.
        return {
            name: values.astype(object) if values.dtype.kind == "U" else values
            for name, values in filled.items()
        }

    def score_samples(self, data: Any = None) -> Array:
        """Return log p(x | θ) of each row, ``(n,)``, in nats; -inf where impossible.

        Parameters
        ----------
        data : array, mapping or data frame, optional
            New rows; the training data by default.
        """
        if self.model.requires_hard:
            _ = self.log_likelihood  # raises, saying why
        problem = Problem.of(self.model, self._problem.data if data is None else data)
        return problem.log_evidence(known_theta(problem))

    def sample(
        self, n: int, seed: int | np.random.Generator | None = None, *, data: Any = None
    ) -> dict[str, Array]:
        """Draw n rows from the fitted model, given some in ``data``; see `latentem.sample`."""
        return sample(self.model, n, seed=seed, data=data)

    # -- how sure ------------------------------------------------------------------------------

    def standard_errors(self) -> dict[str, dict[str, Array]]:
        r"""Return the standard errors of the parameters, from the observed information.

        .. math:: \mathrm{se}(\theta_j)^2 = [I^{-1}]_{jj}, \qquad
                  I = -\nabla^2 \log p(X \mid \theta)

        at the θ of the fit, which should be a maximum of the likelihood. The information is taken
        from differences of Q, two E-steps for each free parameter. Row weights count as repeated
        rows.

        What is known exactly has standard error 0: fixed parameters. So has, with a warning, what
        lies on the boundary of its range, where the theory does not hold: probabilities and rates
        within 1e-6 of its end, and (co)variances at their floor. It is held there, and the other
        standard errors are those with it known. What the data do not determine (a state without
        rows, states that are alike) has infinite standard errors, with a warning.

        Returns
        -------
        dict of str to dict of str to array
            By node and parameter, in the parameter's shape and unit:
            ``fit.standard_errors()["x"]["mean"]``.

        Raises
        ------
        ModelError
            For prototypes, which have no likelihood.
            For other assignment rules than `soft`, which do not maximise it.
        DegenerateError
            If the likelihood still rises from θ: it is no maximum.

        Warns
        -----
        DegenerateWarning
            If parameters are on the boundary, or left open by the data.

        References
        ----------
        Louis, Finding the observed information matrix when using the EM algorithm, Journal of the
        Royal Statistical Society B 44, 1982. Oakes, Direct calculation of the information matrix
        via the EM algorithm, Journal of the Royal Statistical Society B 61, 1999.

        Examples
        --------
        >>> import latentem as lem
        >>> fit = lem.fit(lem.Model([lem.observed("x", lem.Bernoulli())]), [1, 1, 1, 0])
        >>> round(float(fit.standard_errors()["x"]["probs"]), 4)  # root of 3/4 * 1/4 / 4
        0.2165
        """
        from latentem.em.standard_errors import standard_errors  # scipy.linalg is slow to import

        check_probability(self.model, "standard errors")
        if self._assign != soft:
            raise ModelError(
                "standard errors must be of a maximum of the likelihood, got a fit under "
                f"{self._assign}. Go on from it with fit(model, data, init=fit.model)."
            )
        problem = attrs.evolve(self._problem, model=self.model)
        return standard_errors(problem, known_theta(problem))

    def bootstrap(
        self,
        n: int = 100,
        seed: int | np.random.Generator | None = None,
        progress: bool = False,
    ) -> Bootstrap:
        """Return fits to data drawn from the fitted model: the parametric bootstrap.

        Each draw is as large as the training data and as well known: all observed nodes are drawn,
        observed parents too; entries that were missing are so again, and rows in which a latent's
        state was known know the one drawn. A row of weight w, a whole number, is drawn w times. The
        model is fitted to it from the parameters it was drawn from, under the same assignment rule,
        and its states are put in their order (see `align`).

        An interrupt keeps what has been done, with a warning.

        Parameters
        ----------
        n : int
            Number of draws, at least 2: some 100 for standard errors, 1000 for intervals.
        seed : int or numpy.random.Generator, optional
        progress : bool
            Show the fits as they run (needs the extra ``cli``).

        Returns
        -------
        Bootstrap
            With ``standard_errors``, ``interval(level)``, ``models`` and ``failed``.

        Raises
        ------
        ModelError
            For prototypes, which cannot be drawn from.
        DataError
            If row weights are not whole numbers, or labels are probabilities.
        MissingMethodError
            If a distribution has no method ``sample``.
        DegenerateError
            If fewer than two of the fits came to a maximum.

        References
        ----------
        Efron and Tibshirani, An introduction to the bootstrap, 1993. For mixtures: McLachlan and
        Peel, Finite mixture models, 2000, section 2.16.

        Examples
        --------
        >>> import latentem as lem
        >>> fit = lem.fit(lem.Model([lem.observed("x", lem.Poisson())]), [3, 5, 4, 2, 6])
        >>> boot = fit.bootstrap(50, seed=0)
        >>> boot
        Bootstrap of p(x): 50 fits
        >>> low, high = boot.interval(0.9)["x"]["rate"]
        >>> bool(low < 4 < high)
        True
        """
        from latentem.em.bootstrap import bootstrap  # which makes fits itself

        problem = attrs.evolve(self._problem, model=self.model)
        return bootstrap(problem, self._assign, n, seed, progress)

    # -- showing it ----------------------------------------------------------------------------

    def summary(self, standard_errors: StandardErrors | bool | None = None) -> Summary:
        """Return a table of the fit, node by node and state by state; print it.

        Parameters
        ----------
        standard_errors : bool or mapping of str to mapping of str to array, optional
            Printed as "estimate ± s.e.": True for those of `standard_errors`; or others, by node
            and parameter, in the parameter's shape.

        Raises
        ------
        ModelError
            If standard errors are of no node or parameter of the model, or have another shape.
        """
        from latentem.summary import Summary  # a floor above: only when asked for

        return Summary(self, self._errors(standard_errors))

    def _errors(self, given: Any) -> StandardErrors:
        """Return standard errors as asked for."""
        from latentem.tables import checked_errors  # a floor above: only when asked for

        if isinstance(given, bool) or given is None:
            return self.standard_errors() if given else {}
        return checked_errors(self.model, given)

    def to_dataframe(
        self,
        what: str = "parameters",
        backend: Any = "pandas",
        *,
        standard_errors: StandardErrors | bool | None = None,
    ) -> Any:
        """Return parameters, responsibilities or the trace as a data frame.

        Parameters
        ----------
        what : {"parameters", "responsibilities", "trace"}
            Parameters: a row for each number, with columns ``node``, ``states`` (of the node's
            discrete parents, such as ``"z=0"``), ``parameter``, ``index`` (within the parameter of
            these states, such as ``"0,1"``, or the label of a state) and ``value``.
            Responsibilities: a row for each row of the training data, in their order, with a column
            for each state of each latent, such as ``"z=0"``. Trace: a row for each half-step.
        backend : str or module
            "pandas", "polars", "pyarrow", "modin" or "cudf".
        standard_errors : bool or mapping of str to mapping of str to array, optional
            As in `summary`: a further column of the parameters.

        Raises
        ------
        ModelError
            If it is none of these.
            If standard errors are of no node or parameter of the model, or have another shape.
        MissingExtraError
            If the backend is not installed.
        """
        from latentem.tables import frame_of  # a floor above: only when asked for

        return frame_of(self, what, backend, self._errors(standard_errors))

    def __repr__(self) -> str:
        from latentem.tables import number_text  # a floor above: only when asked for

        rows: list[tuple[str, str]] = []
        if self.model.requires_hard:
            rows.append(("distortion J", f"{self.distortion:.6f} (total)"))
        else:
            rows.append(("log-likelihood", f"{self.log_likelihood:.6f} nats (total)"))
            if self.has_priors:
                rows.append(("log prior", f"{self.log_prior:.6f} (of the parameters)"))
            if self._assign != soft:
                objective = f"{self.objective:.6f} nats (total; assignment rule: {self.assignment})"
                rows.append(("objective F", objective))
            elif self.has_priors:
                rows.append(("objective F", f"{self.objective:.6f} (their sum: MAP estimates)"))
        rows += [("ending", self.status.value), ("iterations", str(self.iterations))]
        if len(self.starts) > 1:
            rows.append(("starts", self.starts_line))
        rows += [("noted", event) for event in self.noted]
        for name, dist in self.model.distributions.items():
            for field, value in dist.parameters.items():
                rows.append((f"{name}.{field}", number_text(value, decimals=4, threshold=12)))
        width = max(18, *(len(what) for what, _ in rows))
        indent = " " * (width + 3)
        lines = [f"Fit of {self.model} to {self._problem.data.n} rows"]
        lines += [
            f"  {what:<{width}} {textwrap.indent(text, indent).lstrip()}" for what, text in rows
        ]
        return "\n".join(lines)
