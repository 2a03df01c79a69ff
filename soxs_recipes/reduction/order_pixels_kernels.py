"""Loops over the pixels of an order while it is cut out of the maps."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["footprints", "jacobians", "pixels_of", "spline_values", "within"]


@compiled
def pixels_of(
    order: np.ndarray,
    wavelength: np.ndarray,
    slit: np.ndarray,
    number: int,
    box: tuple[int, int, int, int],
    dispersion_axis: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of an order that the maps know, line by line across the dispersion.

    Parameters
    ----------
    order, wavelength, slit : ndarray (ny, nx)
        As in `PixelMaps`.
    number : int
    box : (first row, rows, first column, columns)
        Where to look.
    dispersion_axis : int

    Returns
    -------
    index : ndarray (n,) int
        Into the flattened frame.
    start : ndarray (lines + 1,) int
        Where each line begins in `index`, and where the last one ends.
    """
    y, rows, x, columns = box
    lines, length = (rows, columns) if dispersion_axis == 0 else (columns, rows)
    index, start = np.empty(lines * length, np.intp), np.zeros(lines + 1, np.intp)
    count = 0
    for line in range(lines):
        for k in range(length):
            here = (y + line, x + k) if dispersion_axis == 0 else (y + k, x + line)
            if order[here] == number and np.isfinite(wavelength[here]) and np.isfinite(slit[here]):
                index[count] = here[0] * order.shape[1] + here[1]
                count += 1
        start[line + 1] = count
    return index[:count].copy(), start


@compiled
def spline_values(x: np.ndarray, knots: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """A cubic spline where consecutive places are near each other.

    Parameters
    ----------
    x : ndarray (n,)
        Beyond the knots the outermost pieces go on.
    knots, coefficients : ndarray (m + 1,), (4, m)
        As in `scipy.interpolate.PPoly`.
    """
    result = np.empty(x.size)
    last, k = coefficients.shape[1] - 1, 0
    for i in range(x.size):
        while k < last and x[i] >= knots[k + 1]:
            k += 1
        while k > 0 and x[i] < knots[k]:
            k -= 1
        step = x[i] - knots[k]
        a, b, c, d = coefficients[0, k], coefficients[1, k], coefficients[2, k], coefficients[3, k]
        result[i] = ((a * step + b) * step + c) * step + d
    return result


@compiled
def jacobians(
    index: np.ndarray,
    start: np.ndarray,
    position: np.ndarray,
    slit: np.ndarray,
    row_length: int,
    box: tuple[int, int, int, int],
    dispersion_axis: int,
    samples: int,
) -> np.ndarray:
    """|d(position, slit)/d(row, column)| by differences, in some pixels whose four neighbours are known.

    Parameters
    ----------
    index, start, box, dispersion_axis
        As for `pixels_of`.
    position, slit : ndarray (n,)
    row_length : int
        Of the frame.
    samples : int
        About how many pixels.

    Returns
    -------
    ndarray (3, m)
        Line, slit position and Jacobian.
    """
    y, rows, x, columns = box
    lines, length = (rows, columns) if dispersion_axis == 0 else (columns, rows)
    place = np.full((lines + 2, length + 2), -1, np.int32)  # with a margin, of which nothing is known
    where = np.empty((index.size, 2), np.int32)
    for line in range(lines):
        for i in range(start[line], start[line + 1]):
            k = index[i] % row_length - x if dispersion_axis == 0 else index[i] // row_length - y
            place[line + 1, k + 1] = i
            where[i] = line + 1, k + 1
    surrounded, count = np.empty(index.size, np.intp), 0
    for i in range(index.size):
        a, b = where[i]
        if min(place[a - 1, b], place[a + 1, b], place[a, b - 1], place[a, b + 1]) >= 0:
            surrounded[count] = i
            count += 1
    step = max(count // samples, 1)
    result = np.empty((3, (count + step - 1) // step))
    for m in range(result.shape[1]):
        i = surrounded[m * step]
        a, b = where[i]
        before, after, left, right = place[a - 1, b], place[a + 1, b], place[a, b - 1], place[a, b + 1]
        along = (position[after] - position[before]) * (slit[right] - slit[left])
        across = (position[right] - position[left]) * (slit[after] - slit[before])
        result[0, m], result[1, m], result[2, m] = a - 1, slit[i], 0.25 * abs(along - across)
    return result


@compiled
def footprints(start: np.ndarray, slit: np.ndarray, constant: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """exp(constant + slope * slit), both of them known for each line of pixels; `start` as in `pixels_of`."""
    result = np.empty(slit.size)
    for line in range(constant.size):
        for i in range(start[line], start[line + 1]):
            result[i] = np.exp(constant[line] + slope[line] * slit[i])
    return result


@compiled
def within(
    index: np.ndarray,
    position: np.ndarray,
    slit: np.ndarray,
    footprint: np.ndarray,
    bins: int,
    low: float,
    high: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The pixels (n,) that lie in any of the bins and between two slit positions."""
    chosen, count = np.empty(index.size, np.intp), 0
    for i in range(index.size):
        if -0.5 < position[i] < bins - 0.5 and low < slit[i] < high:
            chosen[count] = i
            count += 1
    chosen = chosen[:count]
    return index[chosen], position[chosen], slit[chosen], footprint[chosen]
