from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.response import Response
from soxs_recipes.data.spectrum import MergedSpectrum, OrderSpectrum
from soxs_recipes.reduction.flux.flux_calibration import FLUX_UNIT, ExtinctionCurve, flux_calibrate, response_at

EXTINCTION = ExtinctionCurve(np.array([400.0, 600.0]), np.array([0.3, 0.1]))
GRID = np.linspace(450.0, 550.0, 401)


def sensitivity(wavelength, order):
    return order * 1e16 * np.exp(-(((wavelength - 500.0) / 25.0) ** 2))


@pytest.fixture
def response():
    orders = (1, 2)
    value = np.concatenate([1.0 / sensitivity(GRID, order) for order in orders])
    return Response(
        order=np.repeat(np.array(orders, np.int16), len(GRID)),
        wavelength=np.tile(GRID, 2),
        response=value,
        error=0.02 * value,
        efficiency=np.full(value.shape, 0.1),
        quality=np.where(np.tile(GRID, 2) > 540.0, int(QualityFlag.TELLURIC), 0).astype(np.int32),
    )


def order_spectrum(flux_density, order=2, airmass=1.5, seconds=200.0, edges=(460.0, 545.0), bins=800, noise=0.0):
    """Counts that a source of known flux gives."""
    limits = np.linspace(*edges, bins + 1)
    wavelength, width = 0.5 * (limits[1:] + limits[:-1]), np.diff(limits)
    magnitudes = 0.3 - 0.2 * (wavelength - 400.0) / 200.0
    counts = flux_density(wavelength) * 10 ** (-0.4 * airmass * magnitudes) * sensitivity(wavelength, order)
    counts = counts * width * seconds
    variance = counts + 25.0
    if noise:
        counts = counts + np.random.default_rng(3).normal(size=bins) * np.sqrt(variance) * noise
    zero = np.zeros(bins)
    return OrderSpectrum(
        order, str(order), wavelength, width, counts, variance, counts, variance, zero + 7.0, zero + 25.0,
        np.zeros(bins, np.int32), zero,
    )  # fmt: skip


def source(wavelength):
    return 3e-16 * (wavelength / 500.0) ** -2


def test_flux_comes_back(response):
    spectrum = flux_calibrate(order_spectrum(source), response, EXTINCTION, 1.5, 200.0)
    assert spectrum.flux_unit == FLUX_UNIT
    assert spectrum.flux == pytest.approx(source(spectrum.wavelength), rel=2e-4)
    assert spectrum.boxcar_flux == pytest.approx(source(spectrum.wavelength), rel=2e-4)


@pytest.mark.parametrize(("airmass", "seconds"), [(1.3, 200.0), (1.5, 190.0)])
def test_airmass_and_time_matter(response, airmass, seconds):
    spectrum = flux_calibrate(order_spectrum(source), response, EXTINCTION, airmass, seconds)
    assert np.abs(spectrum.flux / source(spectrum.wavelength) - 1.0).max() > 0.02


def test_variance_is_scaled_and_holds_the_responses_error(response):
    counts = order_spectrum(source)
    spectrum = flux_calibrate(counts, response, EXTINCTION, 1.5, 200.0)
    scale = spectrum.flux / counts.flux
    assert spectrum.variance == pytest.approx(counts.variance * scale**2 + (0.02 * spectrum.flux) ** 2, rel=1e-9)
    assert spectrum.background_variance == pytest.approx(25.0 * scale**2, rel=1e-9)
    exact = replace(response, error=np.zeros_like(response.error))
    noisy = flux_calibrate(order_spectrum(source, noise=1.0), exact, EXTINCTION, 1.5, 200.0)
    pulls = (noisy.flux - source(noisy.wavelength)) / np.sqrt(noisy.variance)
    assert 0.93 < pulls.std() < 1.07


def test_out_of_reach_is_no_data(response):
    counts = order_spectrum(source, edges=(440.0, 545.0))
    spectrum = flux_calibrate(counts, response, EXTINCTION, 1.5, 200.0)
    outside = spectrum.wavelength < 450.0
    assert outside.sum() > 50
    assert np.all(spectrum.flux[outside] == 0.0)
    assert np.all(np.isinf(spectrum.variance[outside]))
    assert np.all(spectrum.quality[outside] & int(QualityFlag.NO_DATA))
    telluric = spectrum.wavelength > 541.0
    assert np.all(spectrum.quality[telluric] & int(QualityFlag.TELLURIC))
    assert not np.any(spectrum.quality[(~outside) & (spectrum.wavelength < 539.0)])
    missing = flux_calibrate(order_spectrum(source, order=7), response, EXTINCTION, 1.5, 200.0)
    assert np.all(np.isinf(missing.variance))


@pytest.mark.parametrize("moved", [-0.4, -1e-6, 0.0, 1e-6, 0.4])
def test_the_bins_that_hold_the_responses_ends_are_reached(response, moved):
    width = 0.125
    counts = order_spectrum(source, edges=(450.0 - 1.5 * width, 550.0 + 1.5 * width), bins=803)
    counts = replace(counts, wavelength=counts.wavelength + moved * width)
    spectrum = flux_calibrate(counts, response, EXTINCTION, 1.5, 200.0)
    reached = np.isfinite(spectrum.variance)
    assert reached[1:-1].all()
    assert not reached[0]
    assert not reached[-1]
    value, relative, _ = response_at(response, 2, counts.wavelength[[1, -2]], width)
    assert value == pytest.approx(1.0 / sensitivity(np.array([450.0, 550.0]), 2), rel=0.02)
    assert relative == pytest.approx(0.02)


def test_bins_without_information_stay_so(response):
    counts = order_spectrum(source)
    variance = counts.variance.copy()
    variance[100:110] = np.inf
    flux = counts.flux.copy()
    flux[100:110] = 0.0
    spectrum = flux_calibrate(replace(counts, flux=flux, variance=variance), response, EXTINCTION, 1.5, 200.0)
    assert np.all(np.isinf(spectrum.variance[100:110]))
    assert np.all(spectrum.flux[100:110] == 0.0)


def test_merged_spectra_take_each_bins_order(response):
    counts = order_spectrum(source)
    n = len(counts.flux)
    order = np.where(np.arange(n) < n // 2, 1, 2).astype(np.int16)
    order[-1] = 0
    density = counts.flux / counts.bin_width / np.where(order == 1, 2.0, 1.0)
    merged = MergedSpectrum(
        counts.wavelength, counts.bin_width, density, density, density, np.zeros(n, np.int32), order
    )
    spectrum = flux_calibrate(merged, response, EXTINCTION, 1.5, 200.0)
    assert spectrum.flux[:-1] == pytest.approx(source(spectrum.wavelength[:-1]), rel=2e-4)
    assert spectrum.flux[-1] == 0.0
    assert np.isinf(spectrum.variance[-1])


def test_units_and_times_are_checked(response):
    counts = order_spectrum(source)
    done = flux_calibrate(counts, response, EXTINCTION, 1.5, 200.0)
    with pytest.raises(ValueError, match="electron"):
        flux_calibrate(done, response, EXTINCTION, 1.5, 200.0)
    with pytest.raises(ValueError, match="exposure time"):
        flux_calibrate(counts, response, EXTINCTION, 1.5, 0.0)


def test_interpolation_is_logarithmic(response):
    at = np.array([460.123, 499.9, 538.4])
    value, relative, quality = response_at(response, 1, at)
    assert value == pytest.approx(1.0 / sensitivity(at, 1), rel=1e-4)
    assert relative == pytest.approx(0.02)
    assert not quality.any()
