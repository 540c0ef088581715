"""Products of columns: the same as a node for each column, whole and with gaps."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import latentem as lem
from latentem.distributions.product_kernel import ColumnsKernel, LinearColumns

Z = lem.latent("z", lem.Categorical(2))
PLAIN: dict[str, Any] = {"restarts": 1, "accelerate": None, "tol": 0, "max_iter": 12}


def _whole(dist: Any) -> lem.Model:
    return lem.Model([Z, lem.observed("x", dist, given=Z)])


def _apart(families: list[lem.Distribution]) -> lem.Model:
    nodes = [lem.observed(f"x{j}", dist, given=Z) for j, dist in enumerate(families)]
    return lem.Model([Z, *nodes])


def _columns(x: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{j}": column for j, column in enumerate(x.T)}


def _fit(model: lem.Model, data: Any, **options: Any) -> lem.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (lem.ConvergenceWarning, lem.DegenerateWarning))
        return lem.fit(model, data, **{**PLAIN, **options})


def _values(dist: lem.Distribution, n: int = 120, m: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Values of m columns with two states, in units of their own, and noisy labels."""
    rng = np.random.default_rng(0)
    state = rng.integers(0, 2, n)
    level = 1.0 + 2.0 * state[:, None]
    match dist:
        case lem.Categorical() | lem.Binomial():
            x = (rng.random((n, m)) < 0.2 + 0.5 * state[:, None]) + rng.integers(0, 2, (n, m))
        case lem.Bernoulli():
            x = rng.random((n, m)) < 0.2 + 0.5 * state[:, None]
        case lem.Poisson() | lem.Geometric() | lem.NegativeBinomial() | lem.Switch():
            x = rng.negative_binomial(3, 3 / (3 + 2 * level), (n, m))
        case lem.Normal():
            x = np.array([0.0, 1e6, -3.0]) + [1.0, 1e-2, 1e8] * rng.normal(level, 0.7, (n, m))
        case lem.Beta():
            x = rng.beta(level, 2.0, (n, m))
        case _:
            x = np.array([1.0, 1e-6, 1e7]) * (0.1 + rng.gamma(3.0, level, (n, m)))
    return x, np.where(rng.random(n) < 0.2, 1 - state, state)


FAMILIES = [
    lem.Categorical(3),
    lem.Bernoulli(),
    lem.Binomial(2),
    lem.Poisson(),
    lem.Geometric(),
    lem.NegativeBinomial(),
    lem.Normal(),
    lem.Normal(shared=True),
    lem.Exponential(),
    lem.Gamma(),
    lem.LogNormal(),
    lem.Weibull(),
    lem.InverseGaussian(),
    lem.Rayleigh(),
    lem.Pareto(minimum=1e-9),
    lem.Uniform(),
    lem.Beta(),
    lem.Switch([lem.PointMass(0), lem.Poisson()]),
]


@pytest.mark.parametrize("dist", FAMILIES, ids=lambda d: repr(d)[:24])
@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
def test_columns_side_by_side_are_as_many_nodes(dist: lem.Distribution, gaps: bool) -> None:
    x, labels = _values(dist)
    if gaps:
        x = np.where(np.random.default_rng(1).random(x.shape) < 0.25, np.nan, x)
    # Starts from labels draw what is missing; from a model there is nothing to draw.
    start = _fit(_apart([dist] * 3), _columns(np.asarray(_values(dist)[0])), max_iter=1,
                 init=lem.init.from_labels(labels)).model  # fmt: skip
    apart = _fit(_apart([dist] * 3), _columns(x), init=start)
    columns = [start[f"x{j}"] for j in range(3)]
    for whole in (lem.Independent(dist, 3), lem.Product([dist] * 3)):
        known = whole.of_components(columns)
        first = _whole(whole).replace({"z": start["z"], "x": known})
        together = _fit(_whole(whole), {"x": x}, init=first)
        objective = together.trace["objective"]
        np.testing.assert_allclose(objective, apart.trace["objective"], rtol=1e-9)
        assert (np.diff(objective) >= -1e-11 * np.abs(objective[:-1])).all()
        assert together.n_parameters == apart.n_parameters
        fitted = together.model["x"]
        for j, column in enumerate(fitted.components):
            for name, array in apart.model[f"x{j}"].parameters.items():
                np.testing.assert_allclose(column.parameters[name], array, rtol=1e-6)
        posterior = lem.e_step(together.model, {"x": x})
        q = lem.expected_log_joint(together.model, {"x": x}, posterior)
        assert q.total + posterior.entropy == pytest.approx(together.log_likelihood, rel=1e-10)


