"""Standard errors: from the observed information, and from the parametric bootstrap."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from registry import FAMILIES, PROBABILISTIC, CountedRayleigh, Family, Rayleigh

import latentem as lem
from latentem.em import bootstrap
from latentem.em.loop import half_steps

Table = Callable[[str], dict[str, np.ndarray]]
CASES = {case.name: case for case in PROBABILISTIC}


# -- directions ------------------------------------------------------------------------------------


def _several_states(family: Family) -> lem.Distribution:
    """The family fitted to three states, or to as many as it has cases."""
    dist, value = family.dist, family.value
    if dist.is_parameterised:
        return dist
    k = len(dist.cases) if isinstance(dist, lem.Switch) else 3
    weights = np.random.default_rng(0).uniform(0.2, 1.0, size=(len(value), k))
    return dist.fit(value, weights)


def _kinks(dist: lem.Distribution) -> int:
    """The free parameters by which the likelihood has no derivative at a fit."""
    match dist:
        case lem.Uniform() | lem.DiscreteUniform():
            return 2 * dist.low.size
        case lem.Laplace():
            return dist.location.size
        case _:
            return 0


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_there_is_a_direction_for_each_free_parameter(family: Family) -> None:
    dist = _several_states(family)
    if dist.requires_hard:
        with pytest.raises(lem.ModelError, match="must be a probability distribution"):
            dist.directions()
        return
    directions = dist.directions()
    if hasattr(dist, "n_parameters"):
        assert len(directions) == dist.n_parameters - _kinks(dist)
    else:
        assert len(directions) == sum(array.size for array in dist.parameters.values())
    # They are independent, ...
    flat = [
        np.concatenate([d.get(f, np.zeros(v.shape)).ravel() for f, v in dist.parameters.items()])
        for d in directions
    ]
    assert len(flat) == 0 or np.linalg.matrix_rank(np.array(flat)) == len(flat)
    # ... and lead to other members of the family, both ways.
    here = dist.log_prob(family.value)
    for direction in directions:
        for step in (1e-3, -1e-3):
            there = dist.moved(direction, step)
            assert type(there) is type(dist)
            assert not np.array_equal(there.log_prob(family.value), here)
    assert len(directions) == len(dist.directions())


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.fits_alone], ids=str)
def test_directions_without_parents(family: Family) -> None:
    dist = family.dist.fit(family.value, np.ones(len(family.value)))
    for direction in dist.directions():
        for name, change in direction.items():
            assert change.shape == dist.parameters[name].shape
    count = len(dist.directions())
    assert count == getattr(dist, "n_parameters", count) - _kinks(dist)


# -- the information -------------------------------------------------------------------------------


def _by_log_likelihood(
    fit: lem.Fit, data: Any, errors: dict[str, dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Standard errors from second derivatives of the marginal log-likelihood."""
    model = fit.model
    moves = []
    for name, dist in model.distributions.items():
        for direction in dist.directions():
            # About a twentieth of a standard error.
            size = [
                np.abs(change)[change != 0] / errors[name][field][change != 0]
                for field, change in direction.items()
            ]
            step = 0.05 / np.max(np.concatenate(size))
            moves.append((name, {f: step * change for f, change in direction.items()}))

    def value(*steps: tuple[int, float]) -> float:
        dists = dict(model.distributions)
        for i, step in steps:
            name, direction = moves[i]
            dists[name] = dists[name].moved(direction, step)
        return lem.log_likelihood(model.replace(dists), data)

    def mixed(i: int, j: int, h: float) -> float:
        if i == j:
            return (value((i, h)) - 2 * value() + value((i, -h))) / h**2
        alike = value((i, h), (j, h)) + value((i, -h), (j, -h))
        unlike = value((i, h), (j, -h)) + value((i, -h), (j, h))
        return (alike - unlike) / (4 * h**2)

    p = len(moves)
    hessian = np.empty((p, p))
    for i in range(p):
        for j in range(i + 1):
            hessian[i, j] = hessian[j, i] = (4 * mixed(i, j, 0.5) - mixed(i, j, 1.0)) / 3
    covariance = np.linalg.inv(-hessian)
    found = {}
    for name, dist in model.distributions.items():
        for field, array in dist.parameters.items():
            matrix = np.array([
                d[field] if n == name and field in d else np.zeros(array.shape) for n, d in moves
            ]).reshape(p, array.size)  # fmt: skip
            variance = np.einsum("pm,pq,qm->m", matrix, covariance, matrix)
            found[f"{name}.{field}"] = np.sqrt(variance).reshape(array.shape)
    return found


