"""K-means as a declaration: the same engine, prototypes with a dissimilarity, hard assignment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest

import latentem as lem
from latentem.distributions.records import Counts

PLAIN = {"restarts": 1, "accelerate": None, "tol": 0.0}


def _maximum(value: np.ndarray, prototype: np.ndarray) -> np.ndarray:
    return np.abs(value - prototype).max(axis=1)


@attrs.frozen
class Brute:
    """A dissimilarity of two points, and the best centre of a set of points by brute force."""

    name: str
    build: Callable[[], Any]
    between: Callable[[np.ndarray, np.ndarray], float]
    centre: Callable[[np.ndarray], np.ndarray]

    def __str__(self) -> str:
        return self.name


def _best_row(rows: np.ndarray) -> np.ndarray:
    totals = [math.fsum(float(np.abs(r - c).max()) for r in rows) for c in rows]
    return rows[int(np.argmin(totals))]


def _best_levels(rows: np.ndarray) -> np.ndarray:
    return np.array([max(sorted(set(c)), key=list(c).count) for c in rows.T])


def _best_direction(rows: np.ndarray) -> np.ndarray:
    # Search over the circle, then around the best.
    angles = np.linspace(0, 2 * np.pi, 20_001)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = np.cos(angles)[:, None] * units[:, 0] + np.sin(angles)[:, None] * units[:, 1]
    best = angles[scores.sum(axis=1).argmax()]
    return np.array([np.cos(best), np.sin(best)])


def _best_mean(rows: np.ndarray) -> np.ndarray:
    return np.array([math.fsum(column) / len(column) for column in rows.T])


def _best_median(rows: np.ndarray) -> np.ndarray:
    return np.array([
        min(column, key=lambda m: math.fsum(abs(x - m) for x in column)) for column in rows.T
    ])  # fmt: skip


BRUTE = [
    Brute(
        "squared Euclidean",
        lem.dissimilarity.SquaredEuclidean,
        lambda x, m: math.fsum((a - b) ** 2 for a, b in zip(x, m, strict=True)),
        _best_mean,
    ),
    Brute(
        "L1",
        lem.dissimilarity.L1,
        lambda x, m: math.fsum(abs(a - b) for a, b in zip(x, m, strict=True)),
        _best_median,
    ),
    Brute(
        "cosine",
        lem.dissimilarity.Cosine,
        lambda x, m: 1 - float(x @ m) / (math.hypot(*x) * math.hypot(*m)),
        _best_direction,
    ),
    Brute(
        "Hamming",
        lem.dissimilarity.Hamming,
        lambda x, m: float(sum(a != b for a, b in zip(x, m, strict=True))),
        _best_levels,
    ),
    Brute(
        "medoid",
        lambda: lem.dissimilarity.Medoid(_maximum),
        lambda x, m: float(np.abs(x - m).max()),
        _best_row,
    ),
]


def _data(brute: Brute) -> np.ndarray:
    rng = np.random.default_rng(3)
    if brute.name == "Hamming":
        return rng.integers(0, 3, size=(40, 5))
    return rng.normal(size=(40, 2)) + rng.integers(0, 3, size=(40, 1)) * [2.0, 3.0] + 1.0


def _model(brute: Brute, k: int = 3) -> lem.Model:
    return lem.models.kmeans(k, dissimilarity=brute.build())


# -- F = -J ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("brute", BRUTE, ids=str)
def test_every_half_step_is_minus_the_distortion_of_its_own_parameters(brute: Brute) -> None:
    x = _data(brute)
    model = lem.initialize(_model(brute), x, seed=1)
    fit = lem.fit(model, x, assign=lem.hard, max_iter=6, **PLAIN)
    posterior = lem.e_step(model, x, assign=lem.hard)
    labels = _nearest(brute, x, model["x"].prototypes)
    for row in fit.trace:
        if row.phase == "M":
            model = lem.m_step(model, x, posterior)
        else:
            posterior = lem.e_step(model, x, assign=lem.hard)
            labels = _nearest(brute, x, model["x"].prototypes)
        np.testing.assert_array_equal(posterior.marginal("z").argmax(axis=1), labels)
        prototypes = model["x"].prototypes
        distortion = math.fsum(
            brute.between(row_, prototypes[label]) for row_, label in zip(x, labels, strict=True)
        )
        assert row.objective == pytest.approx(-distortion, rel=1e-9, abs=1e-9)
        assert row.distortion == pytest.approx(distortion, rel=1e-9, abs=1e-9)
        assert row.entropy == 0
        assert row.log_likelihood is None
    distortions = fit.trace["distortion"]
    assert (np.diff(distortions) <= 1e-9 * distortions[1:]).all()
    assert fit.distortion == pytest.approx(distortions[-1])


def _nearest(brute: Brute, x: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    return np.array([np.argmin([brute.between(row, m) for m in prototypes]) for row in x])


@pytest.mark.parametrize("brute", BRUTE, ids=str)
def test_the_centre_is_the_best_by_brute_force(brute: Brute) -> None:
    x = _data(brute)
    labels = np.random.default_rng(0).integers(0, 3, size=len(x))
    one_hot = np.eye(3)[labels]
    fitted = _model(brute)["x"].fit(x, one_hot)
    for k in range(3):
        rows = x[labels == k]
        best = brute.centre(rows)
        total = math.fsum(brute.between(row, fitted.prototypes[k]) for row in rows)
        least = math.fsum(brute.between(row, best) for row in rows)
        assert total <= least + 1e-6
        assert total >= least - 1e-5 * (1 + abs(least))


@pytest.mark.parametrize("brute", BRUTE, ids=str)
def test_weighted_centres_equal_those_of_repeated_rows(brute: Brute) -> None:
    x = _data(brute)
    counts = np.random.default_rng(0).integers(0, 4, size=len(x))
    weighted = _model(brute)["x"].fit(x, counts[:, None].astype(float))
    repeated = _model(brute)["x"].fit(x.repeat(counts, axis=0), np.ones((counts.sum(), 1)))
    np.testing.assert_allclose(weighted.prototypes, repeated.prototypes, rtol=1e-12)


def test_a_function_of_two_arrays_is_a_dissimilarity() -> None:
    x = _data(BRUTE[0])
    fit = lem.fit(lem.models.kmeans(3, dissimilarity=_maximum), x, assign=lem.hard, seed=0)
    labels = fit.predict()
    for k in range(3):
        np.testing.assert_allclose(fit.model["x"].prototypes[k], _best_row(x[labels == k]))


def test_kmeans_reproduces_lloyds_iterations_by_hand() -> None:
    x = _data(BRUTE[0])
    prototypes = x[[0, 11, 23]].copy()
    z = lem.latent("z", lem.Choice(3))
    model = lem.Model([z, lem.observed("x", lem.Prototype(prototypes=prototypes), given=z)])
    fit = lem.fit(model, x, assign=lem.hard, max_iter=5, **PLAIN)
    expected = []
    for _ in range(6):
        distance = ((x[:, None] - prototypes) ** 2).sum(axis=2)
        labels = distance.argmin(axis=1)
        expected.append(distance.min(axis=1).sum())
        prototypes = np.array([x[labels == k].mean(axis=0) for k in range(3)])
    ends = [row.distortion for row in fit.trace if row.phase == "E"]
    np.testing.assert_allclose(ends, expected[: len(ends)], rtol=1e-12)
    np.testing.assert_allclose(ends[-1], expected[-1], rtol=1e-12)


def test_it_stops_as_soon_as_no_row_changes_sides() -> None:
    x = _data(BRUTE[0])
    fit = lem.fit(lem.models.kmeans(3), x, assign=lem.hard, seed=0)
    assert fit.status is lem.Status.CONVERGED
    again = lem.m_step(fit.model, x, lem.e_step(fit.model, x, assign=lem.hard))
    np.testing.assert_allclose(again["x"].prototypes, fit.model["x"].prototypes, rtol=1e-13)
    assert fit.iterations < 30


# -- soft assignment is refused --------------------------------------------------------------------


def test_soft_assignment_is_refused_with_what_to_pass() -> None:
    x = _data(BRUTE[0])
    model = lem.initialize(lem.models.kmeans(3), x, seed=0)
    for run in (
        lambda: lem.fit(model, x),
        lambda: lem.fit(model, x, assign=lem.tempered(0.5)),
        lambda: lem.e_step(model, x),
        lambda: list(itertools.islice(lem.iterate(model, x), 2)),
    ):
        with pytest.raises(lem.ModelError, match=r"(?s)must .*hard.*, got .*assign=lem\.hard"):
            run()
    for density in (lambda: lem.log_likelihood(model, x), lambda: lem.sample(model, 3)):
        with pytest.raises(lem.ModelError, match=r"must come from a probability.*, got .*\. \w+"):
            density()


# -- empty clusters --------------------------------------------------------------------------------


def test_an_empty_cluster_is_an_event_and_moves_to_the_worst_represented_row() -> None:
    x = np.array([[0.0], [1.0], [10.0], [11.0], [30.0]])
    prototypes = [[0.5], [12.0], [1000.0]]
    z = lem.latent("z", lem.Choice(3))
    model = lem.Model([z, lem.observed("x", lem.Prototype(prototypes=prototypes), given=z)])
    fit = lem.fit(model, x, assign=lem.hard, restarts=1)
    assert np.isfinite(fit.model["x"].prototypes).all()
    assert sorted(fit.model["x"].prototypes[:, 0]) == pytest.approx([0.5, 10.5, 30.0])
    assert fit.distortion == pytest.approx(1.0)
    assert any("2" in event and "worst" in event for event in fit.events), fit.events
    assert np.bincount(fit.predict(), minlength=3).min() == 1
    objective = fit.trace["objective"]
    assert (np.diff(objective) >= -1e-12).all()


@pytest.mark.parametrize("brute", BRUTE, ids=str)
def test_several_empty_clusters_are_events_and_never_give_nan(brute: Brute) -> None:
    x = _data(brute)
    same = lem.Prototype(brute.build(), prototypes=np.repeat(x[:1], 5, axis=0))
    z = lem.latent("z", lem.Choice(5))
    model = lem.Model([z, lem.observed("x", same, given=z)])
    fit = lem.fit(model, x, assign=lem.hard, restarts=1)
    assert np.isfinite(fit.model["x"].prototypes).all()
    assert np.isfinite(fit.trace["objective"]).all()
    assert (np.diff(fit.trace["objective"]) >= -1e-9).all()
    assert np.bincount(fit.predict(), minlength=5).min() >= 1
    assert sum("lost all" in event for event in fit.events) >= 4


def test_labels_that_leave_a_cluster_empty_are_refused_as_a_start() -> None:
    x = _data(BRUTE[0])
    labels = np.arange(len(x)) % 2
    with pytest.raises(lem.DegenerateError, match=r"Node 'x': .*must .*, got none .*2, 3, 4\. .+"):
        lem.fit(lem.models.kmeans(5), x, assign=lem.hard, init=lem.init.from_labels(labels))


def test_more_states_than_distinct_rows_leaves_some_without_rows_and_says_so() -> None:
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 10, axis=0)
    fit = lem.fit(lem.models.kmeans(3), x, assign=lem.hard, seed=0)
    assert fit.distortion == 0
    assert np.isfinite(fit.model["x"].prototypes).all()
    assert sorted(np.bincount(fit.predict(), minlength=3)) == [0, 10, 10]


# -- the limit of Gaussians ------------------------------------------------------------------------


def test_spherical_gaussians_tend_to_k_means_as_epsilon_tends_to_zero() -> None:
    x = _data(BRUTE[0])
    hard = lem.fit(lem.models.kmeans(3), x, assign=lem.hard, seed=0)
    prototypes = hard.model["x"].prototypes
    one_hot = np.eye(3)[hard.predict()]
    gaps, scaled = [], []
    for epsilon in (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6):
        z = lem.latent("z", lem.fixed(lem.Categorical(probs=[1 / 3] * 3)))
        dist = lem.Gaussian(mean=prototypes, covariance=np.stack([epsilon * np.eye(2)] * 3))
        model = lem.Model([z, lem.observed("x", dist, given=z)])
        posterior = lem.e_step(model, x)
        q = lem.expected_log_joint(model, x, posterior)
        gaps.append(np.abs(posterior.marginal("z") - one_hot).max())
        scaled.append(epsilon * q.total)
    assert all(later <= earlier for earlier, later in itertools.pairwise(gaps))
    assert gaps[0] > 0.05
    assert gaps[-1] < 1e-12
    errors = np.abs(np.array(scaled) + hard.distortion / 2)
    assert (np.diff(errors) < 0).all()
    # What is left is -n (log 3 + d/2 log(2 pi epsilon)) epsilon.
    left = 1e-6 * len(x) * (math.log(3) + math.log(2 * math.pi * 1e-6))
    assert scaled[-1] == pytest.approx(-hard.distortion / 2 - left, rel=1e-9)


def test_hard_assigned_equal_spheres_cluster_as_k_means() -> None:
    x = _data(BRUTE[0])
    labels = lem.fit(lem.models.kmeans(3), x, assign=lem.hard, seed=0).predict()
    z = lem.latent("z", lem.fixed(lem.Categorical(probs=[1 / 3] * 3)))
    dist = lem.Gaussian(covariance="spherical", shared=True)
    model = lem.Model([z, lem.observed("x", dist, given=z)])
    fit = lem.fit(model, x, assign=lem.hard, init=lem.init.from_labels(labels), restarts=1)
    np.testing.assert_array_equal(fit.predict(), labels)


# -- starts ----------------------------------------------------------------------------------------


def test_restarts_are_all_recorded_and_agreement_is_counted(faithful: np.ndarray) -> None:
    fit = lem.fit(lem.models.kmeans(2), faithful, assign=lem.hard, seed=0)
    assert len(fit.starts) >= 1
    assert 1 <= fit.agreement <= len(fit.starts)
    best = max(start.objective for start in fit.starts)
    assert fit.objective >= best - 1e-9 * abs(best)


@pytest.mark.parametrize("seed", range(10))
def test_far_clusters_are_found_from_every_seed(seed: int) -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [20, 0], [0, 20], [20, 20], [40, 10]])
    x = np.repeat(centres, 30, axis=0) + rng.normal(size=(150, 2))
    fit = lem.fit(lem.models.kmeans(5), x, assign=lem.hard, seed=seed)
    assert sorted(np.bincount(fit.predict())) == [30] * 5


# -- digits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [1e3, 1e6, 1e8, 1e9])
@pytest.mark.parametrize("spread", [0.1, 1e-3, 1e-6])
def test_tight_clusters_keep_their_digits_however_wide_the_data(far: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    offsets = spread * rng.normal(size=(3, 50, 2))
    x = (np.array([0.0, 1.0, far])[:, None, None] + offsets).reshape(-1, 2)
    fit = lem.fit(lem.models.kmeans(3), x, assign=lem.hard, seed=0)
    labels = fit.predict()
    assert [len(set(part)) for part in np.split(labels, 3)] == [1, 1, 1]
    exact = 0.0
    for rows in np.split(x, 3):
        # From differences to a row of the cluster, which are exact.
        near = rows - rows[0]
        exact += float(((near - near.mean(axis=0)) ** 2).sum())
    assert fit.distortion == pytest.approx(exact, rel=1e-7)
    distortion = fit.trace["distortion"]
    # A record taken when the prototypes were far away holds that many digits of J after M.
    assert (np.diff(distortion) <= 1e-4 * distortion[:-1]).all()


def test_one_step_at_a_time_relocates_as_a_fit_does() -> None:
    x = np.array([[0.0], [1.0], [10.0], [11.0], [50.0]])
    z = lem.latent("z", lem.Choice(3))
    start = lem.Prototype(prototypes=[[0.0], [10.0], [1000.0]])
    model = lem.Model([z, lem.observed("x", start, given=z)])
    fit = lem.fit(model, x, assign=lem.hard, tol=0.0, max_iter=1)
    new = lem.m_step(model, x, lem.e_step(model, x, assign=lem.hard))
    np.testing.assert_allclose(new["x"].prototypes, fit.model["x"].prototypes, rtol=1e-15)
    np.testing.assert_allclose(new["x"].prototypes[2], [50.0])
    assert any("moved" in event for event in new["x"].events)


def test_a_choice_costs_nothing_and_learns_nothing() -> None:
    choice, counts = lem.Choice(3), Counts(np.array([[2.0], [5.0], [0.0]]))
    np.testing.assert_array_equal(choice.log_prob_table, choice.log_prob(np.arange(3))[None])
    assert choice.update(counts) is choice


def test_prototypes_have_no_information_criterion() -> None:
    fit = lem.fit(lem.models.kmeans(2), np.arange(6.0)[:, None], assign=lem.hard, seed=0)
    for name in ("icl", "aic", "bic", "log_likelihood"):
        with pytest.raises(lem.ModelError, match="probability"):
            getattr(fit, name)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, 1e9])
def test_small_angles_keep_their_digits(offset: float) -> None:
    x = np.random.default_rng(0).normal(size=(200, 2)) + offset
    fit = lem.fit(lem.models.kmeans(5, "cosine"), x, assign=lem.hard, seed=0)
    assert fit.status is lem.Status.CONVERGED
    angle = np.arctan2(x[:, 1], x[:, 0])
    if offset:  # nearly parallel: 1 - cos t = t^2 / 2, and the turn within data is exact
        angle = ((x[:, 1] - offset) - (x[:, 0] - offset)) / (2 * offset)
    labels = fit.predict()
    exact = 0.0
    for state in range(5):
        turned = angle[labels == state]
        middle = turned.mean() if offset else np.angle(np.exp(1j * turned).sum())
        exact += float((2 * np.sin((turned - middle) / 2) ** 2).sum())
    assert fit.distortion == pytest.approx(exact, rel=1e-6 if offset in (0.0, 1e9) else 1e-2)
    distortion = fit.trace["distortion"]
    # A record taken when the prototypes were far away holds that many digits of J after M.
    assert (np.diff(distortion) <= 1e-4 * distortion[:-1]).all()


@pytest.mark.parametrize("dissimilarity", ["squared_euclidean", "l1", "cosine", "hamming"])
def test_equal_rows_and_known_rows_leave_no_state_empty(dissimilarity: str) -> None:
    rng = np.random.default_rng(0)
    known = np.where(np.arange(60) < 30, 0, -1)
    for seed in range(10):
        model = lem.models.kmeans(5, dissimilarity)
        lem.fit(model, np.ones((5, 2)), assign=lem.hard, seed=seed, restarts=1)
        few = np.repeat([[1.0, 2.0], [2.0, 1.0], [5.0, 5.0]], 4, axis=0)
        lem.fit(model, few, assign=lem.hard, seed=seed, restarts=1)
        data = {"x": rng.normal(size=(60, 2)).round(1) + 0.05, "z": known}
        fit = lem.fit(model, data, assign=lem.hard, seed=seed, restarts=1)
        assert (fit.predict()[:30] == 0).all()


def test_rows_without_weight_are_no_seeds() -> None:
    x = np.array([[0.0], [1.0], [5.0], [6.0], [1e6], [-1e6]])
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    for seed in range(10):
        fit = lem.fit(
            lem.models.kmeans(2), x, weights=weights, assign=lem.hard, seed=seed, restarts=1
        )
        np.testing.assert_allclose(np.sort(fit.model["x"].prototypes.ravel()), [0.5, 5.5])


@pytest.mark.parametrize("scale", [1e-90, 1e-9, 1.0, 1e9, 1e90])
def test_the_scale_of_weights_changes_nothing(scale: float) -> None:
    x = np.concatenate([np.zeros(20), np.full(20, 5e5)])[:, None] + np.arange(40)[:, None]
    plain = lem.fit(lem.models.kmeans(2), x, assign=lem.hard, seed=0)
    scaled = lem.fit(lem.models.kmeans(2), x, weights=np.full(40, scale), assign=lem.hard, seed=0)
    np.testing.assert_allclose(
        scaled.model["x"].prototypes, plain.model["x"].prototypes, rtol=1e-12
    )
    assert scaled.distortion == pytest.approx(scale * plain.distortion, rel=1e-9)


def test_the_tolerance_counts_on_small_data_too() -> None:
    x = np.random.default_rng(0).normal(size=(2000, 2))
    start = lem.initialize(lem.models.kmeans(8), x, seed=0)
    loose, tight = (lem.fit(start, x, assign=lem.hard, tol=tol).iterations for tol in (1e-2, 1e-9))
    assert loose < tight
