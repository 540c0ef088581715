"""Zero-inflated counts: a zero can have two reasons, and the model says how likely each is.

At the end of a trial of dental care in Belo Horizonte 797 children were examined for teeth that are
decayed, missing or filled. 231 had none: far more than a Poisson distribution of the same mean
allows. So let some children be immune, whose count is 0 whatever happens, and let the others follow
a Poisson; some of these have no bad tooth by chance. A latent that switches between two families is
the zero-inflated Poisson (Lambert, Technometrics 34, 1992; Böhning et al., JRSS A 162, 1999).

The hurdle model tells another story: every zero is of one kind, and who has any bad tooth follows a
Poisson cut off below 1. Its family is written below, in two methods. For counts alone the two
stories have the same probabilities, which is checked, and no data can tell them apart.

To be found: log-likelihood −1425.720832 at a share of immune children of .21630447 and a rate of
2.36629422 (the zero-inflated Poisson of Böhning et al.'s data). The default call reaches it for 20
of 20 seeds (0 to 19).
"""

import sys
from pathlib import Path

import attrs
import matplotlib.pyplot as plt
import numpy as np
from scipy.special import gammaln, lambertw

import latentem as lem

TEETH = lem.datasets.dmft().table["End"]  # (797,)
FIGURE = -1425.720832
SHARE, RATE = 0.21630447, 2.36629422


@attrs.frozen(eq=False)
class PositivePoisson(lem.Distribution):
    """A Poisson distribution of which 0 is cut off; its mean is rate / (1 - exp(-rate))."""

    rate: lem.Array | None = None  # (*parents,)

    def log_prob(self, value: lem.Array) -> lem.Array:  # (n,) -> (n, *parents)
        x = value[:, None]
        poisson = x * np.log(self.rate) - self.rate - gammaln(x + 1)
        return np.where(x > 0, poisson - np.log1p(-np.exp(-self.rate)), -np.inf)

    def fit(self, value: lem.Array, weights: lem.Array) -> "PositivePoisson":  # (n, *parents)
        weights = np.where(value[:, None] > 0, weights, 0.0)
        mean = weights.T @ value / weights.sum(axis=0)
        return PositivePoisson(mean + lambertw(-mean * np.exp(-mean)).real)


def declare(other: lem.Distribution | None = None) -> lem.Model:
    z = lem.latent("z", lem.Categorical(2))
    families = lem.Switch([lem.PointMass(0), other or lem.Poisson()])
    return lem.Model([z, lem.observed("teeth", families, given=z)])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), TEETH, seed=seed)


def main(folder: str = "pictures") -> None:
    inflated, hurdle = fit(), lem.fit(declare(PositivePoisson()), TEETH, seed=0)
    poisson = lem.fit(lem.Model([lem.observed("teeth", lem.Poisson())]), TEETH)
    share, rate = inflated.model["z"].probs[0], inflated.model["teeth"].cases[1].rate
    print(inflated.summary())
    assert abs(inflated.log_likelihood - FIGURE) < 1e-4
    assert abs(share - SHARE) < 1e-4
    assert abs(rate - RATE) < 1e-3
    # The same probabilities: what differs is how the zeros are explained.
    assert np.isclose(hurdle.log_likelihood, FIGURE, atol=1e-4)
    assert np.isclose(hurdle.model["teeth"].cases[1].rate, RATE, atol=1e-3)
    assert np.isclose(hurdle.model["z"].probs[0], np.mean(TEETH == 0))
    immune = inflated.posterior([0]).marginal("z")[0, 0]
    assert np.isclose(immune, share / (share + (1 - share) * np.exp(-rate)))  # Bayes' rule
    print(f"a child without a bad tooth is immune with probability {immune:.3f}")
    print(f"ln p: hurdle {hurdle.log_likelihood:.4f}, one Poisson {poisson.log_likelihood:.4f}")

    counts = np.arange(TEETH.max() + 1)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), width_ratios=[1, 3], layout="constrained")
    lem.plot.graph(declare(), axes[0])
    axes[1].bar(counts, np.bincount(TEETH), color="0.85", width=0.9, label="children examined")
    by_chance = len(TEETH) * np.exp(inflated.model["teeth"].cases[1].log_prob(counts))
    axes[1].bar(counts, (1 - share) * by_chance.ravel(), width=0.5, label="not immune: Poisson")
    axes[1].bar(0, share * len(TEETH), bottom=(1 - share) * by_chance[0], width=0.5, label="immune")
    expected = len(TEETH) * np.exp(poisson.model["teeth"].log_prob(counts))
    axes[1].plot(counts, expected, "ko--", markersize=4, label="one Poisson for all")
    axes[1].set(xlabel="decayed, missing and filled teeth", ylabel="children", xticks=counts)
    axes[1].set_title(f"{immune:.0%} of the children without a bad tooth are immune")
    axes[1].legend()
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "zero_inflated_counts.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
