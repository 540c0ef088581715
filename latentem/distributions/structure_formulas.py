r"""The estimates of covariances that share something, as formulas.

Each is for :math:`n_k` rows in state k with the mean scatter :math:`S_k`. Where there is no closed
form these are the equations of the maximum, each factor being the best for the others: the volume
:math:`\lambda` for a given shape, the shape :math:`A` (or shape and orientation together, C) for
given volumes, and for the axes :math:`D` that all states share, that no turn of them raises the
likelihood. Axes of each state's own are those of its scatter, in the order of their variances.

References
----------
Celeux and Govaert, Gaussian parsimonious clustering models, Pattern Recognition 28, 1995, section
3.
"""

from __future__ import annotations

_NO_TURN = r"\sum_k n_k \left( \hat\Sigma_k^{-1} S_k - S_k \hat\Sigma_k^{-1} \right) = 0"
_ALONG_COMMON_AXES = r"T_k = \operatorname{diag} \left( \hat D^\top S_k \hat D \right)"
_ALONG_OWN_AXES = r"T_k = \hat D_k^\top S_k \hat D_k, \qquad \operatorname{diag} (T_k) = T_k"

#: By the letters of a structure.
SHARED: dict[str, str] = {
    "VEI": (
        r"\hat\Sigma_k = \hat\lambda_k \hat A, \qquad |\hat A| = 1, \qquad "
        r"\hat\lambda_k = \tfrac1d \operatorname{tr} \left( \hat A^{-1} S_k \right), \qquad "
        r"\hat A = \sum_k \frac{n_k}{\hat\lambda_k} \operatorname{diag} (S_k) \Big/ \sum_k n_k"
    ),
    "VEE": (
        r"\hat\Sigma_k = \hat\lambda_k \hat C, \qquad |\hat C| = 1, \qquad "
        r"\hat\lambda_k = \tfrac1d \operatorname{tr} \left( \hat C^{-1} S_k \right), \qquad "
        r"\hat C = \sum_k \frac{n_k}{\hat\lambda_k} S_k \Big/ \sum_k n_k"
    ),
    "VEV": (
        r"\hat\Sigma_k = \hat\lambda_k \hat D_k \hat A \hat D_k^\top, \qquad |\hat A| = 1, \qquad "
        rf"{_ALONG_OWN_AXES}, \qquad "
        r"\hat\lambda_k = \tfrac1d \operatorname{tr} \left( \hat A^{-1} T_k \right), \qquad "
        r"\hat A = \sum_k \frac{n_k}{\hat\lambda_k} T_k \Big/ \sum_k n_k"
    ),
    "EEV": (
        r"\hat\Sigma_k = \hat\lambda \hat D_k \hat A \hat D_k^\top, \qquad |\hat A| = 1, \qquad "
        rf"{_ALONG_OWN_AXES}, \qquad "
        r"\hat\lambda \hat A = \sum_k n_k T_k \Big/ \sum_k n_k"
    ),
    "EVI": (
        r"\hat\Sigma_k = \hat\lambda T_k \big/ |T_k|^{1/d}, \qquad "
        r"T_k = \operatorname{diag} (S_k), \qquad "
        r"\hat\lambda = \sum_k n_k |T_k|^{1/d} \Big/ \sum_k n_k"
    ),
    "EVV": (
        r"\hat\Sigma_k = \hat\lambda S_k \big/ |S_k|^{1/d}, \qquad "
        r"\hat\lambda = \sum_k n_k |S_k|^{1/d} \Big/ \sum_k n_k"
    ),
    "EVE": (
        r"\hat\Sigma_k = \hat\lambda \hat D T_k \hat D^\top \big/ |T_k|^{1/d}, \qquad "
        rf"{_ALONG_COMMON_AXES}, \qquad "
        r"\hat\lambda = \sum_k n_k |T_k|^{1/d} \Big/ \sum_k n_k, \qquad "
        rf"{_NO_TURN}"
    ),
    "VVE": (
        r"\hat\Sigma_k = \hat D T_k \hat D^\top, \qquad "
        rf"{_ALONG_COMMON_AXES}, \qquad {_NO_TURN}"
    ),
}
