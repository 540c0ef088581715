"""The declared graph: nodes, each a variable with its conditional distribution, and the model."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Self

import attrs
import networkx as nx
import numpy as np

from latentem.distributions import as_distribution
from latentem.distributions.base import Distribution, count_parameters
from latentem.errors import ModelError, Unsuitable


class NodeKind(enum.Enum):
    """What is known of a variable: nothing, its values, or its values without a distribution."""

    LATENT = "latent"
    OBSERVED = "observed"
    COVARIATE = "covariate"


@attrs.frozen(eq=False, repr=False)
class Node:
    """One variable with its conditional distribution.

    Made by `latent`, `observed` and `covariate`.

    Attributes
    ----------
    name : str
    kind : NodeKind
    dist : Distribution or None
        None for a covariate.
    given : tuple of Node
        The parents, in the order of the parameters' leading axes.
    columns : tuple of str or None
        The columns of a data frame that hold the values, if not the one of the node's name.
    tie : str or None
        The node whose parameters these are too.
    """

    name: str
    kind: NodeKind
    dist: Distribution | None = None
    given: tuple[Node, ...] = ()
    columns: tuple[str, ...] | None = None
    tie: str | None = None

    @property
    def n_states(self) -> int | None:
        """Number of states, or None if the variable is not discrete."""
        return None if self.dist is None else self.dist.n_states

    @property
    def is_latent(self) -> bool:
        """Whether the variable is latent."""
        return self.kind is NodeKind.LATENT

    def __str__(self) -> str:
        if not self.given:
            return f"p({self.name})"
        return f"p({self.name} | {', '.join(parent.name for parent in self.given)})"

    def __repr__(self) -> str:
        # Parents by name only: their own text would hold that of all their ancestors.
        parts = [repr(self.name)] if self.dist is None else [repr(self.name), _in_short(self.dist)]
        parts += [f"given={[parent.name for parent in self.given]}"] if self.given else []
        parts += [f"columns={list(self.columns)}"] if self.columns else []
        parts += [f"tie={self.tie!r}"] if self.tie else []
        return f"{self.kind.value}({', '.join(parts)})"


def latent(
    name: str,
    dist: Distribution,
    given: Node | Sequence[Node] | None = None,
    *,
    tie: Node | None = None,
) -> Node:
    """Declare a latent variable.

    Parameters
    ----------
    name : str
        Its name, unique in the model.
    dist : Distribution
        Its distribution, over a finite number of states: `Categorical`, `Bernoulli`, ...
    given : Node or sequence of Node, optional
        Its parents; the parameters are indexed by their states, in this order.
    tie : Node, optional
        A node of the same family whose parameters are to be this one's too: one θ for both.

    Returns
    -------
    Node

    Raises
    ------
    ModelError
        If the name, the distribution or a parent is not one, the states are not finite, or the
        node cannot have the parameters of the one it is tied to.

    Examples
    --------
    >>> import latentem as lem
    >>> mother = lem.latent("mother", lem.Categorical(3))
    >>> father = lem.latent("father", lem.Categorical(3), tie=mother)
    >>> print(mother, father)
    p(mother) p(father)
    >>> lem.Model([mother, father]).replace({"mother": lem.Categorical(probs=[0.2, 0.3, 0.5])})[
    ...     "father"
    ... ]
    Categorical(probs=array([0.2, 0.3, 0.5]))
    """
    return _declare(name, NodeKind.LATENT, dist, given, tie=tie)


def observed(
    name: str,
    dist: Distribution | tuple[Distribution, ...],
    given: Node | Sequence[Node] | None = None,
    *,
    columns: Sequence[str] | None = None,
    tie: Node | None = None,
) -> Node:
    """Declare an observed variable.

    Parameters
    ----------
    name : str
        Its name, unique in the model, and of its column or entry in the data.
    dist : Distribution
        Its distribution given each combination of the states of its discrete parents; a tuple of
        families is their product, one for each column.
    given : Node or sequence of Node, optional
        Its parents; the parameters are indexed by their states, in this order.
    columns : sequence of str, optional
        The columns of a data frame that make up its values.
    tie : Node, optional
        A node of the same family whose parameters are to be this one's too: one θ for both.

    Returns
    -------
    Node

    Raises
    ------
    ModelError
        If the name, the distribution or a parent is not one, or the node cannot have the
        parameters of the one it is tied to.

    Examples
    --------
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(3))
    >>> print(lem.observed("x", lem.Gaussian(), given=z))
    p(x | z)
    """
    return _declare(name, NodeKind.OBSERVED, as_distribution(dist), given, columns, tie)


def covariate(name: str, *, columns: Sequence[str] | None = None) -> Node:
    """Declare an input: a variable that others are given, without a distribution of its own.

    Parameters
    ----------
    name : str
        Its name, unique in the model.
    columns : sequence of str, optional
        The columns of a data frame that make up its values.

    Returns
    -------
    Node

    Examples
    --------
    >>> import latentem as lem
    >>> lem.covariate("u").kind
    <NodeKind.COVARIATE: 'covariate'>
    """
    return _declare(name, NodeKind.COVARIATE, None, None, columns)


def _declare(
    name: str,
    kind: NodeKind,
    dist: Distribution | None,
    given: Node | Sequence[Node] | None,
    columns: Sequence[str] | None = None,
    tie: Node | None = None,
) -> Node:
    if not isinstance(name, str) or not name:
        raise ModelError(f"A node's name must be a non-empty string, got {name!r}. Name it.")
    _check_distribution(name, kind, dist)
    parents = () if given is None else (given,) if isinstance(given, Node) else tuple(given)
    for parent in parents:
        if not isinstance(parent, Node):
            raise ModelError(
                f"Node '{name}': given must be nodes, got {parent!r}. "
                "Pass what latent(), observed() or covariate() returned.",
                node=name,
            )
    names = [parent.name for parent in parents]
    if len(set(names)) < len(names):
        raise ModelError(
            f"Node '{name}': each parent must be given once, got {names}. Drop the repeat.",
            node=name,
        )
    if isinstance(columns, str):
        columns = (columns,)
    node = Node(name, kind, dist, parents, None if columns is None else tuple(columns))
    return node if tie is None else _tied(node, tie)


def _tied(node: Node, other: Node) -> Node:
    """Return a node tied to another; a template has that one's distribution."""
    if not isinstance(other, Node):
        raise ModelError(
            f"Node '{node.name}': tie must be a node, got {other!r}. "
            "Pass what latent() or observed() returned.",
            node=node.name,
        )
    assert node.dist is not None
    if not node.dist.is_parameterised and other.dist is not None:
        whole = other.dist.free if node.dist.free is node.dist else other.dist
        if _declared_as(node.dist, whole) and node.n_states in (None, other.n_states):
            node = attrs.evolve(node, dist=other.dist)
    return attrs.evolve(node, tie=other.tie or other.name)


