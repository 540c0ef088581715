"""The laws of a distribution, over the registry of families."""

from __future__ import annotations

import copy
import pickle

import attrs
import numpy as np
import pytest
from registry import FAMILIES, Family, Rayleigh, density
from scipy import stats

import latentem as lem
from latentem.testing import check_distribution

K = 3


def _weights(family: Family, seed: int = 0) -> np.ndarray:
    k = 2 if "zero-inflated" in family.name or "table" in family.name else K
    return np.random.default_rng(seed).gamma(2.0, size=(len(family.value), k))


@pytest.mark.parametrize(
    ("family", "seed"),
    # Fits that climb by many steps take their time.
    [(f, s) for f in FAMILIES for s in (0, 1) if not (s and isinstance(f.dist, lem.StudentT))],
    ids=str,
)
def test_every_family_keeps_the_laws(family: Family, seed: int) -> None:
    check_distribution(family.dist, family.value, seed=seed)


EUCLIDEAN = [
    f for f in FAMILIES if f.dist.bind(value := f.dist.check(f.value)).euclidean(value) is not None
]


@pytest.mark.parametrize("family", EUCLIDEAN, ids=str)
def test_rows_of_a_euclidean_family_are_as_far_apart_as_it_says(family: Family) -> None:
    value = family.dist.check(family.value)
    bound = family.dist.bind(value)
    rows = bound.euclidean(value)
    assert rows is not None
    assert bound.is_euclidean
    z = (rows.rows - rows.centre) / rows.scale
    squares, far = np.square(z[:, None] - z).sum(axis=2), bound.dissimilarity(value, value)
    np.testing.assert_allclose(squares / squares.mean(), far / far.mean(), rtol=1e-9, atol=1e-12)


def test_which_families_are_euclidean() -> None:
    assert {type(family.dist) for family in EUCLIDEAN} >= {lem.Gaussian, lem.Normal, lem.LogNormal}


WHOLE = [f for f in FAMILIES if np.asarray(f.value).dtype.kind in "biu" and "point" not in f.name]


@pytest.mark.parametrize("family", WHOLE, ids=str)
def test_a_family_that_may_shut_out_values_says_so(family: Family) -> None:
    value = family.dist.check(family.value)
    bound = family.dist.bind(value)
    shut_out = False
    for row in np.unique(value, axis=0):  # a state of this value alone
        alike = (value == row).reshape(len(value), -1).all(axis=1)
        weights = np.ones((np.count_nonzero(alike), _weights(family).shape[1]))
        shut_out |= bool((bound.fit(value[alike], weights).log_prob(value) == -np.inf).any())
    assert shut_out == (family.dist.reaches_zero or family.dist.bounds_support)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.oracle], ids=str)
def test_log_prob_equals_the_scalar_formula(family: Family) -> None:
    weights = _weights(family)
    value = family.dist.check(family.value)
    fitted = _evaluable(family, value, weights)
    log_prob = fitted.log_prob(value)
    k = log_prob.shape[1]
    formula = density(fitted, (k,))
    expected = [[formula(x, j) for j in range(k)] for x in value]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-9, atol=1e-9)


def _evaluable(family: Family, value: np.ndarray, weights: np.ndarray) -> lem.Distribution:
    fitted = family.dist.fit(value, weights)
    return attrs.evolve(fitted, value=np.zeros(K)) if "point" in family.name else fitted


@pytest.mark.parametrize(
    "dist",
    [lem.Categorical(3), lem.Bernoulli(), lem.Poisson(), lem.Normal(), lem.Normal(shared=True)]
    + [lem.Gaussian(covariance=c, shared=s) for c in ("full", "diagonal") for s in (True, False)],
    ids=repr,
)
def test_two_parents_are_their_combinations_in_order(dist: lem.Distribution) -> None:
    rng = np.random.default_rng(0)
    value = {"Categorical": rng.integers(0, 3, 50), "Bernoulli": rng.integers(0, 2, 50)}.get(
        type(dist).__name__, rng.integers(0, 9, 50)
    )
    value = value[:, None] + rng.normal(size=(50, 2)) if isinstance(dist, lem.Gaussian) else value
    weights = rng.gamma(2.0, size=(50, 2, 3))
    both = dist.fit(value, weights)
    one = dist.fit(value, weights.reshape(50, 6))
    for name, array in both.parameters.items():
        flat = one.parameters[name]
        assert array.shape == (2, 3, *flat.shape[1:])
        np.testing.assert_allclose(array.reshape(flat.shape), flat, rtol=1e-12)
    np.testing.assert_allclose(both.log_prob(value).reshape(50, 6), one.log_prob(value), rtol=1e-12)


