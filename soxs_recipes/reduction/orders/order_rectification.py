"""An order laid straight, to be looked at: bilinear samples along the slit's true direction."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.reduction.orders.cross_sections import along_first

__all__ = ["rectify_order"]


def rectify_order(
    image: np.ndarray, order_table: OrderTable, order: int, tilt: np.ndarray | None = None, *, margin: float = 3.0
) -> np.ndarray:
    """Resample one order of an image; for a look and a cross-check, not for measurement.

    Parameters
    ----------
    image : ndarray (ny, nx)
    order_table : OrderTable
        With edges.
    order : int
    tilt : ndarray (rows,) or None
        d(along)/d(across) at one wavelength at each row; None takes the slit as straight across.
    margin : float [px]
        How far beyond the edges the result reaches.

    Returns
    -------
    ndarray (slit, rows) float32
        One row a pixel along the slit from the lower edge; column k is row k of the detector at mid-slit. NaN
        outside the order's range and off the detector.
    """
    view = along_first(image, order_table.dispersion_axis)
    trace = order_table[order]
    rows = np.arange(view.shape[0], dtype=np.float64)
    low, high = trace.along_domain
    within = np.clip(rows, low, high)
    lower, upper = trace.edges_at(within)
    length = int(np.ceil(np.median(upper - lower) + 2.0 * margin))
    share = (np.arange(length) + 0.5) / length
    across = (lower - margin)[None, :] + share[:, None] * (upper - lower + 2.0 * margin)[None, :]
    along = np.broadcast_to(rows, across.shape)
    if tilt is not None:
        along = along + tilt[None, :] * (across - trace.centre_at(within)[None, :])
    result = map_coordinates(
        view.astype(np.float32), [along, across], order=1, mode="constant", cval=np.nan, prefilter=False
    )
    result[:, (rows < low) | (rows > high)] = np.nan
    return result