def _check_distribution(name: str, kind: NodeKind, dist: Any) -> None:
    """Raise unless a distribution suits the kind of a node."""
    if kind is NodeKind.COVARIATE:
        if dist is not None:
            raise ModelError(
                f"Node '{name}': a covariate must have no distribution, got {dist!r}. "
                "Declare it observed() to give it one.",
                node=name,
            )
    elif not isinstance(dist, Distribution):
        hint = f"Call it: {dist.__name__}()." if isinstance(dist, type) else "Give one: Poisson()."
        raise ModelError(
            f"Node '{name}': its distribution must be a Distribution, got {dist!r}. {hint}",
            node=name,
        )
    elif kind is NodeKind.LATENT and dist.n_states is None:
        raise ModelError(
            f"Node '{name}': a latent must have a finite number of states because its posterior "
            f"is a table over them, got {dist!r}. Use Categorical(k), or observe it.",
            node=name,
        )


def _awaits_states(dist: Distribution) -> bool:
    """Return whether a distribution is over a finite set whose size the data are to say."""
    kind = type(dist.free)
    return dist.n_states is None and kind.n_states is not Distribution.n_states


#: A graph as names: each node's, with those of its parents.
Structure = tuple[tuple[str, tuple[str, ...]], ...]


def _as_tuple(nodes: Iterable[Node]) -> tuple[Node, ...]:
    return tuple(nodes)


