"""Loops over the pixels of an order that profiles along the slit need."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = [
    "CORE",
    "DENSITY",
    "SAMPLES",
    "averages",
    "averages_with_derivatives",
    "bend_products",
    "fill_tables",
    "over_slit",
]

DENSITY = 256  # table entries per FWHM in the core: linear interpolation is good to 1e-5 of the peak
CORE = 3.0  # FWHM
SAMPLES = 40  # of an image per FWHM: cubic interpolation is good to 1e-6 of the peak
WINGS = 5.0  # FWHM within which a profile's shape shows
_BLOCK = 256  # pixels that are looked at together, in loops short enough for vector units
_NODE = 0.3872983346207417  # of Gauss and Legendre's rule of three points on [-1/2, 1/2]: a pixel averages


@compiled
def _series(c, t):
    """A polynomial with eight coefficients, constant first."""
    return c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * (c[5] + t * (c[6] + t * c[7]))))))


@compiled
def _room():
    """What `_locate` fills for a block of pixels."""
    size = _BLOCK
    floats = (np.empty(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size), np.empty(size))
    return np.empty(size, np.int32), floats


@compiled
def _locate(slit, position, footprint, curves, bins, half, entries, found):
    """Where pixels of a block lie on the profile; arguments as for `averages`, `half` the table's.

    Entries of the table, into `entries`; into `found`: the share of the next entry, squared size [FWHM^2],
    position along the order from -1 to 1, 1/FWHM over the profile's integral, 1/FWHM, distance from the centre
    [FWHM].
    """
    centre, width, strength = curves
    shares, blurs, along, factors, inverses, distances = found
    last, scale = 2.0 * half - 1.0, 2.0 / bins
    for j in range(slit.size):
        t = position[j] * scale - 1.0
        inverse = _series(width, t)
        u = (slit[j] - _series(centre, t)) * inverse
        place = u / (1.0 + abs(u) / CORE) * DENSITY + half
        entry = np.floor(min(max(place, 0.0), last))
        entries[j], shares[j] = np.int32(entry), place - entry
        blurs[j], along[j] = (footprint[j] * inverse) ** 2, t
        factors[j], inverses[j], distances[j] = _series(strength, t), inverse, u


@compiled
def _between(low, high, share, column):
    """Column of a table between two of its rows."""
    return low[column] + share * (high[column] - low[column])


@compiled
def _average(low, high, share, blur, along, sizes):
    """The profile of unit width averaged over a pixel; rows of the table, and as `_locate` and `averages` say."""
    first, second = blur - sizes[0], blur - sizes[1]
    shape = (_between(low, high, share, 2) * second + _between(low, high, share, 1)) * first
    shape += _between(low, high, share, 0)
    return shape + (_between(low, high, share, 4) * first + _between(low, high, share, 3)) * along


@compiled
def averages(slit, position, footprint, curves, bins, table, sizes):
    """The profile averaged over every pixel [1/arcsec].

    Parameters
    ----------
    slit, position, footprint : ndarray (pixels,) [arcsec, bins, arcsec]
    curves : three tuples of eight floats [arcsec, 1/arcsec, 1/arcsec]
        Polynomials along the order, from -1 to 1, of the centre, 1/FWHM, and the latter over the integral along
        the slit.
    bins : int
        Of the order.
    table : ndarray (2 half + 1, 5)
        From `fill_tables`.
    sizes : (float, float)
        The first two squared sizes to which the table's parabola belongs.
    """
    result, half = np.empty(slit.size), table.shape[0] // 2
    entries, found = _room()
    shares, blurs, along, factors, _, _ = found
    for start in range(0, slit.size, _BLOCK):
        here = slice(start, min(start + _BLOCK, slit.size))
        _locate(slit[here], position[here], footprint[here], curves, bins, half, entries, found)
        for j in range(here.stop - start):
            entry = np.uint64(entries[j])  # without a sign: numba need not look whether it counts from the end
            low, high = table[entry], table[entry + np.uint64(1)]
            result[start + j] = _average(low, high, shares[j], blurs[j], along[j], sizes) * factors[j]
    return result


@compiled
def _derivatives(table, slopes, sizes, j, entries, found):
    """The average over pixel j of what `_locate` found; its derivatives by centre, ln width, tail and optics."""
    shares, blurs, along, factors, inverses, distances = found
    entry, share, factor = np.uint64(entries[j]), shares[j], factors[j]
    low, high = table[entry], table[entry + np.uint64(1)]
    value = _average(low, high, share, blurs[j], along[j], sizes) * factor
    by_size = _between(low, high, share, 1)
    low, high = slopes[entry], slopes[entry + np.uint64(1)]
    slope = _between(low, high, share, 1) * (blurs[j] - sizes[0]) + _between(low, high, share, 0)
    slope += _between(low, high, share, 2) * along[j]
    by_width = -value - (distances[j] * slope + 2.0 * blurs[j] * by_size) * factor
    by_tail, by_optics = _between(low, high, share, 3) * factor, _between(low, high, share, 4) * factor
    return value, -slope * inverses[j] * factor, by_width, by_tail, by_optics


@compiled
def averages_with_derivatives(slit, position, footprint, which, curves, bins, table, slopes, sizes):
    """The same in row 0, then derivatives by centre [1/arcsec^2], ln width, tail and optics [1/arcsec]: (5, n).

    In the pixels `which` (n,); `slopes` are from `fill_tables`, too.
    """
    result = np.empty((5, which.size))
    half = table.shape[0] // 2
    entries, found = _room()
    places = np.empty((3, _BLOCK))
    for start in range(0, which.size, _BLOCK):
        size = min(_BLOCK, which.size - start)
        for j in range(size):
            i = which[start + j]
            places[0, j], places[1, j], places[2, j] = slit[i], position[i], footprint[i]
        _locate(places[0, :size], places[1], places[2], curves, bins, half, entries, found)
        for j in range(size):
            row = _derivatives(table, slopes, sizes, j, entries, found)
            for k in range(5):
                result[k, start + j] = row[k]
    return result


@compiled
def _image_at(image, u):
    """An image at the distance u from its centre [FWHM], by cubics through four samples; the last one beyond."""
    last = image.size - 2
    place = min(abs(u) * SAMPLES, float(last))
    k = min(int(place), last - 1)
    f = place - k
    g = 1.0 - f
    inner = image[k] * (1.0 + f) * (2.0 - f) * g * 0.5 + image[k + 1] * f * (1.0 + f) * (2.0 - f) * 0.5
    return inner - (image[abs(k - 1)] * (2.0 - f) + image[k + 2] * (1.0 + f)) * f * g / 6.0


@compiled
def fill_tables(images, correction, reach, blurs, steps, half):
    """The profile of unit width averaged over pixels, as table over the distance u from its centre [FWHM].

    Dense in the core and wide in the wings: evenly spaced in u / (1 + |u| / CORE). The average depends on the
    pixel's size, too, by its square nearly as a parabola, known from three squared sizes.

    Parameters
    ----------
    images : ndarray (5, samples)
        For the three sizes, and for the second one with a step of the tail, and with one of the optics.
    correction : ndarray (size, 2)
        As `correction_at` takes it; (0, 2) for none.
    reach : float [FWHM]
    blurs : ndarray (3,) [FWHM^2]
        Evenly spaced.
    steps : (float, float)
        Of tail and optics.
    half : int

    Returns
    -------
    table : ndarray (2 half + 1, 5)
        Newton's coefficients of the average's parabola in the squared size, and of the line that is added at the
        order's end.
    slopes : ndarray (2 half + 1, 5)
        Derivatives by u of columns 0, 1 and 3; by tail and optics of the average over the second size.
    """
    table, slopes = np.empty((2 * half + 1, 5)), np.empty((2 * half + 1, 5))
    step, shape, ends = blurs[1] - blurs[0], np.empty(3), np.zeros(3)
    for k in range(2 * half + 1):
        inner = (k - half) / DENSITY
        u = inner / max(1.0 - abs(inner) / CORE, 1e-3)
        for n in range(3):
            shape[n] = _image_at(images[n], u)
        slopes[k, 3] = (_image_at(images[3], u) - shape[1]) / steps[0]
        slopes[k, 4] = (_image_at(images[4], u) - shape[1]) / steps[1]
        for n in range(3 if correction.size else 0):
            constant, ends[n] = _averaged_correction(correction, u, _NODE * np.sqrt(blurs[n]), reach)
            shape[n] += constant
        table[k, 0], table[k, 1] = shape[0], (shape[1] - shape[0]) / step
        table[k, 2] = (shape[2] - 2.0 * shape[1] + shape[0]) / (2.0 * step**2)
        table[k, 3], table[k, 4] = ends[0], (ends[2] - ends[0]) / (2.0 * step)
    for k in range(2 * half + 1):
        before, behind = max(k - 1, 0), min(k + 1, 2 * half)
        # Evenly spaced in u / (1 + |u| / CORE), which rises by this much.
        rise = DENSITY * max(1.0 - abs(k - half) / (DENSITY * CORE), 1e-3) ** 2
        for n in range(3):
            column = n if n < 2 else 3
            slopes[k, n] = (table[behind, column] - table[before, column]) / (behind - before) * rise
    return table, slopes


@compiled
def over_slit(image, correction, reach, centres, widths, slit):
    """The profile [1/arcsec] at places along the slit, evenly spaced over the order: (nodes, places).

    Parameters
    ----------
    image, correction, reach
        As for `fill_tables`, before any pixel averages.
    centres, widths : ndarray (nodes,) [arcsec]
        Centre and FWHM.
    slit : ndarray (places,) [arcsec]
    """
    result = np.empty((centres.size, slit.size))
    for n in range(centres.size):
        t = 2.0 * n / (centres.size - 1) - 1.0
        for i in range(slit.size):
            u = (slit[i] - centres[n]) / widths[n]
            value = _image_at(image, u)
            if correction.size:
                constant, slope = _correction_at(correction, u, reach)
                value += constant + t * slope
            result[n, i] = value / widths[n]
    return result


@compiled
def bend_products(
    slit, position, footprint, curves, bins, table, slopes, sizes, weight, light, data, reach, size, chunks
):
    """Weighted products of what a profile's shape, a bend, its brightness and other light leave in the pixels.

    Parameters
    ----------
    slit, position, footprint, curves, bins, table, slopes, sizes
        As for `averages_with_derivatives`.
    weight : ndarray (pixels,)
        1/variance, 0 where masked.
    light : ndarray (1 + others, pixels) [e- arcsec; e-]
        What a profile of 1/arcsec would leave; further light.
    data : ndarray (pixels,) [e-]
    reach, size : float, int
        How far the bend's cubic B-splines reach [FWHM], and their number.
    chunks : int
        Equal parts of the order.

    Returns
    -------
    ndarray (chunks, m, m)
        Of centre, ln width, tail, optics, the splines, the source's light as profile and as pedestal, the further
        light and the data, in each part of the order.
    """
    others, half = len(light) - 1, table.shape[0] // 2
    count = 4 + size + 2 + others + 1
    result = np.zeros((chunks, count, count))
    values, rows = np.empty(11 + others), np.empty(11 + others, np.intp)
    entries, found = _room()
    for i in range(slit.size):
        j = i % _BLOCK
        if j == 0:
            here = slice(i, min(i + _BLOCK, slit.size))
            _locate(slit[here], position[here], footprint[here], curves, bins, half, entries, found)
        if not (weight[i] > 0 and abs(found[5][j]) < WINGS):
            continue
        shape = _derivatives(table, slopes, sizes, j, entries, found)
        active = _bend_columns(shape, found[5][j], found[4][j], light[:, i], data[i], reach, size, values, rows)
        own = result[min(max(int(position[i] * chunks / bins), 0), chunks - 1)]
        for a in range(active):
            weighted, row = weight[i] * values[a], own[rows[a]]
            for b in range(a + 1):
                row[rows[b]] += weighted * values[b]
    for own in result:
        for a in range(count):
            own[:a, a] = own[a, :a]
    return result


@compiled
def _bend_columns(shape, distance, inverse, light, data, reach, size, values, rows):
    """What `bend_products` multiplies in a pixel, into `values`, and in which rows it does, into `rows`.

    `shape` is from `_derivatives`; distance from the centre [FWHM], 1/FWHM, light and data are those of the pixel.
    Returns how many they are.
    """
    for k in range(4):
        values[k], rows[k] = light[0] * shape[1 + k], k
    active, knot = 4, (distance + reach) * (size - 3) / (2.0 * reach)
    if 0.0 < knot < size - 3:
        first = min(int(knot), size - 4)
        cubics = _cubics(knot - first)
        for k in range(4):
            values[4 + k], rows[4 + k] = light[0] * inverse * cubics[k], 4 + first + k
        active = 8
    values[active], values[active + 1] = light[0] * shape[0], light[0]
    for k in range(1, len(light)):
        values[active + 1 + k] = light[k]
    values[active + 1 + len(light)] = data
    for k in range(2 + len(light)):
        rows[active + k] = 4 + size + k
    return active + 2 + len(light)


@compiled
def _cubics(f):
    """The four cubic B-splines of evenly spaced knots at the share f of the way from one to the next."""
    first, last = (1.0 - f) ** 3 / 6.0, f**3 / 6.0
    second = 0.5 * f**3 - f**2 + 2.0 / 3.0
    return first, second, 1.0 - first - second - last, last


@compiled
def _correction_at(coefficients, u, reach):
    """The correction at mid-order and its slope along the order at the distance u [FWHM]; 0 beyond its reach."""
    size = coefficients.shape[0]
    place = (u + reach) * (size - 3) / (2.0 * reach)
    if not 0.0 <= place <= size - 3:
        return 0.0, 0.0
    k = min(int(place), size - 4)
    a, b, c, d = _cubics(place - k)
    p, q, r, s = coefficients[k], coefficients[k + 1], coefficients[k + 2], coefficients[k + 3]
    return a * p[0] + b * q[0] + c * r[0] + d * s[0], a * p[1] + b * q[1] + c * r[1] + d * s[1]


@compiled
def _averaged_correction(coefficients, u, step, reach):
    """The same, averaged over a pixel: `step` is the distance of the outer two of three points to its middle."""
    before, middle = _correction_at(coefficients, u - step, reach), _correction_at(coefficients, u, reach)
    behind = _correction_at(coefficients, u + step, reach)
    constant = (5.0 * (before[0] + behind[0]) + 8.0 * middle[0]) / 18.0
    return constant, (5.0 * (before[1] + behind[1]) + 8.0 * middle[1]) / 18.0