def test_a_latent_class_model_is_one_matrix_product() -> None:
    x, _ = _values(lem.Categorical(3), m=20)
    fit = lem.fit(_whole(lem.Independent(lem.Categorical(3), 20)), x, seed=0)
    items = fit.model["x"]
    assert items.dist.probs.shape == items.probs.shape == (2, 20, 3)
    assert not items.probs.flags.writeable
    kernel = items.kernel()
    assert isinstance(kernel, LinearColumns)
    assert kernel.eta.shape == (2, 60)
    eta, normaliser = items.natural_parameters()
    log_prob = items.statistics(x) @ eta.T - normaliser
    np.testing.assert_allclose(log_prob, items.log_prob(x), rtol=1e-12)
    mean = items.probs.reshape(2, -1)
    again = items.from_mean(mean, np.ones(2))
    np.testing.assert_allclose(again.probs, items.probs, rtol=1e-12)


def test_mixed_columns_in_a_tuple() -> None:
    rng = np.random.default_rng(0)
    n = 900
    state = rng.integers(0, 2, n)
    x = np.column_stack(
        [
            rng.normal(3.0 * state, 1.0),
            rng.poisson(1.0 + 4.0 * state),
            rng.gamma(2.0, 1.0 + state),
            (state + (rng.random(n) < 0.2)) % 2,
            *rng.normal(size=(2, n)) + 2.0 * state,
        ]
    )
    families = (lem.Normal(), lem.Poisson(), lem.Gamma(), lem.Categorical(2), (lem.Gaussian(), 2))
    model = _whole(families)
    assert isinstance(model["x"], lem.Product)
    for entries in (x, np.where(rng.random(x.shape) < 0.2, np.nan, x)):
        fit = lem.fit(model, entries, seed=0)
        agree = np.mean(fit.posterior().mode()["z"] == state)
        assert max(agree, 1 - agree) > 0.9
        normal, poisson, _, _, gaussian = fit.model["x"].components
        order = np.argsort(normal.mean)
        np.testing.assert_allclose(normal.mean[order], [0, 3], atol=0.3)
        np.testing.assert_allclose(poisson.rate[order], [1, 5], atol=0.4)
        np.testing.assert_allclose(gaussian.mean[order], [[0, 0], [2, 2]], atol=0.3)
        errors = fit.standard_errors()["x"]
        assert errors["components[4].mean"].shape == (2, 2)
        assert (errors["components[1].rate"] < 0.5).all()


