"""Missing entries are summed or integrated out exactly, in every family and every graph."""

from __future__ import annotations

import math
import warnings
from typing import Any

import attrs
import numpy as np
import pandas as pd
import polars as pl
import pytest
from oracle import Factor, Oracle
from registry import PROBABILISTIC, Case, Rayleigh, describe
from scipy import optimize, stats

import latentem as lem
from latentem.distributions.covariance import Diagonal
from latentem.distributions.reference import Reference
from latentem.errors import Unsuitable
from latentem.kernels import compiled
from latentem.testing import check_model

needs_compiler = pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
STRUCTURES = [(c, s) for c in ("full", "diagonal", "spherical") for s in (False, True)]


def _with_holes(case: Case, share: float = 0.25, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    data = {}
    for name, column in case.data.items():
        holes = rng.random(column.shape) < share
        holes[:3] = False
        data[name] = np.where(holes, np.nan, column)
    return data


def _reduced(truth: Oracle, row: dict[str, Any], model: lem.Model) -> tuple[Oracle, dict[str, Any]]:
    """The oracle of what one row has: a missing value summed over, or its factor left out."""
    latents, factors, present = dict(truth.latents), dict(truth.factors), {}
    parents = {p for factor in factors.values() for p in factor.parents}
    for name, value in row.items():
        gaps = np.isnan(value)
        if not np.any(gaps):
            discrete = model.by_name[name].n_states is not None
            present[name] = int(value) if discrete else value
        elif name in parents:
            latents[name] = model.by_name[name].n_states
        elif np.all(gaps):
            del factors[name]
        else:
            seen = ~gaps
            mean, covariance = model[name].mean, model[name].covariance

            def marginal(x: Any, *z: int, m: Any = mean, c: Any = covariance, s: Any = seen) -> Any:
                return stats.multivariate_normal.logpdf(x[s], m[z][s], c[z][np.ix_(s, s)])

            factors[name] = Factor(marginal, factors[name].parents)
            present[name] = value
    return Oracle(latents, factors), present


def _log_evidence(model: lem.Model, data: dict[str, np.ndarray]) -> np.ndarray:
    n = len(next(iter(data.values())))
    truth = describe(model)
    found = []
    for i in range(n):
        oracle, row = _reduced(truth, {name: column[i] for name, column in data.items()}, model)
        found.append(oracle.log_evidence(row))
    return np.array(found)


def _fit(model: lem.Model, data: Any, **arguments: Any) -> lem.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        return lem.fit(
            model, data, **{"restarts": 1, "seed": 0, "max_iter": 8, "tol": 0.0} | arguments
        )


# -- the law, in every graph -----------------------------------------------------------------------


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_evidence_and_posterior_equal_the_oracles(case: Case) -> None:
    data = _with_holes(case)
    fit = _fit(case.model, data, max_iter=3)
    expected = _log_evidence(fit.model, data)
    np.testing.assert_allclose(fit.score_samples(), expected, rtol=1e-10, atol=1e-10)
    assert fit.log_likelihood == pytest.approx(math.fsum(expected), rel=1e-11)
    posterior = fit.posterior()
    np.testing.assert_allclose(posterior.log_evidence, expected, rtol=1e-10, atol=1e-10)
    truth = describe(fit.model)
    for i in range(0, case.n, 7):
        oracle, row = _reduced(truth, {n: c[i] for n, c in data.items()}, fit.model)
        for name in truth.latents:
            np.testing.assert_allclose(
                posterior.marginal(name)[i], oracle.marginal(row, name), atol=1e-10
            )
    few = {name: column[5:9] for name, column in data.items()}
    np.testing.assert_allclose(fit.score_samples(few), expected[5:9], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_the_objective_never_falls_and_equals_q_plus_entropy(case: Case) -> None:
    data = _with_holes(case, seed=1)
    fit = _fit(case.model, data, max_iter=25)
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[:-1])).all()
    posterior = lem.e_step(fit.model, data)
    q = lem.expected_log_joint(fit.model, data, posterior)
    assert q.total + posterior.entropy == pytest.approx(fit.log_likelihood, rel=1e-10)
    new = lem.m_step(fit.model, data, posterior)
    assert q(new) >= q.total - 1e-9 * abs(q.total)
    assert lem.log_likelihood(new, data) >= fit.log_likelihood - 1e-9 * abs(fit.log_likelihood)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_a_maximum_with_holes_is_one(case: Case) -> None:
    data = _with_holes(case, share=0.1, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = lem.fit(case.model, data, restarts=1, seed=0, tol=1e-12, max_iter=3000)
    again = lem.log_likelihood(lem.m_step(fit.model, data, lem.e_step(fit.model, data)), data)
    assert again == pytest.approx(fit.log_likelihood, abs=1e-6)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_rows_of_nothing_but_gaps_contribute_nothing(case: Case) -> None:
    start = _fit(case.model, case.data, max_iter=1).model
    empty = {name: np.full((5, *c.shape[1:]), np.nan) for name, c in case.data.items()}
    data = {n: np.concatenate([empty[n][:2], c, empty[n]]) for n, c in case.data.items()}
    plain = {"accelerate": None}  # what an observed parent counts as changes the length of a leap
    with_rows, without = _fit(start, data, **plain), _fit(start, case.data, **plain)
    np.testing.assert_allclose(
        with_rows.trace["objective"], without.trace["objective"], rtol=1e-9, atol=1e-9
    )
    for node in case.model.nodes:
        for name, array in without.model[node.name].parameters.items():
            found = with_rows.model[node.name].parameters[name]
            np.testing.assert_allclose(found, array, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(with_rows.score_samples()[[0, 1, -1]], 0.0, atol=1e-12)
    assert with_rows.bic == pytest.approx(without.bic) if case.name != "rayleigh mixture" else True


@attrs.frozen(eq=False, repr=False)
class _OfLogarithms(lem.Gaussian):
    def check(self, value: Any) -> Any:
        if not (value > 0).all():
            raise Unsuitable("be positive", f"{value.min()}", "Drop it.")
        return super().check(np.log(value))


def test_a_subclass_checks_values_with_gaps_its_own_way() -> None:
    x = np.exp(_correlated(80))
    x[::7, 1] = np.nan
    own = lem.fit(lem.Model([lem.observed("x", _OfLogarithms())]), x)
    gaussian = lem.fit(lem.Model([lem.observed("x", lem.Gaussian())]), np.log(x))
    np.testing.assert_allclose(own.model["x"].mean, gaussian.model["x"].mean, rtol=1e-6)
    x[3, 0] = -1.0
    with pytest.raises(lem.DataError, match="must be positive"):
        lem.fit(lem.Model([lem.observed("x", _OfLogarithms())]), x)


GAPPED = {
    "full": lem.Gaussian(),
    "diagonal": lem.Gaussian(covariance="diagonal"),
    "shared": lem.Gaussian(shared=True),
    "t": lem.StudentT(df=4.0),
    "dirichlet": lem.Dirichlet(),
    "product": lem.Product([(lem.Gaussian(), 2), lem.Normal()]),
    "switch": lem.Switch([lem.Gaussian(), lem.Gaussian(covariance="diagonal")]),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", GAPPED)
def test_empty_rows_among_rows_with_gaps_say_nothing_and_have_the_prior(
    name: str, weighted: bool
) -> None:
    rng = np.random.default_rng(3)
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", GAPPED[name], given=z)])
    x = _correlated(160) + 4.0 * (np.arange(160) % 2)[:, None]
    if name == "dirichlet":
        x = rng.dirichlet([2.0, 5.0, 3.0], size=160)
    x[rng.random(x.shape) < 0.2] = np.nan
    x = x[~np.isnan(x).all(axis=1)]
    weights = 1.0 + rng.integers(2, size=len(x)) if weighted else np.ones(len(x))
    start = lem.initialize(model, x, init=lem.init.from_labels(np.arange(len(x)) % 2))
    places = [0, 0, 60, len(x)]
    data, more = np.insert(x, places, np.nan, axis=0), np.insert(weights, places, 3.0)
    mine = _fit(start, data, weights=more if weighted else None, max_iter=8)
    theirs = _fit(start, x, weights=weights if weighted else None, max_iter=8)
    np.testing.assert_allclose(mine.trace["objective"], theirs.trace["objective"], rtol=1e-10)
    empty = np.isnan(data).all(axis=1)
    np.testing.assert_allclose(mine.score_samples()[empty], 0.0, atol=1e-12)
    prior = mine.model["z"].probs
    posterior, other = (fit.posterior().marginal("z") for fit in (mine, theirs))
    np.testing.assert_allclose(posterior[empty], np.tile(prior, (4, 1)), rtol=1e-10)
    np.testing.assert_allclose(posterior[~empty], other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("use", [False, pytest.param(True, marks=needs_compiler)])
@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_no_pass_sees_rows_of_nothing_but_gaps_nor_is_slowed_by_them(
    covariance: str, use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "is_loaded", lambda: use)
    x = _correlated(160)
    x[::5, 1] = np.nan
    x[[0, 60, 159]] = np.nan
    plan = lem.explain_plan(lem.models.gaussian_mixture(2, covariance=covariance), x)
    assert plan.n_distinct == 157
    assert (plan.memory == 8 * plan.block * plan.n_threads) == use  # log p(x) alone
    assert ("one compiled pass" in plan.posterior) == use


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_no_hole_changes_nothing(case: Case) -> None:
    floats = {name: column.astype(float) for name, column in case.data.items()}
    masked = {name: np.ma.masked_invalid(column) for name, column in floats.items()}
    plain, other = _fit(case.model, case.data), _fit(case.model, masked)
    assert plain.log_likelihood == other.log_likelihood


# -- Gaussians -------------------------------------------------------------------------------------


def _correlated(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    root = np.array([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.4, 1.2]])
    return rng.normal(size=(n, 3)) @ root.T + [5.0, -3.0, 0.0]


def test_one_gaussian_equals_direct_maximisation_of_what_is_observed() -> None:
    x = _correlated(60)
    x[np.random.default_rng(1).random(x.shape) < 0.25] = np.nan
    fit = lem.fit(lem.Model([lem.observed("x", lem.Gaussian())]), x, tol=1e-13)
    lower = np.tril_indices(3)

    def minus(theta: np.ndarray) -> float:
        root = np.zeros((3, 3))
        root[lower] = theta[3:]
        covariance = root @ root.T
        total = 0.0
        for row in x:
            seen = ~np.isnan(row)
            if seen.any():
                part = covariance[np.ix_(seen, seen)]
                total -= stats.multivariate_normal.logpdf(row[seen], theta[:3][seen], part)
        return total

    start = np.concatenate([np.nanmean(x, axis=0), np.eye(3)[lower]])
    found = optimize.minimize(minus, start, method="BFGS", options={"gtol": 1e-9})
    root = np.zeros((3, 3))
    root[lower] = found.x[3:]
    assert fit.log_likelihood == pytest.approx(-found.fun, abs=1e-8)
    np.testing.assert_allclose(fit.model["x"].mean, found.x[:3], atol=1e-6)
    np.testing.assert_allclose(fit.model["x"].covariance, root @ root.T, atol=1e-6)


# Murray, discussion of Dempster, Laird and Rubin, JRSS B 39, 1977: correlations of +-1/2 with
# variances 8/3 are maxima, and correlation 0 with variances 5/2 is a saddle.
MURRAY = np.array(
    [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    + [[2, np.nan]] * 2 + [[-2, np.nan]] * 2 + [[np.nan, 2]] * 2 + [[np.nan, -2]] * 2
)  # fmt: skip


def test_murrays_two_maxima_and_the_saddle() -> None:
    model = lem.Model([lem.observed("x", lem.Gaussian())])
    correlations = []
    for sign in (1, -1):
        tilted = lem.Gaussian(mean=[0.0, 0.0], covariance=[[2.5, 0.3 * sign], [0.3 * sign, 2.5]])
        fit = lem.fit(model, MURRAY, init=lem.Model([lem.observed("x", tilted)]), tol=1e-13)
        assert fit.status is lem.Status.CONVERGED
        np.testing.assert_allclose(fit.model["x"].mean, 0.0, atol=1e-6)
        np.testing.assert_allclose(np.diag(fit.model["x"].covariance), 8 / 3, atol=1e-5)
        correlations.append(fit.model["x"].covariance[0, 1] / (8 / 3))
        best = fit.log_likelihood
    np.testing.assert_allclose(correlations, [0.5, -0.5], atol=1e-5)
    saddle = lem.Model([lem.observed("x", lem.Gaussian([0.0, 0.0], 2.5 * np.eye(2)))])
    assert lem.log_likelihood(saddle, MURRAY) < best - 0.05


def test_murrays_saddle_is_not_reported_from_a_generic_start() -> None:
    model = lem.Model([lem.observed("x", lem.Gaussian())])
    for seed in range(10):
        fit = lem.fit(model, MURRAY, seed=seed)
        correlation = fit.model["x"].covariance[0, 1] / fit.model["x"].covariance[0, 0]
        assert abs(correlation) == pytest.approx(0.5, abs=1e-5)


def test_two_maxima_of_one_height_are_reported() -> None:
    model = lem.Model([lem.observed("x", lem.Gaussian())])
    fit = lem.fit(model, MURRAY, seed=0, restarts=10)
    assert any("not all with the same parameters" in event for event in fit.events)


def test_starts_whose_states_have_other_names_are_one_solution() -> None:
    x = np.random.default_rng(0).normal(size=80) + np.repeat([0.0, 9.0], 40)
    z = lem.latent("z", lem.Categorical(2))
    fit = lem.fit(lem.Model([z, lem.observed("x", lem.Normal(), given=z)]), x, seed=0)
    assert fit.agreement > 2
    assert fit.events == ()


def test_starts_whose_parts_have_other_names_in_each_group_are_one_solution() -> None:
    means = np.repeat([0.0, 9.0, 40.0, 52.0], 30)
    x = np.random.default_rng(0).normal(size=120) + means
    group = lem.latent("group", lem.Categorical(2))
    part = lem.latent("part", lem.Categorical(2), given=group)
    model = lem.Model([group, part, lem.observed("x", lem.Normal(), given=[group, part])])
    fit = lem.fit(model, {"x": x, "group": (means > 20).astype(int)}, seed=0)
    assert fit.agreement > 4  # there are two pairs of names
    assert fit.events == ()


@pytest.mark.parametrize(("covariance", "shared"), STRUCTURES)
def test_tight_states_keep_their_digits(covariance: str, shared: bool) -> None:
    rng = np.random.default_rng(0)
    z = np.repeat([0, 1], 60)
    offsets = rng.normal(size=(120, 3))
    holes = rng.random((120, 3)) < 0.2
    shifted = {}
    for spread in (1.0, 1e-6):
        x = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 1.0]])[z] + spread * offsets
        x[holes] = np.nan
        model = lem.models.gaussian_mixture(2, covariance=covariance, shared=shared)
        # States by their labels, so that both spreads have the same answer but for the scale.
        fit = lem.fit(model, {"x": x, "z": z}, tol=1e-13)
        shifted[spread] = fit.model["x"].covariance / spread**2
    np.testing.assert_allclose(shifted[1e-6], shifted[1.0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_units_and_origin_change_nothing(scale: float, shift: float) -> None:
    x = _correlated(80)
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    plain = _fit(lem.models.gaussian_mixture(2), x, max_iter=10)
    moved = _fit(lem.models.gaussian_mixture(2), scale * (x + shift), max_iter=10)
    entries = int((~np.isnan(x)).sum())
    assert moved.log_likelihood == pytest.approx(
        plain.log_likelihood - entries * math.log(scale), abs=1e-5
    )
    np.testing.assert_allclose(
        moved.posterior().marginal("z"), plain.posterior().marginal("z"), atol=1e-6
    )


def test_many_columns_and_every_row_its_own_pattern() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 70))
    x[:, 1:] += 0.8 * x[:, :1]
    holed = np.where(rng.random(x.shape) < 0.3, np.nan, x)
    fit = _fit(lem.Model([lem.observed("x", lem.Gaussian())]), holed, max_iter=15)
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[:-1])).all()
    mean, covariance = fit.model["x"].mean, fit.model["x"].covariance
    for i in (0, 10, 299):
        seen = ~np.isnan(holed[i])
        expected = stats.multivariate_normal.logpdf(
            holed[i, seen], mean[seen], covariance[np.ix_(seen, seen)]
        )
        assert fit.score_samples()[i] == pytest.approx(expected, rel=1e-9)


