"""Bins and coordinates of an order's pixels."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.extraction.extraction import make_grids
from soxs_recipes.reduction.sky.order_pixels import cut_order, make_order_grid


@pytest.mark.parametrize("order", [1, 2])
def test_bins_ascend_and_are_a_pixel_wide(scene_of, order):
    scene = scene_of(noise=False, length=300)
    grid = make_order_grid(scene.maps, order, 0)
    assert grid.size >= 300
    assert np.all(np.diff(grid.wavelength) > 0)
    assert np.allclose(grid.bin_width, 0.04, rtol=1e-3)
    assert np.allclose(grid.position(grid.wavelength), np.arange(grid.size), atol=1e-6)


def test_both_orientations_give_the_same_pixels(scene_of):
    upright, lying = (scene_of(noise=False, length=300, dispersion_axis=axis) for axis in (0, 1))
    cuts = [
        cut_order(scene.maps, make_order_grid(scene.maps, 2, axis), axis)
        for axis, scene in enumerate((upright, lying))
    ]
    assert cuts[0].position.size > 10_000
    assert np.allclose(cuts[0].position, cuts[1].position)
    assert np.array_equal(cuts[0].take(upright.mean), cuts[1].take(lying.mean))


def test_footprint_is_the_pixel_in_bins_and_arcsec(scene_of):
    scene = scene_of(noise=False, length=300)
    pixels = cut_order(scene.maps, make_order_grid(scene.maps, 1, 0), 0)
    assert np.median(pixels.footprint) == pytest.approx(0.28, rel=2e-3)
    assert pixels.slit_range == pytest.approx((-5.6, 5.6), abs=0.15)


def test_edge_margin_and_shift(scene_of):
    scene = scene_of(noise=False, length=300)
    grid = make_order_grid(scene.maps, 1, 0)
    plain, trimmed = cut_order(scene.maps, grid, 0), cut_order(scene.maps, grid, 0, edge_margin=2.0, shift=0.5)
    assert plain.index.size - trimmed.index.size == pytest.approx(4 * 300, rel=0.1)
    common, first, second = np.intersect1d(plain.index, trimmed.index, return_indices=True)
    assert common.size > 8000
    assert np.allclose(trimmed.position[second] - plain.position[first], 0.5)


def test_an_order_that_is_hardly_there(scene_of):
    scene = scene_of(noise=False, length=300)
    few = np.where(
        np.arange(scene.maps.order.size).reshape(scene.maps.order.shape) % 500 == 0, scene.maps.order, 0
    )
    with pytest.raises(AlgorithmError, match="too few pixels"):
        make_order_grid(replace(scene.maps, order=few), 1, 0)


def test_such_an_order_does_not_stop_the_others(scene_of):
    scene = scene_of(noise=False, length=300)
    index = np.arange(scene.maps.order.size).reshape(scene.maps.order.shape)
    order = np.where((scene.maps.order == 2) & (index % 500 != 0), 0, scene.maps.order)
    assert [grid.order for grid in make_grids(replace(scene.maps, order=order), 0)] == [1]
    with pytest.raises(AlgorithmError, match="no order"):
        make_grids(replace(scene.maps, order=np.zeros_like(order)), 0)
