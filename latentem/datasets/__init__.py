"""Small real data sets, shipped with their sources."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib import resources
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

__all__ = [
    "Dataset",
    "carcinoma",
    "coins",
    "crabs",
    "death_notices",
    "dmft",
    "galaxies",
    "iris",
    "old_faithful",
    "titanic",
    "tone",
    "turtles",
    "values",
]


@attrs.frozen(eq=False)
class Dataset:
    """A table: its numbers, the names of its columns and where it comes from.

    Parameters
    ----------
    data
        The columns of numbers, shape ``(n, d)``.
    columns
        The name of each column of ``data``, ``d`` of them.
    source
        The publication, or the file, that the numbers were taken from.
    table
        Every column by its name, ``(n,)`` each: integers, floats or words; NaN and None where the
        file has a gap. It goes into `fit` as it is if every column has a node of its name.
    """

    data: npt.NDArray[np.float64] = attrs.field(repr=lambda data: f"array of shape {data.shape}")
    columns: tuple[str, ...]
    source: str
    table: Mapping[str, npt.NDArray[Any]] = attrs.field(repr=False)

    @table.default
    def _table(self) -> Mapping[str, npt.NDArray[Any]]:
        return dict(zip(self.columns, self.data.T, strict=True))


def carcinoma() -> Dataset:
    """Load seven pathologists' ratings of 118 slides: carcinoma (2) or not (1).

    Returns
    -------
    Dataset
        ``data`` of shape ``(118, 7)``, a column a pathologist, ``A`` to ``G``.

    References
    ----------
    A. Agresti, *Categorical Data Analysis*, 2nd ed., Wiley 2002, table 13.1.

    Examples
    --------
    >>> from latentem import datasets
    >>> datasets.carcinoma().data.mean(axis=0).round(2)  # A and B see it most often
    array([1.56, 1.67, 1.38, 1.27, 1.6 , 1.21, 1.56])
    """
    return _read("carcinoma.csv", "Agresti, Categorical Data Analysis, 2nd ed. (2002), table 13.1")


def coins() -> Dataset:
    """Load five sets of ten tosses, each of one of two coins; which one is not recorded.

    Returns
    -------
    Dataset
        ``data`` of shape ``(5, 2)``: heads, and tosses in all.

    References
    ----------
    C. B. Do and S. Batzoglou, "What is the expectation maximization algorithm?", Nature
    Biotechnology 26 (2008), 897-899.

    Examples
    --------
    >>> from latentem import datasets
    >>> datasets.coins().table["heads"].tolist()
    [5, 9, 8, 4, 7]
    """
    return _read("coins.csv", "Do & Batzoglou, Nature Biotechnology 26 (2008), 897-899")


def crabs() -> Dataset:
    """Load five measurements, in millimetres, of 200 rock crabs of two species.

    Returns
    -------
    Dataset
        ``data`` of shape ``(200, 5)``: width of the frontal lobe (FL), rear width (RW), length (CL)
        and width (CW) of the carapace, and depth of the body (BD); ``table`` has the species, blue
        or orange, and the sex too, 50 crabs of each kind.

    References
    ----------
    N. A. Campbell and R. J. Mahon, "A multivariate study of variation in two species of rock crab
    of the genus Leptograpsus", Australian Journal of Zoology 22 (1974), 417-425; the version of R's
    ``crabs`` (Venables and Ripley, MASS).

    Examples
    --------
    >>> from latentem import datasets
    >>> crabs = datasets.crabs()
    >>> crabs.columns
    ('FL', 'RW', 'CL', 'CW', 'BD')
    >>> sorted(set(crabs.table["species"].tolist()))
    ['blue', 'orange']
    """
    return _read(
        "crabs.csv", "Campbell & Mahon, Australian Journal of Zoology 22 (1974), 417-425; R's crabs"
    )


def death_notices() -> Dataset:
    """Load how many deaths of women of 80 and more *The Times* announced a day, 1910 to 1912.

    Returns
    -------
    Dataset
        ``data`` of shape ``(10, 2)``: deaths on a day, and the number of days (1096 in all).

    References
    ----------
    V. Hasselblad, "Estimation of finite mixtures of distributions from the exponential family",
    JASA 64 (1969), 1459-1471.

    Examples
    --------
    >>> from latentem import datasets
    >>> int(datasets.death_notices().table["freq"].sum())
    1096
    """
    return _read("death_notices.csv", "Hasselblad, JASA 64 (1969), 1459-1471")


def dmft() -> Dataset:
    """Load the decayed, missing and filled teeth of 797 children before and after a trial.

    Returns
    -------
    Dataset
        ``data`` of shape ``(797, 2)``: teeth at its end and at its beginning; ``table`` has gender,
        ethnic group and treatment too.

    References
    ----------
    D. Böhning, E. Dietz, P. Schlattmann, L. Mendonça and U. Kirchner, "The zero-inflated Poisson
    model and the decayed, missing and filled teeth index in dental epidemiology", JRSS A 162
    (1999), 195-209.

    Examples
    --------
    >>> from latentem import datasets
    >>> int((datasets.dmft().table["End"] == 0).sum())  # children without a bad tooth
    231
    """
    return _read("dmft.csv", "Böhning et al., JRSS A 162 (1999), 195-209")


def galaxies() -> Dataset:
    """Load the velocities of 82 galaxies in the Corona Borealis region, in km/s.

    Returns
    -------
    Dataset
        ``data`` of shape ``(82, 1)``.

    References
    ----------
    K. Roeder, "Density estimation with confidence sets exemplified by superclusters and voids in
    the galaxies", JASA 85 (1990), 617-624.

    Examples
    --------
    >>> from latentem import datasets
    >>> datasets.galaxies().data.shape
    (82, 1)
    """
    return _read("galaxies.csv", "Roeder, JASA 85 (1990), 617-624")


def iris() -> Dataset:
    """Load four measurements, in centimetres, of 150 irises of three species.

    Returns
    -------
    Dataset
        ``data`` of shape ``(150, 4)``: length and width of sepal and petal; ``table`` has the
        species too.

    References
    ----------
    R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7
    (1936), 179-188; the version of R's ``iris``.

    Examples
    --------
    >>> from latentem import datasets
    >>> sorted(set(datasets.iris().table["species"].tolist()))
    ['setosa', 'versicolor', 'virginica']
    """
    return _read("iris.csv", "Fisher, Annals of Eugenics 7 (1936), 179-188; R's iris")


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
        "Azzalini & Bowman, Applied Statistics 39 (1990), 357-365; R's faithful",
    )


def titanic() -> Dataset:
    """Load the 1309 passengers of the Titanic, with gaps: of 263 the age is not known.

    Returns
    -------
    Dataset
        ``data`` of shape ``(1309, 4)``: age in years, brothers, sisters and spouse aboard, parents
        and children aboard, and whether they survived (1) or not (0); ``table`` has class, sex and
        the port where they embarked too.

    References
    ----------
    J. P. Eaton and C. A. Haas, *Titanic: Triumph and Tragedy*, 1994, and the Encyclopedia Titanica,
    compiled by T. Cason and F. E. Harrell as ``titanic3`` (Vanderbilt University).

    Examples
    --------
    >>> from latentem import datasets
    >>> titanic = datasets.titanic()
    >>> round(float(titanic.table["survived"].mean()), 3)
    0.382
    >>> int(sum(port is None for port in titanic.table["port"]))
    2
    """
    return _read(
        "titanic.csv",
        "Eaton & Haas, Titanic: Triumph and Tragedy (1994); titanic3, compiled by Cason & Harrell",
    )


def tone() -> Dataset:
    """Load a musician's tuning of 150 tones whose overtones were stretched.

    A musician tuned a second tone to the octave of the first. Some answers follow the stretched
    overtone (tuned = ratio), others stay at the true octave (tuned = 2).

    Returns
    -------
    Dataset
        ``data`` of shape ``(150, 2)``: stretch ratio, and tuned ratio.

    References
    ----------
    E. Cohen, "Some effects of inharmonic partials on interval perception", Music Perception 1
    (1984), 323-349.

    Examples
    --------
    >>> from latentem import datasets
    >>> datasets.tone().columns
    ('stretchratio', 'tuned')
    """
    return _read("tone.csv", "Cohen, Music Perception 1 (1984), 323-349; R's tonedata (mixtools)")


def turtles() -> Dataset:
    """Load the directions in which 76 turtles set off, in degrees.

    Returns
    -------
    Dataset
        ``data`` of shape ``(76, 1)``.

    References
    ----------
    M. A. Stephens, "Techniques for directional data", Technical Report 150, Department of
    Statistics, Stanford University 1969; N. I. Fisher, *Statistical Analysis of Circular Data*,
    Cambridge University Press 1993, data set B.3.

    Examples
    --------
    >>> from latentem import datasets
    >>> datasets.turtles().data.shape
    (76, 1)
    """
    return _read(
        "turtles.csv", "Stephens (1969); Fisher, Statistical Analysis of Circular Data, B.3"
    )


def values() -> Dataset:
    """Load 216 answers to four questions on a conflict of roles, 1 or 2 each.

    Returns
    -------
    Dataset
        ``data`` of shape ``(216, 4)``, a column a question.

    References
    ----------
    L. A. Goodman, "Exploratory latent structure analysis using both identifiable and
    unidentifiable models", Biometrika 61 (1974), 215-231; after Stouffer and Toby (1951).

    Examples
    --------
    >>> from latentem import datasets
    >>> datasets.values().data.shape
    (216, 4)
    """
    return _read("values.csv", "Goodman, Biometrika 61 (1974), 215-231")


def _read(file: str, source: str) -> Dataset:
    """Return a file of the package, each column as integers, floats or words."""
    with resources.files(__package__).joinpath(file).open(encoding="utf-8") as lines:
        header, *rows = csv.reader(lines)
    table = {name: _column(cells) for name, *cells in zip(header, *rows, strict=True)}
    numbers = {name: column for name, column in table.items() if column.dtype.kind in "if"}
    data = np.column_stack([column.astype(float) for column in numbers.values()])  # (n, d)
    return Dataset(data, tuple(numbers), source, table)


def _column(cells: list[str]) -> npt.NDArray[Any]:
    """Return integers, floats or words; NaN or None for an empty cell."""
    has_gaps = "" in cells
    for kind in (float,) if has_gaps else (int, float):
        try:
            return np.array([kind(cell or "nan") for cell in cells])
        except ValueError:
            continue
    return np.array([cell or None for cell in cells], dtype=object) if has_gaps else np.array(cells)