def _flat(errors: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"{name}.{field}": a for name, fields in errors.items() for field, a in fields.items()}


def _check_against_log_likelihood(fit: lem.Fit, data: Any) -> None:
    errors = fit.standard_errors()
    expected = _by_log_likelihood(fit, data, errors)
    found = _flat(errors)
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)
        assert found[name].shape == fit.model[name.split(".")[0]].parameters[
            name.split(".", 1)[1]
        ].shape  # fmt: skip


def _fit(case: Any, **arguments: Any) -> lem.Fit:
    return lem.fit(case.model, case.data, restarts=4, tol=1e-10, seed=0, **arguments)


@pytest.mark.parametrize(
    "name",
    [
        "gaussian mixture, full, shared",
        "gaussian mixture, diagonal",
        "gaussian mixture, diagonal, shared",
        "gaussian mixture, spherical",
        "gaussian mixture, spherical, shared",
        "normal mixture",
        "normal mixture, shared",
        "switch of normals",
        "poisson mixture",
        "latent classes",
        "observed parent",
        "zero inflation",
        "switch with a second parent",
        "rayleigh mixture",
    ],
)
def test_information_is_minus_the_second_derivative_of_the_log_likelihood(name: str) -> None:
    case = CASES[name]
    _check_against_log_likelihood(_fit(case), case.data)


def test_information_of_full_covariances(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0, restarts=2, tol=1e-10)
    _check_against_log_likelihood(fit, faithful)


def _noisy(k: int, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(states)) < 0.25, rng.integers(0, k, len(states)), states)


def test_information_of_two_parents() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 2, size=300), rng.integers(0, 2, size=300)
    left, right = lem.latent("a", lem.Categorical(2)), lem.latent("b", lem.Categorical(2))
    nodes = [
        left,
        right,
        lem.observed("y", lem.Poisson(), given=[left, right]),
        lem.observed("left", lem.Categorical(2), given=left),
        lem.observed("right", lem.Bernoulli(), given=right),
        lem.observed("score", lem.Normal(), given=right),
    ]
    data = {
        "y": rng.poisson(np.array([[2.0, 6.0], [14.0, 30.0]])[a, b]),
        "left": _noisy(2, a, rng),
        "right": _noisy(2, b, rng),
        "score": rng.normal(2.0 * b),
    }
    fit = lem.fit(lem.Model(nodes), data, seed=0, restarts=4, tol=1e-10)
    assert fit.model["y"].rate.shape == (2, 2)
    _check_against_log_likelihood(fit, data)


def test_information_of_a_chain_of_latents() -> None:
    rng = np.random.default_rng(4)
    first = rng.integers(0, 2, size=300)
    second = _noisy(3, first, rng)
    a = lem.latent("a", lem.Categorical(2))
    b = lem.latent("b", lem.Categorical(3), given=a)
    nodes = [
        a,
        b,
        lem.observed("u", lem.Normal(), given=a),
        lem.observed("v", lem.Normal(shared=True), given=b),
    ]
    data = {"u": rng.normal(4.0 * first), "v": rng.normal(4.0 * second)}
    fit = lem.fit(lem.Model(nodes), data, seed=0, restarts=4, tol=1e-10)
    _check_against_log_likelihood(fit, data)


