"""Steps on tables of coefficients and sums are the steps of EM."""

from __future__ import annotations

import itertools
import pickle
import warnings
from typing import Any

import attrs
import numpy as np
import pytest
from registry import FAMILIES, PROBABILISTIC, Family
from test_kernels import _models

import latentem as lem
from latentem import parallel
from latentem.em import loop
from latentem.em.accelerate import squarem
from latentem.em.assign import Hard, Soft
from latentem.em.loop import State, half_steps
from latentem.em.natural import Natural, Tables
from latentem.em.problem import Problem
from latentem.kernels import compiled
from latentem.kernels.moments import natural_of_moments

MODELS = {str(case): (case.model, case.data) for case in PROBABILISTIC} | _models()
#: Whose steps are on tables.
SHORT = {
    "gaussian mixture, full", "gaussian mixture, diagonal", "gaussian mixture, spherical",
    "normal mixture", "poisson mixture", "latent classes", "mixed table", "gamma mixture",
    "mixture of angles", "full", "diagonal", "spherical", "mixed",
}  # fmt: skip
BOTH = [False, pytest.param(True, marks=pytest.mark.skipif(not compiled.available(), reason=""))]


def _states(model: lem.Model, data: Any, weights: Any, accelerate: Any, n: int) -> list[State]:
    start = lem.initialize(model, data, init=lem.init.random, seed=3, weights=weights)
    problem = Problem.of(model, data, weights)
    steps = half_steps(problem, problem.theta(start, renew=True), Soft(), accelerate)
    return [next(steps) for _ in range(n)]


@pytest.mark.parametrize("accelerate", [None, squarem], ids=["plain", "squarem"])
@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("name", list(MODELS))
def test_every_half_step_is_that_of_the_general_loop(
    name: str, use: bool, accelerate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = MODELS[name]
    n_rows = len(next(iter(data.values()))) if isinstance(data, dict) else len(data)
    weights = np.random.default_rng(2).integers(1, 4, size=n_rows)
    monkeypatch.setattr(compiled, "is_loaded", lambda: use)
    monkeypatch.setattr("latentem.distributions.gaussian.is_loaded", lambda: use)
    short = _states(model, data, weights, accelerate, 12)
    monkeypatch.setattr(loop.Natural, "of", lambda *_: None)
    general = _states(model, data, weights, accelerate, 12)
    assert {isinstance(state.at, Tables) for state in short[1:]} == {name in SHORT}
    size = abs(general[-1].objective)
    for mine, theirs in zip(short, general, strict=True):
        assert mine.iteration == theirs.iteration
        assert [row.phase for row in mine.trace] == [row.phase for row in theirs.trace]
        for row, other in zip(mine.trace, theirs.trace, strict=True):
            for column in ("objective", "q", "entropy", "log_likelihood"):
                a, b = getattr(row, column), getattr(other, column)
                assert a == b or a == pytest.approx(b, rel=1e-8, abs=1e-9 * size), column
        for node, dist in mine.theta.dists.items():
            exact = theirs.theta.dists[node].parameters
            for field, array in dist.parameters.items():
                scale = 1e-6 * (1.0 + np.abs(exact[field]).max())
                np.testing.assert_allclose(array, exact[field], rtol=1e-6, atol=scale)
        for node, term in mine.terms.items():
            assert term.value == pytest.approx(theirs.terms[node].value, rel=1e-7, abs=1e-8 * size)


#: Whose maxima are of a form that the compiled kernel of many steps knows.
AT_ONCE = {
    "gaussian mixture, full", "gaussian mixture, diagonal", "normal mixture", "poisson mixture",
    "latent classes", "mixed table", "full", "diagonal", "mixed",
}  # fmt: skip


@pytest.mark.skipif(not compiled.available(), reason="without the compiler")
@pytest.mark.parametrize("name", sorted(SHORT))
def test_several_steps_are_taken_at_once_where_maxima_are_of_known_form(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "is_loaded", lambda: True)
    model, data = MODELS[name]
    start = lem.initialize(model, data, init=lem.init.random, seed=3)
    problem = Problem.of(model, data)
    natural = Natural.of(problem, problem.theta(start, renew=True), Soft())
    assert natural is not None
    several = natural.several
    assert (several is not None) == (name in AT_ONCE)
    if several is None:
        return
    first = natural.start()
    assert first is not None
    sums = first.at.sums
    many = several.take(sums, 40)
    assert len(many) == 40
    for i in range(40):
        one, single = natural._next(sums), several.take(sums, 1)
        assert one is not None
        before, (_, new, *values) = sums, one
        for mine, theirs in (
            (single.sums, new), (single.before, before), (single.values[:, 0], values),
            (many.values[:, i], values),
        ):  # fmt: skip
            size = np.abs(theirs).max()
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-10 * size)
        sums = single.sums
    np.testing.assert_allclose(many.sums, sums, rtol=1e-12)
    np.testing.assert_allclose(many.before, before, rtol=1e-12)


