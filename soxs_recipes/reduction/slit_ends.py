"""How far an exposure moved across the dispersion: the slit's ends in the sky light against those in the flat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soxs_recipes.data.frame import Frame
from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.reduction.sky_model import binned_median
from soxs_recipes.reduction.zero_point import weighted_mean

__all__ = ["EdgeShift", "edge_shift"]

_EDGE_REACH = 5.0  # px on either side of an edge
_EDGE_CELL = 0.25  # px
_EDGE_PARTS = 8


@dataclass(frozen=True, slots=True)
class EdgeShift:
    """Shift across the dispersion.

    Attributes
    ----------
    shift, error : float [px]
        Towards rising pixel coordinate; NaN when the sky is too dark to show the edges.
    edges : int
        How many were measured.
    """

    shift: float
    error: float
    edges: int

    @property
    def is_significant(self) -> bool:
        """Beyond 3 sigma and 0.05 px."""
        return bool(np.isfinite(self.shift) and abs(self.shift) > max(3.0 * self.error, 0.05))


def edge_shift(frame: Frame, order_table: OrderTable, *, base_variance: np.ndarray) -> EdgeShift:
    """Shift of the slit's ends in the sky light against the edges of the flat.

    Light across either end is averaged along each order; where the end lies follows from the light's integral
    between plateau and darkness, which needs no model of the blur.
    """
    axis = order_table.dispersion_axis
    view, good = (image if axis == 0 else image.T for image in (frame.data, frame.usable))
    noise = base_variance if axis == 0 else base_variance.T
    length, width = view.shape
    along = np.arange(length, dtype=np.float64)
    found = []
    for trace in order_table.traces:
        for edge, sign in zip(trace.edges_at(along), (1.0, -1.0), strict=True):
            found.extend(_one_edge(view, good, noise, edge, sign, width))
    if not found:
        return EdgeShift(float("nan"), float("nan"), 0)
    shifts, errors = np.array(found).T
    centre = np.median(shifts)
    spread = max(1.4826 * float(np.median(np.abs(shifts - centre))), 0.01)
    kept = np.abs(shifts - centre) < 4.0 * np.hypot(errors, spread)
    value, error = weighted_mean(shifts[kept], np.hypot(errors[kept], 0.02))
    pulls = (shifts[kept] - value) / np.hypot(errors[kept], 0.02)
    return EdgeShift(value, error * max(1.0, float(np.sqrt(np.mean(pulls**2)))), int(kept.sum()))


def _one_edge(view, good, noise, edge, sign, width):
    """(shift, error) of one edge in parts of the order that show it."""
    cells = int(2 * _EDGE_REACH / _EDGE_CELL)
    columns = np.rint(edge)[:, None].astype(np.int64) + np.arange(-7, 8)
    inside = (columns >= 0) & (columns < width)
    if inside.mean() < 0.9:
        return []
    clipped = np.clip(columns, 0, width - 1)
    rows = np.broadcast_to(np.arange(edge.size)[:, None], columns.shape)
    offset = sign * (columns - edge[:, None])
    cell = np.floor((offset + _EDGE_REACH) / _EDGE_CELL).astype(np.int64)
    used = inside & good[rows, clipped] & (cell >= 0) & (cell < cells)
    part = np.minimum(rows * _EDGE_PARTS // edge.size, _EDGE_PARTS - 1)
    key = (part * cells + cell)[used]
    total = _EDGE_PARTS * cells
    level, count = binned_median(key.astype(float), view[rows, clipped][used].astype(float), total)
    light = np.maximum(np.nan_to_num(level), 0.0)
    variance = np.bincount(key, noise[rows, clipped][used], minlength=total) / np.maximum(count, 1) + light
    variance = (1.57 * variance / np.maximum(count, 1)).reshape(_EDGE_PARTS, cells)
    level, count = level.reshape(_EDGE_PARTS, cells), count.reshape(_EDGE_PARTS, cells)
    side = int(2.0 / _EDGE_CELL)
    results = []
    for values, sigma2, number in zip(level, variance, count, strict=True):
        if np.any(number < 5) or not np.all(np.isfinite(values)):
            continue
        dark, bright = values[:side].mean(), values[-side:].mean()
        step = bright - dark
        error = np.sqrt(sigma2.sum()) * _EDGE_CELL / max(step, 1e-9)
        if step <= 0 or error > 0.25:
            continue
        lit = ((values - dark) / step).sum() * _EDGE_CELL
        results.append((sign * (_EDGE_REACH - lit), float(error)))
    return results
