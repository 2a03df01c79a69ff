"""Loops over blocks of rows at the slit's ends: fits of blurred steps, and profiles across an order."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from soxs_recipes.compiled import compiled

__all__ = ["fit_steps", "median_profiles"]

_PARAMETERS = 5  # edge, blur, plateau, slope, level
_TRIALS = 25
_DAMPING = 1e-4  # at the start
_ROUNDS = 3
_FARTHEST = 6.0  # sigma from the edge beyond which light is whole or none
_OUTLIER = 6.0
# The normal distribution at even steps; between them its series to the third order is good to 1e-9.
_NODES = 64  # a sigma
_PLACES = np.arange(-_FARTHEST * _NODES, _FARTHEST * _NODES + 1) / _NODES
_CUMULATIVE = ndtr(_PLACES)
_DENSITY = np.exp(-0.5 * _PLACES**2) / math.sqrt(2.0 * math.pi)


@compiled
def fit_steps(inward, value, usable, floor, photon, columns, low, high, parameters, error, converged):
    """Fit a blurred step to each block by Levenberg-Marquardt, without pixels that disagree.

    Parameters
    ----------
    inward : ndarray (n, m) float64 [px]
        Place of each pixel's middle; runs of `columns` neighbours, inward or outward.
    value : ndarray (n, m) float64
    usable : ndarray (n, m) bool
    floor, photon : ndarray (n,) float64
        Variance of a dark pixel, and what a pixel of value 1 has more.
    columns : int
    low, high : ndarray (5,) float64
        Bounds of edge, blur, plateau, slope, level.
    parameters : ndarray (n, 5) float64
        Where to start; changed to what fits best.
    error : ndarray (n,) float64 [px]
        Filled: of the edge, times the square root of reduced chi-square where that exceeds 1; 0 where undefined.
    converged : ndarray (n,) bool
        Filled.
    """
    pixels = value.shape[1]
    weight, prediction = np.empty(pixels), np.empty(pixels)
    rows = np.empty((_PARAMETERS + 1, pixels))
    for n in range(value.shape[0]):
        for k in range(pixels):
            weight[k] = 1.0 / (floor[n] + photon[n]) if usable[n, k] else 0.0
        for attempt in range(_ROUNDS):
            if attempt > 0:
                _agreeing(value[n], prediction, usable[n], floor[n], photon[n], weight)
            normal, converged[n] = _fit(
                inward[n], value[n], weight, columns, low, high, parameters[n], prediction, rows
            )
        error[n] = _edge_error(normal, np.count_nonzero(weight) - _PARAMETERS)
        converged[n] = converged[n] and error[n] > 0.0


@compiled
def _fit(inward, value, weight, columns, low, high, parameters, prediction, rows):
    """(normal equations with the sum of squares in the corner, whether they converged); parameters are changed.

    `prediction` is filled with what the last parameters say.
    """
    root = np.sqrt(weight)
    normal = _normal_equations(inward, value, root, columns, parameters, prediction, rows)
    damping, accepted, size = _DAMPING, True, _PARAMETERS
    for _ in range(_TRIALS):
        trial = np.minimum(np.maximum(parameters + _damped_step(normal, damping), low), high)
        tried = _normal_equations(inward, value, root, columns, trial, prediction, rows)
        before, after = normal[size, size], tried[size, size]
        accepted = after <= before
        if accepted:
            parameters[:] = trial
            normal = tried
            damping = max(damping * 0.2, 1e-9)
            if before - after < 1e-6 * before + 1e-9:
                return normal, True
        else:
            damping = min(damping * 8.0, 1e9)
    if not accepted:
        _step(inward, columns, parameters, prediction, rows)
    return normal, False


@compiled
def _normal_equations(inward, value, root, columns, parameters, prediction, rows):
    """Products (6, 6) of the weighted derivatives and, last, the weighted residual."""
    _step(inward, columns, parameters, prediction, rows)
    for k in range(value.size):
        for p in range(_PARAMETERS):
            rows[p, k] *= root[k]
        rows[_PARAMETERS, k] = root[k] * (value[k] - prediction[k])
    return np.dot(rows, rows.T)


@compiled
def _step(inward, columns, parameters, prediction, rows):
    """Blurred step on a level, under sloping light, and its derivatives in the first rows of (6, m).

    Each boundary of two pixels is reckoned once.
    """
    edge, blur, plateau, slope, level = parameters
    cumulative, density = np.empty(columns + 1), np.empty(columns + 1)
    way, sharpness = 1.0 if inward[columns - 1] > inward[0] else -1.0, 1.0 / blur
    for start in range(0, inward.size, columns):
        for k in range(columns + 1):
            z = min(max((inward[start] + way * (k - 0.5) - edge) * sharpness, -_FARTHEST), _FARTHEST)
            node = int((z + _FARTHEST) * _NODES + 0.5)
            place = node / _NODES - _FARTHEST
            d, curve = z - place, place * place - 1.0
            bend = place * (place * place - 3.0)
            density[k] = _DENSITY[node] * (1.0 - d * (place - d * (0.5 * curve - d * bend / 6.0)))
            cumulative[k] = _CUMULATIVE[node] + _DENSITY[node] * d * (1.0 - d * (0.5 * place - d * curve / 6.0))
        for k in range(columns):
            beyond = inward[start + k] - edge
            lower = beyond - 0.5 * way
            steep = way * (cumulative[k + 1] - cumulative[k])
            dense = way * (density[k + 1] - density[k])
            # The integral of the cumulative normal distribution over the pixel.
            light_of = way * ((lower + way) * cumulative[k + 1] - lower * cumulative[k]) + blur * dense
            light = plateau + slope * beyond
            place = start + k
            prediction[place] = light * light_of + level
            rows[0, place] = -light * steep - slope * light_of
            rows[1, place] = light * dense
            rows[2, place] = light_of
            rows[3, place] = beyond * light_of
            rows[4, place] = 1.0


@compiled
def _agreeing(value, prediction, usable, floor, photon, weight):
    """Weights by the expected variance, 0 for pixels that lie too far from the model."""
    pull = np.zeros(value.size)
    for k in range(value.size):
        variance = floor + photon * max(prediction[k], 0.0)
        weight[k] = 1.0 / variance
        if usable[k]:
            pull[k] = abs(value[k] - prediction[k]) / math.sqrt(variance)
    limit = _OUTLIER * max(1.0, 1.4826 * np.median(pull))
    for k in range(value.size):
        if not usable[k] or pull[k] >= limit:
            weight[k] = 0.0


@compiled
def _damped_step(normal, damping):
    """Step of the parameters; normal equations scaled to unit diagonal, so that units do not matter."""
    size = _PARAMETERS
    matrix, step, scale = np.empty((size, size)), np.empty(size), np.empty(size)
    for i in range(size):
        scale[i] = math.sqrt(normal[i, i]) if normal[i, i] > 0.0 else 1.0
    for i in range(size):
        step[i] = normal[i, size] / scale[i]
        for j in range(size):
            matrix[i, j] = normal[i, j] / (scale[i] * scale[j])
        matrix[i, i] += damping + 1e-10
    _solve(matrix, step)
    return step / scale


@compiled
def _solve(matrix, right):
    """Solve a positive definite system in place by elimination."""
    size = right.size
    for i in range(size):
        for j in range(i + 1, size):
            factor = matrix[j, i] / matrix[i, i]
            for k in range(i, size):
                matrix[j, k] -= factor * matrix[i, k]
            right[j] -= factor * right[i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]


@compiled
def _edge_error(normal, freedom):
    """1 sigma of the edge; 0 where a parameter is not felt or no pixel is left over."""
    size = _PARAMETERS
    matrix, right = np.empty((size, size)), np.zeros(size)
    for i in range(size):
        if normal[i, i] <= 1e-30 or freedom <= 0:
            return 0.0
    for i in range(size):
        for j in range(size):
            matrix[i, j] = normal[i, j] / math.sqrt(normal[i, i] * normal[j, j])
        matrix[i, i] += 1e-12
    right[0] = 1.0
    _solve(matrix, right)
    variance = max(right[0], 0.0) / normal[0, 0]
    return math.sqrt(variance * max(normal[size, size] / freedom, 1.0))


@compiled
def median_profiles(value, variance, usable, level, curve, rows, block, farthest, side, profile, noise):
    """Medians along the rows of blocks, outward from a curve, in units of each row's level.

    Parameters
    ----------
    value, variance : ndarray (along, across) float32
    usable : ndarray (along, across) bool
    level : ndarray (along,) float64
        NaN for rows that take no part.
    curve : ndarray (along,) float64 [px]
    rows : (first, last)
        Half-open.
    block : int
        Rows of a block.
    farthest, side : int
        How far the profile goes [px], towards which side (-1, 1).
    profile : ndarray (blocks, farthest + 1) float64
        Filled; NaN where no pixel is usable.
    noise : ndarray (blocks,) float64
        Filled: mean error of the mean of a column on both sides; a column without pixels counts as 1.
    """
    first, last = rows
    found, inverse, middle = np.empty(block), np.empty(block), np.empty(block, np.int64)
    for b in range(profile.shape[0]):
        start = first + b * block
        number = min(block, last - start)
        for i in range(number):
            middle[i] = int(np.rint(curve[start + i]))
            inverse[i] = 1.0 / level[start + i] if level[start + i] == level[start + i] else 0.0
        total = 0.0
        for distance in range(-farthest, farthest + 1):
            count, squares = 0, 0.0
            for i in range(number):
                row, column = start + i, middle[i] + side * distance
                if inverse[i] != 0.0 and 0 <= column < value.shape[1] and usable[row, column]:
                    squares += variance[row, column] * (inverse[i] * inverse[i])
                    if distance >= 0:
                        _put_in_order(value[row, column] * inverse[i], found, count)
                    count += 1
            total += math.sqrt(squares) / count if count else 1.0
            if distance >= 0:
                profile[b, distance] = 0.5 * (found[(count - 1) // 2] + found[count // 2]) if count else np.nan
        noise[b] = total / (2 * farthest + 1)


@compiled
def _put_in_order(value, ordered, count):
    """Add a value to the first `count`, which ascend."""
    place = count
    while place > 0 and ordered[place - 1] > value:
        ordered[place] = ordered[place - 1]
        place -= 1
    ordered[place] = value