# -- what comes in ---------------------------------------------------------------------------------


def test_every_way_to_say_missing_gives_the_same_fit() -> None:
    case = next(c for c in PROBABILISTIC if c.name == "mixed table")
    nodes = [node for node in case.model.nodes if node.name != "x"]
    model = lem.Model(nodes)
    data = {name: column for name, column in _with_holes(case).items() if name != "x"}
    as_none = {n: [None if np.isnan(v) else v for v in c] for n, c in data.items()}
    masked = {n: np.ma.masked_invalid(c) for n, c in data.items()}
    nullable = pd.DataFrame({n: pd.array(c, dtype="Float64") for n, c in as_none.items()})
    integers = nullable.astype({"count": "Int64", "level": "Int64"})
    ways = [data, as_none, masked, pd.DataFrame(data), nullable, integers, pl.DataFrame(as_none)]
    found = [_fit(model, way).log_likelihood for way in ways]
    assert len(set(found)) == 1, found


def test_a_column_without_any_entry_is_refused() -> None:
    z = lem.latent("z", lem.Categorical(2))
    for dist in (lem.Poisson(), lem.Normal(), lem.Categorical(3), Rayleigh()):
        model = lem.Model([z, lem.observed("x", dist, given=z)])
        with pytest.raises(lem.DataError, match=r"data\['x'\] must have an observed entry.*got"):
            lem.fit(model, np.full(20, np.nan))
    x = np.stack([np.arange(20.0), np.full(20, np.nan)], axis=1)
    with pytest.raises(lem.DataError, match=r"data\['x'\] must .* got none \(column 1\)\."):
        lem.fit(lem.models.gaussian_mixture(2), x)


