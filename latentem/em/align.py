"""Which state of one fit is which of another: the names of states are arbitrary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from latentem.data import Data
from latentem.distributions.arrays import Array
from latentem.em.assign import hard, soft
from latentem.em.result import Fit
from latentem.em.steps import e_step
from latentem.errors import DataError, MissingMethodError, ModelError
from latentem.graph import Model, check_model

#: How far two models may be apart to count as one.
ALIKE = 0.05


@attrs.frozen(eq=False, repr=False)
class Alignment:
    """The states of one model, b, matched to those of another, a; see `align`.

    Attributes
    ----------
    permutations : dict of str to array, (n_states,)
        For each latent: ``permutation[i]`` is the state of b that matches state i of a.
    agreement : dict of str to float
        For each latent: the expected share of the rows, between 0 and 1, in which a state drawn
        from the posterior of a is matched to the one drawn from the posterior of b. It is 1 only
        where both are certain and alike.
    model : Model
        The model of b, its states in the order of those of a.
    """

    permutations: dict[str, Array]
    agreement: dict[str, float]
    model: Model

    def __repr__(self) -> str:
        latents = (
            f"{name}: {order.tolist()}, expected agreement {self.agreement[name]:.4f}"
            for name, order in self.permutations.items()
        )
        return f"Alignment of the states of {self.model}; {'; '.join(latents)}"


def align(fit_a: Fit | Model, fit_b: Fit | Model, data: Any = None) -> Alignment:
    r"""Match the states of the latents of b to those of a.

    Latent by latent (those that ties bind together), with the posteriors :math:`\alpha_{ni}` and
    :math:`\beta_{nj}` of its states,
    the permutation that maximises the expected agreement

    .. math:: \sum_n w_n \sum_i \alpha_{ni} \beta_{n \pi(i)} / \sum_n w_n

    is found exactly, as an assignment problem. Labels that the training data may have for latents
    are left out: they belong to the states of a.

    Parameters
    ----------
    fit_a, fit_b : Fit or Model
        Of the same graph, with parameters.
    data : array, mapping or data frame, optional
        The rows to compare the posteriors on; by default the training data of a.

    Returns
    -------
    Alignment

    Raises
    ------
    ModelError
        If the two differ in nodes, parents, families or numbers of states.
    DataError
        If there are no data: a is a Model and none are given.

    References
    ----------
    Kuhn, The Hungarian method for the assignment problem, Naval Research Logistics 2, 1955.

    Examples
    --------
    >>> import latentem as lem
    >>> x = lem.datasets.old_faithful().data
    >>> a = lem.fit(lem.models.gaussian_mixture(2), x, seed=0)
    >>> swapped = lem.permute_states(a.model, {"z": [1, 0]})
    >>> alignment = lem.align(a, swapped)
    >>> alignment.permutations["z"]
    array([1, 0])
    >>> bool((alignment.model["x"].mean == a.model["x"].mean).all())
    True
    """
    a, b = (each.model if isinstance(each, Fit) else each for each in (fit_a, fit_b))
    for model in (a, b):
        if not isinstance(model, Model):
            raise ModelError(f"align must be given fits or models, got {model!r}. Pass two.")
    if not a.same_graph(b):
        raise ModelError(
            "align must be given two models of the same graph, families and numbers of states, "
            f"got {_states(a)} and {_states(b)}. Fit the same model twice."
        )
    for name, node in a.by_name.items():
        theirs = b.by_name[name]
        ours = node.dist and node.dist.levels
        if not node.is_latent and ours != (theirs.dist and theirs.dist.levels):
            raise ModelError(
                f"Node '{name}': align must be given models that read it with the same levels in "
                f"the same order, got {ours} and {theirs.dist and theirs.dist.levels}. "
                "Declare the levels in both.",
                node=name,
            )
    if data is None:
        if not isinstance(fit_a, Fit):
            raise DataError(
                "align must have data because it compares posteriors, got none and a Model, which "
                "has no training data. Pass data=..., or a Fit first."
            )
        data = without_labels(a, fit_a._problem.data)
    posterior_a, posterior_b = (
        e_step(model, data, assign=hard if model.requires_hard else soft) for model in (a, b)
    )
    weights = posterior_a.row_weights
    alike = {  # (k, k)
        node.name: (posterior_a.marginal(node.name).T * weights) @ posterior_b.marginal(node.name)
        for node in a.latents
    }
    permutations = {name: np.arange(len(table)) for name, table in alike.items()}
    for together in a.renumbered_together:
        best = _best_match(np.sum([alike[name] for name in together], axis=0))
        permutations.update(dict.fromkeys(together, best))
    agreement = {
        name: float(table[np.arange(len(table)), permutations[name]].sum() / table.sum())
        for name, table in alike.items()
    }
    return Alignment(permutations, agreement, permute_states(b, permutations))


def same_solution(a: Model, b: Model, data: Data) -> bool:
    """Return whether two models say the same of the data, whatever their states are called.

    Of the density of each row, to `ALIKE` nats, and of its states, to that share of the rows: two
    runs that have come to one maximum are closer, unless the likelihood is flat there. The states
    of a latent with discrete parents may be named anew in each of theirs: they do not count.
    """
    data = without_labels(a, data)
    if a.latents:
        try:
            b = align(a, b, data).model
        except MissingMethodError:  # a plug-in whose states cannot be renumbered
            return True
    rule = hard if a.requires_hard else soft
    ours, theirs = e_step(a, data, assign=rule), e_step(b, data, assign=rule)
    weights = ours.row_weights
    if rule is soft:
        counted = weights > 0
        apart = np.abs(ours.log_evidence[counted] - theirs.log_evidence[counted])
        if apart.max() > ALIKE:
            return False
    for name in ours.names:
        if a.discrete_parents(name):
            continue
        moved = np.abs(ours.marginal(name) - theirs.marginal(name)).sum(axis=1) / 2
        if moved @ weights > ALIKE * weights.sum():
            return False
    return True


def without_labels(model: Model, data: Data) -> Data:
    """Return data without what they say of the latents."""
    latents = {node.name for node in model.latents}
    labels = {name: known for name, known in data.labels.items() if name not in latents}
    return attrs.evolve(data, labels=labels)


def _best_match(alike: Array) -> Array:
    """Return the permutation p with the largest sum of ``alike[i, p[i]]``."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    return np.asarray(linear_sum_assignment(alike, maximize=True)[1])