@attrs.frozen(eq=False, slots=False, repr=False)
class Model:
    r"""A joint distribution over latent and observed variables, as a directed acyclic graph.

    .. math:: p(X, Z \mid \theta) = \prod_v p(v \mid \mathrm{parents}(v), \theta_v)

    Parameters
    ----------
    nodes : sequence of Node
        All nodes, parents included, in any order.

    Raises
    ------
    ModelError
        If names repeat, a parent is missing, or a distribution does not fit its parents.

    Examples
    --------
    >>> import latentem as lem
    >>> z = lem.latent("z", lem.Categorical(3))
    >>> x = lem.observed("x", lem.Gaussian(), given=z)
    >>> print(lem.Model([z, x]))
    p(z) p(x | z)
    """

    nodes: tuple[Node, ...] = attrs.field(converter=_as_tuple)

    def __attrs_post_init__(self) -> None:
        if not self.nodes:
            raise ModelError("Model must have at least one node, got none. Declare one.")
        seen: dict[str, Node] = {}
        for node in self.nodes:
            if not isinstance(node, Node):
                raise ModelError(
                    f"Model must be made of nodes, got {node!r}. "
                    "Pass what latent(), observed() or covariate() returned."
                )
            if node.name in seen:
                raise ModelError(
                    f"Node '{node.name}': names must be unique, got two nodes of this name. "
                    "Rename one.",
                    node=node.name,
                )
            seen[node.name] = node
        for node in self.nodes:
            for parent in node.given:
                if seen.get(parent.name) is not parent:
                    found = "another node of its name" if parent.name in seen else "none"
                    raise ModelError(
                        f"Node '{node.name}': its parent '{parent.name}' must be in the model, "
                        f"got {found}. Pass the same node to Model([...]).",
                        node=node.name,
                    )
            self._check_conditional(node)
        for node in self.nodes:
            if node.tie is not None:
                self._check_tie(node, node.tie)
        if _in_order(self.structure) is None:
            raise ModelError("Model must be acyclic, got a cycle. Drop an edge.")

    def _check_conditional(self, node: Node) -> None:
        if node.dist is None:
            return
        family = type(node.dist).__name__
        for parent in self.regressors(node.name):
            if parent.dist is not None and _awaits_states(parent.dist):
                must, remedy = "have a known number of states", "Give it, as in Categorical(4)."
            elif not node.dist.takes_covariates:
                must = f"have a finite number of states because a {family} takes no covariates"
                remedy = "Leave it out, or use a regression, such as LinearGaussian()."
            else:
                continue
            raise ModelError(
                f"Node '{node.name}': its parent '{parent.name}' must {must}, got none. {remedy}",
                node=node.name,
            )
        if node.dist.takes_covariates and not self.regressors(node.name):
            raise ModelError(
                f"Node '{node.name}': a {family} must have a covariate among its parents because "
                f"it is a regression, got given={[parent.name for parent in node.given]}. "
                "Add one: given=[..., covariate('u')].",
                node=node.name,
            )
        try:
            node.dist.check_parents(self.parents_shape(node.name))
        except Unsuitable as error:
            first = f"'{node.given[0].name}'" if node.given else ""
            text = f"Node '{node.name}': {family} {error}".replace("{parent}", first)
            raise ModelError(text, node=node.name) from None

    def _check_tie(self, node: Node, name: str) -> None:
        """Raise unless a node can have the parameters of another."""

        def refuse(must: str, got: str, remedy: str) -> ModelError:
            return ModelError(f"Node '{node.name}': {must}, got {got}. {remedy}", node=node.name)

        other = self.by_name.get(name)
        if other is None or other is node or other.tie is not None:
            raise refuse(
                f"the node '{name}' that it is tied to must be in the model",
                "none" if other is None else "one that is tied itself",
                "Pass that node to Model([...]) too.",
            )
        shapes = [self.parents_shape(each) for each in (node.name, name)]
        same = node.dist is other.dist or _declared_as(node.dist, other.dist)
        if not same or node.n_states != other.n_states:
            raise refuse(
                f"it must be declared as '{name}' because both have one distribution",
                f"{node.dist!r} and {other.dist!r}",
                "Declare the same family, with the same number of states.",
            )
        if shapes[0] != shapes[1]:
            raise refuse(
                f"its parents must have as many states as those of '{name}', which it is tied to",
                f"{shapes[0]} and {shapes[1]}",
                "Tie nodes whose parents' states correspond, in order.",
            )
        if node.dist is not other.dist and not same_parameters(node.dist, other.dist):
            raise refuse(
                f"it must have the parameters of '{name}' because they are tied",
                f"{node.dist!r} and {other.dist!r}",
                f"Give them to '{name}' only, or the same to both.",
            )

    # -- reading the graph ---------------------------------------------------------------------

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """The graph, frozen: node names, with the `Node` as attribute ``node``; from parents on."""
        graph = directed(self.structure)
        nx.set_node_attributes(graph, self.by_name, "node")
        frozen: nx.DiGraph[str] = nx.freeze(graph)
        return frozen

    @cached_property
    def order(self) -> tuple[Node, ...]:
        """The nodes with parents before children, otherwise as declared."""
        return tuple(self.by_name[name] for name in _in_order(self.structure) or ())

    @cached_property
    def structure(self) -> Structure:
        """The names of the nodes, as declared, each with those of its parents."""
        return tuple((node.name, tuple(p.name for p in node.given)) for node in self.nodes)

    @cached_property
    def latents(self) -> tuple[Node, ...]:
        """The latent nodes, parents first."""
        return tuple(node for node in self.order if node.kind is NodeKind.LATENT)

    @cached_property
    def observed(self) -> tuple[Node, ...]:
        """The observed nodes, parents first."""
        return tuple(node for node in self.order if node.kind is NodeKind.OBSERVED)

    @cached_property
    def covariates(self) -> tuple[Node, ...]:
        """The covariates."""
        return tuple(node for node in self.order if node.kind is NodeKind.COVARIATE)

    def discrete_parents(self, name: str) -> tuple[Node, ...]:
        """Return the parents of a node that have states, in the order of ``given``."""
        return tuple(parent for parent in self.by_name[name].given if parent.n_states is not None)

    def regressors(self, name: str) -> tuple[Node, ...]:
        """Return the parents of a node that have no states, but numbers: covariates, mostly."""
        return tuple(parent for parent in self.by_name[name].given if parent.n_states is None)

    def parents_shape(self, name: str) -> tuple[int, ...]:
        """Return the leading axes of a node's parameters: the states of its discrete parents."""
        return tuple(parent.n_states or 0 for parent in self.discrete_parents(name))

    def tied(self, name: str) -> tuple[str, ...]:
        """Return the nodes that have one θ with a node, itself included.

        The first is the one that the others are tied to.
        """
        return self._ties[name]

    @cached_property
    def _ties(self) -> dict[str, tuple[str, ...]]:
        together: dict[str, list[str]] = {node.name: [node.name] for node in self.nodes}
        for node in self.nodes:
            if node.tie is not None:
                together[node.tie].append(node.name)
                together[node.name] = together[node.tie]
        return {name: tuple(names) for name, names in together.items()}

    @cached_property
    def renumbered_together(self) -> tuple[frozenset[str], ...]:
        """The latents, in groups whose states can only be renumbered alike for the ties to hold.

        Latents whose states a tie binds to those of an observed node are in none.
        """
        groups: nx.Graph[str] = nx.Graph()
        groups.add_nodes_from(node.name for node in self.latents)
        for node in self.nodes:
            if node.tie is None:
                continue
            other = self.by_name[node.tie]
            pairs = zip((node, *node.given), (other, *other.given), strict=True)
            groups.add_edges_from((a.name, b.name) for a, b in pairs if a.is_latent or b.is_latent)
        names = set(groups) - {node.name for node in self.latents}
        components = map(frozenset, nx.connected_components(groups))
        return tuple(group for group in components if not group & names)

    def __getitem__(self, name: str) -> Any:
        """Return the distribution of a node: θ reads like the model."""
        if name not in self.by_name:
            raise KeyError(f"no node '{name}'; the model is {self}")
        return self.by_name[name].dist

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    @property
    def distributions(self) -> dict[str, Distribution]:
        """The distributions by node name, parents first."""
        return {node.name: node.dist for node in self.order if node.dist is not None}

    @property
    def is_parameterised(self) -> bool:
        """Whether all parameters are known."""
        return all(dist.is_parameterised for dist in self.distributions.values())

    @property
    def n_parameters(self) -> int:
        """Number of free parameters; those of tied nodes count once.

        Raises
        ------
        MissingMethodError
            If a distribution does not say how many it has.
        """
        own = [node.name for node in self.nodes if node.tie is None]
        return sum(count_parameters(d) for name, d in self.distributions.items() if name in own)

    @cached_property
    def requires_hard(self) -> tuple[str, ...]:
        """The nodes that only make sense under hard assignment."""
        return tuple(name for name, dist in self.distributions.items() if dist.requires_hard)

    def same_graph(self, other: Model) -> bool:
        """Return whether two models have the same nodes, parents in order, families and ties."""
        return set(self.by_name) == set(other.by_name) and all(
            _signature(node) == _signature(other.by_name[name])
            for name, node in self.by_name.items()
        )

    def replace(self, distributions: Mapping[str, Distribution]) -> Self:
        """Return the same graph with other distributions at the named nodes.

        Parameters
        ----------
        distributions : mapping of str to Distribution
            Of tied nodes, one is enough.

        Raises
        ------
        ModelError
            If a name is not one of a node, or a distribution does not suit its node.

        Examples
        --------
        >>> import latentem as lem
        >>> model = lem.Model([lem.observed("x", lem.Poisson())])
        >>> model.replace({"x": lem.Poisson(rate=2.0)}).is_parameterised
        True
        """
        if not isinstance(distributions, Mapping):
            raise ModelError(
                "Model.replace must be given a mapping of names to distributions, got "
                f"{distributions!r}. Pass {{{self.nodes[0].name!r}: ...}}."
            )
        unknown = set(distributions) - set(self.by_name)
        if unknown:
            raise ModelError(
                f"Model has no node {sorted(unknown)[0]!r} to replace; its nodes are "
                f"{list(self.by_name)}."
            )
        for name, dist in distributions.items():
            _check_distribution(name, self.by_name[name].kind, dist)
        dists = {**{node.name: node.dist for node in self.nodes}, **distributions}
        for name in distributions:
            for other in self.tied(name):
                if other not in distributions:
                    dists[other] = dists[name]
        if all(dists[node.name] is node.dist for node in self.nodes):
            return self
        new: dict[str, Node] = {}
        for node in self.order:
            given = tuple(new[parent.name] for parent in node.given)
            new[node.name] = attrs.evolve(node, dist=dists[node.name], given=given)
        return type(self)([new[node.name] for node in self.nodes])

    # -- showing it ----------------------------------------------------------------------------

    def __str__(self) -> str:
        return " ".join(str(node) for node in self.order if node.dist is not None)

    def __repr__(self) -> str:
        lines = [f"Model: {self}"]
        width = max(len(str(node)) for node in self.order)
        for node in self.order:
            what = "input" if node.dist is None else _in_short(node.dist)
            label = node.name if node.dist is None else str(node)
            tie = f", tied to {node.tie}" if node.tie else ""
            lines.append(f"  {label:<{width}}  {node.kind.value:<9}  {what}{tie}")
        return "\n".join(lines)

    def to_dot(self) -> str:
        """Return the graph in the DOT language: latents open, observed shaded, the plate over n.

        Examples
        --------
        >>> import latentem as lem
        >>> z = lem.latent("z", lem.Categorical(2))
        >>> print(lem.Model([z, lem.observed("x", lem.Normal(), given=z)]).to_dot())
        digraph model {
          subgraph cluster_rows {
            label="n"; labeljust=r; labelloc=b;
            "z" [shape=circle];
            "x" [shape=circle, style=filled, fillcolor=lightgrey];
          }
          "z" -> "x";
        }
        """
        style = {
            NodeKind.LATENT: "shape=circle",
            NodeKind.OBSERVED: "shape=circle, style=filled, fillcolor=lightgrey",
            NodeKind.COVARIATE: "shape=point, width=0.1, xlabel={name}",
        }
        lines = ["digraph model {", "  subgraph cluster_rows {"]
        lines.append('    label="n"; labeljust=r; labelloc=b;')
        for node in self.order:
            quoted = _quoted(node.name)
            lines.append(f"    {quoted} [{style[node.kind].replace('{name}', quoted)}];")
        lines.append("  }")
        lines += [
            f"  {_quoted(parent.name)} -> {_quoted(node.name)};"
            for node in self.order
            for parent in node.given
        ]
        lines += [
            f"  {_quoted(node.tie)} -> {_quoted(node.name)} "
            "[style=dashed, dir=none, constraint=false];"
            for node in self.order
            if node.tie
        ]
        return "\n".join([*lines, "}"])


