"""Regressions, priors and held parameters where they meet the rest of the engine."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import latentem as lem

U, Z = lem.covariate("u"), lem.latent("z", lem.Categorical(2))


def _data(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    u = rng.uniform(0, 3, n)
    return u, 1 + u + rng.normal(size=n)


def _mixture(dist: Any) -> lem.Model:
    return lem.Model([Z, U, lem.observed("y", dist, given=[Z, U])])


def test_a_shared_covariance_stays_one_where_a_state_has_no_rows() -> None:
    u, y = _data()
    start = lem.LinearGaussian([0, 0.0], [[1.0], [2.0]], [5.0, 5.0], shared=True)
    weights = np.zeros((60, 2))
    weights[:, 0] = 1
    fitted = start.fit(np.column_stack([u, y]), weights)
    assert fitted.covariance[0] == fitted.covariance[1]
    assert fitted.intercept[1] == 0.0
    assert fitted.coefficients[1] == 2.0


def test_missing_angles_are_filled_in_on_the_circle() -> None:
    rng = np.random.default_rng(0)
    angles = np.concatenate([3.0 + 0.05 * rng.normal(size=50), -3.0 + 0.05 * rng.normal(size=50)])
    angles[7] = np.nan
    for dist, data in (
        (lem.VonMises(), angles),
        (lem.Product([lem.VonMises(), lem.Normal()]), np.column_stack([angles, np.abs(angles)])),
    ):
        model = lem.Model([Z, lem.observed("x", dist, given=Z)])
        filled = lem.fit(model, data, seed=0).impute({"x": data})["x"][7]
        assert abs(np.atleast_1d(filled)[0]) > 2.5
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    model = lem.Model([Z, lem.observed("x", lem.VonMisesFisher(), given=Z)])
    filled = lem.fit(model, units, seed=0).impute({"x": units})["x"]
    np.testing.assert_allclose(np.linalg.norm(filled, axis=1), 1.0)
    assert filled[7, 0] < -0.9


def test_nodes_tied_on_different_covariates_have_one_line() -> None:
    u, y = _data()
    v = lem.covariate("v")
    a = lem.observed("a", lem.LinearGaussian(), given=U)
    b = lem.observed("b", lem.LinearGaussian(), given=v, tie=a)
    data = {"u": u[:30], "v": u[30:], "a": y[:30], "b": y[30:]}
    tied = lem.fit(lem.Model([U, v, a, b]), data)
    one = lem.fit(
        lem.Model([U, lem.observed("y", lem.LinearGaussian(), given=U)]), {"u": u, "y": y}
    )
    assert tied.log_likelihood == pytest.approx(one.log_likelihood, rel=1e-12)
    np.testing.assert_allclose(tied.model["b"].coefficients, one.model["y"].coefficients)


def test_tied_nodes_have_one_prior() -> None:
    def tie(first: Any, second: Any) -> lem.Model:
        a = lem.latent("a", lem.Categorical(2, prior=first))
        b = lem.latent("b", lem.Categorical(2, prior=second), tie=a)
        return lem.Model([a, b])

    assert tie(lem.Dirichlet([2.0, 3.0]), lem.Dirichlet([2.0, 3.0]))["b"].prior is not None
    with pytest.raises(lem.ModelError, match="must be declared as 'a'"):
        tie(lem.Dirichlet([2.0, 3.0]), lem.Dirichlet([20.0, 3.0]))
    x = lem.observed("x", lem.Normal(prior=lem.NormalInverseGamma(0.0, 1.0, 1.0, 1.0)), given=Z)
    same = lem.Normal(prior=lem.NormalInverseGamma(0.0, 1.0, 1.0, 1.0))
    assert lem.Model([Z, x, lem.observed("w", same, given=Z, tie=x)]).tied("w") == ("x", "w")


def test_an_empty_state_is_at_no_constraint() -> None:
    u, y = _data()
    model = _mixture(lem.GammaRegression())
    start = _mixture(lem.GammaRegression([0.0, 500.0], [[1.0], [0.0]], [2.0, 2.0])).replace(
        {"z": lem.Categorical(probs=[0.5, 0.5])}
    )
    fit = lem.fit(model, {"u": u, "y": np.exp(y)}, init=start, assign=lem.hard)
    assert fit.status is lem.Status.CONVERGED
    assert fit.model["y"].shape[1] == 2.0


def test_a_start_beyond_a_limit_is_brought_within_it() -> None:
    u = np.linspace(0, 3, 30)
    model = lem.Model([U, lem.observed("y", lem.GammaRegression(), given=U)])
    start = model.replace({"y": lem.GammaRegression(0.0, [1.0], 1e10)})
    with pytest.warns(lem.DegenerateWarning, match="shape"):
        fit = lem.fit(model, {"u": u, "y": np.exp(u)}, init=start)
    assert fit.model["y"].shape == 1e8


def test_zero_counts_are_said_whatever_the_offset() -> None:
    offset = lem.covariate("e")
    node = lem.observed("y", lem.PoissonRegression(offset="e"), given=[U, offset])
    model = lem.Model([U, offset, node])
    u = np.linspace(0, 1, 20)
    for shift, y, said in ((50.0, np.arange(20), False), (-50.0, np.zeros(20), True)):
        fit = lem.fit(model, {"u": u, "e": np.full(20, shift), "y": y})
        assert bool(fit.events) is said


def test_a_latent_may_switch_between_regressions() -> None:
    u, y = _data()
    which = lem.latent("w", lem.Categorical(2))
    for cases in ([lem.Softmax(2), lem.Softmax(2)], [lem.Softmax(2), lem.Categorical(2)]):
        gate = lem.latent("z", lem.Switch(cases), given=[which, U])
        model = lem.Model([which, U, gate, lem.observed("y", lem.Normal(), given=[gate, which])])
        fit = lem.fit(model, {"u": u, "y": y}, seed=0, restarts=2)
        assert np.all(np.diff(fit.trace["objective"]) >= -1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lem.LinearGaussian(covariance=np.eye(2)), "data\\['y'\\] must have 2 columns"),
        (
            lambda: lem.LinearGaussian(coefficients=np.ones((2, 1))),
            "data\\['y'\\] must have 2 columns",
        ),
        (lambda: lem.Binomial("n"), "Node 'y': its covariates must be 'n'"),
        (lambda: lem.PoissonRegression(offset="e"), "Node 'y': its covariates must be 'e'"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(make: Any, message: str) -> None:
    u, y = _data()
    with pytest.raises(lem.DataError, match=message):
        lem.fit(_mixture(make()), {"u": u, "y": np.abs(np.rint(y))})


def test_what_is_held_for_all_states_has_none_to_renumber() -> None:
    held = lem.Gaussian(covariance=np.diag([1.0, 2.0]))
    same = held.permuted_parents([np.array([1, 0])])
    np.testing.assert_array_equal(same.covariance, held.covariance)


def test_one_concentration_for_all_states_may_be_an_array() -> None:
    model = lem.Model(
        [lem.latent("z", lem.Categorical(probs=[0.2, 0.8], prior=lem.Dirichlet([2.0])))]
    )
    swapped = lem.permute_states(model, {"z": [1, 0]})
    assert swapped["z"].probs.tolist() == [0.8, 0.2]


def test_a_fitted_regression_is_sampled_at_given_covariates() -> None:
    u, y = _data()
    model = lem.Model([U, lem.observed("y", lem.LinearGaussian(), given=U)])
    fit = lem.fit(model, {"u": u, "y": y})
    assert fit.sample(5, seed=0, data={"u": u[:5]})["y"].shape == (5, 1)


def test_an_option_that_names_a_column_needs_a_model() -> None:
    with pytest.raises(lem.ModelError, match="offset='e' must be a covariate of its node"):
        lem.PoissonRegression(offset="e").fit(np.ones((9, 3)), np.ones(9))
    with pytest.raises(lem.ModelError, match="must be finite"):
        lem.Softmax(intercept=[0.0, np.nan], coefficients=[[0.0], [1.0]])


# -- offsets and trials among other covariates -----------------------------------------------------

OFFSET, TRIALS = lem.covariate("o"), lem.covariate("n")


def _beside(dist: lem.Distribution, *given: lem.Node) -> lem.Model:
    """A regression on u, with what its options name."""
    covariates = given or (U, OFFSET)
    return lem.Model([*covariates, lem.observed("y", dist, given=list(covariates))])


@pytest.mark.parametrize(
    ("dist", "mean"),
    [
        (lem.PoissonRegression(1.0, [0.5], offset="o"), np.exp(6.0)),
        (lem.GammaRegression(1.0, [0.5], 1e4, offset="o"), np.exp(6.0)),
        (lem.Logistic(-7.0, [0.5], offset="o", trials="n"), 1e4 / (1 + np.exp(2.0))),
        (lem.LinearGaussian([1.0], [[0.5]], [[1e-4]], offset="o"), 6.0),
    ],
    ids=lambda dist: type(dist).__name__,
)
def test_what_options_name_counts_in_draws_and_means(dist: Any, mean: float) -> None:
    model = _beside(dist, TRIALS, U, OFFSET) if "trials" in dist.named else _beside(dist)
    data = {"u": np.full(50, 2.0), "o": np.full(50, 4.0), "n": np.full(50, 10_000)}
    data = {name: values for name, values in data.items() if name in model}
    drawn = lem.sample(model, 50, seed=0, data=data)["y"]
    assert drawn.mean() == pytest.approx(mean, rel=0.02)
    holes = {**data, "y": np.where(np.arange(50) == 7, np.nan, np.ravel(drawn))}
    filled = lem.fit(model.replace({"y": lem.fixed(dist)}), holes).impute(holes)["y"]
    assert filled.ravel()[7] == pytest.approx(mean, rel=1e-9)


def test_a_softmax_with_parameters_is_sampled_with_its_offset() -> None:
    model = _beside(lem.Softmax(3, np.zeros(3), np.zeros((3, 1)), offset="o"))
    probs = np.array([0.5, 0.3, 0.2])
    data = {"u": np.zeros(4000), "o": np.tile(np.log(probs), (4000, 1))}
    drawn = np.bincount(lem.sample(model, 4000, seed=0, data=data)["y"]) / 4000
    np.testing.assert_allclose(drawn, probs, atol=0.03)


@pytest.mark.parametrize("gate", [lem.Softmax(3, offset="o"), lem.Logistic(offset="o")], ids=repr)
def test_states_with_an_offset_can_be_renumbered(gate: Any) -> None:
    rng = np.random.default_rng(0)
    k = gate.n_states
    data = {"u": rng.normal(size=40), "o": rng.normal(size=(40, k if k == 3 else 1)),
            "y": rng.normal(size=40) * 3}  # fmt: skip
    latent = lem.latent("z", gate, given=[U, OFFSET])
    model = lem.Model([U, OFFSET, latent, lem.observed("y", lem.Normal(), given=latent)])
    fit = lem.fit(model, data, seed=0, restarts=1, max_iter=5, tol=0)
    order = [2, 0, 1] if k == 3 else [1, 0]
    renumbered = lem.permute_states(fit.model, {"z": order})
    assert lem.log_likelihood(renumbered, data) == pytest.approx(fit.log_likelihood, rel=1e-12)
    tables = [lem.e_step(each, data).marginal("z") for each in (fit.model, renumbered)]
    np.testing.assert_allclose(tables[1], tables[0][:, order], atol=1e-12)
    twice = lem.permute_states(renumbered, {"z": np.argsort(order)})
    np.testing.assert_allclose(lem.e_step(twice, data).marginal("z"), tables[0], atol=1e-12)
    restarted = lem.fit(model, data, init=renumbered)
    assert restarted.trace["objective"][0] == pytest.approx(fit.log_likelihood, rel=1e-9)
    assert restarted.log_likelihood >= fit.log_likelihood


def test_tied_regressions_read_their_offset_at_one_place() -> None:
    v, (u, y) = lem.covariate("v"), _data()
    data = {"u": u, "v": u[::-1], "o": u**2, "a": y + u**2, "b": y[::-1] + u**2}
    dist = lem.LinearGaussian(offset="o")
    a = lem.observed("a", dist, given=[U, OFFSET])
    b = lem.observed("b", dist, given=[v, OFFSET], tie=a)
    tied = lem.fit(lem.Model([U, v, OFFSET, a, b]), data)
    both = {"u": np.tile(u, 2)[:120], "y": np.concatenate([y, y[::-1]])}
    both["u"][60:] = u[::-1]
    one = lem.fit(_beside(lem.LinearGaussian(), U), both)
    np.testing.assert_allclose(tied.model["b"].coefficients, one.model["y"].coefficients)
    b = lem.observed("b", dist, given=[OFFSET, v], tie=a)
    with pytest.raises(lem.DataError, match="Node 'b': its covariates must be in the order of"):
        lem.fit(lem.Model([U, v, OFFSET, a, b]), data)


def test_cases_of_a_switch_have_offsets_of_their_own() -> None:
    rng = np.random.default_rng(0)
    u, o, z = rng.uniform(0, 3, 120), rng.normal(size=120), rng.integers(0, 2, 120)
    y = np.where(z, 1 + 2 * u + o, -4 - u) + 0.1 * rng.normal(size=120)
    switch = lem.Switch([lem.LinearGaussian(), lem.LinearGaussian(offset="o")])
    model = lem.Model([Z, U, OFFSET, lem.observed("y", switch, given=[Z, U, OFFSET])])
    fit = lem.fit(model, {"u": u, "o": o, "y": y}, init=lem.init.from_labels(z))
    plain, moved = fit.model["y"].cases
    assert plain.coefficients.ravel() == pytest.approx([-1.0, 0.0], abs=0.1)
    assert moved.coefficients.ravel() == pytest.approx([2.0], abs=0.1)


@pytest.mark.parametrize(
    ("dist", "data", "message"),
    [
        (
            lem.PoissonRegression(offset="o"),
            {"o": np.ones((4, 2))},
            "Node 'y': its covariates must have 1 column 'o', its offset, because .* got 2. Pass",
        ),
        (
            lem.LinearGaussian(offset="o"),
            {"o": np.ones((4, 2))},
            r"data\['y'\] must have 2 columns because its offset 'o' has as many, got shape \(4,\)",
        ),
        (
            lem.LinearGaussian(offset="o", covariance=np.eye(2)),
            {"y": np.eye(4)[:, :2]},
            "must have 2 columns 'o', its offset, because y has as many, got 1",
        ),
        (
            lem.LinearGaussian(offset="o"),
            {"o": [1.0, 2.0, 4.0, 4.0]},
            "must vary in every column, less its offset 'o', because",
        ),
        (
            lem.Softmax(3, offset="o"),
            {"o": np.ones((4, 2))},
            "must have 3 columns 'o', its offset, because there is one for each state, the first",
        ),
        (lem.Softmax(offset="o"), {}, "must have 2 columns 'o' or more, its offset, .* got 1"),
        (
            lem.Logistic(offset="o"),
            {"o": [1.0, np.nan, 0.0, 0.0], "y": [0, 1, 1, 0]},
            r"data\['o'\] must be known and finite in every row .* row 1",
        ),
        (
            lem.Logistic(offset="e"),
            {},
            "its covariates must be 'e' because Logistic has offset='e'",
        ),
    ],
)
def test_offsets_that_do_not_fit_are_refused(dist: Any, data: dict[str, Any], message: str) -> None:
    whole = {"u": [0.0, 1.0, 2.0, 5.0], "o": [0.0, 0.0, 1.0, 1.0], "y": [1.0, 2.0, 4.0, 4.0]}
    with pytest.raises(lem.DataError, match=message):
        lem.fit(_beside(dist), {**whole, **data})


@pytest.mark.parametrize(
    "make", [lem.LinearGaussian, lem.Logistic, lem.Softmax, lem.PoissonRegression]
)
def test_an_offset_is_the_name_of_a_covariate(make: Any) -> None:
    with pytest.raises(lem.ModelError, match=r"offset must be the name .* got 1\.5\."):
        make(offset=1.5)
    with pytest.raises(lem.ModelError, match="offset='o' must be a covariate of its node"):
        make(offset="o").fit(np.ones((9, 3)), np.ones(9))


# -- at the edges of what a likelihood allows ------------------------------------------------------


def _never_falls(model: lem.Model, data: Any, **options: Any) -> lem.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.DegenerateWarning)
        fit = lem.fit(model, data, seed=0, **options)
    objective = fit.trace["objective"]
    assert np.all(np.diff(objective) >= -1e-9 * (1 + np.abs(objective[1:])))
    return fit


@pytest.mark.parametrize("dist", [lem.StudentT(), lem.StudentT(df=3), lem.StudentT(df=1)], ids=repr)
def test_a_student_t_that_collapses_ends_at_its_floor(dist: lem.Distribution) -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    x[10:] = x[0]
    fit = _never_falls(lem.Model([lem.observed("x", dist)]), x)
    assert fit.status is lem.Status.DEGENERATE


@pytest.mark.parametrize("a", [50.0, 1e7, 1e10])
def test_a_prior_near_certainty_leaves_room_for_failures(a: float) -> None:
    x = np.random.default_rng(0).integers(0, 2, 40)
    for dist in (lem.Bernoulli, lem.Geometric):
        node = lem.observed("x", dist(prior=lem.Beta(a, 1.0)), given=Z)
        fit = _never_falls(lem.Model([Z, node]), x, restarts=3)
        assert np.isfinite(fit.log_likelihood)


@pytest.mark.parametrize("p", [2, 8])
def test_regressions_separated_within_a_state_do_not_fall(p: int) -> None:
    rng = np.random.default_rng(2)
    data = {"u": rng.normal(size=(40, p)), "y": rng.integers(0, 3, 40)}
    _never_falls(_mixture(lem.Softmax(3)), data, restarts=3)
    _never_falls(_mixture(lem.Logistic()), {**data, "y": data["y"] % 2}, restarts=3)


@pytest.mark.parametrize("size", [1e7, 1e12])
def test_large_counts_lose_no_digits(size: float) -> None:
    rng = np.random.default_rng(0)
    u = rng.normal(size=40)
    y = rng.poisson(np.exp(0.3 * u) * size)
    fit = _never_falls(_mixture(lem.PoissonRegression()), {"u": u, "y": y}, restarts=3)
    assert fit.model["y"].coefficients == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lem.PoissonRegression(offset=U), "offset must be the name of a covariate"),
        (lambda: lem.Gaussian("full"), "must be a number or an array of numbers, got 'full'"),
        (lambda: lem.NormalInverseGamma(0.0, 1e300, 1.0, 1.0), "weight must be a number from 0"),
        (lambda: lem.NormalInverseGamma("a", 1.0, 1.0, 1.0), "must be positive numbers"),
        (
            lambda: lem.NormalInverseWishart([0.0], 1.0, np.inf, [[1.0]]),
            "df must be a number from 0",
        ),
        (lambda: lem.Poisson(prior=lem.Gamma(1e300, 1.0)), "shape must be below 1e\\+12"),
    ],
)
def test_what_no_model_can_have_is_refused_at_once(make: Any, message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        make()


def test_a_held_covariance_has_the_dimension_of_the_data() -> None:
    model = lem.Model([lem.observed("x", lem.Gaussian(covariance=np.eye(3)))])
    with pytest.raises(lem.DataError, match="must have 3 columns"):
        lem.fit(model, np.random.default_rng(0).normal(size=(9, 2)))


def test_a_covariate_whose_squares_would_overflow_is_refused() -> None:
    model = lem.Model([U, lem.observed("y", lem.LinearGaussian(), given=U)])
    with pytest.raises(lem.DataError, match="data\\['u'\\] must be below 1e\\+150"):
        lem.fit(model, {"u": [1.0, 2.0, 1e300], "y": [1.0, 2.0, 3.0]})


# -- faults that a fit must name -------------------------------------------------------------------

REGRESSIONS = [
    lem.LinearGaussian(),
    lem.PoissonRegression(),
    lem.GammaRegression(),
    lem.Logistic(trials=3),
    lem.Softmax(levels=[1, 2, 3]),
]
every_family = pytest.mark.parametrize("dist", REGRESSIONS, ids=lambda dist: type(dist).__name__)


def _positive(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Values that any of the families takes."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=n)
    return u, np.clip(rng.poisson(np.exp(0.5 + 0.3 * u)), 1, 3)


@every_family
def test_of_collinear_coefficients_the_smallest_are_found_and_said(dist: Any) -> None:
    u, y = _positive()
    model = _beside(dist, U)
    alone = lem.fit(model, {"u": u, "y": y})
    assert not alone.events
    fit = lem.fit(model, {"u": np.column_stack([u, 3 - 2 * u, np.full(60, 7.0)]), "y": y})
    assert fit.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-9)
    # In units of the spread the slope is shared: half of it each, and none for a constant.
    slope = alone.model["y"].coefficients
    expected = np.concatenate([slope / 2, -slope / 4, 0 * slope], axis=-1)
    np.testing.assert_allclose(fit.model["y"].coefficients, expected, atol=1e-7)
    assert any("covariates of state 0 are collinear" in event for event in fit.events)


@pytest.mark.parametrize("dist", REGRESSIONS[1:4], ids=lambda dist: type(dist).__name__)
def test_collinear_covariates_of_a_state_do_not_lower_the_objective(dist: Any) -> None:
    u, y = _positive(40)
    data = {"u": np.column_stack([u, -u, u > 0.5]), "y": y}
    _never_falls(_mixture(dist), data, restarts=1, tol=1e-3)


@every_family
@pytest.mark.parametrize("scale", [1e-149, 1e-151, 1e-300, 0.0])
def test_a_covariate_too_small_to_square_is_as_good_as_constant(dist: Any, scale: float) -> None:
    u, y = _positive()
    fit = lem.fit(_beside(dist, U), {"u": np.column_stack([u * scale, u]), "y": y})
    alone = lem.fit(_beside(dist, U), {"u": u, "y": y})
    assert fit.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-9)
    assert np.isfinite(fit.model["y"].coefficients).all()
    assert any("collinear" in event for event in fit.events)


@pytest.mark.parametrize(
    ("dist", "data", "message"),
    [
        (lem.Softmax(3), {}, r"must be integers from 0 to 2 because Node 'y' is Softmax\(3\), got"),
        (lem.Softmax(), {"y": [0, 1, 2, 10**6]}, r"or say Softmax\(n_states\)\."),
        (
            lem.Softmax(2, [0.0, 1.0], [[0.0], [1.0]]),
            {"y": ["a", "b", "a", "b"]},
            r"no labels, got 'a'\. .* or give Softmax its levels",
        ),
        (lem.Softmax(2), {"y": ["a", "b", "c", "b"]}, "must have at most 2 different levels"),
    ],
)
def test_a_softmax_is_called_by_its_name(dist: Any, data: dict[str, Any], message: str) -> None:
    whole = {"u": [0.0, 1.0, 2.0, 5.0], "y": [1, 2, 4, 4], **data}
    with pytest.raises(lem.DataError, match=message):
        lem.fit(_beside(dist, U), whole)


def test_a_softmax_starts_from_its_own_levels() -> None:
    data = {"u": [0.0, 1.0, 2.0, 5.0], "y": ["a", "b", "b", "a"]}
    fit = lem.fit(_beside(lem.Softmax(), U), data)
    other = _beside(lem.Softmax(levels=["b", "a"]), U)
    with pytest.raises(lem.ModelError, match="Node 'y' must start from the levels"):
        lem.fit(other, data, init=fit.model)
    for make in (lambda: lem.Softmax(2.5), lambda: lem.Softmax(2, levels="abc")):
        with pytest.raises(lem.ModelError, match=r"^Softmax: (n_states|levels) must be"):
            make()


def test_equal_states_get_a_remedy_that_works() -> None:
    u, y = _positive()
    model = _mixture(lem.PoissonRegression())
    alike = {
        "z": lem.Categorical(probs=[0.5, 0.5]),
        "y": lem.PoissonRegression([0, 0.0], [[1.0]] * 2),
    }
    with pytest.raises(lem.ModelError, match=r"init\.random, lem\.init\.from_labels\(\.\.\.\) or"):
        lem.fit(model, {"u": u, "y": y}, init=model.replace(alike))
    with pytest.raises(lem.ModelError, match="One state may be all that these rows show: declare"):
        lem.fit(model, {"u": u, "y": np.ones(60)}, seed=0)
    mixture = lem.models.gaussian_mixture(2)
    start = lem.fit(mixture, np.column_stack([u, y]), seed=0, restarts=1).model
    x = lem.Gaussian(start["x"].mean[[0, 0]], start["x"].covariance[[0, 0]])
    with pytest.raises(lem.ModelError, match=r"init\.random, lem\.init\.plus_plus or"):
        lem.fit(mixture, np.column_stack([u, y]), init=start.replace({"x": x}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lem.PoissonRegression(0.0, [1.0]), "must have 2 columns, the last for y, got shape"),
        (lem.LinearGaussian([0.0], [[1.0]], [[1.0]]), "rows of 1 covariate and 1 value, got shape"),
        (lem.Softmax(2, [0.0, 1.0], [[0.0], [1.0]]), "must have 1 covariate, got shape"),
    ],
)
def test_one_of_a_thing_is_not_called_several(value: Any, message: str) -> None:
    with pytest.raises(lem.DataError, match=message):
        value.log_prob(np.ones((9, 4)))
