"""Seeds far apart: the compiled kernels choose as the definition does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import latentem as lem
from latentem.em import seeding
from latentem.em.problem import Problem
from latentem.kernels import compiled
from latentem.kernels import seeding as kernel
from latentem.kernels.expected import Standardised
from latentem.parallel import threads

pytestmark = pytest.mark.skipif(not compiled.available(), reason="without the extra fast")


def _rows(n: int, d: int, real: type = float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=4, size=(9, d))
    return (centres[rng.integers(9, size=n)] + rng.normal(size=(n, d))).astype(real)


def _standardised(x: np.ndarray) -> Standardised:
    d = x.shape[1]
    return Standardised(x, np.linspace(-1, 1, d), np.linspace(0.5, 2, d))


@pytest.mark.parametrize("real", [float, np.float32])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (7, 2), (700, 3), (2500, 5), (700, 8), (601, 130)])
def test_each_row_has_the_nearest_of_the_seeds_and_each_candidate_its_total(
    n: int, d: int, real: type
) -> None:
    rng, given = np.random.default_rng(1), _standardised(_rows(n, d, real))
    z = (given.rows.astype(float) - given.centre) * (1 / given.scale)
    weights = rng.random(n) * (rng.random(n) < 0.8)
    rows = kernel.Rows.of(given, weights, kernel.Nearest.unknown(n))
    at, square, label = np.zeros((12, d)), np.full(n, np.inf), np.zeros(n, dtype=int)
    starts, n_left_alone = np.arange(0, n, kernel.PART), 0
    latest: int | None = None
    chosen = 0
    for state in rng.permutation(12).tolist():
        candidates = rng.integers(n, size=5)
        points = rows.standard(candidates)
        np.testing.assert_array_equal(points, z[candidates])
        seed = np.empty((0, d)) if latest is None else at[latest, None]
        together = np.concatenate([seed, points])
        safe = kernel.safe_distances(at, together)
        square_now = rows.nearest.square
        n_left_alone += int(((square_now > 0) & (square_now <= safe[rows.nearest.label])).sum())
        totals = kernel.look(rows, slice(0, rows.n_parts), together, latest, safe)
        far = np.square(z[:, None] - together).sum(axis=2)
        if latest is not None:
            label[far[:, 0] < square * (1 - kernel.TIE)] = latest
            square = np.minimum(square, far[:, 0])
            np.testing.assert_allclose(rows.nearest.square, square, rtol=1e-12)
            np.testing.assert_array_equal(rows.nearest.label, label)
            assert rows.nearest.square[chosen] == 0.0  # to the last digit
        expected = np.add.reduceat(weights[:, None] * np.minimum(far, square[:, None]), starts)
        np.testing.assert_allclose(totals, expected, rtol=1e-12)
        latest, chosen, at[state] = state, candidates[2], points[2]
    assert n_left_alone > 0 or n < 700


def test_parts_are_looked_at_by_themselves() -> None:
    n = 3 * kernel.PART + 7
    rows = kernel.Rows.of(_standardised(_rows(n, 2)), np.ones(n), kernel.Nearest.unknown(n))
    points = rows.standard([0])
    totals = kernel.look(rows, slice(1, 3), points, 4, np.zeros(5))
    far = np.square(rows.standard(np.arange(n)) - points).sum(axis=1)
    seen = np.arange(n) // kernel.PART
    for part, total in zip((1, 2), totals, strict=True):
        np.testing.assert_allclose(total, far[seen == part].sum(), rtol=1e-12)
    looked = (seen == 1) | (seen == 2)
    np.testing.assert_array_equal(rows.nearest.label, np.where(looked, 4, 0))
    np.testing.assert_allclose(rows.nearest.square[looked], far[looked], rtol=1e-12)
    assert (rows.nearest.square[~looked] == kernel.FARTHEST).all()


@pytest.mark.parametrize("n", [3, 700, 2500])
def test_rows_are_drawn_by_weight_and_distance(n: int) -> None:
    rng = np.random.default_rng(2)
    weights = rng.random(n) * (rng.random(n) < 0.5)
    weights[1] = 1.0
    rows = kernel.Rows.of(_standardised(_rows(n, 2)), weights, kernel.Nearest.unknown(n))
    points = rows.standard([0])
    chances = weights * np.square(rows.standard(np.arange(n)) - points).sum(axis=1)
    left = np.add.reduceat(chances, np.arange(0, n, kernel.PART))
    ends = np.cumsum(chances)
    targets = rng.random(500) * ends[-1]
    drawn = kernel.draw(rows, left, points[0], 0, np.zeros(1), targets)
    np.testing.assert_array_equal(drawn, ends.searchsorted(targets, side="right"))
    # Where rounding takes a target past them all: the last with a chance, not in a part without.
    weights[n // 2 + 1 :] = chances[n // 2 + 1 :] = 0.0
    left = np.add.reduceat(chances, np.arange(0, n, kernel.PART))
    (last,) = kernel.draw(rows, left, points[0], 0, np.zeros(1), np.array([2 * ends[-1]]))
    assert last == np.flatnonzero(chances)[-1]


MODELS = {
    "gaussian": (lem.models.gaussian_mixture, lambda x: x),
    "diagonal": (lambda k: lem.models.gaussian_mixture(k, covariance="diagonal"), lambda x: x),
    "single precision": (lem.models.gaussian_mixture, lambda x: x.astype(np.float32)),
    "k-means": (lem.models.kmeans, lambda x: x),
    "bytes": (lem.models.kmeans, lambda x: (8 * x + 128).clip(0, 255).astype(np.uint8)),
    "wide integers": (lem.models.kmeans, lambda x: (1e6 * x).astype(np.int64)),
    "normal": (lambda k: _mixture(k, lem.Normal()), lambda x: x[:, 0]),
    "log-normal": (lambda k: _mixture(k, lem.LogNormal()), lambda x: np.exp(x[:, 0])),
    "repeated": (lem.models.kmeans, lambda x: np.round(x[:, :1] / 4)),
}


def _mixture(k: int, dist: lem.Distribution) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", dist, given=z)])


def _standardised_rows(problem: Problem) -> Standardised | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seeding, "pays", lambda *_: True)
        return seeding._standardised(problem, ["x"], 3)


def _seeded(
    problem: Problem, k: int, seed: int, use: bool, known: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Return the nearest seeds by either way, and the next random number."""
    rng = np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seeding, "pays", lambda *_: use)
        known = np.full(problem.data.n, -1) if known is None else known
        return seeding.nearest_seeds(problem, ["x"], k, known, rng), rng.random()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("k", [1, 2, 7, 20])
