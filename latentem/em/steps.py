"""EM one half-step at a time, as on the blackboard."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from latentem.data import bind, is_certain, weighted_sum
from latentem.distributions.arrays import LOG_ZERO
from latentem.distributions.records import Record
from latentem.em.assign import Assignment, soft
from latentem.em.expectation import Term
from latentem.em.first import first_theta
from latentem.em.init import Start, from_labels, from_posterior
from latentem.em.maximise import maximise
from latentem.em.problem import Problem
from latentem.em.theta import Theta
from latentem.errors import DataError, ModelError
from latentem.graph import Model, check_model
from latentem.inference.posterior import Posterior
from latentem.seeds import generator


def check_assign(model: Model, assign: Assignment) -> None:
    """Raise unless the assignment rule suits the model."""
    if not isinstance(assign, Assignment):
        raise ModelError(
            f"assign must be an assignment rule, got {assign!r}. "
            "Pass lem.soft, lem.hard, lem.tempered(beta) or lem.stochastic(rng)."
        )
    for name in model.requires_hard:
        if not assign.is_hard or not assign.is_monotone:
            raise ModelError(
                f"Node '{name}': {type(model[name]).__name__} must be assigned hard because it is "
                f"no probability distribution, got {assign}. Pass assign=lem.hard.",
                node=name,
            )


def check_init(init: Any) -> None:
    """Raise unless it is a start, a model to start from, or None for the default."""
    if init is not None and not isinstance(init, Model) and not callable(init):
        raise ModelError(
            f"init must be a start or a model with parameters, got {reprlib.repr(init)}. "
            "Pass lem.init.plus_plus, lem.init.random, lem.init.from_labels(...) or a Model."
        )
    if init is from_labels or init is from_posterior:
        name = f"lem.init.{init.__name__}"
        raise ModelError(
            f"init must be a start or a model with parameters, got {name}, which makes a start. "
            f"Pass {name}(...) of what to start from."
        )


def check_probability(model: Model, what: str) -> None:
    """Raise unless all nodes are probability distributions."""
    for name in model.requires_hard:
        raise ModelError(
            f"Node '{name}': {what} must come from a probability distribution, got "
            f"{model[name]!r}, which only makes sense under hard assignment. "
            "Declare a density in its place.",
            node=name,
        )


def known_theta(problem: Problem) -> Theta:
    """Return the parameters of the problem's model, which must have them."""
    for name, dist in problem.model.distributions.items():
        if not dist.is_parameterised:
            raise ModelError(
                f"Node '{name}': {type(dist).__name__} must have parameters for this, got a "
                "template. Give them, or use initialize(model, data) or fit(model, data).",
                node=name,
            )
    return problem.theta()


def initialize(
    model: Model,
    data: Any,
    *,
    init: Start | Model | None = None,
    weights: Any = None,
    seed: int | np.random.Generator | None = None,
) -> Model:
    """Return θ_old: a start, then one M-step.

    Parameters
    ----------
    model : Model
        Nodes that have parameters keep them.
    data : array, mapping or data frame
    init : start or Model, optional
        One of `latentem.init`, by default k-means++ seeding where a node has a dissimilarity; or a
        model whose parameters to take.
    weights : array, (n,), optional
        Row weights.
    seed : int or numpy.random.Generator, optional

    Returns
    -------
    Model
        With parameters.

    Raises
    ------
    DataError
        If the data do not fit the model.
    ModelError
        If all states of a latent are equal at the start.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> model = lem.models.gaussian_mixture(2)
    >>> lem.initialize(model, np.array([[0.0], [1.0], [8.0], [9.0]]), seed=0).is_parameterised
    True
    """
    check_init(init)
    problem = Problem.of(model, data, weights)
    return problem.to_model(first_theta(problem, init, generator(seed)))


