"""Loops over pixels and coefficients that least squares for interleaved cubic splines need."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = [
    "banded_inverse",
    "covariances",
    "fill_terms",
    "normal_equations",
    "spans",
    "spline_and_derivatives",
    "spline_sums",
]

_ROWS = 128  # whose products are summed at once


@compiled
def _interval(knots, x, guess):
    """The knot at or below x, the last but one at the last; x must not lie outside."""
    if knots[guess] <= x < knots[guess + 1]:
        return guess
    low, high = 0, knots.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if x >= knots[middle]:
            low = middle
        else:
            high = middle
    return low


@compiled(any_order=True)
def fill_terms(knots, pieces, x, factor, first, values):
    """The four basis functions of a cubic spline that are not zero at each x, times a factor.

    Parameters
    ----------
    knots : ndarray (m + 1,)
        Those between which the spline lives; outside, its functions have the values at the ends.
    pieces : ndarray (m, 4, 4)
        Polynomials of the four functions between one knot and the next, in the share of the way, constant first.
    x, factor : ndarray (n,)
    first : ndarray (n,) int32
        Filled with the first of the four functions.
    values : ndarray (n, 4)
        Filled with them.
    """
    i = 0
    for p in range(x.size):
        place = min(max(x[p], knots[0]), knots[-1])
        i = _interval(knots, place, i)
        f = (place - knots[i]) / (knots[i + 1] - knots[i])
        first[p] = i
        for k in range(4):
            piece = pieces[i, k]
            values[p, k] = factor[p] * (piece[0] + f * (piece[1] + f * (piece[2] + f * piece[3])))


@compiled(any_order=True)
def spline_and_derivatives(knots, cubics, x):
    """A spline and its first two derivatives (3, n), from its polynomials (m, 4) as `pieces` of `fill_terms`."""
    result = np.empty((3, x.size))
    i = 0
    for p in range(x.size):
        place = min(max(x[p], knots[0]), knots[-1])
        i = _interval(knots, place, i)
        step, c = knots[i + 1] - knots[i], cubics[i]
        f = (place - knots[i]) / step
        result[0, p] = c[0] + f * (c[1] + f * (c[2] + f * c[3]))
        result[1, p] = (c[1] + f * (2.0 * c[2] + f * 3.0 * c[3])) / step
        result[2, p] = (2.0 * c[2] + 6.0 * f * c[3]) / step**2
    return result


@compiled
def spans(first, ranks):
    """Where each pixel lies among the knots, and how far apart in rank coefficients are that share a pixel.

    Arguments as for `normal_equations`. Pixels between the same knots have the same place (pixels,) int32, which
    rises along the order.
    """
    widest, place = 0, np.empty(first.shape[0], np.int32)
    for i in range(first.shape[0]):
        low, high = ranks[0, first[i, 0]], ranks[0, first[i, 0] + 3]
        place[i] = first[i, 0]
        for s in range(1, first.shape[1]):
            low, high = min(low, ranks[s, first[i, s]]), max(high, ranks[s, first[i, s] + 3])
            place[i] += first[i, s]
        widest = max(widest, high - low)
    return place, widest


@compiled
def _send(products, first, ranks, band, right):
    """Add products of the columns of splines, and the data behind them, to the places of their coefficients."""
    columns = products.shape[0] - 1
    for a in range(columns):
        rank = ranks[a // 4, first[a // 4] + a % 4]
        right[rank] += products[columns, a]
        for b in range(a + 1):
            other = ranks[b // 4, first[b // 4] + b % 4]
            band[min(rank, other), abs(rank - other)] += products[a, b]


@compiled
def normal_equations(place, order, first, values, ranks, weight, data, size, width):
    """Weighted normal equations of splines whose coefficients stand in one sequence.

    Pixels between the same knots share their coefficients: their products are matrices of a few rows, which are
    summed before they are sent to their places.

    Parameters
    ----------
    place, order : ndarray (pixels,) int32, int
        From `spans`, and in which order pixels of one place follow each other.
    first : ndarray (pixels, splines) int32
    values : ndarray (pixels, 4 * splines)
        What the four coefficients of each spline from the first on leave in each pixel.
    ranks : ndarray (splines, most) int32
        Rank of each coefficient.
    weight, data : ndarray (pixels,)
        Weight 0 leaves a pixel out.
    size, width : int
        Number of coefficients, and how far apart two that share a pixel can be.

    Returns
    -------
    band : ndarray (size, width + 1)
        band[i, k] is the element of the matrix in row i + k and column i.
    right : ndarray (size,)
    """
    columns = values.shape[1]
    band, right = np.zeros((size, width + 1)), np.zeros(size)
    rows, filled, here = np.empty((_ROWS, columns + 1)), 0, -1
    for i in order:
        if not weight[i] > 0:
            continue
        if filled == _ROWS or (filled > 0 and place[i] != place[here]):
            _send(rows[:filled].T @ rows[:filled], first[here], ranks, band, right)
            filled = 0
        here = i
        root = np.sqrt(weight[i])
        for k in range(columns):
            rows[filled, k] = root * values[i, k]
        rows[filled, columns] = root * data[i]
        filled += 1
    if filled > 0:
        _send(rows[:filled].T @ rows[:filled], first[here], ranks, band, right)
    return band, right


@compiled(any_order=True)
def spline_sums(first, values, coefficients):
    """What each spline adds to every pixel, (splines, pixels), with coefficients (splines, most)."""
    result = np.empty((first.shape[1], first.shape[0]))
    for s in range(first.shape[1]):
        own = coefficients[s]
        for i in range(first.shape[0]):
            total = 0.0
            for a in range(4):
                total += values[i, 4 * s + a] * own[first[i, s] + a]
            result[s, i] = total
    return result


@compiled(any_order=True)
def banded_inverse(factor, width):
    """Elements near the diagonal of the inverse of a banded matrix, from its Cholesky factor.

    They follow from each other, from the last to the first, without any of those further off (Takahashi, Fagan &
    Chen 1973, Proc. 8th PICA Conf., 63).

    Parameters
    ----------
    factor : ndarray (size, b + 1)
        factor[i, k] is the element of the lower triangle in row i + k and column i.
    width : int
        At least b.

    Returns
    -------
    ndarray (size, width + 1)
        Element [i, k] is that of the inverse in row i and column i + k; 0 beyond its last column.
    """
    size, b = factor.shape[0], factor.shape[1] - 1
    # Both triangles, so that what is needed of a row stands side by side.
    full = np.zeros((size, 2 * width + 1))
    row = np.empty(width)
    for i in range(size - 1, -1, -1):
        last = min(width, size - 1 - i)
        pivot = 1.0 / factor[i, 0]
        row[:] = 0.0
        for k in range(1, min(b, size - 1 - i) + 1):
            share, below = factor[i, k] * pivot, full[i + k]
            for j in range(last):
                row[j] -= share * below[width + 1 + j - k]
        diagonal = pivot * pivot
        for k in range(1, min(b, last) + 1):
            diagonal -= factor[i, k] * pivot * row[k - 1]
        full[i, width] = diagonal
        for j in range(last):
            full[i, width + 1 + j] = row[j]
            full[i + 1 + j, width - 1 - j] = row[j]
    return full[:, width:].copy()


@compiled
def covariances(inverse, where, beside, values, lags):
    """Covariance of sums over four coefficients with later ones, (lags + 1, n).

    Parameters
    ----------
    inverse : ndarray (size, width + 1)
        From `banded_inverse`; wide enough.
    where, beside : ndarray (4, n) int
        Ranks of the coefficients of the sums, and of those with which they are paired.
    values : ndarray (4, n)
        Their weights in both.
    lags : int
        Row k of the result pairs sum i with sum i + k; 0 beyond the last.
    """
    count = where.shape[1]
    result = np.zeros((lags + 1, count))
    for lag in range(lags + 1):
        for i in range(count - lag):
            total = 0.0
            for a in range(4):
                for b in range(4):
                    low = min(where[a, i], beside[b, i + lag])
                    high = max(where[a, i], beside[b, i + lag])
                    total += values[a, i] * values[b, i + lag] * inverse[low, high - low]
            result[lag, i] = total
    return result
