"""A mixture of experts: which line holds depends on where one is, and so do the shares.

How long was the eruption of Old Faithful that is now so many minutes past? After a short wait it
was a short one, after a long wait a long one, and around 66 minutes it may have been either, but
hardly ever something between. A regression goes through the gap where nothing happens; a mixture of
regressions has both kinds at every wait in the same shares. In a mixture of experts the latent's
probabilities depend on the covariate too (Jacobs, Jordan, Nowlan & Hinton, Neural Computation 3,
1991): a gate, here p(kind | wait), hands over from one expert to the other.

The graph: the covariate is a parent of the latent and of the answer, the latent of the answer. The
gate is a multinomial logistic regression, whose M-step has no closed form but is concave.

To be found: log-likelihood −96.051582, by the default call for 20 of 20 seeds (0 to 19). The figure
is that of a direct maximisation of the marginal likelihood with scipy (BFGS in 8 unconstrained
parameters, 400 random starts): 282 of them ended there, and none higher but for one that gave an
expert two rows and no variance, where the likelihood has no bound. From near by ``hmeEM`` of the R
package mixtools ends at −96.0517 after 10,000 iterations.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

FAITHFUL = lem.datasets.old_faithful().table
DATA = {"wait": FAITHFUL["waiting"], "length": FAITHFUL["eruptions"]}  # minutes, (272,) each
FIGURE = -96.051582


def declare(has_gate: bool = True) -> lem.Model:
    wait = lem.covariate("wait")
    if has_gate:
        kind = lem.latent("kind", lem.Softmax(2), given=wait)
    else:
        kind = lem.latent("kind", lem.Categorical(2))
    return lem.Model([wait, kind, lem.observed("length", lem.LinearGaussian(), given=[kind, wait])])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), DATA, seed=seed)


def main(folder: str = "pictures") -> None:
    result, without = fit(), lem.fit(declare(has_gate=False), DATA, seed=0)
    print(result.summary())
    print(f"BIC {result.bic:.1f} with the gate, {without.bic:.1f} without: the gate is the model")
    assert abs(result.log_likelihood - FIGURE) < 1e-4
    assert result.bic < without.bic - 100
    slopes, intercepts = result.model["kind"].coefficients[:, 0], result.model["kind"].intercept
    even = -np.diff(intercepts)[0] / np.diff(slopes)[0]  # where the gate is at one half
    assert np.allclose(np.abs(np.diff(slopes)), 0.66146, atol=1e-3)  # scipy's
    assert np.isclose(even, 66.0, atol=0.1)
    overall = np.polyfit(DATA["wait"], DATA["length"], 1)

    figure = plt.figure(figsize=(10, 5.4), layout="constrained")
    axes = figure.subplot_mosaic("gee;gee;gpp")
    lem.plot.graph(declare(), axes["g"])
    lem.plot.responsibilities(result, DATA, axes["e"])
    wait, unseen = np.linspace(43, 96, 200), np.full(200, np.nan)
    gate = result.posterior({"wait": wait, "length": unseen}).marginal("kind")  # (200, 2)
    for p, line in zip(gate.T, axes["e"].lines[1::2], strict=True):
        axes["p"].plot(wait, p, color=line.get_color(), linewidth=2)
    axes["e"].axline((0, overall[1]), slope=overall[0], color="0.5", linestyle="dashed")
    axes["e"].set(xlabel="", ylabel="length of the eruption / min", xlim=(41, 98), ylim=(1.2, 5.4))
    axes["e"].set_title("two experts; dashed: one line for all, through the gap")
    axes["p"].set(xlabel="wait after the eruption / min", ylabel="p(kind | wait)", xlim=(41, 98))
    axes["p"].set_title(f"the gate: either kind, after {even:.0f} minutes")
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "mixture_of_experts.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
