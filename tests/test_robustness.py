"""What hostile or careless use must not do: change data, hang, blame the wrong node, or crash."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import latentem as lem

RNG = np.random.default_rng(0)
BLOBS = np.r_[RNG.normal(0, 1, (60, 2)), RNG.normal(4, 2, (60, 2))]
COUNTS = RNG.poisson([2] * 50 + [9] * 50)


def mixture(dist: lem.Distribution, k: int = 2) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist, given=z)])


@attrs.frozen(eq=False)
class Exponential(lem.ExponentialFamily):
    rate: lem.Array | None = lem.parameter()  # noqa: RUF009 (a field)

    def statistics(self, value: lem.Array) -> lem.Array:
        return value[:, None]

    def natural_parameters(self) -> tuple[lem.Array, lem.Array]:
        assert self.rate is not None
        return -self.rate[..., None], -np.log(self.rate)

    def from_mean(self, mean: lem.Array, weight: lem.Array) -> Exponential:
        with np.errstate(divide="ignore"):
            return Exponential(1 / mean[..., 0])


@attrs.frozen(eq=False)
class OneColumn(lem.Distribution):
    scale: lem.Array | None = None

    def log_prob(self, value: lem.Array) -> lem.Array:
        assert self.scale is not None
        return -value[:, None] / self.scale[0]

    def fit(self, value: lem.Array, weights: lem.Array) -> OneColumn:
        return OneColumn(weights.T @ value / weights.sum(0))


def test_integer_column_names_are_columns() -> None:
    model = lem.Model([lem.observed("x", lem.Poisson())])
    assert lem.fit(model, pd.DataFrame([3, 1, 4, 1, 5])).model["x"].rate == pytest.approx(2.8)


def test_a_start_gives_parameters_to_the_declared_model_and_not_its_structure() -> None:
    full = lem.fit(lem.models.gaussian_mixture(2), BLOBS, seed=0).model
    with pytest.raises(lem.ModelError, match="Node 'x' must start from a diagonal covariance"):
        lem.fit(lem.models.gaussian_mixture(2, "diagonal"), BLOBS, init=full)
    counts = lem.fit(mixture(lem.Poisson()), COUNTS, seed=0).model
    with pytest.raises(lem.ModelError, match="Node 'x' must start from a Normal, got a Poisson"):
        lem.fit(mixture(lem.Normal()), COUNTS, init=counts)
    z = lem.latent("z", lem.fixed(lem.Categorical(probs=[0.5, 0.5])))
    held = lem.Model([z, lem.observed("x", lem.Poisson(), given=z)])
    assert lem.fit(held, COUNTS, init=counts).model["z"].probs.tolist() == [0.5, 0.5]


def test_results_do_not_change_with_the_users_arrays() -> None:
    x = BLOBS.copy()
    fit = lem.fit(lem.models.gaussian_mixture(1), x)
    before = fit.log_likelihood
    x *= 10
    assert fit.log_likelihood == before == fit.objective
    mean = np.zeros((2, 1))
    gaussian = lem.Gaussian(mean=mean, covariance=np.ones((2, 1, 1)))
    mean[:] = np.nan
    assert np.isfinite(gaussian.mean).all()


@pytest.mark.parametrize(
    ("make", "arrays"),
    [
        (lem.Gaussian, {"mean": np.zeros((2, 1)), "covariance": np.ones((2, 1, 1))}),
        (lem.Normal, {"mean": np.zeros(2), "variance": np.ones(2)}),
        (lem.Poisson, {"rate": np.ones(2)}),
        (lem.Categorical, {"probs": np.full((2, 2), 0.5)}),
        (lem.Bernoulli, {"probs": np.full(2, 0.5)}),
        (lem.PointMass, {"value": np.array([0, 1])}),
        (lem.PointMass, {"value": np.array([0.5, 1.5])}),
        (lem.Prototype, {"prototypes": np.zeros((2, 1))}),
    ],
)
def test_a_distribution_does_not_change_with_the_users_arrays(
    make: Callable[..., Any], arrays: dict[str, NDArray[Any]]
) -> None:
    dist = make(**arrays)
    before = {name: array.copy() for name, array in arrays.items()}
    for array in arrays.values():
        array[...] = 7
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(dist, name), array)


def test_parameters_cannot_be_changed_in_place() -> None:
    gaussian = lem.fit(lem.models.gaussian_mixture(2), BLOBS, seed=0, restarts=1).model["x"]
    for array in (gaussian.mean, gaussian.covariance):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0


@pytest.mark.parametrize("dist", [lem.Categorical(2), lem.Bernoulli(), lem.Poisson()], ids=repr)
def test_fitted_probabilities_cannot_be_changed_in_place(dist: lem.Distribution) -> None:
    fit = lem.fit(mixture(dist), np.minimum(COUNTS, 1), seed=0, restarts=1)
    for node in ("z", "x"):
        for array in fit.model[node].parameters.values():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0.0


def test_a_nearly_singular_covariance_keeps_its_digits_in_a_pickle() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1)) @ [[1.0, 1.0]]
    x[:, 1] += 1e-9 * rng.normal(size=200)
    model = lem.initialize(lem.models.gaussian_mixture(1), x, seed=0)
    copied = pickle.loads(pickle.dumps(model))
    assert lem.log_likelihood(copied, x) == lem.log_likelihood(model, x)


@pytest.mark.parametrize("seed", [-1, "a", "1", 1.5, True, [0.5], np.array(1.5), object()])
def test_seeds_that_are_none_are_refused(seed: Any) -> None:
    model = lem.initialize(mixture(lem.Poisson()), COUNTS, seed=0)
    fit = lem.fit(model, COUNTS, restarts=1)
    calls: list[Callable[[], object]] = [
        lambda: lem.fit(mixture(lem.Poisson()), COUNTS, seed=seed),
        lambda: next(lem.iterate(mixture(lem.Poisson()), COUNTS, seed=seed)),
        lambda: lem.initialize(mixture(lem.Poisson()), COUNTS, seed=seed),
        lambda: lem.sample(model, 3, seed=seed),
        lambda: fit.sample(3, seed=seed),
        lambda: lem.stochastic(seed),
        lambda: fit.posterior().sample(2, seed=seed),
    ]
    message = (
        r"^seed must be None, a whole number of at least 0, or a numpy\.random\.Generator, "
        r"got .+\. Give one\.$"
    )
    for call in calls:
        with pytest.raises(lem.ModelError, match=message):
            call()


def test_seeds_may_be_of_any_kind_that_numpy_knows() -> None:
    model = lem.initialize(mixture(lem.Poisson()), COUNTS, seed=0)
    expected = lem.sample(model, 9, seed=3)["x"]
    for seed in (
        np.int64(3),
        np.random.SeedSequence(3),
        np.random.PCG64(3),
        np.random.default_rng(3),
    ):
        np.testing.assert_array_equal(lem.sample(model, 9, seed=seed)["x"], expected)
    assert len(lem.sample(model, 9, seed=None)["x"]) == 9


def test_a_trace_says_which_data_frames_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = lem.fit(mixture(lem.Poisson()), COUNTS, seed=0, restarts=1).trace
    for backend in ("nonsense", "duckdb", 3, None):
        message = r"^backend must be .*'pandas'.*'polars'.*'pyarrow'.*, got .+\. .+"
        with pytest.raises(lem.ModelError, match=message) as error:
            trace.to_dataframe(backend)
        assert "pip install" not in str(error.value)
    assert isinstance(trace.to_dataframe(pd), pd.DataFrame)
    for module, advice in (("pandas", r"latentem\[pandas\]"), ("polars", "install polars")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(lem.MissingExtraError, match=rf"{module} is needed .*{advice}"):
            trace.to_dataframe(module)


def test_a_density_without_maximum_is_named() -> None:
    x = np.r_[np.zeros(20), np.random.default_rng(1).exponential(5, 50)]
    with pytest.raises(lem.DegenerateError, match=r"Node 'x': Exponential .*rate"):
        lem.fit(mixture(Exponential()), x, init=lem.init.from_labels(np.repeat([0, 1], [20, 50])))


def test_a_log_prob_of_too_few_columns_is_named() -> None:
    with pytest.raises(lem.ModelError, match=r"Node 'x': log_prob must .*2 combinations.* got 1\."):
        lem.fit(mixture(OneColumn()), RNG.random(30), seed=0)


def test_prototypes_within_a_switch_are_assigned_hard() -> None:
    with pytest.raises(lem.ModelError, match=r"assign=lem\.hard"):
        lem.fit(mixture(lem.Switch([lem.Prototype(), lem.Prototype("l1")])), BLOBS, seed=0)


@pytest.mark.filterwarnings("ignore::latentem.errors.ConvergenceWarning")
def test_a_fit_annealed_by_a_function_can_be_stored() -> None:
    fit = lem.fit(
        mixture(lem.Poisson()),
        COUNTS,
        assign=lem.tempered(lambda t: min(1.0, 0.5 + 0.1 * t)),
        seed=0,
    )
    copied = pickle.loads(pickle.dumps(fit))
    assert copied.objective == fit.objective
    np.testing.assert_array_equal(copied.predict(), fit.predict())


def test_a_stored_fit_holds_its_data_once() -> None:
    x = np.random.default_rng(0).normal(size=(2_000, 5))
    fit = lem.fit(lem.models.gaussian_mixture(2), x, seed=0, restarts=1, max_iter=200)
    assert len(pickle.dumps(fit)) < 1.5 * x.nbytes


def test_the_distortion_is_that_of_the_prototypes_whatever_the_latent() -> None:
    fit = lem.fit(mixture(lem.Prototype()), BLOBS, seed=0, assign=lem.hard)
    residuals = BLOBS - fit.model["x"].prototypes[fit.predict()]
    assert fit.distortion == pytest.approx(np.square(residuals).sum(), rel=1e-12)


def test_q_refuses_the_same_nodes_with_parents_in_another_order() -> None:
    a, b = (lem.latent(name, lem.Categorical(probs=[0.5, 0.5])) for name in "ab")
    rate = np.array([[1.0, 5.0], [9.0, 20.0]])
    model = lem.Model([a, b, lem.observed("y", lem.Poisson(rate=rate), given=[a, b])])
    other = lem.Model([a, b, lem.observed("y", lem.Poisson(rate=rate.T), given=[b, a])])
    data = {"y": COUNTS}
    q = lem.expected_log_joint(model, data, lem.e_step(model, data))
    assert q(model) == pytest.approx(q.total)
    with pytest.raises(lem.ModelError, match="graph"):
        q(other)


@pytest.mark.parametrize("seed", range(3))
def test_cosine_k_means_seeds(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(60, 3))
    fit = lem.fit(lem.models.kmeans(3, "cosine"), x, assign=lem.hard, seed=seed)
    assert 0 < fit.distortion < 60


def test_a_rare_level_survives_random_starts() -> None:
    x = np.random.default_rng(0).integers(0, 3, 1000)
    x[0] = 3
    fit = lem.fit(mixture(lem.Categorical(4)), x, seed=0)
    assert fit.log_likelihood >= np.sum(np.log(np.bincount(x) / 1000)[x]) - 1e-6


def _many(n: int = 30_000) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(n, 2))


def test_starts_of_all_rows_are_not_subsampled() -> None:
    x = np.random.default_rng(0).poisson(3, 30_000)
    labels = lem.init.from_labels(np.arange(30_000) % 2)
    fit = lem.fit(mixture(lem.Poisson()), x, init=labels, restarts=2, max_iter=3, tol=0)
    assert np.isfinite(fit.log_likelihood)


@pytest.mark.filterwarnings("ignore::latentem.errors.DegenerateWarning")
@pytest.mark.filterwarnings("ignore::latentem.errors.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(3))
def test_subsamples_keep_the_reference_of_all_rows(seed: int) -> None:
    spike = _many()
    spike[:, 1] = 0
    spike[0, 1] = 1
    tied = _many()
    tied[:9000] = 0
    for x in (spike, tied):
        fit = lem.fit(lem.models.gaussian_mixture(2), x, seed=seed, max_iter=5)
        assert np.isfinite(fit.log_likelihood)
    weights = np.zeros(30_000)
    weights[[5, 17]] = 1
    fit = lem.fit(lem.models.gaussian_mixture(2), _many(), weights=weights, seed=seed)
    assert np.isfinite(fit.log_likelihood)


@pytest.mark.parametrize("family", ["Gaussian", "Normal"])
def test_a_start_whose_squares_overflow_is_refused(family: str) -> None:
    x = np.random.default_rng(0).normal(size=30)
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    dist: lem.Distribution = lem.Normal(mean=[0.0, 1e200], variance=[1.0, 1.0])
    if family == "Gaussian":
        dist = lem.Gaussian(mean=[[0.0], [1e200]], covariance=np.ones((2, 1, 1)))
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    with pytest.raises(lem.ModelError, match=r"'x' must start from a mean below 1e\+150 .+, got"):
        lem.fit(model, x, restarts=1)


@pytest.mark.filterwarnings("ignore::latentem.errors.DegenerateWarning")
def test_a_start_below_the_floor_is_lifted_to_it() -> None:
    x = np.r_[np.zeros(5), np.arange(1, 20.0)]
    z = lem.latent("z", lem.Categorical(probs=[0.3, 0.7]))
    tight = lem.Normal(mean=[0.0, 10.0], variance=[1e-14, 20.0])
    start = lem.Model([z, lem.observed("x", tight, given=z)])
    objective = lem.fit(mixture(lem.Normal()), x, init=start).trace["objective"]
    assert (np.diff(objective) > -1e-8).all()


@pytest.mark.parametrize("dissimilarity", ["squared_euclidean", "l1", "hamming"])
def test_more_vacant_states_than_places_for_them(dissimilarity: str) -> None:
    x = np.array([[0.0]] * 4 + [[1.0], [1.0], [4.0]])
    labels = lem.init.from_labels([0, 1, 2, 3, 4, 4, 4])
    fit = lem.fit(lem.models.kmeans(5, dissimilarity), x, assign=lem.hard, init=labels)
    assert fit.distortion == 0
    assert any("the other states stay" in event for event in fit.events)


def test_a_prototype_that_is_no_row_is_kept_while_it_is_better() -> None:
    def squared(value: lem.Array, prototype: lem.Array) -> lem.Array:
        return np.square(value - prototype).sum(1)

    start = lem.models.kmeans(2, squared).replace(
        {"x": lem.Prototype(squared, prototypes=[[0.5], [10.5]])}
    )
    fit = lem.fit(start, np.array([[0.0], [1], [10], [11]]), assign=lem.hard)
    assert fit.distortion == 1.0


def test_a_switch_of_fixed_cases_is_sampled() -> None:
    a, b = (lem.latent(name, lem.Categorical(probs=[0.5, 0.5])) for name in "ab")
    inner = [lem.fixed(lem.PointMass([0, 1])), lem.fixed(lem.PointMass([5, 6]))]
    nested = [lem.Switch([lem.PointMass(0), lem.PointMass(1)]), lem.PointMass([5, 6])]
    for cases in (inner, nested):
        model = lem.Model([a, b, lem.observed("x", lem.Switch(cases), given=[a, b])])
        draws = lem.sample(model, 50, seed=0)
        np.testing.assert_array_equal(draws["x"], 5 * draws["a"] + draws["b"])


@attrs.frozen(eq=False)
class Noise(lem.Distribution):
    """Without parameters: it does not tell how many states its parents have."""

    def log_prob(self, value: lem.Array) -> lem.Array:
        return np.zeros((len(value), 2))

    def fit(self, value: lem.Array, weights: lem.Array) -> Noise:
        return self

    def sample(self, rng: np.random.Generator, state: lem.Array) -> lem.Array:
        return rng.random(len(state))


def test_a_switch_of_cases_without_parameters_is_sampled() -> None:
    a, b = (lem.latent(name, lem.Categorical(probs=[0.5, 0.5])) for name in "ab")
    model = lem.Model([a, b, lem.observed("x", lem.Switch([Noise(), Noise()]), given=[a, b])])
    assert lem.sample(model, 50, seed=0)["x"].shape == (50,)


@pytest.mark.parametrize("dissimilarity", ["squared_euclidean", "l1"])
@pytest.mark.parametrize("further", [False, True])
def test_a_prototype_within_a_switch_that_lost_its_rows_moves(
    dissimilarity: str, further: bool
) -> None:
    x = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
    places = [np.zeros(2), np.full(2, 1e3)]
    z, g = lem.latent("z", lem.Choice(2)), lem.observed("g", lem.Bernoulli(probs=0.5))
    if further:
        places = [np.stack([place, place]) for place in places]
    cases = lem.Switch([lem.Prototype(dissimilarity, prototypes=place) for place in places])
    nodes = [z, g, lem.observed("x", cases, given=[z, g] if further else z)]
    data = {"x": x, "g": np.array([0, 0, 0, 0])}
    fit = lem.fit(lem.Model(nodes), data, assign=lem.hard, restarts=1)
    assert fit.distortion == pytest.approx(1.0 if dissimilarity == "squared_euclidean" else 2.0)
    assert sorted(fit.predict().tolist()) == [0, 0, 1, 1]
    assert any("node 'x': case 1: state 0 had lost all its rows" in e for e in fit.events)


def test_tight_cases_of_a_switch_keep_their_digits() -> None:
    labels = np.repeat([0, 1], 100)
    x = 1e3 + labels + 1e-6 * np.random.default_rng(0).normal(size=200)
    means, variances = np.array([1e3, 1e3 + 1]), np.array([0.01, 0.01])
    cases = [lem.Normal(mean=m, variance=v) for m, v in zip(means, variances, strict=True)]
    for dist in (lem.Normal(mean=means, variance=variances), lem.Switch(cases)):
        z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
        model = lem.Model([z, lem.observed("x", dist, given=z)])
        new = lem.m_step(model, x, lem.e_step(model, x))["x"]
        found = np.ravel(list(new.parameters.values())[1::2])  # mean, variance, mean, variance
        np.testing.assert_allclose(found, [x[:100].var(), x[100:].var()], rtol=1e-9)


def test_a_tight_case_that_lost_its_rows_keeps_its_density() -> None:
    tight = lem.Normal(mean=1e3, variance=1e-12)
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    switch = lem.Switch([lem.Normal(mean=0.0, variance=4.0), tight])
    x = np.r_[np.linspace(-3, 3, 50), 5.0]
    start = lem.Model([z, lem.observed("x", switch, given=z)])
    fit = lem.fit(start, x, restarts=1)
    assert fit.model["x"].cases[1].mean == 1e3
    assert fit.log_likelihood == pytest.approx(lem.log_likelihood(fit.model, x), rel=1e-12)


def test_switch_refuses_cases_of_different_shapes_and_takes_columns() -> None:
    x = RNG.normal(size=50)
    with pytest.raises(lem.DataError, match="suit all cases of Node 'x' alike"):
        lem.fit(mixture(lem.Switch([lem.Normal(), lem.Gaussian()])), x, seed=0)
    inflated = mixture(lem.Switch([lem.PointMass(0), lem.Poisson()]))
    columns = lem.fit(inflated, COUNTS[:, None], seed=0).log_likelihood
    assert columns == pytest.approx(lem.fit(inflated, COUNTS, seed=0).log_likelihood)


def test_long_chains_of_latents() -> None:
    n = 120
    stay = np.array([[0.9, 0.1], [0.1, 0.9]])
    latents = [lem.latent("z0", lem.Categorical(probs=[0.5, 0.5]))]
    for i in range(1, n):
        node = lem.latent(f"z{i}", lem.Categorical(probs=stay), given=latents[-1])
        latents.append(node)
    x = lem.observed("x", lem.Poisson(rate=[1.0, 3.0]), given=latents[0])
    posterior = lem.e_step(lem.Model([*latents, x]), {"x": [1, 7]})
    ends = posterior.marginal("z0", f"z{n - 1}")
    expected = posterior.marginal("z0")[:, :, None] * np.linalg.matrix_power(stay, n - 1)
    np.testing.assert_allclose(ends, expected, rtol=1e-10)


def test_integer_weights_equal_repeats_even_at_the_floor() -> None:
    weights = np.ones(len(BLOBS))
    weights[0] = 60
    rows = np.repeat(np.arange(len(BLOBS)), weights.astype(int))
    labels = np.repeat([0, 1], 60)
    with pytest.warns(lem.DegenerateWarning):
        weighted = lem.fit(
            mixture(lem.Gaussian(floor=0.5)),
            BLOBS,
            weights=weights,
            init=lem.init.from_labels(labels),
        )
    with pytest.warns(lem.DegenerateWarning):
        repeated = lem.fit(
            mixture(lem.Gaussian(floor=0.5)), BLOBS[rows], init=lem.init.from_labels(labels[rows])
        )
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-10)


def test_cost_counts_observed_parents() -> None:
    z = lem.latent("z", lem.Categorical(3))
    parents = [z, *(lem.observed(f"o{i}", lem.Categorical(1000)) for i in range(3))]
    model = lem.Model([*parents, lem.observed("x", lem.Poisson(), given=parents)])
    assert lem.cost(model, 10).largest_table == 3 * 1000**3
    with pytest.raises(lem.TooLargeError, match="Node 'x'"):
        lem.fit(model, {"o0": [1], "o1": [1], "o2": [1], "x": [2]})


def test_level_codes_far_beyond_the_data_are_refused() -> None:
    with pytest.raises(lem.DataError, match="levels 0, 1, 2"):
        lem.fit(mixture(lem.Categorical()), [0, 1, 10**9], seed=0)


def test_a_prototype_that_moved_is_shown(faithful: np.ndarray) -> None:
    start = lem.models.kmeans(3).replace(
        {"x": lem.Prototype(prototypes=[[2.0, 54.0], [4.0, 80.0], [1000.0, 1000.0]])}
    )
    fit = lem.fit(start, faithful, assign=lem.hard)
    assert "state 2 had lost all its rows" in repr(fit)
    assert "state 2 had lost all its rows" in str(fit.summary())
    steps = list(lem.iterate(start, faithful, assign=lem.hard, max_iter=2))
    assert any("lost all its rows" in event for step in steps for event in step.events)
    assert any("lost all its rows" in repr(step) for step in steps)


def test_a_component_without_rows_is_shown(faithful: np.ndarray) -> None:
    covariance = [np.diag([1.0, 100.0])] * 2
    start = lem.models.gaussian_mixture(2).replace(
        {
            "z": lem.Categorical(probs=[0.5, 0.5]),
            "x": lem.Gaussian(mean=[[3.0, 70.0], [1e6, 1e6]], covariance=covariance),
        }
    )
    fit = lem.fit(start, faithful)
    assert "node 'z': state 1 has no rows" in repr(fit)


def test_a_floor_at_work_is_shown_step_by_step() -> None:
    x = np.array([[0.0, 0], [1, 1], [2, 1], [9, 9], [9, 9], [9, 9]])
    start = lem.init.from_labels([0, 0, 0, 1, 1, 1])
    steps = list(lem.iterate(lem.models.gaussian_mixture(2), x, init=start, max_iter=3))
    assert all("at its floor" in repr(step) for step in steps[1:])


def test_many_events_are_shown_in_short() -> None:
    fit = lem.fit(lem.models.kmeans(2), np.arange(8.0), assign=lem.hard, seed=0)
    many = attrs.evolve(fit, events=tuple(f"iteration {i}: event {i}" for i in range(9)))
    assert many.noted == (
        "9 events, all in fit.events; the last:",
        *(f"event {i}" for i in range(4, 9)),
    )
    same = attrs.evolve(fit, events=tuple(f"iteration {i}: alike" for i in range(9)))
    assert same.noted == ("alike",)


def test_a_state_of_an_observed_parent_that_never_occurs_is_named() -> None:
    rng = np.random.default_rng(0)
    z = lem.latent("z", lem.Categorical(2))
    g = lem.observed("g", lem.Categorical(3))
    y = lem.observed("y", lem.Normal(), given=[g, z])
    data = {"g": rng.integers(0, 2, 200), "y": rng.normal(size=200)}
    with pytest.raises(lem.DegenerateError, match=r"Node 'y': .* no row with 'g' = 2"):
        lem.fit(lem.Model([z, g, y]), data, seed=0)


def test_errors_of_a_dissimilarity_are_named() -> None:
    model = lem.models.kmeans(2, dissimilarity=lambda a: 1)
    with pytest.raises(lem.ModelError, match=r"Medoid: .* got TypeError"):
        lem.fit(model, np.arange(8.0), assign=lem.hard, seed=0)


def test_a_switch_without_a_parent_says_what_it_lacks() -> None:
    with pytest.raises(lem.ModelError, match="must have a discrete parent, whose state chooses"):
        lem.Model([lem.observed("x", lem.Switch([lem.PointMass(0), lem.Poisson()]))])


def test_an_inverse_temperature_has_a_limit() -> None:
    with pytest.raises(lem.ModelError, match="up to 1e\\+100"):
        lem.tempered(1e308)


@attrs.frozen(eq=False)
class _Waiting(lem.ExponentialFamily):
    """Exponential times, whose base measure alone says that none is negative."""

    rate: NDArray[np.float64] | None = None

    def statistics(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return value[:, None]

    def natural_parameters(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return -self.rate[..., None], -np.log(self.rate)

    def log_base_measure(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(value >= 0, 0.0, -np.inf)

    def from_mean(self, mean: NDArray[np.float64], weight: NDArray[np.float64]) -> Any:
        return attrs.evolve(self, rate=1 / mean[..., 0])


@pytest.mark.parametrize("dist", [_Waiting(), lem.Pareto(minimum=0.5)], ids=repr)
@pytest.mark.parametrize("parents", [0, 1])
def test_a_row_off_the_support_is_named_whichever_term_says_so(
    dist: lem.Distribution, parents: int
) -> None:
    z = lem.latent("z", lem.Categorical(2))
    x = lem.observed("x", dist, given=[z][:parents])
    model = lem.Model([z, x][1 - parents :])
    value = np.append(np.linspace(1, 4, 11), -1.0 if isinstance(dist, _Waiting) else 0.25)
    with pytest.raises(lem.DataError, match=r"data\['x'\] must have positive density .+ in row 11"):
        lem.fit(model, value, seed=0, restarts=1)
    weighted = lem.fit(model, value, weights=np.append(np.ones(11), 0.0), seed=0, restarts=1)
    alone = lem.fit(model, value[:-1], seed=0, restarts=1)
    assert np.isclose(weighted.log_likelihood, alone.log_likelihood)
    assert lem.log_likelihood(alone.model, value) == -np.inf


def test_values_that_only_together_are_impossible_are_named() -> None:
    z = lem.latent("z", lem.Categorical(2))
    x = lem.observed("x", lem.fixed(lem.Bernoulli(probs=[0.0, 1.0])), given=z)
    y = lem.observed("y", lem.fixed(lem.Bernoulli(probs=[1.0, 0.0])), given=z)
    with pytest.raises(lem.DataError, match=r"row 2 with 'x' \(1\) and 'y' \(1\), which no joint"):
        lem.fit(lem.Model([z, x, y]), {"x": [0, 1, 1, 0], "y": [1, 0, 1, 1]}, seed=0)


def test_a_start_with_parameters_needs_no_row_for_each_state() -> None:
    a = lem.observed("a", lem.Categorical(3))
    model = lem.Model([a, lem.observed("y", lem.Bernoulli(), given=a)])
    start = model.replace(
        {"a": lem.Categorical(probs=[0.3, 0.3, 0.4]), "y": lem.Bernoulli(probs=[0.3, 0.4, 0.5])}
    )
    fit = lem.fit(model, {"a": [0, 1, 0, 1], "y": [0, 1, 1, 0]}, init=start)
    assert fit.model["y"].probs.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "value", [[[np.nan], [1.0]], [[np.nan, 1.0, 2.0]], [[np.nan, np.inf]], [[[np.nan]]]]
)
def test_prototypes_check_values_with_gaps(value: list[Any]) -> None:
    prototype = lem.Prototype(prototypes=np.zeros((2, 2)))
    with pytest.raises(lem.LatentemError, match="Prototype"):
        prototype.log_prob(np.array(value))
