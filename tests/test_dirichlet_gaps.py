"""Proportions of which some parts are missing: exact marginals, moments and completions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import integrate, optimize, stats
from scipy.special import digamma

import latentem as lem

ALPHA = np.array([[2.0, 9.0, 3.0, 1.5], [9.0, 3.0, 9.0, 4.0]])
PLAIN: dict[str, Any] = {"restarts": 1, "accelerate": None, "tol": 0, "max_iter": 40}


def _model(dist: Any = None) -> lem.Model:
    z = lem.latent("z", lem.Categorical(2))
    return lem.Model([z, lem.observed("x", dist or lem.Dirichlet(), given=z)])


def _known() -> lem.Model:
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    return lem.Model([z, lem.observed("x", lem.Dirichlet(ALPHA), given=z)])


def _draw(n: int = 300, share: float = 0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and the same with gaps; one of them has no part, one lacks a single part."""
    rng = np.random.default_rng(seed)
    state = rng.integers(0, 2, n)
    x = np.array([rng.dirichlet(ALPHA[k]) for k in state])
    gaps = np.where(rng.random(x.shape) < share, np.nan, x)
    gaps[:4] = x[:4]
    gaps[4] = np.nan
    gaps[5] = [*x[5, :3], np.nan]
    return x, gaps


def _marginal(row: np.ndarray, alpha: np.ndarray) -> float:
    """The log-density of the parts of a row that are there, by SciPy."""
    seen = ~np.isnan(row)
    if not seen.any():
        return 0.0
    parts, merged = row[seen], alpha[seen]
    if not seen.all():
        parts, merged = np.append(parts, 1 - parts.sum()), np.append(merged, alpha[~seen].sum())
    return float(stats.dirichlet.logpdf(parts / parts.sum(), merged))


def _alone(value: np.ndarray) -> Any:
    return lem.fit(lem.Model([lem.observed("x", lem.Dirichlet())]), value, tol=1e-13)


# -- the marginal density --------------------------------------------------------------------------


def test_the_marginal_is_the_integral_over_what_is_missing() -> None:
    alpha = np.array([2.5, 1.7, 3.2])
    whole = lem.Dirichlet(alpha)
    model = lem.Model([lem.observed("x", whole)])
    for first in (0.05, 0.4, 0.9):
        row = np.array([[first, np.nan, np.nan], [0.2, 0.3, 0.5]])
        expected, _ = integrate.quad(
            lambda t, a=first: np.exp(whole.log_prob(np.array([[a, t, 1 - a - t]])).item()),
            0,
            1 - first,
            epsabs=1e-13,
        )
        evidence = lem.e_step(model, row).log_evidence
        assert evidence[0] == pytest.approx(np.log(expected), abs=1e-9)
        assert evidence[1] == pytest.approx(whole.log_prob(row[1:]).item(), rel=1e-13)
    assert lem.log_likelihood(model, np.array([[np.nan] * 3, [0.2, 0.3, 0.5]])) == pytest.approx(
        whole.log_prob(np.array([[0.2, 0.3, 0.5]])).item()
    )


def test_evidence_of_a_mixture_is_the_sum_over_states() -> None:
    _, gaps = _draw()
    found = lem.e_step(_known(), gaps).log_evidence
    for row, evidence in zip(gaps, found, strict=True):
        states = [np.log(p) + _marginal(row, a) for p, a in zip([0.4, 0.6], ALPHA, strict=True)]
        assert evidence == pytest.approx(np.logaddexp(*states), rel=1e-10, abs=1e-10)


def test_a_single_missing_part_is_what_the_others_leave() -> None:
    x, _ = _draw(120)
    gaps = x.copy()
    gaps[np.arange(120), np.arange(120) % 4] = np.nan
    gaps[:2] = x[:2]
    np.testing.assert_allclose(
        lem.e_step(_known(), gaps).log_evidence, lem.e_step(_known(), x).log_evidence, rtol=1e-9
    )
    whole, holes = _alone(x), _alone(gaps)
    np.testing.assert_allclose(
        holes.model["x"].concentration, whole.model["x"].concentration, rtol=1e-6
    )
    assert holes.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-10)
    np.testing.assert_allclose(holes.impute()["x"], x, atol=1e-14)


# -- what the maximiser sees -----------------------------------------------------------------------


def _record(value: np.ndarray) -> tuple[Any, Any]:
    dist = lem.Dirichlet(ALPHA[:1]).bind(value)
    return dist, dist.gapped_kernel().on(value).record(np.ones((1, len(value))))