def e_step(model: Model, data: Any, *, assign: Assignment = soft, weights: Any = None) -> Posterior:
    """Return the posterior p(Z | X, θ) of every row.

    Parameters
    ----------
    model : Model
        With parameters.
    data : array, mapping or data frame
    assign : Assignment
        The assignment rule.
    weights : array, (n,), optional
        Row weights.

    Returns
    -------
    Posterior

    Raises
    ------
    ModelError
        If a node has no parameters, or prototypes are assigned softly.
    DataError
        If the data do not fit the model, or a row has density zero under all states.

    Examples
    --------
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    >>> x = lem.observed("x", lem.Bernoulli(probs=[0.2, 0.6]), given=z)
    >>> lem.e_step(lem.Model([z, x]), [1]).marginal("z").round(2)
    array([[0.25, 0.75]])
    """
    check_model(model)
    check_assign(model, assign)
    problem = Problem.of(model, data, weights)
    return problem.posterior(known_theta(problem), assign.at(0))


def _with_posterior(model: Model, data: Any, posterior: Posterior) -> tuple[Problem, Posterior]:
    """Return the problem with the posterior's weights, and the posterior in its order of rows."""
    if not isinstance(posterior, Posterior):
        raise ModelError(
            f"posterior must be a Posterior, got a {type(posterior).__name__}. Pass what "
            "e_step(model, data) returns; responsibilities make a start: init.from_posterior."
        )
    problem = Problem.of(model, data)
    if posterior.n != problem.data.n or posterior.elimination.sizes != (
        problem.layout.elimination.sizes
    ):
        raise DataError(
            f"The posterior must be over the latents {problem.layout.elimination.sizes} and "
            f"{problem.data.n} rows, got {posterior.elimination.sizes} and {posterior.n}. "
            "Use e_step(model, data) of the same model and data."
        )
    if problem.data.order is not None:
        posterior = posterior[problem.data.order]
    weighted = attrs.evolve(problem.data, weights=posterior.weights)
    return attrs.evolve(problem, data=weighted), posterior


def m_step(model: Model, data: Any, posterior: Posterior) -> Model:
    """Return θ_new = argmax Q(θ, θ_old), node by node.

    Parameters
    ----------
    model : Model
    data : array, mapping or data frame
    posterior : Posterior
        Of the same rows; its row weights are used.

    Returns
    -------
    Model
        With parameters.

    Raises
    ------
    DegenerateError
        If a state has nothing to be fitted to.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    >>> x = lem.observed("x", lem.Poisson(rate=[1.0, 5.0]), given=z)
    >>> model, counts = lem.Model([z, x]), np.array([0, 1, 6, 7])
    >>> lem.m_step(model, counts, lem.e_step(model, counts))["x"].rate.round(2)
    array([0.5 , 6.22])
    """
    problem, posterior = _with_posterior(model, data, posterior)
    theta = problem.theta(renew=True)  # floors and digits are those of these data
    gapped = [name for name in problem.data.gapped if not theta.dists[name].is_parameterised]
    if gapped:
        raise ModelError(
            f"Node '{gapped[0]}': it must have parameters to complete values with missing parts, "
            "got a template. Start with initialize(model, data).",
            node=gapped[0],
        )
    records = problem.records(theta, problem.expectation(theta, posterior))
    return problem.to_model(maximise(problem, theta, records, posterior).theta)


@attrs.frozen(eq=False, repr=False, slots=False)
class ExpectedLogJoint:
    """Q(θ, θ_old) = E[log p(X, Z | θ)] under the posterior at θ_old, as an object.

    Call it at any parameterised model to get its value there.

    Attributes
    ----------
    by_node : dict of str to float
        Its terms, in nats: Q is a sum over nodes.
    """

    problem: Problem
    records: dict[str, Record]
    by_node: dict[str, float]

    @property
    def total(self) -> float:
        """Q in nats."""
        return math.fsum(self.by_node.values())

    def at(self, model: Model) -> ExpectedLogJoint:
        """Return the same Q at another θ, with its terms.

        Raises
        ------
        ModelError
            If the model has no parameters or another graph.
        """
        if not model.same_graph(self.problem.model):
            raise ModelError(
                f"Q must be evaluated at a model of the graph {self.problem.model}, "
                f"got {model}. Use the same graph."
            )
        theta = known_theta(attrs.evolve(self.problem, model=model))
        terms = self.problem.q(theta, self.records)
        return attrs.evolve(self, by_node=values_of(terms))

    def __call__(self, model: Model) -> float:
        """Return Q(θ, θ_old) at the θ of a model."""
        return self.at(model).total

    def __repr__(self) -> str:
        terms = ", ".join(f"{name}: {value:.6f}" for name, value in self.by_node.items())
        unit = "" if self.problem.model.requires_hard else "nats "
        return f"Q = {self.total:.6f} {unit}(total; {terms})"


