"""Fits to few rows, straight through.

Of some hundred rows the steps of EM cost less than all that goes before and after them. This is the
way from data to fit with nothing on it that such a fit can do without: a mixture whose maxima are
of known form starts from its own parameters, its steps are made by one compiled loop, and θ and the
trace are made where they are asked for. Where there is more to a fit than this, be it in the model,
the data or a step, or anything wrong with them, it is left to the general way from the beginning.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self
from weakref import WeakKeyDictionary

import attrs
import numpy as np

from latentem.distributions.arrays import LOG_ZERO, Array
from latentem.distributions.base import ExponentialFamily
from latentem.distributions.kernels import LinearKernel, Stack
from latentem.distributions.records import Statistics
from latentem.em.accelerate import Accelerator, Squarem
from latentem.em.assign import soft
from latentem.em.convergence import SMALL, Convergence
from latentem.em.mixture import LEAST_WORK, WORK_OF_SOFTMAX
from latentem.em.natural import foretells, knows_closed_form, most_at_once
from latentem.em.problem import Problem
from latentem.em.result import Ending, Fit
from latentem.em.search import VACANT
from latentem.em.status import Status
from latentem.em.trace import Iterations, Trace
from latentem.errors import ConvergenceWarning
from latentem.graph import Model
from latentem.kernels.columns import sum_of_squares
from latentem.kernels.compiled import is_loaded
from latentem.kernels.leaps import has_ended
from latentem.kernels.steps import LEVELS, ClosedForm, EMSteps
from latentem.repeats import FEWEST


def fit_straight(
    model: Model, data: Any, accelerate: Accelerator | None, tol: float, max_iter: int
) -> Fit | None:
    """Return the fit from the parameters of a model; None where there is more to it."""
    if not (is_loaded() and (accelerate is None or type(accelerate) is Squarem)):
        return None
    try:
        with np.errstate(all="ignore"):
            mixture = _Mixture.of(model)
            if mixture is not None:
                return _fit(model, mixture, data, accelerate, tol, max_iter)
    except Exception:  # what is wrong is met again on the general way, and said
        pass
    return None


@attrs.frozen(eq=False)
class _Mixture:
    """A model whose fits may go straight: one latent, on which all other nodes depend.

    Attributes
    ----------
    latent : str
    names : tuple of str
        The observed nodes.
    prior : ExponentialFamily
        That of the latent.
    log_prior : array, (K,)
    families : list of ExponentialFamily
        Those of the observed nodes.
    pairs : array of int, (1 + p, 2)
        Of which factors the statistics are products, see `latentem.kernels.expected`.
    columns, rows : list of slice
        Where the statistics of each family are, and where their factors.
    """

    latent: str
    names: tuple[str, ...]
    prior: ExponentialFamily
    log_prior: Array
    families: list[ExponentialFamily]
    pairs: Array
    columns: list[slice]
    rows: list[slice]

    @classmethod
    def of(cls, model: Model) -> _Mixture | None:
        """Return a model as such a mixture, None if it is another; it is remembered which."""
        if model not in _mixtures:
            _mixtures[model] = cls._of(model)
        return _mixtures[model]

    @classmethod
    def _of(cls, model: Model) -> Self | None:
        if len(model.latents) != 1 or not model.observed or model.covariates:
            return None
        if model.requires_hard:
            return None
        (latent,), observed = model.latents, model.observed
        if latent.given or any(node.given != (latent,) or node.tie for node in observed):
            return None
        if not all(map(_has_known_maximum, model.distributions.values())):
            return None
        # A family may start from others of its parameters, and raises where no fit starts from it.
        started = {name: dist.started_from(dist) for name, dist in model.distributions.items()}
        if not all(map(_has_known_maximum, started.values())):
            return None
        prior: Any = started[latent.name]
        if prior.closed_form != ClosedForm(LEVELS) or (latent.n_states or 0) < 2:
            return None
        prior = prior.flatten(())
        log_prior = np.maximum(prior.log_prob_table[0], LOG_ZERO)
        own: Any = [started[node.name] for node in observed]
        families = [dist.flatten(log_prior.shape) for dist in own]
        kernels = tuple(map(LinearKernel.of, families))
        stack = Stack.of(kernels)
        assert stack.pairs is not None
        columns, rows = [], []
        start = row = 1
        for kernel in kernels:
            end, last = start + kernel.n_statistics, row + int(kernel.pairs.max())
            columns.append(slice(start, end))
            rows.append(slice(row, last))
            start, row = end, last
        names = tuple(node.name for node in observed)
        return cls(latent.name, names, prior, log_prior, families, stack.pairs, columns, rows)

    def arrays(self, data: Any) -> dict[str, Array] | None:
        """Return the arrays of the observed nodes; None if these are not plain numbers."""
        if type(data) is np.ndarray and len(self.names) == 1:
            data = {self.names[0]: data}
        if not isinstance(data, Mapping) or set(data) != set(self.names):
            return None
        arrays = {name: data[name] for name in self.names}
        for array in arrays.values():
            if type(array) is not np.ndarray or array.dtype.kind not in "iuf" or not array.ndim:
                return None
            if array.dtype.kind == "f" and not sum_of_squares(array) < np.inf:
                return None
        return arrays if len(set(map(len, arrays.values()))) == 1 else None


#: By model; None for one that is no such mixture.
_mixtures: WeakKeyDictionary[Model, _Mixture | None] = WeakKeyDictionary()


def _has_known_maximum(dist: Any) -> bool:
    """Return whether a distribution has parameters, and maxima that follow from means alone."""
    kind: Any = type(dist)
    known = isinstance(dist, ExponentialFamily) and foretells(kind) and knows_closed_form(kind)
    if not known or dist.has_prior or dist.held or dist.levels is not None:
        return False
    return bool(dist.is_parameterised) and dist.free is dist


def _fit(
    model: Model,
    mixture: _Mixture,
    data: Any,
    accelerate: Squarem | None,
    tol: float,
    max_iter: int,
) -> Fit | None:
    arrays, k = mixture.arrays(data), len(mixture.log_prior)
    n = 0 if arrays is None else len(arrays[mixture.names[0]])
    work = n * k * (len(mixture.pairs) + WORK_OF_SOFTMAX)
    if arrays is None or not k <= n < FEWEST or n * k > SMALL or work > LEAST_WORK or max_iter == 0:
        return None
    start = _start(mixture, arrays, n)
    if start is None:
        return None
    coefficients, factors, base, families, forms = start
    # All steps, of which the first is an E-step.
    steps = EMSteps(forms, factors, mixture.pairs, None, math.sqrt(1 + len(families)))
    leaps = None if accelerate is None else accelerate.start().leaps(coefficients.size, ())
    run: Any = (np.nan, np.nan, np.nan, np.nan, base, *Convergence(tol).limits(n), 0.0)
    most = min(max_iter, most_at_once(work))
    some = steps.begin(coefficients, 1 + most, run, leaps)
    made = len(some) - 1
    _, objective, last, earlier, _, allowed, left, rate = some.run.tolist()
    ended = has_ended(earlier, last, objective, rate, allowed, left)
    if not (ended or made == max_iter) or not some.sums[:, 0].min() > VACANT * n:
        return None
    status = Status.CONVERGED if ended else Status.ITERATION_LIMIT
    if tol > 0 and not ended:
        message = f"After {max_iter} iterations: {status.value}"
        warnings.warn(message, ConvergenceWarning, stacklevel=4)
    # The data as they are now: what is asked for later is asked of these.
    kept = {name: array.copy() for name, array in arrays.items()}
    return Fit(
        _Outcome(model, kept, mixture, families, some.before),
        objective,
        Trace([Iterations(0, np.nan, some.values, base)]),
        status,
        (Ending(status, objective, made, n),),
        (),
        soft,
        objective,
    )


def _start(
    mixture: _Mixture, arrays: dict[str, Array], n: int
) -> tuple[Array, Array, float, list[ExponentialFamily], list[tuple[ClosedForm, int]]] | None:
    """Return C of the start, the factors of the statistics of n rows, and their log base measures.

    And the families about these rows, and the forms of their maxima. None where there is more to
    the start than C.
    """
    coefficients = np.empty((len(mixture.log_prior), len(mixture.pairs)))
    factors = np.empty((mixture.rows[-1].stop, n))
    coefficients[:, 0], factors[0] = mixture.log_prior, 1.0
    base, families, forms = 0.0, [], []
    for dist, array, columns, rows in zip(
        mixture.families, arrays.values(), mixture.columns, mixture.rows, strict=True
    ):
        value = np.ascontiguousarray(dist.check(np.ascontiguousarray(array)))
        if len(value) != n:
            return None
        about = dist.bind(value)
        about.check_fit()
        kernel, form = about.kernel(), about.closed_form
        if form is None or type(kernel) is not LinearKernel:
            return None
        if not (kernel.is_free or about.feasible() is about):
            return None
        coefficients[:, columns] = kernel.eta
        coefficients[:, 0] -= kernel.log_normaliser
        about.factors_into(factors[rows], value)
        own = np.asarray(about.log_base_measure(value))
        if own.shape not in ((), (1,), (n,)):
            return None
        base += float(own.sum()) * (n // own.size)
        families.append(about)
        forms.append((form, kernel.n_statistics))
    if not (coefficients.min() > LOG_ZERO and LOG_ZERO / 10 < base < np.inf):
        return None
    return coefficients, factors, base, families, forms


@attrs.frozen(eq=False, slots=False)
class _Outcome:
    """What a fit came to, made where it is asked for.

    Attributes
    ----------
    declared : Model
    arrays : dict of str to array
        The data, as they were.
    mixture : _Mixture
    families : list of ExponentialFamily
        Those of the observed nodes, about the data.
    sums : array, (K, 1 + p)
        The expected sums of which θ is the maximum.
    """

    declared: Model
    arrays: dict[str, Array]
    mixture: _Mixture
    families: list[ExponentialFamily]
    sums: Array

    @cached_property
    def model(self) -> Model:
        """θ."""
        mixture, weight = self.mixture, self.sums[:, 0].copy()
        prior = mixture.prior.update(Statistics(weight.sum(keepdims=True), weight[None]))
        dists: dict[str, Any] = {mixture.latent: prior.unflatten(())}
        for name, dist, columns in zip(mixture.names, self.families, mixture.columns, strict=True):
            total = self.sums[:, columns].copy()
            record = Statistics(weight, total, 0.0, getattr(dist, "reference", None))
            dists[name] = dist.update(record).unflatten((len(weight),))
        return self.declared.replace(dists)

    @cached_property
    def problem(self) -> Problem:
        """The model bound to the data."""
        return Problem.of(self.declared, self.arrays)
