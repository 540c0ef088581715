"""Genetic linkage: the table of the paper that named EM, one cell of counts split in two.

C. R. Rao's 197 animals fall into four cells, 125, 18, 20 and 34 of them, whose probabilities depend
on one number, the linkage θ: (1/2 + θ/4, (1 - θ)/4, (1 - θ)/4, θ/4). A. P. Dempster, N. M. Laird
and D. B. Rubin (JRSS B 39 (1977), 1-38) begin their paper with them: were the first cell two cells,
of 1/2 and θ/4, then θ would be counted, the animals that are of the kind θ over those that are of a
kind at all.

As a graph: half of the animals fall into the first cell whatever their kind; of the others the
share θ is of kind 0, which falls into the first cell or the last, the rest of kind 1, which falls
into one of the two between. Only ``kind`` has something to estimate. For the other half it has
one state, so a ``Switch`` makes its first case a fixed one: no animal is counted that says nothing.

From θ = 1/2 come the iterates of the paper's table 1 (two of which are there one unit of the ninth
digit larger) and its ratios of successive errors. The limit is (15 + √53809)/394, which the default
call reaches for 20 of 20 seeds (0 to 19).
"""

import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

CELLS, ANIMALS = np.arange(4), np.array([125, 18, 20, 34])
FIGURE = (15 + math.sqrt(53809)) / 394
PRINTED = [0.5, 0.608247423, 0.624321051, 0.626488879, 0.626777323, 0.626815632, 0.626820719]
RATIOS = [0.1465, 0.1346, 0.1330, 0.1328, 0.1328, 0.1328]
TABLE = [[[1, 0, 0, 0], [1, 0, 0, 0]], [[0.5, 0, 0, 0.5], [0, 0.5, 0.5, 0]]]  # (half, kind, cell)


def declare(start: float | None = None) -> lem.Model:
    kinds = lem.Categorical(2) if start is None else lem.Categorical(probs=[start, 1 - start])
    half = lem.latent("half", lem.fixed(lem.Categorical(probs=[0.5, 0.5])))
    no_kind = lem.fixed(lem.Categorical(probs=[1.0, 0.0]))
    kind = lem.latent("kind", lem.Switch([no_kind, kinds]), given=half)
    cell = lem.observed("cell", lem.fixed(lem.Categorical(probs=TABLE)), given=[half, kind])
    return lem.Model([half, kind, cell])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), CELLS, weights=ANIMALS, seed=seed)


def figure(result: lem.Fit | lem.Step) -> float:
    """Return θ."""
    return float(result.model["kind"].cases[1].probs[0])


def main(folder: str = "pictures") -> None:
    result = fit()
    print(f"θ = {figure(result):.6f}, in closed form {FIGURE:.6f}")
    assert abs(figure(result) - FIGURE) < 1e-4
    steps = list(lem.iterate(declare(0.5), CELLS, weights=ANIMALS, tol=0, max_iter=6))
    path = np.array([figure(step) for step in steps])  # (7,)
    error = FIGURE - path
    for step, (value, printed) in enumerate(zip(path, PRINTED, strict=True)):
        print(f"step {step}: θ = {value:.9f}, in the paper {printed:.9f}")
    assert np.allclose(path, PRINTED, rtol=0, atol=1e-9)
    assert np.allclose(error[1:] / error[:-1], RATIOS, rtol=0, atol=1e-4)

    picture, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    lem.plot.graph(declare(), axes[0])
    shares = steps[-1].posterior.marginal("half", "kind")  # (4, 2, 2)
    parts = {"1/2, whatever the kind": shares[:, 0].sum(axis=1)}
    parts |= {"kind 0: θ/4 each": shares[:, 1, 0], "kind 1: (1 − θ)/4 each": shares[:, 1, 1]}
    bottom = np.zeros(4)
    for (label, part), colour in zip(parts.items(), ("0.75", "C0", "C1"), strict=True):
        bars = axes[1].bar(CELLS, ANIMALS * part, bottom=bottom, color=colour, label=label)
        names = [f"{n:.4g}" if n > 1 else "" for n in ANIMALS * part]
        axes[1].bar_label(bars, names, label_type="center")
        bottom += ANIMALS * part
    axes[1].set(
        title="the first cell is split in two", xlabel="cell", ylabel="animals", ylim=(0, 140)
    )
    axes[1].set_xticks(CELLS)
    axes[1].legend(fontsize="small")
    axes[2].semilogy(np.abs(error), "o-")
    for step, (size, value) in enumerate(zip(error, path, strict=True)):
        axes[2].annotate(f"{value:.7f}", (step, size), (6, 3), textcoords="offset points")
    title = "each step leaves 0.1328 of the error"
    axes[2].set(title=title, xlabel="EM step", xlim=(-0.3, 8.3), ylim=(4e-7, 0.3))
    axes[2].set_ylabel("distance of θ to its limit")
    Path(folder).mkdir(parents=True, exist_ok=True)
    picture.savefig(Path(folder) / "linkage.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
