"""Files: a table of numbers read from CSV, a fit written as JSON, a folder for pictures."""

from __future__ import annotations

import csv
import json
import math
import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentem.datasets import Dataset
from latentem.em.result import Fit
from latentem.errors import DataError, MissingMethodError, ModelError, require

if TYPE_CHECKING:
    import pandas as pd

    from latentem.distributions.base import Distribution

__all__ = ["make_folder", "read_csv", "save"]


# --- reading -------------------------------------------------------------------------------------


def read_csv(path: str | Path, columns: Sequence[str] | None = None) -> Dataset:
    """Read columns of numbers from a CSV file with a header line.

    Parameters
    ----------
    path : str or Path
        The file.
    columns : sequence of str, optional
        The columns to take, in this order; all of them if not given.

    Returns
    -------
    Dataset
        Its ``data`` is ``(n, d)``, NaN where a field is empty.

    Raises
    ------
    OSError
        If the file cannot be opened.
    DataError
        If it is not a table, has no rows, lacks a column, or a column has an entry that is not a
        finite number, or none at all.

    Examples
    --------
    >>> from importlib import resources
    >>> from latentem import io
    >>> path = resources.files("latentem.datasets") / "old_faithful.csv"
    >>> io.read_csv(path, ["waiting"]).data.shape
    (272, 1)
    """
    path = Path(path)
    table = _read_table(path)
    names = [str(name) for name in table.columns]
    header = [
        name.strip() for name in next(csv.reader([_first_line(path)], skipinitialspace=True), [])
    ]
    repeated = [name for name, count in Counter(header).items() if count > 1 and name]
    if repeated:
        raise DataError(
            f"{path}: each column must have a name of its own, got {repeated[0]!r} "
            f"{header.count(repeated[0])} times. Rename one."
        )
    if len(names) == 1:
        _check_separator(path, names[0])
    if columns is None:
        if all(map(_is_number, names)):
            raise DataError(
                f"{path}: the first line must name the columns, got {', '.join(names)}. "
                "Add a header line (or give these names as the columns to take)."
            )
        columns = names
    for name in columns:
        if name not in names:
            raise DataError(f"{path}: the columns must be among {', '.join(names)}, got {name!r}.")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: each column must be taken once, got {', '.join(columns)}.")
    data = np.column_stack([_numbers(table[name], f"{path}: column {name!r}") for name in columns])
    return Dataset(data, tuple(columns), source=str(path))  # (n, d)


def _read_table(path: Path) -> pd.DataFrame:
    pandas = require("pandas", extra="pandas")
    try:
        with warnings.catch_warnings():
            # Without it, a row that is longer than the header loses its end silently.
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            table: pd.DataFrame = pandas.read_csv(path, index_col=False, skipinitialspace=True)
    except pandas.errors.EmptyDataError:
        raise DataError(f"{path} must have a header line and rows, got an empty file.") from None
    except (pandas.errors.ParserError, pandas.errors.ParserWarning, UnicodeDecodeError) as error:
        _check_separator(path, _first_line(path))
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(
            f"{path} must be a CSV file in UTF-8 with as many entries in each row as in its "
            f"header line ({reason})."
        ) from error
    if table.empty:
        raise DataError(f"{path} must have rows after its header line, got none.")
    return table


def _first_line(path: Path) -> str:
    """Return the header line of a file that could not be read as a table; nothing from a pipe."""
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().strip()


def _check_separator(path: Path, header: str) -> None:
    """Raise if a header line without commas looks like one with another separator."""
    if ";" in header and "," not in header:
        raise DataError(
            f"{path} must have its columns separated by commas, got the header line {header!r}, "
            "whose separator seems to be ';'. Save it with commas between the columns, and with "
            "decimal points."
        )