@attrs.frozen(eq=False)
class Pair(lem.Distribution):
    """A vector plug-in, which cannot leave out a part."""

    mean: np.ndarray | None = None

    def log_prob(self, value: np.ndarray) -> np.ndarray:
        square = ((value[:, None, :] - self.mean) ** 2).sum(-1)
        return -0.5 * square - math.log(2 * math.pi)

    def fit(self, value: np.ndarray, weights: np.ndarray) -> Pair:
        return Pair(weights.T @ value / weights.sum(0)[:, None])


def test_a_plug_in_of_vectors_takes_whole_rows_only() -> None:
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", Pair(), given=z)])
    x = np.random.default_rng(0).normal(size=(30, 2))
    x[4] = np.nan
    assert _fit(model, x).score_samples()[4] == pytest.approx(0.0, abs=1e-12)
    x[7, 1] = np.nan
    with pytest.raises(lem.DataError, match=r"wholly present or wholly missing.*row 7.*Gaussian"):
        lem.fit(model, x)


def test_row_numbers_and_weights_are_those_given() -> None:
    x = _correlated(50)
    x[np.random.default_rng(1).random(x.shape) < 0.3] = np.nan
    weights = np.random.default_rng(2).integers(0, 4, size=50)
    weights[np.isnan(x).all(axis=1)] = 0  # such rows say nothing
    start = lem.initialize(lem.models.gaussian_mixture(2), x, seed=0)
    weighted = _fit(start, x, weights=weights)
    repeated = _fit(start, np.repeat(x, weights, axis=0))
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-11)
    np.testing.assert_array_equal(weighted.posterior().row_weights, weights)
    again = lem.m_step(start, x, lem.e_step(start, x, weights=weights))
    one = _fit(start, x, weights=weights, max_iter=1).model
    np.testing.assert_allclose(again["x"].mean, one["x"].mean, rtol=1e-12)
    labels = np.arange(50) % 2
    begun = lem.initialize(
        lem.models.gaussian_mixture(2), x, init=lem.init.from_labels(labels), seed=0
    )
    table = lem.initialize(
        lem.models.gaussian_mixture(2), x, init=lem.init.from_posterior(np.eye(2)[labels]), seed=0
    )
    complete = lem.m_step(begun, x, lem.e_step(begun, {"x": x, "z": labels}))
    np.testing.assert_allclose(begun["x"].mean, table["x"].mean, rtol=1e-12)
    np.testing.assert_allclose(complete["z"].probs, [0.5, 0.5])