def test_information_with_missing_entries_and_some_labels() -> None:
    rng = np.random.default_rng(5)
    state = rng.integers(0, 2, size=200)
    x = rng.normal(size=(200, 2)) @ [[1.0, 0.6], [0.0, 0.8]] + 2.0 * state[:, None]
    x[rng.random(x.shape) < 0.15] = np.nan
    count = np.where(rng.random(200) < 0.2, np.nan, rng.poisson(2.0 + 3.0 * state))
    labels = np.where(rng.random(200) < 0.2, state, -1)
    z = lem.latent("z", lem.Categorical(2))
    nodes = [
        z,
        lem.observed("x", lem.Gaussian(), given=z),
        lem.observed("count", lem.Poisson(), given=z),
    ]
    data = {"x": x, "count": count, "z": labels}
    fit = lem.fit(lem.Model(nodes), data, seed=0, restarts=2, tol=1e-10)
    _check_against_log_likelihood(fit, data)


def test_weights_count_rows() -> None:
    case = CASES["poisson mixture"]
    counts = 1 + np.arange(case.n) % 3
    start = lem.initialize(case.model, case.data, seed=0)
    one = lem.fit(start, case.data, weights=counts, tol=1e-12)
    other = lem.fit(start, case.rows(np.repeat(np.arange(case.n), counts)), tol=1e-12)
    for name, array in _flat(one.standard_errors()).items():
        np.testing.assert_allclose(array, _flat(other.standard_errors())[name], rtol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(1e-4, 0.0), (1e5, 0.0), (1e-3, 1e5)])
def test_units_and_origin_do_not_matter(scale: float, shift: float, faithful: np.ndarray) -> None:
    model = lem.models.gaussian_mixture(2)
    start = lem.init.from_labels((faithful[:, 1] > 67).astype(int))
    one = lem.fit(model, faithful, init=start, tol=1e-10).standard_errors()
    moved = lem.fit(model, scale * faithful + shift, init=start, tol=1e-10).standard_errors()
    np.testing.assert_allclose(moved["z"]["probs"], one["z"]["probs"], rtol=1e-4)
    np.testing.assert_allclose(moved["x"]["mean"], scale * one["x"]["mean"], rtol=1e-4)
    expected = scale**2 * one["x"]["covariance"]
    np.testing.assert_allclose(moved["x"]["covariance"], expected, rtol=1e-4)


# -- known answers ---------------------------------------------------------------------------------


def test_normal_has_its_closed_form() -> None:
    x = np.random.default_rng(0).normal(5.0, 2.0, size=80)
    errors = lem.fit(lem.Model([lem.observed("x", lem.Normal())]), x).standard_errors()["x"]
    assert errors["mean"].shape == ()
    assert float(errors["mean"]) == pytest.approx(x.std() / math.sqrt(80), rel=1e-5)
    assert float(errors["variance"]) == pytest.approx(x.var() * math.sqrt(2 / 80), rel=1e-5)


def test_gaussian_has_its_closed_form() -> None:
    # Anderson, An Introduction to Multivariate Statistical Analysis, 2003, theorem 3.4.4:
    # n cov(s_ij, s_kl) = s_ik s_jl + s_il s_jk.
    x = np.random.default_rng(0).normal(size=(90, 3)) @ [[2, 1, 0], [0, 1, 0.5], [0, 0, 0.1]]
    fit = lem.fit(lem.Model([lem.observed("x", lem.Gaussian())]), x)
    s = np.cov(x.T, bias=True)
    errors = fit.standard_errors()["x"]
    np.testing.assert_allclose(errors["mean"], np.sqrt(np.diag(s) / 90), rtol=1e-5)
    expected = np.sqrt((np.outer(np.diag(s), np.diag(s)) + s**2) / 90)
    np.testing.assert_allclose(errors["covariance"], expected, rtol=1e-5)


