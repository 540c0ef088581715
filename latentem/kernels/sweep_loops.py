"""The compiled kernel of `latentem.kernels.sweep`, whose formulas it follows."""

# mypy: disable-error-code="untyped-decorator,call-arg,no-untyped-call"
from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import boolean, float64, types

from latentem.kernels.loops import TABLE


@numba.njit(
    types.void(float64[:, :, :, ::1], boolean[:, ::1], TABLE),
    nogil=True, cache=True, error_model="numpy",
)  # fmt: skip
def sweep(matrices: Any, missing: Any, log_det: Any) -> None:
    """Sweep the matrices of each pattern on its columns, in place, and add log |A_uu|."""
    n, n_states, d, _ = matrices.shape
    row = np.empty(d)
    for q in range(n):
        for k in range(n_states):
            matrix = matrices[q, k]
            for j in range(d):
                if not missing[q, j]:
                    continue
                pivot = matrix[j, j]
                log_det[q, k] += np.log(pivot)
                for i in range(d):
                    row[i] = matrix[j, i] / pivot
                for i in range(d):
                    if i != j:
                        column = matrix[i, j]
                        for m in range(d):
                            matrix[i, m] -= column * row[m]
                for i in range(d):
                    matrix[i, j] = matrix[j, i] = row[i]
                matrix[j, j] = -1.0 / pivot
