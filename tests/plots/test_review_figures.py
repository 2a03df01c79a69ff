"""Figures by which steps are judged: what they show is what they were given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from soxs_recipes.data.dispersion_solution import DispersionBlock, DispersionSolution
from soxs_recipes.data.order_table import OrderTable, OrderTrace
from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.plots.arcs import draw_line_cutout, figure_identified_lines, figure_solution_map
from soxs_recipes.plots.detector import figure_order_table
from soxs_recipes.plots.edges import figure_cross_sections, figure_edge_residuals
from soxs_recipes.plots.slit import figure_beams
from soxs_recipes.plots.standard import figure_standard
from soxs_recipes.plots.style import drawn_within, is_part_of_window

RNG = np.random.default_rng(8)


def table(axis):
    """Two orders, 20 and 60 px from the border, 16 px wide, upright."""
    traces = [
        OrderTrace(number, (0.0, 199.0), np.array([centre]), np.array([centre - 8.0]), np.array([centre + 8.0]))
        for number, centre in ((1, 20.0), (2, 60.0))
    ]
    return OrderTable(tuple(traces), axis)


def edge_samples(scatter):
    along = np.tile(np.arange(0.0, 200.0, 2.0), 4)
    order, side = np.repeat([1, 1, 2, 2], 100), np.repeat([-1, 1, -1, 1], 100)
    edge = np.where(order == 1, 20.0, 60.0) + 8.0 * side + scatter * RNG.standard_normal(400)
    used = np.arange(400) % 20 != 0
    edge[~used] += 3.0
    return {
        "ORDER": order, "SIDE": side, "ALONG": along, "EDGE": edge, "ERROR": np.full(400, scatter),
        "DETECTED": np.arange(400) % 50 != 1, "USED": used,
    }  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1])
def test_edges_stand_over_their_polynomials(axis):
    figure = figure_edge_residuals(edge_samples(0.05), table(axis), "edges")
    lower, upper, length = figure.axes
    for shown in (lower, upper):
        used, left_out = (np.concatenate([c.get_offsets() for c in shown.collections[k::2]]) for k in (0, 1))
        assert len(used) == 190 - 4
        assert len(left_out) == 10
        assert abs(used[:, 1].mean()) < 4 * 0.05 / np.sqrt(len(used))
        assert np.all(left_out[:, 1] > 2.5)
        assert "rms 0.05" in shown.texts[0].get_text() or "rms 0.04" in shown.texts[0].get_text()
    np.testing.assert_allclose([line.get_ydata() for line in length.lines], 16.0)
    assert length.get_xlabel().startswith("yx"[axis])


@pytest.mark.parametrize("axis", [0, 1])
def test_the_lamp_lies_between_the_edges(axis):
    image = np.zeros((200, 80), np.float32)
    for centre in (20, 60):
        image[:, centre - 8 : centre + 9] = 1000.0 * (1 + (centre == 60))
    figure = figure_cross_sections(image if axis == 0 else image.T, table(axis), "lamp")
    assert len(figure.axes) == 3
    for shown in figure.axes:
        light, *edges = shown.lines
        assert light.get_ydata().size == 80
        assert [float(edge.get_xdata()[0]) for edge in edges] == [12.0, 28.0, 52.0, 68.0]
        inside = light.get_ydata()[13:28]
        assert np.all(inside == 1000.0)
        assert light.get_ydata()[40] == 0.0


def standard(factor):
    wavelength = np.arange(400.0, 600.0, 0.1)
    model = 1e-13 * (wavelength / 500.0) ** -3
    n = wavelength.size
    variance = (0.01 * model) ** 2
    flux = factor * model + np.sqrt(variance) * RNG.standard_normal(n)
    quality = np.zeros(n, np.int32)
    quality[:100] = QualityFlag.NO_DATA
    ones = np.ones(n)
    order = OrderSpectrum(
        1, "g", wavelength, ones, flux, variance, flux, variance, ones, ones, quality, 0 * ones,
        flux_unit="erg / (s cm2 Angstrom)",
    )  # fmt: skip
    return order, wavelength, model


@pytest.mark.parametrize("factor", [1.0, 1.05])
def test_a_standard_stands_over_its_catalogue(factor):
    order, wavelength, model = standard(factor)
    figure = figure_standard([order], wavelength, model, "star", [(450, 460)])
    ratio = figure.axes[1].lines[0].get_xydata()
    assert len(ratio) == pytest.approx(190, abs=2)
    assert ratio[:, 0].min() > 409.0  # what has no data is not shown
    assert abs(ratio[:, 1].mean() - factor) < 5 * 0.01 / np.sqrt(10 * len(ratio))
    assert 0.7 < ratio[:, 1].std() * np.sqrt(10) / 0.01 < 1.3


def lines():
    n = 30
    x, y = RNG.uniform(20, 60, n), np.linspace(20, 180, n)
    reason = np.array(["KEPT"] * 20 + ["DEVIANT"] * 6 + ["NOT_FOUND"] * 4)
    x[26:], y[26:] = np.nan, np.nan
    return {
        "x": x, "y": y, "x_fit": x + 0.5, "y_fit": y, "x_predicted": np.where(np.isfinite(x), x - 2, 40.0),
        "y_predicted": np.where(np.isfinite(y), y, 100.0), "kept": np.arange(n) < 20, "reason": reason,
    }  # fmt: skip


def test_lines_are_marked_by_what_became_of_them():
    figure = figure_identified_lines(RNG.normal(0, 1, (200, 80)), lines(), "arc")
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["used (20)", "measured, left out (6)", "expected, not found (4)"]
    found = figure.axes[0].collections[0].get_offsets()
    assert len(found) == 20
    assert found[:, 0].min() >= 20
    expected = figure.axes[0].collections[2].get_offsets()
    np.testing.assert_allclose(expected, [[40.0, 100.0]] * 4)


def test_a_cut_out_shows_the_pixels_about_a_line():
    image = RNG.normal(0, 1, (200, 80))
    image[100, 41] = 500.0
    for x, y in ((41.2, 99.8), (np.nan, np.nan), (2.0, 3.0)):
        axes = Figure().subplots()
        line = {"x": x, "y": y, "x_fit": x, "y_fit": y, "x_predicted": 40.0, "y_predicted": 101.0}
        draw_line_cutout(axes, image, line)
        left, right, bottom, top = axes.images[0].get_extent()
        cut = axes.images[0].get_array()
        assert cut.shape == (top - bottom, right - left)
        if x == 41.2:
            row, column = np.unravel_index(np.argmax(cut), cut.shape)
            assert (left + 0.5 + column, bottom + 0.5 + row) == (41.0, 100.0)
            assert len(axes.collections) == 3
        elif np.isnan(x):
            assert left < 40.0 < right
            assert len(axes.collections) == 1
        else:
            assert (left, bottom) == (-0.5, -0.5)


def test_a_map_names_wavelengths_where_the_solution_puts_them():
    nothing = np.zeros((3, 3))
    terms, x, y = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]]), [40.0, 0.0, 20.0], [100.0, 80.0, 0.0]
    domains = (1.0, 1.0), (400.0, 500.0), (-5.0, 5.0)
    block = DispersionBlock((1,), terms, np.array(x), np.array(y), nothing, nothing, *domains)
    ranges = [(1, 400.0, 500.0), (2, 1.0, 2.0)]  # the second is not in the solution
    figure = figure_solution_map(DispersionSolution((block,)), ranges, (200, 80), "map")
    labels = {float(text.get_text()): text.xy for text in figure.axes[0].texts}
    assert set(labels) == {400.0, 420.0, 440.0, 460.0, 480.0}
    for wavelength, (x, y) in labels.items():
        assert y == pytest.approx(100.0 + 80.0 * (wavelength - 450.0) / 50.0)
        assert x == pytest.approx(60.0)  # at the end of the slit


def test_figures_fill_a_part_of_a_window_and_leave_the_rest_alone():
    window = Figure(figsize=(10, 5))
    left, right = window.subfigures(1, 2)
    other = left.subplots()
    before, margin = other.get_position().bounds, window.subplotpars.left
    image = RNG.normal(1, 0.1, (800, 2700)).astype(np.float32)
    with drawn_within(right):
        assert is_part_of_window()
        figure = figure_order_table(image, table(1), "flat", "relative")
        again = figure_order_table(image, table(1), "flat", "relative")
    assert not is_part_of_window()
    assert figure is again is right
    assert len(right.axes) == 2  # image and colour bar: the first drawing is gone
    assert other.get_position().bounds == before
    assert window.subplotpars.left == margin
    assert right.axes[0].images[0].get_array().shape == image.shape  # all pixels, to zoom
    alone = figure_order_table(image, table(1), "flat", "relative")
    assert alone is not right
    assert alone.axes[0].images[0].get_array().size < image.size
    places = [axes.get_window_extent() for axes in right.axes]
    assert all(place.x0 > 500 for place in places)


def test_both_beams_and_their_traces():
    slit = np.linspace(-5, 5, 51)
    lights = [(slit, sign * slit, np.full(51, 0.1)) for sign in (1, -1)]
    sources = {
        "DIFFERENCE": np.array([1, 1, 2]), "TARGET": np.array([True, False, True]),
        "SLIT_POSITION": np.array([2.9, -2.1, 2.1]), "FWHM": np.array([1.2, 1.4, 1.0]),
    }  # fmt: skip
    trace = {
        "ORDER": np.repeat([10, 11], 5), "WAVE": np.linspace(900, 1000, 10), "SLIT_POSITION": np.full(10, 2.9)
    }  # fmt: skip
    figure = figure_beams(lights, sources, trace, "beams")
    light, below = figure.axes
    straight = [line for line in light.lines if len(line.get_xdata()) == 2]
    marks = {round(float(line.get_xdata()[0]), 1): line.get_linestyle() for line in straight}
    assert marks == {2.9: "-", -2.1: ":", 2.1: "-", 0.0: "-"}
    assert [text.get_text() for text in light.get_legend().get_texts()] == ["difference 1", "difference 2"]
    assert [len(line.get_xdata()) for line in below.lines] == [5, 5]
    assert len(figure_beams([], sources, trace, "no maps").axes) == 2
