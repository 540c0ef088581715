"""The shipped data are the published ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import latentem.datasets
from latentem.datasets import old_faithful


def test_old_faithful_is_the_published_table() -> None:
    faithful = old_faithful()
    assert faithful.columns == ("eruptions", "waiting")
    assert faithful.data.shape == (272, 2)
    assert faithful.data.dtype == np.float64
    # R 4: summary(faithful); sapply(faithful, mean); sapply(faithful, sd)
    np.testing.assert_allclose(faithful.data.mean(axis=0), [3.487783, 70.897059], atol=5e-7)
    np.testing.assert_allclose(faithful.data.std(axis=0, ddof=1), [1.141371, 13.594974], atol=5e-7)
    np.testing.assert_array_equal(faithful.data[[0, 1, -1]], [[3.6, 79], [1.8, 54], [4.467, 74]])


def test_old_faithful_names_its_source() -> None:
    assert "Azzalini & Bowman" in old_faithful().source


def test_crabs_are_the_published_table() -> None:
    crabs = latentem.datasets.crabs()
    # R 4: colMeans(MASS::crabs[, 4:8]); sapply(MASS::crabs[, 4:8], sd)
    np.testing.assert_allclose(
        crabs.data.mean(axis=0), [15.5830, 12.7385, 32.1055, 36.4145, 14.0305], rtol=1e-12
    )
    spread = crabs.data.std(axis=0, ddof=1)
    np.testing.assert_allclose(
        spread, [3.4953251, 2.5733399, 7.1189830, 7.8719552, 3.4247723], rtol=0, atol=5e-8
    )
    kinds = np.char.add(crabs.table["species"], crabs.table["sex"])
    assert np.unique(kinds, return_counts=True)[1].tolist() == [50, 50, 50, 50]


def test_loading_twice_gives_independent_arrays() -> None:
    first = old_faithful()
    first.data[:] = 0.0
    assert old_faithful().data.min() > 0.0


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("carcinoma", (118, 7)),
        ("coins", (5, 2)),
        ("crabs", (200, 5)),
        ("death_notices", (10, 2)),
        ("dmft", (797, 2)),
        ("galaxies", (82, 1)),
        ("iris", (150, 4)),
        ("old_faithful", (272, 2)),
        ("titanic", (1309, 4)),
        ("tone", (150, 2)),
        ("turtles", (76, 1)),
        ("values", (216, 4)),
    ],
)
def test_data_and_table_hold_every_row_of_the_file(name: str, shape: tuple[int, int]) -> None:
    dataset = getattr(latentem.datasets, name)()
    file = Path(latentem.datasets.__file__).with_name(f"{name}.csv")
    with file.open(newline="", encoding="utf-8") as lines:
        header, *rows = csv.reader(lines)
    assert list(dataset.table) == header
    for column, cells in zip(header, zip(*rows, strict=True), strict=True):
        words = dataset.table[column].dtype.kind in "UO"
        expected = [cell or None if words else float(cell or "nan") for cell in cells]
        np.testing.assert_array_equal(dataset.table[column], expected)
    assert dataset.data.shape == shape
    for column, values in zip(dataset.columns, dataset.data.T, strict=True):
        np.testing.assert_array_equal(values, dataset.table[column])


def test_every_data_set_is_tested_and_named() -> None:
    files = {file.stem for file in Path(latentem.datasets.__file__).parent.glob("*.csv")}
    assert files == set(latentem.datasets.__all__) - {"Dataset"}


def test_titanic_is_the_published_table() -> None:
    table = latentem.datasets.titanic().table
    # Cason and Harrell's description of titanic3: passengers by class, survivors, ages unknown.
    assert [np.count_nonzero(table["class"] == c) for c in ("first", "second", "third")] == [
        323,
        277,
        709,
    ]
    assert table["survived"].sum() == 500
    assert np.count_nonzero(np.isnan(table["age"])) == 263


def test_turtles_are_the_published_directions() -> None:
    direction = latentem.datasets.turtles().data[:, 0]
    # As Fisher's data set B.3 stands in R's package circular (fisherB3): whole degrees, sorted.
    assert np.all(np.diff(direction) >= 0)
    np.testing.assert_array_equal(direction[[0, 1, 2, -3, -2, -1]], [8, 9, 13, 319, 343, 350])
    assert np.count_nonzero(direction == 48) == 4
