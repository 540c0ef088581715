"""Whether and how compiled kernels are had: numba is the extra ``fast``."""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

#: Cells (rows times states) from which compiled kernels pay: below, a whole fit takes about as long
#: as loading the compiler.
FEWEST_CELLS = 400_000
#: Columns of the data from which on the work of a cell grows with them.
FEW_COLUMNS = 16


@functools.cache
def available() -> bool:
    """Return whether numba is installed, in a version that works here."""
    try:
        _imported("numba")
    except ImportError:
        return False
    return True


def pays(cells: int, columns: int = 1) -> bool:
    """Return whether passes over so many cells, of so many columns, use compiled kernels.

    Where these are loaded already, all passes do.
    """
    enough = cells * max(columns, FEW_COLUMNS) >= FEWEST_CELLS * FEW_COLUMNS
    return is_loaded() or (enough and available())


def is_loaded() -> bool:
    """Return whether the compiler has been loaded, by another fit."""
    return "latentem.kernels.loops" in sys.modules


def loops() -> ModuleType:
    """Return the compiled kernels; the first call on a machine compiles them, and says so."""
    return _compiled("latentem.kernels.loops")


def expected_loops() -> ModuleType:
    """Return those of `latentem.kernels.expected`, likewise."""
    return _compiled("latentem.kernels.expected_loops")


def columns_loops() -> ModuleType:
    """Return those of `latentem.kernels.columns`, likewise."""
    return _compiled("latentem.kernels.columns_loops")


def moments_loops() -> ModuleType:
    """Return those of `latentem.kernels.moments`, likewise."""
    return _compiled("latentem.kernels.moments_loops")


def steps_loops() -> ModuleType:
    """Return those of `latentem.kernels.steps`, likewise."""
    return _compiled("latentem.kernels.steps_loops")


def seeding_loops() -> ModuleType:
    """Return those of `latentem.kernels.seeding`, likewise."""
    return _compiled("latentem.kernels.seeding_loops")


def whitened_loops() -> ModuleType:
    """Return those of `latentem.kernels.whitened`, likewise."""
    return _compiled("latentem.kernels.whitened_loops")


def nearest_loops() -> ModuleType:
    """Return those of `latentem.kernels.nearest`, likewise."""
    return _compiled("latentem.kernels.nearest_loops")


def gapped_loops() -> ModuleType:
    """Return those of `latentem.kernels.gapped`, likewise."""
    return _compiled("latentem.kernels.gapped_loops")


@functools.cache
def _compiled(module: str) -> ModuleType:
    sentence = (
        "latentem: loading compiled kernels; the first time on a machine they are compiled ..."
    )
    notice = threading.Timer(1.5, print, [sentence], {"file": sys.stderr})
    notice.daemon = True
    notice.start()
    try:
        return _imported(module)
    finally:
        notice.cancel()


def _imported(module: str) -> ModuleType:
    """Import a module in a thread of its own, which Ctrl-C does not reach.

    Interrupted half-way, numba could not be imported again in the same process.
    """
    thread = ThreadPoolExecutor(1)
    found = thread.submit(importlib.import_module, module)
    thread.shutdown(wait=False)
    return found.result()