def test_expected_statistics_are_the_conditional_means() -> None:
    row = np.array([[0.3, np.nan, 0.2, np.nan], [0.1, 0.2, 0.3, 0.4]])
    dist, record = _record(row)
    alpha, rest, hidden = ALPHA[0], 0.5, [1, 3]
    logs = np.log(row[0])
    logs[hidden] = np.log(rest) + digamma(alpha[hidden]) - digamma(alpha[hidden].sum())
    both = (logs + np.log(row[1]))[None]
    centre = dist.reference.centre
    np.testing.assert_allclose(
        record.total[:, 1:], (both - 2 * np.log(centre))[:, :3], rtol=1e-12, atol=1e-12
    )
    relative = -(both - 2 * np.log(centre)) @ centre
    np.testing.assert_allclose(record.total[:, 0], relative, rtol=1e-12)
    entropy = stats.dirichlet.entropy(alpha[hidden]) + np.log(rest)
    assert record.log_base == pytest.approx(-both.sum() + entropy, rel=1e-12)


def test_the_entropy_is_that_of_what_is_missing() -> None:
    for hidden in ([0, 1], [1, 2, 3], [0, 2, 3]):
        row = np.array([[0.25, 0.25, 0.25, 0.25], [0.1, 0.2, 0.3, 0.4]])
        row[0, hidden] = np.nan
        dist, record = _record(row)
        expected, _ = dist.gapped_kernel().expected_log_prob(record)
        # Q of a single state and the entropy in it make the marginal log-likelihood.
        marginal = sum(_marginal(r, ALPHA[0]) for r in row)
        assert expected == pytest.approx(marginal, rel=1e-12)


def test_records_of_blocks_add_up() -> None:
    _, gaps = _draw(80)
    dist = lem.Dirichlet(ALPHA).bind(gaps)
    weights = np.random.default_rng(0).gamma(2.0, size=(2, 80))
    kernel = dist.gapped_kernel()
    whole = kernel.on(gaps).record(weights)
    parts = kernel.on(gaps[:33]).record(weights[:, :33]) + kernel.on(gaps[33:]).record(
        weights[:, 33:]
    )
    np.testing.assert_allclose(parts.total, whole.total, rtol=1e-12)
    np.testing.assert_allclose(parts.weight, whole.weight, rtol=1e-12)
    assert parts.log_base == pytest.approx(whole.log_base, rel=1e-12)
    density = kernel.on(gaps).log_density()
    for k, alpha in enumerate(ALPHA):
        expected = [_marginal(row, alpha) for row in gaps]
        np.testing.assert_allclose(density[k], expected, rtol=1e-10, atol=1e-10)


# -- fits ------------------------------------------------------------------------------------------


