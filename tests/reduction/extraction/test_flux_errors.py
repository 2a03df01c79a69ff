"""Errors that the profile leaves on fluxes, the same in all bins: errors of single bins cannot tell of them."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.reduction.exposures.exposure_combination import combine_extractions
from soxs_recipes.reduction.extraction.extraction import extract_exposure
from soxs_recipes.reduction.extraction.order_fit import OrderFit
from soxs_recipes.reduction.extraction.request import ExtractionSettings
from soxs_recipes.reduction.profiles.flux_errors import error_of_mean

CHUNKS = 12
DRAWS = 20


def extract(scene, data=None, **settings):
    scene = scene if data is None else scene.with_data(data)
    return extract_exposure(
        scene.frame,
        scene.maps,
        scene.recipe.dispersion_axis,
        bands={1: "a", 2: "b"},
        base_variance=scene.base_variance,
        flat=scene.flat,
        settings=ExtractionSettings(find_cosmic_rays=False, **settings),
    )


@pytest.fixture(scope="module")
def fitted(scene_of):
    """A fit of light without noise, and the profile and fluxes of its end."""
    scene = scene_of(noise=False, emission=False, flux_level=3000.0, line_peak=0.0, beta=3.5, optics=0.6)
    fit = extract(scene).fits[0]
    return fit, fit.profiles[0], fit.solution.flux[0].copy()


def settle(fit, profile):
    OrderFit.change_profiles([fit], 0, [profile])
    fit.solve()


def changes(fitted, changed):
    """Relative change of the flux in the inner chunks when the profile is another, and the weights the same."""
    fit, profile, before = fitted
    settle(fit, profile)
    settle(fit, changed)
    return np.array(
        [
            now.sum() / old.sum() - 1.0
            for now, old in zip(
                np.array_split(fit.solution.flux[0], CHUNKS), np.array_split(before, CHUNKS), strict=True
            )
        ]
    )[1:-1]


@pytest.mark.parametrize(
    ("name", "step", "number"),
    [("centre", 0.02, 0), ("log_width", 0.02, 1), ("tail", 0.02, 2), ("optics", 0.004, 3)],
)
def test_fluxes_follow_the_shape_as_told(fitted, name, step, number):
    fit, profile, _ = fitted
    settle(fit, profile)
    told = fit.bending_equations(0).response[1:-1, number] * step
    up, down = (changes(fitted, profile.moved(**{name: sign * step})) for sign in (1.0, -1.0))
    assert (np.abs(told).max() > 1e-3) == (name != "centre")
    followed = 0.5 * (up - down)
    # A pixel on the border of two chunks shows one side of the profile: what a shift does to its light, to first
    # order, is made good by pixels of the next chunk. Over all of them it cancels.
    border = 3e-4 if name == "centre" else 0.0
    assert followed == pytest.approx(told, abs=0.05 * np.abs(told).max() + border)
    assert np.mean(followed) == pytest.approx(np.mean(told), rel=0.05, abs=3e-5)


@pytest.mark.parametrize("number", [4, 5])
@pytest.mark.parametrize("column", [0, 1])
def test_fluxes_follow_the_bend_as_told(fitted, number, column):
    fit, profile, _ = fitted
    settle(fit, profile)
    bend = fit.bending_equations(0).bend
    step, place = 0.01, column * (bend.held.size // 2) + number - 3
    told = bend.response[1:-1, place] * step

    def bent(sign):
        coefficients = profile.correction.copy()
        coefficients[number, column] += sign * step
        return replace(profile, correction=coefficients)

    assert np.abs(told).max() > 5e-4
    found = 0.5 * (changes(fitted, bent(1.0)) - changes(fitted, bent(-1.0)))
    assert found == pytest.approx(told, abs=0.05 * np.abs(told).max())


def mean_of(scene, item):
    """Relative deviation of the mean flux from the truth, and its error by noise."""
    spectrum, truth = item.spectrum, scene.truth(item.spectrum)
    inner = slice(10, -10)
    weight = (truth / spectrum.variance)[inner]
    total = (weight * truth[inner]).sum()
    sigma = weight * np.sqrt(spectrum.variance[inner])
    variance = (sigma**2).sum()
    for lag, row in enumerate(spectrum.correlation[:, inner], start=1):
        variance += 2 * (row[:-lag] * sigma[:-lag] * sigma[lag:]).sum()
    return (weight * (spectrum.flux - truth)[inner]).sum() / total, np.sqrt(variance) / total


@pytest.fixture(scope="module")
def drawn(scene_of):
    """The scene and what came of many draws of its noise."""
    scene, rng = (
        scene_of(noise=False, emission=False, line_peak=0.0, beta=3.0, length=300),
        np.random.default_rng(8),
    )
    read_noise = scene.recipe.read_noise
    data = [rng.poisson(scene.mean) + rng.normal(0, read_noise, scene.mean.shape) for _ in range(DRAWS)]
    return scene, [extract(scene, each).orders for each in data]


def test_means_scatter_as_noise_and_profiles_tell(drawn):
    scene, results = drawn
    noise, stated = [], []
    for orders in results:
        for item in orders:
            deviation, error = mean_of(scene, item)
            noise.append(deviation / error)
            stated.append(deviation / np.hypot(error, np.linalg.norm(item.profile_errors)))
    count = 2 * DRAWS
    assert len(stated) == count
    # Chi-square of 40 is known to 9.
    assert np.sum(np.square(stated)) == pytest.approx(count, abs=3 * np.sqrt(2 * count))
    assert np.sum(np.square(noise)) > count + 4 * np.sqrt(2 * count)


def test_orders_have_causes_in_common(drawn):
    scene, results = drawn
    together, apart = [], []
    for orders in results:
        (first, one), (second, two) = (mean_of(scene, item) for item in orders)
        error = np.hypot(0.5 * np.hypot(one, two), error_of_mean(orders))
        together.append(0.5 * (first + second) / error)
        alone = np.linalg.norm([np.linalg.norm(item.profile_errors) for item in orders]) / 2
        apart.append(error_of_mean(orders) / alone)
    assert np.sum(np.square(together)) == pytest.approx(DRAWS, abs=3 * np.sqrt(2 * DRAWS))
    assert np.mean(apart) > 1.15


def test_further_exposures_lessen_them(drawn):
    _, results = drawn
    single = np.mean([error_of_mean(orders) for orders in results[:4]])
    combined = combine_extractions(results[:4], [600.0] * 4).orders
    assert error_of_mean(combined) == pytest.approx(single / 2.0, rel=0.1)
