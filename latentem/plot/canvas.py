"""What all pictures share: the colours, and an empty ``Axes``."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentem.errors import ModelError, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]

STATES = ("#2f6fde", "#d8392b", "#2a9d4a", "#e8a317", "#8a4fbf", "#18a3ac", "#d455a5", "#7a5c3e")
"""Colours of the states, in order; after the last they begin again."""

AFTER_E, AFTER_M = "#2255dd", "#d62222"

SHADED = "#cfd3da"
"""Fill of what is observed."""


def must_be(given: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Raise unless what a picture is to be of has one of these types."""
    if not isinstance(given, kinds):
        raise ModelError(
            f"A picture must be given {wanted}, got {reprlib.repr(given)}. Pass it first."
        )


def palette(k: int) -> Array:
    """Return the colours of ``k`` states as RGB between 0 and 1, shape (k, 3)."""
    codes = [STATES[state % len(STATES)] for state in range(k)]
    return np.array([[int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)] for code in codes])


def blend(responsibilities: Array) -> Array:
    """Return the mixture of the states' colours for each row, (n, k) -> RGB (n, 3)."""
    colours = responsibilities @ palette(responsibilities.shape[1])
    return np.asarray(np.clip(colours, 0.0, 1.0))


def axes_or_new(ax: Axes | None, size: tuple[float, float] | None = None) -> Axes:
    """Return the axes given, or new ones in a figure of the size given in inches.

    Without a size nothing is cut off: the axes make room for their labels.
    """
    if ax is not None:
        return ax
    figure = require("matplotlib.pyplot", extra="plot").figure(
        figsize=size, layout="constrained" if size is None else None
    )
    new: Axes = figure.add_subplot()
    return new
