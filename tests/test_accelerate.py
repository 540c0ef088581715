"""Acceleration: the same fixed points in fewer steps, and F never falls on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest

import latentem as lem
from latentem.distributions.arrays import Array
from latentem.distributions.records import Counts, Statistics
from latentem.em.accelerate import Accelerator, Extrapolation
from latentem.em.problem import Problem

RULES = {"squarem": lem.squarem, "anderson": lem.anderson}


def _classes(k: int, items: list[str], **options: Any) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, *(lem.observed(i, lem.Bernoulli(**options), given=z) for i in items)])


def _role_conflict() -> dict[str, Array]:
    return {name: column - 1 for name, column in lem.datasets.values().table.items()}


def _cases() -> Iterator[tuple[str, lem.Model, Any, Any]]:
    """Models whose plain EM is slow, one for each kind of record."""
    notices = lem.datasets.death_notices().table
    z = lem.latent("z", lem.Categorical(2))
    poisson = lem.Model([z, lem.observed("deaths", lem.Poisson(), given=z)])
    yield "poisson", poisson, {"deaths": notices["deaths"]}, notices["freq"]

    teeth = lem.datasets.dmft().table["End"]
    switch = lem.Switch([lem.PointMass(0), lem.Poisson()])
    yield "switch", lem.Model([z, lem.observed("x", switch, given=z)]), teeth, None

    items = lem.datasets.carcinoma().data.astype(int) - 1
    independent = lem.observed("x", lem.Independent(lem.Bernoulli(), 7), given=z)
    yield "independent", lem.Model([z, independent]), items, None

    prior = lem.Beta(2.0, 2.0)
    yield "prior", _classes(3, list("ABCD"), prior=prior), _role_conflict(), None

    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(m, 1, (200, 2)) for m in ([0, 0], [1.5, 0], [0, 1.5])])
    x[rng.random(x.shape) < 0.1] = np.nan
    yield "gaps", lem.models.gaussian_mixture(3), x, None

    a = lem.latent("a", lem.Categorical(2))
    b = lem.latent("b", lem.Categorical(2), tie=a)
    pair = lem.observed("y", lem.Normal(), given=[a, b])
    yield "tied", lem.Model([a, b, pair]), rng.normal(0, [1.0, 3.0], (150, 2)).ravel(), None

    tone = lem.datasets.tone()
    u = lem.covariate("u")
    lines = lem.Model([z, u, lem.observed("y", lem.LinearGaussian(), given=[z, u])])
    yield "regressions", lines, {"u": tone.data[:, 0], "y": tone.data[:, 1]}, None


CASES = {name: (model, data, weights) for name, model, data, weights in _cases()}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("case", CASES)
def test_f_never_falls_and_the_limit_is_a_fixed_point_of_plain_em(
    case: str, rule: Accelerator
) -> None:
    model, data, weights = CASES[case]
    fit = lem.fit(model, data, weights=weights, restarts=1, seed=3, accelerate=rule)
    assert fit.status is lem.Status.CONVERGED
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[1:])).all()
    assert [row.phase for row in fit.trace if row.phase == "M"]  # plain steps are among them
    plain = lem.fit(
        fit.model, data, weights=weights, accelerate=None, tol=0, max_iter=200, restarts=1
    )
    assert plain.objective - objective[-1] == pytest.approx(0.0, abs=2e-4)


@pytest.mark.parametrize("case", ["poisson", "switch", "independent", "prior", "gaps"])
def test_fewer_steps_to_an_objective_as_high(case: str) -> None:
    model, data, weights = CASES[case]
    options = {"weights": weights, "restarts": 1, "seed": 2}
    plain = lem.fit(model, data, accelerate=None, **options)
    fast = lem.fit(model, data, **options)
    assert fast.objective >= plain.objective - 1e-3
    assert fast.iterations <= max(12, 0.7 * plain.iterations)


def test_three_classes_of_role_conflict_in_a_fraction_of_three_thousand_steps() -> None:
    # Goodman 1974; poLCA's manual has -503.3011 for three classes, after some 3,000 plain steps.
    model, data = _classes(3, list("ABCD")), _role_conflict()
    plain = lem.fit(model, data, accelerate=None, restarts=1, tol=1e-9, seed=5)
    fast = lem.fit(model, data, restarts=1, tol=1e-9, seed=5)
    assert plain.iterations > 1000
    assert fast.iterations < plain.iterations / 5
    assert fast.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-4)


def test_plain_em_makes_exactly_the_steps_asked_for(faithful: np.ndarray) -> None:
    start = lem.initialize(lem.models.gaussian_mixture(2), faithful, seed=0)
    fit = lem.fit(start, faithful, restarts=1, accelerate=None, tol=0, max_iter=7)
    assert fit.iterations == 7
    assert [(row.iteration, row.phase) for row in fit.trace] == [
        (0, "E"),
        *((i, phase) for i in range(1, 8) for phase in "ME"),
    ]


@attrs.frozen
class _Wild(Accelerator):
    """Proposes what no rows could have given: noise, infinities, counts below zero."""

    def start(self) -> Extrapolation:
        return _WildSteps()


class _WildSteps(Extrapolation):
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.refused = self.asked = 0

    def ahead(self, vector: Array, units: tuple[object, ...]) -> Array | None:
        self.asked += 1
        if self.asked % 2:
            return None
        kind = (self.asked // 2) % 4
        noise = self.rng.normal(size=vector.shape) * np.abs(vector).max()
        return [noise, np.full(vector.shape, np.nan), -vector, vector * np.inf][kind]

    def judge(self, accepted: bool) -> None:
        self.refused += not accepted


@pytest.mark.parametrize("case", CASES)
def test_proposals_that_are_no_statistics_are_refused(case: str) -> None:
    model, data, weights = CASES[case]
    options = {"weights": weights, "restarts": 1, "seed": 3, "max_iter": 60, "tol": 0}
    with np.errstate(all="ignore"):
        wild = lem.fit(model, data, accelerate=_Wild(), **options)
    objective = wild.trace["objective"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[1:])).all()
    assert all(
        np.isfinite(value).all()
        for dist in wild.model.distributions.values()
        for value in dist.parameters.values()
        if value is not None
    )


@attrs.frozen(eq=False)
class _Waiting(lem.ExponentialFamily):
    """An exponential family of which a method fails at means that EM itself does not come to."""

    rate: Array | None = lem.parameter()  # noqa: RUF009 (an attrs field marker)
    largest: float = np.inf
    failure: Exception | None = None
    method: str = "from_mean"

    def statistics(self, value: Array) -> Array:
        return value[:, None]

    def natural_parameters(self) -> tuple[Array, Array]:
        self._fail("natural_parameters", 1 / self.rate)
        return -self.rate[..., None], -np.log(self.rate)

    def from_mean(self, mean: Array, weight: Array) -> _Waiting:
        self._fail("from_mean", mean)
        return attrs.evolve(self, rate=1 / mean[..., 0])

    def _fail(self, method: str, mean: Array) -> None:
        if self.failure is not None and method == self.method and mean.max() > self.largest:
            raise self.failure


def _waited(rule: Accelerator | None, **options: Any) -> lem.Fit:
    """A mixture of two kinds of waiting, from one start."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.exponential(1.0, 60), rng.exponential(4.0, 60)])
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    dist = _Waiting(np.array([1 / 1.2, 1 / 1.9]), **options)
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    return lem.fit(model, x, restarts=1, accelerate=rule)