def _numbers(column: pd.Series[Any], where: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the column as floats ``(n,)``, or say in which row it has something else."""
    missing = column.isna().to_numpy()
    if missing.all():
        raise DataError(f"{where} must have a number in some row, got none. Leave it out.")
    if column.dtype.kind in "iuf":
        values = column.to_numpy(dtype=float)  # (n,)
    else:
        entries = column.astype(object).where(~column.isna(), "").astype(str)
        values = np.array([float(entry) if _is_number(entry) else np.nan for entry in entries])
    finite = np.isfinite(values) | missing
    if not finite.all():
        first = int(finite.argmin())
        raise DataError(
            f"{where} must hold finite numbers, got {str(column.iloc[first])!r} in row "
            f"{first + 1}. Take other columns."
        )
    return values


def _is_number(entry: str) -> bool:
    try:
        float(entry)
    except ValueError:
        return False
    return "_" not in entry  # which Python takes between digits


# --- writing -------------------------------------------------------------------------------------


def save(fit: Fit, path: str | Path) -> None:
    """Write a fit as JSON: the parameters by node, how it ended, and its trace.

    The file appears under its name only when it is complete. A number that JSON does not have (an
    infinity, NaN) is written as ``null``.

    Parameters
    ----------
    fit : Fit
        What `latentem.fit` returned.
    path : str or Path
        The file; one that exists is replaced.

    Raises
    ------
    ModelError
        If it is no fit.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> import latentem as lem
    >>> from latentem import io
    >>> faithful = lem.datasets.old_faithful()
    >>> fit = lem.fit(lem.models.gaussian_mixture(2), faithful.data, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     io.save(fit, pathlib.Path(folder, "fit.json"))
    ...     record = json.loads(pathlib.Path(folder, "fit.json").read_text())
    >>> record["model"], round(record["log_likelihood"], 3)
    ('p(z) p(x | z)', -1130.264)
    """
    if not isinstance(fit, Fit):
        raise ModelError(
            f"save must be given a fit, got {type(fit).__name__}. "
            "Pass what fit(model, data) returned."
        )
    text = json.dumps(_plain(_record(fit)), indent=2, allow_nan=False)
    _write_atomically(Path(path), text + "\n")


def make_folder(path: str | Path) -> Path:
    """Make a folder, with those it is in, unless it is there.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Path

    Raises
    ------
    DataError
        If a file is in the way, or nothing may be written there.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from latentem import io
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = io.make_folder(pathlib.Path(folder, "new", "pictures"))
    ...     made.is_dir()
    True
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        taken = next(part for part in (path, *path.parents) if os.path.lexists(part))
        where = "" if taken == path else f" in its path: {taken}"
        raise DataError(f"{path} must be a folder, got a file{where}. Name another.") from error
    except PermissionError as error:
        raise _not_writable(path) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise _not_writable(path)
    return path


def _not_writable(path: Path) -> DataError:
    return DataError(
        f"{path} must be a folder that you may write, got one that is not. Name another."
    )


def _record(fit: Fit) -> dict[str, Any]:
    return {
        "model": str(fit.model),
        "nodes": {
            node.name: {
                "kind": node.kind.value,
                "given": [parent.name for parent in node.given],
                **({"tie": node.tie} if node.tie else {}),
                **_describe(node.dist),
            }
            for node in fit.model.nodes
        },
        "status": {"name": fit.status.name, "meaning": fit.status.value},
        "iterations": fit.iterations,
        "objective": fit.objective,
        **_criteria(fit),
        "trace": {column: fit.trace[column] for column in fit.trace.columns},
    }


def _criteria(fit: Fit) -> dict[str, float | None]:
    """Return the numbers that compare fits, as far as the model has them."""
    if fit.model.requires_hard:
        return {"distortion": fit.distortion}
    try:
        counted = {"n_parameters": fit.n_parameters, "aic": fit.aic, "bic": fit.bic}
    except MissingMethodError:
        counted = {}
    return {"log_likelihood": fit.log_likelihood, **counted}


def _describe(dist: Distribution | None) -> dict[str, Any]:
    if dist is None:  # a covariate has none
        return {}
    return {"family": type(dist).__name__, "parameters": dist.parameters}


def _plain(value: Any) -> Any:
    """Return the value in the types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _write_atomically(path: Path, text: str) -> None:
    path = path.resolve()  # a link stays a link
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
