"""EM on Old Faithful, frame by frame, beside K-means: how much slower EM converges.

Both begin with the same two centres, far from either kind of eruption. K-means decides for each one
at once and stops after a few iterations; EM moves softly, its covariances have to turn and shrink
as well, and it needs several times as many (Bishop, section 9.2.2, figure 9.8).

The best log-likelihood known for two full covariances is −1130.26396, which the default call,
without that start, reaches for 20 of 20 seeds (0 to 19); K-means ends at J = 8901.768721.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

X = lem.datasets.old_faithful().data  # (272, 2)
START = [[1.8, 84.5], [5.2, 57.3]]  # far from either kind of eruption, as in figure 9.8
FIGURE = -1130.26396


def declare() -> lem.Model:
    """Declare the mixture at its start: equal shares, round contours in units of the spread."""
    z = lem.latent("z", lem.Categorical(probs=[0.5, 0.5]))
    covariance = np.broadcast_to(np.diag(X.var(axis=0)), (2, 2, 2))
    x = lem.observed("x", lem.Gaussian(mean=START, covariance=covariance), given=z)
    return lem.Model([z, x])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(lem.models.gaussian_mixture(2), X, seed=seed)


def declare_kmeans() -> lem.Model:
    z = lem.latent("z", lem.Choice(2))
    return lem.Model([z, lem.observed("x", lem.Prototype(prototypes=START), given=z)])


def main(folder: str = "pictures") -> None:
    em = lem.fit(declare(), X, tol=1e-10, accelerate=None)
    kmeans = lem.fit(declare_kmeans(), X, assign=lem.hard)
    final = em.log_likelihood
    needed = int(np.argmax(em.trace["log_likelihood"][em.trace["phase"] == "E"] > final - 1e-4))
    print(f"EM: ln p = {final:.5f}, within 1e-4 of it after {needed} iterations")
    print(f"K-means: J = {kmeans.distortion:.6f} after {kmeans.iterations} iterations")
    assert abs(final - FIGURE) < 1e-4
    assert abs(kmeans.distortion - 8901.768721) < 1e-6
    assert needed > 3 * kmeans.iterations

    figure, axes = plt.subplots(2, 5, figsize=(16.4, 5.6), layout="constrained")
    steps = list(lem.iterate(declare(), X, tol=0, max_iter=20))
    for ax, iteration in zip(axes[0], (0, 1, 2, 5, 20), strict=True):
        lem.plot.responsibilities(steps[iteration].model, X, ax).set(
            title=f"EM, iteration {iteration}"
        )
    hard_steps = list(lem.iterate(declare_kmeans(), X, assign=lem.hard))
    for ax, iteration in zip(axes[1], (0, 1, 2, kmeans.iterations), strict=False):
        lem.plot.clusters(hard_steps[iteration].model, X, ax).set(
            title=f"K-means, iteration {iteration}"
        )
    for ax in axes.flat[:9]:
        ax.set(xlim=(1, 6), ylim=(38, 100), xlabel="eruption / min", ylabel="")
    for ax in axes[:, 0]:
        ax.set_ylabel("waiting / min")
    for ax in (*axes[0, :4], *axes[1, :3]):  # one in each row is enough
        ax.get_legend().remove()
    axes[0, 4].get_legend().set(loc="upper left", bbox_to_anchor=(1, 1))
    for result, name in ((em, "EM: ln p(X | θ)"), (kmeans, "K-means: −J")):
        after_e = result.trace["objective"][result.trace["phase"] == "E"]
        gap = np.maximum(after_e[-1] - after_e, 1e-12)
        axes[1, 4].semilogy(gap, "o-", markersize=4, label=name)
    axes[1, 4].set(title="below the optimum by", xlabel="iteration", xlim=(-0.5, 16.5))
    axes[1, 4].set(ylim=(1e-5, 1e5), xticks=[0, 5, 10, 15])
    axes[1, 4].legend()
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "em_old_faithful.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
