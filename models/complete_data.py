"""Complete data: when Z is given, maximum likelihood needs no iteration.

With every z known, ln p(X, Z | θ) is a sum over nodes and its maximum is counting and averaging:
shares of the groups, mean and covariance within each group (Bishop, section 9.3.1). The same
``fit`` does it in one step, because there is nothing left to infer: giving data for a latent node
makes it an observed one.

The parameters must be NumPy's group averages, and ``log_joint`` the log-likelihood of the fit.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

TRUE = lem.Model(
    [
        z := lem.latent("z", lem.Categorical(probs=[0.5, 0.3, 0.2])),
        lem.observed(
            "x",
            lem.Gaussian(
                mean=[[0.0, 0.0], [2.5, 1.0], [1.0, 3.0]],
                covariance=[[[1, 0.6], [0.6, 1]], [[0.5, 0], [0, 1.5]], [[1, -0.5], [-0.5, 0.6]]],
            ),
            given=z,
        ),
    ]
)
DATA = lem.sample(TRUE, 500, seed=1)  # {"z": (500,), "x": (500, 2)}


def declare() -> lem.Model:
    return lem.models.gaussian_mixture(3)


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), DATA, seed=seed)


def main(folder: str = "pictures") -> None:
    result, (X, z) = fit(), (DATA["x"], DATA["z"])
    groups = [X[z == k] for k in range(3)]
    gaussian = result.model["x"]
    assert np.allclose(result.model["z"].probs, [len(group) / 500 for group in groups])
    assert np.allclose(gaussian.mean, [group.mean(axis=0) for group in groups])
    assert np.allclose(gaussian.covariance, [np.cov(group.T, bias=True) for group in groups])
    complete = lem.log_joint(result.model, DATA)
    assert np.isclose(result.log_likelihood, complete)
    assert complete > lem.log_joint(TRUE, DATA)
    marginal = lem.fit(result.model, X)  # from the same θ: the states keep their names
    print(f"ln p(X, Z | θ) = {complete:.3f} at its maximum, after {result.iterations} iteration(s)")
    print(f"ln p(X | θ)    = {marginal.log_likelihood:.3f} at its maximum, without Z")

    figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.8), layout="constrained", sharey=True)
    lem.plot.responsibilities(result, DATA, axes[0]).set_title("Z given: one step")
    title = f"Z hidden: {marginal.iterations} iterations"
    lem.plot.responsibilities(marginal, X, axes[1]).set(title=title, ylabel="")
    axes[0].get_legend().remove()
    axes[1].get_legend().set(loc="upper left", bbox_to_anchor=(1, 1))
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "complete_data.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
