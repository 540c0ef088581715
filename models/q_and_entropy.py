"""Q, its maximum, and ln p(X | θ) = Q + H, by numbers.

With q(Z) = p(Z | X, θ_old), and H its entropy, Q(θ, θ_old) + H is a lower bound of ln p(X | θ) that
touches it at θ_old. M goes to the top of the bound; E makes a new bound that touches the likelihood
there, so it has risen (Bishop, sections 9.3 and 9.4, figure 9.14).

Here the waiting times of Old Faithful, a mixture of two Normals in which only the means move. The
equality, the bound and its maximum are checked at every step.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

X = lem.datasets.old_faithful().data[:, 1]  # (272,): minutes of waiting
GRID = np.linspace(48, 76, 113)


def declare(first: float = 74.0) -> lem.Model:
    """Declare the mixture with one free number, the mean of the first component."""
    z = lem.latent("z", lem.fixed(lem.Categorical(probs=[0.36, 0.64])))
    x = lem.observed("x", lem.Normal(mean=[first, 80.0], variance=[34.5, 34.5]), given=z)
    return lem.Model([z, x])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), X, seed=seed)


def bound(old: lem.Model) -> tuple[np.ndarray, lem.Model]:
    """Return Q + H over the grid of means, and θ_new, the top of it."""
    posterior = lem.e_step(old, X)
    Q, H = lem.expected_log_joint(old, X, posterior), posterior.entropy
    likelihood, new = lem.log_likelihood(old, X), lem.m_step(old, X, posterior)
    print(f"mean {old['x'].mean[0]:.3f}: Q {Q.total:.4f} + H {H:.4f} = {likelihood:.4f} = ln p")
    assert np.isclose(Q.total + H, likelihood, rtol=1e-12)
    assert np.isclose(sum(Q.by_node.values()), Q.total, rtol=1e-12)
    new = declare(new["x"].mean[0])
    curve = np.array([Q(declare(mean)) for mean in GRID])
    assert Q(new) >= curve.max()
    return curve + H, new


def main(folder: str = "pictures") -> None:
    likelihood = np.array([lem.log_likelihood(declare(at), X) for at in GRID])
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for ax in axes:
        ax.plot(GRID, likelihood, color="black", linewidth=2.5, label="ln p(X | θ)")
    model = declare()
    for step, colour in enumerate(("C0", "C1", "C2", "C4")):
        mean, height = model["x"].mean[0], lem.log_likelihood(model, X)
        curve, model = bound(model)
        assert np.all(curve <= likelihood + 1e-9)  # nowhere above, and equal at θ_old
        for ax in axes:
            ax.plot(mean, height, "o", color=colour, markersize=8)
            ax.plot(GRID, curve, color=colour, label=f"Q(θ, θ_old) + H, step {step + 1}")
    axes[0].set(ylim=(-1650, -1000), ylabel="log-likelihood", title="each bound touches at its dot")
    axes[1].set(xlim=(50, 64), ylim=(-1120, -1025), title="the top: its place is the next dot")
    for ax in axes:
        ax.set_xlabel("θ: mean waiting of the first component / min")
    axes[0].legend(loc="lower center")
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "q_and_entropy.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
