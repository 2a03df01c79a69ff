"""Clipped means of cells, and products of a surface, against a plain reckoning of the same."""

import numpy as np
import pytest

from soxs_recipes.reduction.flat import scattered_light
from soxs_recipes.reduction.flat.scattered_light_kernels import cell_means, mark_gaps

CELL = (8, 6)
MASKED = 4


def plainly(values, quality, gaps, stride, clip, fewest):
    found = []
    row, column = np.indices(gaps.shape)
    used = (gaps > 0) & (quality & MASKED == 0) & np.isfinite(values) & (row % stride == 0)
    for top in range(0, gaps.shape[0], CELL[0]):
        for gap in range(1, gaps.max() + 1):
            for left in range(0, gaps.shape[1], CELL[1]):
                own = (
                    used
                    & (gaps == gap)
                    & (row // CELL[0] == top // CELL[0])
                    & (column // CELL[1] == left // CELL[1])
                )
                data = np.sort(values[own].astype(float))
                if data.size < fewest:
                    continue
                low, median, high = (
                    data[min(int(share * data.size), data.size - 1)] for share in (0.159, 0.5, 0.841)
                )
                kept = own & (np.abs(values - median) <= clip * max(0.5 * (high - low), 1e-6))
                light = values[kept].astype(float)
                if light.size >= fewest:
                    error = max(light.std(), 1e-4) / np.sqrt(light.size)
                    found.append((row[kept].mean(), column[kept].mean(), light.mean(), error))
    return np.array(found).reshape(-1, 4)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("stride", [1, 3])
def test_cells_are_as_reckoned_plainly(order, stride):
    rng = np.random.default_rng(5)
    values = np.asarray(rng.normal(100.0, 5.0, (53, 40)).astype(np.float32), order=order)
    values[rng.random(values.shape) < 0.05] += 300.0
    values[3, 4], values[30:33, 20:30] = np.nan, 100.0
    quality = np.asarray(np.where(rng.random(values.shape) < 0.1, MASKED, 3), dtype=np.int32, order=order)
    gaps = np.zeros(values.shape, np.int16)
    gaps[:, 2:15], gaps[5:40, 20:39] = 1, 3
    expected = plainly(values, quality, gaps, stride, 3.0, 8)
    assert len(expected) > 20
    found = cell_means(values, quality, MASKED, gaps, CELL, stride, 3.0, 8)
    assert found == pytest.approx(expected, rel=1e-6)


def test_nothing_between_the_orders_gives_no_cell():
    values, quality = np.ones((20, 20), np.float32), np.zeros((20, 20), np.int32)
    nothing = np.zeros((20, 20), np.int16)
    assert cell_means(values, quality, MASKED, nothing, CELL, 1, 3.0, 8).shape == (0, 4)
    assert cell_means(values, quality + MASKED, MASKED, nothing + 1, CELL, 1, 3.0, 8).shape == (0, 4)
    assert cell_means(np.full_like(values, np.nan), quality, MASKED, nothing + 1, CELL, 1, 3.0, 8).shape == (0, 4)


def test_gaps_stay_inside_the_frame_and_out_of_the_light():
    image = np.zeros((4, 10), np.int16)
    low, high = np.array([[-50.0] * 4, [6.2] * 4]), np.array([[3.0] * 4, [1e9] * 4])
    mark_gaps(image, low, high, np.array([[7.5] * 4]), np.array([[8.0] * 4]))
    assert image.tolist() == [[1, 1, 1, 1, 0, 0, 0, 2, 0, 2]] * 4


def test_products_of_a_surface_are_those_of_its_whole_design():
    random = np.random.default_rng(6)
    surface = scattered_light._Surface((400, 300), (7, 9))
    along, across = random.uniform(-0.5, 399.5, 80), random.uniform(-0.5, 299.5, 80)
    along[0], across[0], along[1], across[1] = -0.5, -0.5, 399.5, 299.5  # corners
    mean, weight = random.normal(0.0, 1.0, 80), random.uniform(0.1, 2.0, 80)
    design = surface.design(along, across)
    cells = scattered_light._Cells.on(surface, along, across, mean)
    normal, right = cells.normal_equations(weight)
    expected = design.T @ (design * weight[:, None])
    assert design.shape == (80, 63)
    assert np.allclose(normal, expected + 1e-7 * np.trace(expected) / 63 * np.eye(63), rtol=0, atol=1e-12)
    assert np.allclose(right, design.T @ (weight * mean), rtol=0, atol=1e-12)
    assert np.allclose(cells.residual(np.arange(63.0)), mean - design @ np.arange(63.0))
