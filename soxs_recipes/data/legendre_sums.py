"""Two Legendre series in two variables, at many places at once."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["legendre_sums"]


@compiled
def _polynomials(x, values):
    """P0(x), P1(x) ... written into an array."""
    values[0] = 1.0
    if values.size > 1:
        values[1] = x
    for n in range(1, values.size - 1):
        values[n + 1] = ((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1)


@compiled
def legendre_sums(matrices, u, v):
    """Sums over i and j of M_ij P_i(u) P_j(v), of two matrices.

    Parameters
    ----------
    matrices : ndarray (2, i, j) float64
    u, v : ndarray (n,) float64

    Returns
    -------
    ndarray (2, n)
    """
    sums = np.zeros((2, u.size))
    along, across = np.empty(matrices.shape[1]), np.empty(matrices.shape[2])
    for k in range(u.size):
        _polynomials(u[k], along)
        _polynomials(v[k], across)
        for i in range(along.size):
            for j in range(across.size):
                product = along[i] * across[j]
                sums[0, k] += matrices[0, i, j] * product
                sums[1, k] += matrices[1, i, j] * product
    return sums
