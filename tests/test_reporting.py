"""What is reported of fits: counts of parameters, tables, comparisons and selections."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from registry import MODELS, PROBABILISTIC, Case

import latentem as lem
from latentem.em.search import Search

# -- the number of free parameters, counted by hand ------------------------------------------------


def _mixture(dist: lem.Distribution, latent: lem.Distribution | None = None) -> lem.Model:
    z = lem.latent("z", latent or lem.Categorical(3))
    return lem.Model([z, lem.observed("x", dist, given=z)])


def _two_parents(*dists: lem.Distribution) -> lem.Model:
    a, b = lem.latent("a", lem.Categorical(2)), lem.latent("b", lem.Categorical(3))
    children = [lem.observed(f"x{i}", dist, given=[a, b]) for i, dist in enumerate(dists)]
    return lem.Model([a, b, *children])


def _chain() -> lem.Model:
    a = lem.latent("a", lem.Categorical(3))
    b = lem.latent("b", lem.Categorical(4), given=a)
    return lem.Model([a, b, lem.observed("x", lem.Poisson(), given=b)])


TABLE = [[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]
INFLATED = lem.Switch([lem.PointMass(0), lem.Poisson()])

# The data have three columns where a node is a vector.
COUNTS = [
    ("full covariances", lem.models.gaussian_mixture(4), 3 + 4 * 3 + 4 * 6),
    ("one full covariance", lem.models.gaussian_mixture(4, shared=True), 3 + 4 * 3 + 6),
    ("diagonal", lem.models.gaussian_mixture(4, "diagonal"), 3 + 4 * 3 + 4 * 3),
    ("one diagonal", lem.models.gaussian_mixture(4, "diagonal", shared=True), 3 + 4 * 3 + 3),
    ("spherical", lem.models.gaussian_mixture(4, "spherical"), 3 + 4 * 3 + 4),
    ("one spherical", lem.models.gaussian_mixture(4, "spherical", shared=True), 3 + 4 * 3 + 1),
    ("one state", lem.models.gaussian_mixture(1), 0 + 3 + 6),
    ("normals", _mixture(lem.Normal()), 2 + 3 + 3),
    ("normals of one variance", _mixture(lem.Normal(shared=True)), 2 + 3 + 1),
    ("bernoulli", _mixture(lem.Bernoulli()), 2 + 3),
    ("bernoulli latent", _mixture(lem.Poisson(), lem.Bernoulli()), 1 + 2),
    ("categorical", _mixture(lem.Categorical(5)), 2 + 3 * 4),
    ("fixed table", _mixture(lem.fixed(lem.Categorical(probs=TABLE))), 2 + 0),
    ("fixed latent", _mixture(lem.Poisson(), lem.fixed(lem.Categorical(probs=[0.5] * 2))), 0 + 2),
    ("zero inflation", _mixture(INFLATED, lem.Categorical(2)), 1 + 0 + 1),
    ("point mass", _mixture(lem.PointMass([0, 1, 2])), 2 + 0),
    ("two parents", _two_parents(lem.Poisson(), lem.Normal()), 1 + 2 + 2 * 3 + 2 * (2 * 3)),
    ("switch of two parents", _two_parents(lem.Switch([lem.PointMass(1), lem.Normal()])), 3 + 6),
    ("chain of latents", _chain(), 2 + 3 * 3 + 4),
    ("no latent", lem.Model([lem.observed("x", lem.Poisson())]), 1),
]  # fmt: skip


@pytest.mark.parametrize(("model", "expected"), [c[1:] for c in COUNTS], ids=[c[0] for c in COUNTS])
def test_number_of_free_parameters(model: lem.Model, expected: int) -> None:
    rng = np.random.default_rng(0)
    data = {}
    for node in model.observed:
        if isinstance(node.dist, lem.Gaussian):
            data[node.name] = rng.normal(size=(80, 3))
        elif isinstance(node.dist.free, lem.Categorical):
            data[node.name] = np.arange(80) % node.n_states
        elif isinstance(node.dist, lem.PointMass):
            data[node.name] = np.arange(80) % 3
        else:
            data[node.name] = rng.integers(0, 2, size=80)
    if isinstance(model.observed[0].dist, lem.Switch) and len(model.latents) == 2:
        data = {"x0": np.where(np.arange(80) < 20, 1.0, rng.normal(size=80))}
    theta = lem.initialize(model, data, seed=0)
    assert theta.n_parameters == expected


# -- entropy ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::latentem.ConvergenceWarning")
@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_entropy_is_that_of_the_posterior(case: Case) -> None:
    weights = np.arange(case.n) % 3
    fit = lem.fit(case.model, case.data, weights=weights, restarts=1, max_iter=5, seed=0)
    expected = fit.posterior().entropy
    assert fit.entropy == pytest.approx(expected, rel=1e-8, abs=1e-9 * abs(fit.objective))


def test_entropy_is_zero_under_hard_assignment(faithful: np.ndarray) -> None:
    for model in (lem.models.kmeans(2), lem.models.gaussian_mixture(2)):
        assert lem.fit(model, faithful, assign=lem.hard, seed=0).entropy == 0


# -- data frames -----------------------------------------------------------------------------------


def _short(case: Case, **options: Any) -> lem.Fit:
    assign = lem.hard if case.hard_only else lem.soft
    return lem.fit(
        case.model, case.data, assign=assign, restarts=1, max_iter=3, tol=0, seed=0, **options
    )


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_parameters_have_one_row_for_each_number(case: Case) -> None:
    fit = _short(case)
    frame = fit.to_dataframe()
    assert list(frame.columns) == ["node", "states", "parameter", "index", "value"]
    for name, dist in fit.model.distributions.items():
        values = [v for v in dist.parameters.values() if v is not None]
        shown = frame[frame["node"] == name]
        assert len(shown) == sum(value.size for value in values)
        together = np.concatenate([np.ravel(value) for value in values] or [[]])
        np.testing.assert_array_equal(np.sort(shown["value"]), np.sort(together))
    assert not frame.duplicated(["node", "states", "parameter", "index"]).any()


def test_parameters_say_where_they_stand(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0)
    error = np.array([[0.1, 0.2], [0.3, 0.4]])
    frame = fit.to_dataframe(standard_errors={"x": {"mean": error}})
    place = frame.set_index(["node", "states", "parameter", "index"])
    x = fit.model["x"]
    assert place.loc[("z", "", "probs", "1"), "value"] == fit.model["z"].probs[1]
    assert place.loc[("x", "z=1", "mean", "0"), "value"] == x.mean[1, 0]
    assert place.loc[("x", "z=0", "covariance", "0,1"), "value"] == x.covariance[0, 0, 1]
    assert place.loc[("x", "z=1", "mean", "0"), "standard_error"] == 0.3
    assert np.isnan(place.loc[("z", "", "probs", "1"), "standard_error"])


def test_parameters_of_a_switch_stand_at_their_states() -> None:
    (case,) = [case for case in MODELS if case.name == "switch with a second parent"]
    fit = _short(case)
    error = {"x": {"cases[1].rate": np.array([0.5, 0.7])}}
    frame = fit.to_dataframe("parameters", standard_errors=error)
    shown = frame[frame["node"] == "x"]
    assert shown["states"].tolist() == ["z=1, g=0", "z=1, g=1"]
    assert shown["parameter"].tolist() == ["rate", "rate"]
    assert shown["index"].tolist() == ["", ""]
    assert shown["value"].tolist() == fit.model["x"].cases[1].rate.tolist()
    assert shown["standard_error"].tolist() == [0.5, 0.7]


@pytest.mark.parametrize("backend", ["pandas", "polars"])
@pytest.mark.parametrize("case", MODELS, ids=str)
def test_responsibilities_are_columns_in_the_order_of_the_rows(case: Case, backend: str) -> None:
    fit = _short(case)
    frame = fit.to_dataframe("responsibilities", backend)
    names = [f"{v.name}={state}" for v in case.model.latents for state in range(v.n_states)]
    assert set(frame.columns) == set(names)
    assert len(frame) == case.n
    posterior = fit.posterior()
    for node in case.model.latents:
        columns = [frame[f"{node.name}={state}"].to_numpy() for state in range(node.n_states)]
        np.testing.assert_array_equal(np.stack(columns, axis=1), posterior.marginal(node.name))


def test_labels_stand_for_states(faithful: np.ndarray) -> None:
    kind = np.where(faithful[:, 0] > 3, "long", "short")
    day = np.array(["odd", "even"])[np.arange(272) % 2]
    z, d = lem.latent("z", lem.Categorical(2)), lem.observed("day", lem.Categorical(2))
    x = lem.observed("x", lem.Normal(), given=[z, d])
    known = np.where(np.arange(272) < 50, kind, None)
    fit = lem.fit(lem.Model([z, d, x]), {"x": faithful[:, 0], "z": known, "day": day}, seed=0)
    frame = fit.to_dataframe()
    means = frame[(frame["node"] == "x") & (frame["parameter"] == "mean")].set_index("states")
    expected = fit.model["x"].mean[list(fit.model["z"].levels).index("long")][0]
    assert means.loc["z=long, day=even", "value"] == expected
    assert list(fit.to_dataframe("responsibilities").columns) == ["z=long", "z=short"]
    assert "Categorical of long, short" in str(fit.summary())
    swapped = lem.permute_states(fit.model, {"z": [1, 0]})
    assert swapped["z"].levels == ("short", "long")


def test_trace_is_the_trace(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0)
    assert fit.to_dataframe("trace").equals(fit.trace.to_dataframe())


def test_other_frames_are_refused(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0)
    with pytest.raises(lem.ModelError, match=r"what must be 'parameters', .*, got 'posterior'"):
        fit.to_dataframe("posterior")
    with pytest.raises(lem.ModelError, match="backend must be one of"):
        fit.to_dataframe("parameters", "dask")


# -- the summary -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_summary_names_every_node_and_state(case: Case) -> None:
    fit = _short(case)
    text = str(fit.summary())
    for node in case.model.latents:
        assert f"{node}: " in text
        counts = fit.posterior().marginal(node.name).sum(axis=0)
        for count in counts:
            assert f"{count:.2f}" in text
            assert f"{count / case.n:.4f}" in text
    assert "…" not in text
    what = dict(fit.summary().numbers())
    assert what["rows"] == str(case.n)
    if not case.hard_only:
        assert what["log-likelihood, total in nats"] == f"{fit.log_likelihood:.6f}"
        assert float(what["entropy of the posterior, total in nats"]) == pytest.approx(
            fit.entropy, abs=1e-6
        )


def test_summary_of_weighted_rows_counts_weight(faithful: np.ndarray) -> None:
    weights = np.linspace(0.0, 2.0, len(faithful))
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, weights=weights / 2, seed=0)
    text = str(fit.summary())
    assert "expected weight" in text
    assert "total weight" in text
    for count in weights / 2 @ fit.posterior().marginal("z"):
        assert f"{count:.2f}" in text
        assert f"{count / weights.sum() * 2:.4f}" in text


def test_summary_prints_standard_errors_where_given(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0)
    assert "±" not in str(fit.summary())
    errors = {"x": {"mean": np.full((2, 2), 0.25)}, "z": {"probs": np.array([0.03, 0.04])}}
    text = str(fit.summary(standard_errors=errors))
    probs, mean = fit.model["z"].probs, fit.model["x"].mean
    assert f"[{probs[0]:.5g} ± 0.03, {probs[1]:.5g} ± 0.04]" in text
    assert f"[{mean[1, 0]:.5g} ± 0.25, {mean[1, 1]:.5g} ± 0.25]" in text


def test_summary_marks_what_is_fixed() -> None:
    (case,) = [case for case in MODELS if case.name == "fixed table"]
    text = str(_short(case).summary())
    assert "p(blood | mother, father): Categorical, fixed" in text
    assert "p(mother): Categorical, 2 free parameters" in text


def _with_priors(faithful: np.ndarray, **options: Any) -> lem.Fit:
    prior = lem.NormalInverseWishart(mean=[3.5, 70.0], weight=0.1, df=4, scale=np.diag([1.0, 50]))
    z = lem.latent("z", lem.Categorical(2, prior=lem.Dirichlet(3.0)))
    model = lem.Model([z, lem.observed("x", lem.Gaussian(prior=prior), given=z)])
    return lem.fit(model, faithful, seed=0, **options)


def test_summary_of_a_fit_with_priors_says_what_its_numbers_are(faithful: np.ndarray) -> None:
    fit = _with_priors(faithful)
    what = dict(fit.summary().numbers())
    assert what["estimates"].startswith("maximum a posteriori (MAP)")
    names = {
        "log-likelihood, total in nats": lem.log_likelihood(fit.model, faithful),
        "log prior of the parameters": sum(d.log_prior for d in fit.model.distributions.values()),
        "objective F, the sum of both in nats": fit.objective,
    }
    likelihood, prior, objective = (float(what[name]) for name in names)
    assert [likelihood, prior, objective] == pytest.approx(list(names.values()), abs=1e-5)
    assert likelihood + prior == pytest.approx(objective, abs=2e-6)
    assert prior != 0.0
    text = str(fit.summary())
    assert "(MAP)" in text
    assert all(name in text for name in names)
    assert f"{fit.objective:.6f} (their sum: MAP estimates)" in repr(fit)


def test_summary_without_priors_names_none(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0)
    assert not any("prior" in name or "MAP" in value for name, value in fit.summary().numbers())
    assert "MAP" not in repr(fit)


@pytest.mark.parametrize("assign", [lem.hard, lem.tempered(0.5)], ids=["hard", "tempered"])
def test_summary_adds_the_prior_to_the_objective_of_another_rule(
    faithful: np.ndarray, assign: Any
) -> None:
    fit = _with_priors(faithful, assign=assign)
    what = dict(fit.summary().numbers())
    assert float(what["log prior of the parameters"]) == pytest.approx(fit.log_prior, abs=1e-6)
    found = what["objective F under it, log prior included, total in nats"]
    assert float(found) == pytest.approx(fit.objective, abs=1e-6)
    q = fit.trace["q"][-1] + fit.log_prior
    entropy = 0.0 if assign is lem.hard else fit.entropy / 0.5
    assert float(found) == pytest.approx(q + entropy, rel=1e-9)
    assert "objective F, the sum of both in nats" not in what


def test_summary_of_prototypes_under_a_prior(faithful: np.ndarray) -> None:
    z = lem.latent("z", lem.Categorical(2, prior=lem.Dirichlet(3.0)))
    model = lem.Model([z, lem.observed("x", lem.Prototype(), given=z)])
    fit = lem.fit(model, faithful, assign=lem.hard, seed=0)
    what = dict(fit.summary().numbers())
    prior = float(what["log prior of the parameters"])
    assert prior == pytest.approx(fit.model["z"].log_prior, abs=1e-6)
    assert "distortion J, total" in what


# -- comparisons -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixtures(faithful: np.ndarray) -> dict[str, lem.Fit]:
    return {str(k): lem.fit(lem.models.gaussian_mixture(k), faithful, seed=0) for k in (1, 2, 3)}


def test_a_comparison_has_the_numbers_of_its_fits(mixtures: dict[str, lem.Fit]) -> None:
    comparison = lem.compare(mixtures)
    for backend in ("pandas", "polars"):
        frame = comparison.to_dataframe(backend)
        assert list(frame["name"]) == ["1", "2", "3"]
        assert set(frame["n"]) == {272}
        for name in ("log_likelihood", "n_parameters", "aic", "bic", "icl", "entropy"):
            expected = [getattr(fit, name) for fit in mixtures.values()]
            np.testing.assert_array_equal(frame[name].to_numpy(), expected)
    bic = np.array([fit.bic for fit in mixtures.values()])
    np.testing.assert_array_equal(frame["bic_difference"].to_numpy(), bic - bic.min())
    assert comparison.best == "2"


def test_a_comparison_prints_what_its_numbers_are(mixtures: dict[str, lem.Fit]) -> None:
    text = str(lem.compare(mixtures))
    for words in ("total nats", "smaller is better", "272 rows", "has the best BIC", "2 *"):
        assert words in text
    for fit in mixtures.values():
        for number in (fit.log_likelihood, fit.aic, fit.bic, fit.icl):
            assert f"{number:.2f}" in text
    assert "…" not in text
    assert "-0.00" not in text
    assert "has the best ICL" in str(lem.compare(mixtures, criterion="icl"))


def test_fits_to_other_data_are_refused(mixtures: dict[str, lem.Fit], faithful: np.ndarray) -> None:
    fewer = lem.fit(lem.models.gaussian_mixture(2), faithful[:200], seed=0)
    with pytest.raises(lem.DataError, match=r"same number of rows .* '2': 272 and 272.*200"):
        lem.compare({**mixtures, "fewer": fewer})
    heavier = lem.fit(lem.models.gaussian_mixture(2), faithful, weights=np.full(272, 2.0), seed=0)
    with pytest.raises(lem.DataError, match="272 and 544"):
        lem.compare({**mixtures, "heavier": heavier})


def test_prototypes_are_compared_by_distortion_only(
    mixtures: dict[str, lem.Fit], faithful: np.ndarray
) -> None:
    fits = {k: lem.fit(lem.models.kmeans(k), faithful, assign=lem.hard, seed=0) for k in (2, 3)}
    comparison = lem.compare(fits)
    frame = comparison.to_dataframe()
    assert frame["distortion"].tolist() == [fit.distortion for fit in fits.values()]
    assert not {"bic", "log_likelihood"} & set(frame.columns)
    assert "distortion J" in str(comparison)
    with pytest.raises(lem.ModelError, match="falls with every further one"):
        _ = comparison.best
    with pytest.raises(lem.ModelError, match="a distortion is no likelihood, got prototypes"):
        lem.compare({**mixtures, "k-means": fits[2]})


def test_what_cannot_be_compared_is_refused(mixtures: dict[str, lem.Fit]) -> None:
    with pytest.raises(lem.ModelError, match="at least one fit"):
        lem.compare({})
    with pytest.raises(lem.ModelError, match="must be given fits by name"):
        lem.compare({"model": mixtures["2"].model})  # type: ignore[dict-item]
    with pytest.raises(lem.ModelError, match="criterion must be 'aic', 'bic' or 'icl'"):
        lem.compare(mixtures, criterion="dic")


# -- selections ------------------------------------------------------------------------------------


def test_the_best_has_the_smallest_criterion(faithful: np.ndarray) -> None:
    for criterion in ("aic", "bic", "icl"):
        chosen = lem.select(
            lem.models.gaussian_mixture, faithful, range(1, 5), criterion=criterion, seed=0,
            restarts=4,
        )  # fmt: skip
        assert list(chosen.fits) == [1, 2, 3, 4]
        values = {k: getattr(fit, criterion) for k, fit in chosen.fits.items()}
        assert chosen.best_k == min(values, key=lambda k: values[k])
        assert chosen.best is chosen.fits[chosen.best_k]
        assert chosen.criterion == criterion
    assert not chosen.failed
    assert str(chosen) == str(chosen.comparison)


def test_one_state_is_the_closed_form(faithful: np.ndarray) -> None:
    chosen = lem.select(lem.models.gaussian_mixture, faithful, [1], seed=0)
    np.testing.assert_allclose(chosen.best.model["x"].mean[0], faithful.mean(axis=0))
    n, p = len(faithful), 5
    assert chosen.best.bic == pytest.approx(-2 * chosen.best.log_likelihood + p * math.log(n))


def test_k_need_not_be_a_number(faithful: np.ndarray) -> None:
    chosen = lem.select(
        lambda form: lem.models.gaussian_mixture(2, form), faithful, ["spherical", "full"], seed=0
    )
    assert chosen.best_k == "full"


@pytest.mark.filterwarnings("ignore::latentem.DegenerateWarning")
def test_what_fails_is_listed_and_what_a_constraint_holds_is_not_chosen(
    faithful: np.ndarray,
) -> None:
    chosen = lem.select(lem.models.gaussian_mixture, faithful[:7], [1, 2, 5, 8], seed=0)
    assert list(chosen.failed) == [8]
    assert chosen.fits[5].status is lem.Status.DEGENERATE
    assert chosen.fits[5].bic < chosen.best.bic
    assert chosen.best_k in (1, 2)
    frame = chosen.to_dataframe()
    assert frame["name"].tolist() == [1, 2, 5, 8]
    assert frame["ending"].tolist()[-2:] == ["degenerate", "failed"]
    assert frame["bic"].isna().tolist() == [False, False, False, True]
    assert "at least as many rows" in frame["error"].iloc[-1]
    assert "at least as many rows" in str(chosen)
    assert "are not chosen" in str(chosen)


def test_if_all_fail_the_error_of_the_first_is_raised(faithful: np.ndarray) -> None:
    with pytest.raises(lem.DataError, match=r"states \(5\)"):
        lem.select(lem.models.gaussian_mixture, faithful[:3], [5, 6])
    with pytest.raises(lem.DataError, match="must be finite"):
        lem.select(lem.models.gaussian_mixture, np.full((3, 2), np.inf), [1, 2])


def test_prototypes_have_no_criterion(faithful: np.ndarray) -> None:
    with pytest.raises(lem.ModelError, match=r"Read fit\.distortion"):
        lem.select(lem.models.kmeans, faithful, [1, 2], assign=lem.hard)


@pytest.fixture
def interrupt_fourth(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Raise an interrupt within the fourth search, after its first state."""
    count = itertools.count(1)
    advance = Search._advance

    def interrupted(self: Search, runs: Any, max_iter: int) -> None:
        if next(count) == 4:
            advance(self, runs, 1)
            raise KeyboardInterrupt
        advance(self, runs, max_iter)

    monkeypatch.setattr(Search, "_advance", interrupted)
    return