def _fit(model: lem.Model, data: Any, accelerate: Any, on_step: Any = None, **options: Any) -> Any:
    start = lem.initialize(model, data, init=lem.init.random, seed=3)
    # With a seed, though nothing is drawn, for else few rows go straight once kernels are loaded.
    given = {"accelerate": accelerate, "restarts": 1, "seed": 0, "on_step": on_step, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        return lem.fit(start, data, **given)


@pytest.mark.skipif(not compiled.available(), reason="without the compiler")
@pytest.mark.parametrize(
    "options", [{}, {"tol": 1e-9}, {"tol": 0, "max_iter": 60}, {"max_iter": 4}], ids=str
)
@pytest.mark.parametrize("accelerate", [None, squarem], ids=["plain", "squarem"])
@pytest.mark.parametrize("name", sorted(AT_ONCE))
def test_a_fit_that_is_watched_makes_the_same_steps(
    name: str, accelerate: Any, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "is_loaded", lambda: True)
    steps: list[lem.Step] = []
    unseen = _fit(*MODELS[name], accelerate, **options)
    seen = _fit(*MODELS[name], accelerate, steps.append, **options)
    assert [step.iteration for step in steps] == list(range(seen.iterations + 1))
    assert [row for step in steps for row in step.trace] == list(seen.trace)
    assert unseen.status is seen.status
    assert list(unseen.trace) == list(seen.trace)
    for node, dist in unseen.model.distributions.items():
        for field, value in dist.parameters.items():
            np.testing.assert_array_equal(value, seen.model[node].parameters[field])


@pytest.mark.skipif(not compiled.available(), reason="without the compiler")
@pytest.mark.parametrize("accelerate", [None, squarem], ids=["plain", "squarem"])
@pytest.mark.parametrize("name", sorted(AT_ONCE))
def test_steps_at_once_end_where_single_ones_do(
    name: str, accelerate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = []
    for use in (False, True):
        monkeypatch.setattr(compiled, "is_loaded", lambda use=use: use)
        fits.append(_fit(*MODELS[name], accelerate))
    numpy, at_once = fits
    assert at_once.status is numpy.status is lem.Status.CONVERGED
    assert at_once.log_likelihood == pytest.approx(numpy.log_likelihood, rel=1e-9)
    # Rounding may decide on a leap, and so on what follows; it does not where all steps are plain.
    if accelerate is None:
        assert abs(at_once.iterations - numpy.iterations) <= 1
    objective = at_once.trace["objective"]
    assert np.all(np.diff(objective) >= -1e-9 * np.abs(objective[1:]))
    rows = list(at_once.trace)
    for before, row in itertools.pairwise(rows):
        assert row.objective == pytest.approx(row.q + row.entropy, rel=1e-12)
        if row.phase == "M":
            assert row.entropy == before.entropy
            assert row.iteration == before.iteration + 1


@attrs.frozen(eq=False)
class _Damped(lem.Poisson):
    """Whose maximum is another one than its closed form."""

    def natural_from_mean(self, mean: Any, weight: Any) -> Any:
        return super().natural_from_mean(mean + 1.0, weight)


@pytest.mark.parametrize("use", BOTH)
def test_a_family_with_a_maximum_of_its_own_takes_its_steps_one_by_one(
    use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "is_loaded", lambda: use)
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    model = lem.Model([z, lem.observed("x", _Damped(rate=[1.0, 5.0]), given=z)])
    problem = Problem.of(model, np.array([0, 1, 2, 7, 8]))
    natural = Natural.of(problem, problem.theta(), Soft())
    assert natural is not None
    assert natural.several is None


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("name", ["gaussian mixture, full", "mixed table"])
def test_steps_on_blocks_of_rows_are_the_same_whatever_the_threads(
    name: str, use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = MODELS[name]
    many = {node: np.concatenate([values] * 50) for node, values in data.items()}
    n = len(next(iter(many.values())))
    weights = np.random.default_rng(2).uniform(0.5, 1.5, size=n)  # so that no rows are merged
    monkeypatch.setattr(compiled, "is_loaded", lambda: use)
    monkeypatch.setattr("latentem.distributions.gaussian.is_loaded", lambda: use)
    monkeypatch.setattr("latentem.repeats.merged", lambda data: data)
    for module in ("mixture", "natural"):
        monkeypatch.setattr(f"latentem.em.{module}.LEAST_WORK", 2**12)
    monkeypatch.setattr("latentem.parallel.SMALLEST_PARALLEL", 100)
    monkeypatch.setattr("latentem.parallel.LARGEST_BLOCK", n // 7)
    runs = []
    for count in (1, 2, 3):
        with parallel.threads(count):
            runs.append(_states(model, many, weights, None, 6))
    monkeypatch.setattr(loop.Natural, "of", lambda *_: None)
    general = _states(model, many, weights, None, 6)
    assert isinstance(runs[0][-1].at, Tables)
    for first, second, third, plain in zip(*runs, general, strict=True):
        assert list(first.trace) == list(second.trace) == list(third.trace)
        assert first.objective == pytest.approx(plain.objective, rel=1e-11)


def _kmeans(prior: lem.Distribution, prototypes: np.ndarray, dissimilarity: str) -> lem.Model:
    z = lem.latent("z", prior)
    x = lem.Prototype(dissimilarity, prototypes=prototypes)
    return lem.Model([z, lem.observed("x", x, given=z)])


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize(
    ("prior", "dissimilarity", "spread", "short"),
    [
        (lem.Choice(6), "squared_euclidean", 1.0, True),
        (lem.Choice(6), "squared_euclidean", 1e-7, False),  # to be taken about own centres
        (lem.Choice(6), "cosine", 1.0, False),
        (lem.Choice(6), "l1", 1.0, False),
    ],
)
def test_every_half_step_of_kmeans_is_that_of_the_general_loop(
    prior: lem.Distribution,
    dissimilarity: str,
    spread: float,
    short: bool,
    use: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    x = 10.0 * rng.normal(size=(6, 3))[rng.integers(6, size=400)]
    x += spread * rng.normal(size=x.shape)
    weights = rng.integers(0, 4, size=len(x))
    monkeypatch.setattr(compiled, "is_loaded", lambda: use)
    problem = Problem.of(_kmeans(prior, x[:6], dissimilarity), x, weights)
    runs = []
    for _ in range(2):
        steps = half_steps(problem, problem.theta(renew=True), Hard(), None)
        runs.append([next(steps) for _ in range(9)])
        monkeypatch.setattr(loop.Nearest, "of", lambda *_: None)
    assert any(isinstance(state.at, Tables) for state in runs[0]) is short
    for mine, theirs in zip(*runs, strict=True):
        assert [row.phase for row in mine.trace] == [row.phase for row in theirs.trace]
        for row, other in zip(mine.trace, theirs.trace, strict=True):
            assert row.log_likelihood is other.log_likelihood is None
            assert row.distortion == -row.objective
            for column in ("objective", "q", "entropy", "distortion"):
                assert getattr(row, column) == pytest.approx(getattr(other, column), rel=1e-12)
        found, exact = mine.theta.dists["x"], theirs.theta.dists["x"]
        np.testing.assert_allclose(found.prototypes, exact.prototypes, rtol=1e-12, atol=1e-13)
        for node, term in mine.terms.items():
            assert term.value == pytest.approx(theirs.terms[node].value, rel=1e-12)


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_natural_parameters_of_a_mean_are_those_of_its_member(
    family: Family, use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(family.dist, lem.ExponentialFamily) or not family.fits_alone:
        pytest.skip("no exponential family, or none by itself")
    monkeypatch.setattr("latentem.distributions.gaussian.is_loaded", lambda: use)
    dist = family.dist.bind(family.value).flatten((2,))
    if isinstance(dist, lem.Independent | lem.Product):
        assert dist.natural_from_mean(np.ones((2, 1)), np.ones(2)) is None
        return
    weights = np.random.default_rng(0).random((2, len(family.value))) + 0.5
    weight = weights.sum(axis=1)
    mean = weights @ dist.statistics(family.value) / weight[:, None]
    found = dist.natural_from_mean(mean, weight)
    if found is None:
        return
    expected = dist.from_mean(mean, weight).natural_parameters()
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
@pytest.mark.parametrize("d", [1, 2, 3, 6])
def test_compiled_natural_parameters_are_the_gaussians_own(d: int) -> None:
    rng = np.random.default_rng(d)
    mean, root = rng.normal(size=(4, d)), rng.normal(size=(4, d, d + 2))
    covariance = root @ np.swapaxes(root, 1, 2)
    products = covariance + mean[:, :, None] * mean[:, None, :]
    rows, columns = np.triu_indices(d)
    moments = np.hstack([mean, products[:, rows, columns]])
    found = natural_of_moments(moments)
    assert found is not None
    eta, log_normaliser, largest = found
    exact, normaliser = lem.Gaussian(mean=mean, covariance=covariance).natural_parameters()
    np.testing.assert_allclose(eta, exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())
    np.testing.assert_allclose(log_normaliser, normaliser, rtol=1e-10)
    precision = np.linalg.inv(covariance)
    assert largest == pytest.approx(np.diagonal(precision, axis1=1, axis2=2).max())
    moments[2, d:] = (mean[2][:, None] * mean[2])[rows, columns]  # no variance
    moments[2, -1] -= 1e-3
    assert natural_of_moments(moments) is None


def test_a_state_that_collapses_ends_as_in_the_general_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(40, 2)), np.full((6, 2), 9.0)])
    start = lem.Model(
        [
            z := lem.latent("z", lem.Categorical(probs=[0.8, 0.2])),
            lem.observed(
                "x", lem.Gaussian(mean=[[0.0, 0.0], [8.0, 8.0]], covariance=[np.eye(2)] * 2),
                given=z,
            ),
        ]
    )  # fmt: skip
    options: dict[str, Any] = {"restarts": 1, "accelerate": None}
    with pytest.warns(lem.DegenerateWarning):
        short = lem.fit(start, x, **options)
    monkeypatch.setattr(loop.Natural, "of", lambda *_: None)
    with pytest.warns(lem.DegenerateWarning):
        general = lem.fit(start, x, **options)
    assert short.status is general.status
    assert short.events == general.events
    np.testing.assert_allclose(short.trace["objective"], general.trace["objective"], rtol=1e-9)


@pytest.mark.parametrize("accelerate", [None, squarem], ids=["plain", "squarem"])
def test_a_state_that_becomes_tight_is_left_to_its_residuals(
    accelerate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(60, 2)), 4.0 + 1e-7 * rng.normal(size=(30, 2))])
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    start = lem.Gaussian(mean=[[0.0, 0.0], [3.0, 3.0]], covariance=[np.eye(2)] * 2)
    model = lem.Model([z, lem.observed("x", start, given=z)])
    options: dict[str, Any] = {"restarts": 1, "accelerate": accelerate, "tol": 0, "max_iter": 20}
    short = lem.fit(model, x, **options)
    monkeypatch.setattr(loop.Natural, "of", lambda *_: None)
    general = lem.fit(model, x, **options)
    assert short.model["x"].covariance[1].max() < 1e-12  # tight indeed
    # At the limit rounding decides on a leap, which has no M-row.
    after_e = [[row.q for row in fit.trace if row.phase == "E"] for fit in (short, general)]
    np.testing.assert_allclose(*after_e, rtol=1e-9)
    np.testing.assert_allclose(
        short.model["x"].covariance, general.model["x"].covariance, rtol=1e-7, atol=1e-22
    )


@pytest.mark.parametrize("use", BOTH)
def test_the_floor_holds_in_short_steps_too(use: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentem.distributions.gaussian.is_loaded", lambda: use)
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(40, 2)), 5.0 + [1.0, 0.2] * rng.normal(size=(40, 2))])
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Gaussian(floor=0.05), given=z)])
    with pytest.warns(lem.DegenerateWarning):
        fit = lem.fit(model, x, init=lem.init.from_labels(np.repeat([0, 1], 40)))
    scale = x.std(axis=0)
    covariance = fit.model["x"].covariance[1] / np.outer(scale, scale)
    assert np.linalg.eigvalsh(covariance)[0] == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("use", BOTH)
