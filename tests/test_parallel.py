"""Blocks and threads: several fits at once, and BLAS's own threads given back."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

import latentem as lem
from latentem import parallel
from latentem.kernels import compiled


def _blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_fits_in_threads_of_the_user_leave_blas_as_it_was() -> None:
    before = _blas_threads()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 3)) + rng.integers(0, 3, size=(20_000, 1))
    start = lem.initialize(lem.models.gaussian_mixture(3), x, seed=0)
    alone = lem.fit(start, x, accelerate=None, tol=0.0, max_iter=3)
    found: list[float] = []
    during: list[int] = []

    def run(iterations: int) -> None:
        fit = lem.fit(start, x, accelerate=None, tol=0.0, max_iter=iterations, on_step=look)
        found.append(fit.trace["objective"][6])

    def look(step: lem.Step) -> None:
        during.extend(_blas_threads())

    # Of different lengths, so that the first to begin is not the last to end.
    runs = [threading.Thread(target=run, args=(m,)) for m in (3, 12, 5, 9)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert found == [alone.trace["objective"][6]] * 4
    assert during
    assert _blas_threads() == before


def test_the_number_of_threads_belongs_to_the_thread_that_asked() -> None:
    seen: list[int] = []
    default = parallel.n_threads()
    with parallel.threads(default + 3):
        thread = threading.Thread(target=lambda: seen.append(parallel.n_threads()))
        thread.start()
        thread.join()
        assert parallel.n_threads() == default + 3
    assert seen == [default] == [parallel.n_threads()]


def test_a_number_of_threads_may_be_numpys() -> None:
    with parallel.threads(np.int64(2)):
        assert parallel.n_threads() == 2
        assert type(parallel.n_threads()) is int


@pytest.mark.parametrize("n", [0, -1, 1.5, "two", True])
def test_a_number_of_threads_that_is_none_is_refused(n: int) -> None:
    with (
        pytest.raises(lem.ModelError, match=r"threads must be .*, got .*\. .+"),
        parallel.threads(n),
    ):
        pass


@pytest.mark.parametrize("init", ["random", "plus_plus", "from_labels"])
@pytest.mark.parametrize("dissimilarity", [None, "squared_euclidean", "l1", "hamming", "cosine"])
def test_a_fit_never_holds_a_table_of_all_rows(init: str, dissimilarity: str | None) -> None:
    n, k = 60_000, 40
    rng = np.random.default_rng(0)
    labels = rng.integers(k, size=n)
    x = (labels + 1 + 0.1 * rng.normal(size=n))[:, None]
    if dissimilarity is not None:
        x = np.concatenate([x, rng.normal(size=(n, 1))], axis=1).round(2)
    make = {"from_labels": lambda: lem.init.from_labels(labels)}
    start = make.get(init, lambda: getattr(lem.init, init))()
    model = lem.models.gaussian_mixture(k)
    if dissimilarity is not None:
        model = lem.models.kmeans(k, dissimilarity)
    assign = lem.soft if dissimilarity is None else lem.hard
    if compiled.available():
        # Compiling them takes memory of its own.
        compiled.columns_loops(), compiled.expected_loops(), compiled.nearest_loops()
    with parallel.threads(1):
        tracemalloc.start()
        lem.fit(model, x, init=start, assign=assign, restarts=1, max_iter=2, tol=0.0, seed=0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # A table of all rows and states has 19 MB; a block's working arrays have 3 MB each.
    assert peak < 8 * n * k


ROWS = 80_000


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_blocks_come_in_order_whoever_runs_them(n_threads: int) -> None:
    def run(rows: slice) -> tuple[slice, str]:
        time.sleep(0.001 * (rows.start % 3))
        return rows, threading.current_thread().name

    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    for _ in range(5):
        with parallel.threads(n_threads):
            found = list(parallel.map_blocks(run, ROWS, 1, 1001))
        assert [rows.start for rows, _ in found] == list(range(0, ROWS, 1000))
        assert found[-1][0].stop == ROWS
        assert len({name for _, name in found}) <= n_threads
    if before is not None:
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("bad", [0, 37, 79])
def test_an_error_in_a_block_ends_the_others_and_comes_out(bad: int) -> None:
    begun: list[int] = []

    def run(rows: slice) -> None:
        begun.append(rows.start)
        if rows.start == 1000 * bad:
            raise ZeroDivisionError(rows.start)
        time.sleep(0.001)

    with parallel.threads(2), pytest.raises(ZeroDivisionError):
        list(parallel.map_blocks(run, ROWS, 1, 1001))
    assert len(begun) <= bad + 3
    with parallel.threads(2):  # and all works as before
        assert list(parallel.map_blocks(lambda rows: rows.start, ROWS, 1, 1001))[-1] == 79_000


def test_blocks_within_a_block_run_in_its_thread() -> None:
    def outer(rows: slice) -> set[str]:
        return set(parallel.map_blocks(inner, ROWS, 1, 1001)) - {threading.current_thread().name}

    def inner(rows: slice) -> str:
        return threading.current_thread().name

    with parallel.threads(2):
        assert list(parallel.map_blocks(outer, ROWS, 1, 1001)) == [set()] * 80
        names = set(parallel.map_blocks(inner, ROWS, 1, 1001))
    assert threading.current_thread().name in names


@pytest.mark.parametrize("n_threads", [1, 2])
def test_results_of_all_blocks_are_never_held_at_once(n_threads: int) -> None:
    def run(rows: slice) -> np.ndarray:
        time.sleep(0.001)
        return np.ones(100_000)

    tracemalloc.start()
    with parallel.threads(n_threads):
        total = sum(float(part[0]) for part in parallel.map_blocks(run, ROWS, 1, 201))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 400
    assert peak < 100 * 800_000  # a quarter of them


def test_who_wants_no_more_results_ends_the_blocks() -> None:
    begun: list[int] = []

    def run(rows: slice) -> None:
        begun.append(rows.start)
        time.sleep(0.001)

    with parallel.threads(2):
        parts = parallel.map_blocks(run, ROWS, 1, 1001)
        next(parts)
        parts.close()
    n_begun = len(begun)
    assert n_begun < 20
    time.sleep(0.01)
    assert len(begun) == n_begun


def test_a_pass_does_not_wait_for_a_thread_busy_elsewhere() -> None:
    """In a thread of the user's that is itself waited for by a block."""

    def inner() -> None:
        with parallel.threads(2):
            found.append(list(parallel.map_blocks(lambda rows: rows.start, ROWS, 1, 1001)))

    def outer(rows: slice) -> bool:
        thread = threading.Thread(target=inner, daemon=True)
        thread.start()
        thread.join(timeout=10)
        return not thread.is_alive()

    found: list[list[int]] = []
    with parallel.threads(2):
        assert all(parallel.map_blocks(outer, ROWS, 1, 30_001))
    assert found == [list(range(0, ROWS, 1000))] * 4


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="processors are not ours to choose"
)
def test_threads_that_help_may_run_wherever_the_one_they_help_may() -> None:
    def run(rows: slice) -> tuple[int, set[int]]:
        time.sleep(0.0005)
        return threading.get_native_id(), os.sched_getaffinity(0)

    allowed = os.sched_getaffinity(0)
    for _ in range(20):
        with parallel.threads(2):
            found = list(parallel.map_blocks(run, ROWS, 1, 1001))
        assert all(processors == allowed for _, processors in found)
        time.sleep(0.002)
    assert len({thread for thread, _ in found}) == 2


@pytest.mark.parametrize("number", [1, 2])
def test_ctrl_c_while_blas_is_limited_or_given_back_leaves_it_as_it_was(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, *_ = ThreadpoolController().select(user_api="blas").lib_controllers
    change, left = type(library).set_num_threads, [number]

    def interrupted(self: Any, n: int) -> None:
        change(self, n)
        if n in left:
            left.remove(n)
            raise KeyboardInterrupt

    def hold() -> list[int]:
        with parallel.blas_alone():
            return _blas_threads()

    with threadpool_limits(2, user_api="blas"):
        with monkeypatch.context() as patch:
            patch.setattr(type(library), "set_num_threads", interrupted)
            with pytest.raises(KeyboardInterrupt):
                hold()
        assert set(_blas_threads()) == {2}
        assert set(hold()) == {1}
        assert set(_blas_threads()) == {2}
