"""Loops over a master's pixels against plain reckonings of the same."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from soxs_recipes.reduction.frames.master_kernels import (
    add_chi_squares,
    denoised,
    flag_deviating,
    region_means,
    structure_step,
    weighted_profiles,
)


def image(shape=(70, 45), seed=1):
    return np.random.default_rng(seed).normal(0.0, 1.0, shape).astype(np.float32)


@pytest.mark.parametrize("size", [(16, 1), (1, 16), (6, 6), (5, 3), (70, 1), (1, 45)])
def test_regions_are_means_of_clipped_pulls(size):
    pull, usable = image(), np.random.default_rng(2).random((70, 45)) > 0.1
    pull[20:30, 10:20] += 3.0
    struck = np.empty((1, *pull.shape), bool)
    region_means(pull, usable, np.float32(4.0), *np.array([size]).T.copy(), 2.0, struck)
    clipped = np.where(usable, np.clip(pull, -4.0, 4.0), 0.0).astype(float)
    mean = uniform_filter(clipped, size, mode="constant") * np.sqrt(np.prod(size))
    clear = np.abs(np.abs(mean) - 2.0) > 1e-6
    assert clear.mean() > 0.99
    assert np.array_equal(struck[0][clear], (np.abs(mean) > 2.0)[clear])
    assert 0 < struck.mean() < 0.5


def test_structure_step_gives_profiles_and_blocks():
    values, usable = image(), np.random.default_rng(2).random((70, 45)) > 0.1
    usable[:, 7] = False
    usable[33] = False
    values += np.linspace(0.0, 2.0, 45, dtype=np.float32)
    values[5, 6] = 90.0
    variance = np.random.default_rng(4).uniform(0.5, 1.5, values.shape).astype(np.float32)
    columns, rows, blocks = np.empty(45, np.float32), np.empty(70, np.float32), np.empty((5, 3), np.float32)
    structure_step(values, variance, usable, (np.float32(9.0), np.float32(4.0)), 16, columns, rows, blocks)
    weight = usable & (np.square(values) < np.maximum(9.0 * variance, 4.0))
    assert 0 < np.count_nonzero(usable & ~weight) < 400
    rest, expected = values.astype(float), []
    for axis in (0, 1):
        profile = (rest * weight).sum(axis) / np.maximum(weight.sum(axis), 1)
        rest = rest - np.expand_dims(profile, axis)
        expected.append(profile)
    assert np.allclose(columns, expected[0], atol=1e-5)
    assert np.allclose(rows, expected[1], atol=1e-5)
    assert (columns[7], rows[33]) == (0.0, 0.0)
    for j in range(5):
        for i in range(3):
            cut = slice(16 * j, 16 * (j + 1)), slice(16 * i, 16 * (i + 1))
            assert blocks[j, i] == pytest.approx(rest[cut][weight[cut]].mean(), abs=1e-5)


def test_denoised_values_and_noise():
    values, structure = image() * 2.0 + 5.0, np.full((70, 45), 5.0, np.float32)
    values[3, 4] = 40.0
    variance = np.full(values.shape, 4.0, np.float32)
    free, known = (np.random.default_rng(seed).random(values.shape) > 0.1 for seed in (5, 6))
    data, noise = np.empty_like(values), np.empty_like(values)
    floor, share, ratio, clip = (np.float32(number) for number in (0.3, 0.02, 0.1, 4.0))
    squares, kept = denoised(
        values, variance, structure, free, known, floor, (2.0, 3.0), share, ratio, clip, data, noise
    )
    pull = np.abs(values - structure) / 2.0
    weight = np.where(free, 0.3 + 0.7 * np.clip(pull - 2.0, 0.0, 1.0), 1.0)
    assert np.allclose(data, structure + weight * (values - structure), rtol=1e-5, atol=1e-5)
    assert np.allclose(noise, 4.0 * (weight**2 * 0.98 + 0.02 + (1.0 - weight) ** 2 * 0.1), rtol=1e-5)
    assert squares == pytest.approx(np.square(weight * np.minimum(pull, 4.0))[known].sum(), rel=1e-5)
    assert kept == np.count_nonzero(weight > 0.99)
    assert np.count_nonzero(~free) < kept < 0.3 * values.size


@pytest.mark.parametrize("one_variance", [True, False])
def test_chi_square_leaves_the_worst_value_out(one_variance):
    rng = np.random.default_rng(7)
    shape = (4, 12, 30)
    values = rng.normal(10.0, 2.0, shape).astype(np.float32)
    values[:, 2, 3] = 7.0
    full = np.broadcast_to(np.linspace(3.0, 5.0, 4)[:, None, None], shape).astype(np.float32)
    quality = np.where(rng.random(shape) < 0.15, 1, 0).astype(np.int32) | 2
    quality[:, 5, 5] = 1
    mean, charge = image(shape[1:]) + 10.0, np.abs(image(shape[1:], 3))
    chi_square, degrees = np.empty(shape[1:], np.float32), np.empty(shape[1:], np.int16)
    constant = np.empty(shape[1:], bool)
    given = np.ascontiguousarray(full[:, :, :1]) if one_variance else full
    numbers = np.float32(1.1), np.int32(1)
    add_chi_squares(values, given, quality, mean, charge, *numbers, chi_square, degrees, constant)
    usable = (quality & 1) == 0
    squares = np.where(usable, np.square(values - mean) / (1.1 * full + charge), 0.0)
    assert np.allclose(chi_square, squares.sum(axis=0) - squares.max(axis=0), rtol=1e-4, atol=1e-5)
    assert np.array_equal(degrees, np.maximum(usable.sum(axis=0) - 2, 0))
    assert set(np.unique(degrees)) == {0, 1, 2}
    assert np.argwhere(constant).tolist() == [[2, 3]]


def test_profiles_of_usable_pixels():
    values, usable = image(), np.random.default_rng(2).random((70, 45)) > 0.3
    usable[:, 8] = False
    columns, rows = np.empty(45), np.empty(70)
    weighted_profiles(values, usable, columns, rows)
    assert np.isnan(columns[8])
    assert np.allclose(rows, [row[good].mean() for row, good in zip(values, usable, strict=True)], atol=1e-5)
    others = [x for x in range(45) if x != 8]
    assert np.allclose(columns[others], [values[usable[:, x], x].mean() for x in others], atol=1e-5)


def test_deviating_pixels_are_those_of_plain_comparisons():
    random = np.random.default_rng(8)
    data, level = random.normal(0.0, 6.0, (2, 90, 70)).astype(np.float32)
    variance, own = random.uniform(0.5, 4.0, (2, 90, 70)).astype(np.float32)
    data[0, :5], variance[3, :4] = np.nan, np.nan
    quality = random.choice(np.array([0, 1, 4], dtype=np.int32), data.shape)
    flags = np.zeros(data.shape, dtype=np.int32)
    limits, bits = (np.float32(4.0), np.float32(9.0)), (np.int32(4), np.int32(16), np.int32(32))
    flag_deviating(data, level, variance, own, quality, limits, bits, flags)
    square, judged = (data - level) ** 2, (quality & 4) == 0
    far = (square > 4.0 * variance) & (square > 9.0 * own) & judged
    assert 500 < np.count_nonzero(far) < 4000
    assert (flags == np.where(far, np.where(data > level, 16, 32), 0)).all()
