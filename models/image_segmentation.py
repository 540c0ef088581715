"""Image segmentation: a photograph in K colours.

Every pixel is a point in the cube of red, green and blue. K-means puts K prototypes there, and each
pixel is shown in the colour of its own prototype: regions of about one colour appear, without any
knowledge of where a pixel lies (Bishop, section 9.1.1, figure 9.3).

J must be the summed squared error between the photograph and its copy in K colours, and no pixel
may be nearer to another of the colours.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

PHOTOGRAPH = plt.imread(Path(__file__).with_name("pagoda.png"))[..., :3]  # (180, 240, 3) in [0, 1]
PIXELS = PHOTOGRAPH.reshape(-1, 3).astype(float)  # (43200, 3)


def declare(k: int = 3) -> lem.Model:
    return lem.models.kmeans(k)


def fit(seed: int = 0, k: int = 3) -> lem.Fit:
    return lem.fit(declare(k), PIXELS, assign=lem.hard, restarts=5, seed=seed)


def main(folder: str = "pictures") -> None:
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.3), layout="constrained")
    before = np.inf
    for ax, k in zip(axes, (2, 3, 10), strict=False):
        result = fit(k=k)
        colours, z = result.model["x"].prototypes, result.predict(PIXELS)
        copy = colours[z]
        squares = ((PIXELS[:, None] - colours) ** 2).sum(axis=2)  # (43200, k)
        print(f"K = {k:2}: J = {result.distortion:9.3f} after {result.iterations} iterations")
        assert np.isclose(result.distortion, ((PIXELS - copy) ** 2).sum())
        assert np.allclose(squares[np.arange(len(z)), z], squares.min(axis=1))
        assert result.distortion < before
        before = result.distortion
        ax.imshow(copy.reshape(PHOTOGRAPH.shape))
        ax.set_title(f"K = {k}")
    axes[3].imshow(PHOTOGRAPH)
    axes[3].set_title("the photograph")
    for ax in axes:
        ax.axis("off")
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(folder) / "image_segmentation.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
