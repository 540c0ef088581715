"""Checks of data and parameters that several families share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from latentem.distributions.arrays import LARGEST_VALUE, Array
from latentem.errors import DataError, ModelError, Unsuitable
from latentem.kernels.columns import sum_of_squares

# Ratio of variances that double precision can tell from a singular covariance.
SMALLEST_FLOOR = 1e-15


@contextmanager
def naming(family: str, what: str = "value") -> Iterator[None]:
    """Turn `Unsuitable` into a `DataError` that names the family, where no node is known."""
    try:
        yield
    except Unsuitable as error:
        message = f"{family}: {what} {error}".replace("{node}", "the distribution")
        raise DataError(message) from None


def counted(n: int, noun: str) -> str:
    """Return a number of things in words: "1 column", "2 columns"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def listed(states: Array) -> str:
    """Return the states of a mask, as text."""
    return ", ".join(map(str, np.flatnonzero(states)))


def check_floor(instance: Any, attribute: Any, value: float) -> None:
    """Raise `ModelError` unless a floor of variances is one that double precision can keep."""
    if not SMALLEST_FLOOR <= value < np.inf:
        raise ModelError(
            f"{type(instance).__name__}: {attribute.name} must be at least {SMALLEST_FLOOR:g} "
            f"because smaller variances are lost in rounding, got {value}. "
            "Give the smallest variance allowed, in units of the data's."
        )


def as_names(names: Any) -> tuple[str, ...]:
    """Return names of parameters as a tuple."""
    return tuple(names)


def check_held(dist: Any) -> None:
    """Hold what a user gave alone; raise `ModelError` unless what is held is given."""
    name, parameters = type(dist).__name__, dist.parameters
    given = tuple(field for field, array in parameters.items() if array is not None)
    if not dist.held and len(given) < len(parameters):
        object.__setattr__(dist, "held", given)
    wrong = [field for field in dist.held if field not in given or field not in dist.holdable]
    if wrong or set(dist.held) == set(parameters):
        raise ModelError(
            f"{name}: held must name some of the parameters that are given, {list(given)}, and not "
            f"all of {list(parameters)}, got {list(dist.held)}. Give what is to be held, or use "
            f"fixed({name}(...)) to hold all."
        )


def check_real(value: Array, *, gapped: bool = False) -> Array:
    """Return real-valued data, or raise `Unsuitable`; the type of the numbers is kept.

    If they are gapped, NaN is as good as a number.
    """
    if value.dtype.kind not in "fiub":
        raise Unsuitable(
            "be real numbers", f"an array of {value.dtype}", "Convert it to numbers, or drop it."
        )
    if value.dtype.kind == "b" or (value.dtype.kind == "f" and value.dtype.itemsize not in (4, 8)):
        with np.errstate(over="ignore"):
            value = value.astype(float)
    if value.dtype.kind == "f" and not gapped and sum_of_squares(value) < LARGEST_VALUE**2:
        return value  # one pass said so
    high, low = (np.fmax, np.fmin) if gapped else (np.maximum, np.minimum)
    ends = [float(end.reduce(value, axis=None)) for end in (low, high)] if value.size else [0.0]
    if not all(abs(end) < LARGEST_VALUE for end in ends):
        raise Unsuitable(
            f"be below {LARGEST_VALUE:g} in magnitude because squares would overflow",
            f"values from {ends[0]:g} to {ends[-1]:g}",
            "Change the unit.",
        )
    return value


def check_moments(
    mean: Array | None, covariance: Array | None, family: str = "Gaussian", what: str = "covariance"
) -> None:
    """Raise `ModelError` unless the parameters a user gave make a Gaussian."""

    def refuse(requirement: str, actual: object, remedy: str) -> NoReturn:
        raise ModelError(f"{family}: {requirement}, got {actual}. {remedy}")

    if mean is None and covariance is None:
        return
    if mean is None or covariance is None:
        refuse(
            f"mean and {what} must be given both or neither",
            f"only a {what if mean is None else 'mean'}",
            "Give both, or neither to fit them.",
        )
    if mean.ndim == 0:
        refuse("mean must be a vector", "a scalar", "Use Normal() for scalars.")
    if not np.all(np.isfinite(mean)):
        refuse("mean must be finite", mean, "Give finite means.")
    if covariance.ndim < 2 or covariance.shape[-1] != covariance.shape[-2]:
        refuse(
            f"{what} must be matrices (*parents, d, d)",
            f"shape {covariance.shape}",
            "Give [[...]] for one column.",
        )
    if covariance.shape != (*mean.shape, mean.shape[-1]):
        refuse(
            f"{what} must have one entry (a d x d matrix for vectors) for each mean",
            f"shapes {mean.shape} and {covariance.shape}",
            "Give one for each state.",
        )
    if not np.all(np.isfinite(covariance)):
        refuse(f"{what} must be finite", covariance, "Give finite values.")
    variance = np.abs(np.diagonal(covariance, axis1=-2, axis2=-1))
    unit = np.sqrt(variance[..., :, None] * variance[..., None, :])
    if np.any(np.abs(covariance - np.swapaxes(covariance, -1, -2)) > 1e-8 * unit):
        refuse("covariance must be symmetric", covariance, "Give (A + A.T) / 2.")
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise ModelError(
            f"{family}: {what} must be positive{' definite' if what == 'covariance' else ''}, "
            f"got {covariance.squeeze()}. Give a proper {what}."
        ) from None


def check_column(value: Array, meaning: str) -> Array:
    """Return numbers ``(n,)``, of a column ``(n, 1)`` too, or raise `Unsuitable`."""
    if value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    if value.ndim != 1:
        raise Unsuitable(f"be a column, shape (n,), because {{node}} is {meaning}",
                         f"shape {value.shape}")  # fmt: skip
    if value.dtype.kind not in "biuf":
        raise Unsuitable(f"be numbers because {{node}} is {meaning}",
                         f"an array of {value.dtype}", "Encode it as numbers.")  # fmt: skip
    return value


def check_integers(value: Array, low: int, high: int | None, meaning: str) -> Array:
    """Return values as integers from ``low`` to ``high`` (inclusive), or raise `Unsuitable`."""
    allowed = f"be integers from {low} to {high}" if high is not None else f"be integers >= {low}"
    requirement = f"{allowed} because {{node}} is {meaning}"
    value = check_column(value, meaning)
    if value.dtype.kind == "f" and not np.array_equal(value, np.floor(value)):
        row = int(np.flatnonzero(value != np.floor(value))[0])
        raise Unsuitable(requirement, f"{value[row]:g} at row {row}", "Drop or correct it.")
    if not len(value):
        return value.astype(np.int64, copy=False)
    largest = value.max()
    if value.min() < low or (high is not None and largest > high):
        outside = (value < low) if high is None else (value < low) | (value > high)
        row = int(np.flatnonzero(outside)[0])
        raise Unsuitable(requirement, f"{value[row]:g} at row {row}", "Drop or correct it.")
    if largest > 2**62:
        raise Unsuitable(requirement, f"{largest:g}", "Give counts below 2**62.")
    return value.astype(np.int64, copy=False)
