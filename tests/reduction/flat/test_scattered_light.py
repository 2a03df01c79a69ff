"""Scattered light against the surface that was put in."""

import time

import numpy as np
import pytest

from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.flat.scattered_light import between_orders, fit_scattered_light


def surface(scene, level):
    u = np.linspace(-1, 1, scene.rows)[:, None]
    v = np.linspace(-1, 1, scene.columns)[None, :]
    return level * (1.0 + 0.5 * u - 0.3 * v + 0.6 * np.exp(-2.0 * (u - 0.2) ** 2 - 3.0 * (v + 0.1) ** 2))


@pytest.mark.parametrize("kind", ["echelle", "quasi_orders"])
@pytest.mark.parametrize("level", [0.0, 60.0, 1500.0])
def test_the_surface_comes_back_within_its_error(kind, level, request):
    scene = request.getfixturevalue(kind)()
    truth = surface(scene, level)
    frame = scene.frame(scene.slit_flat(30000.0) + truth, seed=2, hits=400)
    model, variance = fit_scattered_light(frame, scene.true_table())
    error = model - scene.turn(truth)
    assert model.shape == frame.shape
    assert model.dtype == np.float32
    # Under the orders against the noise of one pixel, everywhere against its own error.
    lit = scene.true_table().order_image(frame.shape) > 0
    assert lit.sum() > 50000
    noise = np.sqrt(9.0 + 1.2 * level)
    assert np.sqrt(np.mean(error[lit] ** 2)) < 0.06 * noise + 0.002 * level
    assert np.percentile(np.abs(error[lit]), 99) < 0.25 * noise + 0.006 * level
    assert 0.3 < np.sqrt(np.mean(error**2 / variance)) < 2.0


def test_no_light_gives_no_bias_and_negative_values_are_allowed(quasi_orders):
    scene = quasi_orders()
    frame = scene.frame(scene.slit_flat(30000.0), seed=3)
    model, _ = fit_scattered_light(frame, scene.true_table())
    assert abs(model.mean()) < 0.05
    below = frame.with_arrays(data=frame.data - 20.0)
    model, _ = fit_scattered_light(below, scene.true_table())
    assert model.mean() == pytest.approx(-20.0, abs=0.05)


def test_a_ghost_between_the_orders_does_not_lift_the_surface(quasi_orders):
    scene = quasi_orders()
    frame, table = scene.frame(scene.slit_flat(30000.0) + 60.0, seed=3), scene.true_table()
    clean, _ = fit_scattered_light(frame, table)
    gaps = between_orders(table, frame.shape)
    rows = np.arange(frame.shape[0])[:, None]
    ghost = (gaps == 2) & (rows > 600) & (rows < 700)
    assert ghost.sum() > 500
    spoilt, _ = fit_scattered_light(frame.with_arrays(data=frame.data + np.float32(500.0) * ghost), table)
    assert np.abs(spoilt - clean).max() < 1.0


def test_gaps_hold_no_light_of_an_order(echelle):
    scene = echelle()
    gaps = between_orders(scene.true_table(), (scene.columns, scene.rows))
    assert len(np.unique(gaps)) == len(scene.orders) + 2
    light = scene.turn(scene.slit_flat(30000.0))
    assert light[gaps > 0].max() < 30.0


def test_an_order_that_ends_early_is_continued(quasi_orders):
    scene = quasi_orders(domains={2: (300.0, 900.0)})
    gaps = between_orders(scene.true_table(), (scene.rows, scene.columns))
    assert (gaps[1200, 235:245] == 0).all()


def test_a_gap_that_an_order_crosses_ends_there():
    # The third order runs from the far side into the gap between the first two.
    whole, half = (0.0, 999.0), np.array([10.0])
    straight = [OrderTrace(k, whole, np.array([c]), c - half, c + half) for k, c in ((1, 40.0), (2, 100.0))]
    third = OrderTrace(3, whole, *(np.array([place, -45.0]) for place in (115.0, 105.0, 125.0)))
    gaps = between_orders(OrderTable((*straight, third), 0), (1000, 200))
    assert (gaps[10, 62:79] > 0).all()
    assert (gaps[990, 62:79] == 0).all()


def test_orders_that_fill_the_frame_are_refused(quasi_orders):
    scene = quasi_orders()
    whole = OrderTrace(1, (0.0, scene.rows - 1.0), np.array([240.0]), np.array([-5.0]), np.array([500.0]))
    frame = scene.frame(scene.slit_flat(100.0), seed=4)
    with pytest.raises(AlgorithmError, match="between the orders"):
        fit_scattered_light(frame, OrderTable((whole,), 0))


def test_full_frames_take_under_a_second(quasi_orders):
    scene = quasi_orders(
        rows=4096, columns=808, middles=np.array([160.0, 310.0, 465.0, 645.0]), half_lengths=[21] * 4
    )
    frame = scene.frame(scene.slit_flat(1000.0), seed=5)
    table = scene.true_table()
    start = time.process_time()
    fit_scattered_light(frame, table)
    assert time.process_time() - start < 2.0


def test_a_wrong_surface_is_noticed(quasi_orders):
    """One per cent of error in the surface is far outside the stated error."""
    scene = quasi_orders()
    truth = surface(scene, 1500.0)
    frame = scene.frame(scene.slit_flat(30000.0) + truth, seed=2)
    model, variance = fit_scattered_light(frame, scene.true_table())
    assert np.sqrt(np.mean((1.01 * model - scene.turn(truth)) ** 2 / variance)) > 3.0
