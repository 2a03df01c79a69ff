"""Shifts between calibrations and an exposure are found from its sky."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.reduction.extraction import make_grids
from soxs_recipes.reduction.flexure import sky_zero_point
from soxs_recipes.reduction.line_positions import line_positions
from soxs_recipes.reduction.slit_ends import edge_shift
from soxs_recipes.reduction.zero_point import SkyLines


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


def zero_point(scene, lines, **options):
    axis = scene.recipe.dispersion_axis
    return sky_zero_point(
        scene.frame,
        scene.maps,
        make_grids(scene.maps, axis),
        axis,
        lines,
        base_variance=scene.base_variance,
        **options,
    )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -0.25), (-0.9, 0.6)])
def test_shifts_are_found_with_their_signs(scene_of, axis, shift):
    # One order's wavelengths fall with the pixel coordinate; the shift is in pixels all the same.
    scene = scene_of(shift=shift, dispersion_axis=axis, seed=11)
    lines = lines_of(scene, np.random.default_rng(1), 0.001)
    assert lines.wavelength.size >= 8
    zero = zero_point(scene, lines)
    # Light that moves across a tilted order changes its wavelength by the tilt, which the maps' shift undoes.
    across = np.mean([tilt * shift[1] for tilt in scene.recipe.tilts])
    assert zero.lines >= 8
    assert zero.shift == pytest.approx(shift[0] - across, abs=4 * max(zero.error, 0.02))
    edges = edge_shift(scene.frame, scene.table, base_variance=scene.base_variance)
    assert edges.shift == pytest.approx(shift[1], abs=max(4 * edges.error, 0.08))
    assert zero.is_significant == (abs(shift[0]) > 0.05)


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
