"""Profiles along the slit."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import BSpline, CubicSpline
from scipy.optimize import least_squares

from soxs_recipes.reduction.profiles import slit_profile
from soxs_recipes.reduction.profiles.object_trace import bending_equations, update_profiles
from soxs_recipes.reduction.profiles.slit_profile import SlitProfile, moffat
from soxs_recipes.reduction.profiles.slit_profile_kernels import bend_products
from soxs_recipes.reduction.sky.order_pixels import cut_order, make_order_grid


@pytest.fixture
def pixels(scene_of):
    scene = scene_of(noise=False, length=300)
    return cut_order(scene.maps, make_order_grid(scene.maps, 1, 0), 0)


def _profile(bins, fwhm=0.9, tail=0.3):
    return SlitProfile(np.array([0.3, 0.1, 0.0, 0.0]), np.array([np.log(fwhm), 0.0, 0.0]), tail, bins)


@pytest.mark.parametrize("tail", [0.02, 0.25, 0.5])
def test_moffat_has_unit_integral_and_the_width_it_says(tail):
    x = np.linspace(-3000, 3000, 3_000_001)
    values = moffat(x, 2.0, tail)
    assert values.sum() * (x[1] - x[0]) == pytest.approx(1.0, abs=2e-3)
    assert moffat(np.array([1.0]), 2.0, tail)[0] == pytest.approx(0.5 * values.max(), rel=1e-6)


def test_no_tail_is_a_gaussian():
    x, sigma = np.linspace(-1.5, 1.5, 50), 1.0 / 2.3548
    gauss = np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    assert np.allclose(moffat(x, 1.0, 1e-4), gauss, rtol=2e-3)


def test_light_of_a_bin_adds_up_to_one(pixels):
    values = _profile(pixels.grid.size).evaluate(pixels) * pixels.footprint
    bins = np.rint(pixels.position).astype(int)
    total = np.bincount(bins, values, minlength=pixels.grid.size)[20:-20]
    assert np.median(total) == pytest.approx(1.0, abs=2e-3)


HELD = dict.fromkeys(("fit_centre", "fit_width", "fit_tail", "fit_optics"), False)


def bent_by(profile, pixels, *data, **freedom):
    """The profile after one step; data as for `bending_equations`."""
    equations = bending_equations(pixels, profile.averages(pixels), *data)
    return update_profiles([profile], [equations], start=[profile], **freedom)[0][0]


def test_data_bend_the_profile_to_a_shape_that_is_no_moffat(pixels, line_profile):
    rng = np.random.default_rng(2)
    start = _profile(pixels.grid.size, tail=0.02)
    u = (pixels.slit - start.centre_at(pixels.position)) / 0.28
    truth = (0.75 * line_profile(u, 2.6) + 0.25 * line_profile(u - 1.0, 4.5)) / 0.28
    scale = 5000.0 * pixels.footprint
    variance = 25.0 + scale * truth
    data = scale * truth + rng.normal(0, np.sqrt(variance))
    bent = start
    for _ in range(3):
        model = scale * bent.evaluate(pixels)
        bent = bent_by(bent, pixels, data - model, 1.0 / variance, scale, **HELD)
    core = truth > 0.3 * truth.max()
    before = np.std((start.evaluate(pixels) / truth)[core])
    after = np.std((bent.evaluate(pixels) / truth)[core])
    assert core.sum() > 1000
    assert after < 0.25 * before


def test_noise_alone_hardly_bends_it(pixels):
    rng = np.random.default_rng(3)
    start = _profile(pixels.grid.size)
    scale = 20.0 * pixels.footprint
    bent = bent_by(start, pixels, rng.normal(0, 8.0, scale.size), np.full(scale.size, 1 / 64.0), scale, **HELD)
    peak = start.evaluate(pixels).max()
    assert np.abs(bent.evaluate(pixels) - start.evaluate(pixels)).max() < 0.1 * peak
    assert replace(bent, correction=None).evaluate(pixels) == pytest.approx(start.evaluate(pixels))


def _corrected(bins, seed):
    start = replace(_profile(bins), correction=np.zeros((14, 2)))
    rng = np.random.default_rng(seed)
    size = round(2 * 2.2 / start.correction_step) + 3
    coefficients = np.zeros((size, 2))
    coefficients[3:-3] = rng.normal(0, 0.01, (size - 6, 2))
    return replace(start, correction=coefficients)


def test_one_step_finds_a_bend_that_changes_along_the_order(pixels):
    truth = _corrected(pixels.grid.size, 6)
    start = replace(truth, correction=np.zeros_like(truth.correction))
    scale = 1e5 * pixels.footprint
    data = scale * (truth.evaluate(pixels) - start.evaluate(pixels))
    bent = bent_by(start, pixels, data, 1.0 / (25.0 + 0.1 * scale), scale, **HELD)
    for asked, found in zip(truth.correction[3:-3].T, bent.correction[3:-3].T, strict=True):
        assert np.polyfit(asked, found, 1)[0] == pytest.approx(1.0, abs=0.2)  # the prior takes an eighth


def test_a_bend_of_which_the_data_tell_nothing_goes(pixels):
    nothing = np.zeros(pixels.slit.size)
    bent = _corrected(pixels.grid.size, 6)
    assert np.abs(bent.correction).max() > 0.01
    straight = bent_by(bent, pixels, nothing, nothing, pixels.footprint, **HELD)
    assert straight.correction == pytest.approx(np.zeros_like(bent.correction), abs=1e-9)


def _directly(profile, pixels):
    """The average over every pixel by quadrature on the profile itself, up to its integral over the slit."""
    fwhm, t = profile.fwhm_at(pixels.position), profile.scaled(pixels.position)
    distance = pixels.slit - profile.centre_at(pixels.position)
    image = slit_profile._images([1.0 / np.median(fwhm)], profile.tail, profile.optics, on_pixels=False)[0]
    nodes, weights = np.array([-1, 0, 1]) * np.sqrt(0.15), np.array([5, 8, 5]) / 18
    fine = CubicSpline(slit_profile._DISTANCE, image)
    total = np.zeros(distance.size)
    for node, weight in zip(nodes, weights, strict=True):
        u = (distance + node * pixels.footprint) / fwhm
        total += weight * (fine(np.abs(u)) + _correction(profile, u, t))
    return total / fwhm


def _correction(profile, u, t):
    if profile.correction is None:
        return 0.0
    reach, size = slit_profile.REACH, len(profile.correction)
    knots = -reach + 2 * reach / (size - 3) * np.arange(-3, size + 1)
    constant, slope = np.nan_to_num(BSpline(knots, profile.correction, 3, extrapolate=False)(u)).T
    return constant + t * slope


@pytest.mark.parametrize("seed", [None, 3])
def test_tables_are_as_good_as_the_profile_itself(pixels, seed):
    profile = _profile(pixels.grid.size) if seed is None else _corrected(pixels.grid.size, seed)
    inner = (pixels.position > 0) & (pixels.position < pixels.grid.size - 1)
    values, truth = profile.evaluate(pixels)[inner], _directly(profile, pixels)[inner]
    bright = truth > 0.01 * truth.max()
    ratio = values[bright] / truth[bright]
    smooth = np.polyval(np.polyfit(pixels.position[inner][bright], ratio, 4), pixels.position[inner][bright])
    assert bright.sum() > 1000
    assert np.abs(values[bright] - smooth * truth[bright]).max() < 5e-5 * truth.max()
    shifted = profile.moved(centre=0.0005).evaluate(pixels)[inner][bright]
    assert np.abs(shifted - smooth * truth[bright]).max() > 2e-4 * truth.max()


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("name", ["centre", "log_width", "tail", "optics"])
def test_derivatives_are_those_of_the_profile(pixels, name, seed):
    profile = _profile(pixels.grid.size) if seed is None else _corrected(pixels.grid.size, seed)
    which = np.arange(3, pixels.slit.size)
    values, *derivatives = profile.with_derivatives(pixels, which)
    assert np.array_equal(values, profile.evaluate(pixels)[which])
    found = derivatives[("centre", "log_width", "tail", "optics").index(name)]
    step = 1e-3
    truth = (profile.moved(**{name: step}).evaluate(pixels) - profile.moved(**{name: -step}).evaluate(pixels)) / (
        2 * step
    )
    truth = truth[which]
    # A change of the whole is the amplitude's.
    left = found - truth
    left -= values * (left @ values) / (values @ values)
    assert np.std(left) < 0.02 * np.std(truth)
    assert np.std(found) == pytest.approx(np.std(truth), rel=0.3)


def test_shape_and_bend_are_found_at_once(pixels, line_profile):
    """A few steps lead to where further ones stay; found in turn from the same residuals they would swing."""
    rng = np.random.default_rng(4)
    start = _profile(pixels.grid.size, 1.0)
    u = (pixels.slit - start.centre_at(pixels.position) - 0.02) / 0.28
    truth = (0.85 * line_profile(u, 3.0, 3.0) + 0.15 * line_profile(u - 0.6, 5.0, 2.5)) / 0.28
    scale = 20000.0 * pixels.footprint
    variance = 25.0 + scale * truth
    data = scale * truth + rng.normal(0, np.sqrt(variance))
    profile, moves, core = start, [], truth > 0.05 * truth.max()
    values = start.evaluate(pixels)
    for _ in range(6):
        light = scale * values
        # The brightness is the flux's.
        factor = (light * data / variance).sum() / (light**2 / variance).sum()
        profile = bent_by(profile, pixels, data - factor * light, 1.0 / variance, factor * scale)
        before, values = values, profile.evaluate(pixels)
        moves.append(np.std((values - before)[core] / truth[core]))
    assert core.sum() > 2000
    assert moves[0] > 0.02
    assert max(moves[4:]) < 0.01 * moves[0]
    assert np.std((values / truth)[core]) < 0.006


def test_sums_for_a_bend_are_those_of_plain_algebra(pixels):
    rng = np.random.default_rng(8)
    profile, reach, size = _profile(pixels.grid.size), 2.2, 12
    weight = rng.uniform(0.5, 1.0, pixels.slit.size) * (rng.random(pixels.slit.size) > 0.1)
    light = rng.uniform(1.0, 2.0, (2, pixels.slit.size))
    data = np.where(weight > 0, rng.normal(size=pixels.slit.size), np.nan)
    places, tables = (
        (pixels.slit, pixels.position, pixels.footprint),
        profile.averages(pixels).tables(slopes=True),
    )
    products = bend_products(*places, *tables, weight, light, data, reach, size, 12)

    centre, inverse = profile.centre_at(pixels.position), 1 / profile.fwhm_at(pixels.position)
    u = (pixels.slit - centre) * inverse
    near = (np.abs(u) < 5.0) & (weight > 0)
    step = 2 * reach / (size - 3)
    splines = np.zeros((near.sum(), size))
    inner = np.abs(u[near]) < reach
    knots = -reach + step * np.arange(-3, size + 1)
    splines[inner] = BSpline.design_matrix(u[near][inner], knots, 3).toarray()
    value, *shape = profile.with_derivatives(pixels, np.flatnonzero(near))
    rows = np.array(
        [
            *(light[0, near] * shape),
            *(splines * (light[0] * inverse)[near, None]).T,
            light[0, near] * value,
            light[0, near],
            light[1, near],
            data[near],
        ]
    )
    part = np.clip((pixels.position[near] * 12 / pixels.grid.size).astype(int), 0, 11)
    assert (~inner).sum() > 1000
    for here in (0, 5, 11):
        own = rows[:, part == here]
        assert own.shape[1] > 100
        assert np.allclose(products[here], (own * weight[near][part == here]) @ own.T, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("tail", [0.05, 0.25, 0.4])
@pytest.mark.parametrize("size", [0.15, 0.25, 0.35])
def test_an_image_is_a_moffat_function_blurred_by_optics_of_unit_width(size, tail):
    image = slit_profile._images([size], tail, 0.64, on_pixels=False)[0]
    step = slit_profile._DISTANCE[1]
    assert 2 * np.interp(-0.5, -image / image[0], slit_profile._DISTANCE) == pytest.approx(1.0, abs=3e-3)
    assert image.sum() * 2 * step - image[0] * step == pytest.approx(1.0, abs=3e-3)
    # A pixel widens it by its own variance, which in the core is a twelfth of its square.
    wide = slit_profile._images([size], tail, 0.64)[0]
    beside = np.searchsorted(slit_profile._DISTANCE, 0.125)
    curvature = 2.0 * (image[beside] - image[0]) / slit_profile._DISTANCE[beside] ** 2
    assert wide[0] - image[0] == pytest.approx(0.5 * curvature * size**2 / 12.0, rel=0.15)


def _star_through_slit(distance, seeing, optics, pixel, beta=4.0):
    """Light of a star along a slit of 1 arcsec, blurred by optics and pixels [arcsec], of unit integral."""
    alpha = 0.5 * seeing / np.sqrt(2 ** (1 / beta) - 1)
    fine = np.arange(-15.0, 15.0, 0.01)
    across, weights = np.polynomial.legendre.leggauss(40)
    light = ((1 + ((0.5 * across[:, None]) ** 2 + fine**2) / alpha**2) ** -beta * weights[:, None]).sum(0)
    offsets = np.arange(-300, 301) * 0.01
    kernel = np.exp(-0.5 * (offsets / max(optics, 1e-3)) ** 2)
    light = np.convolve(light, kernel / kernel.sum(), mode="same")
    box = (np.abs(offsets) < 0.5 * pixel).astype(float)
    light = np.convolve(light, box / box.sum(), mode="same")
    return np.interp(distance, fine, light / (light.sum() * 0.01))


@pytest.mark.parametrize("optics", [0.1, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seeing", [0.6, 0.9, 1.5])
def test_light_of_a_star_behind_the_slit_is_told_from_the_sky(seeing, optics):
    pixel = 0.28
    place = np.arange(-20, 21) * pixel + 0.05
    truth = _star_through_slit(place, seeing, optics * pixel, pixel)

    def design(parameters):
        fwhm = np.exp(parameters[0])
        image = slit_profile._images([pixel / fwhm], *parameters[1:])[0]
        shape = CubicSpline(slit_profile._DISTANCE, image)(np.abs(place) / fwhm) / fwhm
        return np.stack([shape, np.ones(place.size)], axis=1)

    def left(parameters):
        matrix = design(parameters)
        return matrix @ np.linalg.lstsq(matrix, truth, rcond=None)[0] - truth

    best = least_squares(left, [np.log(seeing), 0.2, 0.64], bounds=([-3, 0.02, 0.0], [3, 0.55, 1.7])).x
    flux = np.linalg.lstsq(design(best), truth, rcond=None)[0][0]
    assert flux == pytest.approx(1.0, abs=4e-4)
