"""Loops over pixels and coefficients that least squares for interleaved cubic splines need."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = [
    "banded_inverse",
    "basis_values",
    "covariances",
    "normal_equations",
    "pieces_between",
    "places_between",
    "spline_and_derivatives",
    "spline_moments",
    "spline_sums",
]

_NEAR = 4  # intervals: further ones are found by halving


@compiled
def _interval(knots, x, guess):
    """The knot at or below x, the last but one at the last; x must not lie outside."""
    for _ in range(_NEAR):
        if x < knots[guess]:
            guess -= 1
        elif x >= knots[guess + 1] and guess < knots.size - 2:
            guess += 1
        else:
            return guess
    low, high = 0, knots.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if x >= knots[middle]:
            low = middle
        else:
            high = middle
    return low


@compiled
def places_between(knots, x):
    """The knot (n,) int32 at or below each x and the share of the way to the next; outside, as at the ends."""
    below, share = np.empty(x.size, np.int32), np.empty(x.size)
    i = 0
    for p in range(x.size):
        place = min(max(x[p], knots[0]), knots[-1])
        i = _interval(knots, place, i)
        below[p], share[p] = i, (place - knots[i]) / (knots[i + 1] - knots[i])
    return below, share


@compiled
def pieces_between(knots, pieces, edges, shift):
    """The first of the four functions that tell between edges (m + 1,), (m,) int32, and their polynomials there.

    The edges are moved by the shift; every knot is one of them. `knots` and `pieces` as for `basis_values`, the
    result is like `pieces`.
    """
    first, result = np.empty(edges.size - 1, np.int32), np.empty((edges.size - 1, 4, 4))
    i = 0
    for j in range(first.size):
        middle = 0.5 * (edges[j] + edges[j + 1]) + shift
        i = first[j] = _interval(knots, min(max(middle, knots[0]), knots[-1]), i)
        step = knots[i + 1] - knots[i]
        begin, length = (edges[j] + shift - knots[i]) / step, (edges[j + 1] - edges[j]) / step
        if middle < knots[0] or middle > knots[-1]:
            begin, length = 1.0 if middle > knots[-1] else 0.0, 0.0
        for k in range(4):
            c, own = pieces[i, k], result[j, k]
            own[0] = c[0] + begin * (c[1] + begin * (c[2] + begin * c[3]))
            own[1] = length * (c[1] + begin * (2.0 * c[2] + begin * 3.0 * c[3]))
            own[2] = length**2 * (c[2] + 3.0 * begin * c[3])
            own[3] = length**3 * c[3]
    return first, result


@compiled
def basis_values(knots, pieces, x):
    """The four basis functions of a cubic spline that are not zero at each x.

    Parameters
    ----------
    knots : ndarray (m + 1,)
        Those between which the spline lives; outside, its functions have the values at the ends.
    pieces : ndarray (m, 4, 4)
        Polynomials of the four functions between one knot and the next, in the share of the way, constant first.
    x : ndarray (n,)

    Returns
    -------
    first : ndarray (n,) int32
        The first of the four functions.
    values : ndarray (4, n)
    """
    first, values = np.empty(x.size, np.int32), np.empty((4, x.size))
    i = 0
    for p in range(x.size):
        place = min(max(x[p], knots[0]), knots[-1])
        i = _interval(knots, place, i)
        f = (place - knots[i]) / (knots[i + 1] - knots[i])
        first[p] = i
        for k in range(4):
            piece = pieces[i, k]
            values[k, p] = piece[0] + f * (piece[1] + f * (piece[2] + f * piece[3]))
    return first, values


@compiled
def spline_and_derivatives(knots, cubics, x):
    """A spline and its first two derivatives (3, n), from its polynomials (m, 4) as `pieces` of `basis_values`."""
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


@compiled(any_order=True)
def spline_moments(interval, share, factors, weight, data, count):
    """Weighted sums over the pixels of every interval of all that normal equations of splines need.

    Between two knots splines are cubics in the share of the way: the products of any two hold its powers up to
    the sixth, and that many sums tell what would otherwise be sixteen products of four functions with four.

    Parameters
    ----------
    interval, share : ndarray (pixels,)
        From `places_between`, with the knots of all splines.
    factors : ndarray (splines, pixels)
        What a spline of one leaves in each pixel.
    weight, data : ndarray (pixels,)
        Weight 0 leaves a pixel out.
    count : int
        Of intervals.

    Returns
    -------
    products : ndarray (count, pairs, 7)
        Of the factors of two splines, times powers of the share; pairs (0, 0), (1, 0), (1, 1), (2, 0) ...
    right : ndarray (count, splines, 4)
        Of the factors and the data.
    """
    splines = len(factors)
    products = np.zeros((count, splines * (splines + 1) // 2, 7))
    right = np.zeros((count, splines, 4))
    for i in range(interval.size):
        if not weight[i] > 0:
            continue
        f = share[i]
        f2, f3 = f * f, f * f * f
        f4, f5, f6 = f2 * f2, f2 * f3, f3 * f3
        pair = 0
        for a in range(splines):
            weighted = weight[i] * factors[a, i]
            sums, product = right[interval[i], a], weighted * data[i]
            sums[0] += product
            sums[1] += product * f
            sums[2] += product * f2
            sums[3] += product * f3
            for b in range(a + 1):
                sums, product = products[interval[i], pair], weighted * factors[b, i]
                sums[0] += product
                sums[1] += product * f
                sums[2] += product * f2
                sums[3] += product * f3
                sums[4] += product * f4
                sums[5] += product * f5
                sums[6] += product * f6
                pair += 1
    return products, right


@compiled(any_order=True)
def normal_equations(products, right, first, pieces, ranks, size, width):
    """Weighted normal equations of splines whose coefficients stand in one sequence.

    Parameters
    ----------
    products, right
        From `spline_moments`.
    first : ndarray (intervals, splines) int32
        First of the four coefficients of each spline that tell in an interval.
    pieces : ndarray (intervals, splines, 4, 4)
        The polynomials that belong to them, in the share of the interval, constant first.
    ranks : ndarray (splines, most) int32
        Rank of each coefficient.
    size, width : int
        Number of coefficients, and how far apart two that share an interval can be.

    Returns
    -------
    band : ndarray (size, width + 1)
        band[i, k] is the element of the matrix in row i + k and column i.
    target : ndarray (size,)
    """
    band, target = np.zeros((size, width + 1)), np.zeros(size)
    for j in range(len(first)):
        pair = 0
        for a in range(first.shape[1]):
            r = right[j, a]
            for b in range(a + 1):
                m = products[j, pair]
                pair += 1
                for k in range(4):
                    p, rank = pieces[j, a, k], ranks[a, first[j, a] + k]
                    if b == a:
                        target[rank] += p[0] * r[0] + p[1] * r[1] + p[2] * r[2] + p[3] * r[3]
                    t0 = p[0] * m[0] + p[1] * m[1] + p[2] * m[2] + p[3] * m[3]
                    t1 = p[0] * m[1] + p[1] * m[2] + p[2] * m[3] + p[3] * m[4]
                    t2 = p[0] * m[2] + p[1] * m[3] + p[2] * m[4] + p[3] * m[5]
                    t3 = p[0] * m[3] + p[1] * m[4] + p[2] * m[5] + p[3] * m[6]
                    for n in range(k + 1 if b == a else 4):
                        q, other = pieces[j, b, n], ranks[b, first[j, b] + n]
                        value = q[0] * t0 + q[1] * t1 + q[2] * t2 + q[3] * t3
                        band[min(rank, other), abs(rank - other)] += value
    return band, target


@compiled(any_order=True)
def spline_sums(interval, share, factors, first, pieces, coefficients):
    """What each spline adds to every pixel, (splines, pixels), with coefficients (splines, most).

    Other arguments as for `spline_moments` and `normal_equations`.
    """
    result, cubics = np.empty(factors.shape), np.empty((len(first), 4))
    for s in range(len(factors)):
        for j in range(len(first)):
            for power in range(4):
                total = 0.0
                for k in range(4):
                    total += coefficients[s, first[j, s] + k] * pieces[j, s, k, power]
                cubics[j, power] = total
        for i in range(interval.size):
            c, f = cubics[interval[i]], share[i]
            result[s, i] = factors[s, i] * (c[0] + f * (c[1] + f * (c[2] + f * c[3])))
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
