"""Sums over blocks of rows, on several threads where that pays.

Python threads run the blocks while BLAS is held to one thread each (by threadpoolctl, the extra
``fast``): blocks of a few megabytes stay in a core's cache, which BLAS's own threads would fight
over. Without threadpoolctl one thread runs the blocks and BLAS does as it likes.

Blocks depend on the shape of the problem alone and their results are added in order, so results do
not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

#: Bytes of working arrays in a block.
BLOCK_BYTES = 3 * 2**20
LARGEST_BLOCK = 16_384
#: Cells of working arrays below which threads cost more than they bring.
SMALLEST_PARALLEL = 50_000

T = TypeVar("T")

_threads: int | None = None
_inside = threading.local()


def n_threads() -> int:
    """Return the number of threads in use."""
    if _threads is not None:
        return _threads
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Use n threads within a ``with`` block.

    Examples
    --------
    >>> from latentem import parallel
    >>> with parallel.threads(1):
    ...     parallel.n_threads()
    1
    """
    global _threads
    before, _threads = _threads, n
    try:
        yield
    finally:
        _threads = before


def block_rows(cells: int) -> int:
    """Return the number of rows in a block whose working arrays have ``cells`` columns."""
    return max(1, min(LARGEST_BLOCK, BLOCK_BYTES // (8 * max(cells, 1))))


def map_blocks(function: Callable[[slice], T], n: int, cells: int) -> Iterator[T]:
    """Yield ``function(rows)`` for the consecutive blocks of n rows, in order.

    Parameters
    ----------
    function : callable
        Takes a slice of rows.
    n : int
        Number of rows.
    cells : int
        Columns of the working arrays, for the size of a block.
    """
    rows = block_rows(cells)
    blocks = [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
    controller = _blas_controller() if n * cells >= SMALLEST_PARALLEL else None
    if controller is None or getattr(_inside, "worker", False):
        # Within a worker (a distribution that uses the library itself) the pool is taken.
        yield from map(function, blocks)
        return
    workers = min(n_threads(), len(blocks))
    with controller.limit(limits=1, user_api="blas"):
        if workers < 2:
            yield from map(function, blocks)
        else:
            yield from _pool(workers, os.getpid()).map(function, blocks)


@functools.cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    # A pool for each process: the threads of a parent do not survive a fork.
    return ThreadPoolExecutor(workers, "latentem", initializer=_mark_worker)


def _mark_worker() -> None:
    _inside.worker = True


@functools.cache
def _blas_controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()