def test_seeds_are_the_same_with_either_kernels(name: str, k: int) -> None:
    model, transform = MODELS[name]
    problem = Problem.of(model(k), transform(_rows(3000, 3)))
    assert _standardised_rows(problem) is not None
    for seed in range(5):
        given, next_given = _seeded(problem, k, seed, use=False)
        found, next_found = _seeded(problem, k, seed, use=True)
        np.testing.assert_array_equal(found, given)
        assert next_found == next_given


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_seeds_of_several_blocks_are_the_same(n_threads: int) -> None:
    x = _rows(150_000, 2)
    problem = Problem.of(lem.models.gaussian_mixture(6), x)
    with threads(n_threads):
        found, _ = _seeded(problem, 6, 0, use=True)
    np.testing.assert_array_equal(found, _seeded(problem, 6, 0, use=False)[0])


@pytest.mark.parametrize("seed", range(6))
def test_seeds_with_labels_and_weights_are_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = _rows(2000, 2)
    known = np.where(rng.random(2000) < 0.02, rng.integers(2, size=2000), -1)
    weights = rng.random(2000) * (rng.random(2000) < 0.5)
    weights[known >= 0] = 1.0
    problem = Problem.of(lem.models.gaussian_mixture(5), x, weights=weights)
    ways = [_seeded(problem, 5, seed, use, known) for use in (False, True)]
    np.testing.assert_array_equal(ways[1][0], ways[0][0])
    assert len(set(ways[0][0])) == 5


def test_a_row_without_weight_may_be_anywhere() -> None:
    x = _rows(500, 2)
    x *= 1e-6
    x[7] = 9e149
    weights = np.ones(500)
    weights[7] = 0.0
    problem = Problem.of(lem.models.kmeans(4), x, weights=weights)
    ways = [_seeded(problem, 4, 0, use)[0] for use in (False, True)]
    np.testing.assert_array_equal(*ways)
    assert len(set(ways[0])) == 4