def test_the_laws_of_a_model_are_checked_on_complete_data() -> None:
    case = next(c for c in PROBABILISTIC if c.name == "gaussian mixture, full")
    with pytest.raises(lem.DataError, match=r"data must be complete for check_model, got .+\. .+"):
        check_model(case.model, _with_holes(case))


def test_new_rows_are_read_whatever_other_rows_there_are() -> None:
    x = _correlated(120)
    x[60:] += 4.0
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    fit = lem.fit(lem.models.gaussian_mixture(2), x, seed=0)
    rows = np.array([[1.0, np.nan, np.nan], [np.nan, 2.0, 1.0], [np.nan] * 3])
    together = fit.score_samples(rows)
    for row, expected in zip(rows, together, strict=True):
        assert fit.score_samples(row[None])[0] == pytest.approx(expected, rel=1e-12)
    assert together[2] == pytest.approx(0.0, abs=1e-15)
    np.testing.assert_allclose(
        fit.posterior(rows[2:]).marginal("z")[0], fit.model["z"].probs, rtol=1e-12
    )
    assert np.isfinite(fit.impute(rows[:1])["x"]).all()
    z = lem.latent("z", lem.Categorical(probs=[0.3, 0.7]))
    c = lem.observed("c", lem.Poisson(rate=[1.0, 5.0]), given=z)
    w = lem.observed("w", lem.Normal(mean=[0.0, 1.0], variance=[1.0, 1.0]), given=z)
    known = lem.Model([z, c, w])
    only = lem.Model([z, w])
    expected = lem.e_step(only, {"w": [0.5]}).log_evidence
    np.testing.assert_allclose(lem.e_step(known, {"c": [None], "w": [0.5]}).log_evidence, expected)


