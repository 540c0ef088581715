"""Gaussian mixtures and K-means, as two declarations."""

from __future__ import annotations

from collections.abc import Callable

from latentem.distributions import Categorical, Choice, Gaussian, Prototype
from latentem.distributions.arrays import Array
from latentem.distributions.dissimilarity import Dissimilarity
from latentem.graph import Model, latent, observed


def gaussian_mixture(k: int, covariance: str = "full", *, shared: bool = False) -> Model:
    r"""Return a mixture of k Gaussians.

    .. math:: p(x) = \sum_k \pi_k \, \mathcal{N}(x \mid \mu_k, \Sigma_k)

    Parameters
    ----------
    k : int
        Number of components.
    covariance : str
        ``"full"``, ``"diagonal"``, ``"spherical"``, or three letters for volume, shape and
        orientation, such as ``"VEV"`` (see `Gaussian`).
    shared : bool
        One covariance for all components.

    Returns
    -------
    Model
        With nodes ``"z"`` (which component) and ``"x"``.

    Examples
    --------
    >>> import latentem as lem
    >>> print(lem.models.gaussian_mixture(3))
    p(z) p(x | z)
    """
    z = latent("z", Categorical(k))
    x = observed("x", Gaussian(covariance=covariance, shared=shared), given=z)
    return Model([z, x])


def kmeans(
    k: int,
    dissimilarity: str | Dissimilarity | Callable[[Array, Array], Array] = "squared_euclidean",
) -> Model:
    r"""Return K-means; fit it with ``assign=lem.hard``.

    .. math:: J = \sum_i \min_k d(x_i, m_k)

    Parameters
    ----------
    k : int
        Number of clusters.
    dissimilarity : str, Dissimilarity or callable
        ``"squared_euclidean"`` (centre: mean), ``"l1"`` (median), ``"cosine"`` (normalised mean),
        ``"hamming"`` (mode), or a function of a row array ``(n, d)`` and a prototype ``(d,)``
        (medoid).

    Returns
    -------
    Model
        With nodes ``"z"`` (which cluster) and ``"x"``.

    Examples
    --------
    >>> import numpy as np
    >>> import latentem as lem
    >>> x = np.array([[0.0], [2.0], [10.0], [14.0]])
    >>> fit = lem.fit(lem.models.kmeans(2), x, assign=lem.hard, seed=0)
    >>> round(fit.distortion, 9)
    10.0
    """
    z = latent("z", Choice(k))
    return Model([z, observed("x", Prototype(dissimilarity), given=z)])
