"""Assignment rules: transforms of one posterior, in one loop."""

from __future__ import annotations

import itertools
import math
import pickle
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import oracle
import pytest
from registry import PROBABILISTIC, Case, describe, numbers

import latentem as lem

PLAIN = {"restarts": 1, "accelerate": None, "tol": 0.0}


@pytest.fixture(autouse=True)
def _iteration_limits_are_wanted() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        yield


def _start(case: Case, seed: int = 0) -> lem.Model:
    return lem.initialize(case.model, case.data, seed=seed)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
@pytest.mark.parametrize("beta", [0.25, 1.0, 3.0])
def test_tempered_posterior_is_the_power_of_the_exact_one(case: Case, beta: float) -> None:
    model = _start(case)
    few = case.rows(np.arange(0, case.n, 7))
    posterior = lem.e_step(model, few, assign=lem.tempered(beta))
    truth = describe(model)
    names = list(truth.latents)
    table = posterior.marginal(*names)
    entropy = 0.0
    for i, row in enumerate(oracle.rows(few)):
        joint = truth.joint(row)
        largest = max(joint.values())
        powers = {z: math.exp(beta * (term - largest)) for z, term in joint.items()}
        total = math.fsum(powers.values())
        for z, power in powers.items():
            assert table[i][z] == pytest.approx(power / total, rel=1e-8, abs=1e-10)
        entropy -= math.fsum(p / total * math.log(p / total) for p in powers.values() if p > 0)
    assert posterior.entropy == pytest.approx(entropy, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_tempered_at_one_is_soft(case: Case) -> None:
    start = _start(case)
    soft = lem.fit(start, case.data, max_iter=5, **PLAIN)
    one = lem.fit(start, case.data, max_iter=5, assign=lem.tempered(1.0), **PLAIN)
    np.testing.assert_allclose(one.trace["objective"], soft.trace["objective"], rtol=1e-11)
    for name, array in numbers(soft.model).items():
        np.testing.assert_allclose(numbers(one.model)[name], array, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_tempered_tends_to_hard(case: Case) -> None:
    model = _start(case)
    truth = describe(model)
    rows = oracle.rows(case.data)
    margins = []
    for row in rows:
        best, second = sorted(truth.joint(row).values())[::-1][:2]
        margins.append(best - second)
    clear = np.array(margins) > 1e-2
    hard = lem.e_step(model, case.data, assign=lem.hard)
    cold = lem.e_step(model, case.data, assign=lem.tempered(1e5))
    for node in case.model.latents:
        np.testing.assert_allclose(
            cold.marginal(node.name)[clear], hard.marginal(node.name)[clear], atol=1e-9
        )


def test_objective_of_a_tempered_fit_weighs_entropy_by_the_temperature(
    faithful: np.ndarray,
) -> None:
    model = lem.initialize(lem.models.gaussian_mixture(3), faithful, seed=0)
    for beta in (0.3, 1.0, 4.0):
        fit = lem.fit(model, faithful, assign=lem.tempered(beta), max_iter=3, **PLAIN)
        for row in fit.trace:
            assert row.objective == pytest.approx(row.q + row.entropy / beta, rel=1e-11)
        first = next(iter(fit.trace))
        posterior = lem.e_step(model, faithful, assign=lem.tempered(beta))
        assert first.entropy == pytest.approx(posterior.entropy, rel=1e-9)


def test_a_schedule_is_a_value_for_each_iteration(faithful: np.ndarray) -> None:
    model = lem.initialize(lem.models.gaussian_mixture(3), faithful, seed=0)
    by_list = lem.fit(model, faithful, assign=lem.tempered([0.2, 0.5, 1.0]), max_iter=6, **PLAIN)
    by_function = lem.fit(
        model,
        faithful,
        assign=lem.tempered(lambda t: [0.2, 0.5, 1.0][min(t, 2)]),
        max_iter=6,
        **PLAIN,
    )
    np.testing.assert_array_equal(by_list.trace["objective"], by_function.trace["objective"])
    # By hand: the E-step of iteration t is at the t-th value.
    current = model
    posterior = lem.e_step(current, faithful, assign=lem.tempered(0.2))
    for beta in (0.5, 1.0, 1.0, 1.0, 1.0, 1.0):
        current = lem.m_step(current, faithful, posterior)
        posterior = lem.e_step(current, faithful, assign=lem.tempered(beta))
    np.testing.assert_allclose(by_list.model["x"].mean, current["x"].mean, rtol=1e-9)


@pytest.mark.parametrize("values", [[0.5], [0.1, 0.3, 1.0], np.array([0.1, 1.0])])
def test_a_schedule_is_a_value_that_can_be_stored(values: Sequence[float]) -> None:
    rule = lem.tempered(values)
    copied = pickle.loads(pickle.dumps(rule))
    assert copied == rule == lem.tempered(list(values))
    assert rule != lem.tempered([*values, 2.0])
    for iteration in range(5):
        now = copied.at(iteration)
        assert 1 / now.temperature == pytest.approx(values[min(iteration, len(values) - 1)])
        assert now.is_settled == (iteration >= len(values) - 1)


def test_annealing_finds_the_optimum_from_a_hot_start(faithful: np.ndarray) -> None:
    schedule = np.linspace(0.3, 1.0, 30)
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0, assign=lem.tempered(schedule))
    assert fit.log_likelihood == pytest.approx(-1130.26396, abs=1e-4)
    assert fit.status is lem.Status.CONVERGED


def test_a_function_is_settled_where_annealing_has_arrived_at_em(faithful: np.ndarray) -> None:
    plateau = [0.3, 0.3, 0.6, 1.0, 0.9, 1.0, 1.0]
    rule = lem.tempered(lambda t: plateau[min(t, 6)])
    assert [rule.at(t).is_settled for t in range(8)] == [False] * 5 + [True] * 3
    model = lem.initialize(lem.models.gaussian_mixture(2), faithful, seed=0)
    stairs = lem.tempered(lambda t: min(1.0, 0.6 + 0.1 * (t // 30)))
    fit = lem.fit(model, faithful, assign=stairs)
    assert fit.status is lem.Status.CONVERGED
    assert fit.iterations >= 120
    assert fit.log_likelihood == pytest.approx(-1130.26396, abs=1e-4)
    cool = lem.fit(model, faithful, assign=lem.tempered(lambda t: 0.9), max_iter=300)
    assert cool.status is lem.Status.ITERATION_LIMIT


def test_steps_of_equal_temperature_are_guarded_whether_settled_or_not() -> None:
    rule = lem.tempered([0.5, 0.5])
    assert not rule.at(0).is_settled
    assert rule.at(1).is_settled
    assert rule.at(0) == rule.at(1) == lem.tempered(0.5)
    assert rule.temperature == 2.0


@pytest.mark.parametrize("beta", [0.0, -1.0, np.inf, np.nan, "warm", []])
def test_impossible_temperatures_are_refused(beta: object) -> None:
    with pytest.raises(ValueError, match=r"tempered: beta must .+, got .+\. .+"):
        lem.tempered(beta)  # type: ignore[arg-type]


# -- hard ------------------------------------------------------------------------------------------


def test_hard_assignment_maximises_the_classification_likelihood(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, assign=lem.hard, seed=0)
    z = fit.predict()
    complete = lem.log_joint(fit.model, {"x": faithful, "z": z})
    assert fit.objective == pytest.approx(complete, rel=1e-11)
    by_labels = lem.fit(lem.models.gaussian_mixture(2), {"x": faithful, "z": z})
    assert by_labels.log_likelihood == pytest.approx(complete, rel=1e-9)
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, faithful), rel=1e-11)
    assert fit.log_likelihood > fit.objective
    rows = [row.log_likelihood for row in fit.trace]
    assert all(value is None for value in rows)


# -- stochastic ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_stochastic_draws_are_certain_and_follow_the_posterior(case: Case) -> None:
    model = _start(case)
    exact = lem.e_step(model, case.data)
    rng = np.random.default_rng(0)
    repeats = 300
    for node in case.model.latents:
        k = node.dist.n_states
        total = np.zeros((case.n, k))
        for _ in range(repeats):
            drawn = lem.e_step(model, case.data, assign=lem.stochastic(rng))
            assert drawn.entropy == 0
            total += drawn.marginal(node.name)
        assert set(np.unique(drawn.marginal(node.name))) <= {0.0, 1.0}
        expected = exact.marginal(node.name)
        error = np.sqrt(expected * (1 - expected) / repeats)
        assert (np.abs(total / repeats - expected) <= 6 * error + 1e-9 + 6 / repeats).all()
        break


def test_stochastic_fits_with_one_seed_are_equal_and_with_two_differ(
    faithful: np.ndarray,
) -> None:
    model = lem.initialize(lem.models.gaussian_mixture(2), faithful, seed=0)

    def run(seed: int) -> lem.Fit:
        return lem.fit(model, faithful, assign=lem.stochastic(seed), max_iter=20, **PLAIN)

    one, two, other = run(0), run(0), run(1)
    assert np.array_equal(one.trace["objective"], two.trace["objective"])
    assert not np.array_equal(one.trace["objective"], other.trace["objective"])
    assert one.log_likelihood == pytest.approx(lem.log_likelihood(one.model, faithful), rel=1e-11)
    assert one.log_likelihood > -1140


def test_the_loop_can_be_owned(faithful: np.ndarray) -> None:
    start = lem.initialize(lem.models.gaussian_mixture(2), faithful, seed=0)
    for assign in (lem.soft, lem.hard, lem.tempered(0.5)):
        steps = list(itertools.islice(lem.iterate(start, faithful, assign=assign), 4))
        fit = lem.fit(start, faithful, assign=assign, max_iter=3, **PLAIN)
        ends = [row.objective for row in fit.trace if row.phase == "E"]
        np.testing.assert_allclose([step.objective for step in steps], ends, rtol=1e-11)
