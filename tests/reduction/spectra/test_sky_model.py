"""Medians in bins, and the bins around a pixel."""

import numpy as np

from soxs_recipes.reduction.order_pixels import between_bins, bins_around
from soxs_recipes.reduction.sky_model import binned_median, binned_quantiles, sorted_in_groups


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


def test_bins_known_beforehand_interpolate_as_numpy_does():
    rng = np.random.default_rng(3)
    position, values = rng.uniform(-0.5, 40.5, 500), rng.normal(size=41)
    assert np.allclose(
        between_bins(values, *bins_around(position, 41)), np.interp(position, np.arange(41), values)
    )