def test_the_fit_maximises_the_likelihood_of_what_is_observed() -> None:
    _, gaps = _draw(150)
    fit = _alone(gaps)

    def loss(logs: np.ndarray) -> float:
        return -sum(_marginal(row, np.exp(logs)) for row in gaps)

    start = np.log(fit.model["x"].concentration) + 0.2
    found = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-6})
    assert fit.log_likelihood == pytest.approx(-loss(start - 0.2), rel=1e-11)
    assert fit.log_likelihood >= -found.fun - 1e-7
    np.testing.assert_allclose(fit.model["x"].concentration, np.exp(found.x), rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_objective_never_falls_and_equals_q_plus_entropy(seed: int) -> None:
    _, gaps = _draw(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = lem.fit(_model(), gaps, init=lem.init.random, seed=seed, **PLAIN)
    objective = fit.trace["objective"]
    assert len(objective) > 10
    assert (np.diff(objective) >= -1e-11 * np.abs(objective[:-1])).all()
    q = lem.expected_log_joint(fit.model, gaps, fit.posterior())
    assert q.total + fit.posterior().entropy == pytest.approx(fit.log_likelihood, rel=1e-12)


def test_a_mixture_is_recovered_from_rows_with_gaps() -> None:
    x, gaps = _draw(1500)
    holes, whole = lem.fit(_model(), gaps, seed=0), lem.fit(_model(), x, seed=0)
    order = np.argsort(holes.model["x"].concentration[:, 0])
    np.testing.assert_allclose(holes.model["x"].concentration[order], ALPHA, rtol=0.15)
    errors = holes.standard_errors()["x"]["concentration"]
    fewer = whole.standard_errors()["x"]["concentration"]
    assert np.isfinite(errors).all()
    assert errors.sum() > fewer.sum()  # something was lost, and it shows


def test_weights_repeat_rows() -> None:
    _, gaps = _draw(60)
    weights = 1 + np.arange(60) % 3
    labels = np.arange(60) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = lem.init.from_labels(labels)
        weighted = lem.fit(_model(), gaps, weights=weights, init=start, **PLAIN)
        rows, start = np.repeat(gaps, weights, axis=0), lem.init.from_labels(labels.repeat(weights))
        repeated = lem.fit(_model(), rows, init=start, **{**PLAIN, "max_iter": 200})
        weighted = lem.fit(weighted.model, gaps, weights=weights, **{**PLAIN, "max_iter": 200})
    # Gaps are filled for the first step by chance, so that only the maxima need agree.
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-6)
    model = weighted.model
    assert lem.log_likelihood(model, gaps, weights=weights) == pytest.approx(
        lem.log_likelihood(model, rows), rel=1e-12
    )
    one = lem.m_step(model, gaps, lem.e_step(model, gaps, weights=weights))
    two = lem.m_step(model, rows, lem.e_step(model, rows))
    np.testing.assert_allclose(one["x"].concentration, two["x"].concentration, rtol=1e-9)


def test_concentrated_states_keep_their_digits() -> None:
    rng = np.random.default_rng(0)
    x = rng.dirichlet(np.array([2.0, 3.0, 5.0, 1.0]) * 1e5, size=200)
    gaps = x.copy()
    gaps[::3, :2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = lem.fit(lem.Model([lem.observed("x", lem.Dirichlet())]), gaps, **PLAIN)
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-12 * np.abs(objective[:-1])).all()
    expected = sum(_marginal(row, fit.model["x"].concentration) for row in gaps)
    assert fit.log_likelihood == pytest.approx(expected, rel=1e-7)  # SciPy's loses digits
    assert fit.model["x"].concentration.sum() == pytest.approx(1.1e6, rel=0.2)


# -- completion ------------------------------------------------------------------------------------


def test_completions_are_conditional_means_and_draws() -> None:
    x, gaps = _draw()
    fit = lem.fit(_model(), gaps, init=_known())
    full = fit.impute()["x"]
    np.testing.assert_allclose(full.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(full[~np.isnan(gaps)], gaps[~np.isnan(gaps)])
    alpha, share = fit.model["x"].concentration, fit.posterior().marginal("z")
    for row, means, states in zip(gaps, full, share, strict=True):
        hidden = np.isnan(row)
        rest = 1 - np.nansum(row)
        ratio = alpha[:, hidden] / alpha[:, hidden].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(means[hidden], rest * (states @ ratio), rtol=1e-10)
    error = np.abs(full - x)[np.isnan(gaps)].mean()
    columns = np.where(np.isnan(gaps), np.nanmean(gaps, axis=0), gaps)
    assert error < np.abs(columns - x)[np.isnan(gaps)].mean()


def test_draws_of_what_is_missing_follow_its_density() -> None:
    value = np.tile([0.3, np.nan, 0.2, np.nan], (20_000, 1))
    dist = lem.Dirichlet(ALPHA)
    state = np.repeat([0, 1], 10_000)
    drawn = dist.completed_by_draws(value, state, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.sum(axis=1), 1, rtol=1e-14)
    for k, alpha in enumerate(ALPHA):
        own = stats.beta(alpha[1], alpha[3], scale=0.5)
        assert stats.kstest(drawn[state == k, 1], own.cdf).pvalue > 1e-4
    again = dist.completed_by_draws(value, state, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, again)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row", [[0.7, 0.5, np.nan], [0.5, 0.5, np.nan], [-0.1, np.nan, 0.3], [0.0, np.nan, 0.5]]
)
def test_parts_that_leave_nothing_are_refused(row: list[float]) -> None:
    value = np.array([[0.2, 0.3, 0.5], [0.1, 0.5, 0.4], row])
    with pytest.raises(lem.DataError, match=r"positive numbers that sum to 1 .* at row 2"):
        lem.fit(lem.Model([lem.observed("x", lem.Dirichlet())]), value)


def test_a_column_without_an_entry_is_refused() -> None:
    value = np.array([[0.2, 0.3, np.nan], [0.1, 0.5, np.nan], [0.2, 0.5, np.nan]])
    with pytest.raises(lem.DataError, match="observed entry in every column"):
        lem.fit(lem.Model([lem.observed("x", lem.Dirichlet())]), value)


def test_tiny_rests_and_few_rows_give_finite_fits() -> None:
    value = np.array(
        [[1 - 1e-15, np.nan, np.nan], [0.2, 0.3, 0.5], [1e-300, np.nan, np.nan], [0.3, 0.3, 0.4]]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = lem.fit(lem.Model([lem.observed("x", lem.Dirichlet())]), value)
        assert np.isfinite(fit.log_likelihood)
        assert np.isfinite(fit.impute()["x"]).all()
        both = lem.fit(_model(), value[[1, 3, 0]], seed=0, restarts=1)
    assert np.isfinite(both.log_likelihood)


def test_a_fixed_distribution_takes_gaps() -> None:
    _, gaps = _draw(40)
    z = lem.latent("z", lem.Categorical(2))
    held = lem.fixed(lem.Dirichlet(ALPHA))
    fit = lem.fit(lem.Model([z, lem.observed("x", held, given=z)]), gaps, seed=0)
    np.testing.assert_array_equal(fit.model["x"].concentration, ALPHA)
    assert np.isfinite(fit.log_likelihood)
