"""The nearest point, looked for again only where it must be: the same as looking always."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

import latentem as lem
from latentem.em import following
from latentem.em.assign import hard
from latentem.em.following import Following
from latentem.em.loop import half_steps
from latentem.em.maximise import worst_rows
from latentem.em.problem import Problem
from latentem.kernels.nearest import Places, Points, reassign
from latentem.parallel import threads

BOTH = [False, True]
RNG = np.random.default_rng(0)
CLUSTERED = RNG.normal(size=(1500, 3)) + 4.0 * RNG.integers(3, size=(1500, 1))
GRID = RNG.integers(0, 4, size=(900, 2))
ROWS = {
    "clusters": CLUSTERED,
    "single precision": CLUSTERED.astype(np.float32),
    "bytes": RNG.integers(0, 256, size=(700, 3)).astype(np.uint8),
    "whole numbers, many equally near": GRID.astype(np.int64),
    "far from the origin": CLUSTERED + 1e7,
    "one far row": np.concatenate([CLUSTERED, [[1e9, 0.0, 0.0]]]),
    "by columns": np.asfortranarray(RNG.normal(size=(800, 7))),
    "every other": RNG.normal(size=(900, 12))[::2, ::2],
    "one column": RNG.normal(size=(600, 1)),
    "many columns": RNG.normal(size=(500, 33)),
}


def _walk(rows: np.ndarray, k: int) -> tuple[Points, list[np.ndarray]]:
    """Points about the rows, and smaller and smaller moves of them; some rest, some are equal."""
    rng = np.random.default_rng(k)
    x = rows.astype(float)
    centre, scale = x.mean(axis=0), np.full(x.shape[1], x.std() or 1.0)
    z = (x - centre) / scale
    at = z[rng.choice(len(z), k, replace=False)]
    if k > 3:
        at[1] = at[0]
    path = [at]
    for step in range(7):
        moving = rng.random((k, 1)) < 0.8
        path.append(path[-1] + moving * 0.3**step * rng.normal(size=at.shape))
    return Points.of(at, centre, scale), [*path, path[-1]]


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("k", [1, 2, 5, 12, 130])
@pytest.mark.parametrize("name", ROWS)
def test_rows_left_alone_have_the_nearest_point(name: str, k: int, use: bool) -> None:
    rows = ROWS[name].view()
    rows.flags.writeable = False
    points, path = _walk(rows, k)
    weights = np.random.default_rng(1).integers(3, size=len(rows)).astype(float)
    places, total, left_alone = Places.unknown(len(rows)), 0.0, 0
    z = (rows - points.centre) / points.scale
    for at in path:
        points = points.moved(at)
        left_alone += np.count_nonzero(places.limit > points.drift[places.label])
        change, _ = reassign(rows, weights, points, places, compiled=use)
        total = total + change
        distance = np.square(z[:, None] - at).sum(axis=2)
        nearest = distance.argmin(axis=1)
        # Of equally near ones, to rounding, any may have come out; of equal ones the first.
        error = 1e-13 * (np.square(z).sum(axis=1) + np.square(at).sum(axis=1).max())
        chosen = distance[np.arange(len(z)), places.label]
        assert (chosen <= distance.min(axis=1) + error).all()
        certain = np.partition(distance, min(1, k - 1), axis=1)[:, min(1, k - 1)] - chosen > error
        np.testing.assert_array_equal(places.label[certain], nearest[certain])
        if k > 3 and (at[0] == at[1]).all():
            assert not (places.label == 1).any()
        fresh, n = reassign(rows, weights, points, Places.unknown(len(rows)), compiled=use)
        assert n == len(rows)
        square = np.square(z).sum(axis=1)
        statistics = np.column_stack([np.ones(len(z)), z, square])
        rounding = 1e-13 * (weights @ np.abs(statistics))
        if certain.all():
            assert (np.abs(total - fresh)[:, 1:] <= rounding).all()
        for state in range(k):
            members = (places.label == state) & (weights > 0)
            assert total[state, 0] == members.sum()
            exact = weights[members] @ statistics[members]
            assert (np.abs(total[state, 1:] - exact) <= rounding).all()
    assert left_alone > len(rows)


# Which of several equally near points is found is a matter of rounding.
@pytest.mark.parametrize("name", [name for name in ROWS if "equally near" not in name])
def test_the_compiled_kernel_finds_what_numpy_finds(name: str) -> None:
    rows = ROWS[name]
    points, path = _walk(rows, 6)
    both = [Places.unknown(len(rows)) for _ in BOTH]
    for at in path:
        points = points.moved(at)
        (a, n), (b, m) = (
            reassign(rows, None, points, places, compiled=use)
            for places, use in zip(both, BOTH, strict=True)
        )
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(np.abs(a).max(), 1.0))
        assert n == m
        np.testing.assert_array_equal(both[0].label, both[1].label)
        close = np.isclose(both[0].limit, both[1].limit, rtol=1e-3, atol=1e-3)
        assert close.mean() > 0.9  # of rows about as near to two, other bounds may be left


def _kmeans(x: np.ndarray, k: int, seed: int = 0) -> lem.Model:
    at = x[np.random.default_rng(seed).choice(len(x), k, replace=False)].astype(float)
    z = lem.latent("z", lem.Choice(k))
    return lem.Model([z, lem.observed("x", lem.Prototype(prototypes=at), given=z)])


def _compiled(problem: Problem, use: bool) -> Problem:
    elimination = attrs.evolve(problem.layout.elimination, compiled=use)
    return attrs.evolve(problem, layout=attrs.evolve(problem.layout, elimination=elimination))


WEIGHTS = {
    "none": None,
    "whole": RNG.integers(3, size=1500).astype(float),
    "of all sizes": 10.0 ** RNG.uniform(-12, 12, size=1500),
}


TIGHT = np.concatenate([
    CLUSTERED[:400],
    np.repeat(CLUSTERED[:3], 40, axis=0),  # states without any spread
    1e5 + 1e-4 * CLUSTERED[400:800] + RNG.integers(3, size=(400, 1)),  # tight ones, far away
    [[7e4, 0.0, 0.0]],  # a state of one row
])  # fmt: skip


@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("k", [4, 12])
def test_tight_states_keep_their_digits(k: int, use: bool) -> None:
    problem = _compiled(Problem.of(_kmeans(TIGHT, k, seed=k), TIGHT), use)
    states, tight, mixed = half_steps(problem, problem.theta(), hard), 0, 0
    for _ in range(15):
        state = next(states)
        (kernel,) = state.theta.kernels.values()
        assert kernel.distances is not None
        own = kernel.distances.own
        tight += own is not None
        mixed += own is not None and not own.all()
        alone = problem.expectation(state.theta, problem.posterior(state.theta, hard))
        mine, theirs = (r["x"].total for r in (state.records, problem.records(state.theta, alone)))
        size = np.abs(theirs).max(axis=1, keepdims=True)
        assert (np.abs(mine - theirs) <= 1e-11 * size + 1e-20).all()
        at = state.theta.dists["x"].prototypes
        near = np.square(TIGHT[:, None] - at).sum(axis=2).min(axis=1)
        assert -state.objective == pytest.approx(near.sum(), rel=1e-9)
    assert tight > 5
    assert mixed > 0


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("use", BOTH)
@pytest.mark.parametrize("k", [2, 7, 30])
def test_following_is_the_e_step_by_itself(k: int, use: bool, weights: str) -> None:
    problem = _compiled(Problem.of(_kmeans(CLUSTERED, k), CLUSTERED, WEIGHTS[weights]), use)
    states = half_steps(problem, problem.theta(), hard)
    for _ in range(25):
        state = next(states)
        alone = problem.expectation(state.theta, hard)
        assert state.objective == pytest.approx(alone.objective, rel=1e-11)
        general = problem.expectation(state.theta, problem.posterior(state.theta, hard))
        for other in (alone, general):
            for name, record in problem.records(state.theta, other).items():
                mine, theirs = state.records[name].vector, record.vector
                assert mine is not None
                assert theirs is not None
                # Each state has its own digits, whatever the weights of the others.
                table, exact = (v[: len(v) // k * k].reshape(-1, k) for v in (mine, theirs))
                if name == "x":
                    table, exact = (v[k:-1].reshape(k, -1).T for v in (mine, theirs))
                size = np.abs(exact).max(axis=0)
                assert (np.abs(table - exact) <= 1e-11 * size).all()


def test_sums_are_taken_afresh_before_rounding_builds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prototypes that go back and forth between far places change all rows each time."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2000, 2)) + np.where(rng.random((2000, 1)) < 0.5, 0.0, 30.0)
    weights = 10.0 ** rng.uniform(-6, 6, size=2000)
    problem = Problem.of(_kmeans(x, 4), x, weights)
    begun = []
    forget = following._Assigned._forget
    monkeypatch.setattr(
        following._Assigned,
        "_forget",
        lambda *given: (begun.append(given[1].all()), forget(*given)),
    )
    follow = Following(problem)
    for _ in range(60):
        at = x[rng.choice(len(x), 4, replace=False)]
        z = lem.latent("z", lem.Choice(4))
        theta = problem.theta(
            lem.Model([z, lem.observed("x", lem.Prototype(prototypes=at), given=z)])
        )
        records = (
            problem.records(theta, e)["x"]
            for e in (follow.expectation(theta, hard), problem.expectation(theta, hard))
        )
        mine, exact = (np.column_stack([r.weight, r.total]) for r in records)
        size = np.abs(exact).max(axis=1, keepdims=True)
        assert (np.abs(mine - exact) <= 1e-12 * size).all()
    assert 5 < len(begun) < 60
    assert any(begun)
    assert not all(begun)  # of single states that lost their rows


@pytest.mark.parametrize("use", BOTH)
def test_a_fit_does_not_depend_on_the_number_of_threads(
    use: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "COMPILED_PRODUCTS", 1)  # or these rows would be one block
    x = np.random.default_rng(2).normal(size=(70_000, 3))
    problem = _compiled(Problem.of(_kmeans(x, 8), x), use)
    found = []
    for n in (1, 2, 3):
        with threads(n):
            states = half_steps(problem, problem.theta(), hard)
            found.append([next(states).objective for _ in range(5)])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("weights", ["none", "whole"])
@pytest.mark.parametrize("use", BOTH)
def test_rows_are_represented_by_their_nearest_prototypes(use: bool, weights: str) -> None:
    own = WEIGHTS[weights]
    x = CLUSTERED if own is None else CLUSTERED[: len(own)]
    problem = _compiled(Problem.of(_kmeans(x, 9), x, own), use)
    theta = problem.theta()
    distance = np.square(x[:, None] - theta.dists["x"].prototypes).sum(axis=2).min(axis=1)
    distance = distance if own is None else distance * (own > 0)
    worst = np.argsort(-distance)[:3]
    np.testing.assert_array_equal(worst_rows(problem, theta, "x", hard, 3), x[worst])


@pytest.mark.parametrize("use", BOTH)
def test_rows_that_are_prototypes_are_represented_exactly(use: bool) -> None:
    x = 1e5 + np.repeat(CLUSTERED[:4], 20, axis=0)
    problem = _compiled(Problem.of(_kmeans(x, 4), x), use)
    states = half_steps(problem, problem.theta(), hard)
    *_, state = (next(states) for _ in range(6))
    assert len(worst_rows(problem, state.theta, "x", hard, 2)) == 0


def test_a_state_that_a_prior_favours_is_not_the_nearest() -> None:
    """With a prior that differs the best state may be another; following leaves that alone."""
    x = np.array([[0.0], [1.0], [2.0], [10.0]])
    z = lem.latent("z", lem.fixed(lem.Categorical(probs=[0.999, 0.001])))
    at = lem.Prototype(prototypes=[[0.0], [3.0]])
    fit = lem.fit(
        lem.Model([z, lem.observed("x", at, given=z)]), x, assign=lem.hard, max_iter=0, tol=0
    )
    np.testing.assert_array_equal(fit.predict(), [0, 0, 0, 1])


@pytest.mark.parametrize("name", ["clusters", "single precision", "bytes", "by columns"])
def test_a_fit_is_lloyds_whatever_the_type_of_the_data(name: str) -> None:
    x = ROWS[name]
    model = _kmeans(x, 6)
    at = model["x"].prototypes
    fit = lem.fit(model, x, assign=lem.hard, tol=0, max_iter=12, restarts=1)
    for _ in range(12):
        distance = np.square(x.astype(float)[:, None] - at).sum(axis=2)
        label = distance.argmin(axis=1)
        at = np.stack([x[label == s].astype(float).mean(axis=0) for s in range(6)])
    np.testing.assert_allclose(fit.model["x"].prototypes, at, rtol=1e-10)
    distance = np.square(x.astype(float)[:, None] - at).sum(axis=2)
    assert fit.distortion == pytest.approx(distance.min(axis=1).sum(), rel=1e-11)
