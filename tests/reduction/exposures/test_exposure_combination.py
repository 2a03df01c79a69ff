"""Exposures of one object are averaged as their errors say."""

from dataclasses import replace

import numpy as np
import pytest

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.reduction.exposures.exposure_combination import combine_extractions
from soxs_recipes.reduction.extraction.order_spectrum import ExtractedOrder

SIZE = 2000


def exposure(rng, level=200.0, time=600.0, share=0.0, common=None, throughput=1.0):
    wavelength = 500 + 0.04 * np.arange(SIZE)
    truth = level * throughput * (time / 600.0) * (1 + 0.3 * np.sin(wavelength))
    own, shared = truth + 300.0, np.full(SIZE, share)
    noise = rng.normal(0, np.sqrt(own))
    if common is not None:
        noise = noise + common * np.sqrt(share)
    flux, variance, zeros = truth + noise, own + shared, np.zeros(SIZE)
    spectrum = OrderSpectrum(
        1, "a", wavelength, np.full(SIZE, 0.04), flux, variance, flux, variance, zeros + 30.0, zeros + 300.0,
        zeros.astype(np.int32), zeros, np.zeros((4, SIZE)),
    )  # fmt: skip
    return [ExtractedOrder(spectrum, shared, np.zeros((4, SIZE)), 1.0, 1.0, 0.9)], truth


def test_the_sum_has_true_errors(width_of):
    rng = np.random.default_rng(1)
    parts = [exposure(rng, time=time) for time in (600.0, 600.0, 900.0)]
    combined = combine_extractions([orders for orders, _ in parts], [600.0, 600.0, 900.0])
    truth = sum(truth for _, truth in parts)
    spectrum = combined.orders[0].spectrum
    pulls = (spectrum.flux - truth) / np.sqrt(spectrum.variance)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.06)
    assert abs(pulls.mean()) < 0.08
    assert spectrum.variance.mean() == pytest.approx(sum(3 * [300.0]) + truth.mean(), rel=0.1)
    assert combined.throughput == pytest.approx(np.ones(3), abs=0.03)


def test_noise_that_all_share_stays(width_of):
    rng = np.random.default_rng(2)
    common = rng.standard_normal(SIZE)
    parts = [exposure(rng, share=400.0, common=common) for _ in range(4)]
    combined = combine_extractions([orders for orders, _ in parts], [600.0] * 4)
    spectrum = combined.orders[0].spectrum
    pulls = (spectrum.flux - 4 * parts[0][1]) / np.sqrt(spectrum.variance)
    assert width_of(pulls) == pytest.approx(1.0, abs=0.06)
    assert combined.orders[0].shared_variance.mean() == pytest.approx(16 * 400.0, rel=0.02)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_hit_in_one_exposure_is_left_out(count):
    rng = np.random.default_rng(3)
    parts = [exposure(rng) for _ in range(count)]
    spoilt = parts[1][0][0]
    flux = spoilt.spectrum.flux.copy()
    flux[100:110] += 1500.0
    orders = [part for part, _ in parts]
    orders[1] = [replace(spoilt, spectrum=replace(spoilt.spectrum, flux=flux))]
    combined = combine_extractions(orders, [600.0] * count)
    spectrum, truth = combined.orders[0].spectrum, count * parts[0][1]
    pulls = ((spectrum.flux - truth) / np.sqrt(spectrum.variance))[100:110]
    assert np.abs(pulls).max() < 4.5
    assert np.all(spectrum.quality[100:110] & np.int32(QualityFlag.OUTLIER))
    assert combined.rejected < 10 + 3


def test_clouds_are_noticed_and_do_not_bias_bins_that_one_exposure_lacks():
    rng = np.random.default_rng(4)
    parts = [exposure(rng, level=5000.0, throughput=value) for value in (1.3, 0.7)]
    orders = [part for part, _ in parts]
    lost = orders[0][0]
    variance = lost.spectrum.variance.copy()
    variance[500:600] = np.inf
    orders[0] = [replace(lost, spectrum=replace(lost.spectrum, variance=variance))]
    combined = combine_extractions(orders, [600.0, 600.0])
    truth = parts[0][1] + parts[1][1]
    ratio = combined.orders[0].spectrum.flux / truth
    assert combined.throughput == pytest.approx([1.3, 0.7], abs=0.01)
    assert ratio[500:600].mean() == pytest.approx(1.0, abs=0.01)
    assert ratio.mean() == pytest.approx(1.0, abs=0.005)


def test_one_exposure_stays_as_it_is():
    orders, _ = exposure(np.random.default_rng(5))
    assert combine_extractions([orders], [600.0]).orders[0] is orders[0]


def test_errors_of_a_profile_that_exposures_share_do_not_average_out():
    """Two faint exposures extracted with the profile of a third, and one with its own."""
    rng = np.random.default_rng(8)
    own, other = rng.normal(0, 0.02, (2, 3)), rng.normal(0, 0.05, (2, 3))  # (orders, causes)
    exposures = []
    for causes in (own, other, own, own):
        first = exposure(rng)[0][0]
        second = replace(first, spectrum=replace(first.spectrum, order=2))
        exposures.append(
            [replace(item, profile_errors=row) for item, row in zip((first, second), causes, strict=True)]
        )
    combined = combine_extractions(exposures, [600.0] * 4).orders
    assert len(combined) == 2
    for k, m in ((0, 0), (1, 1), (0, 1)):
        expected = 9 / 16 * own[k] @ own[m] + 1 / 16 * other[k] @ other[m]
        assert combined[k].profile_errors @ combined[m].profile_errors == pytest.approx(expected, rel=0.02)
