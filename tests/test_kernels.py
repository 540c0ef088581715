"""The inner loops: NumPy and compiled ones give the same numbers, and what the formulas say."""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

import latentem as lem
from latentem.distributions import reference
from latentem.distributions.arrays import LOG_ZERO
from latentem.distributions.covariance import Full
from latentem.distributions.gaps import Patterns
from latentem.distributions.gaussian_kernel import WhiteningKernel
from latentem.distributions.kernels import Kernel, LinearKernel
from latentem.em.assign import Soft
from latentem.em.mixture import is_mixture
from latentem.em.problem import Problem
from latentem.kernels import compiled
from latentem.kernels.columns import moments, packed, some_and_all, sum_of_squares
from latentem.kernels.distances import squared_distances
from latentem.kernels.expected import (
    Standardised,
    columns_and_products,
    expected_sums,
    expected_sums_and_likelihood,
    statistics_of,
)
from latentem.kernels.gapped import expected_products
from latentem.kernels.moments import natural_of_moments
from latentem.kernels.nearest import Places, Points, own_squares, reassign
from latentem.kernels.products import over_rows, sums_over_rows
from latentem.kernels.softmax import log_normalise
from latentem.kernels.steps import COUNTS, DIAGONAL, FULL, LEVELS, ClosedForm, EMSteps
from latentem.kernels.whitened import second_moments, stripe_ends, whitened_squares

BOTH = [False, True]
EPS = float(np.finfo(float).eps)


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("shape", [(1, 5), (2, 256), (3, 257), (7, 1000), (4, 3, 300)])
def test_normalising_is_softmax_and_log_sum_exp(
    use: bool, spread: float, shape: tuple[int, ...]
) -> None:
    table = spread * np.random.default_rng(0).normal(size=shape)
    given = table.copy()
    log_sum = log_normalise(table, compiled=use)
    np.testing.assert_allclose(log_sum, logsumexp(given, axis=0), rtol=4 * EPS, atol=8 * EPS)
    # exp(x) has the rounding error of x itself, |x| eps.
    below = np.abs(given - given.max(axis=0))
    tolerance = (8 + 2 * below + len(given)) * EPS
    exact = softmax(given, axis=0)
    assert (np.abs(table - exact) <= tolerance * exact + 1e-300).all()
    assert (table[below > 701] == 0).all()


