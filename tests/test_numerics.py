"""Digits: far-away and tiny data, tight components, impossible events, and bad input."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import latentem as lem
from latentem.distributions.kernels import LinearKernel
from latentem.kernels import compiled

PLAIN = {"restarts": 1, "accelerate": None, "tol": 0.0}
STRUCTURES = [(c, s) for c in ("full", "diagonal", "spherical") for s in (False, True)]
LD = np.longdouble


@pytest.fixture
def exact(faithful: np.ndarray) -> np.ndarray:
    """Old Faithful on a grid of 2^-10, so that moving it by 1e8 loses no digit."""
    rounded = np.round(faithful * 1024) / 1024
    assert np.array_equal((rounded + 1e8) - 1e8, rounded)
    return rounded


def _fit(dist: lem.Distribution, x: np.ndarray, labels: np.ndarray, steps: int = 30) -> lem.Fit:
    z = lem.latent("z", lem.Categorical(int(labels.max()) + 1))
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    return lem.fit(model, x, init=lem.init.from_labels(labels), max_iter=steps, **PLAIN)


def _long_double_log_likelihood(fit: lem.Fit, x: np.ndarray) -> LD:
    """The mixture's log-likelihood in residual form, in extended precision."""
    d = x.shape[1]
    terms = []
    for share, mean, covariance in zip(
        fit.model["z"].probs, fit.model["x"].mean, fit.model["x"].covariance, strict=True
    ):
        residual = x.astype(LD) - mean.astype(LD)
        root, log_det = _cholesky(covariance.astype(LD))
        white = _forward_substitution(root, residual.T)
        square = (white * white).sum(axis=0)
        terms.append(np.log(LD(share)) - (square + log_det + d * np.log(2 * LD(np.pi))) / 2)
    joint = np.array(terms)
    largest = joint.max(axis=0)
    return (largest + np.log(np.exp(joint - largest).sum(axis=0))).sum()


def _cholesky(matrix: np.ndarray) -> tuple[np.ndarray, LD]:
    d = len(matrix)
    root = np.zeros((d, d), dtype=LD)
    for i in range(d):
        for j in range(i + 1):
            rest = matrix[i, j] - (root[i, :j] * root[j, :j]).sum()
            root[i, j] = np.sqrt(rest) if i == j else rest / root[j, j]
    return root, 2 * np.log(np.diag(root)).sum()


def _forward_substitution(root: np.ndarray, columns: np.ndarray) -> np.ndarray:
    solved = np.zeros_like(columns)
    for i in range(len(root)):
        solved[i] = (columns[i] - root[i, :i] @ solved[:i]) / root[i, i]
    return solved


# -- moved and scaled ------------------------------------------------------------------------------


