"""Positions of emission lines in a one-dimensional spectrum."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["line_positions"]

_HALF_WINDOW = 5  # bins on either side of a line
_STEPS = 12


def line_positions(
    spectrum: np.ndarray, error: np.ndarray, expected: np.ndarray, *, search: float = 3.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions [bins] of emission lines in a spectrum, their errors and FWHM; NaN where a line is not seen.

    A Gaussian on a slope is fitted to each, all side by side, starting from the highest bin within `search`.
    """
    reach = np.arange(-int(np.ceil(search)), int(np.ceil(search)) + 1)
    centre = np.rint(expected).astype(np.int64)
    last = spectrum.size - 1 - _HALF_WINDOW
    near = np.clip(centre[:, None] + reach, _HALF_WINDOW, last)
    peak = near[np.arange(centre.size), np.argmax(spectrum[near], axis=1)]
    fitted = _fit_lines(np.asarray(spectrum, dtype=np.float64), np.asarray(error, dtype=np.float64), peak)
    offset, width, strength, position_error = fitted.T
    position = peak + offset
    seen = (strength > 8.0) & (np.abs(offset) < 1.5) & (np.abs(position - expected) < search + 0.5)
    seen &= (width > 0.45) & (width < 3.5) & (position_error < 0.3)
    return np.where(seen, position, np.nan), position_error, 2.3548 * width


@compiled
def _normal_equations(values, sigma, p, normal, target):
    """Of a Gaussian on a slope with parameters height, offset, width, level, slope; for `normal` and `target`."""
    normal[:], target[:] = 0.0, 0.0
    slopes = np.empty(5)
    for k in range(values.size):
        offset = float(k - _HALF_WINDOW)
        scaled = (offset - p[1]) / p[2]
        gauss = np.exp(-0.5 * scaled**2)
        slopes[0], slopes[1] = gauss, p[0] * gauss * scaled / p[2]
        slopes[2], slopes[3], slopes[4] = slopes[1] * scaled, 1.0, offset / 5.0
        residual = values[k] - p[0] * gauss - p[3] - p[4] * slopes[4]
        weight = 1.0 / sigma[k] ** 2
        for i in range(5):
            target[i] += weight * slopes[i] * residual
            for j in range(i + 1):
                normal[i, j] += weight * slopes[i] * slopes[j]


@compiled
def _factor(normal, relative, least):
    """Cholesky factor of a matrix (its lower half is read) with a diagonal larger by a share and a bit."""
    size = normal.shape[0]
    factor = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            value = normal[i, j] + (relative * normal[i, i] + least if i == j else 0.0)
            for k in range(j):
                value -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(value) if i == j else value / factor[j, j]
    return factor


@compiled
def _solved(factor, right):
    """Solution of L L' x = b."""
    size = right.size
    x = right.copy()
    for i in range(size):
        for k in range(i):
            x[i] -= factor[i, k] * x[k]
        x[i] /= factor[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            x[i] -= factor[k, i] * x[k]
        x[i] /= factor[i, i]
    return x


@compiled
def _fit_lines(spectrum, error, peak):
    """Offset from the peak, width (sigma), height over its error, error of the offset: a row a line."""
    found = np.empty((peak.size, 4))
    normal, target = np.zeros((5, 5)), np.zeros(5)
    for n in range(peak.size):
        window = slice(peak[n] - _HALF_WINDOW, peak[n] + _HALF_WINDOW + 1)
        values, sigma = spectrum[window], error[window]
        floor = np.sort(values)[_HALF_WINDOW * 2 // 5]  # what a fifth of the bins lie below
        p = np.array([spectrum[peak[n]] - floor, 0.0, 1.1, floor, 0.0])
        for _ in range(_STEPS):
            _normal_equations(values, sigma, p, normal, target)
            step = _solved(_factor(normal, 1e-3, 1e-12), target)
            p[0], p[3], p[4] = p[0] + step[0], p[3] + step[3], p[4] + step[4]
            p[1] += min(max(step[1], -1.0), 1.0)
            p[2] = min(max(p[2] + min(max(step[2], -0.4), 0.4), 0.4), 4.0)
        factor = _factor(normal, 1e-9, 1e-20)
        unit = np.zeros((2, 5))
        unit[0, 0], unit[1, 1] = 1.0, 1.0
        height_variance, variance = _solved(factor, unit[0])[0], _solved(factor, unit[1])[1]
        found[n] = p[1], p[2], p[0] / np.sqrt(max(height_variance, 1e-30)), np.sqrt(max(variance, 0.0))
    return found