def test_rows_without_weight_change_nothing_where_there_are_gaps() -> None:
    x = _correlated(100)
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    more = np.concatenate([x, np.full((100, 3), 1e7)])
    weights = np.repeat([1.0, 0.0], 100)
    plain = lem.fit(lem.models.gaussian_mixture(2), x, seed=0)
    other = lem.fit(lem.models.gaussian_mixture(2), more, weights=weights, seed=0)
    assert other.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-3)
    x[:, 1] = np.nan
    x[-3:, 1] = 1.0
    with pytest.raises(lem.DataError, match=r"observed entry in every column, got none \(column 1"):
        lem.fit(lem.models.gaussian_mixture(2), x, weights=np.repeat([1.0, 0.0], [97, 3]))


def test_a_given_start_does_not_depend_on_the_seed() -> None:
    x = _correlated(80)
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    start = lem.init.from_labels(np.arange(80) % 2)
    found = {
        _fit(lem.models.gaussian_mixture(2), x, init=start, seed=s).objective for s in range(3)
    }
    assert len(found) == 1


def test_a_mean_of_counts_is_no_whole_number() -> None:
    y = np.random.default_rng(0).poisson(2.7, 100).astype(float)
    y[:10] = np.nan
    fit = lem.fit(lem.Model([lem.observed("y", lem.Poisson())]), y)
    np.testing.assert_allclose(fit.impute()["y"][:10], float(fit.model["y"].rate), rtol=1e-12)
    np.testing.assert_array_equal(fit.impute()["y"][10:], y[10:])
    assert fit.impute(draw=True, seed=0)["y"].dtype.kind == "i"


