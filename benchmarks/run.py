"""Time latentem beside scikit-learn: one process, the same starts, the same number of iterations.

    python benchmarks/run.py            # the full sizes, a few minutes
    python benchmarks/run.py --quick    # a tenth of the rows, to see that it runs

Both sides get the same array of float64, the same start θ and m iterations, with convergence tests
that cannot stop them. Timed is the whole call of ``fit``, set-up and checks of the data included.
Both do m M-steps and m + 1 E-steps in it: latentem one E-step for the start and then M, E, ...;
scikit-learn E, M, ... and one E-step at the end (for its labels). The repetitions are interleaved,
and who goes first changes. scikit-learn is run with BLAS's own threads and with one, and the better
median is taken. Log-likelihoods and parameters are then compared.

latentem does something more in the same time: the trace, with F, Q and H after every half-step. The
second table says what that costs. The third says what missing entries cost.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import unittest.mock
import warnings
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import sklearn
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

import latentem as lem
from latentem.em.problem import Problem

Array = NDArray[Any]


@attrs.frozen
class Workload:
    """A fit by both sides, and what each one's result is: (objective, parameters)."""

    name: str
    iterations: int
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    our_result: Callable[[Any], tuple[float, list[Array]]]
    their_result: Callable[[Any], tuple[float, list[Array]]]


def gaussian_mixture(name: str, X: Array, mean: Array, iterations: int) -> Workload:
    """Full covariances; the start is ``mean`` (k, d) with the covariance of all the data."""
    n, k = len(X), len(mean)
    covariance = np.cov(X.T, bias=True)
    probs, covariances = np.full(k, 1 / k), np.repeat(covariance[None], k, axis=0)
    precisions = np.repeat(np.linalg.inv(covariance)[None], k, axis=0)
    z = lem.latent("z", lem.Categorical(probs=probs))
    x = lem.observed("x", lem.Gaussian(mean=mean, covariance=covariances), given=z)
    start = lem.Model([z, x])

    def ours() -> lem.Fit:
        return lem.fit(start, X, tol=0, max_iter=iterations, restarts=1, accelerate=None)

    def theirs() -> GaussianMixture:
        return GaussianMixture(
            k,
            weights_init=probs,
            means_init=mean,
            precisions_init=precisions,
            max_iter=iterations,
            tol=0,
            reg_covar=0,
        ).fit(X)

    def our_result(fit: lem.Fit) -> tuple[float, list[Array]]:
        gaussian = fit.model["x"]
        assert fit.iterations == iterations
        return fit.log_likelihood, [fit.model["z"].probs, gaussian.mean, gaussian.covariance]

    def their_result(fit: GaussianMixture) -> tuple[float, list[Array]]:
        assert fit.n_iter_ == iterations
        return n * fit.score(X), [fit.weights_, fit.means_, fit.covariances_]

    return Workload(name, iterations, ours, theirs, our_result, their_result)


def kmeans(name: str, X: Array, prototypes: Array, iterations: int) -> Workload:
    k = len(prototypes)
    z = lem.latent("z", lem.Choice(k))
    start = lem.Model([z, lem.observed("x", lem.Prototype(prototypes=prototypes), given=z)])

    def ours() -> lem.Fit:
        return lem.fit(
            start, X, assign=lem.hard, tol=0, max_iter=iterations, restarts=1, accelerate=None
        )

    def theirs() -> KMeans:
        return KMeans(
            k, init=prototypes, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd"
        ).fit(X)

    def our_result(fit: lem.Fit) -> tuple[float, list[Array]]:
        assert fit.iterations == iterations
        return fit.distortion, [fit.model["x"].prototypes]

    def their_result(fit: KMeans) -> tuple[float, list[Array]]:
        assert fit.n_iter_ == iterations
        return fit.inertia_, [fit.cluster_centers_]

    return Workload(name, iterations, ours, theirs, our_result, their_result)


def blobs(n: int, d: int, k: int) -> tuple[Array, Array]:
    """Return rows (n, d) of k overlapping Gaussians of random shapes, and k rows as start."""
    rng = np.random.default_rng(0)
    mean = 2.0 * rng.normal(size=(k, d))
    shape = rng.normal(size=(k, d, d)) / np.sqrt(d) + 0.5 * np.eye(d)
    z = rng.integers(k, size=n)
    X = mean[z] + np.einsum("nij,nj->ni", shape[z], rng.normal(size=(n, d)))
    return X, X[rng.choice(n, k, replace=False)]


def workloads(scale: float) -> list[Workload]:
    n = int(200_000 * scale)
    faithful = lem.datasets.old_faithful().data
    start = np.array([[2.0, 80.0], [4.5, 55.0]])
    return [
        gaussian_mixture(f"Gaussian mixture, full, {n:,} × 8, k 16", *blobs(n, 8, 16), 20),
        gaussian_mixture("Gaussian mixture, full, Old Faithful, k 2", faithful, start, 100),
        kmeans(f"K-means, {n:,} × 16, k 64", *blobs(n, 16, 64), 20),
    ]


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f}" if seconds > 0.1 else f"{1e3 * seconds:.3g}"


