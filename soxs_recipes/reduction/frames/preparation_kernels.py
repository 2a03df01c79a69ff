"""Loops over the pixels of a raw frame: what it holds, its level and flags, its smoothed signal.

Images that they make come from numpy, which asks for large pages: fresh memory costs more than the sums.
"""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["census", "constant_blocks", "smoothed", "smoothed_by_noise", "without_level", "without_master"]

_BOX = 7  # px along either axis of the wide mean
_ROWS = 64  # after which running sums begin afresh, so that rounding does not add up


@compiled
def census(data, window, saturation):
    """(values that are not finite, a finite one, those that differ from it, values at `saturation` or above).

    Of a window (y0, y1, x0, x1) of data (rows, columns) float32; NaN and 0 without a finite value.
    """
    y0, y1, x0, x1 = window
    missing, different, full = 0, 0, 0
    example = np.float32(np.nan)
    for y in range(y0, y1):
        row = data[y, x0:x1]
        if example != example:
            example = _first_finite(row)
        # Counts alone: a least value could not be looked for in many pixels at once.
        for x in range(row.size):
            missing += row[x] - row[x] != np.float32(0.0)
            different += row[x] != example
            full += row[x] >= saturation
    return missing, example, max(different - missing, 0), full


@compiled
def _first_finite(row):
    """The first finite value of a row, NaN without any."""
    for x in range(row.size):
        if row[x] - row[x] == np.float32(0.0):
            return row[x]
    return np.float32(np.nan)


