"""How many E-steps until the log-likelihood is within 1e-6 of its limit, relatively.

    python benchmarks/steps.py [workload ...] [--starts 15]

Plain EM, `latentem.squarem` and `latentem.anderson` go from the same starts to the same limits:
starts from which the three end at different optima are left out, and counted. An E-step at a
proposal that was refused counts as any other.
"""

from __future__ import annotations

import argparse
import unittest.mock
from collections.abc import Callable
from typing import Any

import numpy as np

import latentem as lem
from latentem.em.natural import Natural
from latentem.em.problem import Problem

SHARE = 1e-6  # of the log-likelihood, that may be left to gain
RULES = {"plain": None, "squarem": lem.squarem, "anderson": lem.anderson}


def overlapping(distance: float, d: int, k: int) -> tuple[lem.Model, Any, Any]:
    """A mixture whose components have their means so many standard deviations apart."""
    rng = np.random.default_rng(1)
    means = distance * rng.normal(size=(k, d))
    data = means[rng.integers(0, k, 1000)] + rng.normal(size=(1000, d))
    return lem.models.gaussian_mixture(k), data, None


def classes(k: int, name: str) -> tuple[lem.Model, Any, Any]:
    table = {item: v - 1 for item, v in getattr(lem.datasets, name)().table.items()}
    z = lem.latent("z", lem.Categorical(k))
    items = [lem.observed(item, lem.Bernoulli(), given=z) for item in table]
    return lem.Model([z, *items]), table, None


def notices() -> tuple[lem.Model, Any, Any]:
    table = lem.datasets.death_notices().table
    z = lem.latent("z", lem.Categorical(2))
    model = lem.Model([z, lem.observed("deaths", lem.Poisson(), given=z)])
    return model, {"deaths": table["deaths"]}, table["freq"]


def regressions() -> tuple[lem.Model, Any, Any]:
    rng = np.random.default_rng(2)
    u, z = rng.normal(size=(2000, 3)), rng.integers(0, 3, 2000)
    y = (u * rng.normal(size=(3, 3))[z]).sum(axis=1) + rng.normal(size=2000)
    latent, given = lem.latent("z", lem.Categorical(3)), lem.covariate("u")
    line = lem.observed("y", lem.LinearGaussian(), given=[latent, given])
    return lem.Model([latent, given, line]), {"u": u, "y": y}, None


def gaps() -> tuple[lem.Model, Any, Any]:
    model, data, _ = overlapping(1.5, 3, 3)
    data[np.random.default_rng(3).random(data.shape) < 0.2] = np.nan
    return model, data, None


def teeth() -> tuple[lem.Model, Any, Any]:
    z = lem.latent("z", lem.Categorical(2))
    counts = lem.Switch([lem.PointMass(0), lem.Poisson()])
    return (
        lem.Model([z, lem.observed("x", counts, given=z)]),
        lem.datasets.dmft().table["End"],
        None,
    )


WORKLOADS: dict[str, Callable[[], tuple[lem.Model, Any, Any]]] = {
    "mixture, close": lambda: overlapping(1.0, 2, 3),
    "mixture, apart": lambda: overlapping(2.0, 2, 4),
    "mixture, far apart": lambda: overlapping(4.0, 4, 4),
    "Old Faithful, k 3": lambda: (
        lem.models.gaussian_mixture(3),
        lem.datasets.old_faithful().data,
        None,
    ),
    "latent classes, values, k 3": lambda: classes(3, "values"),
    "latent classes, carcinoma, k 3": lambda: classes(3, "carcinoma"),
    "two Poissons, notices": notices,
    "zero inflation, teeth": teeth,
    "regressions": regressions,
    "mixture with gaps": gaps,
}


def steps_to(model: lem.Model, data: Any, weights: Any, rule: Any) -> list[tuple[int, float]]:
    """Return the number of E-steps, refused ones too, and the objective after each kept."""
    steps: list[tuple[int, float]] = []
    options: dict[str, Any] = {"restarts": 1, "tol": 1e-11, "max_iter": 20_000}
    one_by_one = unittest.mock.patch.object(Natural, "several", None)  # so that they are counted
    with one_by_one, counted(Problem, "_sum") as general, counted(Natural, "expected") as short:
        lem.fit(
            model,
            data,
            weights=weights,
            accelerate=rule,
            on_step=lambda step: steps.append(
                (general.call_count + short.call_count, step.objective)
            ),
            **options,
        )
    return steps


def counted(owner: type, method: str) -> Any:
    """Count the calls of a method within a ``with`` block."""
    return unittest.mock.patch.object(
        owner, method, autospec=True, side_effect=getattr(owner, method)
    )


def measure(name: str, starts: int) -> str:
    model, data, weights = WORKLOADS[name]()
    needed: list[list[int]] = []
    for seed in range(starts):
        start = lem.initialize(model, data, weights=weights, seed=seed)
        runs = [steps_to(start, data, weights, rule) for rule in RULES.values()]
        limits = [run[-1][1] for run in runs]
        if max(limits) - min(limits) > SHARE * abs(max(limits)):
            continue  # they came to different optima
        enough = min(limits) - SHARE * abs(min(limits))
        needed.append([next(e for e, objective in run if objective >= enough) for run in runs])
    table = np.array(needed)
    ratios = table[:, :1] / table[:, 1:]
    cells = [f"{m:.0f}" for m in np.median(table, axis=0)]
    cells += [
        f"{m:.1f} ({w:.2f})" for m, w in zip(np.median(ratios, 0), ratios.min(0), strict=True)
    ]
    return f"| {name} | {' | '.join(cells)} | {len(table)} of {starts} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", nargs="*", choices=[[], *WORKLOADS])
    parser.add_argument("--starts", type=int, default=15)
    options = parser.parse_args()
    print(
        "| workload | plain | squarem | anderson | plain / squarem, median (worst) "
        "| plain / anderson | starts |"
    )
    print("| --- |" + " ---: |" * 6)
    for name in options.workload or WORKLOADS:
        print(measure(name, options.starts), flush=True)


if __name__ == "__main__":
    main()
