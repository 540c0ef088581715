"""The shipped data are the published ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

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


def test_loading_twice_gives_independent_arrays() -> None:
    first = old_faithful()
    first.data[:] = 0.0
    assert old_faithful().data.min() > 0.0


def test_the_file_in_the_package_holds_every_row() -> None:
    file = Path(latentem.datasets.__file__).with_name("old_faithful.csv")
    with file.open(newline="", encoding="utf-8") as lines:
        header, *rows = csv.reader(lines)
    faithful = old_faithful()
    assert tuple(header) == faithful.columns
    np.testing.assert_array_equal(faithful.data, np.array(rows, dtype=float))