@pytest.mark.parametrize("use", BOTH)
def test_normalising_keeps_what_is_impossible_and_what_is_not_a_number(use: bool) -> None:
    inf, nan = math.inf, math.nan
    table = np.array([[nan, 0.0, -inf, -inf, 1e300, -1e300], [0.0, nan, -inf, 3.0, 0.0, -1e300]])
    with np.errstate(invalid="ignore"):
        log_sum = log_normalise(table, compiled=use)
    assert np.isnan(log_sum[:2]).all()
    assert np.array_equal(log_sum[2:], [-inf, 3.0, 1e300, -1e300])
    assert np.isnan(table[:, :2]).any(axis=0).all()
    assert np.array_equal(table[:, 2:], [[0, 0, 1, 0.5], [0, 1, 0, 0.5]])


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("real", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 511, 5000])
@pytest.mark.parametrize("d", [1, 3, 8, 47, 600])
def test_moments_of_columns_are_the_formulas(d: int, n: int, real: type, use: bool) -> None:
    rng = np.random.default_rng(d)
    values = (rng.normal(size=d) + 3.0 * rng.normal(size=(n, d))).astype(real)
    values.flags.writeable = n % 2 == 0
    mean, square, high, low, counts = moments(values, compiled=use)
    exact = values.astype(np.longdouble)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(square, exact.var(axis=0), rtol=1e-12, atol=1e-26)
    np.testing.assert_array_equal(high, values.max(axis=0))
    np.testing.assert_array_equal(low, values.min(axis=0))
    np.testing.assert_array_equal(counts, n)


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("real", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 511, 5000])
@pytest.mark.parametrize("d", [1, 3, 8, 47, 600])
def test_moments_of_columns_with_gaps_are_the_formulas(
    d: int, n: int, real: type, use: bool
) -> None:
    rng = np.random.default_rng(d)
    values = (1e8 * (d == 8) + rng.normal(size=d) + 3.0 * rng.normal(size=(n, d))).astype(real)
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:, :2], values[n // 2] = np.nan, np.nan  # columns and a row of nothing but gaps
    mean, square, high, low, counts = moments(values, compiled=use)
    for j, column in enumerate(values.astype(np.longdouble).T):
        seen = column[~np.isnan(column)]
        assert counts[j] == len(seen)
        if not len(seen):
            assert (mean[j], square[j], high[j], low[j]) == (0, 0, -np.inf, np.inf)
            continue
        np.testing.assert_allclose(mean[j], seen.mean(), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(square[j], seen.var(), rtol=1e-12, atol=1e-26)
        assert (high[j], low[j]) == (seen.max(), seen.min())


@pytest.mark.parametrize("d", [1, 7, 8, 9, 20, 64])
def test_rows_of_a_mask_are_told_apart_by_few_bytes(d: int) -> None:
    mask = np.random.default_rng(d).random((300, d)) < 0.4
    mask[3], mask[7] = True, False
    keys = packed(mask)
    assert keys.shape == (300, -(-d // 8))
    np.testing.assert_array_equal(np.unpackbits(keys, axis=1, count=d), mask)
    some, whole = some_and_all(mask)
    np.testing.assert_array_equal(some, mask.any(axis=1))
    np.testing.assert_array_equal(whole, mask.all(axis=1))


@pytest.mark.parametrize("use", BOTH)
def test_the_mean_of_columns_far_from_zero_is_exact(use: bool) -> None:
    values = 1e15 + np.random.default_rng(0).integers(-40, 40, size=(4001, 5)) / 8
    exact = (values.astype(np.longdouble) - 1e15).mean(axis=0)
    found = moments(values, compiled=use)
    np.testing.assert_allclose(found[0] - 1e15, exact, atol=0.07)  # half a unit in the last place
    np.testing.assert_allclose(found[1], (values - 1e15).var(axis=0), rtol=1e-3)


@pytest.mark.parametrize("n", [1, 8191, 8192, 20000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_sum_of_squares_tells_what_is_not_a_number(n: int, bad: float) -> None:
    values = np.random.default_rng(0).normal(size=(n, 2))
    assert math.isclose(sum_of_squares(values), float((values**2).sum()), rel_tol=1e-12)
    for row in {0, n // 2, n - 1}:
        spoilt = values.copy()
        spoilt[row, 1] = bad
        assert not sum_of_squares(spoilt) < np.inf


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("size", [1e-200, 1e-90, 1.0, 1e90, 1e140])
def test_a_reference_is_the_same_by_either_moments(
    size: float, use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = size * np.random.default_rng(0).normal(size=(30000, 3)) * [1.0, 1e-3, 0.0]
    monkeypatch.setattr(reference, "pays", lambda *shape: use)
    found = reference.Reference.of(values, Full())
    np.testing.assert_allclose(found.centre, values.mean(axis=0), rtol=1e-9, atol=1e-15 * size)
    spread = size * (values / size).std(axis=0)
    np.testing.assert_allclose(found.spread, spread, rtol=1e-12, atol=0)


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize(("d", "n", "m"), [(1, 1, 1), (3, 255, 4), (8, 600, 5)])
def test_squared_distances_are_the_formula(d: int, n: int, m: int, use: bool) -> None:
    rng = np.random.default_rng(0)
    z, points = rng.normal(size=(d, n)), rng.normal(size=(d, m))
    z[0, n // 2] = np.nan
    for table in (z, points):
        table.flags.writeable = False
    found = squared_distances(z, points, compiled=use)
    assert np.isnan(found[:, n // 2]).all()
    exact = ((z[:, None] - points[..., None]) ** 2).sum(axis=0)
    np.testing.assert_allclose(found, exact, rtol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 255, 4000, 9001])
@pytest.mark.parametrize(("n_states", "p"), [(1, 1), (16, 45), (3, 400), (40, 300)])
def test_products_in_slices_are_the_products(n_states: int, p: int, n: int) -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(p + 1, n))
    coefficients, weights = rng.normal(size=(n_states, p)), rng.random((n_states, n))
    statistics = wide[:-1]
    pairs = [
        (over_rows(coefficients, statistics), "kp,pn->kn", coefficients),
        (sums_over_rows(weights, statistics), "kn,pn->kp", weights),
    ]
    for product, subscripts, left in pairs:
        exact = np.einsum(subscripts, left, statistics)
        np.testing.assert_allclose(product, exact, rtol=1e-9, atol=1e-11)


def _models() -> dict[str, tuple[lem.Model, object]]:
    rng = np.random.default_rng(1)
    n = 400
    x, count = rng.normal(size=(n, 3)) + 3.0 * rng.integers(2, size=(n, 1)), rng.poisson(3, n)
    gaps = np.where(rng.random((n, 3)) < 0.2, np.nan, x)
    z = lem.latent("z", lem.Categorical(3))
    found: dict[str, tuple[lem.Model, object]] = {
        structure: (lem.models.gaussian_mixture(3, covariance=structure), x)
        for structure in ("full", "diagonal", "spherical", "EEE", "EEI", "EII", "VEV")
    }
    several = [
        z,
        lem.observed("x", lem.Gaussian(), given=z),
        lem.observed("count", lem.Poisson(), given=z),
        lem.observed("level", lem.Categorical(4), given=z),
    ]
    table = {"x": x, "count": count, "level": count % 4}
    found["mixed"] = lem.Model(several), table
    found["gaps"] = lem.Model(several), {**table, "x": gaps}
    found["missing"] = lem.Model(several), {**table, "count": np.where(count > 4, np.nan, count)}
    found["plug-in"] = lem.Model([z, lem.observed("x", Laplace(), given=z)]), x[:, 0]
    found["lines"] = (
        lem.Model(
            [
                u := lem.covariate("u"),
                z,
                lem.observed("x", lem.LinearGaussian(), given=[z, u]),
                lem.observed("y", lem.LogNormal(), given=z),
            ]
        ),
        {"u": x[:, :2], "x": x[:, 2], "y": np.exp(x[:, 0])},
    )
    found["independent gaps"] = (
        lem.models.gaussian_mixture(3, covariance="diagonal"),
        gaps,
    )
    some = np.column_stack([x[:, :1], gaps[:, 1:]])  # no row is wholly missing
    found["independent gaps in some"] = (
        lem.models.gaussian_mixture(3, covariance="diagonal"),
        some,
    )
    found["gaps in some"] = lem.models.gaussian_mixture(3), some
    found["spherical gaps"] = lem.models.gaussian_mixture(3, covariance="spherical"), gaps
    wide = rng.normal(size=(n, 46)) + 0.5 * rng.integers(2, size=(n, 1))
    found["columns"] = lem.models.gaussian_mixture(2), wide[:, :32]
    found["many columns"] = lem.models.gaussian_mixture(2), wide
    found["student"] = lem.Model([z, lem.observed("x", lem.StudentT(), given=z)]), x
    return found


@attrs.frozen(eq=False)
class Laplace(lem.Distribution):
    scale: lem.Array | None = None

    def log_prob(self, value: lem.Array) -> lem.Array:
        return -np.abs(value[:, None]) / self.scale - np.log(2 * self.scale)

    def fit(self, value: lem.Array, weights: lem.Array) -> Laplace:
        return Laplace(weights.T @ np.abs(value) / weights.sum(0))


@pytest.mark.parametrize("weighted", BOTH)
@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("name", list(_models()))
def test_the_pass_of_a_mixture_is_that_of_any_graph(name: str, use: bool, weighted: bool) -> None:
    model, data = _models()[name]
    weights = np.random.default_rng(2).integers(4, size=400) if weighted else None
    problem = Problem.of(model, data, weights)
    elimination = attrs.evolve(problem.layout.elimination, compiled=use)
    layout = attrs.evolve(problem.layout, elimination=elimination)
    problem = attrs.evolve(problem, layout=layout)
    assert is_mixture(problem.layout, problem.data)
    start = lem.initialize(model, data, init=lem.init.random, seed=3, weights=weights)
    theta = problem.theta(start)
    short = problem.expectation(theta, Soft())
    given = problem.posterior(theta, Soft())
    order = slice(None) if problem.data.order is None else problem.data.order
    general = problem.expectation(theta, given[order])
    base = problem.base_total(theta)
    exact = float(given.log_evidence @ given.row_weights)
    assert short.evidence == pytest.approx(exact - base, rel=1e-13)
    records, others = (problem.records(theta, each) for each in (short, general))
    for node, record in records.items():
        mine, theirs = (r.vector for r in (record, others[node]))
        if mine is not None and theirs is not None:
            np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11 * np.abs(theirs).max())
    q = problem.q(theta, records), problem.q(theta, others)
    for node in records:
        assert q[0][node].value == pytest.approx(q[1][node].value, rel=1e-11)
    new = problem.m_step(theta, records), problem.m_step(theta, others)
    for node, dist in new[0].dists.items():
        for field, array in dist.parameters.items():
            np.testing.assert_allclose(
                array, new[1].dists[node].parameters[field], rtol=1e-9, atol=1e-9
            )


@pytest.mark.parametrize("structure", ["EEE", "EEI", "EII"])
def test_a_shared_covariance_needs_the_scatter_of_the_rows_only(structure: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) + 4.0 * rng.integers(2, size=(500, 1))
    start = lem.initialize(lem.models.gaussian_mixture(3, covariance=structure), x, seed=0)
    problem = Problem.of(start, x)
    theta = problem.theta()
    (kernel,) = theta.kernels.values()
    assert not isinstance(kernel, LinearKernel)
    plain = LinearKernel.of(theta.dists["x"])
    weights = rng.random((3, 500))
    pairs: list[Kernel] = [kernel, plain]
    shared, each = (k.on(x) for k in pairs)
    np.testing.assert_allclose(shared.log_density(), each.log_density(), rtol=1e-12, atol=1e-12)
    mine, theirs = shared.record(weights), each.record(weights)
    np.testing.assert_allclose(mine.weight, theirs.weight, rtol=1e-13)
    np.testing.assert_allclose(mine.total[:, :3], theirs.total[:, :3], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(mine.total.sum(0), theirs.total.sum(0), rtol=1e-11, atol=1e-10)
    form, (first, moments) = (
        theta.dists["x"].form,
        np.split(mine.total / mine.weight[:, None], [3], 1),
    )
    assert (np.linalg.eigvalsh(form.covariance(moments, first)) > 0).all()
    for a, b in itertools.pairwise(lem.fit(start, x, tol=0, max_iter=9, accelerate=None).trace):
        assert b.objective >= a.objective - 1e-9


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("triangular", BOTH)
def test_whitening_many_columns_is_the_product_with_their_statistics(
    triangular: bool, use: bool
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 45)) + 3.0 * rng.integers(2, size=(400, 1))
    covariance = np.array([np.cov(rng.normal(size=(45, 90))) for _ in range(3)])
    problem = Problem.of(lem.models.gaussian_mixture(3), x)
    reference = problem.theta().dists["x"].reference
    given = lem.Gaussian(mean=x[:3], covariance=covariance, reference=reference)
    kernel = given.kernel()
    assert isinstance(kernel, WhiteningKernel)
    assert np.array_equal(stripe_ends(kernel.whitening), [32, 45])
    if not triangular:
        turn = np.linalg.qr(rng.normal(size=(45, 45)))[0]
        kernel = attrs.evolve(kernel, whitening=turn @ kernel.whitening)
        assert np.array_equal(stripe_ends(kernel.whitening), [45, 45])
    if use:
        kernel = kernel.compiled
    weights = rng.random((3, 400))
    whitened, plain = (k.on(x) for k in (kernel, LinearKernel.of(given)))
    np.testing.assert_allclose(whitened.log_density(), given.log_prob(x).T, rtol=1e-11)
    np.testing.assert_allclose(whitened.log_density(), plain.log_density(), rtol=1e-10)
    mine, theirs = whitened.record(weights), plain.record(weights)
    np.testing.assert_allclose(mine.weight, theirs.weight, rtol=1e-13)
    np.testing.assert_allclose(mine.total, theirs.total, rtol=1e-10, atol=1e-10)
    q, size = kernel.expected_log_prob(mine)
    assert q == pytest.approx(float((weights * given.log_prob(x).T).sum()), rel=1e-12)
    assert size == pytest.approx(LinearKernel.of(given).expected_log_prob(theirs)[1], rel=1e-10)


@pytest.mark.parametrize(
    ("n_states", "d", "in_numpy", "in_loops"),
    [(2, 30, False, False), (2, 32, False, True), (15, 45, True, True), (16, 45, False, True)],
)
def test_which_columns_are_many(n_states: int, d: int, in_numpy: bool, in_loops: bool) -> None:
    rng = np.random.default_rng(0)
    covariance = np.array([np.cov(rng.normal(size=(d, 3 * d))) for _ in range(n_states)])
    kernel = lem.Gaussian(mean=rng.normal(size=(n_states, d)), covariance=covariance).kernel()
    assert isinstance(kernel, WhiteningKernel) == in_numpy
    assert isinstance(kernel.compiled, WhiteningKernel) == in_loops
    x = rng.normal(size=(9, d))
    ours, theirs = (k.on(x).log_density() for k in (kernel, kernel.compiled))
    np.testing.assert_allclose(ours, theirs, rtol=1e-11)


SHAPES = [(1, 1), (3, 4), (1, 5), (2, 33), (8, 45), (3, 128)]


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("n", [1, 255, 256, 700])
@pytest.mark.parametrize(("n_states", "d"), SHAPES)
def test_whitened_squares_are_the_formula(n_states: int, d: int, n: int, use: bool) -> None:
    rng = np.random.default_rng(d)
    z, shift = rng.normal(size=(d, n)), rng.normal(size=(n_states, d))
    full = rng.normal(size=(n_states, d, d))
    mixed = np.tril(full)
    mixed[-1, 0, -1] = 1.0  # one state is not triangular
    without = np.tril(full)
    without[:, : min(5, d - 1)] = 0.0  # whole rows are 0
    for whitening in (full, np.tril(full), mixed, without):
        white = np.einsum("kij,jn->kin", whitening, z) - shift[:, :, None]
        squares = whitened_squares(z, whitening, shift, compiled=use)
        np.testing.assert_allclose(squares, np.square(white).sum(axis=1), rtol=1e-11)


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("n", [1, 255, 256, 700])
@pytest.mark.parametrize(("n_states", "d"), SHAPES)
def test_second_moments_are_the_formula(n_states: int, d: int, n: int, use: bool) -> None:
    rng = np.random.default_rng(d)
    z = 10.0 ** rng.integers(-3, 4, size=(d, 1)) * rng.normal(size=(d, n))
    some = softmax(rng.normal(size=(n_states, n)), axis=0)
    few = np.where(rng.random((n_states, n)) < 0.9, 0.0, some)
    none = np.where(np.arange(n_states)[:, None] == 0, 0.0, some)
    apart = softmax(100.0 * rng.normal(size=(n_states, n)), axis=0)  # many weights are tiny
    run = np.where(np.arange(n) % 300 < 20, 0.0, some)
    for weights in (some, few, none, apart, run, 1e-250 * some):
        exact = np.einsum("kn,in,jn->kij", weights, z, z)
        size = np.einsum("kn,in,jn->kij", weights, np.abs(z), np.abs(z))
        moments = second_moments(z, weights, compiled=use)
        assert moments.shape == exact.shape
        assert (np.abs(moments - exact) <= 1e-14 * (10 + np.sqrt(n)) * size).all()
        assert np.array_equal(moments, np.swapaxes(moments, 1, 2))


@pytest.mark.parametrize("use", BOTH)
def test_rows_of_no_weight_have_no_part_in_second_moments(use: bool) -> None:
    z = np.ones((3, 600))
    z[:, 7] = 1e200  # whose square is no number
    weights = np.ones((1, 600))
    weights[0, 7] = 0.0
    with np.errstate(over="ignore"):
        assert (second_moments(z[:, :9], weights[:, :9], compiled=use) == 8.0).all()
        weights[0, 300:] = 0.0
        assert (second_moments(z, weights, compiled=use) == 299.0).all()
    # Arrays that may not be written, and whose rows do not stand one after another.
    alike = np.broadcast_to(np.array([[4.0], [0.25]]), (2, 600))
    assert np.array_equal(
        second_moments(np.broadcast_to(1.0, (1, 600)), alike, compiled=use).ravel(), [2400.0, 150.0]
    )
    # What is left out is below rounding, not below some number.
    light = np.array([[1.0, 1e-33], [1e-200, 1e-220]])
    only = second_moments(np.eye(2), light, compiled=use)
    np.testing.assert_allclose(only[:, 0, 0], light[:, 0], rtol=4 * EPS)
    assert (only[:, 1, 1] <= light[:, 1] * (1 + 4 * EPS)).all()


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("n", "d", "k", "share"),
    [(150, 3, 3, 0.3), (1, 2, 1, 0.5), (2000, 8, 5, 0.2), (90, 17, 2, 0.4)],
)
def test_products_completed_by_the_compiled_kernel_are_the_formula(
    n: int, d: int, k: int, share: float, weighted: bool
) -> None:
    rng = np.random.default_rng(n)
    for real, shift in ((np.float64, 1e8), (np.float32, 0.0)):
        x = rng.normal(size=(n, d)) + shift
        x[rng.random(x.shape) < share] = np.nan
        x[:, 0], x[-n // 9 :] = np.nan, np.nan  # a column and rows of nothing but gaps
        x = x[Patterns.of(x).order].astype(real)
        patterns = Patterns.of(x)
        assert patterns.in_order
        weights = rng.random(n) * (rng.random(n) < 0.8) if weighted else None
        root = rng.normal(size=(k, d, d)) / np.sqrt(d)
        precision = root @ np.swapaxes(root, -1, -2) + 0.3 * np.eye(d)
        given = (
            rng.normal(size=k),
            rng.normal(size=(k, d)),
            np.moveaxis(precision, 0, -1),
            rng.normal(size=d),
            patterns.observed,
            patterns.start,
            Standardised(x, np.full(d, shift), 1.0 + rng.random(d)),
            weights,
        )
        products, counts, entropy, evidence = expected_products(*given, compiled=False)
        found = expected_products(*given, compiled=True)
        scale = 1e-12 * max(1.0, np.abs(products).max())
        np.testing.assert_allclose(found[0], products, rtol=1e-11, atol=scale)
        np.testing.assert_allclose(found[1], counts, rtol=1e-11, atol=1e-14)
        assert found[2] == pytest.approx(entropy, rel=1e-11, abs=1e-11)
        np.testing.assert_allclose(found[3], evidence, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 15, 16, 65, 600])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (2, 7), (4, 8), (5, 3), (17, 16), (6, 33), (70, 130)])
def test_the_nearest_point_is_that_of_the_formula(
    k: int, d: int, n: int, real: type, use: bool
) -> None:
    rng = np.random.default_rng(n)
    at = rng.normal(size=(k, d))
    at[k // 2] = at[0]  # of equal ones the first is taken
    for size, far in ((1.0, 0.0), (1e-30, 0.0), (1e30, 0.0), (1.0, 1e4)):
        centre, scale = np.full(d, far * size), np.full(d, size)
        x = (rng.normal(size=(n, d)) * size + centre).astype(real)
        z = (x - centre) / scale
        distance = np.sqrt(np.square(z[:, None] - at).sum(axis=2))
        points, places = Points.of(at, centre, scale), Places.unknown(n)
        sums, changed = reassign(x, None, points, places, compiled=use)
        assert changed == n
        np.testing.assert_array_equal(places.label, distance.argmin(axis=1))
        members = [z[places.label == state] for state in range(k)]
        expected = [[len(m), len(m), *m.sum(axis=0), np.square(m).sum()] for m in members]
        np.testing.assert_allclose(sums, expected, rtol=1e-11, atol=1e-11)
        if k > 1:
            nearest, second = np.partition(distance, 1, axis=1)[:, :2].T
            gap = np.where(places.limit > -np.inf, places.limit, 0.0)
            assert (gap <= second - nearest).all()
            assert (gap >= (second - nearest) - 1e-2).all()


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 5), (3, 4), (5, 33)])
def test_squares_of_rows_and_their_own_points_are_the_formula(
    k: int, d: int, real: type, use: bool
) -> None:
    rng = np.random.default_rng(d)
    x = (1e3 + rng.normal(size=(90, d))).astype(real)
    label = rng.integers(k, size=90).astype(np.int32)
    at, scale = x[:k].astype(float), np.full(d, 8.0)
    points = Points.of((at - 1e3) / scale, np.full(d, 1e3), scale)
    squares = own_squares(x, label, points, compiled=use)
    np.testing.assert_allclose(squares, np.square(x - at[label]).sum(axis=1), rtol=1e-11)
    low = 1e-13 * rng.normal(size=(k, d))  # which no sum with m would keep
    exact = points.moved(points.at, (at, low))
    squares = own_squares(at[label].astype(real), label, exact, compiled=use)
    np.testing.assert_allclose(squares, np.square(low[label]).sum(axis=1), rtol=1e-11)
    assert own_squares(x[:0], label[:0], points, compiled=use).shape == (0,)


def test_a_fit_of_many_columns_is_the_same_with_either_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(3, 47))
    x = 0.3 * centres[rng.integers(3, size=1500)] + rng.normal(size=(1500, 47))
    model = lem.models.gaussian_mixture(3)
    matrices = np.stack([np.eye(47)] * 3)
    thirds = lem.Categorical(3, probs=np.full(3, 1 / 3))
    start = model.replace({"z": thirds, "x": lem.Gaussian(mean=x[:3], covariance=matrices)})
    fits = []
    monkeypatch.setattr(compiled, "is_loaded", lambda: False)
    for fewest in (1, 10**9):
        monkeypatch.setattr(compiled, "FEWEST_CELLS", fewest)
        assert lem.explain_plan(start, x).is_compiled == (fewest == 1 and compiled.available())
        fits.append(lem.fit(start, x, max_iter=12, tol=0, accelerate=None, restarts=1))
    ours, theirs = ([row.objective for row in fit.trace] for fit in fits)
    np.testing.assert_allclose(ours, theirs, rtol=1e-11)
    assert ours[-1] > ours[0] + 10.0  # the steps are not idle
    for name in ("mean", "covariance"):
        mine, other = (getattr(fit.model["x"], name) for fit in fits)
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-11)


def test_which_kernels_run_depends_on_the_size_until_they_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiled, "is_loaded", lambda: False)
    assert not compiled.pays(compiled.FEWEST_CELLS - 1)
    assert compiled.pays(compiled.FEWEST_CELLS) == compiled.available()
    few = compiled.FEW_COLUMNS
    assert not compiled.pays(compiled.FEWEST_CELLS - 1, few)
    assert compiled.pays(compiled.FEWEST_CELLS // 8, 8 * few) == compiled.available()
    assert not compiled.pays(compiled.FEWEST_CELLS // 8, 8 * few - 1)
    monkeypatch.setattr(compiled, "is_loaded", lambda: True)
    assert compiled.pays(1)


def test_statistics_that_depend_on_the_data_alone_are_taken_once() -> None:
    rng = np.random.default_rng(0)
    x = rng.gamma(2.0, size=(200, 2)) + 3.0 * rng.integers(2, size=(200, 1))
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", (lem.Normal(), lem.Gamma()), given=z)])
    problem = Problem.of(model, {"x": x})
    theta = problem.theta(lem.initialize(model, {"x": x}, seed=0))
    for _ in range(2):
        expectation = problem.expectation(theta, Soft())
        ((_, first),) = problem._kept.values()
        theta = problem.m_step(theta, problem.records(theta, expectation))
    problem.expectation(theta, Soft())
    ((_, again),) = problem._kept.values()
    assert first is not None
    assert again is first


def _step(c_of: Any, T: Any, weights: Any, sums: Any) -> tuple[Any, Any, float]:
    """Return C, S and the likelihood of a step, by the formulas."""
    c = c_of(sums)
    table = c @ T
    evidence = np.logaddexp.reduce(table, axis=0)
    return c, (np.exp(table - evidence) * weights) @ T.T, float(evidence @ weights)


@pytest.mark.parametrize("n", [1, 7, 272, 1030])
@pytest.mark.parametrize("weighted", [False, True])
def test_steps_in_a_row_are_the_formulas(n: int, weighted: bool) -> None:
    rng = np.random.default_rng(n)

    def factors_of(n: int) -> Any:
        x = rng.normal(size=(3, n))
        return np.vstack([np.ones(n), x, rng.poisson(3, size=n), rng.integers(1, 4, size=n)])

    factors = factors_of(n)
    weights = rng.uniform(0.0, 2.0, size=n) if weighted else np.ones(n)
    pairs = np.array([
        [0, 0], [1, 0], [2, 0], [1, 1], [1, 2], [2, 2], [3, 0], [3, 3], [4, 0], [5, -1], [5, -2],
        [5, -3],
    ])  # fmt: skip
    T = statistics_of(factors, pairs)
    forms = [(ClosedForm(FULL, 0.5), 5), (ClosedForm(DIAGONAL), 2), (ClosedForm(COUNTS), 1),
             (ClosedForm(LEVELS), 3)]  # fmt: skip

    def c_of(sums: Any) -> Any:
        mean = sums[:, 1:] / sums[:, :1]
        eta, a, _ = natural_of_moments(mean[:, :5])
        m, variance = mean[:, 5], mean[:, 6] - mean[:, 5] ** 2
        one = np.column_stack([m / variance, -0.5 / variance])
        b = 0.5 * (m**2 / variance + np.log(2 * np.pi * variance))
        rate, probs = mean[:, 7:8], mean[:, 8:] / mean[:, 8:].sum(axis=1, keepdims=True)
        log_prior = np.log(sums[:, 0] / sums[:, 0].sum())
        first = log_prior - a - 0.5 - b - rate[:, 0]
        return np.column_stack([first, eta, one, np.log(rate), np.log(probs)])

    # More than the rows have, so that no covariance is singular.
    sums = rng.dirichlet(np.ones(200), size=3) @ statistics_of(factors_of(200), pairs).T
    em = EMSteps(forms, factors, pairs, weights if weighted else None)
    steps = em.take(sums, 6)
    assert len(steps) == 6 if n > 200 else len(steps) >= 1
    for i in range(len(steps)):
        c, new, likelihood = _step(c_of, T, weights, sums)
        one = em.take(sums, 1)
        np.testing.assert_array_equal(one.before, sums)
        np.testing.assert_allclose(one.sums, new, rtol=1e-9, atol=1e-9 * n)
        for q_before, q, found in (steps.values[:, i], one.values[:, 0]):
            assert found == pytest.approx(likelihood, rel=1e-11)
            assert q_before == pytest.approx(np.vdot(c, sums), rel=1e-9)
            assert q == pytest.approx(np.vdot(c, new), rel=1e-9)
        sums = one.sums
    np.testing.assert_allclose(steps.sums, sums, rtol=1e-9, atol=1e-9 * n)


@pytest.mark.parametrize(
    ("sums", "form"),
    [
        ([[3.0, 1.0], [0.0, 0.0]], ClosedForm(COUNTS)),  # a state without rows
        ([[3.0, 1.0], [-1.0, 2.0]], ClosedForm(COUNTS)),
        ([[3.0, 1.0], [np.nan, 2.0]], ClosedForm(COUNTS)),
        ([[3.0, 0.0], [1.0, 2.0]], ClosedForm(COUNTS)),  # log 0
        ([[5e-324, 5e-324], [1e10, 1e10]], ClosedForm(COUNTS)),  # a share that is rounded to 0
        ([[3.0, -1.0], [1.0, 2.0]], ClosedForm(COUNTS)),
        ([[2.0, 2.0, 2.0], [1.0, 3.0, 10.0]], ClosedForm(FULL)),  # no variance
        ([[2.0, 2.0, 2.0], [1.0, 3.0, 10.0]], ClosedForm(DIAGONAL)),
        ([[2.0, 2.0, 2.0 + 1e-6], [1.0, 3.0, 10.0]], ClosedForm(FULL, 0.0, 1e5)),  # too tight
        ([[2.0, 2.0, 2.0 + 1e-6], [1.0, 3.0, 10.0]], ClosedForm(DIAGONAL, 0.0, 1e5)),
    ],
)
def test_a_step_with_more_to_it_than_the_formula_is_not_taken(sums: Any, form: ClosedForm) -> None:
    p = len(sums[0])
    factors, pairs = np.array([[1.0, 1.0], [1.0, 4.0]]), np.array([[0, 0], [1, 0], [1, 1]])[:p]
    em = EMSteps([(form, p - 1)], factors, pairs)
    assert len(em.take(np.array(sums), 3)) == 0


def test_steps_end_before_an_impossible_row() -> None:
    factors, pairs = np.array([[1.0, 1.0], [1.0, np.nan]]), np.array([[0, 0], [1, 0]])
    em = EMSteps([(ClosedForm(COUNTS), 1)], factors, pairs)
    assert len(em.take(np.array([[1.0, 1.0], [1.0, 2.0]]), 3)) == 0


def test_kernels_of_shorter_vectors_are_the_formulas_too(tmp_path: Path) -> None:
    """As processors without AVX-512 run them: all kernels are compiled anew for one."""
    processor = {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    code = "from latentem.kernels.vectors import LANES; raise SystemExit(LANES)"
    given = {"env": os.environ | processor, "capture_output": True, "text": True, "check": False}
    assert subprocess.run([sys.executable, "-c", code], **given).returncode == 4
    tests = "(formula or softmax or factors or impossible or weight) and not shorter"
    command = ["pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", tests]
    result = subprocess.run([sys.executable, "-m", *command], **given)
    assert result.returncode == 0, result.stdout[-2000:]
    passed = re.search(r"(\d+) passed", result.stdout)
    assert passed is not None, result.stdout[-200:]
    assert int(passed[1]) > 100


def test_without_the_compiler_all_works() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np, latentem as lem\n"
        "from latentem.kernels import compiled\n"
        "compiled.FEWEST_CELLS = 10\n"
        "x = np.arange(60.0) % 7\n"
        "fit = lem.fit(lem.models.gaussian_mixture(2), x[:, None], seed=0, restarts=2)\n"
        "assert not compiled.pays(100) and np.isfinite(fit.log_likelihood)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ctrl_c_while_the_compiler_is_loaded_leaves_it_whole() -> None:
    code = """
import os, signal, sys
from latentem.kernels import compiled

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "numba.core.typing":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
try:
    compiled.available()
except KeyboardInterrupt:
    compiled.gapped_loops()
    raise SystemExit(7)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_a_plan_says_what_will_run() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120_000, 8))
    plan = lem.explain_plan(lem.models.gaussian_mixture(16), x)
    assert plan.is_compiled == compiled.available()
    assert not plan.keeps_statistics
    assert plan.operations == 4 * len(x) * 16 * (1 + 8 + 36)
    columns = 1 if compiled.available() else 16 + 45  # the compiled pass writes log p(x) alone
    assert plan.memory == 8 * plan.block * plan.n_threads * columns
    assert "matrix product of 44 statistics" in str(plan)
    gaps = x[:500].copy()
    gaps[::3, 1] = np.nan
    two = lem.models.gaussian_mixture(2)
    small = lem.explain_plan(two, gaps)
    assert small.is_compiled == compiled.is_loaded()
    assert "gaps" in small.nodes["x"]
    assert "arithmetic on coefficients" not in small.posterior
    assert "arithmetic on coefficients" in lem.explain_plan(two, x[:500]).posterior
    z = lem.latent("z", lem.Categorical(3))
    counts = lem.Model([z, lem.observed("count", lem.Poisson(), given=z)])
    merged = lem.explain_plan(counts, {"count": rng.poisson(3.0, size=50_000)})
    assert merged.n_distinct < 20
    assert f"of which a pass sees {merged.n_distinct}" in str(merged)
    many = lem.explain_plan(counts, {"count": rng.poisson(3.0, size=800_000)})
    assert many.keeps_statistics  # those of the distinct rows
    shared = lem.explain_plan(
        lem.models.gaussian_mixture(2, covariance="EEE"), rng.normal(size=(200_000, 2))
    )
    assert ("one compiled pass" in shared.posterior) == compiled.available()
    if compiled.available():
        assert shared.operations == 4 * 2 * 3 * 200_000  # C of (1, z) for two states
    nearest = lem.explain_plan(lem.models.kmeans(4), x[:500])
    assert "rows that cannot change sides" in nearest.posterior
    assert (nearest.exponentials, nearest.keeps_statistics) == (0, False)
    known = lem.latent("z", lem.Categorical(probs=np.full(3, 1 / 3)))
    plug_in = lem.Model([known, lem.observed("x", Laplace(scale=np.arange(1.0, 4.0)), given=known)])
    assert not lem.explain_plan(plug_in, x[:50, 0]).keeps_statistics
    with pytest.raises(lem.DataError):
        lem.explain_plan(counts, {"count": [-1, 2]})


# -- the pass of a mixture over factors of its statistics ------------------------------------------


@pytest.mark.parametrize("weighted", BOTH)
@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("n", [1, 255, 256, 1000])
@pytest.mark.parametrize(("n_states", "columns"), [(1, 1), (2, 1), (3, 2), (4, 5), (9, 3), (6, 12)])
def test_expected_sums_are_the_formulas(
    n_states: int, columns: int, n: int, use: bool, weighted: bool
) -> None:
    rng = np.random.default_rng(n_states)
    factors = np.vstack([np.ones(n), rng.normal(size=(columns, n))])
    products = [(i, j) for i in range(1, columns + 1) for j in range(i, columns + 1)]
    pairs = np.array([(i, 0) for i in range(columns + 1)] + products)
    statistics = np.array([factors[a] * factors[b] for a, b in pairs])
    coefficients = rng.normal(size=(n_states, len(pairs)))
    weights = rng.integers(3, size=n).astype(float) if weighted else None
    sums, evidence = expected_sums(coefficients, factors, pairs, weights, compiled=use)
    table = coefficients @ statistics
    shares = softmax(table, axis=0) * (1.0 if weights is None else weights)
    np.testing.assert_allclose(evidence, logsumexp(table, axis=0), rtol=1e-12, atol=1e-12)
    size = shares @ np.abs(statistics).T
    assert (np.abs(sums - shares @ statistics.T) <= 1e-12 * size + 1e-15).all()
    again = expected_sums(coefficients, statistics, None, weights, compiled=use)
    assert (np.abs(sums - again[0]) <= 1e-12 * size + 1e-15).all()
    np.testing.assert_allclose(evidence, again[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weighted", BOTH)
@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("real", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "columns"), [(1, 1), (256, 3), (777, 5), (1300, 12)])
def test_standardised_rows_stand_for_their_factors(
    n: int, columns: int, real: type, use: bool, weighted: bool
) -> None:
    rng = np.random.default_rng(n)
    rows, centre, scale = rng.normal(size=(n, columns)), rng.normal(size=columns), [0.5] * columns
    rows = rows.astype(real)
    given = Standardised(rows, centre, np.array(scale))
    factors = np.vstack([np.ones(n), (rows - centre).T / 0.5])
    np.testing.assert_array_equal(given.factors(), factors)
    pairs = columns_and_products(columns, np.column_stack(np.triu_indices(columns)))
    pairs = np.concatenate([[[0, 0]], pairs])
    coefficients = 0.1 * rng.normal(size=(3, len(pairs)))
    weights = rng.integers(3, size=n).astype(float) if weighted else None
    sums, evidence = expected_sums(coefficients, given, pairs, weights, compiled=use)
    exact = expected_sums(coefficients, factors, pairs, weights)
    np.testing.assert_allclose(evidence, exact[1], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sums, exact[0], rtol=1e-10, atol=1e-10)
    also, total = expected_sums_and_likelihood(coefficients, given, pairs, weights, compiled=use)
    np.testing.assert_array_equal(also, sums)
    assert total == pytest.approx((evidence * (1.0 if weights is None else weights)).sum(), 1e-13)


@pytest.mark.parametrize("use", BOTH)
def test_the_likelihood_of_rows_that_are_impossible_is_zero(use: bool) -> None:
    factors, coefficients = np.ones((1, 700)), np.full((40, 1), -np.inf)
    with np.errstate(invalid="ignore"):
        _, total = expected_sums_and_likelihood(coefficients, factors, compiled=use)
    assert total == -np.inf
    # Of many states that are alike, the products of sums stay numbers.
    _, total = expected_sums_and_likelihood(np.zeros((4000, 1)), factors, compiled=use)
    assert total == pytest.approx(700 * np.log(4000), rel=1e-14)


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("real", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "columns"), [(1, 1), (600, 2), (777, 5), (1300, 12)])
def test_gaps_are_factors_of_their_own(n: int, columns: int, real: type, use: bool) -> None:
    rng = np.random.default_rng(n)
    rows = np.where(rng.random((n, columns)) < 0.3, np.nan, rng.normal(size=(n, columns)))
    rows[n // 3], rows[:, columns // 2] = np.nan, np.nan
    rows = rows.astype(real)
    given = Standardised(rows, rng.normal(size=columns), np.full(columns, 2.0), gapped=True)
    z = (rows - given.centre) / given.scale
    factors = np.vstack([np.ones(n), ~np.isnan(z).T, np.nan_to_num(z).T])
    np.testing.assert_array_equal(given.factors(), factors)
    squares = np.repeat(np.arange(columns, 2 * columns)[:, None], 2, axis=1)
    pairs = np.concatenate([[[0, 0]], columns_and_products(2 * columns, squares)])
    coefficients = 0.3 * rng.normal(size=(3, len(pairs)))
    sums, evidence = expected_sums(coefficients, given, pairs, compiled=use)
    exact = expected_sums(coefficients, factors, pairs)
    np.testing.assert_allclose(sums, exact[0], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(evidence, exact[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("use", BOTH)
def test_levels_of_a_factor_are_indicators(use: bool) -> None:
    rng = np.random.default_rng(0)
    level, x = rng.integers(4, size=500), rng.normal(size=500)  # 0 is none of the three
    factors = np.vstack([np.ones(500), level, x])
    pairs = np.array([[0, 0], [2, 0], [1, -1], [1, -2], [1, -3], [2, 2]])
    statistics = np.vstack([np.ones(500), x, level == 1, level == 2, level == 3, x**2])
    np.testing.assert_array_equal(statistics_of(factors, pairs), statistics)
    coefficients = rng.normal(size=(3, 6))
    sums, evidence = expected_sums(coefficients, factors, pairs, compiled=use)
    exact = expected_sums(coefficients, statistics)
    np.testing.assert_allclose(sums, exact[0], rtol=1e-11)
    np.testing.assert_allclose(evidence, exact[1], rtol=1e-12)


@pytest.mark.parametrize("use", BOTH)
def test_states_that_are_impossible_have_no_part_in_the_sums(use: bool) -> None:
    factors = np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    coefficients = np.array([[0.0, LOG_ZERO, 0.0], [0.0, 0.0, LOG_ZERO]])
    sums, evidence = expected_sums(coefficients, factors, compiled=use)
    # The first row is half in each, the second in the second, the third in either as likely.
    assert np.array_equal(sums, [[1.0, 0.5, 0.5], [2.0, 1.5, 0.5]])
    assert evidence[2] < LOG_ZERO / 10
    np.testing.assert_allclose(np.exp(evidence[:2]), [2.0, 1.0])
