"""Orders become one spectrum: flux kept, errors true, no gaps."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import cholesky

from soxs_recipes.data.quality import QualityFlag
from soxs_recipes.data.spectrum import OrderSpectrum
from soxs_recipes.errors import AlgorithmError
from soxs_recipes.reduction.exposures.merge_kernels import bin_means, covariances_of_means, means
from soxs_recipes.reduction.exposures.merge_orders import merge_orders, merged_grid


def density(wavelength):
    return 5000.0 * (1 + 0.4 * np.sin(wavelength / 3.0))


def order_spectrum(number, low, high, step, rng=None, depth=1.0, correlation=0.0):
    wavelength = np.arange(low, high, step) + 1e-3 * np.cumsum(np.ones(int(np.ceil((high - low) / step))))
    width = np.gradient(wavelength)
    blaze = depth * (0.3 + np.sin(np.pi * (wavelength - low) / (high - low)))
    truth = density(wavelength) * width
    variance = truth / np.maximum(blaze, 0.05) + 20.0
    noise = np.zeros(wavelength.size)
    if rng is not None:
        sigma = np.sqrt(variance)
        covariance = np.diag(variance)
        band = correlation * sigma[:-1] * sigma[1:]
        covariance += np.diag(band, 1) + np.diag(band, -1)
        noise = cholesky(covariance, lower=True) @ rng.standard_normal(wavelength.size)
    zeros = np.zeros(wavelength.size)
    return OrderSpectrum(
        number,
        str(number),
        wavelength,
        width,
        truth + noise,
        variance,
        truth,
        variance,
        truth * 0.1,
        variance,
        zeros.astype(np.int32),
        zeros,
        np.array([np.full(wavelength.size, correlation), zeros]),
    )


def two(rng=None, correlation=0.0):
    return [
        order_spectrum(1, 500.0, 520.0, 0.031, rng, correlation=correlation),
        order_spectrum(2, 515.0, 540.0, 0.043, rng, correlation=correlation),
    ]


def test_density_is_kept_without_noise():
    merged = merge_orders(two(), 0.05)
    inner = slice(5, -5)
    assert merged.flux_unit == "electron / nm"
    assert np.allclose(merged.flux[inner], density(merged.wavelength)[inner], rtol=5e-4)
    assert np.allclose(merged.sky[inner], 0.1 * density(merged.wavelength)[inner], rtol=5e-4)
    assert not (merged.quality[inner] & np.int32(QualityFlag.NO_DATA)).any()
    assert set(np.unique(merged.order[inner])) == {1, 2}


def test_counts_are_conserved():
    order = order_spectrum(1, 500.0, 520.0, 0.031)
    merged = merge_orders([order], 0.05)
    low, high = merged.wavelength[10] - 0.025, merged.wavelength[-11] + 0.025
    edges = np.append(order.wavelength - order.bin_width / 2, order.wavelength[-1] + order.bin_width[-1] / 2)
    cumulative = np.append(0, np.cumsum(order.flux))
    expected = np.diff(np.interp([low, high], edges, cumulative))[0]
    assert (merged.flux * 0.05)[10:-10].sum() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("step", [0.02, 0.05, 0.11])
def test_errors_and_correlations_are_true(step):
    rng = np.random.default_rng(1)
    draws = [merge_orders(two(rng, 0.2), step) for _ in range(150)]
    flux = np.array([merged.flux for merged in draws])[:, 5:-5]
    variance = draws[0].variance[5:-5]
    assert (flux.var(axis=0, ddof=1) / variance).mean() == pytest.approx(1.0, abs=0.04)
    deviation = (flux - flux.mean(axis=0)) / np.sqrt(variance)
    lag = np.median((deviation[:, 1:] * deviation[:, :-1]).mean(axis=0))
    assert lag == pytest.approx(np.median(draws[0].correlation[0, 5:-6]), abs=0.05)
    assert abs(np.mean(flux / density(draws[0].wavelength[5:-5])) - 1) < 1e-3


def test_gaps_say_so_and_hold_nothing():
    first, second = order_spectrum(1, 500.0, 510.0, 0.04), order_spectrum(2, 512.0, 520.0, 0.04)
    merged = merge_orders([first, second], 0.05)
    gap = (merged.wavelength > 510.4) & (merged.wavelength < 511.8)
    assert gap.sum() > 20
    assert np.all(merged.quality[gap] == np.int32(QualityFlag.NO_DATA))
    assert np.all(np.isinf(merged.variance[gap]))
    assert np.all(merged.flux[gap] == 0)
    assert np.all(merged.order[gap] == 0)


def test_a_lost_bin_of_one_order_is_filled_by_the_other():
    first, second = two()
    variance, quality = first.variance.copy(), first.quality.copy()
    hole = (first.wavelength > 517) & (first.wavelength < 517.5)
    variance[hole], quality[hole] = np.inf, np.int32(QualityFlag.NO_DATA)
    lost = replace(first, variance=variance, quality=quality, flux=np.where(hole, 0.0, first.flux))
    merged = merge_orders([lost, second], 0.05)
    assert np.allclose(merged.flux[5:-5], density(merged.wavelength)[5:-5], rtol=1e-3)


def test_flux_in_physical_units_is_averaged_not_divided():
    calibrated = [replace(s, flux=s.flux / s.bin_width, flux_unit="erg / (s cm2 Angstrom)") for s in two()]
    merged = merge_orders(calibrated, 0.05)
    assert merged.flux_unit == "erg / (s cm2 Angstrom)"
    assert np.allclose(merged.flux[5:-5], density(merged.wavelength)[5:-5], rtol=5e-4)


def test_each_bin_tells_the_order_of_most_weight():
    merged = merge_orders(two(), 0.05)
    near = [int(np.argmin(np.abs(merged.wavelength - place))) for place in (514.0, 515.3, 519.7, 521.0)]
    assert merged.order[near].tolist() == [1, 1, 2, 2]


def test_bins_lie_within_what_was_measured():
    grid = merged_grid(two(), 0.05)
    first, last = two()[0].wavelength[0], two()[1].wavelength[-1]
    assert first <= grid[0] < first + 0.05
    assert last - 0.05 < grid[-1] <= last
    assert np.allclose(grid / 0.05, np.rint(grid / 0.05))


def test_noise_does_not_choose_between_orders():
    """Errors that follow the noisy counts themselves would favour the order that happens to be faint."""
    rng, orders = np.random.default_rng(4), []
    for number in (1, 2, 3, 4):
        order = order_spectrum(number, 500.0, 900.0, 0.05)
        counts = rng.poisson(60.0, order.flux.size).astype(float)
        orders.append(replace(order, flux=counts, variance=counts + 10.0, correlation=np.zeros((2, counts.size))))
    merged = merge_orders(orders, 0.05)
    found = (merged.flux * 0.05)[20:-20] * orders[0].bin_width.mean() / 0.05
    assert found.size > 7900
    expected = 60.0 / orders[0].bin_width * orders[0].bin_width.mean()
    assert found.mean() == pytest.approx(expected.mean(), abs=4.0 * np.sqrt(60.0 / 4 / found.size))


def test_marks_of_an_order_come_with_its_light_only():
    first, second = two()
    known = np.arange(first.flux.size) < first.flux.size - 2  # so that the order ends within a bin
    marks = np.full(known.size, np.int32(QualityFlag.SATURATED))
    marked = replace(first, quality=marks, variance=np.where(known, first.variance, np.inf))
    merged = merge_orders([marked, second], 0.05)
    high = first.wavelength[-3] + 0.5 * first.bin_width[-3]
    share = np.clip((high - (merged.wavelength - 0.025)) / 0.05, 0.0, 1.0)
    carried = (merged.quality & np.int32(QualityFlag.SATURATED)) != 0
    assert ((share > 0.1) & (share < 0.5)).sum() == 1
    assert np.array_equal(carried, share > 0.6)


def test_nothing_to_merge_is_named():
    empty = replace(two()[0], variance=np.full(two()[0].variance.size, np.inf))
    with pytest.raises(AlgorithmError, match="no order holds"):
        merged_grid([empty], 0.05)


def test_correlations_stay_with_their_pairs_whichever_way_an_order_runs():
    order = order_spectrum(1, 500.0, 520.0, 0.031)
    size = order.flux.size
    correlation = np.random.default_rng(3).uniform(0.0, 0.3, (2, size))
    upward = replace(order, correlation=correlation)
    turned = np.zeros_like(correlation)
    for lag in (1, 2):
        turned[lag - 1, : size - lag] = correlation[lag - 1, : size - lag][::-1]
    arrays = {name: getattr(order, name)[::-1] for name in ("wavelength", "bin_width", "flux", "variance", "sky")}
    downward = replace(order, **arrays, quality=order.quality[::-1], correlation=turned)
    one, other = merge_orders([upward], 0.05), merge_orders([downward], 0.05)
    assert np.allclose(one.variance, other.variance, rtol=1e-9)
    assert np.allclose(one.correlation, other.correlation, atol=1e-9)
    shuffled = replace(order, **arrays, quality=order.quality[::-1], correlation=correlation)
    assert not np.allclose(one.correlation, merge_orders([shuffled], 0.05).correlation, atol=0.01)


def test_what_is_merged_is_a_mean_of_parabolas_and_nothing_crosses_a_hole():
    edges = np.linspace(500.0, 510.0, 201)
    low, width = edges[:-1], np.diff(edges)
    known, quality = np.ones(low.size, bool), np.zeros(low.size, np.int32)
    known[100], quality[50], quality[100] = False, 8, 4
    start, step = np.arange(500.5, 509.0, 0.13), 0.13
    begin, weights, bits = bin_means(low, width, known, quality, start, step, 0.6 * step)
    integral = (edges - 505.0) ** 3 / 3.0
    values = np.where(known, np.diff(integral) / width, 1e9)
    found = means(begin, weights, values[None])[0]
    truth = (((start + step - 505.0) ** 3 - (start - 505.0) ** 3) / 3.0) / step
    near = (start < low[100] + 0.2) & (start + step > low[100] - 0.15)
    assert near.sum() > 3
    assert np.abs(found - truth)[~near].max() < 1e-9
    assert np.abs(found).max() < 30.0
    assert np.flatnonzero(bits & 8).size in (1, 2)
    assert not np.any(bits & 4)
    assert np.array_equal((bits & 8) > 0, (start < edges[51]) & (start + step > edges[50]))


def edge_value(values, known, edge):
    """At the lower edge of a bin, by what is known on either side."""
    before, after = edge > 0 and known[edge - 1], edge < known.size and known[edge]
    if before and after:
        if 1 < edge < known.size - 1 and known[edge - 2] and known[edge + 1]:
            return (7.0 * (values[edge - 1] + values[edge]) - values[edge - 2] - values[edge + 1]) / 12.0
        return 0.5 * (values[edge - 1] + values[edge])
    return values[edge - 1] if before else values[edge]


@pytest.mark.parametrize("step", [0.03, 0.117, 0.31])
def test_means_are_integrals_of_each_bins_parabola(step):
    """About holes, at both ends and beyond, too: Colella & Woodward's (1984) equations 1.4 and 1.5, bin by bin."""
    rng = np.random.default_rng(8)
    edges = 500.0 + np.cumsum(rng.uniform(0.045, 0.055, 161))
    low, width = edges[:-1], np.diff(edges)
    known = rng.random(low.size) > 0.2
    known[:4] = known[-4:] = True
    quality = np.int32(1) << rng.integers(0, 6, low.size, np.int32)
    values = rng.normal(50.0, 10.0, low.size)
    start = np.arange(low[0] - 0.5, edges[-1] + 0.5, step)
    begin, weights, bits = bin_means(low, width, known, quality, start, step, 0.6 * step)
    found = means(begin, weights, values[None])[0]
    sums, cover, expected_bits = np.zeros(start.size), np.zeros(start.size), np.zeros(start.size, np.int32)
    for i in np.flatnonzero(known):
        left, right = edge_value(values, known, i), edge_value(values, known, i + 1)
        bend = 6.0 * (values[i] - 0.5 * (left + right))
        a, b = (np.clip((end - low[i]) / width[i], 0.0, 1.0) for end in (start, start + step))
        parts = [left * x + 0.5 * (right - left + bend) * x**2 - bend * x**3 / 3.0 for x in (a, b)]
        sums += (parts[1] - parts[0]) * width[i]
        cover += (b - a) * width[i]
        expected_bits |= np.where(b > a, quality[i], 0).astype(np.int32)
    covered = cover > 0.6 * step
    assert covered.sum() > 0.5 * start.size
    assert (cover[~covered] > 0).sum() > 3
    assert np.array_equal(begin >= 0, covered)
    assert np.allclose(found[covered], sums[covered] / cover[covered], rtol=1e-10)
    assert not found[~covered].any()
    assert np.array_equal(bits, expected_bits)


def test_covariance_of_means_is_that_of_dense_algebra():
    rng = np.random.default_rng(6)
    size, window = 30, 7
    begin = np.array([0, 1, 3, -1, 5, 6, 9, 15, 25, 27])
    weights = rng.normal(0, 1, (begin.size, window))
    bands = rng.normal(0, 1, (3, size))
    dense = np.diag(bands[0]) + sum(np.diag(bands[k, :-k], k) + np.diag(bands[k, :-k], -k) for k in (1, 2))
    mean = np.zeros((begin.size, size + window))
    for row, first, own in zip(mean, begin, weights, strict=True):
        if first >= 0:
            row[first : first + window] = own
    mean = mean[:, :size]
    full = mean @ dense @ mean.T
    found = covariances_of_means(begin, weights, bands, 4)
    for lag in range(5):
        assert np.allclose(found[lag, : begin.size - lag], np.diagonal(full, lag), atol=1e-12)
        assert not found[lag, begin.size - lag :].any()
