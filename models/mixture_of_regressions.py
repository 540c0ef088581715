"""A mixture of regressions: two lines through one cloud, when nobody says which point is on which.

A trained musician heard a tone whose overtones were stretched (ratio 2 is the natural one), and
tuned a second tone to its octave, 150 times. Some answers follow the stretched overtones, others
stay at the true octave, a ratio of 2. A single regression gives neither; two of them, with a latent
that says which one an answer obeys, give both and the share of each (Cohen, Music Perception 1,
1984; De Veaux, Computational Statistics & Data Analysis 8, 1989).

The graph: a latent z, and a covariate, the stretch, which has no distribution of its own; both are
parents of the answer.

To be found: log-likelihood 141.198402; .69772 of the answers on 1.916380 + .042549 stretch with a
standard deviation of .046192, and .30228 on −.019275 + .992295 stretch with .132834 (the R package
mixtools, Benaglia et al., Journal of Statistical Software 32, 2009, whose ``regmixEM`` gives the
same). The default call reaches it for 20 of 20 seeds (0 to 19). Strictly the likelihood has no
maximum, for a line through two of the points may have as small a variance as it likes; this is the
highest of its maxima at which no variance vanishes.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

DATA = lem.datasets.tone().table  # "stretchratio" and "tuned", (150,) each
FIGURE = 141.198402
SHARES, LINES = [0.30228, 0.69772], [[-0.019275, 0.992295], [1.916380, 0.042549]]
DEVIATIONS = [0.132834, 0.046192]


def declare(k: int = 2) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    stretch = lem.covariate("stretchratio")
    tuned = lem.observed("tuned", lem.LinearGaussian(), given=[z, stretch])
    return lem.Model([z, stretch, tuned])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), DATA, seed=seed)


def main(folder: str = "pictures") -> None:
    result = fit()
    print(result.summary())
    line, shares = result.model["tuned"], result.model["z"].probs
    order = np.argsort(-line.coefficients[:, 0, 0])  # the steep one first
    found = np.column_stack([line.intercept, line.coefficients[:, 0]])[order]  # (2, 2)
    assert abs(result.log_likelihood - FIGURE) < 1e-4
    assert np.allclose(shares[order], SHARES, atol=1e-4)
    assert np.allclose(found, LINES, atol=1e-4)
    assert np.allclose(np.sqrt(line.covariance[order, 0, 0]), DEVIATIONS, atol=1e-4)

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), width_ratios=[1, 2], layout="constrained")
    lem.plot.graph(declare(), axes[0])
    lem.plot.responsibilities(result, DATA, axes[1]).set(
        xlabel="stretch of the overtones (2: natural)",
        ylabel="tuned ratio (2: the true octave)",
        title="which line does an answer obey?",
    )
    for k, name in zip(order, ("follows the overtones", "stays at the octave"), strict=True):
        text, at = f"{name}: {shares[k]:.0%}", [(2.0, 2.82), (2.35, 1.83)][name[0] == "s"]
        axes[1].annotate(text, at)
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "mixture_of_regressions.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
