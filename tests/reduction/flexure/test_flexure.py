"""Shifts between calibrations and an exposure are found from its sky."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from soxs_recipes.data.pixel_maps import PixelMaps
from soxs_recipes.reduction.extraction.extraction import make_grids
from soxs_recipes.reduction.flexure.flexure import sky_pixels, sky_spectra, template_shifts, zero_point_of_spectra
from soxs_recipes.reduction.flexure.line_positions import line_positions
from soxs_recipes.reduction.flexure.slit_ends import EdgeShift, _combined, edge_shift, middles_of_steps
from soxs_recipes.reduction.flexure.zero_point import SkyLines


def lines_of(scene, rng=None, scatter=0.0):
    """The bright lines of both orders that have no neighbour."""
    wavelengths = []
    for order in scene.orders.values():
        bright = order.heights > 500
        lone = [np.sort(np.abs(order.lines - row))[1] > 8 for row in order.lines]
        wavelengths.append(order.wavelength(order.lines[bright & np.array(lone)]))
    wavelengths = np.sort(np.concatenate(wavelengths))
    if rng is not None:
        wavelengths = wavelengths + rng.normal(0, scatter, wavelengths.size)
    return SkyLines(wavelengths, np.full(wavelengths.size, max(scatter, 1e-4)))


def spectra_of(scene):
    axis = scene.recipe.dispersion_axis
    grids = make_grids(scene.maps, axis)
    return sky_spectra(scene.frame, sky_pixels(scene.maps, grids, axis), base_variance=scene.base_variance)


def zero_point(scene, lines, **options):
    return zero_point_of_spectra(spectra_of(scene), lines, **options)


def test_errors_of_the_sky_are_true(scene_of):
    scene = scene_of(flux_level=0.0, sky_level=50.0, line_peak=1e-9, seed=21)
    expected = [spectrum.sky for spectrum in spectra_of(scene.with_data(scene.mean))]
    pulls = np.concatenate(
        [(found.sky - sky) / found.error for found, sky in zip(spectra_of(scene), expected, strict=True)]
    )
    assert pulls.size > 1000
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_lines_tilt_is_followed_along_the_order(axis):
    y, x = np.mgrid[:600, :60].astype(float)
    slit = 0.28 * (x - 30.0)
    inside = np.abs(slit) < 5.6
    wavelength = 500.0 + 0.04 * (y + (0.1 + 0.0005 * y) * (x - 30.0))
    images = (np.where(inside, wavelength, np.nan), np.where(inside, slit, np.nan), inside.astype(np.int16))
    maps = PixelMaps(*(np.ascontiguousarray(image.T) if axis else image for image in images))
    (place,) = sky_pixels(maps, make_grids(maps, axis), axis)
    rows = (place.pixels.grid.wavelength - 500.0) / 0.04
    assert place.direction == 1.0
    assert np.ptp(rows) > 550
    assert place.tilt == pytest.approx(0.1 + 0.0005 * rows, abs=0.01)


def ends_of(scene):
    return edge_shift(scene.frame, scene.table, scene.maps, spectra_of(scene), base_variance=scene.base_variance)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.25), (-0.9, 0.6)])
def test_shifts_are_found_with_their_signs(scene_of, axis, shift):
    # One order's wavelengths fall with the pixel coordinate; the shift is in pixels all the same.
    scene = scene_of(shift=shift, dispersion_axis=axis, seed=11)
    lines = lines_of(scene, np.random.default_rng(1), 0.001)
    assert lines.wavelength.size >= 8
    zero = zero_point(scene, lines, across=shift[1])
    assert zero.lines >= 8
    assert zero.shift == pytest.approx(shift[0], abs=4 * max(zero.error, 0.01))
    assert zero.is_significant == (abs(shift[0]) > 0.05)
    edges = ends_of(scene)
    assert edges.edges >= 8
    assert edges.shift == pytest.approx(shift[1], abs=max(4 * edges.error, 0.04))


def test_light_that_moves_across_tilted_orders_does_not_pass_for_a_shift_along(scene_of):
    scene = scene_of(shift=(-0.9, 0.6), seed=11)
    lines = lines_of(scene)
    told, untold = zero_point(scene, lines, across=0.6), zero_point(scene, lines)
    assert len(told.order_shift) == 2
    for order, (shift, error, _) in told.order_shift.items():
        assert shift == pytest.approx(-0.9, abs=4 * max(error, 0.01))
        # Whoever forgets the tilt is off by this much.
        expected = scene.recipe.tilts[order - 1] * 0.6
        assert untold.order_shift[order][0] - shift == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("position", [4.6, -4.6])
def test_a_source_near_the_end_of_the_slit_does_not_move_the_ends(scene_of, position):
    scene = scene_of(shift=(0.2, 0.5), position=position, drift=0.0, fwhm=6.0, flux_level=3000.0, seed=11)
    edges = ends_of(scene)
    assert edges.edges >= 4
    assert edges.shift == pytest.approx(0.5, abs=0.08)


def test_light_between_the_orders_does_not_move_the_ends(scene_of):
    # No bright line: all of the sky's light counts, and what is scattered is a tenth of it.
    scene = scene_of(shift=(0.0, 0.8), line_peak=40.0, flux_level=1.0, sky_level=60.0, seed=11)
    spectra = spectra_of(scene)
    light = scene.frame.data + 6.0
    edges = edge_shift(
        scene.frame.with_arrays(data=light), scene.table, scene.maps, spectra, base_variance=scene.base_variance
    )
    assert edges.edges >= 8
    assert edges.error < 0.04
    assert edges.shift == pytest.approx(0.8, abs=0.05)


def test_middles_of_steps_have_true_errors(width_of):
    rng = np.random.default_rng(3)
    count, offset = 400, (np.arange(40) + 0.5) * 0.25 - 4.0
    place, dark = rng.uniform(-1.5, 1.5, count), rng.uniform(-0.02, 0.05, count)
    clean = dark[:, None] + 0.3 * ndtr((offset - place[:, None]) / 1.3)
    error = np.broadcast_to(rng.uniform(0.003, 0.03, count)[:, None], clean.shape)
    found, sigma = middles_of_steps(clean + rng.normal(0, error), error)
    seen = np.isfinite(sigma) & (sigma < 0.5)
    assert seen.sum() > 0.95 * count
    pulls = ((found - place) / sigma)[seen]
    assert abs(np.median(pulls)) < 0.2
    assert width_of(pulls) == pytest.approx(1.0, abs=0.12)


def test_cells_that_disagree_with_a_step_make_its_error_larger(width_of):
    """Noise three times what is stated."""
    rng = np.random.default_rng(5)
    offset = (np.arange(40) + 0.5) * 0.25 - 4.0
    place = rng.uniform(-1.5, 1.5, 300)
    share = 0.3 * ndtr((offset - place[:, None]) / 1.3) + rng.normal(0.0, 0.03, (300, 40))
    found, sigma = middles_of_steps(share, np.full(share.shape, 0.01))
    seen = np.isfinite(sigma)
    assert seen.sum() > 280
    assert width_of(((found - place) / sigma)[seen]) == pytest.approx(1.0, abs=0.15)


def test_ends_of_the_slit_that_disagree_make_the_error_larger():
    sign = np.tile([1.0, -1.0], 12)
    shift = 0.3 + 0.2 * sign + np.random.default_rng(6).normal(0.0, 0.01, 24)
    parts = np.stack([shift, np.full(24, 0.01), sign, np.zeros(24)], axis=1)
    apart = _combined(parts)
    assert apart.shift == pytest.approx(0.3, abs=0.03)
    assert apart.error == pytest.approx(0.2, abs=0.02)
    together = _combined(parts - np.outer(0.2 * sign, [1.0, 0.0, 0.0, 0.0]))
    assert together.error < 0.01


def test_steps_that_do_not_show_have_no_place():
    share = np.random.default_rng(4).normal(0.0, 0.01, (5, 40))
    _, sigma = middles_of_steps(share, np.full(share.shape, 0.01))
    assert not np.any(sigma < 0.5)
    assert middles_of_steps(share[:0], share[:0])[0].size == 0


def test_ends_of_orders_that_are_not_straight_are_told_from_a_shift_along():
    # Parts of edges that rise by up to 0.2 px a pixel, moved by 0.6 px across and -1 px along.
    slope, sign = np.linspace(-0.1, 0.2, 24), np.tile([1.0, -1.0], 12)
    shift = 0.6 + slope + np.random.default_rng(5).normal(0.0, 0.01, 24)
    parts = np.stack([shift, np.full(24, 0.01), sign, slope], axis=1)
    edges = EdgeShift(0.65, 0.05, 24, parts).given_along(-1.0)
    assert edges.shift == pytest.approx(0.6, abs=0.02)
    assert edges.error < 0.01
    assert edges.edges == 24
    assert EdgeShift(0.65, 0.05, 0).given_along(-1.0).shift == 0.65


def all_lines(scene):
    """Every line with its true brightness."""
    wavelength = np.concatenate([order.wavelength(order.lines) for order in scene.orders.values()])
    heights = np.concatenate([order.heights for order in scene.orders.values()])
    return SkyLines(wavelength, np.full(wavelength.size, 1e-4), np.zeros(wavelength.size, bool), heights)


def test_lines_that_do_not_stand_alone_tell_together(scene_of):
    scene = scene_of(shift=(-0.9, 0.6), seed=11)
    lines = all_lines(scene)
    assert zero_point(scene, lines, across=0.6).lines == 0
    found = template_shifts(spectra_of(scene), lines, slit_image=1.0, across=0.6)
    assert sorted(found) == [1, 2]
    for shift, error, _ in found.values():
        assert shift == pytest.approx(-0.9, abs=4 * error)
        assert error < 0.1
    # A wide slit's zero point rests on them, and two orders suffice to correct.
    wide = zero_point(scene, lines, slit_image=6.5, across=0.6)
    assert wide.by_template
    assert wide.lines == 2
    assert wide.is_significant
    assert template_shifts(spectra_of(scene), replace(lines, brightness=None), slit_image=1.0) == {}


def test_a_wrong_line_does_not_pull(scene_of):
    scene = scene_of(seed=11)
    lines = lines_of(scene)
    wrong = replace(
        lines, wavelength=lines.wavelength + np.where(np.arange(lines.wavelength.size) == 2, 0.05, 0.0)
    )
    assert zero_point(scene, wrong).shift == pytest.approx(0.0, abs=0.04)


def test_dark_sky_has_no_zero_point(scene_of):
    scene = scene_of(line_peak=1e-9, sky_level=1.0, seed=12)
    lines = SkyLines(np.array([495.0, 505.0, 999.0]), np.full(3, 1e-3))
    zero = zero_point(scene, lines)
    assert zero.lines == 0
    assert not zero.is_significant
    assert np.isnan(zero.shift)


def test_line_positions_have_true_errors(width_of):
    rng = np.random.default_rng(6)
    size, count = 6000, 200
    centres = np.sort(
        rng.choice(np.arange(20, size - 20, 25), count, replace=False) + rng.uniform(-0.5, 0.5, count)
    )
    x = np.arange(size)
    clean = 50.0 + sum(800 * np.exp(-0.5 * ((x - c) / 1.2) ** 2) for c in centres)
    error = np.sqrt(clean + 30.0)
    found, sigma, fwhm = line_positions(clean + rng.normal(0, error), error, centres + 1.3)
    seen = np.isfinite(found)
    assert seen.mean() > 0.95
    assert width_of(((found - centres) / sigma)[seen]) == pytest.approx(1.0, abs=0.2)
    assert np.median(fwhm[seen]) == pytest.approx(2.83, abs=0.1)


def test_what_is_no_line_has_no_position():
    rng, x = np.random.default_rng(7), np.arange(400)
    # A line, a hit in one bin, a hump of no line's width, and what noise might make.
    shapes = ((50, 800.0, 1.2), (130, 3000.0, 0.1), (220, 800.0, 6.0), (310, 30.0, 1.2))
    clean = 50.0 + sum(height * np.exp(-0.5 * ((x - place) / sigma) ** 2) for place, height, sigma in shapes)
    error = np.full(400, 9.0)
    found, _, _ = line_positions(clean + rng.normal(0, error), error, np.array([50.4, 130.4, 220.4, 310.4]))
    assert found[0] == pytest.approx(50.0, abs=0.1)
    assert not np.isfinite(found[1:]).any()
