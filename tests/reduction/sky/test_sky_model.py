"""Medians in bins, the bins around a pixel, and how the sky differs along the slit."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.polynomial.legendre import legvander
from scipy.interpolate import CubicSpline

from soxs_recipes.reduction.sky.order_pixels import (
    OrderGrid,
    OrderPixels,
    between_bins,
    bins_around,
    cut_order,
    make_order_grid,
)
from soxs_recipes.reduction.sky.sky_model import (
    SkyDistortion,
    binned_median,
    binned_quantiles,
    choose_knots,
    first_sky,
    fit_distortion,
    sorted_in_groups,
)


def test_groups_are_sorted_whatever_the_sign():
    rng = np.random.default_rng(1)
    group, values = rng.integers(0, 50, 5000), rng.normal(0, 1e3, 5000).astype(np.float32)
    values[:40] = [0.0, -0.0, 1e-30, -1e-30] * 10
    order = np.lexsort((values, group))
    assert np.array_equal(sorted_in_groups(group, values), values[order])


def test_medians_are_those_of_each_bin():
    rng = np.random.default_rng(2)
    position, values = rng.uniform(-0.4, 29.4, 2000), rng.normal(-3, 20, 2000)
    position = position[np.abs(position - 17) > 0.5]
    values = values[: position.size]
    values[::13] = np.nan
    median, count = binned_median(position, values, 30)
    own = [values[(np.rint(position) == k) & np.isfinite(values)] for k in range(30)]
    assert count.tolist() == [part.size for part in own]
    assert np.isnan(median[17])
    known = [k for k in range(30) if k != 17]
    assert np.allclose(median[known], [np.median(own[k]) for k in known], rtol=1e-6)


def test_quantiles_of_bins_lie_between_neighbours():
    values = np.array([7.0, 1.0, 3.0, 5.0, 9.0, 2.0, 4.0])
    (low, middle), count = binned_quantiles(np.array([0.0] * 5 + [1.0] * 2), values, 3, (0.25, 0.5))
    assert count.tolist() == [5, 2, 0]
    assert low[:2].tolist() == [3.0, 3.0]
    assert middle[:2].tolist() == [5.0, 3.0]
    assert np.isnan(low[2])


@pytest.mark.parametrize("steps", [1, 2, 5, 1000])
def test_quantiles_of_equal_values(steps):
    values = np.random.default_rng(4).integers(0, steps, 300).astype(np.float64)
    quantiles, _ = binned_quantiles(np.zeros(300), values, 1, (0.1, 0.5, 0.9))
    expected = np.quantile(values, (0.1, 0.5, 0.9), method="midpoint")
    assert [float(value[0]) for value in quantiles] == expected.tolist()


def test_bins_known_beforehand_interpolate_as_numpy_does():
    rng = np.random.default_rng(3)
    position, values = rng.uniform(-0.5, 40.5, 500), rng.normal(size=41)
    assert np.allclose(
        between_bins(values, *bins_around(position, 41)), np.interp(position, np.arange(41), values)
    )


_BINS = 200
_TRUTH = {
    "illumination": np.array([0.01, -0.02, 0.015]),
    "shift": np.array([[0.04, -0.03, 0.01, 0.01], [0.02, 0.01, 0.0, 0.0], [0.01, 0.01, 0.0, 0.0]]),
    "broadening": np.array([[0.03, 0.01, 0.0], [-0.02, 0.02, 0.0]]),
}


def _distorted(whole_bins):
    """Pixels of an order, sky with slope and curvature in each, true distortion, residuals and their noise."""
    random = np.random.default_rng(8)
    position = random.uniform(-0.4, _BINS - 0.6, 20_000)
    position = np.rint(position) if whole_bins else position
    bins = np.arange(_BINS, dtype=np.float64)
    grid = OrderGrid(1, bins, np.ones(_BINS), CubicSpline(bins, bins))
    slit = random.uniform(-5.9, 5.9, position.size)
    ones = np.ones(position.size)
    pixels = OrderPixels(grid, np.arange(position.size), position, slit, ones, (-6.0, 6.0), (100, 200))
    truth = SkyDistortion(**_TRUTH, half_slit=6.0, bins=_BINS)
    shapes = random.normal(0.0, 1.0, (3, position.size)) * np.array([[300.0], [150.0], [100.0]]) + 100.0
    signal = shapes[0] * (truth.illumination_at(pixels) - 1.0) + shapes[1] * truth.shift_at(pixels)
    signal += shapes[2] * truth.broadening_at(pixels)
    noise = random.uniform(10.0, 20.0, position.size)
    return pixels, shapes, truth, signal, noise


def _design(pixels, shapes):
    """What each coefficient leaves in each pixel, in the order of the fields (pixels, 21)."""
    slit = legvander(pixels.slit / 6.0, 3)[:, 1:]
    along = legvander(2.0 * pixels.position / _BINS - 1.0, 3)
    terms = ((shapes[0], 3, 1), (shapes[1], 3, 4), (shapes[2], 2, 3))
    return np.stack(
        [f * slit[:, i] * along[:, j] for f, rows, degrees in terms for i in range(rows) for j in range(degrees)],
        axis=1,
    )


def _flat(distortion):
    return np.concatenate([getattr(distortion, name).ravel() for name in _TRUTH])


@pytest.mark.parametrize("whole_bins", [True, False])
def test_distortion_is_that_of_the_residuals(whole_bins):
    pixels, shapes, truth, signal, noise = _distorted(whole_bins)
    weight = np.where(np.arange(noise.size) % 7, noise**-2.0, 0.0)
    design = _design(pixels, shapes)
    assert np.allclose(design @ _flat(truth), signal, rtol=1e-2, atol=0.05 if not whole_bins else 1e-9)
    residual = signal + noise * np.random.default_rng(9).normal(size=noise.size)
    residual[weight == 0] = 1e6
    start = SkyDistortion.none(6.0, _BINS)
    found = fit_distortion(pixels, residual, weight, *shapes, start, map_error=0.06)
    covariance = np.linalg.inv(design.T @ (design * weight[:, None]))
    pull = (_flat(found) - _flat(truth)) / np.sqrt(np.diag(covariance))
    assert pull.size == 21
    assert np.abs(pull).max() < 3.5
    assert 0.6 < np.sqrt(np.mean(pull**2)) < 1.4
    again = fit_distortion(pixels, signal - design @ _flat(found), weight, *shapes, found, map_error=0.06)
    assert np.abs((_flat(again) - _flat(truth)) / np.sqrt(np.diag(covariance))).max() < 0.5  # priors pull a little


def test_knots_stand_where_lines_are_and_as_close_as_these_are_bright():
    sky = np.full(600, 100.0)
    sky[199:202] += 2.2  # no bin by itself, but all three together
    sky[300] += 2.5  # what noise does
    sky[398:403] += [60.0, 200.0, 400.0, 200.0, 60.0]
    knots = np.unique(choose_knots(sky, np.ones(600), np.full(600, 10.0)).knots)
    spacing = {place: np.diff(knots)[np.searchsorted(knots, place) - 1] for place in (100, 200, 300, 400, 500)}
    assert spacing[200] == pytest.approx(1.0, abs=0.15)
    assert spacing[400] == pytest.approx(0.6, abs=0.1)
    for place in (100, 300, 500):
        assert spacing[place] == pytest.approx(5.0, abs=0.5)
    assert (knots[0], knots[-1]) == (-1.0, 600.0)


def test_the_first_sky_bridges_what_is_masked():
    pixels, *_ = _distorted(whole_bins=False)
    level = 10.0 + 0.1 * np.rint(pixels.position)
    brightness = np.where((pixels.position > 49.5) & (pixels.position < 60.5), np.nan, level)
    assert first_sky(pixels, brightness) == pytest.approx(10.0 + 0.1 * np.arange(_BINS))
    assert not first_sky(pixels, np.full(level.size, np.nan)).any()


def test_beyond_the_slit_the_distortion_goes_on_as_a_little_outside_of_it():
    pixels, _, truth, *_ = _distorted(whole_bins=False)
    far, near = (replace(pixels, slit=np.sign(pixels.slit) * edge) for edge in (9.0, 6.6))
    for name in ("illumination_at", "shift_at", "broadening_at"):
        assert np.allclose(getattr(truth, name)(far), getattr(truth, name)(near), atol=1e-12)


def test_without_light_the_priors_hold_the_distortion():
    pixels, shapes, truth, _, noise = _distorted(whole_bins=False)
    kept = fit_distortion(pixels, 0.0 * noise, 0.0 * noise, *shapes, SkyDistortion.none(6.0, _BINS))
    assert not _flat(kept).any()
    back = fit_distortion(pixels, 0.0 * noise, 0.0 * noise, *shapes, truth)
    assert np.allclose(_flat(back), 0.0)


def test_a_changed_sky_is_the_sum_of_its_three_changes(scene_of):
    scene = scene_of(noise=False, length=200)
    pixels = cut_order(scene.maps, make_order_grid(scene.maps, 1, 0), 0)
    rng = np.random.default_rng(6)
    bins, size = pixels.grid.size, pixels.slit.size
    own = SkyDistortion(rng.normal(size=3), rng.normal(size=(3, 4)), rng.normal(size=(2, 3)), 6.0, bins)
    sky, slope, curvature = rng.normal(size=(3, size))
    truth = sky * (own.illumination_at(pixels) - 1.0) + slope * own.shift_at(pixels)
    truth += curvature * own.broadening_at(pixels)
    assert size > 2000
    assert np.allclose(own.sky_change(pixels, sky, slope, curvature), truth, atol=1e-9)
