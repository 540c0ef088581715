r"""The E-step of a mixture of Gaussians on rows with gaps: posterior, and completed products.

Of a row let o be the columns observed and u the others. With the symbols of
`latentem.distributions.gap_statistics`,

.. math::
    L_k &= a_k + m_k^\top P_k z - \tfrac12 z^\top P_k z, \qquad r_k = \operatorname{softmax}(L)_k
    \\
    S_k &= \sum w \, r_k \, E\big[(1, z) (1, z)^\top \mid z_o, k\big], \qquad
        H = \sum w \, r_k \, H(z_u \mid z_o, k),

of which rows with the same columns need the sums of :math:`r_k (1, z_o) (1, z_o)^\top` alone. The
compiled kernel takes no statistics of other columns.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import gapped_loops
from latentem.kernels.expected import Standardised, columns_and_products, expected_sums
from latentem.kernels.sweep import swept

Array = npt.NDArray[np.float64]


def expected_products(
    constant: Array,
    mean: Array,
    precision: Array,
    units: Array,
    observed: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.int64],
    rows: Standardised,
    weights: Array | None = None,
    *,
    compiled: bool = False,
) -> tuple[Array, Array, float, Array]:
    r"""Return S, the expected number of rows, H, and log p(x) of each row.

    Parameters
    ----------
    constant : array, (K,)
        The log prior and half the logarithm of the determinant of the precision of whole rows.
    mean : array, (K, d)
        m.
    precision : array, (d, d, K)
        That of whole rows.
    units : array, (d,)
        :math:`\log s_j + \tfrac12 \log 2 \pi`, s being the scale of a column.
    observed : array, (P, d)
        The columns that the rows of each run have.
    starts : array of int, (P + 1,)
        Where each run starts, and the end.
    rows : Standardised
    weights : array, (rows,), optional
        w; ones by default.
    compiled : bool
        Use the compiled kernel, one pass over the rows.

    Returns
    -------
    array, (K, 1 + d, 1 + d)
        S; rows without any value do not count.
    array, (K,)
        The sums of w r, of all rows.
    float
        H.
    array, (rows,)
    """
    k, d = mean.shape
    products, counts, evidence = np.zeros((k, 1 + d, 1 + d)), np.zeros(k), np.empty(len(rows))
    if compiled:
        given = constant, mean, precision.transpose(2, 0, 1), units, observed, starts
        own = *map(np.ascontiguousarray, given), rows.rows, rows.centre, rows.scale
        weights = np.empty(0) if weights is None else weights
        entropy = gapped_loops().expected_products(*own, weights, evidence, counts, products)
        return products, counts, entropy, evidence
    factors, entropy = rows.factors(), 0.0
    matrices, log_dets = swept(precision, ~observed)
    for seen, matrix, log_det, (start, end) in zip(
        observed, matrices, log_dets, itertools.pairwise(starts.tolist()), strict=True
    ):
        part, n_seen = slice(start, end), int(np.count_nonzero(seen))
        own_precision = matrix[:, seen][:, :, seen]
        linear = np.einsum("kij,kj->ki", own_precision, mean[:, seen])
        square = np.einsum("ki,ki->k", linear, mean[:, seen])
        upper = np.triu_indices(n_seen)
        quadratic = own_precision[:, *upper] * np.where(upper[0] == upper[1], -0.5, -1.0)
        first = constant - 0.5 * (log_det + square) - units[seen].sum()
        sums, evidence[part] = expected_sums(
            np.concatenate([first[:, None], linear, quadratic], axis=1),
            factors[np.concatenate([[True], seen])][:, part],
            np.concatenate([[[0, 0]], columns_and_products(n_seen, np.column_stack(upper))]),
            None if weights is None else weights[part],
        )
        count = sums[:, 0]
        counts += count
        if not n_seen:
            continue
        whole = np.empty((k, 1 + n_seen, 1 + n_seen))
        whole[:, 0] = whole[:, :, 0] = sums[:, : 1 + n_seen]
        whole[:, 1 + upper[0], 1 + upper[1]] = whole[:, 1 + upper[1], 1 + upper[0]] = sums[
            :, 1 + n_seen :
        ]
        image = np.zeros((k, 1 + d, 1 + n_seen))  # G, in the columns seen
        image[:, 0, 0] = 1.0
        image[:, 1:, 1:] = np.where(seen[:, None], np.eye(d)[:, seen], -matrix[:, :, seen])
        image[:, 1:, 0] = mean - np.einsum("kij,kj->ki", image[:, 1:, 1:], mean[:, seen])
        products += image @ whole @ np.swapaxes(image, -1, -2)
        spread = np.where(seen[:, None] | seen, 0.0, -matrix)
        products[:, 1:, 1:] += count[:, None, None] * spread
        entropy += float(count @ (units[~seen].sum() + 0.5 * (d - n_seen) - 0.5 * log_det))
    return products, counts, entropy, evidence
