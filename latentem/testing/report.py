"""Laws as functions that yield a sentence for every way in which they fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

Subject = TypeVar("Subject")

#: Relative difference of numbers that must be equal but for rounding.
ROUNDING = 1e-8


def close(found: ArrayLike, expected: ArrayLike) -> bool:
    """Return whether two arrays are equal but for rounding."""
    return bool(np.allclose(found, expected, rtol=ROUNDING, atol=ROUNDING))


def failures(subject: Subject, laws: Sequence[Callable[[Subject], Iterator[str]]]) -> list[str]:
    """Return a sentence for each failure of the laws; an exception is one too."""
    found: list[str] = []
    for law in laws:
        # Whatever a plug-in raises is a finding to report, so every kind is caught.
        try:
            found += law(subject)
        except Exception as error:
            found.append(f"{law.__name__.replace('_', ' ')}: {raised(error)}")
    return found


def raised(error: Exception) -> str:
    """Return an exception as part of a sentence."""
    found = f"raised {type(error).__name__}: {error}"
    if "read-only" in found:
        found += "; a distribution is never changed: return a new one instead"
    return found


def report(subject: str, sentences: Sequence[str]) -> None:
    """Raise ``AssertionError`` with the sentences, if there are any."""
    if sentences:
        lines = "".join(f"\n  - {sentence}." for sentence in sentences)
        raise AssertionError(f"{subject} breaks {len(sentences)} of its laws:{lines}")
