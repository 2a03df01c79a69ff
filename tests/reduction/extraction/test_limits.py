"""Limits: chance of a false alarm, chance to miss, covariance, magnitudes."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.reduction.extraction.extraction import extract_exposure
from soxs_recipes.reduction.extraction.limits import ab_magnitude, band_limits, bands_of
from soxs_recipes.reduction.extraction.request import ExtractionRequest, ExtractionSettings
from soxs_recipes.reduction.extraction.slit_light import mean_slit_light


def spectrum(flux, sigma, correlation=(), unit="electron", width=0.5):
    size = flux.size
    zeros = np.zeros(size)
    return OrderSpectrum(
        3, "g", 500.0 + width * np.arange(size), np.full(size, width), flux, np.full(size, sigma**2), flux,
        np.full(size, sigma**2), zeros, zeros, np.zeros(size, np.int32), zeros,
        np.outer(correlation, np.ones(size)), unit,
    )  # fmt: skip


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_false_alarms_and_misses_are_as_rare_as_promised(sigma):
    rng = np.random.default_rng(1)
    alarms, missed, total = 0, 0, 0
    for _ in range(200):
        # Moving means of noise: neighbours are correlated by a half.
        noise = rng.normal(0, 5.0, 402)
        noise = (noise[1:] + noise[:-1])[:-1]
        empty = spectrum(noise, 5.0 * np.sqrt(2.0), (0.5,))
        bands = bands_of([empty], 20.0)
        for item in band_limits([empty], bands, sigma):
            alarms += item.significance > sigma
            total += 1
        # A source that is brighter than the error by this may hide below the limit with the same chance.
        bright = (sigma + 0.5) * item.error
        faint = spectrum(noise + 0.5 * bright, 5.0 * np.sqrt(2.0), (0.5,))
        missed += sum(item.limit < bright for item in band_limits([faint], bands, sigma))
    assert total == 2000
    expected = norm.sf(sigma)
    error = np.sqrt(expected * (1 - expected) / total)
    assert alarms / total == pytest.approx(expected, abs=4 * error)
    assert missed / total == pytest.approx(expected, abs=4 * error)


def test_without_covariance_the_alarms_would_be_too_many():
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(300):
        noise = rng.normal(0, 5.0, 101)
        (item,) = band_limits([s := spectrum(noise[1:] + noise[:-1], 5.0 * np.sqrt(2.0))], bands_of([s]), 3.0)
        ratios.append(item.significance)
    assert np.std(ratios) > 1.25


def test_bands_cover_each_order_once_and_leave_out_what_is_unknown():
    flux = np.full(100, 8.0)
    item = spectrum(flux, 2.0)
    item.quality[:50] = np.int32(QualityFlag.NO_DATA)
    item.variance[90:] = np.inf
    bands = bands_of([item], 5.0)
    assert len(bands) == 4
    assert bands[0][1] == pytest.approx(525.0)
    assert bands[-1][2] == pytest.approx(544.5)
    assert all(one[2] == other[1] for one, other in pairwise(bands))
    limits = band_limits([item], [*bands, (3, 500.0, 510.0), (9, 500.0, 600.0)], 3.0)
    assert [limit is None for limit in limits] == [False] * 4 + [True, True]
    assert limits[0].flux == pytest.approx(16.0)  # per nm
    assert limits[0].error == pytest.approx(4.0 / np.sqrt(10))
    assert limits[0].limit == pytest.approx(16.0 + 3.0 * 4.0 / np.sqrt(10))
    # A flux that is negative by chance lowers no limit.
    (below,) = band_limits([spectrum(-flux, 2.0)], [(3, 500.0, 510.0)], 3.0)
    assert below.flux == pytest.approx(-16.0)
    assert below.limit == pytest.approx(3.0 * below.error)
    calibrated = spectrum(flux, 2.0, unit="erg / (s cm2 Angstrom)")
    assert band_limits([calibrated], bands_of([calibrated]), 3.0)[0].flux == pytest.approx(8.0)


def test_magnitudes():
    # AB 0 at 555.6 nm is 3.53e-9 erg/s/cm2/A.
    assert ab_magnitude(3.53e-9, 555.6) == pytest.approx(0.0, abs=0.01)
    assert ab_magnitude(3.53e-17, 555.6) == pytest.approx(20.0, abs=0.01)
    assert np.isnan(ab_magnitude(0.0, 500.0))


def test_an_empty_place_beside_a_star(scene_of):
    """The significance of nothing, at a given place of a real fit, is that of noise."""
    ratios = []
    for seed in range(1, 6):
        scene = scene_of(seed=seed, length=300, drift=0.0, position=2.5)
        result = extract_exposure(
            scene.frame, scene.maps, 0, bands={}, base_variance=scene.base_variance,
            settings=ExtractionSettings(
                forced_position=-2.5, forced_fwhm=0.84, request=ExtractionRequest(gaussian=True)
            ),
        )  # fmt: skip
        assert len(result.choice.sources) == 2
        spectra = [item.spectrum for item in result.orders]
        ratios += [item.significance for item in band_limits(spectra, bands_of(spectra, 1.5), 3.0)]
        mean = mean_slit_light(result.slit_light)
        assert mean.order == 0
        assert mean.sources.shape[0] == 2
        known = np.isfinite(mean.light)
        assert known.sum() > 40
        pulls = ((mean.light - mean.sources.sum(axis=0)) / mean.error)[known]
        assert np.median(np.abs(pulls)) < 1.5
        assert mean.slit[known][np.nanargmax(mean.light[known])] == pytest.approx(2.5, abs=0.21)
    assert len(ratios) == 80
    assert abs(np.mean(ratios)) < 0.35
    assert np.std(ratios) == pytest.approx(1.0, abs=0.25)
