"""The gallery: textbook problems as runnable files, which the package carries.

In a checkout they are the folder ``models/``, in an installed package ``latentem/_gallery/``.
"""

from __future__ import annotations

import ast
import runpy
import warnings
from difflib import get_close_matches
from pathlib import Path, PurePath

from latentem.errors import ConvergenceWarning, DataError, require
from latentem.io import make_folder

__all__ = ["lessons", "path", "run"]


def lessons() -> dict[str, str]:
    """Return the one-line lesson of each file, the first line of its docstring, by its name.

    Returns
    -------
    dict of str to str

    Raises
    ------
    DataError
        If the files are not where they were installed.

    Examples
    --------
    >>> from latentem import gallery
    >>> gallery.lessons()["coins"]
    'Two coins, five sets of tosses: EM counts every set for both coins, in part.'
    """
    return {file.stem: _story(file).partition("\n")[0] for file in _files()}


def path(name: str) -> Path:
    """Return the file of a problem.

    Parameters
    ----------
    name : str
        One of those that `lessons` returns.

    Raises
    ------
    DataError
        If there is none of that name.

    Examples
    --------
    >>> from latentem import gallery
    >>> gallery.path("coins").name
    'coins.py'
    """
    files = {file.stem: file for file in _files()}
    if name not in files:
        texts = {problem: f"{problem} {lesson}".lower() for problem, lesson in lessons().items()}
        word = PurePath(str(name)).stem.strip().lower()  # of a path or a file too
        close = [problem for problem, text in texts.items() if word and word in text]
        close = [word] if word in files else close[:3] or get_close_matches(word, files, n=3)
        which = " or ".join(map(repr, close))
        remedy = f"Did you mean {which}?" if close else "'latentem gallery' lists them."
        raise DataError(
            f"gallery: name must be one of its {len(files)} problems, got {name!r}. {remedy}"
        )
    return files[name]


def run(name: str, folder: str | Path) -> Path:
    """Run a problem: declare, fit, check the published figure, draw.

    Parameters
    ----------
    name : str
        One of those that `lessons` returns.
    folder : str or Path
        Where the picture goes.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    DataError
        If there is no problem of that name, or no picture can be written to the folder.
    KeyboardInterrupt
        If it was interrupted: the best of an unfinished search is not what the problem is about.
    """
    file = path(name)
    require("matplotlib", extra="plot").use("agg")
    make_folder(folder)
    picture = Path(folder) / f"{name}.png"
    if picture.is_dir():  # known before a long fit, not after
        raise DataError(f"{picture} must be a file, got a folder. Take another folder for it.")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Interrupted", ConvergenceWarning)
        try:
            runpy.run_path(str(file))["main"](str(folder))
        except ConvergenceWarning as interruption:
            raise KeyboardInterrupt from interruption
    return picture


def _files() -> list[Path]:
    """Return the files of the installed package, or else those of the checkout."""
    package = Path(__file__).parent
    folders = [package / "_gallery", package.parent / "models"]
    for folder in folders:
        if files := sorted(folder.glob("*.py")):
            return files
    raise DataError(
        f"gallery: its files must be in {folders[0]}, got none. Install latentem again."
    )


def _story(file: Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