def values_of(terms: Mapping[str, Term]) -> dict[str, float]:
    """Return the values of the terms of Q; -inf where something possible has probability 0."""
    return {
        name: term.value if term.value > LOG_ZERO / 10 else -math.inf
        for name, term in terms.items()
    }


def expected_log_joint(model: Model, data: Any, posterior: Posterior) -> ExpectedLogJoint:
    """Return Q(θ, θ_old), the expected complete-data log-likelihood.

    Parameters
    ----------
    model : Model
        With parameters θ, at which ``total`` and ``by_node`` are taken.
    data : array, mapping or data frame
    posterior : Posterior
        p(Z | X, θ_old).

    Returns
    -------
    ExpectedLogJoint

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    >>> x = lem.observed("x", lem.Poisson(rate=[1.0, 5.0]), given=z)
    >>> model, counts = lem.Model([z, x]), np.array([0, 1, 6, 7])
    >>> posterior = lem.e_step(model, counts)
    >>> Q = lem.expected_log_joint(model, counts, posterior)
    >>> bool(np.isclose(Q.total + posterior.entropy, lem.log_likelihood(model, counts)))
    True
    """
    problem, posterior = _with_posterior(model, data, posterior)
    theta = known_theta(problem)
    records = problem.records(theta, problem.expectation(theta, posterior))
    terms = problem.q(theta, records)
    return ExpectedLogJoint(problem, records, values_of(terms))


def log_likelihood(model: Model, data: Any, *, weights: Any = None) -> float:
    """Return log p(X | θ), the latents summed out, in nats.

    Parameters
    ----------
    model : Model
        With parameters.
    data : array, mapping or data frame
    weights : array, (n,), optional
        Row weights.

    Returns
    -------
    float
        The sum over rows; -inf if a row is impossible.

    Examples
    --------
    >>> import latentem as lem
    >>> coin = lem.Model([lem.observed("x", lem.Bernoulli(probs=0.5))])
    >>> round(lem.log_likelihood(coin, [0, 1]), 4)
    -1.3863
    """
    problem = Problem.of(model, data, weights)
    return total_evidence(problem, known_theta(problem))


def total_evidence(problem: Problem, theta: Theta) -> float:
    """Return the weighted sum of log p(x), rows without weight left out."""
    check_probability(problem.model, "a likelihood")
    rows = problem.log_evidence(theta)
    if problem.data.order is not None:
        rows = rows[problem.data.order]
    return weighted_sum(rows, problem.data)


def log_joint(model: Model, data: Any, *, weights: Any = None) -> float:
    """Return log p(X, Z | θ), the complete-data log-likelihood, in nats.

    Parameters
    ----------
    model : Model
        With parameters.
    data : mapping or data frame
        With values for every node, latents included.
    weights : array, (n,), optional
        Row weights.

    Returns
    -------
    float

    Examples
    --------
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    >>> x = lem.observed("x", lem.Bernoulli(probs=[0.2, 0.6]), given=z)
    >>> round(lem.log_joint(lem.Model([z, x]), {"z": [0], "x": [1]}), 4)
    -2.3026
    """
    model, bound = bind(model, data, weights)
    for node in model.latents:
        labels = bound.labels.get(node.name)
        if labels is None or not is_certain(labels):
            raise DataError(
                f"data must have a state of the latent '{node.name}' in every row for log_joint, "
                "got none. Add it, or use log_likelihood, which sums it out.",
                node=node.name,
            )
    return log_likelihood(model, bound)