def test_weights_need_not_stand_one_after_another(
    use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "is_loaded", lambda: use)
    x, weights = np.arange(30.0).reshape(15, 2), np.arange(30.0).reshape(15, 2)[:, 0] + 1.0
    fits = [
        lem.fit(lem.models.gaussian_mixture(2), a, weights=w, seed=0, restarts=2)
        for a, w in ((x[:, :1], weights), (x[:, :1].copy(), weights.copy()))
    ]
    assert fits[0].log_likelihood == fits[1].log_likelihood


def test_a_fit_that_took_short_steps_can_be_copied() -> None:
    x = np.random.default_rng(0).poisson(3.0, size=50)
    z = lem.latent("z", lem.Categorical(2))
    fit = lem.fit(lem.Model([z, lem.observed("x", lem.Poisson(), given=z)]), {"x": x}, seed=0)
    again = pickle.loads(pickle.dumps(fit))
    assert again.log_likelihood == fit.log_likelihood
    np.testing.assert_array_equal(again.model["x"].rate, fit.model["x"].rate)


def test_a_maximiser_that_lowers_f_is_named_as_ever() -> None:
    class Wrong(lem.Poisson):
        def from_mean(self, mean: lem.Array, weight: lem.Array) -> Any:
            return super().from_mean(mean + 5.0, weight)

    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", Wrong(), given=z)])
    x = np.random.default_rng(0).poisson(3.0, size=50)
    with pytest.raises(lem.ObjectiveDecreasedError, match="'x'"):
        lem.fit(model, {"x": x}, seed=0, restarts=1)