def test_a_vector_with_gaps_is_completed_within_a_product() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 3)) @ np.array([[1.0, 0.9, 0], [0, 0.3, 0], [0, 0, 1]])
    x[:150] += 4
    x[rng.random(x.shape) < 0.2] = np.nan
    apart = lem.Model(
        [Z, lem.observed("a", lem.Gaussian(), given=Z), lem.observed("b", lem.Normal(), given=Z)]
    )
    start = lem.init.from_labels((np.arange(300) < 150).astype(int))
    two = lem.fit(apart, {"a": x[:, :2], "b": x[:, 2]}, init=start, tol=1e-10)
    one = lem.fit(_whole(((lem.Gaussian(), 2), lem.Normal())), x, init=start, tol=1e-10)
    assert one.log_likelihood == pytest.approx(two.log_likelihood, rel=1e-7)
    completed, separate = one.impute()["x"], two.impute()
    np.testing.assert_allclose(completed[:, :2], separate["a"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(completed[:, 2], separate["b"], rtol=1e-3, atol=1e-3)


def test_missing_items_are_filled_in() -> None:
    x, _ = _values(lem.Categorical(3))
    gaps = x.astype(float)
    gaps[::4, 1] = np.nan
    fit = lem.fit(_whole(lem.Independent(lem.Categorical(3))), gaps, seed=0)
    means = fit.impute()["x"]
    assert np.isin(means, [0, 1, 2]).all()
    np.testing.assert_array_equal(means[~np.isnan(gaps)], x[~np.isnan(gaps)])


def test_a_state_too_tight_for_its_statistics_keeps_its_digits() -> None:
    # One column needs the residual form, which has records of its own, and others do not.
    rng = np.random.default_rng(0)
    tight = np.concatenate([rng.normal(0, 1e-7, 60), rng.normal(1.0, 0.5, 60)])
    x = np.column_stack([tight, rng.normal(size=120), rng.poisson(2.0, 120)])
    start = lem.init.from_labels((np.arange(120) >= 60).astype(int))
    families = [lem.Normal(), lem.Normal(), lem.Poisson()]
    together = _fit(_whole(tuple(families)), x, init=start, max_iter=40)
    apart = _fit(_apart(families), _columns(x), init=start, max_iter=40)
    assert isinstance(together.model["x"].kernel(), ColumnsKernel)
    np.testing.assert_allclose(together.trace["objective"], apart.trace["objective"], rtol=1e-9)
    objective = together.trace["objective"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[:-1])).all()
    assert together.model["x"].components[0].variance.min() == pytest.approx(
        tight[:60].var(), rel=1e-6
    )


def test_standard_errors_are_those_of_as_many_nodes() -> None:
    x, _ = _values(lem.Bernoulli(), n=400, m=4)
    whole = lem.fit(_whole(lem.Independent(lem.Bernoulli())), x, seed=0, tol=1e-10)
    start = lem.Model([Z, *(lem.observed(f"x{j}", c, given=Z)
                            for j, c in enumerate(whole.model["x"].components))])  # fmt: skip
    apart = lem.fit(_apart([lem.Bernoulli()] * 4), _columns(x), tol=1e-10,
                    init=start.replace({"z": whole.model["z"]}))  # fmt: skip
    errors = whole.standard_errors()["x"]["probs"]
    assert errors.shape == (2, 4)
    for j in range(4):
        np.testing.assert_allclose(
            errors[:, j], apart.standard_errors()[f"x{j}"]["probs"], rtol=1e-3
        )
    table = whole.to_dataframe(standard_errors=True)
    assert len(table) == 2 + 8


def test_weights_are_repetitions_with_gaps() -> None:
    x, labels = _values(lem.Poisson())
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.2, np.nan, x)
    counts = 1 + np.arange(len(x)) % 3
    start = _fit(_whole(lem.Independent(lem.Poisson())), x, init=lem.init.from_labels(labels)).model
    model = _whole(lem.Independent(lem.Poisson()))
    weighted = _fit(model, x, init=start, weights=counts)
    repeated = _fit(model, x.repeat(counts, axis=0), init=start)
    np.testing.assert_allclose(weighted.trace["objective"], repeated.trace["objective"], rtol=1e-11)


def test_two_parents_are_two_axes_before_the_columns() -> None:
    rng = np.random.default_rng(0)
    a, b = lem.latent("a", lem.Categorical(2)), lem.observed("b", lem.Categorical(3))
    group = rng.integers(0, 3, 300)
    x = rng.poisson(2 + 3 * group[:, None] + 9 * rng.integers(0, 2, 300)[:, None], (300, 4))
    model = lem.Model([a, b, lem.observed("x", lem.Independent(lem.Poisson()), given=[a, b])])
    fit = lem.fit(model, {"x": x, "b": group}, seed=0)
    assert fit.model["x"].rate.shape == (2, 3, 4)
    swapped = lem.permute_states(fit.model, {"a": [1, 0]})
    np.testing.assert_array_equal(swapped["x"].rate, fit.model["x"].rate[::-1])
    draws = lem.sample(fit.model, 50, seed=0)
    assert draws["x"].shape == (50, 4)


