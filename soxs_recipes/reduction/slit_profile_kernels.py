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


@compiled
def _place(slit, position, footprint, courses, half):
    """Where a pixel lies on the profile; arguments as for `averages`, `half` the table's.

    Returns 1/FWHM, the same over the profile's integral, distance from the centre [FWHM], squared size [FWHM^2],
    entry of the table and the share of the next one, and the position along the order from -1 to 1.
    """
    # Indices without a sign: numba need not look whether they count from the end.
    last = courses.shape[0] - 2
    below = np.uint64(min(max(int(position), 0), last))
    share = min(max(position - below, 0.0), 1.0)
    here, there = courses[below], courses[below + np.uint64(1)]
    centre = here[0] + share * (there[0] - here[0])
    inverse = here[1] + share * (there[1] - here[1])
    factor = inverse * (here[2] + share * (there[2] - here[2]))
    u = (slit - centre) * inverse
    place = u / (1.0 + abs(u) / CORE) * DENSITY + half
    entry = np.uint64(min(max(int(place), 0), 2 * half - 1))
    along = position * (2.0 / (last + 1)) - 1.0
    return inverse, factor, u, (footprint * inverse) ** 2, entry, place - entry, along


@compiled
def _between(low, high, share, column):
    """Column of a table between two of its rows."""
    return low[column] + share * (high[column] - low[column])


@compiled
def _average(table, entry, share, blur, along, sizes):
    """The profile of unit width averaged over a pixel; arguments from `_place` and as for `averages`."""
    low, high = table[entry], table[entry + np.uint64(1)]
    first, second = blur - sizes[0], blur - sizes[1]
    shape = (_between(low, high, share, 2) * second + _between(low, high, share, 1)) * first
    shape += _between(low, high, share, 0)
    return shape + (_between(low, high, share, 4) * first + _between(low, high, share, 3)) * along


@compiled
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
    result, half = np.empty(slit.size), table.shape[0] // 2
    for i in range(slit.size):
        _, factor, _, blur, entry, share, along = _place(slit[i], position[i], footprint[i], courses, half)
        result[i] = _average(table, entry, share, blur, along, sizes) * factor
    return result


@compiled
def averages_with_derivatives(slit, position, footprint, which, courses, table, sizes):
    """The same in row 0, then derivatives by centre [1/arcsec^2], ln width, tail and optics [1/arcsec]: (5, n).

    In the pixels `which` (n,). Further columns of the table: derivatives by u of columns 0, 1 and 3, and those by
    tail and optics.
    """
    result = np.empty((5, which.size))
    half = table.shape[0] // 2
    for n in range(which.size):
        i = which[n]
        inverse, factor, u, blur, entry, share, along = _place(slit[i], position[i], footprint[i], courses, half)
        low, high, first = table[entry], table[entry + np.uint64(1)], blur - sizes[0]
        slope = _between(low, high, share, 6) * first + _between(low, high, share, 5)
        slope += _between(low, high, share, 7) * along
        by_size = _between(low, high, share, 1)
        value = _average(table, entry, share, blur, along, sizes) * factor
        result[0, n] = value
        result[1, n] = -slope * inverse * factor
        result[2, n] = -value - (u * slope + 2.0 * blur * by_size) * factor
        result[3, n] = _between(low, high, share, 8) * factor
        result[4, n] = _between(low, high, share, 9) * factor
    return result


@compiled
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
    half = table.shape[0] // 2
    per_bin, per_width = PARTS / (courses.shape[0] - 1), (size - 3) / (2.0 * reach)
    for i in range(slit.size):
        if not weight[i] > 0:
            continue
        inverse, factor, u, blur, entry, share, along = _place(slit[i], position[i], footprint[i], courses, half)
        place = (u + reach) * per_width
        if not 0.0 < place < size - 3:
            continue
        rows[0] = min(int(place), size - 4)
        values[0], values[1], values[2], values[3] = _cubics(place - rows[0])
        for k in range(4):
            rows[k] = rows[0] + k
            values[k] *= light[0, i] * inverse
        values[4] = light[0, i]
        values[5] = light[0, i] * factor * _average(table, entry, share, blur, along, sizes)
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
