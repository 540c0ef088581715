"""The one way from a seed to a random generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentem.errors import ModelError


def generator(seed: Any) -> np.random.Generator:
    """Return the random generator of a seed; one that is given is used itself, and advanced.

    Parameters
    ----------
    seed : int, numpy.random.Generator, SeedSequence, BitGenerator or None
        None for a fresh one.

    Raises
    ------
    ModelError
        If it is not one of these.

    Examples
    --------
    >>> from latentem.seeds import generator
    >>> bool(generator(0).random() == generator(0).random())
    True
    """
    try:
        if not isinstance(seed, bool):
            return np.random.default_rng(seed)
    except (TypeError, ValueError):
        pass
    raise ModelError(
        "seed must be None, a whole number of at least 0, or a numpy.random.Generator, "
        f"got {seed!r}. Give one."
    )