def test_known_parameters_have_the_columns_after_the_parents() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), (2, 3))
    items = lem.Independent(lem.Categorical(probs=probs))
    assert items.m == 3
    np.testing.assert_array_equal(items.columns[1].probs, probs[:, 1])
    z = lem.latent("z", lem.Categorical(probs=[0.3, 0.7]))
    model = lem.Model([z, lem.observed("x", lem.fixed(items), given=z)])
    x = lem.sample(model, 5, seed=0)["x"]
    expected = np.log(probs[:, np.arange(3), x]).sum(axis=-1)  # (2, 5)
    np.testing.assert_allclose(items.log_prob(x), expected.T, rtol=1e-12)
    fit = lem.fit(model, x, restarts=1)
    assert fit.n_parameters == 1
    np.testing.assert_array_equal(fit.model["x"].probs, probs)
    for copied in (copy.deepcopy(items), pickle.loads(pickle.dumps(items))):
        np.testing.assert_array_equal(copied.probs, probs)
        assert not copied.probs.flags.writeable
    rates = lem.Independent(lem.Normal(mean=[1.0, 2.0], variance=[1.0, 4.0]))
    assert rates.expected_value().tolist() == [1.0, 2.0]
    assert repr(lem.Independent(lem.Normal(), 2)) == "Independent(Normal(), 2)"
    assert repr(lem.Independent(lem.Normal())) == "Independent(Normal())"


def test_tied_items_share_their_parameters() -> None:
    x, _ = _values(lem.Bernoulli())
    before = lem.observed("before", lem.Independent(lem.Bernoulli(), 3), given=Z)
    after = lem.observed("after", lem.Independent(lem.Bernoulli(), 3), given=Z, tie=before)
    fit = lem.fit(lem.Model([Z, before, after]), {"before": x, "after": x[:, ::-1]}, seed=0)
    np.testing.assert_array_equal(fit.model["before"].probs, fit.model["after"].probs)
    assert fit.n_parameters == 7


def test_levels_are_common_to_all_columns() -> None:
    words = np.array(["no", "so", "yes"], dtype=object)[_values(lem.Categorical(3))[0]]
    words[:, 0] = np.where(words[:, 0] == "so", "no", words[:, 0])  # a column without one of them
    words[5, 1] = None
    fit = lem.fit(_whole(lem.Independent(lem.Categorical())), words, seed=0)
    assert fit.model["x"].levels == ("no", "so", "yes")
    assert fit.model["x"].probs.shape == (2, 3, 3)
    assert (fit.model["x"].probs[:, 0, 1] == 0).all()
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(words, columns=["a", "b", "c"])
    node = lem.observed("x", lem.Independent(lem.Categorical()), given=Z, columns=["a", "b", "c"])
    other = lem.fit(lem.Model([Z, node]), frame, seed=0)
    assert set(other.model["x"].levels) == {"no", "so", "yes"}
    assert other.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-6)
    with pytest.raises(lem.DataError, match=r"levels among .* got 'perhaps'"):
        fit.posterior(np.array([["no", "perhaps", "yes"]]))


