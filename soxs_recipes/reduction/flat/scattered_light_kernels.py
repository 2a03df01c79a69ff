"""Loops over the pixels between the orders: which gap they lie in, and clipped means of their cells."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["cell_means", "mark_between", "mark_gaps", "surface_products"]


@compiled
def mark_between(image, low, high, number):
    """Write `number` where low <= column <= high.

    Parameters
    ----------
    image : ndarray (n, m) int16
    low, high : ndarray (n,) float64
        May lie beyond the image.
    number : int
    """
    rows, columns = image.shape
    for row in range(rows):
        first = max(int(np.ceil(max(low[row], -1.0))), 0)
        last = min(int(np.floor(min(high[row], columns + 1.0))) + 1, columns)
        for column in range(first, last):
            image[row, column] = number


@compiled
def mark_gaps(image, low, high, lit_low, lit_high):
    """Number the gaps from 1, one a row of `low` and `high`; then 0 in what is lit.

    Parameters
    ----------
    image : ndarray (n, m) int16
        Zeros.
    low, high : ndarray (gaps, n) float64
    lit_low, lit_high : ndarray (orders, n) float64
    """
    for gap in range(low.shape[0]):
        mark_between(image, low[gap], high[gap], gap + 1)
    for order in range(lit_low.shape[0]):
        mark_between(image, lit_low[order], lit_high[order], 0)


@compiled
def _select(values, first, last, rank):
    """Value of this rank among values[first..last], which are partly sorted in place (Hoare's quickselect)."""
    while first < last:
        middle = (first + last) // 2
        a, b, c = values[first], values[middle], values[last]
        pivot = max(min(a, b), min(max(a, b), c))
        left, right = first, last
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if rank <= right:
            last = right
        elif rank >= left:
            first = left
        else:
            break
    return values[rank]


@compiled
def _clipped_mean(values, places, ranked, clip_sigma):
    """(kept, mean row, mean column, mean, its error) of a cell without outliers; `ranked` is room for a copy.

    Outliers lie more than `clip_sigma` times half the 68 per cent range from the median.
    """
    size = values.size
    ranked[:size] = values
    middle = int(0.5 * size)
    median = _select(ranked, 0, size - 1, middle)
    low = _select(ranked, 0, middle, int(0.159 * size))
    high = _select(ranked, middle, size - 1, min(int(0.841 * size), size - 1))
    reach = clip_sigma * max(0.5 * (np.float64(high) - np.float64(low)), 1e-6)
    kept, total, row, column = 0, 0.0, 0.0, 0.0
    for k in range(size):
        if abs(np.float64(values[k]) - median) <= reach:
            kept += 1
            total += values[k]
            row += places[k, 0]
            column += places[k, 1]
    mean, squares = total / kept, 0.0
    for k in range(size):
        if abs(np.float64(values[k]) - median) <= reach:
            squares += (values[k] - mean) ** 2
    return kept, row / kept, column / kept, mean, np.sqrt(max(squares / kept, 1e-8) / kept)


@compiled
def _gather(values, quality, unusable, gaps, rows, stride, slot, start, data, places):
    """Pixels between the orders of some rows, sorted by group: gap and slot of columns.

    `start` (groups + 1,) receives where each group begins in `data` (n,) and `places` (n, 2), their values and
    (row, column).
    """
    slots = -(-gaps.shape[1] // slot)
    start[:] = 0
    for fill in (False, True):
        for column in range(gaps.shape[1]):
            # Along the rows inside: cheap for either order of the axes, as these are few.
            for row in range(rows[0], rows[1], stride):
                gap, value = gaps[row, column], values[row, column]
                if gap == 0 or quality[row, column] & unusable or not np.isfinite(value):
                    continue
                group = (gap - 1) * slots + column // slot
                if fill:
                    at = start[group]
                    data[at], places[at, 0], places[at, 1] = value, row, column
                    start[group] += 1
                else:
                    start[group + 1] += 1
        if not fill:
            for group in range(start.size - 1):
                start[group + 1] += start[group]
    # Each start has run on to the next one.
    start[1:] = start[:-1].copy()
    start[0] = 0


@compiled
def cell_means(values, quality, unusable, gaps, cell, stride, clip_sigma, fewest):
    """Clipped means of cells: a gap, or a part of it, over some rows.

    Parameters
    ----------
    values : ndarray (n, m) float32
        Those not finite take no part.
    quality : ndarray (n, m) int32
    unusable : int
        Bits of quality with which a pixel takes no part.
    gaps : ndarray (n, m) int16
        Number of the gap, 0 in none.
    cell : (rows, columns) of a cell
    stride : int
        Every so many rows take part.
    clip_sigma : float
    fewest : int
        Pixels that a mean needs.

    Returns
    -------
    ndarray (cells, 4) float64
        Mean row, mean column, mean, error of the mean.
    """
    length, width = gaps.shape
    groups = int(gaps.max()) * -(-width // cell[1])
    start = np.zeros(groups + 1, np.int64)
    room = (cell[0] // stride + 1) * width
    data, ranked, places = np.empty(room, np.float32), np.empty(room, np.float32), np.empty((room, 2), np.int32)
    found, count = np.empty((groups * -(-length // cell[0]), 4)), 0
    for top in range(0, length, cell[0]):
        rows = (-(-top // stride) * stride, min(top + cell[0], length))
        _gather(values, quality, unusable, gaps, rows, stride, cell[1], start, data, places)
        for group in range(groups):
            first, last = start[group], start[group + 1]
            if last - first < fewest:
                continue
            kept, row, column, mean, error = _clipped_mean(
                data[first:last], places[first:last], ranked, clip_sigma
            )
            if kept >= fewest:
                found[count] = row, column, mean, error
                count += 1
    return found[:count]


@compiled
def surface_products(first, values, count, mean, weight, normal, right):
    """Normal equations of a surface of tensor products of cubic B-splines.

    Parameters
    ----------
    first : ndarray (n, 2) int64
        First spline, along and across, that a datum is of; three follow.
    values : ndarray (n, 2, 4) float64
        Of the splines there.
    count : int
        Splines across; those of a surface are numbered along first.
    mean, weight : ndarray (n,) float64
    normal : ndarray (m, m) float64
        Zeros; filled.
    right : ndarray (m,) float64
        Zeros; filled.
    """
    terms = values.shape[2] ** 2
    place, term = np.empty(terms, np.int64), np.empty(terms)
    for i in range(mean.size):
        for s in range(terms):
            a, b = s // values.shape[2], s % values.shape[2]
            place[s], term[s] = (first[i, 0] + a) * count + first[i, 1] + b, values[i, 0, a] * values[i, 1, b]
        for s in range(terms):
            weighted = weight[i] * term[s]
            right[place[s]] += weighted * mean[i]
            for t in range(s + 1):
                normal[place[s], place[t]] += weighted * term[t]
    for j in range(normal.shape[0]):
        for k in range(j):
            normal[k, j] = normal[j, k]
