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
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import ContextVar
from numbers import Integral
from typing import Any, TypeVar

from latentem.errors import ModelError

#: Bytes of working arrays in a block.
BLOCK_BYTES = 3 * 2**20
LARGEST_BLOCK = 65_536
#: Cells of working arrays below which threads cost more than they bring.
SMALLEST_PARALLEL = 50_000

T = TypeVar("T")

_threads: ContextVar[int | None] = ContextVar("threads", default=None)
_inside = threading.local()


def n_threads() -> int:
    """Return the number of threads in use."""
    chosen = _threads.get()
    if chosen is not None:
        return chosen
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Use n threads within a ``with`` block, in the thread that enters it.

    Examples
    --------
    >>> from latentem import parallel
    >>> with parallel.threads(1):
    ...     parallel.n_threads()
    1
    """
    if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
        raise ModelError(f"threads must be a whole number of at least 1, got {n!r}. Give one.")
    token = _threads.set(int(n))
    try:
        yield
    finally:
        _threads.reset(token)


def block_rows(n: int, cells: int, largest: int | None = None) -> int:
    """Return the number of rows in a block whose working arrays have ``cells`` columns.

    Of several, as many for each of 2 or 4 threads.
    """
    if largest is None:
        largest = max(1, min(LARGEST_BLOCK, BLOCK_BYTES // (8 * max(cells, 1))))
    n_blocks = -(-n // largest)
    return n if n_blocks < 2 else -(-n // (-(-n_blocks // 4) * 4))


def map_blocks(
    function: Callable[[slice], T], n: int, cells: int, largest: int | None = None
) -> Iterator[T]:
    """Yield ``function(rows)`` for the consecutive blocks of n rows, in order.

    Parameters
    ----------
    function : callable
        Takes a slice of rows.
    n : int
        Number of rows.
    cells : int
        Columns of the working arrays, for the size of a block.
    largest : int, optional
        The most rows of a block, for a function that needs no working arrays of so many.
    """
    rows = block_rows(n, cells, largest)
    blocks = [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
    if not _is_large(n, cells):
        yield from map(function, blocks)
        return
    n_workers = workers(n, cells, largest)
    with _blas:
        if n_workers < 2:
            yield from map(function, blocks)
        else:
            yield from _map_together(function, blocks, n_workers)


def _map_together(
    function: Callable[[slice], T], blocks: list[slice], n_workers: int
) -> Iterator[T]:
    """Run the blocks on several threads; return the results in order.

    Each takes the next block when it is through with one. Meanwhile this one sleeps, to be woken
    once: it would take turns with one of them.
    """
    results: dict[int, T] = {}
    open_blocks = deque(enumerate(blocks))

    def work() -> None:
        outside, _inside.worker = getattr(_inside, "worker", False), True
        try:
            while True:
                try:
                    place, rows = open_blocks.popleft()
                except IndexError:
                    return
                results[place] = function(rows)
        except BaseException:
            open_blocks.clear()  # the others finish what they have begun
            raise
        finally:
            _inside.worker = outside

    pool = _pool(n_workers, os.getpid())
    working = [pool.submit(work) for _ in range(n_workers)]
    try:
        wait(working)
    finally:
        open_blocks.clear()  # when interrupted, they finish what they have begun
        wait(working)
    for one in working:
        one.result()
    return (results.pop(place) for place in range(len(blocks)))


def workers(n: int, cells: int, largest: int | None = None) -> int:
    """Return the number of threads that `map_blocks` uses."""
    # Within a worker (a distribution that uses the library itself) the pool is taken.
    taken = getattr(_inside, "worker", False)
    if taken or not _is_large(n, cells):
        return 1
    return min(n_threads(), -(-n // block_rows(n, cells, largest)))


def blas_alone() -> contextlib.AbstractContextManager[object]:
    """Hold BLAS to one thread within a ``with`` block, as `map_blocks` does.

    For what is small and stands between passes over the rows: waking BLAS's own threads for it, and
    sending them to sleep again, takes longer than the work.
    """
    return contextlib.nullcontext() if _blas.controller is None else _blas


def _is_large(n: int, cells: int) -> bool:
    return n * cells >= SMALLEST_PARALLEL and _blas.controller is not None


@functools.cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    # A pool for each process: the threads of a parent do not survive a fork.
    return ThreadPoolExecutor(workers, "latentem")


class _SingleThreadedBlas:
    """Holds BLAS to one thread while any thread of the program is within a ``with`` block.

    The number of BLAS's threads belongs to the whole process: the first to enter limits it, and the
    last to leave, in whatever order, gives it back as it was.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: Any = None

    @functools.cached_property
    def controller(self) -> Any:
        """The controller of the libraries loaded, None without threadpoolctl."""
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            return None
        return ThreadpoolController()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limit = self.controller.limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


_blas = _SingleThreadedBlas()