@pytest.mark.parametrize(("covariance", "shared"), STRUCTURES)
@pytest.mark.parametrize("shift", [1e8, -1e8, 2.0**30])
def test_moved_data_give_the_same_fit(
    covariance: str, shared: bool, shift: float, exact: np.ndarray
) -> None:
    labels = (exact[:, 1] > 68).astype(int)
    dist = lem.Gaussian(covariance=covariance, shared=shared)
    here, there = _fit(dist, exact, labels), _fit(dist, exact + shift, labels)
    np.testing.assert_allclose(
        there.posterior().marginal("z"), here.posterior().marginal("z"), rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(there.trace["objective"], here.trace["objective"], rtol=1e-11)
    assert there.log_likelihood == pytest.approx(here.log_likelihood, rel=1e-11)
    np.testing.assert_allclose(there.model["x"].covariance, here.model["x"].covariance, rtol=1e-9)
    spacing = np.spacing(abs(shift))
    np.testing.assert_allclose(
        there.model["x"].mean - shift, here.model["x"].mean, rtol=0, atol=spacing
    )
    # New rows, and the model as a value handed on, see the same too.
    np.testing.assert_allclose(
        there.posterior(exact[:20] + shift).marginal("z"),
        here.posterior(exact[:20]).marginal("z"),
        rtol=0,
        atol=1e-8,
    )
    assert lem.log_likelihood(there.model, exact + shift) == pytest.approx(
        there.log_likelihood, rel=1e-12
    )


@pytest.mark.parametrize(("covariance", "shared"), STRUCTURES)
@pytest.mark.parametrize("scale", [1e-8, 1e8, 2.0**-40, 1e-100, 1e100])
def test_scaled_data_give_the_same_fit_and_shift_the_likelihood(
    covariance: str, shared: bool, scale: float, exact: np.ndarray
) -> None:
    labels = (exact[:, 1] > 68).astype(int)
    dist = lem.Gaussian(covariance=covariance, shared=shared)
    here, there = _fit(dist, exact, labels), _fit(dist, exact * scale, labels)
    np.testing.assert_allclose(
        there.posterior().marginal("z"), here.posterior().marginal("z"), rtol=0, atol=1e-8
    )
    shift = -exact.size * math.log(scale)
    assert there.log_likelihood - shift == pytest.approx(here.log_likelihood, abs=1e-8)
    np.testing.assert_allclose(there.model["x"].mean / scale, here.model["x"].mean, rtol=1e-10)
    np.testing.assert_allclose(
        there.model["x"].covariance / scale / scale, here.model["x"].covariance, rtol=1e-9
    )


@pytest.mark.parametrize("shared", [False, True])
def test_scalars_moved_and_scaled_give_the_same_fit(shared: bool, exact: np.ndarray) -> None:
    x = exact[:, 1]
    labels = (x > 68).astype(int)
    dist = lem.Normal(shared=shared)
    here = _fit(dist, x, labels)
    for scale, shift in ((1.0, 1e8), (1e-8, 0.0), (2.0**-27, 1.0)):
        there = _fit(dist, x * scale + shift, labels)
        np.testing.assert_allclose(
            there.posterior().marginal("z"), here.posterior().marginal("z"), rtol=0, atol=1e-8
        )
        expected = here.log_likelihood - len(x) * math.log(scale)
        assert there.log_likelihood == pytest.approx(expected, abs=1e-8)


def test_each_column_may_have_its_own_unit(exact: np.ndarray) -> None:
    labels = (exact[:, 1] > 68).astype(int)
    unit = np.array([1e-8, 1e6])
    here, there = _fit(lem.Gaussian(), exact, labels), _fit(lem.Gaussian(), exact * unit, labels)
    np.testing.assert_allclose(
        there.posterior().marginal("z"), here.posterior().marginal("z"), rtol=0, atol=1e-8
    )
    expected = here.log_likelihood - len(exact) * np.log(unit).sum()
    assert there.log_likelihood == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 1e8), (1e-8, 0.0)])
def test_the_default_call_finds_the_same_optimum_moved_and_scaled(
    scale: float, shift: float, exact: np.ndarray
) -> None:
    model = lem.models.gaussian_mixture(2)
    here = lem.fit(model, exact, seed=0)
    there = lem.fit(model, exact * scale + shift, seed=0)
    expected = here.log_likelihood - exact.size * math.log(scale)
    assert there.log_likelihood == pytest.approx(expected, abs=1e-4)
    assert there.status is lem.Status.CONVERGED


def test_known_parameters_are_evaluated_exactly_far_from_the_origin(exact: np.ndarray) -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    means = np.array([[2.0, 54.5], [4.25, 80.0]])
    covariance = np.array([[[0.25, 0.5], [0.5, 32.0]]] * 2)

    def likelihood(shift: float) -> float:
        dist = lem.Gaussian(mean=means + shift, covariance=covariance)
        return lem.log_likelihood(lem.Model([z, lem.observed("x", dist, given=z)]), exact + shift)

    assert likelihood(1e8) == pytest.approx(likelihood(0.0), rel=1e-13)


