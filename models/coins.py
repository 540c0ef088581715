"""Two coins, five sets of tosses: EM counts every set for both coins, in part.

Somebody takes one of two coins out of a bag, tosses it ten times, puts it back, and does so five
times. The heads were written down, the coin was not: 5, 9, 8, 4, 7 (C. B. Do and S. Batzoglou,
"What is the expectation maximization algorithm?", Nature Biotechnology 26 (2008), 897-899). With
the coins known the chance of heads would be heads over tosses, for each coin. Without, the E-step
says how probable either coin is for each set, and the M-step counts the set's heads for both coins
in these shares. The graph is coin → heads; both coins are as likely to be taken, which is fixed.

The article's figure 1b, from chances of 0.60 and 0.50: the shares 0.45, 0.80, 0.73, 0.35, 0.65 for
coin A, then 21.3 heads for A and 11.7 for B, so 0.71 and 0.58 after one step, and 0.80 and 0.52
after ten. The same numbers come out below. The limit is 0.796789 and 0.519583, which the default
call, without that start, reaches for 20 of 20 seeds (0 to 19).
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

HEADS = lem.datasets.coins().table["heads"]  # (5,), of ten tosses each
FIGURE = (0.519583, 0.796789)


def declare(start: list[float] | None = None) -> lem.Model:
    coin = lem.latent("coin", lem.fixed(lem.Categorical(probs=[0.5, 0.5])))
    heads = lem.observed("heads", lem.Binomial(10, probs=start), given=coin)
    return lem.Model([coin, heads])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), HEADS, seed=seed)


def figure(result: lem.Fit) -> np.ndarray:
    """Return the chances of heads, the smaller one first: the coins have no names."""
    return np.sort(result.model["heads"].probs)


def main(folder: str = "pictures") -> None:
    assert np.allclose(figure(fit()), FIGURE, rtol=0, atol=1e-4)
    steps = list(lem.iterate(declare([0.6, 0.5]), HEADS, tol=0, max_iter=10))
    path = np.array([step.model["heads"].probs for step in steps])  # (11, 2)
    shares = steps[0].posterior.marginal("coin")  # (5, 2)
    print("step, chance of heads of A and of B:", *map(str, path[[0, 1, 10]].round(2)))
    assert shares[:, 0].round(2).tolist() == [0.45, 0.80, 0.73, 0.35, 0.65]
    assert (HEADS @ shares).round(1).tolist() == [21.3, 11.7]
    assert path[[1, 10]].round(2).tolist() == [[0.71, 0.58], [0.80, 0.52]]

    picture, (left, middle, right) = plt.subplots(
        1, 3, figsize=(12, 4), width_ratios=[0.7, 1, 1.2], layout="constrained"
    )
    lem.plot.graph(declare(), left)
    names = [f"{heads} heads,\n{10 - heads} tails" for heads in HEADS]
    for share, offset, colour, coin in zip(shares.T, (0, shares[:, 0]), "br", "AB", strict=True):
        bars = middle.barh(names, share, left=offset, color=colour, alpha=0.6, label=f"coin {coin}")
        middle.bar_label(bars, fmt="%.2f", label_type="center")
    middle.invert_yaxis()
    middle.set(title="E at the start: p(coin | heads)", xlabel="share of the set")
    middle.legend(loc="lower center", bbox_to_anchor=(0.5, -0.35), ncols=2, frameon=False)
    a, b = np.meshgrid(*[np.linspace(0.35, 0.95, 121)[:, None]] * 2)
    chances = [p[..., None] ** HEADS * (1 - p[..., None]) ** (10 - HEADS) / 2 for p in (a, b)]
    height = np.log(sum(chances)).sum(axis=-1)  # ln p(X | θ), but for a constant
    below = np.array([8, 5, 3, 2, 1.2, 0.6, 0.2])
    right.contour(a, b, height, levels=height.max() - below, cmap="viridis")
    right.plot(*path.T, "o-", color="black", markersize=5)
    for step, shift in ((0, (-70, -14)), (1, (-30, 8)), (10, (-36, -18))):
        words = f"{step}: {path[step, 0]:.2f}, {path[step, 1]:.2f}"
        right.annotate(words, path[step], shift, textcoords="offset points")
    right.set(title="steps of EM up ln p(X | θ)", aspect="equal")
    right.set(xlabel="chance of heads, coin A", ylabel="chance of heads, coin B")
    Path(folder).mkdir(parents=True, exist_ok=True)
    picture.savefig(Path(folder) / "coins.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
