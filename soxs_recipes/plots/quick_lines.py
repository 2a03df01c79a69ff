"""Long lines of figures that go to a file: of the points within half a pixel across, those that can be seen.

A spectrum has tens of points in a column of pixels, and drawing every stroke up and down takes a third of the time
that its figure takes.
"""

from __future__ import annotations

import numpy as np

__all__ = ["MANY_POINTS", "thinned"]

MANY_POINTS = 500
_COLUMNS = 2.0  # a pixel
_LEFT = 2  # points of a column: the lowest and the highest
_WORTH = 0.6


def thinned(points: np.ndarray) -> np.ndarray:
    """The points of a line that can be seen, or all where that would not save much.

    Parameters
    ----------
    points : ndarray (n, 2) [px]
        Where one is NaN the line is broken.

    Returns
    -------
    ndarray (m, 2) [px]
    """
    x, y = points[:, 0], points[:, 1]
    # What is not a number equals nothing, so that it stands by itself.
    column = np.floor(_COLUMNS * x + 0.0 * y)
    begins = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
    if _LEFT * begins.size > _WORTH * x.size:
        return points
    ends = np.append(begins[1:], x.size) - 1
    kept = np.empty((begins.size, _LEFT, 2))
    kept[:, 0, 0], kept[:, 1, 0] = x[begins], x[ends]
    kept[:, 0, 1], kept[:, 1, 1] = np.minimum.reduceat(y, begins), np.maximum.reduceat(y, begins)
    kept[1::2, :, 1] = kept[1::2, ::-1, 1]  # up and down by turns: strokes between columns are short
    return kept.reshape(-1, 2)
