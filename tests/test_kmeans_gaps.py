"""Prototypes of rows with missing parts: dissimilarities over what is observed."""

from __future__ import annotations

import numpy as np
import pytest

import latentem as lem


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = np.repeat([0, 1, 2], 40)
    x = np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 4.0], [0.0, 9.0, -4.0]])[z]
    x = x + rng.normal(size=(120, 3))
    x[rng.random((120, 3)) < 0.25] = np.nan
    x[np.isnan(x).all(axis=1)] = 0.5
    return x, z


def _lloyd(x: np.ndarray, labels: np.ndarray, name: str, steps: int) -> tuple[float, np.ndarray]:
    """Return J and the prototypes by loops over rows and columns."""
    size = {"squared_euclidean": np.square, "l1": np.abs}[name]
    middle = {"squared_euclidean": np.nanmean, "l1": np.nanmedian}[name]
    for _ in range(steps):
        m = np.array([middle(x[labels == k], axis=0) for k in range(3)])
        d = np.array([[np.nansum(size(row - centre)) for centre in m] for row in x])
        labels = d.argmin(axis=1)
    return float(d.min(axis=1).sum()), m


@pytest.mark.parametrize("name", ["squared_euclidean", "l1"])
def test_lloyd_s_steps_over_what_is_observed(name: str) -> None:
    x, z = _data()
    model = lem.models.kmeans(3, dissimilarity=name)
    first = np.array([np.nanmean(x[z == k], axis=0) for k in range(3)])
    start = model.replace({"x": lem.Prototype(name, first), "z": lem.Choice(3)})
    fit = lem.fit(model, x, init=start, assign=lem.hard)
    labels = fit.predict()
    distortion, prototypes = _lloyd(x, labels, name, 10)
    np.testing.assert_allclose(fit.model["x"].prototypes, prototypes, rtol=1e-12)
    assert fit.distortion == pytest.approx(distortion, rel=1e-12)
    assert (np.diff(fit.trace["distortion"]) <= 1e-9).all()
    assert (labels == z).mean() > 0.9


def test_hamming_over_what_is_observed() -> None:
    x = np.array([[0, 0, 1], [0, np.nan, 1], [np.nan, 0, 1], [2, 2, 2], [2, np.nan, 2], [2, 2, 0]])
    fit = lem.fit(lem.models.kmeans(2, dissimilarity="hamming"), x, assign=lem.hard, seed=0)
    order = np.argsort(fit.model["x"].prototypes[:, 0])
    assert fit.model["x"].prototypes[order].tolist() == [[0, 0, 1], [2, 2, 2]]
    assert fit.distortion == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_the_default_call_finds_the_groups(seed: int) -> None:
    x, z = _data()
    fit = lem.fit(lem.models.kmeans(3), x, assign=lem.hard, seed=seed)
    best = lem.fit(lem.models.kmeans(3), x, init=lem.init.from_labels(z), assign=lem.hard)
    assert fit.distortion <= best.distortion * (1 + 1e-9)
    with pytest.raises(lem.ModelError, match="must come from a probability distribution"):
        fit.impute(x)


def test_an_empty_cluster_moves_to_a_row_with_gaps() -> None:
    x = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [50.0, np.nan]])
    model = lem.models.kmeans(2)
    start = model.replace(
        {"x": lem.Prototype(prototypes=[[10.0, 0.0], [-900.0, 0.0]]), "z": lem.Choice(2)}
    )
    fit = lem.fit(model, x, init=start, assign=lem.hard)
    assert any("lost all its rows" in event for event in fit.events)
    assert np.isfinite(fit.model["x"].prototypes).all()
    assert fit.distortion == pytest.approx(0.04 / 3, abs=1e-9)


@pytest.mark.parametrize("name", ["cosine", "medoid"])
def test_what_is_no_sum_over_columns_refuses_gaps(name: str) -> None:
    x, _ = _data()
    rule = name if name == "cosine" else lambda value, m: np.abs(value - m).max(axis=1)
    with pytest.raises(lem.DataError, match="wholly present or wholly missing"):
        lem.fit(lem.models.kmeans(3, dissimilarity=rule), x, assign=lem.hard, seed=0)
