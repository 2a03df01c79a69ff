"""Pixel maps: which orders there are, and where."""

import numpy as np
import pytest

from soxs_recipes.data.pixel_maps import OrderLines, OrderMaps, PixelMaps


def test_every_order_lies_in_its_window():
    order = np.zeros((30, 40), dtype=np.int16)
    order[3:20, 5:9], order[2:28, 30:40], order[29, 0] = 7, 3, 12
    maps = PixelMaps(np.where(order > 0, 500.0, np.nan), np.zeros(order.shape), order)
    assert maps.orders == (3, 7, 12)
    assert maps.window(7) == (slice(3, 20), slice(5, 9))
    assert maps.window(3) == (slice(2, 28), slice(30, 40))
    assert maps.window(12) == (slice(29, 30), slice(0, 1))
    assert maps.window(5) is None


@pytest.mark.parametrize("tilt", [-0.7, 0.0, 0.7])
def test_windows_hold_tilted_orders_that_meet_and_end_at_borders(tilt):
    y, x = np.mgrid[:50, :60]
    order = np.clip((x + tilt * y + 40.0) // 13, 0, 6).astype(np.int16)
    order[:, 20:22] = 0
    maps = PixelMaps(np.where(order > 0, 500.0, np.nan), np.zeros(order.shape), order)
    assert len(maps.orders) > 3
    assert sorted(maps.orders) == sorted(set(order[order > 0].tolist()))
    for number in maps.orders:
        rows, columns = np.nonzero(order == number)
        expected = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        assert maps.window(number) == expected


def test_maps_without_orders():
    nothing = np.zeros((4, 4))
    assert PixelMaps(nothing, nothing, nothing.astype(np.int16)).orders == ()


def test_orders_come_back_from_their_arrays():
    lines = {
        number: OrderLines(np.arange(size), np.array([0, size]), np.arange(size) + 0.5, np.arange(size) - 0.5)
        for number, size in ((3, 4), (7, 6))
    }
    maps = OrderMaps(lines, (6, 9))
    empty = maps.without_arrays()
    assert empty.orders == (3, 7)
    assert all(values.size == 0 for values in empty.arrays())
    back = empty.with_arrays(maps.arrays())
    assert back.orders == maps.orders
    assert back.shape == (6, 9)
    for number, own in lines.items():
        assert all(np.array_equal(one, other) for one, other in zip(back.lines[number], own, strict=True))
