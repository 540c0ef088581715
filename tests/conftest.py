"""Settings shared by all tests: deterministic Hypothesis, and the data sets."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import latentem as lem

matplotlib.use("Agg")

settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def faithful() -> np.ndarray:
    """Old Faithful: eruptions and waiting times, (272, 2)."""
    return lem.datasets.old_faithful().data


@pytest.fixture(scope="session")
def table() -> Callable[[str], dict[str, np.ndarray]]:
    """A function that reads a CSV of ``tests/data`` into columns, numbers where they are."""

    def read(name: str) -> dict[str, np.ndarray]:
        with (Path(__file__).parent / "data" / f"{name}.csv").open(newline="") as file:
            header, *rows = csv.reader(file)
        return {title: _numbers(column) for title, *column in zip(header, *rows, strict=True)}

    return read


def _numbers(column: list[str]) -> np.ndarray:
    for kind in (int, float):
        try:
            return np.array([kind(cell) for cell in column])
        except ValueError:
            continue
    return np.array(column)