def _states(model: Model) -> str:
    states = (f"'{node.name}' of {node.n_states} states" for node in model.latents)
    return f"{model} (latents: {', '.join(states) or 'none'})"


def permute_states(model: Model, permutations: Mapping[str, Sequence[int] | Array]) -> Model:
    """Return the same model with the states of its latents renumbered.

    The distribution of the observed nodes stays what it is. Latents that ties bind can only be
    renumbered alike.

    Parameters
    ----------
    model : Model
    permutations : mapping of str to sequence of int, (n_states,)
        For each latent to renumber: the new state i is the old state ``permutation[i]``.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If a name is not one of a latent, or a permutation does not have each of its states once.
    MissingMethodError
        If the distribution of a latent cannot be renumbered.

    Examples
    --------
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(probs=[0.2, 0.8]))
    >>> x = lem.observed("x", lem.Poisson(rate=[1.0, 5.0]), given=z)
    >>> model = lem.permute_states(lem.Model([z, x]), {"z": [1, 0]})
    >>> model["z"].probs, model["x"].rate
    (array([0.8, 0.2]), array([5., 1.]))
    """
    check_model(model)
    sizes = {node.name: node.n_states or 0 for node in model.latents}
    orders = {}
    for name, permutation in permutations.items():
        if name not in sizes:
            raise ModelError(
                f"permute_states must be given latents, got '{name}'. "
                f"The latents are {', '.join(map(repr, sizes)) or 'none'}."
            )
        order = orders[name] = np.asarray(permutation)
        whole = order.ndim == 1 and order.dtype.kind in "iu"
        if not whole or not np.array_equal(np.sort(order), np.arange(sizes[name])):
            raise ModelError(
                f"Node '{name}': the permutation must have each state from 0 to "
                f"{sizes[name] - 1} once, got {permutation}. Renumber all states.",
                node=name,
            )
    free = frozenset().union(*model.renumbered_together)
    for name, order in orders.items():
        if name not in free and not np.array_equal(order, np.arange(sizes[name])):
            raise ModelError(
                f"Node '{name}': its states cannot be renumbered because it is tied to an observed "
                f"node, got {order.tolist()}. Leave it out.",
                node=name,
            )
    for together in model.renumbered_together:
        known = [orders[name].tolist() if name in orders else None for name in sorted(together)]
        if any(order != known[0] for order in known):
            raise ModelError(
                f"permute_states must renumber the latents {sorted(together)} alike because of "
                f"tied nodes, got {known}. Give the same permutation for each."
            )
    changes = {}
    for name, dist in model.distributions.items():
        parents = model.discrete_parents(name)
        if any(parent.name in orders for parent in parents):
            dist = dist.permuted_parents(
                [orders.get(p.name, np.arange(p.n_states or 0)) for p in parents]
            )
        changes[name] = dist.permuted(orders[name]) if name in orders else dist
    return model.replace(changes)