@pytest.mark.usefixtures("interrupt_fourth")
def test_an_interrupt_keeps_what_is_done(faithful: np.ndarray) -> None:
    with pytest.warns(lem.ConvergenceWarning) as caught:
        chosen = lem.select(lem.models.gaussian_mixture, faithful, range(1, 9), seed=0, restarts=1)
    assert list(chosen.fits) == [1, 2, 3]
    assert "among the fits that were done, k = 1, 2, 3" in str(caught[-1].message)


def test_an_interrupt_before_anything_is_done_is_passed_on() -> None:
    def interrupting(k: int) -> lem.Model:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lem.select(interrupting, np.zeros(3), [1, 2])


def test_progress_is_silent_where_nobody_watches(
    faithful: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    lem.select(lem.models.gaussian_mixture, faithful, [1, 2], seed=0, progress=True)
    assert capsys.readouterr() == ("", "")


def test_options_are_checked_before_anything_is_fitted() -> None:
    with pytest.raises(lem.ModelError, match="criterion must be"):
        lem.select(lem.models.gaussian_mixture, None, [1], criterion="loglik")
    with pytest.raises(lem.ModelError, match="some k to try"):
        lem.select(lem.models.gaussian_mixture, np.zeros(3), [])


def test_what_is_no_mapping_or_no_range_is_refused(faithful: np.ndarray) -> None:
    with pytest.raises(lem.ModelError, match="mapping of names to fits, got list"):
        lem.compare([1])  # type: ignore[arg-type]
    for ks in (3, range(0)):
        with pytest.raises(lem.ModelError, match="select must be given some k to try"):
            lem.select(lem.models.gaussian_mixture, faithful, ks)  # type: ignore[arg-type]


# -- what a number is ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(faithful: np.ndarray) -> lem.Fit:
    return lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0, restarts=2)


