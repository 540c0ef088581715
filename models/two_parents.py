"""A graph of your own: two latents, and one observed node that has both as parents.

A machine has a setting a (2 states) and runs a material b (3 states); neither is recorded, only two
measurements x that depend on both. The parameters of x are indexed by (a, b). Given x the two
become dependent, although they were independent before: one explains the other away. The engine
reads that from the graph; nothing here says how the posterior is computed.

The posterior must be that of an oracle in plain Python that sums over all states of each row.
"""

import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

MEAN = [[[0, 0], [4, 1], [8, 0]], [[1, 3], [5, 4.5], [9, 3.5]]]  # (2, 3, 2)
SPREAD = np.array([[[0.9, 0.5], [0.9, 0.5], [0.9, 0.5]], [[0.6, 0.8], [0.6, 0.8], [0.6, 0.8]]])
A, B = [0.35, 0.65], [0.2, 0.5, 0.3]


def declare() -> lem.Model:
    """Declare the graph with the parameters that the data are simulated from."""
    a = lem.latent("a", lem.Categorical(probs=A))
    b = lem.latent("b", lem.Categorical(probs=B))
    covariance = np.einsum("abi,ij->abij", SPREAD**2, np.eye(2))  # (2, 3, 2, 2)
    x = lem.observed("x", lem.Gaussian(mean=MEAN, covariance=covariance), given=[a, b])
    return lem.Model([a, b, x])


def fit(seed: int = 0) -> lem.Fit:
    """Fit the same graph, from the truth, to simulated data."""
    return lem.fit(declare(), lem.sample(declare(), 600, seed=0)["x"], seed=seed)


def oracle(row: np.ndarray) -> tuple[list[list[float]], float]:
    """Return p(a, b | x) and ln p(x) of one row, by scalar arithmetic over all states."""
    joint = [[A[a] * B[b] for b in range(3)] for a in range(2)]
    for a in range(2):
        for b in range(3):
            for i in range(2):
                z = (row[i] - MEAN[a][b][i]) / SPREAD[a][b][i]
                joint[a][b] *= math.exp(-z * z / 2) / (SPREAD[a][b][i] * math.sqrt(2 * math.pi))
    evidence = sum(map(sum, joint))
    return [[p / evidence for p in each] for each in joint], math.log(evidence)


def main(folder: str = "pictures") -> None:
    model = declare()
    X = lem.sample(model, 600, seed=0)["x"]  # (600, 2)
    posterior = lem.e_step(model, X)
    expected, evidence = zip(*map(oracle, X), strict=True)
    assert np.allclose(posterior.marginal("a", "b"), expected, atol=1e-12)
    assert np.allclose(posterior.log_evidence, evidence, atol=1e-10)
    result = fit()
    print(f"{model}: ln p(X | θ) = {sum(evidence):.6f} by the oracle")
    print(f"{lem.log_likelihood(model, X):.6f} by the engine, {result.log_likelihood:.6f} fitted")
    assert result.log_likelihood > sum(evidence)
    assert np.all(np.diff(result.trace["objective"]) > -1e-8)

    figure, axes = plt.subplots(
        1, 2, figsize=(10.5, 3.8), width_ratios=[1, 2], layout="constrained"
    )
    lem.plot.graph(model, axes[0])
    lem.plot.responsibilities(result, X, axes[1]).set_title("six combinations of a and b")
    axes[1].get_legend().set(loc="upper left", bbox_to_anchor=(1, 1))
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "two_parents.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
