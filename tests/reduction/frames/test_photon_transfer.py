"""Gain, read noise, linearity and odd pixels of synthetic series whose truth the algorithms do not see."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import convolve

from soxs_recipes.data.linearity import LinearityCurve
from soxs_recipes.reduction.frames.linearity import fit_linearity, full_well
from soxs_recipes.reduction.frames.linearity_series import Pair, _transfer_curve, characterise
from soxs_recipes.reduction.frames.photon_transfer import (
    TransferCurve,
    brightness_groups,
    fit_transfer_curve,
    neighbour_correlation,
    pair_statistics,
    read_noise_of_pairs,
)

_SHAPE = (360, 420)
_TIMES = (1.0, 2.0, 4.0, 7.0, 10.0, 14.0, 18.0, 22.0, 26.0, 30.0, 36.0, 44.0)
_WELL = 60000.0  # ADU


@dataclass(frozen=True)
class Bench:
    """A detector before a lamp."""

    gain: float = 1.7
    read_noise: float = 5.0
    curvature: float = 0.05
    delay: float = 0.0
    spread: float = 0.0
    odd: tuple = ()

    @property
    def rate(self):
        """ADU/s without curvature, falling over two decades along x, uneven from pixel to pixel."""
        random = np.random.default_rng(5)
        ramp = np.geomspace(2000.0, 20.0, _SHAPE[1])[None, :]
        return ramp * (1.0 + 0.01 * random.standard_normal(_SHAPE))

    def read(self, linear, curvature=None):
        """What is read of a linear signal [ADU]."""
        k = self.curvature if curvature is None else curvature
        return np.minimum(linear * (1.0 - k * linear / _WELL), _WELL)

    def expose(self, time, seed):
        random = np.random.default_rng(seed)
        charge = random.poisson(self.rate * (time + self.delay) * self.gain).astype(float)
        if self.spread:
            kernel = self.spread * np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
            kernel[1, 1] += 1.0
            charge = convolve(charge, kernel, mode="nearest")
        k = np.full(_SHAPE, self.curvature)
        for y, x, factor in self.odd:
            k[y, x] *= factor
        signal = self.read(charge / self.gain, k)
        signal += random.standard_normal(_SHAPE) * self.read_noise / self.gain
        return np.rint(signal + 1000.0).astype(np.float32) - 1000.0

    def pairs(self, times=_TIMES):
        made = []
        for number, time in enumerate(times):
            one, two = (self.expose(time, 1000 + 2 * number + k) for k in (0, 1))
            made.append(Pair(time, one, two, np.zeros(_SHAPE, bool), np.zeros(_SHAPE, bool)))
        return made

    def measure(self, pairs=None, **options):
        noise, _ = read_noise_of_pairs(
            [self.expose(-self.delay, seed) for seed in range(4)], np.ones(_SHAPE, bool)
        )
        assert noise * self.gain == pytest.approx(self.read_noise, rel=0.01)
        floor = noise**2 + 1.0 / 12.0
        pairs = pairs or self.pairs()
        return characterise(pairs, np.ones(_SHAPE, bool), (0, _SHAPE[1]), noise_floor=floor, **options)

    def error_of(self, curve):
        """Largest relative error of corrected signals in range."""
        linear = np.linspace(1500.0, _WELL, 400)
        signal = self.read(linear)
        inside = signal < curve.limit
        assert inside.sum() > 100
        return float(np.abs(curve.corrected(signal) / linear - 1.0)[inside].max())


@pytest.fixture(scope="module")
def late():
    """A bench with a late shutter, and its result."""
    bench = Bench(delay=0.02)
    return bench, bench.measure()


def test_gain_and_linearity_of_a_curved_detector_with_a_late_shutter(late):
    bench, result = late
    assert result.transfer.gain == pytest.approx(bench.gain, rel=0.005)
    assert abs(result.transfer.gain - bench.gain) < 4.0 * result.transfer.gain_error
    assert result.transfer.gain_error < 0.003 * bench.gain
    assert 0.7 < result.transfer.chi_square < 1.4
    assert bench.error_of(result.linearity.curve) < 1e-3
    assert result.linearity.delay == pytest.approx(bench.delay, abs=4.0 * result.linearity.delay_error)
    assert result.linearity.delay_error < 0.005
    assert np.abs(result.linearity.curve.deviation(np.array([40000.0]))) > 0.02
    assert not result.correlation.is_significant


def test_a_gain_that_knows_nothing_of_the_curve_is_wrong(late):
    bench, result = late
    errors = np.array([one.variance_error for one in result.statistics])
    level = np.where(result.used, result.level, np.nan)
    straight = fit_transfer_curve(level, result.variance, errors)
    assert abs(straight.gain / bench.gain - 1.0) > 0.02


def test_a_delay_that_is_not_fitted_bends_the_curve(late):
    bench, result = late
    level = np.where(result.used, result.level, np.nan)
    error = np.array([one.level_error for one in result.statistics])
    fit = fit_linearity(_TIMES, level, error, columns=(0, 420), limit=55000.0, shutter=False)
    assert np.abs(fit.lamp - 1.0).max() > 4.0 * np.abs(result.linearity.lamp - 1.0).max()
    assert bench.error_of(fit.curve) > 2.0 * bench.error_of(result.linearity.curve)


@pytest.mark.parametrize("gain", [0.4, 3.0])
@pytest.mark.parametrize("floor", [None, 30.0])
def test_errors_of_the_gain_are_true(gain, floor):
    """Errors of variances are in proportion to the measured ones, as `pair_statistics` has them."""
    rng, level, pulls = np.random.default_rng(1), np.geomspace(50.0, 50000.0, 100), []
    for _ in range(200):
        variance = (level / gain + 30.0) * (1.0 + 0.1 * rng.normal(size=level.size))
        found = fit_transfer_curve(level, variance, 0.1 * variance, noise_floor=floor)
        pulls.append((found.gain - gain) / found.gain_error)
    assert abs(np.mean(pulls)) < 0.4
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)


def test_what_the_curve_may_be_wrong_by_makes_the_gain_less_certain():
    gains = {"middle": 2.0, "one": 2.03, "other": 1.96}
    fit = SimpleNamespace(curve="middle", uncertain_curves=lambda: ["one", "other"])
    found = _transfer_curve(lambda curve: TransferCurve(gains[curve], 0.01, 4.0, np.zeros(1), 1.0), fit)
    assert found.gain == 2.0
    assert found.gain_error == pytest.approx(np.sqrt(0.01**2 + 0.03**2 + 0.04**2))


class KneeBench(Bench):
    """A detector whose response bends sharply at seven tenths of its well."""

    def read(self, linear, curvature=None):
        knee = 0.7 * _WELL
        return np.minimum(super().read(np.minimum(linear, knee)) + 0.4 * np.maximum(linear - knee, 0.0), _WELL)


def test_the_range_ends_before_a_bend_that_no_curve_follows():
    bench = KneeBench(curvature=0.02)
    result = bench.measure()
    # Signals beyond the knee would be wrong by far more.
    assert 0.4 * _WELL < result.linearity.curve.limit < 0.76 * _WELL
    assert bench.error_of(result.linearity.curve) < 2e-3
    assert result.transfer.gain == pytest.approx(bench.gain, rel=0.01)


def test_saturation_is_found_and_kept_out(late):
    _, result = late
    assert result.saturation == pytest.approx(_WELL, rel=1e-3)
    assert not result.converter_limited
    assert 0.8 * _WELL < result.linearity.curve.limit < 0.96 * _WELL
    rate = Bench().rate.astype(np.float32)
    assert np.isnan(full_well(rate, 10.0 * rate, 10.0, np.ones(_SHAPE, bool)))
    assert np.isnan(full_well(rate, rate, 1.0, np.zeros(_SHAPE, bool)))


def test_pixels_that_bend_otherwise_are_named():
    odd = tuple((y, 30 + 7 * y // 10, 4.0 if y % 2 else -1.5) for y in range(20, 340, 20))
    bench = Bench(odd=odd)
    found = bench.measure().deviations.deviating(0.02, 5.0)
    assert sum(bool(found[y, x]) for y, x, _ in odd if x < 150) == sum(1 for *_, x, _ in odd if x < 150) > 5
    right = np.zeros(_SHAPE, bool)
    for y, x, _ in odd:
        right[y, x] = True
    assert np.count_nonzero(found & ~right) <= 2


def test_errors_of_pixel_deviations_are_true(late):
    deviations = late[1].deviations
    known = np.isfinite(deviations.deviation)
    assert known.sum() > 20000
    pull = deviations.deviation[known] / deviations.error[known]
    assert abs(np.median(pull)) < 0.1
    assert 1.4826 * np.median(np.abs(pull - np.median(pull))) == pytest.approx(1.0, abs=0.04)


def test_charge_that_spreads_is_seen_and_taken_into_account():
    bench = Bench(curvature=0.0, spread=0.01)
    pairs = bench.pairs((2.0, 5.0, 10.0, 15.0, 20.0, 24.0, 28.0))
    result = bench.measure(pairs)
    # Each of four neighbours shares 2 * 0.01 * 0.96 of the variance.
    expected = 4 * 2 * 0.01 * 0.96 / (0.96**2 + 4 * 0.01**2)
    assert result.correlation.is_significant
    assert result.correlation.total == pytest.approx(expected, abs=5.0 * result.correlation.error)
    assert result.transfer.gain == pytest.approx(bench.gain, rel=0.02)
    errors = np.array([one.variance_error for one in result.statistics])
    naive = fit_transfer_curve(np.where(result.used, result.level, np.nan), result.variance, errors)
    assert naive.gain / bench.gain - 1.0 > 0.05


def test_cosmic_rays_and_bad_pixels_do_not_matter(late):
    bench, clean = late
    random = np.random.default_rng(1)
    pairs = []
    for pair in bench.pairs():
        hits = random.random(_SHAPE) < 1e-3
        bad = random.random(_SHAPE) < 2e-3
        second = np.where(hits, pair.second + 5000.0, pair.second).astype(np.float32)
        pairs.append(replace(pair, second=np.where(bad, 0.0, second).astype(np.float32), bad=bad))
    result = bench.measure(pairs)
    assert result.transfer.gain == pytest.approx(clean.transfer.gain, rel=0.003)
    assert bench.error_of(result.linearity.curve) < 1.2e-3


def test_statistics_of_a_pair():
    bench = Bench(curvature=0.0)
    (pair,) = bench.pairs((10.0,))
    groups = brightness_groups(bench.rate, np.ones(_SHAPE, bool), count=12)
    assert 10 <= groups.count <= 12
    assert np.all(np.diff(groups.mean_rate) > 0)
    assert np.all(groups.largest_rate < 1.6 * groups.mean_rate)
    found = pair_statistics(pair.first, pair.second, pair.bad, groups)
    expected = found.level / bench.gain + (bench.read_noise / bench.gain) ** 2 + 1.0 / 12.0
    pull = (found.variance - expected) / found.variance_error
    assert np.abs(pull).max() < 4.0
    level_pull = (found.level - groups.mean_rate * 10.0) / found.level_error
    assert np.abs(level_pull).max() < 4.0
    half = pair.bad.copy()
    half.ravel()[groups.index[: groups.first[1] // 2]] = True
    partly = pair_statistics(pair.first, pair.second, half, groups)
    assert np.isnan(partly.level[0])
    assert np.isfinite(partly.level[1:]).all()


def test_too_little_to_measure_gives_nothing():
    dark = np.zeros(_SHAPE)
    assert brightness_groups(dark, np.ones(_SHAPE, bool)).count == 0
    assert np.isnan(fit_transfer_curve(np.array([1.0, 2.0]), np.ones(2), np.ones(2)).gain)
    assert fit_linearity([1.0, 2.0], np.ones((2, 3)), np.ones((2, 3)), columns=(0, 1), limit=9.0) is None
    assert np.isnan(read_noise_of_pairs([dark], np.ones(_SHAPE, bool))[0])
    assert not np.isfinite(neighbour_correlation(dark, dark, np.ones(_SHAPE, bool), 1.0, 5.0).error)


def test_a_curve_and_its_slope():
    curve = LinearityCurve((0, 10), 50000.0, (0.03, 0.01), 40000.0)
    signal = np.linspace(0.0, 39000.0, 50)
    step = 1.0
    numeric = (curve.corrected(signal + step) - curve.corrected(signal)) / step
    np.testing.assert_allclose(curve.slope(signal + 0.5 * step), numeric, rtol=1e-7)
    u = signal / 50000.0
    np.testing.assert_allclose(curve.corrected(signal), signal * (1.0 + 0.03 * u + 0.01 * u**2))
    assert curve.corrected(np.array([-5.0]))[0] == -5.0
    beyond = curve.corrected(np.array([40000.0, 80000.0]))
    assert beyond[1] == pytest.approx(2.0 * beyond[0])
    assert curve.corrected(np.float32([1000.0])).dtype == np.float32
    assert curve.deviation(signal[1:])[-1] < -0.02
