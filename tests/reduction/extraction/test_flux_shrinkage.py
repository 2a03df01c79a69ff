"""Denoised fluxes against truth: noise gone where nothing shows, the spectrum untouched where it does."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from soxs_recipes.reduction.extraction import flux_shrinkage
from soxs_recipes.reduction.extraction.flux_shrinkage import flux_information, shrunk_flux

_BINS = 2048


def _noise_of_bins(random):
    """Errors as sky lines make them: one bin in five is 20 times noisier."""
    return np.where(random.uniform(size=_BINS) < 0.2, 20.0, 1.0) * 3.0


def _draw(level, seed):
    random = np.random.default_rng(seed)
    error = _noise_of_bins(random)
    truth = level * (1.0 + 0.3 * np.sin(np.arange(_BINS) / 400.0))
    return truth, error, truth + error * random.standard_normal(_BINS)


def _false_information(smooth, truth, error):
    """What is left of the noise squared, as a fit of a profile would count it, over the noise itself."""
    return float(np.sum(((smooth - truth) / error) ** 2) / _BINS)


@pytest.mark.parametrize("level", [0.0, 0.3, 3.0])
def test_noise_of_a_faint_spectrum_is_gone(level, monkeypatch):
    left = [
        _false_information(shrunk_flux(flux, error**-2.0), truth, error)
        for truth, error, flux in (_draw(level, seed) for seed in range(10))
    ]
    assert len(left) == 10
    assert np.mean(left) < 0.03
    monkeypatch.setattr(flux_shrinkage, "_LEVELS", ((1, 31),))
    rough = [
        _false_information(shrunk_flux(flux, error**-2.0), truth, error)
        for truth, error, flux in (_draw(max(level, 3.0), seed) for seed in range(10))
    ]
    assert np.mean(rough) > 0.03


def test_noisy_bins_do_not_lead():
    truth, error, flux = _draw(2.0, 4)
    quiet = error < 10.0
    weighted = shrunk_flux(flux, error**-2.0)[quiet] - truth[quiet]
    even = shrunk_flux(flux, np.ones(_BINS) / np.median(error) ** 2)[quiet] - truth[quiet]
    assert np.std(weighted) < 0.5 < np.std(even)


def test_a_bright_spectrum_stays():
    random = np.random.default_rng(8)
    truth = 4e4 * (1.0 + 0.4 * np.sin(np.arange(_BINS) / 3.0))
    error = np.sqrt(truth)
    flux = truth + error * random.standard_normal(_BINS)
    assert np.abs((shrunk_flux(flux, error**-2.0) - flux) / error).max() < 0.1


def test_an_emission_line_on_nothing_stays():
    truth, error, flux = _draw(0.0, 5)
    error[1000:1003] = 3.0
    flux[1000:1003] = (60.0, 120.0, 60.0)
    smooth = shrunk_flux(flux, error**-2.0)
    assert smooth[1001] > 100.0
    away = np.abs(np.arange(_BINS) - 1001) > 200
    assert _false_information(smooth[away], truth[away], error[away]) < 0.05


def test_a_lone_line_beyond_doubt_keeps_its_light():
    random = np.random.default_rng(10)
    kept = []
    for _ in range(50):
        flux = random.standard_normal(_BINS)
        flux[1000] = 10.0
        kept.append(shrunk_flux(flux, np.ones(_BINS))[1000] / 10.0)
    assert len(kept) == 50
    assert 0.95 < np.mean(kept) < 1.0


@pytest.mark.parametrize("ratio", [4.0, 9.0])  # nearer to noise, caution about chance costs more
def test_a_rough_spectrum_is_shrunk_as_far_as_is_best(ratio):
    """Bins that vary by `ratio` times their noise squared: no linear estimate errs by less than Wiener's."""
    random = np.random.default_rng(11)
    truth = np.sqrt(ratio) * random.standard_normal((20, _BINS))
    flux = truth + random.standard_normal(truth.shape)
    smooth = np.array([shrunk_flux(row, np.ones(_BINS)) for row in flux])
    assert np.mean((smooth - truth) ** 2) / (ratio / (1.0 + ratio)) < 1.06


def test_bins_without_pixels_take_their_neighbours_value():
    truth, error, flux = _draw(100.0, 6)
    information = error**-2.0
    information[300:320], flux[300:320] = 0.0, 1e6
    smooth = shrunk_flux(flux, information)
    assert np.all(np.isfinite(smooth))
    assert np.abs(smooth[300:320] / truth[300:320] - 1.0).max() < 0.2
    assert np.all(shrunk_flux(np.full(5, 2.0), np.zeros(5)) == 2.0)


def test_information_is_that_of_the_normal_equations():
    random = np.random.default_rng(9)
    which = np.repeat(np.arange(3), 20)
    expected, sky, weight = random.uniform(0.1, 1.0, (3, 60))
    weight[40:] = 0.0
    share = random.choice([0.2, 0.8], 60)  # of the next bin: 0.8 lies in it
    place = which - (share > 0.5), share
    found = flux_information(place, expected / sky, sky, weight, 3)
    design = np.stack([expected[:20], sky[:20]], axis=1)
    variance = np.linalg.inv(design.T @ (design * weight[:20, None]))[0, 0]
    assert found[0] == pytest.approx(1.0 / variance, rel=1e-9)
    assert found[2] == 0.0


@pytest.mark.parametrize(("size", "width"), [(40, 1), (40, 3), (40, 31), (40, 40), (41, 40), (5, 5)])
def test_running_sums_are_mirrored_at_the_ends(size, width):
    values = np.random.default_rng(10).normal(size=size)
    truth = uniform_filter1d(values, width, mode="mirror") * width
    assert np.allclose(flux_shrinkage._running_sum(values, width), truth)
