"""500 points from three Gaussians: the joint, the marginal, the responsibilities.

Sampling first z, then x given z, draws from the joint p(z) p(x | z): every point knows its colour.
Forgetting z leaves a sample of the marginal p(x), which is all that is ever observed. The posterior
p(z | x) gives back, for each point, as much of the colours as the data can tell: a blend by
responsibilities (Bishop, section 9.2, figure 9.5).

The responsibilities must be those of Bayes' rule, worked out below with scipy, and fitting the
mixture to the 500 points must find a θ at least as likely as the true one.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import multivariate_normal

import latentem as lem

PROBS = np.array([0.5, 0.3, 0.2])
MEAN = np.array([[0.25, 0.35], [0.5, 0.5], [0.75, 0.6]])
COVARIANCE = (
    np.array([[[1, 0.5], [0.5, 1]], [[1.2, -0.8], [-0.8, 1.2]], [[1, 0.5], [0.5, 1]]]) / 100
)


def declare() -> lem.Model:
    """Declare the mixture with its true parameters: it can be sampled and asked at once."""
    z = lem.latent("z", lem.Categorical(probs=PROBS))
    x = lem.observed("x", lem.Gaussian(mean=MEAN, covariance=COVARIANCE), given=z)
    return lem.Model([z, x])


def fit(seed: int = 0) -> lem.Fit:
    X = lem.sample(declare(), 500, seed=0)["x"]
    return lem.fit(lem.models.gaussian_mixture(3), X, seed=seed)


def main(folder: str = "pictures") -> None:
    model = declare()
    draw = lem.sample(model, 500, seed=0)
    X, z = draw["x"], draw["z"]  # (500, 2), (500,)
    responsibilities = lem.e_step(model, X).marginal("z")  # (500, 3)

    parameters = zip(PROBS, MEAN, COVARIANCE, strict=True)
    joint = np.stack([p * multivariate_normal(m, c).pdf(X) for p, m, c in parameters], axis=1)
    assert np.allclose(responsibilities, joint / joint.sum(axis=1, keepdims=True))
    fitted, true = fit().log_likelihood, lem.log_likelihood(model, X)
    print(f"ln p(X | θ): {true:.4f} at the true θ, {fitted:.4f} at the fitted one")
    assert np.isclose(true, np.log(joint.sum(axis=1)).sum())
    assert fitted > true

    figure, axes = plt.subplots(1, 3, figsize=(12.4, 3.8), layout="constrained", sharey=True)
    lem.plot.responsibilities(model, {"x": X, "z": z}, axes[0])
    axes[0].set_title("joint p(x, z): z is known")
    axes[1].scatter(*X.T, s=16, color="0.45", linewidths=0)
    axes[1].set_title("marginal p(x): z is lost")
    lem.plot.responsibilities(model, X, axes[2])
    axes[2].set_title("responsibilities p(z | x)")
    axes[0].get_legend().remove()
    axes[2].get_legend().set(loc="upper left", bbox_to_anchor=(1, 1))
    for ax in axes:
        ax.set(xlabel="x[0]", ylabel="x[1]" if ax is axes[0] else "")
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "three_gaussians.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
