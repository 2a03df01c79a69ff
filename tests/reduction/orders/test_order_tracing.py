"""Order centres against a truth that the prediction does not share."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.orders.order_tracing import (
    _ordinary_width,
    _Prediction,
    _search_limit,
    predict_centres,
    trace_orders,
)


def centre_errors(scene, table):
    """{order: measured - true} over the order's rows."""
    errors = {}
    for k, order in enumerate(scene.orders):
        low, high = table[order].along_domain
        along = np.arange(np.ceil(low), high)
        errors[order] = table[order].centre_at(along) - scene.centre(k, along)
    return errors


@pytest.mark.parametrize("kind", ["echelle", "quasi_orders"])
@pytest.mark.parametrize(("shift", "rotation"), [(0.0, 0.0), (5.0, 3.0), (-15.0, -2.0)])
def test_centres_are_found_to_a_twentieth_of_a_pixel(kind, shift, rotation, request):
    scene = request.getfixturevalue(kind)()
    frame = scene.frame(scene.pinhole(20000.0), seed=3, hits=200)
    tracing = trace_orders(frame, scene.prediction(shift, rotation))
    errors = centre_errors(scene, tracing.table)
    assert len(errors) == len(scene.orders)
    assert tracing.bridged == ()
    assert max(np.abs(e).max() for e in errors.values()) < 0.05
    assert np.sqrt(np.mean(np.concatenate(list(errors.values())) ** 2)) < 0.01
    assert tracing.shift == pytest.approx(shift, abs=1.0)


def test_errors_of_the_centres_are_true(echelle):
    scene = echelle()
    # Each row's response weighs on the centre; a perfect detector shows the errors by themselves.
    scene.response[:] = 1.0
    frame = scene.frame(scene.pinhole(3000.0), seed=4)
    samples = trace_orders(frame, scene.prediction(2.0)).samples
    truth = np.concatenate(
        [scene.centre(k, samples.along[samples.order == order]) for k, order in enumerate(scene.orders)]
    )
    pull = ((samples.centre - truth) / samples.error)[samples.used]
    assert pull.size > 600
    assert abs(pull.mean()) < 0.2
    assert 0.85 < pull.std() < 1.15


def test_a_displaced_truth_is_noticed(echelle):
    """The check above fails when the answer is wrong by a tenth of a pixel."""
    scene = echelle()
    table = trace_orders(scene.frame(scene.pinhole(20000.0), seed=3), scene.prediction(1.0)).table
    scene.middles = scene.middles + 0.1
    assert max(np.abs(e).max() for e in centre_errors(scene, table).values()) > 0.08


def test_a_missing_order_is_bridged_and_said(echelle):
    scene = echelle()
    signal = scene.pinhole(20000.0)
    k = 3
    near = np.abs(np.arange(scene.columns)[None, :] - scene.centre(k)[:, None]) < 12
    signal[near] = 0.0
    tracing = trace_orders(scene.frame(signal, seed=5), scene.prediction(4.0))
    assert tracing.bridged == (scene.orders[k],)
    errors = centre_errors(scene, tracing.table)
    assert np.abs(errors[scene.orders[k]]).max() < 1.2
    assert max(np.abs(e).max() for order, e in errors.items() if order != scene.orders[k]) < 0.05