def test_counts_have_their_closed_forms() -> None:
    level = np.repeat([0, 1, 2], [50, 30, 20])
    nodes = [lem.observed("level", lem.Categorical(3)), lem.observed("x", lem.Poisson())]
    nodes += [lem.observed("hit", lem.Bernoulli()), lem.observed("wave", Rayleigh())]
    wave = 1.0 + level
    data = {"level": level, "x": level, "hit": (level > 0).astype(int), "wave": wave}
    fit = lem.fit(lem.Model(nodes), data)
    errors = fit.standard_errors()
    p = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(errors["level"]["probs"], np.sqrt(p * (1 - p) / 100), rtol=1e-5)
    assert float(errors["x"]["rate"]) == pytest.approx(math.sqrt(0.7 / 100), rel=1e-5)
    assert float(errors["hit"]["probs"]) == pytest.approx(0.05, rel=1e-5)
    scale = math.sqrt(np.mean(wave**2) / 2)
    assert float(errors["wave"]["scale"]) == pytest.approx(scale / math.sqrt(400), rel=1e-5)


def _linkage() -> lem.Fit:
    # Rao 1965; Dempster, Laird & Rubin 1977: counts 125, 18, 20, 34 in cells 1/2 + t/4,
    # (1 - t)/4, (1 - t)/4, t/4. With probability 1/2 the first cell, else t decides.
    table = np.zeros((2, 2, 4))
    table[0, :, 0] = 1.0
    table[1] = [[0, 0.5, 0.5, 0], [0.5, 0, 0, 0.5]]
    half = lem.latent("half", lem.fixed(lem.Categorical(probs=[0.5, 0.5])))
    t = lem.latent("t", lem.Categorical(probs=[0.5, 0.5]))
    cell = lem.observed("cell", lem.fixed(lem.Categorical(probs=table)), given=[half, t])
    return lem.fit(lem.Model([half, t, cell]), np.arange(4), weights=[125, 18, 20, 34], tol=1e-12)


def test_linkage_has_the_published_standard_error() -> None:
    # Louis 1982, section 4 (and Tanner, Tools for Statistical Inference, 1996, section 4.4): the
    # observed information of t = .6268 is 435.3 - 57.8 = 377.5, its standard error .05.
    fit = _linkage()
    t, errors = fit.model["t"].probs[1], fit.standard_errors()
    assert t == pytest.approx(0.6268214979, abs=1e-6)
    assert 1 / errors["t"]["probs"][1] ** 2 == pytest.approx(377.5, abs=0.05)
    exact = 125 / (2 + t) ** 2 + 38 / (1 - t) ** 2 + 34 / t**2
    assert 1 / errors["t"]["probs"][1] ** 2 == pytest.approx(exact, rel=1e-5)
    np.testing.assert_array_equal(errors["half"]["probs"], [0, 0])  # fixed
    assert not errors["cell"]["probs"].any()


# -- where there is none ---------------------------------------------------------------------------


def test_probabilities_at_the_boundary_are_held_and_said_to_be() -> None:
    level = np.repeat([0, 1], [30, 70])
    fit = lem.fit(lem.Model([lem.observed("x", lem.Categorical(3))]), level)
    with pytest.warns(lem.DegenerateWarning, match="Node 'x': 1 of its parameters .* boundary"):
        errors = fit.standard_errors()["x"]["probs"]
    expected = math.sqrt(0.3 * 0.7 / 100)
    np.testing.assert_allclose(errors, [expected, expected, 0.0], rtol=1e-5)


@pytest.mark.parametrize(
    ("dist", "value", "held"),
    [
        (lem.Bernoulli(), np.ones(20, dtype=int), "probs"),
        (lem.Poisson(), np.zeros(20, dtype=int), "rate"),
    ],
    ids=["bernoulli", "poisson"],
)
def test_other_parameters_at_the_boundary(
    dist: lem.Distribution, value: np.ndarray, held: str
) -> None:
    fit = lem.fit(lem.Model([lem.observed("x", dist)]), value)
    with pytest.warns(lem.DegenerateWarning, match="boundary"):
        assert float(fit.standard_errors()["x"][held]) == 0.0