def test_align_and_bootstrap_where_a_parent_has_gaps() -> None:
    case = next(c for c in PROBABILISTIC if c.name == "observed parent")
    data = _with_holes(case, share=0.1)
    fit = lem.fit(case.model, data, seed=0, restarts=3)
    for alignment in (lem.align(fit, fit), lem.align(fit, fit, data)):
        assert list(alignment.permutations) == ["z"]
        np.testing.assert_array_equal(alignment.permutations["z"], [0, 1])
    assert len(fit.bootstrap(3, seed=0).models) >= 2
    assert list(fit.to_dataframe("responsibilities").columns) == ["z=0", "z=1"]


def test_a_few_entries_in_a_column_of_many_rows() -> None:
    x = np.random.default_rng(0).normal(size=(30_000, 2))
    x[:, 1] = np.nan
    x[[7, 20, 29_000], 1] = [1.0, 2.0, 3.0]
    model = lem.models.gaussian_mixture(2, covariance="diagonal", shared=True)
    for seed in range(4):  # starts are chosen on some of the rows
        assert math.isfinite(_fit(model, x, restarts=3, seed=seed, max_iter=1).log_likelihood)


@pytest.mark.parametrize("seed", [3, 8])
def test_states_that_collapse_do_not_make_the_objective_fall(seed: int) -> None:
    # More states than groups and many holes: some runs come to the floor, and the best goes on.
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(150, 6)) + 3 * rng.integers(3, size=150)[:, None]
    x[rng.random(x.shape) < 0.3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at the floor, or at the limit
        fit = lem.fit(lem.models.gaussian_mixture(4), x, seed=0, restarts=8, max_iter=600)
    assert fit.status is not lem.Status.DECREASED
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[1:])).all()


def test_each_column_is_measured_by_its_own_entries_and_their_weights() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(10_000, 4)) * [1.0, 1e-160, 1e150, 3.0] + [5.0, 0.0, 1e150, 0.0]
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:4096, 0] = np.nan  # no entry in the first rows
    X[:, 3] = np.nan  # and none at all
    weights = rng.integers(1, 4, len(X)).astype(float)
    found = Reference.of(X, Diagonal(), weights)
    assert found.centre[3] == found.spread[3] == 0.0
    for j in range(3):
        seen = ~np.isnan(X[:, j])
        alone = Reference.of(X[seen, j : j + 1], Diagonal(), weights[seen])
        assert found.spread[j] > 0
        for name in ("centre", "scale", "spread"):
            np.testing.assert_allclose(
                getattr(found, name)[j], getattr(alone, name)[0], rtol=1e-9, atol=1e-175
            )
