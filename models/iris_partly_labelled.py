"""Iris with three labels: what a few names buy when the other flowers have none.

Four lengths of 150 irises are known, and the species of only three flowers, one of each. Labelled
flowers alone need to be many: four of a species do not even determine a covariance of four lengths.
Unlabelled flowers alone show three groups, but cannot say what these are called. Together they do
both:

    p(species) p(x | species)

To be learnt: data given for a latent node make it observed, and where they are None it stays
latent. The labelled flowers add ln p(x, species) to the log-likelihood and the others ln p(x), in
one fit, and its results are in terms of the names.

Without labels the log-likelihood is -180.1855 at its best known value; with the first flower of
each species labelled it must be -180.18576, where 114 of 200 runs of a quasi-Newton method end on
the likelihood written out by itself with numpy (one run ends higher, in a species that collapses).
Then 5 of the 150 flowers are called wrongly; with 18 labels and nothing else it would be over 20,
with 30 about 8. The default call reaches the figure for 20 of 20 seeds (0 to 19).
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

IRIS = lem.datasets.iris()
X, SPECIES = IRIS.data, IRIS.table["species"]  # (150, 4), (150,)
FLOWERS = [np.flatnonzero(name == SPECIES) for name in ("setosa", "versicolor", "virginica")]
THREE = np.array([flowers[0] for flowers in FLOWERS])  # the first flower of each species
FIGURE = -180.18576
DRAWS = 10


def labels(known: np.ndarray) -> np.ndarray:
    """Return the names of some flowers, and None for the others."""
    return np.where(np.isin(np.arange(150), known), SPECIES, None)


def declare() -> lem.Model:
    species = lem.latent("species", lem.Categorical(3))
    return lem.Model([species, lem.observed("x", lem.Gaussian(), given=species)])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), {"species": labels(THREE), "x": X}, seed=seed)


def wrong(result: lem.Fit) -> int:
    """Return how many of the 150 flowers are called wrongly by their lengths."""
    return int(np.count_nonzero(result.predict(X) != SPECIES))


def learning_curves(start: lem.Model) -> tuple[dict[int, float], dict[int, float]]:
    """Return the mean number of errors by the number of labels: with all flowers, and alone."""
    together, alone = {}, {}
    rng = np.random.default_rng(0)
    for m in (1, 3, 6, 10, 25):
        draws = [np.concatenate([rng.permutation(f)[:m] for f in FLOWERS]) for _ in range(DRAWS)]
        partly = [{"species": labels(known), "x": X} for known in draws]
        together[3 * m] = np.mean([wrong(lem.fit(declare(), d, init=start)) for d in partly])
        if m > 5:  # of fewer there is no covariance
            wholly = [{"species": SPECIES[known], "x": X[known]} for known in draws]
            alone[3 * m] = np.mean([wrong(lem.fit(declare(), d)) for d in wholly])
    return together, alone


def main(folder: str = "pictures") -> None:
    result = fit()
    together, alone = learning_curves(result.model)
    print(f"3 labels: log-likelihood {result.log_likelihood:.6f}, {wrong(result)} of 150 wrong")
    for count, errors in alone.items():
        print(f"{count} labels alone: {errors:.1f} wrong; with the others: {together[count]:.1f}")
    assert abs(result.log_likelihood - FIGURE) < 1e-4
    assert wrong(result) == 5
    assert all(together[count] < 5.5 < errors for count, errors in alone.items() if count <= 30)

    figure, axes = plt.subplots(
        1, 3, figsize=(12, 4.4), width_ratios=[1.6, 3, 2.6], layout="constrained"
    )
    lem.plot.graph(result.model, axes[0])
    data = {"species": labels(THREE), "x": X}
    lem.plot.responsibilities(result, data, axes[1], columns=(2, 3))
    axes[1].plot(*X[THREE][:, 2:].T, "*", color="black", markersize=15, markerfacecolor="gold")
    axes[1].set(xlabel="petal length / cm", ylabel="petal width / cm")
    axes[1].set_title("150 flowers, three with a name (stars)")
    axes[2].plot(alone.keys(), alone.values(), "s--", color="0.4", label="labelled flowers alone")
    axes[2].plot(together.keys(), together.values(), "o-", label="and the others without labels")
    axes[2].set(xlabel="flowers with a label", ylabel=f"called wrongly, of 150 (mean of {DRAWS})")
    axes[2].set(title="what labels buy", ylim=(0, None), xticks=list(together))
    axes[2].legend()
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "iris_partly_labelled.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