def test_labels_are_the_index_of_parameters_over_states() -> None:
    answer = ["neg", "pos", "pos", "neg", "pos"] * 8
    fit = lem.fit(lem.Model([lem.observed("c", lem.Categorical())]), {"c": answer}, seed=0)
    shown = fit.to_dataframe().set_index("index")["value"]
    assert shown.to_dict() == {"neg": pytest.approx(0.4), "pos": pytest.approx(0.6)}
    z = lem.latent("z", lem.Categorical(2))
    known = {"z": ["a", "b", "b", "a", "b"] * 8, "x": np.arange(40.0)}
    model = lem.Model([z, lem.observed("x", lem.Normal(), given=z)])
    frame = lem.fit(model, known, seed=0).to_dataframe()
    assert frame[frame["node"] == "z"]["index"].tolist() == ["a", "b"]
    assert frame[frame["node"] == "x"]["index"].tolist() == [""] * 4


def test_the_summary_says_what_stands_behind_plus_minus(two: lem.Fit) -> None:
    assert "standard error" not in str(two.summary())
    text = str(two.summary(standard_errors=True))
    assert "estimate ± its standard error" in text


def test_what_is_printed_says_that_it_is_a_total_and_its_unit(faithful: np.ndarray) -> None:
    model = lem.models.gaussian_mixture(2)
    step = next(lem.iterate(model, faithful, seed=0))
    assert f"objective F {step.objective:.6f} nats (total)" in repr(step)
    assert f"Q = {step.Q.total:.6f} nats (total; z: " in repr(step.Q)
    assert repr(step.posterior).endswith(" nats (total)")
    hard = lem.fit(model, faithful, assign=lem.hard, seed=0, restarts=2)
    assert f"objective F        {hard.objective:.6f} nats (total; assignment rule: hard)" in repr(
        hard
    )
    rows = hard.trace.rows
    ends = f"objective F {rows[0].objective:.6f} -> {rows[-1].objective:.6f} nats (total)"
    assert ends in repr(hard.trace)