# -- closed forms, written out ---------------------------------------------------------------------


def test_categorical_fit_is_the_weighted_frequencies() -> None:
    value, weights = np.array([0, 2, 2, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    probs = lem.Categorical(4).fit(value, weights[:, None]).probs
    np.testing.assert_allclose(probs, [[6 / 15, 4 / 15, 5 / 15, 0]], rtol=1e-15)


def test_gaussian_structures_are_projections_of_the_weighted_covariance() -> None:
    rng = np.random.default_rng(3)
    value, weights = rng.normal(size=(50, 3)), rng.gamma(2.0, size=(50, 2))
    share = weights / weights.sum(axis=0)
    means = share.T @ value
    full = np.array([np.cov(value.T, aweights=w, ddof=0) for w in weights.T])
    expected = {
        "full": full,
        "diagonal": np.array([np.diag(np.diag(s)) for s in full]),
        "spherical": np.array([np.eye(3) * np.trace(s) / 3 for s in full]),
    }
    pool = weights.sum(axis=0) / weights.sum()
    for structure, covariance in expected.items():
        free = lem.Gaussian(covariance=structure).fit(value, weights)
        np.testing.assert_allclose(free.mean, means, rtol=1e-12)
        np.testing.assert_allclose(free.covariance, covariance, rtol=1e-10, atol=1e-14)
        shared = lem.Gaussian(covariance=structure, shared=True).fit(value, weights)
        pooled = np.tensordot(pool, covariance, axes=1)
        np.testing.assert_allclose(shared.covariance, [pooled] * 2, rtol=1e-10, atol=1e-14)


def test_normal_is_the_gaussian_of_one_dimension() -> None:
    rng = np.random.default_rng(4)
    value, weights = rng.normal(size=30), rng.gamma(2.0, size=(30, 2))
    for shared in (False, True):
        normal = lem.Normal(shared=shared).fit(value, weights)
        gaussian = lem.Gaussian(shared=shared).fit(value[:, None], weights)
        np.testing.assert_allclose(normal.mean, gaussian.mean[:, 0], rtol=1e-13)
        np.testing.assert_allclose(normal.variance, gaussian.covariance[:, 0, 0], rtol=1e-13)
        assert normal.n_parameters == gaussian.n_parameters == (3 if shared else 4)


def test_log_prob_agrees_with_scipy_far_in_the_tails() -> None:
    x = np.array([-1e4, -30.0, 0.0, 30.0, 1e4])
    normal = lem.Normal(mean=[0.0], variance=[2.0])
    np.testing.assert_allclose(
        normal.log_prob(x)[:, 0], stats.norm.logpdf(x, scale=np.sqrt(2.0)), rtol=1e-13
    )
    counts = np.array([0, 1, 10, 1000])
    poisson = lem.Poisson(rate=[0.01, 50.0])
    expected = stats.poisson.logpmf(counts[:, None], [0.01, 50.0])
    np.testing.assert_allclose(poisson.log_prob(counts), expected, rtol=1e-12)


def test_counts_below_0_are_no_counts_to_fit_either() -> None:
    below = np.array([-1.0, -2.0])
    with pytest.raises(lem.ModelError, match="rate must be finite and not negative"):
        lem.Poisson().fit(below, np.ones((2, 1)))
    with pytest.raises(lem.ModelError, match="rate must be finite and not negative"):
        lem.Independent(lem.Poisson()).fit(below[:, None], np.ones((2, 1)))


def test_impossible_values_have_log_probability_minus_infinity_and_stay_impossible() -> None:
    assert lem.Poisson(rate=[0.0]).log_prob(np.array([0, 1]))[:, 0].tolist() == [0.0, -np.inf]
    bernoulli = lem.Bernoulli(probs=[0.0, 1.0]).log_prob(np.array([0, 1]))
    assert bernoulli.tolist() == [[0.0, -np.inf], [-np.inf, 0.0]]
    assert lem.PointMass(2).log_prob(np.array([2, 3])).tolist() == [0.0, -np.inf]
    fitted = lem.Categorical(3).fit(np.array([0, 1]), np.ones((2, 1)))
    assert fitted.probs[0, 2] == 0


def test_covariance_floor_is_the_maximiser_under_the_constraint() -> None:
    rng = np.random.default_rng(5)
    direction = rng.normal(size=50)
    value = np.stack([direction, direction], axis=1)  # a line: one eigenvalue is zero
    fitted = lem.Gaussian(floor=1e-3).fit(value, np.ones((50, 1)))
    standard = value / value.std(axis=0)
    covariance = fitted.covariance[0] / np.outer(value.std(axis=0), value.std(axis=0))
    eigenvalues = np.linalg.eigvalsh(covariance)
    np.testing.assert_allclose(eigenvalues, [1e-3, 2.0], rtol=1e-9)
    best = _gaussian_objective(standard, covariance)
    for seed in range(30):  # no matrix with eigenvalues >= floor does better
        noise = np.random.default_rng(seed).normal(size=(2, 2)) * 0.02
        values, vectors = np.linalg.eigh(covariance + covariance @ (noise + noise.T))
        other = (vectors * np.maximum(values, 1e-3)) @ vectors.T
        assert _gaussian_objective(standard, 0.5 * (other + other.T)) <= best + 1e-9
    assert fitted.at_constraint
    assert "floor" in fitted.events[0]


def _gaussian_objective(value: np.ndarray, covariance: np.ndarray) -> float:
    return float(stats.multivariate_normal(value.mean(axis=0), covariance).logpdf(value).sum())


# -- what is held cannot be changed ----------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_parameters_and_what_goes_along_are_read_only(family: Family) -> None:
    value = family.dist.check(family.value)
    weights = _weights(family)
    bound = family.dist.bind(value)
    for dist in (family.dist, bound.fit(value, weights)):
        copies = [dist, copy.copy(dist), copy.deepcopy(dist)]
        if "medoid" not in family.name:  # its dissimilarity is a function without a name
            copies.append(pickle.loads(pickle.dumps(dist)))
        for copied in copies:
            assert type(copied) is type(dist)
            assert copied.state_arrays.keys() == dist.state_arrays.keys()
            for name, array in copied.state_arrays.items():
                if array is not None:
                    assert not array.flags.writeable, name
                    np.testing.assert_array_equal(array, dist.state_arrays[name])


def test_the_arrays_that_a_plug_in_was_given_stay_the_users_own() -> None:
    scale = np.ones(2)
    dist = Rayleigh(scale)
    assert not dist.scale.flags.writeable
    scale[:] = 2.0


# -- wrappers: a hook that is forgotten would answer for the wrapper and not for what it holds -----

# The hooks of a distribution whose default is right for a wrapper, and why.
DEFAULT_IS_RIGHT = {
    lem.Switch: {
        "check_gapped": "it fills as its cases do, and asks each to check",
        "free": "a switch holds nothing fixed itself; its cases may",
        "trailing_axes": "check_parents asks the cases",
        "holdable": "it has no parameters of its own to hold",
        "held": "as holdable",
        "checks_fit": "says whether check_fit is its own",
        "log_prob_table": "from log_prob",
        "state_log_probs": "from log_prob",
        "dissimilarity": "cases need not measure alike, so a switch seeds nothing",
        "has_dissimilarity": "as dissimilarity",
        "euclidean": "as dissimilarity",
        "is_euclidean": "as dissimilarity",
    },
    type(lem.fixed(lem.PointMass(0))): {
        "trailing_axes": "check_parents asks the distribution",
        "holdable": "all is fixed",
        "bounds_support": "nothing is fitted",
        "reaches_zero": "nothing is fitted",
        "held": "as holdable",
        "check_fit": "nothing is fitted, so the data may leave it open",
        "checks_fit": "as check_fit",
        "feasible": "no constraint of a maximiser is asked of what nothing maximises",
        "events": "its maximiser does nothing",
        "at_constraint": "as events",
        "vacant": "no state asks to be moved",
        "relocate": "as vacant",
    },
}


@pytest.mark.parametrize("wrapper", DEFAULT_IS_RIGHT, ids=lambda wrapper: wrapper.__name__)
def test_a_wrapper_answers_every_hook(wrapper: type[lem.Distribution]) -> None:
    hooks = {name for name in vars(lem.Distribution) if not name.startswith("_")}
    hooks |= {"n_parameters"}
    if wrapper is lem.Switch:  # a fixed distribution has these if what it holds has them
        hooks |= {"sample", "expected_value"}
    own = set(vars(wrapper))
    assert hooks - own == set(DEFAULT_IS_RIGHT[wrapper])


def test_wrappers_keep_the_parameters_of_some_states() -> None:
    old = lem.Switch([lem.Poisson(rate=[1.0]), lem.Poisson(rate=[2.0])])
    new = lem.Switch([lem.Poisson(rate=[3.0]), lem.Poisson(rate=[4.0])])
    kept = new.keep(old, np.array([True, False]))
    assert [case.rate.tolist() for case in kept.cases] == [[1.0], [4.0]]
    held = lem.fixed(lem.Poisson(rate=[1.0, 2.0]))
    assert held.keep(held, np.array([True, False])) is held
    assert held.moved({}, 1.0) is held


def test_a_switch_of_one_family_is_that_family() -> None:
    rng = np.random.default_rng(0)
    value, weights = rng.normal(size=(30, 2)), rng.gamma(2.0, size=(30, 6))
    plain = lem.Gaussian().fit(value, weights)
    cases = [lem.Gaussian().fit(value, own) for own in np.split(weights, 2, axis=1)]
    switch = lem.Switch(cases).flatten((2, 3))
    np.testing.assert_allclose(switch.log_prob(value), plain.log_prob(value), rtol=1e-12)
    np.testing.assert_allclose(switch.expected_value(), plain.expected_value(), rtol=1e-12)
    refitted = switch.fit(value, weights)
    np.testing.assert_allclose(refitted.log_prob(value), plain.log_prob(value), rtol=1e-9)
    bound = [plain.bind(value), switch.bind(value)]
    value[:9, 0] = np.nan
    share = weights.T / weights.sum(axis=1)
    means = [dist.completed(value, share) for dist in bound]
    np.testing.assert_allclose(means[0], means[1], rtol=1e-9)
    state = np.arange(30) % 6
    draws = bound[1].completed_by_draws(value, state, np.random.default_rng(0))
    assert np.isfinite(draws).all()
    np.testing.assert_array_equal(draws[9:], value[9:])


def test_the_cases_of_a_switch_read_levels_alike() -> None:
    value = np.array(["no", "yes", "yes", "no"])
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    cases = [lem.fixed(lem.Categorical(probs=[0.9, 0.1])), lem.Categorical(2)]
    with pytest.raises(lem.DataError, match="no labels"):  # which column is which is not known
        lem.fit(lem.Model([z, lem.observed("x", lem.Switch(cases), given=z)]), {"x": value})
    levels = ["no", "yes"]
    cases = [
        lem.fixed(lem.Categorical(probs=[0.9, 0.1], levels=levels)),
        lem.Categorical(2, levels=levels),
    ]
    model = lem.Model([z, lem.observed("x", lem.Switch(cases), given=z)])
    fit = lem.fit(model, {"x": value, "z": [1, 1, 1, 1]})
    assert fit.model["x"].levels == ("no", "yes")
    assert fit.model["x"].cases[1].probs.tolist() == [0.5, 0.5]
    with pytest.raises(lem.ModelError, match=r"Switch: every case must have the same levels.*got"):
        lem.Switch([lem.Categorical(levels=["no", "yes"]), lem.Categorical(levels=["yes", "no"])])


def test_check_distribution_asks_for_enough_rows() -> None:
    with pytest.raises(ValueError, match=r"must have at least 8 rows, got shape \(3,\)"):
        check_distribution(lem.Poisson(), [1, 2, 3])
