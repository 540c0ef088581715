"""Probabilistic latent semantic analysis: nine titles, two topics, from counts of words alone.

Five titles of technical memoranda are about computers and their users, four about graphs
(Deerwester et al. 1990, the example of latent semantic analysis). Nothing in the counts says so,
and titles of one subject may share no word, as c1 and c5. Let each word in each title have a topic
z that is not seen, and let title and word be independent given z (Hofmann 1999):

    p(z) p(title | z) p(word | z)

To be learnt: a matrix of counts is rows (title, word) with the counts as weights, and a latent with
two discrete children is a factorisation of that matrix, 29 Σ_z p(z) p(title | z) p(word | z). It
finds both subjects, expects "user" of c1 although it is not there, and gives one word two meanings:
"survey" by itself is of either topic with probability 1/2, in c2 of the one and in m4 of the other.

The log-likelihood must be -115.793944, the best of 200 starts of another program (non-negative
factorisation under the Kullback-Leibler divergence, scikit-learn; 64 end there): c1 to c5 with 20
of the 29 words are one topic, m1 to m4 with 9 the other. The default call reaches it for 20 of 20
seeds (0 to 19).
"""

import sys
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

TITLES = {
    "c1": "human machine interface for lab abc computer applications",
    "c2": "a survey of user opinion of computer system response time",
    "c3": "the eps user interface management system",
    "c4": "system and human system engineering testing of eps",
    "c5": "relation of user perceived response time to error measurement",
    "m1": "the generation of random binary unordered trees",
    "m2": "the intersection graph of paths in trees",
    "m3": "graph minors iv widths of trees and well quasi ordering",
    "m4": "graph minors a survey",
}
KEPT = "human interface computer survey user system response time eps trees graph minors"
WORDS = KEPT.split()
COUNTS = Counter((t, word) for t, text in TITLES.items() for word in text.split() if word in WORDS)
DATA = {"title": [title for title, _ in COUNTS], "word": [word for _, word in COUNTS]}  # 28 rows
FIGURE = -115.793944


def declare(k: int = 2) -> lem.Model:
    z = lem.latent("z", lem.Categorical(k))
    title = lem.observed("title", lem.Categorical(levels=list(TITLES)), given=z)
    return lem.Model([z, title, lem.observed("word", lem.Categorical(levels=WORDS), given=z)])


def fit(seed: int = 0) -> lem.Fit:
    return lem.fit(declare(), DATA, weights=list(COUNTS.values()), seed=seed)


def main(folder: str = "pictures") -> None:
    result = fit()
    order = (-result.model["z"].probs).argsort()  # the larger topic first
    share, title, word = (result.model[name].probs[order] for name in ("z", "title", "word"))
    survey = {"title": [None, "c2", "m4"], "word": ["survey"] * 3}
    meaning = result.posterior(survey).marginal("z")[:, order]  # (3, 2)
    for p, probs in zip(share, word, strict=True):
        print(f"p(z) = {p:.3f}:", *(f"{WORDS[i]} {probs[i]:.2f}" for i in (-probs).argsort()[:4]))
    print(f"ln p = {result.log_likelihood:.6f}; p(z | survey), in c2, in m4:", *meaning.round(3))
    assert abs(result.log_likelihood - FIGURE) < 1e-4
    assert np.allclose([share, *meaning], [[0.69, 0.31], [0.5, 0.5], [1, 0], [0, 1]], atol=1e-3)

    counts = np.array([[COUNTS[t, w] for t in TITLES] for w in WORDS])  # (12, 9)
    expected = 29 * share[:, None, None] * word[:, :, None] * title[:, None, :]  # (2, 12, 9)
    figure, axes = plt.subplots(1, 4, figsize=(13, 4.6), width_ratios=[4, 6, 7, 4], layout="tight")
    lem.plot.graph(result.model, axes[0])
    topics = np.array([[0.12, 0.47, 0.71], [0.84, 0.15, 0.16]])  # blue and red
    total = np.maximum(expected.sum(axis=0), 1e-9)
    by_topic = np.einsum("zij,zc->ijc", expected / total, topics)
    for ax, table, name in ((axes[1], counts, "counted"), (axes[2], total, "expected")):
        ax.imshow(np.dstack([by_topic, np.sqrt(table / 2.6)]), aspect="auto")
        for i, j in np.argwhere(table > 0.005):
            ax.text(j, i, f"{table[i, j]:.2g}", ha="center", va="center", fontsize=7)
        ax.set(xlabel="title", title=f"words in titles, {name}", xticks=range(9), yticks=range(12))
        ax.set(xticklabels=TITLES, yticklabels=WORDS if name == "counted" else [])
    for topic, colour in enumerate(topics):
        axes[3].barh(np.arange(12) + 0.4 * topic - 0.2, word[topic], 0.4, color=colour)
    axes[3].set(xlabel="p(word | z)", xlim=(0, 0.5), ylim=(11.5, -0.5), yticks=[])
    axes[3].legend([f"p(z) = {p:.2f}" for p in share], loc="upper right", title="two topics")
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "plsa.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
