"""The names of states are arbitrary: renumbering them changes nothing, aligning undoes it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from registry import MODELS, PROBABILISTIC, Case, Rayleigh, numbers

import latentem as lem


def _fit(case: Case, seed: int = 0) -> lem.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        return lem.fit(
            case.model,
            case.data,
            assign=lem.hard if case.hard_only else lem.soft,
            restarts=1,
            max_iter=20,
            seed=seed,
        )


def _orders(model: lem.Model, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {node.name: rng.permutation(node.n_states) for node in model.latents}


def _told_apart(fit: lem.Fit) -> bool:
    """Whether no two states of a latent have the same responsibilities in all rows."""
    posterior = fit.posterior()
    for name in posterior.names:
        columns = posterior.marginal(name).T
        distances = np.square(columns[:, None] - columns).sum(axis=-1)
        np.fill_diagonal(distances, np.inf)
        if distances.min() < 1e-6:
            return False
    return True


@pytest.mark.parametrize("case", PROBABILISTIC, ids=str)
def test_renumbering_states_does_not_change_the_log_likelihood(case: Case) -> None:
    model = _fit(case).model
    renumbered = lem.permute_states(model, _orders(model, seed=1))
    assert lem.log_likelihood(renumbered, case.data) == pytest.approx(
        lem.log_likelihood(model, case.data), rel=1e-12
    )


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_renumbering_states_renumbers_the_posterior(case: Case) -> None:
    model, assign = _fit(case).model, lem.hard if case.hard_only else lem.soft
    orders = _orders(model, seed=2)
    before = lem.e_step(model, case.data, assign=assign)
    after = lem.e_step(lem.permute_states(model, orders), case.data, assign=assign)
    for name, order in orders.items():
        np.testing.assert_allclose(
            after.marginal(name), before.marginal(name)[:, order], rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", MODELS, ids=str)
def test_aligning_undoes_renumbering(case: Case, seed: int) -> None:
    fit = _fit(case)
    orders = _orders(fit.model, seed)
    alignment = lem.align(fit, lem.permute_states(fit.model, orders))
    if not _told_apart(fit):
        pytest.skip("two states have the same responsibilities")
    for name, permutation in alignment.permutations.items():
        np.testing.assert_array_equal(permutation, np.argsort(orders[name]))
        assert 0 <= alignment.agreement[name] <= 1 + 1e-12
    for name, array in numbers(fit.model).items():
        np.testing.assert_allclose(
            numbers(alignment.model)[name], array, rtol=1e-13, atol=1e-15, err_msg=name
        )


def test_most_cases_have_states_that_are_told_apart() -> None:
    assert sum(_told_apart(_fit(case)) for case in MODELS) >= len(MODELS) - 3


def test_agreement_is_the_share_of_rows_of_matched_draws(faithful: np.ndarray) -> None:
    model = lem.models.gaussian_mixture(3)
    a, b = (lem.fit(model, faithful, seed=seed, restarts=1) for seed in (0, 5))
    alignment = lem.align(a, b)
    order = alignment.permutations["z"]
    alpha, beta = a.posterior().marginal("z"), b.posterior().marginal("z")
    expected = np.mean([alpha[i] @ beta[i, order] for i in range(len(faithful))])
    assert alignment.agreement["z"] == pytest.approx(expected)
    np.testing.assert_array_equal(alignment.model["x"].mean, b.model["x"].mean[order])
    np.testing.assert_array_equal(alignment.model["z"].probs, b.model["z"].probs[order])
    assert "expected agreement" in repr(alignment)


def test_certain_posteriors_agree_fully(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.kmeans(3), faithful, assign=lem.hard, seed=0)
    assert lem.align(fit, fit).agreement == {"z": 1.0}


def test_rows_count_by_their_weights(faithful: np.ndarray) -> None:
    model = lem.models.gaussian_mixture(3)
    counts = np.arange(len(faithful)) % 3
    weighted = lem.fit(model, faithful, weights=counts, seed=0)
    repeated = lem.fit(
        model, np.repeat(faithful, counts, axis=0), init=weighted.model, tol=0, max_iter=0
    )
    other = lem.fit(model, faithful, seed=1, restarts=1)
    assert lem.align(weighted, other).agreement["z"] == pytest.approx(
        lem.align(repeated, other).agreement["z"], rel=1e-9
    )


def test_models_align_on_given_data(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.gaussian_mixture(2), faithful, seed=0)
    swapped = lem.permute_states(fit.model, {"z": [1, 0]})
    for a, b in ((fit.model, swapped), (fit, swapped), (swapped, fit)):
        assert lem.align(a, b, faithful[:100]).permutations["z"].tolist() == [1, 0]


def test_labels_belong_to_the_states_of_a(faithful: np.ndarray) -> None:
    labels = np.where(np.arange(272) % 10 == 0, faithful[:, 0] > 3, -1)
    fit = lem.fit(lem.models.gaussian_mixture(2), {"x": faithful, "z": labels}, seed=0)
    swapped = lem.permute_states(fit.model, {"z": [1, 0]})
    assert lem.align(fit, swapped).permutations["z"].tolist() == [1, 0]


@pytest.mark.parametrize("dist", [lem.Bernoulli(probs=0.3), lem.fixed(lem.Bernoulli(probs=0.3))])
def test_a_bernoulli_latent_is_flipped(dist: lem.Distribution) -> None:
    z = lem.latent("z", dist)
    model = lem.Model([z, lem.observed("x", lem.Poisson(rate=[1.0, 6.0]), given=z)])
    renumbered = lem.permute_states(model, {"z": [1, 0]})
    assert renumbered["z"].probs == pytest.approx(0.7)
    assert renumbered["x"].rate.tolist() == [6.0, 1.0]
    same = lem.permute_states(model, {"z": [0, 1]})
    assert same["z"].probs == 0.3


def test_a_latent_child_is_renumbered_along_both_axes() -> None:
    table = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    a = lem.latent("a", lem.Categorical(probs=[0.4, 0.6]))
    b = lem.latent("b", lem.Categorical(probs=table), given=a)
    model = lem.permute_states(lem.Model([a, b]), {"a": [1, 0], "b": [2, 0, 1]})
    np.testing.assert_array_equal(model["b"].probs, table[[1, 0]][:, [2, 0, 1]])


def test_templates_are_renumbered_too() -> None:
    z = lem.latent("z", lem.Categorical(2))
    cases = lem.Switch([lem.PointMass(0), lem.Poisson()])
    model = lem.permute_states(
        lem.Model([z, lem.observed("x", cases, given=z)]), {"z": np.array([1, 0])}
    )
    assert [type(case).__name__ for case in model["x"].cases] == ["Poisson", "PointMass"]


def _mixture(k: int, dist: lem.Distribution | None = None) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist or lem.Normal(), given=z)])


def test_models_that_differ_are_refused(faithful: np.ndarray) -> None:
    x = faithful[:, 0]
    fit = lem.fit(_mixture(2), x, seed=0)
    others: list[Any] = [_mixture(3), _mixture(2, lem.Normal(shared=True)), _mixture(2)]
    with pytest.raises(lem.ModelError, match=r"same graph.* 'z' of 2 states.* 'z' of 3 states"):
        lem.align(fit, lem.fit(others[0], x, seed=0))
    with pytest.raises(lem.ModelError, match="same graph"):
        lem.align(fit, lem.fit(lem.models.gaussian_mixture(2), x, seed=0))
    with pytest.raises(lem.ModelError, match="must be given fits or models"):
        lem.align(fit, "b")
    with pytest.raises(lem.ModelError, match="must have parameters"):
        lem.align(fit, others[2])
    with pytest.raises(lem.DataError, match=r"must have data .* Pass data="):
        lem.align(fit.model, fit)


@pytest.mark.parametrize(
    ("permutations", "message"),
    [
        ({"z": [0, 0]}, r"Node 'z': the permutation must have each state from 0 to 1 once"),
        ({"z": [0]}, r"got \[0\]"),
        ({"z": [0.0, 1.0]}, "once"),
        ({"x": [0, 1]}, r"must be given latents, got 'x'. The latents are 'z'"),
    ],
)
def test_what_is_no_permutation_is_refused(permutations: dict[str, Any], message: str) -> None:
    with pytest.raises(lem.ModelError, match=message):
        lem.permute_states(_mixture(2), permutations)


def test_a_latent_that_cannot_be_renumbered_says_so() -> None:
    class Uniform(Rayleigh):
        n_states = 2

    z = lem.latent("z", Uniform())
    model = lem.Model([z, lem.observed("x", lem.Normal(), given=z)])
    with pytest.raises(lem.MissingMethodError, match=r"Uniform must have 'permuted"):
        lem.permute_states(model, {"z": [1, 0]})
