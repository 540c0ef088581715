"""Equal rows stand as one: nothing changes but the cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import latentem as lem
from latentem.data import Data, bind
from latentem.em import problem as problems
from latentem.em.problem import Problem
from latentem.repeats import merged

N = 3000


def _table(rng: np.random.Generator) -> dict[str, Any]:
    x = rng.poisson(3.0, N).astype(float)
    x[rng.random(N) < 0.1] = np.nan
    labels = np.where(rng.random(N) < 0.2, rng.integers(0, 3, N), -1)
    return {"x": x, "y": rng.integers(0, 4, N), "u": rng.integers(0, 3, N) / 4, "z": labels}


def _model() -> lem.Model:
    z = lem.latent("z", lem.Categorical(3))
    u = lem.covariate("u")
    x = lem.observed("x", lem.Poisson(), given=z)
    y = lem.observed("y", lem.Categorical(4), given=z)
    w = lem.observed("w", lem.LinearGaussian(), given=[z, u])
    return lem.Model([z, u, x, y, w])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_is_that_of_all_rows(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    data = {**_table(rng), "w": rng.integers(0, 3, N).astype(float)}
    weights = rng.integers(0, 3, N) / 2 if weighted else None
    model = lem.initialize(_model(), data, seed=0)
    options: dict[str, Any] = {"weights": weights, "restarts": 1, "tol": 0, "max_iter": 10}
    fast = lem.fit(model, data, accelerate=None, **options)
    assert Problem.of(model, data, weights).distinct.n < N / 2
    monkeypatch.setattr(problems, "merged", lambda data: data)
    slow = lem.fit(model, data, accelerate=None, **options)
    np.testing.assert_allclose(fast.trace["objective"], slow.trace["objective"], rtol=1e-12)
    for name, dist in slow.model.distributions.items():
        for field, value in dist.parameters.items():
            again = fast.model[name].parameters[field]
            np.testing.assert_allclose(again, value, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        fast.posterior().marginal("z"), slow.posterior().marginal("z"), atol=1e-9
    )


def test_every_row_is_one_of_the_distinct_ones_and_weights_are_added() -> None:
    rng = np.random.default_rng(1)
    data = {**_table(rng), "w": rng.integers(0, 3, N).astype(float)}
    weights = rng.integers(0, 3, N).astype(float)
    _, bound = bind(_model(), data, weights)
    few = merged(bound)

    def rows(table: Any, i: int) -> tuple[Any, ...]:
        return (
            *(table.values[name][i].item() for name in ("y", "w")),
            None if table.missing["x"][i] else table.values["x"][i].item(),
            table.covariates["u"][i, 0],
            table.labels["z"][i],
        )

    expected: dict[tuple[Any, ...], float] = {}
    for i in range(N):
        expected[rows(bound, i)] = expected.get(rows(bound, i), 0.0) + weights[i]
    found = {rows(few, i): few.weights[i] for i in range(few.n)}
    assert len(found) == few.n
    assert found == {row: weight for row, weight in expected.items() if weight > 0}
    assert [rows(bound, few.row(i)) for i in range(few.n)] == [rows(few, i) for i in range(few.n)]


@pytest.mark.parametrize("n", [1, 5, N])
def test_rows_that_do_not_repeat_stay(n: int) -> None:
    x = np.random.default_rng(0).normal(size=n)
    _, bound = bind(lem.Model([lem.observed("x", lem.Normal())]), x)
    assert merged(bound) is bound


def test_extreme_values_are_told_apart() -> None:
    x = np.tile([0.0, 5e-324, 1.0, 1.0 + 2**-52, -(2.0**53), 2.0**53 + 2], 500)
    _, bound = bind(lem.Model([lem.observed("x", lem.Normal())]), x)
    few = merged(bound)
    np.testing.assert_array_equal(few.values["x"], x[:6])
    np.testing.assert_array_equal(few.weights, np.full(6, 500.0))


@pytest.mark.parametrize("dtype", ["f2", "f4", "i1", "u8", "?"])
def test_values_of_any_size_in_memory_are_told_apart(dtype: str) -> None:
    values = np.tile(np.array([1, 0, 3]), 500).astype(dtype)
    few = merged(Data(1500, {"x": values}, {}))
    np.testing.assert_array_equal(few.values["x"], np.array([1, 0, 3][: few.n]).astype(dtype))
    np.testing.assert_array_equal(few.weights, [1000, 500] if dtype == "?" else [500] * 3)


def test_complex_values_are_told_apart() -> None:
    x = np.tile([1.0, 1.0 + 1j, 1.0 - 1j, 2.0], 500)
    few = merged(Data(2000, {"x": x}, {}))
    np.testing.assert_array_equal(few.values["x"], x[:4])


def test_an_impossible_row_is_named_as_it_was_given() -> None:
    x = np.zeros(N, dtype=int)
    x[1234] = x[2345] = 3
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    model = lem.Model([z, lem.observed("x", lem.PointMass([0, 1]), given=z)])
    with pytest.raises(lem.DataError, match="row 1234"):
        lem.fit(model, x)


def test_draws_are_made_for_every_row() -> None:
    x = np.repeat([0, 1, 5, 6], N // 4)
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Poisson(), given=z)])
    start = lem.initialize(model, x, seed=0)
    problem = Problem.of(start, x)
    drawn = problem.expectation(problem.theta(), lem.stochastic(0).at(0))
    counts = drawn.counts[0].counts
    np.testing.assert_array_equal(counts, np.round(counts))
    assert counts[0, 0] % (N // 4) > 0


def test_the_row_that_stands_for_others_is_their_first_however_late_it_comes() -> None:
    x = np.random.default_rng(2).integers(0, 5, 60_000)
    x[50_000:50_003] = 1000, 7, 1000  # after the rows that are looked at first
    z = lem.latent("z", lem.Categorical(2))
    _, bound = bind(lem.Model([z, lem.observed("x", lem.Poisson(), given=z)]), {"x": x})
    distinct = merged(bound)
    values, first, counts = np.unique(x, return_index=True, return_counts=True)
    order = np.argsort(first)
    np.testing.assert_array_equal(distinct.values["x"], values[order])
    assert distinct.order is not None
    np.testing.assert_array_equal(distinct.order, first[order])
    np.testing.assert_array_equal(distinct.row_weights, counts[order])
