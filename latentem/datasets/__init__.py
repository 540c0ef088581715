"""Small real data sets, shipped with their sources."""

from __future__ import annotations

from importlib import resources

import attrs
import numpy as np
import numpy.typing as npt

__all__ = ["Dataset", "old_faithful"]


@attrs.frozen(eq=False)
class Dataset:
    """A table of numbers, the names of its columns and where it comes from.

    Parameters
    ----------
    data
        The numbers, shape ``(n, d)``.
    columns
        The name of each column, ``d`` of them.
    source
        The publication, or the file, that the numbers were taken from.
    """

    data: npt.NDArray[np.float64] = attrs.field(repr=lambda data: f"array of shape {data.shape}")
    columns: tuple[str, ...]
    source: str


def old_faithful() -> Dataset:
    """Load 272 eruptions of the Old Faithful geyser, Yellowstone National Park.

    The two columns are the length of an eruption and the waiting time to the next one, both in
    minutes. Short eruptions are followed by short waits, so the rows fall into two groups.

    Returns
    -------
    Dataset
        ``data`` of shape ``(272, 2)``, a new array at every call; ``columns``
        ``("eruptions", "waiting")``; ``source``.

    References
    ----------
    A. Azzalini and A. W. Bowman, "A look at some data on the Old Faithful geyser", Applied
    Statistics 39 (1990), 357-365; the version of R's ``faithful``.

    Examples
    --------
    >>> from latentem import datasets
    >>> faithful = datasets.old_faithful()
    >>> faithful.data.shape, faithful.columns
    ((272, 2), ('eruptions', 'waiting'))
    """
    return _read(
        "old_faithful.csv",
        source="Azzalini & Bowman, Applied Statistics 39 (1990), 357-365; R's faithful",
    )


def _read(file: str, *, source: str) -> Dataset:
    with resources.files(__package__).joinpath(file).open(encoding="utf-8") as lines:
        columns = tuple(next(lines).strip().split(","))
        return Dataset(np.loadtxt(lines, delimiter=",", ndmin=2), columns, source)
