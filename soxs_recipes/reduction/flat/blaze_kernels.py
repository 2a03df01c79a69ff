"""Loops over the pixels of an order for the smooth part of a slit flat."""

from __future__ import annotations

import math

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["deviations", "light_at", "ranked_middles", "row_sums", "slit_sums"]

_LEAST = 1e-3  # e-, of the expected light


@compiled
def light_at(along, slit, knots, start, pieces, table, domain, blaze, illumination):
    """Smooth light of pixels.

    Parameters
    ----------
    along, slit : ndarray (n,) float64
        Values beyond the domain, or -1 ... 1, count as those at its ends.
    knots : ndarray (k,) float64
        Of the cubic spline of ln(blaze).
    start : ndarray (m,) int64
        Interval of knots at the lower end of each pixel of the domain.
    pieces : ndarray (4, k - 1) float64
        Coefficients of the cubic in each interval, highest power first.
    table : ndarray (rows, places) float64
        Illumination, even steps over the domain and over -1 ... 1, linear between.
    domain : (low, high)
    blaze, illumination : ndarray (n,) float64
        Filled.
    """
    low, high = domain
    rows, places = table.shape
    for n in range(along.size):
        x = min(max(along[n], low), high)
        i = start[int(x - low)]
        while i + 1 < pieces.shape[1] and x >= knots[i + 1]:
            i += 1
        f = x - knots[i]
        blaze[n] = math.exp(((pieces[0, i] * f + pieces[1, i]) * f + pieces[2, i]) * f + pieces[3, i])
        at_row = (x - low) / (high - low) * (rows - 1)
        at_place = 0.5 * (min(max(slit[n], -1.0), 1.0) + 1.0) * (places - 1)
        row, place = min(int(at_row), rows - 2), min(int(at_place), places - 2)
        at_row, at_place = at_row - row, at_place - place
        first = table[row, place] + at_place * (table[row, place + 1] - table[row, place])
        second = table[row + 1, place] + at_place * (table[row + 1, place + 1] - table[row + 1, place])
        illumination[n] = first + at_row * (second - first)


@compiled(any_order=True)
def deviations(value, background, factor, blaze, illumination, ratio, relative):
    """Fill `ratio` (value over expected light, minus 1) and `relative` (its variance); all (n,) float64."""
    for n in range(value.size):
        expected = max(blaze[n] * illumination[n], _LEAST)
        ratio[n] = value[n] / expected - 1.0
        relative[n] = (background[n] + factor[n] * expected) / (expected * expected)


@compiled
def row_sums(along, first, ratio, relative, usable, clip, spreads, weight, total, summed):
    """Weights of pixels, and sums over rows of wavelength.

    Parameters
    ----------
    along, ratio, relative : ndarray (n,) float64
    first : int
        Row of the first sum.
    usable : ndarray (n,) bool
    clip : (sigma, least)
        A ratio is left out beyond so many sigma, and `least` at least; sigma is inf for no clipping.
    spreads : (before, now)
        Spread of the pixels' response that the clip and the weights take.
    weight : ndarray (n,) float64
        Filled; 0 for what is left out.
    total, summed : ndarray (rows,) float64
        Weights and weighted ratios are added.
    """
    for n in range(along.size):
        limit = max(clip[0] * math.sqrt(relative[n] + spreads[0] * spreads[0]), clip[1])
        weight[n] = 0.0
        if usable[n] and abs(ratio[n]) < limit:
            weight[n] = 1.0 / (relative[n] + spreads[1] * spreads[1])
            row = min(max(int(np.rint(along[n])) - first, 0), total.size - 1)
            total[row] += weight[n]
            summed[row] += weight[n] * ratio[n]


@compiled
def slit_sums(along, slit, ratio, weight, illumination, first, row_factor, domain, cells, sums):
    """Sums of weight, and of weight times light, slit and along, in cells along and across.

    Parameters
    ----------
    along, slit, ratio, weight, illumination : ndarray (n,) float64
        Light is illumination * (1 + ratio) * the factor of its row.
    first : int
    row_factor : ndarray (rows,) float64
        Of row `first` and those that follow.
    domain : (low, high)
    cells : (along, across)
    sums : ndarray (4, cells along * cells across) float64
        Added to.
    """
    low, high = domain
    for n in range(along.size):
        if weight[n] > 0.0:
            row = min(max(int(np.rint(along[n])) - first, 0), row_factor.size - 1)
            i = min(max(int((along[n] - low) / (high - low) * cells[0]), 0), cells[0] - 1)
            j = min(max(int(0.5 * (slit[n] + 1.0) * cells[1]), 0), cells[1] - 1)
            cell = i * cells[1] + j
            sums[0, cell] += weight[n]
            sums[1, cell] += weight[n] * illumination[n] * (1.0 + ratio[n]) * row_factor[row]
            sums[2, cell] += weight[n] * slit[n]
            sums[3, cell] += weight[n] * along[n]


@compiled
def ranked_middles(values, group, size):
    """(value of rank count // 2 of each group, count of each group).

    Parameters
    ----------
    values : ndarray (n,) float64
    group : ndarray (n,) int64
        0 ... size - 1.
    size : int

    Returns
    -------
    middle : ndarray (size,) float64
        NaN for an empty group.
    count : ndarray (size,) int64
    """
    count, middle = np.zeros(size, np.int64), np.full(size, np.nan)
    for n in range(group.size):
        count[group[n]] += 1
    end = np.cumsum(count) - count
    sorted_in = np.empty(values.size)
    for n in range(values.size):
        sorted_in[end[group[n]]] = values[n]
        end[group[n]] += 1
    for g in range(size):
        if count[g]:
            middle[g] = np.sort(sorted_in[end[g] - count[g] : end[g]])[count[g] // 2]
    return middle, count
