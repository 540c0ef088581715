"""Image compression: K colours, and for each pixel the number of its colour.

Sent as it is, a photograph of 240 × 180 pixels needs 24 bits a pixel: 1,036,800 bits. Sent as a
code book of K colours (24 K bits) and ⌈log2 K⌉ bits a pixel it needs 43,248 bits for K = 2, 86,472
for K = 3 and 173,040 for K = 10. The colours are the prototypes of K-means, vector quantisation
(Bishop, section 9.1.1). The file written here holds exactly those bits, and is read back.
"""

import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import latentem as lem

PHOTOGRAPH = np.uint8(255 * plt.imread(Path(__file__).with_name("pagoda.png"))[..., :3] + 0.5)
PIXELS = PHOTOGRAPH.reshape(-1, 3).astype(float)  # (43200, 3), whole numbers from 0 to 255
BITS = {2: 43_248, 3: 86_472, 10: 173_040}


def declare(k: int = 10) -> lem.Model:
    return lem.models.kmeans(k)


def fit(seed: int = 0, k: int = 10) -> lem.Fit:
    return lem.fit(declare(k), PIXELS, assign=lem.hard, restarts=5, seed=seed)


def write(file: Path, code_book: np.ndarray, numbers: np.ndarray) -> None:
    """Pack the code book (K, 3), 8 bits a channel, then the pixels' numbers (n,), without a gap."""
    width = math.ceil(math.log2(len(code_book)))
    digits = numbers[:, None] >> np.arange(width)[::-1] & 1  # (n, width)
    bits = np.concatenate([np.unpackbits(code_book), digits.ravel().astype(np.uint8)])
    file.write_bytes(np.packbits(bits).tobytes())


def read(file: Path, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the code book (K, 3) and the pixels' numbers (n,)."""
    width = math.ceil(math.log2(k))
    bits = np.unpackbits(np.frombuffer(file.read_bytes(), np.uint8))
    digits = bits[24 * k :].reshape(-1, width)
    return np.packbits(bits[: 24 * k]).reshape(k, 3), digits @ (1 << np.arange(width)[::-1])


def main(folder: str = "pictures") -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, 2, figsize=(7.2, 6), layout="constrained")
    axes[0, 0].imshow(PHOTOGRAPH)
    axes[0, 0].set_title(f"before: {24 * len(PIXELS):,} bits")
    for ax, (k, wanted) in zip(axes.flat[1:], BITS.items(), strict=True):
        result = fit(k=k)
        code_book = result.model["x"].prototypes.round().astype(np.uint8)  # (k, 3)
        numbers = result.predict(PIXELS)  # (43200,)
        file = Path(folder) / f"pagoda_{k}.bits"
        write(file, code_book, numbers)
        bits = 8 * file.stat().st_size
        code_book_read, numbers_read = read(file, k)
        error = np.sqrt(np.mean((code_book_read[numbers_read] - PIXELS) ** 2))
        print(
            f"K = {k:2}: {bits:7,} bits, {bits / 10368:.1f} %, error {error:.1f} of 255 a channel"
        )
        assert bits == wanted
        assert np.array_equal(code_book_read, code_book)
        assert np.array_equal(numbers_read, numbers)
        ax.imshow(code_book_read[numbers_read].reshape(PHOTOGRAPH.shape))
        ax.set_title(f"read back, K = {k}: {bits:,} bits ({bits / 10368:.1f} %)")
    for ax in axes.flat:
        ax.axis("off")
    figure.savefig(Path(folder) / "image_compression.png", dpi=80)


if __name__ == "__main__":
    main(*sys.argv[1:])
