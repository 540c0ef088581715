"""Square roots of inverse covariances."""

from __future__ import annotations

import numpy as np

from latentem.distributions.arrays import Array

LOG_2PI = float(np.log(2 * np.pi))


def whiten(covariance: Array) -> tuple[Array, Array]:
    """Return W with W'W = covariance^-1, and log|covariance| / 2; batched over leading axes."""
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # singular to rounding: the eigenvalues settle it
        values, vectors = np.linalg.eigh(covariance)
        d = covariance.shape[-1]
        smallest = d * np.finfo(float).eps * values[..., -1:]
        values = np.maximum(values, smallest)
        whitening = np.swapaxes(vectors, -1, -2) / np.sqrt(values)[..., None]
        return whitening, 0.5 * np.log(values).sum(-1)
    log_root = np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(-1)
    return np.linalg.inv(root), log_root
