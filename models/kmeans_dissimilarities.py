"""K-means with a general dissimilarity: what counts as far decides what a centre is.

Twelve waiting times of Old Faithful were written down wrongly. Squared distance (centre: the mean)
spends one of its two prototypes on them; absolute distance (centre: the median) and a dissimilarity
of our own that stops growing (centre: the best of the data points, a medoid) still find the two
kinds of eruption (Bishop, section 9.1, equation 9.6).

Each centre is checked to be the one that its dissimilarity asks for, and J to be its sum.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

FAITHFUL = lem.datasets.old_faithful().data  # (272, 2)
WRONG = np.random.default_rng(0).normal([3.5, 190.0], [0.8, 12.0], size=(12, 2))
X = np.concatenate([FAITHFUL, WRONG])


def capped(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared distance in units of 10 minutes, but never more than 4."""
    return np.minimum(((x - y) ** 2).sum(axis=-1) / 100, 4.0)


DISSIMILARITIES = {
    "squared distance": lem.dissimilarity.SquaredEuclidean(),
    "absolute distance": lem.dissimilarity.L1(),
    "capped, a function of ours": lem.dissimilarity.Medoid(capped),
}


def declare(name: str = "absolute distance") -> lem.Model:
    return lem.models.kmeans(2, dissimilarity=DISSIMILARITIES[name])


def fit(seed: int = 0, name: str = "absolute distance") -> lem.Fit:
    return lem.fit(declare(name), X, assign=lem.hard, seed=seed)


def main(folder: str = "pictures") -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharey=True)
    found = {}
    for ax, name in zip(axes, DISSIMILARITIES, strict=True):
        result = fit(name=name)
        centres, z = result.model["x"].prototypes, result.predict(X)
        found[name] = centres[centres[:, 1].argsort()]
        print(f"{name}: J = {result.distortion:.4f}, centres {found[name].round(2).tolist()}")
        groups = [X[z == k] for k in (0, 1)]
        if name == "squared distance":
            assert np.allclose(centres, [group.mean(axis=0) for group in groups])
            total = ((X - centres[z]) ** 2).sum()
        elif name == "absolute distance":
            assert np.allclose(centres, [np.median(group, axis=0) for group in groups])
            total = np.abs(X - centres[z]).sum()
        else:
            best = [g[capped(g[:, None], g).sum(axis=0).argmin()] for g in groups]
            assert np.allclose(centres, best)
            total = capped(X, centres[z]).sum()
        assert np.isclose(result.distortion, total)
        lem.plot.clusters(result, X, ax).set(title=name, xlabel="eruption / min", ylabel="")
    axes[0].set_ylabel("waiting / min")
    assert found["squared distance"][1, 1] > 180  # one prototype for twelve errors
    for robust in ("absolute distance", "capped, a function of ours"):
        assert np.all(np.abs(found[robust][:, 1] - [54.5, 80.0]) < 2.5)  # both kinds of eruption
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "kmeans_dissimilarities.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