def test_a_variance_at_its_floor_is_held() -> None:
    x = np.concatenate([np.full(10, 3.0), np.random.default_rng(0).normal(size=50)])
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Normal(floor=1e-4), given=z)])
    with pytest.warns(lem.DegenerateWarning):
        fit = lem.fit(model, x, init=lem.init.from_labels((x != 3.0).astype(int)))
    with pytest.warns(lem.DegenerateWarning, match="Node 'x': 1 of its parameters"):
        errors = fit.standard_errors()["x"]
    assert errors["variance"][0] == 0
    assert errors["variance"][1] > 0
    assert np.all(errors["mean"] > 0)


def test_what_the_data_do_not_determine_has_infinite_standard_errors() -> None:
    fit = _fit(CASES["latent without child"])
    with pytest.warns(lem.DegenerateWarning, match="Node 'idle': the data do not determine probs"):
        errors = fit.standard_errors()
    assert np.all(np.isinf(errors["idle"]["probs"]))
    nodes = [node for node in fit.model.nodes if node.name != "idle"]
    alone = lem.fit(lem.Model(nodes), CASES["latent without child"].data, tol=1e-10)
    for name in ("z", "x"):
        for field, array in alone.standard_errors()[name].items():
            np.testing.assert_allclose(errors[name][field], array, rtol=1e-4)


def test_a_state_without_rows_is_undetermined() -> None:
    x = np.random.default_rng(0).poisson(4.0, size=60)
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Poisson(), given=z)])
    data = {"x": x, "z": np.zeros(60)}
    start = model.replace({
        "z": lem.Categorical(probs=[0.5, 0.5]), "x": lem.Poisson(rate=[4.0, 9.0])
    })  # fmt: skip
    fit = lem.fit(model, data, init=start)
    with pytest.warns(lem.DegenerateWarning) as record:
        errors = fit.standard_errors()
    assert "Node 'z': 1 of its parameters lie on the boundary" in str(record[0].message)
    assert "Node 'x': the data do not determine rate" in str(record[0].message)
    assert errors["x"]["rate"][0] == pytest.approx(math.sqrt(x.mean() / 60), rel=1e-5)
    assert np.isinf(errors["x"]["rate"][1])
    np.testing.assert_array_equal(errors["z"]["probs"], [0, 0])


def _equal_states(x: np.ndarray) -> lem.Fit:
    """A fit of three Poissons of which two are alike, so that they stay so."""
    z = lem.latent("z", lem.Categorical(probs=[0.3, 0.2, 0.5]))
    model = lem.Model([z, lem.observed("x", lem.Poisson(rate=[2.0, 2.0, 30.0]), given=z)])
    return lem.fit(model, x, tol=1e-12)


def test_equal_states_are_undetermined() -> None:
    x = np.concatenate([np.tile([1, 2, 2, 3], 20), np.tile([28, 30, 32], 20)])  # no overdispersion
    fit = _equal_states(x)
    with pytest.warns(lem.DegenerateWarning, match="Node 'z': the data do not determine probs"):
        errors = fit.standard_errors()
    assert np.isinf(errors["z"]["probs"][:2]).all()
    assert np.isfinite(errors["z"]["probs"][2])
    assert np.isfinite(errors["x"]["rate"][2])


def test_a_saddle_is_no_maximum() -> None:
    x = np.concatenate([np.tile([0, 0, 1, 7], 20), np.tile([28, 30, 32], 20)])  # overdispersion
    with pytest.raises(lem.DegenerateError, match="must be taken at a maximum of the likelihood"):
        _equal_states(x).standard_errors()