def measure(workload: Workload, repeats: int) -> tuple[float, float, Any, Any]:
    """Return the median seconds of both sides and their results; one untimed run each first.

    scikit-learn runs with the threads that BLAS takes by itself and with one, which is often the
    faster way on small blocks; its better median counts.
    """

    def theirs_on_one_thread() -> Any:
        with threadpool_limits(1, user_api="blas"):
            return workload.theirs()

    calls = [workload.ours, workload.theirs, theirs_on_one_thread]
    ours, theirs = workload.ours(), workload.theirs()
    times: list[list[float]] = [[] for _ in calls]
    for repeat in range(repeats):
        for side in np.roll(range(len(calls)), repeat):
            times[side].append(seconds(calls[side])[0])
    medians = [statistics.median(each) for each in times]
    return medians[0], min(medians[1:]), ours, theirs


def compare(console: Console, scale: float, repeats: int) -> None:
    table = Table(title=f"Whole fits, medians of {repeats} interleaved runs")
    table.add_column("workload")
    for column in ("iterations", "latentem\nms", "each", "scikit-learn\nms", "each", "ratio"):
        table.add_column(column, justify="right")
    table.add_column("Δ objective", justify="right")
    table.add_column("Δ parameters", justify="right")
    for workload in workloads(scale):
        m = workload.iterations
        runs = repeats if m < 50 else 5 * repeats  # short fits need more for a steady median
        ours, theirs, our_fit, their_fit = measure(workload, runs)
        our_objective, our_parameters = workload.our_result(our_fit)
        objective, parameters = workload.their_result(their_fit)
        pairs = zip(our_parameters, parameters, strict=True)
        largest = max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)
        table.add_row(
            workload.name,
            str(m),
            *(milliseconds(side / share) for side in (ours, theirs) for share in (1, m)),
            f"{theirs / ours:.2f}",
            f"{abs(our_objective / objective - 1):.1e}",
            f"{largest:.1e}",
        )
    console.print(table)
    console.print(
        "ratio: scikit-learn / latentem, above 1 if latentem is faster. Δ: difference between the "
        "two results, of the objective (log-likelihood or J) relative to it, of the parameters the "
        "largest, relative to the largest of their kind."
    )


def measure_trace(console: Console, scale: float) -> None:
    """Show what share of a fit goes into Q after every half-step, for the trace and the guard."""
    spent = 0.0
    evaluate = Problem.q

    def timed(problem: Problem, theta: Any, *rest: Any) -> Any:
        nonlocal spent
        # What the E-step at the same theta needs anyway is made before the clock starts.
        _ = theta.kernels, theta.latent_tables, problem.base_total(theta)
        start = time.perf_counter()
        terms = evaluate(problem, theta, *rest)
        spent += time.perf_counter() - start
        return terms

    table = Table(title="What the trace costs: Q after every E and every M")
    table.add_column("workload")
    for column in ("fit / ms", "Q / ms", "evaluations", "share"):
        table.add_column(column, justify="right")
    with unittest.mock.patch.object(Problem, "q", timed):
        for workload in workloads(scale):
            workload.ours()
            spent = 0.0
            total, fit = seconds(workload.ours)
            table.add_row(
                workload.name,
                milliseconds(total),
                milliseconds(spent),
                str(len(fit.trace)),
                f"{spent / total:.2%}",
            )
    console.print(table)


def measure_gaps(console: Console, scale: float, repeats: int) -> None:
    """Show what missing entries cost: the same fit with a fifth of the entries gone."""
    rng = np.random.default_rng(0)
    n, d, k = int(100_000 * scale), 8, 4
    centres = 3.0 * rng.normal(size=(k, d))
    X = rng.normal(size=(n, d)) + centres[rng.integers(k, size=n)]
    holed = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    table = Table(title=f"Missing entries: Gaussian mixture, {n:,} x {d}, k {k}, 10 iterations")
    for column in ("covariance", "complete / ms", "20 % missing / ms", "ratio"):
        table.add_column(column, justify="right")
    for covariance in ("full", "diagonal"):
        start = lem.initialize(lem.models.gaussian_mixture(k, covariance=covariance), X, seed=0)

        def fit(data: Array, start: lem.Model = start) -> lem.Fit:
            return lem.fit(start, data, tol=0, max_iter=10, restarts=1, accelerate=None)

        times: dict[str, list[float]] = {"complete": [], "holed": []}
        for _ in range(repeats + 1):  # the first of each is not counted
            times["complete"].append(seconds(lambda fit=fit: fit(X))[0])
            times["holed"].append(seconds(lambda fit=fit: fit(holed))[0])
        complete, gaps = (statistics.median(each[1:]) for each in times.values())
        table.add_row(
            covariance, milliseconds(complete), milliseconds(gaps), f"{gaps / complete:.1f}"
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, two runs")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each side")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", lem.ConvergenceWarning)
    console = Console(width=None if os.isatty(1) else 140)
    console.print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"scikit-learn {sklearn.__version__}, {os.cpu_count()} cores"
    )
    scale, repeats = (0.1, 2) if options.quick else (1.0, options.repeats)
    compare(console, scale, repeats)
    measure_trace(console, scale)
    measure_gaps(console, scale, repeats)


if __name__ == "__main__":
    main()
