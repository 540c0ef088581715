"""Square roots of inverse covariances."""

from __future__ import annotations

import numpy as np

from latentem.distributions.arrays import Array

LOG_2PI = float(np.log(2 * np.pi))
#: Columns from which triangular matrices are inverted as such, one by one: numpy inverts several at
#: once, but as any others, with rows exchanged, so that what is 0 becomes a rounding error.
MANY_COLUMNS = 32


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
    return inverse_of_lower(root), log_root


def inverse_of_lower(root: Array) -> Array:
    """Return the inverses of lower triangular matrices, which are lower triangular."""
    d = root.shape[-1]
    if d < MANY_COLUMNS:
        return np.linalg.inv(root)
    from scipy.linalg.lapack import dtrtri  # slow to import

    inverses = [dtrtri(each, lower=1)[0] for each in root.reshape(-1, d, d)]
    return np.array(inverses).reshape(root.shape)