class _Even(lem.Categorical):
    """Its states have equal shares."""

    def from_mean(self, mean: lem.Array, weight: lem.Array) -> Any:
        return super().from_mean(np.ones_like(mean), weight)


class _Unit(lem.Gaussian):
    """Its variances are 1."""

    def from_mean(self, mean: lem.Array, weight: lem.Array) -> Any:
        return attrs.evolve(super().from_mean(mean, weight), covariance=[np.eye(2)] * len(mean))


@pytest.mark.parametrize(
    ("prior", "family"), [(_Even, lem.Gaussian), (lem.Categorical, _Unit)], ids=["even", "unit"]
)
def test_a_maximum_that_a_subclass_constrains_is_so_in_every_step(prior: Any, family: Any) -> None:
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(60, 2)), 3.0 + 0.5 * rng.normal(size=(20, 2))])
    z = lem.latent("z", prior(probs=[0.5, 0.5]))
    start = family(mean=[[0.0, 0.0], [2.0, 2.0]], covariance=[np.eye(2)] * 2)
    fit = lem.fit(lem.Model([z, lem.observed("x", start, given=z)]), x, restarts=1)
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, x), rel=1e-12)


def test_what_a_subclass_reports_of_its_maximum_is_reported() -> None:
    class Reporting(lem.Poisson):
        @property
        def events(self) -> tuple[str, ...]:
            return () if self.rate is None else ("a rate was found",)

    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    model = lem.Model([z, lem.observed("x", Reporting(rate=[1.0, 5.0]), given=z)])
    fit = lem.fit(model, {"x": np.array([0, 1, 2, 7, 8, 9])}, restarts=1)
    assert any("a rate was found" in event for event in fit.events)