@compiled
def constant_blocks(values, block, saturation):
    """Blocks of pixels that hold one finite value below saturation, (ny // block, nx // block) bool."""
    blocks_y, blocks_x = values.shape[0] // block, values.shape[1] // block
    constant = np.zeros((blocks_y, blocks_x), np.bool_)
    for j in range(blocks_y):
        for i in range(blocks_x):
            first = values[j * block, i * block]
            same, place = first < saturation, 0
            while same and place < block * block:
                same = values[j * block + place // block, i * block + place % block] == first
                place += 1
            constant[j, i] = same
    return constant


@compiled
def without_level(data, window, level, first_column, gain, limits, bits, signal, quality):
    """Signal and quality of a window of a readout.

    Parameters
    ----------
    data : ndarray (rows, columns) float32 [ADU]
    window : (y0, y1, x0, x1)
        Half-open; (ny, nx) pixels.
    level : ndarray (ny, outputs) float32 [ADU]
    first_column : ndarray (outputs + 1,) int64
        Columns of the window at which the outputs begin, then nx.
    gain : float32 [e-/ADU]
    limits : (float32 [ADU], float32 [e-])
        Value from which a pixel is saturated, signal beyond which it is not linear.
    bits : (no_data, saturated, non_linear) of int32
        Quality bits.
    signal, quality : ndarray (ny, nx) float32 [e-], int32
        Filled; signal is 0 where the value is not finite.
    """
    (y0, y1, x0, _), (saturation, linear) = window, limits
    no_data, saturated, non_linear = bits
    for y in range(y1 - y0):
        for output in range(level.shape[1]):
            own, first, last = level[y, output], first_column[output], first_column[output + 1]
            values, result, flags = (
                data[y0 + y, x0 + first : x0 + last],
                signal[y, first:last],
                quality[y, first:last],
            )
            for x in range(values.size):
                value = values[x]
                # Infinities and NaN alike.
                finite = value - value == np.float32(0.0)
                light = (value - own) * gain if finite else np.float32(0.0)
                result[x] = light
                full = saturated if value >= saturation else np.int32(0)
                bent = non_linear if light > linear else np.int32(0)
                flags[x] = full | bent if finite else no_data
    return signal, quality


@compiled
def smoothed(data, result):
    """Mean with weights 1-2-1 along both axes (ny, nx) float32; the borders' neighbours are like the borders."""
    across = np.empty(data.shape[1] + 2, np.float32)
    for y in range(data.shape[0]):
        _smooth_row(data, y, across, result[y])


@compiled
def _smooth_row(data, y, across, row):
    """Row `y` of `smoothed`; `across` is room for it and a neighbour on either side."""
    ny, nx = data.shape
    above, middle, below = data[max(y - 1, 0)], data[y], data[min(y + 1, ny - 1)]
    for x in range(nx):
        across[x + 1] = above[x] + middle[x] + middle[x] + below[x]
    across[0], across[nx + 1] = across[1], across[nx]
    for x in range(nx):
        row[x] = (across[x] + across[x + 1] + across[x + 1] + across[x + 2]) * np.float32(1.0 / 16.0)


@compiled
def _add_clipped(total, data, noise, y, sign):
    """Add (or take away) row `y` of the data, at most 3 sigma, to sums with three places more at either end."""
    y = min(max(y, 0), data.shape[0] - 1)
    row, inner = data[y], total[_BOX // 2 : _BOX // 2 + data.shape[1]]
    if noise.shape[1] == 1:
        limit = np.float32(3.0) * noise[y, 0]
        for x in range(row.size):
            inner[x] += sign * min(row[x], limit)
    else:
        sigma = noise[y]
        for x in range(row.size):
            inner[x] += sign * min(row[x], np.float32(3.0) * sigma[x])


@compiled
def smoothed_by_noise(data, noise, faint_sigma, faint_sharp, sharp, result):
    """Smoothed signal with faint areas told from lit ones; see `preparation.local_signal`.

    Parameters
    ----------
    data : ndarray (ny, nx) float32
    noise : ndarray (ny, nx) or (ny, 1) float32
    faint_sigma : float32
        Signals below so many times the noise are faint.
    faint_sharp, sharp : float32 [sigma]
        Deviations that are features, in faint areas and in others.
    result : ndarray (ny, nx) float32
        Filled.
    """
    ny, nx = data.shape
    half, across, sigmas = _BOX // 2, np.empty(nx + 2, np.float32), np.empty(nx, np.float32)
    total, mean = np.zeros(nx + 2 * half, np.float64), np.empty(nx, np.float32)
    for y in range(ny):
        if y % _ROWS == 0:
            total[:] = 0.0
            for k in range(-half, half + 1):
                _add_clipped(total, data, noise, y + k, 1.0)
        else:
            _add_clipped(total, data, noise, y + half, 1.0)
            _add_clipped(total, data, noise, y - half - 1, -1.0)
        total[:half], total[nx + half :] = total[half], total[nx + half - 1]
        for x in range(nx):
            three, next_three = total[x] + total[x + 1] + total[x + 2], total[x + 3] + total[x + 4] + total[x + 5]
            mean[x] = (three + next_three + total[x + 6]) * (1.0 / _BOX**2)
        row = result[y]
        _smooth_row(data, y, across, row)
        sigmas[:] = noise[y]  # which may be one for all
        values = data[y]
        for x in range(nx):
            value, sigma = values[x], sigmas[x]
            faint = row[x] < faint_sigma * sigma
            level = max(min(mean[x], faint_sigma * sigma) if faint else row[x], np.float32(0.0))
            limit_here = faint_sharp if faint else sharp
            is_sharp = (value - level) * (value - level) > limit_here * limit_here * (sigma * sigma + level)
            row[x] = max(value, np.float32(0.0)) if is_sharp else level


@compiled
def without_master(data, quality, master, master_quality, scale, bits, no_data, result, result_quality):
    """Data minus a scaled master, 0 where there are no data, and the quality of both.

    Parameters
    ----------
    data, master : ndarray (n,) float32
    quality, master_quality : ndarray (n,) int32
    scale : float32
    bits : int32
        Set in every pixel.
    no_data : int32
        Bit of pixels that hold nothing.
    result, result_quality : ndarray (n,) float32, int32
        Filled.
    """
    for k in range(data.size):
        flags = quality[k] | master_quality[k] | bits
        result_quality[k] = flags
        result[k] = np.float32(0.0) if flags & no_data else data[k] - scale * master[k]
