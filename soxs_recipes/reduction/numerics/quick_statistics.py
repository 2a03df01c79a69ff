"""Truncated mean and interpolation of whole frames, in a part of the time that general functions take."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["mean_below", "spread_linearly"]


@compiled(any_order=True)
def sum_below(values, limit):
    """(sum, number) of the values (n,) that are less than a limit of their kind."""
    total, number = 0.0, 0
    for value in values:
        inside = value < limit
        total += value if inside else values.dtype.type(0)
        number += inside
    return total, number


def mean_below(values: np.ndarray, limit: float) -> float | None:
    """Mean of the values that are less than a limit; None when there is none.

    Parameters
    ----------
    values : ndarray (n,) of float
    limit : float
    """
    total, count = sum_below(values, values.dtype.type(limit))
    return total / count if count else None


def spread_linearly(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Linear interpolation of a coarse grid, as a product of matrices.

    Parameters
    ----------
    values : ndarray (m, n)
        Finite.
    rows, columns : ndarray (ny,), (nx,)
        Places in units of the grid, 0 at its first value; those beyond its ends get the last value.

    Returns
    -------
    ndarray (ny, nx) float32
    """
    along_y, along_x = (_hats(place, count) for place, count in zip((rows, columns), values.shape, strict=True))
    return along_y @ values.astype(np.float32) @ along_x.T


def _hats(place: np.ndarray, count: int) -> np.ndarray:
    """Weight of each grid value at each place (places, count) float32."""
    distance = np.abs(np.clip(place, 0.0, count - 1.0)[:, None] - np.arange(count))
    return np.maximum(1.0 - distance, 0.0).astype(np.float32)
