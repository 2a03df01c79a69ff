"""Loops over the pixels about an edge of an order: cut out, without what runs smoothly, compared with the sky."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["block_continuum", "cut_edge", "share_of_sky"]

_CLIP = 5.0  # sigma


@compiled
def _interpolated(place, bins, values, near):
    """(value, bin below) where ascending `bins` reach a place, sought from a bin nearby; ends are held."""
    last = bins.size - 2
    near = min(max(near, 0), last)
    while near < last and bins[near + 1] <= place:
        near += 1
    while near > 0 and bins[near] > place:
        near -= 1
    share = min(max((place - bins[near]) / (bins[near + 1] - bins[near]), 0.0), 1.0)
    return values[near] + share * (values[near + 1] - values[near]), near


@compiled
def cut_edge(images, steps, unusable, edge, sign, reach, bins, sky):
    """The pixels about one edge, straightened, and the sky that falls on them.

    Parameters
    ----------
    images : (light float32, quality int32, base variance float32, wavelength float64), flattened frames
    steps : (along, across, pixels across)
        Steps in the flattened frames to the next pixel in either direction, and how many there are across.
    unusable : int
        Bits of quality with which a pixel takes no part.
    edge : ndarray (n,) float64 [px]
        Of every pixel along the order.
    sign : int
        +1 where inside is towards rising coordinate.
    reach : int [px]
        On either side of the edge.
    bins, sky : ndarray (b,) float64
        Wavelength [nm], ascending, of the sky's bins, two at least, and the sky.

    Returns
    -------
    rows : ndarray (rows,) int64
        Which pixels along the order they are of.
    offset, light, variance, sky : ndarray (rows, 2 * reach + 1) float64
        Offset from the edge, positive inside; variance 0 where a pixel takes no part. Rows at which the edge lies
        near the border, or where no wavelength is known inside, are left out; beyond the edge wavelengths go on as
        they run inside.
    """
    light, quality, base, wavelength = images
    width = 2 * reach + 1
    cut, rows = np.empty((4, edge.size, width)), np.empty(edge.size, np.int64)
    count, near = 0, 0
    for row in range(edge.size):
        first = int(np.rint(edge[row]))
        inner, outer = first + 2 * sign, first + (reach + 1) * sign
        if first - reach < 0 or first + reach >= steps[2] or outer < 0 or outer >= steps[2]:
            continue
        start = wavelength[row * steps[0] + inner * steps[1]]
        slope = (wavelength[row * steps[0] + outer * steps[1]] - start) / (reach - 1.0)
        if not np.isfinite(slope):
            continue
        for k in range(width):
            column = first - reach + k
            place = row * steps[0] + column * steps[1]
            cut[0, count, k] = sign * (column - edge[row])
            cut[1, count, k] = light[place]
            cut[2, count, k] = 0.0 if quality[place] & unusable else base[place]
            cut[3, count, k], near = _interpolated(start + slope * sign * (column - inner), bins, sky, near)
        rows[count] = row
        count += 1
    return rows[:count], cut[0, :count], cut[1, :count], cut[2, :count], cut[3, :count]


@compiled
def block_continuum(values, block):
    """Medians of blocks of some `block` rows, joined by straight lines; (n, m) as the values, n > 0."""
    rows, columns = values.shape
    count = max(rows // block, 1)
    size = rows // count
    medians, part = np.empty((count, columns)), np.empty(size)
    for k in range(count):
        for column in range(columns):
            for row in range(size):  # insertion keeps the few values sorted
                value, at = values[k * size + row, column], row
                while at > 0 and part[at - 1] > value:
                    part[at] = part[at - 1]
                    at -= 1
                part[at] = value
            medians[k, column] = 0.5 * (part[(size - 1) // 2] + part[size // 2])
    result = np.empty((rows, columns))
    for row in range(rows):
        place = min(max((row + 0.5) / size - 0.5, 0.0), count - 1.0)
        low = min(int(place), max(count - 2, 0))
        high = min(low + 1, count - 1)
        for column in range(columns):
            result[row, column] = medians[low, column] + (place - low) * (
                medians[high, column] - medians[low, column]
            )
    return result


@compiled
def share_of_sky(cut, dark, cell, parts, cells):
    """Share of the sky in cells of distance from the edge, for parts of its length.

    Parameters
    ----------
    cut : (offset, light, variance, sky), ndarray (n, m) float64
        Pixels of variance 0 take no part; those that deviate by five sigma are left out once.
    dark : float [px]
        How far outside the first cell begins.
    cell : float [px]
    parts, cells : int

    Returns
    -------
    share, error : ndarray (parts, cells)
        NaN and inf in cells that hold nothing.
    """
    offset, light, variance, sky = cut
    share = np.zeros((parts, cells))
    norm = np.zeros((parts, cells))
    for second in (False, True):
        before = share
        share, norm = np.zeros((parts, cells)), np.zeros((parts, cells))
        for row in range(offset.shape[0]):
            part = row * parts // offset.shape[0]
            for k in range(offset.shape[1]):
                number = int(np.floor((offset[row, k] + dark) / cell))
                if number < 0 or number >= cells or not variance[row, k] > 0:
                    continue
                value, brightness = light[row, k], sky[row, k]
                if second and not abs(value - before[part, number] * brightness) < _CLIP * np.sqrt(
                    variance[row, k]
                ):
                    continue
                share[part, number] += brightness * value / variance[row, k]
                norm[part, number] += brightness * brightness / variance[row, k]
        share /= norm
    return share, 1.0 / np.sqrt(norm)
