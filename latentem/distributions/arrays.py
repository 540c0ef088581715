"""The array type, and the number that stands for log 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentem.errors import ModelError

Array = NDArray[Any]

# Stands for log 0 inside natural parameters, where a true -inf would turn 0 * -inf into NaN.
# Any sum below LOG_ZERO / 10 is a probability of exactly zero.
LOG_ZERO = -1e300
#: Squares of larger values leave the range of float64.
LARGEST_VALUE = 1e150


def as_float_array(value: Any) -> Array | None:
    """Return a parameter as a read-only float array of its own; `None` (not yet known) stays.

    Nobody else's array is kept: a later change of it would change the distribution. What this
    function made is returned as it is.
    """
    if value is None:
        return None
    own = type(value) is np.ndarray and value.dtype == float and value.flags.owndata
    try:
        array: Array = value if own and not value.flags.writeable else np.array(value, dtype=float)
    except (ValueError, TypeError):
        raise ModelError(
            f"A parameter must be a number or an array of numbers, got {value!r}. "
            "Give options that are no parameters by name, such as covariance='full'."
        ) from None
    array.flags.writeable = False
    return array


def change_at(shape: tuple[int, ...], place: Any, change: Any) -> Array:
    """Return an array that is a change at one place (``...`` for all), and 0 elsewhere."""
    move = np.zeros(shape)
    move[place] = change
    return move
