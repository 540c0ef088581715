"""Sums over blocks of rows, on several threads where that pays.

Python threads run the blocks while BLAS is held to one thread each (by threadpoolctl, the extra
``fast``): blocks of a few megabytes stay in a core's cache, which BLAS's own threads would fight
over. Without threadpoolctl one thread runs the blocks and BLAS does as it likes.

Blocks depend on the shape of the problem alone and their results are added in order, so results do
not depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
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
    with _blas.alone():
        if n_workers < 2:
            yield from map(function, blocks)
        else:
            yield from _map_together(function, blocks, n_workers)


def _map_together(
    function: Callable[[slice], T], blocks: list[slice], n_workers: int
) -> Iterator[T]:
    """Run the blocks in this thread and in others that help; yield the results in order.

    Each takes the next block when it is through with one. Results are yielded as soon as they are
    there, so that those of all blocks are not held at once.
    """
    results: dict[int, T] = {}
    open_blocks = deque(enumerate(blocks))

    def run_next() -> bool:
        outside, _inside.worker = getattr(_inside, "worker", False), True
        try:
            place, rows = open_blocks.popleft()
        except IndexError:
            return False
        else:
            results[place] = function(rows)
            return True
        finally:
            _inside.worker = outside

    def work() -> None:
        try:
            while run_next():
                pass
        finally:
            open_blocks.clear()  # after an error the others finish what they have begun

    others = _helpers(n_workers - 1, os.getpid()).start(work)
    n_yielded = 0
    try:
        while run_next():
            while n_yielded in results:
                yield results.pop(n_yielded)
                n_yielded += 1
    finally:
        open_blocks.clear()
        # One that has not begun has nothing left to do, and may long be busy elsewhere.
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()
    for place in range(n_yielded, len(blocks)):
        yield results.pop(place)


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
    return contextlib.nullcontext() if _blas.controller is None else _blas.alone()


def _is_large(n: int, cells: int) -> bool:
    return n * cells >= SMALLEST_PARALLEL and _blas.controller is not None


class _Helpers:
    """Threads that help another one.

    Linux likes to wake a thread on the processor on which it slept, though another thread runs
    there and a second processor has nothing to do, and it leaves it there for some milliseconds:
    longer than a short pass. So helpers that slept where the thread that calls them runs are sent
    to another processor, and may run wherever it may as soon as they are awake.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._pool = ThreadPoolExecutor(n, "latentem")
        #: The processor on which each thread was last, by the system's number of the thread.
        self._places: dict[int, int] = {}
        self._sent: set[int] = set()

    def start(self, work: Callable[[], None]) -> list[Future[None]]:
        """Let all of them do the work."""
        processor = _processor()
        if processor is None:
            return [self._pool.submit(work) for _ in range(self.n)]
        allowed, here = os.sched_getaffinity(0), processor()

        def help_on() -> None:
            thread = threading.get_native_id()
            if thread in self._sent:
                self._sent.discard(thread)
                _let_run(thread, allowed)
            try:
                work()
            finally:
                self._places[thread] = processor()

        for thread, place in list(self._places.items()):
            if place == here and len(allowed) > 1:
                _let_run(thread, allowed - {here})
                self._sent.add(thread)  # not before: one still busy would be free too soon
        return [self._pool.submit(help_on) for _ in range(self.n)]


def _let_run(thread: int, processors: set[int]) -> None:
    """Let a thread run on these processors, if the system lets us say so."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, processors)


@functools.cache
def _helpers(n: int, process: int) -> _Helpers:
    # Some for each process: the threads of a parent do not survive a fork.
    return _Helpers(n)


@functools.cache
def _processor() -> Callable[[], int] | None:
    """Return what says which processor this thread is on; None where it is not for us to choose."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


class _SingleThreadedBlas:
    """Holds BLAS to one thread while any thread of the program is within a ``with`` block.

    The number of BLAS's threads belongs to the whole process: the first to enter limits it, and the
    last to leave, in whatever order, gives it back as it was. Ctrl-C may come at any point of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: set[object] = set()
        self._before: list[tuple[Any, int]] = []
        #: Whether it is held to one; None in the midst of a change.
        self._is_held: bool | None = False

    @functools.cached_property
    def controller(self) -> Any:
        """The controller of the libraries loaded, None without threadpoolctl."""
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            return None
        return ThreadpoolController().select(user_api="blas")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold BLAS to one thread within a ``with`` block."""
        block = object()
        try:
            self._inside.add(block)
            self._settle()
            yield
        finally:
            self._inside.discard(block)
            self._settle()

    def _settle(self) -> None:
        try:
            self._change()
        except BaseException:
            self._change()  # what was begun
            raise

    def _change(self) -> None:
        """Limit the number of threads or give it back, unless that is done."""
        with self._lock:
            wanted = bool(self._inside)
            if wanted is self._is_held:
                return
            self._is_held = None
            if not self._before:
                self._before = [(one, one.num_threads) for one in self.controller.lib_controllers]
            for one, n in self._before:
                one.set_num_threads(1 if wanted else n)
            if not wanted:
                self._before = []
            self._is_held = wanted


_blas = _SingleThreadedBlas()
