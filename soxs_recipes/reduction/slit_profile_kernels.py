"""Loops over the pixels of an order that profiles along the slit need."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = [
    "CORE",
    "DENSITY",
    "PARTS",
    "averages",
    "averages_with_derivatives",
    "correction_at",
    "correction_products",
]

DENSITY = 400  # table entries per FWHM in the core: linear interpolation is good to 1e-5 of the peak
CORE = 3.0  # FWHM
PARTS = 64  # of an order: within one, a term that is linear along the order is the same everywhere


@compiled(any_order=True)
def _course(courses, position, which):
    """What is known per bin (bins + 1, k), the last row twice, between the bins; beyond both ends their value."""
    below = min(max(int(position), 0), courses.shape[0] - 2)
    share = min(max(position - below, 0.0), 1.0)
    return courses[below, which] + share * (courses[below + 1, which] - courses[below, which])


@compiled(any_order=True)
def _average(slit, position, footprint, courses, table, sizes):
    """The profile averaged over one pixel; arguments as for `averages`."""
    inverse = _course(courses, position, 1)
    u = (slit - _course(courses, position, 0)) * inverse
    blur = (footprint * inverse) ** 2
    place = u / (1.0 + abs(u) / CORE) * DENSITY + table.shape[0] // 2
    entry = min(max(int(place), 0), table.shape[0] - 2)
    low, high, share = table[entry], table[entry + 1], place - entry
    first, second = blur - sizes[0], blur - sizes[1]
    shape = ((low[2] + share * (high[2] - low[2])) * second + low[1] + share * (high[1] - low[1])) * first
    shape += low[0] + share * (high[0] - low[0])
    tilt = (low[4] + share * (high[4] - low[4])) * first + low[3] + share * (high[3] - low[3])
    shape += tilt * (position * (2.0 / (courses.shape[0] - 1)) - 1.0)
    return shape * inverse * _course(courses, position, 2)


@compiled(any_order=True)
def averages(slit, position, footprint, courses, table, sizes):
    """The profile averaged over every pixel [1/arcsec].

    Parameters
    ----------
    slit, position, footprint : ndarray (pixels,) [arcsec, bins, arcsec]
    courses : ndarray (bins + 1, 3) [arcsec, 1/arcsec, 1]
        Centre, 1/FWHM and 1/integral over the slit; the last row twice.
    table : ndarray (2 half + 1, 5 or more)
        Over the distance u from the centre [FWHM], evenly spaced in u / (1 + |u| / CORE): Newton's coefficients of
        the average's parabola in the squared size of the pixel, and of the line that is added at the order's end.
    sizes : ndarray (2,)
        The first two squared sizes to which the parabola belongs.
    """
    result = np.empty(slit.size)
    for i in range(slit.size):
        result[i] = _average(slit[i], position[i], footprint[i], courses, table, sizes)
    return result


@compiled(any_order=True)
def averages_with_derivatives(slit, position, footprint, which, courses, table, sizes):
    """The same in row 0, then derivatives by centre [1/arcsec^2], ln width, tail and optics [1/arcsec]: (5, n).

    In the pixels `which` (n,). Further columns of the table: derivatives by u of columns 0, 1 and 3, and those by
    tail and optics.
    """
    result = np.empty((5, which.size))
    half, per_bin = table.shape[0] // 2, 2.0 / (courses.shape[0] - 1)
    for n in range(which.size):
        i = which[n]
        inverse = _course(courses, position[i], 1)
        u = (slit[i] - _course(courses, position[i], 0)) * inverse
        blur = (footprint[i] * inverse) ** 2
        place = u / (1.0 + abs(u) / CORE) * DENSITY + half
        entry = min(max(int(place), 0), table.shape[0] - 2)
        low, high, share = table[entry], table[entry + 1], place - entry
        first = blur - sizes[0]
        by_size = low[1] + share * (high[1] - low[1])
        slope = (low[6] + share * (high[6] - low[6])) * first + low[5] + share * (high[5] - low[5])
        slope += (low[7] + share * (high[7] - low[7])) * (position[i] * per_bin - 1.0)
        factor = inverse * _course(courses, position[i], 2)
        value = _average(slit[i], position[i], footprint[i], courses, table, sizes)
        result[0, n] = value
        result[1, n] = -slope * inverse * factor
        result[2, n] = -value - (u * slope + 2.0 * blur * by_size) * factor
        result[3, n] = (low[8] + share * (high[8] - low[8])) * factor
        result[4, n] = (low[9] + share * (high[9] - low[9])) * factor
    return result


@compiled(any_order=True)
def correction_products(slit, position, footprint, courses, table, sizes, weight, light, data, reach, size):
    """Sums over pixels of products of what a correction of the profile and its rivals leave in them.

    Parameters
    ----------
    slit, position, footprint, courses, table, sizes
        As for `averages`.
    weight : ndarray (pixels,)
        1/variance, 0 where masked.
    light : ndarray (1 + others, pixels) [e- arcsec; e-]
        What a profile of 1/arcsec would leave; further light.
    data : ndarray (pixels,) [e-]
    reach, size : float, int
        How far the correction's cubic B-splines reach [FWHM], and their number.

    Returns
    -------
    products : ndarray (PARTS, size + rivals, size + rivals)
        Of the splines, the source's light as pedestal and as profile, and the further light, in equal parts of the
        order. Lower triangles.
    right : ndarray (PARTS, size + rivals)
        Of the same and the data.
    """
    rivals = 1 + len(light)
    products, right = np.zeros((PARTS, size + rivals, size + rivals)), np.zeros((PARTS, size + rivals))
    values, rows = np.empty(4 + rivals), np.arange(-4, rivals) + size
    per_bin, per_width = PARTS / (courses.shape[0] - 1), (size - 3) / (2.0 * reach)
    for i in range(slit.size):
        inverse = _course(courses, position[i], 1)
        place = ((slit[i] - _course(courses, position[i], 0)) * inverse + reach) * per_width
        if not (weight[i] > 0 and 0.0 < place < size - 3):
            continue
        rows[0] = min(int(place), size - 4)
        values[0], values[1], values[2], values[3] = _cubics(place - rows[0])
        for k in range(4):
            rows[k] = rows[0] + k
            values[k] *= light[0, i] * inverse
        values[4] = light[0, i]
        values[5] = light[0, i] * _average(slit[i], position[i], footprint[i], courses, table, sizes)
        for k in range(1, len(light)):
            values[5 + k] = light[k, i]
        part = min(max(int(position[i] * per_bin), 0), PARTS - 1)
        for a in range(4 + rivals):
            weighted = weight[i] * values[a]
            right[part, rows[a]] += weighted * data[i]
            row = products[part, rows[a]]
            for b in range(a + 1):
                row[rows[b]] += weighted * values[b]
    return products, right


@compiled
def _cubics(f):
    """The four cubic B-splines of evenly spaced knots at the share f of the way from one to the next."""
    first, last = (1.0 - f) ** 3 / 6.0, f**3 / 6.0
    second = 0.5 * f**3 - f**2 + 2.0 / 3.0
    return first, second, 1.0 - first - second - last, last


@compiled
def correction_at(u, coefficients, reach):
    """Splines with coefficients (size, 2) at distances u (n,) [FWHM]: (n, 2); 0 beyond their reach."""
    result = np.zeros((u.size, 2))
    size = coefficients.shape[0]
    for i in range(u.size):
        place = (u[i] + reach) * (size - 3) / (2.0 * reach)
        if 0.0 <= place <= size - 3:
            below = min(int(place), size - 4)
            cubics = _cubics(place - below)
            for k in range(4):
                for column in range(2):
                    result[i, column] += cubics[k] * coefficients[below + k, column]
    return result