def test_a_maximiser_that_goes_part_of_the_way_goes_on_from_the_last_step() -> None:
    class Half(lem.Poisson):
        def from_mean(self, mean: lem.Array, weight: lem.Array) -> Any:
            new = super().from_mean(mean, weight)
            return attrs.evolve(new, rate=0.5 * (new.rate + self.rate))

    rng = np.random.default_rng(0)
    x = np.concatenate([rng.poisson(3.0, size=60), rng.poisson(12.0, size=40)])
    fits = []
    for family in (lem.Poisson, Half):
        z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
        model = lem.Model([z, lem.observed("x", family(rate=[5.0, 6.0]), given=z)])
        fits.append(lem.fit(model, {"x": x}, restarts=1, accelerate=None, tol=1e-10))
    assert fits[1].log_likelihood == pytest.approx(fits[0].log_likelihood, abs=1e-6)
    np.testing.assert_allclose(fits[1].model["x"].rate, fits[0].model["x"].rate, rtol=1e-3)


def test_a_prior_a_tie_and_held_parameters_are_left_to_the_general_loop() -> None:
    x = np.random.default_rng(0).poisson(3.0, size=(50, 2))
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    rate = np.array([2.0, 4.0])
    tied = lem.observed("a", lem.Poisson(rate=rate), given=z)
    models = [
        [z, tied, lem.observed("b", lem.Poisson(rate=rate), given=z, tie=tied)],
        [z, tied, lem.observed("b", lem.fixed(lem.Poisson(rate=rate)), given=z)],
        [z, tied, lem.observed("b", lem.Poisson(rate=rate, prior=lem.Gamma(2.0, 1.0)), given=z)],
    ]
    for nodes in models:
        problem = Problem.of(lem.Model(nodes), {"a": x[:, 0], "b": x[:, 1]})
        assert Natural.of(problem, problem.theta(), Soft()) is None
