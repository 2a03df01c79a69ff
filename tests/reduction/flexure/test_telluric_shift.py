"""The shift of a target against the atmosphere's absorption, with true errors."""

import numpy as np
import pytest

from soxs_recipes.reduction.flexure.telluric_shift import telluric_shift

SIZE = 960
WAVELENGTH = 740.0 + 0.035 * np.arange(SIZE)


def template(rng):
    """Deep narrow lines in two bands, finely sampled, sharper than a bin."""
    fine = np.arange(735.0, 780.0, 0.004)
    depth = np.zeros(fine.size)
    for centre in np.concatenate([rng.uniform(755.0, 763.0, 40), rng.uniform(742.0, 748.0, 15)]):
        depth += rng.uniform(0.1, 1.5) * np.exp(-0.5 * ((fine - centre) / 0.03) ** 2)
    return fine, np.exp(-depth)


def observe(rng, bands, shift, level, strength=1.3):
    """A star with a slope, seen through the bands by a spectrograph whose lines are a Gaussian of 1.2 bins."""
    fine, transmission = bands
    offsets = np.linspace(-5.0, 5.0, 81)
    kernel = np.exp(-0.5 * (offsets / 1.2) ** 2)
    places = WAVELENGTH[:, None] + (offsets - shift) * 0.035
    through = (np.interp(places, fine, transmission**strength) * kernel).sum(axis=1) / kernel.sum()
    flux = level * (1.0 + 0.2 * np.linspace(-1, 1, SIZE)) * through
    variance = flux + 100.0
    return flux + rng.normal(0, np.sqrt(variance)), variance


def test_errors_are_true(width_of):
    rng = np.random.default_rng(3)
    bands = template(rng)
    shifts = rng.uniform(-1.5, 1.5, 40)
    found = [telluric_shift(WAVELENGTH, *observe(rng, bands, shift, 80.0), bands) for shift in shifts]
    told = np.isfinite([item.shift for item in found])
    assert told.sum() >= 36
    pulls = np.array([(item.shift - shift) / item.error for item, shift in zip(found, shifts, strict=True)])[told]
    assert width_of(pulls) == pytest.approx(0.9, abs=0.3)  # a floor of 0.04 bins makes them wider
    assert abs(np.mean(pulls)) < 0.6


def test_a_bright_star_is_placed_to_a_fraction_of_a_bin_whatever_the_columns():
    rng = np.random.default_rng(4)
    bands = template(rng)
    for strength in (0.6, 1.0, 2.0):
        found = telluric_shift(WAVELENGTH, *observe(rng, bands, 0.7, 5e4, strength), bands)
        assert found.shift == pytest.approx(0.7, abs=0.05)
        assert found.error < 0.12


@pytest.mark.parametrize("seed", [6, 7])
def test_bands_are_those_of_the_airmass(seed):
    rng = np.random.default_rng(seed)
    bands = template(rng)
    star = observe(rng, bands, 0.5, 2e4, 2.5)
    right, wrong = (telluric_shift(WAVELENGTH, *star, bands, airmass=airmass) for airmass in (2.5, 1.0))
    assert right.shift == pytest.approx(0.5, abs=0.004)
    assert abs(wrong.shift - 0.5) > 0.01
    # Noise alone would give 0.002 beside the floor of 0.04: chunks whose continuum is not straight give more.
    assert right.error > 0.042


def test_emission_in_place_of_the_bands_tells_nothing():
    rng = np.random.default_rng(7)
    fine, transmission = template(rng)
    flux, variance = observe(rng, (fine, 2.0 - transmission), 0.7, 3000.0)
    assert flux.max() > 1.5 * np.median(flux)
    assert not np.isfinite(telluric_shift(WAVELENGTH, flux, variance, (fine, transmission)).shift)


def test_a_star_without_bands_tells_nothing():
    rng = np.random.default_rng(5)
    bands = template(rng)
    flux, variance = observe(rng, (bands[0], np.ones(bands[0].size)), 0.0, 3000.0)
    assert not np.isfinite(telluric_shift(WAVELENGTH, flux, variance, bands).shift)
    assert not np.isfinite(telluric_shift(WAVELENGTH, flux, np.full(SIZE, np.inf), bands).shift)
    assert not np.isfinite(telluric_shift(WAVELENGTH[:50], flux[:50], variance[:50], bands).shift)