def test_half_an_order_is_traced_where_it_is_seen(quasi_orders):
    scene = quasi_orders()
    signal = scene.pinhole(20000.0)
    near = np.abs(np.arange(scene.columns)[None, :] - scene.centre(1)[:, None]) < 15
    near[: scene.rows // 2] = False
    signal[near] = 0.0
    tracing = trace_orders(scene.frame(signal, seed=6), scene.prediction(-3.0))
    error = centre_errors(scene, tracing.table)[scene.orders[1]]
    assert np.abs(error[: scene.rows // 2]).max() < 0.05
    assert np.abs(error).max() < 1.5


def test_dead_columns_and_saturation_do_not_move_it(quasi_orders):
    scene = quasi_orders()
    dead = np.zeros((scene.rows, scene.columns), dtype=bool)
    dead[:, 92] = True
    dead[400:420, :] = True
    tracing = trace_orders(scene.frame(scene.pinhole(20000.0), seed=7, dead=dead), scene.prediction(2.0))
    assert max(np.abs(e).max() for e in centre_errors(scene, tracing.table).values()) < 0.05


@pytest.mark.parametrize("binning", [(1, 2), (2, 1), (2, 2)])
def test_binned_frames(quasi_orders, binning):
    scene = quasi_orders()
    signal = scene.pinhole(10000.0)
    rows, columns = scene.rows // binning[0], scene.columns // binning[1]
    binned = signal.reshape(rows, binning[0], columns, binning[1]).sum(axis=(1, 3))
    frame = scene.frame(binned, seed=10)
    frame = frame.with_arrays(meta=replace(frame.meta, binning=binning))
    predicted = scene.prediction(4.0).rebinned(binning)
    table = trace_orders(frame, predicted).table
    assert table.binning == binning
    for k, order in enumerate(scene.orders):
        along = np.arange(rows - 1.0)
        truth = (scene.centre(k, (along + 0.5) * binning[0] - 0.5) + 0.5) / binning[1] - 0.5
        assert np.abs(table[order].centre_at(along) - truth).max() < 0.05


def test_an_empty_frame_is_refused(echelle):
    scene = echelle()
    frame = scene.frame(np.zeros((scene.rows, scene.columns)), seed=8)
    with pytest.raises(AlgorithmError, match="no order"):
        trace_orders(frame, scene.prediction())


def test_identical_input_gives_identical_output(echelle):
    scene = echelle()
    frame = scene.frame(scene.pinhole(5000.0), seed=9, hits=50)
    first, second = (trace_orders(frame, scene.prediction(3.0)).table for _ in range(2))
    for one, other in zip(first.traces, second.traces, strict=True):
        np.testing.assert_array_equal(one.centre, other.centre)


def test_prediction_from_a_dispersion_solution_is_cut_at_the_detector():
    terms = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]])
    zeros = np.zeros((3, 3))
    block = DispersionBlock(
        (1,),
        terms,
        np.array([40.0, 3.0, 5.0]),
        np.array([50.0, 80.0, 0.0]),
        zeros,
        zeros,
        (1, 1),
        (400, 500),
        (-6, 6),
    )
    table = predict_centres(DispersionSolution((block,)), {1: (400.0, 500.0), 2: (1.0, 2.0)}, (100, 90), 0)
    assert table.orders == (1,)
    low, high = table[1].along_domain
    assert low == pytest.approx(0.0, abs=0.5)
    assert high == pytest.approx(99.0, abs=0.5)
    # x = 40 + 3 u where y = 50 + 80 u
    assert table[1].centre_at(np.array([50.0]))[0] == pytest.approx(40.0, abs=1e-6)
    assert table[1].centre_at(np.array([90.0]))[0] == pytest.approx(41.5, abs=1e-6)


def test_the_search_goes_less_than_half_way_to_the_next_order():
    rows = np.arange(100.0)
    orders = [_Prediction(number, (0, 100), 50.0 + 30.0 * number + 0.0 * rows) for number in range(4)]
    assert _search_limit(orders, 25.0) == 14
    assert _search_limit(orders, 8.0) == 8
    assert _search_limit(orders[:1], 25.0) == 25


def test_what_is_far_wider_than_the_order_is_not_it():
    rng = np.random.default_rng(2)
    sigma, detected = rng.normal(1.3, 0.03, 60), np.ones(60, dtype=bool)
    sigma[[7, 30]], detected[5] = (3.0, 0.3), False
    ordinary = _ordinary_width(sigma, detected)
    assert np.flatnonzero(~ordinary).tolist() == [7, 30]
    few = np.arange(60) < 4
    assert _ordinary_width(sigma, few) is few
