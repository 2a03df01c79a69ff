"""Loops that cut an order out of the maps, at borders of the frame and around holes, too."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from soxs_recipes.reduction.sky.order_pixels_kernels import (
    jacobians,
    pixels_of,
    spline_values,
    taken,
    within,
    written,
)

_SHAPE = (30, 20)


@pytest.fixture(name="maps")
def _maps():
    """A slanted order that reaches three borders, with a hole; position and slit are linear."""
    y, x = np.mgrid[: _SHAPE[0], : _SHAPE[1]]
    order = np.where((x > y // 4) & (x <= y // 4 + 14), 3, 0).astype(np.int16)
    position, slit = 0.3 * y + 0.05 * x, 0.2 * x - 0.04 * y - 1.0
    position[12, 9] = slit[20, 10] = np.nan
    return order, position, slit


@pytest.mark.parametrize("axis", [0, 1])
def test_pixels_are_those_that_the_maps_know_line_by_line(maps, axis):
    order, position, slit = maps
    known = (order == 3) & np.isfinite(position) & np.isfinite(slit)
    index, start, *values = pixels_of(*maps, 3, (0, _SHAPE[0], 0, _SHAPE[1]), axis)
    assert index.size == known.sum() > 300
    y, x = np.nonzero(known) if axis == 0 else np.nonzero(known.T)[::-1]
    assert np.array_equal(index, y * _SHAPE[1] + x)
    assert np.array_equal(np.diff(start), known.sum(axis=1 - axis))
    for found, image in zip(values, (position, slit), strict=True):
        assert np.array_equal(found, image[y, x])
    none, start, *_ = pixels_of(*maps, 4, (0, _SHAPE[0], 0, _SHAPE[1]), axis)
    assert none.size == 0
    assert not start.any()


@pytest.mark.parametrize("axis", [0, 1])
def test_jacobians_stand_where_all_neighbours_are_known(maps, axis):
    order, position, slit = maps
    index, start, *values = pixels_of(*maps, 3, (0, _SHAPE[0], 0, _SHAPE[1]), axis)
    known = np.pad((order == 3) & np.isfinite(position) & np.isfinite(slit), 1)
    inner = known[1:-1, 1:-1] & known[2:, 1:-1] & known[:-2, 1:-1] & known[1:-1, 2:] & known[1:-1, :-2]
    expected = np.argwhere(inner) if axis == 0 else np.argwhere(inner.T)[:, ::-1]
    line, middle, jacobian = jacobians(index, start, *values, _SHAPE[1], axis, 10_000)
    assert line.size == len(expected) > 200
    assert np.array_equal(line, expected[:, axis])
    assert np.allclose(middle, slit[tuple(expected.T)])
    assert np.allclose(jacobian, 0.3 * 0.2 + 0.05 * 0.04)
    fewer = jacobians(index, start, *values, _SHAPE[1], axis, 100)
    assert np.array_equal(fewer[1], middle[:: len(expected) // 100])
    assert jacobians(index[:0], 0 * start, *(v[:0] for v in values), _SHAPE[1], axis, 100).shape == (3, 0)


def test_spline_is_that_of_scipy_whatever_the_run():
    random = np.random.default_rng(3)
    spline = CubicSpline(np.cumsum(random.uniform(0.5, 1.5, 50)), random.normal(size=50))
    for x in (np.linspace(-1.0, 60.0, 400), np.linspace(60.0, -1.0, 400), random.uniform(0.0, 55.0, 400)):
        assert np.allclose(spline_values(x, spline.x, spline.c), spline(x))


def test_pixels_beyond_bins_and_slit_are_left_out_and_footprints_follow_their_line():
    position = np.array([-0.6, -0.4, 3.0, 3.0, 9.4, 9.6, 5.0])
    slit = np.array([0.0, 0.0, 1.5, 2.5, -1.0, 0.0, 0.5])
    size = np.array([0.1, 9.0, 0.3]), np.array([1.0, 9.0, -1.0])
    index, *values, footprint = within(
        np.arange(7) + 3, np.array([0, 3, 3, 7]), position, slit, size, 10, (-2.0, 2.0)
    )
    kept = [1, 2, 4, 6]
    assert index.tolist() == [4, 5, 7, 9]
    for found, given in zip(values, (position, slit), strict=True):
        assert np.array_equal(found, given[kept])
    assert np.allclose(footprint, np.exp([0.1, 0.1 + 1.5, 0.3 + 1.0, 0.3 - 0.5]))


def test_values_are_taken_and_written_where_they_lie():
    image, index = np.arange(12, dtype=np.float32), np.array([7, 2, 9])
    assert taken(image, index).dtype == np.float64
    assert taken(image, index).tolist() == [7.0, 2.0, 9.0]
    written(image, index, 2, np.array([0.5, 1.5, 2.5]))
    assert image[[5, 0, 7]].tolist() == [0.5, 1.5, 2.5]
    assert image[[7, 2, 9, 1]].tolist() == [2.5, 2.0, 9.0, 1.0]