def directed(structure: Structure) -> nx.DiGraph[str]:
    """Return the graph of names with their parents'."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(name for name, _ in structure)
    graph.add_edges_from((parent, name) for name, parents in structure for parent in parents)
    return graph


@lru_cache(maxsize=1024)
def _in_order(structure: Structure) -> tuple[str, ...] | None:
    """Return the names with parents before children, otherwise in order; None if there is a cycle.

    A model is made anew with each θ, of the same structure.
    """
    graph = directed(structure)
    if not nx.is_directed_acyclic_graph(graph):
        return None
    position = {name: i for i, (name, _) in enumerate(structure)}
    return tuple(nx.lexicographical_topological_sort(graph, key=position.__getitem__))


def check_model(model: object) -> None:
    """Raise unless it is a model."""
    if isinstance(model, Model):
        return
    has_one = isinstance(getattr(model, "model", None), Model)  # a fit, a step
    remedy = "Pass its .model." if has_one else "Make one: Model([z, x])."
    kind = type(model).__name__
    raise ModelError(f"model must be a Model, got {kind if has_one else repr(model)}. {remedy}")


def _in_short(dist: Distribution) -> str:
    """Return a distribution's text on one line, cut where it gets long."""
    text = " ".join(repr(dist).split())
    return text if len(text) <= 76 else text[:73] + "..."


