"""Log-sum-exp and normalisation: how log-values become probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from latentem.kernels.compiled import loops

Array = npt.NDArray[np.float64]

#: Exponentials of what is further below the largest are 0: 1e-304 of it. (Those of what is below
#: -708 have lost digits, and take processors many times as long.)
LOWEST = -700.0


def log_normalise(table: Array, *, compiled: bool = False) -> Array:
    r"""Turn log-values into probabilities over the first axis, in place; return the log-sum.

    .. math:: m_i = \max_k l_{ki}, \qquad s_i = \sum_k \exp(l_{ki} - m_i), \qquad
              r_{ki} = \exp(l_{ki} - m_i) / s_i, \qquad \log \sum_k \exp l_{ki} = m_i + \log s_i

    Where all are log 0 the probabilities are 0 and the log-sum is -inf.

    Parameters
    ----------
    table : array, (states, ..., rows)
        Is overwritten.
    compiled : bool
        Use the compiled kernel: two passes over the table instead of five.

    Returns
    -------
    array, (..., rows)

    Examples
    --------
    >>> import numpy as np
    >>> table = np.log([[1.0], [3.0]])
    >>> np.exp(log_normalise(table)).round(9), table.T.round(9)
    (array([4.]), array([[0.25, 0.75]]))
    """
    if compiled and table.flags.c_contiguous:
        flat = table.reshape(len(table), -1)
        log_sum: Array = np.empty(flat.shape[1])
        loops().normalise(flat, log_sum)
        return log_sum.reshape(table.shape[1:])
    peak = table.max(axis=0)
    shift = peak if np.isfinite(peak).all() else np.where(np.isfinite(peak), peak, 0.0)
    table -= shift
    if table.min() < LOWEST:
        possible = ~(table < LOWEST)  # NaN stays
        np.maximum(table, LOWEST, out=table)
        np.exp(table, out=table)
        table *= possible
    else:
        np.exp(table, out=table)
    total = table.sum(axis=0)
    table *= 1.0 / np.where(total > 0, total, 1.0)
    with np.errstate(divide="ignore"):
        log_sum = np.log(total)
    log_sum += shift
    return log_sum
