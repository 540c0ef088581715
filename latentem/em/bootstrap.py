"""The parametric bootstrap: fits to data drawn from a fit."""

from __future__ import annotations

import warnings
from typing import Any

import attrs
import numpy as np

from latentem.data import Data, joined
from latentem.distributions.arrays import Array
from latentem.em.align import align, without_labels
from latentem.em.assign import Assignment
from latentem.em.convergence import Convergence, whole
from latentem.em.first import first_theta
from latentem.em.problem import Problem
from latentem.em.progress import Progress
from latentem.em.sampling import draw
from latentem.em.search import Run, choose_max_iter
from latentem.em.status import Status
from latentem.em.steps import check_probability
from latentem.errors import ConvergenceWarning, DataError, DegenerateError, ModelError
from latentem.graph import Model
from latentem.seeds import generator

#: The refits' tolerance, the default of `latentem.fit`.
TOL = 1e-6


@attrs.frozen(eq=False, repr=False)
class Bootstrap:
    """Fits to data drawn from a fit; see `Fit.bootstrap`.

    Attributes
    ----------
    model : Model
        The one the data were drawn from.
    models : tuple of Model
        Those fitted to the draws, their states in the order of its own.
    failed : int
        Number of draws to which the model could not be fitted: some state collapsed, or had nothing
        to be fitted to.
    """

    model: Model
    models: tuple[Model, ...]
    failed: int

    @property
    def standard_errors(self) -> dict[str, dict[str, Array]]:
        """The standard deviation over the models of each parameter, by node and name."""
        return self._over_models(lambda values: values.std(axis=0, ddof=1))

    def interval(self, level: float = 0.95) -> dict[str, dict[str, Array]]:
        """Return the interval of each parameter between two quantiles over the models.

        Parameters
        ----------
        level : float
            Share of the models that lie within, between 0 and 1; as many lie below as above.

        Returns
        -------
        dict of str to dict of str to array, (2, *shape)
            By node and parameter, the lower ends and the upper ends.

        Raises
        ------
        ModelError
            If the level is not a number between 0 and 1.

        References
        ----------
        Efron and Tibshirani, An introduction to the bootstrap, 1993, section 13.3.
        """
        is_number = isinstance(level, int | float | np.number) and not isinstance(level, bool)
        if not is_number or not 0 < level < 1:
            raise ModelError(f"level must be a number between 0 and 1, got {level!r}. Try 0.95.")
        ends = [0.5 * (1 - level), 0.5 * (1 + level)]
        return self._over_models(lambda values: np.quantile(values, ends, axis=0))

    def _over_models(self, summary: Any) -> dict[str, dict[str, Array]]:
        """Return a summary of each parameter's values, ``(models, *shape)``."""
        found = {}
        for name, dist in self.model.distributions.items():
            values = [model[name].parameters for model in self.models]
            stacks = {
                field: np.stack([each[field] for each in values]) for field in dist.parameters
            }
            found[name] = {field: np.asarray(summary(stack)) for field, stack in stacks.items()}
        return found

    def __repr__(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"Bootstrap of {self.model}: {len(self.models)} fits{failed}"


def bootstrap(problem: Problem, assign: Assignment, n: int, seed: Any, progress: bool) -> Bootstrap:
    """Return fits to data drawn from the problem's model; see `Fit.bootstrap`."""
    whole("n", n, 2)
    check_probability(problem.model, "draws")
    rows = _rows(problem.data)
    rng = generator(seed)
    models: list[Model] = []
    failed = 0
    with Progress(progress) as display:
        try:
            for i in range(n):
                drawn = _drawn(problem, rows, rng)
                model = _fitted(drawn, assign, rng, display, f"draw {i + 1} of {n}")
                if model is None:
                    failed += 1
                else:
                    models.append(_aligned(model, drawn))
        except KeyboardInterrupt:
            if len(models) < 2:
                raise
            message = f"Interrupted after {len(models) + failed} of {n} draws, which are kept."
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
    if len(models) < 2:
        raise DegenerateError(
            f"A bootstrap must have at least two fits, got {len(models)}: for {failed} of the {n} "
            "draws some state had too little to be fitted to. Use fewer states."
        )
    return Bootstrap(problem.model, tuple(models), failed)


def _rows(data: Data) -> Array:
    """Return the rows to draw anew, each as often as its weight says."""
    if any(label.ndim > 1 for label in data.labels.values()):
        raise DataError(
            "A bootstrap must draw what is known of the latents, got probabilities as labels, "
            "which the model does not draw. Fit without them, or to certain labels."
        )
    weights = np.ones(data.n) if data.weights is None else data.weights
    if not np.array_equal(weights, np.floor(weights)):
        raise DataError(
            "weights must be whole numbers for a bootstrap because it draws so many rows, got "
            f"{weights[weights != np.floor(weights)][0]:g}. Use counts, or standard_errors()."
        )
    return np.repeat(np.arange(data.n), weights.astype(np.intp))


def _drawn(problem: Problem, rows: Array, rng: np.random.Generator) -> Problem:
    """Return the problem on new data, which are unknown where the old ones are."""
    model = problem.model
    old = problem.data[rows]
    draws = draw(model, len(rows), rng, old.covariates)
    values, labels = {}, {}
    for name, value in old.values.items():
        new = model[name].check(draws[name])
        values[name] = np.where(np.isnan(value), np.nan, new) if name in old.gapped else new
    for name, label in old.labels.items():
        labels[name] = np.where(label == -1, -1, draws[name]).astype(np.intp)
    inputs = joined(model, draws)
    data = attrs.evolve(old, values=values, labels=labels, inputs=inputs, weights=None)
    return attrs.evolve(problem, data=data, whole=data)


def _fitted(
    problem: Problem, assign: Assignment, rng: np.random.Generator, display: Progress, name: str
) -> Model | None:
    """Return the problem's model fitted from its own parameters; None if it degenerates."""
    try:
        theta = first_theta(problem, problem.model, rng)
    except (DegenerateError, DataError):
        return None
    run = Run(problem, theta, assign, Convergence.on(problem, TOL))
    for state in run.steps(choose_max_iter(assign, None)):
        display.update(state.iteration, state.objective, name)
    return None if run.status is Status.DEGENERATE else problem.to_model(run.last.theta)


def _aligned(model: Model, problem: Problem) -> Model:
    """Return a model with its states in the order of the problem's."""
    if not problem.model.latents:
        return model
    data = without_labels(problem.model, problem.data)
    aligned = align(problem.model, model, data).model
    alike = all(
        aligned[name].parameters.keys() == dist.parameters.keys()
        for name, dist in model.distributions.items()
    )
    return aligned if alike else model  # the cases of a `Switch` tell its states apart
