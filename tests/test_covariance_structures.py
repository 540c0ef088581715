"""The fourteen structures of covariances: published figures, maximisers, invariances, limits."""

from __future__ import annotations

import itertools
import math
import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import linalg, optimize

import latentem as lem
from latentem.distributions.covariance import LETTERS, STRUCTURES
from latentem.distributions.spectra import rounds, spectra

NAMES = ["EII", "VII", "EEI", "VEI", "EVI", "VVI"]
NAMES += ["EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"]
# Not a linear space: what the words full, diagonal, spherical and shared do not say.
CURVED = [name for name in NAMES if name not in ("EII", "VII", "EEI", "VVI", "EEE", "VVV")]
PLAIN = {
    "VVV": ("full", False),
    "EEE": ("full", True),
    "VVI": ("diagonal", False),
    "EEI": ("diagonal", True),
    "VII": ("spherical", False),
    "EII": ("spherical", True),
}
STEP_BY_STEP: dict[str, Any] = {"restarts": 1, "accelerate": None, "tol": 0.0}


def _mixture(k: int, covariance: Any) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    return lem.Model([z, lem.observed("x", lem.Gaussian(covariance=covariance), given=z)])


def _quietly(model: lem.Model, data: Any, **options: Any) -> lem.Fit:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lem.ConvergenceWarning)
        return lem.fit(model, data, **options)


