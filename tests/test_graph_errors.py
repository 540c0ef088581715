"""The declared graph: what it says, what it refuses, and the words of the refusal.

A message reads ``{where}: {what} must {requirement}, got {actual}. {remedy}``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import attrs
import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from registry import MODELS, PROBABILISTIC, Case, Rayleigh

import latentem as lem


def _mixture(k: int = 2, dist: lem.Distribution | None = None) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist or lem.Gaussian(), given=z)])


def _known(d: int = 2) -> lem.Model:
    """A mixture of two Gaussians of dimension ``d`` with known parameters."""
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    dist = lem.Gaussian(mean=[[0.0] * d, [3.0] * d], covariance=[np.eye(d)] * 2)
    return lem.Model([z, lem.observed("x", dist, given=z)])


def _words() -> lem.Model:
    """A mixture over a column of words."""
    z = lem.latent("z", lem.Categorical(2))
    return lem.Model([z, lem.observed("x", lem.Categorical(), given=z)])


# -- what a graph says -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_graph_holds_the_nodes_and_the_edges_of_given(case: Case) -> None:
    graph = case.model.graph
    assert isinstance(graph, nx.DiGraph)
    assert set(graph.nodes) == {node.name for node in case.model.nodes}
    assert set(graph.edges) == {
        (p.name, node.name) for node in case.model.nodes for p in node.given
    }
    names = {node.name for node in case.model.latents} | {n.name for n in case.model.observed}
    assert names == set(graph.nodes)


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_a_model_prints_as_its_factorisation(case: Case) -> None:
    factors = {
        f"p({node.name} | {', '.join(p.name for p in node.given)})"
        if node.given
        else f"p({node.name})"
        for node in case.model.nodes
    }
    text = str(case.model)
    assert sorted(text.replace(") p(", ")\np(").split("\n")) == sorted(factors)


def test_the_mixture_prints_as_on_the_blackboard() -> None:
    assert str(_mixture()) == "p(z) p(x | z)"


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_dot_shades_observed_nodes_and_leaves_latent_ones_open(case: Case) -> None:
    lines = case.model.to_dot().splitlines()
    for node in case.model.nodes:
        (line,) = [line for line in lines if f'"{node.name}" [' in line]
        assert ("filled" in line) == (node in case.model.observed)
    edges = [line.strip(" ;") for line in lines if "->" in line]
    assert sorted(edges) == sorted(f'"{a}" -> "{b}"' for a, b in case.model.graph.edges)
    assert 'label="n"' in case.model.to_dot()


def test_a_node_shows_itself_and_the_names_of_its_parents() -> None:
    z = lem.latent("z", lem.Categorical(3))
    assert repr(z) == "latent('z', Categorical(3))"
    x = lem.observed("x", lem.Poisson(), given=[z])
    assert repr(x) == f"observed('x', {lem.Poisson()!r}, given=['z'])"
    xy = lem.observed("x", lem.PointMass(0), given=z, columns=["x1", "x2"])
    assert repr(xy).endswith(", given=['z'], columns=['x1', 'x2'])")
    assert repr(lem.covariate("u")) == "covariate('u')"


def test_the_text_of_a_node_does_not_grow_with_the_graph() -> None:
    last = [lem.latent("a", lem.Categorical(2)), lem.latent("b", lem.Categorical(2))]
    for depth in range(60):
        last = [lem.latent(f"{side}{depth}", lem.Categorical(2), given=last) for side in "ab"]
    assert len(repr(last[0])) < 100
    table = np.full((2, 2, 300), 1 / 300)
    wide = lem.observed("x", lem.Categorical(probs=table), given=last)
    assert len(repr(wide)) < 200
    assert "\n" not in repr(wide)


def test_nothing_is_mutated() -> None:
    model = _mixture()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.nodes = ()  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.nodes[0].name = "other"  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model["x"].mean = np.zeros(2)
    lem.fit(model, np.random.default_rng(0).normal(size=(20, 2)), seed=0, restarts=1)
    assert model["x"].mean is None
    assert not model.is_parameterised


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_the_order_of_declaration_does_not_matter(case: Case) -> None:
    backwards = lem.Model(case.model.nodes[::-1])
    start = lem.initialize(case.model, case.data, seed=0)
    distributions = {node.name: start[node.name] for node in case.model.nodes}
    assert lem.log_likelihood(backwards.replace(distributions), case.data) == pytest.approx(
        lem.log_likelihood(start, case.data), rel=1e-12
    )


# -- what construction refuses ---------------------------------------------------------------------


def _switch_with_too_many_cases() -> Any:
    z = lem.latent("z", lem.Categorical(3))
    return lem.Model([z, lem.observed("x", lem.Switch([lem.Poisson()] * 4), given=z)])


def _switch_with_too_few_cases() -> Any:
    z = lem.latent("z", lem.Categorical(3))
    return lem.Model([z, lem.observed("x", lem.Switch([lem.Poisson()] * 2), given=z)])


def _parent_left_out() -> Any:
    z = lem.latent("z", lem.Categorical(3))
    return lem.Model([lem.observed("x", lem.Poisson(), given=z)])


def _parent_of_the_same_name() -> Any:
    z, other = lem.latent("z", lem.Categorical(3)), lem.latent("z", lem.Categorical(3))
    return lem.Model([other, lem.observed("x", lem.Poisson(), given=z)])


def _name_twice() -> Any:
    z = lem.latent("z", lem.Categorical(3))
    return lem.Model([z, lem.observed("z", lem.Poisson())])


def _wrong_leading_axis() -> Any:
    z = lem.latent("z", lem.Categorical(3))
    return lem.Model([z, lem.observed("x", lem.Poisson(rate=[1.0, 2.0]), given=z)])


def _axes_in_the_wrong_order() -> Any:
    a, b = lem.latent("a", lem.Categorical(2)), lem.latent("b", lem.Categorical(3))
    dist = lem.Poisson(rate=np.ones((3, 2)))
    return lem.Model([a, b, lem.observed("x", dist, given=[a, b])])


def _axes_too_many() -> Any:
    z = lem.latent("z", lem.Categorical(2))
    return lem.Model([z, lem.observed("x", lem.Poisson(rate=np.ones((2, 3))), given=z)])


def _proportions_with_a_parent_axis() -> Any:
    return lem.Model([lem.latent("z", lem.Categorical(probs=[[0.5, 0.5], [0.5, 0.5]]))])


def _continuous_latent() -> Any:
    return lem.latent("z", lem.Normal())


def _continuous_parent() -> Any:
    u = lem.observed("u", lem.Normal())
    return lem.Model([u, lem.observed("x", lem.Poisson(), given=u)])


def _covariate_of_a_plain_family() -> Any:
    u = lem.covariate("u")
    return lem.Model([u, lem.observed("x", lem.Poisson(), given=u)])


def _regression_without_covariate() -> Any:
    z = lem.latent("z", lem.Categorical(2))
    return lem.Model([z, lem.observed("x", lem.LinearGaussian(), given=z)])


def _point_masses(value: Any, k: int) -> Any:
    return _mixture(k, lem.PointMass(value))


def _class_for_instance() -> Any:
    return lem.observed("x", lem.Poisson)


def _given_a_name() -> Any:
    return lem.observed("x", lem.Poisson(), given="z")


REFUSED: list[tuple[Callable[[], Any], str, str | None]] = [
    (
        _switch_with_too_many_cases,
        r"^Node 'x': Switch must have one case per state of its parent 'z' \(3\), got 4\. "
        r"Drop a case or use Categorical\(4\) for 'z'\.$",
        "x",
    ),
    (
        _switch_with_too_few_cases,
        r"^Node 'x': Switch must have one case per state of its parent 'z' \(3\), got 2\. .+",
        "x",
    ),
    (_parent_left_out, r"^Node 'x': its parent 'z' must be in the model, got none\. .+", "x"),
    (_parent_of_the_same_name, r"^Node 'x': its parent 'z' must be .+, got .+\. .+", "x"),
    (_name_twice, r"^Node 'z': names must be unique, got .+\. Rename .+", "z"),
    (_wrong_leading_axis, r"^Node 'x': .*must .*\(3,\).*'rate'.*, got .*\(2,\).*\. .+", "x"),
    (_axes_in_the_wrong_order, r"^Node 'x': .*must .*\(2, 3\).*, got .*\(3, 2\).*\. .+", "x"),
    (_axes_too_many, r"^Node 'x': .*must .*2.*, got .*\(2, 3\).*\. .+", "x"),
    (_proportions_with_a_parent_axis, r"^Node 'z': .*must .+, got .*\(2, 2\).*\. .+", "z"),
    (_continuous_latent, r"^Node 'z': .*must .*finite number of states.*, got .+\. .+", "z"),
    (
        _continuous_parent,
        r"^Node 'x': .*parent 'u' must .+ Poisson takes no covariates.+\. .+",
        "x",
    ),
    (_covariate_of_a_plain_family, r"^Node 'x': .*parent 'u' must .+, got none\. .+", "x"),
    (
        _regression_without_covariate,
        r"^Node 'x': a LinearGaussian must have a covariate .+, got given=\['z'\]\. .+",
        "x",
    ),
    (
        lambda: _point_masses([0, 1], 3),
        r"^Node 'x': PointMass must have one 'value', or .+ \(3,\), got shape \(2,\)\. .+",
        "x",
    ),
    (
        lambda: lem.Model([lem.observed("x", lem.PointMass([0, 1]))]),
        r"^Node 'x': PointMass must have one 'value', got shape \(2,\)\. .+",
        "x",
    ),
    (lambda: lem.PointMass("a"), r"^PointMass: value must be .*number.*, got 'a'\. .+", None),
    (lambda: lem.Gaussian(mean=0.0), r"^Gaussian: mean must be a vector, got a scalar\. .+", None),
    (
        lambda: lem.Gaussian(covariance=-np.eye(2)),
        r"^Gaussian: covariance must be positive definite, got .+\. .+",
        None,
    ),
    (lambda: lem.Normal(mean=np.nan), r"^Normal: mean must be finite, got .+\. .+", None),
    (lambda: lem.Normal(variance=0.0), r"^Normal: variance must be positive, got .+\. .+", None),
    (
        _class_for_instance,
        r"^Node 'x': .*must be a Distribution, got .+\. Call it: Poisson\(\)\.",
        "x",
    ),
    (_given_a_name, r"^Node 'x': .*must be .*nodes?.*, got 'z'\. .+", "x"),
    (lambda: lem.Model([]), r"^Model must .+, got .+\. .+", None),
    (lambda: lem.Model(["x"]), r"^Model must be made of nodes, got 'x'\. .+", None),
    (lambda: lem.latent("", lem.Categorical(2)), r"name must .+, got ''\. .+", None),
    (lambda: lem.Categorical(0), r"Categorical: n_states must .+, got 0\. .+", None),
    (lambda: lem.Categorical(probs=[0.5, 0.6]), r"probs must sum to 1.+, got .*1\.1.*\. .+", None),
    (
        lambda: lem.Categorical(probs=[1.5, -0.5]),
        r"probs must be probabilities.+, got .+\. .+",
        None,
    ),
    (
        lambda: lem.Categorical(3, probs=[0.5, 0.5]),
        r"probs must have 3 states.+, got .+\. .+",
        None,
    ),
    (lambda: lem.Categorical(probs=[np.nan, 1.0]), r"probs must .+, got .*nan.*\. .+", None),
    (lambda: lem.Bernoulli(probs=[1.2]), r"probs must .+, got .*1\.2.*\. .+", None),
    (lambda: lem.Poisson(rate=[-1.0]), r"Poisson: rate must .+, got .*-1.*\. .+", None),
    (lambda: lem.Poisson(rate=[np.nan]), r"Poisson: rate must .+, got .*nan.*\. .+", None),
    (
        lambda: lem.Normal(mean=[0.0], variance=[-1.0]),
        r"Normal: variance must .+, got .+\. .+",
        None,
    ),
    (
        lambda: lem.Normal(mean=[0.0], variance=[0.0]),
        r"Normal: variance must .+, got .+\. .+",
        None,
    ),
    (
        lambda: lem.Gaussian(covariance="round"),
        r"covariance must be one of .+, got 'round'\. .+",
        None,
    ),
    (
        lambda: lem.Gaussian(mean=[[0.0, 0.0]], covariance=[[[1.0, 2.0], [2.0, 1.0]]]),
        r"Gaussian: covariance must be positive definite, got .+\. .+",
        None,
    ),
    (
        lambda: lem.Gaussian(mean=[[0.0, 0.0]], covariance=[[[1.0, 0.5], [0.0, 1.0]]]),
        r"Gaussian: covariance must be symmetric, got .+\. .+",
        None,
    ),
    (
        lambda: lem.Gaussian(mean=[[0.0, 0.0]], covariance=[np.eye(3)]),
        r"Gaussian: covariance must .+, got .*\(1, 3, 3\).*\. .+",
        None,
    ),
    (lambda: lem.Switch([lem.Poisson]), r"Switch: .*must be a distribution, got .+\. .+", None),
    (lambda: lem.fixed(lem.Poisson()), r"fixed must .+, got .+\. .+", None),
    (
        lambda: lem.Prototype("chebyshev"),
        r"dissimilarity must be one of .+, got 'chebyshev'.+",
        None,
    ),
]


@pytest.mark.parametrize(("build", "message", "node"), REFUSED)
def test_construction_says_what_is_wrong_and_what_to_do(
    build: Callable[[], Any], message: str, node: str | None
) -> None:
    with pytest.raises(lem.ModelError, match=f"(?s){message}") as error:
        build()
    assert isinstance(error.value, ValueError)
    if node is not None:
        assert error.value.node == node


def test_point_masses_take_one_value_or_one_for_each_state() -> None:
    for value, expected in ((0, [0, 0, 0]), ([0, 1, 5], [0, 1, 5])):
        model = _point_masses(value, 3)
        start = model.replace({"z": lem.Categorical(probs=[0.2, 0.3, 0.5])})
        draws = lem.sample(start, 50, seed=0)
        assert draws["x"].tolist() == np.array(expected)[draws["z"]].tolist()
    table = lem.PointMass([[0, 1, 2], [3, 4, 5]])
    a, b = lem.latent("a", lem.Categorical(2)), lem.latent("b", lem.Categorical(3))
    lem.Model([a, b, lem.observed("x", table, given=[a, b])])
    with pytest.raises(lem.ModelError, match=r"Node 'x'"):
        lem.Model([a, b, lem.observed("x", table, given=[b, a])])


def test_a_covariate_that_nothing_depends_on_is_allowed() -> None:
    u = lem.covariate("u")
    model = lem.Model([u, lem.observed("x", lem.Poisson())])
    assert lem.fit(model, {"u": [0.1, 0.2], "x": [1, 3]}).model["x"].rate == 2


def test_same_graph_means_nodes_parents_states_and_families() -> None:
    assert _mixture().same_graph(_known())
    assert _known().same_graph(_mixture())
    assert _mixture().same_graph(_mixture(dist=lem.fixed(_known()["x"])))
    assert not _mixture().same_graph(_mixture(3))
    assert not _mixture().same_graph(_mixture(dist=lem.Poisson()))
    assert not _mixture().same_graph(lem.Model([lem.observed("x", lem.Gaussian())]))
    u = lem.covariate("u")
    assert lem.Model([u]).same_graph(lem.Model([u]))


# -- data that do not fit --------------------------------------------------------------------------

GOOD = np.random.default_rng(0).normal(size=(500, 2))
BAD_ROW = np.where(np.arange(500)[:, None] == 7, np.inf, GOOD)

MISFITS: list[tuple[Callable[[], lem.Model], Any, str]] = [
    (
        _known,
        np.zeros((500, 3)),
        r"^data\['x'\] must have 2 columns because Node 'x' is a Gaussian of dimension 2, "
        r"got shape \(500, 3\)\.",
    ),
    (_known, BAD_ROW, r"^data\['x'\] must .+, got .*(row 7).*\. .+"),
    (_known, np.full((5, 2), np.inf), r"^data\['x'\] must be finite, got .+\. .+"),
    (_known, np.zeros((0, 2)), r"^data.* must have at least one row, got .+\. .+"),
    (_words, np.array([], dtype=str), r"^data must have at least one row, got none\. .+"),
    (_words, np.array([], dtype=object), r"^data must have at least one row, got none\. .+"),
    (_known, np.zeros((4, 2, 2)), r"^data\['x'\] must .+, got shape \(4, 2, 2\).*"),
    (
        _known,
        {"x": GOOD, "y": GOOD},
        r"^data must have entries for nodes .+\(z, x\), got one for 'y'\. Rename it or leave it "
        r"out; only a data frame may have further columns\.$",
    ),
    (_known, {}, r"^data must have an entry 'x' because Node 'x' is observed, got .+\. .+"),
    (_known, 3.0, r"^data\['x'\] must .+, got .+\. .+"),
    (_known, "text", r"^data.* must .+, got .+\. .+"),
    (_known, None, r"^data.* must .+, got .+\. .+"),
    (_known, [["a", "b"]], r"^data\['x'\] must .+, got .+\. .+"),
    (_known, [[1.0, 2.0], [3.0]], r"^data\['x'\] must .+, got .+\. .+"),
    (_known, np.array([[1.0, object()]]), r"^data\['x'\] must .+, got .+\. .+"),
    (_known, np.ones((3, 2), dtype=complex), r"^data\['x'\] must .+, got .+\. .+"),
    (_known, {"x": GOOD, "z": np.zeros(3)}, r"^data must have the same number of rows .+, got .+"),
    (
        _known,
        {"x": GOOD, "z": np.full(500, 2)},
        r"^data\['z'\] must be states from 0 to 1.+ Node 'z' .+, got .+\. .+",
    ),
    (
        _known,
        {"x": GOOD[:2], "z": ["a", "b"]},
        r"^data\['z'\] must be states from 0 to 1.+ Node 'z' .+, got 'a'\. "
        r"Encode .+ 0 to 1.+ NaN for unknown",
    ),
    (
        _known,
        pd.DataFrame({"left": GOOD[:2, 0], "right": GOOD[:2, 1], "z": ["a", "b"]}),
        r"^data\['z'\] must be states from 0 to 1.+ Node 'z' .+, got 'a'\. .+",
    ),
    (
        _known,
        {"x": GOOD[:2], "z": [1, "b"]},
        r"^data\['z'\] must be states .+, got 1\. .+ NaN for unknown",
    ),
    (
        _known,
        {"x": GOOD[:2], "z": np.array([None, "b"])},
        r"^data\['z'\] must be states .+, got 'b'\. .+ NaN for unknown",
    ),
    (_known, {"x": GOOD[:2], "z": [0, 0.5]}, r"^data\['z'\] must .+, got 0\.5 in row 1\. .+"),
    (
        _known,
        {"x": GOOD[:2], "z": np.zeros((2, 3))},
        r"^data\['z'\] must .+, got .+shape \(2, 3\)\. .+",
    ),
    (
        _known,
        pd.DataFrame(GOOD, columns=["a", "a"]),
        r"^data must have each column once, got 'a' 2 times\. .+",
    ),
    (
        lambda: _mixture(dist=lem.Poisson()),
        np.array([1.0, 2.5]),
        r"^data\['x'\] must be integers >= 0 because Node 'x' is Poisson, got 2\.5 at row 1",
    ),
    (
        lambda: _mixture(dist=lem.Poisson()),
        np.array([1, -2]),
        r"^data\['x'\] must .+, got -2 at row 1",
    ),
    (
        lambda: _mixture(dist=lem.Bernoulli()),
        np.array([0, 2]),
        r"^data\['x'\] must .+, got 2 at row 1",
    ),
    (lambda: _mixture(dist=lem.Categorical(3)), np.array([0, 3]), r"^data\['x'\] must .+, got 3 "),
    (lambda: _mixture(dist=lem.Normal()), GOOD, r"^data\['x'\] must .+, got shape \(500, 2\)\. .+"),
    (
        lambda: _mixture(dist=lem.Normal()),
        np.array(["a", "b"]),
        r"^data\['x'\] must .+, got .+\. .+",
    ),
]


@pytest.mark.parametrize(("build", "data", "message"), MISFITS)
def test_data_that_do_not_fit_are_refused_before_any_step(
    build: Callable[[], lem.Model], data: Any, message: str
) -> None:
    model = build()
    with pytest.raises(lem.DataError, match=f"(?s){message}") as error:
        lem.fit(model, data, seed=0)
    assert isinstance(error.value, ValueError)
    if model.is_parameterised:
        with pytest.raises(lem.DataError, match=f"(?s){message}"):
            lem.e_step(model, data)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            np.ones(3),
            r"weights must have one entry for each of the 500 rows, got shape \(3,\)\. .+",
        ),
        (2.0, r"weights must have one entry for each of the 500 rows, got shape \(\)\. .+"),
        (np.full(500, -1.0), r"weights must be .*not negative.*, got .+\. .+"),
        (np.zeros(500), r"weights must .*positive.*, got .+\. .+"),
        (np.full(500, np.nan), r"weights must be .*, got .+\. .+"),
        (["a"] * 500, r"weights must be numbers, got .+\. .+"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(lem.DataError, match=message):
        lem.fit(_mixture(), GOOD, weights=weights, seed=0)


UNKNOWN = [
    [0, -1, 1, -1],
    [0, np.nan, 1, np.nan],
    [0, None, 1, None],
    np.array([0, None, 1, None]),
    np.ma.MaskedArray([0, 7, 1, 0], mask=[0, 1, 0, 1]),
    np.ma.MaskedArray([0.0, 7.0, 1.0, np.nan], mask=[0, 1, 0, 1]),
    np.ma.MaskedArray(np.array([0, 1, 1, 0], dtype=np.uint8), mask=[0, 1, 0, 1]),
]


def test_labels_in_a_data_frame_may_be_unknown_in_part() -> None:
    few = {"left": GOOD[:3, 0], "right": GOOD[:3, 1]}
    expected = lem.log_likelihood(_known(), {"x": GOOD[:3], "z": [0, -1, 1]})
    for frame in (
        pd.DataFrame({**few, "z": [0, None, 1]}),
        pd.DataFrame({**few, "z": pd.array([0, None, 1], dtype="Int64")}),
        pl.DataFrame({**few, "z": [0, None, 1]}),
    ):
        assert lem.log_likelihood(_known(), frame) == expected


@pytest.mark.parametrize("labels", UNKNOWN)
def test_labels_may_be_unknown_in_part(labels: Any) -> None:
    few = GOOD[:4]
    expected = lem.log_likelihood(_known(), {"x": few, "z": np.array([0, -1, 1, -1])})
    assert lem.log_likelihood(_known(), {"x": few, "z": labels}) == expected
    assert expected < lem.log_likelihood(_known(), few)


def test_labels_of_narrow_types_are_states() -> None:
    few = GOOD[:3]
    expected = lem.log_joint(_known(), {"x": few, "z": [0, 1, 1]})
    for dtype in (np.uint8, np.int8, bool, np.float32):
        labels = np.array([0, 1, 1], dtype=dtype)
        assert lem.log_joint(_known(), {"x": few, "z": labels}) == expected
        masked = np.ma.MaskedArray(labels)
        assert lem.log_joint(_known(), {"x": few, "z": masked}) == expected


@pytest.mark.parametrize(
    ("given", "message", "node"),
    [
        ({"y": [1, 2, 3]}, r"^data must have entries for nodes .+, got one for 'y'\. .+", None),
        ([0, 1, 1], r"^data must be a mapping .+, got .+\. .+", None),
        ({"z": [0, 1]}, r"^data\['z'\] must have .+ 3 rows .+, got 2\. .+", "z"),
        ({"z": [0, 1, 2]}, r"^data\['z'\] must be states from 0 to 1.+, got 2 in row 2\. .+", "z"),
        ({"z": [0, 1, -1]}, r"^data\['z'\] must be states .+, got -1 in row 2\. .+", "z"),
        ({"z": [0, 1, 0.5]}, r"^data\['z'\] must be states .+, got 0\.5 in row 2\. .+", "z"),
        (
            {"z": [0, 1, np.nan]},
            r"^data\['z'\] must have no missing .+, got one in row 2\. .+",
            "z",
        ),
        ({"z": ["a", "b", "a"]}, r"^data\['z'\] must be states .+, got 'a'\. .+", "z"),
        ({"o": [0, 3, 1]}, r"^data\['o'\] must be states from 0 to 2.+, got 3 in row 1\. .+", "o"),
        ({"x": [0.0, np.nan, 1.0]}, r"^data\['x'\] must .+, got .+\. .+", "x"),
        ({"x": np.zeros((3, 2))}, r"^data\['x'\] must .+, got .+\. .+", "x"),
        ({"x": 1.0}, r"^data\['x'\] must .+, got .+\. .+", "x"),
    ],
)
def test_values_given_to_sample_are_checked(given: Any, message: str, node: str | None) -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    o = lem.observed("o", lem.Categorical(probs=[[0.2, 0.3, 0.5]] * 2), given=z)
    x = lem.observed("x", lem.Normal(mean=[0.0, 1.0, 2.0], variance=np.ones(3)), given=o)
    with pytest.raises(lem.DataError, match=message) as error:
        lem.sample(lem.Model([z, o, x]), 3, seed=0, data=given)
    assert error.value.node == node


def test_values_given_to_sample_are_kept() -> None:
    given = {"z": [0, 1, 1], "x": GOOD[:3]}
    draws = lem.sample(_known(), 3, seed=0, data=given)
    assert draws["z"].tolist() == [0, 1, 1]
    np.testing.assert_array_equal(draws["x"], GOOD[:3])
    columns = lem.Model([lem.observed("x", lem.Gaussian()), lem.covariate("u")])
    draws = lem.sample(columns, 2, data={"x": [1.0, 2.0], "u": [5, 6]})
    assert draws["x"].shape == (2, 1)
    assert draws["u"].tolist() == [5, 6]
    assert lem.sample(_known(), 0, data={"z": np.zeros(0)})["x"].shape == (0, 2)


@pytest.mark.parametrize(
    ("dist", "value"),
    [
        (lem.Gaussian(mean=[0.0, 0.0], covariance=np.eye(2)), np.zeros((3, 3))),
        (lem.Gaussian(mean=[0.0, 0.0], covariance=np.eye(2)), np.zeros((3, 2, 2))),
        (lem.Normal(mean=0.0, variance=1.0), np.zeros((3, 2))),
        (lem.Normal(mean=0.0, variance=1.0), ["a"]),
        (lem.Poisson(rate=2.0), np.zeros((3, 2))),
        (lem.Poisson(rate=2.0), ["a"]),
        (lem.Categorical(probs=[0.5, 0.5]), np.zeros((3, 2))),
        (lem.Categorical(probs=[0.5, 0.5]), ["a"]),
        (lem.Bernoulli(probs=0.5), np.zeros((3, 2))),
        (lem.PointMass(0), np.zeros((3, 2))),
        (lem.PointMass(0), ["a"]),
    ],
)
def test_log_prob_of_values_of_another_shape_names_the_family(
    dist: lem.Distribution, value: Any
) -> None:
    family = type(dist).__name__
    with pytest.raises(lem.DataError, match=rf"^{family}: value must .+, got .+") as error:
        dist.log_prob(np.asarray(value))
    assert "{" not in str(error.value)


@pytest.mark.parametrize(
    "dist",
    [
        lem.Poisson(rate=[2.0, 0.0]),
        lem.Categorical(probs=[[0.5, 0.5]] * 2),
        lem.Bernoulli(probs=[0.5, 0.2]),
        lem.PointMass([0, 1]),
    ],
)
def test_log_prob_outside_the_support_is_minus_infinity(dist: lem.Distribution) -> None:
    outside = dist.log_prob(np.array([0.5, -1.0, -3.5, np.inf, -np.inf, np.nan]))
    assert outside.shape == (6, 2)
    assert (outside == -np.inf).all()
    inside = dist.log_prob(np.array([[0.0], [1.0]]))
    np.testing.assert_array_equal(inside, dist.log_prob(np.array([0, 1])))
    assert inside.max() > -np.inf


@pytest.mark.parametrize(
    "dist",
    [lem.Categorical(2), lem.Bernoulli(), lem.Poisson(), lem.Normal(), lem.Gaussian()],
)
def test_a_family_without_parameters_is_neither_evaluated_nor_sampled(
    dist: lem.Distribution,
) -> None:
    family = type(dist).__name__
    message = rf"^{family} must have .+ to be evaluated or sampled, got a template\. .+"
    with pytest.raises(lem.ModelError, match=message):
        dist.sample(np.random.default_rng(0), np.zeros(3, dtype=int))  # type: ignore[attr-defined]
    with pytest.raises(lem.ModelError, match=message):
        dist.log_prob(np.zeros(3))


def test_a_template_cannot_be_evaluated() -> None:
    for function in (lem.e_step, lem.log_likelihood):
        with pytest.raises(lem.ModelError, match=r"(?s)must .+, got .+\. .+"):
            function(_mixture(), GOOD)
    with pytest.raises(lem.ModelError, match=r"(?s)must .+, got .+\. .+"):
        lem.sample(_mixture(), 3, seed=0)


def test_arguments_of_fit_are_checked_by_name() -> None:
    for arguments in (
        {"max_iter": -1},
        {"tol": -1.0},
        {"tol": np.nan},
        {"restarts": 0},
        {"assign": "soft"},
        {"init": "kmeans"},
    ):
        (name,) = arguments
        with pytest.raises((ValueError, TypeError), match=rf"(?s){name}.* must .+, got .+"):
            lem.fit(_mixture(), GOOD, seed=0, **arguments)


@pytest.mark.parametrize(
    "init", ["kmeans", 3, np.zeros(500), lem.init.from_labels, lem.init.from_posterior]
)
def test_a_start_that_is_none_is_refused_alike_everywhere(init: Any) -> None:
    functions: list[Callable[..., Any]] = [
        lem.fit,
        lem.initialize,
        lambda *args, **kwargs: next(lem.iterate(*args, **kwargs)),
    ]
    messages = set()
    for function in functions:
        with pytest.raises(
            lem.ModelError, match=r"(?s)^init must be a start .+, got .+\. .+"
        ) as error:
            function(_mixture(), GOOD, init=init)
        messages.add(str(error.value))
    assert len(messages) == 1


@pytest.mark.parametrize("start", [lem.init.random, lem.init.plus_plus])
@pytest.mark.parametrize(
    "call",
    [
        lambda start: start(),
        lambda start: start(3),
        lambda start: start(seed=0),
        lambda start: start(_mixture(), np.random.default_rng(0)),
    ],
)
def test_a_start_is_passed_as_it_is(start: Any, call: Callable[[Any], Any]) -> None:
    name = f"lem.init.{start.__name__}"
    with pytest.raises(lem.ModelError, match=rf"^{name} must be .+, got a call\. Pass init={name}"):
        call(start)
    assert "Start from" in start.__doc__
    assert np.isfinite(lem.fit(_mixture(), GOOD, init=start, seed=0).log_likelihood)


def test_iterate_and_initialize_start_from_a_model() -> None:
    start = lem.initialize(_mixture(), GOOD, seed=0)
    first = next(lem.iterate(_mixture(), GOOD, init=start))
    np.testing.assert_array_equal(first.model["x"].mean, start["x"].mean)
    again = lem.initialize(_mixture(), GOOD, init=start)
    np.testing.assert_array_equal(again["x"].mean, start["x"].mean)


@functools.cache
def _starts_that_do_not_fit() -> dict[str, Any]:
    two = lem.models.gaussian_mixture(2)
    fitted = lem.fit(two, GOOD, seed=0, restarts=1).model
    return {
        "another number of states": (lem.models.gaussian_mixture(3), GOOD, fitted),
        "another dimension": (two, GOOD[:, :1], fitted),
        "a template": (two, GOOD, two),
        "another graph": (two, GOOD, lem.fit(_mixture(dist=lem.Normal()), GOOD[:, 0]).model),
        "too few labels": (two, GOOD, lem.init.from_labels([0, 1])),
        "labels that are no states": (two, GOOD, lem.init.from_labels(np.full(500, 2))),
        "a posterior of other rows": (
            two,
            GOOD,
            lem.init.from_posterior(lem.e_step(fitted, GOOD[:7])),
        ),
        "shares that are none": (two, GOOD, lem.init.from_posterior(np.ones((500, 2)))),
    }


@pytest.mark.parametrize("name", _starts_that_do_not_fit())
def test_starts_that_do_not_fit_are_refused(name: str) -> None:
    model, data, init = _starts_that_do_not_fit()[name]
    with pytest.raises(lem.LatentemError, match=r"(?s)must .+, got .+\. .+"):
        lem.fit(model, data, init=init)


# -- what an absent method is needed for -----------------------------------------------------------


def test_what_needs_an_absent_method_says_so_by_name() -> None:
    x = np.random.default_rng(0).rayleigh(2.0, size=60)
    z = lem.latent("z", lem.Categorical(2))
    fit = lem.fit(lem.Model([z, lem.observed("x", Rayleigh(), given=z)]), x, seed=0)
    with pytest.raises(
        lem.LatentemError, match=r"Rayleigh must have 'n_parameters'.*got none\. .+"
    ):
        _ = fit.bic
    with pytest.raises(lem.LatentemError, match=r"Rayleigh must have .*'sample.*got none\. .+"):
        fit.sample(3, seed=0)
    with pytest.raises(lem.LatentemError, match=r"dissimilarity"):
        lem.fit(
            lem.Model([z, lem.observed("x", Rayleigh(), given=z)]),
            x,
            init=lem.init.plus_plus,
            seed=0,
        )


# -- the forms of data -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x,
        lambda x: x.tolist(),
        lambda x: {"x": x},
        lambda x: np.asfortranarray(x),
        lambda x: x[::-1][::-1],
        lambda x: pd.DataFrame(x, columns=["left", "right"]),
        lambda x: pl.DataFrame({"left": x[:, 0], "right": x[:, 1]}),
        lambda x: np.ma.MaskedArray(x, mask=np.zeros(x.shape)),
        lambda x: x.astype(np.longdouble),
    ],
)
def test_all_forms_of_the_same_data_give_the_same_answer(form: Callable[[Any], Any]) -> None:
    expected = lem.log_likelihood(_known(), GOOD)
    assert lem.log_likelihood(_known(), form(GOOD)) == pytest.approx(expected, rel=1e-13)


def test_a_node_takes_the_columns_it_names() -> None:
    frame = pd.DataFrame({"a": GOOD[:, 0], "b": GOOD[:, 1], "unused": ["text"] * 500})
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    dist = _known()["x"]
    model = lem.Model([z, lem.observed("x", dist, given=z, columns=["a", "b"])])
    expected = lem.log_likelihood(_known(), GOOD)
    assert lem.log_likelihood(model, frame) == pytest.approx(expected, rel=1e-13)
    assert lem.log_likelihood(model, pl.DataFrame(frame.to_dict("list"))) == pytest.approx(
        expected, rel=1e-13
    )
    with pytest.raises(
        lem.DataError, match=r"data must have a column 'b' .*Node 'x'.*, got .+\. .+"
    ):
        lem.log_likelihood(model, frame[["a"]])


def test_columns_go_to_the_nodes_of_their_name() -> None:
    case = next(case for case in MODELS if case.name == "latent classes")
    model = lem.initialize(case.model, case.data, seed=0)
    frame = pd.DataFrame(case.data)[::-1]
    expected = lem.log_likelihood(model, case.data)
    assert lem.log_likelihood(model, frame) == pytest.approx(expected, rel=1e-13)
    with pytest.raises(lem.DataError, match=r"data must be a mapping .* 4 nodes .*, got .+\. .+"):
        lem.log_likelihood(model, frame.to_numpy())


@attrs.frozen(eq=False)
class _Shape(lem.Distribution):
    """A plug-in that says what shape of values it got."""

    got: lem.Array | None = None

    def log_prob(self, value: lem.Array) -> lem.Array:
        return np.zeros((len(value), 1))

    def fit(self, value: lem.Array, weights: lem.Array) -> _Shape:
        return _Shape(np.array([value.ndim]))


def test_a_node_with_one_column_gets_scalars() -> None:
    frame = pd.DataFrame({"c": GOOD[:, 0], "d": GOOD[:, 1]})
    for columns, ndim in ((["c"], 1), ("c", 1), (["c", "d"], 2)):
        model = lem.Model([lem.observed("x", _Shape(), columns=columns)])
        assert lem.fit(model, frame).model["x"].got == ndim
    vector = lem.Model([lem.observed("x", lem.Gaussian(), columns=["c"])])
    assert lem.fit(vector, frame).model["x"].mean.shape == (1,)


# -- replacing a distribution, and the cost of a model ---------------------------------------------


@pytest.mark.parametrize(
    ("distributions", "message"),
    [
        ({"x": 3}, r"Node 'x': its distribution must be a Distribution, got 3\."),
        ({"x": None}, r"Node 'x': its distribution must be a Distribution, got None\."),
        ({"x": lem.Poisson}, r"Node 'x': .* got <class .*Call it: Poisson\(\)\."),
        ({"z": lem.Poisson()}, r"Node 'z': a latent must have a finite number of states"),
        ({"u": lem.Poisson()}, r"Node 'u': a covariate must have no distribution.*, got"),
        ({"y": lem.Poisson()}, r"no node 'y'"),
        (3, r"replace must be given a mapping .*, got 3\."),
    ],
)
def test_what_is_no_distribution_replaces_none(distributions: Any, message: str) -> None:
    model = lem.Model([*_mixture().nodes, lem.covariate("u")])
    with pytest.raises(lem.ModelError, match=message):
        model.replace(distributions)
    assert model.replace({"x": lem.Poisson()})["u"] is None


@pytest.mark.parametrize(
    ("model", "n", "message"),
    [
        ("x", 10, r"model must be a Model, got 'x'\. .+"),
        (_mixture(), -1, r"n must be a whole number of rows of at least 0, got -1\. .+"),
        (_mixture(), 1.5, r"n must be a whole number of rows of at least 0, got 1\.5\. .+"),
        (_mixture(), True, r"n must be a whole number of rows of at least 0, got True\. .+"),
        (_mixture(), "many", r"n must be a whole number of rows of at least 0, got 'many'\. .+"),
    ],
)
def test_the_cost_of_no_model_or_no_number_of_rows_is_refused(
    model: Any, n: Any, message: str
) -> None:
    with pytest.raises(lem.ModelError, match=message):
        lem.cost(model, n)
    assert lem.cost(_mixture(), np.int64(7)) == lem.cost(_mixture(), 7)


def test_what_is_no_model_posterior_or_function_is_said() -> None:
    model, x = _known(), GOOD
    fit = lem.fit(model, x, max_iter=1, tol=0)
    whole = {"x": x, "z": [0] * len(x)}
    for step, given in (
        (lem.fit, x),
        (lem.iterate, x),
        (lem.e_step, x),
        (lem.initialize, x),
        (lem.log_likelihood, x),
        (lem.log_joint, whole),
        (lem.sample, 3),
        (lem.cost, 3),
        (lem.permute_states, {"z": [1, 0]}),
        (lem.testing.check_model, x),
    ):
        with pytest.raises(lem.ModelError, match=r"model must be a Model, got .+\. Make one.+"):
            list(step(list(model.nodes), given) or [])
        with pytest.raises(
            lem.ModelError, match=r"model must be a Model, got Fit\. Pass its .model\."
        ):
            list(step(fit, given) or [])
    table = np.full((len(x), 2), 0.5)
    for step in (lem.m_step, lem.expected_log_joint):
        with pytest.raises(lem.ModelError, match=r"posterior must be a Posterior, got .+\. .+"):
            step(model, x, table)
    with pytest.raises(lem.ModelError, match=r"on_step must be a function .+, got 'x'\. .+"):
        lem.fit(model, x, on_step="x")
    for weights in (np.full(500, 1e200), np.full(500, 1e-200)):
        with pytest.raises(lem.DataError, match=r"weights must .+, got .+\. .+"):
            lem.fit(model, x, weights=weights)
