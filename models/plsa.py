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
SMALL = {"a", "and", "of", "the"}
IN_TITLES = Counter(word for text in TITLES.values() for word in dict.fromkeys(text.split()))
WORDS = [word for word, n in IN_TITLES.items() if n > 1 and word not in SMALL]  # 12
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
    print(f"log-likelihood {result.log_likelihood:.6f}")
    for topic in range(2):
        likely = (-word[topic]).argsort()[:4]
        words = ", ".join(f"{WORDS[i]} {word[topic, i]:.2f}" for i in likely)
        print(f"p(z) = {share[topic]:.3f}: {words}, ...")
    print("p(z | survey), then in c2 and in m4:", meaning.round(3).tolist())
    assert abs(result.log_likelihood - FIGURE) < 1e-4
    assert np.allclose(share, [20 / 29, 9 / 29], atol=1e-4)
    assert np.allclose(meaning, [[0.5, 0.5], [1, 0], [0, 1]], atol=1e-3)

    counts = np.array([[COUNTS[t, w] for t in TITLES] for w in WORDS])  # (12, 9)
    expected = 29 * share[:, None, None] * word[:, :, None] * title[:, None, :]  # (2, 12, 9)
    figure, axes = plt.subplots(1, 4, figsize=(12, 4.6), width_ratios=[2.5, 3, 3, 2])
    lem.plot.graph(result.model, axes[0])
    topics = np.array([[0.12, 0.47, 0.71], [0.84, 0.15, 0.16]])  # blue and red
    total = np.maximum(expected.sum(axis=0), 1e-9)
    by_topic = np.einsum("zij,zc->ijc", expected / total, topics)
    for ax, table, name in ((axes[1], counts, "counted"), (axes[2], total, "expected")):
        ax.imshow(np.dstack([by_topic, np.sqrt(table / 2.6)]), aspect="auto")
        for (i, j), number in np.ndenumerate(table):
            if number > 0.005:
                ax.text(j, i, f"{number:.2g}", ha="center", va="center", fontsize=8)
        ax.set_xticks(range(9), TITLES)
        ax.set(xlabel="title", title=f"words in titles, {name}")
    for topic, colour in enumerate(topics):
        label = f"p(z) = {share[topic]:.2f}"
        axes[3].barh(np.arange(12) + 0.4 * topic - 0.2, word[topic], 0.4, color=colour, label=label)
    axes[3].set(xlabel="p(word | z)", ylim=(11.5, -0.5), title="two topics")
    axes[3].legend(loc=(0.35, 0.33))
    for ax in axes[1:]:
        ax.set_yticks(range(12), WORDS if ax is axes[1] else [])
    figure.tight_layout()
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "plsa.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