@pytest.fixture(scope="module")
def waited() -> lem.Fit:
    """By plain EM, whose largest mean grows from step to step."""
    return _waited(None)


@pytest.mark.parametrize("method", ["from_mean", "natural_parameters"])
@pytest.mark.parametrize("failure", [TypeError, UserWarning])
def test_a_plug_in_may_fail_in_its_own_way_where_em_does_not_come(
    waited: lem.Fit, failure: type[Exception], method: str
) -> None:
    largest = 1.01 / waited.model["x"].rate.min()
    fit = _waited(lem.squarem, largest=largest, failure=failure("no such mean"), method=method)
    assert fit.log_likelihood == pytest.approx(waited.log_likelihood, abs=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_a_record_is_the_vector_of_its_numbers(case: str) -> None:
    model, data, weights = CASES[case]
    problem = Problem.of(lem.initialize(model, data, weights=weights, seed=0), data, weights)
    theta = problem.theta()
    for record in problem.records(theta, problem.expectation(theta, lem.soft)).values():
        vector = record.vector
        assert vector is not None
        np.testing.assert_array_equal(record.of_vector(2 * vector).vector, 2 * vector)
        np.testing.assert_allclose((record + record).vector, 2 * vector, rtol=1e-15)
        assert (record + record).units == record.units


def test_records_keep_their_shape() -> None:
    counts = Counts(np.arange(6.0).reshape(3, 2))
    np.testing.assert_array_equal(counts.of_vector(counts.vector).counts, counts.counts)
    sums = Statistics(np.ones(2), np.arange(6.0).reshape(2, 3), 4.0)
    again = sums.of_vector(sums.vector)
    np.testing.assert_array_equal(again.total, sums.total)
    np.testing.assert_array_equal(again.weight, sums.weight)
    assert again.log_base == 4.0


def test_rules_without_one_smooth_limit_take_plain_steps(faithful: np.ndarray) -> None:
    class Refusing(Accelerator):
        def start(self) -> Extrapolation:
            raise AssertionError("asked for acceleration")

    kmeans = lem.fit(lem.models.kmeans(2), faithful, assign=lem.hard, seed=0, accelerate=Refusing())
    assert kmeans.distortion == pytest.approx(8901.768721, abs=1e-5)
    for assign in (lem.tempered([0.5, 1.0]), lem.stochastic(0)):
        model = lem.models.gaussian_mixture(2)
        lem.fit(model, faithful, assign=assign, max_iter=5, tol=0, seed=0, accelerate=Refusing())


@pytest.mark.parametrize("wrong", ["squarem", True, lem.soft])
def test_what_is_no_accelerator_is_refused(wrong: Any, faithful: np.ndarray) -> None:
    with pytest.raises(lem.ModelError, match="accelerate must be squarem"):
        lem.fit(lem.models.gaussian_mixture(2), faithful, accelerate=wrong)
