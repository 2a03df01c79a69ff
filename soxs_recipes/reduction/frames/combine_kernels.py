"""Loops that combine a stack of frames pixel by pixel.

Rows are worked on plane by plane, in loops without branches where it can be: these run on vector units.
"""

from __future__ import annotations

import numpy as np

from soxs_recipes.compiled import compiled

__all__ = ["add_exposures", "combine_pixels"]


@compiled
def add_exposures(values, variance, shared, quality, below, levels, ratios, cell, first_row, pairs, clip, unusable,
                  sums, bits):  # fmt: skip
    """Add exposures of different level without hits; the number of values left out as hits.

    Parameters
    ----------
    values : ndarray (n, ny, nx) float32 [e-]
        Some rows of n exposures. Values that are not finite do not count.
    variance : ndarray (n, ny, nx) or (n, ny, 1) float32 [e-^2]
    shared : ndarray (n, ny, nx) or (n, ny, 1) float32 [e-^2]
        The part of it that all exposures have in common.
    quality : ndarray (n, ny, nx) int32
        Values with any bit of `unusable` do not count.
    below : ndarray (ny, nx) float32 [e-]
        What is subtracted from all.
    levels : ndarray (n,) float32
    ratios : ndarray (2, n, cells, cells) float32
        In cells of pixels: ratio of an exposure in units of its level to the median one, and the level by which it
        counts there.
    cell : int [px]
        Side of a cell; the last cells go on to the frame's end.
    first_row : int
        Of the frame.
    pairs : ndarray (m, 2) int64
        A sorting network for n values.
    clip : float32
        Squared distance from the median exposure, over variance, from which a value is a hit.
    sums : ndarray (6, ny, nx) float32
        Filled: sums over what counts of value, of variance that is not shared, of shared variance, of levels,
        their number; and the median exposure (of two the lower) in units of its level.
    bits : ndarray (2, ny, nx) int32
        Filled: quality bits of what counts but for `unusable`, and of all.
    """
    count, ny, nx = values.shape
    planes, ordered = np.empty((count, nx), np.float32), np.empty((count, nx), np.float32)
    own, local = np.empty((count, nx), np.float32), np.empty((count, nx), np.float32)
    good = np.empty((count, nx), np.bool_)
    number, one, nothing = np.empty(nx, np.int64), np.ones(nx, np.float32), np.zeros(nx, np.float32)
    rejected, cells = 0, -1
    for y in range(ny):
        if min((first_row + y) // cell, ratios.shape[2] - 1) != cells:
            cells = min((first_row + y) // cell, ratios.shape[2] - 1)
            for k in range(count):
                for x in range(nx):
                    column = min(x // cell, ratios.shape[3] - 1)
                    own[k, x], local[k, x] = ratios[0, k, cells, column], ratios[1, k, cells, column]
        sums[:, y], bits[:, y], number[:] = 0.0, 0, 0
        for k in range(count):
            _normalise(values[k, y], quality[k, y], below[y], levels[k], unusable, planes[k], ordered[k], good[k])
            for x in range(nx):
                number[x] += good[k, x]
        for pair in range(len(pairs)):
            _exchange(ordered[pairs[pair, 0]], ordered[pairs[pair, 1]])
        _middles(ordered, number, sums[5, y])
        for k in range(count):
            spread, common = variance[k, y], shared[k, y]
            rejected += _drop_hits(planes[k], spread, below[y], own[k], levels[k], sums[5, y], clip, good[k])
            _add(values[k, y], below[y], good[k], sums[0, y])
            _add_variances(spread, common, good[k], sums[1, y], sums[2, y])
            _add(local[k], nothing, good[k], sums[3, y])
            _add(one, nothing, good[k], sums[4, y])
            _add_bits(quality[k, y], good[k], unusable, bits[0, y], bits[1, y])
    return rejected


@compiled
def _normalise(values, quality, below, level, unusable, plane, ordered, good):
    """Light over level, the same with infinity for what does not count, and what does."""
    inverse = np.float32(1.0) / level
    for x in range(values.size):
        light = (values[x] - below[x]) * inverse
        counts = (quality[x] & unusable) == 0 and values[x] - values[x] == np.float32(0.0)
        plane[x], good[x] = light, counts
        ordered[x] = light if counts else np.float32(np.inf)


@compiled
def _exchange(low, high):
    for x in range(low.size):
        first, second = low[x], high[x]
        low[x] = first if first < second else second
        high[x] = second if first < second else first


@compiled
def _middles(ordered, number, middle):
    """Median of the first `number` of ordered values, of two the lower; 0 without any."""
    count = len(ordered)
    low, high = (count - 1) // 2, count // 2 if count != 2 else 0
    for x in range(middle.size):
        middle[x] = np.float32(0.5) * (ordered[low, x] + ordered[high, x])
    for x in range(middle.size):
        own = number[x]
        if own == 0:
            middle[x] = 0.0
        elif own < count:
            second = ordered[own // 2 if own != 2 else 0, x]
            middle[x] = np.float32(0.5) * (ordered[(own - 1) // 2, x] + second)


@compiled
def _drop_hits(plane, variance, below, own, level, middle, clip, good):
    """Take what deviates from the median exposure out of `good`; how many."""
    inverse, zero = np.float32(1.0) / level, np.float32(0.0)
    each = 1 if variance.size == plane.size else 0
    dropped = 0
    for x in range(plane.size):
        light = max(middle[x], zero) + max(below[x], zero) * inverse
        expected = (variance[x * each] * inverse + light) * inverse
        deviation = plane[x] - own[x] * middle[x]
        agrees = deviation * deviation <= clip * expected
        dropped += good[x] and not agrees
        good[x] = good[x] and agrees
    return dropped


@compiled
def _add(values, below, good, total):
    for x in range(values.size):
        total[x] += values[x] - below[x] if good[x] else np.float32(0.0)


@compiled
def _add_variances(variance, shared, good, own, common):
    each, each_shared = 1 if variance.size == good.size else 0, 1 if shared.size == good.size else 0
    zero = np.float32(0.0)
    for x in range(good.size):
        counts = np.float32(1.0) if good[x] else zero
        own[x] += counts * max(variance[x * each] - shared[x * each_shared], zero)
        common[x] += counts * shared[x * each_shared]


@compiled
def _add_bits(quality, good, unusable, informs, every):
    for x in range(quality.size):
        informs[x] |= quality[x] & ~unusable if good[x] else np.int32(0)
        every[x] |= quality[x]


@compiled
def combine_pixels(values, variance, shared, quality, limits, mad_factors, rules,
                   images, bits, counts):  # fmt: skip
    """Combine frames pixel by pixel, without values that stand out; see `combine.combine_frames`.

    Parameters
    ----------
    values : ndarray (n, ny, nx) float32
    variance, shared : ndarray (n, ny, nx) or (n, ny, 1) float32
        `shared` is the part of the variance that all frames have in common.
    quality : ndarray (n, ny, nx) int32
    limits, mad_factors : ndarray (n + 1,) float32
        Of 0 ... n usable values: squared distance from their centre over variance from which one is left out (inf
        for never), and what turns their median deviation into the scale that may take the variance's place.
    rules : (plain, unusable, no_data)
        Whether to take the mean or to weight by inverse variance; bits of values that do not count, and of those
        that do not exist.
    images : ndarray (3, ny, nx) float32
        Filled: value, variance, its shared part.
    bits : ndarray (ny, nx) int32
    counts : ndarray (ny, nx) int16
        Filled: how many values went in.
    """
    count, ny, nx = values.shape
    low, high, least = np.empty(nx, np.float32), np.empty(nx, np.float32), np.empty(nx, np.float32)
    total, own, root = np.empty(nx, np.float32), np.empty(nx, np.float32), np.empty(nx, np.float32)
    share, (plain, unusable, _) = np.float32(1.0 / count), rules
    for y in range(ny):
        low[:], high[:], least[:] = np.inf, -np.inf, np.inf
        total[:], own[:], root[:], bits[y] = 0.0, 0.0, 0.0, 0
        for k in range(count):
            _extend(values[k, y], low, high, total)
            _add_spread(variance[k, y], shared[k, y], least, own, root)
            _join(quality[k, y], bits[y])
        for x in range(nx):
            # All values agree with any centre that lies among them.
            agree = limits[count] == np.inf or (high[x] - low[x]) ** 2 <= limits[count] * least[x]
            if agree and plain and (bits[y, x] & unusable) == 0:
                images[0, y, x] = total[x] * share
                images[2, y, x] = (root[x] * share) ** 2
                images[1, y, x] = own[x] * share * share + images[2, y, x]
                counts[y, x] = count
            else:
                pixel = y, x
                _combine_pixel(
                    values, variance, shared, quality, pixel, limits, mad_factors, rules, images, bits, counts
                )


@compiled
def _extend(values, low, high, total):
    for x in range(values.size):
        low[x] = min(low[x], values[x])
        high[x] = max(high[x], values[x])
        total[x] += values[x]


@compiled
def _add_spread(variance, shared, least, own, root):
    each, each_shared = 1 if variance.size == own.size else 0, 1 if shared.size == own.size else 0
    for x in range(own.size):
        least[x] = min(least[x], variance[x * each])
        own[x] += max(variance[x * each] - shared[x * each_shared], np.float32(0.0))
        root[x] += np.sqrt(shared[x * each_shared])


@compiled
def _join(quality, bits):
    for x in range(bits.size):
        bits[x] |= quality[x]


@compiled
def _combine_pixel(values, variance, shared, quality, pixel, limits, mad_factors, rules,
                   images, bits, counts):  # fmt: skip
    """One pixel of `combine_pixels` whose values are masked or do not all agree."""
    (y, x), (plain, unusable, no_data) = pixel, rules
    count, every = len(values), bits[y, x]
    across, across_shared = min(x, variance.shape[2] - 1), min(x, shared.shape[2] - 1)
    kept = (quality[:, y, x] & unusable) == 0
    number = np.count_nonzero(kept)
    if number > 0 and limits[number] < np.inf:
        centre = np.sort(values[:, y, x][kept])[(number - 1) // 2]
        deviation = np.abs(values[:, y, x] - centre)
        scale = np.sort(deviation[kept])[number // 2 if number > 1 else 0] * mad_factors[number]
        for k in range(count):
            spread = max(variance[k, y, across], scale * scale)
            kept[k] = kept[k] and deviation[k] * deviation[k] <= limits[number] * spread
    number = np.count_nonzero(kept)
    bits[y, x], counts[y, x] = 0, number
    for k in range(count):
        bits[y, x] |= quality[k, y, x] if kept[k] else 0
    if number == 0:
        # Where no value is usable those that exist are averaged; their quality bits tell.
        kept = (quality[:, y, x] & no_data) == 0
        bits[y, x] = every if kept.any() else every | no_data
    total, weights = np.float32(0.0), np.zeros(count, np.float32)
    for k in range(count):
        own = max(variance[k, y, across] - shared[k, y, across_shared], np.float32(0.0))
        if kept[k]:
            weights[k] = np.float32(1.0) if plain else np.float32(1.0) / max(own, np.float32(1e-12))
        total += weights[k]
    images[:, y, x] = 0.0
    for k in range(count):
        weight = weights[k] / total if total > 0 else np.float32(0.0)
        own = max(variance[k, y, across] - shared[k, y, across_shared], np.float32(0.0))
        images[0, y, x] += weight * values[k, y, x] if kept[k] else np.float32(0.0)
        images[1, y, x] += weight * weight * own
        images[2, y, x] += weight * np.sqrt(shared[k, y, across_shared])
    images[2, y, x] *= images[2, y, x]
    images[1, y, x] += images[2, y, x]