def test_what_is_printed_of_prototypes_is_a_distortion(faithful: np.ndarray) -> None:
    model = lem.models.kmeans(2)
    fit = lem.fit(model, faithful, assign=lem.hard, seed=0, restarts=1)
    *_, step = lem.iterate(model, faithful, assign=lem.hard, seed=0)
    assert f"distortion J {-step.objective:.6f} (total)" in repr(step)
    assert f"distortion J       {fit.distortion:.6f} (total)" in repr(fit)
    assert f"-> {fit.distortion:.6f} (total)" in repr(fit.trace)
    for shown in (repr(step), repr(fit), repr(fit.trace), repr(step.Q)):
        assert "nats" not in shown


def test_the_summary_of_another_rule_names_it_and_counts_by_it(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, assign=lem.hard, seed=0)
    what = dict(fit.summary().numbers())
    assert what["assignment rule"] == "hard"
    assert what["objective F under it, total in nats"] == f"{fit.objective:.6f}"
    assert what["entropy of the posterior under it, total in nats"] == "0.000000"
    text = str(fit.summary())
    for count in np.bincount(fit.predict()):
        assert f"{count:.2f}" in text
        assert f"{count / 272:.4f}" in text
    assert "expected rows" not in text
    tempered = lem.fit(
        lem.models.gaussian_mixture(2), faithful, assign=lem.tempered(0.5), seed=0, restarts=1
    )
    assert dict(tempered.summary().numbers())["assignment rule"] == "tempered at beta 0.5"
    soft = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0, restarts=1)
    assert "assignment rule" not in dict(soft.summary().numbers())


