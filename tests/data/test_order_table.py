import numpy as np
import pytest

from soxs_recipes.data.order_table import OrderTable, OrderTrace


def straight(order, centre, half_width):
    domain = (0.0, 99.0)
    return OrderTrace(
        order,
        domain,
        centre=np.array([centre, 5.0]),
        lower=np.array([centre - half_width, 5.0]),
        upper=np.array([centre + half_width, 5.0]),
    )


@pytest.mark.parametrize("dispersion_axis", [0, 1])
def test_order_image_marks_pixels_between_the_edges(dispersion_axis):
    table = OrderTable((straight(1, 20.0, 4.2), straight(2, 60.0, 4.2)), dispersion_axis)
    shape = (100, 80) if dispersion_axis == 0 else (80, 100)
    image = table.order_image(shape)
    view = image if dispersion_axis == 0 else image.T
    assert np.flatnonzero(view[0] == 1).tolist() == list(range(11, 20))  # centre 15 +- 4.2
    assert np.flatnonzero(view[99] == 2).tolist() == list(range(61, 70))  # centre 65 +- 4.2
    wider = table.order_image(shape, margin=1.0)
    assert (wider > 0).sum() > (image > 0).sum()


def test_trace_without_edges_says_so():
    trace = OrderTrace(3, (0.0, 9.0), np.array([4.0]))
    assert trace.centre_at(np.array([5.0])) == 4.0
    with pytest.raises(ValueError, match="order 3 has no edges"):
        trace.edges_at(np.array([5.0]))


def test_unknown_order_names_those_there_are():
    with pytest.raises(KeyError, match="order 9"):
        OrderTable((straight(1, 20.0, 4.0),), 0)[9]


def test_orders_end_where_they_end():
    table = OrderTable((OrderTrace(1, (20.0, 59.0), np.array([40.0]), np.array([35.0]), np.array([45.0])),), 0)
    image = table.order_image((100, 80))
    assert np.flatnonzero(image[:, 40]).tolist() == list(range(20, 60))


@pytest.mark.parametrize("dispersion_axis", [0, 1])
def test_rebinned_orders_cover_the_same_part_of_the_detector(dispersion_axis):
    table = OrderTable((straight(1, 20.0, 4.0),), dispersion_axis)
    binning = (2, 4) if dispersion_axis == 0 else (4, 2)
    binned = table.rebinned(binning)
    assert binned.binning == binning
    # Row 19.5 unbinned is row 9.5 of rows binned by two; x -> (x + 0.5) / 4 - 0.5 across.
    expected = (table[1].centre_at(np.array([19.5])) + 0.5) / 4 - 0.5
    assert binned[1].centre_at(np.array([9.5])) == pytest.approx(expected)
    np.testing.assert_allclose(
        binned[1].edges_at(np.array([9.5]))[1] - binned[1].edges_at(np.array([9.5]))[0], 2.0
    )
    assert table.rebinned((1, 1)) is table
