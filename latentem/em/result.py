"""The result of a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from latentem.distributions.arrays import Array
from latentem.em.assign import Assignment, Hard, soft
from latentem.em.loop import State
from latentem.em.problem import Problem
from latentem.em.sampling import sample
from latentem.em.status import Status
from latentem.em.steps import e_step, known_theta, total_evidence
from latentem.em.trace import Trace
from latentem.errors import ModelError
from latentem.graph import Model
from latentem.inference.posterior import Posterior

if TYPE_CHECKING:
    from latentem.summary import Summary


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
    """

    status: Status
    objective: float | None
    iterations: int
    n_rows: int


@attrs.frozen(eq=False, slots=False, repr=False)
class Fit:
    """A fitted model, and how it came about.

    Attributes
    ----------
    model : Model
        θ reads like the model: ``fit.model["x"].mean``.
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
    """

    model: Model
    objective: float
    trace: Trace
    status: Status
    starts: tuple[Ending, ...]
    events: tuple[str, ...]
    _problem: Problem
    _assign: Assignment
    _log_likelihood: float | None

    @classmethod
    def of(
        cls,
        problem: Problem,
        state: State,
        trace: Trace,
        status: Status,
        starts: tuple[Ending, ...],
        events: Sequence[str],
    ) -> Fit:
        """Make the result of the state that a run ended in."""
        model = problem.to_model(state.theta)
        known = state.log_likelihood
        if known is None and not model.requires_hard:
            known = total_evidence(problem, state.theta)
        return cls(
            model, state.objective, trace, status, starts, tuple(events), problem, state.rule, known
        )

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
    def iterations(self) -> int:
        """Number of iterations of the run that won."""
        return self.trace.rows[-1].iteration

    @property
    def _on_all_rows(self) -> list[Ending]:
        """The starts whose objectives may be compared with the fit's."""
        return [start for start in self.starts if start.n_rows == self._problem.data.n]

    @property
    def agreement(self) -> int:
        """Number of starts that came to the best objective, to 1e-6 of its size.

        Of those that were followed to their end on all rows.
        """
        scale = 1e-6 * max(1.0, abs(self.objective))
        ends = [s.objective for s in self._on_all_rows if s.status is self.status]
        return sum(end is not None and abs(end - self.objective) <= scale for end in ends)

    @property
    def starts_line(self) -> str:
        """How far the starts agree, in words."""
        whole = self._on_all_rows
        finished = sum(start.status is not Status.ITERATION_LIMIT for start in whole)
        shown = f"{len(self.starts)}: "
        if len(whole) < len(self.starts):
            rows = min(start.n_rows for start in self.starts)
            shown += f"chosen on {rows:,} rows, {len(whole)} followed on all; "
        return f"{shown}{finished} went to the end, {self.agreement} of them to this optimum"

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

    def predict(self, data: Any = None) -> Any:
        """Return the jointly most probable states.

        Parameters
        ----------
        data : array, mapping or data frame, optional
            New rows; the training data by default.

        Returns
        -------
        array, (n,), or dict of str to array
            An array if there is one latent, else by name.
        """
        mode = self.posterior(data).mode()
        return next(iter(mode.values())) if len(mode) == 1 else mode

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

    def sample(self, n: int, seed: int | np.random.Generator | None = None) -> dict[str, Array]:
        """Draw n rows from the fitted model; see `latentem.sample`."""
        return sample(self.model, n, seed=seed)

    # -- showing it ----------------------------------------------------------------------------

    def summary(self) -> Summary:
        """Return a table of the fit, node by node and state by state; print it."""
        from latentem.summary import Summary  # a floor above: only when asked for

        return Summary(self)

    def __repr__(self) -> str:
        lines = [f"Fit of {self.model} to {self._problem.data.n} rows"]
        if self.model.requires_hard:
            lines.append(f"  distortion J       {self.distortion:.6f}")
        else:
            lines.append(f"  log-likelihood     {self.log_likelihood:.6f} nats (total)")
            if self._assign != soft:
                lines.append(f"  objective F        {self.objective:.6f}")
        lines.append(f"  ending             {self.status.value}")
        lines.append(f"  iterations         {self.iterations}")
        if len(self.starts) > 1:
            lines.append(f"  starts             {self.starts_line}")
        for name, dist in self.model.distributions.items():
            for field, value in dist.parameters.items():
                text = np.array2string(np.asarray(value), precision=4, threshold=12, edgeitems=2)
                head = f"  {name}.{field}"
                lines.append(f"{head:<20} {text}".replace("\n", "\n" + " " * 21))
        return "\n".join(lines)