def test_the_summary_of_drawn_states_counts_those_of_the_fit(faithful: np.ndarray) -> None:
    rule = lem.stochastic(0)
    fit = lem.fit(
        lem.models.gaussian_mixture(2), faithful, assign=rule, seed=0, restarts=1, max_iter=5, tol=0
    )
    assert fit.assigned().entropy == 0.0
    assert str(fit.summary()) == str(fit.summary())
    assert dict(fit.summary().numbers())["assignment rule"] == "stochastic"


def test_tiny_numbers_are_printed_one_by_one() -> None:
    z = lem.latent("z", lem.Categorical(probs=[1.0 - 3e-7, 3e-7]))
    x = lem.observed("x", lem.Normal(mean=[0.0, 1.0], variance=[1.0, 1.0]), given=z)
    data = np.random.default_rng(0).normal(size=30)
    fit = lem.fit(lem.Model([z, x]), data, max_iter=1, tol=0, restarts=1, accelerate=None)
    first, second = fit.model["z"].probs
    assert second < 1e-4
    assert f"[{first:.5f} {second:.3g}]" in str(fit.summary())
    assert f"[{first:.4f} {second:.3g}]" in repr(fit)


def test_filled_in_strings_are_plain() -> None:
    z = lem.latent("z", lem.Categorical(2))
    c = lem.observed("c", lem.Categorical(), given=z)
    answer = np.array(["neg", "pos", "pos", None] * 10, dtype=object)
    fit = lem.fit(lem.Model([z, c]), {"c": answer}, seed=0, restarts=1)
    for draw in (False, True):
        filled = fit.impute(draw=draw, seed=0)["c"]
        assert {type(entry) for entry in filled} == {str}