def _signature(node: Node) -> tuple[list[str], int | None, type, str | None]:
    """Return what a node of another model must share: parents, states, family and tie."""
    family = type(None if node.dist is None else node.dist.free)
    return [parent.name for parent in node.given], node.n_states, family, node.tie


def _declared_as(dist: Any, other: Any) -> bool:
    """Return whether a distribution is declared as another, whatever the parameters of either.

    What the first leaves open (None, or nothing) it may have from the other.
    """
    if isinstance(dist, tuple) and isinstance(other, tuple) and len(dist) == len(other):
        return all(_declared_as(a, b) for a, b in zip(dist, other, strict=True))
    if not isinstance(dist, Distribution) or not isinstance(other, Distribution):
        return dist is None or np.array_equal(dist, other)
    kind: Any = type(dist)
    if kind is not type(other) or not attrs.has(kind):
        return kind is type(other)
    # Nor what a fit adds: what it took from the data, and arrays that go with the parameters.
    added = {*dist.parameters, "reference", "vacant", "relocated", "inputs"}
    added |= set(dist.state_arrays) if dist.parameters else set()
    if not _same_values(getattr(dist, "prior", None), getattr(other, "prior", None)):
        return False
    added.add("prior")
    names = [field.name for field in attrs.fields(kind) if field.name not in added]
    pairs = [(getattr(dist, name), getattr(other, name)) for name in names]
    return all((type(a) is tuple and not a) or _declared_as(a, b) for a, b in pairs)


def _same_values(a: Any, b: Any) -> bool:
    """Return whether two priors are of one class, with equal fields."""
    if a is b or not attrs.has(type(a)) or type(a) is not type(b):
        return a is b
    names = (field.name for field in attrs.fields(type(a)))
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def same_parameters(a: Distribution | None, b: Distribution | None) -> bool:
    """Return whether two distributions have equal parameters, or both have none."""
    if a is None or b is None or a.parameters.keys() != b.parameters.keys():
        return False
    pairs = zip(a.parameters.values(), b.parameters.values(), strict=True)
    return all((x is None) == (y is None) and np.array_equal(x, y) for x, y in pairs)  # type: ignore[arg-type]


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
