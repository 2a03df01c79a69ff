"""Loops over places and pixels for `pixel_maps`: Newton's inversion, and series evaluated in an order's pixels."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["invert_places", "order_lines", "still_owned"]

_CONVERGED = 1.0e-9  # [px]
_ACCEPTED = 1.0e-6  # [px]


@compiled
def _legendre(x, values, slopes):
    """P0(x), P1(x) ... and their derivatives, written into two arrays of one length."""
    values[0], slopes[0] = 1.0, 0.0
    if values.size > 1:
        values[1], slopes[1] = x, 1.0
    for n in range(1, values.size - 1):
        values[n + 1] = ((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1)
        slopes[n + 1] = slopes[n - 1] + (2 * n + 1) * values[n]


@compiled
def _sums(matrices, u, v):
    """Products u_i M_ij v_j, summed, of both matrices (2, i, j)."""
    x, y = 0.0, 0.0
    for i in range(u.size):
        for j in range(v.size):
            product = u[i] * v[j]
            x += matrices[0, i, j] * product
            y += matrices[1, i, j] * product
    return x, y


@compiled
def invert_places(matrices, domains, places, start, width, steps):
    """Wavelength and slit position of places on the detector, by Newton's method.

    Parameters
    ----------
    matrices : ndarray (2, i, j) float64
        Legendre series of x and y [px] in scaled wavelength and slit position.
    domains : ndarray (2, 2) float64
        (low, high) of wavelength [nm] and of slit position [arcsec].
    places : ndarray (2, n) float64
        x and y [px].
    start : ndarray (n,) float64 [nm]
    width : float [nm]
        Of the order: no step is longer than a fifth of it.
    steps : int
        At most.

    Returns
    -------
    ndarray (2, n)
        To 1e-9 px as a rule; NaN where 1e-6 px are not reached.
    """
    middle, scale = np.zeros(2), np.zeros(2)
    for axis in range(2):
        low, high = domains[axis]
        if high > low:  # a domain of no width maps to 0
            middle[axis], scale[axis] = 0.5 * (low + high), 2.0 / (high - low)
    u, u_slope = np.empty(matrices.shape[1]), np.empty(matrices.shape[1])
    v, v_slope = np.empty(matrices.shape[2]), np.empty(matrices.shape[2])
    found = np.empty((2, start.size))
    for k in range(start.size):
        wavelength, slit, distance = start[k], 0.0, np.inf
        for step in range(steps + 1):
            _legendre((wavelength - middle[0]) * scale[0], u, u_slope)
            _legendre((slit - middle[1]) * scale[1], v, v_slope)
            x, y = _sums(matrices, u, v)
            dx, dy = places[0, k] - x, places[1, k] - y
            distance = np.hypot(dx, dy)
            if distance < _CONVERGED or step == steps:
                break
            x_w, y_w = _sums(matrices, u_slope, v)
            x_s, y_s = _sums(matrices, u, v_slope)
            x_w, y_w, x_s, y_s = x_w * scale[0], y_w * scale[0], x_s * scale[1], y_s * scale[1]
            determinant = x_w * y_s - x_s * y_w
            if not abs(determinant) > 1.0e-12:
                determinant = 1.0e-12
            limit = 0.2 * width
            wavelength += min(max((dx * y_s - dy * x_s) / determinant, -limit), limit)
            slit += min(max((dy * x_w - dx * y_w) / determinant, -10.0), 10.0)
        known = distance < _ACCEPTED
        found[0, k] = wavelength if known else np.nan
        found[1, k] = slit if known else np.nan
    return found


@compiled
def _chebyshev(coefficients, v):
    """Sum of c_j T_j(v), by Clenshaw's recurrence."""
    one, two = 0.0, 0.0
    for j in range(coefficients.size - 1, 0, -1):
        one, two = 2.0 * v * one - two + coefficients[j], one
    return v * one - two + coefficients[0]


@compiled
def order_lines(owner, steps, number, series, first, middle, half, limits):
    """Pixels of an order with their wavelengths and slit positions, line by line across the dispersion.

    Parameters
    ----------
    owner : ndarray (ny * nx,) int16
        Changed: number of the order in which a pixel lies, the last one where several meet.
    steps : (along, across, pixels across)
        Steps in the flattened maps to the next pixel in either direction, and how many there are across.
    number : int
    series : ndarray (2, n, k) float64
        Chebyshev coefficients across the order of both, in every row along it.
    first : int
        Pixel along the dispersion of the first row.
    middle, half : ndarray (n,) float64 [px]
        The order across: pixels within `half` of the middle belong to it.
    limits : (low, high) [nm]
        Pixels beyond are left out.

    Returns
    -------
    index, start, wavelength, slit
        As in `OrderLines`.
    """
    ends, room = np.zeros((middle.size, 2), np.intp), 0
    for row in range(middle.size):
        if half[row] > 0:
            ends[row, 0] = max(int(np.ceil(max(middle[row] - half[row], 0.0))), 0)
            ends[row, 1] = min(int(np.floor(min(middle[row] + half[row], steps[2] + 1.0))) + 1, steps[2])
            room += max(ends[row, 1] - ends[row, 0], 0)
    index, values, start = np.empty(room, np.intp), np.empty((2, room)), np.zeros(middle.size + 1, np.intp)
    count = 0
    for row in range(middle.size):
        for across in range(ends[row, 0], ends[row, 1]):
            v = (across - middle[row]) / half[row]
            wavelength = _chebyshev(series[0, row], v)
            if limits[0] <= wavelength <= limits[1]:
                index[count] = (first + row) * steps[0] + across * steps[1]
                values[0, count], values[1, count] = wavelength, _chebyshev(series[1, row], v)
                owner[index[count]] = number
                count += 1
        start[row + 1] = count
    return index[:count], start, values[0, :count], values[1, :count]


@compiled
def still_owned(owner, number, index, start, wavelength, slit):
    """The same of the pixels that no later order took; the arrays are written over."""
    count, begin = 0, 0
    for line in range(start.size - 1):
        for i in range(begin, start[line + 1]):
            if owner[index[i]] == number:
                index[count], wavelength[count], slit[count] = index[i], wavelength[i], slit[i]
                count += 1
        begin, start[line + 1] = start[line + 1], count
    return index[:count], start, wavelength[:count], slit[:count]