# -- what is refused -------------------------------------------------------------------------------


def test_standard_errors_that_belong_to_nothing_are_refused(two: lem.Fit) -> None:
    wrong = {
        r"Node 'x': standard errors of mean must have its shape \(2, 2\), got \(3,\)": {
            "x": {"mean": np.zeros(3)}
        },
        r"standard_errors must be of nodes of the model \(z, x\), got 'y'": {"y": {}},
        r"Node 'x': standard errors must be of its parameters mean, covariance, got 'rate'": {
            "x": {"rate": np.zeros(2)}
        },
        "Node 'x': standard errors must be arrays by parameter, got 3": {"x": 3},
        "Node 'x': standard errors of mean must be numbers": {"x": {"mean": "a"}},
    }
    for message, errors in wrong.items():
        with pytest.raises(lem.ModelError, match=message):
            two.summary(standard_errors=errors)
        with pytest.raises(lem.ModelError, match=message):
            two.to_dataframe(standard_errors=errors)


def test_dates_among_numbers_are_refused_by_name(faithful: np.ndarray) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(faithful, columns=["e", "w"])
    for day in (pandas.Timestamp("2020"), pandas.Timestamp("2020", tz="UTC")):
        for table in (frame.assign(t=day), frame.assign(t=day)[["t"]]):
            with pytest.raises(lem.DataError, match=r"data\['t'\] must be numeric .* got dates"):
                lem.fit(lem.models.gaussian_mixture(2), table)
    with pytest.raises(lem.DataError, match=r"data\['t'\] must be numeric .* got dates"):
        lem.fit(lem.models.gaussian_mixture(2), frame.assign(t=pandas.Timedelta(1)))


