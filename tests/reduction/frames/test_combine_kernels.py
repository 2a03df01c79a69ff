"""Sums over exposures against a plain reckoning, pixel by pixel."""

import numpy as np
import pytest

from soxs_recipes.reduction.frames.combine import sorting_network
from soxs_recipes.reduction.frames.combine_kernels import add_exposures

UNUSABLE, INFORMS = np.int32(1), 2
CELL, CLIP = 4, np.float32(1.5 * 6.0**2)


def median(values):
    ranked = sorted(values)
    if len(ranked) == 2:
        return ranked[0]
    return 0.5 * (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) if ranked else 0.0


def plainly(values, variance, shared, quality, below, levels, ratios, first_row):
    count, ny, nx = values.shape
    sums, bits, rejected = np.zeros((6, ny, nx)), np.zeros((2, ny, nx), np.int32), 0
    for y in range(ny):
        for x in range(nx):
            cell = min((first_row + y) // CELL, ratios.shape[2] - 1), min(x // CELL, ratios.shape[3] - 1)
            good = [k for k in range(count) if not quality[k, y, x] & UNUSABLE and np.isfinite(values[k, y, x])]
            planes = {k: (values[k, y, x] - below[y, x]) / levels[k] for k in good}
            sums[5, y, x] = middle = median(planes.values())
            for k in range(count):
                bits[1, y, x] |= quality[k, y, x]
            for k in good:
                light = max(middle, 0.0) + max(below[y, x], 0.0) / levels[k]
                expected = (variance[k, y, x] / levels[k] + light) / levels[k]
                if (planes[k] - ratios[0, k][cell] * middle) ** 2 > CLIP * expected:
                    rejected += 1
                    continue
                own = variance[k, y, x] - shared[k, y, x]
                added = (values[k, y, x] - below[y, x], own, shared[k, y, x], ratios[1, k][cell], 1.0)
                sums[:5, y, x] += added
                bits[0, y, x] |= quality[k, y, x] & ~UNUSABLE
    return sums, bits, rejected


@pytest.mark.parametrize("one_variance", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_sums_are_those_of_a_plain_reckoning(count, one_variance):
    rng = np.random.default_rng(count)
    shape = (count, 9, 23)
    levels = rng.uniform(0.8, 1.2, count).astype(np.float32)
    below = rng.normal(20.0, 3.0, shape[1:]).astype(np.float32)
    values = (rng.poisson(400.0 * levels[:, None, None], shape) + below).astype(np.float32)
    values[rng.random(shape) < 0.05] += 500.0
    values[0, 4, 5] = np.nan
    quality = np.where(rng.random(shape) < 0.2, INFORMS, 0).astype(np.int32)
    quality |= np.where(rng.random(shape) < 0.1, UNUSABLE, 0).astype(np.int32)
    quality[:, 7, 7] = UNUSABLE
    ratios = rng.uniform(0.97, 1.03, (2, count, 3, 5)).astype(np.float32)
    full = rng.uniform(30.0, 50.0, (count, 1, 1)) if one_variance else rng.uniform(30.0, 50.0, shape)
    full = np.broadcast_to(full, shape).astype(np.float32)
    given = [full[:, :, :1].copy(), (0.2 * full)[:, :, :1].copy()] if one_variance else [full, 0.2 * full]
    sums, bits = np.empty((6, *shape[1:]), np.float32), np.empty((2, *shape[1:]), np.int32)
    pairs = np.array(sorting_network(count), dtype=np.int64).reshape(-1, 2)
    rejected = add_exposures(
        values, *given, quality, below, levels, ratios, CELL, 2, pairs, CLIP, UNUSABLE, sums, bits
    )
    expected, expected_bits, expected_rejected = plainly(
        values, full, 0.2 * full, quality, below, levels, ratios, 2
    )
    assert rejected == expected_rejected
    assert rejected > 5 or count == 1
    assert np.allclose(sums, expected, rtol=1e-4, atol=1e-3)
    assert np.array_equal(bits, expected_bits)
    assert sums[4, 7, 7] == 0
