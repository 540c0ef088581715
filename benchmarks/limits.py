"""What this machine can do: the floors under a step of EM.

    python benchmarks/limits.py

A step cannot take less than its operations at the speed of a large matrix product, its exps at the
speed of the fastest exp there is here, and one read of the data. The products at EM's own shapes,
narrow ones, are slower; they show what a perfect engine on this BLAS could reach.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Array = NDArray[Any]

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: States, statistics of a row, rows of a block in the cache.
SHAPES = [
    (16, 45, 4096),
    (32, 561, 1024),
    (8, 8385, 64),
    (32, 33, 8192),
    (16, 10, 16384),
    (3, 3, 16384),
]


@attrs.frozen
class Cost:
    """What a step must do, whoever does it."""

    operations: float
    exps: float
    bytes: float
    single: bool = False  # float32

    @classmethod
    def mixture(cls, n: int, k: int, p: int, d: int) -> Cost:
        """Two matrix products of k states with p statistics, n rows of d columns."""
        return cls(4.0 * n * k * p, float(n * k), 8.0 * n * d)

    @classmethod
    def assignment(cls, n: int, k: int, d: int, single: bool) -> Cost:
        """K-means without bounds: one product, no exp."""
        return cls(2.0 * n * k * d, 0.0, (4.0 if single else 8.0) * n * d, single)


@attrs.frozen
class Limits:
    """Throughput of all threads: operations a second, bytes a second, seconds an exp."""

    product: float
    product_single: float
    read: float
    exp: float

    def floor(self, cost: Cost) -> float:
        """Return the seconds that a step takes at least."""
        speed = self.product_single if cost.single else self.product
        return cost.operations / speed + cost.exps * self.exp + cost.bytes / self.read


def best(call: Callable[[], object], least: float = 0.2) -> float:
    """Return the shortest time of a call, repeated for ``least`` seconds."""
    times: list[float] = []
    while sum(times) < least or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def on_threads(threads: int, make: Callable[[], Callable[[], object]], least: float = 0.2) -> float:
    """Return the shortest time of one call on each of so many threads, one BLAS thread each."""
    calls = [make() for _ in range(threads)]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return best(lambda: list(pool.map(lambda call: call(), calls)), least)


def product_speed(dtype: type, m: int, n: int, k: int, threads: int) -> float:
    """Return operations a second of (m, k) @ (k, n), one after the other on each thread."""
    times = max(1, int(2e8 / (2 * m * n * k)))  # long enough that handing over costs nothing

    def make() -> Callable[[], None]:
        a, b, out = np.ones((m, k), dtype), np.ones((k, n), dtype), np.empty((m, n), dtype)

        def call() -> None:
            for _ in range(times):
                np.matmul(a, b, out=out)

        return call

    return threads * times * 2 * m * n * k / on_threads(threads, make)


def read_speed(threads: int) -> float:
    """Return bytes a second of reading arrays far larger than the caches."""

    def make() -> Callable[[], object]:
        x = np.ones(16 * 2**20)  # 128 MiB
        return lambda: x @ x

    return threads * 128 * 2**20 / on_threads(threads, make)


def compiled_exp() -> Callable[[Array, Array, Array], None] | None:
    """Return a vectorised exp of float64, or None without numba.

    exp x = 2^q exp r with q = round(x / ln 2), r = x - q ln 2 in two pieces, and Taylor's
    polynomial of degree 13 on |r| <= ln 2 / 2. The constants are those of Cody and Waite.
    """
    try:
        import numba
    except ImportError:
        return None

    @numba.njit(nogil=True, fastmath={"contract", "nsz"})
    def exp(x: Array, out: Array, power: Array) -> None:
        for i in range(x.size):
            q = np.floor(x[i] * 1.4426950408889634 + 0.5)
            r = (x[i] - q * 0.693145751953125) - q * 1.4286068203094173e-06
            p = 1.6059043836821613e-10
            p = p * r + 2.08767569878681e-09
            p = p * r + 2.505210838544172e-08
            p = p * r + 2.755731922398589e-07
            p = p * r + 2.7557319223985893e-06
            p = p * r + 2.48015873015873e-05
            p = p * r + 0.0001984126984126984
            p = p * r + 0.001388888888888889
            p = p * r + 0.008333333333333333
            p = p * r + 0.041666666666666664
            p = p * r + 0.16666666666666666
            p = p * r + 0.5
            p = p * r + 1.0
            out[i] = p * r + 1.0
            power[i] = (np.int64(q) + 1023) << 52
        scale = power.view(np.float64)
        for i in range(x.size):
            out[i] *= scale[i]

    return exp  # type: ignore[no-any-return]


def exp_time(threads: int, compiled: bool) -> float:
    """Return seconds an exp of float64, in the cache; infinite where it cannot be compiled."""
    kernel = compiled_exp() if compiled else None
    if compiled and kernel is None:
        return np.inf
    size, times = 4096, 200

    def make() -> Callable[[], None]:
        x = np.linspace(-20.0, 0.0, size)
        out, power = np.empty(size), np.empty(size, np.int64)

        def call() -> None:
            for _ in range(times):
                if kernel is None:
                    np.exp(x, out=out)
                else:
                    kernel(x, out, power)

        call()  # compiles
        assert np.allclose(out, np.exp(x), rtol=1e-15, atol=0)
        return call

    return on_threads(threads, make) / (threads * size * times)


def measure() -> Limits:
    """Measure what the floors need: a few seconds."""
    double, single = (
        max(product_speed(dtype, 1536, 1536, 1536, t) for t in {1, THREADS})
        for dtype in (np.float64, np.float32)
    )
    exp = min(exp_time(t, compiled) for t in {1, THREADS} for compiled in (False, True))
    return Limits(double, single, max(read_speed(t) for t in {1, THREADS}), exp)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    counts = sorted({1, THREADS})
    print("| what | " + " | ".join(f"{t} thread{'s' * (t > 1)}" for t in counts) + " |")
    print("| --- |" + " ---: |" * len(counts))

    def row(name: str, unit: str, figure: Callable[[int], float], digits: int = 1) -> None:
        cells = [f"{figure(t):.{digits}f}" for t in counts]
        print(f"| {name}, {unit} | {' | '.join(cells)} |", flush=True)

    for dtype in (np.float64, np.float32):
        name = np.dtype(dtype).name
        row(f"matrix product of {name}, 1536³", "GFLOP/s",
            lambda t, dtype=dtype: product_speed(dtype, 1536, 1536, 1536, t) / 1e9)  # fmt: skip
    for k, p, rows in SHAPES:
        row(f"E-step, ({k} × {p}) @ ({p} × {rows})", "GFLOP/s",
            lambda t, s=(k, rows, p): product_speed(np.float64, *s, t) / 1e9)  # fmt: skip
        row(f"M-step, ({k} × {rows}) @ ({rows} × {p})", "GFLOP/s",
            lambda t, s=(k, p, rows): product_speed(np.float64, *s, t) / 1e9)  # fmt: skip
    row("memory, read", "GB/s", lambda t: read_speed(t) / 1e9)
    row("exp of float64, NumPy", "ns", lambda t: 1e9 * exp_time(t, False), 2)
    row("exp of float64, compiled", "ns", lambda t: 1e9 * exp_time(t, True), 2)


if __name__ == "__main__":
    main()