def test_only_maxima_of_the_likelihood_have_standard_errors(faithful: np.ndarray) -> None:
    hard = lem.fit(lem.models.gaussian_mixture(2), faithful, assign=lem.hard, restarts=1, seed=0)
    with pytest.raises(lem.ModelError, match=r"init=fit\.model"):
        hard.standard_errors()
    kmeans = lem.fit(lem.models.kmeans(2), faithful, assign=lem.hard, restarts=1, seed=0)
    with pytest.raises(lem.ModelError, match="must come from a probability distribution"):
        kmeans.standard_errors()


@attrs.frozen(eq=False)
class _SharedRayleigh(CountedRayleigh):
    """One scale for all states, which the default directions do not know."""

    @property
    def n_parameters(self) -> int:
        return 1


def test_a_plug_in_with_more_directions_than_parameters_is_told_so() -> None:
    x = CASES["rayleigh mixture"].data["x"]
    z = lem.latent("z", lem.Categorical(2))
    fit = lem.fit(lem.Model([z, lem.observed("x", _SharedRayleigh(), given=z)]), x, seed=0)
    with pytest.raises(lem.ModelError, match=r"Node 'x': .* Say in _SharedRayleigh.directions\(\)"):
        fit.standard_errors()


# -- the bootstrap ---------------------------------------------------------------------------------


def _well_separated() -> lem.Fit:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 120), rng.normal(8, 2, 180)])
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Normal(), given=z)])
    return lem.fit(model, x, seed=0, restarts=2)


def test_bootstrap_agrees_with_the_information() -> None:
    fit = _well_separated()
    boot = fit.bootstrap(200, seed=0)
    assert (len(boot.models), boot.failed) == (200, 0)
    theirs = _flat(boot.standard_errors)
    for name, array in _flat(fit.standard_errors()).items():
        np.testing.assert_allclose(theirs[name], array, rtol=0.25, err_msg=name)
    # The interval is about two standard errors either way.
    low, high = boot.interval(0.95)["x"]["mean"]
    assert np.all((low < fit.model["x"].mean) & (fit.model["x"].mean < high))
    np.testing.assert_allclose(high - low, 3.92 * boot.standard_errors["x"]["mean"], rtol=0.2)
    narrow = boot.interval(0.5)["x"]["mean"]
    assert np.all((narrow[0] > low) & (narrow[1] < high))


def test_bootstrap_of_the_same_seed_is_the_same() -> None:
    fit = _linkage()
    one, same, other = (fit.bootstrap(5, seed=seed) for seed in (1, 1, 2))
    rows = [[model["t"].probs[1] for model in boot.models] for boot in (one, same, other)]
    assert rows[0] == rows[1] != rows[2]
    assert not one.standard_errors["half"]["probs"].any()
    assert all(type(a) is np.ndarray for a in _flat(one.standard_errors).values())
    assert repr(one) == "Bootstrap of p(half) p(t) p(cell | half, t): 5 fits"


def test_bootstrap_draws_as_many_rows_as_the_weights_count() -> None:
    # 197 rows, not 4: the standard error is the published one, .05.
    errors = _linkage().bootstrap(150, seed=0).standard_errors["t"]["probs"]
    np.testing.assert_allclose(errors, 0.0515, rtol=0.25)
    case = CASES["poisson mixture"]
    halves = lem.fit(case.model, case.data, weights=np.full(case.n, 0.5), restarts=1, seed=0)
    with pytest.raises(lem.DataError, match="weights must be whole numbers"):
        halves.bootstrap(2)


def test_bootstrap_puts_the_states_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = _well_separated()
    expected = _flat(fit.bootstrap(5, seed=0).standard_errors)
    in_order = bootstrap._fitted

    def exchanged(*arguments: Any) -> lem.Model | None:
        model = in_order(*arguments)
        return None if model is None else lem.permute_states(model, {"z": [1, 0]})

    monkeypatch.setattr(bootstrap, "_fitted", exchanged)
    for name, array in _flat(fit.bootstrap(5, seed=0).standard_errors).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-9)