def test_weights_that_are_no_real_numbers_are_refused(faithful: np.ndarray) -> None:
    model = lem.models.gaussian_mixture(2)
    with pytest.raises(lem.DataError, match="weights must be real numbers, got complex128"):
        lem.fit(model, faithful, weights=np.ones(272) + 1j)
    holed = np.ones(272)
    holed[[5, 9]] = np.nan
    with pytest.raises(
        lem.DataError, match=r"weights must be known .*, got NaN in 2 rows, .* row 5"
    ):
        lem.fit(model, faithful, weights=holed)


def test_probabilities_of_which_some_are_unknown_are_refused(faithful: np.ndarray) -> None:
    known = np.full((272, 2), np.nan)
    known[3] = [0.5, np.nan]
    with pytest.raises(lem.DataError, match=r"data\['z'\] must .* got \[0\.5 nan\] in row 3"):
        lem.fit(lem.models.gaussian_mixture(2), {"x": faithful, "z": known})


def test_arguments_of_another_type_are_refused(faithful: np.ndarray) -> None:
    counts = lem.fit(lem.Model([lem.observed("x", lem.Poisson())]), [3, 5, 4, 2, 6])
    boot = counts.bootstrap(5, seed=0)
    for level in ("a", None, True, [0.5], 1j):
        with pytest.raises(lem.ModelError, match="level must be a number between 0 and 1, got"):
            boot.interval(level)  # type: ignore[arg-type]
    with pytest.raises(lem.ModelError, match="must be given a function from k to a Model, got 5"):
        lem.select(5, faithful, [2])  # type: ignore[arg-type]
    with pytest.raises(lem.ModelError, match=r"each k must be hashable.*, got \[2\]"):
        lem.select(lem.models.gaussian_mixture, faithful, [[2]])


def test_a_model_that_cannot_be_made_names_its_k(faithful: np.ndarray) -> None:
    with pytest.raises(lem.ModelError, match=r"^k = 0: "):
        lem.select(lem.models.gaussian_mixture, faithful, range(3))


def test_the_lines_of_a_fit_are_aligned_whatever_the_names() -> None:
    z = lem.latent("what_somebody_is_like", lem.Categorical(2))
    x = lem.observed("measured_in_the_morning", lem.Gaussian(), given=z)
    data = np.random.default_rng(0).normal(size=(60, 2))
    fit = lem.fit(lem.Model([z, x]), data, seed=0, restarts=1)
    _, *lines = repr(fit).splitlines()
    start = 2 + len("measured_in_the_morning.covariance") + 1
    for line in lines:
        name, value = line[:start], line[start:]
        assert name.endswith(" ") or not line  # the name is over
        assert not name.strip() or value[0] != " "
        assert line == line.rstrip()
    assert sum("measured_in_the_morning" in line for line in lines) == 2
