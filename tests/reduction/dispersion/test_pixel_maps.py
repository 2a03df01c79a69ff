import numpy as np
import pytest

from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.dispersion.pixel_map_kernels import still_owned
from soxs_recipes.reduction.dispersion.pixel_maps import invert_surface, order_maps, pixel_maps
from soxs_recipes.reduction.sky.order_pixels import without_images


def closure(solution, maps, number):
    rows, columns = np.nonzero(maps.order == number)
    x, y = solution.surface(number).evaluate(maps.wavelength[rows, columns], maps.slit[rows, columns])
    return np.hypot(x - columns, y - rows)


@pytest.mark.parametrize("kind", ["bands", "echelle"])
def test_maps_close_and_have_no_holes(arc_layout, kind):
    layout = arc_layout(kind)
    solution = layout.prior()
    maps = pixel_maps(
        solution,
        layout.shape,
        dispersion_axis=layout.dispersion_axis,
        slit_half_length=5.0,
        shift=(0.7, -0.4),
        wavelength_ranges=layout.ranges,
    )
    assert maps.orders == tuple(sorted(layout.ranges))
    moved = solution.shifted(0.7, -0.4)
    for number in layout.ranges:
        distance = closure(moved, maps, number)
        assert distance.size > 5000
        assert distance.max() < 0.005
        # Unshifted, the same maps do not close.
        assert closure(solution, maps, number).min() > 0.5
        inside = maps.order == number
        view = inside if layout.dispersion_axis == 0 else inside.T
        for line in view[view.any(axis=1)]:
            assert np.all(np.diff(np.flatnonzero(line)) == 1)
    assert np.array_equal(np.isfinite(maps.wavelength), maps.order > 0)
    assert np.array_equal(np.isfinite(maps.slit), maps.order > 0)
    assert np.nanmax(np.abs(maps.slit)) < 5.05


def test_edges_decide_what_is_inside(arc_layout):
    layout = arc_layout("bands")
    solution = layout.prior()
    traces = []
    for number, (low, high) in layout.ranges.items():
        w = np.linspace(low, high, 200)
        x, y = solution.surface(number).evaluate(w, np.zeros(200))
        fit = np.polynomial.Legendre.fit(y, x, 6, domain=(20.0, 1180.0))
        edge = np.zeros(fit.coef.size)
        edge[0] = 12.3
        traces.append(OrderTrace(number, (20.0, 1180.0), fit.coef, fit.coef - edge, fit.coef + edge))
    table = OrderTable(tuple(traces), dispersion_axis=0)
    maps = pixel_maps(solution, layout.shape, dispersion_axis=0, order_table=table)
    wanted = table.order_image(layout.shape)
    assert (wanted > 0).sum() > 80000
    assert np.array_equal(maps.order, wanted)
    for number in layout.ranges:
        assert closure(solution, maps, number).max() < 0.005


def test_inverse_is_exact_and_honest(arc_layout):
    layout = arc_layout("echelle")
    surface = layout.prior().surface(14)
    low, high = layout.ranges[14]
    w, s = np.meshgrid(np.linspace(low, high, 20), np.linspace(-5.0, 5.0, 5))
    found = invert_surface(surface, *surface.evaluate(w, s), (low, high), dispersion_axis=1)
    assert np.abs(found[0] - w).max() < 1e-8
    assert np.abs(found[1] - s).max() < 1e-7


def test_a_solution_that_turns_back_is_refused(arc_layout):
    layout = arc_layout("bands")
    block = layout.prior().blocks[0]
    y = np.zeros_like(block.y_coefficients)
    y[2] = 500.0
    broken = type(layout.prior())(
        (block.__class__(*[y if name == "y_coefficients" else getattr(block, name) for name in block.__slots__]),)
    )
    with pytest.raises(AlgorithmError, match="turns back"):
        pixel_maps(broken, layout.shape, dispersion_axis=0)


@pytest.mark.parametrize("half_length", [5.0, 40.0])
def test_orders_without_images_hold_the_same_pixels(arc_layout, half_length):
    layout = arc_layout("echelle")
    settings = {
        "dispersion_axis": layout.dispersion_axis,
        "slit_half_length": half_length,
        "wavelength_ranges": layout.ranges,
    }
    images = pixel_maps(layout.prior(), layout.shape, **settings)
    orders = order_maps(layout.prior(), layout.shape, **settings)
    places = np.concatenate([lines.index for lines in orders.lines.values()])
    assert places.size == np.unique(places).size == (images.order > 0).sum() > 20_000
    cut = without_images(images, layout.dispersion_axis)
    assert cut.orders == orders.orders == images.orders
    assert cut.shape == orders.shape == layout.shape
    for number, lines in orders.lines.items():
        for one, other in zip(lines, cut.lines[number], strict=True):
            assert np.array_equal(one, other)


def test_where_orders_meet_the_last_one_stays():
    owner = np.array([3, 3, 4, 3, 4, 4, 3, 3], np.int16)
    index, start = np.array([0, 1, 2, 4, 5, 6, 7]), np.array([0, 3, 5, 5, 7])
    found = still_owned(owner, 3, index.copy(), start.copy(), index + 0.5, index - 0.5)
    assert found[0].tolist() == [0, 1, 6, 7]
    assert found[1].tolist() == [0, 2, 2, 2, 4]
    assert found[2].tolist() == [0.5, 1.5, 6.5, 7.5]
    assert found[3].tolist() == [-0.5, 0.5, 5.5, 6.5]
