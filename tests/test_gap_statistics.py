"""Gaussians with gaps from statistics: the numbers of the residual form, and of a direct sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import latentem as lem
from latentem.distributions import gap_statistics
from latentem.distributions.covariance import LETTERS
from latentem.distributions.gap_statistics import GappedColumns, GappedStatistics
from latentem.distributions.gaps import GappedKernel, Patterns
from latentem.distributions.kernels import Kernel
from latentem.distributions.records import Statistics
from latentem.kernels.compiled import available
from latentem.kernels.softmax import log_normalise
from latentem.kernels.sweep import swept

NAMES = sorted(LETTERS)


def _gaussian(
    structure: str, n: int = 150, d: int = 3, share: float = 0.3, spread: float = 1.0
) -> tuple[lem.Gaussian, lem.Array, lem.Array]:
    """A Gaussian of three states bound to rows with gaps, the rows, and weights."""
    rng = np.random.default_rng(d)
    states = rng.integers(3, size=n)
    root = np.eye(d) + 0.4 * rng.normal(size=(d, d))
    x = 3.0 * rng.normal(size=(3, d))[states] + spread * rng.normal(size=(n, d)) @ root + 1e3
    dist = lem.Gaussian(covariance=structure).fit(x, np.eye(3)[states])
    x[rng.random(x.shape) < share] = np.nan
    x[[4, 9]] = np.nan  # two rows of nothing but gaps
    return dist.bind(x), x, rng.random((3, n))


def _assert_same_records(dist: lem.Gaussian, mine: Any, theirs: Any) -> None:
    mine, theirs = dist.comparable(mine), dist.comparable(theirs)
    assert isinstance(mine, Statistics)
    assert isinstance(theirs, Statistics)
    assert mine.reference is theirs.reference
    np.testing.assert_allclose(mine.weight, theirs.weight, rtol=1e-12)
    atol = 1e-11 * np.abs(theirs.total).max()
    np.testing.assert_allclose(mine.total, theirs.total, rtol=1e-11, atol=atol)
    assert mine.log_base == pytest.approx(theirs.log_base, rel=1e-11, abs=1e-9)


@pytest.mark.parametrize(
    ("structure", "n", "d", "share"),
    [
        *((name, 150, 3, 0.3) for name in NAMES),
        ("VVV", 100, 1, 0.2),
        ("VVI", 100, 1, 0.2),
        ("VII", 100, 1, 0.2),
        ("VVV", 60, 9, 0.5),  # a pattern takes more than a byte,
        ("VVV", 300, 20, 0.3),  # and nearly every row has its own
        ("VVV", 60, 3, 0.0),
    ],
)
def test_statistics_and_residuals_give_the_same_numbers(
    structure: str, n: int, d: int, share: float
) -> None:
    dist, x, weights = _gaussian(structure, n, d, share)
    kernel = dist.gapped_kernel()
    columns = LETTERS[structure].orientation == "axes"
    assert isinstance(kernel, GappedColumns if columns else GappedStatistics)
    mine, theirs = kernel.on(x), dist.residual_gapped_kernel().on(x)
    np.testing.assert_allclose(mine.log_density(), theirs.log_density(), rtol=1e-11, atol=1e-10)
    _assert_same_records(dist, mine.record(weights), theirs.record(weights))


@pytest.mark.parametrize("structure", ["VVV", "EEE", "VVI", "VII"])
def test_both_are_the_sum_over_rows_of_what_is_expected(structure: str) -> None:
    dist, x, weights = _gaussian(structure, n=60)
    mean, covariance = dist.known()
    reference, form = dist.reference, LETTERS[structure]
    assert reference is not None
    first, second = np.zeros((3, 3)), np.zeros((3, 3, 3))
    log_density, entropy = np.zeros((3, 60)), 0.0
    for i, row in enumerate(x):
        o, u = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
        if not len(o):
            continue
        for k in range(3):
            gain = covariance[k][np.ix_(u, o)] @ np.linalg.inv(covariance[k][np.ix_(o, o)])
            rest = covariance[k][np.ix_(u, u)] - gain @ covariance[k][np.ix_(o, u)]
            filled, spread = row.copy(), np.zeros((3, 3))
            filled[u] = mean[k, u] + gain @ (row[o] - mean[k, o])
            spread[np.ix_(u, u)] = rest
            z = (filled - reference.centre) / reference.scale
            spread /= np.outer(reference.scale, reference.scale)
            part = stats.multivariate_normal(mean[k, o], covariance[k][np.ix_(o, o)])
            log_density[k, i] = part.logpdf(row[o])
            first[k] += weights[k, i] * z
            second[k] += weights[k, i] * (np.outer(z, z) + spread)
            if len(u):
                entropy += weights[k, i] * stats.multivariate_normal(cov=rest).entropy()
    total = np.concatenate([first, form.of_products(second)], axis=1)
    weight = weights[:, ~np.isnan(x).all(axis=1)].sum(axis=1)
    expected = Statistics(weight, total, entropy, reference)
    for kernel in (dist.gapped_kernel(), dist.residual_gapped_kernel()):
        attached = kernel.on(x)
        np.testing.assert_allclose(attached.log_density(), log_density, rtol=1e-9, atol=1e-9)
        found = dist.comparable(attached.record(weights))
        assert isinstance(found, Statistics)
        np.testing.assert_allclose(found.weight, expected.weight, rtol=1e-12)
        np.testing.assert_allclose(found.total, expected.total, rtol=1e-9, atol=1e-9)
        assert found.log_base == pytest.approx(expected.log_base, rel=1e-10)


@pytest.mark.parametrize("structure", ["VVV", "VVI"])
def test_the_order_of_the_rows_and_how_many_patterns_go_at_once_do_not_matter(
    structure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dist, x, weights = _gaussian(structure, n=80, d=4)
    kernel = dist.gapped_kernel()
    plain = kernel.on(x)
    log_density, record = plain.log_density(), plain.record(weights)
    order = np.lexsort(np.isnan(x).T)
    assert not Patterns.of(x).in_order
    assert Patterns.of(x[order]).in_order
    for cells in (1, 3 * kernel.reference.centre.size**2 * 3, 10**9):  # type: ignore[attr-defined]
        monkeypatch.setattr(gap_statistics, "SWEPT_CELLS", cells)
        attached = kernel.on(x[order])
        np.testing.assert_allclose(attached.log_density(), log_density[:, order], rtol=1e-12)
        _assert_same_records(dist, attached.record(weights[:, order]), record)


def test_sweeping_is_what_the_blocks_say() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(2, 4, 4))
    whole = root @ np.swapaxes(root, -1, -2) + np.eye(4)
    missing = np.array([[False] * 4, [True] * 4, [True, False, False, True], [False, True] * 2])
    matrix, log_det = swept(np.moveaxis(whole, 0, -1), missing)
    for p, hidden in enumerate(missing):
        o, u = np.flatnonzero(~hidden), np.flatnonzero(hidden)
        for k in range(2):
            inverse = np.linalg.inv(whole[k][np.ix_(u, u)])
            across = inverse @ whole[k][np.ix_(u, o)]
            expected = np.empty((4, 4))
            expected[np.ix_(u, u)] = -inverse
            expected[np.ix_(u, o)], expected[np.ix_(o, u)] = across, across.T
            left = whole[k][np.ix_(o, u)] @ across
            expected[np.ix_(o, o)] = whole[k][np.ix_(o, o)] - left
            np.testing.assert_allclose(matrix[p, k], expected, rtol=1e-11, atol=1e-11)
            assert log_det[p, k] == pytest.approx(-np.linalg.slogdet(inverse)[1], abs=1e-11)


@pytest.mark.skipif(not available(), reason="numba is not installed")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("structure", ["VVV", "EEE", "VEV"])
def test_the_pass_at_once_is_density_posterior_and_record(structure: str, weighted: bool) -> None:
    dist, x, _ = _gaussian(structure)
    x[-2:] = np.nan  # rows of nothing but gaps
    kernel = dist.gapped_kernel()
    attached = kernel.on(x[Patterns.of(x).order])
    weights = np.random.default_rng(0).random(len(x)) if weighted else None
    log_prior = np.log([[0.5], [0.2], [0.3]])
    found = attached.at_once(log_prior, weights)
    assert found is not None
    record, counts, evidence = found
    table = attached.log_density() + log_prior
    exact = log_normalise(table)
    table *= 1.0 if weights is None else weights
    np.testing.assert_allclose(evidence, exact, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(counts, table.sum(axis=1), rtol=1e-11)
    _assert_same_records(dist, record, attached.record(table))


@pytest.mark.parametrize("structure", ["VVV", "VVI", "VII"])
def test_tight_states_are_left_to_their_residuals(structure: str) -> None:
    wide, x, weights = _gaussian(structure)
    tight = _gaussian(structure, spread=1e-6)[0]
    old, new = wide.gapped_kernel(), tight.gapped_kernel()
    assert not isinstance(old, GappedKernel)
    assert isinstance(new, GappedKernel)
    assert old.record_for(new) is None
    assert old.record_for(old) is None
    assert new.record_for(new) is None
    # Of the same E-step, to more digits.
    finer = new.record_for(old)
    assert isinstance(finer, Kernel)
    pairs = finer.on(x), old.on(x)
    np.testing.assert_array_equal(*(attached.log_density() for attached in pairs))
    record = pairs[0].record(weights)
    assert record.reference.root is not None
    _assert_same_records(wide, record, pairs[1].record(weights))


@pytest.mark.parametrize("structure", ["full", "diagonal"])
def test_many_columns_take_the_residual_form_with_gaps_as_without(structure: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 50))
    dist = lem.Gaussian(covariance=structure).fit(x, np.ones((200, 1)))
    x[rng.random(x.shape) < 0.1] = np.nan
    kernel = dist.bind(x).gapped_kernel()
    assert isinstance(kernel, GappedKernel if structure == "full" else GappedColumns)


@pytest.mark.parametrize("scale", [1.0, 1e20])
@pytest.mark.parametrize("angle", [1e-4, 1e-9, 1e-13])
def test_columns_that_nearly_determine_each_other_lose_no_digits(
    scale: float, angle: float
) -> None:
    # However wide the state: what is swept is as small as it is close to singular.
    x = _gaussian("VVV")[1] - 1e3
    covariance = np.tile(scale * (np.ones((3, 3)) + angle * np.diag([1.0, 2.0, 3.0])), (3, 1, 1))
    dist = lem.Gaussian(np.zeros((3, 3)), covariance).bind(x)
    kernel, exact = dist.gapped_kernel(), dist.residual_gapped_kernel()
    assert isinstance(kernel, GappedKernel) == (angle < 1e-4)
    mine, theirs = (each.on(x).log_density() for each in (kernel, exact))
    np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-8)