@pytest.mark.parametrize("use", [False, True])
def test_rows_as_far_as_can_be_have_the_nearest_seed(use: bool) -> None:
    rng = np.random.default_rng(0)
    x = np.repeat([9.8e149, 0.0, -9.8e149], 10)[:, None] + 1e147 * rng.normal(size=(30, 4))
    problem = Problem.of(lem.models.kmeans(3), x.clip(-9.99e149, 9.99e149))
    for seed in range(5):
        label = _seeded(problem, 3, seed, use)[0].reshape(3, 10)
        assert (label == label[:, :1]).all()
        assert len(set(label[:, 0])) == 3


# -- the definition, whichever kernels -------------------------------------------------------------


def _greedy(x: np.ndarray, known: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return the nearest of k seeds to each row (Arthur and Vassilvitskii), all of weight one.

    A known state has a known row for its seed, and the others rows that are not known.
    """
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    free = known == -1
    far = np.square(z[:, None] - z).sum(axis=2)
    nearest, label = np.full(len(x), np.inf), np.zeros(len(x), dtype=int)

    def draw(chances: np.ndarray, count: int) -> np.ndarray:
        return np.cumsum(chances / chances.sum()).searchsorted(rng.random(count), side="right")

    states = [*sorted(set(known) - {-1}), *sorted(set(range(k)) - set(known))]
    for turn, state in enumerate(states):
        if state in known:
            candidates = draw((known == state).astype(float), 1)
        else:
            candidates = draw(
                free * nearest if turn else free / 1, 2 + int(np.log(k)) if turn else 1
            )
        totals = [(free * np.minimum(nearest, far[c])).sum() for c in candidates]
        seed = candidates[int(np.argmin(totals))]
        label[far[seed] < nearest] = state
        nearest = np.minimum(nearest, far[seed])
    return label


@pytest.mark.parametrize("use", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_seeds_are_those_of_the_definition(use: bool, labelled: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(seeding, "UNLABELLED", 0.0)  # labels are heard at once
    x = _rows(600, 2)
    known = np.full(600, -1)
    if labelled:
        known[[3, 70, 200]] = [4, 1, 1]
    problem = Problem.of(lem.models.gaussian_mixture(6, covariance="diagonal"), x)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        if labelled:
            rng.random()  # whether to hear them
        expected = _greedy(x, known, 6, rng)
        np.testing.assert_array_equal(_seeded(problem, 6, seed, use, known)[0], expected)


@pytest.mark.parametrize("use", [False, True])
def test_of_fewer_distinct_rows_each_has_a_state(use: bool) -> None:
    x = np.repeat([[0.0], [1.0], [5.0]], 4, axis=0)
    problem = Problem.of(lem.models.kmeans(7), x)
    for seed in range(10):
        label, _ = _seeded(problem, 7, seed, use)
        assert len(set(label)) == 7  # a row of its own for those without a distinct one
        for rows in np.split(label, 3):
            assert set(rows).isdisjoint(set(label) - set(rows))


class Manhattan(lem.Gaussian):
    """A family that measures otherwise than the one it is derived from."""

    def dissimilarity(self, value: Any, other: Any) -> Any:
        return np.abs(value[:, None] - other).sum(axis=2)


def test_a_dissimilarity_of_ones_own_is_heard() -> None:
    assert lem.Gaussian().is_euclidean
    assert lem.fixed(lem.Gaussian(mean=[0.0], covariance=[[1.0]])).is_euclidean
    assert not Manhattan().is_euclidean
    assert not lem.Poisson().is_euclidean
    problem = Problem.of(_mixture(3, Manhattan()), _rows(100, 2))
    assert _standardised_rows(problem) is None


def test_what_is_no_squared_distance_is_asked_pair_by_pair() -> None:
    x = _rows(200, 2)
    for dissimilarity in ("l1", "cosine"):
        problem = Problem.of(lem.models.kmeans(3, dissimilarity=dissimilarity), x)
        assert _standardised_rows(problem) is None
    x[3, 1] = np.nan
    assert _standardised_rows(Problem.of(lem.models.gaussian_mixture(3), x)) is None
