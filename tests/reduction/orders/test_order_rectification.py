"""A rectified order has its wavelengths in columns and its slit in rows."""

import numpy as np
import pytest

from soxs_recipes.reduction.orders.order_rectification import rectify_order


@pytest.mark.parametrize("kind", ["echelle", "quasi_orders"])
def test_tilted_lines_become_columns_and_the_slit_rows(kind, request):
    scene = request.getfixturevalue(kind)()
    k, order = 1, scene.orders[1]
    lines = np.exp(-0.5 * ((scene.straight(k) - 400.0) / 2.0) ** 2) * scene.slit_function(k)
    straight = rectify_order(scene.turn(lines), scene.true_table(), order, np.full(scene.rows, scene.tilt))
    column = np.arange(scene.rows)
    inner = straight[8:-8]
    assert inner.shape[0] > 15
    centres = np.nansum(inner * column, axis=1) / np.nansum(inner, axis=1)
    np.testing.assert_allclose(centres, 400.0, atol=0.05)
    assert np.nanmax(straight[:2]) < 0.1
    untilted = rectify_order(scene.turn(lines), scene.true_table(), order)[8:-8]
    assert np.ptp(np.nansum(untilted * column, axis=1) / np.nansum(untilted, axis=1)) > 1.5


def test_outside_an_order_there_is_nothing(quasi_orders):
    scene = quasi_orders(domains={2: (300.0, 900.0)})
    result = rectify_order(np.ones((scene.rows, scene.columns)), scene.true_table(), 2)
    assert np.isnan(result[:, :300]).all()
    assert np.isfinite(result[:, 301:900]).all()
    assert np.isnan(result[:, 901:]).all()
