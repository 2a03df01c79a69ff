"""The renderer against the optical model and against brute force."""

import numpy as np
import pytest

from soxs_recipes.simulator.render import (
    OVERSAMPLING,
    SampledSpectrum,
    line_shape,
    line_spectrum,
    pinhole_profile,
    render_order,
)

_HALF = 9


def _pinhole_image(spectrograph, order, slit, electrons=1e6):
    """Isolated lines through one pinhole, and their true positions along and across."""
    geometry = spectrograph.geometry(order)
    random = np.random.default_rng(order)
    low, high = max(geometry.v_start, 0.0) + 40, min(geometry.v_end, spectrograph.hardware.along) - 40
    centres = np.arange(low, high, 45.0)
    centres = centres + random.uniform(-0.5, 0.5, centres.size)
    sigma = spectrograph.sigma_along(order)(centres)
    spectrum = line_spectrum(geometry, centres, np.full(centres.size, electrons), 0.0, sigma)
    profile = pinhole_profile([slit], np.array([1.0]), spectrograph.sigma_slit(order))
    image = spectrograph.blank()
    spectrograph.render(image, order, spectrum, profile)
    truth = spectrograph.model.evaluate_axes(order, geometry.wavelength_of(centres), slit)
    return image, np.array(truth)


def _centroids(image, truth):
    """First moments in a box around each line, which holds all of its light; those near edges are left out."""
    found = []
    for along, across in truth.T:
        i, j = round(along), round(across)
        inside = _HALF <= i < image.shape[0] - _HALF and _HALF <= j < image.shape[1] - _HALF
        if not inside:
            continue
        box = image[i - _HALF : i + _HALF + 1, j - _HALF : j + _HALF + 1]
        rows, columns = np.mgrid[i - _HALF : i + _HALF + 1, j - _HALF : j + _HALF + 1]
        total = box.sum()
        found.append((along, across, (box * rows).sum() / total, (box * columns).sum() / total, total))
    return np.array(found)


@pytest.mark.parametrize("slit", [-5.5, 0.0, 4.1])
def test_pinhole_lines_fall_where_the_model_says(spectrograph, slit):
    for order in spectrograph.orders[:: 1 if len(spectrograph.orders) == 4 else 5]:
        found = _centroids(*_pinhole_image(spectrograph, order, slit))
        assert len(found) > 15
        assert np.abs(found[:, 2] - found[:, 0]).max() < 0.005
        assert np.abs(found[:, 3] - found[:, 1]).max() < 0.005
        np.testing.assert_allclose(found[:, 4], 1e6, rtol=2e-4)


def test_the_centroid_check_sees_a_hundredth_of_a_pixel(spectrograph):
    """Mutation: a renderer that is off by 0.01 px would not pass."""
    order = spectrograph.orders[0]
    image, truth = _pinhole_image(spectrograph, order, 0.0)
    found = _centroids(image, truth + np.array([[0.01], [0.0]]))
    assert np.abs(found[:, 2] - found[:, 0]).min() > 0.005


def test_quadrature_agrees_with_brute_force(spectrograph):
    """Twelve by twelve midpoints a pixel, on part of an order, for a narrow line and a sharp slit end."""
    order = spectrograph.orders[2]
    geometry = spectrograph.geometry(order)
    rows = slice(900, 960)
    spectrum = line_spectrum(geometry, np.array([920.3, 931.1]), np.array([1e4, 2e4]), 3.6, 0.6)
    surface = spectrograph.slit_surface(order)
    image = spectrograph.blank()
    render_order(image, geometry, spectrum, surface, rows)
    expected = np.zeros_like(geometry.v[rows])
    offsets = (np.arange(12) + 0.5) / 12 - 0.5
    for da in offsets:
        for db in offsets:
            v = geometry.v[rows] + da * geometry.v_along[rows] + db * geometry.v_across[rows]
            s = geometry.s[rows] + da * geometry.s_along[rows] + db * geometry.s_across[rows]
            expected += spectrum(v) * surface(v, s) / 144
    expected *= geometry.jacobian[rows]
    columns = geometry.first_across[rows, None] + np.arange(expected.shape[1])
    rendered = image[np.arange(rows.start, rows.stop)[:, None], columns]
    assert expected.max() > 500
    np.testing.assert_allclose(rendered, expected, atol=2e-3 * expected.max())
    assert rendered.sum() == pytest.approx(expected.sum(), rel=1e-4)


def test_sampled_spectrum_integrates_as_it_interpolates():
    random = np.random.default_rng(1)
    spectrum = SampledSpectrum(10.0, random.uniform(0.0, 1.0, 40 * OVERSAMPLING))
    edges = np.array([11.037, 12.5, 19.99, 30.2])
    fine = np.arange(edges[0], edges[-1], 1e-4) + 5e-5
    density = spectrum(fine)
    for low, high, part in zip(edges[:-1], edges[1:], np.diff(spectrum.integral(edges)), strict=True):
        inside = (fine > low) & (fine < high)
        assert inside.sum() > 1000
        assert density[inside].mean() * (high - low) == pytest.approx(part, rel=1e-3)


def test_spectrum_is_dark_outside_its_range():
    spectrum = SampledSpectrum(10.0, np.ones(5 * OVERSAMPLING))
    np.testing.assert_array_equal(spectrum(np.array([9.9, 16.0, -300.0])), 0.0)


@pytest.mark.parametrize(("width", "sigma"), [(0.0, 0.7), (3.6, 0.6), (18.0, 1.0)])
def test_line_shape_is_of_unit_area(width, sigma):
    x = np.arange(-40.0, 40.0, 0.01)
    shape = line_shape(x, np.array(width), np.array(sigma))
    assert shape.sum() * 0.01 == pytest.approx(1.0, abs=1e-6)
    assert (shape * x**2).sum() * 0.01 == pytest.approx(sigma**2 + width**2 / 12, rel=1e-4)
