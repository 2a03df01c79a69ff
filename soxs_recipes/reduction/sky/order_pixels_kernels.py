"""Loops over the pixels of an order while it is cut out of the maps."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["jacobians", "pixels_of", "spline_values", "taken", "within", "written"]


@compiled
def pixels_of(
    order: np.ndarray,
    wavelength: np.ndarray,
    slit: np.ndarray,
    number: int,
    box: tuple[int, int, int, int],
    dispersion_axis: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
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
    wavelength, slit : ndarray (n,)
        Of these pixels.
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
    index = index[:count].copy()
    values = np.empty((2, count))
    for i in range(count):
        here = divmod(index[i], order.shape[1])
        values[0, i], values[1, i] = wavelength[here], slit[here]
    return index, start, values[0], values[1]


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
    dispersion_axis: int,
    samples: int,
) -> np.ndarray:
    """|d(position, slit)/d(row, column)| by differences, in some pixels whose four neighbours are known.

    Parameters
    ----------
    index, start, dispersion_axis
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
    along, across = (row_length, 1) if dispersion_axis == 0 else (1, row_length)
    found, count = np.empty((index.size, 2), np.int32), 0  # pixels and their lines
    for line in range(1, start.size - 2):
        first, last = start[line], start[line + 1]
        before, after = start[line - 1], last  # pixels of the lines beside, which move along with this one's
        for i in range(first + 1, last - 1):
            while before < first and index[before] < index[i] - along:
                before += 1
            while after < start[line + 2] and index[after] < index[i] + along:
                after += 1
            if (
                index[i - 1] == index[i] - across
                and index[i + 1] == index[i] + across
                and before < first
                and index[before] == index[i] - along
                and after < start[line + 2]
                and index[after] == index[i] + along
            ):
                found[count] = i, line
                count += 1
    step = max(count // samples, 1)
    result = np.empty((3, (count + step - 1) // step))
    for m in range(result.shape[1]):
        i, line = found[m * step]
        before = start[line - 1] + np.searchsorted(index[start[line - 1] : start[line]], index[i] - along)
        after = start[line + 1] + np.searchsorted(index[start[line + 1] : start[line + 2]], index[i] + along)
        one = (position[after] - position[before]) * (slit[i + 1] - slit[i - 1])
        other = (position[i + 1] - position[i - 1]) * (slit[after] - slit[before])
        result[0, m], result[1, m], result[2, m] = line, slit[i], 0.25 * abs(one - other)
    return result


@compiled
def within(
    index: np.ndarray,
    start: np.ndarray,
    position: np.ndarray,
    slit: np.ndarray,
    size: tuple[np.ndarray, np.ndarray],
    bins: int,
    ends: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Index, position, slit and footprint (m,) of the pixels in any of the bins and between two slit positions.

    Parameters
    ----------
    index, start
        As in `pixels_of`.
    position, slit : ndarray (n,)
    size : (constant, slope), ndarray (lines,)
        ln footprint = constant + slope * slit in every line.
    bins : int
    ends : (low, high) [arcsec]
    """
    constant, slope = size
    inside, values, count = np.empty(index.size, np.intp), np.empty((3, index.size)), 0
    for line in range(constant.size):
        for i in range(start[line], start[line + 1]):
            if -0.5 < position[i] < bins - 0.5 and ends[0] < slit[i] < ends[1]:
                inside[count], values[0, count], values[1, count] = index[i], position[i], slit[i]
                values[2, count] = np.exp(constant[line] + slope[line] * slit[i])
                count += 1
    return inside[:count], values[0, :count], values[1, :count], values[2, :count]


@compiled
def taken(image: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values of a flattened image at some pixels, float64."""
    values = np.empty(index.size)
    for i in range(index.size):
        values[i] = image[index[i]]
    return values


@compiled
def written(image: np.ndarray, index: np.ndarray, first: int, values: np.ndarray) -> None:
    """Write values into a flattened image, of which the pixel `first` of the frame is the first."""
    for i in range(index.size):
        image[index[i] - first] = values[i]