def test_k_means_moved_and_scaled_is_the_same(exact: np.ndarray) -> None:
    here = lem.fit(lem.models.kmeans(3), exact, assign=lem.hard, seed=0)
    for scale, shift in ((1.0, 1e8), (2.0**-30, 0.0), (2.0**30, 0.0)):
        there = lem.fit(lem.models.kmeans(3), exact * scale + shift, assign=lem.hard, seed=0)
        np.testing.assert_array_equal(there.predict(), here.predict())
        assert there.distortion == pytest.approx(here.distortion * scale**2, rel=1e-10)


# -- tight components ------------------------------------------------------------------------------

TIGHTNESS = [1.0, 1e-1, 1e-2, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6]


def _tight(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Two groups a unit apart, one of standard deviation ``spread``."""
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(60, 2))
    tight = np.array([1.0, 2.0]) + spread * (rng.normal(size=(60, 2)) @ [[1.0, 0.6], [0.0, 0.5]])
    return np.concatenate([wide, tight]), np.repeat([0, 1], 60)


@pytest.mark.parametrize("spread", TIGHTNESS)
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_tight_components_keep_their_digits(spread: float, shift: float) -> None:
    x, labels = _tight(spread)
    x = x + shift
    x = x.astype(float)
    fit = _fit(lem.Gaussian(), x, labels, steps=3)
    likelihood = _long_double_log_likelihood(fit, x) if shift == 0 else None
    if likelihood is not None:
        # The mean itself is rounded to double precision: half a unit over the spread, squared.
        assert abs(float(LD(fit.log_likelihood) - likelihood)) < 1e-6
    weights = fit.posterior().marginal("z").astype(LD)
    new = lem.m_step(fit.model, x, fit.posterior())
    for k in range(2):
        w = weights[:, k] / weights[:, k].sum()
        mean = w @ x.astype(LD)
        residual = x.astype(LD) - mean
        covariance = (residual * w[:, None]).T @ residual
        size = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance))).astype(float)
        error = np.abs(new["x"].covariance[k] - covariance.astype(float)) / size
        assert error.max() < 1e-7
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[1:])).all()


def test_both_sides_of_the_switch_to_residuals_were_tested() -> None:
    forms = set()
    for spread in TIGHTNESS:
        x, labels = _tight(spread)
        fit = _fit(lem.Gaussian(), x, labels, steps=1)
        forms.add(isinstance(fit.model["x"].kernel(), LinearKernel))
    assert forms == {True, False}


@pytest.mark.parametrize("dist", [lem.Gaussian(), lem.Gaussian(covariance="diagonal")], ids=repr)
def test_the_objective_is_continuous_across_the_switch(dist: lem.Distribution) -> None:
    # Around the switch both forms must agree: log-densities of a slowly tightening component.
    x, labels = _tight(1e-4)
    means = np.array([x[labels == k].mean(axis=0) for k in range(2)])
    values = []
    for spread in np.geomspace(1e-5, 1e-1, 60):
        covariance = np.array([np.eye(2), spread**2 * np.eye(2)])
        known = lem.Gaussian(mean=means, covariance=covariance).bind(x)
        exact = known.log_prob(x)
        block = known.kernel().on(x).log_density().T
        error = np.abs(block - exact) / np.maximum(1, np.abs(exact))
        values.append(error.max())
    assert max(values) < 1e-7


def test_scalar_tight_components_keep_their_digits() -> None:
    x, labels = _tight(1e-6)
    fit = _fit(lem.Normal(), x[:, 0], labels, steps=3)
    weights = fit.posterior().marginal("z").astype(LD)
    w = weights[:, 1] / weights[:, 1].sum()
    value = x[:, 0].astype(LD)
    variance = float(w @ (value - w @ value) ** 2)
    new = lem.m_step(fit.model, x[:, 0], fit.posterior())
    assert new["x"].variance[1] == pytest.approx(variance, rel=1e-7)


# -- extremes that are legal -----------------------------------------------------------------------


@pytest.mark.parametrize("outlier", [1e3, 1e6, 1e9, 1e12])
def test_a_far_outlier_takes_no_digits_from_the_other_rows(outlier: float) -> None:
    x = np.array([-1.3, 0.25, 0.5, 2.0, outlier])
    shares, means = [0.3, 0.7], [0.0, 1.0]
    for dist in (
        lem.Normal(mean=means, variance=[1.0, 1.0]),
        lem.Gaussian(mean=[[m] for m in means], covariance=[[[1.0]], [[1.0]]]),
    ):
        z = lem.latent("z", lem.Categorical(probs=shares))
        posterior = lem.e_step(lem.Model([z, lem.observed("x", dist, given=z)]), x)
        for i in range(4):
            joint = [math.log(p) - (x[i] - m) ** 2 / 2 for p, m in zip(shares, means, strict=True)]
            expected = np.logaddexp(*joint)
            evidence = posterior.log_evidence[i] + math.log(2 * math.pi) / 2
            assert evidence == pytest.approx(expected, abs=1e-7)
            share = math.exp(joint[0] - expected)
            assert posterior.marginal("z")[i, 0] == pytest.approx(share, abs=1e-8)
        assert np.isfinite(posterior.log_evidence).all()
        np.testing.assert_allclose(posterior.marginal("z")[4], [0, 1], atol=1e-12)


def test_states_of_probability_zero_stay_empty_without_nan() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5, 0.0]))
    dist = lem.Poisson(rate=[1.0, 6.0, 20.0])
    x = np.random.default_rng(0).poisson([1, 6] * 40)
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    fit = lem.fit(model, x, max_iter=20, **PLAIN)
    assert fit.model["z"].probs[2] == 0
    assert np.isfinite(fit.model["x"].rate).all()
    assert fit.model["x"].rate[2] == 20.0
    assert np.isfinite(fit.trace["objective"]).all()
    assert (fit.posterior().marginal("z")[:, 2] == 0).all()


def test_probabilities_of_zero_and_one_are_reached_and_kept() -> None:
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    item = lem.observed("x", lem.Bernoulli(probs=[0.0, 1.0]), given=z)
    fit = lem.fit(lem.Model([z, item]), np.array([0, 1, 1, 0, 1]), max_iter=3, **PLAIN)
    assert fit.model["x"].probs.tolist() == [0.0, 1.0]
    assert fit.model["z"].probs == pytest.approx([0.4, 0.6])
    assert fit.log_likelihood == pytest.approx(2 * math.log(0.4) + 3 * math.log(0.6))


def test_an_underflowing_product_of_many_items_is_handled_in_log_space() -> None:
    rng = np.random.default_rng(0)
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    nodes, data = [z], {}
    for i in range(400):
        dist = lem.Normal(mean=[0.0, 0.1], variance=[1e-4, 1e-4])
        nodes.append(lem.observed(f"x{i}", dist, given=z))
        data[f"x{i}"] = rng.normal(size=4)
    posterior = lem.e_step(lem.Model(nodes), data)
    assert np.isfinite(posterior.log_evidence).all()
    np.testing.assert_allclose(posterior.marginal("z").sum(axis=1), 1.0)


@pytest.mark.parametrize(
    "dtype",
    [np.uint8, np.int8, np.int32, np.uint64, np.float32, np.float16, np.longdouble, np.bool_],
)
def test_other_number_types_are_computed_in_double_precision(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.integers(0, 2, size=(30, 3)), rng.integers(100, 127, size=(30, 3))])
    x = (x > 50) ^ (rng.random(x.shape) < 0.2) if dtype is np.bool_ else x
    narrow = x.astype(dtype)
    labels = np.repeat([0, 1], 30)
    for dist in (lem.Gaussian(), lem.Gaussian(covariance="spherical", shared=True)):
        one, other = _fit(dist, narrow, labels, 5), _fit(dist, x.astype(float), labels, 5)
        np.testing.assert_allclose(
            one.trace["objective"], other.trace["objective"], rtol=1e-12, atol=1e-9
        )
    seeded = [
        lem.fit(lem.models.kmeans(2), column, assign=lem.hard, seed=0)
        for column in (narrow, x.astype(float))
    ]
    assert seeded[0].distortion == pytest.approx(seeded[1].distortion, rel=1e-12)


# -- bad input -------------------------------------------------------------------------------------

GOOD = np.random.default_rng(1).normal(size=(30, 2))


def _replaced(cell: Any) -> np.ndarray:
    bad = GOOD.copy()
    bad[3, 1] = cell
    return bad


REFUSED: dict[str, Any] = {
    "all NaN": np.full((30, 2), np.nan),
    "infinite": _replaced(np.inf),
    "minus infinite": _replaced(-np.inf),
    "empty": np.zeros((0, 2)),
    "no columns": np.zeros((30, 0)),
    "one row": GOOD[:1],
    "fewer rows than states": GOOD[:2],
    "constant column": np.column_stack([GOOD[:, 0], np.full(30, 7.0)]),
    "all rows equal": np.full((30, 2), 3.0),
    "huge": _replaced(1e300),
    "three axes": np.zeros((30, 2, 2)),
    "scalar": np.float64(3.0),
    "None": None,
    "text": np.array([["a", "b"]] * 30),
    "objects": np.array([[object(), object()]] * 30),
    "complex": GOOD + 1j,
    "ragged": [[1.0, 2.0], [3.0]],
    "dates": np.array([["2020-01-01", "2020-01-02"]] * 30, dtype="datetime64[D]"),
    "a set": {1.0, 2.0},
    "an extra node": {"x": GOOD, "w": GOOD},
}

MIXTURES: dict[str, Callable[[], lem.Model]] = {
    "full": lambda: lem.models.gaussian_mixture(3),
    "diagonal": lambda: lem.models.gaussian_mixture(3, covariance="diagonal"),
    "spherical": lambda: lem.models.gaussian_mixture(3, covariance="spherical"),
    "shared": lambda: lem.models.gaussian_mixture(3, shared=True),
}


@pytest.fixture(autouse=True)
def _collapse_may_be_reported() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        yield


# One variance for all columns needs only one of them to vary.
@pytest.mark.parametrize(
    ("mixture", "name"),
    sorted(set(itertools.product(MIXTURES, REFUSED)) - {("spherical", "constant column")}),
)
def test_bad_data_are_refused_with_the_node_and_the_remedy(mixture: str, name: str) -> None:
    with pytest.raises(lem.LatentemError, match=r"(?s)must .+, got .+\.") as error:
        lem.fit(MIXTURES[mixture](), REFUSED[name], seed=0)
    assert isinstance(error.value, ValueError | ArithmeticError)
    assert any(where in str(error.value) for where in ("Node 'x'", "data['x']", "data must"))


@pytest.mark.parametrize("use", [False, True], ids=["numpy", "compiled"])
@pytest.mark.parametrize("family", [lem.Gaussian, lem.Normal])
def test_a_constant_column_is_one_wherever_rounding_puts_its_mean(
    family: Any, use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if use and not compiled.available():
        pytest.skip("without the compiler")
    monkeypatch.setattr(compiled, "is_loaded", lambda: use)
    model = lem.Model([lem.observed("x", family())])
    for n, value in itertools.product((3, 5, 6, 10, 100), (0.1, 1 / 3, -5.3e-7, 1e9 / 7)):
        with pytest.raises(lem.DataError, match="constant column"):
            lem.fit(model, np.full(n, value))


def test_rows_that_weigh_next_to_nothing_do_not_make_a_column_vary() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    x[:3, 0] = 2.0
    weights = np.where(np.arange(30) < 3, 1.0, 1e-320)
    model = lem.Model([lem.observed("x", lem.Gaussian(covariance=np.eye(2)))])
    fit = lem.fit(model, x, weights=weights)
    np.testing.assert_allclose(fit.model["x"].mean, x[:3].mean(axis=0))


# Prototypes may be equal, and a huge value is one far prototype.
@pytest.mark.parametrize(
    "name", sorted(set(REFUSED) - {"constant column", "all rows equal", "huge"})
)
def test_bad_data_are_refused_by_k_means(name: str) -> None:
    with pytest.raises(lem.LatentemError, match=r"(?s)must .+, got .+\."):
        lem.fit(lem.models.kmeans(3), REFUSED[name], assign=lem.hard, seed=0)


COLLAPSING = {
    "a repeated row": np.concatenate([GOOD, np.repeat(GOOD[:1], 12, axis=0)]),
    "a line": np.column_stack([GOOD[:, 0], 2 * GOOD[:, 0]]),
    "two points": np.repeat([[0.0, 0.0], [1.0, 2.0]], 15, axis=0),
    "as many states as rows": GOOD[:3],
    "one outlier": np.concatenate([GOOD, [[1e6, 1e6]]]),
    "tiny": GOOD * 1e-140,
    "integers on a grid": np.round(GOOD),
}


@pytest.mark.parametrize("name", COLLAPSING)
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("seed", [0, 1])
def test_collapsing_components_end_at_a_named_constraint_and_never_in_nan(
    name: str, mixture: str, seed: int
) -> None:
    x = COLLAPSING[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = lem.fit(MIXTURES[mixture](), x, seed=seed)
    allowed = lem.DegenerateWarning | lem.ConvergenceWarning
    assert all(issubclass(warning.category, allowed) for warning in caught)
    for node in ("z", "x"):
        for array in fit.model[node].parameters.values():
            assert np.isfinite(array).all()
    assert np.isfinite(fit.log_likelihood)
    np.testing.assert_allclose(fit.posterior().marginal("z").sum(axis=1), 1.0, rtol=1e-12)
    objective = fit.trace["objective"]
    assert np.isfinite(objective).all()
    # At the floor a covariance has condition 1 / floor; its square root has that root of it.
    rounding = len(x) * np.finfo(float).eps / np.sqrt(fit.model["x"].floor)
    slack = rounding if fit.status is lem.Status.DEGENERATE else 1e-9 * (1 + abs(objective[-1]))
    assert (np.diff(objective) >= -slack).all()
    if fit.status is lem.Status.DEGENERATE:
        text = " ".join(str(warning.message) for warning in caught)
        assert "Node 'x'" in text
        assert "floor" in text


@pytest.mark.parametrize("mixture", MIXTURES)
def test_some_of_these_data_do_collapse_the_free_covariances(mixture: str) -> None:
    endings = set()
    for name in ("a repeated row", "two points"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            endings.add(lem.fit(MIXTURES[mixture](), COLLAPSING[name], seed=0).status)
    assert lem.Status.DEGENERATE in endings


def test_the_floor_is_relative_to_the_data_and_visible() -> None:
    x = COLLAPSING["a line"]
    for scale in (1.0, 1e-6, 1e6):
        with pytest.warns(lem.DegenerateWarning, match="floor"):
            fit = lem.fit(lem.models.gaussian_mixture(1), x * scale, seed=0)
        assert fit.status is lem.Status.DEGENERATE
        standard = fit.model["x"].covariance[0] / np.outer(*[x.std(axis=0) * scale] * 2)
        smallest = np.linalg.eigvalsh(standard)[0]
        assert 0 < smallest < 1e-6


def test_the_scale_of_the_data_is_that_of_rows_with_weight() -> None:
    x = np.concatenate([GOOD, [[1e9, -1e9]]])
    weights = np.append(np.ones(30), 0.0)
    one = lem.fit(lem.models.gaussian_mixture(2), x, weights=weights, seed=0, restarts=1)
    assert np.isfinite(one.log_likelihood)
    again = lem.log_likelihood(one.model, GOOD)
    assert one.log_likelihood == pytest.approx(again, rel=1e-9)


def test_a_state_on_its_floor_beside_an_empty_one_keeps_its_digits() -> None:
    x = np.random.default_rng(4).normal(size=(80, 2))
    x[:30] = x[0]
    for seed in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lem.DegenerateWarning)
            fit = lem.fit(lem.models.gaussian_mixture(3), x, seed=seed, restarts=5, assign=lem.hard)
        assert fit.status in (lem.Status.CONVERGED, lem.Status.DEGENERATE)


@pytest.mark.parametrize(("shift", "scale"), [(1e8, 1.0), (0.0, 1e-8), (-1e6, 1e6)])
def test_one_step_takes_its_digits_and_floor_from_the_data_given(
    shift: float, scale: float
) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    model = lem.initialize(lem.models.gaussian_mixture(2), x, seed=0)
    posterior = lem.e_step(model, x)
    plain, moved = (lem.m_step(model, v, posterior)["x"] for v in (x, scale * x + shift))
    np.testing.assert_allclose(moved.covariance, scale**2 * plain.covariance, rtol=1e-6)
    np.testing.assert_allclose(moved.mean - shift, scale * plain.mean, atol=1e-6 * scale)


@pytest.mark.parametrize("floor", [0.0, -1.0, 1e-18, np.nan, np.inf])
@pytest.mark.parametrize("family", [lem.Gaussian, lem.Normal])
def test_a_floor_that_rounding_loses_is_refused(family: type, floor: float) -> None:
    with pytest.raises(lem.ModelError, match=r"floor must be at least 1e-15 .+, got .+\. .+"):
        family(floor=floor)


def test_a_collapsed_state_can_be_drawn_from_and_evaluated() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[:20] = x[0]
    labels = np.repeat([0, 1], 20)
    with pytest.warns(lem.DegenerateWarning):
        fit = lem.fit(
            lem.models.gaussian_mixture(2), x, init=lem.init.from_labels(labels), restarts=1
        )
    assert np.isfinite(fit.sample(50, seed=0)["x"]).all()
    joint = fit.model["x"].log_prob(x) + np.log(fit.model["z"].probs)
    np.testing.assert_allclose(
        np.logaddexp.reduce(joint, axis=1), fit.score_samples(), rtol=1e-6, atol=1e-6
    )


def test_a_better_optimum_on_a_constraint_is_spoken_of() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([-1e8 + 1e-6 * rng.normal(size=50), 1e8 + 1e-6 * rng.normal(size=50)])
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Normal(), given=z)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.DegenerateWarning)
        fit = lem.fit(model, x, seed=0)
    aside = any("set aside" in event for event in fit.events)
    assert aside or fit.status is lem.Status.DEGENERATE


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("shift", "scale"), [(1e8, 1.0), (1e3, 1.0), (0.0, 1e-8), (0.0, 1e8)])
def test_the_default_call_does_not_depend_on_origin_and_unit(
    shift: float, scale: float, seed: int, faithful: np.ndarray
) -> None:
    # Whole minutes: many rows lie half-way between two seeds, and many starts end alike.
    waiting = faithful[:, 1]
    model = lem.models.gaussian_mixture(2)
    fit = lem.fit(model, waiting, seed=seed)
    other = lem.fit(model, shift + scale * waiting, seed=seed)
    ours, theirs = (f.posterior().marginal("z") for f in (fit, other))
    np.testing.assert_allclose(theirs, ours, atol=1e-8)
    expected = fit.log_likelihood - len(waiting) * np.log(scale)
    assert other.log_likelihood == pytest.approx(expected, abs=1e-7)
