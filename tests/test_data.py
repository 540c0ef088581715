"""Data as they come: columns, labels of states, types of arrays, labels of latents."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from registry import PROBABILISTIC, describe

import latentem as lem

RNG = np.random.default_rng(0)
STATE = RNG.integers(0, 2, size=120)
COLOUR = np.where(RNG.random(120) < np.array([0.2, 0.7])[STATE], "red", "blue")
SIZE = RNG.normal(np.array([0.0, 3.0])[STATE])
CODES = (COLOUR == "red").astype(int)  # in sorted order: blue, red


def _model(colour: lem.Distribution | None = None) -> lem.Model:
    z = lem.latent("z", lem.Categorical(2))
    colour = lem.Categorical() if colour is None else colour
    return lem.Model(
        [z, lem.observed("colour", colour, given=z), lem.observed("size", lem.Normal(), given=z)]
    )


# -- strings and categories ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        COLOUR,
        COLOUR.tolist(),
        COLOUR.astype(object),
        pd.Series(COLOUR, dtype="string"),
        pd.Categorical(COLOUR),
    ],
    ids=["str", "list", "object", "pandas strings", "categories"],
)
def test_strings_fit_as_their_codes_do_and_keep_their_names(column: Any) -> None:
    coded = lem.fit(_model(), {"colour": CODES, "size": SIZE}, seed=0, restarts=4)
    frame = pd.DataFrame({"colour": column, "size": SIZE})
    ways = [frame, pl.DataFrame({"colour": list(column), "size": SIZE})]
    if not isinstance(column, pd.Series | pd.Categorical):
        ways.append({"colour": column, "size": SIZE})
    for data in ways:
        fit = lem.fit(_model(), data, seed=0, restarts=4)
        assert fit.log_likelihood == coded.log_likelihood
        assert fit.model["colour"].levels == ("blue", "red")
        assert "red" in repr(fit.model["colour"])
        assert set(fit.impute()["colour"]) == {"blue", "red"}


def test_the_order_of_categories_is_kept() -> None:
    column = pd.Categorical(COLOUR, categories=["red", "green", "blue"])
    frame = pd.DataFrame({"colour": column, "size": SIZE})
    for data in (
        frame,
        pl.DataFrame(
            {"colour": pl.Series(COLOUR, dtype=pl.Enum(["red", "green", "blue"])), "size": SIZE}
        ),
    ):
        fit = lem.fit(_model(), data, seed=0)
        assert fit.model["colour"].levels == ("red", "green", "blue")
        np.testing.assert_array_equal(fit.model["colour"].probs[:, 1], 0.0)


def test_new_data_are_read_with_the_levels_of_the_fit() -> None:
    fit = lem.fit(_model(), {"colour": COLOUR, "size": SIZE}, seed=0)
    new = {"colour": ["red", "red"], "size": [0.0, 3.0]}
    coded = {"colour": [1, 1], "size": [0.0, 3.0]}
    np.testing.assert_array_equal(fit.score_samples(new), fit.score_samples(coded))
    with pytest.raises(
        lem.DataError,
        match=r"data\['colour'\] must have levels among \['blue', 'red'\], got 'green'",
    ):
        fit.predict({"colour": ["green"], "size": [0.0]})
    # A category that is declared and does not occur is no harm.
    frame = pd.DataFrame(
        {"colour": pd.Categorical(["red"], categories=["red", "green"]), "size": [0.0]}
    )
    assert fit.score_samples(frame)[0] == fit.score_samples({"colour": [1], "size": [0.0]})[0]


def test_levels_may_be_numbers() -> None:
    scores = np.where(CODES == 1, 5, 2)
    fit = lem.fit(_model(lem.Categorical(levels=[2, 5])), {"colour": scores, "size": SIZE}, seed=0)
    coded = lem.fit(_model(), {"colour": CODES, "size": SIZE}, seed=0)
    assert fit.log_likelihood == coded.log_likelihood
    with pytest.raises(lem.DataError, match=r"must have levels among \[2, 5\], got 3"):
        fit.predict({"colour": [3], "size": [0.0]})
    with pytest.raises(lem.ModelError, match=r"levels must be 2 different labels, got"):
        lem.Categorical(levels=["a", "a"])
    with pytest.raises(lem.ModelError, match=r"levels must be 3 different labels, got"):
        lem.Categorical(3, levels=["a", "b"])


def test_strings_for_a_family_of_numbers_are_refused() -> None:
    for dist in (lem.Poisson(), lem.Normal(), lem.Bernoulli()):
        with pytest.raises(
            lem.DataError,
            match=r"data\['colour'\] must be numeric .+, got 'blue'\. .+Categorical",
        ):
            lem.fit(_model(dist), {"colour": COLOUR, "size": SIZE}, seed=0)
    with pytest.raises(lem.DataError, match=r"must have at most 2 different levels .+, got 3"):
        lem.fit(_model(lem.Categorical(2)), {"colour": ["a", "b", "c"], "size": [0.0, 1.0, 2.0]})


def test_a_missing_string_is_summed_out() -> None:
    column = COLOUR.astype(object)
    column[::7] = None
    codes = np.where(np.arange(120) % 7 == 0, np.nan, CODES)
    strings = lem.fit(_model(), {"colour": column, "size": SIZE}, seed=0)
    coded = lem.fit(_model(), {"colour": codes, "size": SIZE}, seed=0)
    assert strings.log_likelihood == coded.log_likelihood
    frame = pl.DataFrame({"colour": column.tolist(), "size": SIZE})
    assert lem.fit(_model(), frame, seed=0).log_likelihood == coded.log_likelihood


# -- arrays of all kinds ---------------------------------------------------------------------------


def test_the_kind_of_array_changes_nothing(tmp_path: Path) -> None:
    x = RNG.normal(size=(200, 3)).astype(np.float32)  # exact in both precisions
    x[::9, 1] = np.nan
    path = tmp_path / "x.npy"
    np.save(path, x)
    read_only = x.copy()
    read_only.flags.writeable = False
    ways = {
        "float64": x.astype(float),
        "float32": x,
        "fortran": np.asfortranarray(x),
        "read-only": read_only,
        "memory-mapped": np.load(path, mmap_mode="r"),
        "strided": np.repeat(x, 2, axis=0)[::2],
        "list": x.tolist(),
    }
    found = {}
    for name, value in ways.items():
        fit = lem.fit(lem.models.gaussian_mixture(2), value, seed=0, restarts=2)
        found[name] = fit.log_likelihood
    assert set(found.values()) == {found["float64"]}, found


def test_structured_arrays_are_tables() -> None:
    table = np.zeros(120, dtype=[("colour", int), ("size", float), ("other", float)])
    table["colour"], table["size"] = CODES, SIZE
    fit = lem.fit(_model(), table, seed=0)
    plain = lem.fit(_model(), {"colour": CODES, "size": SIZE}, seed=0)
    assert fit.log_likelihood == plain.log_likelihood


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint64, np.float32])
def test_whole_numbers_of_any_type_are_states(kind: type) -> None:
    plain = lem.fit(_model(lem.Bernoulli()), {"colour": CODES, "size": SIZE}, seed=0)
    fit = lem.fit(_model(lem.Bernoulli()), {"colour": CODES.astype(kind), "size": SIZE}, seed=0)
    assert fit.log_likelihood == plain.log_likelihood


# -- labels of latents -----------------------------------------------------------------------------


def test_names_for_a_latent_are_names_in_its_results() -> None:
    kinds = np.where(STATE == 1, "large", "small").astype(object)
    kinds[30:] = None
    fit = lem.fit(_model(), {"colour": COLOUR, "size": SIZE, "z": kinds}, seed=0)
    states = np.where(np.arange(120) < 30, 1 - STATE, -1)  # sorted: large, small
    coded = lem.fit(_model(), {"colour": COLOUR, "size": SIZE, "z": states}, seed=0)
    assert fit.log_likelihood == coded.log_likelihood
    predicted = fit.predict()
    assert list(predicted[:30]) == list(kinds[:30])
    np.testing.assert_array_equal(predicted == "small", coded.predict() == 1)


def test_a_probability_for_each_state_multiplies_the_joint() -> None:
    q = RNG.dirichlet([1.0, 1.0], size=120)
    q[:10] = np.nan  # nothing known
    q[10:20] = [0.0, 1.0]
    data = {"colour": CODES, "size": SIZE, "z": q}
    fit = lem.fit(_model(), data, seed=0)
    truth = describe(fit.model)
    total = 0.0
    for i in range(120):
        row = {"colour": CODES[i], "size": SIZE[i]}
        weights = [1.0, 1.0] if np.isnan(q[i, 0]) else q[i]
        joint = [truth.log_joint(row, {"z": z}) for z in (0, 1)]
        total += math.log(math.fsum(w * math.exp(t) for w, t in zip(weights, joint, strict=True)))
    assert fit.log_likelihood == pytest.approx(total, rel=1e-11)
    np.testing.assert_allclose(fit.posterior().marginal("z")[10:20], [[0.0, 1.0]] * 10)
    assert (np.diff(fit.trace["objective"]) >= -1e-9).all()


def test_certain_probabilities_are_labels() -> None:
    labels = {"colour": CODES, "size": SIZE, "z": STATE}
    table = {**labels, "z": np.eye(2)[STATE]}
    one, other = lem.fit(_model(), labels), lem.fit(_model(), table)
    assert one.log_likelihood == pytest.approx(other.log_likelihood, rel=1e-13)
    assert len(one.starts) == len(other.starts) == 1
    assert lem.log_joint(one.model, table) == pytest.approx(lem.log_joint(one.model, labels))


@pytest.mark.parametrize("bad", [[[0.5, 0.6]], [[-0.5, 1.5]], [[0.0, 0.0]]])
def test_rows_that_are_no_probabilities_are_refused(bad: list[list[float]]) -> None:
    q = np.full((120, 2), 0.5)
    q[7] = bad[0]
    with pytest.raises(
        lem.DataError, match=r"data\['z'\] must be .+ probabilities .+ in row 7\. .+"
    ):
        lem.fit(_model(), {"colour": CODES, "size": SIZE, "z": q})


def test_one_label_is_enough_to_name_a_state() -> None:
    states = np.full(120, -1)
    states[int(np.argmax(SIZE))] = 0
    fit = lem.fit(_model(), {"colour": CODES, "size": SIZE, "z": states}, seed=0)
    assert fit.model["size"].mean[0] > fit.model["size"].mean[1]


def test_labels_that_contradict_a_zero_are_refused_with_the_row() -> None:
    z = lem.latent("z", lem.Categorical(probs=[1.0, 0.0]))
    x = lem.observed("x", lem.Normal(mean=[0.0, 1.0], variance=[1.0, 1.0]), given=z)
    model = lem.Model([z, x])
    with pytest.raises(lem.DataError, match=r"positive density .+ row 1.+ no joint state"):
        lem.e_step(model, {"x": [0.0, 1.0], "z": [0, 1]})


# -- filling in ------------------------------------------------------------------------------------


def test_conditional_means_of_gaussians() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 3)) @ np.array([[1.0, 0.5, 0.3], [0.0, 1.0, 0.6], [0.0, 0.0, 0.7]])
    x[40:] += 4.0
    holed = np.where(rng.random(x.shape) < 0.25, np.nan, x)
    fit = lem.fit(lem.models.gaussian_mixture(2), holed, seed=0)
    filled = fit.impute()["x"]
    np.testing.assert_array_equal(filled[~np.isnan(holed)], holed[~np.isnan(holed)])
    r, g = fit.posterior().marginal("z"), fit.model["x"]
    for i in np.flatnonzero(np.isnan(holed).any(axis=1)):
        u = np.isnan(holed[i])
        expected = 0.0
        for k in range(2):
            slope = np.zeros((u.sum(), (~u).sum()))
            if (~u).any():
                slope = g.covariance[k][np.ix_(u, ~u)] @ np.linalg.inv(
                    g.covariance[k][np.ix_(~u, ~u)]
                )
            expected = expected + r[i, k] * (g.mean[k][u] + slope @ (holed[i, ~u] - g.mean[k][~u]))
        np.testing.assert_allclose(filled[i, u], expected, rtol=1e-8, atol=1e-8)
    draws = np.stack([fit.impute(draw=True, seed=s)["x"] for s in range(400)])
    gaps = np.isnan(holed)
    error = draws[:, gaps].std(axis=0) / math.sqrt(400)
    assert (np.abs(draws[:, gaps].mean(axis=0) - filled[gaps]) < 5 * error).all()
    np.testing.assert_array_equal(
        fit.impute(draw=True, seed=3)["x"], fit.impute(draw=True, seed=3)["x"]
    )
    few = fit.impute(holed[35:45])["x"]
    np.testing.assert_allclose(few, filled[35:45], rtol=1e-9)


@pytest.mark.parametrize(
    "case",
    [c for c in PROBABILISTIC if "rayleigh" not in c.name and "plug-in" not in c.name],
    ids=str,
)
def test_every_family_fills_in_what_is_missing(case: Any) -> None:
    rng = np.random.default_rng(2)
    data = {}
    for name, column in case.data.items():
        holes = rng.random(column.shape) < 0.2
        holes[:2] = False
        data[name] = np.where(holes, np.nan, column)
    fit = lem.fit(case.model, data, restarts=1, seed=0, tol=1e-4)
    for draw in (False, True):
        filled = fit.impute(draw=draw, seed=0)
        assert set(filled) == set(data)
        for name, column in data.items():
            assert np.isfinite(filled[name]).all()
            np.testing.assert_array_equal(
                filled[name][~np.isnan(column)], column[~np.isnan(column)]
            )
        if draw:
            assert np.isfinite(lem.log_likelihood(fit.model, filled))


# -- labels, in and out ----------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [[1, 0], [10, 20], ["lo", "hi"], [2.5, 1, "a"]])
def test_what_is_drawn_can_be_read_again(levels: list[Any]) -> None:
    names = np.array(levels, dtype=object)[RNG.integers(0, len(levels), size=120)]
    model = _model(lem.Categorical(levels=levels))
    fit = lem.fit(model, {"colour": list(names), "size": SIZE}, seed=0, restarts=2)
    drawn = fit.sample(500, seed=0)
    assert set(drawn["colour"].tolist()) == set(levels)
    shares = [np.mean([value == level for value in drawn["colour"].tolist()]) for level in levels]
    np.testing.assert_allclose(shares, fit.model["z"].probs @ fit.model["colour"].probs, atol=0.1)
    assert np.isfinite(fit.score_samples({n: drawn[n] for n in ("colour", "size")})).all()
    assert np.isfinite(lem.log_joint(fit.model, drawn))


def test_levels_in_another_order_are_refused_where_codes_would_mix() -> None:
    data = {"colour": COLOUR, "size": SIZE}
    one = lem.fit(_model(lem.Categorical(levels=["red", "blue"])), data, seed=0)
    other = lem.fit(_model(lem.Categorical(levels=["blue", "red"])), data, seed=0)
    assert one.log_likelihood == pytest.approx(other.log_likelihood)
    with pytest.raises(lem.ModelError, match=r"Node 'colour': align must .+ same levels .+, got"):
        lem.align(one, other)
    with pytest.raises(lem.ModelError, match=r"Node 'colour' must start from the levels .+, got"):
        lem.fit(_model(lem.Categorical(levels=["red", "blue"])), data, init=other.model)


def test_a_series_keeps_its_categories_in_a_mapping_too() -> None:
    column = pd.Categorical(COLOUR, categories=["red", "green", "blue"])
    enum = pl.Series(COLOUR, dtype=pl.Enum(["red", "green", "blue"]))
    for value in (column, pd.Series(column), enum):
        fit = lem.fit(_model(), {"colour": value, "size": SIZE}, seed=0, restarts=2)
        assert fit.model["colour"].levels == ("red", "green", "blue")


def test_minus_one_is_unknown_for_a_latent_with_numbers_for_labels() -> None:
    z = lem.latent("z", lem.Categorical(levels=[10, 20]))
    model = lem.Model([z, lem.observed("size", lem.Normal(), given=z)])
    known = np.where(np.arange(120) < 20, 10 + 10 * STATE, -1)
    fit = lem.fit(model, {"size": SIZE, "z": known}, seed=0)
    np.testing.assert_array_equal(fit.predict()[:20], known[:20])
    g = lem.observed("g", lem.Categorical(2))
    model = lem.Model([g, lem.observed("size", lem.Normal(), given=g)])
    with pytest.raises(lem.DataError, match=r"data\['g'\] must be states from 0 to 1.+, got -1"):
        lem.fit(model, {"size": SIZE[:3], "g": [-1, np.nan, 1]})


def test_odd_columns_are_refused_clearly() -> None:
    for bad in ([["a"], "b", "c"], [["a", "b"]] * 3):
        with pytest.raises(lem.DataError, match=r"data\['colour'\] must .+, got .+\. .+"):
            lem.fit(_model(), {"colour": np.array(bad, dtype=object), "size": SIZE[:3]})
    weights = np.ma.MaskedArray(np.ones(120), mask=np.arange(120) == 3)
    with pytest.raises(lem.DataError, match=r"weights must be known .+, got masked ones"):
        lem.fit(_model(), {"colour": CODES, "size": SIZE}, weights=weights)
    data = {"x": SIZE[:, None], "z": ["a", "b"] * 60}
    with pytest.raises(
        lem.DataError, match=r"data\['z'\] must be states .+ Choice, got 'a'\. .+-1"
    ):
        lem.fit(lem.models.kmeans(2), data, assign=lem.hard)


def test_a_label_that_no_state_allows_is_named() -> None:
    z = lem.latent("z", lem.Categorical(probs=[1.0, 0.0]))
    model = lem.Model([z, lem.observed("x", lem.Normal([0.0, 1.0], [1.0, 1.0]), given=z)])
    with pytest.raises(lem.DataError, match=r"row 1 with its label of 'z'") as error:
        lem.log_likelihood(model, {"x": [0.0, 1.0], "z": [0, 1]}) and lem.e_step(
            model, {"x": [0.0, 1.0], "z": [0, 1]}
        )
    assert error.value.node == "z"


def test_standard_errors_may_be_asked_for_by_true() -> None:
    fit = lem.fit(_model(), {"colour": CODES, "size": SIZE}, seed=0)
    assert str(fit.summary(True)) == str(fit.summary(fit.standard_errors()))
    assert "standard_error" in fit.to_dataframe(standard_errors=True).columns
    with pytest.raises(lem.ModelError, match=r"standard_errors must be True or .+, got 3"):
        fit.summary(3)


def test_equal_rows_of_probabilities_leave_the_start_its_states() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=20), rng.normal(size=20) + 6])
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("x", lem.Normal(), given=z)])
    for row in ([0.3, 0.7], [0.5, 0.5]):
        fit = lem.fit(model, {"x": x, "z": np.tile(row, (40, 1))}, seed=0)
        assert np.abs(np.diff(fit.model["x"].mean)) > 2
        assert fit.log_likelihood > -106  # from the true means; with equal states -117.8
    certain = np.repeat([[0.99, 0.01], [0.01, 0.99]], 20, axis=0)
    fit = lem.fit(model, {"x": x, "z": certain}, seed=0)
    assert fit.model["x"].mean[0] < 1 < 5 < fit.model["x"].mean[1]


def test_the_order_in_memory_changes_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(300, 5)) + np.repeat([[0.0], [3.0]], 150, axis=0)
    model = lem.models.gaussian_mixture(2)
    here = lem.fit(model, x, seed=0)
    wide = np.zeros((300, 10))
    wide[:, ::2] = x
    for other in (
        np.asfortranarray(x),
        wide[:, ::2],
        pd.DataFrame(x).to_numpy(),
        {"x": pd.DataFrame(x)},
    ):
        there = lem.fit(model, other, seed=0)
        assert there.log_likelihood == here.log_likelihood
        assert (there.model["x"].mean == here.model["x"].mean).all()


def test_a_lazy_frame_is_refused() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 4.0]}).lazy()
    with pytest.raises(lem.DataError, match=r"lazy LazyFrame. Pass what its collect\(\)"):
        lem.fit(lem.Model([lem.observed("x", lem.Normal())]), frame)
