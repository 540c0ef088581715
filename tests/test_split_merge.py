"""Moves out of a local optimum: two states made one, a third made two."""

from __future__ import annotations

import numpy as np
import pytest

import latentem as lem
from latentem.em.assign import soft
from latentem.em.problem import Problem
from latentem.em.seeding import split_rows
from latentem.em.split_merge import Move, Optimum, moved, moves, some_of


def _mixture(k: int) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", lem.Normal(), given=z)])


@pytest.mark.parametrize(("k", "count"), [(2, 0), (3, 3), (4, 12), (5, 30)])
def test_a_move_names_three_different_states(k: int, count: int) -> None:
    every = moves(Problem.of(_mixture(k), np.arange(9.0)))
    assert len(every) == len(set(every)) == count
    assert all(len({move.into, move.from_, move.split}) == 3 for move in every)


def test_a_latent_of_which_something_is_known_is_not_moved() -> None:
    data = {"x": np.arange(9.0), "z": [0, 1, 2, *[np.nan] * 6]}
    assert moves(Problem.of(_mixture(3), data)) == []


def test_each_move_is_drawn_as_often_as_the_others_to_one() -> None:
    every = moves(Problem.of(_mixture(4), np.arange(9.0)))
    drawn = some_of(every, 30, np.random.default_rng(0))
    counts = [drawn.count(move) for move in every]
    assert sum(counts) == 30
    assert set(counts) == {2, 3}


@pytest.mark.parametrize("move", [Move("z", 0, 1, 2), Move("z", 0, 3, 1), Move("z", 2, 3, 0)])
def test_a_move_leaves_the_other_states_and_each_row_s_total(move: Move) -> None:
    x = np.random.default_rng(1).normal(size=60) * 3
    fit = lem.fit(_mixture(4), x, seed=0, restarts=1, max_iter=5, tol=0)
    problem = Problem.of(_mixture(4), x)
    start = moved(Optimum(problem, problem.theta(fit.model), soft), move)
    rows, beliefs = start(problem, np.random.default_rng(0))
    before = fit.posterior().marginal("z")
    parts = [beliefs[slice(0, 25)].marginal("z"), beliefs[slice(25, 60)].marginal("z")]
    after = np.concatenate(parts)
    assert rows is None
    np.testing.assert_allclose(after.sum(axis=1), 1.0, rtol=1e-12)
    merged = before[:, move.into] + before[:, move.from_]
    np.testing.assert_allclose(after[:, move.into], merged, rtol=1e-12)
    halves = after[:, [move.split, move.from_]]
    np.testing.assert_allclose(halves.sum(axis=1), before[:, move.split], rtol=1e-12, atol=1e-300)
    assert (halves.min(axis=1) == 0).all()  # a row goes with one half or with the other
    (other,) = {0, 1, 2, 3} - {move.into, move.from_, move.split}
    np.testing.assert_allclose(after[:, other], before[:, other], rtol=1e-12)


def test_halves_lie_apart() -> None:
    x = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2])
    problem = Problem.of(_mixture(3), x)
    for seed in range(20):
        half = split_rows(problem, "z", np.ones(6), np.random.default_rng(seed))
        assert 0 < half.sum() < 6
        assert half[0] == half[1] or half[4] == half[5]  # one of the groups at least stays whole


def test_halves_of_categories_hold_equal_rows_apart_by_chance() -> None:
    z = lem.latent("z", lem.Categorical(3))
    items = [lem.observed(f"q{i}", lem.Categorical(3), given=z) for i in range(4)]
    data = {f"q{i}": np.repeat([0, 1], 20) for i in range(4)}
    problem = Problem.of(lem.Model([z, *items]), data)
    half = split_rows(problem, "z", np.ones(40), np.random.default_rng(0))
    assert len(set(half[:20])) == len(set(half[20:])) == 1
    assert half[0] != half[20]
    alike = Problem.of(lem.Model([z, *items]), {f"q{i}": np.zeros(40, int) for i in range(4)})
    half = split_rows(alike, "z", np.ones(40), np.random.default_rng(0))
    assert 5 < half.sum() < 35


def test_moves_lead_out_of_a_poor_optimum_and_are_told_from_starts() -> None:
    # Four groups in pairs; from a start with one state on two of them and two on a third.
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(c, 0.3, size=40) for c in (0.0, 2.0, 30.0, 32.0)])
    poor = lem.init.from_labels(np.repeat([0, 0, 1, 2], 40) + (x > 32.0).astype(int))
    trapped = lem.fit(_mixture(4), x, init=poor)
    fit = lem.fit(_mixture(4), x, seed=0)
    assert fit.log_likelihood > trapped.log_likelihood + 10
    starts = [start for start in fit.starts if not start.is_move]
    assert len(starts) == 20
    assert len(fit.starts) > 20
    n_moves = len(fit.starts) - 20
    assert fit.starts_line.startswith(f"20 and {n_moves} moves of states: ")
    given = lem.fit(_mixture(4), x, seed=0, restarts=7)
    assert len(given.starts) == 7


def test_annealing_makes_no_moves() -> None:
    x = np.repeat([0.0, 10.0, 20.0], 20) + np.random.default_rng(0).normal(size=60)
    fit = lem.fit(_mixture(3), x, seed=0, assign=lem.tempered([0.2, 0.5, 1.0]), tol=1e-3)
    assert not any(start.is_move for start in fit.starts)