def test_bootstrap_keeps_what_is_missing_and_what_is_known() -> None:
    rng = np.random.default_rng(5)
    state = rng.integers(0, 2, size=60)
    x = rng.normal(size=(60, 2)) + 2.0 * state[:, None]
    x[rng.random(x.shape) < 0.2] = np.nan
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Gaussian(), given=z)])
    labels = np.where(rng.random(60) < 0.5, state, -1)
    with_labels = lem.fit(model, {"x": x, "z": labels}, seed=0, restarts=2)
    without = lem.fit(model, x, init=with_labels.model, max_iter=0, tol=0)
    known, unknown = (fit.bootstrap(30, seed=0).standard_errors for fit in (with_labels, without))
    assert known["x"]["mean"].mean() < unknown["x"]["mean"].mean()
    soft = np.where(rng.random((60, 1)) < 0.5, [0.7, 0.3], np.nan)
    uncertain = lem.fit(model, {"x": x, "z": soft}, seed=0, restarts=1)
    with pytest.raises(lem.DataError, match="probabilities as labels"):
        uncertain.bootstrap(2)


def test_bootstrap_of_named_levels() -> None:
    rng = np.random.default_rng(0)
    state = rng.integers(0, 2, size=80)
    colour = np.array(["red", "green", "blue"])[_noisy(3, 2 * state, rng)]
    z = lem.latent("z", lem.Categorical(2))
    nodes = [z, lem.observed("x", lem.Normal(), given=z)]
    nodes.append(lem.observed("colour", lem.Categorical(), given=z))
    data = {"x": rng.normal(4.0 * state), "colour": colour}
    boot = lem.fit(lem.Model(nodes), data, seed=0, restarts=2).bootstrap(5, seed=0)
    assert boot.standard_errors["colour"]["probs"].shape == (2, 3)


def test_bootstrap_keeps_what_is_done_when_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = _linkage()
    calls = iter(range(100))

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return half_steps(*arguments)

    monkeypatch.setattr("latentem.em.search.half_steps", interrupted)
    with pytest.warns(lem.ConvergenceWarning, match="Interrupted after 4 of 20 draws"):
        boot = fit.bootstrap(20, seed=0)
    assert len(boot.models) == 4


def test_bootstrap_counts_the_draws_that_cannot_be_fitted() -> None:
    # A state of two rows or so: many draws leave it one, or none.
    x = np.concatenate([[8.0, 8.5], np.random.default_rng(0).normal(size=40)])
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Normal(), given=z)])
    fit = lem.fit(model, x, init=lem.init.from_labels((x < 5).astype(int)))
    boot = fit.bootstrap(20, seed=0)
    assert 0 < boot.failed < 20
    assert len(boot.models) == 20 - boot.failed
    assert f"{boot.failed} failed" in repr(boot)
    assert all(np.isfinite(array).all() for array in _flat(boot.standard_errors).values())


def test_bootstrap_says_what_it_needs(faithful: np.ndarray) -> None:
    fit = _linkage()
    with pytest.raises(lem.ModelError, match="n must be a whole number of at least 2"):
        fit.bootstrap(1)
    with pytest.raises(lem.ModelError, match="level must be a number between 0 and 1"):
        fit.bootstrap(2, seed=0).interval(95)
    kmeans = lem.fit(lem.models.kmeans(2), faithful, assign=lem.hard, restarts=1, seed=0)
    with pytest.raises(lem.ModelError, match="must come from a probability distribution"):
        kmeans.bootstrap(2)
    rayleigh = _fit(CASES["rayleigh mixture"])
    with pytest.raises(lem.MissingMethodError, match="sample"):
        rayleigh.bootstrap(2)


def test_fits_warn_of_nothing_else() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _well_separated().standard_errors()
