"""How the time of a step grows: with rows, columns and states, and with the graph's largest clique.

    python benchmarks/growth.py                    # up to a million rows; two pictures
    python benchmarks/growth.py --rows 10000000    # needs about 2 GB
    python benchmarks/growth.py --quick            # small sizes, no pictures

The time of a step is the difference between fits of many and of few steps: without set-up.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from workloads import blobs, mixture_model, mixture_start

import latentem as lem

HERE = Path(__file__).parent
Curve = tuple[Sequence[float], list[float]]  # sizes, seconds a step


def step_time(model: lem.Model, data: Any, rounds: int = 3) -> float:
    """Return the median seconds of a plain step from the parameters that the model has."""

    def whole(m: int) -> float:
        start = time.perf_counter()
        lem.fit(model, data, restarts=1, accelerate=None, tol=0, max_iter=m)
        return time.perf_counter() - start

    whole(1)
    few, many = 2, 8
    while whole(many) - whole(few) < 0.05 and many < 500:
        many *= 3
    times = [(whole(many) - whole(few)) / (many - few) for _ in range(rounds)]
    return statistics.median(times)


def mixture_time(n: int, d: int = 8, k: int = 16) -> float:
    X, mean = blobs(n, d, k)
    return step_time(mixture_model(mixture_start(X, mean, "full")), X)


def chain(latents: int, states: int, n: int) -> tuple[lem.Model, Any]:
    """Return latents that each depend on the one before, each with a child; and rows of it."""
    rng = np.random.default_rng(0)
    nodes: list[lem.Node] = []
    for i in range(latents):
        shape = () if i == 0 else (states,)
        probs = rng.dirichlet(np.ones(states), size=shape)
        given = None if i == 0 else nodes[-2]
        mean = 2.0 * np.arange(states) + rng.normal(size=states)
        z = lem.latent(f"z{i}", lem.Categorical(probs=probs), given=given)
        x = lem.Normal(mean=mean, variance=np.ones(states))
        nodes += [z, lem.observed(f"x{i}", x, given=z)]
    model = lem.Model(nodes)
    rows = lem.sample(model, n, seed=0)
    return model, {name: value for name, value in rows.items() if name.startswith("x")}


def curve(sizes: Sequence[int], seconds: Callable[[int], float], name: str) -> Curve:
    times = []
    for size in sizes:
        times.append(seconds(size))
        print(f"  {name} {size:>10,}: {1e3 * times[-1]:10.3f} ms", flush=True)
    return sizes, times


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the slope of the larger half of a log-log curve."""
    half = max(2, (len(sizes) + 1) // 2)
    return float(np.polyfit(np.log(sizes[-half:]), np.log(times[-half:]), 1)[0])


def clique_curves(latents: Sequence[int], states: Sequence[int], n: int) -> dict[int, Curve]:
    """Return, for each number of latents, time against cells of the largest clique a row."""
    curves: dict[int, Curve] = {}
    for m in latents:
        cells, times = [], []
        for k in states:
            model, data = chain(m, k, n)
            cells.append(lem.cost(model, n).largest_table)
            times.append(step_time(model, data))
            print(f"  {m:2d} latents of {k:2d} states, clique {cells[-1]:4d}, all joint states "
                  f"{float(k) ** m:8.1e}: {1e3 * times[-1]:8.2f} ms", flush=True)  # fmt: skip
        curves[m] = cells, times
    return curves


def draw_sizes(curves: dict[str, Curve], slopes: dict[str, float], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(10, 3.4), layout="constrained")
    for axis, (name, (sizes, times)) in zip(axes, curves.items(), strict=True):
        milliseconds = 1e3 * np.array(times)
        axis.loglog(sizes, milliseconds, "o-", color="C0")
        line = milliseconds[-1] * np.array(sizes) / sizes[-1]
        axis.loglog(sizes, line, "--", color="0.6", linewidth=1, label="slope 1")
        axis.set(xlabel=name, title=f"slope {slopes[name]:.2f}")
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    axes[0].set_ylabel("milliseconds a step")
    figure.savefig(path, dpi=100)


def draw_cliques(curves: dict[int, Curve], n: int, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.4, 3.8), layout="constrained")
    for i, (m, (cells, times)) in enumerate(curves.items()):
        axis.loglog(cells, 1e3 * np.array(times), "o-", color=f"C{i}", label=f"{m} latents")
    cells, times = curves[max(curves)]
    line = 1e3 * times[-1] * np.array(cells) / cells[-1]
    axis.loglog(cells, line, "--", color="0.6", linewidth=1, label="slope 1")
    axis.set(
        xlabel="cells of the largest clique, a row",
        ylabel="milliseconds a step",
        title=f"A chain of latents, {n:,} rows",
    )
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="largest number of rows")
    parser.add_argument("--quick", action="store_true", help="small sizes, no pictures")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    largest, other = (10_000, 2_000) if options.quick else (options.rows, 50_000)
    exponents = np.arange(3, np.log10(largest) + 0.01, 0.5)
    print("a mixture of 16 Gaussians with full covariances in 8 dimensions; time of a step")
    curves = {
        "rows n": curve([round(10**e) for e in exponents], mixture_time, "rows"),
        f"columns d (n = {other:,})": curve(
            [1, 2, 4, 8, 16] if options.quick else [1, 2, 4, 8, 16, 32, 64],
            lambda d: mixture_time(other, d=d), "columns"),
        f"states k (n = {other:,})": curve(
            [2, 4, 8] if options.quick else [2, 4, 8, 16, 32, 64, 128],
            lambda k: mixture_time(other, k=k), "states"),
    }  # fmt: skip
    slopes = {name: slope(*each) for name, each in curves.items()}
    for name, figure in slopes.items():
        print(f"  slope in {name}: {figure:.2f}, over the larger half of the sizes")
    latents, states, n = (
        ([2, 4], [2, 4], 500) if options.quick else ([2, 4, 8, 16], [2, 4, 8, 16], 5_000)
    )
    cliques = clique_curves(latents, states, n)
    for m, (cells, times) in cliques.items():
        print(f"  {m} latents: slope in the clique {slope(cells, times):.2f}")
    if not options.quick:
        draw_sizes(curves, slopes, HERE / "growth.png")
        draw_cliques(cliques, n, HERE / "cliques.png")


if __name__ == "__main__":
    main()
