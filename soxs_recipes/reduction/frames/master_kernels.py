"""Loops over the pixels of a master: structure, deviating regions and pixels, denoised value; noisy pixels."""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = [
    "add_chi_squares",
    "denoised",
    "flag_deviating",
    "region_means",
    "structure_step",
    "weighted_profiles",
]


@compiled
def structure_step(residual, variance, usable, limit, block, columns, rows, blocks):
    """Profiles and block means of what a structure leaves, without what deviates from it.

    Parameters
    ----------
    residual : ndarray (ny, nx) float32
        What the structure leaves.
    variance : ndarray (ny, nx) float32
    usable : ndarray (ny, nx) bool
    limit : (float32, float32)
        A pixel counts below so many times its variance, or below so much, squared.
    block : int
        Side of a block [px].
    columns : ndarray (nx,) float32
        Filled: mean of each column.
    rows : ndarray (ny,) float32
        Filled: mean of each row, the columns' taken away.
    blocks : ndarray (ny / block, nx / block) float32
        Filled: means of blocks, both taken away. Means are 0 where nothing counts.
    """
    ny, nx = residual.shape
    total, number = np.zeros(nx), np.zeros(nx)
    weight, rest = np.empty(nx, np.float32), np.empty(nx, np.float32)
    sums, numbers = np.zeros(blocks.shape), np.zeros(blocks.shape)
    for y in range(ny):
        _weigh(residual[y], variance[y], usable[y], limit, weight)
        _add_products(residual[y], weight, total, number)
    for x in range(nx):
        columns[x] = total[x] / max(number[x], 1.0)
    for y in range(ny):
        _weigh(residual[y], variance[y], usable[y], limit, weight)
        _subtract(residual[y], columns, rest)
        of_row, counting = _sums(rest, weight)
        rows[y] = of_row / max(counting, 1.0)
        for i in range(blocks.shape[1]):
            part = slice(i * block, (i + 1) * block)
            of_block, counting = _sums(rest[part], weight[part])
            sums[y // block, i] += of_block - counting * rows[y]
            numbers[y // block, i] += counting
    for j in range(blocks.shape[0]):
        for i in range(blocks.shape[1]):
            blocks[j, i] = sums[j, i] / max(numbers[j, i], 1.0)


@compiled
def _weigh(residual, variance, usable, limit, weight):
    for x in range(residual.size):
        counts = usable[x] and residual[x] * residual[x] < max(limit[0] * variance[x], limit[1])
        weight[x] = np.float32(1.0) if counts else np.float32(0.0)


@compiled
def _add_products(values, weight, total, number):
    for x in range(values.size):
        total[x] += values[x] * weight[x]
        number[x] += weight[x]


@compiled
def _subtract(values, columns, rest):
    for x in range(values.size):
        rest[x] = values[x] - columns[x]


@compiled
def _sums(values, weight):
    total, number = 0.0, 0.0
    for x in range(values.size):
        total += values[x] * weight[x]
        number += weight[x]
    return total, number


@compiled
def region_means(pull, usable, clip, heights, widths, limit, struck):
    """Where the mean of clipped pulls over a region stands out; pixels beyond the border count as 0.

    Parameters
    ----------
    pull : ndarray (ny, nx) float32
    usable : ndarray (ny, nx) bool
        Others count as 0.
    clip : float32
    heights, widths : ndarray (k,) int64
        Of the regions: from half of it (rounded down) before a pixel on.
    limit : float
        Mean times the square root of the region's pixels beyond which it stands out.
    struck : ndarray (k, ny, nx) bool
        Filled.
    """
    ny, nx = pull.shape
    sums, row = np.empty(nx), np.empty(nx)
    for k in range(heights.size):
        height, width = heights[k], widths[k]
        before = height // 2
        threshold = limit * np.sqrt(float(height * width))
        sums[:] = 0.0
        for y in range(min(height - before, ny) - 1):
            _add_clipped(pull[y], usable[y], clip, 1.0, sums)
        for y in range(ny):
            if y + height - before - 1 < ny:
                _add_clipped(pull[y + height - before - 1], usable[y + height - before - 1], clip, 1.0, sums)
            if y - before - 1 >= 0:
                _add_clipped(pull[y - before - 1], usable[y - before - 1], clip, -1.0, sums)
            if width == 1:
                row[:] = sums
            else:
                _running_sums(sums, width, row)
            for x in range(nx):
                struck[k, y, x] = abs(row[x]) > threshold


@compiled
def _add_clipped(pull, usable, clip, sign, sums):
    for x in range(pull.size):
        value = min(max(pull[x], -clip), clip)
        sums[x] += sign * value if usable[x] else 0.0


@compiled
def _running_sums(values, width, result):
    before, total = width // 2, 0.0
    for x in range(min(width - before, values.size) - 1):
        total += values[x]
    for x in range(values.size):
        if x + width - before - 1 < values.size:
            total += values[x + width - before - 1]
        if x - before - 1 >= 0:
            total -= values[x - before - 1]
        result[x] = total


@compiled(any_order=True)
def denoised(values, variance, structure, free, known, floor, ramp, share, ratio, clip, data, noise):
    """Pixels drawn towards a structure; mean squared noise that is left, over that of the values.

    Parameters
    ----------
    values, variance, structure : ndarray (ny, nx) float32
    free : ndarray (ny, nx) bool
        Pixels that may be drawn; others keep their value.
    known : ndarray (ny, nx) bool
        Pixels that tell of the noise.
    floor : float32
        Share of a pixel's deviation that is kept at least.
    ramp : (low, high)
        Deviations [sigma] between which it rises to 1.
    share, ratio : float32
        Variance of the structure, and of a fixed pattern, over that of a value.
    clip : float32
        Deviations beyond this count as this in the noise.
    data, noise : ndarray (ny, nx) float32
        Filled: value, variance.

    Returns
    -------
    squares : float
        Sum over the known pixels.
    kept : int
        Pixels that keep 99 % of their deviation or more.
    """
    squares, kept, one = 0.0, 0, np.float32(1.0)
    slope = one / np.float32(ramp[1] - ramp[0])
    low = np.float32(ramp[0])
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            deviation = values[y, x] - structure[y, x]
            pull = abs(deviation) / np.sqrt(max(variance[y, x], np.float32(1e-12)))
            rise = min(max((pull - low) * slope, np.float32(0.0)), one)
            weight = floor + (one - floor) * rise if free[y, x] else one
            rest = one - weight
            data[y, x] = structure[y, x] + weight * deviation
            noise[y, x] = variance[y, x] * (weight * weight * (one - share) + share + rest * rest * ratio)
            left = weight * min(pull, clip)
            squares += left * left if known[y, x] else np.float32(0.0)
            kept += weight > np.float32(0.99)
    return squares, kept


@compiled
def add_chi_squares(values, variance, quality, mean, charge, scale, unusable, chi_square, degrees, constant):
    """Chi-square of some frames about their mean, the worst value of each pixel left out.

    Parameters
    ----------
    values : ndarray (n, ny, nx) float32
    variance : ndarray (n, ny, nx) or (n, ny, 1) float32
    quality : ndarray (n, ny, nx) int32
        Values with any bit of `unusable` do not count.
    mean, charge : ndarray (ny, nx) float32
        `charge` is added to the variance.
    scale : float32
        Measured over stated variance.
    chi_square, degrees, constant : ndarray (ny, nx) float32, int16, bool
        Filled: chi-square, its degrees of freedom, whether all values are the same.
    """
    count, ny, nx = values.shape
    worst = np.empty(nx, np.float32)
    for y in range(ny):
        chi_square[y], worst[:], degrees[y], constant[y] = 0.0, 0.0, -2, True
        for k in range(count):
            of_frame = values[k, y], variance[k, y], quality[k, y]
            _add_squares(of_frame, mean[y], charge[y], scale, unusable, chi_square[y], worst)
            for x in range(nx):
                degrees[y, x] += (quality[k, y, x] & unusable) == 0
                constant[y, x] &= values[k, y, x] == values[0, y, x]
        for x in range(nx):
            chi_square[y, x] -= worst[x]
            degrees[y, x] = max(degrees[y, x], 0)


@compiled
def _add_squares(of_frame, mean, charge, scale, unusable, total, worst):
    values, variance, quality = of_frame
    each = 1 if variance.size == values.size else 0
    for x in range(values.size):
        deviation = values[x] - mean[x]
        square = deviation * deviation / (scale * variance[x * each] + charge[x])
        square = square if (quality[x] & unusable) == 0 else np.float32(0.0)
        total[x] += square
        worst[x] = max(worst[x], square)


@compiled
def weighted_profiles(values, usable, columns, rows):
    """Means of the usable pixels of each column and row, NaN where there is none.

    `values` (ny, nx) float32, `usable` bool; `columns` (nx,) and `rows` (ny,) float64 are filled.
    """
    ny, nx = values.shape
    weight, total, number = np.empty(nx, np.float32), np.zeros(nx), np.zeros(nx)
    for y in range(ny):
        for x in range(nx):
            weight[x] = np.float32(1.0) if usable[y, x] else np.float32(0.0)
        _add_products(values[y], weight, total, number)
        of_row, counting = _sums(values[y], weight)
        rows[y] = of_row / counting if counting > 0 else np.nan
    for x in range(nx):
        columns[x] = total[x] / number[x] if number[x] > 0 else np.nan


@compiled
def flag_deviating(data, level, variance, own_variance, quality, limits, bits, flags):
    """Set the bit of pixels that lie too far above or below a level.

    Parameters
    ----------
    data, level, variance, own_variance : ndarray (ny, nx) float32
        `variance` is that of one frame, `own_variance` that of the data.
    quality : ndarray (ny, nx) int32
    limits : (float32, float32)
        Squared deviations over each of the variances; both must be exceeded.
    bits : (unusable, above, below) int32
        Bits of pixels that are not judged; what is set of others.
    flags : ndarray (ny, nx) int32
        Changed.
    """
    of_frame, of_data = limits
    unusable, above, below = bits
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            deviation = data[y, x] - level[y, x]
            square = deviation * deviation
            far = square > of_frame * variance[y, x] and square > of_data * own_variance[y, x]
            if far and (quality[y, x] & unusable) == 0:
                flags[y, x] |= above if deviation > 0 else below
