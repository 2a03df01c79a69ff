"""How much of each pixel falls into each bin of a grid, exactly: areas of quadrilaterals cut by unit squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PixelOverlaps", "overlap_areas"]

_CHUNK = 8192  # pixels at a time, so that the arrays stay in the processor's cache
_FLAT = 1.0e-7  # of a bin: an edge that crosses less than this stands upright


@dataclass(frozen=True, slots=True)
class PixelOverlaps:
    """Overlaps of n pixels with blocks of bins.

    Attributes
    ----------
    first_row, first_column : ndarray (n,) int64
        Bin at the block's corner.
    area : ndarray (n, rows, columns) float64
        Shared area, in bins; a pixel's own area is its sum.
    """

    first_row: np.ndarray
    first_column: np.ndarray
    area: np.ndarray

    @property
    def own_area(self) -> np.ndarray:
        """Area of each pixel [bins], (n,)."""
        return self.area.sum(axis=(1, 2))


def overlap_areas(column: np.ndarray, row: np.ndarray) -> PixelOverlaps:
    """Areas that quadrilaterals share with the unit squares of a grid.

    Parameters
    ----------
    column, row : ndarray (n, 4) float64 [bins]
        Corners of each quadrilateral, in turn around it either way; bin k covers k - 1/2 to k + 1/2.

    Returns
    -------
    PixelOverlaps

    Notes
    -----
    By Green's theorem the area shared with a square is the sum over the quadrilateral's edges of the integral,
    over the part of the edge that lies in the square's row, of the edge's column cut to the square's own range.
    Along a straight edge the integrand is a cut straight line, whose integral is closed; nothing is approximated.
    """
    first_column = np.floor(column.min(axis=1) + 0.5).astype(np.int64)
    first_row = np.floor(row.min(axis=1) + 0.5).astype(np.int64)
    columns = int((np.floor(column.max(axis=1) + 0.5) - first_column).max(initial=0)) + 1
    rows = int((np.floor(row.max(axis=1) + 0.5) - first_row).max(initial=0)) + 1
    area = np.empty((rows, columns, column.shape[0]))
    for start in range(0, column.shape[0], _CHUNK):
        part = slice(start, start + _CHUNK)
        x = (column[part] + 0.5 - first_column[part, None]).T
        y = (row[part] + 0.5 - first_row[part, None]).T
        _add_edges(np.ascontiguousarray(x), np.ascontiguousarray(y), area[:, :, part])
    # Whichever way the corners run.
    area *= np.sign(area.sum(axis=(0, 1)))
    return PixelOverlaps(first_row, first_column, np.maximum(area, 0.0).transpose(2, 0, 1))


def _add_edges(x, y, area):
    """Signed areas (rows, columns, n) of quadrilaterals with corners x, y (4, n) from the block's own corner."""
    rows, columns, _ = area.shape
    area[...] = 0.0
    for k in range(4):
        x1, y1, x2, y2 = x[k], y[k], x[(k + 1) % 4], y[(k + 1) % 4]
        rise = y2 - y1
        slope = (x2 - x1) / np.where(rise == 0.0, 1.0, rise)
        for row in range(rows):
            low, high = _cut(y1 - row), _cut(y2 - row)
            height = high - low
            begin = x1 + (low + row - y1) * slope
            run = height * slope
            upright = np.abs(run) < _FLAT
            factor = height / np.where(upright, 1.0, run)
            stands = upright.any() and (height[upright] != 0.0).any()
            for column in range(columns):
                start = begin - column
                part = factor * (_cut_integral(start + run) - _cut_integral(start))
                if stands:
                    part = np.where(upright, height * _cut(start + 0.5 * run), part)
                area[row, column] += part


def _cut(z):
    """A straight line cut to 0 ... 1."""
    return np.minimum(np.maximum(z, 0.0), 1.0)


def _cut_integral(z):
    """Its integral from 0 to z."""
    cut = _cut(z)
    return cut * (z - 0.5 * cut)
