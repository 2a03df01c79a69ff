"""Order edges against the slit's true ends."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.data.order_table import OrderTable
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.orders.order_edges import centres_from_edges, find_edges
from soxs_recipes.reduction.orders.order_tracing import locate_slit_orders


def edge_errors(scene, table):
    errors = {}
    for k, order in enumerate(scene.orders):
        low, high = table[order].along_domain
        along = np.arange(np.ceil(low), high)
        for side, found, true in zip((-1, 1), table[order].edges_at(along), scene.edges(k, along), strict=True):
            errors[order, side] = found - true
    return errors


def worst(errors):
    return max(np.abs(e).max() for e in errors.values())


@pytest.mark.parametrize("kind", ["echelle", "quasi_orders"])
def test_edges_are_found_to_a_tenth_of_a_pixel(kind, request):
    scene = request.getfixturevalue(kind)()
    frame = scene.frame(scene.slit_flat(30000.0), seed=1, hits=300, scattered=40.0)
    edges = find_edges(frame, scene.true_table(edges=False))
    errors = edge_errors(scene, edges.table)
    assert len(errors) == 2 * len(scene.orders)
    assert edges.unmeasured == ()
    assert worst(errors) < 0.1
    assert np.sqrt(np.mean(np.concatenate(list(errors.values())) ** 2)) < 0.02


def test_uneven_light_along_the_slit_does_not_move_them(quasi_orders):
    scene = quasi_orders()
    plain = scene.illumination

    def tilted(k):
        lower, upper = scene.edges(k)
        t = (np.arange(scene.columns)[None, :] - lower[:, None]) / (upper - lower)[:, None]
        return plain(k) * (0.6 + 0.8 * np.clip(t, -0.1, 1.1))

    scene.illumination = tilted
    edges = find_edges(scene.frame(scene.slit_flat(30000.0), seed=2), scene.true_table(edges=False))
    assert worst(edge_errors(scene, edges.table)) < 0.1


def test_a_flat_shifted_against_the_centres(quasi_orders):
    scene = quasi_orders()
    table = scene.true_table(edges=False)
    scene.middles = scene.middles + 2.5
    edges = find_edges(scene.frame(scene.slit_flat(30000.0), seed=3), table)
    assert worst(edge_errors(scene, edges.table)) < 0.1


def test_a_dark_order_borrows_its_slit_length(echelle):
    scene = echelle()
    k = 4
    lower, upper = scene.edges(k)
    column = np.arange(scene.columns)[None, :]
    signal = scene.slit_flat(30000.0)
    signal[(column > lower[:, None] - 5) & (column < upper[:, None] + 5)] = 0.0
    edges = find_edges(scene.frame(signal, seed=4), scene.true_table(edges=False))
    order = scene.orders[k]
    assert set(edges.unmeasured) == {(order, -1), (order, 1)}
    errors = edge_errors(scene, edges.table)
    assert max(np.abs(errors[order, side]).max() for side in (-1, 1)) < 1.0
    del errors[order, -1], errors[order, 1]
    assert worst(errors) < 0.1


def test_an_edge_off_the_detector_does_not_stop_the_others(quasi_orders):
    scene = quasi_orders()
    scene.middles = scene.middles - 95.0
    edges = find_edges(scene.frame(scene.slit_flat(30000.0), seed=5), scene.true_table(edges=False))
    errors = edge_errors(scene, edges.table)
    assert (1, -1) in edges.unmeasured
    assert worst({key: value for key, value in errors.items() if key[0] > 1}) < 0.1


@pytest.mark.parametrize("kind", ["echelle", "quasi_orders"])
@pytest.mark.parametrize("shift", [6.0, -15.0])
def test_orders_are_located_without_a_pinhole_flat(kind, shift, request):
    scene = request.getfixturevalue(kind)()
    frame = scene.frame(scene.slit_flat(30000.0), seed=7, hits=200, scattered=40.0)
    lengths = dict(zip(scene.orders, 2.0 * scene.half_lengths, strict=True))
    located = locate_slit_orders(frame, scene.prediction(shift, 2.0), lengths)
    edges = find_edges(frame, located)
    assert edges.unmeasured == ()
    assert worst(edge_errors(scene, edges.table)) < 0.1
    centres = centres_from_edges(edges.table)
    for k, order in enumerate(scene.orders):
        # Mid-slit is 0.4 px above the pinhole in this scene.
        assert np.abs(centres[order].centre_at(scene.along) - scene.centre(k) - 0.4).max() < 0.1


def test_darkness_is_refused(echelle):
    scene = echelle()
    with pytest.raises(AlgorithmError, match="edge"):
        find_edges(scene.frame(np.zeros((scene.rows, scene.columns)), seed=6), scene.true_table(edges=False))


def test_a_displaced_truth_is_noticed(quasi_orders):
    scene = quasi_orders()
    table = find_edges(scene.frame(scene.slit_flat(30000.0), seed=1), scene.true_table(edges=False)).table
    moved = OrderTable(
        tuple(replace(t, upper=t.upper + np.eye(1, t.upper.size)[0] * 0.2) for t in table.traces), scene.axis
    )
    assert worst(edge_errors(scene, moved)) > 0.1
