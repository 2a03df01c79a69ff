"""Loops over the bins of a merged spectrum, each a mean of a few bins of an order."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["bin_means", "covariances_of_means", "means"]


@compiled
def bin_means(
    low: np.ndarray,
    width: np.ndarray,
    known: np.ndarray,
    quality: np.ndarray,
    start: np.ndarray,
    step: float,
    least_cover: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over output bins as linear functions of the input bins' means.

    Parameters
    ----------
    low, width : ndarray (n,) [nm]
        Lower ends of the input bins, ascending, and their widths.
    known : ndarray (n,) bool
    quality : ndarray (n,) int32
    start : ndarray (m,) [nm]
        Lower ends of the output bins, ascending.
    step : float [nm]
        Their width.
    least_cover : float [nm]
        Output bins of which no more is covered by known ones are left empty.

    Returns
    -------
    begin : ndarray (m,) int
        First input bin of each mean; -1 of an empty one.
    weights : ndarray (m, k)
        Of the input bins from there on.
    bits : ndarray (m,) int32
        Quality of all known bins that are touched.

    Notes
    -----
    With a ... b the shared part of an input bin, counted in its width, a parabola of that bin's mean and edge
    values integrates to left * wL + mean * wC + right * wR (Colella & Woodward 1984, J. Comput. Phys. 54, 174,
    equation 1.5).
    """
    size = low.size
    # As many as fit in, one at either end, and two beyond for the values at the edges.
    window = int(np.ceil(step / width.min())) + 6
    begin, weights = np.full(start.size, -1, np.intp), np.zeros((start.size, window))
    bits = np.zeros(start.size, np.int32)
    edge = np.empty(4)
    first = 0
    for j in range(start.size):
        while first < size and low[first] + width[first] <= start[j]:
            first += 1
        cover, row, i = 0.0, weights[j], first
        while i < size and low[i] < start[j] + step and i - first + 5 <= window:
            if known[i]:
                a = min(max((start[j] - low[i]) / width[i], 0.0), 1.0)
                b = min(max((start[j] + step - low[i]) / width[i], 0.0), 1.0)
                one, two, three = b - a, b**2 - a**2, b**3 - a**3
                if one > 0:
                    bits[j] |= quality[i]
                cover += one * width[i]
                place = i - first + 2  # of this bin in the row, which begins two before the first
                row[place] += (3.0 * two - 2.0 * three) * width[i]
                _edge_weights(known, i, edge)
                for k in range(4):
                    row[place - 2 + k] += (one - 2.0 * two + three) * width[i] * edge[k]
                _edge_weights(known, i + 1, edge)
                for k in range(4):
                    row[place - 1 + k] += (three - two) * width[i] * edge[k]
            i += 1
        if cover > least_cover:
            begin[j] = max(first - 2, 0)
            missing = begin[j] - (first - 2)  # before the first bin of all, where weights are zero
            for k in range(window):
                row[k] = row[k + missing] / cover if k + missing < window else 0.0
        else:
            row[:] = 0.0
    return begin, weights, bits


@compiled
def _edge_weights(known, edge, result):
    """Weights (4,) of the bins around the lower edge of a bin in the value there.

    Of third order where two bins on either side are known, else of what there is, so that nothing crosses a hole.
    """
    before = edge > 0 and known[edge - 1]
    after = edge < known.size and known[edge]
    result[:] = 0.0
    if before and after and edge > 1 and known[edge - 2] and edge + 1 < known.size and known[edge + 1]:
        result[0] = result[3] = -1.0 / 12.0
        result[1] = result[2] = 7.0 / 12.0
    elif before and after:
        result[1] = result[2] = 0.5
    elif before:
        result[1] = 1.0
    elif after:
        result[2] = 1.0


@compiled
def means(begin: np.ndarray, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Means (k, m) of several values (k, n) of the input bins, by `bin_means`; 0 in empty bins."""
    result = np.zeros((len(values), begin.size))
    for j in range(begin.size):
        if begin[j] >= 0:
            for i in range(min(weights.shape[1], values.shape[1] - begin[j])):
                for k in range(len(values)):
                    result[k, j] += weights[j, i] * values[k, begin[j] + i]
    return result


@compiled
def covariances_of_means(begin: np.ndarray, weights: np.ndarray, bands: np.ndarray, lags: int) -> np.ndarray:
    """Covariance (lags + 1, m) of every mean by `bin_means` with itself and the next ones.

    `bands` (l, n) hold that of every input bin with itself and the next ones.
    """
    result = np.zeros((lags + 1, begin.size))
    size, window = bands.shape[1], weights.shape[1]
    for j in range(begin.size):
        for lag in range(min(lags + 1, begin.size - j)):
            if begin[j] < 0 or begin[j + lag] < 0:
                continue
            for a in range(window):
                one = begin[j] + a
                if weights[j, a] == 0.0 or one >= size:
                    continue
                for b in range(window):
                    other = begin[j + lag] + b
                    apart = abs(other - one)
                    if other < size and apart < len(bands):
                        shared = bands[apart, min(one, other)]
                        result[lag, j] += weights[j, a] * weights[j + lag, b] * shared
    return result
