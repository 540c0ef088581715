"""Settings shared by all tests: deterministic Hypothesis, and the data sets."""

from __future__ import annotations

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