WRONG = [
    (lambda: lem.Product([]), "must have a component for each column, got none"),
    (lambda: lem.Product([lem.Normal(), 2]), "every component must be a distribution, got 2"),
    (lambda: lem.Product([(lem.Gaussian(), 0)]), "whole number of at least 1, got 0"),
    (lambda: lem.Product([lem.Prototype()]), "density of its columns alone, got a Prototype"),
    (lambda: lem.Independent(lem.Normal(), 0), "m must be a whole number of at least 1, got 0"),
    (lambda: lem.Independent(lem.Poisson(rate=[1.0, 2.0]), 3), "must have 3 columns as an axis"),
    (lambda: lem.Independent(lem.Poisson(rate=2.0)), "must have the columns as an axis"),
    (lambda: lem.Independent(lem.Prototype()), "density of its columns alone"),
    (lambda: lem.Independent(lem.Uniform(), 2).statistics(np.ones((3, 2))), "exponential family"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_declarations_are_refused(make: Any, message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        make()


UNSUITABLE = [
    (lem.Independent(lem.Bernoulli()), [[0, 2], [1, 1]], r"\(columns\[1\]\), got 2 at row 0"),
    (lem.Independent(lem.Bernoulli(), 3), [[0, 1], [1, 1]], r"must have 3 columns .* \(2, 2\)"),
    ((lem.Normal(), lem.Poisson()), [[0, -1], [1, 1]], r"\(components\[1\]\), got -1 at row 0"),
    (lem.Independent(lem.Gaussian()), [[0, 1], [1, 1]], "a Gaussian, which takes vectors"),
    (lem.Independent(lem.Normal()), [[0, 1], [1, 1]], "must vary"),
]


@pytest.mark.parametrize(("dist", "value", "message"), UNSUITABLE)
def test_unsuitable_data_are_refused(dist: Any, value: Any, message: str) -> None:
    with pytest.raises(lem.DataError, match=message):
        lem.fit(lem.Model([lem.observed("x", dist)]), {"x": np.array(value)})


def test_seeding_compares_the_columns_that_both_rows_have() -> None:
    items = lem.Independent(lem.Categorical(3), 3)
    x = np.array([[0.0, 1.0, 2.0], [0.0, np.nan, 1.0], [np.nan, np.nan, np.nan]])
    far = items.dissimilarity(x, x[:2])
    np.testing.assert_allclose(far, [[0.0, 1.5], [1.5, 0.0], [0.0, 0.0]])


def test_a_product_of_any_families_stands_beside_other_nodes() -> None:
    # The other node leaves out its base measure; the product, which has one without any, does not.
    x, labels = _values(lem.Uniform())
    counts, _ = _values(lem.Poisson())
    products = lem.observed("x", lem.Product([lem.Uniform(), lem.Gamma(), lem.Rayleigh()]), given=Z)
    model = lem.Model([Z, products, lem.observed("y", lem.Poisson(), given=Z)])
    fit = _fit(model, {"x": x, "y": counts[:, 0]}, init=lem.init.from_labels(labels))
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-11 * np.abs(objective[:-1])).all()
    dist = fit.model["x"]
    by_row = dist.log_prob(x) + fit.model["y"].log_prob(counts[:, 0])
    expected = np.log(np.exp(by_row) @ fit.model["z"].probs).sum()
    assert fit.log_likelihood == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_no_step_from_a_random_start_lowers_the_objective(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=150), rng.poisson(3.0, 150), rng.integers(0, 3, 150)])
    x[rng.random(x.shape) < 0.3] = np.nan
    model = _whole((lem.Normal(), lem.NegativeBinomial(), lem.Categorical(3)))
    fit = _fit(model, x, init=lem.init.random, seed=seed, max_iter=60)
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-11 * np.abs(objective[:-1])).all()


def test_a_column_of_strings_is_refused_with_what_to_do_which_is_the_same_model() -> None:
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    colour, size = rng.choice(["blue", "red"], 60), rng.normal(size=60)
    table = pandas.DataFrame({"colour": colour, "size": size})
    rows = np.empty((60, 2), dtype=object)
    rows[:, 0], rows[:, 1] = colour, size
    model = _whole((lem.Categorical(2), lem.Normal()))
    for data, message in (
        (table, r"data\['colour'\] must be numeric because it stands beside .* node of its own"),
        ({"x": rows}, r"data\['x'\] must be one column where it holds strings.* node of its own"),
        (rows.astype(str), r"data\['x'\] must be one column where it holds strings"),
    ):
        with pytest.raises(lem.DataError, match=message):
            lem.fit(model, data)
    start = lem.init.from_labels(size > 0)
    nodes = [lem.observed("colour", lem.Categorical(), given=Z)]
    apart = lem.Model([Z, *nodes, lem.observed("size", lem.Normal(), given=Z)])
    fit = _fit(apart, {"colour": colour, "size": size}, init=start)
    encoded = np.column_stack([colour == "red", size])
    whole = _fit(model, encoded, init=start)
    assert fit.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-12)