def _rows(seed: int = 0, n: int = 90, d: int = 3) -> np.ndarray:
    """Three groups of vectors, each with its volume, shape and orientation."""
    rng = np.random.default_rng(seed)
    groups = [
        rng.normal(size=(n // 3, d)) @ rng.normal(size=(d, d)) + 3.0 * rng.normal(size=d)
        for _ in range(3)
    ]
    return np.concatenate(groups)


def _labels(x: np.ndarray) -> Any:
    return lem.init.from_labels(np.arange(len(x)) * 3 // len(x))


def _never_falls(fit: lem.Fit, rounding: float = 1e-11) -> None:
    objective = fit.trace["objective"]
    assert len(objective) > 2
    assert np.isfinite(objective).all()
    falls = np.diff(objective) < -rounding * (1 + np.abs(objective[:-1]))
    assert not falls.any(), objective


# -- published figures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "k", "log_likelihood", "bic", "n_parameters"),
    [
        # Scrucca, Fop, Murphy and Raftery, mclust 5, R Journal 8 (2016); there minus our BIC.
        ("VEV", 2, -215.726, -561.7285, 26),
        ("VEV", 3, -186.074, -562.5522, 38),
        ("VVV", 2, -214.3547, -574.0178, 29),
    ],
)
def test_iris_as_mclust_has_it(
    name: str, k: int, log_likelihood: float, bic: float, n_parameters: int
) -> None:
    data = lem.datasets.iris().table
    x = np.column_stack([column for title, column in data.items() if title != "species"])
    fit = lem.fit(_mixture(k, name), x, seed=0, tol=1e-9, restarts=5)
    assert fit.n_parameters == n_parameters
    assert fit.log_likelihood == pytest.approx(log_likelihood, abs=1e-3)
    assert -fit.bic == pytest.approx(bic, abs=2e-3)  # which stops at its own tolerance


@pytest.mark.parametrize(
    ("name", "k", "bic"),
    # mclust 5.2.3, mclustBIC(faithful), the three best.
    [("EEE", 3, -2314.386), ("EEE", 4, -2320.207), ("VVE", 2, -2320.433)],
)
def test_old_faithful_is_at_least_as_good_as_mclust_has_it(
    faithful: np.ndarray, name: str, k: int, bic: float
) -> None:
    fit = lem.fit(_mixture(k, name), faithful, seed=0, tol=1e-9, restarts=5)
    assert -fit.bic >= bic
    assert -fit.bic == pytest.approx(bic, abs=0.2)  # it stops early, within 0.1 of the likelihood


def test_parameters_are_counted_as_celeux_and_govaert_count_them() -> None:
    for k, d in itertools.product((1, 2, 5), (1, 2, 4)):
        turns, total = d * (d - 1) // 2, d * (d + 1) // 2
        expected = {
            "EII": 1,
            "VII": k,
            "EEI": d,
            "VEI": k + d - 1,
            "EVI": 1 + k * (d - 1),
            "VVI": k * d,
            "EEE": total,
            "VEE": k + d - 1 + turns,
            "EVE": 1 + k * (d - 1) + turns,
            "VVE": k * d + turns,
            "EEV": d + k * turns,
            "VEV": k + d - 1 + k * turns,
            "EVV": 1 + k * (d - 1) + k * turns,
            "VVV": k * total,
        }
        assert {name: LETTERS[name].n_parameters(k, d) for name in NAMES} == expected


# -- the maximiser ---------------------------------------------------------------------------------


def _build(name: str, theta: np.ndarray, k: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Axes and log-variances of numbers without constraints, written down by the letters."""
    parts, at = [], 0
    for letter, size in zip(name, (1, d - 1, d * (d - 1) // 2), strict=True):
        rows = {"I": 0, "E": 1, "V": k}[letter]
        part = theta[at : at + rows * size].reshape(rows, size)
        parts.append(np.broadcast_to(part if rows else np.zeros(size), (k, size)))
        at += rows * size
    volume, shape, turns = parts
    logs = volume + np.concatenate([shape, -shape.sum(axis=1, keepdims=True)], axis=1)
    skew = np.zeros((k, d, d))
    skew[:, *np.triu_indices(d, 1)] = turns
    skew -= np.swapaxes(skew, 1, 2)
    return np.linalg.solve(np.eye(d) - skew, np.eye(d) + skew), logs  # Cayley's rotations


def _cost(axes: np.ndarray, logs: np.ndarray, scatter: np.ndarray, weight: np.ndarray) -> float:
    t = np.einsum("kji,kjl,kli->ki", axes, scatter, axes)
    return float(weight @ (logs + t * np.exp(-logs)).sum(axis=1))


def _scatters(rng: np.random.Generator, k: int = 3, d: int = 3) -> np.ndarray:
    rows = rng.normal(size=(k, d, d + 4)) * np.exp(rng.normal(size=(k, d, 1)))
    return rows @ np.swapaxes(rows, 1, 2) / (d + 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_maximiser_is_the_best_of_direct_searches(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scatter, weight = _scatters(rng), 20 * rng.gamma(2.0, size=3)
    form = LETTERS[name]
    axes, sizes = form.maximum(np.linalg.cholesky(scatter), weight, 1e-13)
    found = _cost(axes, 2 * np.log(sizes), scatter, weight)
    searches = [
        optimize.minimize(
            lambda theta: _cost(*_build(name, theta, 3, 3), scatter, weight),
            0.5 * rng.normal(size=form.n_parameters(3, 3)),
            method="BFGS",
            options={"gtol": 1e-8},
        )
        for _ in range(2 if name[2] == "I" else 3)
    ]
    best = min(search.fun for search in searches)
    assert found <= best + 1e-7
    if name[1:] not in ("VE",):  # common axes: a search may end in another maximum
        assert found == pytest.approx(best, abs=1e-6)
    assert form.allows(axes * sizes[:, None, :] ** 2 @ np.swapaxes(axes, -1, -2))
    again = form.maximum(np.linalg.cholesky(scatter), weight, 1e-13, (axes, sizes))
    np.testing.assert_allclose(again[1], sizes, rtol=1e-10)


@pytest.mark.parametrize("shared", list(itertools.product([True, False], repeat=2)), ids=str)
@pytest.mark.parametrize("floor", [0.1, 0.7, 3.0])
def test_variances_along_known_axes_are_the_maximum_above_a_floor(
    shared: tuple[bool, bool], floor: float
) -> None:
    rng = np.random.default_rng(int(10 * floor))
    t, share = rng.gamma(1.0, size=(3, 4)), rng.dirichlet([3.0] * 3)
    t[0, 1] = 0.0  # a direction without any spread
    found = np.log(spectra(shared, t, share, floor))
    assert (found >= math.log(floor) - 1e-12).all()
    name = "".join("E" if equal else "V" for equal in shared) + "I"

    def cost(logs: np.ndarray) -> float:
        return float(share @ (logs + t * np.exp(-logs)).sum(axis=1))

    size = LETTERS[name].n_parameters(3, 4)
    search = optimize.minimize(
        lambda theta: cost(_build(name, theta, 3, 4)[1]),
        np.concatenate([[math.log(floor) + 1.0] * (1 if shared[0] else 3), np.zeros(size)])[:size],
        method="SLSQP",
        constraints={
            "type": "ineq",
            "fun": lambda theta: (_build(name, theta, 3, 4)[1] - math.log(floor)).ravel(),
        },
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert cost(found) <= search.fun + 1e-7
    assert cost(found) == pytest.approx(search.fun, abs=1e-5)


def test_rounds_pair_all_columns_once() -> None:
    for d in range(1, 9):
        pairs = [(i, j) for one, other in rounds(d) for i, j in zip(one, other, strict=True)]
        assert sorted(tuple(sorted(p)) for p in pairs) == list(itertools.combinations(range(d), 2))
        for one, other in rounds(d):
            assert len({*one, *other}) == 2 * len(one)


@pytest.mark.parametrize("name", CURVED)
def test_an_iteration_that_is_cut_short_does_not_fall(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentem.distributions.spectra.MOST_SWEEPS", 1)
    fit = _quietly(_mixture(3, name), _rows(), init=_labels(_rows()), max_iter=60, **STEP_BY_STEP)
    _never_falls(fit)


# -- the plain words -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
def test_letters_are_the_plain_words_to_the_last_bit(name: str) -> None:
    word, shared = PLAIN[name]
    x, options = _rows(), {"init": _labels(_rows()), "max_iter": 20, **STEP_BY_STEP}
    letters = _quietly(_mixture(3, name), x, **options)
    words = _quietly(lem.models.gaussian_mixture(3, word, shared=shared), x, **options)
    assert letters.log_likelihood == words.log_likelihood
    assert letters.n_parameters == words.n_parameters
    np.testing.assert_array_equal(letters.model["x"].covariance, words.model["x"].covariance)


def test_structures_have_words_and_letters() -> None:
    c = lem.covariance
    assert lem.Gaussian(covariance=c.Full(shape="equal")).form == LETTERS["VEV"]
    assert lem.Gaussian(covariance=c.Diagonal(volume="equal")).form == LETTERS["EVI"]
    assert lem.Gaussian(covariance=c.Spherical("equal")).form == LETTERS["EII"]
    assert list(LETTERS) == [
        *("EII", "VII", "EEI", "VEI", "EVI", "VVI"),
        *("EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"),
    ]
    assert [s.letters for s in STRUCTURES.values()] == ["VVV", "VVI", "VII"]
    assert repr(lem.Gaussian(covariance="EVV")) == 'Gaussian(covariance="EVV")'
    assert repr(lem.Gaussian(shared=True)) == 'Gaussian(covariance="full", shared=True)'


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lem.Gaussian(covariance="EIV"), "covariance must be one of .*'VVV'.* got 'EIV'"),
        (
            lambda: lem.Gaussian(structure="EIV"),
            "^Gaussian: structure must be one of .*'VVV', got 'EIV'",
        ),
        (
            lambda: lem.Gaussian(structure=[[1.0]]),
            "^Gaussian: structure must be one of .*got \\[\\[",
        ),
        (
            lambda: lem.Gaussian(covariance=None),
            "covariance must be one of .*, or an array of .*None",
        ),
        (lambda: lem.Gaussian(covariance="VVV", shared=True), "shared must be left out .*'VVV'"),
        (lambda: lem.covariance.Full(shape="E"), "shape must be 'equal' or 'varying'.* got 'E'"),
        (
            lambda: lem.Gaussian([[0.0]] * 2, [[[1.0]], [[2.0]]], structure="EVI"),
            "covariance must have the structure EVI, got",
        ),
    ],
)
def test_what_makes_no_structure_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(lem.ModelError, match=re.compile(words, re.DOTALL)):
        make()


# -- laws ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_laws_of_a_distribution(name: str) -> None:
    for d in (1, 3):
        lem.testing.check_distribution(lem.Gaussian(covariance=name), _rows(n=60, d=d))


@pytest.mark.parametrize("name", NAMES)
def test_there_are_as_many_tangents_as_parameters(name: str) -> None:
    weights = np.random.default_rng(0).gamma(2.0, size=(90, 2))
    fitted = lem.Gaussian(covariance=name).fit(_rows(d=2), weights)
    assert len(fitted.directions()) == fitted.n_parameters
    none = {"mean": np.zeros((2, 2)), "covariance": np.zeros((2, 2, 2))}
    moves = [none | move for move in fitted.directions()]
    tangents = np.array([np.append(move["mean"], move["covariance"]) for move in moves])
    assert np.linalg.matrix_rank(tangents, tol=1e-8) == fitted.n_parameters


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("assign", [lem.soft, lem.hard], ids=["soft", "hard"])
def test_no_step_falls(name: str, assign: Any) -> None:
    for seed in range(2):
        x = _rows(seed)
        fit = _quietly(_mixture(3, name), x, seed=seed, assign=assign, max_iter=40, **STEP_BY_STEP)
        _never_falls(fit)
        assert LETTERS[name].allows(fit.model["x"].covariance)
        posterior = lem.e_step(fit.model, x)
        q = lem.expected_log_joint(fit.model, x, posterior)
        assert q.total + posterior.entropy == pytest.approx(lem.log_likelihood(fit.model, x))


@pytest.mark.parametrize("name", NAMES)
def test_no_step_falls_where_states_are_nearly_singular(name: str) -> None:
    rng = np.random.default_rng(0)
    x = _rows()
    x[:30, 1] = 2 * x[:30, 0] + 1e-9 * rng.normal(size=30)  # a plane
    x[30:60] = x[30] + np.outer(rng.normal(size=30), [1.0, 2.0, -1.0])  # a line
    x[60:62] = x[62]
    for floor in (1e-13, 1e-3):
        model = lem.Gaussian(covariance=name, floor=floor)
        z = lem.latent("z", lem.Categorical(3))
        mixture = lem.Model([z, lem.observed("x", model, given=z)])
        fit = _quietly(mixture, x, init=_labels(x), max_iter=40, **STEP_BY_STEP)
        _never_falls(fit, 1e-9)
        if name in ("VVV", "EVV"):  # states alone in what is singular
            assert fit.model["x"].at_constraint
            assert "floor" in fit.model["x"].events[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_large_sample_is_recovered(name: str) -> None:
    rng = np.random.default_rng(3)
    theta = 0.7 * rng.normal(size=LETTERS[name].n_parameters(2, 2))
    axes, logs = _build(name, theta, 2, 2)
    covariance = axes * np.exp(logs)[:, None, :] @ np.swapaxes(axes, -1, -2)
    true = lem.Gaussian([[0.0, 0.0], [5.0, 6.0]], covariance, structure=name)
    z = lem.latent("z", lem.Categorical(probs=[0.4, 0.6]))
    x = lem.sample(lem.Model([z, lem.observed("x", true, given=z)]), 6000, seed=0)["x"]
    found = lem.fit(_mixture(2, name), x, seed=0).model["x"]
    order = np.argsort(found.mean[:, 0])
    np.testing.assert_allclose(found.mean[order], true.mean, atol=0.2)
    np.testing.assert_allclose(found.covariance[order], covariance, rtol=0.15, atol=0.15)


# -- units -----------------------------------------------------------------------------------------

AFFINE = {"EEE", "VEE", "EVV", "VVV"}
BY_COLUMN = AFFINE | {"EEI", "VEI", "EVI", "VVI"}


@pytest.mark.parametrize("name", NAMES)
def test_moves_scales_and_turns_that_keep_the_structure_keep_the_fit(name: str) -> None:
    x = _rows()
    maps = {"moved": np.eye(3), "smaller": 1e-6 * np.eye(3)}
    if name in BY_COLUMN:
        maps["columns"] = np.diag([1e-4, 1.0, 1e5])
    if name in AFFINE:
        maps["affine"] = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 0.3], [0.1, 0.0, 0.5]])
    if name[2] != "I" or name[1] == "I":
        maps["turned"] = linalg.expm(np.array([[0, 1, 0.3], [-1, 0, 0.5], [-0.3, -0.5, 0]]))
    options = {"init": _labels(x), "max_iter": 15, **STEP_BY_STEP}
    here = _quietly(_mixture(3, name), x, **options)
    for matrix in maps.values():
        there = _quietly(_mixture(3, name), (x + 7.0) @ matrix.T, **options)
        shift = len(x) * math.log(abs(np.linalg.det(matrix)))
        assert there.log_likelihood + shift == pytest.approx(here.log_likelihood, abs=1e-6)
        np.testing.assert_allclose(
            there.posterior().marginal("z"), here.posterior().marginal("z"), atol=1e-6
        )


# -- the library's other ways with a model ---------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_weights_repeat_rows_and_states_without_weight_stay(name: str) -> None:
    rng = np.random.default_rng(0)
    x, counts = _rows(), rng.integers(1, 4, size=90)
    start = np.arange(90) * 3 // 90
    options = {"max_iter": 8, **STEP_BY_STEP}
    weighted = _quietly(
        _mixture(3, name), x, weights=counts, init=lem.init.from_labels(start), **options
    )
    repeated = _quietly(
        _mixture(3, name), x.repeat(counts, axis=0),
        init=lem.init.from_labels(start.repeat(counts)), **options,
    )  # fmt: skip
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, rel=1e-9)
    old = weighted.model["x"]
    share = rng.gamma(2.0, size=(90, 3)) * [1.0, 0.0, 1.0]
    new = old.fit(x, share)
    assert LETTERS[name].allows(new.covariance)
    np.testing.assert_array_equal(new.mean[1], old.mean[1])
    if name == "VVV":
        np.testing.assert_array_equal(new.covariance[1], old.covariance[1])
    without = lem.Gaussian(covariance=name).fit(x, share[:, [0, 2]])
    if name[1:] != "VE":  # from another start, common axes may be others
        np.testing.assert_allclose(new.covariance[[0, 2]], without.covariance, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_missing_entries(name: str) -> None:
    x = _rows()
    x[np.random.default_rng(0).random(x.shape) < 0.15] = np.nan
    fit = _quietly(_mixture(2, name), x, seed=0, max_iter=20, **STEP_BY_STEP)
    _never_falls(fit)
    assert LETTERS[name].allows(fit.model["x"].covariance)


@pytest.mark.parametrize("name", NAMES)
def test_tight_states_keep_their_digits(name: str) -> None:
    rng = np.random.default_rng(0)
    z, offsets = np.repeat([0, 1], 60), rng.normal(size=(120, 3)) * [1.0, 2.0, 0.5]
    found = {}
    for spread in (1.0, 1e-6):
        x = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 1.0]])[z] + spread * offsets
        fit = lem.fit(_mixture(2, name), {"x": x, "z": z}, tol=1e-13)
        found[spread] = fit.model["x"].covariance / spread**2
    np.testing.assert_allclose(found[1e-6], found[1.0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CURVED)
def test_standard_errors_are_those_of_the_parameters_without_constraints(name: str) -> None:
    rng = np.random.default_rng(1)
    x, z = _rows(n=150, d=2), np.arange(150) % 2
    x = x * np.where(z, 1.5, 1.0)[:, None] + rng.normal(size=(150, 2))
    fit = lem.fit(_mixture(2, name), {"x": x, "z": z})
    found = fit.standard_errors()["x"]["covariance"]
    weight = np.bincount(z).astype(float)
    scatter = np.array([np.cov(x[z == k].T, ddof=0) for k in range(2)])

    def minus(theta: np.ndarray) -> float:
        return 0.5 * _cost(*_build(name, theta, 2, 2), scatter, weight)

    def matrices(theta: np.ndarray) -> np.ndarray:
        axes, logs = _build(name, theta, 2, 2)
        return (axes * np.exp(logs)[:, None, :] @ np.swapaxes(axes, -1, -2)).ravel()

    size = LETTERS[name].n_parameters(2, 2)
    searches = [
        optimize.minimize(minus, rng.normal(size=size), method="BFGS", options={"gtol": 1e-7})
        for _ in range(4)
    ]
    theta, h = min(searches, key=lambda s: s.fun).x, 1e-4
    np.testing.assert_allclose(matrices(theta), fit.model["x"].covariance.ravel(), rtol=1e-3)
    unit = h * np.eye(size)

    def second(a: np.ndarray, b: np.ndarray) -> float:
        ends = minus(theta + a + b) - minus(theta + a - b)
        return (ends - minus(theta - a + b) + minus(theta - a - b)) / (4 * h**2)

    hessian = np.array([[second(a, b) for a in unit] for b in unit])
    jacobian = np.array([(matrices(theta + a) - matrices(theta - a)) / (2 * h) for a in unit]).T
    variance = np.diag(jacobian @ np.linalg.inv(hessian) @ jacobian.T)
    np.testing.assert_allclose(found.ravel() ** 2, variance, rtol=1e-2, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_one_state_and_one_column(name: str) -> None:
    x = _rows()
    one = lem.fit(lem.Model([lem.observed("x", lem.Gaussian(covariance=name))]), x).model["x"]
    word = {"II": "spherical", "EI": "diagonal", "VI": "diagonal"}.get(name[1:], "full")
    plain = lem.Gaussian(covariance=word).fit(x, np.ones(len(x)))
    np.testing.assert_allclose(one.covariance, plain.covariance, rtol=1e-9)
    column = _quietly(_mixture(2, name), x[:, 0], seed=0, max_iter=20, **STEP_BY_STEP)
    scalar = lem.Normal(shared=name[0] == "E")
    z = lem.latent("z", lem.Categorical(2))
    normal = _quietly(
        lem.Model([z, lem.observed("x", scalar, given=z)]), x[:, 0],
        seed=0, max_iter=20, **STEP_BY_STEP,
    )  # fmt: skip
    assert column.log_likelihood == pytest.approx(normal.log_likelihood, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_values(name: str) -> None:
    for unit in (1e-140, 1e100, 1e140):
        fit = _quietly(_mixture(3, name), _rows() * unit, seed=0, max_iter=10, **STEP_BY_STEP)
        _never_falls(fit)
    with pytest.raises(lem.DataError, match="vary in every column"):
        lem.fit(_mixture(1, name), np.ones((5, 2)))
    few = np.array([[0.0, 1.0], [1.0, 3.0], [1.0, 3.0], [5.0, 0.0]])
    fit = _quietly(_mixture(2, name), few, seed=0, max_iter=30, **STEP_BY_STEP)
    _never_falls(fit, 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_two_parents_and_copies(name: str) -> None:
    rng = np.random.default_rng(0)
    x, weights = _rows(), rng.gamma(2.0, size=(90, 2, 3))
    both = lem.Gaussian(covariance=name).fit(x, weights)
    one = lem.Gaussian(covariance=name).fit(x, weights.reshape(90, 6))
    np.testing.assert_array_equal(both.covariance.reshape(6, 3, 3), one.covariance)
    assert len(both.directions()) == len(one.directions()) == both.n_parameters
    copied = pickle.loads(pickle.dumps(both))
    np.testing.assert_array_equal(copied.log_prob(x), both.log_prob(x))
    assert copied.form == both.form
