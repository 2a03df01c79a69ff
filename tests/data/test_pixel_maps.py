"""Pixel maps: which orders there are, and where."""

import numpy as np

from soxs_recipes.data.pixel_maps import PixelMaps


def test_every_order_lies_in_its_window():
    order = np.zeros((30, 40), dtype=np.int16)
    order[3:20, 5:9], order[2:28, 30:40], order[29, 0] = 7, 3, 12
    maps = PixelMaps(np.where(order > 0, 500.0, np.nan), np.zeros(order.shape), order)
    assert maps.orders == (3, 7, 12)
    assert maps.window(7) == (slice(3, 20), slice(5, 9))
    assert maps.window(3) == (slice(2, 28), slice(30, 40))
    assert maps.window(12) == (slice(29, 30), slice(0, 1))
    assert maps.window(5) is None


def test_maps_without_orders():
    nothing = np.zeros((4, 4))
    assert PixelMaps(nothing, nothing, nothing.astype(np.int16)).orders == ()


def test_packed_maps_come_back():
    order = np.zeros((6, 9), dtype=np.int16)
    order[1:4, 2:5], order[5, 8] = 7, 3
    value = np.where(order > 0, np.arange(54.0).reshape(6, 9), np.nan)
    maps = PixelMaps(value, value - 20.0, order)
    packed = maps.packed()
    assert [part.size for part in packed] == [10, 10, 54]
    back = PixelMaps.unpacked(*packed)
    assert np.array_equal(back.wavelength, maps.wavelength, equal_nan=True)
    assert np.array_equal(back.slit, maps.slit, equal_nan=True)
    assert np.array_equal(back.order, order)
